/*  test_completions.c - OpenAI's older /completions, for clients. */
#include "error.h"
#include "llm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static arena mem;
static llm_request q;
static sv_error err;

static int setup(void **state)
{
    (void)state;
    arena_init(&mem, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&mem);
    return 0;
}

static int parse(const char *json)
{
    err = (sv_error){0};
    assert_int_equal(json_skim(sv_cstr(json), 64, NULL), 0);
    return llm_completions.parse(sv_cstr(json), &mem, &q, &err);
}

static void test_request(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"model\":\"m\",\"prompt\":\"on\\nce\",\"max_tokens\":9,\"temperature\":0,\"n\":2,"
              "\"best_of\":2,\"seed\":4,\"top_p\":0.9,\"presence_penalty\":1,"
              "\"frequency_penalty\":-1,\"stop\":[\"a\",\"b\"],\"stream\":true,\"echo\":false,"
              "\"stream_options\":{\"include_usage\":true},\"user\":\"u\",\"suffix\":null,"
              "\"logprobs\":2,\"logit_bias\":null}"),
        0);
    assert_int_equal(q.format, LLM_COMPLETIONS);
    assert_int_equal(q.n_messages, 1);
    assert_int_equal(q.messages[0].role, LLM_USER);
    assert_int_equal(q.messages[0].n_parts, 1);
    assert_true(sv_str_is(q.messages[0].parts[0].text, "on\\nce"));
    assert_int_equal(q.max_tokens, 9);
    assert_int_equal(q.n, 2);
    assert_true(sv_str_is(q.temperature, "0") && sv_str_is(q.seed, "4"));
    assert_true(sv_str_is(q.top_p, "0.9") && sv_str_is(q.presence_penalty, "1"));
    assert_true(sv_str_is(q.frequency_penalty, "-1") && sv_str_is(q.user, "u"));
    assert_int_equal(q.n_stops, 2);
    assert_true(q.stream && q.include_usage);
    assert_int_equal(q.n_left, 1);
    assert_true(sv_str_is(q.left[0], "logprobs"));
    assert_int_equal(parse("{\"prompt\":[\"one\"],\"stop\":\"s\"}"), 0);
    assert_true(sv_str_is(q.messages[0].parts[0].text, "one"));
    assert_int_equal(q.n, 1);
    assert_int_equal(q.max_tokens, 0);
    assert_false(q.stream || q.include_usage);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
        const char *field;
    } rows[] = {
        {"{}", SV_E_MISSING_FIELD, "prompt"},
        {"{\"prompt\":null}", SV_E_MISSING_FIELD, "prompt"},
        {"{\"prompt\":7}", SV_E_WRONG_TYPE, "prompt"},
        {"{\"prompt\":[]}", SV_E_INVALID, "prompt"},
        {"{\"prompt\":[\"a\",\"b\"]}", SV_E_INVALID, "prompt"},
        {"{\"prompt\":[1,2]}", SV_E_WRONG_TYPE, "prompt"},
        {"{\"prompt\":[[1,2]]}", SV_E_WRONG_TYPE, "prompt"},
        {"{\"prompt\":\"a\",\"suffix\":\"s\"}", SV_E_INVALID, "suffix"},
        {"{\"prompt\":\"a\",\"echo\":true}", SV_E_INVALID, "echo"},
        {"{\"prompt\":\"a\",\"best_of\":3}", SV_E_INVALID, "best_of"},
        {"{\"prompt\":\"a\",\"n\":0}", SV_E_OUT_OF_RANGE, "n"},
        {"{\"prompt\":\"a\",\"n\":129}", SV_E_OUT_OF_RANGE, "n"},
        {"{\"prompt\":\"a\",\"stop\":[1]}", SV_E_WRONG_TYPE, "stop"},
        {"{\"prompt\":\"a\",\"stream_options\":1}", SV_E_WRONG_TYPE, "stream_options"},
        {"{\"prompt\":\"a\",\"stream_options\":{\"include_usage\":1}}", SV_E_WRONG_TYPE,
         "stream_options.include_usage"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc = parse(rows[i].json);
        assert_string_equal(err.field, rows[i].field);
        assert_int_equal(rc, rows[i].code);
        assert_true(err.message[0]);
    }
}

#define S(x)                                                                                       \
    {                                                                                              \
        (x), sizeof(x) - 1                                                                         \
    }
static const tokens usage = {
    .known = true, .prompt = 11, .completion = 7, .cached = 3, .reasoning = 2};
