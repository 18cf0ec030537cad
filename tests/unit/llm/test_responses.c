/*  test_responses.c - OpenAI's /responses: requests in and out, answers in and out. */
#include "error.h"
#include "llm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static arena mem;
static buf text;
static llm_request q;
static sv_error err;

static int setup(void **state)
{
    (void)state;
    arena_init(&mem, 64 << 20);
    buf_init(&text, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&mem);
    buf_free(&text);
    return 0;
}

static int parse(const char *json)
{
    err = (sv_error){0};
    assert_int_equal(json_skim(sv_cstr(json), 64, NULL), 0);
    return llm_responses.parse(sv_cstr(json), &mem, &q, &err);
}

static void refused(const char *json, int code, const char *field)
{
    int rc = parse(json);
    assert_string_equal(err.field, field);
    assert_int_equal(rc, code);
    assert_int_equal(err.code, code);
    assert_true(err.message[0]);
}

static json_value checked(sv_str json)
{
    sv_error why = {0};
    if (json_skim(json, 64, &why)) fail_msg("%s: %.*s", why.message, SV_FMT(json));
    return json_root(json);
}

/* ---- requests in words ---- */

static void put(const char *before, sv_str s, const char *behind)
{
    buf_printf(&text, "%s%.*s%s", before, SV_FMT(s), behind);
}

static void tell_part(const llm_part *p)
{
    static const char *const kinds[] = {"text", "image",  "file",     "audio",
                                        "call", "result", "thinking", "opaque"};
    buf_printf(&text, " %s", kinds[p->kind]);
    if (p->id.p) put("#", p->id, "");
    if (p->name.p) put(" name=", p->name, "");
    if (p->text.p) put("(", p->text, ")");
    if (p->raw.p) put(" ", p->raw, "");
    if (p->url.p) put("<", p->url, ">");
    if (p->data.p) put(" ", p->media_type, ""), put("=", p->data, "");
    if (p->signature.p) {
        put("~", p->signature, "");
        buf_printf(&text, "@%s", llm_format_names[p->origin]);
    }
    if (p->n_parts) buf_puts(&text, "[");
    for (uint32_t i = 0; i < p->n_parts; i++)
        tell_part(&p->parts[i]);
    if (p->n_parts) buf_puts(&text, " ]");
}

static const char *told(const char *json)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    buf_reset(&text, 0);
    if (parse(json)) fail_msg("%s: %s", err.field, err.message);
    for (uint32_t i = 0; i < q.n_messages; i++) {
        buf_printf(&text, "%s%s:", i ? "\n" : "", roles[q.messages[i].role]);
        for (uint32_t k = 0; k < q.messages[i].n_parts; k++)
            tell_part(&q.messages[i].parts[k]);
    }
    buf_putc(&text, 0);
    return text.p;
}

static void test_input(void **state)
{
    (void)state;
    assert_string_equal(told("{\"input\":\"a\\n\\u00e9\",\"instructions\":\"be nice\"}"),
                        "system: text(be nice)\nuser: text(a\\n\\u00e9)");
    assert_string_equal(
        told("{\"input\":[{\"role\":\"developer\",\"content\":\"d\"},"
             "{\"type\":\"message\",\"role\":\"user\",\"content\":["
             "{\"type\":\"input_text\",\"text\":\"look\"},"
             "{\"type\":\"input_image\",\"image_url\":\"https:\\/\\/x/y.png\"},"
             "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,AAAA\"},"
             "{\"type\":\"input_file\",\"filename\":\"f.pdf\",\"file_data\":\"BBBB\"},"
             "{\"type\":\"input_file\",\"file_url\":\"https://x/f\"},"
             "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"CC\",\"format\":\"wav\"}}]}]}"),
        "system: text(d)\nuser: text(look) image<https://x/y.png> image image/png=AAAA "
        "file name=f.pdf application/pdf=BBBB file<https://x/f> audio audio/wav=CC");
}

