/*  plan.c - from the name that was asked for to candidates in order. Names are searched in the sorted
 *  lists of the providers; conversations are remembered as hashes in a table of fixed size. */
#include "plan_inside.h"

#include "error.h"
#include "loop.h"

#include <stdlib.h>

/* ---- life ---- */

int planner_new(const config *c, models *m, health *h, planner **ret, sv_error *err)
{
    planner *p = calloc(1, sizeof *p);
    if (p == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    p->m = m;
    p->h = h;
    int rc = plan_read_settings(p, c, err);
    if (rc == 0 && p->sticky_us) {
        p->table = calloc(STICKY_SETS * STICKY_WAYS, sizeof *p->table);
        if (p->table == NULL) rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    if (rc) {
        planner_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void planner_free(planner *p)
{
    if (p == NULL) return;
    plan_forget_listings(p);
    free(p->aliases);
    free(p->fallbacks);
    free(p->table);
    free(p);
}

void planner_learn(planner *p, const learn *l)
{
    p->learned = l;
}

/* ---- conversations ---- */

/* Nobody else's conversation has the same key, whatever names clients give theirs. */
static uint64_t conversation_of(const plan_ask *ask)
{
    uint64_t h = ask->conversation;
    if (h == 0) return 0;
    for (uint32_t i = 0; i < ask->org.n; i++)
        h = (h ^ (uint8_t)ask->org.p[i]) * 1099511628211u;
    h = (h ^ 0xff) * 1099511628211u;
    for (uint32_t i = 0; i < ask->user.n; i++)
        h = (h ^ (uint8_t)ask->user.p[i]) * 1099511628211u;
    h ^= h >> 29;
    return h ? h : 1;
}

static sticky *set_of(const planner *p, uint64_t conversation)
{
    return p->table + (conversation % STICKY_SETS) * STICKY_WAYS;
}

static uint64_t was_with(const planner *p, const plan_ask *ask)
{
    uint64_t conversation = conversation_of(ask);
    if (conversation == 0 || p->table == NULL) return 0;
    const sticky *s = set_of(p, conversation);
    for (int i = 0; i < STICKY_WAYS; i++)
        if (s[i].conversation == conversation)
            return ask->now_us - s[i].at_us <= p->sticky_us ? s[i].where : 0;
    return 0;
}

void planner_answered(planner *p, const plan_ask *ask, const candidate *c)
{
    uint64_t conversation = conversation_of(ask);
    if (conversation == 0 || p->table == NULL) return;
    sticky *s = set_of(p, conversation), *to = s;
    for (int i = 0; i < STICKY_WAYS; i++) {
        if (s[i].conversation == conversation) {
            to = &s[i];
            break;
        }
        if (s[i].conversation == 0 || (to->conversation && s[i].at_us < to->at_us)) to = &s[i];
    }
    *to = (sticky){conversation, plan_where(provider_tag(c->provider), sv_cstr(c->model)),
                   ask->now_us};
}

/* ---- candidates ---- */

int plan_add(planning *g, provider *p, sv_str name, const model_info *info, const char *why,
             float score)
{
    plan *out = g->plan;
    for (uint32_t i = 0; i < out->n; i++)
        if (out->items[i].provider == p && sv_str_is(name, out->items[i].model)) return 0;
    if (out->n == PLAN_MOST) return 0;
    const char *own = arena_copy(g->a, name);
    if (own == NULL) return sv_fail(g->err, SV_E_NO_MEMORY, NULL, NULL);
    out->items[out->n++] = (candidate){p, own, info, score, why};
    return 0;
}

typedef struct search {
    planning *g;
    const char *why;
    bool strict; /* by abilities too */
    bool found;  /* somebody has it, whether he passed or not */
} search;

static int offer(search *s, provider *p, sv_str name, const char *why)
{
    planning *g = s->g;
    const model_info *info = models_find(g->p->m, provider_like(p), name);
    s->found = true;
    plan_filter filter = plan_rights(g, p, info, name);
    if (filter == FILTER_NONE && s->strict) filter = plan_abilities(g, info);
    plan_saw(g, p, name, filter, NULL);
    return filter ? 0 : plan_add(g, p, name, info, why, 0);
}

/* Nothing was heard of its list yet: it may have the model. */
static bool list_unknown(const provider *p)
{
    return p->models.n == 0 && !p->fixed_models && !p->hidden;
}

/* Providers that have the model under another of its names. */
static int search_other_names(search *s, sv_str name)
{
    planning *g = s->g;
    const model_info *info = models_find(g->p->m, NULL, name);
    const char *const *names;
    const char *why = strcmp(s->why, "named") == 0 ? "other name" : s->why;
    if (info->id[0] == 0) return 0;
    uint32_t n = models_names(g->p->m, info->id, &names);
    for (size_t i = 0; i < g->ask->n_providers; i++) {
        provider *p = g->ask->providers[i];
        const char *called = models_name_at(g->p->m, provider_like(p), info->id);
        int rc = 0;
        bool done = provider_lists(p, name);
        if (p->hidden || done) continue;
        if (list_unknown(p)) {
            if (called) rc = offer(s, p, sv_cstr(called), why);
            done = true;
        }
        if (!done && called && provider_lists(p, sv_cstr(called))) {
            rc = offer(s, p, sv_cstr(called), why);
            done = true;
        }
        for (uint32_t k = 0; k < n && !done; k++)
            if (provider_lists(p, sv_cstr(names[k]))) {
                rc = offer(s, p, sv_cstr(names[k]), why);
                done = true;
            }
        if (rc) return rc;
    }
    return 0;
}

/* PROVIDER/MODEL: that one, whatever it lists. *ret: there is such a provider. */
static int search_prefix(search *s, sv_str name, bool *ret)
{
    const char *slash = name.n ? memchr(name.p, '/', name.n) : NULL;
    *ret = false;
    if (slash == NULL || slash + 1 == name.p + name.n) return 0;
    sv_str head = {name.p, (uint32_t)(slash - name.p)};
    for (size_t i = 0; i < s->g->ask->n_providers; i++) {
        provider *p = s->g->ask->providers[i];
        if (p->hidden || !sv_str_is(head, p->name)) continue;
        *ret = true;
        return offer(s, p, (sv_str){slash + 1, name.n - head.n - 1}, s->why);
    }
    return 0;
}

/* Within what one name gave: those that failed lately and those that another format's signatures mean
 * nothing to come last; the one that has the conversation's prompt comes first. */
static void order(planning *g, uint32_t from)
{
    candidate *c = g->plan->items;
    uint32_t rank[PLAN_MOST];
    if (g->plan->n < from + 2) return;
    for (uint32_t i = from; i < g->plan->n; i++) {
        sv_str name = sv_cstr(c[i].model);
        bool stays =
            g->stays_with && plan_where(provider_tag(c[i].provider), name) == g->stays_with;
        rank[i] = (plan_is_open(g, c[i].provider, name) ? 4u : 0u) +
                  (plan_fits_origin(g, c[i].provider) ? 0u : 2u) + (stays ? 0u : 1u);
        if (stays) c[i].why = "sticky";
    }
    for (uint32_t i = from + 1; i < g->plan->n; i++) {
        candidate one = c[i];
        uint32_t r = rank[i], at = i;
        for (; at > from && rank[at - 1] > r; at--) {
            c[at] = c[at - 1];
            rank[at] = rank[at - 1];
        }
        c[at] = one;
        rank[at] = r;
    }
}

static int search_name(planning *g, sv_str name, const char *why, bool strict, bool anybody)
{
    search s = {.g = g, .why = why, .strict = strict};
    uint32_t from = g->plan->n;
    bool listed = false, prefixed = false;
    int rc = 0;
    for (size_t i = 0; i < g->ask->n_providers && rc == 0; i++) {
        provider *p = g->ask->providers[i];
        if (p->hidden || !provider_lists(p, name)) continue;
        listed = true;
        rc = offer(&s, p, name, why);
    }
    if (rc == 0) rc = search_prefix(&s, name, &prefixed);
    /* a provider that was named in front of the model is meant, and nobody else */
    if (rc == 0 && (listed || !prefixed)) rc = search_other_names(&s, name);
    for (size_t i = 0; rc == 0 && anybody && !s.found && i < g->ask->n_providers; i++)
        if (!g->ask->providers[i]->hidden) rc = offer(&s, g->ask->providers[i], name, why);
    order(g, from);
    return rc;
}

/* ---- what a name stands for ---- */

static const detour *find_detour(const detour *all, uint32_t n, sv_str name)
{
    for (uint32_t i = 0; i < n; i++)
        if (sv_str_is(name, all[i].name)) return &all[i];
    return NULL;
}

bool planner_means_demo(const planner *p, sv_str name)
{
    const detour *alias = find_detour(p->aliases, p->n_aliases, name);
    return alias ? alias->n > 0 && strcmp(alias->to[0], "demo") == 0 : sv_str_is(name, "demo");
}

static int resolve(planning *g, sv_str name, const char *why)
{
    const detour *alias = find_detour(g->p->aliases, g->p->n_aliases, name);
    bool fallback = strcmp(why, "fallback") == 0;
    int rc = 0;
    g->allowed_as = fallback ? (sv_str){NULL, 0} : name;
    if (alias == NULL && sv_str_is(name, "auto")) return plan_auto(g, false, TASK_CHAT);
    if (alias == NULL) return search_name(g, name, why, fallback, !fallback);
    for (uint32_t i = 0; i < alias->n && rc == 0; i++) {
        sv_str to = sv_cstr(alias->to[i]);
        if (sv_str_is(to, "auto"))
            rc = plan_auto(g, alias->has_task, alias->task);
        else
            rc = search_name(g, to, fallback ? why : "alias", true, !fallback);
    }
    return rc;
}

static int add_fallbacks(planning *g)
{
    const detour *own = find_detour(g->p->fallbacks, g->p->n_fallbacks, g->ask->model);
    const detour *general = find_detour(g->p->fallbacks, g->p->n_fallbacks, sv_cstr("*"));
    const detour *all[] = {own, general};
    int rc = 0;
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; all[k] && i < all[k]->n && rc == 0; i++)
            rc = resolve(g, sv_cstr(all[k]->to[i]), "fallback");
    return rc;
}

/* Those that failed lately come behind all others. */
static void open_last(planning *g)
{
    candidate *c = g->plan->items, open[PLAN_MOST];
    uint32_t n_open = 0, to = 0;
    if (g->plan->n < 2) return;
    for (uint32_t i = 0; i < g->plan->n; i++) {
        if (plan_is_open(g, c[i].provider, sv_cstr(c[i].model)))
            open[n_open++] = c[i];
        else
            c[to++] = c[i];
    }
    for (uint32_t i = 0; i < n_open; i++)
        c[to++] = open[i];
}

static int say_task(planning *g)
{
    if (g->ask->task.n == 0 || g->plan->task_known) return 0;
    if (!task_parse(g->ask->task, &g->plan->task))
        return sv_fail(g->err, SV_E_INVALID, "task",
                       "The task is one of chat, code, summarise, translate, extract, reason, "
                       "vision, long, tools.");
    g->plan->task_known = true;
    g->plan->rule = "the client";
    return 0;
}

int planner_choose(planner *p, const plan_ask *ask, arena *a, plan *ret, sv_error *err)
{
    uint64_t began = clock_us();
    planning g = {.p = p, .ask = ask, .a = a, .plan = ret, .err = err};
    *ret = (plan){.rule = ""};
    if (ask->features) g.features = *ask->features;
    plan_prepare(&g);
    g.stays_with = was_with(p, ask);
    int rc = resolve(&g, ask->model, "named");
    for (uint32_t i = 0; i < ask->list.n && rc == 0; i++)
        rc = resolve(&g, ask->list.items[i], "named");
    if (rc == 0) rc = add_fallbacks(&g);
    if (rc == 0) rc = say_task(&g);
    if (rc == 0 && ret->n == 0) rc = plan_nobody(&g);
    if (rc == 0) open_last(&g);
    if (rc == 0) rc = plan_together(&g);
    ret->took_us = clock_us() - began;
    return rc;
}
