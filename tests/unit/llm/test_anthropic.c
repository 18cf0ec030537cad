/*  Anthropic's /messages on both sides. */
#include "anthropic.h"
#include "turn_kit.h"

static const llm_target claude = {.model = S("claude-x")};
static const llm_target newer = {
    .model = S("claude-y"), .adaptive_thinking = true, .no_prefill = true, .output_most = 64000};
static const llm_target gpt = {.model = S("gpt-x"), .completion_tokens = true};

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define OUT_USER                                                                                   \
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]"

static void roles(void **state)
{
    (void)state;
    /* system text on top, cache marks kept, roles alternate, no blank text, trimmed beginning */
    expect_turn(
        &llm_anthropic,
        "{\"max_tokens\":10,\"system\":[{\"type\":\"text\",\"text\":\"Be.\","
        "\"cache_control\":{\"type\":\"ephemeral\"}}],\"messages\":[{\"role\":\"assistant\","
        "\"content\":\"I\"},{\"role\":\"user\",\"content\":\" \\n\"},{\"role\":\"user\","
        "\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\","
        "\"content\":\"c:\\\\n \\n\"}],\"metadata\":{\"user_id\":\"u\"},\"top_k\":5,"
        "\"service_tier\":\"auto\"}",
        &llm_anthropic, &claude,
        "{\"model\":\"claude-x\",\"max_tokens\":10,\"system\":[{\"type\":\"text\",\"text\":"
        "\"Be.\",\"cache_control\":{\"type\":\"ephemeral\"}}],\"messages\":[{\"role\":\"user\","
        "\"content\":[{\"type\":\"text\",\"text\":\"(The conversation begins with your "
        "words.)\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"I\"}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
        "\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":"
        "\"c:\\\\n\"}]}],\"top_k\":5,\"metadata\":{\"user_id\":\"u\"},\"service_tier\":"
        "\"auto\"}",
        "");
    expect_turn(
        &llm_openai,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"system\","
        "\"content\":\"s\"},{\"role\":\"assistant\",\"content\":\"{\"}],\"temperature\":1.7,"
        "\"seed\":1,\"response_format\":{\"type\":\"json_object\"}}",
        &llm_anthropic, &newer,
        "{\"model\":\"claude-y\",\"max_tokens\":64000,\"system\":[{\"type\":\"text\",\"text\":"
        "\"s\"},{\"type\":\"text\",\"text\":\"Answer with one valid JSON object and nothing "
        "else: no fences, no words around it.\"}]," OUT_USER ",\"temperature\":1}",
        "messages[2], seed, temperature");
}

static void schemas(void **state)
{
    (void)state;
    static const char asked[] =
        "{" USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
        "\"schema\":{\"type\":\"object\"}}},\"reasoning_effort\":\"low\",\"max_tokens\":9000}";
    expect_turn(
        &llm_openai, asked, &llm_anthropic, &claude,
        "{\"model\":\"claude-x\",\"max_tokens\":9000," OUT_USER ",\"tools\":[{\"name\":"
        "\"samovar_answer\",\"description\":\"Gives the answer. Call it once, with the whole "
        "answer, when you are ready.\",\"input_schema\":{\"type\":\"object\"}}],"
        "\"tool_choice\":{\"type\":\"tool\",\"name\":\"samovar_answer\"}}",
        "thinking");
    expect_turn(&llm_openai, asked, &llm_anthropic, &newer,
                "{\"model\":\"claude-y\",\"max_tokens\":9000," OUT_USER ",\"thinking\":{\"type\":"
                "\"adaptive\"},\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":"
                "\"json_schema\",\"schema\":{\"type\":\"object\"}}}}",
                "");
    /* and out of this format */
    expect_turn(
        &llm_anthropic,
        "{" USER ",\"max_tokens\":5,\"output_format\":{\"type\":\"json_schema\",\"schema\":{"
        "\"type\":\"object\"}},\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":9000},"
        "\"tools\":[{\"name\":\"f\",\"input_schema\":{}},{\"type\":\"web_search_1\",\"name\":"
        "\"w\"}],\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true},"
        "\"container\":\"c\"}",
        &llm_openai, &gpt,
        "{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":"
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
        "\"tool_choice\":\"required\",\"parallel_tool_calls\":false,"
        "\"max_completion_tokens\":5,\"response_format\":{\"type\":\"json_schema\","
        "\"json_schema\":{\"name\":\"answer\",\"schema\":{\"type\":\"object\"},\"strict\":true"
        "}},\"reasoning_effort\":\"high\"}",
        "tools[1], container");
}

