/*  budget_account.c - see budget_account.h. */
#include "budget_account.h"

#include <stdlib.h>
#include <string.h>

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
    return a->held[MONEY] || a->held[REQUESTS] || a->held[TOKENS] || a->waiting[MONEY] ||
           a->waiting[REQUESTS] || a->waiting[TOKENS];
}

void account_say(account *a, int m, bool draining, cache_budget_ask *q, uint64_t now_us)
{
    bool idle = now_us - a->used_us > IDLE_MS * 1000ULL || draining;
    int64_t busy = account_cap(a->used[m] + a->held[m]);
    if (!account_limited(a, m) || idle || now_us >= a->good_until_us || a->line[m] < busy)
        a->line[m] = busy;
    q->used = a->used[m];
    q->line = a->line[m];
    q->need = account_cap(busy + a->waiting[m]);
    q->want = q->need;
    if (!idle) q->want = account_cap(q->need + AHEAD * a->last[m]);
    q->recent = account_recent(a, m, now_us);
}

void account_granted(account *a, const cache_budget_grant *g, const int64_t used[MEASURES],
                     uint64_t sent_us, uint64_t now_us)
{
    if (g->stale) return;
    a->line[MONEY] = g->money;
    if (account_limited(a, REQUESTS)) a->line[REQUESTS] = g->requests;
    if (account_limited(a, TOKENS)) a->line[TOKENS] = g->tokens;
    memcpy(a->told, used, sizeof a->told);
    a->good_until_us = sent_us + GOOD_US;
    if (g->wait_ms) { /* it does not know enough to refuse anything; until then it is told more */
        uint64_t ms = g->wait_ms < AGAIN_MS ? (uint64_t)g->wait_ms : AGAIN_MS;
        a->not_before_us = now_us + ms * 1000;
        return;
    }
    static const char *const periods[] = {"day", "month", "total"};
    a->short_of = NULL;
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++)
        if (sv_str_is(g->money_short, periods[i])) a->short_of = periods[i];
    a->until = g->until;
    a->short_tokens = g->tokens_ms > g->requests_ms;
    a->wait_ms = (uint32_t)(a->short_tokens ? g->tokens_ms : g->requests_ms);
    a->answered = a->sequence;
}
