/*  test_gemini.c - requests written for Gemini, its streams and whole answers read. */
#include "trace_kit.h"

static const llm_target pro = {.model = S("gemini-2.5-pro"), .stream = true};
static const llm_target flash = {.model = S("gemini-2.5-flash"), .output_most = 8192};
static const llm_target three = {.model = S("gemini-3-pro-preview")};

static void expect_path(const char *model, bool stream, const char *want)
{
    buf out;
    llm_target t = {.model = sv_cstr(model), .stream = stream};
    buf_init(&out, 4096);
    assert_int_equal(llm_gemini.path(&t, &out), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, want);
    buf_free(&out);
}

static void test_path(void **state)
{
    (void)state;
    expect_path("gemini-2.5-pro", false, "/models/gemini-2.5-pro:generateContent");
    expect_path("gemini-2.5-pro", true, "/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
    expect_path("models/gemma-3", false, "/models/gemma-3:generateContent");
    expect_path("tunedModels/mine", false, "/tunedModels/mine:generateContent");
    expect_path("a/../b?c d\xc3\xa9", false, "/models/a%2F..%2Fb%3Fc%20d%C3%A9:generateContent");
}

/* ---- requests ---- */

static llm_part text_part = {.kind = LLM_PART_TEXT, .text = S("Hi \\\"you\\\"")};

static llm_request simple(llm_message *m)
{
    *m = (llm_message){.role = LLM_USER, .parts = &text_part, .n_parts = 1};
    return (llm_request){.format = LLM_OPENAI, .messages = m, .n_messages = 1, .n = 1};
}

static void test_plain(void **state)
{
    (void)state;
    llm_message m;
    llm_request q = simple(&m);
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"generationConfig\":{}}",
                "");
}

static void test_config(void **state)
{
    (void)state;
    llm_message m;
    llm_request q = simple(&m);
    sv_str left[] = {S("logit_bias")};
    q.max_tokens = 100000;
    q.temperature = sv_cstr("0.50");
    q.top_p = sv_cstr("0.9");
    q.top_k = sv_cstr("40");
    q.seed = sv_cstr("7");
    q.presence_penalty = sv_cstr("0.1");
    q.frequency_penalty = sv_cstr("-0.2");
    for (q.n_stops = 0; q.n_stops < 6; q.n_stops++)
        q.stops[q.n_stops] = sv_cstr("\\n");
    q.n = 2;
    q.shape = LLM_SHAPE_SCHEMA;
    q.schema = sv_cstr("{\"$ref\":\"#/$defs/a\"}");
    q.effort = sv_cstr("low");
    q.show_thinking = true;
    q.user = sv_cstr("u1");
    q.left = left;
    q.n_left = 1;
    expect_body(&llm_gemini, &q, &flash,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"generationConfig\":{\"maxOutputTokens\":8192,\"temperature\":0.50,\"topP\":0.9,"
                "\"topK\":40,\"presencePenalty\":0.1,\"frequencyPenalty\":-0.2,\"seed\":7,"
                "\"stopSequences\":[\"\\n\",\"\\n\",\"\\n\",\"\\n\",\"\\n\"],\"candidateCount\":2,"
                "\"responseMimeType\":\"application/json\","
                "\"responseJsonSchema\":{\"$ref\":\"#/$defs/a\"},"
                "\"thinkingConfig\":{\"thinkingBudget\":1024,\"includeThoughts\":true}}}",
                "stop[5], user, logit_bias");
    q.n = 9;
    expect_refusal(&llm_gemini, &q, &flash, SV_E_OUT_OF_RANGE, "n");
}

static void expect_thinking(const llm_target *t, const char *effort, int64_t budget,
                            const char *want, const char *dropped)
{
    llm_message m;
    llm_request q = simple(&m);
    char body[256];
    if (effort) q.effort = sv_cstr(effort);
    q.thinking_tokens = budget;
    snprintf(body, sizeof body,
             "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
             "\"generationConfig\":{%s}}",
             want);
    expect_body(&llm_gemini, &q, t, body, dropped);
}

