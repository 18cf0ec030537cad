/*  budget_methods.c - methods about budgets; what is used now is asked of the counters' owner. */
#include "auth.h"
#include "budget_name.h"
#include "budgets.h"
#include "error.h"
#include "keys.h"
#include "uuid.h"

#include <stdio.h>

enum { NAMES = 100, LOOK_MS = 2000 };

static const char owner[] = "cache/1.budget_look";

/* Whoever has a ticket, or the operator. */
static int act_of(sv_call *call, sv_str org, budget_act **ret)
{
    budget_act *q = arena_alloc(sv_call_arena(call), sizeof *q);
    if (q == NULL) return SV_E_NO_MEMORY;
    *q = (budget_act){.set = NULL};
    *ret = q;
    int rc =
        sv_call_ticket(call).n ? auth_caller_user(call, &q->who) : auth_caller_admin(call, &q->who);
    if (rc == 0 && q->who.admin && q->who.user[0]) { /* only where all of its power holds */
        sv_error said = *sv_call_error(call);
        auth_caller same;
        q->who.admin = auth_caller_ask_admin(call, &same) == 0;
        *sv_call_error(call) = said;
    }
    snprintf(q->org, sizeof q->org, "%.*s", SV_FMT(org));
    if (org.n == 0) memcpy(q->org, q->who.org, sizeof q->org);
    return rc;
}

cache_budget_used *budgets_look(sv_call *call, const sv_str *names, uint32_t n)
{
    cache_budget_look_req q = {.names = {(sv_str *)(uintptr_t)names, n}};
    cache_budget_look_reply reply = {.items = {NULL, 0}};
    sv_error said = *sv_call_error(call);
    sv_request r = {
        .target = owner, .type = &cache_budget_look_req_msg, .body = &q, .ttl_ms = LOOK_MS};
    sv_stream *s = n ? sv_call_stream(call, &r) : NULL;
    sv_item item;
    while (s && sv_next(s, &item))
        continue;
    if (s && sv_stream_result(s, &item) == 0)
        message_decode(&cache_budget_look_reply_msg, item.body, MESSAGE_LENIENT,
                       sv_call_arena(call), &reply, NULL);
    sv_stream_close(s);
    *sv_call_error(call) = said;
    return reply.items.n == n ? reply.items.items : NULL;
}

/* What is used of those that are of one subject; without the owner it stays unknown. */
static void fill_used(sv_call *call, auth_budget *items, uint32_t n)
{
    sv_str names[NAMES];
    uint32_t at[NAMES], n_names = 0;
    char(*text)[BUDGET_NAME + 1] = arena_alloc(sv_call_arena(call), NAMES * sizeof *text);
    for (uint32_t i = 0; text && i < n && n_names < NAMES; i++) {
        auth_budget *b = &items[i];
        char level[9], kind[9];
        if (sv_str_is(b->org, "*") || sv_str_is(b->subject, "*")) continue;
        snprintf(level, sizeof level, "%.*s", SV_FMT(b->level));
        snprintf(kind, sizeof kind, "%.*s", SV_FMT(b->kind));
        uint32_t bytes = budget_name(text[n_names], level, kind, b->org, b->subject, b->model);
        names[n_names] = (sv_str){text[n_names], bytes};
        at[n_names++] = i;
    }
    cache_budget_used *used = budgets_look(call, names, n_names);
    for (uint32_t i = 0; used && i < n_names; i++)
        items[at[i]].used = &used[i];
}

static int answer(sv_call *call, int rc, auth_budget *b)
{
    if (rc) return rc;
    fill_used(call, b, 1);
    return sv_reply(call, &(auth_budget_reply){.budget = b});
}

int auth_budget_set(sv_call *call, const void *request)
{
    const auth_budget_set_req *s = request;
    static const char *const levels[] = {"platform", "org", "user"};
    budget_act *q;
    auth_budget made;
    sv_id id = uuid_new();
    int rc = act_of(call, s->org, &q);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc) return rc;
    q->set = s;
    uuid_format(&id, q->id);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (sv_str_is(s->level, levels[i])) q->level = levels[i];
    if (s->level.n && q->level == NULL)
        return sv_fail(sv_call_error(call), SV_E_INVALID, "level",
                       "The level must be platform, org or user.");
    return answer(call, auth_write(call, budget_set, q, &made), &made);
}

static int with_id(sv_call *call, const void *request, budget_act **ret)
{
    const auth_budget_req *r = request;
    int rc = act_of(call, (sv_str){NULL, 0}, ret);
    if (rc == 0) snprintf((*ret)->id, sizeof(*ret)->id, "%.*s", SV_FMT(r->id));
    return rc;
}

int auth_budget_delete(sv_call *call, const void *request)
{
    budget_act *q;
    auth_budget gone;
    int rc = with_id(call, request, &q);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = auth_write(call, budget_remove, q, &gone);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}

int auth_budget_one(sv_call *call, const void *request)
{
    budget_act *q;
    auth_budget b;
    int rc = with_id(call, request, &q);
    return answer(call, rc ? rc : store_read(call, budget_one, q, &b), &b);
}

int auth_budgets_list(sv_call *call, const void *request)
{
    const auth_budgets_req *r = request;
    budget_act *q;
    auth_budgets_reply page;
    int rc = act_of(call, r->org, &q);
    if (rc) return rc;
    q->after = r->after;
    rc = store_read(call, budget_some, q, &page);
    if (rc) return rc;
    fill_used(call, page.budgets.items, page.budgets.n);
    return sv_reply(call, &page);
}
