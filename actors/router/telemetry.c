/*  telemetry.c - names are those of the OpenTelemetry semantic conventions for generative AI, with
 *  underscores in metrics. */
#include "telemetry.h"

#include "relay.h"

#include "log.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_BYTES = 128 /* of a label's value */ };

static const char other[] = "other";

/* Series of one combination of labels, of which `model` and `answered` are as they came. */
struct telemetry_slot {
    const char *operation;
    char provider[PROVIDER_NAME + 1], model[MODEL_NAME + 1], answered[NAME_BYTES + 1];
    metric_series *input, *output, *ok, *first, *per_token;
};

static const char *operation_of(const relay *r)
{
    switch (r->op) {
    case OP_EMBEDDINGS: return "embeddings";
    case OP_TRANSCRIPTION: return "transcription";
    case OP_IMAGE: return "image_generation";
    case OP_MODERATION: return "moderation";
    case OP_COUNT: return "count_tokens";
    case OP_CHAT: break;
    }
    bool text = r->client->format == LLM_COMPLETIONS || r->client->format == LLM_GENERATE;
    return text ? "text_completion" : "chat";
}

static const char *refusal_of(llm_failure_kind k)
{
    switch (k) {
    case LLM_FAIL_REQUEST: return "request";
    case LLM_FAIL_CONTEXT: return "context";
    case LLM_FAIL_POLICY: return "policy";
    case LLM_FAIL_PREFILL: return "prefill";
    case LLM_FAIL_KEY: return "key";
    case LLM_FAIL_BILLING: return "billing";
    case LLM_FAIL_MODEL: return "model";
    case LLM_FAIL_RATE: return "rate";
    case LLM_FAIL_OVERLOAD: return "overload";
    case LLM_FAIL_SERVER: return "server";
    case LLM_FAIL_OTHER: break;
    }
    return "refused";
}

/* ---- series ---- */

static const char *label_of(const provider *p, const char *name, const model_info *info)
{
    bool listed = p->source != FROM_TENANT && provider_lists(p, sv_cstr(name));
    if (listed && strlen(name) <= NAME_BYTES) return name;
    return info->known && info->id[0] ? info->id : other;
}

static const char *answered_label(const leg *l, const char *request_label)
{
    const provider *p = l->who->provider;
    if (l->answered[0] == 0 || strcmp(l->answered, l->who->model) == 0) return request_label;
    return label_of(p, l->answered,
                    models_find(l->relay->router->models, provider_like(p), sv_cstr(l->answered)));
}

typedef struct labels {
    const char *operation, *provider, *model, *answered;
} labels;

static labels labels_of(const leg *l)
{
    labels n = {.operation = operation_of(l->relay), .provider = provider_series(l->who->provider)};
    n.model = label_of(l->who->provider, l->who->model, l->who->info);
    n.answered = answered_label(l, n.model);
    return n;
}

static metric_series *series(metric_name m, const labels *n, const char *last)
{
    return metric_get(
        m, (const char *const[]){n->operation, n->provider, n->model, n->answered, last});
}

static void find_series(const labels *n, telemetry_slot *s)
{
    s->input = series(M_GENAI_TOKENS, n, "input");
    s->output = series(M_GENAI_TOKENS, n, "output");
    s->ok = series(M_GENAI_DURATION, n, "");
    s->first = series(M_GENAI_FIRST_TOKEN, n, NULL);
    s->per_token = series(M_GENAI_PER_TOKEN, n, NULL);
}

static uint32_t place_of(const char *operation, const char *provider_name, const char *asked,
                         const char *answered)
{
    const char *const texts[] = {operation, provider_name, asked, answered};
    uint32_t h = 2166136261u; /* FNV-1a; a collision costs a look-up */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++, h *= 31)
        for (const char *c = texts[i]; *c; c++)
            h = (h ^ (uint8_t)*c) * 16777619u;
    return h % TELEMETRY_SLOTS;
}

/* What nobody lists and the file does not know may be known later: it is not kept. */
static telemetry_slot find_slot(const leg *l)
{
    telemetry *t = &l->relay->router->telemetry;
    const candidate *c = l->who;
    const char *operation = operation_of(l->relay), *from = provider_series(c->provider);
    telemetry_slot **at = &t->slots[place_of(operation, from, c->model, l->answered)], fresh;
    telemetry_slot *s = *at;
    if (s && s->operation == operation && strcmp(s->provider, from) == 0 &&
        strcmp(s->model, c->model) == 0 && strcmp(s->answered, l->answered) == 0)
        return *s;
    labels n = labels_of(l);
    find_series(&n, &fresh);
    bool lasting = n.model != other && n.answered != other && c->provider->source != FROM_TENANT;
    if (!lasting || (s == NULL && (s = *at = malloc(sizeof *s)) == NULL)) return fresh;
    s->operation = operation;
    snprintf(s->provider, sizeof s->provider, "%s", from);
    snprintf(s->model, sizeof s->model, "%s", c->model);
    snprintf(s->answered, sizeof s->answered, "%s", l->answered);
    s->input = fresh.input;
    s->output = fresh.output;
    s->ok = fresh.ok;
    s->first = fresh.first;
    s->per_token = fresh.per_token;
    return *s;
}

/* ---- a call of a provider ---- */

static void count_course(const leg *l)
{
    const relay *r = l->relay;
    const leg *before = NULL;
    for (const leg *k = r->legs; k && k != l; k = k->next)
        before = k;
    if (before == NULL || r->q->mode.n) return;
    const char *const name[] = {provider_series(l->who->provider)};
    if (!l->hedge)
        metric_add(
            metric_get(before->place == l->place ? M_PROVIDER_RETRIES : M_PROVIDER_FALLBACKS, name),
            1);
    else if (r->winner == l)
        metric_add(metric_one(M_PROVIDER_HEDGES_WON), 1);
}