/* A run of the assistant's items is one message, and results stand alone. */
static void test_turns(void **state)
{
    (void)state;
    assert_string_equal(
        told("{\"input\":[{\"role\":\"user\",\"content\":\"hi\"},"
             "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
             "\"text\":\"one\"},{\"type\":\"summary_text\",\"text\":\"two\"}],"
             "\"encrypted_content\":\"sv1.anthropic.S1\"},"
             "{\"type\":\"reasoning\",\"id\":\"rs_2\",\"summary\":[],\"encrypted_content\":\"E2\"},"
             "{\"type\":\"reasoning\",\"id\":\"rs_3\",\"summary\":[]},"
             "{\"type\":\"message\",\"role\":\"assistant\",\"id\":\"m\",\"status\":\"completed\","
             "\"content\":[{\"type\":\"output_text\",\"text\":\"so\",\"annotations\":[]},"
             "{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
             "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":"
             "\"{\\\"a\\\":1}\",\"signature\":\"sv1.gemini.G\"},"
             "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"g\",\"arguments\":\"\"},"
             "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"5\"},"
             "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":["
             "{\"type\":\"input_text\",\"text\":\"x\"},"
             "{\"type\":\"input_image\",\"image_url\":\"https://i\"}]},"
             "{\"type\":\"function_call\",\"call_id\":\"c3\",\"name\":\"f\",\"arguments\":\"{}\"}]"
             "}"),
        "user: text(hi)\n"
        "assistant: thinking(one\\n\\ntwo)~S1@anthropic opaque~E2@responses text(so) text(no) "
        "call#c1 name=f {\"a\":1}~G@gemini call#c2 name=g {}\n"
        "tool: result#c1 name=f[ text(5) ]\n"
        "tool: result#c2 name=g[ text(x) image<https://i> ]\n"
        "assistant: call#c3 name=f {}");
}

static void test_settings(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"model\":\"m\",\"input\":\"x\",\"max_output_tokens\":77,\"temperature\":0.5,"
              "\"top_p\":1,\"parallel_tool_calls\":false,\"stream\":true,\"user\":\"u\","
              "\"store\":true,\"metadata\":{\"a\":\"b\"},\"truncation\":\"disabled\","
              "\"include\":[\"reasoning.encrypted_content\"],\"previous_response_id\":null,"
              "\"reasoning\":{\"effort\":\"high\",\"summary\":\"auto\"},\"service_tier\":\"flex\","
              "\"text\":{\"verbosity\":\"low\",\"format\":{\"type\":\"json_schema\",\"name\":\"n\","
              "\"strict\":true,\"schema\":{\"type\":\"object\"}}},"
              "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\",\"strict\":"
              "true,\"parameters\":{\"type\":\"object\"}},{\"type\":\"web_search\"}],"
              "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}}"),
        0);
    assert_int_equal(q.format, LLM_RESPONSES);
    assert_int_equal(q.max_tokens, 77);
    assert_true(sv_str_is(q.temperature, "0.5") && sv_str_is(q.top_p, "1"));
    assert_int_equal(q.parallel_tools, LLM_NO);
    assert_true(q.stream && q.include_usage && q.show_thinking && q.schema_strict);
    assert_true(sv_str_is(q.user, "u") && sv_str_is(q.effort, "high"));
    assert_int_equal(q.shape, LLM_SHAPE_SCHEMA);
    assert_true(sv_str_is(q.schema, "{\"type\":\"object\"}") && sv_str_is(q.schema_name, "n"));
    assert_int_equal(q.n_tools, 2);
    assert_true(q.tools[0].strict && !q.tools[0].foreign && q.tools[1].foreign);
    assert_true(sv_str_is(q.tools[1].raw, "{\"type\":\"web_search\"}"));
    assert_int_equal(q.tool_choice, LLM_CHOICE_NAMED);
    assert_true(sv_str_is(q.tool_name, "f"));
    assert_int_equal(q.n_left, 2);
    assert_true(sv_str_is(q.left[0], "service_tier") && sv_str_is(q.left[1], "text.verbosity"));

    assert_int_equal(parse("{\"input\":[{\"role\":\"user\",\"content\":\"x\"},{\"type\":"
                           "\"web_search_call\",\"id\":\"w\"}],\"tool_choice\":\"required\","
                           "\"reasoning\":{\"effort\":\"none\"},\"include\":[\"other\"],"
                           "\"text\":{\"format\":{\"type\":\"json_object\"}}}"),
                     0);
    assert_int_equal(q.tool_choice, LLM_CHOICE_ANY);
    assert_int_equal(q.thinking_tokens, -1);
    assert_int_equal(q.shape, LLM_SHAPE_JSON);
    assert_int_equal(q.n_left, 2);
    assert_true(sv_str_is(q.left[0], "include") && sv_str_is(q.left[1], "input[1]"));
    assert_int_equal(parse("{\"input\":\"x\",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":"
                           "\"required\",\"tools\":[]}}"),
                     0);
    assert_int_equal(q.tool_choice, LLM_CHOICE_ANY);
    assert_true(q.n_left == 1 && sv_str_is(q.left[0], "tool_choice"));
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
        const char *field;
    } rows[] = {
        {"{}", SV_E_MISSING_FIELD, "input"},
        {"{\"input\":5}", SV_E_WRONG_TYPE, "input"},
        {"{\"input\":[]}", SV_E_INVALID, "input"},
        {"{\"input\":\"x\",\"previous_response_id\":\"r\"}", SV_E_INVALID, "previous_response_id"},
        {"{\"input\":\"x\",\"conversation\":\"c\"}", SV_E_INVALID, "conversation"},
        {"{\"input\":\"x\",\"prompt\":{\"id\":\"p\"}}", SV_E_INVALID, "prompt"},
        {"{\"input\":\"x\",\"background\":true}", SV_E_INVALID, "background"},
        {"{\"input\":\"x\",\"store\":1}", SV_E_WRONG_TYPE, "store"},
        {"{\"input\":\"x\",\"max_output_tokens\":0}", SV_E_OUT_OF_RANGE, "max_output_tokens"},
        {"{\"input\":\"x\",\"temperature\":\"hot\"}", SV_E_WRONG_TYPE, "temperature"},
        {"{\"input\":\"x\",\"include\":[1]}", SV_E_WRONG_TYPE, "include"},
        {"{\"input\":\"x\",\"tools\":[{\"type\":\"function\"}]}", SV_E_MISSING_FIELD,
         "tools[0].name"},
        {"{\"input\":\"x\",\"tools\":[{\"name\":\"f\"}]}", SV_E_MISSING_FIELD, "tools[0].type"},
        {"{\"input\":\"x\",\"tool_choice\":\"maybe\"}", SV_E_INVALID, "tool_choice"},
        {"{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"xml\"}}}", SV_E_INVALID,
         "text.format.type"},
        {"{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\"}}}",
         SV_E_MISSING_FIELD, "text.format.schema"},
        {"{\"input\":[7]}", SV_E_WRONG_TYPE, "input[0]"},
        {"{\"input\":[{}]}", SV_E_MISSING_FIELD, "input[0].type"},
        {"{\"input\":[{\"role\":\"user\",\"content\":\"a\"},{\"type\":\"item_reference\",\"id\":"
         "\"x\"}]}",
         SV_E_INVALID, "input[1].type"},
        {"{\"input\":[{\"role\":\"boss\",\"content\":\"a\"}]}", SV_E_INVALID, "input[0].role"},
        {"{\"input\":[{\"role\":\"user\"}]}", SV_E_MISSING_FIELD, "input[0].content"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"video\"}]}]}", SV_E_INVALID,
         "input[0].content[0].type"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"file_id\":"
         "\"f\"}]}]}",
         SV_E_INVALID, "input[0].content[0].file_id"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":"
         "\"data:x\"}]}]}",
         SV_E_INVALID, "input[0].content[0].image_url"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{"
         "\"data\":\"A\",\"format\":\"ogg\"}}]}]}",
         SV_E_INVALID, "input[0].content[0].input_audio.format"},
        {"{\"input\":[{\"type\":\"function_call\",\"name\":\"f\"}]}", SV_E_MISSING_FIELD,
         "input[0].call_id"},
        {"{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":[{\"type\":"
         "\"input_text\",\"text\":4}]}]}",
         SV_E_WRONG_TYPE, "input[0].output[0].text"},
        {"{\"input\":[{\"type\":\"reasoning\",\"summary\":[{}]}]}", SV_E_MISSING_FIELD,
         "input[0].summary[0].text"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].json, rows[i].code, rows[i].field);
}

static void test_limits(void **state)
{
    (void)state;
    buf_reset(&text, 0);
    buf_puts(&text, "{\"input\":[{\"role\":\"user\",\"content\":\"x\"}");
    for (int i = 0; i < LLM_MESSAGES; i++)
        buf_puts(&text, ",{\"role\":\"user\",\"content\":\"x\"}");
    buf_puts(&text, "]}");
    buf_putc(&text, 0);
    refused(text.p, SV_E_OUT_OF_RANGE, "input[4096]");
    buf_reset(&text, 0);
    buf_puts(&text, "{\"input\":[{\"role\":\"user\",\"content\":[");
    for (int i = 0; i <= LLM_PARTS; i++)
        buf_printf(&text, "%s{\"type\":\"input_text\",\"text\":\"\"}", i ? "," : "");
    buf_puts(&text, "]}]}");
    buf_putc(&text, 0);
    refused(text.p, SV_E_OUT_OF_RANGE, "input[0].content[1024]");
    arena small;
    arena_init(&small, 4096);
    sv_str json = {text.p, (uint32_t)text.n - 1};
    err = (sv_error){0};
    assert_int_equal(llm_responses.parse(json, &small, &q, &err), SV_E_NO_MEMORY);
    arena_free(&small);
}

/* ---- requests for providers ---- */

static const char *written(const llm_ops *from, const char *json, const llm_target *t,
                           llm_notes *notes)
{
    buf_reset(&text, 0);
    *notes = (llm_notes){0};
    err = (sv_error){0};
    if (from->parse(sv_cstr(json), &mem, &q, &err)) fail_msg("%s: %s", err.field, err.message);
    assert_int_equal(llm_responses.write(&q, t, &text, notes, &err), 0);
    checked(buf_str(&text));
    buf_putc(&text, 0);
    return text.p;
}

static void test_write_same(void **state)
{
    (void)state;
    llm_target t = {.model = sv_cstr("up\"1"), .stream = true};
    llm_notes notes;
    assert_string_equal(
        written(&llm_responses,
                "{\"model\":\"m\",\"store\":true,\"odd\":{\"a\":1.50},\"input\":["
                "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"sv1.anthropic.S\"},"
                "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"own\"},"
                "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"sv1.responses.rs_1:"
                "o\"},"
                "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\","
                "\"signature\":\"sv1.gemini.G\"},{\"type\":\"web_search_call\",\"id\":\"w\"}],"
                "\"stream_options\":{\"include_obfuscation\":false},\"stream\":false}",
                &t, &notes),
        "{\"model\":\"up\\\"1\",\"store\":false,\"stream\":true,\"odd\":{\"a\":1.50},\"input\":["
        "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"own\"},"
        "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"o\"},"
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"web_search_call\",\"id\":\"w\"}],"
        "\"stream_options\":{\"include_obfuscation\":false}}");
    assert_string_equal(notes.dropped,
                        "encrypted_content of another provider, signature of another provider");
}

static llm_part part_text(const char *s)
{
    return (llm_part){.kind = LLM_PART_TEXT, .text = sv_cstr(s)};
}

/* All that the neutral form can say. */
static void test_write_other(void **state)
{
    (void)state;
    llm_part system = part_text("be nice");
    llm_part user[] = {part_text("look"),
                       {.kind = LLM_PART_IMAGE, .url = sv_cstr("https://i")},
                       {.kind = LLM_PART_FILE,
                        .name = sv_cstr("f"),
                        .media_type = sv_cstr("text/x"),
                        .data = sv_cstr("AA")},
                       {.kind = LLM_PART_AUDIO}};
    llm_part turn[] = {{.kind = LLM_PART_THINKING,
                        .text = sv_cstr("t"),
                        .signature = sv_cstr("rs_9:E"),
                        .origin = LLM_RESPONSES},
                       {.kind = LLM_PART_THINKING,
                        .text = sv_cstr("t"),
                        .signature = sv_cstr("S"),
                        .origin = LLM_ANTHROPIC},
                       part_text("so"),
                       {.kind = LLM_PART_CALL,
                        .id = sv_cstr("c1"),
                        .name = sv_cstr("f"),
                        .raw = sv_cstr("{\"a\":\"\\n\"}")}};
    llm_part outputs[] = {
        part_text("a"), part_text("b"), {.kind = LLM_PART_IMAGE, .url = sv_cstr("https://o")}};
    llm_part back[] = {
        {.kind = LLM_PART_RESULT,
         .id = sv_cstr("c1"),
         .parts = outputs,
         .n_parts = 2,
         .is_error = true},
        {.kind = LLM_PART_RESULT, .id = sv_cstr("c2"), .parts = outputs, .n_parts = 3},
        part_text("and?")};
    llm_message messages[] = {{.role = LLM_SYSTEM, .parts = &system, .n_parts = 1},
                              {.role = LLM_USER, .parts = user, .n_parts = 4},
                              {.role = LLM_ASSISTANT, .parts = turn, .n_parts = 4},
                              {.role = LLM_USER, .parts = back, .n_parts = 3}};
    llm_tool tools[] = {{.foreign = true},
                        {.name = sv_cstr("f"),
                         .description = sv_cstr("d"),
                         .schema = sv_cstr("{\"type\":\"object\"}"),
                         .strict = true},
                        {.name = sv_cstr("g")}};
    sv_str left = sv_cstr("logit_bias");
    llm_request r = {.format = LLM_ANTHROPIC,
                     .messages = messages,
                     .n_messages = 4,
                     .tools = tools,
                     .n_tools = 3,
                     .tool_choice = LLM_CHOICE_ANY,
                     .parallel_tools = LLM_NO,
                     .max_tokens = 5,
                     .temperature = sv_cstr("0.1"),
                     .top_k = sv_cstr("4"),
                     .n_stops = 1,
                     .n = 2,
                     .shape = LLM_SHAPE_SCHEMA,
                     .schema = sv_cstr("{}"),
                     .thinking_tokens = 1024,
                     .show_thinking = true,
                     .user = sv_cstr("u"),
                     .left = &left,
                     .n_left = 1};
    llm_notes notes = {{0}};
    llm_target t = {.model = sv_cstr("m")};
    assert_int_equal(llm_responses.write(&r, &t, &text, &notes, &err), 0);
    buf_putc(&text, 0);
    assert_string_equal(
        text.p,
        "{\"model\":\"m\",\"store\":false,\"input\":["
        "{\"type\":\"message\",\"role\":\"system\",\"content\":[{\"type\":\"input_text\",\"text\":"
        "\"be nice\"}]},{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
        "\"input_text\",\"text\":\"look\"},{\"type\":\"input_image\",\"detail\":\"auto\","
        "\"image_url\":\"https://i\"},{\"type\":\"input_file\",\"filename\":\"f\",\"file_data\":"
        "\"data:text/x;base64,AA\"}]},{\"type\":\"reasoning\",\"id\":\"rs_9\","
        "\"summary\":[{\"type\":"
        "\"summary_text\",\"text\":\"t\"}],\"encrypted_content\":\"E\"},{\"type\":\"message\","
        "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"annotations\":[],"
        "\"text\":\"so\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\","
        "\"arguments\":\"{\\\"a\\\":\\\"\\\\n\\\"}\"},{\"type\":\"function_call_output\","
        "\"call_id\":\"c1\",\"output\":\"a\\nb\"},{\"type\":\"function_call_output\",\"call_id\":"
        "\"c2\",\"output\":[{\"type\":\"input_text\",\"text\":\"a\"},{\"type\":\"input_text\","
        "\"text\":\"b\"},{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":"
        "\"https://o\"}]},{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
        "\"input_text\",\"text\":\"and?\"}]}],"
        "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\",\"parameters\":"
        "{\"type\":\"object\"},\"strict\":true},{\"type\":\"function\",\"name\":\"g\","
        "\"parameters\":{\"type\":\"object\",\"properties\":{}},\"strict\":false}],"
        "\"tool_choice\":\"required\",\"parallel_tool_calls\":false,\"text\":{\"format\":{\"type\":"
        "\"json_schema\",\"name\":\"answer\",\"schema\":{},\"strict\":false}},"
        "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},"
        "\"include\":[\"reasoning.encrypted_content\"],\"max_output_tokens\":16,"
        "\"temperature\":0.1,\"user\":\"u\"}");
    assert_string_equal(notes.dropped, "audio, thinking, is_error, tools[0], max_tokens below 16, "
                                       "top_k, stop, n, logit_bias");
    buf_reset(&text, 0);
    assert_int_equal(llm_responses.path(&t, &text), 0);
    assert_true(sv_str_is(buf_str(&text), "/responses"));
    /* the last turn of the assistant stays out where it would be refused */
    r.n_messages = 3;
    t.no_prefill = true;
    notes = (llm_notes){{0}};
    buf_reset(&text, 0);
    assert_int_equal(llm_responses.write(&r, &t, &text, &notes, &err), 0);
    assert_non_null(strstr(notes.dropped, "messages[2]"));
}

/* ---- answers in words ---- */

static int log_event(void *arg, const llm_event *e)
{
    static const char *const kinds[] = {"start",  "text",   "thinking",  "signature",
                                        "opaque", "call",   "arguments", "refused",
                                        "usage",  "finish", "failed"};
    buf *log = arg;
    buf_printf(log, "%s%s", log->n ? " " : "", kinds[e->kind]);
    if (e->kind == LLM_CALL || e->kind == LLM_ARGUMENTS || e->kind == LLM_SIGNATURE)
        buf_printf(log, "%d", e->index);
    if (e->id.n) buf_printf(log, "#%.*s", SV_FMT(e->id));
    if (e->name.n) buf_printf(log, ":%.*s", SV_FMT(e->name));
    if (e->text.n) buf_printf(log, "(%.*s)", SV_FMT(e->text));
    if (e->kind == LLM_FAILED) buf_printf(log, "%d", e->status);
    if (e->kind == LLM_FINISH) buf_printf(log, "%d", e->finish);
    if (e->kind == LLM_USAGE)
        buf_printf(log, "%d/%d/%d/%d", (int)e->usage->prompt, (int)e->usage->cached,
                   (int)e->usage->completion, (int)e->usage->reasoning);
    return 0;
}

/* Reads a stream's events, one a line. */
static bool read_lines(const char *lines, buf *log)
{
    llm_reader *r = llm_responses.reader_new(true);
    bool done = false;
    buf_init(log, 1 << 20);
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        err = (sv_error){0};
        char *copy = malloc(n); /* so that reading past it is seen */
        assert_non_null(copy);
        memcpy(copy, lines, n);
        assert_int_equal(llm_responses.read(r, (sv_str){NULL, 0}, (sv_str){copy, (uint32_t)n},
                                            log_event, log, &err),
                         0);
        free(copy);
        lines += n + (lines[n] == '\n');
    }
    assert_int_equal(llm_responses.read_end(r, log_event, log, &done), 0);
    llm_responses.reader_free(r);
    buf_putc(log, 0);
    return done;
}

static void reads(const char *lines, const char *expected, bool complete)
{
    buf log;
    bool done = read_lines(lines, &log);
    assert_string_equal(log.p, expected);
    assert_int_equal(done, complete);
    buf_free(&log);
}

static void test_read_stream(void **state)
{
    (void)state;
    reads(
        "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\"}}\n"
        "{\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_1\"}}\n"
        "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":"
        "\"reasoning\",\"id\":\"rs\",\"summary\":[]}}\n"
        "{\"type\":\"response.reasoning_summary_part.added\",\"output_index\":0}\n"
        "{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,\"delta\":\"a\"}\n"
        "{\"type\":\"response.reasoning_summary_part.added\",\"output_index\":0}\n"
        "{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,\"delta\":\"b\"}\n"
        "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":"
        "\"reasoning\",\"summary\":[{\"text\":\"a\"},{\"text\":\"b\"}],\"encrypted_content\":"
        "\"E\"}}\n"
        "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":"
        "\"message\",\"content\":[]}}\n"
        "{\"type\":\"response.output_text.delta\",\"output_index\":1,\"delta\":\"x\\n\"}\n"
        "{\"type\":\"response.output_text.done\",\"output_index\":1,\"text\":\"x\\n\"}\n"
        "{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":"
        "\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"x\\n\"}]}}\n"
        "{\"type\":\"response.web_search_call.searching\",\"output_index\":2}\n"
        "{\"type\":\"response.output_item.added\",\"output_index\":3,\"item\":{\"type\":"
        "\"function_call\",\"call_id\":\"c\",\"id\":\"fc\",\"name\":\"f\",\"arguments\":\"\"}}\n"
        "{\"type\":\"response.function_call_arguments.delta\",\"output_index\":3,\"delta\":\"{}\"}"
        "\n"
        "{\"type\":\"response.function_call_arguments.done\",\"output_index\":3,\"arguments\":"
        "\"{}\"}\n"
        "{\"type\":\"response.output_item.done\",\"output_index\":3,\"item\":{\"type\":"
        "\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}}\n"
        "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"error\":null,"
        "\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4},"
        "\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":2}},\"output\":["
        "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"E\"},{\"type\":"
        "\"message\",\"content\":[{\"text\":\"x\\n\"}]}]}}\n"
        "[DONE]\n{\"type\":\"response.output_text.delta\",\"output_index\":1,\"delta\":\"late\"}",
        "start#resp_1 thinking(a) thinking(\\n\\n) thinking(b) signature-1(E) text(x\\n) call0#c:f "
        "arguments0({}) usage9/4/5/2 finish3",
        true);
}

