/*  test_health.c - breaker and figures, with a clock of the test's own. */
#include "health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000000ull
static const sv_str model = {"m", 1};
static uint64_t now_us;
static health *table;
static health_entry *entry;

static int setup(void **state)
{
    (void)state;
    now_us = 1000 * SECOND;
    table = health_new();
    entry = health_get(table, "p", model, 0);
    return entry ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    health_free(table);
    return 0;
}

static void call_on(health_entry *e, health_outcome outcome, uint32_t pause_ms)
{
    bool probe;
    health_begin(e, now_us, &probe);
    health_note n = {.outcome = outcome, .pause_ms = pause_ms, .total_us = 1000};
    health_end(e, now_us, probe, &n);
}

static void call(health_outcome outcome)
{
    call_on(entry, outcome, 0);
}

static bool allowed(void)
{
    bool probe;
    return health_allows(entry, now_us, &probe);
}

static bool would_probe(void)
{
    bool probe;
    assert_true(health_allows(entry, now_us, &probe));
    return probe;
}

static uint64_t open_for(void)
{
    health_figures f;
    health_look(entry, now_us, &f);
    return f.open_until_us > now_us ? f.open_until_us - now_us : 0;
}

static void open_it(void)
{
    for (int i = 0; i < HEALTH_STREAK; i++)
        call(HEALTH_FAILED);
    assert_false(allowed());
}

static void test_streak(void **state)
{
    (void)state;
    for (int i = 0; i < HEALTH_STREAK - 1; i++)
        call(HEALTH_FAILED);
    assert_true(allowed());
    call(HEALTH_OK);
    for (int i = 0; i < HEALTH_STREAK - 1; i++)
        call(HEALTH_FAILED);
    assert_true(allowed()); /* the success began a new count; 8 of 9 is less than the sample */
    call(HEALTH_FAILED);
    assert_false(allowed());
    assert_in_range(open_for(), SECOND, 1100000);
}

static void test_rate(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        call(HEALTH_OK);
        call(HEALTH_FAILED);
    }
    assert_true(allowed()); /* half of 8: too few */
    call(HEALTH_OK);
    call(HEALTH_FAILED);
    assert_false(allowed());
}

static void test_rate_forgets(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        call(i % 3 == 0 ? HEALTH_OK : HEALTH_FAILED);
        now_us += 100000;
    }
    now_us += HEALTH_WINDOW_MS * 1000ull;
    call(HEALTH_OK);
    call(HEALTH_FAILED);
    assert_true(allowed());        /* the window holds two, not eleven */
    for (int i = 0; i < 40; i++) { /* one of three fails, slowly: never half */
        call(i % 3 ? HEALTH_OK : HEALTH_FAILED);
        now_us += SECOND;
        assert_true(allowed());
    }
}

static void test_one_probe(void **state)
{
    (void)state;
    bool probe, other;
    open_it();
    now_us += open_for();
    assert_true(would_probe());
    health_begin(entry, now_us, &probe);
    assert_true(probe);
    assert_false(allowed()); /* exactly one */
    health_begin(entry, now_us, &other);
    assert_false(other); /* somebody who does not ask is no probe */
    health_note ok = {.outcome = HEALTH_OK};
    health_end(entry, now_us, other, &ok);
    assert_false(allowed()); /* and closes nothing */
    health_end(entry, now_us, probe, &ok);
    assert_true(allowed());
    assert_false(would_probe());
    assert_int_equal(open_for(), 0);
}

static void test_probe_fails(void **state)
{
    (void)state;
    open_it();
    uint64_t before = open_for();
    for (int i = 0; i < 8; i++) {
        now_us += open_for();
        assert_true(would_probe());
        call(HEALTH_FAILED);
        uint64_t now = open_for();
        assert_in_range(now, before, 2 * before);
        assert_true(now <= HEALTH_OPEN_MOST_MS * 1100ull);
        before = now;
    }
    assert_true(before >= HEALTH_OPEN_MOST_MS * 1000ull); /* it did grow */
    now_us += before;
    call(HEALTH_OK);
    assert_true(allowed());
    open_it(); /* a success begins the doubling anew */
    assert_in_range(open_for(), SECOND, 1100000);
}

