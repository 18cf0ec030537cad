/*  test_ollama.c - Ollama's /api/chat on both sides: requests parsed and written, lines read and written. */
#include "turn_kit.h"

static const llm_target target = {.model = S("llama3.2:3b"), .stream = true};

/* Parses a copy whose end the sanitizer watches; the copy and the arena live as long as the request. */
typedef struct parsed {
    arena a;
    char *copy;
    llm_request q;
    sv_error err;
    int rc;
} parsed;

static void parse(parsed *p, const char *text)
{
    *p = (parsed){0};
    arena_init(&p->a, 1 << 24);
    p->copy = heap_copy(sv_cstr(text));
    sv_str body = {p->copy, (uint32_t)strlen(text)};
    assert_int_equal(json_skim(body, 64, &p->err), 0);
    p->rc = llm_ollama.parse(body, &p->a, &p->q, &p->err);
}

static void drop(parsed *p)
{
    arena_free(&p->a);
    free(p->copy);
}

/* ---- the client's request ---- */

static void test_parse_plain(void **state)
{
    (void)state;
    parsed p;
    parse(&p, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi \\u00e9\"}]}");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.q.format, LLM_OLLAMA);
    assert_true(p.q.stream);
    assert_true(p.q.include_usage);
    assert_false(p.q.show_thinking);
    assert_int_equal(p.q.n, 1);
    assert_int_equal(p.q.n_messages, 1);
    assert_int_equal(p.q.messages[0].role, LLM_USER);
    assert_int_equal(p.q.messages[0].n_parts, 1);
    assert_true(sv_str_is(p.q.messages[0].parts[0].text, "Hi \\u00e9"));
    drop(&p);
}

static void test_parse_all(void **state)
{
    (void)state;
    parsed p;
    parse(&p,
          "{\"model\":\"m\",\"stream\":false,\"think\":\"high\",\"keep_alive\":\"5m\","
          "\"format\":{\"type\":\"object\"},"
          "\"options\":{\"num_predict\":12,\"temperature\":0.5,\"top_p\":0.9,\"top_k\":40,"
          "\"seed\":7,\"presence_penalty\":1,\"frequency_penalty\":2,\"stop\":[\"a\",\"b\"],"
          "\"num_ctx\":8192,\"mirostat\":1},"
          "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
          "\"parameters\":{\"type\":\"object\"}}},{\"type\":\"web\"}],"
          "\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":"
          "\"U\","
          "\"images\":[\"iVBORw0KGgoAAA==\",\"\\/9j\\/AAAA\"]}]}");
    assert_int_equal(p.rc, 0);
    assert_false(p.q.stream);
    assert_true(sv_str_is(p.q.effort, "high"));
    assert_true(p.q.show_thinking);
    assert_int_equal(p.q.shape, LLM_SHAPE_SCHEMA);
    assert_true(sv_str_is(p.q.schema, "{\"type\":\"object\"}"));
    assert_int_equal(p.q.max_tokens, 12);
    assert_true(sv_str_is(p.q.temperature, "0.5"));
    assert_true(sv_str_is(p.q.top_p, "0.9"));
    assert_true(sv_str_is(p.q.top_k, "40"));
    assert_true(sv_str_is(p.q.seed, "7"));
    assert_true(sv_str_is(p.q.presence_penalty, "1"));
    assert_true(sv_str_is(p.q.frequency_penalty, "2"));
    assert_int_equal(p.q.n_stops, 2);
    assert_true(sv_str_is(p.q.stops[1], "b"));
    assert_int_equal(p.q.n_tools, 2);
    assert_true(sv_str_is(p.q.tools[0].name, "f"));
    assert_true(sv_str_is(p.q.tools[0].description, "d"));
    assert_true(sv_str_is(p.q.tools[0].schema, "{\"type\":\"object\"}"));
    assert_true(p.q.tools[1].foreign);
    assert_int_equal(p.q.n_left, 3);
    assert_true(sv_str_is(p.q.left[0], "keep_alive"));
    assert_true(sv_str_is(p.q.left[1], "options.num_ctx"));
    assert_true(sv_str_is(p.q.left[2], "options.mirostat"));
    const llm_message *m = &p.q.messages[1];
    assert_int_equal(m->n_parts, 3);
    assert_true(sv_str_is(m->parts[1].media_type, "image/png"));
    assert_true(sv_str_is(m->parts[2].media_type, "image/jpeg"));
    assert_true(sv_str_is(m->parts[2].data, "/9j/AAAA"));
    drop(&p);
}

