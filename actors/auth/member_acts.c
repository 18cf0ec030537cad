/*  member_acts.c - members and their roles. The rules, in one place:
 *   - who changes or removes somebody is an administrator of the organization at least, and has a
 *     role that is not below the other's: only owners touch owners;
 *   - nobody gives a role above his own: only owners make owners;
 *   - everybody may lower himself and leave, but for the last owner. */
#include "org_store.h"

#include "error.h"
#include "revocations.h"

#include <stdio.h>

static int nobody(store_tx *tx)
{
    *store_error(tx) = (sv_error){.code = 0};
    return sv_fail(store_error(tx), SV_E_NOT_FOUND, "user", "There is no such member.");
}

static int refuse(store_tx *tx, const char *why)
{
    return sv_fail(store_error(tx), SV_E_ROLE, NULL, "%s", why);
}

static auth_member show(const member_row *m, const user_row *u)
{
    return (auth_member){.user = m->user,
                         .email = u->email,
                         .name = u->name,
                         .role = m->role,
                         .since = m->since,
                         .service = u->service};
}

/* The row and the account of the one that the act is about. */
static int find(store_tx *tx, const org_act *q, member_row *ret, user_row *ret_user)
{
    *ret = (member_row){.org = sv_cstr(q->org), .user = sv_cstr(q->user)};
    *ret_user = (user_row){.id = ret->user};
    int rc = q->user[0] ? store_get(tx, &auth_members, ret) : SV_E_NOT_FOUND;
    if (rc == 0) rc = store_get(tx, &auth_users, ret_user);
    return rc == SV_E_NOT_FOUND ? nobody(tx) : rc;
}

int member_some(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    member_page *page = out;
    org_row org;
    member_role role;
    *page = (member_page){.n = 0};
    int rc = org_enter(tx, q, ROLE_VIEWER, &org, &role);
    if (rc) return rc;
    page->items = arena_alloc(store_arena(tx), AUTH_PAGE * sizeof *page->items);
    if (page->items == NULL) return SV_E_NO_MEMORY;
    member_row m, low = {.org = sv_cstr(q->org), .user = sv_cstr(q->after)};
    store_range range = {
        .table = &auth_members, .low = &low, .high = &low, .low_n = 2, .high_n = 1};
    store_scan *scan;
    arena *a = store_arena(tx);
    rc = store_scan_open(tx, &range, &scan);
    for (uint32_t bytes = 0; rc == 0 && store_scan_next(scan, &m);) {
        if (q->after[0] && sv_str_is(m.user, q->after)) continue;
        if (page->n == AUTH_PAGE || bytes > AUTH_PAGE_BYTES) {
            page->next = page->items[page->n - 1].user;
            break;
        }
        if (!org_keep(a, &m.user) || !org_keep(a, &m.role)) return SV_E_NO_MEMORY;
        user_row u = {.id = m.user};
        rc = store_get(tx, &auth_users, &u);
        bytes += u.email.n + u.name.n;
        if (rc == 0 || rc == SV_E_NOT_FOUND) page->items[page->n++] = show(&m, &u);
        if (rc == SV_E_NOT_FOUND) rc = 0;
    }
    return rc ? rc : store_scan_result(scan);
}

/* ---- roles ---- */

static int put_role(store_tx *tx, const org_act *q, member_row *m, member_role role)
{
    m->role = sv_cstr(role_name(role));
    int rc = store_put(tx, &auth_members, m);
    if (rc == 0) rc = revoke_subject(tx, "member", m->org, m->user, true);
    if (rc) return rc;
    char user[AUTH_ID + 1];
    snprintf(user, sizeof user, "%.*s", SV_FMT(m->user));
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = "member.changed",
                                       .actor = q->who.actor,
                                       .target = user,
                                       .detail = role_name(role)});
}

static int may_set(store_tx *tx, const org_act *q, member_role mine, member_role had,
                   const user_row *user)
{
    if (mine < ROLE_OWNER && had == ROLE_OWNER)
        return refuse(tx, "Only an owner changes the role of an owner.");
    if (q->role > mine) return refuse(tx, "Nobody gives a role above his own.");
    if (q->role != ROLE_OWNER)
        return had == ROLE_OWNER ? member_owned_still(tx, sv_cstr(q->org), user->id) : 0;
    if (user->service)
        return sv_fail(store_error(tx), SV_E_INVALID, "role",
                       "A service account does not own an organization.");
    return org_may_own(tx, user->id, q->owned_most);
}

int member_set_role(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    org_row org;
    member_row m;
    user_row user;
    member_role mine;
    bool self = strcmp(q->user, q->who.user) == 0;
    int rc = org_enter(tx, q, self ? ROLE_VIEWER : ROLE_ADMIN, &org, &mine);
    if (rc == 0) rc = find(tx, q, &m, &user);
    if (rc) return rc;
    member_role had = role_of(m.role);
    if (had != q->role && (rc = may_set(tx, q, mine, had, &user))) return rc;
    if (had != q->role && (rc = put_role(tx, q, &m, q->role))) return rc;
    *(auth_member *)out = show(&m, &user);
    return 0;
}

int member_transfer(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    org_row org;
    member_row m, own = {.org = sv_cstr(q->org), .user = sv_cstr(q->who.user)};
    user_row user;
    member_role mine;
    int rc = org_enter(tx, q, ROLE_OWNER, &org, &mine);
    if (rc == 0 && org.personal)
        rc = sv_fail(store_error(tx), SV_E_INVALID, "id",
                     "A personal organization stays with its user.");
    if (rc == 0) rc = find(tx, q, &m, &user);
    if (rc) return rc;
    if (strcmp(q->user, q->who.user) == 0)
        return sv_fail(store_error(tx), SV_E_INVALID, "user", "Give it to another member.");
    if (user.disabled || user.service)
        return sv_fail(store_error(tx), SV_E_INVALID, "user",
                       "An organization goes to a user who can log in.");
    if (role_of(m.role) != ROLE_OWNER) {
        rc = org_may_own(tx, user.id, q->owned_most);
        if (rc == 0) rc = put_role(tx, q, &m, ROLE_OWNER);
    }
    if (rc == 0) rc = store_get(tx, &auth_members, &own);
    if (rc == 0) rc = put_role(tx, q, &own, ROLE_ADMIN);
    if (rc) return rc;
    *(auth_org *)out = org_show(&org, ROLE_ADMIN);
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = "org.transferred",
                                       .actor = q->who.actor,
                                       .target = q->user});
}

/* ---- the end of a membership ---- */

int member_remove(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const org_act *q = in;
    org_row org;
    member_row m;
    user_row user;
    member_role mine;
    bool self = strcmp(q->user, q->who.user) == 0;
    int rc = org_enter(tx, q, self ? ROLE_VIEWER : ROLE_ADMIN, &org, &mine);
    if (rc == 0) rc = find(tx, q, &m, &user);
    if (rc) return rc;
    if (self && org.personal)
        return sv_fail(store_error(tx), SV_E_INVALID, "id",
                       "Nobody leaves his personal organization.");
    if (role_of(m.role) == ROLE_OWNER) {
        if (mine < ROLE_OWNER) return refuse(tx, "Only an owner removes an owner.");
        if ((rc = member_owned_still(tx, m.org, m.user))) return rc;
    }
    rc = member_drop(tx, sv_cstr(q->org), sv_cstr(q->user));
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = self ? "member.left" : "member.removed",
                                       .actor = q->who.actor,
                                       .target = q->user});
}
