/*  health.c - one entry for each name, with a breaker and sums under forward decay.
 *
 *  Forward decay: what is added at time t gets the weight 2^((t - start) / half-life), so nothing has
 *  to be multiplied when time goes on; ratios of sums are averages of late, and a sum divided by the
 *  weight of now is how much of it is left. When weights grow large all sums are scaled back at once.
 *
 *  The breaker is closed or open. Open until a moment, then half open: the state is the same, a probe
 *  may go. `streak_open` counts how often it was opened without a success between and gives the time. */
#include "health.h"

#include "error.h"
#include "recent.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 10, /* of the window */
    BUCKET_US = HEALTH_WINDOW_MS * 1000 / BUCKETS,
    STEPS = 4,     /* buckets of the histogram in an octave */
    OCTAVES = 18,  /* from 1 ms to over four minutes */
    DOUBLINGS = 24 /* weights are scaled back at 2^24: what floats can still add one to */
};

typedef struct sums {
    float calls, errors, bad_tools;
    float firsts, first_ms, totals, total_ms;
    float speeds, tokens_per_second;
    float waits[2]; /* of plain answers, of streams */
    float wait_at[2][STEPS * OCTAVES];
} sums;

struct health_entry {
    recent_item item; /* first */
    uint64_t calls, failures;
    uint32_t in_flight;
    /* breaker */
    bool open;
    uint64_t open_until_us;
    uint64_t paused_until_us; /* 429: no probe afterwards */
    uint64_t probe_us;        /* the probe began; 0: there is none */
    uint64_t failed_us;
    uint32_t streak, streak_open, streak_rate;
    uint16_t window_calls[BUCKETS], window_failures[BUCKETS];
    uint64_t window_at; /* number of the newest bucket */
    /* figures */
    uint64_t start_us;
    sums sums;
};

struct health {
    recent entries;
};

/* ---- names: provider, 0, model, 0, number ---- */

static sv_str name_of(char text[RECENT_NAME], const char *provider, sv_str model, uint32_t key)
{
    size_t n = strlen(provider);
    if (n + model.n + 2 + sizeof key > RECENT_NAME) return (sv_str){NULL, 0};
    char *at = mempcpy(text, provider, n + 1);
    if (model.n) at = mempcpy(at, model.p, model.n);
    *at++ = 0; /* a model's name may hold a 0, too: the number's place is told by the length */
    at = mempcpy(at, &key, sizeof key);
    return (sv_str){text, (uint32_t)(at - text)};
}

/* ---- life ---- */

health *health_new(void)
{
    health *h = calloc(1, sizeof *h);
    if (h && recent_init(&h->entries, sizeof(health_entry), HEALTH_MOST)) {
        free(h);
        return NULL;
    }
    return h;
}

void health_free(health *h)
{
    if (h == NULL) return;
    recent_free(&h->entries);
    free(h);
}

health_entry *health_get(health *h, const char *provider, sv_str model, uint32_t key)
{
    char text[RECENT_NAME];
    sv_str name = name_of(text, provider, model, key);
    return name.n ? recent_get(&h->entries, name) : NULL;
}

const health_entry *health_find(const health *h, const char *provider, sv_str model, uint32_t key)
{
    char text[RECENT_NAME];
    sv_str name = name_of(text, provider, model, key);
    return name.n ? recent_find(&h->entries, name) : NULL;
}

/* ---- forward decay ---- */

static double doublings(const health_entry *e, uint64_t now_us)
{
    return now_us > e->start_us ? (double)(now_us - e->start_us) / (HEALTH_HALF_LIFE_MS * 1000.0)
                                : 0;
}

/* The weight of what comes now. */
static float weigh(health_entry *e, uint64_t now_us)
{
    double d = e->start_us ? doublings(e, now_us) : 0;
    if (e->start_us == 0 || d > DOUBLINGS) {
        float scale = d > 100 ? 0 : (float)exp2(-d);
        float *f = (float *)&e->sums;
        for (size_t i = 0; i < sizeof e->sums / sizeof *f; i++)
            f[i] *= scale;
        e->start_us = now_us;
        d = 0;
    }
    return (float)exp2(d);
}

static float left(const health_entry *e, uint64_t now_us, float sum)
{
    double d = doublings(e, now_us);
    return d > 100 ? 0 : (float)((double)sum * exp2(-d));
}

static float mean(float sum, float n)
{
    return n > 0 ? sum / n : 0;
}

