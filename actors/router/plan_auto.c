/*  plan_auto.c - ranks what fits. In two steps, so that a large offer costs little: all models by
 *  quality and price with the best imaginable health, then the first KEEP of them, KEEP_EACH of a
 *  provider, with their figures. The second place goes to another provider, for the case that all of
 *  the first one is down.
 *  Figures only ever lower a score, so a model outside of the first KEEP could come first only if all
 *  of those were failing.
 *
 *      need    = 0.27 + 0.50 complexity + 0.40 Q               Q: router.auto.quality, 0..1
 *      fit     = 1 where quality >= need, else 1 - (need - quality) / 0.30, at least 0
 *      quality' = 0.90 fit + 0.10 quality
 *      price'  = 1 / (1 + cost / reference)                    reference: 1 and 4 units a million tokens
 *      speed'  = 1 / (1 + seconds to the first token)
 *      health' = (1 - errors)^2, and (1 - wrong tool calls)^2 with tools
 *      score   = health' (quality' + W price' + S speed') / (1 + W + S) + learned
 *      W       = 0.70 (1 - 0.80 complexity)                    S: router.auto.speed, 0..1 */
#include "plan_inside.h"

#include "error.h"

#include <stdlib.h>

enum { KEEP = 24, KEEP_EACH = 8, VERDICTS = 64, EXAMPLES = PLAN_SEEN - KEEP };

/* Tokens that an answer usually has. */
static const float usual_answer[TASKS] = {350, 900, 300, 400, 250, 900, 300, 500, 250};

static const float price_unknown = 0.25f, speed_unknown = 0.5f, other_origin = 0.85f;

typedef struct ranked {
    provider *provider;
    const model_info *info;
    uint32_t place;
    float score, quality, price, speed, reliability, learned, origin;
    bool open;
} ranked;

/* What a model's facts come to for this request: many providers offer the same. */
typedef struct verdict {
    const model_info *info;
    plan_filter why;
    float quality, price;
} verdict;

typedef struct ranking {
    planning *g;
    model_task task;
    float need, wp, ws, share, answer;
    ranked mine[KEEP_EACH]; /* the provider's that is looked at */
    ranked kept[KEEP];
    uint32_t n_mine, n;
    float origin; /* of the provider that is looked at */
    verdict verdicts[VERDICTS];
    bool unknown_too; /* nothing that is known was left */
    uint32_t examples;
} ranking;

/* ---- lists ---- */

void plan_forget_listings(planner *p)
{
    for (int i = 0; i < LISTINGS; i++) {
        free(p->listings[i].known);
        p->listings[i] = (listing){0};
    }
}

/* What is known of a provider's models, worked out once for each of its lists. NULL: no memory. */
static const listing *listing_of(planner *p, const provider *v, bool anew)
{
    uintptr_t at = (uintptr_t)v;
    listing *l = &p->listings[(at >> 4 ^ at >> 12) % LISTINGS];
    uint64_t generation = models_generation(p->m);
    if (!anew && l->of == v && l->items == v->models.items && l->n == v->models.n &&
        l->generation == generation)
        return l;
    free(l->known);
    *l = (listing){0};
    if (v->models.n && (l->known = malloc(v->models.n * sizeof *l->known)) == NULL) return NULL;
    for (size_t i = 0; i < v->models.n; i++) {
        const model_info *info =
            models_find(p->m, provider_like(v), sv_cstr(v->models.items[i].id));
        if (info->known) {
            l->known[l->n_known].info = info;
            l->known[l->n_known++].place = (uint32_t)i;
        }
    }
    l->of = v;
    l->items = v->models.items;
    l->n = v->models.n;
    l->generation = generation;
    return l;
}

/* ---- scores ---- */

static float quality_of(const ranking *r, float q)
{
    float fit = q >= r->need ? 1 : 1 - (r->need - q) * (1 / 0.30f);
    return 0.9f * (fit < 0 ? 0 : fit) + 0.1f * q;
}

