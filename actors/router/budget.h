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
 *  minute), SV_E_PROVIDER_LIMIT (either, of a provider), SV_E_UNAVAILABLE when the owner cannot be
 *  asked and no lease is left: never let through. */
#ifndef ROUTER_BUDGET_H
#define ROUTER_BUDGET_H

#include "budget_rules.h"
#include "feed.h"

enum { BUDGET_WAIT_MOST_MS = 5000 /* for the owner of the counters, or for the definitions */ };

typedef struct budgets budgets;
typedef struct budget_hold budget_hold;

/* One thing with limits of its own that no definition tells of: a provider that somebody brought. */
typedef struct budget_one {
    sv_str counter; /* budget_name.h */
    budget_caps caps;
} budget_one;

typedef struct budget_ask {
    const budget_one *one; /* its limits alone; NULL: those of whom the next four name */
    sv_str org, user, key; /* of the ticket; empty: none */
    int64_t micro;         /* most that it can cost, micro-units */
    int64_t tokens;        /* most that it can use */
    uint32_t ttl_ms;       /* the call's: a hold is given back by then in any case */
    bool further;          /* of a request that has a hold already: counts none */
    bool unpriced;         /* refused where money is limited: what it costs is not known */
    /* models that may answer, each name once; borrowed until the answer, as all texts are */
    const budget_share *shares;
    uint32_t n_shares; /* BUDGET_SHARES at most */
} budget_ask;

typedef void budget_wait_done(void *arg, int code, budget_hold *hold, const sv_error *err);
typedef struct budget_wait {
    budget_wait_done *done;
    void *arg;
    void *asked; /* NULL: not waiting; budget.c's own */
    int share;   /* of a refusal: it is by a budget of this model alone; -1: it is not */
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
/* The same with the part of each of the ask's shares; budget_settle takes all for each one's. */
void budget_settle_shares(budget_hold *h, int64_t micro, int64_t tokens,
                          const budget_share *shares);
/* Some budgets are about a model, or that is not known yet: shares are needed. */
bool budgets_by_model(const budgets *b);
/* SIGTERM: tell what is not told yet. */
void budgets_drain(budgets *b);

#endif