/* Results find their calls by name in order, by the only one left, and by id. */
static void test_parse_calls(void **state)
{
    (void)state;
    parsed p;
    parse(&p, "{\"messages\":[{\"role\":\"user\",\"content\":\"go\"},"
              "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\",\"tool_calls\":["
              "{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}},"
              "{\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":2}\"}},"
              "{\"id\":\"mine\",\"function\":{\"name\":\"g\"},\"signature\":\"sv1.gemini.SIG\"}]},"
              "{\"role\":\"tool\",\"content\":\"1\",\"tool_name\":\"f\"},"
              "{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"mine\"},"
              "{\"role\":\"tool\",\"content\":\"2\"},"
              "{\"role\":\"tool\",\"content\":\"?\",\"tool_name\":\"h\"}]}");
    assert_int_equal(p.rc, 0);
    const llm_part *c = p.q.messages[1].parts;
    assert_int_equal(p.q.messages[1].n_parts, 4);
    assert_int_equal(c[0].kind, LLM_PART_THINKING);
    assert_true(sv_str_is(c[1].id, "call_1_0"));
    assert_true(sv_str_is(c[1].raw, "{\"a\":1}"));
    assert_true(sv_str_is(c[2].id, "call_1_1"));
    assert_true(sv_str_is(c[2].raw, "{\"a\":2}"));
    assert_true(sv_str_is(c[3].id, "mine"));
    assert_true(sv_str_is(c[3].raw, "{}"));
    assert_int_equal(c[3].origin, LLM_GEMINI);
    assert_true(sv_str_is(c[3].signature, "SIG"));
    static const char *const ids[] = {"call_1_0", "mine", "call_1_1", "call_5_-1"};
    static const char *const names[] = {"f", "g", "f", "h"};
    for (int i = 0; i < 4; i++) {
        const llm_message *m = &p.q.messages[2 + i];
        assert_int_equal(m->role, LLM_TOOL);
        assert_int_equal(m->n_parts, 1);
        assert_int_equal(m->parts[0].kind, LLM_PART_RESULT);
        assert_int_equal(m->parts[0].n_parts, 1);
        assert_true(sv_str_is(m->parts[0].id, ids[i]));
        assert_true(sv_str_is(m->parts[0].name, names[i]));
    }
    drop(&p);
}

static void test_parse_think(void **state)
{
    (void)state;
    parsed p;
    parse(
        &p,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"think\":false,\"format\":\"json\","
        "\"options\":{\"num_predict\":-1}}");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.q.thinking_tokens, -1);
    assert_false(p.q.show_thinking);
    assert_int_equal(p.q.shape, LLM_SHAPE_JSON);
    assert_int_equal(p.q.max_tokens, 0);
    drop(&p);
    parse(&p,
          "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"think\":true,\"format\":\"\"}");
    assert_int_equal(p.rc, 0);
    assert_true(sv_str_is(p.q.effort, "medium"));
    assert_true(p.q.show_thinking);
    assert_int_equal(p.q.shape, LLM_SHAPE_TEXT);
    drop(&p);
}

