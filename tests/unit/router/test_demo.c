/*  The built-in model: well-formed JSON in both forms, whatever the question holds. */
/* The judge of our own writer; its names stay apart from ours. */
#define json_type   jansson_type
#define json_string jansson_string
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_TRUE   JANSSON_TRUE
#define JSON_FALSE  JANSSON_FALSE
#define JSON_NULL   JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef json_string
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "fake_bus.h"
#include "relay_kit.h"

#include <stdio.h>

static int setup(void **state)
{
    (void)state;
    relay_start("  aliases:\n"
                "    - {name: tea, models: [demo]}\n"
                "    - {name: mix, models: [other, demo]}\n",
                NULL);
    r.demo = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    relay_stop();
    return 0;
}

static const char question[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

static const char *asked = "demo";

static sv_call *ask(const char *json, bool stream, bool usage)
{
    router_complete_req q = {.model = sv_cstr(asked), .stream = stream, .include_usage = usage};
    sv_call *c = fake_call(&process, "edge", json, stream);
    int rc = router_complete(c, &q);
    if (rc != SV_PENDING) {
        assert_int_equal(rc, 0);
        return c;
    }
    uint64_t until_us = clock_us() + 5000000;
    while (!c->answers) {
        if (clock_us() > until_us) fail_msg("no end");
        loop_turn(l, 50);
    }
    return c;
}

static json_t *parse(const char *p, size_t n)
{
    json_error_t e;
    json_t *j = json_loadb(p, n, JSON_REJECT_DUPLICATES, &e);
    if (j == NULL) fail_msg("%s in %.*s", e.text, (int)n, p);
    return j;
}

static const char *content_of(json_t *plain)
{
    json_t *first = json_array_get(json_object_get(plain, "choices"), 0);
    return json_string_value(json_object_get(json_object_get(first, "message"), "content"));
}

static json_int_t usage_of(json_t *j, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(j, "usage"), key));
}

static json_t *plain(const char *json)
{
    sv_call *c = ask(json, false, false);
    json_t *j = parse(c->attached.p, c->attached.n);
    assert_string_equal(json_string_value(json_object_get(j, "object")), "chat.completion");
    assert_true(usage_of(j, "total_tokens") ==
                usage_of(j, "prompt_tokens") + usage_of(j, "completion_tokens"));
    fake_call_free(c);
    return j;
}

static void test_plain(void **state)
{
    (void)state;
    json_t *j = plain(
        "{\"model\":\"demo\",\"messages\":[{\"role\":\"system\",\"content\":\"be nice\"},"
        "{\"role\":\"user\",\"content\":\"first\"},{\"role\":\"assistant\",\"content\":\"x\"},"
        "{\"role\":\"user\",\"content\":\"hello there\"}]}");
    assert_non_null(strstr(content_of(j), "no AI"));
    assert_non_null(strstr(content_of(j), "edge/3"));
    assert_non_null(strstr(content_of(j), "router/1"));
    assert_non_null(strstr(content_of(j), "\"hello there\""));
    assert_null(strstr(content_of(j), "first"));
    assert_true(usage_of(j, "prompt_tokens") > 6);
    json_decref(j);
}

/* Joins the deltas of a stream and checks its form. */
static size_t joined(const buf *stream, bool usage, char *text, size_t size)
{
    size_t chunks = 0, used = 0;
    const char *p = stream->p, *end = stream->p + stream->n;
    bool finished = false, done = false, counted = false;
    text[0] = 0;
    while (p < end) {
        const char *stop = memmem(p, (size_t)(end - p), "\n\n", 2);
        assert_non_null(stop);
        assert_memory_equal(p, "data: ", 6);
        assert_false(done);
        p += 6;
        if (stop - p == 6 && memcmp(p, "[DONE]", 6) == 0) {
            done = true;
        } else {
            json_t *j = parse(p, (size_t)(stop - p));
            json_t *first = json_array_get(json_object_get(j, "choices"), 0);
            json_t *delta = json_object_get(first, "delta");
            const char *word = json_string_value(json_object_get(delta, "content"));
            assert_string_equal(json_string_value(json_object_get(j, "object")),
                                "chat.completion.chunk");
            assert_int_equal(json_object_get(j, "usage") != NULL, usage);
            if (chunks++ == 0)
                assert_string_equal(json_string_value(json_object_get(delta, "role")), "assistant");
            if (word) used += (size_t)snprintf(text + used, size - used, "%s", word);
            if (first == NULL) {
                counted = true;
                assert_true(finished && usage_of(j, "completion_tokens") > 10);
            }
            finished = finished || json_string_value(json_object_get(first, "finish_reason"));
            json_decref(j);
        }
        p = stop + 2;
    }
    assert_true(finished && done);
    assert_int_equal(counted, usage);
    return chunks;
}

