/*  test_calls.c - which tool calls of an answer are wrong. */
#include "calls.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static llm_tool tools[] = {{.name = {"look", 4}}, {.name = {"find", 4}}};
static const llm_request request = {.tools = tools, .n_tools = 2};

static bool bad(const char *const *chunks)
{
    calls c = {.n = 0};
    for (; *chunks; chunks++)
        calls_openai(&c, &request, sv_cstr(*chunks));
    bool ret = calls_bad(&c);
    calls_free(&c);
    return ret;
}

#define BAD(...) bad((const char *const[]){__VA_ARGS__, NULL})
#define CALL(name, arguments)                                                                      \
    "{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"" name                  \
    "\",\"arguments\":\"" arguments "\"}}]}}]}"
#define PIECE(at, more)                                                                            \
    "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":" at ",\"function\":{" more  \
    "}}]}}]}"

static void test_whole(void **state)
{
    (void)state;
    assert_false(BAD(CALL("look", "{\\\"a\\\":\\\"\\u00e9\\\"}")));
    assert_false(BAD(CALL("find", "")));
    assert_true(BAD(CALL("other", "{}")));
    assert_true(BAD(CALL("look", "{\\\"a\\\":")));
    assert_true(BAD(CALL("look", "[]")));
    assert_true(BAD(CALL("look", "text")));
    assert_true(BAD("{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"look\","
                    "\"arguments\":{}}}]}}]}"));
    assert_false(BAD("{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}"));
    assert_false(
        BAD("nonsense", "{\"choices\":7}", "{\"choices\":[1,{\"delta\":{\"tool_calls\":3}}]}"));
}

static void test_pieces_of_several(void **state)
{
    (void)state;
    const char *a = PIECE("0", "\"name\":\"look\",\"arguments\":\"\""),
               *b = PIECE("1", "\"name\":\"find\",\"arguments\":\"{\\\"q\\\"\"");
    assert_false(
        BAD(a, b, PIECE("0", "\"arguments\":\"{}\""), PIECE("1", "\"arguments\":\":1}\"")));
    assert_true(BAD(a, b, PIECE("0", "\"arguments\":\"{}\"")));
    assert_true(BAD(a, b, PIECE("1", "\"arguments\":\"{}\""), PIECE("0", "\"arguments\":\":1}\"")));
}

static void test_not_judged(void **state)
{
    (void)state;
    calls c = {.n = 0};
    const llm_request none = {.n_tools = 0};
    calls_openai(&c, &none, sv_cstr(CALL("other", "text")));
    calls_begin(&c, &none, 0, 0, sv_cstr("other"));
    assert_false(calls_bad(&c));
    calls_free(&c);
    llm_tool own[] = {{.name = {"web", 3}, .foreign = true}};
    const llm_request foreign = {.tools = own, .n_tools = 1};
    calls_begin(&c, &foreign, 0, 0, sv_cstr("other"));
    assert_false(calls_bad(&c));
    calls_free(&c);
    for (int i = 0; i < LLM_CALLS + 5; i++)
        calls_begin(&c, &request, 0, i, sv_cstr("look"));
    assert_int_equal(c.n, LLM_CALLS);
    calls_arguments(&c, 0, LLM_CALLS + 2, sv_cstr("text"));
    assert_false(calls_bad(&c));
    calls_arguments(&c, 0, 3, sv_cstr("text"));
    assert_true(calls_bad(&c));
    calls_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole),
                                       cmocka_unit_test(test_pieces_of_several),
                                       cmocka_unit_test(test_not_judged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