/* Servers that leave events out. */
static void test_read_sparse(void **state)
{
    (void)state;
    reads("{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":"
          "\"function_call\",\"id\":\"fc\",\"name\":\"f\",\"arguments\":\"{1}\"}}\n"
          "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
          "\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[{\"type\":"
          "\"function_call\",\"name\":\"f\"},{\"type\":\"message\",\"content\":[{\"type\":"
          "\"output_text\",\"text\":\"t\"},{\"type\":\"refusal\",\"refusal\":\"r\"}]}]}}",
          "start call0#fc:f arguments0({1}) text(t) refused(r) finish2", true);
    reads("{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"cut\"}",
          "start text(cut)", false);
    reads(
        "{\"type\":\"response.output_text.delta\",\"output_index\":99999,\"delta\":\"x\"}\n"
        "{\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,\"delta\":\"x\"}\n"
        "{\"type\":7,\"output_index\":0}\n{\"delta\":\"x\"}",
        "", false);
    reads("{\"type\":\"response.reasoning_text.delta\",\"output_index\":0,\"delta\":\"h\"}\n"
          "{\"type\":\"response.completed\",\"response\":{\"status\":\"incomplete\","
          "\"incomplete_details\":{\"reason\":\"content_filter\"}}}",
          "start thinking(h) finish4", true);
    /* a call whose beginning lacks its name; a part of a count that is more than the whole */
    reads("{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":"
          "\"function_call\",\"call_id\":\"c\"}}\n"
          "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":"
          "\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}}\n"
          "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{"
          "\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":9},\"output_tokens\":1,"
          "\"output_tokens_details\":{\"reasoning_tokens\":9}}}}",
          "start call0#c:f arguments0({}) usage5/5/1/1 finish3", true);
}

