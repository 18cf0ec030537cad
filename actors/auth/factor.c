/*  factor.c - see factor.h. */
#include "factor.h"

#include "error.h"
#include "outbox.h"
#include "seal.h"
#include "totp.h"

#include <stdio.h>

/* ---- logins half way ---- */

int half_begin(store_tx *tx, const char *id, const char *user)
{
    half_row row = {
        .id = sv_cstr(id), .user = sv_cstr(user), .expires = store_now_ms(tx) + HALF_LIFE_MS};
    return store_insert(tx, &auth_halves, &row);
}

int half_drop(store_tx *tx, sv_str user)
{
    half_row row, like = {.user = user};
    store_range range = auth_same(&auth_halves, "by_user", &like, 1, 0);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row))
        rc = store_delete(tx, &auth_halves, &row);
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* ---- codes ---- */

enum { TAKES_TOTP = 1, TAKES_RECOVERY = 2 };

static int get(store_tx *tx, sv_str user, factor_row *ret)
{
    *ret = (factor_row){.user = user};
    int rc = store_get(tx, &auth_factors, ret);
    if (rc != SV_E_NOT_FOUND) return rc;
    *ret = (factor_row){.user = user};
    return 0;
}

/* Digits as people copy them, with a blank in the middle. */
static sv_str digits(const char *text, char ret[FACTOR_CODE + 1])
{
    uint32_t n = 0;
    for (; *text && n < FACTOR_CODE; text++)
        if (*text != ' ') ret[n++] = *text;
    return (sv_str){ret, n};
}

/* A right code of the secret is spent: its step goes into the row, for the caller's put. */
static bool totp_right(store_tx *tx, const char *code, sv_str secret, factor_row *row)
{
    char plain[FACTOR_CODE + 1];
    uint64_t step, now_s = (uint64_t)store_now_ms(tx) / 1000;
    int64_t last = row->step > 0 ? row->step : -1;
    bool right = secret.n > 0 && totp_check(&totp_usual, secret, digits(code, plain), now_s,
                                            FACTOR_WINDOW, last, &step);
    if (right) row->step = (int64_t)step;
    return right;
}

typedef struct keys {
    uint8_t factor[WORDS_HASH], network[WORDS_HASH];
} keys;

static keys keys_of(const factor_try *t, const auth_user *u)
{
    keys k;
    words_hash("factor", u->id, k.factor);
    words_hash("network", t->network, k.network);
    return k;
}

static int wait_of(store_tx *tx, const keys *k, int64_t *ret_ms)
{
    int64_t network_ms = 0;
    int rc = tries_blocked(tx, k->factor, ret_ms);
    if (rc == 0) rc = tries_blocked(tx, k->network, &network_ms);
    if (network_ms > *ret_ms) *ret_ms = network_ms;
    return rc;
}

static int wrong(store_tx *tx, const factor_try *t, const keys *k, auth_login_result *ret)
{
    bool factor_blocks = false, network_blocks = false;
    int rc = tries_add(tx, k->factor, &factor_blocks);
    if (rc == 0) rc = tries_add(tx, k->network, &network_blocks);
    if (rc) return rc;
    ret->code = SV_E_CODE;
    auth_event said = {.chain = ret->user.org,
                       .event = "factor.failed",
                       .target = ret->user.id,
                       .network = t->network};
    rc = audit_add(tx, &said);
    if (rc || !(factor_blocks || network_blocks)) return rc;
    said.event = factor_blocks ? "factor.delayed" : "network.delayed";
    return audit_add(tx, &said);
}

/* The verdict on a code of ret->user. ret->code 0: it was right and is spent; `row` is then to be
 * put. */
