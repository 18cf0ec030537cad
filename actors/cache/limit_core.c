/*  limit_core.c - counters in a table by name and in two rings by the time of their last grant: those
 *  that only count a minute, and those that count an hour too. The first of a ring is the first
 *  that stops to count. */
#include "limit_core.h"

#include "error.h"
#include "name_table.h"

#include <stdlib.h>

enum { DROP_A_TAKE = 2, DROP_A_TICK = 4096, LEASE_SHARED = 1 /* lowest bit of a lease's number */ };

typedef struct counter {
    named name; /* of shared ones: not used */
    ring_link by_age;
    rate_window minute;
    rate_window *hour; /* NULL as long as no hour is limited */
    /* since a caller has told of another owner: other callers may not have told yet */
    uint64_t heir_until_ms;
    uint32_t heir_left; /* of what may be granted until then */
} counter;

struct limit_core {
    int64_t epoch;
    uint32_t most;
    name_table names;
    ring_link minutes, hours;
    limit_core_stats stats;
    counter shared[LIMIT_CORE_SHARED];
};

/* ---- life ---- */

limit_core *limit_core_new(uint32_t counters, int64_t epoch)
{
    limit_core *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->epoch = epoch;
    c->most = counters;
    ring_init(&c->minutes);
    ring_init(&c->hours);
    for (size_t i = 0; i < LIMIT_CORE_SHARED; i++)
        rate_window_init(&c->shared[i].minute, RATE_MINUTE, 0);
    if (name_table_init(&c->names, counters)) {
        free(c);
        return NULL;
    }
    return c;
}

static void counter_free(limit_core *c, counter *k)
{
    ring_unlink(&k->by_age);
    name_table_remove(&c->names, &k->name);
    free(k->hour);
    free(k);
}

static void ring_clear(limit_core *c, ring_link *ring)
{
    while (!ring_empty(ring))
        counter_free(c, member_of(counter, by_age, ring->next));
}

void limit_core_free(limit_core *c)
{
    if (c == NULL) return;
    ring_clear(c, &c->minutes);
    ring_clear(c, &c->hours);
    for (size_t i = 0; i < LIMIT_CORE_SHARED; i++)
        free(c->shared[i].hour);
    name_table_free(&c->names);
    free(c);
}

/* ---- counters ---- */

/* Frees up to `most` counters that count nothing any more. */
static void drop_some(limit_core *c, ring_link *ring, uint64_t now_ms, uint32_t most)
{
    for (uint32_t i = 0; i < most && !ring_empty(ring); i++) {
        counter *k = member_of(counter, by_age, ring->next);
        if (rate_window_sum(&k->minute, now_ms)) return;
        if (k->hour && rate_window_sum(k->hour, now_ms)) return;
        counter_free(c, k);
    }
}

static counter *shared_of(limit_core *c, sv_str name)
{
    uint32_t hash = 2166136261u; /* FNV-1a; a collision only makes two classes stricter */
    for (uint32_t i = 0; i < name.n && name.p[i] != '/'; i++)
        hash = (hash ^ (unsigned char)name.p[i]) * 16777619u;
    return &c->shared[hash % LIMIT_CORE_SHARED];
}

/* To the end of the ring that it belongs to; shared ones are in none. */
static void put_last(limit_core *c, counter *k)
{
    if (!ring_has(&k->by_age)) return;
    ring_unlink(&k->by_age);
    ring_push(k->hour ? &c->hours : &c->minutes, &k->by_age);
}

/* The hour begins with what the minute has counted. */
static int need_hour(limit_core *c, counter *k, uint64_t now_ms)
{
    if (k->hour) return 0;
    k->hour = malloc(sizeof *k->hour);
    if (k->hour == NULL) return SV_E_NO_MEMORY;
    rate_window_init(k->hour, RATE_HOUR, now_ms);
    rate_window_add(k->hour, now_ms, (uint32_t)rate_window_sum(&k->minute, now_ms));
    put_last(c, k);
    return 0;
}

static counter *find(const limit_core *c, sv_str name)
{
    named *m = name_table_find(&c->names, name);
    return m ? member_of(counter, name, m) : NULL;
}

