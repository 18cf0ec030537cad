/*  router.c - the actor's table, its start and stop, and the methods that only show state. */
#include "router.h"

#include "log.h"
#include "rank.h"
#include "usage.h"

#include <stdlib.h>

enum {
    CONNECTIONS_MAX = 256,
    TICK_MS = 2000,
    PAGE_BYTES = 48 << 10, /* of one router.models answer, which is one message */
    PAGE_ITEM_BYTES = 48   /* keys and numbers of one model */
};

/* ---- models ---- */

typedef struct page {
    router_model *items;
    uint32_t n;
    size_t bytes;
    int64_t position, after, next; /* counted over all models of all providers */
} page;

/* Models that an earlier provider lists are shown once: it is the one that answers. */
static bool shown_before(provider *const *list, size_t provider_at, const char *id)
{
    for (size_t i = 0; i < provider_at; i++)
        if (provider_lists(list[i], sv_cstr(id))) return true;
    return false;
}

/* False when the page is full. */
static bool page_add(page *p, const char *id, const char *provider_name, int64_t created)
{
    if (++p->position <= p->after) return true;
    size_t bytes = strlen(id) + strlen(provider_name) + PAGE_ITEM_BYTES;
    if (p->bytes + bytes > PAGE_BYTES) {
        p->next = p->position - 1;
        return false;
    }
    p->bytes += bytes;
    p->items[p->n++] = (router_model){sv_cstr(id), sv_cstr(provider_name), created};
    return true;
}

static void fill_page(const router *r, provider *const *list, size_t n, page *p)
{
    const config *c = sv_config(r->process);
    if (r->demo && !page_add(p, "demo", "samovar", 0)) return;
    if (n && !page_add(p, "auto", "samovar", 0)) return;
    for (uint32_t i = 0; i < config_items(c, "router.aliases"); i++)
        if (!page_add(p, config_item_str(c, "router.aliases", i, "name"), "samovar", 0)) return;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < list[i]->models.n; k++) {
            const model *m = &list[i]->models.items[k];
            if (!shown_before(list, i, m->id) &&
                !page_add(p, m->id, provider_label(list[i]), m->created))
                return;
        }
}

static int list_models(sv_call *call, const void *request)
{
    const router_models_req *q = request;
    router *r = sv_process_state(sv_call_process(call));
    size_t most = PAGE_BYTES / PAGE_ITEM_BYTES;
    page p = {.after = q->after, .items = arena_alloc(sv_call_arena(call), most * sizeof *p.items)};
    ledger_row who = ledger_row_of(call, sv_call_id(call));
    provider *const *list;
    size_t n;
    if (p.items == NULL ||
        router_providers_of(r, who.org, who.user, sv_call_arena(call), &list, &n))
        return SV_E_NO_MEMORY;
    fill_page(r, list, n, &p);
    router_models_reply reply = {.models = {p.items, p.n}, .next = p.next};
    int rc = sv_reply(call, &reply);
    router_providers_done(list, n);
    return rc;
}

/* ---- providers ---- */

/* Of all models and keys of the provider that are remembered. */
static void add_figures(const router *r, const provider *p, router_provider *to)
{
    uint64_t now_us = loop_now_us(r->loop);
    const health_entry *e = NULL;
    const char *name;
    sv_str model_id;
    uint32_t key, open = 0, n = 0;
    while ((e = health_next(r->health, e, &name, &model_id, &key))) {
        health_figures f;
        if (strcmp(name, provider_tag(p)) != 0) continue;
        health_look(e, now_us, &f);
        int64_t open_ms =
            f.open_until_us > now_us ? (int64_t)((f.open_until_us - now_us) / 1000) : 0;
        n++;
        open += f.open_until_us > now_us;
        if (open_ms > to->open_ms) to->open_ms = open_ms;
        if (f.error_rate > to->error_rate) to->error_rate = f.error_rate;
        if (f.first_ms > (float)to->first_ms) to->first_ms = (int64_t)f.first_ms;
        to->in_flight += f.in_flight;
        to->calls += (int64_t)f.calls;
    }
    to->breaker = sv_cstr(open == 0 ? "closed" : open < n ? "partly" : "open");
}

