/*  signing.c - the keys of access tokens. The highest number signs; the one before stays among the
 *  public keys, so that its tokens hold to their end. With the third one the first is forgotten.
 *  Keys are read and made by the same write, so a process that starts, or whose store was away, asks
 *  again until it has them. */
#include "auth.h"

#include "error.h"
#include "log.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

enum { BUSY_MS = 1000, SETTLE_TRIES = 3 };

/* ---- in the store ---- */

static int read_keys(store_tx *tx, signing_keys *ret)
{
    signing_row row;
    store_range range = {.table = &auth_signings, .reverse = true, .limit = SIGNING_KEYS};
    store_scan *scan;
    *ret = (signing_keys){.n = 0};
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &row)) {
        if (row.seed.n != SIGNING_SEED) continue;
        ret->key[ret->n].number = row.number;
        ret->key[ret->n].since = row.since;
        memcpy(ret->key[ret->n++].seed, row.seed.p, SIGNING_SEED);
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int signing_rotate(store_tx *tx, const void *in, void *out)
{
    const signing_next *next = in;
    signing_keys *keys = out;
    int64_t now = store_now_ms(tx);
    int rc = read_keys(tx, keys);
    if (rc) return rc;
    if (keys->n > 0 && next->life_ms > 0 && now - keys->key[0].since < next->life_ms) return 0;
    if (keys->n == SIGNING_KEYS) {
        rc = store_delete(tx, &auth_signings, &(signing_row){.number = keys->key[1].number});
        if (rc) return rc;
    }
    if (keys->n > 0) keys->key[1] = keys->key[0];
    keys->key[0].number = (keys->n ? keys->key[1].number : 0) + 1;
    keys->key[0].since = now;
    memcpy(keys->key[0].seed, next->seed, SIGNING_SEED);
    if (keys->n < SIGNING_KEYS) keys->n++;
    keys->made = true;
    signing_row row = {.number = keys->key[0].number,
                       .seed = {(const char *)next->seed, SIGNING_SEED},
                       .since = now};
    rc = store_insert(tx, &auth_signings, &row);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.event = "signing_key.made", .actor = next->actor});
}

/* ---- in the process ---- */

static void use_keys(auth *a, signing_keys *k)
{
    jws_signer_clear(&a->signer);
    for (uint32_t i = k->n; i-- > 0;) { /* the first one stays */
        jws_signer_clear(&a->signer);
        jws_signer_init(&a->signer, k->key[i].seed);
        a->keys[i] = a->signer.jwk;
    }
    a->n_keys = k->n;
    a->key_since = k->n ? k->key[0].since : 0;
    revocations_new_keys(a);
    if (k->made)
        log_write(LOG_INFO, "a key for access tokens was made",
                  LOG_STR("kid", a->n_keys ? a->keys[0].kid : ""));
    seal_wipe(k, sizeof *k);
}

static void looked(void *arg, int code, const sv_error *err)
{
    auth *a = arg;
    a->rotating = false;
    seal_wipe(a->next.seed, sizeof a->next.seed);
    if (code)
        log_write(LOG_ERROR, "the keys of access tokens cannot be read", LOG_ERR(err));
    else
        use_keys(a, &a->stored);
}

void auth_keys_look(auth *a)
{
    int64_t now_ms = (int64_t)(loop_unix_us(sv_loop(a->process)) / 1000);
    if (a->rotating || (a->n_keys > 0 && now_ms - a->key_since < a->key_life_ms)) return;
    a->next = (signing_next){.life_ms = a->key_life_ms, .actor = "auth"};
    uuid_random(a->next.seed, sizeof a->next.seed);
    a->rotating = sv_store_write(a->process, "auth.keys", signing_rotate, &a->next, &a->stored,
                                 looked, a) == 0;
}

void auth_keys_clear(auth *a)
{
    jws_signer_clear(&a->signer);
    seal_wipe(&a->stored, sizeof a->stored);
    seal_wipe(&a->next, sizeof a->next);
}

int auth_keys_ready(const auth *a, sv_error *err)
{
    if (a->n_keys > 0) return 0;
    sv_fail(err, SV_E_UNAVAILABLE, NULL, "The keys of access tokens are not read yet.");
    if (err) err->retry_after_ms = BUSY_MS;
    return SV_E_UNAVAILABLE;
}