static void test_parse_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *field;
    } rows[] = {
        {"[]", SV_E_WRONG_TYPE, ""},
        {"{}", SV_E_MISSING_FIELD, "messages"},
        {"{\"messages\":{}}", SV_E_WRONG_TYPE, "messages"},
        {"{\"messages\":[]}", SV_E_INVALID, "messages"},
        {"{\"messages\":[1]}", SV_E_WRONG_TYPE, "messages[0]"},
        {"{\"messages\":[{}]}", SV_E_MISSING_FIELD, "messages[0].role"},
        {"{\"messages\":[{\"role\":\"x\"}]}", SV_E_INVALID, "messages[0].role"},
        {"{\"messages\":[{\"role\":1}]}", SV_E_WRONG_TYPE, "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", SV_E_WRONG_TYPE,
         "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"images\":[\"AAAA\"]}]}", SV_E_INVALID,
         "messages[0].images[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"images\":[\"iVBORw0KGgo\\\"}\"]}]}", SV_E_INVALID,
         "messages[0].images[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"images\":[7]}]}", SV_E_WRONG_TYPE,
         "messages[0].images[0]"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}", SV_E_MISSING_FIELD,
         "messages[0].tool_calls[0].function"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]}",
         SV_E_MISSING_FIELD, "messages[0].tool_calls[0].function.name"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[{}]}",
         SV_E_MISSING_FIELD, "tools[0].function"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"format\":\"xml\"}", SV_E_INVALID,
         "format"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"think\":3}", SV_E_WRONG_TYPE,
         "think"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"stream\":1}", SV_E_WRONG_TYPE,
         "stream"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"options\":{\"num_predict\":1.5}}",
         SV_E_WRONG_TYPE, "options.num_predict"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"options\":{\"top_k\":\"x\"}}",
         SV_E_WRONG_TYPE, "options.top_k"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        parsed p;
        parse(&p, rows[i].text);
        assert_int_equal(p.rc, rows[i].code);
        assert_string_equal(p.err.field, rows[i].field);
        assert_true(p.err.message[0]);
        drop(&p);
    }
}

/* ---- the provider's request ---- */

static void test_write(void **state)
{
    (void)state;
    llm_part system = {.kind = LLM_PART_TEXT, .text = S("S")};
    llm_part user[] = {{.kind = LLM_PART_TEXT, .text = S("a")},
                       {.kind = LLM_PART_IMAGE, .media_type = S("image/png"), .data = S("AAAA")},
                       {.kind = LLM_PART_TEXT, .text = S("b")}};
    llm_part said[] = {
        {.kind = LLM_PART_THINKING, .text = S("hm")},
        {.kind = LLM_PART_THINKING, .text = S("no"), .signature = S("x"), .origin = LLM_ANTHROPIC},
        {.kind = LLM_PART_CALL, .id = S("c1"), .name = S("f"), .raw = S("{\"a\":1}")}};
    llm_part answer = {.kind = LLM_PART_TEXT, .text = S("42")};
    llm_part last[] = {
        {.kind = LLM_PART_RESULT, .id = S("c1"), .name = S("f"), .parts = &answer, .n_parts = 1},
        {.kind = LLM_PART_TEXT, .text = S("and?")}};
    llm_message messages[] = {{.role = LLM_SYSTEM, .parts = &system, .n_parts = 1},
                              {.role = LLM_USER, .parts = user, .n_parts = 3},
                              {.role = LLM_ASSISTANT, .parts = said, .n_parts = 3},
                              {.role = LLM_USER, .parts = last, .n_parts = 2}};
    llm_tool tools[] = {
        {.name = S("f"), .description = S("d"), .schema = S("{\"type\":\"object\"}")},
        {.name = S("g")},
        {.name = S("search"), .foreign = true}};
    llm_request q = {.messages = messages,
                     .n_messages = 4,
                     .tools = tools,
                     .n_tools = 3,
                     .n = 1,
                     .max_tokens = 9,
                     .temperature = S("0"),
                     .seed = S("1"),
                     .n_stops = 1,
                     .stops = {S("x")},
                     .shape = LLM_SHAPE_SCHEMA,
                     .schema = S("{\"a\":1}"),
                     .effort = S("minimal")};
    expect_body(
        &llm_ollama, &q, &target,
        "{\"model\":\"llama3.2:3b\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
        "{\"role\":\"user\",\"content\":\"a\\nb\",\"images\":[\"AAAA\"]},"
        "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\",\"tool_calls\":["
        "{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},"
        "{\"role\":\"tool\",\"content\":\"42\",\"tool_name\":\"f\",\"tool_call_id\":\"c1\"},"
        "{\"role\":\"user\",\"content\":\"and?\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
        "\"parameters\":{\"type\":\"object\"}}},{\"type\":\"function\",\"function\":"
        "{\"name\":\"g\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],"
        "\"format\":{\"a\":1},\"options\":{\"num_predict\":9,\"temperature\":0,\"seed\":1,"
        "\"stop\":[\"x\"]},\"think\":true,\"stream\":true}",
        "thinking, tools[2]");
}

