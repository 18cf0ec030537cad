/*  learn.c - shares of binomial counts. The counts of an entry are as of its own time and are brought
 *  to the present when they are used. Changed entries are a list, from which they are taken to be
 *  saved; an entry on it is held. */
#include "learn.h"

#include "ranking.h"
#include "recent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is expected of a model of which nothing is known, and how much of a bonus a share may give or
 * take. Success is expected: there is little to win by it and more to lose. */
static const double expected_outcome = 0.95, expected_rating = 0.5;
static const double outcome_slope = 0.5, rating_slope = 0.3;

typedef struct counts {
    double good, n;
    uint64_t at_ms;
} counts;

struct learn_entry {
    recent_item item; /* first */
    counts outcomes, ratings;
    bool changed;
    learn_entry *next_changed;
};

struct learn {
    bool on;
    recent entries;
    learn_entry *changed, **last;
};

/* ---- names: a byte of the task, provider, 0, model ---- */

static sv_str name_of(char text[RECENT_NAME], model_task task, const char *provider, sv_str model)
{
    size_t n = strlen(provider);
    if (n + model.n + 2 > RECENT_NAME) return (sv_str){NULL, 0};
    text[0] = (char)('0' + (int)task);
    char *at = mempcpy(text + 1, provider, n + 1);
    if (model.n) at = mempcpy(at, model.p, model.n);
    return (sv_str){text, (uint32_t)(at - text)};
}

static learn_entry *get(learn *l, model_task task, const char *provider, sv_str model)
{
    char text[RECENT_NAME];
    sv_str name = name_of(text, task, provider, model);
    return name.n ? recent_get(&l->entries, name) : NULL;
}

static const learn_entry *find(const learn *l, model_task task, const char *provider, sv_str model)
{
    char text[RECENT_NAME];
    sv_str name = name_of(text, task, provider, model);
    return name.n ? recent_find(&l->entries, name) : NULL;
}

/* ---- life ---- */

learn *learn_new(bool on)
{
    learn *l = calloc(1, sizeof *l);
    if (l == NULL) return NULL;
    l->on = on;
    l->last = &l->changed;
    if (recent_init(&l->entries, sizeof(learn_entry), LEARN_MOST)) {
        free(l);
        return NULL;
    }
    return l;
}

void learn_free(learn *l)
{
    if (l == NULL) return;
    recent_free(&l->entries);
    free(l);
}

/* ---- counts ---- */

double learn_left(double half_life_ms, uint64_t from_ms, uint64_t to_ms)
{
    return to_ms > from_ms ? exp2(-(double)(to_ms - from_ms) / half_life_ms) : 1;
}

static void age(counts *c, double half_life_ms, uint64_t now_ms)
{
    double d = learn_left(half_life_ms, c->at_ms, now_ms);
    c->good *= d;
    c->n *= d;
    if (now_ms > c->at_ms) c->at_ms = now_ms;
}

learn_share learn_share_of(double good, double n)
{
    learn_share s = {.n = n, .good = good, .mid = n > 0 ? good / n : 0};
    share_interval(good, n, &s.low, &s.high);
    return s;
}

/* How far the interval lies beside what was expected. */
static double beside(const learn_share *s, double expected)
{
    return s->low > expected ? s->low - expected : s->high < expected ? s->high - expected : 0;
}

static float bonus_of(const learn_figures *f)
{
    double b = 0;
    if (f->outcomes.n >= LEARN_SAMPLE) b += outcome_slope * beside(&f->outcomes, expected_outcome);
    if (f->ratings.n >= LEARN_RATINGS) b += rating_slope * beside(&f->ratings, expected_rating);
    return fminf(fmaxf((float)b, -LEARN_BONUS_MOST), LEARN_BONUS_MOST);
}

void learn_look(const learn *l, model_task task, const char *provider, sv_str model,
                uint64_t unix_ms, learn_figures *ret)
{
    const learn_entry *e = find(l, task, provider, model);
    counts outcomes = {0}, ratings = {0};
    if (e) {
        outcomes = e->outcomes;
        ratings = e->ratings;
        age(&outcomes, LEARN_OUTCOME_MS, unix_ms);
        age(&ratings, LEARN_RATING_MS, unix_ms);
    }
    *ret = (learn_figures){.outcomes = learn_share_of(outcomes.good, outcomes.n),
                           .ratings = learn_share_of(ratings.good, ratings.n)};
    ret->bonus = l->on ? bonus_of(ret) : 0;
}

float learn_bonus(const learn *l, model_task task, const char *provider, sv_str model,
                  uint64_t unix_ms)
{
    learn_figures f;
    if (!l->on) return 0;
    learn_look(l, task, provider, model, unix_ms, &f);
    return f.bonus;
}

/* ---- learning ---- */

static void change(learn *l, learn_entry *e)
{
    if (e->changed) return;
    e->changed = true;
    e->next_changed = NULL;
    *l->last = e;
    l->last = &e->next_changed;
    recent_hold(e);
}

void learn_outcome(learn *l, model_task task, const char *provider, sv_str model, bool good,
                   uint64_t unix_ms)
{
    learn_entry *e = l->on ? get(l, task, provider, model) : NULL;
    if (e == NULL) return;
    age(&e->outcomes, LEARN_OUTCOME_MS, unix_ms);
    e->outcomes.n += 1;
    e->outcomes.good += good;
    change(l, e);
}

void learn_ratings(learn *l, model_task task, const char *provider, sv_str model, double good,
                   double n, uint64_t unix_ms)
{
    learn_entry *e = l->on ? get(l, task, provider, model) : NULL;
    if (e) e->ratings = (counts){good, n, unix_ms};
}

void learn_vote_add(learn_vote *v, double good_by, double n_by, uint64_t unix_ms,
                    double *ret_good_by, double *ret_n_by)
{
    double d = learn_left(LEARN_RATING_MS, v->at_ms, unix_ms);
    v->n = fmax(v->n * d + n_by, 0);
    v->good = fmin(fmax(v->good * d + good_by, 0), v->n);
    double n = fmin(v->n, LEARN_SHARE), good = v->n > 0 ? v->good / v->n * n : 0;
    *ret_n_by = n - v->counts_n * d;
    *ret_good_by = good - v->counts_good * d;
    v->counts_n = n;
    v->counts_good = good;
    if (unix_ms > v->at_ms) v->at_ms = unix_ms;
}

/* ---- keeping ---- */

void learn_load(learn *l, const learn_saved *s)
{
    learn_entry *e = l->on ? get(l, s->task, s->provider, s->model) : NULL;
    if (e) e->outcomes = (counts){s->good, s->n, s->at_ms};
}

bool learn_take(learn *l, learn_saved *ret)
{
    learn_entry *e = l->changed;
    if (e == NULL) return false;
    l->changed = e->next_changed;
    if (l->changed == NULL) l->last = &l->changed;
    e->changed = false;
    recent_release(e);
    const char *provider = e->item.name + 1;
    size_t n = strlen(provider) + 2;
    *ret = (learn_saved){.task = (model_task)(e->item.name[0] - '0'),
                         .provider = provider,
                         .model = {e->item.name + n, e->item.name_n - (uint32_t)n},
                         .good = e->outcomes.good,
                         .n = e->outcomes.n,
                         .at_ms = e->outcomes.at_ms};
    return true;
}

void learn_not_saved(learn *l, const learn_saved *s)
{
    learn_entry *e = get(l, s->task, s->provider, s->model);
    if (e) change(l, e);
}