static void test_read_failures(void **state)
{
    (void)state;
    reads("{\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n"
          "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":"
          "\"rate_limit_exceeded\",\"message\":\"slow \\\"down\\\"\"}}}",
          "start#r failed(slow \\\"down\\\")429", false);
    reads("{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"boom\",\"param\":null}\n"
          "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"late\"}",
          "failed(boom)500", false);
    reads("{\"type\":\"response.completed\",\"response\":{\"status\":\"cancelled\"}}",
          "start failed(The provider gave up the answer.)500", false);
    static const char *const garbage[] = {"",
                                          "{",
                                          "[]",
                                          "\"x\"",
                                          "{\"type\":\"a\",\"type\":\"b\"}",
                                          "{\"type\":\"response.output_item.done\","
                                          "\"output_index\":0,\"item\":{\"type\":"
                                          "\"function_call\",\"call_id\":\"c\"}}"};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        llm_reader *r = llm_responses.reader_new(true);
        err = (sv_error){0};
        assert_int_equal(
            llm_responses.read(r, (sv_str){NULL, 0}, sv_cstr(garbage[i]), log_event, &text, &err),
            SV_E_PROVIDER_GARBAGE);
        llm_responses.reader_free(r);
    }
}

static void test_read_limits(void **state)
{
    (void)state;
    llm_reader *r = llm_responses.reader_new(true);
    int rc = 0, calls = 0;
    char line[256];
    for (; rc == 0 && calls < 200; calls++) {
        snprintf(line, sizeof line,
                 "{\"type\":\"response.output_item.added\",\"output_index\":%d,\"item\":{\"type\":"
                 "\"function_call\",\"call_id\":\"c\",\"name\":\"f\"}}",
                 calls);
        buf_reset(&text, 0);
        rc = llm_responses.read(r, (sv_str){NULL, 0}, sv_cstr(line), log_event, &text, &err);
    }
    assert_int_equal(rc, SV_E_PROVIDER_GARBAGE);
    assert_int_equal(calls, LLM_CALLS + 1);
    buf big, log;
    buf_init(&big, 1 << 22);
    buf_init(&log, 1 << 23);
    buf_puts(&big, "{\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,"
                   "\"delta\":\"");
    for (int i = 0; i < LLM_ARGUMENTS_BYTES; i++)
        buf_putc(&big, 'x');
    buf_puts(&big, "\"}");
    assert_int_equal(llm_responses.read(r, (sv_str){NULL, 0}, buf_str(&big), log_event, &log, &err),
                     0);
    err = (sv_error){0};
    assert_int_equal(llm_responses.read(r, (sv_str){NULL, 0}, buf_str(&big), log_event, &log, &err),
                     SV_E_PROVIDER_TOO_LARGE);
    buf_free(&big);
    buf_free(&log);
    llm_responses.reader_free(r);
}