static void test_probe_vanishes(void **state)
{
    (void)state;
    bool probe;
    open_it();
    now_us += open_for();
    health_begin(entry, now_us, &probe); /* and nothing more is heard of it */
    now_us += HEALTH_PROBE_MS * 1000ull - 1;
    assert_false(allowed());
    now_us += 1;
    assert_true(would_probe());
    call(HEALTH_NEUTRAL); /* a probe whose client left: the next one may at once */
    assert_true(would_probe());
    health_note n = {.outcome = HEALTH_NEUTRAL};
    health_end(entry, now_us, probe, &n);
}

static void test_first_token_closes(void **state)
{
    (void)state;
    bool probe;
    open_it();
    now_us += open_for();
    health_begin(entry, now_us, &probe);
    health_first(entry, now_us + SECOND, probe);
    assert_true(allowed()); /* its long answer need not end */
    assert_false(would_probe());
    health_note n = {.outcome = HEALTH_OK};
    health_end(entry, now_us + 100 * SECOND, probe, &n);
    assert_true(allowed());
}

/* Down for a minute under steady traffic: what matters is how soon it is used again. */
static void test_back_within_30_s(void **state)
{
    (void)state;
    uint64_t start_us = now_us, back_us = 0;
    for (; now_us < start_us + 120 * SECOND && back_us == 0; now_us += 100000) {
        bool down = now_us < start_us + 60 * SECOND;
        if (!allowed()) continue;
        call(down ? HEALTH_FAILED : HEALTH_OK);
        if (!down) back_us = now_us - start_us - 60 * SECOND;
    }
    assert_true(back_us < 30 * SECOND);
    assert_true(allowed());
}

static void test_retry_after(void **state)
{
    (void)state;
    call_on(entry, HEALTH_FAILED, 7000);
    assert_int_equal(open_for(), 7 * SECOND);
    now_us += 7 * SECOND;
    assert_true(would_probe());
    call_on(entry, HEALTH_FAILED, 3600000);
    assert_int_equal(open_for(), 60 * SECOND);
}

static void test_rate_limit_pauses(void **state)
{
    (void)state;
    call_on(entry, HEALTH_RATE, 2000);
    assert_false(allowed());
    assert_int_equal(open_for(), 2 * SECOND);
    now_us += 2 * SECOND - 1;
    assert_false(allowed());
    now_us += 1;
    assert_false(would_probe());
    for (int i = 0; i < 6; i++) { /* without a time of its own */
        call(HEALTH_RATE);
        now_us += open_for();
    }
    call(HEALTH_RATE);
    assert_in_range(open_for(), HEALTH_OPEN_MOST_MS * 1000ull, HEALTH_OPEN_MOST_MS * 1100ull);
    health_figures f;
    health_look(entry, now_us, &f);
    assert_int_equal(f.failures, 0);
}

static void test_keys_are_apart(void **state)
{
    (void)state;
    bool probe;
    health_entry *second = health_get(table, "p", model, 1);
    call(HEALTH_KEY);
    assert_false(allowed());
    assert_true(health_allows(second, now_us, &probe));
    assert_ptr_equal(health_get(table, "p", model, 0), entry);
    assert_ptr_equal(health_find(table, "p", model, 1), second);
    assert_null(health_find(table, "p", model, 2));
    assert_null(health_find(table, "pm", (sv_str){"", 0}, 0));
}

static void test_neutral(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++)
        call(HEALTH_NEUTRAL);
    health_figures f;
    health_look(entry, now_us, &f);
    assert_true(allowed());
    assert_int_equal(f.calls, 0);
}

static void test_late_failures_do_not_prolong(void **state)
{
    (void)state;
    bool probe[3];
    for (int i = 0; i < 3; i++)
        health_begin(entry, now_us, &probe[i]);
    open_it();
    uint64_t until_us = now_us + open_for();
    now_us += 500000;
    health_note n = {.outcome = HEALTH_FAILED};
    for (int i = 0; i < 3; i++)
        health_end(entry, now_us, probe[i], &n);
    assert_int_equal(now_us + open_for(), until_us);
}

static void answer(uint64_t first_us, uint64_t total_us, int64_t tokens, bool stream)
{
    bool probe;
    health_begin(entry, now_us, &probe);
    health_note n = {HEALTH_OK, 0, first_us, total_us, tokens, stream};
    health_end(entry, now_us, probe, &n);
}

