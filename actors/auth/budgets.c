/*  budgets.c - budgets in the store; see budgets.h. */
#include "budgets.h"

#include "error.h"
#include "feed.h"
#include "members.h"

#include <stdio.h>

enum { LIST_BYTES = 30000, LIST_ITEM = 300, DATA_BYTES = 2048, DETAIL = 100 };

static const char feed_kind[] = "budget", each[] = "*";

static int nothing(store_tx *tx)
{
    return auth_fail(tx, SV_E_NOT_FOUND, "id", "There is no such budget.");
}

/* ---- one row ---- */

static int show(arena *a, const budget_row *b, auth_budget *ret)
{
    bool ok = true;
    *ret = (auth_budget){.id = auth_kept(a, b->id, &ok),
                         .level = auth_kept(a, b->level, &ok),
                         .org = auth_kept(a, b->org, &ok),
                         .kind = auth_kept(a, b->kind, &ok),
                         .subject = auth_kept(a, b->subject, &ok),
                         .model = auth_kept(a, b->model, &ok),
                         .day = b->day,
                         .month = b->month,
                         .total = b->total,
                         .minute_requests = b->minute_requests,
                         .minute_tokens = b->minute_tokens,
                         .changed = b->changed};
    return ok ? 0 : SV_E_NO_MEMORY;
}

static int tell(store_tx *tx, const auth_budget *b)
{
    buf data;
    buf_init(&data, DATA_BYTES);
    int rc = message_encode(&auth_budget_msg, b, &data);
    if (rc == 0) rc = feed_put(tx, feed_kind, b->id, b->org, buf_str(&data));
    buf_free(&data);
    return rc;
}

static int note(store_tx *tx, const budget_act *q, const auth_budget *b, const char *event)
{
    char chain[AUTH_ID + 1], id[AUTH_ID + 1], detail[DETAIL];
    snprintf(chain, sizeof chain, "%.*s", SV_FMT(b->org));
    snprintf(id, sizeof id, "%.*s", SV_FMT(b->id));
    snprintf(detail, sizeof detail, "%.*s %.*s %.*s", SV_FMT(b->level), SV_FMT(b->kind),
             SV_FMT(b->subject));
    return audit_add(tx, &(auth_event){.chain = strcmp(chain, each) == 0 ? NULL : chain,
                                       .event = event,
                                       .actor = q->who.actor,
                                       .target = id,
                                       .detail = detail});
}

/* ---- who may ---- */

static int role_in(store_tx *tx, const auth_caller *who, sv_str org, member_role *ret)
{
    *ret = ROLE_NONE;
    if (who->operator|| org.n == 0 || sv_str_is(org, each)) return 0;
    if (who->key[0] && !sv_str_is(org, who->org)) return 0;
    return member_read(tx, org, sv_cstr(who->user), ret);
}

static int find_key(store_tx *tx, sv_str id, sv_str org, key_row *ret)
{
    *ret = (key_row){.id = id};
    int rc = id.n ? store_get(tx, &auth_keys_table, ret) : SV_E_NOT_FOUND;
    return rc == 0 && !sv_str_eq(ret->org, org) ? SV_E_NOT_FOUND : rc;
}

/* Those who may set what this row says. */
static int may_write(store_tx *tx, const auth_caller *who, const budget_row *b)
{
    member_role role;
    key_row key;
    if (sv_str_is(b->level, "platform"))
        return who->admin ? 0
                          : auth_fail(tx, SV_E_ROLE, "level",
                                      "Only administrators of the platform set these budgets.");
    int rc = role_in(tx, who, b->org, &role);
    if (rc) return rc;
    if (role == ROLE_NONE)
        return auth_fail(tx, SV_E_NOT_FOUND, "org", "There is no such organization.");
    if (sv_str_is(b->level, "org"))
        return role >= ROLE_ADMIN ? 0
                                  : auth_fail(tx, SV_E_ROLE, "level",
                                              "Only administrators of the organization set these "
                                              "budgets: level user is for keys of your own.");
    if (!sv_str_is(b->kind, "key"))
        return auth_fail(tx, SV_E_ROLE, "kind", "Users limit their own API keys: kind key.");
    rc = find_key(tx, b->subject, b->org, &key);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    return rc == 0 && sv_str_is(key.user, who->user)
               ? 0
               : auth_fail(tx, SV_E_NOT_FOUND, "subject", "You have no such API key here.");
}

