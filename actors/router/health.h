/*  health.h - how the providers do of late: a breaker, and moving figures, for each (provider, model,
 *  key) that was called.
 *
 *  The breaker opens after HEALTH_STREAK failures in a row, or when of at least HEALTH_SAMPLE calls of
 *  the last 30 s half failed, for a time that doubles from one second to HEALTH_OPEN_MOST_MS: a
 *  provider that comes back is asked again within that time as long as there is traffic. Then one
 *  probe is let through (half open): its first token or its good end closes the breaker, its failure
 *  opens it again; a probe of which nothing is heard for HEALTH_PROBE_MS is replaced by another.
 *  Retry-After opens it for as long as was asked, up to HEALTH_PAUSE_MOST_MS. A rate limit (429) pauses
 *  and needs no probe afterwards; a refused key opens at once, for this key alone. Failures that say
 *  nothing about the provider (a bad request, content policy, the client left) do not count.
 *
 *  Figures are of late: sums under forward decay (Cormode and others, "Forward Decay: A Practical Time
 *  Decay Model for Streaming Systems", ICDE 2009), exponential with a half-life of HEALTH_HALF_LIFE_MS;
 *  what is late comes from histograms with four buckets an octave under the same decay, one of streams'
 *  first tokens and one of whole answers.
 *
 *  Thread: the loop's; time is a parameter, in us of the loop's clock.
 *  Ownership: entries belong to the table and stay until health_free; at most HEALTH_MOST, then the one
 *  not used for longest goes: do not keep a pointer across turns unless health_begin was called and
 *  health_end was not; such entries stay.
 *  Errors: no memory, or all entries in flight, as NULL. */
#ifndef ROUTER_HEALTH_H
#define ROUTER_HEALTH_H

#include "sv_types.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    HEALTH_MOST = 4096,
    HEALTH_STREAK = 5,  /* as Envoy's consecutive_5xx: one bad second is not an outage */
    HEALTH_SAMPLE = 10, /* fewer calls do not make a rate */
    HEALTH_WINDOW_MS = 30000,
    HEALTH_OPEN_MS = 1000,
    HEALTH_OPEN_MOST_MS = 15000,
    HEALTH_PAUSE_MOST_MS = 60000,
    HEALTH_PROBE_MS = 20000, /* longer than the clock of the first token */
    HEALTH_HALF_LIFE_MS = 120000,
    HEALTH_LATE_SAMPLE = 20 /* fewer calls of late do not tell what is late */
};

typedef enum health_outcome {
    HEALTH_OK,
    HEALTH_BAD_TOOLS, /* ok, but a tool call was no JSON or of no tool */
    HEALTH_NEUTRAL,   /* says nothing: bad request, client gone, hedge that lost */
    HEALTH_RATE,      /* 429 */
    HEALTH_KEY,       /* 401, 402, 403 */
    HEALTH_FAILED     /* unreachable, timeout, 5xx, cut, empty, bad answer */
} health_outcome;

typedef struct health_note {
    health_outcome outcome;
    uint32_t pause_ms; /* Retry-After; 0: none */
    uint64_t first_us; /* to the first token, or to the whole of a plain answer; 0: none came */
    uint64_t total_us;
    int64_t output_tokens;
    bool stream;
} health_note;

typedef struct health health;
typedef struct health_entry health_entry;

typedef struct health_figures {
    uint64_t calls, failures;          /* since it was first seen */
    float error_rate, tool_error_rate; /* of late, 0..1 */
    float first_ms, total_ms;          /* moving averages; 0: none yet */
    float tokens_per_second;
    uint64_t open_until_us; /* breaker; 0: closed */
    uint64_t failed_us;     /* the last failure; 0: none */
    uint32_t in_flight;
} health_figures;

health *health_new(void);
void health_free(health *h);
/* Finds or makes. `key` is the number of the provider's key. */
health_entry *health_get(health *h, const char *provider, sv_str model, uint32_t key);
/* The same, or NULL. */
const health_entry *health_find(const health *h, const char *provider, sv_str model, uint32_t key);
/* May it be called now? *probe: it is half open, and this call would be the probe. */
bool health_allows(const health_entry *e, uint64_t now_us, bool *probe);
/* A call begins; *ret_probe remembers that it is the probe. Counts it in flight and keeps the entry. */
void health_begin(health_entry *e, uint64_t now_us, bool *ret_probe);
/* The first token came: a probe that gets so far has succeeded, however long its answer takes. */
void health_first(health_entry *e, uint64_t now_us, bool probe);
/* It is over. Exactly once for each health_begin. */
void health_end(health_entry *e, uint64_t now_us, bool probe, const health_note *n);
void health_look(const health_entry *e, uint64_t now_us, health_figures *ret);
/* After so long a call is later than nineteen of twenty: with the first token of a stream, or with the
 * whole of a plain answer. At most twice what nine of ten need: where about one in twenty is stuck, p95
 * may be the time for which they are stuck. 0: too few calls to tell. */
uint64_t health_late_us(const health_entry *e, uint64_t now_us, bool stream);
/* Walks all, those used last first; `before` NULL: the first one. */
const health_entry *health_next(const health *h, const health_entry *before, const char **provider,
                                sv_str *model, uint32_t *key);

#endif