static void test_thinking(void **state)
{
    (void)state;
    expect_thinking(&flash, "high", 0, "\"thinkingConfig\":{\"thinkingBudget\":24576}", "");
    expect_thinking(&pro, "max", 0, "\"thinkingConfig\":{\"thinkingBudget\":32768}", "");
    expect_thinking(&flash, NULL, 99999, "\"thinkingConfig\":{\"thinkingBudget\":24576}", "");
    expect_thinking(&flash, NULL, 2000, "\"thinkingConfig\":{\"thinkingBudget\":2000}", "");
    expect_thinking(&flash, NULL, -1, "\"thinkingConfig\":{\"thinkingBudget\":0}", "");
    expect_thinking(&pro, "none", 0, "\"thinkingConfig\":{\"thinkingBudget\":128}",
                    "reasoning_effort");
    expect_thinking(&flash, "much", 0, "", "reasoning_effort");
}

static void test_seed_and_shape(void **state)
{
    (void)state;
    llm_message m;
    llm_request q = simple(&m);
    llm_tool tool = {.name = S("f")};
    q.seed = sv_cstr("4294967296");
    q.shape = LLM_SHAPE_JSON;
    q.tools = &tool;
    q.n_tools = 1;
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"}]}],"
                "\"generationConfig\":{}}",
                "seed, response_format");
    q.seed.p = NULL;
    expect_body(&llm_gemini, &q, &three,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"}]}],"
                "\"generationConfig\":{\"responseMimeType\":\"application/json\"}}",
                "");
}

static void test_tools(void **state)
{
    (void)state;
    llm_message m;
    llm_request q = simple(&m);
    llm_tool tools[] = {{.name = S("f"),
                         .description = S("does"),
                         .schema = S("{\"type\":\"object\"}"),
                         .strict = true},
                        {.name = S("web_search"), .foreign = true}};
    q.tools = tools;
    q.n_tools = 2;
    q.tool_choice = LLM_CHOICE_NAMED;
    q.tool_name = sv_cstr("f");
    q.parallel_tools = LLM_NO;
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"does\","
                "\"parametersJsonSchema\":{\"type\":\"object\"}}]}],"
                "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\","
                "\"allowedFunctionNames\":[\"f\"]}},\"generationConfig\":{}}",
                "tools.strict, tools[1], parallel_tool_calls");
}

static llm_part seen[] = {{.kind = LLM_PART_TEXT, .text = S("sunny")},
                          {.kind = LLM_PART_IMAGE, .media_type = S("image/png"), .data = S("AAAA")},
                          {.kind = LLM_PART_TEXT, .text = S("warm")}};

static void test_calls(void **state)
{
    (void)state;
    llm_part system = {.kind = LLM_PART_TEXT, .text = S("Be short.")};
    llm_part calls[] = {
        {.kind = LLM_PART_THINKING,
         .text = S("other"),
         .signature = S("x"),
         .origin = LLM_ANTHROPIC},
        {.kind = LLM_PART_CALL, .id = S("call_gm_abc"), .name = S("f"), .raw = S("{\"a\":1}")},
        {.kind = LLM_PART_CALL,
         .id = S("id2"),
         .name = S("g"),
         .raw = S("{}"),
         .signature = S("SIG"),
         .origin = LLM_GEMINI},
        {.kind = LLM_PART_CALL, .id = S("id3"), .name = S("h"), .raw = S("{}")}};
    llm_part first = {.kind = LLM_PART_RESULT,
                      .id = S("call_gm_abc"),
                      .name = S("f"),
                      .parts = seen,
                      .n_parts = 3};
    llm_part second = {.kind = LLM_PART_RESULT,
                       .id = S("id2"),
                       .name = S("g"),
                       .parts = seen,
                       .n_parts = 1,
                       .is_error = true};
    llm_message messages[] = {{.role = LLM_SYSTEM, .parts = &system, .n_parts = 1},
                              {.role = LLM_USER, .parts = &text_part, .n_parts = 1},
                              {.role = LLM_ASSISTANT, .parts = calls, .n_parts = 4},
                              {.role = LLM_TOOL, .parts = &first, .n_parts = 1},
                              {.role = LLM_TOOL, .parts = &second, .n_parts = 1},
                              {.role = LLM_USER, .parts = &text_part, .n_parts = 1}};
    llm_request q = {.messages = messages, .n_messages = N(messages), .n = 1};
    static const char tail[] =
        "{\"functionCall\":{\"id\":\"id2\",\"name\":\"g\",\"args\":{}},\"thoughtSignature\":"
        "\"SIG\"},"
        "{\"functionCall\":{\"id\":\"id3\",\"name\":\"h\",\"args\":{}}}]},"
        "{\"role\":\"user\",\"parts\":["
        "{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"sunny\\nwarm\"}}},"
        "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}},"
        "{\"functionResponse\":{\"id\":\"id2\",\"name\":\"g\",\"response\":{\"error\":\"sunny\"}}}]"
        "},"
        "{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
        "\"systemInstruction\":{\"parts\":[{\"text\":\"Be short.\"}]},\"generationConfig\":{}}";
    static const char start[] = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi "
                                "\\\"you\\\"\"}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":"
                                "{\"name\":\"f\",\"args\":{\"a\":1}}";
    char body[2048];
    snprintf(body, sizeof body, "%s},%s", start, tail);
    expect_body(&llm_gemini, &q, &pro, body, "thinking");
    snprintf(body, sizeof body, "%s,\"thoughtSignature\":\"skip_thought_signature_validator\"},%s",
             start, tail);
    expect_body(&llm_gemini, &q, &three, body, "thinking");
}

