/*  login.c - the verdict on a try with a password.
 *
 *  A try has three steps: a look at the counters and the account, Argon2id on a worker, the verdict
 *  here. The counters are looked at again in the transaction of the verdict: of many tries that were
 *  compared at the same moment, those behind the fifth wrong one get no answer from their
 *  comparison. A name without an account goes through the same steps, writes the same rows and
 *  differs in none of its answers. */
#include "factor.h"
#include "links.h"
#include "members.h"
#include "outbox.h"
#include "revocations.h"

#include "error.h"

#include <stdio.h>

void auth_try_keys(auth_try *t)
{
    words_hash("account", t->who.email[0] ? t->who.email : t->who.id, t->account_key);
    words_hash("network", t->network, t->network_key);
}

/* The counter of the account for this try. */
static int account_counter(store_tx *tx, const auth_try *t, uint8_t ret[WORDS_HASH])
{
    return tries_account(tx, t->who.email, t->network, t->account_key, ret);
}

static int blocked(store_tx *tx, const auth_try *t, int64_t *ret_ms)
{
    int64_t account_ms = 0, network_ms = 0;
    uint8_t name[WORDS_HASH];
    int rc = account_counter(tx, t, name);
    if (rc == 0) rc = tries_blocked(tx, name, &account_ms);
    if (rc == 0) rc = tries_blocked(tx, t->network_key, &network_ms);
    *ret_ms = account_ms > network_ms ? account_ms : network_ms;
    return rc;
}

int auth_try_look(store_tx *tx, const void *in, void *out)
{
    const auth_try *t = in;
    auth_try_known *k = out;
    user_row row;
    *k = (auth_try_known){.found = false};
    int rc = blocked(tx, t, &k->blocked_ms);
    if (rc) return rc;
    rc = auth_user_find(tx, t->who.email, t->who.id, &row);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    k->found = true;
    auth_user_copy(&row, &k->user);
    return 0;
}

/* ---- verdicts ---- */

static int wrong(store_tx *tx, const auth_try_end *e, const char *event, auth_login_result *ret)
{
    const auth_try *t = e->try;
    bool account_blocks = false, network_blocks = false;
    uint8_t name[WORDS_HASH];
    int rc = account_counter(tx, t, name);
    if (rc == 0) rc = tries_add(tx, name, &account_blocks);
    if (rc == 0) rc = tries_add(tx, t->network_key, &network_blocks);
    if (rc) return rc;
    ret->code = SV_E_CREDENTIALS;
    auth_event said = {.event = event, .network = t->network};
    if (e->known->found) {
        said.chain = e->known->user.org;
        said.target = e->known->user.id;
    }
    rc = audit_add(tx, &said);
    if (rc || !(account_blocks || network_blocks)) return rc;
    said.event = account_blocks ? "account.delayed" : "network.delayed";
    return audit_add(tx, &said);
}

/* The account as it is now, when the password was right for it and still is. */
static int right(store_tx *tx, const auth_try_end *e, user_row *ret, bool *ret_right)
{
    const auth_try_known *k = e->known;
    *ret_right = false;
    if (!e->right || !k->found) return 0;
    *ret = (user_row){.id = sv_cstr(k->user.id)};
    int rc = store_get(tx, &auth_users, ret);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    *ret_right = !ret->disabled && !ret->service && sv_str_is(ret->hash, k->user.hash);
    return 0;
}

int auth_try_judge(store_tx *tx, const auth_try_end *e, const char *event, user_row *row,
                   auth_login_result *ret, bool *ret_over)
{
    int64_t wait_ms;
    bool is_right = false;
    *ret = (auth_login_result){.now_ms = store_now_ms(tx)};
    *ret_over = true;
    int rc = blocked(tx, e->try, &wait_ms);
    if (rc) return rc;
    if (wait_ms > 0) {
        ret->code = SV_E_LOCKED_OUT;
        ret->retry_after_ms = (uint32_t)wait_ms;
        return 0;
    }
    rc = right(tx, e, row, &is_right);
    if (rc) return rc;
    if (!is_right) return wrong(tx, e, event, ret);
    *ret_over = false;
    uint8_t name[WORDS_HASH];
    rc = account_counter(tx, e->try, name);
    return rc ? rc : tries_forget(tx, name);
}

/* A password that is right does not help an address that nobody has confirmed. */
static int unverified(store_tx *tx, const auth_try_end *e, const user_row *row,
                      auth_login_result *ret)
{
    uint8_t name[WORDS_HASH];
    bool may = false;
    int rc = 0;
    auth_user_copy(row, &ret->user);
    words_hash("verify", ret->user.id, name);
    if (e->link) rc = tries_pause(tx, name, AUTH_MAIL_PAUSE_MS, &may);
    if (rc == 0 && may) rc = link_send(tx, LINK_VERIFY, e->link, &ret->user);
    if (rc) return rc;
    ret->code = SV_E_NOT_VERIFIED;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "login.unverified",
                                       .target = ret->user.id,
                                       .network = e->try->network});
}

