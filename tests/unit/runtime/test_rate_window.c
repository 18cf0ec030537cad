/*  test_rate_window.c - sliding windows against a list of everything that was added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rate_window.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct added {
    uint64_t at_ms;
    uint32_t n;
} added;

typedef struct model {
    added list[4000];
    size_t n;
    uint64_t unit_ms, keep;
} model;

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % sides;
}

static uint64_t model_sum(const model *m, uint64_t now_ms)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->list[i].at_ms / m->unit_ms + m->keep >= now_ms / m->unit_ms) sum += m->list[i].n;
    return sum;
}

static void follows_the_list(void **state)
{
    (void)state;
    static model m;
    static const struct {
        rate_span span;
        uint64_t unit_ms, keep;
        uint32_t life_ms, step_ms;
    } cases[] = {{RATE_MINUTE, 1000, 60, 0, 3000},
                 {RATE_MINUTE, 1000, 61, 1000, 3000},
                 {RATE_MINUTE, 1000, 65, RATE_LIFE_MOST_MS, 3000},
                 {RATE_HOUR, 60000, 60, 0, 200000},
                 {RATE_HOUR, 60000, 61, RATE_LIFE_MOST_MS, 200000}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        rate_window w;
        uint64_t now = 123456789;
        m = (model){.unit_ms = cases[k].unit_ms, .keep = cases[k].keep};
        seed = k + 1;
        rate_window_init(&w, cases[k].span, now);
        rate_window_life(&w, cases[k].life_ms);
        while (m.n < 4000) {
            now += dice(20) ? dice(cases[k].step_ms) : dice(100 * cases[k].step_ms);
            if (m.n && dice(4) == 0) { /* back to one that was added */
                added *a = &m.list[m.n - 1 - dice(m.n < 50 ? (uint32_t)m.n : 50)];
                uint32_t n = dice(a->n + 1);
                bool counts = a->at_ms / m.unit_ms + m.keep >= now / m.unit_ms;
                rate_window_take_back(&w, now, a->at_ms, n);
                if (counts) a->n -= n;
            } else {
                m.list[m.n] = (added){now, dice(10)};
                rate_window_add(&w, now, m.list[m.n].n);
                m.n++;
            }
            assert_int_equal(rate_window_sum(&w, now), model_sum(&m, now));
            uint32_t limit = 1 + dice(60), n = 1 + dice(3);
            uint64_t wait = rate_window_wait_ms(&w, now, limit, n);
            uint64_t room = n < limit ? limit - n : 0;
            assert_true(model_sum(&m, now + wait) <= room);
            if (wait) assert_true(model_sum(&m, now + wait - 1) > room);
            wait = rate_window_empty_ms(&w, now);
            assert_int_equal(model_sum(&m, now + wait), 0);
            if (wait) assert_true(model_sum(&m, now + wait - 1) > 0);
        }
    }
}

/* Whatever moment within a grant's life it is used at: no 60 s see more than was granted at once. */
static void counts_as_long_as_it_may_be_used(void **state)
{
    (void)state;
    for (uint64_t phase = 0; phase < 1000; phase += 111) {
        rate_window w;
        uint64_t at = 5000000 + phase;
        rate_window_init(&w, RATE_MINUTE, at);
        rate_window_life(&w, 1000);
        rate_window_add(&w, at, 7);
        assert_int_equal(rate_window_sum(&w, at + 1000 + 60000), 7);
        assert_int_equal(rate_window_sum(&w, at + 1000 + 60000 + 1000), 0);
    }
}

static void does_not_overflow(void **state)
{
    (void)state;
    rate_window w;
    rate_window_init(&w, RATE_MINUTE, 0);
    rate_window_add(&w, 0, UINT32_MAX - 1);
    rate_window_add(&w, 0, 5);
    assert_true(rate_window_sum(&w, 0) == UINT32_MAX);
    rate_window_add(&w, 1000, UINT32_MAX);
    assert_true(rate_window_sum(&w, 1000) == 2 * (uint64_t)UINT32_MAX);
    rate_window_take_back(&w, 1000, 0, UINT32_MAX);
    rate_window_take_back(&w, 1000, 0, 1);    /* nothing is left of it */
    rate_window_take_back(&w, 1000, 5000, 1); /* not yet */
    assert_true(rate_window_sum(&w, 1000) == UINT32_MAX);
    rate_window_life(&w, 3600000); /* no more than there are slots */
    assert_int_equal(w.keep, RATE_SLOTS - 1);
    rate_window_life(&w, 0);
    assert_int_equal(w.keep, RATE_SLOTS - 1);
    assert_int_equal(rate_window_sum(&w, 500), rate_window_sum(&w, 1000)); /* never back */
}

static void leases(void **state)
{
    (void)state;
    static const uint32_t cases[][3] = {
        {1, 0, 1},     {59, 0, 1},     {60, 0, 3},     {100, 0, 5},   {1000, 0, 50},   {0, 40, 1},
        {0, 1000, 50}, {1000, 100, 5}, {100, 1000, 5}, {1000, 59, 1}, {1000, 1000, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(rate_lease_most(cases[i][0], cases[i][1]), cases[i][2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_list),
        cmocka_unit_test(counts_as_long_as_it_may_be_used),
        cmocka_unit_test(does_not_overflow),
        cmocka_unit_test(leases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