static void test_stream(void **state)
{
    (void)state;
    static const char json[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"again\"}]}";
    char text[8192], other[8192];
    for (int delay = 0; delay < 2; delay++) {
        r.demo_delay_ms = (uint32_t)delay;
        sv_call *c = ask(json, true, delay == 1);
        assert_true(joined(&c->stream, delay == 1, delay ? other : text, sizeof text) > 40);
        router_complete_end e;
        assert_int_equal(message_decode(&router_complete_end_msg, buf_str(&c->end), MESSAGE_STRICT,
                                        &c->arena, &e, NULL),
                         0);
        assert_true(e.usage_known && e.completion_tokens > 10);
        fake_call_free(c);
    }
    assert_string_equal(text, other);
    json_t *j = plain(json);
    assert_string_equal(content_of(j), text);
    json_decref(j);
}

static void test_hostile_questions(void **state)
{
    (void)state;
    static const char parts[] =
        "[{\"type\":\"text\",\"text\":\"part "
        "one\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\"}},"
        "{\"type\":\"text\",\"text\":\"two\"}]";
    char text[8192];
    const char *contents[] = {"\"\"",
                              "\"quote \\\" backslash \\\\ end\"",
                              "\"line\\nbreak\\ttab \\u0001\\u001f\\u007f\"",
                              "\"\\ud83d\\ude00 \xe2\x82\xac \xf0\x9f\x98\x80\"",
                              "\"}]}\\ndata: [DONE]\\n\\n\"",
                              parts,
                              "\"\xe2\x80\xa8\""};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        char json[1024];
        snprintf(json, sizeof json, "{\"messages\":[{\"role\":\"user\",\"content\":%s}]}",
                 contents[i]);
        json_t *j = plain(json);
        assert_non_null(content_of(j));
        sv_call *c = ask(json, true, true);
        joined(&c->stream, true, text, sizeof text);
        assert_string_equal(content_of(j), text);
        if (i == 5) assert_non_null(strstr(text, "\"part one"));
        fake_call_free(c);
        json_decref(j);
    }
    const char *bodies[] = {"{}", "{\"messages\":7}", "{\"messages\":[7,[],{}]}",
                            "{\"messages\":[{\"role\":\"user\",\"content\":7}]}"};
    router_complete_req q = {.model = sv_cstr("demo")};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        sv_call *c = fake_call(&process, "edge", bodies[i], false);
        assert_true(router_complete(c, &q) < 0 && c->error.code < 0);
        assert_memory_equal(c->error.field, "messages", 8);
        fake_call_free(c);
    }
}

static void test_long_question(void **state)
{
    (void)state;
    size_t n = 1 << 20;
    char *json = malloc(n + 200), *p = json;
    p += sprintf(p, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < n / 4; i++)
        p = stpcpy(p, "\xf0\x9f\x98\x80");
    strcpy(p, "\"}]}");
    json_t *j = plain(json);
    const char *quote = strstr(content_of(j), "You wrote: \"");
    assert_non_null(quote);
    quote += 12;
    for (int i = 0; i < 200; i++)
        assert_memory_equal(quote + i * 4, "\xf0\x9f\x98\x80", 4);
    assert_memory_equal(quote + 800, "...\"", 4);
    json_decref(j);
    free(json);
}

static void test_cancel(void **state)
{
    (void)state;
    router_complete_req q = {.model = sv_cstr("demo"), .stream = true};
    sv_call *c = fake_call(&process, "edge", question, true);
    r.demo_delay_ms = 5;
    assert_int_equal(router_complete(c, &q), SV_PENDING);
    while (c->writes < 2)
        loop_turn(l, 50);
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    loop_turn(l, 20);
    fake_call_free(c);
}

/* An alias whose first model it is. */
static void test_alias(void **state)
{
    (void)state;
    router_complete_req q = {.model = sv_cstr("mix")};
    sv_call *c = fake_call(&process, "edge", question, false);
    assert_int_equal(router_complete(c, &q), SV_E_MODEL_UNKNOWN);
    fake_call_free(c);
    asked = "tea";
    json_decref(plain(question));
    asked = "demo";
}

static void test_slow_reader(void **state)
{
    (void)state;
    router_complete_req q = {.model = sv_cstr("demo"), .stream = true};
    sv_call *c = fake_call(&process, "edge", question, true);
    c->window_shut = true;
    c->pending = 1 << 17;
    assert_int_equal(router_complete(c, &q), SV_PENDING);
    for (int i = 0; i < 5; i++)
        loop_turn(l, 15);
    assert_int_equal(c->writes, 0);
    fake_drain(c);
    while (!c->answers)
        loop_turn(l, 50);
    assert_int_equal(c->code, 0);
    fake_call_free(c);
}

#define WITH_LOOP(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_plain),         WITH_LOOP(test_stream), WITH_LOOP(test_hostile_questions),
        WITH_LOOP(test_long_question), WITH_LOOP(test_cancel), WITH_LOOP(test_alias),
        WITH_LOOP(test_slow_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
