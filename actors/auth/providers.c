/*  providers.c - providers in the store; see providers.h. */
#include "providers.h"

#include "error.h"
#include "feed.h"
#include "members.h"

#include <stdio.h>

enum {
    DATA_BYTES = 16384,
    DETAIL = 150,
    LISTED = 2 * PROVIDERS_MOST,
    PLACE = 80,      /* in the index, as text */
    ITEM_BYTES = 700 /* of one in a list, beside its address */
};

static const char feed_kind[] = "provider", active[] = "active", disabled[] = "disabled";

static int nothing(store_tx *tx)
{
    return auth_fail(tx, SV_E_NOT_FOUND, "id", "There is no such provider.");
}

/* ---- one row ---- */

static auth_provider_limits *limits_of(arena *a, const provider_row *p, bool *ok)
{
    if (p->day + p->month + p->minute_requests + p->minute_tokens == 0) return NULL;
    auth_provider_limits *l = arena_alloc(a, sizeof *l);
    if (l)
        *l = (auth_provider_limits){p->day, p->month, p->minute_requests, p->minute_tokens};
    else
        *ok = false;
    return l;
}

static int show(arena *a, const provider_row *p, auth_provider *ret)
{
    bool ok = true;
    *ret = (auth_provider){.id = auth_kept(a, p->id, &ok),
                           .org = auth_kept(a, p->org, &ok),
                           .user = auth_kept(a, p->user, &ok),
                           .name = auth_kept(a, p->name, &ok),
                           .kind = auth_kept(a, p->kind, &ok),
                           .base_url = auth_kept(a, p->base_url, &ok),
                           .api_version = auth_kept(a, p->api_version, &ok),
                           .last4 = auth_kept(a, p->last4, &ok),
                           .status = sv_cstr(p->disabled ? disabled : active),
                           .created = p->created,
                           .changed = p->changed,
                           .creator = auth_kept(a, p->creator, &ok),
                           .limits = limits_of(a, p, &ok)};
    return ok ? 0 : SV_E_NO_MEMORY;
}

static int tell(store_tx *tx, const auth_provider *p, sv_str sealed)
{
    buf data;
    tenant_provider said = {.provider = (auth_provider *)(uintptr_t)p, .sealed = sealed};
    buf_init(&data, DATA_BYTES);
    int rc = message_encode(&tenant_provider_msg, &said, &data);
    if (rc == 0) rc = feed_put(tx, feed_kind, p->id, p->org, buf_str(&data));
    buf_free(&data);
    return rc;
}

static int note(store_tx *tx, const provider_act *q, const auth_provider *p, const char *event,
                const char *what)
{
    char chain[AUTH_ID + 1], id[AUTH_ID + 1], detail[DETAIL];
    snprintf(chain, sizeof chain, "%.*s", SV_FMT(p->org));
    snprintf(id, sizeof id, "%.*s", SV_FMT(p->id));
    snprintf(detail, sizeof detail, "%s %.*s%s", p->user.n ? "user" : "org", SV_FMT(p->name), what);
    return audit_add(
        tx,
        &(auth_event){
            .chain = chain, .event = event, .actor = q->who.actor, .target = id, .detail = detail});
}

/* ---- who may ---- */

static int role_in(store_tx *tx, const auth_caller *who, sv_str org, member_role *ret)
{
    *ret = ROLE_NONE;
    if (who->operator|| org.n == 0 || !sv_str_is(org, who->org)) return 0;
    return member_read(tx, org, sv_cstr(who->user), ret);
}

/* The organization's are seen by whoever is in it, a member's by himself; the operator sees all. */
static bool may_see(const auth_caller *who, const provider_row *p, member_role role)
{
    if (who->operator) return true;
    return role != ROLE_NONE && (p->user.n == 0 || sv_str_is(p->user, who->user));
}

static int may_change(store_tx *tx, const auth_caller *who, sv_str user, member_role role)
{
    if (who->operator|| user.n || role >= ROLE_ADMIN) return 0;
    return auth_fail(
        tx, SV_E_ROLE, "level",
        "Only administrators of the organization bring and change its providers: level "
        "user is for keys of your own.");
}

static int find(store_tx *tx, const provider_act *q, provider_row *ret, member_role *ret_role)
{
    *ret = (provider_row){.id = sv_cstr(q->id)};
    int rc = q->id[0] ? store_get(tx, &auth_providers_table, ret) : SV_E_NOT_FOUND;
    if (rc == SV_E_NOT_FOUND) return nothing(tx);
    if (rc == 0) rc = role_in(tx, &q->who, ret->org, ret_role);
    if (rc) return rc;
    return may_see(&q->who, ret, *ret_role) ? 0 : nothing(tx);
}