static int providers(sv_call *call, const void *request)
{
    (void)request;
    router *r = sv_process_state(sv_call_process(call));
    router_provider *items = arena_alloc(sv_call_arena(call), PROVIDERS_MAX * sizeof *items);
    uint32_t n = 0;
    if (items == NULL) return SV_E_NO_MEMORY;
    for (size_t i = 0; i < r->providers.n; i++) {
        const provider *p = r->providers.items[i];
        if (p->hidden) continue;
        items[n++] = (router_provider){.name = sv_cstr(p->name),
                                       .base_url = sv_cstr(p->base_url),
                                       .source = sv_cstr(provider_source_name(p->source)),
                                       .has_key = p->n_keys > 0,
                                       .models = (int64_t)p->models.n,
                                       .state = sv_cstr(p->state)};
        add_figures(r, p, &items[n - 1]);
    }
    router_providers_reply reply = {.providers = {items, n}};
    return sv_reply(call, &reply);
}

/* A name of one's own hides the platform's. */
static bool is_among(provider *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i]->name, name) == 0) return true;
    return false;
}

int router_providers_of(router *r, sv_str org, sv_str user, arena *a, provider *const **ret,
                        size_t *ret_n)
{
    provider **list = arena_alloc(a, (PROVIDERS_MAX + 2 * TENANT_OWN) * sizeof *list);
    provider *own[2 * TENANT_OWN];
    if (list == NULL) return SV_E_NO_MEMORY;
    size_t n_own = r->tenants ? tenants_of(r->tenants, org, user, own) : 0, n = 0;
    bool first = r->platform_keys != PLATFORM_FIRST;
    bool platform = org.n == 0 || (r->platform_keys != PLATFORM_NEVER &&
                                   (n_own == 0 || r->platform_keys != PLATFORM_WITHOUT_OWN));
    for (size_t i = 0; first && i < n_own; i++)
        list[n++] = provider_ref(own[i]);
    for (size_t i = 0; platform && i < r->providers.n; i++) {
        provider *p = r->providers.items[i];
        if (!p->hidden && !is_among(own, n_own, p->name)) list[n++] = provider_ref(p);
    }
    for (size_t i = 0; !first && i < n_own; i++)
        list[n++] = provider_ref(own[i]);
    *ret = list;
    *ret_n = n;
    return 0;
}

void router_providers_done(provider *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        provider_unref(list[i]);
}

/* ---- life ---- */

static void router_free(router *r)
{
    if (r == NULL) return;
    catalog_stop(&r->catalog);
    ledger_free(&r->ledger);
    budgets_free(r->budgets);
    prompt_log_free(r->prompts);
    telemetry_free(&r->telemetry);
    feed_free(r->feed);
    tenants_free(r->tenants);
    planner_free(r->planner);
    insight_free(&r->insight);
    health_free(r->health);
    models_free(r->models);
    http_client_free(r->http);
    upstreams_free(&r->upstreams);
    provider_list_free(&r->providers);
    free(r);
}

static void read_settings(router *r, const config *c)
{
    r->demo = config_bool(c, "router.demo");
    r->demo_delay_ms = (uint32_t)config_int(c, "router.demo_delay_ms");
    r->connect_ms = (uint32_t)config_int(c, "router.connect_ms");
    r->first_byte_ms = (uint32_t)config_int(c, "router.first_byte_ms");
    r->first_token_ms = (uint32_t)config_int(c, "router.first_token_ms");
    r->attempts = (uint32_t)config_int(c, "router.attempts");
    r->hedge_percent = (uint32_t)config_int(c, "router.hedge_percent");
    r->idle_ms = (uint32_t)config_int(c, "router.idle_ms");
    r->refuse_unpriced = strcmp(config_str(c, "router.unpriced"), "refuse") == 0;
    r->answer_bytes = (size_t)config_int(c, "router.answer_bytes");
    telemetry_start(&r->telemetry, c);
}