static void test_figures(void **state)
{
    (void)state;
    health_figures f;
    for (int i = 0; i < HEALTH_LATE_SAMPLE - 1; i++)
        answer(200000, 1200000, 100, true);
    health_look(entry, now_us, &f);
    assert_int_equal(health_late_us(entry, now_us, true), 0);
    answer(3000000, 4000000, 100, true);
    health_look(entry, now_us, &f);
    assert_in_range(health_late_us(entry, now_us, true), 200000, 200000 * 6 / 5);
    assert_int_equal(health_late_us(entry, now_us, false), 0); /* all were streams */
    assert_float_equal(f.first_ms, 340, 1);
    assert_float_equal(f.total_ms, 1340, 1);
    assert_float_equal(f.tokens_per_second, 100, 1);
    answer(3000000, 4000000, 100, true);
    /* two of 21 are beyond: one in twenty is stuck, and the others tell what is late */
    assert_in_range(health_late_us(entry, now_us, true), 400000, 400000 * 6 / 5);
    for (int i = 0; i < 5; i++)
        answer(3000000, 4000000, 100, true);
    assert_in_range(health_late_us(entry, now_us, true), 3000000, 3000000 * 6 / 5);
    call(HEALTH_BAD_TOOLS);
    call(HEALTH_FAILED);
    health_look(entry, now_us, &f);
    assert_float_equal(f.error_rate, 1.0 / 28, 0.001);
    assert_float_equal(f.tool_error_rate, 1.0 / 28, 0.001);
    assert_int_equal(f.failed_us, now_us);
}

static void test_decay(void **state)
{
    (void)state;
    health_figures f;
    for (int i = 0; i < 30; i++)
        answer(1000000, 2000000, 10, true);
    now_us += 2 * HEALTH_HALF_LIFE_MS * 1000ull;
    assert_int_equal(health_late_us(entry, now_us, true), 0); /* 7.5 are left */
    for (int i = 0; i < 30; i++)
        answer(100000, 200000, 10, false);
    health_look(entry, now_us, &f);
    assert_float_equal(f.first_ms, (7.5 * 1000 + 30 * 100) / 37.5, 1);
    for (int i = 0; i < 200; i++) { /* hours: weights are scaled back many times */
        now_us += 40 * HEALTH_HALF_LIFE_MS * 1000ull;
        answer(50000, 60000, 10, false);
        health_look(entry, now_us, &f);
        assert_float_equal(f.first_ms, 50, 0.1);
    }
    now_us += 365 * 86400 * SECOND;
    answer(70000, 80000, 10, false);
    health_look(entry, now_us, &f);
    assert_float_equal(f.first_ms, 70, 0.1);
}

static void test_bounded(void **state)
{
    (void)state;
    bool probe;
    char name[32];
    health_begin(entry, now_us, &probe); /* stays, whatever comes */
    for (int i = 0; i < 3 * HEALTH_MOST; i++) {
        snprintf(name, sizeof name, "m%d", i);
        assert_non_null(health_get(table, "p", sv_cstr(name), 0));
    }
    assert_ptr_equal(health_find(table, "p", model, 0), entry);
    assert_null(health_find(table, "p", sv_cstr("m0"), 0));
    const char *provider;
    sv_str m;
    uint32_t key, n = 0;
    const health_entry *e = NULL;
    while ((e = health_next(table, e, &provider, &m, &key)))
        n += strcmp(provider, "p") == 0 && m.p[0] == 'm' && key == 0;
    assert_int_equal(n, HEALTH_MOST);
    static char large[1000];
    assert_null(health_get(table, "p", (sv_str){large, sizeof large}, 0));
    health_note ok = {.outcome = HEALTH_OK};
    health_end(entry, now_us, probe, &ok);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_streak),
        T(test_rate),
        T(test_rate_forgets),
        T(test_one_probe),
        T(test_probe_fails),
        T(test_probe_vanishes),
        T(test_first_token_closes),
        T(test_back_within_30_s),
        T(test_retry_after),
        T(test_rate_limit_pauses),
        T(test_keys_are_apart),
        T(test_neutral),
        T(test_late_failures_do_not_prolong),
        T(test_figures),
        T(test_decay),
        T(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
