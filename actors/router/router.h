/*  router.h - the router actor: its state and its methods, each in a file of its own.
 *  Thread: the loop's. */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "catalog.h"
#include "ledger.h"
#include "budget.h"
#include "health.h"
#include "insight.h"
#include "models.h"
#include "plan.h"
#include "prompt_log.h"
#include "samovar.h"
#include "telemetry.h"
#include "tenants.h"
#include "upstreams.h"

/* Which platform providers somebody may use who may have some of his own: router.platform_keys. */
typedef enum platform_keys {
    PLATFORM_OWN_FIRST,
    PLATFORM_FIRST,
    PLATFORM_WITHOUT_OWN,
    PLATFORM_NEVER
} platform_keys;

typedef struct router {
    sv_process *process;
    loop *loop;
    http_client *http;   /* for lists of models */
    upstreams upstreams; /* for completions */
    provider_list providers;
    catalog catalog;
    models *models;
    health *health;
    planner *planner;
    feed *feed;
    prompt_log *prompts;
    telemetry telemetry;
    tenants *tenants; /* providers of users and organizations */
    http_trust tenant_trust;
    platform_keys platform_keys;
    budgets *budgets;
    bool refuse_unpriced; /* where money is limited */
    insight insight;
    decisions *decisions; /* the insight's */
    ledger ledger;
    bool demo;
    uint32_t demo_delay_ms;
    uint32_t connect_ms, first_byte_ms, first_token_ms, idle_ms;
    uint32_t attempts, hedge_percent;
    double hedge_credit; /* second calls that may be made now */
    size_t answer_bytes;
} router;

extern const sv_actor router_actor;

sv_handler router_complete;                  /* complete.c */
sv_handler router_usage, router_usage_check; /* usage_methods.c */
/* demo.c: answers with the built-in model; the same contract as a handler. */
int demo_complete(router *r, sv_call *call, const router_complete_req *req, const llm_ops *client,
                  sv_str body);
sv_handler router_own_providers, router_own_provider, router_own_new, router_own_change,
    router_own_test; /* own.c */
/* The providers that this caller may use, in order of preference; in `a`. Each is referenced until
 * router_providers_done. */
int router_providers_of(router *r, sv_str org, sv_str user, arena *a, provider *const **ret,
                        size_t *ret_n);
void router_providers_done(provider *const *list, size_t n);

#endif