/* Administrators see all of theirs; others see what limits them alone. */
static int may_read(store_tx *tx, const auth_caller *who, const budget_row *b, bool *ret)
{
    member_role role;
    key_row key;
    *ret = who->admin;
    if (who->admin) return 0;
    int rc = role_in(tx, who, b->org, &role);
    if (rc || role == ROLE_NONE) return rc;
    *ret = role >= ROLE_ADMIN;
    if (*ret || sv_str_is(b->kind, "org")) return 0;
    *ret = sv_str_is(b->subject, each);
    if (*ret) return 0;
    if (sv_str_is(b->kind, "user")) {
        *ret = sv_str_is(b->subject, who->user);
        return 0;
    }
    rc = find_key(tx, b->subject, b->org, &key);
    *ret = rc == 0 && sv_str_is(key.user, who->user);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- what a new one says ---- */

static bool among(sv_str s, const char *a, const char *b, const char *c)
{
    return sv_str_is(s, a) || sv_str_is(s, b) || sv_str_is(s, c);
}

static int check_words(store_tx *tx, const budget_row *b)
{
    bool all = sv_str_is(b->org, each), of_org = sv_str_is(b->kind, "org");
    if (!among(b->level, "platform", "org", "user"))
        return auth_fail(tx, SV_E_INVALID, "level", "The level must be platform, org or user.");
    if (!among(b->kind, "org", "user", "key"))
        return auth_fail(tx, SV_E_INVALID, "kind", "The kind must be org, user or key.");
    if (all && !sv_str_is(b->level, "platform"))
        return auth_fail(tx, SV_E_INVALID, "org", "Only the level platform has budgets for each.");
    if (of_org && b->subject.n)
        return auth_fail(tx, SV_E_INVALID, "subject",
                         "A budget of an organization has no subject: leave this field out.");
    if (!of_org && b->subject.n == 0)
        return auth_fail(tx, SV_E_MISSING_FIELD, "subject", "Name the user or key, or * for each.");
    if (all && !of_org && !sv_str_is(b->subject, each))
        return auth_fail(tx, SV_E_INVALID, "subject",
                         "A budget for each organization takes * as its subject.");
    if (b->day + b->month + b->total + b->minute_requests + b->minute_tokens == 0)
        return auth_fail(tx, SV_E_INVALID, "month",
                         "Say at least one limit: day, month, total, minute_requests or "
                         "minute_tokens.");
    return 0;
}

/* The organization, and who is in it. */
static int check_subject(store_tx *tx, const budget_row *b)
{
    org_row org = {.id = b->org};
    key_row key;
    member_role role;
    if (sv_str_is(b->org, each)) return 0;
    int rc = b->org.n ? store_get(tx, &auth_orgs, &org) : SV_E_NOT_FOUND;
    if (rc == SV_E_NOT_FOUND || (rc == 0 && org.deleted))
        return auth_fail(tx, SV_E_NOT_FOUND, "org", "There is no such organization.");
    if (rc || sv_str_is(b->kind, "org") || sv_str_is(b->subject, each)) return rc;
    if (sv_str_is(b->kind, "user")) {
        rc = member_read(tx, b->org, b->subject, &role);
        if (rc || role != ROLE_NONE) return rc;
        return auth_fail(tx, SV_E_NOT_FOUND, "subject", "There is no such member.");
    }
    rc = find_key(tx, b->subject, b->org, &key);
    if (rc != SV_E_NOT_FOUND) return rc;
    return auth_fail(tx, SV_E_NOT_FOUND, "subject", "The organization has no such API key.");
}

static int level_of(store_tx *tx, const budget_act *q, const char **ret)
{
    member_role role;
    *ret = q->level;
    if (q->level) return 0;
    *ret = "platform";
    if (q->who.operator|| strcmp(q->org, each) == 0) return 0;
    int rc = role_in(tx, &q->who, sv_cstr(q->org), &role);
    *ret = role >= ROLE_ADMIN ? "org" : "user";
    return rc;
}

/* The one that says the same of the same; its id is copied. */
static int find_same(store_tx *tx, const budget_row *like, char id[AUTH_ID + 1])
{
    budget_row row;
    store_range range = auth_same(&auth_budgets_table, "by_what", like, 5, 1);
    store_scan *scan;
    id[0] = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    if (store_scan_next(scan, &row)) snprintf(id, AUTH_ID + 1, "%.*s", SV_FMT(row.id));
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int check_room(store_tx *tx, sv_str org)
{
    budget_row row, like = {.org = org};
    store_range range = auth_same(&auth_budgets_table, "by_org", &like, 1, BUDGETS_MOST);
    store_scan *scan;
    uint32_t n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &row))
        n++;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || n < BUDGETS_MOST) return rc;
    return auth_fail(tx, SV_E_QUOTA, NULL,
                     "The organization has as many budgets as one may have: delete one.");
}