static const llm_event answer[] = {
    {.kind = LLM_START, .id = S("up"), .model = S("m")},
    {.kind = LLM_THINKING, .index = -1, .text = S("hm")},
    {.kind = LLM_TEXT, .text = S("a\\n")},
    {.kind = LLM_TEXT, .choice = 1, .text = S("z")},
    {.kind = LLM_REFUSED, .text = S("b")},
    {.kind = LLM_FINISH, .finish = LLM_STOP},
    {.kind = LLM_FINISH, .choice = 1, .finish = LLM_LENGTH},
    {.kind = LLM_USAGE, .usage = &usage},
};
enum { EVENTS = sizeof answer / sizeof *answer };

static void write_all(bool stream, bool include_usage, size_t events, buf *out)
{
    llm_writer *w = llm_completions.writer_new(&(llm_writer_spec){.stream = stream,
                                                                  .include_usage = include_usage,
                                                                  .id = "abc",
                                                                  .model = sv_cstr("fast\"one"),
                                                                  .created = 1750000000});
    assert_non_null(w);
    buf_init(out, 1 << 20);
    for (size_t i = 0; i < events; i++)
        assert_int_equal(llm_completions.writer_event(w, &answer[i], out), 0);
    assert_int_equal(llm_completions.writer_end(w, out), 0);
    llm_completions.writer_free(w);
    buf_putc(out, 0);
}

#define HEAD                                                                                       \
    "{\"id\":\"cmpl-abc\",\"object\":\"text_completion\",\"created\":1750000000,\"model\":"        \
    "\"fast\\\"one\",\"choices\":["
#define USAGE                                                                                      \
    "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18,"                 \
    "\"prompt_tokens_details\":{\"cached_tokens\":3},\"completion_tokens_details\":{"              \
    "\"reasoning_tokens\":2}}}"
#define CHUNK(text, index, reason)                                                                 \
    "data: " HEAD "{\"text\":\"" text "\",\"index\":" index                                        \
    ",\"logprobs\":null,\"finish_reason\":" reason "}]"

static void test_stream(void **state)
{
    (void)state;
    buf out;
    write_all(true, false, EVENTS, &out);
    assert_string_equal(
        out.p,
        CHUNK("a\\n", "0", "null") "}\n\n" CHUNK("z", "1", "null") "}\n\n" CHUNK(
            "b", "0",
            "null") "}\n\n" CHUNK("", "0",
                                  "\"stop\"") "}\n\n" CHUNK("", "1",
                                                            "\"length\"") "}\n\n"
                                                                          "data: [DONE]\n\n");
    buf_free(&out);
    write_all(true, true, EVENTS, &out);
    assert_non_null(strstr(out.p, CHUNK("b", "0", "null") ",\"usage\":null}\n\n"));
    assert_non_null(strstr(out.p, "data: " HEAD "]," USAGE "\n\ndata: [DONE]\n\n"));
    buf_free(&out);
}

static void test_whole(void **state)
{
    (void)state;
    buf out;
    write_all(false, false, EVENTS, &out);
    assert_string_equal(out.p,
                        HEAD "{\"text\":\"a\\nb\",\"index\":0,\"logprobs\":null,\"finish_reason\":"
                             "\"stop\"},{\"text\":\"z\",\"index\":1,\"logprobs\":null,"
                             "\"finish_reason\":\"length\"}]," USAGE);
    buf_free(&out);
}

/* An answer without its end does not look complete. */
static void test_cut(void **state)
{
    (void)state;
    buf out;
    write_all(true, true, 4, &out);
    assert_null(strstr(out.p, "[DONE]"));
    assert_non_null(strstr(out.p, "data: {\"error\":{"));
    buf_free(&out);
    write_all(false, false, 4, &out);
    assert_memory_equal(out.p, "{\"error\":{", 10);
    buf_free(&out);
}

static void test_error_event(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 1 << 20);
    llm_writer *w = llm_completions.writer_new(
        &(llm_writer_spec){.stream = true, .id = "abc", .model = sv_cstr("m")});
    llm_completions.error_event(w, 502, "server_error", "provider.cut", sv_cstr("a \"b\""), &out);
    size_t n = out.n;
    assert_true(n > 0);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(llm_completions.writer_event(w, &answer[i], &out), 0);
    assert_int_equal(llm_completions.writer_end(w, &out), 0);
    assert_int_equal(out.n, n);
    buf_putc(&out, 0);
    assert_non_null(strstr(out.p, "data: {\"error\":{"));
    assert_non_null(strstr(out.p, "a \\\"b\\\""));
    assert_non_null(strstr(out.p, "\n\n"));
    llm_completions.writer_free(w);
    w = llm_completions.writer_new(
        &(llm_writer_spec){.stream = true, .id = "abc", .model = sv_cstr("m")});
    llm_event e = {.kind = LLM_TEXT, .choice = 128, .text = S("x")};
    assert_int_equal(llm_completions.writer_event(w, &e, &out), SV_E_PROVIDER_GARBAGE);
    llm_completions.writer_free(w);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_error_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
