/*  OpenAI's /chat/completions on both sides. */
#include "turn_kit.h"

static const llm_target to_anthropic = {.model = S("claude-x"), .stream = true};
static const llm_target to_openai = {
    .model = S("gpt-x"), .stream = true, .completion_tokens = true};

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void requests(void **state)
{
    (void)state;
    expect_turn(&llm_openai,
                "{\"model\":\"m\"," USER ",\"temperature\":0.5,\"stop\":\"x\",\"user\":\"u\","
                "\"logit_bias\":{\"1\":2}}",
                &llm_openai, &to_openai,
                "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                "\"temperature\":0.5,\"stop\":[\"x\"],\"user\":\"u\",\"logit_bias\":{\"1\":2},"
                "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
                "");
    /* unknown things are named; old functions become tools */
    expect_turn(&llm_openai,
                "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                "{\"type\":\"video_url\"}]}],\"functions\":[{\"name\":\"f\"}],\"function_call\":"
                "{\"name\":\"f\"},\"logit_bias\":{},\"max_tokens\":9}",
                &llm_anthropic, &to_anthropic,
                "{\"model\":\"claude-x\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                "\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],\"tools\":[{\"name\":\"f\","
                "\"input_schema\":{\"type\":\"object\",\"properties\":{}}}],\"tool_choice\":{"
                "\"type\":\"tool\",\"name\":\"f\"},\"stream\":true}",
                "logit_bias, messages[0].content[1]");
    /* escapes within a data: address (PHP) */
    expect_turn(
        &llm_openai,
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
        "{\"url\":\"data:image\\/png;base64,iV\\/B\"}}]}]}",
        &llm_anthropic, &to_anthropic,
        "{\"model\":\"claude-x\",\"max_tokens\":4096,\"messages\":[{\"role\":\"user\","
        "\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
        "\"image/png\",\"data\":\"iV/B\"}}]}],\"stream\":true}",
        "");
}

/* Calls and results: order, ids of letters, arguments that are no JSON, pictures of results. */
static void calls(void **state)
{
    (void)state;
    expect_turn(
        &llm_openai,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"
        "null,"
        "\"tool_calls\":[{\"id\":\"a.1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":{"
        "\"name\":"
        "\"g\",\"arguments\":\"oops\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a.1\",\"content\":"
        "\"1\"},{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"\"},{\"role\":\"user\","
        "\"content\":\"go\"}]}",
        &llm_anthropic, &to_anthropic,
        "{\"model\":\"claude-x\",\"max_tokens\":4096,\"messages\":[{\"role\":\"user\",\"content\":["
        "{"
        "\"type\":\"text\",\"text\":\"q\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":"
        "\"tool_use\",\"id\":\"a_1\",\"name\":\"f\",\"input\":{\"x\":1}},{\"type\":\"tool_use\","
        "\"id\":"
        "\"b\",\"name\":\"g\",\"input\":{\"invalid_arguments\":\"oops\"}}]},{\"role\":\"user\","
        "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a_1\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"1\"}]},{\"type\":\"tool_result\",\"tool_use_id\":\"b\"},{\"type\":"
        "\"text\",\"text\":\"go\"}]}],\"stream\":true}",
        "");
    expect_turn(
        &llm_anthropic,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
        "{"
        "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"x\":\"\\n\"}}]},{\"role\":"
        "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"go\"},{\"type\":\"tool_result\","
        "\"tool_use_id\":\"a\",\"is_error\":true,\"content\":[{\"type\":\"text\",\"text\":\"no\"},{"
        "\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x\"}}]}]}],"
        "\"max_tokens\":5}",
        &llm_openai, &to_openai,
        "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
        "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\\\"\\\\n\\\"}\"}}]},{\"role\":"
        "\"tool\",\"tool_call_id\":\"a\",\"content\":\"no\"},{\"role\":\"user\",\"content\":[{"
        "\"type\":\"text\",\"text\":\"From the tools:\"},{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"https://x\"}}]},{\"role\":\"user\",\"content\":\"go\"}],"
        "\"max_completion_tokens\":5,\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
        "tool_result.is_error");
}

static void errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *field;
    } rows[] = {
        {"{}", SV_E_MISSING_FIELD, "messages"},
        {"{\"messages\":[]}", SV_E_OUT_OF_RANGE, "messages"},
        {"{\"messages\":{}}", SV_E_WRONG_TYPE, "messages"},
        {"{\"messages\":[1]}", SV_E_WRONG_TYPE, "messages[0]"},
        {"{\"messages\":[{\"content\":\"x\"}]}", SV_E_MISSING_FIELD, "messages[0].role"},
        {"{\"messages\":[{\"role\":\"boss\",\"content\":\"x\"}]}", SV_E_OUT_OF_RANGE,
         "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\"}]}", SV_E_MISSING_FIELD, "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         SV_E_MISSING_FIELD, "messages[0].content[0].text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
         "\"url\":\"data:x\"}}]}]}",
         SV_E_INVALID, "messages[0].content[0].image_url.url"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", SV_E_MISSING_FIELD,
         "messages[0].tool_call_id"},
        {"{" USER ",\"max_tokens\":0}", SV_E_OUT_OF_RANGE, "max_tokens"},
        {"{" USER ",\"temperature\":\"hot\"}", SV_E_WRONG_TYPE, "temperature"},
        {"{" USER ",\"stop\":[1]}", SV_E_WRONG_TYPE, "stop"},
        {"{" USER ",\"n\":1.5}", SV_E_WRONG_TYPE, "n"},
        {"{" USER ",\"tools\":[{\"type\":\"function\",\"function\":{}}]}", SV_E_MISSING_FIELD,
         "tools[0].function.name"},
        {"{" USER ",\"response_format\":{\"type\":\"xml\"}}", SV_E_OUT_OF_RANGE,
         "response_format.type"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_bad(&llm_openai, rows[i].text, rows[i].code, rows[i].field);
}

#define DELTA(d) "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{" d "}}]}"
#define CALLS(c) DELTA("\"tool_calls\":[" c "]")
#define END(why)                                                                                   \
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}"

