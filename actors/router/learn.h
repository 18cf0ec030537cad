/*  learn.h - how well models do their tasks, as their outcomes and their users tell: a small, bounded
 *  correction of a ranking.
 *
 *  For each task, provider and model two shares are kept: answers that went well, and users' ratings
 *  that were good. Each is a binomial share with exponential decay (half-lives LEARN_OUTCOME_MS and
 *  LEARN_RATING_MS) and a Wilson score interval of 90 % (E. B. Wilson, "Probable Inference, the Law of
 *  Succession, and Statistical Inference", JASA 1927). A share moves the ranking only by as much as its
 *  whole interval lies beside what is expected of an unknown model: a few answers move nothing, and many
 *  move it by at most LEARN_BONUS_MOST. Less than LEARN_SAMPLE answers or LEARN_RATINGS ratings count as
 *  none.
 *
 *  Ratings: a user's own for a task and model count like LEARN_SHARE at most, whatever he sends (see
 *  learn_vote): one user alone does not reach LEARN_RATINGS.
 *
 *  Thread: the loop's, but for learn_vote, which is pure.   Ownership: names are copied.
 *  Limits: LEARN_MOST names, those not used for longest go.   Errors: without memory a name is not
 *  learned; SV_E_NO_MEMORY from learn_new as NULL. */
#ifndef ROUTER_LEARN_H
#define ROUTER_LEARN_H

#include "models.h"
#include "sv_types.h"

#include <stdbool.h>
#include <stdint.h>

#define LEARN_BONUS_MOST 0.15f
enum { LEARN_MOST = 4096, LEARN_SAMPLE = 20, LEARN_RATINGS = 6, LEARN_SHARE = 4 };
#define LEARN_OUTCOME_MS (3 * 86400000.0)  /* providers change within days */
#define LEARN_RATING_MS  (30 * 86400000.0) /* ratings are rare, models change slowly */

typedef struct learn learn;
typedef struct learn_entry learn_entry;

typedef struct learn_share {
    double n, good;        /* of late */
    double low, mid, high; /* Wilson interval; 0, 0, 1 when n is 0 */
} learn_share;

typedef struct learn_figures {
    learn_share outcomes, ratings;
    float bonus; /* -LEARN_BONUS_MOST to LEARN_BONUS_MOST */
} learn_figures;

/* `on` false: nothing is learned and every bonus is 0. */
learn *learn_new(bool on);
void learn_free(learn *l);

/* An answer that went well, or a failure of the model or its provider. Not: a client that left, a
 * request that was wrong, a refused key. */
void learn_outcome(learn *l, model_task task, const char *provider, sv_str model, bool good,
                   uint64_t unix_ms);
/* What the ratings of all users add up to now, as the store has it. */
void learn_ratings(learn *l, model_task task, const char *provider, sv_str model, double good,
                   double n, uint64_t unix_ms);
/* For planners: what to add to a score of 0..1. */
float learn_bonus(const learn *l, model_task task, const char *provider, sv_str model,
                  uint64_t unix_ms);
void learn_look(const learn *l, model_task task, const char *provider, sv_str model,
                uint64_t unix_ms, learn_figures *ret);
learn_share learn_share_of(double good, double n);

/* ---- one user's ratings of one model at one task ---- */

typedef struct learn_vote {
    double good, n;               /* his ratings, decayed as of at_ms */
    double counts_good, counts_n; /* his part of the sum of all users, as of at_ms */
    uint64_t at_ms;
} learn_vote;

/* Adds a rating (good_by -1, 0 or 1, n_by -1, 0 or 1: a changed mind takes the former away) and
 * answers what the sum of all users changes by. */
void learn_vote_add(learn_vote *v, double good_by, double n_by, uint64_t unix_ms,
                    double *ret_good_by, double *ret_n_by);
/* 0..1: what is left after a time. */
double learn_left(double half_life_ms, uint64_t from_ms, uint64_t to_ms);

/* ---- keeping ---- */

typedef struct learn_saved {
    model_task task;
    const char *provider; /* borrowed until the next call that changes anything */
    sv_str model;
    double good, n; /* outcomes as of at_ms */
    uint64_t at_ms;
} learn_saved;

/* Outcomes that were loaded from the store. */
void learn_load(learn *l, const learn_saved *s);
/* The next of those that have changed since they were taken; false: there is none. */
bool learn_take(learn *l, learn_saved *ret);
/* Taken ones that could not be saved have changed again. */
void learn_not_saved(learn *l, const learn_saved *s);

#endif