static float price_of_request(const ranking *r, const model_price *price)
{
    float prompt = (float)r->g->prompt, in = (float)price->input, out = (float)price->output;
    if (!price->known) return price_unknown;
    if (price->long_from && r->g->prompt > price->long_from) {
        in = (float)price->long_input;
        out = (float)price->long_output;
    }
    float cost = prompt * in + r->answer * out, reference = prompt * 1e6f + r->answer * 4e6f;
    return reference > 0 ? 1 / (1 + cost / reference) : 1;
}

static float total(const ranking *r, const ranked *k)
{
    float score =
        k->reliability * (k->quality + r->wp * k->price + r->ws * k->speed) / (1 + r->wp + r->ws) +
        k->learned;
    score *= k->origin;
    return score < 0 ? 0 : score > 1 ? 1 : score;
}

/* Figures of all keys of the provider together: the best one is what a request will get. */
static void look_at_health(ranking *r, ranked *k, sv_str name)
{
    const planning *g = r->g;
    health_figures best = {0};
    bool some = false;
    for (uint32_t key = 0; g->p->h && key < (k->provider->n_keys ? k->provider->n_keys : 1);
         key++) {
        const health_entry *e = health_find(g->p->h, provider_tag(k->provider), name, key);
        health_figures f;
        if (e == NULL) continue;
        health_look(e, g->ask->now_us, &f);
        if (!some || f.error_rate < best.error_rate) best = f;
        some = true;
    }
    k->speed = best.first_ms > 0   ? 1 / (1 + best.first_ms / 1000)
               : best.total_ms > 0 ? 1 / (1 + best.total_ms / 6000)
                                   : speed_unknown;
    k->reliability = (1 - best.error_rate) * (1 - best.error_rate);
    if (g->features.tools)
        k->reliability *= (1 - best.tool_error_rate) * (1 - best.tool_error_rate);
    k->open = plan_is_open(g, k->provider, name);
    if (g->p->learned)
        k->learned =
            learn_bonus(g->p->learned, r->task, provider_tag(k->provider), name, g->ask->unix_ms);
    k->score = total(r, k);
}

/* ---- step one: all ---- */

/* Sorted by score; of equals the earlier one stays in front. */
static void keep(ranked *to, uint32_t *n, uint32_t most, const ranked *k)
{
    if (*n == most && k->score <= to[most - 1].score) return;
    uint32_t at = *n < most ? (*n)++ : most - 1;
    for (; at > 0 && to[at - 1].score < k->score; at--)
        to[at] = to[at - 1];
    to[at] = *k;
}

static const verdict *verdict_of(ranking *r, const model_info *info)
{
    verdict *v = &r->verdicts[((uintptr_t)info >> 4) % VERDICTS];
    if (v->info == info) return v;
    *v = (verdict){.info = info, .why = plan_abilities(r->g, info)};
    if (v->why == FILTER_NONE && !info->known && r->g->need) v->why = FILTER_KIND;
    v->quality = quality_of(r, info->quality[r->task]);
    v->price = price_of_request(r, &info->price);
    return v;
}

static void left_out(ranking *r, const provider *p, uint32_t place, plan_filter why)
{
    if (why == FILTER_KIND) return; /* not worth a word */
    if (r->examples++ < EXAMPLES)
        plan_saw(r->g, p, sv_cstr(p->models.items[place].id), why, NULL);
    else
        r->g->left_out[why]++;
}

