/*  test_limit_core.c - the owner of rate limits. Random callers take leases, use them at the worst
 *  moments and give back; by brute force no window sees more than the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "limit_core.h"

#include <stdio.h>
#include <stdlib.h>

enum { EPOCH = 4711 };

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % sides;
}

static cache_limit_take_reply take(limit_core *c, uint64_t now_ms, const char *name, int64_t minute,
                                   int64_t hour, int64_t n)
{
    cache_limit_take_req q = {.name = sv_cstr(name), .minute = minute, .hour = hour, .take = n};
    cache_limit_take_reply r;
    assert_int_equal(limit_core_take(c, now_ms, &q, &r, NULL), 0);
    return r;
}

static void give(limit_core *c, uint64_t now_ms, const char *name, int64_t minute, int64_t hour,
                 int64_t lease, int64_t epoch, int64_t n)
{
    cache_limit_return back = {.lease = lease, .epoch = epoch, .count = n};
    cache_limit_take_req q = {
        .name = sv_cstr(name), .minute = minute, .hour = hour, .returns = {&back, 1}};
    cache_limit_take_reply r;
    assert_int_equal(limit_core_take(c, now_ms, &q, &r, NULL), 0);
    assert_int_equal(r.granted, 0);
    assert_int_equal(r.retry_ms, 0);
}

static cache_limit_look_reply look(limit_core *c, uint64_t now_ms, const char *name)
{
    cache_limit_look_reply r;
    assert_int_equal(limit_core_look(c, now_ms, &(cache_limit_look_req){sv_cstr(name)}, &r, NULL),
                     0);
    return r;
}

/* ---- small things ---- */

static void wrong_requests(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    cache_limit_take_reply r;
    cache_limit_look_reply l;
    sv_error err = {0};
    assert_int_equal(limit_core_take(c, 0, &(cache_limit_take_req){.minute = 1}, &r, &err),
                     SV_E_INVALID);
    assert_string_equal(err.field, "name");
    err = (sv_error){0};
    cache_limit_take_req q = {.name = sv_cstr("a/b"), .take = 1};
    assert_int_equal(limit_core_take(c, 0, &q, &r, &err), SV_E_INVALID);
    assert_string_equal(err.field, "minute");
    assert_int_equal(limit_core_look(c, 0, &(cache_limit_look_req){{NULL, 0}}, &l, NULL),
                     SV_E_INVALID);
    assert_false(look(c, 0, "a/b").known);
    limit_core_free(c);
    limit_core_free(NULL);
}

static void small_limits_go_one_by_one(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    uint64_t t0 = 1000500;
    for (int i = 0; i < 10; i++) {
        cache_limit_take_reply r = take(c, t0, "address.chat/a", 10, 0, 5);
        assert_int_equal(r.granted, 1);
        assert_int_equal(r.remaining, 9 - i);
        assert_int_equal(r.life_ms, LIMIT_CORE_LIFE_ONE_MS);
        assert_int_equal(r.epoch, EPOCH);
        assert_int_equal(r.retry_ms, 0);
        assert_false(r.hour);
    }
    cache_limit_take_reply r = take(c, t0, "address.chat/a", 10, 0, 1);
    assert_int_equal(r.granted, 0);
    assert_int_equal(r.remaining, 0);
    assert_int_equal(r.retry_ms, 61500); /* the slot's end, the life and the minute */
    assert_int_equal(r.reset_ms, 61500);
    assert_int_equal(take(c, t0, "address.chat/b", 10, 0, 1).granted, 1);
    assert_int_equal(take(c, t0 + 61499, "address.chat/a", 10, 0, 1).granted, 0);
    assert_int_equal(take(c, t0 + 61500, "address.chat/a", 10, 0, 1).granted, 1);
    limit_core_stats s = limit_core_look_stats(c);
    assert_int_equal(s.granted, 12);
    assert_int_equal(s.refused, 2);
    assert_int_equal(s.counters, 2);
    limit_core_free(c);
}

static void leases_are_a_twentieth(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    cache_limit_take_reply r = take(c, 0, "user.chat/a", 100, 0, 100);
    assert_int_equal(r.granted, 5);
    assert_int_equal(r.remaining, 95);
    assert_int_equal(r.life_ms, LIMIT_CORE_LIFE_MS);
    assert_int_equal(take(c, 0, "user.chat/a", 100, 0, 2).granted, 2);
    /* the hour is tighter */
    r = take(c, 0, "user.chat/b", 1000, 100, 100);
    assert_int_equal(r.granted, 5);
    assert_true(r.hour);
    assert_int_equal(r.remaining, 95);
    r = take(c, 0, "user.chat/c", 0, 1000, 100);
    assert_int_equal(r.granted, 50);
    assert_true(r.hour);
    for (int i = 0; i < 19; i++)
        r = take(c, 1000, "user.chat/c", 0, 1000, 50);
    assert_int_equal(r.granted, 50);
    r = take(c, 1000, "user.chat/c", 0, 1000, 50);
    assert_int_equal(r.granted, 0);
    assert_true(r.retry_ms > 3600000 && r.retry_ms <= 3600000 + 2 * 60000);
    limit_core_free(c);
}

