/*  plan_rules.c - settings of the planner, who is left out, and the words for it. */
#include "plan_inside.h"

#include "error.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

const char *const plan_filter_words[FILTERS] = {
    [FILTER_CONTEXT] = "the request is too long for it",
    [FILTER_TOOLS] = "it cannot call tools",
    [FILTER_IMAGES] = "it cannot see images",
    [FILTER_AUDIO] = "it cannot hear",
    [FILTER_FILES] = "it cannot read files",
    [FILTER_SCHEMA] = "it cannot answer by a schema",
    [FILTER_KIND] = "it is a model of another kind",
    [FILTER_FORMAT] = "its provider has no such endpoint",
    [FILTER_PRICE] = "it could cost more than is allowed",
    [FILTER_PRICE_UNKNOWN] = "its price is not known and there is a cap",
    [FILTER_POLICY] = "its provider may learn from what it is sent",
    [FILTER_ALLOWED] = "the API key does not allow it",
    [FILTER_OUTAGE] = "it failed lately"};

/* ---- settings ---- */

static int wrong(const config *c, const char *list, uint32_t i, const char *member, sv_error *err,
                 const char *words, const char *name)
{
    return sv_fail(err, SV_E_CONFIG, list, "%s: key %s[%u].%s: \"%.60s\" %s",
                   config_source(c, list), list, i, member, name, words);
}

static int read_detours(const config *c, const char *list, const char *name, const char *to,
                        detour **ret, uint32_t *ret_n, sv_error *err)
{
    uint32_t n = config_items(c, list);
    detour *all = calloc(n ? n : 1, sizeof *all);
    if (all == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    *ret = all;
    *ret_n = n;
    for (uint32_t i = 0; i < n; i++) {
        all[i].name = config_item_str(c, list, i, name);
        all[i].n = config_item_strs(c, list, i, to, &all[i].to);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(all[k].name, all[i].name) == 0)
                return wrong(c, list, i, name, err, "is there twice", all[i].name);
    }
    return 0;
}

static int check_alias(planner *p, const config *c, uint32_t i, sv_error *err)
{
    static const char list[] = "router.aliases";
    detour *d = &p->aliases[i];
    const char *task = config_item_str(c, list, i, "task");
    bool automatic = false;
    if (strcmp(d->name, "auto") == 0)
        return wrong(c, list, i, "name", err, "is no alias: it has a meaning already", d->name);
    for (uint32_t k = 0; k < d->n; k++) {
        automatic |= strcmp(d->to[k], "auto") == 0;
        for (uint32_t other = 0; other < p->n_aliases; other++)
            if (other != i && strcmp(d->to[k], p->aliases[other].name) == 0)
                return wrong(c, list, i, "models", err, "is an alias itself", d->to[k]);
    }
    if (task && !automatic)
        return wrong(c, list, i, "task", err, "is for aliases of auto only", task);
    d->has_task = task && task_parse(sv_cstr(task), &d->task);
    return 0;
}

int plan_read_settings(planner *p, const config *c, sv_error *err)
{
    p->quality = (float)config_int(c, "router.auto.quality") / 100;
    p->speed = (float)config_int(c, "router.auto.speed") / 100;
    p->explore = (uint32_t)config_int(c, "router.explore");
    p->price_cap = config_int(c, "router.price_cap");
    p->sticky_us = (uint64_t)config_int(c, "router.sticky_ms") * 1000;
    p->no_training = strcmp(config_str(c, "router.data_policy"), "no_training") == 0;
    int rc = read_detours(c, "router.aliases", "name", "models", &p->aliases, &p->n_aliases, err);
    if (rc == 0)
        rc = read_detours(c, "router.fallbacks", "model", "use", &p->fallbacks, &p->n_fallbacks,
                          err);
    for (uint32_t i = 0; i < p->n_aliases && rc == 0; i++)
        rc = check_alias(p, c, i, err);
    return rc;
}

/* ---- filters ---- */

