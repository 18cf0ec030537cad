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
                "\"type\":\"tool\",\"name\":\"f\",\"disable_parallel_tool_use\":true},"
                "\"stream\":true}",
                "logit_bias, messages[0].content[1]");
    /* how parts are to be cached: kept in this format, named for another's */
    expect_turn(
        &llm_openai,
        "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"S\","
        "\"cache_control\":{\"type\":\"ephemeral\"}}]},{\"role\":\"user\",\"content\":\"a\"}]}",
        &llm_openai, &to_openai,
        "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"S\",\"cache_control\":{\"type\":\"ephemeral\"}}]},{\"role\":"
        "\"user\",\"content\":\"a\"}],\"stream\":true,\"stream_options\":{"
        "\"include_usage\":true}}",
        "");
    expect_turn(
        &llm_anthropic,
        "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
        "\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}]}]}",
        &llm_openai, &to_openai,
        "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
        "\"max_completion_tokens\":5,\"stream\":true,\"stream_options\":{"
        "\"include_usage\":true}}",
        "cache_control");
    /* schemas that do not say that they are an object's; a name that Anthropic has no field for */
    expect_turn(
        &llm_openai,
        "{\"messages\":[{\"role\":\"user\",\"name\":\"Ann\",\"content\":\"a\"}],\"tools\":[{"
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{ }}},{\"type\":"
        "\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"properties\":{}}}}]}",
        &llm_anthropic, &to_anthropic,
        "{\"model\":\"claude-x\",\"max_tokens\":4096,\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"a\"}]}],\"tools\":[{\"name\":\"f\",\"input_schema\":{"
        "\"type\":\"object\" }},{\"name\":\"g\",\"input_schema\":{\"type\":\"object\","
        "\"properties\":{}}}],\"stream\":true}",
        "messages[0].name");
    /* a system has words only, everywhere */
    static const llm_target to_gemini = {.model = S("g")};
    static const char picture[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"S\"},{"
        "\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}}]},{\"role\":\"user\","
        "\"content\":\"a\"}]}";
    expect_turn(&llm_openai, picture, &llm_gemini, &to_gemini,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}],"
                "\"systemInstruction\":{\"parts\":[{\"text\":\"S\"}]},\"generationConfig\":{}}",
                "system.image");
    expect_turn(&llm_openai, picture, &llm_openai, &to_openai,
                "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{"
                "\"role\":\"user\",\"content\":\"a\"}],\"stream\":true,\"stream_options\":{"
                "\"include_usage\":true}}",
                "system.image");
    expect_turn(
        &llm_openai, picture, &llm_anthropic, &to_anthropic,
        "{\"model\":\"claude-x\",\"max_tokens\":4096,\"system\":[{\"type\":\"text\",\"text\":"
        "\"S\"}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
        "\"a\"}]}],\"stream\":true}",
        "system.image");
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

/* Models that cannot think refuse to be asked; Gemini's also to be asked for their thoughts. */
static void thinkers(void **state)
{
    (void)state;
    static const struct {
        const llm_ops *to;
        const char *yes;
    } rows[] = {
        {&llm_openai, "\"reasoning_effort\":\"low\""},
        {&llm_anthropic, "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}"},
        {&llm_gemini, "\"thinkingConfig\":{\"thinkingBudget\":1024,\"includeThoughts\":true}"},
        {&llm_ollama, "\"think\":true"}};
    sv_str asked = sv_cstr("{" USER ",\"reasoning_effort\":\"low\"}"),
           unasked = sv_cstr("{" USER "}");
    for (size_t i = 0; i < 4 * N(rows); i++) {
        arena a;
        buf out;
        llm_request q;
        llm_notes notes = {{0}};
        bool ask = i & 1, can = i & 2;
        llm_target t = {.model = S("m"), .thinks = can ? LLM_YES : LLM_NO};
        const llm_ops *to = rows[i / 4].to;
        arena_init(&a, 1 << 20);
        buf_init(&out, 1 << 16);
        assert_int_equal(llm_openai.parse(ask ? asked : unasked, &a, &q, NULL), 0);
        assert_int_equal(to->write(&q, &t, &out, &notes, NULL), 0);
        buf_putc(&out, 0);
        bool said = strstr(out.p, rows[i / 4].yes) != NULL;
        bool some = strstr(out.p, "hink") || strstr(out.p, "reason");
        if (said != (ask && can) || (some && !can)) fail_msg("%s", out.p);
        assert_int_equal(some && !ask, can && !ask && to == &llm_gemini);
        assert_string_equal(notes.dropped, ask && !can ? "thinking" : "");
        buf_free(&out);
        arena_free(&a);
    }
}