/* ---- answers for clients ---- */

#define S(x)                                                                                       \
    {                                                                                              \
        (x), sizeof(x) - 1                                                                         \
    }
static const tokens usage = {
    .known = true, .prompt = 11, .completion = 7, .cached = 3, .reasoning = 2};
static const llm_event answer[] = {
    {.kind = LLM_START, .id = S("up"), .model = S("m")},
    {.kind = LLM_THINKING, .index = -1, .text = S("let me ")},
    {.kind = LLM_THINKING, .index = -1, .text = S("think")},
    {.kind = LLM_SIGNATURE, .index = -1, .text = S("SIG=="), .origin = LLM_ANTHROPIC},
    {.kind = LLM_THINKING, .index = -1, .text = S("more")},
    {.kind = LLM_OPAQUE, .index = -1, .text = S("RED"), .origin = LLM_ANTHROPIC},
    {.kind = LLM_TEXT, .text = S("Hello ")},
    {.kind = LLM_TEXT, .text = S("w\\u00f6rld\\n")},
    {.kind = LLM_REFUSED, .text = S("not this")},
    {.kind = LLM_CALL, .index = 0, .id = S("call_a"), .name = S("f")},
    {.kind = LLM_ARGUMENTS, .index = 0, .text = S("{\\\"a\\\":")},
    {.kind = LLM_CALL, .index = 1, .id = S("call_b"), .name = S("g")},
    {.kind = LLM_ARGUMENTS, .index = 0, .text = S("1}")},
    {.kind = LLM_SIGNATURE, .index = 0, .text = S("G"), .origin = LLM_GEMINI},
    {.kind = LLM_USAGE, .usage = &usage},
    {.kind = LLM_FINISH, .finish = LLM_TOOL_CALLS},
};