static int start_tenants(router *r, const config *c, sv_error *err)
{
    static const char *const words[] = {"own_first", "platform_first", "without_own", "never"};
    const char *keys = config_str(c, "router.platform_keys");
    for (int i = 0; i < 4; i++)
        if (strcmp(keys, words[i]) == 0) r->platform_keys = (platform_keys)i;
    r->tenant_trust =
        config_bool(c, "router.tenant_urls_private") ? HTTP_TRUST_OPERATOR : HTTP_TRUST_TENANT;
    seal_key *seed = sv_derive_key(r->process, "samovar routers' key pair 1");
    tenants_spec s = {.loop = r->loop,
                      .catalog = &r->catalog,
                      .pair = seed ? box_pair_from(seed) : NULL,
                      .trust = r->tenant_trust,
                      .most = (uint32_t)config_int(c, "router.own_providers")};
    seal_key_free(seed);
    if (s.pair == NULL && sv_store(r->process)) /* without a store nothing can be sealed */
        return sv_fail(err, SV_E_NO_MEMORY, NULL, "No locked memory for the routers' key pair.");
    int rc = tenants_new(&s, &r->tenants, err);
    if (rc) {
        box_pair_free(s.pair);
        return rc;
    }
    feed_consumer consumer = tenants_consumer(r->tenants);
    return feed_add(r->feed, &consumer);
}

static void log_providers(const router *r)
{
    for (size_t i = 0; i < r->providers.n; i++) {
        const provider *p = r->providers.items[i];
        if (p->hidden) continue;
        log_write(LOG_INFO, "provider", LOG_STR("provider", p->name), LOG_STR("url", p->base_url),
                  LOG_STR("source", provider_source_name(p->source)), LOG_INT("keys", p->n_keys));
    }
}

static int init(sv_process *process, void **state, sv_error *err)
{
    const config *c = sv_config(process);
    router *r = calloc(1, sizeof *r);
    if (r == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    r->process = process;
    r->loop = sv_loop(process);
    r->catalog = (catalog){.loop = r->loop, .providers = &r->providers};
    read_settings(r, c);
    sv_set_slots(process, (uint32_t)config_int(c, "router.slots"));
    ledger_start(&r->ledger, process);
    int rc = provider_list_load(&r->providers, c, err);
    if (rc == 0) rc = models_load(c, &r->models, err);
    if (rc == 0 && (r->health = health_new()) == NULL)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0) rc = insight_start(&r->insight, process, err);
    r->decisions = r->insight.decisions;
    if (rc == 0) rc = planner_new(c, r->models, r->health, &r->planner, err);
    if (rc == 0) planner_learn(r->planner, r->insight.learn);
    if (rc == 0) rc = feed_new(process, &r->feed, err);
    if (rc == 0) rc = start_tenants(r, c, err);
    if (rc == 0) rc = budgets_new(process, r->feed, &r->budgets, err);
    if (rc == 0) rc = prompt_log_new(r->feed, &r->prompts, err);
    if (rc == 0) {
        r->upstreams.loop = r->loop;
        r->http = r->catalog.http = http_client_new(r->loop, CONNECTIONS_MAX, err);
        rc = r->http ? catalog_start(&r->catalog, c, err) : err->code;
    }
    if (rc) {
        router_free(r);
        return rc;
    }
    log_providers(r);
    *state = r;
    return 0;
}

/* The data file of models is looked at every now and then. */
static void tick(sv_process *process, void *state)
{
    (void)process;
    router *r = state;
    sv_error unused = {0};
    models_reload(r->models, false, &unused);
    telemetry_tick(r, loop_now_us(r->loop));
}

static void drain(sv_process *process, void *state)
{
    (void)process;
    router *r = state;
    ledger_drain(&r->ledger);
    budgets_drain(r->budgets);
    insight_drain(&r->insight);
}

static void stop(sv_process *process, void *state)
{
    (void)process;
    router_free(state);
}