static void reads(void **state)
{
    (void)state;
    expect_trace(&llm_openai,
                 (const char *[]){DELTA("\"role\":\"assistant\",\"content\":\"\""),
                                  DELTA("\"reasoning_content\":\"hm\",\"reasoning\":\"hm\""),
                                  DELTA("\"reasoning_details\":[{\"type\":\"reasoning.text\","
                                        "\"signature\":\"s\"}]"),
                                  DELTA("\"content\":\"Hi\""), END("stop"),
                                  "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,"
                                  "\"completion_tokens\":4,\"prompt_tokens_details\":{"
                                  "\"cached_tokens\":3},\"completion_tokens_details\":{"
                                  "\"reasoning_tokens\":99}}}",
                                  "[DONE]", NULL},
                 "START c m\nTHINKING hm\nSIGNATURE -1 s\nTEXT Hi\nFINISH stop\n"
                 "USAGE 9/4 cached 3 reasoning 4\n",
                 true);
    /* interleaved; ids in every piece; one index for several calls; arguments as an object */
    expect_trace(
        &llm_openai,
        (const char *[]){
            CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"),
            CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}"),
            CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"),
            CALLS("{\"index\":1,\"function\":{\"arguments\":\"}\"}}"),
            CALLS(
                "{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"h\",\"arguments\":{\"x\":1}}}"),
            END("stop"), NULL},
        "START c m\nCALL 0 f\nCALL 1 g\nARGUMENTS 1 {\nARGUMENTS 0 {}\nARGUMENTS 1 }\nCALL 2 h\n"
        "ARGUMENTS 2 {\\\"x\\\":1}\nFINISH tools\n",
        true);
    expect_trace(&llm_openai, (const char *[]){DELTA("\"content\":\"H\""), NULL},
                 "START c m\nTEXT H\n", false);
    expect_trace(&llm_openai, (const char *[]){DELTA("\"content\":\"H\""), "[DONE]", NULL},
                 "START c m\nTEXT H\nFINISH stop\n", true);
    expect_trace(&llm_openai,
                 (const char *[]){DELTA("\"content\":\"H\""),
                                  "{\"error\":{\"message\":\"gone\",\"code\":502}}", NULL},
                 "START c m\nTEXT H\nFAILED 502 server_error gone\n", false);
    expect_trace(
        &llm_openai,
        (const char *[]){DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":"
                               "\"text\",\"text\":\"hm\"}]},{\"type\":\"text\",\"text\":"
                               "\"Hi\"}]"),
                         "{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],"
                         "\"x_groq\":{\"usage\":{\"prompt_tokens\":1,"
                         "\"completion_tokens\":2}}}",
                         NULL},
        "START c m\nTHINKING hm\nTEXT Hi\nFINISH length\nUSAGE 1/2 cached 0 reasoning 0\n", true);
    expect_garbage(&llm_openai, "{\"choices\":[", SV_E_PROVIDER_GARBAGE);
    expect_garbage(&llm_openai, "[]", SV_E_PROVIDER_GARBAGE);
    expect_garbage(&llm_openai, CALLS("{\"index\":0,\"id\":\"a\",\"function\":{}}"),
                   SV_E_PROVIDER_GARBAGE);
    expect_garbage(&llm_openai, "{\"choices\":[{\"index\":128,\"delta\":{}}]}",
                   SV_E_PROVIDER_GARBAGE);
}

