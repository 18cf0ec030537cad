/*  grants.c - see grants.h. */
#include "grants.h"

#include "auth.h"
#include "caller.h"
#include "error.h"
#include "keys.h"
#include "members.h"
#include "sv_limits.h"
#include "uuid.h"

#include <stdio.h>

enum { TICKET_S = 15 * 60 };

static const char no_grant[] = "There is no such grant.";

/* ---- in the store ---- */

/* The user's role in the organization; ROLE_NONE also for an account that is shut or gone. */
static int read_rights(store_tx *tx, sv_str user, sv_str org, bool *ret_admin, member_role *ret)
{
    user_row row = {.id = user};
    *ret = ROLE_NONE;
    *ret_admin = false;
    int rc = user.n ? store_get(tx, &auth_users, &row) : SV_E_NOT_FOUND;
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    if (row.disabled) return 0;
    *ret_admin = row.admin;
    return member_read(tx, org, user, ret);
}

/* The user's grant for the same job, and how many he has, up to the limit. */
static int find_same(store_tx *tx, const grant_row *like, grant_row *ret, bool *ret_found)
{
    grant_row row;
    store_range range = auth_same(&auth_grants, "by_job", like, 1, 0);
    store_scan *scan;
    uint32_t n = 0;
    char id[AUTH_ID + 1] = "";
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    for (; n < GRANTS_MOST && id[0] == 0 && store_scan_next(scan, &row); n++)
        if (sv_str_eq(row.org, like->org) && sv_str_eq(row.service, like->service) &&
            sv_str_eq(row.job, like->job))
            snprintf(id, sizeof id, "%.*s", SV_FMT(row.id));
    rc = store_scan_result(scan);
    store_scan_close(scan);
    *ret_found = id[0];
    if (rc == 0 && id[0] == 0 && n == GRANTS_MOST)
        return sv_fail(store_error(tx), SV_E_QUOTA, NULL,
                       "There are %d grants for this user already, as many as one may have.",
                       GRANTS_MOST);
    if (rc || id[0] == 0) return rc;
    const char *copy = arena_copy(store_arena(tx), sv_cstr(id));
    if (copy == NULL) return SV_E_NO_MEMORY;
    *ret = (grant_row){.id = {copy, AUTH_ID}};
    return store_get(tx, &auth_grants, ret);
}

int grant_insert(store_tx *tx, const void *in, void *out)
{
    const grant_new *n = in;
    const auth_grant_req *q = n->request;
    char *ret = out;
    int64_t now = store_now_ms(tx);
    bool admin, found;
    member_role role;
    grant_row same, row = {.id = sv_cstr(n->id),
                           .service = sv_cstr(n->service),
                           .job = q->job,
                           .user = sv_cstr(n->asker.who.id),
                           .org = sv_cstr(n->asker.org),
                           .scopes = n->scopes,
                           .created = now,
                           .expires = q->expires};
    if (n->asker.key[0]) row.key = sv_cstr(n->asker.key);
    if (q->expires && q->expires <= now)
        return auth_fail(tx, SV_E_INVALID, "expires", "The grant would have expired already.");
    int rc = read_rights(tx, row.user, row.org, &admin, &role);
    if (rc) return rc;
    if (role == ROLE_NONE)
        return auth_fail(tx, SV_E_DENIED, NULL,
                         "The user of this ticket may nothing there any more.");
    rc = find_same(tx, &row, &same, &found);
    if (rc) return rc;
    if (found) {
        row.id = same.id;
        row.created = same.created;
    }
    snprintf(ret, AUTH_ID + 1, "%.*s", SV_FMT(row.id));
    rc = store_put(tx, &auth_grants, &row);
    if (rc || found) return rc;
    return audit_add(tx, &(auth_event){.chain = n->asker.org,
                                       .event = "grant.made",
                                       .actor = n->asker.who.actor,
                                       .target = ret});
}

static int find(store_tx *tx, const grant_ask *q, grant_row *ret)
{
    *ret = (grant_row){.id = q->id};
    int rc = q->id.n ? store_get(tx, &auth_grants, ret) : SV_E_NOT_FOUND;
    if (rc == SV_E_NOT_FOUND || (rc == 0 && !sv_str_is(ret->service, q->service)))
        return auth_fail(tx, SV_E_NOT_FOUND, "grant", no_grant);
    return rc;
}

int grant_remove(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const grant_ask *q = in;
    char org[AUTH_ID + 1], id[AUTH_ID + 1];
    grant_row row;
    int rc = find(tx, q, &row);
    if (rc) return rc;
    snprintf(org, sizeof org, "%.*s", SV_FMT(row.org));
    snprintf(id, sizeof id, "%.*s", SV_FMT(row.id));
    rc = store_delete(tx, &auth_grants, &(grant_row){.id = sv_cstr(id)});
    if (rc) return rc;
    return audit_add(
        tx, &(auth_event){.chain = org, .event = "grant.ended", .actor = q->service, .target = id});
}

static int check_key(store_tx *tx, sv_str id)
{
    key_row key = {.id = id};
    if (id.n == 0) return 0;
    int rc = store_get(tx, &auth_keys_table, &key);
    if (rc == SV_E_NOT_FOUND || (rc == 0 && key.expires && key.expires <= store_now_ms(tx)))
        return auth_fail(tx, SV_E_DENIED, "grant",
                         "The API key that this was asked for with has ended.");
    return rc;
}