static void test_write_choice(void **state)
{
    (void)state;
    llm_part text = {.kind = LLM_PART_TEXT, .text = S("a")};
    llm_message m = {.role = LLM_USER, .parts = &text, .n_parts = 1};
    llm_tool tools[] = {{.name = S("f")}, {.name = S("g")}};
    llm_request q = {.messages = &m,
                     .n_messages = 1,
                     .tools = tools,
                     .n_tools = 2,
                     .n = 2,
                     .tool_choice = LLM_CHOICE_NAMED,
                     .tool_name = S("g"),
                     .user = S("u"),
                     .thinking_tokens = -1,
                     .parallel_tools = LLM_NO};
    expect_body(&llm_ollama, &q, &target,
                "{\"model\":\"llama3.2:3b\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":"
                "{\"type\":\"object\",\"properties\":{}}}}],\"options\":{},\"think\":false,"
                "\"stream\":true}",
                "parallel_tool_calls, tool_choice, n, user");
    q.tool_choice = LLM_CHOICE_NONE;
    q.parallel_tools = LLM_UNSAID;
    q.thinking_tokens = 500;
    q.shape = LLM_SHAPE_JSON;
    q.n = 1;
    q.user.n = 0;
    expect_body(&llm_ollama, &q, &target,
                "{\"model\":\"llama3.2:3b\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"format\":\"json\",\"options\":{},\"think\":true,\"stream\":true}",
                "");
}

/* Only gpt-oss knows levels, and wants one. */
static void test_write_think(void **state)
{
    (void)state;
    static const struct {
        const char *model, *effort;
        int64_t budget;
        const char *want;
    } rows[] = {{"gpt-oss:20b", "minimal", 0, "\"low\""}, {"gpt-oss:20b", "max", 0, "\"high\""},
                {"gpt-oss:20b", NULL, 9000, "\"high\""},  {"gpt-oss:20b", "odd", 0, "true"},
                {"qwen3:8b", "high", 0, "true"},          {"qwen3:8b", NULL, 9000, "true"},
                {"qwen3:8b", "none", 0, "false"},         {"qwen3:8b", NULL, -1, "false"}};
    llm_part text = {.kind = LLM_PART_TEXT, .text = S("a")};
    llm_message m = {.role = LLM_USER, .parts = &text, .n_parts = 1};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[256];
        llm_request q = {.messages = &m,
                         .n_messages = 1,
                         .n = 1,
                         .effort = sv_cstr(rows[i].effort),
                         .thinking_tokens = rows[i].budget};
        llm_target t = {.model = sv_cstr(rows[i].model)};
        snprintf(want, sizeof want,
                 "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                 "\"options\":{},\"think\":%s,\"stream\":false}",
                 rows[i].model, rows[i].want);
        expect_body(&llm_ollama, &q, &t, want, i == 3 ? "reasoning_effort" : "");
    }
}

static void test_write_prefill(void **state)
{
    (void)state;
    llm_part text = {.kind = LLM_PART_TEXT, .text = S("a")};
    llm_message m[] = {{.role = LLM_USER, .parts = &text, .n_parts = 1},
                       {.role = LLM_ASSISTANT, .parts = &text, .n_parts = 1}};
    llm_request q = {.messages = m, .n_messages = 2, .n = 1};
    llm_target none = {.model = S("m"), .no_prefill = true}, some = {.model = S("m")};
    expect_body(&llm_ollama, &q, &none,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"options\":{},\"stream\":false}",
                "messages[1]");
    expect_body(&llm_ollama, &q, &some,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
                "{\"role\":\"assistant\",\"content\":\"a\"}],\"options\":{},\"stream\":false}",
                "");
}