static llm_writer *begin(bool stream)
{
    return llm_responses.writer_new(&(llm_writer_spec){.stream = stream,
                                                       .id = "abc",
                                                       .model = sv_cstr("fast\"one"),
                                                       .created = 1750000000,
                                                       .request = &q});
}

static void give(llm_writer *w, const llm_event *events, size_t n, buf *out)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(llm_responses.writer_event(w, &events[i], out), 0);
}

/* The data lines of a stream; checks each event's name, type and number. */
static void split(const buf *stream, buf *lines, buf *types)
{
    const char *p = stream->p, *end = p + stream->n;
    buf_init(lines, 1 << 20);
    buf_init(types, 1 << 20);
    for (int number = 0; p < end; number++) {
        char name[128];
        assert_int_equal(sscanf(p, "event: %127s", name), 1);
        p = strchr(p, '\n') + 1;
        assert_memory_equal(p, "data: ", 6);
        const char *stop = strchr(p, '\n');
        assert_memory_equal(stop, "\n\n", 2);
        json_value o = checked((sv_str){p + 6, (uint32_t)(stop - p - 6)});
        int64_t sequence = -1;
        assert_true(json_string_is(json_get(o, "type"), name));
        assert_int_equal(json_int(json_get(o, "sequence_number"), &sequence), 0);
        assert_int_equal(sequence, number);
        buf_put(lines, p + 6, (size_t)(stop - p - 5));
        buf_printf(types, "%s%s", types->n ? " " : "",
                   strncmp(name, "response.", 9) ? name : name + 9);
        p = stop + 2;
    }
    buf_putc(lines, 0);
    buf_putc(types, 0);
}

