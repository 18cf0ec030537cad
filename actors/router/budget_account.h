/*  budget_account.h - one account of a counter at a router: three measures (money, requests, tokens) in
 *  totals since the account began. `used` and `held` together may not cross `line`, which the owner moves.
 *  Thread: the loop's.   Ownership: accounts are budget.c's.   Errors: none. */
#ifndef ROUTER_BUDGET_ACCOUNT_H
#define ROUTER_BUDGET_ACCOUNT_H

#include "budget_rules.h"
#include "name_table.h"
#include "rate_window.h"

enum { MONEY, REQUESTS, TOKENS, MEASURES };
enum {
    AHEAD = 32,     /* calls like the last one that a lease should last for */
    AGAIN_MS = 100, /* after an ask that failed */
    IDLE_MS = 2000  /* then what is left of a lease goes back */
};
#define GOOD_US   1500000ULL /* that a line holds after the message which brought it was sent */
#define LINE_MOST 4503599627370496LL

typedef struct account {
    named name;
    ring_link by_use;
    ring_link active;                   /* something is used, held, leased or not told */
    int64_t client, sequence, answered; /* of asks: the last one sent, the last one that judged */
    budget_caps caps;
    const char *short_of; /* of the last judgement: a period of money; NULL: enough */
    int64_t until;        /* Unix ms */
    uint32_t wait_ms;     /* for requests or tokens */
    bool short_tokens;    /* for tokens */
    int64_t used[MEASURES], held[MEASURES], line[MEASURES], told[MEASURES];
    int64_t waiting[MEASURES]; /* needed by those that wait */
    int64_t last[MEASURES];    /* need of the last call */
    uint64_t good_until_us, sent_us, used_us, not_before_us;
    uint32_t refs; /* holds and those that wait */
    bool asking, due;
    rate_window *recent[MEASURES]; /* of the minute, where it is limited */
} account;

/* No more than a line can be. */
int64_t account_cap(int64_t n);
bool account_limited(const account *a, int m);
/* There is room for all of it, by a line that is still good. */
bool account_has(const account *a, const int64_t need[MEASURES], uint64_t now_us);
/* Less than half of what should be there. */
bool account_low(const account *a, int m);
bool account_told_all(const account *a);
bool account_leased(const account *a);
/* A call is under way with something of it, or waits for it. */
bool account_holds(const account *a);
/* What an ask says of one measure. What it gives back is given up here and now. */
void account_say(account *a, int m, bool draining, cache_budget_ask *q, uint64_t now_us);
/* The owner's answer to an ask that told `used`. */
void account_granted(account *a, const cache_budget_grant *g, const int64_t used[MEASURES],
                     uint64_t sent_us, uint64_t now_us);
/* Of the last minute, where it is limited. */
void account_count_recent(account *a, int m, int64_t n, uint64_t now_us);
int64_t account_recent(account *a, int m, uint64_t now_us);

#endif
