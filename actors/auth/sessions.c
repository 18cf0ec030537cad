/*  sessions.c - all sessions of one user. An ended session keeps its row until its life is over, so
 *  that its tokens are known for what they are. */
#include "members.h"
#include "revocations.h"

#include "error.h"

#include <stdio.h>

static store_range of_user(const session_row *like)
{
    return auth_same(&auth_sessions_table, "by_user", like, 1, 0);
}

/* ---- beginning ---- */

int auth_session_rights(store_tx *tx, sv_str org, const user_row *user, auth_login_result *ret)
{
    member_role role;
    int rc = member_home(tx, user, org, ret->org, &role);
    if (rc == 0) rc = tier_of(tx, user->id, sv_cstr(ret->org), ret->tier);
    if (rc == 0) snprintf(ret->role, sizeof ret->role, "%s", role_name(role));
    return rc;
}

/* The sessions that hold, and the one of them that was used longest ago. */
static int count(store_tx *tx, const auth_session_new *n, sv_str user, int64_t *ret_n,
                 char oldest[AUTH_ID + 1])
{
    session_row row, like = {.user = user};
    store_range range = of_user(&like);
    store_scan *scan;
    int64_t used = INT64_MAX, now = store_now_ms(tx);
    *ret_n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &row)) {
        if (row.revoked || now - row.last_used >= n->idle_ms) continue;
        ++*ret_n;
        if (row.last_used >= used) continue;
        used = row.last_used;
        snprintf(oldest, AUTH_ID + 1, "%.*s", SV_FMT(row.id));
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* More than one too many there are only after the setting was lowered. */
static int make_room(store_tx *tx, const auth_session_new *n, const auth_user *user)
{
    char oldest[AUTH_ID + 1];
    int64_t there;
    int rc = count(tx, n, sv_cstr(user->id), &there, oldest);
    while (rc == 0 && there >= n->most) {
        session_row row = {.id = sv_cstr(oldest)};
        rc = store_get(tx, &auth_sessions_table, &row);
        if (rc == 0) rc = auth_session_drop(tx, &row);
        if (rc == 0)
            rc = audit_add(tx, &(auth_event){.chain = user->org,
                                             .event = "session.replaced",
                                             .actor = user->id,
                                             .target = oldest});
        if (rc == 0) rc = count(tx, n, sv_cstr(user->id), &there, oldest);
    }
    return rc;
}

int auth_session_start(store_tx *tx, const auth_session_new *n, auth_login_result *ret)
{
    const auth_user *u = &ret->user;
    user_row who = {.id = sv_cstr(u->id), .org = sv_cstr(u->org)};
    int rc = make_room(tx, n, u);
    if (rc == 0) rc = auth_session_rights(tx, who.org, &who, ret);
    if (rc) return rc;
    ret->remember = n->remember;
    ret->expires = ret->now_ms + n->life_ms;
    session_row s = {.id = sv_cstr(n->session),
                     .user = who.id,
                     .org = sv_cstr(ret->org),
                     .network = sv_cstr(n->network),
                     .created = ret->now_ms,
                     .last_used = ret->now_ms,
                     .expires = ret->expires,
                     .remember = n->remember};
    if (n->device[0]) s.device = sv_cstr(n->device);
    refresh_row token = {
        .hash = {(const char *)n->refresh, WORDS_HASH}, .session = s.id, .expires = s.expires};
    rc = store_insert(tx, &auth_sessions_table, &s);
    if (rc == 0) rc = store_insert(tx, &auth_refreshes, &token);
    if (rc == 0) rc = tries_at_home(tx, u->email, n->network);
    snprintf(ret->session, sizeof ret->session, "%s", n->session);
    return rc;
}

/* ---- ending ---- */

int auth_session_drop(store_tx *tx, session_row *s)
{
    s->revoked = store_now_ms(tx);
    int rc = store_put(tx, &auth_sessions_table, s);
    return rc ? rc : revoke_subject(tx, "session", s->id, (sv_str){NULL, 0}, false);
}

/* The session of the request: SV_E_NOT_FOUND, also for one that has ended or is somebody else's. */
static int find(store_tx *tx, const auth_end_in *q, session_row *ret)
{
    sv_str id = sv_cstr(q->session);
    if (q->session[0] == 0) {
        refresh_row token = {.hash = {(const char *)q->token, WORDS_HASH}};
        int rc = store_get(tx, &auth_refreshes, &token);
        if (rc) return rc;
        id = token.session;
    }
    *ret = (session_row){.id = id};
    int rc = store_get(tx, &auth_sessions_table, ret);
    if (rc) return rc;
    return ret->revoked || (q->user[0] && !sv_str_is(ret->user, q->user)) ? SV_E_NOT_FOUND : 0;
}

int auth_session_end(store_tx *tx, const void *in, void *out)
{
    const auth_end_in *q = in;
    bool *ended = out;
    char chain[AUTH_ID + 1] = "", id[AUTH_ID + 1], session[AUTH_ID + 1];
    session_row s;
    *ended = false;
    int rc = find(tx, q, &s);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    *ended = true;
    user_row user = {.id = s.user};
    rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0) snprintf(chain, sizeof chain, "%.*s", SV_FMT(user.org));
    snprintf(id, sizeof id, "%.*s", SV_FMT(s.user));
    snprintf(session, sizeof session, "%.*s", SV_FMT(s.id));
    rc = auth_session_drop(tx, &s);
    if (rc) return rc;
    return audit_add(
        tx, &(auth_event){.chain = chain, .event = "logout", .actor = id, .target = session});
}

