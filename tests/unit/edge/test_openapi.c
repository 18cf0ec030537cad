/*  The description of the API, read by a JSON reader that is not ours: well formed, without a key
 *  twice, every reference led somewhere, every described row of the table there. */
#include "api.h"
#include "error.h"
#include "openapi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <jansson.h>

static json_t *document;

static int build(void **state)
{
    (void)state;
    buf out;
    json_error_t err;
    buf_init(&out, 4 << 20);
    assert_int_equal(openapi_build(&out), 0);
    document = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, &err);
    if (document == NULL) fail_msg("%s at %d", err.text, err.position);
    buf_free(&out);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    json_decref(document);
    return 0;
}

/* "#/components/schemas/x" */
static json_t *lead(const char *reference)
{
    char name[200];
    json_t *at = document;
    assert_int_equal(strncmp(reference, "#/", 2), 0);
    for (const char *p = reference + 2; at && *p;) {
        size_t n = strcspn(p, "/");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        at = json_object_get(at, name);
        p += n + (p[n] == '/');
    }
    return at;
}

static size_t follow(json_t *at)
{
    const char *key;
    json_t *value;
    size_t i, n = 0;
    json_object_foreach(at, key, value)
    {
        if (strcmp(key, "$ref") == 0 && json_is_string(value)) {
            n++;
            if (lead(json_string_value(value)) == NULL) fail_msg("%s", json_string_value(value));
        }
        n += follow(value);
    }
    json_array_foreach(at, i, value) n += follow(value);
    return n;
}

static void every_reference_leads_somewhere(void **state)
{
    (void)state;
    assert_true(follow(document) > 200);
}

static json_t *operation(const route *r)
{
    char path[120], method[8];
    snprintf(path, sizeof path, "%s", r->path);
    char *rest = strstr(path, "...}");
    if (rest) memcpy(rest, "}", 2);
    for (size_t i = 0; i <= strlen(r->method); i++)
        method[i] = (char)(r->method[i] | (r->method[i] ? 32 : 0));
    return json_object_get(json_object_get(json_object_get(document, "paths"), path), method);
}

static void every_row_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUTES; i++) {
        bool want = routes[i].handler != api_static && !(routes[i].flags & ROUTE_UNBUILT);
        json_t *o = operation(&routes[i]);
        if ((o != NULL) != want) fail_msg("%s %s", routes[i].method, routes[i].path);
        if (o == NULL) continue;
        assert_string_equal(json_string_value(json_object_get(o, "operationId")), routes[i].id);
        bool open = json_array_size(json_object_get(o, "security")) == 0;
        if (open && routes[i].who != WHO_ALL) fail_msg("%s looks public", routes[i].id);
        json_t *answers = json_object_get(o, "responses");
        bool limited = routes[i].class != CLASS_FREE;
        if ((json_object_get(answers, "429") != NULL) != limited) fail_msg("%s", routes[i].id);
    }
}

/* The schema of the body of a request, or the list of its parameters' names. */
static bool asks_for(json_t *o, const char *field)
{
    size_t i;
    json_t *p, *at = json_object_get(json_object_get(o, "requestBody"), "content");
    at = json_object_get(json_object_get(at, "application/json"), "schema");
    if (json_object_get(json_object_get(at, "properties"), field)) return true;
    json_array_foreach(json_object_get(o, "parameters"), i, p)
    {
        if (strcmp(json_string_value(json_object_get(p, "name")), field) == 0) return true;
    }
    return false;
}

static void fields_are_those_of_the_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUTES; i++) {
        const route *r = &routes[i];
        if (r->target == NULL) continue;
        for (size_t f = 0; f < r->request->n; f++) {
            const sv_field *field = &r->request->fields[f];
            bool want = !(field->rules & SV_EDGE);
            if (asks_for(operation(r), field->name) != want) fail_msg("%s: %s", r->id, field->name);
        }
    }
}

static void answers_leave_out_what_is_the_edges(void **state)
{
    (void)state;
    json_t *login = json_object_get(lead("#/components/schemas/auth_login_reply"), "properties");
    assert_non_null(json_object_get(login, "access_token"));
    assert_null(json_object_get(login, "claims"));
    assert_null(lead("#/components/schemas/auth_claims"));
}

static void too_little_room_is_an_error(void **state)
{
    (void)state;
    buf out;
    for (size_t room = 1; room < 100000; room = room * 3 + 1) {
        buf_init(&out, room);
        assert_int_equal(openapi_build(&out), SV_E_TOO_LARGE);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reference_leads_somewhere),
        cmocka_unit_test(every_row_is_there),
        cmocka_unit_test(fields_are_those_of_the_messages),
        cmocka_unit_test(answers_leave_out_what_is_the_edges),
        cmocka_unit_test(too_little_room_is_an_error),
    };
    return cmocka_run_group_tests(tests, build, drop);
}
