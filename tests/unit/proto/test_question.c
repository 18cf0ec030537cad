/*  test_question.c - which words of a request are its question, and which requests share a bucket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache_key.h"
#include "question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAYS(role, content) "{\"role\":\"" role "\",\"content\":" content "}"
#define CHAT(messages)      "{\"messages\":[" messages "]}"

static void is(const char *endpoint, const char *body, const char *want)
{
    json_value v;
    bool found = question_find(sv_cstr(endpoint), sv_cstr(body), &v);
    if (found != (want != NULL)) fail_msg("%s: %s", body, found ? "has one" : "has none");
    if (!want) return;
    assert_int_equal(v.raw.n, strlen(want));
    assert_memory_equal(v.raw.p, want, v.raw.n);
}

static void what_is_asked(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"", "chat", "messages", "ollama"};
    for (size_t i = 0; i < 4; i++) {
        is(endpoints[i], CHAT(SAYS("user", "\"hi\"")), "\"hi\"");
        is(endpoints[i],
           CHAT(SAYS("system", "\"s\"") "," SAYS("user", "\"a\"") "," SAYS(
               "assistant", "\"b\"") "," SAYS("user",
                                              "[{\"type\":\"text\",\"text\":\"c \\u00e9\"}]")),
           "\"c \\u00e9\"");
    }
    is("responses", "{\"input\":\"hi\"}", "\"hi\"");
    is("responses",
       "{\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
       "\"text\":\"hi\"}]}]}",
       "\"hi\"");
    is("chat", "{\"tools\":[],\"tool_choice\":null,\"messages\":[" SAYS("user", "\"hi\"") "]}",
       "\"hi\"");
}

static void what_is_not(void **state)
{
    (void)state;
    static const char *const none[] = {
        "[]",
        "{}",
        "{\"messages\":1}",
        CHAT(""),
        CHAT("1"),
        CHAT(SAYS("user", "\"\"")),
        CHAT(SAYS("user", "7")),
        CHAT(SAYS("user", "[]")),
        CHAT("{\"content\":\"hi\"}"),
        CHAT(SAYS("system", "\"hi\"")),
        CHAT(SAYS("user", "\"hi\"") "," SAYS("assistant", "\"begin\"")),
        CHAT(SAYS("user",
                  "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]")),
        CHAT(SAYS("user", "[{\"type\":\"image_url\",\"image_url\":{}},{\"type\":\"text\",\"text\":"
                          "\"a\"}]")),
        CHAT(SAYS("user", "[{\"type\":\"image\",\"source\":{}}]") "," SAYS("user",
                                                                           "\"what is it\"")),
        CHAT(SAYS("user", "\"a\"") ",{\"role\":\"assistant\",\"content\":\"b\",\"tool_calls\":[{}]}"
                                   "," SAYS("user", "\"c\"")),
        CHAT(SAYS("tool", "\"a\"") "," SAYS("user", "\"c\"")),
        CHAT("{\"role\":\"user\",\"content\":\"what is it\",\"images\":[\"AAAA\"]}"),
        "{\"tools\":[{}],\"messages\":[" SAYS("user", "\"hi\"") "]}",
        "{\"functions\":[{}],\"messages\":[" SAYS("user", "\"hi\"") "]}",
        "{\"previous_response_id\":\"r\",\"messages\":[" SAYS("user", "\"hi\"") "]}",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        is("chat", none[i], NULL);
    static const char *const endpoints[] = {"completions", "embeddings",   "moderations",
                                            "images",      "count_tokens", "responses"};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        is(endpoints[i], CHAT(SAYS("user", "\"hi\"")), NULL);
    is("responses", "{\"input\":[{\"type\":\"function_call_output\",\"output\":\"x\"}]}", NULL);
    static char text[QUESTION_BYTES + 100];
    for (int n = QUESTION_BYTES - 2; n < QUESTION_BYTES; n++) {
        sprintf(text, "{\"input\":\"%0*d\"}", n, 0);
        json_value v;
        bool fits = n + 2 <= QUESTION_BYTES;
        assert_int_equal(question_find(sv_cstr("responses"), sv_cstr(text), &v), fits);
    }
}

typedef struct asked {
    const char *org, *user, *model, *generation, *body;
    bool own, stream;
} asked;

static void bucket(const asked *a, char ret[CACHE_KEY + 1])
{
    cache_scope scope = {.org = sv_cstr(a->org), .user = sv_cstr(a->user), .own = a->own};
    router_complete_req q = {.model = sv_cstr(a->model), .stream = a->stream};
    json_value v;
    assert_true(question_find(q.endpoint, sv_cstr(a->body), &v));
    assert_int_equal(cache_bucket(&scope, &q, sv_cstr(a->body), v, sv_cstr(a->generation), ret), 0);
    char key[CACHE_KEY + 1];
    assert_int_equal(cache_key(&scope, &q, sv_cstr(a->body), sv_cstr(a->generation), key), 0);
    assert_string_not_equal(key, ret);
}

static const asked plain = {
    "o1", "u1", "m", "g", CHAT(SAYS("system", "\"s\"") "," SAYS("user", "\"hi\"")), false, false};

static void same(asked a)
{
    char one[CACHE_KEY + 1], two[CACHE_KEY + 1];
    bucket(&plain, one);
    bucket(&a, two);
    assert_string_equal(one, two);
}

static void other(asked a)
{
    char one[CACHE_KEY + 1], two[CACHE_KEY + 1];
    bucket(&plain, one);
    bucket(&a, two);
    assert_string_not_equal(one, two);
}

static void who_shares_a_bucket(void **state)
{
    (void)state;
    asked a = plain;
    same(a);
    a.body = CHAT(SAYS("system", "\"s\"") "," SAYS("user", "\"something else\""));
    same(a);
    a.body = CHAT("{\"content\": \"s\", \"role\":\"system\"}," SAYS("user", "\"h\""));
    same(a);
    a.user = "u2";
    same(a);
    a.own = true;
    other(a);
    a = plain;
    a.org = "o2";
    other(a);
    a = plain;
    a.model = "m2";
    other(a);
    a = plain;
    a.generation = "g2";
    other(a);
    a = plain;
    a.stream = true;
    other(a);
    static const char *const bodies[] = {
        CHAT(SAYS("system", "\"t\"") "," SAYS("user", "\"hi\"")),
        CHAT(SAYS("user", "\"hi\"")),
        CHAT(SAYS("system", "\"s\"") "," SAYS("user", "\"a\"") "," SAYS("user", "\"hi\"")),
        "{\"temperature\":1,\"messages\":[" SAYS("system", "\"s\"") "," SAYS("user", "\"hi\"") "]}",
        "{\"new\":1,\"messages\":[" SAYS("system", "\"s\"") "," SAYS("user", "\"hi\"") "]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        a = plain;
        a.body = bodies[i];
        other(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked),
        cmocka_unit_test(what_is_not),
        cmocka_unit_test(who_shares_a_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