#define TURN(thought)                                                                              \
    "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"     \
    "null,"                                                                                        \
    "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"hm\",\"signature\":\"" thought \
    "\"}],\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\"}}]},{"  \
    "\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]"
#define OUT_TURN(thought)                                                                          \
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"}]},{"         \
    "\"role\":"                                                                                    \
    "\"assistant\",\"content\":[" thought "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\","    \
    "\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"   \
    "\"a\","                                                                                       \
    "\"content\":[{\"type\":\"text\",\"text\":\"1\"}]}]}]"

/* Thinking goes back with its own signature only; a history without it switches thinking off. */
static void thinking(void **state)
{
    (void)state;
    expect_turn(
        &llm_openai,
        "{" TURN("sv1.anthropic.sig") ",\"reasoning\":{\"max_tokens\":3000},\"temperature\":0}",
        &llm_anthropic, &claude,
        "{\"model\":\"claude-x\",\"max_tokens\":4096," OUT_TURN(
            "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"},") ",\"thinking\":{"
                                                                                  "\"type\":"
                                                                                  "\"enabled\","
                                                                                  "\"budget_"
                                                                                  "tokens\":3000}}",
        "temperature");
    expect_turn(&llm_openai, "{" TURN("sv1.gemini.sig") ",\"reasoning\":{\"max_tokens\":3000}}",
                &llm_anthropic, &claude,
                "{\"model\":\"claude-x\",\"max_tokens\":4096," OUT_TURN("") "}", "thinking");
    /* room for an answer beside the budget */
    expect_turn(&llm_openai, "{" USER ",\"reasoning_effort\":\"high\",\"max_tokens\":4000}",
                &llm_anthropic, &claude,
                "{\"model\":\"claude-x\",\"max_tokens\":4000," OUT_USER
                ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}",
                "");
    expect_turn(&llm_openai, "{" USER ",\"reasoning_effort\":\"high\",\"max_tokens\":100}",
                &llm_anthropic, &claude, "{\"model\":\"claude-x\",\"max_tokens\":100," OUT_USER "}",
                "thinking");
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
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", SV_E_OUT_OF_RANGE,
         "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
         "\"a\",\"content\":[{\"type\":\"text\"}]}]}]}",
         SV_E_MISSING_FIELD, "messages[0].content[0].content[0].text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
         "\"file\"}}]}]}",
         SV_E_INVALID, "messages[0].content[0].source.file_id"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\"}]"
         "}]}",
         SV_E_MISSING_FIELD, "messages[0].content[0].name"},
        {"{\"system\":1," USER "}", SV_E_WRONG_TYPE, "system"},
        {"{" USER ",\"max_tokens\":-1}", SV_E_OUT_OF_RANGE, "max_tokens"},
        {"{" USER ",\"tools\":[{}]}", SV_E_MISSING_FIELD, "tools[0].name"},
        {"{" USER ",\"tool_choice\":{\"type\":\"tool\"}}", SV_E_MISSING_FIELD, "tool_choice.name"},
        {"{" USER ",\"thinking\":{\"type\":\"enabled\"}}", SV_E_MISSING_FIELD,
         "thinking.budget_tokens"},
        {"{" USER ",\"output_format\":{\"type\":\"json_schema\"}}", SV_E_MISSING_FIELD,
         "output_format.schema"},
        {"{" USER ",\"stop_sequences\":{}}", SV_E_WRONG_TYPE, "stop_sequences"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_bad(&llm_anthropic, rows[i].text, rows[i].code, rows[i].field);
}