/* ---- bringing ---- */

/* Names are unique among an organization's, and among a member's there: his own hide its. */
static int check_name(store_tx *tx, const provider_row *p)
{
    provider_row row;
    store_range range = auth_same(&auth_providers_table, "by_name", p, 3, 1);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    bool there = store_scan_next(scan, &row) && !sv_str_eq(row.id, p->id);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || !there) return rc;
    return auth_fail(
        tx, SV_E_CONFLICT, "name",
        "There is a provider of this name already: change that one, or take another name.");
}

static int check_room(store_tx *tx, const provider_row *p)
{
    provider_row row;
    store_range range = auth_same(&auth_providers_table, "by_name", p, 2, PROVIDERS_MOST);
    store_scan *scan;
    uint32_t n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &row))
        n++;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || n < PROVIDERS_MOST) return rc;
    return auth_fail(tx, SV_E_QUOTA, NULL,
                     "There are as many providers as there may be: delete one.");
}

static int set_status(store_tx *tx, sv_str status, provider_row *row)
{
    if (status.n == 0) return 0;
    row->disabled = sv_str_is(status, disabled);
    if (row->disabled || sv_str_is(status, active)) return 0;
    return auth_fail(tx, SV_E_INVALID, "status", "The status must be active or disabled.");
}

static void set_limits(const auth_provider_limits *l, provider_row *row)
{
    if (l == NULL) return;
    row->day = l->day;
    row->month = l->month;
    row->minute_requests = l->minute_requests;
    row->minute_tokens = l->minute_tokens;
}

static int put_new(store_tx *tx, const provider_act *q, provider_row *row)
{
    const auth_provider_put_req *s = q->put;
    member_role role = ROLE_NONE;
    *row = (provider_row){.id = s->id,
                          .org = sv_cstr(q->who.org),
                          .user = s->whole_org ? (sv_str){NULL, 0} : sv_cstr(q->who.user),
                          .name = s->name,
                          .kind = s->kind,
                          .base_url = s->base_url,
                          .api_version = s->api_version,
                          .last4 = s->last4,
                          .sealed = s->sealed,
                          .creator = sv_cstr(q->who.user),
                          .created = store_now_ms(tx),
                          .changed = store_now_ms(tx)};
    set_limits(s->limits, row);
    if (q->who.operator)
        return auth_fail(tx, SV_E_NO_CREDENTIALS, NULL,
                         "Providers belong to users: log in as one.");
    if (s->name.n == 0 || s->kind.n == 0 || s->base_url.n == 0 || s->sealed.n == 0)
        return auth_fail(tx, SV_E_MISSING_FIELD, "name",
                         "A new provider has a name, kind, base_url and key.");
    int rc = role_in(tx, &q->who, row->org, &role);
    if (rc) return rc;
    if (role == ROLE_NONE)
        return auth_fail(tx, SV_E_NOT_FOUND, "org", "There is no such organization.");
    rc = may_change(tx, &q->who, row->user, role);
    if (rc == 0) rc = set_status(tx, s->status, row);
    if (rc == 0) rc = check_name(tx, row);
    return rc ? rc : check_room(tx, row);
}

/* The words of the event say what was changed. */
static int put_more(store_tx *tx, const provider_act *q, provider_row *row, const char **ret_what)
{
    const auth_provider_put_req *s = q->put;
    member_role role = ROLE_NONE;
    int rc = find(tx, q, row, &role);
    if (rc == 0) rc = may_change(tx, &q->who, row->user, role);
    if (rc) return rc;
    *ret_what = s->sealed.n   ? ": another key"
                : s->status.n ? ": status"
                : s->limits   ? ": limits"
                              : ": name";
    set_limits(s->limits, row);
    if (s->name.n) row->name = s->name;
    if (s->sealed.n) {
        row->sealed = s->sealed;
        row->last4 = s->last4;
    }
    row->changed = store_now_ms(tx);
    rc = set_status(tx, s->status, row);
    return rc ? rc : check_name(tx, row);
}

int provider_put(store_tx *tx, const void *in, void *out)
{
    const provider_act *q = in;
    const char *what = "";
    provider_row row;
    bool ok = true;
    int rc = q->put->anew ? put_new(tx, q, &row) : put_more(tx, q, &row, &what);
    if (rc == 0) rc = show(store_arena(tx), &row, out); /* writing moves what was read */
    sv_str sealed = rc == 0 ? auth_kept(store_arena(tx), row.sealed, &ok) : (sv_str){NULL, 0};
    if (!ok) rc = SV_E_NO_MEMORY;
    if (rc == 0)
        rc = q->put->anew ? store_insert(tx, &auth_providers_table, &row)
                          : store_put(tx, &auth_providers_table, &row);
    if (rc == 0) rc = tell(tx, out, sealed);
    return rc ? rc : note(tx, q, out, q->put->anew ? "provider.created" : "provider.changed", what);
}

