/*  ranking.h - figures of models from the sums of several routers.
 *
 *  Shares come with a Wilson score interval of 90 % (E. B. Wilson, "Probable Inference, the Law of
 *  Succession, and Statistical Inference", JASA 1927): few answers give a wide one. Models are in order
 *  of the lower end of what users say where enough have said something, else of the lower end of their
 *  success: a model with three good answers is not before one with three thousand.
 *
 *  Thread: one owner.   Ownership: names are copied into the list's own memory.
 *  Limits: RANKING_MOST rows.   Errors: SV_E_TOO_LARGE, SV_E_NO_MEMORY. */
#ifndef SV_RANKING_H
#define SV_RANKING_H

#include "message.h"

enum { RANKING_MOST = 4096, RANKING_SAMPLE = 20, RANKING_RATINGS = 6 };

/* Ends of the interval of a share of n; 0 and 1 when n is 0. */
void share_interval(double good, double n, double *ret_low, double *ret_high);

typedef struct ranking {
    router_rank *rows;
    uint32_t n, cap;
    arena names;
} ranking;

void ranking_init(ranking *r);
void ranking_free(ranking *r);
/* Adds the rows of an answer of router.rankings to those that are there. */
int ranking_add(ranking *r, const router_rankings_reply *from);
/* All rows, best first within their task; `to` has room for r->n. Names are borrowed from `r`. */
void ranking_view(ranking *r, router_ranking *to);

#endif