#define START                                                                                      \
    "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{"            \
    "\"input_tokens\":3,\"cache_read_input_tokens\":20,\"cache_creation_input_tokens\":100,"       \
    "\"output_tokens\":1}}}"
#define BLOCK(i, b) "{\"type\":\"content_block_start\",\"index\":" #i ",\"content_block\":{" b "}}"
#define PIECE(i, d) "{\"type\":\"content_block_delta\",\"index\":" #i ",\"delta\":{" d "}}"
#define STOP(why)                                                                                  \
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" why                                \
    "\",\"stop_sequence\":\"END\"},"                                                               \
    "\"usage\":{\"output_tokens\":9}}"

static void reads(void **state)
{
    (void)state;
    expect_trace(
        &llm_anthropic,
        (const char *[]){START, "{\"type\":\"ping\"}", BLOCK(0, "\"type\":\"text\",\"text\":\"\""),
                         PIECE(0, "\"type\":\"text_delta\",\"text\":\"Hi\""),
                         PIECE(0, "\"type\":\"citations_delta\",\"citation\":{}"),
                         BLOCK(1, "\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web\""),
                         PIECE(1, "\"type\":\"input_json_delta\",\"partial_json\":\"{}\""),
                         BLOCK(2, "\"type\":\"redacted_thinking\",\"data\":\"d\""),
                         BLOCK(3, "\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}"),
                         PIECE(3, "\"type\":\"input_json_delta\",\"partial_json\":\"{}\""),
                         STOP("stop_sequence"), "{\"type\":\"message_stop\"}", NULL},
        "START m c\nUSAGE 123/1 cached 20 reasoning 0\nTEXT Hi\nOPAQUE d\nCALL 0 f\n"
        "ARGUMENTS 0 {}\nUSAGE 123/9 cached 20 reasoning 0\nFINISH sequence END\n",
        true);
    /* the answer tool's input is the text */
    expect_trace(&llm_anthropic,
                 (const char *[]){START,
                                  BLOCK(0, "\"type\":\"tool_use\",\"id\":\"t\",\"name\":"
                                           "\"samovar_answer\",\"input\":{}"),
                                  PIECE(0, "\"type\":\"input_json_delta\",\"partial_json\":"
                                           "\"{\\\"a\\\":1}\""),
                                  STOP("tool_use"), NULL},
                 "START m c\nUSAGE 123/1 cached 20 reasoning 0\nTEXT {\\\"a\\\":1}\n"
                 "USAGE 123/9 cached 20 reasoning 0\nFINISH stop\n",
                 true);
    expect_trace(&llm_anthropic,
                 (const char *[]){START,
                                  "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                                  "\"message\":\"Overloaded\"}}",
                                  NULL},
                 "START m c\nUSAGE 123/1 cached 20 reasoning 0\nFAILED 503 overloaded Overloaded\n",
                 false);
    expect_trace(&llm_anthropic,
                 (const char *[]){START, PIECE(0, "\"type\":\"text_delta\",\"text\":\"H\""), NULL},
                 "START m c\nUSAGE 123/1 cached 20 reasoning 0\nTEXT H\n", false);
    expect_garbage(&llm_anthropic, "{\"type\":", SV_E_PROVIDER_GARBAGE);
    expect_garbage(&llm_anthropic, BLOCK(0, "\"type\":\"tool_use\""), SV_E_PROVIDER_GARBAGE);
    expect_garbage(&llm_anthropic,
                   PIECE(-1, "\"type\":\"input_json_delta\",\"partial_json\":\"x\""),
                   SV_E_PROVIDER_GARBAGE);
}

static const llm_writer_spec streamed = {.stream = true, .id = "x1", .model = S("mine")};
static const llm_writer_spec plain = {.id = "x1", .model = S("mine")};

#define EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define BEGIN(usage)                                                                               \
    EVENT("message_start",                                                                         \
          ",\"message\":{\"id\":\"msg_x1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":" \
          "\"mine\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{" usage  \
          "}}")