static void returns(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    cache_limit_take_reply r = take(c, 5000, "user.chat/a", 100, 1000, 5);
    give(c, 6000, "user.chat/a", 100, 1000, r.lease, EPOCH + 1, 3); /* of another owner */
    assert_int_equal(look(c, 6000, "user.chat/a").minute_used, 5);
    give(c, 6000, "user.chat/a", 100, 1000, r.lease, EPOCH, 3);
    assert_int_equal(look(c, 6000, "user.chat/a").minute_used, 2);
    assert_int_equal(look(c, 6000, "user.chat/a").hour_used, 2);
    give(c, 6000, "user.chat/a", 100, 1000, r.lease + 8000, EPOCH, 2); /* of a time to come */
    assert_int_equal(look(c, 6000, "user.chat/a").minute_used, 2);
    give(c, 6000, "user.chat/a", 100, 1000, r.lease, EPOCH, 30); /* more than was taken */
    assert_int_equal(look(c, 6000, "user.chat/a").minute_used, 0);
    give(c, 6000, "user.chat/new", 100, 1000, r.lease, EPOCH, 1); /* makes no counter */
    assert_false(look(c, 6000, "user.chat/new").known);
    assert_int_equal(take(c, 6000, "user.chat/new", 100, 0, 0).remaining, 100);
    limit_core_free(c);
}

static void what_passed_without_the_owner_counts(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    cache_limit_take_reply r;
    cache_limit_take_req q = {.name = sv_cstr("user.chat/a"),
                              .minute = 100,
                              .hour = 1000,
                              .take = 5,
                              .minute_used = 98,
                              .hour_used = 200};
    assert_int_equal(limit_core_take(c, 1000, &q, &r, NULL), 0);
    assert_int_equal(r.granted, 2);
    assert_int_equal(r.remaining, 0);
    assert_int_equal(look(c, 1000, "user.chat/a").hour_used, 202);
    /* what the caller has told another owner counts too */
    q = (cache_limit_take_req){.name = sv_cstr("user.chat/c"),
                               .minute = 100,
                               .hour = 1000,
                               .take = 5,
                               .epoch = EPOCH,
                               .minute_used = 1,
                               .hour_used = 2,
                               .minute_all = 10,
                               .hour_all = 20};
    assert_int_equal(limit_core_take(c, 1000, &q, &r, NULL), 0);
    assert_int_equal(look(c, 1000, "user.chat/c").minute_used, 6);
    assert_int_equal(look(c, 1000, "user.chat/c").hour_used, 7);
    q.epoch++;
    assert_int_equal(limit_core_take(c, 1000, &q, &r, NULL), 0);
    assert_int_equal(look(c, 1000, "user.chat/c").minute_used, 21);
    assert_int_equal(look(c, 1000, "user.chat/c").hour_used, 32);
    /* until all have told: a quarter */
    for (int i = 0; i < 4; i++)
        assert_int_equal(take(c, 1000, "user.chat/c", 100, 1000, 5).granted, 5);
    r = take(c, 1100, "user.chat/c", 100, 1000, 5);
    assert_int_equal(r.granted, 0);
    assert_int_equal(r.retry_ms, LIMIT_CORE_HEIR_MS - 100);
    assert_int_equal(take(c, 1000 + LIMIT_CORE_HEIR_MS, "user.chat/c", 100, 1000, 5).granted, 5);
    q.minute = 10;
    q.hour = 3;
    q.name = sv_cstr("key.chat/d");
    q.minute_all = q.hour_all = 0;
    assert_int_equal(limit_core_take(c, 5000, &q, &r, NULL), 0);
    assert_int_equal(r.granted, 1);
    assert_int_equal(limit_core_take(c, 5000, &q, &r, NULL), 0);
    assert_int_equal(r.granted, 0);
    q = (cache_limit_take_req){.name = sv_cstr("user.chat/a"), .minute = 100, .hour_used = 1};
    assert_int_equal(limit_core_take(c, 1000, &q, &r, NULL), 0);
    q.name = sv_cstr("user.chat/b");
    assert_int_equal(limit_core_take(c, 1000, &q, &r, NULL), 0);
    assert_true(look(c, 1000, "user.chat/b").known);
    limit_core_free(c);
}

