/*  invitations.c - rows of invitations that can still be used: an invitation that was used, dropped
 *  or replaced has none. The audit log of the organization has the rest. */
#include "org_store.h"

#include "error.h"
#include "outbox.h"

#include <stdio.h>

enum { MAIL_DETAIL = 200, MAILS_EACH = 5, MAILS_WINDOW_MS = 60 * 60 * 1000 };

static int no_link(store_tx *tx)
{
    *store_error(tx) = (sv_error){.code = 0};
    return sv_fail(store_error(tx), SV_E_LINK, "token", NULL);
}

static auth_invitation show(const invitation_row *row, sv_str org_name)
{
    return (auth_invitation){.id = row->id,
                             .org = row->org,
                             .org_name = org_name,
                             .email = row->email,
                             .role = row->role,
                             .by = row->by,
                             .created = row->created,
                             .expires = row->expires};
}

static int open_scan(store_tx *tx, const char *org, const char *after, store_scan **ret)
{
    invitation_row low = {.org = sv_cstr(org), .id = sv_cstr(after)};
    store_range range = {.table = &auth_invitations_table,
                         .index = "by_org",
                         .low = &low,
                         .high = &low,
                         .low_n = after[0] ? 2 : 1,
                         .high_n = 1};
    return store_scan_open(tx, &range, ret);
}

/* ---- inviting ---- */

static int is_member(store_tx *tx, const org_act *q, user_row *ret_user)
{
    member_role role;
    int rc = auth_user_find(tx, q->email, "", ret_user);
    if (rc) {
        *ret_user = (user_row){.id = {NULL, 0}};
        return rc == SV_E_NOT_FOUND ? 0 : rc;
    }
    rc = member_read(tx, sv_cstr(q->org), ret_user->id, &role);
    if (rc || role == ROLE_NONE) return rc;
    return sv_fail(store_error(tx), SV_E_CONFLICT, "email",
                   "The user with this address is a member already.");
}

/* Makes room: an invitation for the same address goes. */
static int replace(store_tx *tx, const org_act *q)
{
    invitation_row row;
    store_scan *scan;
    uint32_t n = 0;
    int rc = open_scan(tx, q->org, "", &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        if (q->email[0] && sv_str_is(row.email, q->email))
            rc = store_delete(tx, &auth_invitations_table, &row);
        else
            n++;
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || n < INVITATIONS_MOST) return rc;
    return sv_fail(store_error(tx), SV_E_QUOTA, NULL,
                   "An organization has at most %d open invitations: drop one first.",
                   INVITATIONS_MOST);
}

/* Anybody may have an organization and write to any address in its name: no address gets more than
 * MAILS_EACH of such mails in a window, whoever sends them. */
static int may_send(store_tx *tx, const char *email)
{
    uint8_t name[WORDS_HASH];
    int64_t wait_ms = 0;
    words_hash("invited", email, name);
    int rc = tries_within(tx, name, MAILS_EACH, MAILS_WINDOW_MS, &wait_ms);
    if (rc || wait_ms == 0) return rc;
    store_error(tx)->retry_after_ms = (uint32_t)wait_ms;
    return sv_fail(store_error(tx), SV_E_RATE, "email",
                   "This address has been invited %d times within an hour: wait before the next.",
                   MAILS_EACH);
}

static int send(store_tx *tx, const org_act *q, const org_row *org, const user_row *invited)
{
    user_row by = {.id = sv_cstr(q->who.user)};
    char name[AUTH_NAME + 1], detail[MAIL_DETAIL + 1] = "", locale[AUTH_LOCALE + 1];
    int rc = store_get(tx, &auth_users, &by);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    sv_str who = by.name.n ? by.name : by.email;
    if (rc == 0 && who.n <= MAIL_DETAIL) snprintf(detail, sizeof detail, "%.*s", SV_FMT(who));
    snprintf(name, sizeof name, "%.*s", SV_FMT(org->name));
    snprintf(locale, sizeof locale, "%.*s", SV_FMT(invited->id.n ? invited->locale : by.locale));
    return outbox_add(tx, &(outbox_mail){.to = q->email,
                                         .template = "invitation",
                                         .locale = locale,
                                         .link = q->link,
                                         .org = name,
                                         .detail = detail});
}

int invitation_make(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    org_row org;
    user_row invited = {.id = {NULL, 0}};
    member_role mine;
    int rc = org_enter(tx, q, ROLE_ADMIN, &org, &mine);
    if (rc) return rc;
    if (org.personal)
        return sv_fail(store_error(tx), SV_E_INVALID, "id",
                       "A personal organization takes no members: make another one.");
    if (q->role > ROLE_ADMIN || q->role > mine)
        return sv_fail(store_error(tx), SV_E_ROLE, NULL, "Nobody is invited as an owner.");
    if (q->email[0] && (rc = is_member(tx, q, &invited))) return rc;
    if ((rc = replace(tx, q))) return rc;
    if (q->email[0] && (rc = may_send(tx, q->email))) return rc;
    int64_t now = store_now_ms(tx);
    invitation_row row = {.id = sv_cstr(q->fresh),
                          .org = org.id,
                          .hash = {(const char *)q->hash, WORDS_HASH},
                          .role = sv_cstr(role_name(q->role)),
                          .by = sv_cstr(q->who.user),
                          .created = now,
                          .expires = now + q->life_ms};
    if (q->email[0]) row.email = sv_cstr(q->email);
    rc = store_insert(tx, &auth_invitations_table, &row);
    if (rc == 0 && q->email[0]) rc = send(tx, q, &org, &invited);
    if (rc) return rc;
    *(auth_invitation *)out = show(&row, org.name);
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = "invitation.made",
                                       .actor = q->who.actor,
                                       .target = q->fresh});
}

