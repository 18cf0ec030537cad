/*  org_acts.c - organizations themselves. One that is deleted is marked first, in one small write:
 *  from then on nobody finds it. What hangs on it goes in pieces after that, also over restarts. */
#include "org_store.h"

#include "budgets.h"
#include "providers.h"
#include "error.h"
#include "feed.h"
#include "jwt.h"
#include "revocations.h"

#include <stdio.h>

static int nothing_there(store_tx *tx)
{
    *store_error(tx) = (sv_error){.code = 0};
    return sv_fail(store_error(tx), SV_E_NOT_FOUND, "id", "There is no such organization.");
}

bool org_keep(arena *a, sv_str *s)
{
    if (s->n == 0) *s = (sv_str){NULL, 0};
    if (s->p) s->p = arena_copy(a, *s);
    return s->n == 0 || s->p;
}

auth_org org_show(const org_row *row, member_role role)
{
    return (auth_org){.id = row->id,
                      .name = row->name,
                      .role = role ? sv_cstr(role_name(role)) : (sv_str){NULL, 0},
                      .personal = row->personal,
                      .tier = row->tier.n ? row->tier : sv_cstr("free"),
                      .members = row->members ? row->members : 1,
                      .created = row->created,
                      .log_prompts = sv_cstr(row->log_prompts ? "on" : "off")};
}

int org_enter(store_tx *tx, const org_act *q, member_role least, org_row *ret,
              member_role *ret_role)
{
    bool elsewhere = q->who.key[0] && strcmp(q->who.org, q->org) != 0;
    int rc = member_read(tx, sv_cstr(q->org), sv_cstr(q->who.user), ret_role);
    if (rc) return rc;
    if (*ret_role == ROLE_NONE || elsewhere) return nothing_there(tx);
    if (*ret_role < least)
        return sv_fail(store_error(tx), SV_E_ROLE, NULL,
                       "This needs the role %s in the organization; yours is %s.", role_name(least),
                       role_name(*ret_role));
    *ret = (org_row){.id = sv_cstr(q->org)};
    rc = store_get(tx, &auth_orgs, ret);
    return rc == SV_E_NOT_FOUND ? nothing_there(tx) : rc;
}

int org_denied(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const org_act *q = in;
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = "access.denied",
                                       .actor = q->who.actor,
                                       .target = q->user[0] ? q->user : q->org,
                                       .detail = q->name});
}

/* The user's own organization is among those that he owns. */
int org_may_own(store_tx *tx, sv_str user, int64_t most)
{
    member_row m, like = {.user = user, .role = sv_cstr(role_name(ROLE_OWNER))};
    store_range range = auth_same(&auth_members, "by_user_role", &like, 2, (uint32_t)most + 1);
    store_scan *scan;
    int64_t n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &m))
        n++;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || n <= most) return rc;
    return sv_fail(store_error(tx), SV_E_QUOTA, NULL,
                   "Nobody may own more than %lld organizations besides his own.", (long long)most);
}

/* ---- reading ---- */

static int add_to_page(store_tx *tx, const member_row *m, org_page *page)
{
    org_row row = {.id = m->org};
    int rc = store_get(tx, &auth_orgs, &row);
    if (rc || row.deleted) return rc == SV_E_NOT_FOUND ? 0 : rc;
    page->items[page->n++] = org_show(&row, role_of(m->role));
    return 0;
}

int org_some(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    org_page *page = out;
    member_row m, high = {.user = sv_cstr(q->who.user)},
                  low = {.user = high.user, .org = sv_cstr(q->after)};
    if (q->who.key[0]) low.org = high.org = sv_cstr(q->who.org);
    store_range range = {.table = &auth_members,
                         .index = "by_user",
                         .low = &low,
                         .high = &high,
                         .low_n = 2,
                         .high_n = q->who.key[0] ? 2 : 1};
    store_scan *scan;
    *page = (org_page){.items = arena_alloc(store_arena(tx), AUTH_PAGE * sizeof *page->items)};
    if (page->items == NULL) return SV_E_NO_MEMORY;
    int rc = store_scan_open(tx, &range, &scan);
    sv_str last = {NULL, 0};
    for (uint32_t seen = 0; rc == 0 && store_scan_next(scan, &m); seen++) {
        if (q->after[0] && sv_str_is(m.org, q->after)) continue;
        if (page->n == AUTH_PAGE || seen == AUTH_PIECE) {
            page->next = last;
            break;
        }
        last = m.org;
        if (!org_keep(store_arena(tx), &last)) rc = SV_E_NO_MEMORY;
        m.org = last;
        if (rc == 0) rc = add_to_page(tx, &m, page);
    }
    return rc ? rc : store_scan_result(scan);
}