static void an_hour_that_comes_later_knows_the_minute(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    for (int i = 0; i < 10; i++)
        assert_int_equal(take(c, 1000, "key.chat/a", 100, 0, 5).granted, 5);
    assert_int_equal(look(c, 1000, "key.chat/a").hour_used, 0);
    assert_int_equal(take(c, 2000, "key.chat/a", 100, 52, 5).granted, 1);
    assert_int_equal(take(c, 2000, "key.chat/a", 100, 52, 5).granted, 1);
    assert_int_equal(take(c, 2000, "key.chat/a", 100, 52, 5).granted, 0);
    assert_int_equal(take(c, 70000, "key.chat/a", 100, 52, 5).granted, 0);
    assert_int_equal(take(c, 70000, "key.chat/a", 100, 0, 5).granted, 5);
    limit_core_free(c);
}

/* ---- a full table ---- */

static void a_full_table_shares(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(3, EPOCH);
    uint64_t now = 1000000;
    assert_int_equal(take(c, now, "user.chat/a", 10, 0, 1).granted, 1);
    assert_int_equal(take(c, now, "user.chat/b", 10, 100, 1).granted, 1);
    assert_int_equal(take(c, now, "user.chat/c", 10, 0, 1).granted, 1);
    assert_false(limit_core_look_stats(c).full);
    /* all others of the class together have what one has */
    char name[40];
    int64_t granted = 0, lease = 0;
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "user.chat/x%d", i);
        cache_limit_take_reply r = take(c, now, name, 10, 0, 1);
        granted += r.granted;
        if (r.granted) lease = r.lease;
        if (i >= 10) assert_true(r.retry_ms > 60000);
    }
    assert_int_equal(granted, 10);
    assert_true(limit_core_look_stats(c).full);
    assert_int_equal(limit_core_look_stats(c).shared, 50);
    assert_true(look(c, now, "user.chat/a").full);
    assert_int_equal(take(c, now, "user.api/x", 10, 100, 1).granted, 1); /* another class */
    assert_int_equal(take(c, now, "user.chat/a", 10, 0, 1).granted, 1);  /* has its own */
    give(c, now, "user.chat/x9", 10, 0, lease, EPOCH, 1);
    assert_int_equal(take(c, now, "user.chat/x10", 10, 0, 5).granted, 1);
    assert_int_equal(take(c, now, "user.chat/x10", 10, 0, 5).granted, 0);
    /* there is room again: a new counter begins with what its class has shared */
    now += 40000;
    assert_int_equal(take(c, now, "user.chat/y", 10, 0, 1).granted, 0);
    now += 25000;
    limit_core_tick(c, now);
    assert_int_equal(limit_core_look_stats(c).counters, 1); /* b counts an hour */
    assert_int_equal(take(c, now, "user.chat/y", 10, 0, 1).granted, 1);
    now += 3700000;
    limit_core_tick(c, now);
    assert_int_equal(limit_core_look_stats(c).counters, 0);
    assert_false(limit_core_look_stats(c).full);
    limit_core_free(c);
}

static void a_new_counter_begins_with_what_was_shared(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(1, EPOCH);
    uint64_t now = 1000000;
    take(c, now, "user.api/a", 10, 0, 1);
    now += 55000;
    for (int i = 0; i < 4; i++)
        assert_int_equal(take(c, now, "user.chat/x", 10, 100, 1).granted, 1); /* shared */
    assert_false(look(c, now, "user.chat/x").known);
    now += 8000; /* the first one has gone */
    cache_limit_take_reply r = take(c, now, "user.chat/x", 10, 100, 1);
    assert_true(look(c, now, "user.chat/x").known);
    assert_int_equal(r.remaining, 5);
    assert_int_equal(look(c, now, "user.chat/x").minute_used, 5);
    assert_int_equal(look(c, now, "user.chat/x").hour_used, 5);
    limit_core_free(c);
}

static void counters_that_count_nothing_go(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(100, EPOCH);
    char name[40];
    uint64_t now = 1000000;
    for (int i = 0; i < 5000; i++) { /* a take drops what is over, without a tick */
        snprintf(name, sizeof name, "address.api/%d", i);
        assert_int_equal(take(c, now, name, 10, i % 3 ? 0 : 50, 1).granted, 1);
        now += i % 3 ? 700 : 110000;
        assert_true(limit_core_look_stats(c).counters <= 100);
    }
    limit_core_free(c);
}

/* ---- any window ---- */

typedef struct held_lease {
    uint64_t asked_ms, end_ms;
    int64_t lease;
    uint32_t left;
} held_lease;

typedef struct world {
    limit_core *core;
    uint64_t now_ms;
    uint64_t *used;
    size_t n_used, room;
    held_lease leases[8];
    int64_t minute, hour;
} world;