void plan_prepare(planning *g)
{
    const llm_features *f = &g->features;
    g->prompt = f->prompt_tokens > 0 ? f->prompt_tokens : 0;
    g->answer_most = f->max_tokens > g->ask->output ? f->max_tokens : g->ask->output;
    g->answers = g->ask->answers > 1 ? g->ask->answers : 1;
    g->need = (f->tools ? MODEL_CAN_TOOLS : 0u) | (f->images ? MODEL_CAN_SEE : 0u) |
              (f->audio ? MODEL_CAN_HEAR : 0u) | (f->files ? MODEL_CAN_FILES : 0u) |
              (f->schema ? MODEL_CAN_JSON : 0u);
    g->cap = g->p->price_cap;
    if (g->ask->budget > 0 && (g->cap == 0 || g->ask->budget < g->cap)) g->cap = g->ask->budget;
}

static bool is_allowed(const planning *g, const provider *p, const model_info *info, sv_str name)
{
    const plan_ask *ask = g->ask;
    if (ask->allowed.n == 0) return true;
    size_t head = strlen(p->name);
    for (uint32_t i = 0; i < ask->allowed.n; i++) {
        sv_str one = ask->allowed.items[i];
        if (sv_str_eq(one, name) || (info->id[0] && sv_str_is(one, info->id)) ||
            (g->allowed_as.n && sv_str_eq(one, g->allowed_as)))
            return true;
        if (one.n == head + 1 + name.n && one.p[head] == '/' && memcmp(one.p, p->name, head) == 0 &&
            memcmp(one.p + head + 1, name.p, name.n) == 0)
            return true;
    }
    return false;
}

static bool has_endpoint(plan_op op, const provider *p)
{
    switch (op) {
    case OP_TRANSCRIPTION:
    case OP_IMAGE:
    case OP_MODERATION: return p->format == LLM_OPENAI;
    case OP_EMBEDDINGS: return p->format != LLM_ANTHROPIC;
    case OP_CHAT:
    case OP_COUNT: return true;
    }
    return true;
}

/* The most, by what is known of it; false: its price is not known. */
static bool may_cost(const planning *g, const model_info *info, int64_t *ret)
{
    cost_ask q = {.prompt = g->prompt, .answer_most = g->answer_most, .answers = g->answers};
    int64_t used;
    if (g->ask->cost && g->ask->cost->kind != COST_ANSWER) q = *g->ask->cost;
    return cost_most(info, &q, ret, &used);
}

plan_filter plan_rights(const planning *g, const provider *p, const model_info *info, sv_str name)
{
    if (!is_allowed(g, p, info, name)) return FILTER_ALLOWED;
    if (g->p->no_training && p->trains) return FILTER_POLICY;
    if (!has_endpoint(g->ask->op, p)) return FILTER_FORMAT;
    int64_t micro;
    if (g->cap == 0) return FILTER_NONE;
    if (!may_cost(g, info, &micro))
        return p->source == FROM_MACHINE ? FILTER_NONE : FILTER_PRICE_UNKNOWN;
    return micro > g->cap ? FILTER_PRICE : FILTER_NONE;
}

int plan_together(const planning *g)
{
    int64_t sum = 0, micro;
    for (uint32_t i = 0; i < g->plan->n && i < g->ask->at_once; i++)
        if (may_cost(g, g->plan->items[i].info, &micro)) sum += micro;
    if (g->cap == 0 || sum <= g->cap) return 0;
    return sv_fail(g->err, SV_E_INVALID, g->cap == g->ask->budget ? "budget" : "models",
                   "The models that are asked at once could cost more together than is allowed: "
                   "name fewer, or limit the length of the answer.");
}

plan_filter plan_abilities(const planning *g, const model_info *info)
{
    static const plan_filter of[] = {FILTER_TOOLS, FILTER_IMAGES, FILTER_AUDIO, FILTER_SCHEMA};
    if (info->context && g->prompt + g->answer_most > info->context) return FILTER_CONTEXT;
    if (!info->known) return FILTER_NONE;
    if (g->ask->op != OP_CHAT && g->ask->op != OP_COUNT && g->ask->op != OP_EMBEDDINGS)
        return FILTER_NONE;
    if (((info->can & MODEL_CAN_EMBED) != 0) != (g->ask->op == OP_EMBEDDINGS)) return FILTER_KIND;
    if (info->can & MODEL_CAN_MEDIA) return FILTER_KIND;
    unsigned lacks = g->need & ~info->can;
    if (lacks == 0) return FILTER_NONE;
    for (unsigned bit = 0; bit < 4; bit++)
        if (lacks & 1u << bit) return of[bit];
    return FILTER_FILES;
}