/* A null says nothing, wherever it stands. */
static void nulls(void **state)
{
    (void)state;
    expect_turn(
        &llm_openai,
        "{\"messages\":[{\"role\":\"user\",\"name\":null,\"content\":[{\"type\":\"file\",\"file\":{"
        "\"filename\":null,\"file_id\":null,\"file_data\":\"data:a/b;base64,AA\"}}]}],\"tools\":[{"
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":null,\"parameters\":"
        "null,"
        "\"strict\":null}}],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
        "\"name\":null,\"strict\":null,\"schema\":{}}},\"reasoning\":{\"effort\":null,\"max_"
        "tokens\":"
        "null,\"exclude\":null,\"enabled\":null},\"stream_options\":{\"include_usage\":null}}",
        &llm_openai, &to_openai,
        "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\","
        "\"file\":{\"filename\":\"file\",\"file_data\":\"data:a/b;base64,AA\"}}]}],\"tools\":[{"
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
        "\"properties\":{}}}}],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
        "\"name\":\"answer\",\"schema\":{}}},\"stream\":true,\"stream_options\":{\"include_usage\":"
        "true}}",
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
        {"{" USER ",\"tools\":[null]}", SV_E_WRONG_TYPE, "tools[0]"},
        {"{" USER
         ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":null}}}",
         SV_E_MISSING_FIELD, "response_format.json_schema.schema"},
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
    /* one index for all and ids in every piece, in turn; no index and no id */
    expect_trace(
        &llm_openai,
        (const char *[]){
            CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
            CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"[\"}}"),
            CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}"),
            CALLS("{\"function\":{\"name\":\"h\",\"arguments\":\"1\"}},{\"function\":{\"name\":"
                  "\"i\",\"arguments\":\"2\"}}"),
            CALLS("{\"function\":{\"arguments\":\"3\"}}"), END("tool_use"), NULL},
        "START c m\nCALL 0 f\nARGUMENTS 0 {\nCALL 1 g\nARGUMENTS 1 [\nARGUMENTS 0 }\nCALL 2 h\n"
        "ARGUMENTS 2 1\nCALL 3 i\nARGUMENTS 3 2\nARGUMENTS 3 3\nFINISH tools\n",
        true);
    /* a reason that is empty is none; "error" is no end */
    expect_trace(&llm_openai,
                 (const char *[]){"{\"choices\":[{\"delta\":{\"content\":\"H\"},"
                                  "\"finish_reason\":\"\"}]}",
                                  NULL},
                 "START  \nTEXT H\n", false);
    expect_trace(&llm_openai,
                 (const char *[]){"{\"choices\":[{\"delta\":{\"content\":\"H\"},\"finish_reason\":"
                                  "\"error\",\"error\":{\"code\":502,\"message\":\"gone\"}}],"
                                  "\"usage\":{\"prompt_tokens\":1}}",
                                  "[DONE]", NULL},
                 "START  \nTEXT H\nFAILED 502 server_error gone\n", false);
    expect_trace(
        &llm_openai,
        (const char *[]){DELTA("\"images\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
                               "\"data:image/png;base64,AA\"}},7]"),
                         END("stop"), NULL},
        "START c m\nTEXT ![](\nTEXT data:image/png;base64,AA\nTEXT )\nFINISH stop\n", true);
    /* no part of a count is more than the whole */
    expect_trace(&llm_openai,
                 (const char *[]){DELTA("\"content\":\"H\""), END("stop"),
                                  "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,"
                                  "\"completion_tokens\":1e9,\"prompt_tokens_details\":{"
                                  "\"cached_tokens\":99}}}",
                                  NULL},
                 "START c m\nTEXT H\nFINISH stop\nUSAGE 9/0 cached 9 reasoning 0\n", true);
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

/* Each call of a whole answer is one, whatever index and id it has; ids do not repeat. */
static void same_calls(void **state)
{
    (void)state;
    trace t = {0};
    bool done;
    sv_error err = {0};
    sv_str body =
        sv_cstr("{\"choices\":[{\"message\":{\"tool_calls\":["
                "{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
                "{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},"
                "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"h\",\"arguments\":\"{}\"}},"
                "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"i\",\"arguments\":\"{}\"}}]},"
                "\"finish_reason\":\"stop\"}]}");
    llm_reader *r = llm_openai.reader_new(false);
    buf_init(&t.out, 1 << 20);
    assert_int_equal(llm_openai.read(r, (sv_str){NULL, 0}, body, trace_sink, &t, &err), 0);
    assert_int_equal(llm_openai.read_end(r, trace_sink, &t, &done), 0);
    assert_true(done);
    buf_putc(&t.out, 0);
    assert_string_equal(t.out.p, "START  \nCALL 0 f\nARGUMENTS 0 {}\nCALL 1 g\nARGUMENTS 1 {}\n"
                                 "CALL 2 h\nARGUMENTS 2 {}\nCALL 3 i\nARGUMENTS 3 {}\n"
                                 "FINISH tools\n");
    assert_memory_equal(t.id, "call_", 5);
    llm_openai.reader_free(r);
    buf_free(&t.out);
}

