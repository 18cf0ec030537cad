/*  router.c - the actor's table, its start and stop, and the methods that only show state. */
#include "router.h"

#include "log.h"
#include "usage.h"

#include <stdlib.h>

enum {
    CONNECTIONS_MAX = 256,
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
static bool shown_before(const provider_list *l, size_t provider_at, const char *id)
{
    for (size_t i = 0; i < provider_at; i++)
        if (provider_lists(l->items[i], sv_cstr(id))) return true;
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

static void fill_page(const router *r, page *p)
{
    const provider_list *l = &r->providers;
    if (r->demo && !page_add(p, "demo", "samovar", 0)) return;
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->items[i]->models.n; k++) {
            const model *m = &l->items[i]->models.items[k];
            if (!shown_before(l, i, m->id) && !page_add(p, m->id, l->items[i]->name, m->created))
                return;
        }
}

static int models(sv_call *call, const void *request)
{
    const router_models_req *q = request;
    router *r = sv_process_state(sv_call_process(call));
    size_t most = PAGE_BYTES / PAGE_ITEM_BYTES;
    page p = {.after = q->after, .items = arena_alloc(sv_call_arena(call), most * sizeof *p.items)};
    if (p.items == NULL) return SV_E_NO_MEMORY;
    fill_page(r, &p);
    router_models_reply reply = {.models = {p.items, p.n}, .next = p.next};
    return sv_reply(call, &reply);
}

/* ---- providers ---- */

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
                                       .has_key = p->key != NULL,
                                       .models = (int64_t)p->models.n,
                                       .state = sv_cstr(p->state)};
    }
    router_providers_reply reply = {.providers = {items, n}};
    return sv_reply(call, &reply);
}

/* ---- life ---- */

static void router_free(router *r)
{
    if (r == NULL) return;
    catalog_stop(&r->catalog);
    ledger_free(&r->ledger);
    price_list_free(&r->prices);
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
    r->idle_ms = (uint32_t)config_int(c, "router.idle_ms");
    r->answer_bytes = (size_t)config_int(c, "router.answer_bytes");
}

static void log_providers(const router *r)
{
    for (size_t i = 0; i < r->providers.n; i++) {
        const provider *p = r->providers.items[i];
        if (p->hidden) continue;
        log_write(LOG_INFO, "provider", LOG_STR("provider", p->name), LOG_STR("url", p->base_url),
                  LOG_STR("source", provider_source_name(p->source)),
                  LOG_BOOL("key", p->key != NULL));
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
    if (rc == 0) rc = price_list_load(&r->prices, c, err);
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

static void drain(sv_process *process, void *state)
{
    (void)process;
    router *r = state;
    ledger_drain(&r->ledger);
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
     .doc = "One chat completion, plain or streamed; the client's JSON is the attachment."},
    {.name = "models",
     .request = &router_models_req_msg,
     .reply = &router_models_reply_msg,
     .handler = models,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Which models there are."},
    {.name = "providers",
     .request = &bus_empty_msg,
     .reply = &router_providers_reply_msg,
     .handler = providers,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Who can answer, where, and in what state."},
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
};

static const sv_question questions[] = {
    {"usage", &router_usage_req_msg, &router_usage_reply_msg, usage_answer, NULL,
     "what was used, as router.usage"},
    {"usage_check", &router_usage_check_req_msg, &router_usage_check_reply_msg, usage_check_answer,
     usage_check_writes, "rebuilds the sums from the rows, as router.usage_check"},
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
    .drain = drain,
    .stop = stop,
};
