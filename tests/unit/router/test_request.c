/*  Edits of the client's body: only the bytes that must change, wherever a caller claims they are.
 */
#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void edited(const char *text, request_edits e, const char *want)
{
    buf out;
    sv_str got;
    sv_error err = {0};
    size_t n = strlen(text);
    char *copy = malloc(n); /* exactly as long: overreads show */
    memcpy(copy, text, n);
    buf_init(&out, 65536);
    if (request_edit((sv_str){copy, (uint32_t)n}, &e, &out, &got, &err))
        fail_msg("%s", err.message);
    if (!sv_str_is(got, want)) fail_msg("%.*s", SV_FMT(got));
    buf_free(&out);
    free(copy);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    buf out;
    sv_str text = sv_cstr("{\"model\":\"m\"}"), got;
    request_edits e = {0};
    buf_init(&out, 100);
    assert_int_equal(request_edit(text, &e, &out, &got, NULL), 0);
    assert_ptr_equal(got.p, text.p);
    assert_null(out.p);
}

static void test_model(void **state)
{
    (void)state;
    const char *text = "{ \"x\":1.0e5, \"model\" : \"p/m\", \"model2\":\"p/m\"}";
    request_edits e = {.model = sv_cstr("a\"b"), .model_at = 23, .model_n = 5};
    edited(text, e, "{ \"x\":1.0e5, \"model\" : \"a\\\"b\", \"model2\":\"p/m\"}");
    /* claims that delimit no string are not believed */
    size_t wrong[][2] = {{0, 0},    {23, 5},       {23, 4},        {23, 6}, {1, 9}, {23, 1000},
                         {1000, 5}, {SIZE_MAX, 5}, {23, SIZE_MAX}, {3, 1},  {13, 7} /* a key */};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        e.model_at = wrong[i][0];
        e.model_n = wrong[i][1];
        edited(text, e, "{ \"x\":1.0e5, \"model\" : \"a\\\"b\", \"model2\":\"p/m\"}");
    }
    /* one that does is: the value is not looked for again */
    e.model_at = 39;
    e.model_n = 5;
    edited(text, e, "{ \"x\":1.0e5, \"model\" : \"p/m\", \"model2\":\"a\\\"b\"}");
    e.model_n = 0;
    edited("{\"model\":\"\\\"\\\\\"}", e, "{\"model\":\"a\\\"b\"}");
}

static void test_model_missing(void **state)
{
    (void)state;
    buf out;
    sv_str got;
    sv_error err = {0};
    request_edits e = {.model = sv_cstr("m")};
    buf_init(&out, 1000);
    assert_int_equal(request_edit(sv_cstr("{\"model\":7}"), &e, &out, &got, &err), SV_E_INVALID);
    assert_string_equal(err.field, "model");
    assert_int_equal(request_edit(sv_cstr("{}"), &e, &out, &got, NULL), SV_E_INVALID);
    buf_free(&out);
}

static void test_usage(void **state)
{
    (void)state;
    request_edits e = {.include_usage = true};
    edited("{\"stream\":true}", e, "{\"stream_options\":{\"include_usage\":true},\"stream\":true}");
    edited("{}", e, "{\"stream_options\":{\"include_usage\":true}}");
    edited("{\"stream_options\":null}", e, "{\"stream_options\":{\"include_usage\":true}}");
    edited("{\"stream_options\":{}}", e, "{\"stream_options\":{\"include_usage\":true}}");
    edited("{\"stream_options\":{\"include_usage\":false,\"x\":1}}", e,
           "{\"stream_options\":{\"include_usage\":true,\"x\":1}}");
    edited("{\"stream_options\":{\"include_obfuscation\":false}}", e,
           "{\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false}}");
    edited("{\"stream_options\":7}", e, "{\"stream_options\":7}");
    char huge[6000] = "{\"stream_options\":{\"a\":\"";
    memset(huge + strlen(huge), 'x', 5000);
    strcat(huge, "\"}}");
    edited(huge, e, huge);
}

static void test_both(void **state)
{
    (void)state;
    request_edits e = {.model = sv_cstr("m"), .include_usage = true};
    edited("{\"model\":\"p/m\",\"stream_options\":{}}", e,
           "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}");
    edited("{\"stream_options\":{},\"model\":\"p/m\"}", e,
           "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}");
    edited("{\"model\":\"p/m\"}", e,
           "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do), cmocka_unit_test(test_model),
        cmocka_unit_test(test_model_missing), cmocka_unit_test(test_usage),
        cmocka_unit_test(test_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