static void test_media(void **state)
{
    (void)state;
    llm_part parts[] = {
        {.kind = LLM_PART_IMAGE, .url = S("https://a.b/c.PNG?x=1")},
        {.kind = LLM_PART_FILE, .url = S("https://a.b/c")},
        {.kind = LLM_PART_AUDIO, .media_type = S("audio/wav"), .data = S("UklG")},
        {.kind = LLM_PART_TEXT, .text = S("")},
        {.kind = LLM_PART_TEXT, .text = S("what?"), .extra = S("{\"type\":\"ephemeral\"}")}};
    llm_message m = {.role = LLM_USER, .parts = parts, .n_parts = N(parts)};
    llm_request q = {.messages = &m, .n_messages = 1, .n = 1};
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":["
                "{\"fileData\":{\"mimeType\":\"image/png\",\"fileUri\":\"https://a.b/c.PNG?x=1\"}},"
                "{\"fileData\":{\"fileUri\":\"https://a.b/c\"}},"
                "{\"inlineData\":{\"mimeType\":\"audio/wav\",\"data\":\"UklG\"}},"
                "{\"text\":\"what?\"}]}],\"generationConfig\":{}}",
                "cache_control");
    parts[1].url = (sv_str){NULL, 0};
    expect_refusal(&llm_gemini, &q, &pro, SV_E_INVALID, "messages[0]");
}

static void test_signatures(void **state)
{
    (void)state;
    llm_part parts[] = {
        {.kind = LLM_PART_THINKING, .text = S("hm"), .signature = S("T"), .origin = LLM_GEMINI},
        {.kind = LLM_PART_THINKING, .text = S("unsigned")},
        {.kind = LLM_PART_OPAQUE, .signature = S("O"), .origin = LLM_GEMINI},
        {.kind = LLM_PART_OPAQUE, .signature = S("O"), .origin = LLM_RESPONSES},
        {.kind = LLM_PART_TEXT, .text = S("a")}};
    llm_message m[] = {{.role = LLM_USER, .parts = &text_part, .n_parts = 1},
                       {.role = LLM_ASSISTANT, .parts = parts, .n_parts = N(parts)}};
    llm_request q = {.messages = m, .n_messages = 2, .n = 1};
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]},"
                "{\"role\":\"model\",\"parts\":["
                "{\"thought\":true,\"text\":\"hm\",\"thoughtSignature\":\"T\"},"
                "{\"text\":\"\",\"thoughtSignature\":\"O\"},{\"text\":\"a\"}]}],"
                "\"generationConfig\":{}}",
                "thinking");
}

static void test_prefill(void **state)
{
    (void)state;
    llm_message m[] = {{.role = LLM_USER, .parts = &text_part, .n_parts = 1},
                       {.role = LLM_ASSISTANT, .parts = &text_part, .n_parts = 1}};
    llm_request q = {.messages = m, .n_messages = 2, .n = 1};
    llm_target none = pro;
    none.no_prefill = true;
    expect_body(&llm_gemini, &q, &none,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"generationConfig\":{}}",
                "messages[1]");
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]},"
                "{\"role\":\"model\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"generationConfig\":{}}",
                "");
}