static void write_all(bool stream, const llm_event *events, size_t n, buf *out)
{
    llm_writer *w = begin(stream);
    buf_init(out, 1 << 22);
    assert_non_null(w);
    give(w, events, n, out);
    assert_int_equal(llm_responses.writer_end(w, out), 0);
    llm_responses.writer_free(w);
    buf_putc(out, 0);
    out->n--;
}

enum { EVENTS = sizeof answer / sizeof *answer };

/* The end of a stream repeats what the whole answer says, and the reader hears the same in both. */
static void test_write_answer(void **state)
{
    (void)state;
    buf stream, whole, lines, types, log;
    assert_int_equal(parse("{\"input\":\"x\",\"instructions\":\"be\\nnice\",\"temperature\":0.5 ,"
                           "\"store\":true,\"tools\":[\n{\"type\":\"function\",\"name\":\"f\"}]}"),
                     0);
    write_all(true, answer, EVENTS, &stream);
    write_all(false, answer, EVENTS, &whole);
    split(&stream, &lines, &types);
    assert_string_equal(
        types.p,
        "created in_progress output_item.added reasoning_summary_part.added "
        "reasoning_summary_text.delta reasoning_summary_text.delta reasoning_summary_text.done "
        "reasoning_summary_part.done output_item.done output_item.added "
        "reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done "
        "reasoning_summary_part.done output_item.done output_item.added output_item.done "
        "output_item.added content_part.added output_text.delta output_text.delta "
        "output_text.done content_part.done output_item.done output_item.added "
        "content_part.added refusal.delta refusal.done content_part.done output_item.done "
        "output_item.added function_call_arguments.delta output_item.added "
        "function_call_arguments.delta function_call_arguments.done output_item.done "
        "function_call_arguments.done output_item.done completed");

    const char *last = strstr(lines.p, "{\"type\":\"response.completed\"");
    assert_non_null(last);
    int64_t total = 0;
    json_value a = checked((sv_str){last, (uint32_t)strcspn(last, "\n")});
    json_value b = checked(buf_str(&whole));
    assert_true(sv_str_eq(json_get(a, "response").raw, b.raw));
    assert_true(json_string_is(json_get(b, "status"), "completed"));
    assert_true(json_string_is(json_get(b, "model"), "fast\"one"));
    assert_true(json_string_is(json_get(b, "instructions"), "be\nnice"));
    assert_int_equal(json_get(b, "store").type, JSON_FALSE);
    assert_true(sv_str_is(json_get(b, "temperature").raw, "0.5"));
    assert_true(sv_str_is(json_get(b, "tools").raw, "[ {\"type\":\"function\",\"name\":\"f\"}]"));
    assert_int_equal(json_int(json_get(json_get(b, "usage"), "total_tokens"), &total), 0);
    assert_int_equal(total, 18);
    assert_non_null(strstr(whole.p, "\"encrypted_content\":\"sv1.anthropic.SIG==\""));
    assert_non_null(strstr(whole.p, "\"signature\":\"sv1.gemini.G\""));

    read_lines(lines.p, &log);
    assert_string_equal(log.p,
                        "start#resp_abc thinking(let me ) thinking(think) "
                        "signature-1(rs_abc_0:sv1.anthropic.SIG==) thinking(more) "
                        "opaque(rs_abc_2:sv1.anthropic.RED) text(Hello ) text(w\\u00f6rld\\n) "
                        "refused(not this) call0#call_a:f arguments0({\\\"a\\\":) call1#call_b:g "
                        "arguments0(1}) arguments1({}) usage11/3/7/2 finish3");
    buf_free(&log);
    buf_init(&log, 1 << 20);
    llm_reader *r = llm_responses.reader_new(false);
    bool done = false;
    assert_int_equal(
        llm_responses.read(r, (sv_str){NULL, 0}, buf_str(&whole), log_event, &log, &err), 0);
    assert_int_equal(llm_responses.read_end(r, log_event, &log, &done), 0);
    assert_true(done);
    llm_responses.reader_free(r);
    buf_putc(&log, 0);
    assert_string_equal(
        log.p, "start#resp_abc thinking(let me think) signature-1(rs_abc_0:sv1.anthropic.SIG==) "
               "thinking(more) opaque(rs_abc_2:sv1.anthropic.RED) text(Hello w\\u00f6rld\\n) "
               "refused(not this) call0#call_a:f arguments0({\\\"a\\\":1}) "
               "call1#call_b:g arguments1({}) usage11/3/7/2 finish3");
    buf_free(&log);
    buf_free(&lines);
    buf_free(&types);
    buf_free(&stream);
    buf_free(&whole);
}

