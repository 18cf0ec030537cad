/*  test_words.c - one form for every spelling of an address, and random tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "words.h"

#include <stdio.h>

static void emails(void **state)
{
    (void)state;
    char to[WORDS_EMAIL + 1], text[400];
    const char *const good[][2] = {
        {"anna@example.org", "anna@example.org"},
        {"  Anna.SMITH+x@Example.ORG\n", "anna.smith+x@example.org"},
        {"\xd0\xb0@\xd0\xbf.\xd1\x80\xd1\x84", "\xd0\xb0@\xd0\xbf.\xd1\x80\xd1\x84"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(email_normalise(sv_cstr(good[i][0]), to, NULL), 0);
        assert_string_equal(to, good[i][1]);
    }
    const char *const bad[] = {"",      " ",     "anna",      "@example.org", "anna@",
                               "a@b@c", "a b@c", "a\r\n@b",   "a<b@c",        "a,b@c",
                               "a@b\t", "a\"@b", "a@b\x7f.c", "a@b;c"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sv_error err = {.code = 0};
        bool trimmed = i == 10;
        assert_int_equal(email_normalise(sv_cstr(bad[i]), to, &err), trimmed ? 0 : SV_E_INVALID);
        if (!trimmed) assert_string_equal(err.field, "email");
    }
    assert_int_equal(email_normalise((sv_str){NULL, 0}, to, NULL), SV_E_INVALID);
    memset(text, 'a', sizeof text);
    text[200] = '@';
    assert_int_equal(email_normalise((sv_str){text, WORDS_EMAIL}, to, NULL), 0);
    assert_int_equal(email_normalise((sv_str){text, WORDS_EMAIL + 1}, to, NULL), SV_E_INVALID);
}

static void networks(void **state)
{
    (void)state;
    char to[WORDS_NETWORK + 1];
    const char *const good[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
        {"2001:DB8:1:2::", "2001:db8:1:2::"},
        {"::1", "::"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(network_normalise(sv_cstr(good[i][0]), to, NULL), 0);
        assert_string_equal(to, good[i][1]);
    }
    const char *const bad[] = {"",           "localhost",    "192.0.2",
                               "192.0.2.1 ", "fe80::1%eth0", "1.2.3.4:5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(network_normalise(sv_cstr(bad[i]), to, NULL), SV_E_INVALID);
    assert_int_equal(network_normalise((sv_str){"1.2.3.4\0x", 9}, to, NULL), SV_E_INVALID);
}

static void names_and_languages(void **state)
{
    (void)state;
    sv_error err = {.code = 0};
    assert_int_equal(name_check(sv_cstr("Анна O'Neil"), NULL), 0);
    assert_int_equal(name_check((sv_str){NULL, 0}, NULL), 0);
    assert_int_equal(name_check(sv_cstr("two\nlines"), &err), SV_E_INVALID);
    assert_string_equal(err.field, "name");
    assert_int_equal(name_check(sv_cstr("\x7f"), NULL), SV_E_INVALID);
    assert_int_equal(name_check((sv_str){"a\0b", 3}, NULL), SV_E_INVALID);
    assert_int_equal(name_check(sv_cstr("Team \u202e"
                                        "LIVE"),
                                NULL),
                     SV_E_INVALID);
    assert_int_equal(name_check(sv_cstr("a\u2028"
                                        "b"),
                                NULL),
                     SV_E_INVALID);
    assert_int_equal(name_check(sv_cstr("a\xc2\x85"
                                        "b"),
                                NULL),
                     SV_E_INVALID);
    assert_int_equal(name_check(sv_cstr("a\xff"), NULL), SV_E_INVALID);
    assert_int_equal(locale_check(sv_cstr("en"), NULL), 0);
    assert_int_equal(locale_check(sv_cstr("ru"), NULL), 0);
    assert_int_equal(locale_check((sv_str){NULL, 0}, NULL), 0);
    assert_int_equal(locale_check(sv_cstr("de"), NULL), SV_E_INVALID);
}

static void tokens(void **state)
{
    (void)state;
    char a[WORDS_TOKEN + 1], b[WORDS_TOKEN + 1];
    uint8_t x[WORDS_HASH], y[WORDS_HASH];
    token_new("svr_", a);
    token_new("svr_", b);
    assert_int_equal(strlen(a), WORDS_TOKEN);
    assert_memory_equal(a, "svr_", 4);
    assert_string_not_equal(a, b);
    token_hash(sv_cstr(a), x);
    token_hash(sv_cstr(b), y);
    assert_memory_not_equal(x, y, sizeof x);
    token_hash(sv_cstr("abc"), x); /* FIPS 180-2 */
    assert_memory_equal(x, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8);
    words_hash("account", "x", x);
    words_hash("network", "x", y);
    assert_memory_not_equal(x, y, sizeof x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(emails), cmocka_unit_test(networks),
                                       cmocka_unit_test(names_and_languages),
                                       cmocka_unit_test(tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