int budget_set(store_tx *tx, const void *in, void *out)
{
    const budget_act *q = in;
    const auth_budget_set_req *s = q->set;
    const char *level;
    char id[AUTH_ID + 1];
    int rc = level_of(tx, q, &level);
    if (rc) return rc;
    budget_row row = {.level = sv_cstr(level),
                      .org = sv_cstr(q->org),
                      .kind = s->kind,
                      .subject = s->subject,
                      .model = s->model,
                      .day = s->day,
                      .month = s->month,
                      .total = s->total,
                      .minute_requests = s->minute_requests,
                      .minute_tokens = s->minute_tokens,
                      .changed = store_now_ms(tx)};
    rc = check_words(tx, &row);
    if (rc == 0) rc = may_write(tx, &q->who, &row);
    if (rc == 0) rc = check_subject(tx, &row);
    if (rc == 0) rc = find_same(tx, &row, id);
    if (rc == 0 && id[0] == 0) rc = check_room(tx, row.org);
    if (rc) return rc;
    row.id = sv_cstr(id[0] ? id : q->id);
    rc = store_put(tx, &auth_budgets_table, &row);
    if (rc == 0) rc = show(store_arena(tx), &row, out);
    if (rc == 0) rc = tell(tx, out);
    return rc ? rc : note(tx, q, out, "budget.set");
}

/* ---- looking and removing ---- */

static int find(store_tx *tx, const budget_act *q, budget_row *ret)
{
    bool may = false;
    *ret = (budget_row){.id = sv_cstr(q->id)};
    int rc = q->id[0] ? store_get(tx, &auth_budgets_table, ret) : SV_E_NOT_FOUND;
    if (rc == 0) rc = may_read(tx, &q->who, ret, &may);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    return may ? 0 : nothing(tx);
}

int budget_one(store_tx *tx, const void *in, void *out)
{
    budget_row row;
    int rc = find(tx, in, &row);
    return rc ? rc : show(store_arena(tx), &row, out);
}

int budget_remove(store_tx *tx, const void *in, void *out)
{
    const budget_act *q = in;
    const auth_budget *gone = out;
    budget_row row;
    int rc = find(tx, q, &row);
    if (rc == 0) rc = may_write(tx, &q->who, &row);
    if (rc == 0) rc = show(store_arena(tx), &row, out);
    if (rc == 0) rc = store_delete(tx, &auth_budgets_table, &(budget_row){.id = gone->id});
    if (rc == 0) rc = feed_put(tx, feed_kind, gone->id, gone->org, (sv_str){NULL, 0});
    return rc ? rc : note(tx, q, gone, "budget.deleted");
}

int budgets_drop(store_tx *tx, sv_str org, const char *kind, sv_str subject, uint32_t *left)
{
    budget_row row, like = {.org = org, .kind = sv_cstr(kind ? kind : ""), .subject = subject};
    store_range range =
        auth_same(&auth_budgets_table, "by_subject", &like, kind ? 3 : 1, left ? *left : 0);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        char id[AUTH_ID + 1];
        if (left) --*left;
        snprintf(id, sizeof id, "%.*s", SV_FMT(row.id));
        rc = store_delete(tx, &auth_budgets_table, &(budget_row){.id = sv_cstr(id)});
        if (rc == 0) rc = feed_put(tx, feed_kind, sv_cstr(id), org, (sv_str){NULL, 0});
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int budget_some(store_tx *tx, const void *in, void *out)
{
    const budget_act *q = in;
    auth_budgets_reply *page = out;
    budget_row row, low = {.org = sv_cstr(q->org), .id = q->after};
    store_range range = {.table = &auth_budgets_table,
                         .index = "by_org",
                         .low = &low,
                         .high = &low,
                         .low_n = q->after.n ? 2 : 1,
                         .high_n = 1};
    store_scan *scan;
    size_t bytes = 0;
    bool ok = true, may;
    *page = (auth_budgets_reply){.next = {NULL, 0}};
    auth_budget *items = arena_alloc(store_arena(tx), AUTH_PAGE * sizeof *items);
    sv_str last = {NULL, 0};
    int rc = items ? store_scan_open(tx, &range, &scan) : SV_E_NO_MEMORY;
    if (rc) return rc;
    page->budgets.items = items;
    for (uint32_t seen = 0; rc == 0 && ok && store_scan_next(scan, &row); seen++) {
        if (q->after.n && sv_str_eq(row.id, q->after)) continue;
        if (page->budgets.n == AUTH_PAGE || seen >= AUTH_PIECE || bytes > LIST_BYTES) {
            page->next = last;
            break;
        }
        last = auth_kept(store_arena(tx), row.id, &ok);
        rc = may_read(tx, &q->who, &row, &may);
        if (rc || !may) continue;
        rc = show(store_arena(tx), &row, &items[page->budgets.n++]);
        bytes += LIST_ITEM + row.model.n;
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return ok ? rc : SV_E_NO_MEMORY;
}
