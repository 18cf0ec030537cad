/*  admin_store.c - acts on other people's accounts. Each is an event of the platform's chain; who
 *  acts as somebody else is in that user's chain, too. */
#include "admin_store.h"

#include "error.h"
#include "factor.h"
#include "outbox.h"
#include "revocations.h"

#include <stdio.h>

static int find_user(store_tx *tx, const char *id, user_row *ret)
{
    int rc = auth_user_find(tx, "", id, ret);
    return rc == SV_E_NOT_FOUND ? auth_fail(tx, rc, "id", "There is no such user.") : rc;
}

/* ---- searching ---- */

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool contains(sv_str text, const char *part)
{
    size_t n = strlen(part);
    for (size_t at = 0; at + n <= text.n; at++) {
        size_t i = 0;
        while (i < n && small(text.p[at + i]) == small(part[i]))
            i++;
        if (i == n) return true;
    }
    return n == 0;
}

int admin_users_some(store_tx *tx, const void *in, void *out)
{
    const admin_search *q = in;
    admin_user_page *page = out;
    user_row row, low = {.email = sv_cstr(q->after)};
    store_range range = {.table = &auth_users, .index = "by_email", .low = &low, .low_n = 1};
    store_scan *scan;
    char last[WORDS_EMAIL + 1] = "";
    page->found.n = 0;
    page->next[0] = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    for (uint32_t seen = 0, bytes = 0; store_scan_next(scan, &row);) {
        if (q->after[0] && sv_str_is(row.email, q->after)) continue;
        if (page->found.n == AUTH_PAGE || bytes > AUTH_PAGE_BYTES || seen++ == AUTH_PIECE) {
            memcpy(page->next, last, sizeof last);
            break;
        }
        snprintf(last, sizeof last, "%.*s", SV_FMT(row.email));
        if (!contains(row.email, q->part) && !contains(row.name, q->part)) continue;
        auth_user_copy(&row, &page->found.users[page->found.n++]);
        bytes += row.email.n + row.name.n;
    }
    page->found.more = page->next[0] != 0;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int admin_orgs_some(store_tx *tx, const void *in, void *out)
{
    const admin_search *q = in;
    org_page *page = out;
    org_row row, low = {.id = sv_cstr(q->after)};
    store_range range = {.table = &auth_orgs, .low = &low, .low_n = q->after[0] ? 1 : 0};
    store_scan *scan;
    arena *a = store_arena(tx);
    char last[AUTH_ID + 1] = "";
    *page = (org_page){.items = arena_alloc(a, AUTH_PAGE * sizeof *page->items)};
    if (page->items == NULL) return SV_E_NO_MEMORY;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    for (uint32_t seen = 0; store_scan_next(scan, &row);) {
        if (q->after[0] && sv_str_is(row.id, q->after)) continue;
        if (page->n == AUTH_PAGE || seen++ == AUTH_PIECE) {
            page->next = sv_cstr(last);
            if (!org_keep(a, &page->next)) return SV_E_NO_MEMORY;
            break;
        }
        snprintf(last, sizeof last, "%.*s", SV_FMT(row.id));
        if (row.deleted || !(sv_str_is(row.id, q->part) || contains(row.name, q->part))) continue;
        if (!org_keep(a, &row.id) || !org_keep(a, &row.name) || !org_keep(a, &row.tier))
            return SV_E_NO_MEMORY;
        page->items[page->n++] = org_show(&row, ROLE_NONE);
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* ---- changing a user ---- */

static int say(store_tx *tx, const char *event, const char *actor, sv_str user, const char *detail)
{
    char id[AUTH_ID + 1];
    snprintf(id, sizeof id, "%.*s", SV_FMT(user));
    return audit_add(tx,
                     &(auth_event){.event = event, .actor = actor, .target = id, .detail = detail});
}

/* SV_E_LAST_ADMIN unless somebody else is an administrator and can log in. */
static int admin_still(store_tx *tx, sv_str user)
{
    user_row row, like = {.admin = true};
    store_range range = auth_same(&auth_users, "by_admin", &like, 1, 0);
    store_scan *scan;
    bool other = false;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (!other && store_scan_next(scan, &row))
        other = !row.disabled && !sv_str_eq(row.id, user);
    rc = other ? 0 : store_scan_result(scan);
    store_scan_close(scan);
    return rc || other ? rc : sv_fail(store_error(tx), SV_E_LAST_ADMIN, NULL, NULL);
}

/* Sessions of others that the administrator began. */
static int end_acting(store_tx *tx, sv_str admin)
{
    session_row row, like = {.impersonator = admin};
    store_range range = auth_same(&auth_sessions_table, "by_impersonator", &like, 1, 0);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row))
        if (!row.revoked) rc = auth_session_drop(tx, &row);
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int end_sessions(store_tx *tx, sv_str user)
{
    int64_t ended;
    int rc = auth_revoke_all(tx, user, "", &ended);
    if (rc == 0) rc = end_acting(tx, user);
    return rc ? rc : half_drop(tx, user);
}

int admin_switch(store_tx *tx, user_row *row, const char *actor)
{
    auth_user user;
    auth_user_copy(row, &user);
    sv_str id = sv_cstr(user.id);
    int rc = store_put(tx, &auth_users, row);
    if (rc == 0 && user.disabled) {
        rc = end_sessions(tx, id);
        if (rc == 0) rc = revoke_subject(tx, "user", id, (sv_str){NULL, 0}, false);
        if (rc == 0 && !user.service)
            rc = outbox_add(tx, &(outbox_mail){.to = user.email,
                                               .template = "account_disabled",
                                               .locale = user.locale,
                                               .name = user.name});
    }
    return rc ? rc : say(tx, user.disabled ? "user.disabled" : "user.enabled", actor, id, NULL);
}

/* With other rights comes another login: sessions that somebody else began end with the rest. */
static int set_admin(store_tx *tx, user_row *row, bool admin, const char *actor)
{
    row->admin = admin;
    int rc = store_put(tx, &auth_users, row);
    if (rc == 0 && admin) { /* as with every administrator: nobody is set up as the first one */
        rc = store_delete(tx, &auth_setups, &(setup_row){.id = 0});
        if (rc == SV_E_NOT_FOUND) rc = 0;
    }
    if (rc == 0) rc = end_sessions(tx, row->id);
    if (rc == 0) rc = revoke_subject(tx, "user", row->id, (sv_str){NULL, 0}, true);
    return rc ? rc : say(tx, "user.role", actor, row->id, admin ? "platform_admin" : "user");
}

static int may_change(store_tx *tx, const admin_change *c, const user_row *row, bool lowers)
{
    bool touches = c->set_disabled || c->set_admin;
    if (touches && sv_str_is(row->id, c->who.user))
        return auth_fail(tx, SV_E_DENIED, "id", "Nobody changes his own status or role.");
    if (c->set_admin && c->admin && row->service)
        return auth_fail(tx, SV_E_INVALID, "role", "A service account is no administrator.");
    if (c->tier && tier_rank(sv_cstr(c->tier)) == 0)
        return auth_fail(tx, SV_E_INVALID, "tier", "The tier must be free, premium or own.");
    return lowers ? admin_still(tx, row->id) : 0;
}

int admin_change_user(store_tx *tx, const void *in, void *out)
{
    const admin_change *c = in;
    user_row row;
    int rc = find_user(tx, c->id, &row);
    if (rc) return rc;
    bool disables = c->set_disabled && c->disabled && !row.disabled;
    bool demotes = c->set_admin && !c->admin && row.admin;
    rc = may_change(tx, c, &row, row.admin && !row.disabled && (disables || demotes));
    if (rc == 0 && c->set_disabled && c->disabled != row.disabled) {
        row.disabled = c->disabled;
        rc = admin_switch(tx, &row, c->who.actor);
    }
    if (rc == 0 && c->set_admin && c->admin != row.admin)
        rc = set_admin(tx, &row, c->admin, c->who.actor);
    if (rc == 0 && c->tier && tier_rank(row.tier) != tier_rank(sv_cstr(c->tier))) {
        row.tier = sv_cstr(c->tier);
        rc = store_put(tx, &auth_users, &row);
        if (rc == 0) rc = revoke_subject(tx, "user", row.id, (sv_str){NULL, 0}, true);
        if (rc == 0) rc = say(tx, "user.tier", c->who.actor, row.id, c->tier);
    }
    if (rc == 0) auth_user_copy(&row, out);
    return rc;
}

/* ---- second factor and password ---- */

int admin_drop_factor(store_tx *tx, const void *in, void *out)
{
    const admin_change *c = in;
    user_row row;
    int rc = find_user(tx, c->id, &row);
    if (rc == 0 && !row.two_factor)
        rc = auth_fail(tx, SV_E_TWO_FACTOR_STATE, "id", "The user has no second factor.");
    if (rc == 0) rc = factor_drop(tx, &row);
    if (rc == 0) rc = end_sessions(tx, row.id);
    if (rc == 0) rc = say(tx, "user.reset_2fa", c->who.actor, row.id, NULL);
    if (rc == 0) auth_user_copy(&row, out);
    return rc;
}

int admin_reset_user(store_tx *tx, const void *in, void *out)
{
    const admin_reset *r = in;
    user_row row;
    int rc = auth_user_find(tx, r->email, "", &row);
    if (rc == SV_E_NOT_FOUND)
        return auth_fail(tx, rc, "email", "There is no user with this e-mail address.");
    if (rc == 0 && row.service)
        rc = auth_fail(tx, SV_E_INVALID, "email", "A service account has no password.");
    if (rc == 0 && r->drop_factor && row.two_factor) rc = factor_drop(tx, &row);
    if (rc == 0 && r->hash[0]) {
        row.hash = sv_cstr(r->hash);
        rc = auth_password_changed(tx, &row, "", out);
    }
    if (rc == 0) rc = end_sessions(tx, row.id);
    if (rc == 0)
        rc = say(tx, "user.reset", r->actor, row.id,
                 !r->drop_factor ? "password"
                 : r->hash[0]    ? "password, second factor"
                                 : "second factor");
    if (rc == 0) auth_user_copy(&row, out);
    return rc;
}

/* ---- acting as somebody else ---- */

static int may_act_as(store_tx *tx, const user_row *row)
{
    if (row->admin)
        return auth_fail(tx, SV_E_DENIED, "id", "Nobody acts as an administrator of the platform.");
    if (row->service)
        return auth_fail(tx, SV_E_DENIED, "id", "Nobody acts as a service account: it has keys.");
    if (row->disabled)
        return auth_fail(tx, SV_E_INVALID, "id", "The account is disabled: enable it first.");
    return 0;
}

int admin_impersonate(store_tx *tx, const void *in, void *out)
{
    const admin_act_as *q = in;
    auth_login_result *ret = out;
    user_row row, admin;
    *ret = (auth_login_result){.now_ms = store_now_ms(tx)};
    int rc = auth_user_find(tx, "", q->who.user, &admin);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || !admin.admin || admin.disabled)
        return auth_fail(tx, SV_E_ROLE, NULL, "This is for administrators of the platform.");
    rc = find_user(tx, q->id, &row);
    if (rc == 0) rc = may_act_as(tx, &row);
    if (rc) return rc;
    auth_user_copy(&row, &ret->user);
    ret->expires = ret->now_ms + ADMIN_ACT_MS;
    memcpy(ret->session, q->session, sizeof ret->session);
    memcpy(ret->impersonator, q->who.user, sizeof ret->impersonator);
    if ((rc = auth_session_rights(tx, row.org, &row, ret))) return rc;
    session_row s = {.id = sv_cstr(q->session),
                     .user = row.id,
                     .org = sv_cstr(ret->org),
                     .network = sv_cstr(q->network),
                     .impersonator = sv_cstr(q->who.user),
                     .created = ret->now_ms,
                     .last_used = ret->now_ms,
                     .expires = ret->expires};
    rc = store_insert(tx, &auth_sessions_table, &s);
    auth_event said = {.event = "user.impersonated",
                       .actor = q->who.user,
                       .target = ret->user.id,
                       .network = q->network,
                       .detail = q->reason};
    if (rc == 0) rc = audit_add(tx, &said);
    said.chain = ret->user.org;
    return rc ? rc : audit_add(tx, &said);
}

/* ---- organizations ---- */

int admin_set_org_tier(store_tx *tx, const void *in, void *out)
{
    const admin_org_tier *q = in;
    org_row row = {.id = sv_cstr(q->id)};
    member_role role;
    int rc = q->id[0] ? store_get(tx, &auth_orgs, &row) : SV_E_NOT_FOUND;
    if (rc == SV_E_NOT_FOUND || (rc == 0 && row.deleted))
        return auth_fail(tx, SV_E_NOT_FOUND, "id", "There is no such organization.");
    if (rc == 0) rc = member_read(tx, row.id, sv_cstr(q->who.user), &role);
    if (rc) return rc;
    if (tier_rank(sv_cstr(q->tier)) == 0 || q->tier[0] == 0)
        return auth_fail(tx, SV_E_INVALID, "tier", "The tier must be free, premium or own.");
    bool same = tier_rank(row.tier) == tier_rank(sv_cstr(q->tier));
    row.tier = sv_cstr(q->tier);
    *(auth_org *)out = org_show(&row, role);
    if (same) return 0;
    rc = store_put(tx, &auth_orgs, &row);
    auth_event said = {
        .event = "org.tier", .actor = q->who.actor, .target = q->id, .detail = q->tier};
    if (rc == 0) rc = audit_add(tx, &said);
    said.chain = q->id;
    return rc ? rc : audit_add(tx, &said);
}