static uint32_t bucket_of(uint64_t us)
{
    double at = us <= 1000 ? 0 : log2((double)us / 1000) * STEPS;
    return at >= STEPS * OCTAVES - 1 ? STEPS * OCTAVES - 1 : (uint32_t)at;
}

/* The upper end of the bucket up to which this share of the calls lies. */
static uint64_t within_us(const sums *s, bool stream, float share)
{
    float sum = 0;
    uint32_t i = 0;
    for (; i < STEPS * OCTAVES - 1; i++) {
        sum += s->wait_at[stream][i];
        if (sum >= share * s->waits[stream]) break;
    }
    return (uint64_t)(1000 * exp2((i + 1.0) / STEPS));
}

static void add_figures(health_entry *e, uint64_t now_us, const health_note *n)
{
    float w = weigh(e, now_us);
    sums *s = &e->sums;
    bool good = n->outcome == HEALTH_OK || n->outcome == HEALTH_BAD_TOOLS;
    s->calls += w;
    if (!good) s->errors += w;
    if (n->outcome == HEALTH_BAD_TOOLS) s->bad_tools += w;
    if (n->first_us) {
        s->firsts += w;
        s->first_ms += w * (float)n->first_us / 1000;
        s->waits[n->stream] += w;
        s->wait_at[n->stream][bucket_of(n->first_us)] += w;
    }
    if (!good) return;
    s->totals += w;
    s->total_ms += w * (float)n->total_us / 1000;
    uint64_t first_us = n->stream && n->first_us < n->total_us ? n->first_us : 0;
    if (n->output_tokens > 0 && n->total_us > first_us) {
        s->speeds += w;
        s->tokens_per_second +=
            w * (float)((double)n->output_tokens * 1e6 / (double)(n->total_us - first_us));
    }
}

/* ---- the window ---- */

static void turn_window(health_entry *e, uint64_t now_us)
{
    uint64_t at = now_us / BUCKET_US;
    if (at >= e->window_at + BUCKETS) {
        memset(e->window_calls, 0, sizeof e->window_calls);
        memset(e->window_failures, 0, sizeof e->window_failures);
        e->window_at = at;
    }
    while (e->window_at < at) {
        uint32_t i = (uint32_t)(++e->window_at % BUCKETS);
        e->window_calls[i] = e->window_failures[i] = 0;
    }
}

static void add_window(health_entry *e, uint64_t now_us, bool failed)
{
    turn_window(e, now_us);
    uint32_t i = (uint32_t)(e->window_at % BUCKETS);
    if (e->window_calls[i] == UINT16_MAX) return; /* the share is known well enough */
    e->window_calls[i]++;
    e->window_failures[i] = (uint16_t)(e->window_failures[i] + failed);
}

static bool half_failed(const health_entry *e)
{
    uint32_t calls = 0, failures = 0;
    for (int i = 0; i < BUCKETS; i++) {
        calls += e->window_calls[i];
        failures += e->window_failures[i];
    }
    return calls >= HEALTH_SAMPLE && 2 * failures >= calls;
}

/* ---- the breaker ---- */

/* Up to a tenth longer, by the map's seed: routers do not probe in step. */
static uint64_t grown_us(const health_entry *e, uint32_t times)
{
    uint64_t ms = (uint64_t)HEALTH_OPEN_MS << (times < 10 ? times : 10);
    if (ms > HEALTH_OPEN_MOST_MS) ms = HEALTH_OPEN_MOST_MS;
    return ms * (1000 + e->item.hash % 100);
}

static uint64_t asked_us(const health_note *n)
{
    return (n->pause_ms < HEALTH_PAUSE_MOST_MS ? n->pause_ms : HEALTH_PAUSE_MOST_MS) * 1000ull;
}

static void open_breaker(health_entry *e, uint64_t now_us, const health_note *n)
{
    uint64_t us = n->pause_ms ? asked_us(n) : grown_us(e, e->streak_open);
    if (e->streak_open < 10) e->streak_open++;
    e->open = true;
    e->open_until_us = now_us + us;
    e->probe_us = 0;
}

static void close_breaker(health_entry *e)
{
    e->open = false;
    e->open_until_us = e->probe_us = 0;
    e->streak = e->streak_open = 0;
    memset(e->window_calls, 0, sizeof e->window_calls);
    memset(e->window_failures, 0, sizeof e->window_failures);
}

