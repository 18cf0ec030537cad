/*  test_money.c - money as people write it. */
#include "money.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void amounts(void **state)
{
    static const struct {
        const char *text;
        int64_t micro; /* -1: is none */
    } rows[] = {
        {"0", 0},
        {"5", 5000000},
        {"0.05", 50000},
        {"0.000001", 1},
        {"12.345678", 12345678},
        {"007.5", 7500000},
        {"1000000", 1000000000000},
        {"1000000.000000", 1000000000000},
        {"1000000.000001", -1},
        {"1000001", -1},
        {"99999999999999999999999999", -1},
        {"0.0000001", -1},
        {"", -1},
        {".5", -1},
        {"5.", 5000000},
        {"-1", -1},
        {"+1", -1},
        {"1e3", -1},
        {" 1", -1},
        {"1 ", -1},
        {"1,5", -1},
        {"1.2.3", -1},
        {".", -1},
        {"0x10", -1},
        {"nan", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t micro = 42;
        bool ok = money_read(sv_cstr(rows[i].text), &micro);
        if (ok != (rows[i].micro >= 0) || micro != (ok ? rows[i].micro : 42))
            fail_msg("%s: %d, %lld", rows[i].text, ok, (long long)micro);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(amounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
