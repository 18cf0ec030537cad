/*  The route table: finding rows, Allow, and that docs/http.md lists exactly what the table says.
 */
#include "error.h"
#include "routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static int find(const char *method, const char *path, const route **r, sv_str *tail)
{
    *r = NULL;
    return route_find(sv_cstr(method), sv_cstr(path), r, tail);
}

static void rows_are_found(void **state)
{
    (void)state;
    const route *r;
    sv_str tail;
    assert_int_equal(find("POST", "/v1/chat/completions", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_CHAT]);
    assert_int_equal(find("HEAD", "/healthz", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_HEALTH]);
    assert_int_equal(find("GET", "/v1/models", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_MODELS]);
    assert_int_equal(find("GET", "/v1/models/openai/gpt-4o%3Afree", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_MODEL]);
    assert_true(sv_str_is(tail, "openai/gpt-4o%3Afree"));
    assert_int_equal(find("GET", "/", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_ROOT]);
}

static void other_requests_are_not(void **state)
{
    (void)state;
    const route *r;
    sv_str tail;
    assert_int_equal(find("GET", "/v1/chat/completions", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("HEAD", "/v1/chat/completions", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("post", "/v1/chat/completions", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("POST", "/", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("GET", "/v1/models/", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "/healthz/", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "/v1", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "//", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "*", &r, &tail), SV_E_HTTP_NOT_FOUND);
}

static void allow_names_the_methods(void **state)
{
    (void)state;
    char allow[ALLOW_BYTES];
    route_allow(sv_cstr("/v1/chat/completions"), allow);
    assert_string_equal(allow, "POST, OPTIONS");
    route_allow(sv_cstr("/v1/models/x"), allow);
    assert_string_equal(allow, "GET, HEAD, OPTIONS");
    route_allow(sv_cstr("*"), allow);
    assert_string_equal(allow, "GET, HEAD, POST, OPTIONS");
    route_allow(sv_cstr("/nothing"), allow);
    assert_string_equal(allow, "");
}

static char *read_page(void)
{
    static char text[65536];
    FILE *f = fopen(TESTS_DIR "/../docs/http.md", "re");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

static void the_page_lists_the_table(void **state)
{
    (void)state;
    const char *page = read_page();
    size_t rows = 0;
    for (size_t i = 0; i < ROUTES; i++) {
        const route *r = &routes[i];
        char line[512];
        snprintf(line, sizeof line, "\n| %s | `%s` | %s | %s | %s |\n", r->method, r->path,
                 r->takes, r->gives, r->doc);
        if (strstr(page, line) == NULL) fail_msg("docs/http.md lacks the line: %s", line + 1);
    }
    for (const char *at = page; (at = strstr(at, "\n| GET |")) != NULL; at++)
        rows++;
    for (const char *at = page; (at = strstr(at, "\n| POST |")) != NULL; at++)
        rows++;
    assert_int_equal(rows, ROUTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found),
        cmocka_unit_test(other_requests_are_not),
        cmocka_unit_test(allow_names_the_methods),
        cmocka_unit_test(the_page_lists_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