static int judge(store_tx *tx, const factor_try *t, unsigned takes, sv_str secret, factor_row *row,
                 auth_login_result *ret)
{
    keys k = keys_of(t, &ret->user);
    int64_t wait_ms;
    int rc = wait_of(tx, &k, &wait_ms);
    if (rc) return rc;
    if (wait_ms > 0) {
        ret->code = SV_E_LOCKED_OUT;
        ret->retry_after_ms = (uint32_t)wait_ms;
        return 0;
    }
    bool right = (takes & TAKES_TOTP) && totp_right(tx, t->code, secret, row), spare = false;
    if (!right && (takes & TAKES_RECOVERY)) rc = recovery_use(tx, row->user, t->code, &spare);
    if (rc) return rc;
    if (!right && !spare) return wrong(tx, t, &k, ret);
    if (spare)
        rc = audit_add(tx, &(auth_event){.chain = ret->user.org,
                                         .event = "factor.recovery_used",
                                         .actor = t->who.actor,
                                         .target = ret->user.id,
                                         .network = t->network});
    return rc ? rc : tries_forget(tx, k.factor);
}

/* ---- what codes are for ---- */

static int tell(store_tx *tx, const auth_user *u)
{
    return outbox_add(tx, &(outbox_mail){.to = u->email,
                                         .template = "two_factor_changed",
                                         .locale = u->locale,
                                         .name = u->name});
}

static int event(store_tx *tx, const factor_try *t, const auth_user *u, const char *name)
{
    return audit_add(tx, &(auth_event){.chain = u->org,
                                       .event = name,
                                       .actor = t->who.actor,
                                       .target = u->id,
                                       .network = t->network});
}

int factor_login_end(store_tx *tx, const void *in, void *out)
{
    const factor_login *q = in;
    auth_login_result *ret = out;
    half_row half = {.id = sv_cstr(q->half)};
    user_row user = {.id = sv_cstr(q->try.who.id)};
    factor_row factor;
    *ret = (auth_login_result){.code = SV_E_HALF_TOKEN, .now_ms = store_now_ms(tx)};
    int rc = store_get(tx, &auth_halves, &half);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    rc = store_get(tx, &auth_users, &user);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    if (!sv_str_is(half.user, q->try.who.id) || user.disabled || !user.two_factor) return 0;
    rc = get(tx, user.id, &factor);
    if (rc) return rc;
    ret->code = 0;
    auth_user_copy(&user, &ret->user);
    rc = judge(tx, &q->try, TAKES_TOTP | TAKES_RECOVERY, factor.secret, &factor, ret);
    if (rc || ret->code) return rc;
    user.last_login = ret->user.last_login = ret->now_ms;
    rc = store_put(tx, &auth_factors, &factor);
    if (rc == 0) rc = store_delete(tx, &auth_halves, &half);
    if (rc == 0) rc = store_put(tx, &auth_users, &user);
    if (rc == 0) rc = auth_session_start(tx, &q->start, ret);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "login.ok",
                                       .actor = ret->user.id,
                                       .target = ret->session,
                                       .network = q->try.network});
}

int factor_setup_end(store_tx *tx, const void *in, void *out)
{
    const factor_setup *q = in;
    auth_login_result *ret = out;
    user_row user;
    factor_row factor;
    bool over;
    int rc = auth_try_judge(tx, &q->password, "password.failed", &user, ret, &over);
    if (rc || over) return rc;
    auth_user_copy(&user, &ret->user);
    if (user.two_factor) {
        ret->code = SV_E_TWO_FACTOR_STATE;
        return 0;
    }
    rc = get(tx, user.id, &factor);
    if (rc) return rc;
    factor.org = user.org;
    factor.pending = (sv_str){(const char *)q->secret, FACTOR_SECRET};
    factor.since = store_now_ms(tx);
    rc = store_put(tx, &auth_factors, &factor);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "factor.begun",
                                       .actor = q->password.try->who.actor,
                                       .target = ret->user.id,
                                       .network = q->password.try->network});
}