int org_look(store_tx *tx, const void *in, void *out)
{
    org_row row;
    member_role role;
    int rc = org_enter(tx, in, ROLE_VIEWER, &row, &role);
    if (rc == 0) *(auth_org *)out = org_show(&row, role);
    return rc;
}

/* ---- writing ---- */

int org_make(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    user_row user = {.id = sv_cstr(q->who.user)};
    int rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || user.disabled || user.service) {
        *store_error(tx) = (sv_error){.code = 0};
        return sv_fail(store_error(tx), SV_E_DENIED, NULL, "Only users make organizations.");
    }
    if ((rc = org_may_own(tx, user.id, q->owned_most))) return rc;
    org_row row = {.id = sv_cstr(q->fresh),
                   .name = sv_cstr(q->name),
                   .members = 1,
                   .created = store_now_ms(tx)};
    member_row owner = {.org = row.id,
                        .user = user.id,
                        .role = sv_cstr(role_name(ROLE_OWNER)),
                        .since = row.created};
    rc = store_insert(tx, &auth_orgs, &row);
    if (rc == 0) rc = store_insert(tx, &auth_members, &owner);
    if (rc) return rc;
    *(auth_org *)out = org_show(&row, ROLE_OWNER);
    return audit_add(
        tx, &(auth_event){
                .chain = q->fresh, .event = "org.made", .actor = q->who.actor, .target = q->fresh});
}

/* Routers keep only what is not usual. */
static int tell_prompts(store_tx *tx, const char *org, bool on)
{
    buf data;
    buf_init(&data, 256);
    int rc = on ? message_encode(&auth_org_settings_msg, &(auth_org_settings){.log_prompts = true},
                                 &data)
                : 0;
    if (rc == 0) rc = feed_put(tx, "org", sv_cstr(org), sv_cstr(org), buf_str(&data));
    buf_free(&data);
    return rc;
}

static int note_change(store_tx *tx, const org_act *q, const char *event, const char *detail)
{
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = event,
                                       .actor = q->who.actor,
                                       .target = q->org,
                                       .detail = detail});
}

int org_change(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    org_row row;
    member_role role;
    bool asks = q->log_prompts != ORG_PROMPTS_STAY, on = q->log_prompts == ORG_PROMPTS_ON;
    int rc = org_enter(tx, q, asks ? ROLE_OWNER : ROLE_ADMIN, &row, &role);
    if (rc) return rc;
    bool renamed = q->name[0] && !sv_str_is(row.name, q->name);
    bool switched = asks && row.log_prompts != on;
    if (renamed) row.name = sv_cstr(q->name);
    if (switched) row.log_prompts = on;
    *(auth_org *)out = org_show(&row, role);
    if (renamed || switched) rc = store_put(tx, &auth_orgs, &row);
    if (rc == 0 && switched) rc = tell_prompts(tx, q->org, on);
    if (rc == 0 && renamed) rc = note_change(tx, q, "org.renamed", NULL);
    if (rc == 0 && switched) rc = note_change(tx, q, "org.log_prompts", on ? "on" : "off");
    return rc;
}

int org_end(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const org_act *q = in;
    org_row row;
    member_role role;
    int rc = org_enter(tx, q, ROLE_OWNER, &row, &role);
    if (rc) return rc;
    if (row.personal)
        return sv_fail(store_error(tx), SV_E_INVALID, "id",
                       "A personal organization stays as long as its user.");
    row.deleted = store_now_ms(tx);
    rc = store_put(tx, &auth_orgs, &row);
    if (rc == 0 && row.log_prompts) rc = tell_prompts(tx, q->org, false);
    auth_event said = {.event = "org.deleted", .actor = q->who.actor, .target = q->org};
    if (rc == 0) rc = audit_add(tx, &said);
    said.chain = q->org;
    return rc ? rc : audit_add(tx, &said);
}

/* ---- what hangs on one that is deleted ---- */

