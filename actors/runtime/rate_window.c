/*  rate_window.c - a ring of slots. A slot's number is its time divided by the unit; the slots
 *  from `oldest` to `newest` are counted in `sum`, all others are 0. `newest - oldest <= keep` after
 *  every look at the clock. */
#include "rate_window.h"

#include <string.h>

static const struct {
    uint32_t unit_ms, window_ms;
} spans[] = {[RATE_MINUTE] = {1000, 60000}, [RATE_HOUR] = {60000, 3600000}};

static uint32_t *slot(rate_window *w, int64_t number)
{
    return &w->slots[number % RATE_SLOTS];
}

static uint32_t keep_for(uint32_t unit_ms, uint32_t ms)
{
    uint32_t keep = (ms + unit_ms - 1) / unit_ms;
    return keep < RATE_SLOTS ? keep : RATE_SLOTS - 1;
}

void rate_window_init(rate_window *w, rate_span span, uint64_t now_ms)
{
    *w = (rate_window){.unit_ms = spans[span].unit_ms};
    w->keep = keep_for(w->unit_ms, spans[span].window_ms);
    w->oldest = w->newest = (int64_t)(now_ms / w->unit_ms);
}

void rate_window_life(rate_window *w, uint32_t life_ms)
{
    uint32_t window_ms = w->unit_ms * 60;
    uint32_t keep = keep_for(w->unit_ms, window_ms + life_ms);
    if (keep > w->keep) w->keep = keep;
}

static void advance(rate_window *w, uint64_t now_ms)
{
    int64_t now = (int64_t)(now_ms / w->unit_ms);
    if (now <= w->newest) return;
    w->newest = now;
    int64_t from = now - (int64_t)w->keep;
    if (from - w->oldest >= RATE_SLOTS) {
        memset(w->slots, 0, sizeof w->slots);
        w->sum = 0;
        w->oldest = from;
    }
    for (; w->oldest < from; w->oldest++) {
        w->sum -= *slot(w, w->oldest);
        *slot(w, w->oldest) = 0;
    }
}

uint64_t rate_window_sum(rate_window *w, uint64_t now_ms)
{
    advance(w, now_ms);
    return w->sum;
}

void rate_window_add(rate_window *w, uint64_t now_ms, uint32_t n)
{
    advance(w, now_ms);
    uint32_t *s = slot(w, w->newest);
    if (n > UINT32_MAX - *s) n = UINT32_MAX - *s;
    *s += n;
    w->sum += n;
}

void rate_window_take_back(rate_window *w, uint64_t now_ms, uint64_t at_ms, uint32_t n)
{
    advance(w, now_ms);
    int64_t at = (int64_t)(at_ms / w->unit_ms);
    if (at < w->oldest || at > w->newest) return;
    uint32_t *s = slot(w, at);
    if (n > *s) n = *s;
    *s -= n;
    w->sum -= n;
}

/* When the slot stops to count. */
static uint64_t leaves_ms(const rate_window *w, int64_t number, uint64_t now_ms)
{
    uint64_t at = (uint64_t)(number + (int64_t)w->keep + 1) * w->unit_ms;
    return at > now_ms ? at - now_ms : 0;
}

uint64_t rate_window_wait_ms(rate_window *w, uint64_t now_ms, uint32_t limit, uint32_t n)
{
    advance(w, now_ms);
    uint64_t sum = w->sum, wait = 0, room = n < limit ? limit - n : 0;
    for (int64_t i = w->oldest; sum > room && i <= w->newest; i++) {
        if (*slot(w, i) == 0) continue;
        sum -= *slot(w, i);
        wait = leaves_ms(w, i, now_ms);
    }
    return wait;
}

uint64_t rate_window_empty_ms(rate_window *w, uint64_t now_ms)
{
    advance(w, now_ms);
    int64_t last = w->newest;
    if (w->sum == 0) return 0;
    while (*slot(w, last) == 0)
        last--;
    return leaves_ms(w, last, now_ms);
}

uint32_t rate_lease_most(uint32_t minute, uint32_t hour)
{
    uint32_t least = minute;
    if (least == 0 || (hour && hour < least)) least = hour;
    return least < RATE_LEASE_FROM ? 1 : least / RATE_LEASE_PART;
}