int grant_look(store_tx *tx, const void *in, void *out)
{
    grant_rights *ret = out;
    grant_row row;
    member_role role;
    char tier[TIER_BYTES];
    bool admin;
    int rc = find(tx, in, &row);
    if (rc == 0) rc = check_key(tx, row.key);
    if (rc == 0) rc = read_rights(tx, row.user, row.org, &admin, &role);
    if (rc) return rc;
    if (role == ROLE_NONE)
        return auth_fail(tx, SV_E_DENIED, "grant",
                         "The user of this grant may nothing there any more.");
    rc = tier_of(tx, row.user, row.org, tier);
    const char *copy = arena_copy(store_arena(tx), sv_cstr(tier));
    if (rc == 0 && copy == NULL) rc = SV_E_NO_MEMORY;
    *ret = (grant_rights){.user = row.user, /* rows of store_get live in the arena */
                          .org = row.org,
                          .role = sv_cstr(role_name(role)),
                          .tier = sv_cstr(copy),
                          .job = row.job,
                          .admin =
                              admin && (row.scopes.n == 0 || key_scopes_have(row.scopes, "admin")),
                          .scopes = row.scopes,
                          .now_ms = store_now_ms(tx),
                          .expires = row.expires};
    return rc;
}

/* ---- methods ---- */

static bool among(const ticket *t, sv_str scope)
{
    for (uint32_t i = 0; i < t->n_scopes; i++)
        if (sv_str_eq(t->scopes[i], scope)) return true;
    return false;
}

/* What the grant gets: what is asked for, which must be among what the ticket has. */
static int choose_scopes(sv_call *call, ticket *t, sv_strs asked, sv_strs *ret)
{
    for (uint32_t i = 0; i < asked.n; i++) {
        sv_str s = asked.items[i];
        if (!key_scope_known(s))
            return sv_fail(sv_call_error(call), SV_E_INVALID, "scopes",
                           "There is no scope \"%.*s\": use " KEY_SCOPES ".",
                           (int)(s.n < 40 ? s.n : 40), s.p ? s.p : "");
        if (t->n_scopes && !among(t, s))
            return sv_fail(sv_call_error(call), SV_E_SCOPE, "scopes",
                           "The ticket does not have the scope %.*s.", SV_FMT(s));
    }
    *ret = asked.n ? asked : (sv_strs){t->scopes, t->n_scopes};
    return 0;
}

int auth_grant_new(sv_call *call, const void *request)
{
    const auth_grant_req *q = request;
    auth_caller by;
    ticket t;
    char id[AUTH_ID + 1];
    grant_new *n = arena_alloc(sv_call_arena(call), sizeof *n);
    if (n == NULL) return SV_E_NO_MEMORY;
    int rc = auth_caller_user(call, &by);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = key_asker_of(call, (sv_str){NULL, 0}, &n->asker, &by);
    if (rc == 0) rc = ticket_read(sv_call_ticket(call), &t, sv_call_error(call));
    if (rc) return rc;
    if (t.bound.n)
        return sv_fail(
            sv_call_error(call), SV_E_DENIED, NULL,
            "Delegated work cannot be delegated again: this takes the user's own ticket.");
    if (q->job.n == 0) return sv_fail(sv_call_error(call), SV_E_INVALID, "job", "It is empty.");
    rc = choose_scopes(call, &t, q->scopes, &n->scopes);
    if (rc) return rc;
    sv_id number = uuid_new();
    uuid_format(&number, n->id);
    n->request = q;
    n->service = sv_call_caller(call);
    rc = auth_write(call, grant_insert, n, id);
    return rc ? rc : sv_reply(call, &(auth_grant_reply){.grant = sv_cstr(id)});
}

int auth_grant_end(sv_call *call, const void *request)
{
    const auth_delegate_req *q = request;
    grant_ask ask = {.id = q->grant, .service = sv_call_caller(call)};
    int rc = auth_write(call, grant_remove, &ask, NULL);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}

static int sign(const auth *a, const grant_ask *q, const grant_rights *r, int64_t expires_s,
                buf *out)
{
    char bound[LIMIT_NAME_BYTES + 1 + 100 + 1], credential[6 + AUTH_ID + 1];
    snprintf(bound, sizeof bound, "%s/%.*s", q->service, SV_FMT(r->job));
    snprintf(credential, sizeof credential, "grant/%.*s", SV_FMT(q->id));
    ticket t = {.user = r->user,
                .org = r->org,
                .tier = r->tier,
                .roles = {r->role, sv_cstr("platform_admin")},
                .n_roles = r->admin ? 2 : 1,
                .expires_s = (uint64_t)expires_s,
                .credential = sv_cstr(credential),
                .bound = sv_cstr(bound)};
    for (uint32_t i = 0; i < r->scopes.n && i < TICKET_LIST; i++)
        t.scopes[t.n_scopes++] = r->scopes.items[i];
    return ticket_sign(&a->tickets, &t, out);
}

int auth_delegate(sv_call *call, const void *request)
{
    const auth_delegate_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    grant_ask ask = {.id = q->grant, .service = sv_call_caller(call)};
    grant_rights rights;
    buf bytes;
    if (!a->signs_tickets)
        return sv_fail(sv_call_error(call), SV_E_UNAVAILABLE, NULL,
                       "This process was started without the key of tickets.");
    int rc = store_read(call, grant_look, &ask, &rights);
    if (rc) return rc;
    int64_t expires_s = rights.now_ms / 1000 + TICKET_S;
    if (rights.expires && rights.expires / 1000 < expires_s) expires_s = rights.expires / 1000;
    buf_init(&bytes, LIMIT_TICKET_BYTES);
    rc = sign(a, &ask, &rights, expires_s, &bytes);
    if (rc)
        sv_fail(sv_call_error(call), rc, NULL, NULL);
    else
        rc = sv_reply(
            call, &(auth_delegate_reply){.ticket = buf_str(&bytes), .expires = expires_s * 1000});
    buf_free(&bytes);
    return rc;
}