static void succeeded(health_entry *e, uint64_t now_us, bool probe)
{
    e->streak = e->streak_rate = 0;
    if (e->open) {
        if (probe) close_breaker(e);
        return; /* it began before the failures: it does not tell how things are now */
    }
    e->streak_open = 0;
    add_window(e, now_us, false);
}

static void limited(health_entry *e, uint64_t now_us, bool probe, const health_note *n)
{
    uint64_t until_us = now_us + (n->pause_ms ? asked_us(n) : grown_us(e, e->streak_rate));
    if (e->streak_rate < 10) e->streak_rate++;
    if (until_us > e->paused_until_us) e->paused_until_us = until_us;
    if (probe && e->open) close_breaker(e); /* it answers: it is not down */
}

static void failed(health_entry *e, uint64_t now_us, bool probe, const health_note *n)
{
    e->failed_us = now_us;
    e->failures++;
    if (e->open) { /* those that were under way tell nothing new */
        if (probe) open_breaker(e, now_us, n);
        return;
    }
    e->streak++;
    add_window(e, now_us, true);
    if (n->outcome == HEALTH_KEY || n->pause_ms || e->streak >= HEALTH_STREAK || half_failed(e))
        open_breaker(e, now_us, n);
}

/* ---- calls ---- */

bool health_allows(const health_entry *e, uint64_t now_us, bool *probe)
{
    *probe = false;
    if (now_us < e->paused_until_us) return false;
    if (!e->open) return true;
    if (now_us < e->open_until_us) return false;
    *probe = e->probe_us == 0 || now_us - e->probe_us >= HEALTH_PROBE_MS * 1000ull;
    return *probe;
}

void health_begin(health_entry *e, uint64_t now_us, bool *ret_probe)
{
    health_allows(e, now_us, ret_probe);
    if (*ret_probe) e->probe_us = now_us;
    e->in_flight++;
    recent_hold(e);
}

void health_first(health_entry *e, uint64_t now_us, bool probe)
{
    if (probe && e->open) succeeded(e, now_us, true);
}

void health_end(health_entry *e, uint64_t now_us, bool probe, const health_note *n)
{
    e->in_flight--;
    recent_release(e);
    if (n->outcome == HEALTH_NEUTRAL) {
        if (probe) e->probe_us = 0; /* the next call may try */
        return;
    }
    e->calls++;
    add_figures(e, now_us, n);
    switch (n->outcome) {
    case HEALTH_OK:
    case HEALTH_BAD_TOOLS: succeeded(e, now_us, probe); break;
    case HEALTH_RATE: limited(e, now_us, probe, n); break;
    case HEALTH_KEY:
    case HEALTH_FAILED:
    case HEALTH_NEUTRAL: failed(e, now_us, probe, n); break;
    }
}

void health_look(const health_entry *e, uint64_t now_us, health_figures *ret)
{
    const sums *s = &e->sums;
    uint64_t until_us =
        e->open && e->open_until_us > e->paused_until_us ? e->open_until_us : e->paused_until_us;
    *ret = (health_figures){.calls = e->calls,
                            .failures = e->failures,
                            .error_rate = mean(s->errors, s->calls),
                            .tool_error_rate = mean(s->bad_tools, s->calls),
                            .first_ms = mean(s->first_ms, s->firsts),
                            .total_ms = mean(s->total_ms, s->totals),
                            .tokens_per_second = mean(s->tokens_per_second, s->speeds),
                            .open_until_us = e->open || until_us > now_us ? until_us : 0,
                            .failed_us = e->failed_us,
                            .in_flight = e->in_flight};
}

uint64_t health_late_us(const health_entry *e, uint64_t now_us, bool stream)
{
    const sums *s = &e->sums;
    if (left(e, now_us, s->waits[stream]) < HEALTH_LATE_SAMPLE) return 0;
    uint64_t p95 = within_us(s, stream, 0.95f), p90 = within_us(s, stream, 0.9f);
    return p95 < 2 * p90 ? p95 : 2 * p90;
}

const health_entry *health_next(const health *h, const health_entry *before, const char **provider,
                                sv_str *model, uint32_t *key)
{
    const recent_item *i = recent_next(&h->entries, before);
    if (i == NULL) return NULL;
    size_t n = strlen(i->name) + 1;
    *provider = i->name;
    *model = (sv_str){i->name + n, i->name_n - (uint32_t)(n + 1 + sizeof *key)};
    memcpy(key, i->name + n + model->n + 1, sizeof *key);
    return (const health_entry *)i;
}