/* The organization called `id`, or the first one that is deleted. False: there is none. */
static int find_deleted(store_tx *tx, const char *id, char ret[AUTH_ID + 1], bool *ret_found)
{
    org_row row = {.id = sv_cstr(id)}, low = {.deleted = 1};
    store_range range = {
        .table = &auth_orgs, .index = "by_deleted", .low = &low, .low_n = 1, .limit = 1};
    store_scan *scan;
    int rc;
    if (id[0]) {
        rc = store_get(tx, &auth_orgs, &row);
        *ret_found = rc == 0 && row.deleted > 0;
        snprintf(ret, AUTH_ID + 1, "%s", id);
        return rc == SV_E_NOT_FOUND ? 0 : rc;
    }
    rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    *ret_found = store_scan_next(scan, &row);
    if (*ret_found) snprintf(ret, AUTH_ID + 1, "%.*s", SV_FMT(row.id));
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int drop_members(store_tx *tx, const char *org, uint32_t *left)
{
    member_row m, like = {.org = sv_cstr(org)};
    store_range range = auth_same(&auth_members, NULL, &like, 1, *left);
    store_scan *scan;
    char user[AUTH_ID + 1];
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &m)) {
        --*left;
        snprintf(user, sizeof user, "%.*s", SV_FMT(m.user));
        rc = member_drop(tx, sv_cstr(org), sv_cstr(user));
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int drop_invitations(store_tx *tx, const char *org, uint32_t *left)
{
    invitation_row row, like = {.org = sv_cstr(org)};
    store_range range = auth_same(&auth_invitations_table, "by_org", &like, 1, *left);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        --*left;
        rc = store_delete(tx, &auth_invitations_table, &row);
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int org_end_piece(store_tx *tx, const void *in, void *out)
{
    bool *done = out, found = false;
    char org[AUTH_ID + 1] = "";
    uint32_t left = MEMBER_PIECE;
    int rc = find_deleted(tx, in, org, &found);
    *done = !found;
    if (rc || !found) return rc;
    rc = drop_members(tx, org, &left);
    if (rc == 0 && left > 0) rc = drop_invitations(tx, org, &left);
    if (rc == 0 && left > 0) rc = budgets_drop(tx, sv_cstr(org), NULL, (sv_str){NULL, 0}, &left);
    if (rc == 0 && left > 0) rc = providers_drop(tx, sv_cstr(org), (sv_str){NULL, 0}, &left);
    if (rc || left == 0) return rc;
    *done = ((const char *)in)[0] != 0;
    return store_delete(tx, &auth_orgs, &(org_row){.id = sv_cstr(org)});
}

/* ---- sessions ---- */

/* When access without the refresh token is over: who has got hold of an access token alone must not
 * keep the session by switching. Acting as somebody else has no refresh token. */
static int64_t access_ends(const session_row *s)
{
    int64_t end = s->last_used + (int64_t)jwt_life_s(JWT_ACCESS) * 1000;
    return s->impersonator.n == 0 && end < s->expires ? end : s->expires;
}

int org_change_session(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    auth_login_result *ret = out;
    org_row row;
    member_role role;
    int rc = org_enter(tx, q, ROLE_VIEWER, &row, &role);
    if (rc) return rc;
    session_row s = {.id = sv_cstr(q->session)};
    user_row user = {.id = sv_cstr(q->who.user)};
    rc = q->session[0] ? store_get(tx, &auth_sessions_table, &s) : SV_E_NOT_FOUND;
    if (rc == 0) rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || s.revoked || !sv_str_is(s.user, q->who.user) || user.disabled) {
        *store_error(tx) = (sv_error){.code = 0};
        return sv_fail(store_error(tx), SV_E_TOKEN_REVOKED, NULL, NULL);
    }
    *ret = (auth_login_result){.now_ms = store_now_ms(tx), .expires = access_ends(&s)};
    if (ret->now_ms >= ret->expires)
        return sv_fail(store_error(tx), SV_E_TOKEN_EXPIRED, NULL, NULL);
    auth_user_copy(&user, &ret->user);
    snprintf(ret->session, sizeof ret->session, "%s", q->session);
    snprintf(ret->org, sizeof ret->org, "%s", q->org);
    snprintf(ret->role, sizeof ret->role, "%s", role_name(role));
    snprintf(ret->impersonator, sizeof ret->impersonator, "%.*s", SV_FMT(s.impersonator));
    if ((rc = tier_of(tx, user.id, row.id, ret->tier))) return rc;
    if (sv_str_is(s.org, q->org)) return 0;
    s.org = sv_cstr(q->org);
    rc = store_put(tx, &auth_sessions_table, &s);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = "org.switched",
                                       .actor = q->who.actor,
                                       .target = q->session});
}