int invitation_some(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    invitation_page *page = out;
    org_row org;
    member_role role;
    invitation_row row;
    store_scan *scan;
    *page = (invitation_page){.n = 0};
    int rc = org_enter(tx, q, ROLE_ADMIN, &org, &role);
    if (rc) return rc;
    arena *a = store_arena(tx);
    page->items = arena_alloc(a, AUTH_PAGE * sizeof *page->items);
    if (page->items == NULL) return SV_E_NO_MEMORY;
    if ((rc = open_scan(tx, q->org, q->after, &scan))) return rc;
    for (uint32_t bytes = 0; store_scan_next(scan, &row);) {
        if (q->after[0] && sv_str_is(row.id, q->after)) continue;
        if (page->n == AUTH_PAGE || bytes > AUTH_PAGE_BYTES) {
            page->next = page->items[page->n - 1].id;
            break;
        }
        if (!org_keep(a, &row.id) || !org_keep(a, &row.email) || !org_keep(a, &row.role) ||
            !org_keep(a, &row.by))
            return SV_E_NO_MEMORY;
        bytes += row.email.n + org.name.n;
        row.org = org.id;
        page->items[page->n++] = show(&row, org.name);
    }
    return store_scan_result(scan);
}

int invitation_end(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const org_act *q = in;
    org_row org;
    member_role role;
    int rc = org_enter(tx, q, ROLE_ADMIN, &org, &role);
    if (rc) return rc;
    invitation_row row = {.id = sv_cstr(q->fresh)};
    rc = q->fresh[0] ? store_get(tx, &auth_invitations_table, &row) : SV_E_NOT_FOUND;
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || !sv_str_is(row.org, q->org)) {
        *store_error(tx) = (sv_error){.code = 0};
        return sv_fail(store_error(tx), SV_E_NOT_FOUND, "invitation",
                       "There is no such invitation.");
    }
    rc = store_delete(tx, &auth_invitations_table, &row);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = q->org,
                                       .event = "invitation.dropped",
                                       .actor = q->who.actor,
                                       .target = q->fresh});
}

/* ---- by the link ---- */

static int find(store_tx *tx, const uint8_t *hash, invitation_row *ret, org_row *ret_org)
{
    invitation_row like = {.hash = {(const char *)hash, WORDS_HASH}};
    int rc = auth_find(tx, &auth_invitations_table, "by_hash", &like, ret, &ret->id);
    if (rc) return rc == SV_E_NOT_FOUND ? no_link(tx) : rc;
    *ret_org = (org_row){.id = ret->org};
    rc = store_get(tx, &auth_orgs, ret_org);
    return rc == SV_E_NOT_FOUND || (rc == 0 && ret_org->deleted) ? no_link(tx) : rc;
}

/* Who has the link learns where it leads, for whom it is and for how long. */
int invitation_by_token(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    invitation_row row;
    org_row org;
    int rc = find(tx, q->hash, &row, &org);
    if (rc) return rc;
    *(auth_invitation *)out = (auth_invitation){
        .org_name = org.name, .email = row.email, .role = row.role, .expires = row.expires};
    return 0;
}

int invitation_use(store_tx *tx, const uint8_t hash[WORDS_HASH], const user_row *user,
                   bool confirmed, const char *actor, invitation_used *ret)
{
    invitation_row row;
    org_row org;
    int rc = find(tx, hash, &row, &org);
    if (rc) return rc;
    if (row.email.n && !sv_str_eq(row.email, user->email))
        return sv_fail(store_error(tx), SV_E_DENIED, "token",
                       "This invitation is for another e-mail address.");
    if (row.email.n && confirmed && !user->verified)
        return sv_fail(store_error(tx), SV_E_NOT_VERIFIED, NULL, NULL);
    *ret = (invitation_used){.role = role_of(row.role)};
    snprintf(ret->id, sizeof ret->id, "%.*s", SV_FMT(row.id));
    snprintf(ret->org, sizeof ret->org, "%.*s", SV_FMT(row.org));
    snprintf(ret->by, sizeof ret->by, "%.*s", SV_FMT(row.by));
    snprintf(ret->email, sizeof ret->email, "%.*s", SV_FMT(row.email));
    char id[AUTH_ID + 1];
    snprintf(id, sizeof id, "%.*s", SV_FMT(user->id));
    rc = store_delete(tx, &auth_invitations_table, &row);
    if (rc == 0) rc = member_add(tx, row.org, user->id, ret->role);
    auth_event said = {
        .chain = ret->org, .event = "invitation.used", .actor = actor, .target = ret->id};
    if (rc == 0) rc = audit_add(tx, &said);
    said.event = "member.added";
    said.target = id;
    said.detail = role_name(ret->role);
    return rc ? rc : audit_add(tx, &said);
}

int invitation_take(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    user_row user = {.id = sv_cstr(q->who.user)};
    invitation_used used;
    int rc = store_get(tx, &auth_users, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || user.disabled || user.service) {
        *store_error(tx) = (sv_error){.code = 0};
        return sv_fail(store_error(tx), SV_E_DENIED, NULL, "Only users accept invitations.");
    }
    rc = invitation_use(tx, q->hash, &user, true, q->who.actor, &used);
    if (rc) return rc;
    org_row org = {.id = sv_cstr(used.org)};
    rc = store_get(tx, &auth_orgs, &org);
    if (rc == 0) *(auth_org *)out = org_show(&org, used.role);
    return rc;
}
