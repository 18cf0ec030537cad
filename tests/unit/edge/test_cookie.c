/*  Cookies: the wanted one among others, refused when there is doubt; what is set. */
#include "cookie.h"
#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static int get(const char *first, const char *second, sv_str *ret, sv_error *err)
{
    http_header list[] = {{sv_cstr("Cookie"), sv_cstr(first)},
                          {sv_cstr("accept"), sv_cstr("__Host-s=no")},
                          {sv_cstr("cookie"), sv_cstr(second ? second : "")}};
    http_request r = {.headers = list, .n_headers = second ? 3 : 2};
    return cookie_get(&r, "__Host-s", ret, err);
}

static void found(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"__Host-s=v", "v"},
        {"__Host-s=", ""},
        {"a=b; __Host-s=v", "v"},
        {"a=b;__Host-s=v;c=d", "v"},
        {"__Host-s=v ; c", "v"},
        {"a=\"x; __Host-s=v; y\"", "v"},
        {"\"=,; {}; ;;=; __Host-s=a=b==; \xff", "a=b=="},
        {"__host-s=no; __Host-s=v; x__Host-s=no; __Host-sx=no", "v"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_str v = {NULL, 0};
        if (get(cases[i][0], NULL, &v, NULL) != 1) fail_msg("%s", cases[i][0]);
        assert_true(sv_str_is(v, cases[i][1]));
    }
    sv_str v = {NULL, 0};
    assert_int_equal(get("a=b", "__Host-s=2", &v, NULL), 1);
    assert_true(sv_str_is(v, "2"));
}

static void absent(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "", ";", "=", "a", "__Host-", "__host-s=v", "a=__Host-s=v", "\"__Host-s=v\""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_str v = {"kept", 4};
        if (get(cases[i], NULL, &v, NULL) != 0) fail_msg("%s", cases[i]);
        assert_true(sv_str_is(v, "kept"));
    }
}

static void doubtful(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "__Host-s=v; __Host-s=v",
        "__Host-s=v; __Host-s",
        "__Host-s",
        "__Host-s =v",
        "__Host-s\t=v",
        "__Host-s= v",
        "__Host-s=a b",
        "__Host-s=\"v\"",
        "__Host-s=a,b",
        "__Host-s=a\\b",
        "__Host-s=\xe2\x82\xac",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_error err = {0};
        sv_str v = {"kept", 4};
        if (get(cases[i], NULL, &v, &err) != SV_E_HTTP_MALFORMED) fail_msg("%s", cases[i]);
        assert_non_null(strstr(err.message, "__Host-s"));
        assert_true(sv_str_is(v, "kept"));
    }
    sv_str v = {NULL, 0};
    assert_int_equal(get("__Host-s=1", "__Host-s=2", &v, NULL), SV_E_HTTP_MALFORMED);
    char *big = malloc(COOKIE_BYTES + 16);
    for (uint32_t more = 0; more < 2; more++) {
        strcpy(big, "__Host-s=");
        memset(big + 9, 'x', COOKIE_BYTES + more);
        big[9 + COOKIE_BYTES + more] = 0;
        assert_int_equal(get(big, NULL, &v, NULL), more ? SV_E_HTTP_MALFORMED : 1);
    }
    free(big);
}

static void set_cookies(void **state)
{
    (void)state;
    buf b;
    sv_error err = {0};
    buf_init(&b, 200);
    cookie c = {.name = "__Host-s", .value = sv_cstr("v"), .max_age_s = 60, .http_only = true};
    assert_int_equal(cookie_format(&c, &b, &err), 0);
    assert_true(sv_str_is(buf_str(&b),
                          "__Host-s=v; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"));
    buf_reset(&b, 0);
    c = (cookie){.name = "__Host-csrf", .value = sv_cstr("v")};
    assert_int_equal(cookie_format(&c, &b, &err), 0);
    assert_true(sv_str_is(buf_str(&b), "__Host-csrf=v; Path=/; Secure; SameSite=Strict"));
    buf_reset(&b, 0);
    c = (cookie){.name = "__Host-csrf", .max_age_s = 60, .http_only = true};
    assert_int_equal(cookie_format(&c, &b, &err), 0);
    assert_true(sv_str_is(buf_str(&b),
                          "__Host-csrf=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"));
    const cookie bad[] = {
        {.name = "s", .value = sv_cstr("v")},
        {.name = "__Secure-s", .value = sv_cstr("v")},
        {.name = "__Host-", .value = sv_cstr("v")},
        {.name = "__Host-a b", .value = sv_cstr("v")},
        {.name = "__Host-s", .value = sv_cstr("v; Domain=evil.example")},
        {.name = "__Host-s", .value = sv_cstr("v\r\nset-cookie: x=y")},
        {.name = "__Host-s", .value = sv_cstr("v"), .max_age_s = -1},
    };
    buf_reset(&b, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(cookie_format(&bad[i], &b, &err), SV_E_INVALID);
    assert_int_equal(b.n, 0);
    b.max = 20;
    c = (cookie){.name = "__Host-s", .value = sv_cstr("v")};
    assert_int_equal(cookie_format(&c, &b, &err), SV_E_TOO_LARGE);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found),
        cmocka_unit_test(absent),
        cmocka_unit_test(doubtful),
        cmocka_unit_test(set_cookies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