/* A new counter: it begins with what its class has shared, which may be its own. NULL: no room. */
static counter *make(limit_core *c, sv_str name, uint64_t now_ms)
{
    drop_some(c, &c->minutes, now_ms, DROP_A_TAKE);
    drop_some(c, &c->hours, now_ms, DROP_A_TAKE);
    c->stats.full = c->names.n >= c->most;
    counter *k = c->stats.full ? NULL : calloc(1, sizeof *k), *s = shared_of(c, name);
    if (k == NULL) return NULL;
    rate_window_init(&k->minute, RATE_MINUTE, now_ms);
    if (s->hour) { /* it holds the minute's too */
        uint64_t hour = rate_window_sum(s->hour, now_ms);
        if (hour && need_hour(c, k, now_ms)) {
            free(k);
            return NULL;
        }
        if (hour) rate_window_add(k->hour, now_ms, (uint32_t)hour);
    }
    rate_window_add(&k->minute, now_ms, (uint32_t)rate_window_sum(&s->minute, now_ms));
    name_table_add(&c->names, &k->name, name);
    ring_push(k->hour ? &c->hours : &c->minutes, &k->by_age);
    return k;
}

static void add(limit_core *c, counter *k, uint64_t now_ms, uint32_t minute, uint32_t hour)
{
    rate_window_add(&k->minute, now_ms, minute);
    if (k->hour) rate_window_add(k->hour, now_ms, hour);
    put_last(c, k);
}

static void take_back(limit_core *c, counter *own, const cache_limit_take_req *q, uint64_t now_ms)
{
    const cache_limit_return *r = q->returns.items;
    for (uint32_t i = 0; i < q->returns.n; i++) {
        counter *k = r[i].lease & LEASE_SHARED ? shared_of(c, q->name) : own;
        uint64_t at_ms = (uint64_t)r[i].lease >> 1;
        if (r[i].epoch != c->epoch || k == NULL) continue;
        rate_window_take_back(&k->minute, now_ms, at_ms, (uint32_t)r[i].count);
        if (k->hour) rate_window_take_back(k->hour, now_ms, at_ms, (uint32_t)r[i].count);
    }
}

/* ---- take ---- */

