/*  The route table: finding rows, Allow, and that every row says all that it has to. */
#include "error.h"
#include "routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int find(const char *method, const char *path, const route **r, route_match *tail)
{
    *r = NULL;
    return route_find(sv_cstr(method), sv_cstr(path), r, tail);
}

static void rows_are_found(void **state)
{
    (void)state;
    const route *r;
    route_match tail;
    assert_int_equal(find("POST", "/v1/chat/completions", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_CHAT]);
    assert_int_equal(find("HEAD", "/healthz", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_HEALTH]);
    assert_int_equal(find("GET", "/v1/models", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_MODELS]);
    assert_int_equal(find("GET", "/v1/models/openai/gpt-4o%3Afree", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_MODEL]);
    assert_int_equal(tail.n, 1);
    assert_true(sv_str_is(tail.name[0], "id"));
    assert_true(sv_str_is(tail.value[0], "openai/gpt-4o%3Afree"));
    assert_int_equal(find("PATCH", "/api/orgs/a/members/b", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_MEMBER_CHANGE]);
    assert_int_equal(tail.n, 2);
    assert_true(sv_str_is(tail.value[0], "a"));
    assert_true(sv_str_is(tail.value[1], "b"));
    assert_int_equal(find("GET", "/", &r, &tail), 0);
    assert_ptr_equal(r, &routes[ROUTE_ROOT]);
}

static void other_requests_are_not(void **state)
{
    (void)state;
    const route *r;
    route_match tail;
    assert_int_equal(find("GET", "/v1/chat/completions", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("HEAD", "/v1/chat/completions", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("post", "/v1/chat/completions", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("POST", "/", &r, &tail), SV_E_HTTP_METHOD);
    assert_int_equal(find("GET", "/v1/models/", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "/healthz/", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "/v1", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "//", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "/api/orgs//members", &r, &tail), SV_E_HTTP_NOT_FOUND);
    assert_int_equal(find("GET", "/api/orgs/a/members/", &r, &tail), SV_E_HTTP_NOT_FOUND);
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
    assert_string_equal(allow, "GET, HEAD, POST, PATCH, DELETE, OPTIONS");
    route_allow(sv_cstr("/api/orgs/x"), allow);
    assert_string_equal(allow, "GET, HEAD, PATCH, DELETE, OPTIONS");
    route_allow(sv_cstr("/nothing"), allow);
    assert_string_equal(allow, "");
}

static bool is_form(const char *path)
{
    return path[0] == '/' && strchr(path, ' ') == NULL;
}

/* What a path's {names} have to be of a handed-on request. */
static bool has_field(const sv_message *m, const char *name, size_t n)
{
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->fields[i].name) == n && memcmp(m->fields[i].name, name, n) == 0)
            return !(m->fields[i].rules & SV_EDGE);
    return false;
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUTES; i++) {
        const route *r = &routes[i];
        route_match m;
        const route *found;
        assert_non_null(r->handler);
        assert_true(is_form(r->path));
        assert_true(r->doc[0]);
        assert_true(r->who != WHO_ALL || r->scope == SCOPE_NONE);
        assert_true(r->who == WHO_ALL || r->scope != SCOPE_NONE);
        assert_true(r->class != CLASS_FREE || r->who == WHO_ALL || r->flags & ROUTE_VITAL);
        /* No row hides another one. */
        assert_int_equal(route_find(sv_cstr(r->method), sv_cstr(r->path), &found, &m), 0);
        assert_ptr_equal(found, r);
        for (uint32_t n = 0; r->target && n < m.n; n++)
            assert_true(has_field(r->request, m.name[n].p, m.name[n].n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found),
        cmocka_unit_test(other_requests_are_not),
        cmocka_unit_test(allow_names_the_methods),
        cmocka_unit_test(every_row_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