/* The account and its factor; SV_E_NOT_FOUND as an error: there is no such user any more. */
static int both(store_tx *tx, const auth_who *who, user_row *user, factor_row *factor,
                auth_login_result *ret)
{
    *ret = (auth_login_result){.now_ms = store_now_ms(tx)};
    int rc = auth_user_find(tx, who->email, who->id, user);
    if (rc == 0) rc = get(tx, user->id, factor);
    if (rc == 0) auth_user_copy(user, &ret->user);
    return rc;
}

int factor_enable_end(store_tx *tx, const void *in, void *out)
{
    const factor_codes *q = in;
    auth_login_result *ret = out;
    user_row user;
    factor_row factor;
    int rc = both(tx, &q->try.who, &user, &factor, ret);
    if (rc) return rc;
    if (user.two_factor || factor.pending.n == 0) {
        ret->code = SV_E_TWO_FACTOR_STATE;
        return 0;
    }
    rc = judge(tx, &q->try, TAKES_TOTP, factor.pending, &factor, ret);
    if (rc || ret->code) return rc;
    factor.secret = factor.pending;
    factor.pending = (sv_str){NULL, 0};
    factor.since = ret->now_ms;
    user.two_factor = ret->user.two_factor = true;
    rc = store_put(tx, &auth_factors, &factor);
    if (rc == 0) rc = store_put(tx, &auth_users, &user);
    if (rc == 0) rc = recovery_replace(tx, sv_cstr(ret->user.id), &q->codes);
    if (rc == 0) rc = tell(tx, &ret->user);
    return rc ? rc : event(tx, &q->try, &ret->user, "factor.enabled");
}

int factor_codes_end(store_tx *tx, const void *in, void *out)
{
    const factor_codes *q = in;
    auth_login_result *ret = out;
    user_row user;
    factor_row factor;
    int rc = both(tx, &q->try.who, &user, &factor, ret);
    if (rc) return rc;
    if (!user.two_factor) {
        ret->code = SV_E_TWO_FACTOR_STATE;
        return 0;
    }
    rc = judge(tx, &q->try, TAKES_TOTP, factor.secret, &factor, ret);
    if (rc || ret->code) return rc;
    rc = store_put(tx, &auth_factors, &factor);
    if (rc == 0) rc = recovery_replace(tx, sv_cstr(ret->user.id), &q->codes);
    if (rc == 0) rc = tell(tx, &ret->user);
    return rc ? rc : event(tx, &q->try, &ret->user, "factor.codes_made");
}

int factor_drop(store_tx *tx, user_row *row)
{
    auth_user user;
    row->two_factor = false;
    auth_user_copy(row, &user);
    sv_str id = sv_cstr(user.id);
    int rc = store_put(tx, &auth_users, row);
    if (rc == 0) rc = store_delete(tx, &auth_factors, &(factor_row){.user = id});
    if (rc == SV_E_NOT_FOUND) rc = 0;
    if (rc == 0) rc = recovery_replace(tx, id, NULL);
    if (rc == 0) rc = half_drop(tx, id);
    return rc ? rc : tell(tx, &user);
}

int factor_disable_end(store_tx *tx, const void *in, void *out)
{
    const factor_disable *q = in;
    auth_login_result *ret = out;
    user_row user;
    factor_row factor;
    bool over;
    int rc = auth_try_judge(tx, &q->password, "password.failed", &user, ret, &over);
    if (rc || over) return rc;
    auth_user_copy(&user, &ret->user);
    if (!user.two_factor) {
        ret->code = SV_E_TWO_FACTOR_STATE;
        return 0;
    }
    rc = get(tx, user.id, &factor);
    if (rc) return rc;
    rc = judge(tx, &q->try, TAKES_TOTP | TAKES_RECOVERY, factor.secret, &factor, ret);
    if (rc || ret->code) return rc;
    rc = factor_drop(tx, &user);
    return rc ? rc : event(tx, &q->try, &ret->user, "factor.disabled");
}
