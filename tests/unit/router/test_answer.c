/*  Reading chunks, usage, errors and Retry-After, and writing error objects. */
#include "answer.h"
#include "openai.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static chunk of(const char *json)
{
    return answer_chunk(sv_cstr(json));
}

static void test_chunks(void **state)
{
    (void)state;
    chunk c =
        of("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}");
    assert_true(c.object);
    assert_false(c.finished || c.no_choices);
    assert_int_equal(c.usage.type, JSON_NONE);
    c = of("{\"choices\":[{\"finish_reason\":null},{\"delta\":{},\"finish_reason\":\"stop\"}],"
           "\"usage\":null}");
    assert_true(c.finished);
    assert_int_equal(c.usage.type, JSON_NONE);
    assert_false(of("{\"choices\":[{\"delta\":{},\"finish_reason\":\"\"}]}").finished);
    c = of(" {\"choices\": [ ], \"usage\": {\"prompt_tokens\": 1}} ");
    assert_true(c.object && c.no_choices);
    assert_int_equal(c.usage.type, JSON_OBJECT);
    c = of("{\"choices\":[],\"prompt_filter_results\":[]}");
    assert_true(c.no_choices);
    assert_int_equal(c.usage.type, JSON_NONE);
    c = of("{\"x_groq\":{\"usage\":{\"prompt_tokens\":3}},\"choices\":[{\"finish_reason\":\"stop\"}"
           "]}");
    assert_int_equal(c.usage.type, JSON_OBJECT);
    c = of("{\"error\":{\"message\":\"x\"}}");
    assert_int_equal(c.error.type, JSON_OBJECT);
    assert_int_equal(of("{\"error\":\"x\"}").error.type, JSON_STRING);
    assert_int_equal(of("{\"error\":null}").error.type, JSON_NONE);
    assert_int_equal(of("{\"error\":false}").error.type, JSON_NONE);
    /* "finish_reason" inside a delta is text */
    assert_false(of("{\"choices\":[{\"delta\":{\"finish_reason\":\"stop\"}}]}").finished);
}

static void test_garbage(void **state)
{
    (void)state;
    const char *bad[] = {"",   "x", "[1]",     "\"a\"",          "null",
                         "12", "{", "{\"a\":", "{\"choices\":[", "}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (of(bad[i]).object) fail_msg("%s counts as an object", bad[i]);
    /* never more than memory-safe */
    of("{\"choices\":[{]}");
    of("{\"choices\":{\"a\":[}}");
    of("{\"usage\"}");
    of("{]}");
}

static tokens tokens_of(const char *json)
{
    tokens t = {0};
    openai_tokens(answer_whole(sv_cstr(json)).usage, &t);
    return t;
}

static void test_tokens(void **state)
{
    (void)state;
    tokens t =
        tokens_of("{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7,\"total_tokens\":17,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":4},"
                  "\"completion_tokens_details\":{\"reasoning_tokens\":5}}}");
    assert_true(t.known);
    assert_int_equal(t.prompt, 10);
    assert_int_equal(t.completion, 7);
    assert_int_equal(t.cached, 4);
    assert_int_equal(t.reasoning, 5);
    t = tokens_of("{\"usage\":{\"prompt_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":9},"
                  "\"completion_tokens\":-1,\"completion_tokens_details\":null}}");
    assert_int_equal(t.cached, 3); /* cached lies inside prompt */
    assert_int_equal(t.completion, 0);
    t = tokens_of("{\"usage\":{\"prompt_tokens\":1e3,\"completion_tokens\":99999999999999999999}}");
    assert_int_equal(t.prompt + t.completion, 0);
    t = tokens_of("{\"usage\":{\"prompt_tokens\":9,\"prompt_cache_hit_tokens\":7}}");
    assert_int_equal(t.cached, 7);
    /* as images and transcriptions count */
    t = tokens_of("{\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":45}}");
    assert_true(t.known && t.prompt == 14 && t.completion == 45);
    assert_false(tokens_of("{\"usage\":{\"type\":\"duration\",\"seconds\":3}}").known);
    assert_false(tokens_of("{\"usage\":null}").known);
    assert_false(tokens_of("{}").known);
    assert_false(tokens_of("[]").known);
}

static void test_error_status(void **state)
{
    (void)state;
    assert_int_equal(answer_error_status(of("{\"error\":{\"code\":429}}").error), 429);
    assert_int_equal(answer_error_status(of("{\"error\":{\"code\":\"x\"}}").error), 0);
    assert_int_equal(answer_error_status(of("{\"error\":{\"code\":200}}").error), 0);
    assert_int_equal(answer_error_status(of("{\"error\":\"x\"}").error), 0);
}

static void test_put_error(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 4096);
    assert_int_equal(answer_put_error(&b, "a \"b\"\n", "server_error", "provider.cut"), 0);
    buf_putc(&b, 0);
    assert_string_equal(b.p, "{\"error\":{\"message\":\"a \\\"b\\\"\\n\",\"type\":\"server_error\","
                             "\"param\":null,\"code\":\"provider.cut\"}}");
    buf_free(&b);
}

static void test_retry_after(void **state)
{
    (void)state;
    uint64_t now_us = 1445412470ull * 1000000; /* ten seconds before the date below */
    assert_int_equal(answer_retry_after_ms(sv_cstr("7"), 0), 7000);
    assert_int_equal(answer_retry_after_ms(sv_cstr("0"), 0), 0);
    assert_int_equal(answer_pause_ms(sv_cstr("5"), sv_cstr("7"), 0), 5);
    assert_int_equal(answer_pause_ms(sv_cstr(""), sv_cstr("7"), 0), 7000);
    assert_int_equal(answer_pause_ms(sv_cstr("1.5"), sv_cstr("7"), 0), 7000);
    assert_int_equal(answer_pause_ms(sv_cstr("99999999999999"), sv_cstr("7"), 0), 7000);
    assert_int_equal(answer_retry_after_ms(sv_cstr("99999"), 0), 3600000);
    assert_int_equal(answer_retry_after_ms(sv_cstr("99999999999999999999"), 0), 3600000);
    assert_int_equal(answer_retry_after_ms(sv_cstr("Wed, 21 Oct 2015 07:28:00 GMT"), now_us),
                     10000);
    assert_int_equal(answer_retry_after_ms(sv_cstr("Wed, 21 Oct 2015 07:28:00 GMT"), now_us * 2),
                     0);
    const char *nothing[] = {"", "-1", "1.5", "soon", "7 ", "Wed, 21 Oct 2015 07:28:00 CET"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        assert_int_equal(answer_retry_after_ms(sv_cstr(nothing[i]), now_us), 0);
}

static void test_types(void **state)
{
    (void)state;
    assert_true(answer_type_is(sv_cstr("text/event-stream"), "text/event-stream"));
    assert_true(answer_type_is(sv_cstr("Text/Event-Stream; charset=utf-8"), "text/event-stream"));
    assert_false(answer_type_is(sv_cstr("text/event-streams"), "text/event-stream"));
    assert_false(answer_type_is(sv_cstr("text/html"), "text/event-stream"));
    assert_false(answer_type_is(sv_cstr(""), "text/event-stream"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),    cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_tokens),    cmocka_unit_test(test_error_status),
        cmocka_unit_test(test_put_error), cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
