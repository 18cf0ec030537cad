/*  sessions.c - all sessions of one user. An ended session keeps its row until its life is over, so
 *  that its tokens are known for what they are. */
#include "auth_store.h"

#include "error.h"

#include <stdio.h>

static store_range of_user(const session_row *like)
{
    return (store_range){.table = &auth_sessions_table,
                         .index = "by_user",
                         .low = like,
                         .high = like,
                         .low_n = 1,
                         .high_n = 1};
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
        row.revoked = store_now_ms(tx);
        rc = store_put(tx, &auth_sessions_table, &row);
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

static bool keep_text(arena *a, sv_str *s)
{
    if (s->n == 0) *s = (sv_str){NULL, 0};
    if (s->p) s->p = arena_copy(a, *s);
    return s->n == 0 || s->p;
}

static bool show(arena *a, const session_row *row, auth_session_info *ret)
{
    *ret = (auth_session_info){.id = row->id,
                               .device = row->device,
                               .network = row->network,
                               .created = row->created,
                               .last_used = row->last_used,
                               .expires = row->expires};
    return keep_text(a, &ret->id) && keep_text(a, &ret->device) && keep_text(a, &ret->network);
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
        if (!show(store_arena(tx), &row, &list->items[list->n++])) rc = SV_E_NO_MEMORY;
    }
    if (rc == 0) rc = store_scan_result(scan);
    return rc;
}
