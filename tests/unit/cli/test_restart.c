/*  test_restart.c - restart intensity with a clock that is a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "restart.h"

enum { SECOND = 1000000, LONGEST = 10 * SECOND };

static void pauses_grow_from_nothing(void **state)
{
    (void)state;
    restart r;
    assert_int_equal(restart_init(&r, 100, 30 * SECOND, LONGEST), 0);
    uint64_t pause = 99, last = 0;
    assert_int_equal(restart_next(&r, SECOND, SECOND, 512, &pause), 0);
    assert_int_equal(pause, 0);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(restart_next(&r, SECOND, 0, 512, &pause), 0);
        assert_true(pause >= last);
        assert_true(pause <= LONGEST);
        last = pause;
        if (i == 0) assert_int_equal(pause, RESTART_FIRST_US);
    }
    assert_int_equal(last, LONGEST);
    restart_free(&r);
}

static void the_longest_pause_is_a_setting(void **state)
{
    (void)state;
    restart r;
    uint64_t pause = 0;
    assert_int_equal(restart_init(&r, 100, 30 * SECOND, SECOND / 2), 0);
    for (int i = 0; i < 80; i++) {
        assert_int_equal(restart_next(&r, SECOND, 0, 1023, &pause), 0);
        if (i > 2) assert_int_equal(pause, SECOND / 2);
    }
    restart_free(&r);
}

static void jitter_stays_within_a_quarter(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t dice = 0; dice < 2048; dice++) {
        restart r;
        uint64_t pause;
        assert_int_equal(restart_init(&r, 10, SECOND, LONGEST), 0);
        restart_next(&r, 0, 0, dice, &pause);
        restart_next(&r, 0, 0, dice, &pause);
        least = pause < least ? pause : least;
        most = pause > most ? pause : most;
        restart_free(&r);
    }
    assert_in_range(least, RESTART_FIRST_US * 3 / 4, RESTART_FIRST_US * 4 / 5);
    assert_in_range(most, RESTART_FIRST_US * 6 / 5, RESTART_FIRST_US * 5 / 4);
}

static void gives_up_beyond_the_budget(void **state)
{
    (void)state;
    restart r;
    uint64_t pause;
    assert_int_equal(restart_init(&r, 5, 30 * SECOND, LONGEST), 0);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(restart_next(&r, 100 * SECOND + i * SECOND, SECOND, 0, &pause), 0);
    assert_int_equal(restart_next(&r, 110 * SECOND, SECOND, 0, &pause), SV_E_UNAVAILABLE);
    /* The oldest of the five was at 100 s: from 130 s on there is room for one more. */
    assert_int_equal(restart_next(&r, 130 * SECOND, SECOND, 0, &pause), SV_E_UNAVAILABLE);
    assert_int_equal(restart_next(&r, 131 * SECOND - 1, SECOND, 0, &pause), 0);
    assert_int_equal(restart_next(&r, 131 * SECOND - 1, SECOND, 0, &pause), SV_E_UNAVAILABLE);
    restart_free(&r);
}

static void a_stable_minute_starts_over(void **state)
{
    (void)state;
    restart r;
    uint64_t pause = 0;
    assert_int_equal(restart_init(&r, 5, 30 * SECOND, LONGEST), 0);
    for (int i = 0; i < 4; i++)
        restart_next(&r, SECOND, 0, 512, &pause);
    assert_true(pause > 0);
    assert_int_equal(restart_next(&r, 100 * SECOND, RESTART_STABLE_US - 1, 512, &pause), 0);
    assert_true(pause > 0);
    assert_int_equal(restart_next(&r, 200 * SECOND, RESTART_STABLE_US, 512, &pause), 0);
    assert_int_equal(pause, 0);
    restart_free(&r);
}

static void no_restarts_means_none(void **state)
{
    (void)state;
    restart r;
    uint64_t pause;
    assert_int_equal(restart_init(&r, 0, 30 * SECOND, LONGEST), 0);
    assert_int_equal(restart_next(&r, SECOND, 100 * SECOND, 0, &pause), SV_E_UNAVAILABLE);
    restart_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_grow_from_nothing),
        cmocka_unit_test(the_longest_pause_is_a_setting),
        cmocka_unit_test(jitter_stays_within_a_quarter),
        cmocka_unit_test(gives_up_beyond_the_budget),
        cmocka_unit_test(a_stable_minute_starts_over),
        cmocka_unit_test(no_restarts_means_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