static void test_no_contents(void **state)
{
    (void)state;
    llm_part empty = {.kind = LLM_PART_TEXT, .text = S("")};
    llm_message m = {.role = LLM_SYSTEM, .parts = &text_part, .n_parts = 1};
    llm_request q = {.messages = &m, .n_messages = 1, .n = 1};
    expect_body(&llm_gemini, &q, &pro,
                "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi \\\"you\\\"\"}]}],"
                "\"generationConfig\":{}}",
                "");
    m.parts = &empty;
    expect_refusal(&llm_gemini, &q, &pro, SV_E_INVALID, "messages");
}

/* ---- answers ---- */

static void test_stream(void **state)
{
    (void)state;
    const char *const pieces[] = {
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"let me see\",\"thought\":true}],"
        "\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":10},"
        "\"modelVersion\":\"gemini-2.5-pro\",\"responseId\":\"r1\"}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\\u006co\"}]}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thoughtSignature\":\"S+/=\"}]},"
        "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":10,"
        "\"cachedContentTokenCount\":4,\"toolUsePromptTokenCount\":2,\"candidatesTokenCount\":5,"
        "\"thoughtsTokenCount\":7,\"totalTokenCount\":24}}",
        NULL};
    expect_trace(&llm_gemini, pieces,
                 "START r1 gemini-2.5-pro\nTHINKING let me see\n"
                 "USAGE 10/0 cached 0 reasoning 0\nTEXT Hel\\u006co\nSIGNATURE -1 S+/=\n"
                 "FINISH stop\nUSAGE 12/12 cached 4 reasoning 7\n",
                 true);
}

static void test_list(void **state)
{
    (void)state;
    const char *const pieces[] = {
        "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]},\n"
        "{\"candidates\":[{\"finishReason\":\"\"},{\"finishReason\":\"MAX_TOKENS\"}]}]",
        NULL};
    const char *const tongue[] = {"{\"candidates\":[{\"finishReason\":\"LANGUAGE\"}]}", NULL};
    expect_trace(&llm_gemini, tongue, "START  \nFINISH filter LANGUAGE\n", true);
    expect_trace(&llm_gemini, pieces, "START  \nTEXT a\nFINISH length\n", true);
    const char *const cut[] = {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}",
                               NULL};
    expect_trace(&llm_gemini, cut, "START  \nTEXT a\n", false);
    expect_trace(&llm_gemini, (const char *[]){NULL}, "", false);
}

static void test_read_calls(void **state)
{
    (void)state;
    const char *const pieces[] = {
        "{\"candidates\":[{\"content\":{\"parts\":["
        "{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":\"x\\\"\\n\"}},\"thoughtSignature\":"
        "\"S\"},"
        "{\"functionCall\":{\"id\":\"given\",\"name\":\"g\"}}]},\"finishReason\":\"STOP\"}]}",
        NULL};
    trace t = {0};
    bool done;
    assert_int_equal(trace_read(&t, &llm_gemini, pieces, &done), 0);
    assert_true(done);
    assert_string_equal(t.id, "given");
    assert_string_equal(t.out.p, "START  \nCALL 0 f\n"
                                 "ARGUMENTS 0 {\\\"a\\\":\\\"x\\\\\\\"\\\\n\\\"}\nSIGNATURE 0 S\n"
                                 "CALL 1 g\nARGUMENTS 1 {}\nFINISH tools\n");
    buf_free(&t.out);
    t = (trace){.fail_at = 4};
    assert_int_equal(trace_read(&t, &llm_gemini, pieces, &done), SV_E_CANCELLED);
    assert_int_equal(strncmp(t.id, "call_gm_", 8), 0);
    assert_int_equal(strlen(t.id), 8 + 24);
    buf_free(&t.out);
}

static void test_candidates(void **state)
{
    (void)state;
    const char *const pieces[] = {
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"},"
        "{\"index\":1,\"content\":{\"parts\":[{\"text\":\"b\"}]}}]}",
        NULL, NULL};
    expect_trace(&llm_gemini, pieces, "START  \nTEXT a\nFINISH stop\nTEXT #1 b\n", false);
    const char *more[] = {pieces[0], "{\"candidates\":[{\"index\":1,\"finishReason\":\"SAFETY\"}]}",
                          NULL};
    expect_trace(&llm_gemini, more,
                 "START  \nTEXT a\nFINISH stop\nTEXT #1 b\nFINISH #1 filter SAFETY\n", true);
}

