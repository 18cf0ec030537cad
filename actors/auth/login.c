/*  login.c - the verdict on a try with a password.
 *
 *  A try has three steps: a look at the counters and the account, Argon2id on a worker, the verdict
 *  here. The counters are looked at again in the transaction of the verdict: of many tries that were
 *  compared at the same moment, those behind the fifth wrong one get no answer from their
 *  comparison. A name without an account goes through the same steps, writes the same rows and
 *  differs in none of its answers. */
#include "auth_store.h"

#include "error.h"

#include <stdio.h>

void auth_try_keys(auth_try *t)
{
    words_hash("account", t->who.email[0] ? t->who.email : t->who.id, t->account_key);
    words_hash("network", t->network, t->network_key);
}

static int blocked(store_tx *tx, const auth_try *t, int64_t *ret_ms)
{
    int64_t account_ms, network_ms = 0;
    int rc = tries_blocked(tx, t->account_key, &account_ms);
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
    int rc = tries_add(tx, t->account_key, &account_blocks);
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
    *ret_right = !ret->disabled && sv_str_is(ret->hash, k->user.hash);
    return 0;
}

/* True: `ret` holds the verdict. Otherwise the password is right and the counter is cleared. */
static int judge(store_tx *tx, const auth_try_end *e, const char *event, user_row *row,
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
    return tries_forget(tx, e->try->account_key);
}

static int start_session(store_tx *tx, const auth_try_end *e, const auth_user *u,
                         auth_login_result *ret)
{
    ret->expires = ret->now_ms + e->life_ms;
    session_row s = {.id = sv_cstr(e->session),
                     .user = sv_cstr(u->id),
                     .org = sv_cstr(u->org),
                     .network = sv_cstr(e->try->network),
                     .created = ret->now_ms,
                     .last_used = ret->now_ms,
                     .expires = ret->expires};
    if (e->device[0]) s.device = sv_cstr(e->device);
    refresh_row token = {
        .hash = {(const char *)e->refresh, WORDS_HASH}, .session = s.id, .expires = s.expires};
    int rc = store_insert(tx, &auth_sessions_table, &s);
    if (rc == 0) rc = store_insert(tx, &auth_refreshes, &token);
    snprintf(ret->session, sizeof ret->session, "%s", e->session);
    snprintf(ret->org, sizeof ret->org, "%s", u->org);
    return rc;
}

/* Of the user in the organization of the session; none when the membership is over. */
static int read_role(store_tx *tx, auth_login_result *ret)
{
    member_row m = {.org = sv_cstr(ret->org), .user = sv_cstr(ret->user.id)};
    int rc = store_get(tx, &auth_members, &m);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    snprintf(ret->role, sizeof ret->role, "%.*s", SV_FMT(m.role));
    return 0;
}

int auth_login_end(store_tx *tx, const void *in, void *out)
{
    const auth_try_end *e = in;
    auth_login_result *ret = out;
    user_row row;
    bool over;
    int rc = judge(tx, e, "login.failed", &row, ret, &over);
    if (rc || over) return rc;
    row.last_login = ret->now_ms;
    if (e->new_hash[0]) row.hash = sv_cstr(e->new_hash);
    auth_user_copy(&row, &ret->user);
    rc = store_put(tx, &auth_users, &row);
    if (rc == 0) rc = start_session(tx, e, &ret->user, ret);
    if (rc == 0) rc = read_role(tx, ret);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "login.ok",
                                       .actor = ret->user.id,
                                       .target = ret->session,
                                       .network = e->try->network});
}

int auth_password_end(store_tx *tx, const void *in, void *out)
{
    const auth_try_end *e = in;
    auth_login_result *ret = out;
    user_row row;
    int64_t ended;
    bool over;
    int rc = judge(tx, e, "password.failed", &row, ret, &over);
    if (rc || over) return rc;
    row.hash = sv_cstr(e->new_hash);
    auth_user_copy(&row, &ret->user);
    rc = store_put(tx, &auth_users, &row);
    if (rc == 0) rc = auth_revoke_all(tx, sv_cstr(ret->user.id), e->try->who.keep, &ended);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "password.changed",
                                       .actor = e->try->who.actor,
                                       .target = ret->user.id,
                                       .network = e->try->network});
}

/* ---- refresh ---- */

static int revoke(store_tx *tx, session_row *s)
{
    s->revoked = store_now_ms(tx);
    return store_put(tx, &auth_sessions_table, s);
}

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
    rc = revoke(tx, s);
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
    if (rc || user.disabled || ret->now_ms - s->last_used >= q->idle_ms) return revoke(tx, s);
    auth_user_copy(&user, &ret->user);
    snprintf(ret->session, sizeof ret->session, "%.*s", SV_FMT(s->id));
    snprintf(ret->org, sizeof ret->org, "%.*s", SV_FMT(s->org));
    ret->expires = s->expires;
    refresh_row next = {
        .hash = {(const char *)q->next, WORDS_HASH}, .session = s->id, .expires = s->expires};
    token->used = s->last_used = ret->now_ms;
    rc = store_put(tx, &auth_refreshes, token);
    if (rc == 0) rc = store_insert(tx, &auth_refreshes, &next);
    if (rc == 0) rc = store_put(tx, &auth_sessions_table, s);
    if (rc == 0) rc = read_role(tx, ret);
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

int auth_session_end(store_tx *tx, const void *in, void *out)
{
    bool *ended = out;
    char id[AUTH_ID + 1], session[AUTH_ID + 1];
    refresh_row token = {.hash = {in, WORDS_HASH}};
    *ended = false;
    int rc = store_get(tx, &auth_refreshes, &token);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    session_row s = {.id = token.session};
    rc = store_get(tx, &auth_sessions_table, &s);
    if (rc || s.revoked) return rc == SV_E_NOT_FOUND ? 0 : rc;
    *ended = true;
    user_row user = {.id = s.user};
    rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    char chain[AUTH_ID + 1] = "";
    if (rc == 0) snprintf(chain, sizeof chain, "%.*s", SV_FMT(user.org));
    snprintf(id, sizeof id, "%.*s", SV_FMT(s.user));
    snprintf(session, sizeof session, "%.*s", SV_FMT(s.id));
    rc = revoke(tx, &s);
    if (rc) return rc;
    return audit_add(
        tx, &(auth_event){.chain = chain, .event = "logout", .actor = id, .target = session});
}
