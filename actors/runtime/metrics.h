/*  metrics.h - counters, gauges and histograms, declared once in metrics.def, shown as Prometheus
 *  text.
 *  Thread: counters and histograms may be touched by any thread (relaxed atomics); labelled
 *  series are made on the loop's thread.   Limits: at most 256 series of one metric; further label
 *  values count under "_other" so that a client cannot grow memory. */
#ifndef SV_METRICS_H
#define SV_METRICS_H

#include "buf.h"

/* METRIC_SIZES is a histogram of numbers: tokens. */
typedef enum metric_type {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_SIZES
} metric_type;

typedef enum metric_name {
#define METRIC(id, type, name, labels, doc) M_##id,
#include "metrics.def"
#undef METRIC
    M_COUNT
} metric_name;

typedef struct metric_series metric_series;

/* The series of a metric for label values in the order declared ("" for none). Never NULL: when
 * memory or the limit is reached it is the "_other" series. Cache the pointer on hot paths. */
metric_series *metric_get(metric_name m, const char *const *label_values);
/* Shorthand for metrics without labels. */
metric_series *metric_one(metric_name m);

void metric_add(metric_series *s, uint64_t n);   /* counter */
void metric_set(metric_series *s, double value); /* gauge */
void metric_observe_us(metric_series *s,
                       uint64_t us);               /* histogram of durations; shown in seconds */
void metric_observe(metric_series *s, uint64_t n); /* METRIC_SIZES */

/* Appends the text format 0.0.4 of everything this process has. */
int metrics_text(buf *out);
/* Frees every series (tests and leak-free exit). */
void metrics_free(void);

/* A log-linear histogram of microseconds, 2 significant bits, for broker-side golden figures. */
typedef struct histogram {
    uint32_t bucket[128];
    uint64_t count, sum_us;
} histogram;
void histogram_add(histogram *h, uint64_t us);
uint64_t histogram_quantile(const histogram *h, double q);

#endif
