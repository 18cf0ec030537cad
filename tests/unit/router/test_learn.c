/*  test_learn.c - shares, intervals, bounds, and what one user can do. */
#include "learn.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1900000000000ull
static const sv_str model = {"m", 1};
static learn *l;

static int setup(void **state)
{
    (void)state;
    l = learn_new(true);
    return l ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    learn_free(l);
    return 0;
}

static float bonus(void)
{
    return learn_bonus(l, TASK_CODE, "p", model, NOW);
}

static void outcomes(int n, bool good)
{
    for (int i = 0; i < n; i++)
        learn_outcome(l, TASK_CODE, "p", model, good, NOW);
}

/* Wilson's interval from a table: 8 of 10 at 90 %. */
static void test_interval(void **state)
{
    (void)state;
    learn_share s = learn_share_of(8, 10);
    assert_float_equal(s.low, 0.5409, 0.0005);
    assert_float_equal(s.high, 0.9314, 0.0005);
    s = learn_share_of(0, 0);
    assert_true(s.low == 0 && s.high == 1);
}

static void test_few_tell_nothing(void **state)
{
    (void)state;
    assert_true(bonus() == 0);
    outcomes(LEARN_SAMPLE - 1, false);
    assert_true(bonus() == 0);
    outcomes(1, false);
    assert_true(bonus() < -0.1f);
}

static void test_bounds(void **state)
{
    (void)state;
    outcomes(100000, false);
    learn_ratings(l, TASK_CODE, "p", model, 0, 1e9, NOW);
    assert_true(bonus() == -LEARN_BONUS_MOST);
    learn_free(l);
    l = learn_new(true);
    outcomes(100000, true);
    learn_ratings(l, TASK_CODE, "p", model, 1e9, 1e9, NOW);
    assert_true(bonus() > 0.1f && bonus() <= LEARN_BONUS_MOST);
    assert_true(learn_bonus(l, TASK_CHAT, "p", model, NOW) == 0); /* another task */
    assert_true(learn_bonus(l, TASK_CODE, "q", model, NOW) == 0);
}

static void test_usual_is_neutral(void **state)
{
    (void)state;
    outcomes(95, true);
    outcomes(5, false);
    assert_true(bonus() == 0);
}

static void test_decay(void **state)
{
    (void)state;
    learn_figures f;
    outcomes(100, false);
    learn_look(l, TASK_CODE, "p", model, NOW + (uint64_t)LEARN_OUTCOME_MS, &f);
    assert_float_equal(f.outcomes.n, 50, 0.001);
    learn_look(l, TASK_CODE, "p", model, NOW + (uint64_t)(5 * LEARN_OUTCOME_MS), &f);
    assert_true(f.bonus == 0); /* three are left */
}

static void test_off(void **state)
{
    (void)state;
    learn_saved s;
    learn_free(l);
    l = learn_new(false);
    outcomes(100, false);
    assert_true(bonus() == 0);
    assert_false(learn_take(l, &s));
}

/* However often one user says so. */
static void test_one_user_is_bounded(void **state)
{
    (void)state;
    learn_vote v = {0};
    double good = 0, n = 0, by_good, by_n;
    for (int i = 0; i < 1000; i++) {
        learn_vote_add(&v, 0, 1, NOW, &by_good, &by_n);
        good += by_good;
        n += by_n;
    }
    assert_float_equal(n, LEARN_SHARE, 1e-9);
    assert_float_equal(good, 0, 1e-9);
    learn_ratings(l, TASK_CODE, "p", model, good, n, NOW);
    assert_true(bonus() == 0);
    for (int u = 0; u < 10; u++) { /* several do */
        learn_vote w = {0};
        for (int i = 0; i < 3; i++) {
            learn_vote_add(&w, 0, 1, NOW, &by_good, &by_n);
            good += by_good;
            n += by_n;
        }
    }
    learn_ratings(l, TASK_CODE, "p", model, good, n, NOW);
    assert_true(bonus() < -0.05f);
}

static void test_changed_mind(void **state)
{
    (void)state;
    learn_vote v = {0};
    double good = 0, n = 0, by_good, by_n;
    learn_vote_add(&v, 1, 1, NOW, &by_good, &by_n);
    good += by_good, n += by_n;
    learn_vote_add(&v, -1, 0, NOW, &by_good, &by_n); /* good becomes bad */
    good += by_good, n += by_n;
    assert_float_equal(n, 1, 1e-9);
    assert_float_equal(good, 0, 1e-9);
    learn_vote_add(&v, 0, -1, NOW, &by_good, &by_n); /* and is taken back */
    good += by_good, n += by_n;
    assert_float_equal(n, 0, 1e-9);
}

/* What the sum forgets and what the voter's own count forgets stay the same. */
static void test_votes_over_time(void **state)
{
    (void)state;
    learn_vote v = {0};
    double good = 0, n = 0, by_good, by_n;
    uint64_t at = NOW;
    for (int i = 0; i < 500; i++) {
        double d = learn_left(LEARN_RATING_MS, at, at + 86400000);
        at += 86400000;
        good *= d, n *= d;
        learn_vote_add(&v, i % 2, 1, at, &by_good, &by_n);
        good += by_good, n += by_n;
        assert_true(n <= LEARN_SHARE + 1e-6 && good >= -1e-6 && good <= n + 1e-6);
        assert_float_equal(n, v.counts_n, 1e-6);
    }
}

static void test_taken_and_loaded(void **state)
{
    (void)state;
    learn_saved s, again;
    outcomes(30, true);
    learn_outcome(l, TASK_CHAT, "q", sv_cstr("other"), true, NOW);
    assert_true(learn_take(l, &s));
    assert_int_equal(s.task, TASK_CODE);
    assert_string_equal(s.provider, "p");
    assert_true(sv_str_is(s.model, "m"));
    assert_float_equal(s.n, 30, 1e-9);
    assert_true(learn_take(l, &again));
    assert_true(sv_str_is(again.model, "other"));
    assert_false(learn_take(l, &again));
    learn_not_saved(l, &s);
    assert_true(learn_take(l, &again));
    assert_true(sv_str_is(again.model, "m"));
    learn *second = learn_new(true);
    learn_figures f;
    learn_load(second, &s);
    learn_look(second, TASK_CODE, "p", model, NOW, &f);
    assert_float_equal(f.outcomes.good, 30, 1e-9);
    assert_false(learn_take(second, &again));
    learn_free(second);
}

static void test_bounded(void **state)
{
    (void)state;
    char name[32];
    learn_saved s;
    uint32_t n = 0;
    for (int i = 0; i < 2 * LEARN_MOST; i++) {
        snprintf(name, sizeof name, "m%d", i);
        learn_outcome(l, TASK_CODE, "p", sv_cstr(name), true, NOW);
        if (i % 2) learn_take(l, &s);
    }
    while (learn_take(l, &s))
        n++;
    assert_in_range(n, 1, LEARN_MOST);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_interval),
        T(test_few_tell_nothing),
        T(test_bounds),
        T(test_usual_is_neutral),
        T(test_decay),
        T(test_off),
        T(test_one_user_is_bounded),
        T(test_changed_mind),
        T(test_votes_over_time),
        T(test_taken_and_loaded),
        T(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
