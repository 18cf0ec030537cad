/*  provider_methods.c - methods about providers with keys of users' and organizations' own. */
#include "auth.h"
#include "budget_name.h"
#include "budgets.h"
#include "error.h"
#include "providers.h"

#include <stdio.h>

/* Whoever has a ticket, or the operator; what is only `read` routers ask for him, too. */
static int act_of(sv_call *call, sv_str id, bool read, provider_act **ret)
{
    provider_act *q = arena_alloc(sv_call_arena(call), sizeof *q);
    if (q == NULL) return SV_E_NO_MEMORY;
    *q = (provider_act){.put = NULL};
    snprintf(q->id, sizeof q->id, "%.*s", SV_FMT(id));
    *ret = q;
    if (sv_call_ticket(call).n) return auth_caller_user(call, &q->who);
    bool router = read && strcmp(sv_call_caller(call), "router") == 0;
    int rc = router ? 0 : auth_operator_only(call);
    q->who.operator= rc == 0;
    snprintf(q->who.actor, sizeof q->who.actor, "%.64s", sv_call_caller(call));
    return rc;
}

/* What is used of those that have limits. */
static void fill_used(sv_call *call, auth_provider *items, uint32_t n)
{
    sv_str names[AUTH_PAGE];
    uint32_t at[AUTH_PAGE], n_names = 0;
    char(*text)[BUDGET_NAME + 1] = arena_alloc(sv_call_arena(call), AUTH_PAGE * sizeof *text);
    for (uint32_t i = 0; text && i < n && n_names < AUTH_PAGE; i++) {
        if (items[i].limits == NULL) continue;
        uint32_t bytes = budget_name_provider(text[n_names], items[i].org, items[i].id);
        names[n_names] = (sv_str){text[n_names], bytes};
        at[n_names++] = i;
    }
    cache_budget_used *used = budgets_look(call, names, n_names);
    for (uint32_t i = 0; used && i < n_names; i++)
        items[at[i]].used = &used[i];
}

static int answer(sv_call *call, int rc, auth_provider *p)
{
    if (rc) return rc;
    fill_used(call, p, 1);
    return sv_reply(call, &(auth_provider_reply){.provider = p});
}

int auth_provider_put_one(sv_call *call, const void *request)
{
    const auth_provider_put_req *s = request;
    provider_act *q;
    auth_provider made;
    int rc = act_of(call, s->id, false, &q);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc) return rc;
    q->put = s;
    return answer(call, auth_write(call, provider_put, q, &made), &made);
}

int auth_provider_delete(sv_call *call, const void *request)
{
    const auth_provider_req *r = request;
    provider_act *q;
    auth_provider gone;
    int rc = act_of(call, r->id, false, &q);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = auth_write(call, provider_remove, q, &gone);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}

int auth_provider_one(sv_call *call, const void *request)
{
    const auth_provider_req *r = request;
    provider_act *q;
    auth_provider p;
    int rc = act_of(call, r->id, true, &q);
    return answer(call, rc ? rc : store_read(call, provider_one, q, &p), &p);
}

int auth_providers_list(sv_call *call, const void *request)
{
    const auth_providers_req *r = request;
    provider_act *q;
    auth_providers_reply page;
    int rc = act_of(call, (sv_str){NULL, 0}, true, &q);
    if (rc) return rc;
    if (!q->who.operator&& r->org.n && !sv_str_is(r->org, q->who.org))
        return sv_fail(sv_call_error(call), SV_E_NOT_FOUND, "org",
                       "Providers are those of the organization you work in: leave this out.");
    if (!q->who.operator&& r->after.n)
        return sv_fail(sv_call_error(call), SV_E_INVALID, "after",
                       "Yours come in one page: leave this out.");
    snprintf(q->org, sizeof q->org, "%.*s", SV_FMT(r->org));
    q->after = r->after;
    rc = store_read(call, provider_some, q, &page);
    if (rc) return rc;
    fill_used(call, page.providers.items, page.providers.n);
    return sv_reply(call, &page);
}
