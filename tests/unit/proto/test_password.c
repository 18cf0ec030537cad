/*  test_password.c - which passwords are accepted, and what their hashes are. */
#include "harness.h"

#include "error.h"
#include "password.h"

#include <stdlib.h>

static int judge(const char *password)
{
    const sv_str words[] = {sv_cstr("Anna.Smith@example.org"), sv_cstr("Anna Smith"),
                            sv_cstr("samovar")};
    sv_error err = {.code = 0};
    int rc = password_check(sv_cstr(password), words, 3, &err);
    if (rc) assert_string_equal(err.field, "password");
    return rc;
}

static void accepted_and_refused(void **state)
{
    (void)state;
    const char *const good[] = {
        "correct horse battery", "zq8#kk!p",
        "\xd0\xbf\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c\xd0\xb4\xd0\xbb\xd1\x8f",
        "annaconda runs", "        x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(judge(good[i]), 0);
    const char *const bad[] = {"",         "short",      "1234567",        "password", "PassWord",
                               "12345678", "1234567890", "anna.smith2030", "Samovar1", "smithsmith",
                               "annaanna", "!qaz2wsx",   "iloveyou"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(judge(bad[i]), SV_E_WEAK_PASSWORD);
    assert_int_equal(judge("abcdefgh\xff"), SV_E_BAD_UTF8);
    assert_int_equal(password_check((sv_str){"abcdefgh\0ijk", 12}, NULL, 0, NULL),
                     SV_E_WEAK_PASSWORD);
    assert_int_equal(password_check((sv_str){NULL, 0}, NULL, 0, NULL), SV_E_WEAK_PASSWORD);
}

/* Characters are counted, not bytes; nothing is cut off; what is far too long is not even hashed. */
static void lengths(void **state)
{
    (void)state;
    char text[4 * PASSWORD_MOST + 8];
    for (uint32_t n = 0; n < sizeof text / 4; n++)
        memcpy(text + 4 * n, "\xf0\x9f\x94\x91", 4);
    assert_int_equal(password_check((sv_str){text, 4 * 7}, NULL, 0, NULL), SV_E_WEAK_PASSWORD);
    assert_int_equal(password_check((sv_str){text, 4 * 8}, NULL, 0, NULL), 0);
    assert_int_equal(password_check((sv_str){text, 4 * 128}, NULL, 0, NULL), 0);
    assert_int_equal(password_check((sv_str){text, 4 * 129}, NULL, 0, NULL), SV_E_WEAK_PASSWORD);
    char *large = malloc(200000);
    memset(large, 'x', 200000);
    uint64_t before = password_runs();
    assert_int_equal(password_check((sv_str){large, 129}, NULL, 0, NULL), SV_E_WEAK_PASSWORD);
    assert_int_equal(password_check((sv_str){large, 200000}, NULL, 0, NULL), SV_E_WEAK_PASSWORD);
    assert_int_equal(password_runs(), before);
    free(large);
}

static void hashes(void **state)
{
    (void)state;
    char a[PASSWORD_HASH], b[PASSWORD_HASH], text[PASSWORD_BYTES];
    bool right;
    memset(text, 'x', sizeof text);
    sv_str long_one = {text, sizeof text}, almost = {text, sizeof text - 1};
    uint64_t before = password_runs();
    assert_int_equal(password_hash(long_one, PASSWORD_MEMORY_LEAST, a, NULL), 0);
    assert_int_equal(password_hash(long_one, PASSWORD_MEMORY_LEAST, b, NULL), 0);
    assert_string_not_equal(a, b);
    assert_memory_equal(a, "$argon2id$v=19$m=19456,t=2,p=1$", 31);
    assert_int_equal(password_verify(long_one, a, &right, NULL), 0);
    assert_true(right);
    assert_int_equal(password_verify(almost, a, &right, NULL), 0);
    assert_false(right);
    assert_int_equal(password_verify(almost, "not a hash", &right, NULL), 0);
    assert_false(right);
    assert_int_equal(password_runs() - before, 5);
}

static void weaker(void **state)
{
    (void)state;
    const uint64_t mib64 = 64 << 20;
    assert_true(password_is_weaker("$argon2id$v=19$m=19456,t=2,p=1$x", mib64));
    assert_true(password_is_weaker("$argon2id$v=19$m=65536,t=1,p=1$x", mib64));
    assert_true(password_is_weaker("$argon2i$v=19$m=65536,t=2,p=1$x", mib64));
    assert_true(password_is_weaker("", mib64));
    assert_false(password_is_weaker("$argon2id$v=19$m=65536,t=2,p=1$x", mib64));
    assert_false(password_is_weaker("$argon2id$v=19$m=131072,t=3,p=1$x", mib64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepted_and_refused),
                                       cmocka_unit_test(lengths), cmocka_unit_test(hashes),
                                       cmocka_unit_test(weaker)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