static void consider(ranking *r, provider *p, const model_info *info, uint32_t place)
{
    const planning *g = r->g;
    plan_filter why = FILTER_NONE;
    /* names are looked at only where something depends on them */
    if (g->ask->allowed.n || g->cap || p->trains || g->ask->op != OP_CHAT)
        why = plan_rights(g, p, info, sv_cstr(p->models.items[place].id));
    const verdict *v = verdict_of(r, info);
    if (why == FILTER_NONE) why = v->why;
    if (why) {
        left_out(r, p, place, why);
        return;
    }
    ranked k = {.provider = p,
                .info = info,
                .place = place,
                .quality = v->quality,
                .price = v->price,
                .speed = 1,
                .reliability = 1,
                .origin = r->origin};
    if (!info->price.known && p->source == FROM_MACHINE) k.price = 1; /* nobody bills it */
    k.score = total(r, &k);
    keep(r->mine, &r->n_mine, KEEP_EACH, &k);
}

static int consider_provider(ranking *r, provider *p, bool anew)
{
    if (r->unknown_too) {
        for (uint32_t i = 0; i < p->models.n; i++)
            consider(r, p,
                     models_find(r->g->p->m, provider_like(p), sv_cstr(p->models.items[i].id)), i);
        return 0;
    }
    const listing *l = listing_of(r->g->p, p, anew);
    if (l == NULL) return sv_fail(r->g->err, SV_E_NO_MEMORY, NULL, NULL);
    for (size_t i = 0; i < l->n_known; i++)
        consider(r, p, l->known[i].info, l->known[i].place);
    return 0;
}

static int consider_all(ranking *r, bool anew)
{
    const plan_ask *ask = r->g->ask;
    for (size_t i = 0; i < ask->n_providers; i++) {
        provider *p = ask->providers[i];
        r->n_mine = 0;
        r->origin = plan_fits_origin(r->g, p) ? 1 : other_origin;
        int rc = p->hidden ? 0 : consider_provider(r, p, anew);
        if (rc) return rc;
        for (uint32_t k = 0; k < r->n_mine; k++)
            keep(r->kept, &r->n, KEEP, &r->mine[k]);
    }
    return 0;
}

/* Lists may have been replaced by others at the same address: then their models are not those. */
static bool still_true(const ranking *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const ranked *k = &r->kept[i];
        sv_str name = sv_cstr(k->provider->models.items[k->place].id);
        if (models_find(r->g->p->m, provider_like(k->provider), name) != k->info) return false;
    }
    return true;
}

/* ---- step two: the first ones ---- */

static sv_str name_of(const ranked *k)
{
    return sv_cstr(k->provider->models.items[k->place].id);
}

static void sort_again(ranking *r)
{
    for (uint32_t i = 1; i < r->n; i++) {
        ranked k = r->kept[i];
        uint32_t at = i;
        for (; at > 0 && r->kept[at - 1].score < k.score; at--)
            r->kept[at] = r->kept[at - 1];
        r->kept[at] = k;
    }
}

static void move_up(ranking *r, uint32_t i, uint32_t to)
{
    ranked k = r->kept[i];
    for (; i > to; i--)
        r->kept[i] = r->kept[i - 1];
    r->kept[to] = k;
}

static void other_provider_second(ranking *r)
{
    uint32_t i = 1;
    while (i < r->n && r->kept[i].provider == r->kept[0].provider)
        i++;
    if (i < r->n) move_up(r, i, 1);
}

static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* One that is almost as good as the best, now and then. */
static bool explore(ranking *r)
{
    uint64_t dice = mixed(r->g->ask->seed);
    uint32_t near = 0;
    if (dice % 100 >= r->g->p->explore) return false;
    while (near + 1 < r->n && !r->kept[near + 1].open &&
           r->kept[near + 1].score >= 0.85f * r->kept[0].score)
        near++;
    if (near == 0) return false;
    move_up(r, 1 + (uint32_t)(mixed(dice) % near), 0);
    return true;
}

static const char *choose_first(ranking *r)
{
    for (uint32_t i = 0; r->g->stays_with && i < r->n; i++) {
        const ranked *k = &r->kept[i];
        if (plan_where(provider_tag(k->provider), name_of(k)) != r->g->stays_with) continue;
        if (k->open || k->info->quality[r->task] + 0.2f < r->need) break;
        move_up(r, i, 0);
        return "sticky";
    }
    if (r->n && explore(r)) {
        r->g->plan->explored = true;
        return "explored";
    }
    return "ranked";
}

