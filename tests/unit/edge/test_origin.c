/*  Names, pages and the cookie: who may send what from where. */
#include "error.h"
#include "origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *const listed[] = {"https://app.example.org"};

static const origin_rules local = {.loopback = true};
static const origin_rules named = {
    .own = "https://ai.example.org", .host = "ai.example.org", .cors = listed, .n_cors = 1};

typedef struct asked {
    http_header headers[4];
    http_request r;
} asked;

static const http_request *ask(asked *a, const char *method, const char *host, const char *origin,
                               const char *csrf)
{
    *a = (asked){.r = {.method = sv_cstr(method), .host = sv_cstr(host), .headers = a->headers}};
    if (origin) a->headers[a->r.n_headers++] = (http_header){sv_cstr("origin"), sv_cstr(origin)};
    if (csrf)
        a->headers[a->r.n_headers++] = (http_header){sv_cstr("x-samovar-csrf"), sv_cstr(csrf)};
    return &a->r;
}

static void hosts(void **state)
{
    (void)state;
    assert_int_equal(origin_check_host(&local, sv_cstr("localhost:7420"), NULL), 0);
    assert_int_equal(origin_check_host(&local, sv_cstr("127.0.0.1"), NULL), 0);
    assert_int_equal(origin_check_host(&local, sv_cstr("evil.example"), NULL), SV_E_HTTP_HOST);
    assert_int_equal(origin_check_host(&named, sv_cstr("AI.example.org"), NULL), 0);
    assert_int_equal(origin_check_host(&named, sv_cstr("localhost"), NULL), SV_E_HTTP_HOST);
    assert_int_equal(origin_check_host(&named, sv_cstr("ai.example.org.evil"), NULL),
                     SV_E_HTTP_HOST);
    assert_int_equal(origin_check_host(&named, sv_cstr("ai.example.org:444"), NULL),
                     SV_E_HTTP_HOST);
}

static void pages(void **state)
{
    (void)state;
    asked a;
    const char *here = "localhost:7420", *own = "ai.example.org";
    assert_int_equal(origin_check(&local, ask(&a, "POST", here, NULL, NULL), NULL), 0);
    assert_int_equal(
        origin_check(&local, ask(&a, "POST", here, "http://localhost:7420", NULL), NULL), 0);
    assert_int_equal(origin_check(&local, ask(&a, "POST", here, "http://localhost:1", NULL), NULL),
                     SV_E_DENIED);
    assert_int_equal(origin_check(&local, ask(&a, "POST", here, "null", NULL), NULL), SV_E_DENIED);
    assert_int_equal(origin_check(&local, ask(&a, "GET", here, "https://x.y", NULL), NULL), 0);
    assert_int_equal(origin_check(&named, ask(&a, "DELETE", own, "https://x.y", NULL), NULL),
                     SV_E_DENIED);
    assert_int_equal(
        origin_check(&named, ask(&a, "DELETE", own, "https://ai.example.org", NULL), NULL), 0);
    assert_int_equal(
        origin_check(&named, ask(&a, "PATCH", own, "https://app.example.org", NULL), NULL), 0);
    assert_int_equal(
        origin_check(&named, ask(&a, "PATCH", own, "https://app.example.org.evil", NULL), NULL),
        SV_E_DENIED);
    assert_ptr_equal(origin_listed(&named, sv_cstr("https://app.example.org")), listed[0]);
    assert_null(origin_listed(&named, sv_cstr("http://app.example.org")));
}

static void cookies(void **state)
{
    (void)state;
    asked a;
    const char *own = "ai.example.org", *good = "https://ai.example.org";
    assert_int_equal(origin_check_cookie(&named, ask(&a, "POST", own, good, "1"), NULL), 0);
    assert_int_equal(origin_check_cookie(&named, ask(&a, "POST", own, good, NULL), NULL),
                     SV_E_CSRF);
    assert_int_equal(origin_check_cookie(&named, ask(&a, "POST", own, NULL, "1"), NULL), SV_E_CSRF);
    assert_int_equal(
        origin_check_cookie(&named, ask(&a, "POST", own, "https://app.example.org", "1"), NULL),
        SV_E_CSRF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(pages),
        cmocka_unit_test(cookies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