#define OPEN(i, block)                                                                             \
    EVENT("content_block_start", ",\"index\":" #i ",\"content_block\":{" block "}")
#define DELTA(i, delta) EVENT("content_block_delta", ",\"index\":" #i ",\"delta\":{" delta "}")
#define CLOSE(i)        EVENT("content_block_stop", ",\"index\":" #i)
#define USAGE(in, out)                                                                             \
    "\"input_tokens\":" #in ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"    \
    "\"output_tokens\":" #out
#define FINISH(why, usage)                                                                         \
    EVENT("message_delta",                                                                         \
          ",\"delta\":{\"stop_reason\":\"" why "\",\"stop_sequence\":null},\"usage\":{" usage "}") \
    EVENT("message_stop", "")
#define TOOL(id, name) "\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}"
#define JSON(text)     "\"type\":\"input_json_delta\",\"partial_json\":\"" text "\""

#define CHUNK(d) "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{" d "}}]}"
#define CALL(i, id, name, args)                                                                    \
    CHUNK("\"tool_calls\":[{\"index\":" #i ",\"id\":\"" id "\",\"function\":{\"name\":\"" name     \
          "\",\"arguments\":\"" args "\"}}]")
#define ARGS(i, args)                                                                              \
    CHUNK("\"tool_calls\":[{\"index\":" #i ",\"function\":{\"arguments\":\"" args "\"}}]")
#define LAST                                                                                       \
    "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{"             \
    "\"prompt_tokens\":5,\"completion_tokens\":6}}"

static const char *const mixed[] = {CHUNK("\"reasoning\":\"hm\""),
                                    CHUNK("\"content\":\"Hi\""),
                                    CALL(0, "a", "f", ""),
                                    CALL(1, "b", "g", "{"),
                                    ARGS(0, "{"),
                                    ARGS(0, "}"),
                                    ARGS(1, "}"),
                                    LAST,
                                    NULL};

/* Alternating calls come one after the other; unsigned thinking has an empty signature. */
static void answers(void **state)
{
    (void)state;
    expect_answer(&llm_openai, true, mixed, &llm_anthropic, &streamed,
                  BEGIN(USAGE(0, 0))
                      OPEN(0, "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
                          DELTA(0, "\"type\":\"thinking_delta\",\"thinking\":\"hm\"") CLOSE(0)
                              OPEN(1, "\"type\":\"text\",\"text\":\"\"")
                                  DELTA(1, "\"type\":\"text_delta\",\"text\":\"Hi\"") CLOSE(1)
                                      OPEN(2, TOOL("a", "f")) DELTA(2, JSON("{}")) CLOSE(2)
                                          OPEN(3, TOOL("b", "g")) DELTA(3, JSON("{}")) CLOSE(3)
                                              FINISH("tool_use", USAGE(5, 6)));
    expect_answer(
        &llm_openai, true, mixed, &llm_anthropic, &plain,
        "{\"id\":\"msg_x1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"mine\","
        "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{"
        "\"type\":\"text\",\"text\":\"Hi\"},{\"type\":\"tool_use\",\"id\":\"a\",\"name\":"
        "\"f\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"g\",\"input\":{}}"
        "],\"stop_reason\":\"tool_use\",\"stop_sequence\":null,\"usage\":{" USAGE(5, 6) "}}");
    /* one call streams from its second piece on */
    expect_answer(
        &llm_openai, true,
        (const char *[]){CALL(0, "a", "f", "{"), ARGS(0, "\\\"x\\\""), ARGS(0, ":1}"), LAST, NULL},
        &llm_anthropic, &streamed,
        BEGIN(USAGE(0, 0)) OPEN(0, TOOL("a", "f")) DELTA(0, JSON("{")) DELTA(0, JSON("\\\"x\\\""))
            DELTA(0, JSON(":1}")) CLOSE(0) FINISH("tool_use", USAGE(5, 6)));
}

/* A signature of another format stands before its call, and is the call's again on the way back. */
static void signatures(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 1 << 16);
    llm_writer *w = llm_anthropic.writer_new(&streamed);
    const llm_event events[] = {
        {.kind = LLM_START, .index = -1},
        {.kind = LLM_CALL, .id = S("a"), .name = S("f")},
        {.kind = LLM_ARGUMENTS, .text = S("{}")},
        {.kind = LLM_SIGNATURE, .text = S("sig"), .origin = LLM_GEMINI},
        {.kind = LLM_FINISH, .index = -1, .finish = LLM_STOP},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        assert_int_equal(llm_anthropic.writer_event(w, &events[i], &out), 0);
    assert_int_equal(llm_anthropic.writer_end(w, &out), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, BEGIN(USAGE(0, 0)) OPEN(0, "\"type\":\"redacted_thinking\",\"data\":"
                                                          "\"sv1.gemini.sig\"") CLOSE(0)
                                   OPEN(1, TOOL("a", "f")) DELTA(1, JSON("{}")) CLOSE(1)
                                       FINISH("tool_use", USAGE(0, 0)));
    llm_anthropic.writer_free(w);
    buf_free(&out);
    arena a;
    llm_request q;
    arena_init(&a, 1 << 20);
    sv_str back =
        sv_cstr("{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":"
                "\"redacted_thinking\",\"data\":\"sv1.gemini.sig\"},{\"type\":"
                "\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},{\"role\":"
                "\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]}]}");
    assert_int_equal(llm_anthropic.parse(back, &a, &q, NULL), 0);
    assert_int_equal(q.messages[0].n_parts, 1);
    assert_true(sv_str_is(q.messages[0].parts[0].signature, "sig"));
    assert_int_equal(q.messages[0].parts[0].origin, LLM_GEMINI);
    assert_int_equal(q.messages[1].role, LLM_TOOL);
    assert_true(sv_str_is(q.messages[1].parts[0].name, "f"));
    arena_free(&a);
}

/* Clients that did not ask for thinking get none; errors end a stream. */
static void hidden_and_failed(void **state)
{
    (void)state;
    const llm_request q = {.format = LLM_ANTHROPIC};
    llm_writer_spec spec = streamed;
    spec.request = &q;
    expect_answer(&llm_openai, true,
                  (const char *[]){CHUNK("\"reasoning\":\"hm\",\"content\":\"Hi\""), LAST, NULL},
                  &llm_anthropic, &spec,
                  BEGIN(USAGE(0, 0)) OPEN(0, "\"type\":\"text\",\"text\":\"\"")
                      DELTA(0, "\"type\":\"text_delta\",\"text\":\"Hi\"") CLOSE(0)
                          FINISH("end_turn", USAGE(5, 6)));
    buf out;
    buf_init(&out, 1 << 16);
    llm_writer *w = llm_anthropic.writer_new(&streamed);
    llm_anthropic.error_event(w, 529, "server_error", "overloaded", sv_cstr("a \"b\""), &out);
    assert_int_equal(llm_anthropic.writer_end(w, &out), 0);
    llm_anthropic.error_body(402, "x", NULL, sv_cstr("m"), "r1", &out);
    assert_int_equal(anthropic_put_count(&out, 42), 0);
    buf_putc(&out, 0);
    assert_string_equal(
        out.p,
        EVENT("error", ",\"error\":{\"type\":\"overloaded_error\","
                       "\"message\":\"a \\\"b\\\"\"}") "{\"type\":\"error\",\"error\":{\"type\":"
                                                       "\"billing_error\","
                                                       "\"message\":\"m\"},\"request_id\":\"r1\"}"
                                                       "{\"input_tokens\":42}");
    llm_anthropic.writer_free(w);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles),      cmocka_unit_test(schemas),
        cmocka_unit_test(thinking),   cmocka_unit_test(errors),
        cmocka_unit_test(reads),      cmocka_unit_test(answers),
        cmocka_unit_test(signatures), cmocka_unit_test(hidden_and_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
