/*  limits_kit.h - an edge's limits with an owner that a test plays: a clock, asks that wait for
 *  their answers, and what was told. Include once. */
#ifndef LIMITS_KIT_H
#define LIMITS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "rate_limits.h"
#include "log.h"
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct kit_message {
    limits_counter *counter;
    char name[NAME_BYTES_MOST + 1];
    cache_limit_take_req q;
    cache_limit_return returns[4];
} kit_message;

typedef struct kit {
    limits *l;
    uint64_t now_us;
    kit_message asks[64], told[64];
    int n_asks, n_told, all_asks, wakes;
    bool cut; /* the owner cannot be asked */
} kit;

/* One request of a test. */
typedef struct asker {
    limits_wait wait;
    limits_verdict v;
    int done;
    void (*then)(struct asker *a);
} asker;

static kit_message kit_copy(limits_counter *c, const cache_limit_take_req *q)
{
    kit_message m = {.counter = c, .q = *q};
    memcpy(m.name, q->name.p, q->name.n);
    assert_true(q->returns.n <= 4);
    if (q->returns.n) memcpy(m.returns, q->returns.items, q->returns.n * sizeof *m.returns);
    return m;
}

static uint64_t kit_now(void *arg)
{
    return ((kit *)arg)->now_us;
}

static bool kit_ask(void *arg, limits_counter *c, const cache_limit_take_req *q)
{
    kit *k = arg;
    if (k->cut) return false;
    assert_true(k->n_asks < 64);
    k->asks[k->n_asks++] = kit_copy(c, q);
    k->all_asks++;
    return true;
}

static void kit_tell(void *arg, const cache_limit_take_req *q)
{
    kit *k = arg;
    assert_true(k->n_told < 64);
    assert_int_equal(q->take, 0);
    k->told[k->n_told++] = kit_copy(NULL, q);
}

static void kit_wake(void *arg)
{
    ((kit *)arg)->wakes++;
}

static const limits_rules kit_rules = {
    .tiers =
        {[LIMITS_ANONYMOUS] = {10, 0}, [LIMITS_FREE] = {100, 0}, [LIMITS_PREMIUM] = {1000, 2000}},
    .auth_minute = 20,
    .upload_minute = 30,
    .org_factor = 10,
    .scale = 1,
    .edges = 1};

static void kit_open(kit *k, uint32_t counters, uint32_t edges)
{
    *k = (kit){.now_us = 1000000000};
    limits_options o = {.rules = kit_rules,
                        .counters = counters,
                        .now_us = kit_now,
                        .ask = kit_ask,
                        .tell = kit_tell,
                        .wake = kit_wake,
                        .arg = k};
    o.rules.edges = edges;
    k->l = limits_new(&o);
    assert_non_null(k->l);
}

static void kit_done(limits_wait *w, const limits_verdict *v)
{
    asker *a = member_of(asker, wait, w);
    a->v = *v;
    a->done++;
    if (a->then) a->then(a);
}

/* The answer to the oldest ask. */
static inline void kit_answer_with(kit *k, int code, cache_limit_take_reply r)
{
    assert_true(k->n_asks > 0);
    limits_counter *c = k->asks[0].counter;
    k->n_asks--;
    memmove(&k->asks[0], &k->asks[1], (size_t)k->n_asks * sizeof k->asks[0]);
    limits_answer(k->l, c, code, code ? NULL : &r);
}

enum { KIT_EPOCH = 77 };

static inline void kit_grant(kit *k, uint32_t n, uint32_t remaining, int64_t lease)
{
    kit_answer_with(k, 0,
                    (cache_limit_take_reply){.granted = n,
                                             .remaining = remaining,
                                             .reset_ms = 65000,
                                             .life_ms = n == 1 ? 1000 : 5000,
                                             .lease = lease,
                                             .epoch = KIT_EPOCH});
}

static inline void kit_refuse(kit *k, uint32_t retry_ms)
{
    kit_answer_with(
        k, 0,
        (cache_limit_take_reply){.reset_ms = 65000, .retry_ms = retry_ms, .epoch = KIT_EPOCH});
}

static inline void kit_fail(kit *k, int code)
{
    kit_answer_with(k, code, (cache_limit_take_reply){.granted = 0});
}

static limits_subject user_of(const char *user)
{
    return (limits_subject){.class = CLASS_CHAT,
                            .address = "192.0.2.1",
                            .user = sv_cstr(user),
                            .tier = sv_cstr("free")};
}

static inline limits_subject stranger(const char *address)
{
    return (limits_subject){.class = CLASS_API, .address = address};
}

/* True: answered at once. */
static bool kit_check(kit *k, const limits_subject *s, asker *a)
{
    *a = (asker){.then = a->then};
    return limits_check(k->l, s, &a->wait, kit_done, &a->v);
}

#endif
