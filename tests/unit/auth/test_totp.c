/*  test_totp.c - the tables of RFC 4226 and RFC 6238, the window, and that no step counts twice. */
#include "totp.h"

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char seed[] = "1234567890123456789012345678901234567890123456789012345678901234";

static sv_str secret_of(uint32_t n)
{
    return (sv_str){seed, n};
}

/* RFC 4226, appendix D */
static void test_hotp(void **state)
{
    (void)state;
    static const char *const want[] = {"755224", "287082", "359152", "969429", "338314",
                                       "254676", "287922", "162583", "399871", "520489"};
    for (uint64_t i = 0; i < 10; i++) {
        char code[TOTP_DIGITS_MAX + 1];
        assert_int_equal(totp_code(&totp_usual, secret_of(20), i, code, NULL), 0);
        assert_string_equal(code, want[i]);
    }
}

/* RFC 6238, appendix B: the seed is as long as the hash */
static void test_totp(void **state)
{
    (void)state;
    static const struct {
        uint64_t now_s;
        const char *want[TOTP_HASHES];
    } rows[] = {
        {59, {"94287082", "46119246", "90693936"}},
        {1111111109, {"07081804", "68084774", "25091201"}},
        {1111111111, {"14050471", "67062674", "99943326"}},
        {1234567890, {"89005924", "91819424", "93441116"}},
        {2000000000, {"69279037", "90698825", "38618901"}},
        {20000000000, {"65353130", "77737706", "47863826"}},
    };
    static const uint32_t seed_bytes[TOTP_HASHES] = {20, 32, 64};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int h = 0; h < TOTP_HASHES; h++) {
            totp_shape t = {(totp_hash)h, 8, 30};
            uint64_t step = 0, found = 0;
            char code[TOTP_DIGITS_MAX + 1];
            assert_int_equal(totp_step(&t, rows[i].now_s, &step, NULL), 0);
            assert_int_equal(totp_code(&t, secret_of(seed_bytes[h]), step, code, NULL), 0);
            assert_string_equal(code, rows[i].want[h]);
            assert_true(totp_check(&t, secret_of(seed_bytes[h]), sv_cstr(code), rows[i].now_s, 0,
                                   -1, &found));
            assert_int_equal(found, step);
        }
    }
}

static bool accepted(const char *code, uint64_t now_s, uint32_t window, int64_t last,
                     uint64_t *step)
{
    return totp_check(&totp_usual, secret_of(20), sv_cstr(code), now_s, window, last, step);
}

/* Steps 0 to 9 have the codes of test_hotp. */
static void test_window(void **state)
{
    (void)state;
    uint64_t step = 99;
    uint64_t now_s = 5 * 30 + 29; /* step 5 */
    assert_true(accepted("254676", now_s, 0, -1, &step) && step == 5);
    assert_false(accepted("338314", now_s, 0, -1, &step));
    assert_false(accepted("287922", now_s, 0, -1, &step));
    assert_true(accepted("338314", now_s, 1, -1, &step) && step == 4);
    assert_true(accepted("287922", now_s, 1, -1, &step) && step == 6);
    assert_false(accepted("969429", now_s, 1, -1, &step));
    assert_false(accepted("162583", now_s, 1, -1, &step));
    assert_int_equal(step, 6); /* untouched by what is refused */
    assert_true(accepted("755224", 29, 1, -1, &step) && step == 0);
    assert_true(accepted("287082", 0, 1, -1, &step) && step == 1);
    assert_false(accepted("359152", 29, 1, -1, &step));
}

static void test_no_step_twice(void **state)
{
    (void)state;
    uint64_t step = 0, now_s = 5 * 30;
    assert_true(accepted("254676", now_s, 1, 4, &step));
    assert_false(accepted("254676", now_s, 1, 5, &step)); /* spent */
    assert_false(accepted("338314", now_s, 1, 5, &step)); /* before what is spent */
    assert_true(accepted("287922", now_s, 1, 5, &step) && step == 6);
    assert_false(accepted("755224", 0, 1, 0, &step));
}

static void test_refused(void **state)
{
    (void)state;
    uint64_t step = 0;
    static const char *const codes[] = {"", "25467", "2546760", "25467x", " 54676", "254677"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_false(accepted(codes[i], 150, 1, -1, &step));
    char code[TOTP_DIGITS_MAX + 1] = "same";
    static const struct {
        totp_shape t;
        uint32_t secret_bytes;
        const char *field;
    } rows[] = {
        {{TOTP_SHA1, 5, 30}, 20, "digits"},         {{TOTP_SHA1, 9, 30}, 20, "digits"},
        {{TOTP_HASHES, 6, 30}, 20, "alg"},          {{TOTP_SHA1, 6, 30}, 0, "secret"},
        {{TOTP_SHA1, 6, 30}, UINT32_MAX, "secret"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sv_error err = {0};
        assert_int_equal(totp_code(&rows[i].t, secret_of(rows[i].secret_bytes), 0, code, &err),
                         SV_E_INVALID);
        assert_string_equal(err.field, rows[i].field);
        assert_string_equal(code, "same");
    }
    sv_error err = {0};
    assert_int_equal(totp_code(&totp_usual, secret_of(20), UINT64_MAX, code, &err), SV_E_INVALID);
    assert_string_equal(err.field, "counter");
    totp_shape no_step = {TOTP_SHA1, 6, 0};
    assert_int_equal(totp_step(&no_step, 1, &step, &err), SV_E_INVALID);
    assert_false(totp_check(&no_step, secret_of(20), sv_cstr("755224"), 0, 1, -1, &step));
    assert_false(accepted("755224", UINT64_MAX, 1, -1, &step));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hotp),    cmocka_unit_test(test_totp),
        cmocka_unit_test(test_window),  cmocka_unit_test(test_no_step_twice),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