int auth_revoke_all(store_tx *tx, sv_str user, const char *keep, int64_t *ret_n)
{
    session_row row, like = {.user = user};
    store_range range = of_user(&like);
    store_scan *scan;
    *ret_n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        if (row.revoked || (keep[0] && sv_str_is(row.id, keep))) continue;
        rc = auth_session_drop(tx, &row);
        ++*ret_n;
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int auth_sessions_end(store_tx *tx, const void *in, void *out)
{
    const auth_who *who = in;
    int64_t *ended = out;
    user_row row;
    auth_user user;
    int rc = auth_user_find(tx, who->email, who->id, &row);
    if (rc) return rc;
    auth_user_copy(&row, &user);
    rc = auth_revoke_all(tx, sv_cstr(user.id), who->keep, ended);
    if (rc || *ended == 0) return rc;
    return audit_add(
        tx, &(auth_event){
                .chain = user.org, .event = "logout.all", .actor = who->actor, .target = user.id});
}

/* ---- lists ---- */

static bool keep_text(arena *a, sv_str *s)
{
    if (s->n == 0) *s = (sv_str){NULL, 0};
    if (s->p) s->p = arena_copy(a, *s);
    return s->n == 0 || s->p;
}

static bool show(arena *a, const session_row *row, const char *asks, auth_session_info *ret)
{
    *ret = (auth_session_info){.id = row->id,
                               .current = asks[0] && sv_str_is(row->id, asks),
                               .impersonator = row->impersonator,
                               .device = row->device,
                               .network = row->network,
                               .created = row->created,
                               .last_used = row->last_used,
                               .expires = row->expires};
    return keep_text(a, &ret->id) && keep_text(a, &ret->device) && keep_text(a, &ret->network) &&
           keep_text(a, &ret->impersonator);
}

int auth_sessions_some(store_tx *tx, const void *in, void *out)
{
    const auth_sessions_in *q = in;
    auth_session_list *list = out;
    user_row user;
    *list =
        (auth_session_list){.items = arena_alloc(store_arena(tx), AUTH_PAGE * sizeof *list->items)};
    if (list->items == NULL) return SV_E_NO_MEMORY;
    int rc = auth_user_find(tx, q->who.email, q->who.id, &user);
    if (rc) return rc;
    session_row row, like = {.user = user.id};
    store_range range = of_user(&like);
    range.reverse = true; /* ids are in order of time */
    store_scan *scan;
    rc = store_scan_open(tx, &range, &scan);
    while (rc == 0 && list->n < AUTH_PAGE && store_scan_next(scan, &row)) {
        if (row.revoked || store_now_ms(tx) - row.last_used >= q->idle_ms) continue;
        if (!show(store_arena(tx), &row, q->who.keep, &list->items[list->n++])) rc = SV_E_NO_MEMORY;
    }
    if (rc == 0) rc = store_scan_result(scan);
    return rc;
}
