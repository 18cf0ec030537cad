/*  services.c - service accounts: users of one organization that have keys and no password. Their
 *  e-mail address is in a domain that can have no mail (RFC 2606), so that nobody writes to them and
 *  nobody registers it. */
#include "keys.h"

#include "auth.h"
#include "error.h"
#include "live.h"
#include "members.h"
#include "uuid.h"

#include <stdio.h>

/* ---- in the store ---- */

static int may_make(store_tx *tx, const key_asker *who, sv_str org)
{
    user_row user;
    member_role role = ROLE_NONE;
    int rc = auth_user_find(tx, who->who.email, who->who.id, &user);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0 && !user.disabled) rc = member_read(tx, org, user.id, &role);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (who->key[0] && !sv_str_is(org, who->org)) role = ROLE_NONE; /* a key works in one */
    if (role == ROLE_NONE)
        return auth_fail(tx, SV_E_NOT_FOUND, "id", "There is no such organization.");
    return role >= ROLE_ADMIN ? 0
                              : auth_fail(tx, SV_E_ROLE, NULL, sv_error_lookup(SV_E_ROLE)->text);
}

/* SV_E_QUOTA when the organization has as many as one may have. */
static int check_room(store_tx *tx, sv_str org)
{
    user_row row, like = {.service_org = org};
    store_range range = auth_same(&auth_users, "by_service_org", &like, 1, 0);
    store_scan *scan;
    int n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (n < SERVICE_ACCOUNTS && store_scan_next(scan, &row))
        n++;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || n < SERVICE_ACCOUNTS) return rc;
    return sv_fail(store_error(tx), SV_E_QUOTA, NULL,
                   "The organization has %d service accounts, as many as one may have.",
                   SERVICE_ACCOUNTS);
}

int service_insert(store_tx *tx, const void *in, void *out)
{
    const service_new *n = in;
    const auth_service_new_req *q = n->request;
    auth_member *ret = out;
    arena *a = store_arena(tx);
    char email[WORDS_EMAIL + 1];
    member_role role = q->role.n ? role_of(q->role) : ROLE_MEMBER;
    if (role != ROLE_VIEWER && role != ROLE_MEMBER && role != ROLE_ADMIN)
        return auth_fail(tx, SV_E_INVALID, "role", "The role must be admin, member or viewer.");
    if (q->name.n == 0) return auth_fail(tx, SV_E_INVALID, "name", "Say what the account is for.");
    int rc = may_make(tx, &n->asker, q->id);
    if (rc == 0) rc = check_room(tx, q->id);
    if (rc) return rc;
    snprintf(email, sizeof email, "%s@service.invalid", n->id);
    user_row row = {.id = sv_cstr(n->id),
                    .email = sv_cstr(email),
                    .name = q->name,
                    .org = q->id,
                    .service = true,
                    .service_org = q->id,
                    .created = store_now_ms(tx)};
    rc = store_insert(tx, &auth_users, &row);
    if (rc == 0) rc = member_add(tx, q->id, row.id, role);
    if (rc) return rc;
    char *copy = arena_copy(a, row.email);
    if (copy == NULL) return SV_E_NO_MEMORY;
    *ret = (auth_member){.user = sv_cstr(n->id),
                         .email = {copy, row.email.n},
                         .name = q->name,
                         .role = sv_cstr(role_name(role)),
                         .since = row.created,
                         .service = true};
    char org[AUTH_ID + 1];
    snprintf(org, sizeof org, "%.*s", SV_FMT(q->id));
    return audit_add(tx, &(auth_event){.chain = org,
                                       .event = "service.created",
                                       .actor = n->asker.who.actor,
                                       .target = n->id});
}

int service_drop(store_tx *tx, sv_str user)
{
    user_row row = {.id = user};
    int rc = store_get(tx, &auth_users, &row);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    if (!row.service) return 0;
    rc = keys_drop(tx, user, (sv_str){NULL, 0});
    return rc ? rc : store_delete(tx, &auth_users, &(user_row){.id = user});
}

/* ---- the method ---- */

int auth_service_new(sv_call *call, const void *request)
{
    const auth_service_new_req *q = request;
    sv_id number = uuid_new();
    auth_member made;
    char org[AUTH_ID + 1];
    auth_caller by;
    service_new *n = arena_alloc(sv_call_arena(call), sizeof *n);
    if (n == NULL) return SV_E_NO_MEMORY;
    int rc = key_asker_of(call, (sv_str){NULL, 0}, &n->asker, &by);
    if (rc == 0) rc = key_maker_himself(call, &by);
    if (rc) return rc;
    if (n->asker.operator)
        return sv_fail(sv_call_error(call), SV_E_DENIED, NULL,
                       "Service accounts are made by administrators of the organization.");
    n->request = q;
    uuid_format(&number, n->id);
    rc = auth_write(call, service_insert, n, &made);
    if (rc) return rc;
    snprintf(org, sizeof org, "%.*s", SV_FMT(q->id));
    live_tell(sv_process_state(sv_call_process(call)), org, NULL, "member.changed", NULL);
    return sv_reply(call, &(auth_member_reply){.member = &made});
}