#define HEAD                                                                                       \
    "data: {\"id\":\"chatcmpl-x1\",\"object\":\"chat.completion.chunk\",\"created\":7,"            \
    "\"model\":\"my \\\"m\\\"\","
#define CHUNK(delta, why)                                                                          \
    HEAD "\"choices\":[{\"index\":0,\"delta\":{" delta                                             \
         "},\"logprobs\":null,\"finish_reason\":" why "}],\"usage\":null}\n\n"

static const llm_writer_spec streamed = {
    .stream = true, .include_usage = true, .id = "x1", .model = S("my \"m\""), .created = 7};
static const llm_writer_spec plain = {.id = "x1", .model = S("my \"m\""), .created = 7};

static const char *const claude[] = {
    "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{"
    "\"input_tokens\":3,\"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":1}}}",
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\"}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
    "\"thinking\":\"hm\"}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
    "\"signature\":\"s\"}}",
    "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":"
    "\"t\",\"name\":\"f\",\"input\":{}}}",
    "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
    "\"partial_json\":\"{\\\"a\"}}",
    "{\"type\":\"ping\"}",
    "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
    "\"partial_json\":\"\\\":1}\"}}",
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{"
    "\"output_tokens\":4}}",
    "{\"type\":\"message_stop\"}",
    NULL};

/* Small pieces of arguments are gathered; the signed thinking comes whole. */
static void answers(void **state)
{
    (void)state;
    expect_answer(
        &llm_anthropic, true, claude, &llm_openai, &streamed,
        CHUNK("\"role\":\"assistant\",\"content\":\"\"", "null") CHUNK(
            "\"reasoning_content\":\"hm\"",
            "null") CHUNK("\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"hm\","
                          "\"signature\":\"sv1.anthropic.s\",\"index\":0}]",
                          "null")
            CHUNK("\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"type\":\"function\",\"function\":{"
                  "\"name\":\"f\",\"arguments\":\"\"}}]",
                  "null") CHUNK("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{"
                                "\\\"a\\\":1}\"}}]",
                                "null") CHUNK("", "\"tool_calls\"") HEAD
        "\"choices\":[],\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":4,\"total_tokens\":10,"
        "\"prompt_tokens_details\":{\"cached_tokens\":2,\"cache_write_tokens\":1},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\ndata: [DONE]\n\n");
    expect_answer(
        &llm_anthropic, true, claude, &llm_openai, &plain,
        "{\"id\":\"chatcmpl-x1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"my "
        "\\\"m\\\"\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "null,"
        "\"refusal\":null,\"reasoning_content\":\"hm\",\"reasoning_details\":[{\"type\":"
        "\"reasoning.text\",\"text\":\"hm\",\"signature\":\"sv1.anthropic.s\",\"index\":0}],"
        "\"tool_calls\":[{\"id\":\"t\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"a\\\":1}\"}}]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}],"
        "\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":4,\"total_tokens\":10,"
        "\"prompt_tokens_details\":{\"cached_tokens\":2,\"cache_write_tokens\":1},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}");
}

/* After an error nothing looks like an end. */
static void failed(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 1 << 16);
    llm_writer *w = llm_openai.writer_new(&streamed);
    llm_openai.error_event(w, 502, "server_error", "cut", sv_cstr("a \"b\""), &out);
    assert_int_equal(llm_openai.writer_end(w, &out), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, "data: {\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":"
                               "\"server_error\",\"param\":null,\"code\":\"cut\"}}\n\n");
    llm_openai.writer_free(w);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests), cmocka_unit_test(calls),   cmocka_unit_test(errors),
        cmocka_unit_test(reads),    cmocka_unit_test(answers), cmocka_unit_test(failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
