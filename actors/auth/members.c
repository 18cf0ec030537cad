/*  members.c - roles, memberships and what follows from their end; tiers. */
#include "members.h"

#include "budgets.h"
#include "providers.h"
#include "error.h"
#include "key_store.h"
#include "revocations.h"

#include <stdio.h>

static const char *const roles[] = {"", "viewer", "member", "admin", "owner"};
static const char *const tiers[] = {"free", "premium", "own"};

member_role role_of(sv_str name)
{
    for (member_role r = ROLE_VIEWER; r <= ROLE_OWNER; r++)
        if (sv_str_is(name, roles[r])) return r;
    return ROLE_NONE;
}

const char *role_name(member_role r)
{
    return roles[r];
}

/* ---- reading ---- */

int member_read(store_tx *tx, sv_str org, sv_str user, member_role *ret)
{
    member_row m = {.org = org, .user = user};
    org_row o = {.id = org};
    *ret = ROLE_NONE;
    if (org.n == 0 || user.n == 0) return 0;
    int rc = store_get(tx, &auth_members, &m);
    if (rc == 0) rc = store_get(tx, &auth_orgs, &o);
    if (rc == 0 && !o.deleted) *ret = role_of(m.role);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

int member_home(store_tx *tx, const user_row *user, sv_str org, char *ret_org, member_role *ret)
{
    int rc = member_read(tx, org, user->id, ret);
    bool away = rc == 0 && *ret == ROLE_NONE;
    if (away) rc = member_read(tx, user->org, user->id, ret);
    snprintf(ret_org, AUTH_ID + 1, "%.*s", SV_FMT(away ? user->org : org));
    return rc;
}

int member_owned_still(store_tx *tx, sv_str org, sv_str user)
{
    member_row m, like = {.org = org, .role = sv_cstr(roles[ROLE_OWNER])};
    store_range range = auth_same(&auth_members, "by_role", &like, 2, 2);
    store_scan *scan;
    bool other = false;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (!other && store_scan_next(scan, &m))
        other = !sv_str_eq(m.user, user);
    rc = other ? 0 : store_scan_result(scan);
    store_scan_close(scan);
    return rc || other ? rc : sv_fail(store_error(tx), SV_E_LAST_OWNER, NULL, NULL);
}

/* ---- beginning and end ---- */

/* One more or one less in the organization's count. */
static int count(store_tx *tx, sv_str org, int64_t change)
{
    org_row o = {.id = org};
    int rc = store_get(tx, &auth_orgs, &o);
    if (rc) return rc;
    o.members = (o.members ? o.members : 1) + change;
    return store_put(tx, &auth_orgs, &o);
}

int member_add(store_tx *tx, sv_str org, sv_str user, member_role role)
{
    member_row m = {
        .org = org, .user = user, .role = sv_cstr(roles[role]), .since = store_now_ms(tx)};
    int rc = store_insert(tx, &auth_members, &m);
    if (rc == SV_E_CONFLICT) {
        *store_error(tx) = (sv_error){.code = 0};
        return sv_fail(store_error(tx), rc, NULL, "The user is a member already.");
    }
    return rc ? rc : count(tx, org, 1);
}

int member_drop(store_tx *tx, sv_str org, sv_str user)
{
    int rc = store_delete(tx, &auth_members, &(member_row){.org = org, .user = user});
    if (rc == 0) rc = count(tx, org, -1);
    if (rc == 0) rc = keys_drop(tx, user, org);
    if (rc == 0) rc = budgets_drop(tx, org, "user", user, NULL);
    if (rc == 0) rc = providers_drop(tx, org, user, NULL);
    if (rc == 0) rc = revoke_subject(tx, "member", org, user, false);
    return rc ? rc : service_drop(tx, user);
}

/* ---- tiers ---- */

int tier_rank(sv_str name)
{
    if (name.n == 0) return 1;
    for (int i = 0; i < 3; i++)
        if (sv_str_is(name, tiers[i])) return i + 1;
    return 0;
}

int tier_of(store_tx *tx, sv_str user, sv_str org, char tier[TIER_BYTES])
{
    user_row u = {.id = user};
    org_row o = {.id = org};
    int best = 1, rank, rc = user.n ? store_get(tx, &auth_users, &u) : SV_E_NOT_FOUND;
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0 && (rank = tier_rank(u.tier)) > best) best = rank;
    rc = org.n ? store_get(tx, &auth_orgs, &o) : SV_E_NOT_FOUND;
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0 && !o.deleted && (rank = tier_rank(o.tier)) > best) best = rank;
    snprintf(tier, TIER_BYTES, "%s", tiers[best - 1]);
    return 0;
}