static int half_way(store_tx *tx, const auth_try_end *e, const user_row *row,
                    auth_login_result *ret)
{
    auth_user_copy(row, &ret->user);
    ret->two_factor = true;
    int rc = e->new_hash[0] ? store_put(tx, &auth_users, row) : 0;
    if (rc == 0) rc = half_begin(tx, e->half, ret->user.id);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "login.half",
                                       .target = ret->user.id,
                                       .network = e->try->network});
}

int auth_login_end(store_tx *tx, const void *in, void *out)
{
    const auth_try_end *e = in;
    auth_login_result *ret = out;
    user_row row;
    bool over;
    int rc = auth_try_judge(tx, e, "login.failed", &row, ret, &over);
    if (rc || over) return rc;
    if (e->new_hash[0]) row.hash = sv_cstr(e->new_hash);
    if (e->verify && !row.verified) return unverified(tx, e, &row, ret);
    if (row.two_factor) return half_way(tx, e, &row, ret);
    row.last_login = ret->now_ms;
    auth_user_copy(&row, &ret->user);
    rc = store_put(tx, &auth_users, &row);
    if (rc == 0) rc = auth_session_start(tx, &e->start, ret);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "login.ok",
                                       .actor = ret->user.id,
                                       .target = ret->session,
                                       .network = e->try->network});
}

/* What was begun or asked for with the former password is over. */
int auth_password_changed(store_tx *tx, user_row *row, const char *keep, auth_user *ret)
{
    int64_t ended;
    auth_user_copy(row, ret);
    sv_str id = sv_cstr(ret->id);
    int rc = store_put(tx, &auth_users, row);
    if (rc == 0) rc = auth_revoke_all(tx, id, keep, &ended);
    if (rc == 0) rc = half_drop(tx, id);
    if (rc == 0) rc = link_drop(tx, LINK_RESET, id);
    if (rc) return rc;
    return outbox_add(tx, &(outbox_mail){.to = ret->email,
                                         .template = "password_changed",
                                         .locale = ret->locale,
                                         .name = ret->name});
}

int auth_password_end(store_tx *tx, const void *in, void *out)
{
    const auth_try_end *e = in;
    auth_login_result *ret = out;
    user_row row;
    bool over;
    int rc = auth_try_judge(tx, e, "password.failed", &row, ret, &over);
    if (rc || over) return rc;
    row.hash = sv_cstr(e->new_hash);
    rc = auth_password_changed(tx, &row, e->try->who.keep, &ret->user);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "password.changed",
                                       .actor = e->try->who.actor,
                                       .target = ret->user.id,
                                       .network = e->try->network});
}

/* ---- refresh ---- */

/* A spent token came again: somebody else has a copy of it, or of the one that came for it. */
static int reused(store_tx *tx, session_row *s)
{
    user_row user = {.id = s->user};
    char chain[AUTH_ID + 1] = "", id[AUTH_ID + 1], session[AUTH_ID + 1];
    int rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0) snprintf(chain, sizeof chain, "%.*s", SV_FMT(user.org));
    snprintf(id, sizeof id, "%.*s", SV_FMT(s->user));
    snprintf(session, sizeof session, "%.*s", SV_FMT(s->id));
    rc = auth_session_drop(tx, s);
    if (rc) return rc;
    return audit_add(
        tx, &(auth_event){.chain = chain, .event = "token.reused", .actor = id, .target = session});
}

static int swap(store_tx *tx, const auth_refresh_in *q, refresh_row *token, session_row *s,
                auth_login_result *ret)
{
    user_row user = {.id = s->user};
    int rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || user.disabled || ret->now_ms - s->last_used >= q->idle_ms)
        return auth_session_drop(tx, s);
    auth_user_copy(&user, &ret->user);
    snprintf(ret->session, sizeof ret->session, "%.*s", SV_FMT(s->id));
    snprintf(ret->impersonator, sizeof ret->impersonator, "%.*s", SV_FMT(s->impersonator));
    ret->remember = s->remember;
    ret->expires = s->expires;
    rc = auth_session_rights(tx, s->org, &user, ret);
    if (rc) return rc;
    s->org = sv_cstr(ret->org);
    refresh_row next = {
        .hash = {(const char *)q->next, WORDS_HASH}, .session = s->id, .expires = s->expires};
    token->used = s->last_used = ret->now_ms;
    rc = store_put(tx, &auth_refreshes, token);
    if (rc == 0) rc = store_insert(tx, &auth_refreshes, &next);
    if (rc == 0) rc = store_put(tx, &auth_sessions_table, s);
    if (rc == 0) ret->code = 0;
    return rc;
}

int auth_refresh_swap(store_tx *tx, const void *in, void *out)
{
    const auth_refresh_in *q = in;
    auth_login_result *ret = out;
    refresh_row token = {.hash = {(const char *)q->token, WORDS_HASH}};
    *ret = (auth_login_result){.code = SV_E_REFRESH_TOKEN, .now_ms = store_now_ms(tx)};
    int rc = store_get(tx, &auth_refreshes, &token);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    session_row s = {.id = token.session};
    rc = store_get(tx, &auth_sessions_table, &s);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    if (s.revoked) return 0;
    return token.used ? reused(tx, &s) : swap(tx, q, &token, &s, ret);
}