static void test_write_ends(void **state)
{
    (void)state;
    buf out, lines, types;
    assert_int_equal(parse("{\"input\":\"x\"}"), 0);
    static const llm_event cut[] = {{.kind = LLM_START},
                                    {.kind = LLM_THINKING, .index = -1, .text = S("t")},
                                    {.kind = LLM_TEXT, .text = S("half")},
                                    {.kind = LLM_TEXT, .choice = 1, .text = S("other")},
                                    {.kind = LLM_FINISH, .finish = LLM_LENGTH}};
    write_all(true, cut, 5, &out);
    split(&out, &lines, &types);
    assert_non_null(strstr(types.p, "output_item.done incomplete"));
    assert_null(strstr(out.p, "other"));
    assert_non_null(strstr(out.p, "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"));
    assert_non_null(strstr(out.p, "\"type\":\"message\",\"status\":\"incomplete\""));
    buf_free(&out);
    buf_free(&lines);
    buf_free(&types);
    /* without a reason to finish an answer does not look complete */
    write_all(true, cut, 4, &out);
    split(&out, &lines, &types);
    assert_non_null(strstr(types.p, " error "));
    assert_non_null(strstr(types.p, "output_item.done failed"));
    assert_null(strstr(types.p, "completed"));
    buf_free(&out);
    buf_free(&lines);
    buf_free(&types);
    write_all(false, cut, 4, &out);
    assert_non_null(strstr(out.p, "\"status\":\"failed\",\"error\":{\"code\":\"server_error\""));
    buf_free(&out);
    static const llm_event filtered[] = {{.kind = LLM_FINISH, .finish = LLM_FILTER}};
    write_all(false, filtered, 1, &out);
    assert_non_null(strstr(out.p, "\"incomplete_details\":{\"reason\":\"content_filter\"}"));
    buf_free(&out);
}

static void test_write_errors(void **state)
{
    (void)state;
    buf out, lines, types;
    assert_int_equal(parse("{\"input\":\"x\"}"), 0);
    buf_init(&out, 1 << 20);
    llm_writer *w = begin(true);
    give(w, answer, 8, &out);
    llm_responses.error_event(w, 429, "rate_limit_error", "provider.rate", sv_cstr("slow \"down\""),
                              &out);
    size_t n = out.n;
    give(w, answer, EVENTS, &out); /* nothing follows */
    assert_int_equal(llm_responses.writer_end(w, &out), 0);
    assert_int_equal(out.n, n);
    llm_responses.writer_free(w);
    split(&out, &lines, &types);
    assert_non_null(strstr(types.p, "output_text.delta error output_text.done"));
    assert_non_null(
        strstr(lines.p, "\"code\":\"provider.rate\",\"message\":\"slow \\\"down\\\"\""));
    assert_non_null(strstr(lines.p, "\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":"
                                    "\"slow \\\"down\\\"\"}"));
    buf_free(&lines);
    buf_free(&types);
    buf_reset(&out, 0);
    llm_responses.error_event(NULL, 500, "server_error", NULL, sv_cstr("x"), &out);
    split(&out, &lines, &types);
    assert_string_equal(types.p, "error");
    buf_free(&lines);
    buf_free(&types);
    buf_free(&out);
}

/* Events in an order that no reader gives. */
static void test_write_garbage(void **state)
{
    (void)state;
    static const struct {
        llm_event e;
        int rc;
    } rows[] = {
        {{.kind = LLM_ARGUMENTS, .index = 0, .text = S("x")}, SV_E_PROVIDER_GARBAGE},
        {{.kind = LLM_ARGUMENTS, .index = -1, .text = S("x")}, SV_E_PROVIDER_GARBAGE},
        {{.kind = LLM_SIGNATURE, .index = 5, .text = S("x")}, SV_E_PROVIDER_GARBAGE},
        {{.kind = LLM_CALL, .index = LLM_CALLS}, SV_E_PROVIDER_GARBAGE},
        {{.kind = LLM_CALL, .index = 3}, 0},
        {{.kind = LLM_CALL, .index = 3}, SV_E_PROVIDER_GARBAGE},
    };
    buf out, args;
    assert_int_equal(parse("{\"input\":\"x\"}"), 0);
    buf_init(&out, 1 << 24);
    buf_init(&args, 1 << 21);
    llm_writer *w = begin(true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(llm_responses.writer_event(w, &rows[i].e, &out), rows[i].rc);
    for (int i = 0; i < LLM_ARGUMENTS_BYTES; i++)
        buf_putc(&args, '1');
    llm_event e = {.kind = LLM_ARGUMENTS, .index = 3, .text = buf_str(&args)};
    assert_int_equal(llm_responses.writer_event(w, &e, &out), 0);
    e.text.n = 1;
    assert_int_equal(llm_responses.writer_event(w, &e, &out), SV_E_PROVIDER_TOO_LARGE);
    llm_responses.writer_free(w);
    /* a small buffer for the output fails, and nothing else happens */
    buf tiny;
    buf_init(&tiny, 64);
    w = begin(true);
    assert_int_equal(llm_responses.writer_event(w, &answer[0], &tiny), SV_E_TOO_LARGE);
    assert_int_equal(llm_responses.writer_end(w, &tiny), SV_E_TOO_LARGE);
    llm_responses.writer_free(w);
    buf_free(&tiny);
    buf_free(&args);
    buf_free(&out);
}

/* What would be sent three times is not repeated when it is long. */
static void test_echo_is_bounded(void **state)
{
    (void)state;
    buf json, out;
    buf_init(&json, 1 << 20);
    buf_puts(&json, "{\"input\":\"x\",\"instructions\":\"");
    for (int i = 0; i < 40000; i++)
        buf_putc(&json, 'y');
    buf_puts(&json, "\"}");
    buf_putc(&json, 0);
    assert_int_equal(parse(json.p), 0);
    write_all(true, answer, EVENTS, &out);
    assert_true(out.n < 16384);
    assert_non_null(strstr(out.p, "\"instructions\":null"));
    buf_free(&out);
    buf_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_sparse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_echo_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