/* What a model did not end in its own time never reads like an end. */
static void cut_answers(void **state)
{
    (void)state;
    static const struct {
        const llm_ops *to;
        llm_finish f;
        bool refused;
        const char *want;
    } rows[] = {
        {&llm_openai, LLM_REFUSAL, false, "\"finish_reason\":\"content_filter\""},
        {&llm_openai, LLM_REFUSAL, true, "\"finish_reason\":\"stop\""},
        {&llm_openai, LLM_OTHER, false, "\"finish_reason\":\"length\""},
        {&llm_openai, LLM_PAUSE, false, "\"finish_reason\":\"length\""},
        {&llm_completions, LLM_REFUSAL, false, "\"finish_reason\":\"content_filter\""},
        {&llm_completions, LLM_OTHER, false, "\"finish_reason\":\"length\""},
        {&llm_completions, LLM_TOOL_CALLS, false, "\"finish_reason\":\"stop\""},
        {&llm_responses, LLM_REFUSAL, false,
         "\"incomplete_details\":{\"reason\":\"content_filter\"}"},
        {&llm_responses, LLM_REFUSAL, true, "\"status\":\"completed\""},
        {&llm_responses, LLM_OTHER, false, "\"status\":\"incomplete\""},
        {&llm_anthropic, LLM_OTHER, false, "\"stop_reason\":\"max_tokens\""},
        {&llm_anthropic, LLM_REFUSAL, false, "\"stop_reason\":\"refusal\""},
        {&llm_ollama, LLM_OTHER, false, "\"done_reason\":\"length\""},
        {&llm_generate, LLM_PAUSE, false, "\"done_reason\":\"length\""},
    };
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        const llm_ops *to = rows[i / 2].to;
        llm_writer_spec spec = i % 2 ? streamed : plain;
        llm_event words = {.kind = rows[i / 2].refused ? LLM_REFUSED : LLM_TEXT, .text = S("a")};
        llm_event end = {.kind = LLM_FINISH, .finish = rows[i / 2].f};
        buf out;
        buf_init(&out, 1 << 16);
        llm_writer *w = to->writer_new(&spec);
        assert_int_equal(to->writer_event(w, &words, &out), 0);
        assert_int_equal(to->writer_event(w, &end, &out), 0);
        assert_int_equal(to->writer_end(w, &out), 0);
        buf_putc(&out, 0);
        if (strstr(out.p, rows[i / 2].want) == NULL) fail_msg("%s: %s", rows[i / 2].want, out.p);
        to->writer_free(w);
        buf_free(&out);
    }
}

/* Usage that was counted here is told in every format. */
static void estimated(void **state)
{
    (void)state;
    static const tokens counted = {.estimated = true, .prompt = 31, .completion = 7};
    const llm_ops *const formats[] = {&llm_openai,    &llm_completions, &llm_responses,
                                      &llm_anthropic, &llm_ollama,      &llm_generate};
    for (size_t i = 0; i < 2 * N(formats); i++) {
        const llm_ops *to = formats[i / 2];
        llm_writer_spec spec = i % 2 ? streamed : plain;
        const llm_event events[] = {{.kind = LLM_TEXT, .text = S("a")},
                                    {.kind = LLM_FINISH, .finish = LLM_STOP},
                                    {.kind = LLM_USAGE, .usage = &counted}};
        buf out;
        buf_init(&out, 1 << 16);
        llm_writer *w = to->writer_new(&spec);
        for (size_t e = 0; e < N(events); e++)
            assert_int_equal(to->writer_event(w, &events[e], &out), 0);
        assert_int_equal(to->writer_end(w, &out), 0);
        buf_putc(&out, 0);
        if (strstr(out.p, "31") == NULL) fail_msg("%s", out.p);
        to->writer_free(w);
        buf_free(&out);
    }
}

/* A client from before there were tools gets the first call in its own form. */
static void old_calls(void **state)
{
    (void)state;
    const llm_request q = {.format = LLM_OPENAI, .old_calls = true};
    llm_writer_spec spec = plain;
    spec.request = &q;
    static const char *const calls[] = {
        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
        CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}"),
        CALLS("{\"index\":0,\"function\":{\"arguments\":\"}\"}}"), END("tool_calls"), NULL};
    expect_answer(
        &llm_openai, true, calls, &llm_openai, &spec,
        "{\"id\":\"chatcmpl-x1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"my "
        "\\\"m\\\"\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "null,"
        "\"refusal\":null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},\"logprobs\":"
        "null,"
        "\"finish_reason\":\"function_call\"}]}");
    spec = streamed;
    spec.request = &q;
    expect_answer(&llm_openai, true, calls, &llm_openai, &spec,
                  CHUNK("\"role\":\"assistant\",\"content\":\"\"", "null")
                      CHUNK("\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}", "null")
                          CHUNK("\"function_call\":{\"arguments\":\"{\"}", "null")
                              CHUNK("\"function_call\":{\"arguments\":\"}\"}", "null")
                                  CHUNK("", "\"function_call\"") "data: [DONE]\n\n");
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
        cmocka_unit_test(requests),  cmocka_unit_test(nulls),      cmocka_unit_test(thinkers),
        cmocka_unit_test(calls),     cmocka_unit_test(errors),     cmocka_unit_test(reads),
        cmocka_unit_test(answers),   cmocka_unit_test(same_calls), cmocka_unit_test(cut_answers),
        cmocka_unit_test(estimated), cmocka_unit_test(old_calls),  cmocka_unit_test(failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
