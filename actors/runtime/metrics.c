/*  metrics.c - one static series per metric, labelled ones on the heap.
 *
 *  The static series is the metric itself when it has no labels, and "_other" when it has: so
 *  metric_get always has something to answer, and metric_one never allocates and is safe on
 *  every thread. Labelled series hang in a hash table for look-up and in a list per metric, in
 *  order of creation, for printing. Both change on the loop's thread only; the figures in them
 *  are atomics. */
#include "metrics.h"

#include "error.h"
#include "utf8.h"

#include <assert.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SERIES_MAX = 256, VALUE_BYTES = 128, LABELS_MAX = 5, TABLE = 1024 };

static const uint32_t bound_us[] = {500,     1000,     2500,     5000,    10000,   25000,
                                    50000,   100000,   250000,   500000,  1000000, 2500000,
                                    5000000, 10000000, 30000000, 60000000};
enum { BOUNDS = sizeof bound_us / sizeof *bound_us };
/* As the GenAI conventions advise for tokens: powers of four. */
static const uint32_t bound_n[] = {1,     4,     16,     64,      256,     1024,     4096,
                                   16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
enum { SIZE_BOUNDS = sizeof bound_n / sizeof *bound_n };
_Static_assert((int)SIZE_BOUNDS <= (int)BOUNDS, "a series has room for both");

struct metric_series {
    metric_name metric;
    metric_type type;
    bool used;              /* static series of a labelled metric: somebody was sent to it */
    _Atomic uint64_t value; /* counter, or the bits of a gauge's double */
    _Atomic uint64_t bucket[BOUNDS + 1], sum_us; /* sum_us of METRIC_SIZES: a plain sum */
    metric_series *next_in_table, *next_in_family;
    char *values; /* label values, each with its NUL; NULL in static series */
    size_t values_n;
};

typedef struct family {
    const char *name, *labels, *doc;
    metric_type type;
} family;

static const family families[M_COUNT] = {
#define METRIC(id, type, name, labels, doc) [M_##id] = {name, labels, doc, type},
#include "metrics.def"
#undef METRIC
};

static metric_series base[M_COUNT] = {
#define METRIC(id, kind, name, labels, doc) [M_##id] = {.metric = M_##id, .type = kind},
#include "metrics.def"
#undef METRIC
};

static metric_series *table[TABLE];
static metric_series *first[M_COUNT], *last[M_COUNT];
static size_t n_series[M_COUNT];

/* ---- series ---- */

static size_t count_labels(const char *labels)
{
    size_t n = labels[0] != 0;
    for (; *labels; labels++)
        n += *labels == ',';
    return n;
}

/* Length of `s` cut between characters at the limit. */
static size_t cut_value(const char *s)
{
    size_t n = strnlen(s, VALUE_BYTES + 1);
    if (n <= VALUE_BYTES) return n;
    n = VALUE_BYTES;
    while (n > VALUE_BYTES - 4 && ((uint8_t)s[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static uint32_t hash(metric_name m, const char *p, size_t n)
{
    uint32_t h = 2166136261u ^ (uint32_t)m * 16777619u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 16777619u;
    return h % TABLE;
}

static metric_series *series_new(metric_name m, const char *values, size_t n, uint32_t slot)
{
    metric_series *s = calloc(1, sizeof *s);
    char *copy = malloc(n);
    if (s == NULL || copy == NULL) {
        free(s);
        free(copy);
        return NULL;
    }
    memcpy(copy, values, n);
    s->metric = m;
    s->type = families[m].type;
    s->values = copy;
    s->values_n = n;
    s->next_in_table = table[slot];
    table[slot] = s;
    if (last[m])
        last[m]->next_in_family = s;
    else
        first[m] = s;
    last[m] = s;
    n_series[m]++;
    return s;
}

metric_series *metric_get(metric_name m, const char *const *label_values)
{
    assert(m < M_COUNT);
    size_t labels = count_labels(families[m].labels);
    assert(labels <= LABELS_MAX);
    if (labels == 0) return &base[m];
    char values[LABELS_MAX * (VALUE_BYTES + 1)];
    size_t n = 0;
    for (size_t i = 0; i < labels; i++) {
        const char *value = label_values[i] ? label_values[i] : "";
        size_t len = cut_value(value);
        memcpy(values + n, value, len);
        n += len;
        values[n++] = 0;
    }
    uint32_t slot = hash(m, values, n);
    for (metric_series *s = table[slot]; s; s = s->next_in_table)
        if (s->metric == m && s->values_n == n && memcmp(s->values, values, n) == 0) return s;
    metric_series *s = n_series[m] < SERIES_MAX ? series_new(m, values, n, slot) : NULL;
    if (s) return s;
    base[m].used = true;
    return &base[m];
}

metric_series *metric_one(metric_name m)
{
    assert(m < M_COUNT && families[m].labels[0] == 0);
    return &base[m];
}

void metric_add(metric_series *s, uint64_t n)
{
    assert(s->type == METRIC_COUNTER);
    atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

void metric_set(metric_series *s, double value)
{
    assert(s->type == METRIC_GAUGE);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&s->value, bits, memory_order_relaxed);
}

void metric_observe_us(metric_series *s, uint64_t us)
{
    assert(s->type == METRIC_HISTOGRAM);
    size_t i = 0;
    while (i < BOUNDS && us > bound_us[i])
        i++;
    atomic_fetch_add_explicit(&s->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->sum_us, us, memory_order_relaxed);
}

void metric_observe(metric_series *s, uint64_t n)
{
    assert(s->type == METRIC_SIZES);
    size_t i = 0;
    while (i < SIZE_BOUNDS && n > bound_n[i])
        i++;
    atomic_fetch_add_explicit(&s->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->sum_us, n, memory_order_relaxed);
}

static void series_clear(metric_series *s)
{
    s->used = false;
    s->value = 0;
    s->sum_us = 0;
    for (size_t i = 0; i <= BOUNDS; i++)
        s->bucket[i] = 0;
}

void metrics_free(void)
{
    for (size_t m = 0; m < M_COUNT; m++) {
        while (first[m]) {
            metric_series *next = first[m]->next_in_family;
            free(first[m]->values);
            free(first[m]);
            first[m] = next;
        }
        last[m] = NULL;
        n_series[m] = 0;
        series_clear(&base[m]);
    }
    memset(table, 0, sizeof table);
}

/* ---- text ---- */

static double gauge_value(const metric_series *s)
{
    uint64_t bits = atomic_load_explicit(&s->value, memory_order_relaxed);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void put_escaped(buf *out, const char *s)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    size_t n = strlen(s);
    while (n > 0) {
        size_t len = utf8_sequence((const uint8_t *)s, n);
        if (len == 0)
            buf_puts(out, replacement);
        else if (*s == '\n')
            buf_puts(out, "\\n");
        else if (*s == '"' || *s == '\\')
            buf_put(out, (char[]){'\\', *s}, 2);
        else
            buf_put(out, s, len);
        len = len ? len : 1;
        s += len;
        n -= len;
    }
}

/* name_suffix{a="x",b="y",le="bound"} and a blank */
static void put_series_name(buf *out, const metric_series *s, const char *suffix, const char *le)
{
    const family *f = &families[s->metric];
    buf_printf(out, "%s%s", f->name, suffix);
    const char *label = f->labels, *value = s->values;
    char open = '{';
    while (*label) {
        size_t n = strcspn(label, ",");
        buf_printf(out, "%c%.*s=\"", open, (int)n, label);
        put_escaped(out, value ? value : "_other");
        buf_putc(out, '"');
        value = value ? value + strlen(value) + 1 : NULL;
        label += n + (label[n] == ',');
        open = ',';
    }
    if (le) {
        buf_printf(out, "%cle=\"%s\"", open, le);
        open = ',';
    }
    buf_puts(out, open == '{' ? " " : "} ");
}

/* The shortest of two spellings that reads back as the same number. */
static void put_number(buf *out, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value)
        snprintf(text, sizeof text, "%.17g", value);
    buf_printf(out, "%s\n", text);
}

static void put_histogram(buf *out, const metric_series *s)
{
    uint64_t count = 0;
    bool sizes = s->type == METRIC_SIZES;
    size_t bounds = sizes ? SIZE_BOUNDS : BOUNDS;
    for (size_t i = 0; i <= bounds; i++) {
        count += atomic_load_explicit(&s->bucket[i], memory_order_relaxed);
        char le[24] = "+Inf";
        if (i < bounds && sizes)
            snprintf(le, sizeof le, "%u", bound_n[i]);
        else if (i < bounds)
            snprintf(le, sizeof le, "%g", bound_us[i] / 1e6);
        put_series_name(out, s, "_bucket", le);
        buf_printf(out, "%llu\n", (unsigned long long)count);
    }
    uint64_t sum_us = atomic_load_explicit(&s->sum_us, memory_order_relaxed);
    put_series_name(out, s, "_sum", NULL);
    if (sizes)
        buf_printf(out, "%llu\n", (unsigned long long)sum_us);
    else
        buf_printf(out, "%llu.%06llu\n", (unsigned long long)(sum_us / 1000000),
                   (unsigned long long)(sum_us % 1000000));
    put_series_name(out, s, "_count", NULL);
    buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void put_series(buf *out, const metric_series *s)
{
    switch (s->type) {
    case METRIC_COUNTER:
        put_series_name(out, s, "", NULL);
        buf_printf(out, "%llu\n",
                   (unsigned long long)atomic_load_explicit(&s->value, memory_order_relaxed));
        break;
    case METRIC_GAUGE:
        put_series_name(out, s, "", NULL);
        put_number(out, gauge_value(s));
        break;
    case METRIC_HISTOGRAM:
    case METRIC_SIZES: put_histogram(out, s); break;
    }
}

/* What cannot be read (no descriptor left, no /proc) keeps its last value. */
static void read_process(void)
{
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) == 0)
        metric_set(&base[M_PROCESS_CPU],
                   (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
                       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        unsigned long long pages;
        if (fscanf(f, "%*u %llu", &pages) == 1)
            metric_set(&base[M_PROCESS_RSS], (double)pages * (double)sysconf(_SC_PAGESIZE));
        fclose(f);
    }
    DIR *d = opendir("/proc/self/fd");
    if (d) {
        int n = -3; /* ".", ".." and the descriptor that reads the folder */
        while (readdir(d))
            n++;
        closedir(d);
        metric_set(&base[M_PROCESS_FDS], n);
    }
}

int metrics_text(buf *out)
{
    read_process();
    for (size_t m = 0; m < M_COUNT; m++) {
        const family *f = &families[m];
        bool plain = f->labels[0] == 0;
        if (!plain && !first[m] && !base[m].used) continue;
        static const char *const type_name[] = {"counter", "gauge", "histogram", "histogram"};
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->doc, f->name,
                   type_name[f->type]);
        for (const metric_series *s = first[m]; s; s = s->next_in_family)
            put_series(out, s);
        if (plain || base[m].used) put_series(out, &base[m]);
    }
    return out->failed ? SV_E_TOO_LARGE : 0;
}

/* ---- log-linear histogram ---- */

/* Four buckets an octave: values below 8 are exact, above it a bucket is at most a quarter of its
 * lower bound wide, so its middle is off by at most one eighth. The last bucket takes everything
 * from 7 * 2^30 us (two hours) on. */
enum { BUCKETS = sizeof((histogram *)0)->bucket / sizeof(uint32_t) };

static size_t bucket_of(uint64_t us)
{
    if (us < 4) return (size_t)us;
    unsigned octave = 63u - (unsigned)__builtin_clzll(us);
    size_t i = (size_t)(octave - 1) * 4 + (size_t)((us >> (octave - 2)) & 3);
    return i < BUCKETS ? i : BUCKETS - 1;
}

static uint64_t bucket_middle(size_t i)
{
    if (i < 8) return i;
    unsigned octave = (unsigned)(i / 4) + 1;
    uint64_t low = (uint64_t)(4 + i % 4) << (octave - 2);
    uint64_t width = (uint64_t)1 << (octave - 2);
    return low + width / 2;
}

void histogram_add(histogram *h, uint64_t us)
{
    uint32_t *b = &h->bucket[bucket_of(us)];
    if (*b < UINT32_MAX) ++*b;
    h->count++;
    h->sum_us += us;
}

uint64_t histogram_quantile(const histogram *h, double q)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        total += h->bucket[i];
    if (total == 0) return 0;
    double rank = q * (double)total;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += h->bucket[i];
        if (h->bucket[i] > 0 && ((double)seen >= rank || seen == total)) return bucket_middle(i);
    }
    return bucket_middle(BUCKETS - 1);
}