void telemetry_leg(const leg *l, int code, uint64_t took_us, bool counts)
{
    const tokens *t = &l->tokens;
    telemetry_slot s = find_slot(l);
    count_course(l);
    if (code == 0) {
        metric_observe_us(s.ok, took_us);
    } else {
        labels n = labels_of(l);
        metric_observe_us(series(M_GENAI_DURATION, &n,
                                 code == SV_E_PROVIDER_REFUSED ? refusal_of(l->failure.kind)
                                                               : attempt_outcome(code)),
                          took_us);
    }
    if (counts && (t->known || t->estimated)) {
        metric_observe(s.input, (uint64_t)t->prompt);
        if (l->relay->op == OP_CHAT) metric_observe(s.output, (uint64_t)t->completion);
    }
    if (!l->relay->stream || l->first_us <= l->started_us) return;
    uint64_t first_us = l->first_us - l->started_us;
    metric_observe_us(s.first, first_us);
    if (code == 0 && t->completion > 1 && took_us > first_us)
        metric_observe_us(s.per_token, (took_us - first_us) / (uint64_t)(t->completion - 1));
}

/* ---- a request ---- */

static void write_line(const relay *r)
{
    const leg *l = r->winner;
    const tokens none = {.known = false}, *t = l ? &l->tokens : &none;
    sv_str failed = {NULL, 0}, asked = r->q->model;
    uint64_t now_us = loop_now_us(r->router->loop);
    if (r->outcome)
        failed =
            sv_cstr(r->outcome == SV_E_CANCELLED ? "cancelled" : sv_error_lookup(r->outcome)->name);
    log_write(LOG_INFO, "completion", LOG_STR("gen_ai.operation.name", operation_of(r)),
              LOG_STR("gen_ai.provider.name", l ? provider_label(l->who->provider) : NULL),
              LOG_SLICE("gen_ai.original.model", asked),
              LOG_STR("gen_ai.request.model", l ? l->who->model : NULL),
              LOG_STR("gen_ai.response.model", l && l->answered[0] ? l->answered : NULL),
              LOG_INT("gen_ai.usage.input_tokens", t->prompt),
              LOG_INT("gen_ai.usage.output_tokens", t->completion),
              LOG_INT("gen_ai.usage.cache_read.input_tokens", t->cached),
              LOG_BOOL("estimated", t->estimated),
              LOG_STR("gen_ai.response.finish_reasons",
                      l && l->finished ? leg_finish_name(l->finish) : NULL),
              LOG_SLICE("error.type", failed), LOG_BOOL("stream", r->stream),
              LOG_INT("attempts", r->made), LOG_INT("cost", r->micro),
              LOG_BOOL("priced", l && r->priced),
              LOG_STR("decision", r->decision_id[0] ? r->decision_id : NULL),
              LOG_STR("task", r->plan.task_known ? model_task_names[r->plan.task] : NULL),
              LOG_SLICE("org", r->ask.org), LOG_SLICE("user", r->ask.user),
              LOG_STR("cache", strcmp(sv_call_caller(r->call), "cache") == 0 ? "miss" : NULL),
              LOG_INT("first_ms", r->first_us ? (r->first_us - r->started_us) / 1000 : 0),
              LOG_INT("total_ms", (now_us - r->started_us) / 1000));
}

void telemetry_end(const relay *r)
{
    bool failed = r->outcome && r->outcome != SV_E_CANCELLED;
    log_requests log = r->router->telemetry.log;
    if (log == LOG_REQUESTS_OFF || (log == LOG_REQUESTS_FAILURES && !failed)) return;
    bool own = !log_has_context();
    if (own) log_context(sv_call_id(r->call), sv_call_trace(r->call));
    write_line(r);
    if (own) log_context(NULL, NULL);
}

/* ---- breakers ---- */

void telemetry_tick(router *o, uint64_t now_us)
{
    uint32_t open[PROVIDERS_MAX] = {0}, tenants_open = 0;
    const provider_list *list = &o->providers;
    const char *name;
    const health_entry *e = NULL;
    while ((e = health_next(o->health, e, &name, &(sv_str){NULL, 0}, &(uint32_t){0}))) {
        health_figures f;
        health_look(e, now_us, &f);
        if (f.open_until_us <= now_us) continue;
        size_t i = 0;
        while (i < list->n && strcmp(provider_tag(list->items[i]), name) != 0)
            i++;
        if (i < list->n)
            open[i]++;
        else
            tenants_open++;
    }
    for (size_t i = 0; i < list->n; i++)
        if (!list->items[i]->hidden)
            metric_set(
                metric_get(M_PROVIDER_OPEN, (const char *const[]){provider_series(list->items[i])}),
                open[i]);
    o->telemetry.tenants |= tenants_open > 0;
    if (o->telemetry.tenants)
        metric_set(metric_get(M_PROVIDER_OPEN, (const char *const[]){"tenant"}), tenants_open);
}

/* ---- life ---- */

void telemetry_start(telemetry *t, const config *c)
{
    const char *log = config_str(c, "router.log_requests");
    t->log = strcmp(log, "on") == 0    ? LOG_REQUESTS_ON
             : strcmp(log, "off") == 0 ? LOG_REQUESTS_OFF
                                       : LOG_REQUESTS_FAILURES;
}

void telemetry_free(telemetry *t)
{
    for (size_t i = 0; i < TELEMETRY_SLOTS; i++)
        free(t->slots[i]);
    memset(t->slots, 0, sizeof t->slots);
}
