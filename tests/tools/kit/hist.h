/*  hist.h - a histogram of microseconds for percentiles.
 *  Exact below 512 us, then within 0.4 %, up to about an hour.
 *  Thread: one.   Memory: fixed, 27 KiB.
 *  Errors: none; values above the top fall into the last bucket, and `max` stays exact. */
#ifndef KIT_HIST_H
#define KIT_HIST_H

#include <stdint.h>

enum { HIST_SUB = 256, HIST_OCTAVES = 24, HIST_BUCKETS = HIST_SUB * (HIST_OCTAVES + 2) };

typedef struct hist {
    uint64_t count, sum, max;
    uint32_t buckets[HIST_BUCKETS];
} hist;

void hist_reset(hist *h);
void hist_add(hist *h, uint64_t us);
/* `q` in 0..1; 0 when nothing was added. The upper edge of the bucket, never above max. */
uint64_t hist_at(const hist *h, double q);
double hist_mean(const hist *h);

#endif
