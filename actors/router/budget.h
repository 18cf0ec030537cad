/*  budget.h - the router's side of budgets and of limits by requests and tokens.
 *
 *  What applies to a caller (his key, user, organization, the model) comes from auth as snapshot and
 *  sequence. The owner of an organization's counters is one cache instance (partition key: the
 *  organization). The router holds leases from it, so that most requests cost no message: it takes the
 *  worst case before the provider is called and gives back what was not used. What was used is told to
 *  the owner in cumulative totals, so that nothing is lost or counted twice when either side restarts.
 *
 *  Thread: the loop's.
 *  Ownership: a hold belongs to whoever took it; budget_settle ends it.
 *  Errors: SV_E_BUDGET (what is used up, and until when), SV_E_LIMIT_TOKENS (requests or tokens a
 *  minute), SV_E_UNAVAILABLE when the owner cannot be asked and no lease is left: never let through. */
#ifndef ROUTER_BUDGET_H
#define ROUTER_BUDGET_H

#include "feed.h"

enum { BUDGET_WAIT_MOST_MS = 5000 /* for the owner of the counters, or for the definitions */ };

typedef struct budgets budgets;
typedef struct budget_hold budget_hold;

typedef struct budget_ask {
    sv_str org, user, key; /* of the ticket; empty: none */
    sv_str model;          /* canonical or as asked */
    int64_t micro;         /* most that it can cost, micro-units */
    int64_t tokens;        /* most that it can use */
    uint32_t ttl_ms;       /* the call's: a hold is given back by then in any case */
} budget_ask;

typedef struct budget_wait {
    void (*done)(void *arg, int code, budget_hold *hold, const sv_error *err);
    void *arg;
    void *asked; /* NULL: not waiting; budget.c's own */
} budget_wait;

/* Becomes the feed's consumer of the kind budget. */
int budgets_new(sv_process *p, feed *f, budgets **ret, sv_error *err);
/* Nobody may wait and no hold be open; the process has left the bus. NULL does nothing. */
void budgets_free(budgets *b);
/* `b` NULL: nothing is limited.
 * 0: go on, with *ret NULL when nothing applies; SV_PENDING: w->done comes later, once, unless
 * budget_wait_cancel; or an error. */
int budget_take(budgets *b, const budget_ask *a, budget_hold **ret, budget_wait *w, sv_error *err);
void budget_wait_cancel(budget_wait *w);
/* What it cost in the end; more than was held is counted too. Ends the hold. NULL does nothing. */
void budget_settle(budget_hold *h, int64_t micro, int64_t tokens);
/* SIGTERM: tell what is not told yet. */
void budgets_drain(budgets *b);

#endif
