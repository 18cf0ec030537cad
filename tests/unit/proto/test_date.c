/*  Days as numbers and as text: against the C library for every day there is, and hostile text. */
#include "date.h"
#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static void test_every_day(void **state)
{
    (void)state;
    for (int64_t day = 0; day <= DATE_LAST; day++) {
        time_t t = (time_t)day * 86400;
        struct tm tm;
        char want[32], got[DATE_TEXT + 1];
        int64_t back = -1;
        assert_non_null(gmtime_r(&t, &tm));
        snprintf(want, sizeof want, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
        date_format(day, got);
        if (strcmp(want, got) != 0) fail_msg("%s is not %s", got, want);
        assert_int_equal(date_parse(sv_cstr(got), &back), 0);
        assert_int_equal(back, day);
    }
}

static void test_edges(void **state)
{
    (void)state;
    char text[DATE_TEXT + 1];
    date_format(-5, text);
    assert_string_equal(text, "1970-01-01");
    date_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31");
    assert_int_equal(date_of_ms(0), 0);
    assert_int_equal(date_of_ms(DATE_DAY_MS - 1), 0);
    assert_int_equal(date_of_ms(DATE_DAY_MS), 1);
    assert_int_equal(date_of_ms(INT64_MIN), 0);
}

static void test_hostile(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "2024",       "2024-1-1",       "2024-02-30", "2023-02-29",  "1900-01-01",
        "2024-13-01", "2024-00-10", "2024-01-00",     "2024-01-32", "2024/01/01",  "20240-1-01",
        "-024-01-01", "2024-01-1 ", " 024-01-01",     "2024-+1-01", "2024-01-011", "0000-00-00",
        "yesterday!", "1969-12-31", "\xd9\xa1-01-01x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t day = 77;
        assert_int_equal(date_parse(sv_cstr(wrong[i]), &day), SV_E_INVALID);
        assert_int_equal(day, 77);
    }
    assert_int_equal(date_parse((sv_str){NULL, 0}, &(int64_t){0}), SV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_day),
                                       cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