static void test_write_refuses(void **state)
{
    (void)state;
    llm_part part = {.kind = LLM_PART_IMAGE, .url = S("https://a/b.png")};
    llm_message m = {.role = LLM_USER, .parts = &part, .n_parts = 1};
    llm_request q = {.messages = &m, .n_messages = 1, .n = 1};
    expect_refusal(&llm_ollama, &q, &target, SV_E_INVALID, "messages[0].content");
    part.kind = LLM_PART_AUDIO;
    expect_refusal(&llm_ollama, &q, &target, SV_E_INVALID, "messages[0].content");
    part.kind = LLM_PART_FILE;
    expect_refusal(&llm_ollama, &q, &target, SV_E_INVALID, "messages[0].content");
}

/* ---- the provider's answer ---- */

static void test_read(void **state)
{
    (void)state;
    const char *const lines[] = {
        "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"}"
        ","
        "\"done\":false}",
        "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\\n\"},\"done\":"
        "false}",
        "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
        "\"done_reason\":\"length\",\"prompt_eval_count\":11,\"eval_count\":3}",
        NULL};
    expect_trace(&llm_ollama, lines,
                 "START  m\nTHINKING hm\nTEXT Hi\\n\nFINISH length\n"
                 "USAGE 11/3 cached 0 reasoning 0\n",
                 true);
    const char *const cut[] = {lines[1], NULL};
    expect_trace(&llm_ollama, cut, "START  m\nTEXT Hi\\n\n", false);
    const char *const uncounted[] = {"{\"done\":true,\"done_reason\":\"\",\"eval_count\":3}", NULL};
    expect_trace(&llm_ollama, uncounted, "START  \nFINISH stop\n", true);
}

static void test_read_calls(void **state)
{
    (void)state;
    const char *const lines[] = {
        "{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":"
        "{\"a\":\"b\"}}},{\"id\":\"x\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},"
        "{\"function\":{\"name\":\"h\"}}]},\"done\":false}",
        "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}", NULL};
    trace t = {0};
    bool done;
    assert_int_equal(trace_read(&t, &llm_ollama, lines, &done), 0);
    assert_string_equal(t.out.p, "START  \nCALL 0 f\nARGUMENTS 0 {\\\"a\\\":\\\"b\\\"}\nCALL 1 g\n"
                                 "ARGUMENTS 1 {}\nCALL 2 h\nARGUMENTS 2 {}\nFINISH tools\n");
    assert_int_equal(strncmp(t.id, "call_", 5), 0);
    buf_free(&t.out);
}

static void test_read_failures(void **state)
{
    (void)state;
    trace t = {0};
    bool done;
    const char *const lines[] = {"{\"message\":{\"content\":\"Hi\"},\"done\":false}",
                                 "{\"error\":\"the model runner has stopped\"}", NULL};
    assert_int_equal(trace_read(&t, &llm_ollama, lines, &done), 0);
    assert_false(done);
    assert_non_null(strstr(t.out.p, "START  \nTEXT Hi\nFAILED 5"));
    assert_non_null(strstr(t.out.p, "the model runner has stopped"));
    buf_free(&t.out);
    static const char *const bad[] = {
        "", "{", "[]", "{\"message\":{\"tool_calls\":[{}]}}",
        "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":3}}]}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_garbage(&llm_ollama, bad[i], SV_E_PROVIDER_GARBAGE);
    t = (trace){0};
    const char *const after[] = {"{\"error\":\"no\"}", "{\"done\":true}", NULL};
    assert_int_equal(trace_read(&t, &llm_ollama, after, &done), 0);
    assert_false(done);
    buf_free(&t.out);
    t = (trace){0};
    const char *const more[] = {"{\"done\":true}", "{\"message\":{\"content\":\"x\"}}", NULL};
    assert_int_equal(trace_read(&t, &llm_ollama, more, &done), SV_E_PROVIDER_GARBAGE);
    buf_free(&t.out);
}

/* ---- the client's answer ---- */

typedef struct written {
    const llm_ops *to;
    llm_writer *w;
    buf out;
} written;