static const sv_method methods[] = {
    {.name = "complete",
     .request = &router_complete_req_msg,
     .reply = &router_complete_head_msg,
     .handler = router_complete,
     .flags = SV_INLINE,
     .max_request = 34 << 20,
     .doc = "One request to a model, plain or streamed; the client's body is the attachment."},
    {.name = "models",
     .request = &router_models_req_msg,
     .reply = &router_models_reply_msg,
     .handler = list_models,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Which models there are."},
    {.name = "providers",
     .request = &bus_empty_msg,
     .reply = &router_providers_reply_msg,
     .handler = providers,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Who can answer, where, and in what state."},
    {.name = "own_providers",
     .request = &auth_providers_req_msg,
     .reply = &auth_providers_reply_msg,
     .handler = router_own_providers,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Providers with keys of the caller's or his organization's own, and their state."},
    {.name = "own_provider",
     .request = &auth_provider_req_msg,
     .reply = &auth_provider_reply_msg,
     .handler = router_own_provider,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "One of them."},
    {.name = "own_new",
     .request = &router_own_new_req_msg,
     .reply = &auth_provider_reply_msg,
     .handler = router_own_new,
     .flags = SV_INLINE,
     .doc = "Brings a provider's key: tested, sealed, kept by auth."},
    {.name = "own_change",
     .request = &router_own_change_req_msg,
     .reply = &auth_provider_reply_msg,
     .handler = router_own_change,
     .flags = SV_INLINE,
     .doc = "Gives it another key, name or status."},
    {.name = "own_test",
     .request = &auth_provider_req_msg,
     .reply = &router_own_test_reply_msg,
     .handler = router_own_test,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Asks the provider now whether it takes the key."},
    {.name = "usage",
     .request = &router_usage_req_msg,
     .reply = &router_usage_reply_msg,
     .handler = router_usage,
     .flags = SV_IDEMPOTENT,
     .doc = "What was used, of this instance's ledger, by day, model, provider, key, user or org."},
    {.name = "usage_check",
     .request = &router_usage_check_req_msg,
     .reply = &router_usage_check_reply_msg,
     .handler = router_usage_check,
     .doc = "Rebuilds the sums of this instance's ledger from its rows, compares, and repairs."},
    {.name = "decision",
     .request = &router_decision_req_msg,
     .reply = &router_decision_reply_msg,
     .handler = router_decision,
     .flags = SV_IDEMPOTENT,
     .doc = "How a request that this instance answered was decided."},
    {.name = "feedback",
     .request = &router_feedback_req_msg,
     .reply = &bus_empty_msg,
     .handler = router_feedback,
     .flags = SV_IDEMPOTENT,
     .doc = "A user rates an answer of this instance."},
    {.name = "rankings",
     .request = &router_rankings_req_msg,
     .reply = &router_rankings_reply_msg,
     .handler = router_rankings,
     .flags = SV_IDEMPOTENT,
     .doc = "How models did at which task, of this instance's ledger."},
};

static const sv_question questions[] = {
    {"usage", &router_usage_req_msg, &router_usage_reply_msg, usage_answer, NULL,
     "what was used, as router.usage"},
    {"usage_check", &router_usage_check_req_msg, &router_usage_check_reply_msg, usage_check_answer,
     usage_check_writes, "rebuilds the sums from the rows, as router.usage_check"},
    {"decision", &router_decision_req_msg, &router_decision_reply_msg, decision_answer, NULL,
     "how a request was decided, as router.decision"},
    {"rankings", &router_rankings_req_msg, &router_rankings_reply_msg, rankings_answer, NULL,
     "how models did at which task, as router.rankings"},
};

const sv_actor router_actor = {
    .name = "router",
    .version = SAMOVAR_VERSION,
    .doc = "chooses a model provider, calls it and streams its answer",
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .store = &ledger_schema,
    .questions = questions,
    .n_questions = sizeof questions / sizeof *questions,
    .init = init,
    .tick = tick,
    .tick_ms = TICK_MS,
    .drain = drain,
    .stop = stop,
};
