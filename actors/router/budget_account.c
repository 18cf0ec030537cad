/*  budget_account.c - see budget_account.h. */
#include "budget_account.h"

#include <stdlib.h>

bool account_told_all(const account *a)
{
    for (int m = 0; m < MEASURES; m++)
        if (a->used[m] != a->told[m]) return false;
    return true;
}

bool account_limited(const account *a, int m)
{
    const budget_caps *c = &a->caps;
    if (m == MONEY) return c->day || c->month || c->total;
    return m == REQUESTS ? c->minute_requests > 0 : c->minute_tokens > 0;
}

bool account_has(const account *a, const int64_t need[MEASURES], uint64_t now_us)
{
    for (int m = 0; m < MEASURES; m++) {
        if (need[m] == 0 || !account_limited(a, m)) continue;
        if (now_us >= a->good_until_us) return false;
        if (a->line[m] - a->used[m] - a->held[m] < need[m]) return false;
    }
    return true;
}

void account_count_recent(account *a, int m, int64_t n, uint64_t now_us)
{
    if (m == MONEY || n == 0 || !account_limited(a, m)) return;
    uint64_t now_ms = now_us / 1000;
    if (a->recent[m] == NULL) {
        a->recent[m] = malloc(sizeof *a->recent[m]);
        if (a->recent[m] == NULL) return; /* an owner that starts in this minute knows less */
        rate_window_init(a->recent[m], RATE_MINUTE, now_ms);
    }
    rate_window_add(a->recent[m], now_ms, n < RATE_MOST ? (uint32_t)n : RATE_MOST);
}

int64_t account_recent(account *a, int m, uint64_t now_us)
{
    return a->recent[m] ? (int64_t)rate_window_sum(a->recent[m], now_us / 1000) : 0;
}

int64_t account_cap(int64_t n)
{
    return n < LINE_MOST ? n : LINE_MOST;
}

/* Less than half of what should be there. */
bool account_low(const account *a, int m)
{
    if (!account_limited(a, m) || a->last[m] == 0) return false;
    int64_t left = a->line[m] - a->used[m] - a->held[m];
    return left < AHEAD / 2 * a->last[m];
}

bool account_leased(const account *a)
{
    for (int m = 0; m < MEASURES; m++)
        if (account_limited(a, m) && a->line[m] > a->used[m]) return true;
    return false;
}

bool account_holds(const account *a)
{
    return a->held[MONEY] || a->held[TOKENS] || a->waiting[REQUESTS];
}