static uint32_t room(rate_window *w, uint64_t now_ms, int64_t limit)
{
    uint64_t sum = w ? rate_window_sum(w, now_ms) : 0;
    if (limit == 0) return UINT32_MAX;
    return sum < (uint64_t)limit ? (uint32_t)((uint64_t)limit - sum) : 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What passed without this owner: the caller has not told it yet, or has told another one. */
typedef struct unknown {
    bool heir;
    uint32_t minute, hour;
} unknown;

static unknown unknown_of(const limit_core *c, const cache_limit_take_req *q)
{
    if (q->epoch && q->epoch != c->epoch)
        return (unknown){true, (uint32_t)q->minute_all, (uint32_t)q->hour_all};
    return (unknown){false, (uint32_t)q->minute_used, (uint32_t)q->hour_used};
}

/* The first of the callers tells of the owner before: a quarter of the limit until all have. */
static void inherit(counter *k, uint64_t now_ms, const cache_limit_take_req *q)
{
    uint32_t limit = (uint32_t)q->minute;
    if (limit == 0 || (q->hour && q->hour < q->minute)) limit = (uint32_t)q->hour;
    if (k->heir_until_ms) return;
    k->heir_until_ms = now_ms + LIMIT_CORE_HEIR_MS;
    k->heir_left = limit / 4 ? limit / 4 : 1;
}

/* How the counter stands after what was granted. */
static void tell(const limit_core *c, counter *k, uint64_t now_ms, const cache_limit_take_req *q,
                 cache_limit_take_reply *ret)
{
    rate_window *minute = k ? &k->minute : NULL, *hour = k ? k->hour : NULL, *tight;
    uint32_t in_minute = room(minute, now_ms, q->minute), in_hour = room(hour, now_ms, q->hour);
    ret->hour = in_hour < in_minute;
    ret->remaining = least(in_minute, in_hour);
    tight = ret->hour ? hour : minute;
    ret->reset_ms = tight ? (int64_t)rate_window_empty_ms(tight, now_ms) : 0;
    if (q->take && ret->granted == 0) {
        uint64_t wait = 0;
        if (q->minute) wait = rate_window_wait_ms(minute, now_ms, (uint32_t)q->minute, 1);
        uint64_t more = q->hour ? rate_window_wait_ms(hour, now_ms, (uint32_t)q->hour, 1) : 0;
        wait = more > wait ? more : wait;
        more = k->heir_until_ms > now_ms ? k->heir_until_ms - now_ms : 0;
        ret->retry_ms = (int64_t)(more > wait ? more : wait);
    }
    ret->epoch = c->epoch;
}

static void grant(limit_core *c, counter *k, uint64_t now_ms, const cache_limit_take_req *q,
                  bool shared, cache_limit_take_reply *ret)
{
    uint32_t most = rate_lease_most((uint32_t)q->minute, (uint32_t)q->hour);
    uint32_t life_ms = most == 1 ? LIMIT_CORE_LIFE_ONE_MS : LIMIT_CORE_LIFE_MS;
    uint32_t n = least(least((uint32_t)q->take, most), room(&k->minute, now_ms, q->minute));
    n = least(n, room(k->hour, now_ms, q->hour));
    if (now_ms < k->heir_until_ms) {
        n = least(n, k->heir_left);
        k->heir_left -= n;
    }
    if (n == 0) return;
    rate_window_life(&k->minute, life_ms);
    if (k->hour) rate_window_life(k->hour, life_ms);
    add(c, k, now_ms, n, n);
    ret->granted = n;
    ret->life_ms = life_ms;
    ret->lease = (int64_t)(now_ms << 1 | (shared ? LEASE_SHARED : 0));
}

int limit_core_take(limit_core *c, uint64_t now_ms, const cache_limit_take_req *q,
                    cache_limit_take_reply *ret, sv_error *err)
{
    *ret = (cache_limit_take_reply){.granted = 0};
    if (q->name.n == 0) return sv_fail(err, SV_E_INVALID, "name", "A counter has a name.");
    if (q->minute == 0 && q->hour == 0)
        return sv_fail(err, SV_E_INVALID, "minute",
                       "Say how many are allowed in a minute, in an hour, or both.");
    counter *k = find(c, q->name);
    take_back(c, k, q, now_ms);
    unknown used = unknown_of(c, q);
    bool counts = q->take || used.minute || used.hour;
    if (k == NULL && counts) k = make(c, q->name, now_ms);
    bool shared = k == NULL && counts;
    if (shared) k = shared_of(c, q->name);
    if (k && q->hour && need_hour(c, k, now_ms)) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (used.minute || used.hour) add(c, k, now_ms, used.minute, used.hour);
    if (k && used.heir) inherit(k, now_ms, q);
    if (q->take) {
        grant(c, k, now_ms, q, shared, ret);
        c->stats.shared += shared;
        c->stats.granted += ret->granted > 0;
        c->stats.refused += ret->granted == 0;
    }
    tell(c, k, now_ms, q, ret);
    return 0;
}

/* ---- look ---- */

int limit_core_look(limit_core *c, uint64_t now_ms, const cache_limit_look_req *q,
                    cache_limit_look_reply *ret, sv_error *err)
{
    *ret = (cache_limit_look_reply){
        .counters = c->names.n, .full = c->names.n >= c->most, .epoch = c->epoch};
    if (q->name.n == 0) return sv_fail(err, SV_E_INVALID, "name", "A counter has a name.");
    counter *k = find(c, q->name);
    if (k == NULL) return 0;
    ret->known = true;
    ret->minute_used = (int64_t)rate_window_sum(&k->minute, now_ms);
    if (k->hour) ret->hour_used = (int64_t)rate_window_sum(k->hour, now_ms);
    return 0;
}

void limit_core_tick(limit_core *c, uint64_t now_ms)
{
    drop_some(c, &c->minutes, now_ms, DROP_A_TICK);
    drop_some(c, &c->hours, now_ms, DROP_A_TICK);
    c->stats.full = c->names.n >= c->most;
}

limit_core_stats limit_core_look_stats(const limit_core *c)
{
    limit_core_stats s = c->stats;
    s.counters = c->names.n;
    return s;
}