static void use_some(world *w, held_lease *h, uint32_t n)
{
    for (; n; n--, h->left--) {
        assert_true(w->n_used < w->room);
        w->used[w->n_used++] = w->now_ms;
    }
}

static void give_rest(world *w, held_lease *h)
{
    if (h->left)
        give(w->core, w->now_ms, "user.chat/a", w->minute, w->hour, h->lease, EPOCH, h->left);
    h->left = 0;
}

static void step(world *w)
{
    held_lease *h = &w->leases[dice(8)];
    for (int i = 0; i < 8; i++) { /* who waits to the last moment */
        held_lease *o = &w->leases[i];
        if (o->left && w->now_ms >= o->end_ms) give_rest(w, o);
    }
    switch (dice(4)) {
    case 0:
        if (h->left && w->now_ms <= h->end_ms) use_some(w, h, 1 + dice(h->left));
        break;
    case 1: give_rest(w, h); break;
    default:
        if (h->left) {
            use_some(w, h, h->left);
            break;
        }
        cache_limit_take_reply r = take(w->core, w->now_ms, "user.chat/a", w->minute, w->hour,
                                        1 + dice((uint32_t)(w->minute ? w->minute : w->hour)));
        h->left = (uint32_t)r.granted;
        h->lease = r.lease;
        h->end_ms = w->now_ms + (uint64_t)r.life_ms;
        if (r.granted == 0) assert_true(r.retry_ms > 0);
    }
}

/* Jumps to the last moment of some lease now and then, or into a long pause. */
static void pass(world *w)
{
    held_lease *h = &w->leases[dice(8)];
    switch (dice(40)) {
    case 0: w->now_ms += dice(70000); break;
    case 1: w->now_ms += dice(w->hour ? 4000000 : 100000); break;
    case 2:
    case 3:
        if (h->left && h->end_ms > w->now_ms) {
            bool passes = false;
            for (int i = 0; i < 8; i++)
                passes |= w->leases[i].left && w->leases[i].end_ms < h->end_ms;
            if (passes) break;
            w->now_ms = h->end_ms;
            use_some(w, h, h->left);
        }
        break;
    default: w->now_ms += dice(w->hour ? 3000 : 300);
    }
}

static size_t most_in_any(const world *w, uint64_t window_ms)
{
    size_t most = 0, from = 0;
    for (size_t i = 0; i < w->n_used; i++) {
        while (w->used[from] + window_ms < w->used[i])
            from++;
        if (i - from + 1 > most) most = i - from + 1;
    }
    return most;
}

static void no_window_sees_more(void **state)
{
    (void)state;
    static const int64_t limits[][2] = {{10, 0},   {59, 0},    {60, 0},    {100, 0},
                                        {1000, 0}, {100, 300}, {10, 1000}, {0, 80}};
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
        for (seed = 1; seed < 60; seed += 7) {
            world w = {.core = limit_core_new(10, EPOCH),
                       .now_ms = 1000000 + seed,
                       .room = 200000,
                       .minute = limits[k][0],
                       .hour = limits[k][1]};
            uint64_t keep = seed;
            w.used = malloc(w.room * sizeof *w.used);
            for (int i = 0; i < 6000; i++) {
                step(&w);
                pass(&w);
            }
            if (w.minute) assert_true(most_in_any(&w, 60000) <= (size_t)w.minute);
            if (w.hour) assert_true(most_in_any(&w, 3600000) <= (size_t)w.hour);
            assert_true(w.n_used > 100);
            free(w.used);
            limit_core_free(w.core);
            seed = keep;
        }
    }
}

/* It is not too strict either: a full window later everything is there again. */
static void everything_comes_back(void **state)
{
    (void)state;
    limit_core *c = limit_core_new(10, EPOCH);
    uint64_t now = 999;
    for (int round = 0; round < 50; round++) {
        int64_t granted = 0, n;
        while ((n = take(c, now, "user.chat/a", 100, 0, 100).granted) > 0)
            granted += n;
        assert_int_equal(granted, 100);
        now += 60000 + LIMIT_CORE_LIFE_MS + 1000;
    }
    limit_core_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(small_limits_go_one_by_one),
        cmocka_unit_test(leases_are_a_twentieth),
        cmocka_unit_test(returns),
        cmocka_unit_test(what_passed_without_the_owner_counts),
        cmocka_unit_test(an_hour_that_comes_later_knows_the_minute),
        cmocka_unit_test(a_full_table_shares),
        cmocka_unit_test(a_new_counter_begins_with_what_was_shared),
        cmocka_unit_test(counters_that_count_nothing_go),
        cmocka_unit_test(no_window_sees_more),
        cmocka_unit_test(everything_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