int auth_sign(const auth *a, const auth_claims *c, int64_t at_ms, buf *out, sv_error *err)
{
    char id[UUID_TEXT + 1];
    sv_id jti = uuid_new();
    for (int i = 0; i < 6; i++)
        jti.b[i] = (uint8_t)((uint64_t)at_ms >> (40 - 8 * i));
    uuid_format(&jti, id);
    int rc = auth_keys_ready(a, err);
    if (rc) return rc;
    jwt_claims claims = {.kind = JWT_ACCESS,
                         .sub = c->user,
                         .jti = {id, UUID_TEXT},
                         .org = c->org,
                         .tier = c->tier,
                         .sid = c->session,
                         .act = c->impersonator,
                         .iat_s = (uint64_t)c->issued,
                         .exp_s = (uint64_t)c->expires};
    if (c->role.n) claims.roles[claims.n_roles++] = c->role;
    if (c->admin) claims.roles[claims.n_roles++] = sv_cstr("platform_admin");
    return jwt_sign(&a->signer, sv_cstr(a->issuer), &claims, out, err);
}

/* ---- claims ---- */

/* In a write: what the session's user may by now. SV_E_REFRESH_TOKEN when it has ended meanwhile. */
static int rights_again(store_tx *tx, const void *in, void *out)
{
    const auth_login_result *before = in;
    auth_login_result *ret = out;
    session_row s = {.id = sv_cstr(before->session)};
    user_row user = {.id = sv_cstr(before->user.id)};
    *ret = *before;
    ret->now_ms = store_now_ms(tx);
    int rc = store_get(tx, &auth_sessions_table, &s);
    if (rc == 0) rc = store_get(tx, &auth_users, &user);
    if (rc == SV_E_NOT_FOUND || (rc == 0 && (s.revoked || user.disabled))) {
        *store_error(tx) = (sv_error){.code = 0};
        return sv_fail(store_error(tx), SV_E_REFRESH_TOKEN, NULL, NULL);
    }
    if (rc) return rc;
    auth_user_copy(&user, &ret->user);
    return auth_session_rights(tx, s.org, &user, ret);
}

/* The rights are read in a write: what was revoked before is seen by it, and what comes after is of a
 * later moment than the token. */
int auth_claims_settle(sv_call *call, auth_login_result *r)
{
    bool revoked = true;
    int rc = 0;
    for (int i = 0; i < SETTLE_TRIES && rc == 0; i++) {
        auth_login_result before = *r;
        rc = store_read(call, revoked_in_its_second, r, &revoked);
        if (rc || !revoked) break;
        rc = sv_sleep(call, (uint32_t)(1000 - r->now_ms % 1000));
        if (rc == 0) rc = store_write(call, rights_again, &before, r);
    }
    return rc;
}

/* ---- methods ---- */

static int reply_keys(sv_call *call, const auth *a)
{
    buf json;
    int rc = auth_keys_ready(a, sv_call_error(call));
    if (rc) return rc;
    buf_init(&json, 2048);
    rc = jwks_print(a->keys, a->n_keys, &json);
    if (rc == 0)
        rc = sv_reply(call,
                      &(auth_jwks_reply){.issuer = sv_cstr(a->issuer), .jwks = buf_str(&json)});
    buf_free(&json);
    return rc;
}

int auth_jwks(sv_call *call, const void *request)
{
    (void)request;
    return reply_keys(call, sv_process_state(sv_call_process(call)));
}

int auth_key_rotate(sv_call *call, const void *request)
{
    (void)request;
    auth *a = sv_process_state(sv_call_process(call));
    signing_next next = {.actor = sv_call_caller(call)};
    signing_keys keys;
    int rc = auth_operator_only(call);
    if (rc) return rc;
    if (a->rotating) { /* the answer of one write would replace that of the other */
        sv_fail(sv_call_error(call), SV_E_UNAVAILABLE, NULL, "The keys are being read just now.");
        sv_call_error(call)->retry_after_ms = BUSY_MS;
        return SV_E_UNAVAILABLE;
    }
    a->rotating = true;
    uuid_random(next.seed, sizeof next.seed);
    rc = store_write(call, signing_rotate, &next, &keys);
    a->rotating = false;
    seal_wipe(next.seed, sizeof next.seed);
    if (rc) return rc;
    use_keys(a, &keys);
    return reply_keys(call, a);
}