static void test_blocked(void **state)
{
    (void)state;
    const char *const pieces[] = {"{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},"
                                  "\"usageMetadata\":{\"promptTokenCount\":3}}",
                                  NULL};
    expect_trace(&llm_gemini, pieces,
                 "START  \nFINISH filter PROHIBITED_CONTENT\nUSAGE 3/0 cached 0 reasoning 0\n",
                 true);
}

static void test_failures(void **state)
{
    (void)state;
    const char *const broken[] = {"{\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\","
                                  "\"finishMessage\":\"bad \\\"f\\\"\"}]}",
                                  NULL};
    expect_trace(&llm_gemini, broken, "START  \nFAILED 502 MALFORMED_FUNCTION_CALL bad \\\"f\\\"\n",
                 false);
    trace t = {0};
    bool done;
    const char *const error[] = {"{\"error\":{\"code\":503,\"message\":\"The model is "
                                 "overloaded.\",\"status\":\"UNAVAILABLE\"}}",
                                 NULL};
    assert_int_equal(trace_read(&t, &llm_gemini, error, &done), 0);
    assert_false(done);
    assert_non_null(strstr(t.out.p, "FAILED 503"));
    assert_non_null(strstr(t.out.p, "The model is overloaded."));
    buf_free(&t.out);
}

static void test_image(void **state)
{
    (void)state;
    const char *const pieces[] = {
        "{\"candidates\":[{\"content\":{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\","
        "\"data\":\"AAAA\"}}]},\"finishReason\":\"STOP\"}]}",
        NULL};
    expect_trace(&llm_gemini, pieces,
                 "START  \nTEXT ![](data:\nTEXT image/png\nTEXT ;base64,\nTEXT AAAA\nTEXT )\n"
                 "FINISH stop\n",
                 true);
}

static void test_garbage(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[1]",
        "\"x\"",
        "{}x",
        "{\"candidates\":[{\"index\":8}]}",
        "{\"candidates\":[{\"index\":-1}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{}}]}}]}",
        ("{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":[]}}"
         "]"
         "}}]}"),
        "{\"candidates\":[{\"content\":{\"parts\":[{\"inlineData\":{}}]}}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_garbage(&llm_gemini, bad[i], SV_E_PROVIDER_GARBAGE);
}

static void test_limits(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1 << 24);
    buf_puts(&b, "{\"candidates\":[{\"content\":{\"parts\":[");
    for (int i = 0; i <= LLM_CALLS; i++)
        buf_puts(&b, i ? ",{\"functionCall\":{\"name\":\"f\"}}"
                       : "{\"functionCall\":{\"name\":\"f\"}}");
    buf_puts(&b, "]}}]}");
    buf_putc(&b, 0);
    expect_garbage(&llm_gemini, b.p, SV_E_PROVIDER_TOO_LARGE);
    buf_reset(&b, 0);
    buf_puts(&b, "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\","
                 "\"args\":{\"a\":\"");
    for (int i = 0; i < LLM_ARGUMENTS_BYTES; i++)
        buf_putc(&b, 'a');
    buf_puts(&b, "\"}}}]}}]}");
    buf_putc(&b, 0);
    expect_garbage(&llm_gemini, b.p, SV_E_PROVIDER_TOO_LARGE);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),           cmocka_unit_test(test_plain),
        cmocka_unit_test(test_config),         cmocka_unit_test(test_thinking),
        cmocka_unit_test(test_seed_and_shape), cmocka_unit_test(test_tools),
        cmocka_unit_test(test_calls),          cmocka_unit_test(test_media),
        cmocka_unit_test(test_signatures),     cmocka_unit_test(test_no_contents),
        cmocka_unit_test(test_prefill),        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_list),           cmocka_unit_test(test_read_calls),
        cmocka_unit_test(test_candidates),     cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_failures),       cmocka_unit_test(test_image),
        cmocka_unit_test(test_garbage),        cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