/* Those that failed lately go, unless nobody else is there. */
static void drop_open(ranking *r)
{
    uint32_t closed = 0, to = 0;
    for (uint32_t i = 0; i < r->n; i++)
        closed += !r->kept[i].open;
    if (closed == 0) return;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->kept[i].open)
            plan_saw(r->g, r->kept[i].provider, name_of(&r->kept[i]), FILTER_OUTAGE, NULL);
        else
            r->kept[to++] = r->kept[i];
    }
    r->n = to;
}

static int put_out(ranking *r)
{
    const char *why = choose_first(r);
    other_provider_second(r);
    for (uint32_t i = 0; i < r->n; i++) {
        const ranked *k = &r->kept[i];
        plan_seen parts = {.score = k->score,
                           .quality = k->quality,
                           .price = k->price,
                           .speed = k->speed,
                           .reliability = k->reliability,
                           .learned = k->learned};
        plan_saw(r->g, k->provider, name_of(k), FILTER_NONE, &parts);
        int rc = plan_add(r->g, k->provider, name_of(k), k->info, i ? "ranked" : why, k->score);
        if (rc) return rc;
    }
    return 0;
}

static int know_task(planning *g, bool has_task, model_task task)
{
    task_guess guess;
    plan *out = g->plan;
    task_classify(&g->features, &guess);
    out->task = guess.task;
    out->complexity = guess.complexity;
    out->rule = guess.rule;
    if (has_task) {
        out->task = task;
        out->rule = "the alias";
    }
    if (g->ask->task.n) {
        if (!task_parse(g->ask->task, &out->task))
            return sv_fail(g->err, SV_E_INVALID, "task",
                           "The task is one of chat, code, summarise, translate, extract, reason, "
                           "vision, long, tools.");
        out->rule = "the client";
    }
    if (g->ask->complexity.n && !task_complexity_parse(g->ask->complexity, &out->complexity))
        return sv_fail(g->err, SV_E_INVALID, "complexity",
                       "The complexity is low, medium or high.");
    out->task_known = true;
    return 0;
}

int plan_auto(planning *g, bool has_task, model_task task)
{
    ranking r = {.g = g};
    if (g->ask->op != OP_CHAT && g->ask->op != OP_COUNT && g->ask->op != OP_EMBEDDINGS)
        return sv_fail(g->err, SV_E_INVALID, "model",
                       "auto chooses among models for chats and embeddings: name a model.");
    int rc = know_task(g, has_task, task);
    if (rc) return rc;
    float c = g->plan->complexity;
    r.task = g->plan->task;
    r.need = 0.27f + 0.50f * c + 0.40f * g->p->quality;
    r.wp = 0.70f * (1 - 0.80f * c);
    r.ws = g->p->speed;
    r.share = 1 / (1 + r.wp + r.ws);
    r.answer = usual_answer[r.task];
    if (g->answer_most && (float)g->answer_most < r.answer) r.answer = (float)g->answer_most;
    uint32_t n_seen = g->plan->n_seen;
    rc = consider_all(&r, false);
    if (rc == 0 && !still_true(&r)) {
        r.n = r.examples = 0;
        g->plan->n_seen = n_seen;
        rc = consider_all(&r, true);
    }
    /* what is too long for all known ones is no case for a guess */
    if (rc == 0 && r.n == 0 && g->left_out[FILTER_CONTEXT] == 0) {
        r.unknown_too = true;
        rc = consider_all(&r, false);
    }
    if (rc) return rc;
    for (uint32_t i = 0; i < r.n; i++)
        look_at_health(&r, &r.kept[i], name_of(&r.kept[i]));
    sort_again(&r);
    drop_open(&r);
    g->plan->auto_chosen = true;
    return put_out(&r);
}