bool plan_is_open(const planning *g, const provider *p, sv_str name)
{
    uint32_t n = p->n_keys ? p->n_keys : 1;
    if (g->p->h == NULL) return false;
    for (uint32_t key = 0; key < n; key++) {
        const health_entry *e = health_find(g->p->h, provider_tag(p), name, key);
        health_figures f;
        if (e == NULL) return false;
        health_look(e, g->ask->now_us, &f);
        if (f.open_until_us <= g->ask->now_us) return false;
    }
    return true;
}

bool plan_fits_origin(const planning *g, const provider *p)
{
    if (!g->features.opaque) return true;
    if (g->features.origin == LLM_RESPONSES) return p->format == LLM_OPENAI && p->responses;
    return g->features.origin == p->format;
}

uint64_t plan_where(const char *who, sv_str name)
{
    uint64_t h = 14695981039346656037u;
    for (; *who; who++)
        h = (h ^ (uint8_t)*who) * 1099511628211u;
    h = (h ^ 0xff) * 1099511628211u;
    for (uint32_t i = 0; i < name.n; i++)
        h = (h ^ (uint8_t)name.p[i]) * 1099511628211u;
    return h ? h : 1;
}

/* ---- telling ---- */

/* Without memory it is only not told. */
void plan_saw(planning *g, const provider *p, sv_str name, plan_filter why, const plan_seen *parts)
{
    g->left_out[why]++;
    if (g->plan->n_seen == PLAN_SEEN) return;
    plan_seen one = parts ? *parts : (plan_seen){0};
    one.provider = arena_copy(g->a, sv_cstr(provider_label(p)));
    one.model = arena_copy(g->a, name);
    one.filter = plan_filter_words[why];
    if (one.provider && one.model) g->plan->seen[g->plan->n_seen++] = one;
}

static int shown(sv_str s)
{
    size_t n = 0, step;
    while (n < s.n && (step = utf8_sequence((const uint8_t *)s.p + n, s.n - n)) > 0 &&
           n + step <= 48)
        n += step;
    return (int)n;
}

int plan_nobody(const planning *g)
{
    sv_str asked = g->ask->model;
    bool some = false;
    for (size_t i = 0; i < g->ask->n_providers; i++)
        some |= !g->ask->providers[i]->hidden;
    if (!some)
        return sv_fail(
            g->err, SV_E_MODEL_UNKNOWN, "model",
            "Nobody offers the model %.*s: there is no provider. Set OPENAI_API_KEY, "
            "OPENROUTER_API_KEY, GROQ_API_KEY or ANTHROPIC_API_KEY, start Ollama, or list "
            "router.providers in samovar.yaml.",
            shown(asked), asked.p);
    for (int f = FILTER_NONE + 1; f < FILTERS; f++) {
        if (g->left_out[f] == 0) continue;
        if (f == FILTER_ALLOWED)
            return sv_fail(g->err, SV_E_MODEL_NOT_ALLOWED, "model",
                           "The API key does not allow the model %.*s.", shown(asked), asked.p);
        return sv_fail(g->err, SV_E_INVALID,
                       f == FILTER_CONTEXT                             ? "messages"
                       : f == FILTER_PRICE && g->cap == g->ask->budget ? "budget"
                                                                       : "model",
                       "Nobody is left for the model %.*s; of the last ones that were: %s.",
                       shown(asked), asked.p, plan_filter_words[f]);
    }
    return sv_fail(g->err, SV_E_MODEL_UNKNOWN, "model",
                   "No provider lists a model for %.*s that it could be chosen from.", shown(asked),
                   asked.p);
}