static void begin(written *t, const llm_ops *to, bool stream, const llm_request *q)
{
    llm_writer_spec spec = {.stream = stream,
                            .id = "abc",
                            .model = S("my \"model\""),
                            .created = 1700000000,
                            .request = q};
    t->to = to;
    t->w = to->writer_new(&spec);
    assert_non_null(t->w);
    buf_init(&t->out, 1 << 20);
}

static void give(written *t, llm_event e)
{
    assert_int_equal(t->to->writer_event(t->w, &e, &t->out), 0);
}

/* The bytes so far, with durations made 0. */
static void expect_written(written *t, const char *want)
{
    buf plain;
    buf_init(&plain, 1 << 20);
    const char *p = t->out.p, *end = p + t->out.n;
    while (p < end) {
        buf_putc(&plain, *p++);
        if (plain.n < 10 || memcmp(plain.p + plain.n - 10, "duration\":", 10) != 0) continue;
        assert_true(p < end && *p >= '0' && *p <= '9');
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        buf_putc(&plain, '0');
    }
    buf_putc(&plain, 0);
    assert_string_equal(plain.p, want);
    buf_free(&plain);
}

static void finish(written *t)
{
    assert_int_equal(t->to->writer_end(t->w, &t->out), 0);
    t->to->writer_free(t->w);
}

#define HEAD                                                                                       \
    "{\"model\":\"my \\\"model\\\"\",\"created_at\":\"2023-11-14T22:13:20Z\","                     \
    "\"message\":{\"role\":\"assistant\",\"content\":"
#define FIGURES(prompt, eval)                                                                      \
    ",\"total_duration\":0,\"load_duration\":0,\"prompt_eval_count\":" #prompt                     \
    ",\"prompt_eval_duration\":0,\"eval_count\":" #eval ",\"eval_duration\":0}"

static const tokens used = {.known = true, .prompt = 12, .completion = 5, .cached = 3};

static void test_stream_out(void **state)
{
    (void)state;
    written t;
    begin(&t, &llm_ollama, true, NULL);
    give(&t, (llm_event){.kind = LLM_START, .id = S("x")});
    assert_int_equal(t.out.n, 0);
    give(&t, (llm_event){.kind = LLM_THINKING, .text = S("hm")});
    give(&t, (llm_event){.kind = LLM_SIGNATURE, .index = -1, .text = S("sig")});
    give(&t, (llm_event){.kind = LLM_TEXT, .text = S("")});
    give(&t, (llm_event){.kind = LLM_TEXT, .text = S("Hi \\u00e9\\n")});
    give(&t, (llm_event){.kind = LLM_TEXT, .choice = 1, .text = S("second")});
    give(&t, (llm_event){.kind = LLM_FINISH, .finish = LLM_LENGTH});
    give(&t, (llm_event){.kind = LLM_USAGE, .usage = &used});
    finish(&t);
    expect_written(&t, HEAD "\"\",\"thinking\":\"hm\"},\"done\":false}\n" HEAD
                            "\"Hi \\u00e9\\n\"},\"done\":false}\n" HEAD
                            "\"\"},\"done_reason\":\"length\",\"done\":true" FIGURES(12, 5) "\n");
    buf_free(&t.out);
}

static void give_calls(written *t)
{
    give(t, (llm_event){.kind = LLM_CALL, .index = 0, .id = S("c0"), .name = S("f")});
    give(t, (llm_event){.kind = LLM_CALL, .index = 1, .id = S("c1"), .name = S("g")});
    give(t, (llm_event){.kind = LLM_ARGUMENTS, .index = 0, .text = S("{\\n \\\"a\\\":")});
    give(t, (llm_event){.kind = LLM_ARGUMENTS, .index = 1, .text = S("not json")});
    give(t, (llm_event){.kind = LLM_ARGUMENTS, .index = 0, .text = S("1}")});
    give(t, (llm_event){.kind = LLM_SIGNATURE, .index = 0, .text = S("SIG"), .origin = LLM_GEMINI});
    give(t, (llm_event){.kind = LLM_FINISH, .finish = LLM_TOOL_CALLS});
}