/* ---- looking and removing ---- */

int provider_one(store_tx *tx, const void *in, void *out)
{
    provider_row row;
    member_role role = ROLE_NONE;
    int rc = find(tx, in, &row, &role);
    return rc ? rc : show(store_arena(tx), &row, out);
}

int provider_remove(store_tx *tx, const void *in, void *out)
{
    const provider_act *q = in;
    const auth_provider *gone = out;
    provider_row row;
    member_role role = ROLE_NONE;
    int rc = find(tx, q, &row, &role);
    if (rc == 0) rc = may_change(tx, &q->who, row.user, role);
    if (rc == 0) rc = show(store_arena(tx), &row, out);
    if (rc == 0) rc = store_delete(tx, &auth_providers_table, &(provider_row){.id = gone->id});
    if (rc == 0) rc = feed_put(tx, feed_kind, gone->id, gone->org, (sv_str){NULL, 0});
    return rc ? rc : note(tx, q, gone, "provider.deleted", "");
}

int providers_drop(store_tx *tx, sv_str org, sv_str user, uint32_t *left)
{
    provider_row row, like = {.org = org, .user = user};
    store_range range =
        auth_same(&auth_providers_table, "by_name", &like, user.n ? 2 : 1, left ? *left : 0);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        char id[AUTH_ID + 1];
        if (left) --*left;
        snprintf(id, sizeof id, "%.*s", SV_FMT(row.id));
        rc = store_delete(tx, &auth_providers_table, &(provider_row){.id = sv_cstr(id)});
        if (rc == 0) rc = feed_put(tx, feed_kind, sv_cstr(id), org, (sv_str){NULL, 0});
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* Those of one owner: the organization (user empty) or a member. */
static int collect(store_tx *tx, const provider_row *like, auth_providers_reply *page)
{
    provider_row row;
    store_range range = auth_same(&auth_providers_table, "by_name", like, 2, PROVIDERS_MOST);
    store_scan *scan;
    auth_provider *items = page->providers.items;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && page->providers.n < LISTED && store_scan_next(scan, &row))
        rc = show(store_arena(tx), &row, &items[page->providers.n++]);
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* Everybody's there, for the operator. */
static int collect_page(store_tx *tx, const provider_act *q, auth_providers_reply *page)
{
    provider_row row, low = {.org = sv_cstr(q->org)};
    store_range range = {.table = &auth_providers_table,
                         .index = "by_name",
                         .low = &low,
                         .high = &low,
                         .low_n = 1,
                         .high_n = 1};
    const char *slash = q->after.n ? memchr(q->after.p, '/', q->after.n) : NULL;
    auth_provider *items = page->providers.items;
    store_scan *scan;
    size_t bytes = 0;
    bool ok = true;
    if (slash) {
        low.user = (sv_str){q->after.p, (uint32_t)(slash - q->after.p)};
        low.name = (sv_str){slash + 1, q->after.n - low.user.n - 1};
        range.low_n = 3;
    }
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        if (slash && sv_str_eq(row.user, low.user) && sv_str_eq(row.name, low.name)) continue;
        if (page->providers.n == AUTH_PAGE || bytes > AUTH_PAGE_BYTES) {
            const auth_provider *last = &items[page->providers.n - 1];
            char at[PLACE];
            snprintf(at, sizeof at, "%.*s/%.*s", SV_FMT(last->user), SV_FMT(last->name));
            page->next = auth_kept(store_arena(tx), sv_cstr(at), &ok);
            break;
        }
        bytes += ITEM_BYTES + row.base_url.n;
        rc = show(store_arena(tx), &row, &items[page->providers.n++]);
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return ok ? rc : SV_E_NO_MEMORY;
}

int provider_some(store_tx *tx, const void *in, void *out)
{
    const provider_act *q = in;
    auth_providers_reply *page = out;
    provider_row like = {.org = sv_cstr(q->who.org)};
    member_role role = ROLE_NONE;
    uint32_t most = q->who.operator? AUTH_PAGE : LISTED;
    *page = (auth_providers_reply){
        .providers = {arena_alloc(store_arena(tx), most * sizeof(auth_provider)), 0}};
    if (page->providers.items == NULL) return SV_E_NO_MEMORY;
    if (q->who.operator) return collect_page(tx, q, page);
    int rc = role_in(tx, &q->who, like.org, &role);
    if (rc || role == ROLE_NONE) return rc;
    rc = collect(tx, &like, page);
    like.user = sv_cstr(q->who.user);
    return rc ? rc : collect(tx, &like, page);
}
