/*  hist.c - buckets [0, 512) hold one microsecond each; each later octave is cut into 256. */
#include "hist.h"

#include <string.h>

static uint32_t index_of(uint64_t us)
{
    if (us < 2 * HIST_SUB) return (uint32_t)us;
    uint32_t shift = (uint32_t)(63 - __builtin_clzll(us)) - 8;
    if (shift > HIST_OCTAVES) return HIST_BUCKETS - 1;
    return shift * HIST_SUB + (uint32_t)(us >> shift);
}

static uint64_t upper_edge(uint32_t i)
{
    if (i < 2 * HIST_SUB) return i;
    uint32_t shift = i / HIST_SUB - 1;
    uint64_t low = (uint64_t)(i - shift * HIST_SUB) << shift;
    return low + (1ull << shift) - 1;
}

void hist_reset(hist *h)
{
    memset(h, 0, sizeof *h);
}

void hist_add(hist *h, uint64_t us)
{
    h->count++;
    h->sum += us;
    if (us > h->max) h->max = us;
    h->buckets[index_of(us)]++;
}

uint64_t hist_at(const hist *h, double q)
{
    if (h->count == 0) return 0;
    uint64_t want = (uint64_t)(q * (double)h->count);
    if (want >= h->count) return h->max;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > want) {
            uint64_t edge = upper_edge(i);
            return edge < h->max ? edge : h->max;
        }
    }
    return h->max;
}

double hist_mean(const hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