#define CALLS                                                                                      \
    ",\"tool_calls\":[{\"id\":\"c0\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":"      \
    "{  \"a\":1}},\"signature\":\"sv1.gemini.SIG\"},"                                              \
    "{\"id\":\"c1\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":"                       \
    "{\"invalid_arguments\":\"not json\"}}}]"

static void test_calls_out(void **state)
{
    (void)state;
    written t;
    begin(&t, &llm_ollama, true, NULL);
    give_calls(&t);
    give(&t, (llm_event){.kind = LLM_USAGE, .usage = &used});
    finish(&t);
    expect_written(&t, HEAD "\"\"" CALLS "},\"done\":false}\n" HEAD
                            "\"\"},\"done_reason\":\"stop\",\"done\":true" FIGURES(12, 5) "\n");
    buf_free(&t.out);
}

static void test_whole_out(void **state)
{
    (void)state;
    written t;
    begin(&t, &llm_ollama, false, NULL);
    give(&t, (llm_event){.kind = LLM_THINKING, .text = S("hm")});
    give(&t, (llm_event){.kind = LLM_TEXT, .text = S("a")});
    give(&t, (llm_event){.kind = LLM_TEXT, .text = S("b")});
    give_calls(&t);
    give(&t, (llm_event){.kind = LLM_USAGE, .usage = &used});
    assert_int_equal(t.out.n, 0);
    finish(&t);
    expect_written(&t, HEAD "\"ab\",\"thinking\":\"hm\"" CALLS
                            "},\"done_reason\":\"stop\",\"done\":true" FIGURES(12, 5));
    buf_free(&t.out);
}

static void test_hidden_thinking(void **state)
{
    (void)state;
    written t;
    llm_request q = {.thinking_tokens = -1};
    begin(&t, &llm_ollama, true, &q);
    give(&t, (llm_event){.kind = LLM_THINKING, .text = S("hm")});
    give(&t, (llm_event){.kind = LLM_REFUSED, .text = S("No.")});
    give(&t, (llm_event){.kind = LLM_FINISH, .finish = LLM_REFUSAL});
    finish(&t);
    expect_written(&t,
                   HEAD "\"No.\"},\"done\":false}\n" HEAD
                        "\"\"},\"done_reason\":\"refusal\",\"done\":true,\"total_duration\":0,"
                        "\"load_duration\":0,\"prompt_eval_duration\":0,\"eval_duration\":0}\n");
    buf_free(&t.out);
}

/* ---- /api/generate ---- */

static void test_generate_request(void **state)
{
    (void)state;
    expect_turn(
        &llm_generate,
        "{\"model\":\"m\",\"prompt\":\"Hi\",\"system\":\"S\",\"images\":[\"iVBORw0KGgoAAA==\"],"
        "\"format\":\"json\",\"options\":{\"num_predict\":9,\"num_ctx\":8},\"think\":\"low\","
        "\"keep_alive\":1,\"raw\":false,\"suffix\":\"\",\"template\":null,\"context\":[]}",
        &llm_ollama, &target,
        "{\"model\":\"llama3.2:3b\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
        "{\"role\":\"user\",\"content\":\"Hi\",\"images\":[\"iVBORw0KGgoAAA==\"]}],"
        "\"format\":\"json\",\"options\":{\"num_predict\":9},\"think\":true,"
        "\"stream\":true}",
        "keep_alive, options.num_ctx");
    static const struct {
        const char *text;
        int code;
        const char *field;
    } rows[] = {{"{}", SV_E_MISSING_FIELD, "prompt"},
                {"{\"prompt\":\"\"}", SV_E_MISSING_FIELD, "prompt"},
                {"{\"prompt\":[\"a\"]}", SV_E_WRONG_TYPE, "prompt"},
                {"{\"prompt\":\"a\",\"system\":1}", SV_E_WRONG_TYPE, "system"},
                {"{\"prompt\":\"a\",\"images\":\"x\"}", SV_E_WRONG_TYPE, "images"},
                {"{\"prompt\":\"a\",\"images\":[\"x\"]}", SV_E_INVALID, "images[0]"},
                {"{\"prompt\":\"a\",\"suffix\":\"b\"}", SV_E_INVALID, "suffix"},
                {"{\"prompt\":\"a\",\"template\":\"b\"}", SV_E_INVALID, "template"},
                {"{\"prompt\":\"a\",\"raw\":true}", SV_E_INVALID, "raw"},
                {"{\"prompt\":\"a\",\"context\":[1]}", SV_E_INVALID, "context"},
                {"{\"prompt\":\"a\",\"options\":[]}", SV_E_WRONG_TYPE, "options"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_bad(&llm_generate, rows[i].text, rows[i].code, rows[i].field);
}

#define GENERATED                                                                                  \
    "{\"model\":\"my \\\"model\\\"\",\"created_at\":\"2023-11-14T22:13:20Z\",\"response\":"

/* What Ollama answers is read, and written for a client of another provider. */
static void test_generate_answer(void **state)
{
    (void)state;
    expect_trace(
        &llm_generate,
        (const char *[]){"{\"model\":\"m\",\"response\":\"\",\"thinking\":\"hm\",\"done\":false}",
                         "{\"model\":\"m\",\"response\":\"Hi\",\"done\":false}",
                         "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":"
                         "\"stop\",\"context\":[1],\"prompt_eval_count\":11,\"eval_count\":3}",
                         NULL},
        "START  m\nTHINKING hm\nTEXT Hi\nFINISH stop\nUSAGE 11/3 cached 0 reasoning 0\n", true);
    written t;
    for (int stream = 0; stream < 2; stream++) {
        begin(&t, &llm_generate, stream, NULL);
        give(&t, (llm_event){.kind = LLM_THINKING, .text = S("hm")});
        give(&t, (llm_event){.kind = LLM_TEXT, .text = S("Hi\\n")});
        give(&t, (llm_event){.kind = LLM_CALL, .id = S("c"), .name = S("f")});
        give(&t, (llm_event){.kind = LLM_FINISH, .finish = LLM_STOP});
        give(&t, (llm_event){.kind = LLM_USAGE, .usage = &used});
        finish(&t);
        expect_written(
            &t, stream ? GENERATED "\"\",\"thinking\":\"hm\",\"done\":false}\n" GENERATED
                                   "\"Hi\\n\",\"done\":false}\n" GENERATED
                                   "\"\",\"done_reason\":\"stop\",\"done\":true" FIGURES(12, 5) "\n"
                       : GENERATED "\"Hi\\n\",\"thinking\":\"hm\",\"done_reason\":\"stop\","
                                   "\"done\":true" FIGURES(12, 5));
        buf_free(&t.out);
    }
}

static void test_errors_out(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 4096);
    llm_ollama.error_body(404, "t", "c", sv_cstr("no \"x\""), "r", &out);
    llm_ollama.error_event(NULL, 500, "t", "c", sv_cstr("gone"), &out);
    buf_putc(&out, 0);
    assert_string_equal(out.p, "{\"error\":\"no \\\"x\\\"\"}{\"error\":\"gone\"}\n");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse_plain),
                                       cmocka_unit_test(test_parse_all),
                                       cmocka_unit_test(test_parse_calls),
                                       cmocka_unit_test(test_parse_think),
                                       cmocka_unit_test(test_parse_errors),
                                       cmocka_unit_test(test_write),
                                       cmocka_unit_test(test_write_choice),
                                       cmocka_unit_test(test_write_refuses),
                                       cmocka_unit_test(test_write_think),
                                       cmocka_unit_test(test_write_prefill),
                                       cmocka_unit_test(test_read),
                                       cmocka_unit_test(test_read_calls),
                                       cmocka_unit_test(test_read_failures),
                                       cmocka_unit_test(test_stream_out),
                                       cmocka_unit_test(test_calls_out),
                                       cmocka_unit_test(test_whole_out),
                                       cmocka_unit_test(test_hidden_thinking),
                                       cmocka_unit_test(test_generate_request),
                                       cmocka_unit_test(test_generate_answer),
                                       cmocka_unit_test(test_errors_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
