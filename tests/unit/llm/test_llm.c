/*  What the formats share: strings, opaque values, notes, estimates, features, arguments. */
#include "parse.h"
#include "turn_kit.h"
#include "whole.h"

static const char *text_of(buf *b)
{
    buf_putc(b, 0);
    return b->p;
}

static void strings(void **state)
{
    (void)state;
    static const struct {
        const char *inside, *plain;
    } rows[] = {{"", ""},
                {"abc", "abc"},
                {"a\\nb\\t\\\"\\\\\\/", "a\nb\t\"\\/"},
                {"\\u00e9\\u4e2d", "\xc3\xa9\xe4\xb8\xad"},
                {"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"},
                {"x\\u000", "x"}, /* cut: memory-safe */
                {"x\\", "x"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf out;
        buf_init(&out, 1000);
        assert_int_equal(llm_decode(sv_cstr(rows[i].inside), &out), 0);
        assert_string_equal(text_of(&out), rows[i].plain);
        buf_free(&out);
    }
    assert_true(llm_is(sv_cstr("\\u0061b"), "ab") && !llm_is(sv_cstr("abc"), "ab"));
}

static void opaque(void **state)
{
    (void)state;
    for (int origin = 0; origin < LLM_FORMATS; origin++)
        for (int client = 0; client < LLM_FORMATS; client++) {
            static const char *const values[] = {"abc", "sv1.gemini.abc", "sv1.x", ""};
            for (size_t i = 0; i < 3; i++) {
                buf out;
                llm_format back;
                buf_init(&out, 1000);
                llm_put_opaque(&out, sv_cstr(values[i]), (llm_format)origin, (llm_format)client);
                sv_str inside = {out.p + 1, (uint32_t)out.n - 2};
                sv_str got = llm_take_opaque(inside, (llm_format)client, &back);
                assert_true(sv_str_is(got, values[i]));
                assert_int_equal(back, origin);
                buf_free(&out);
            }
        }
}

static void notes(void **state)
{
    (void)state;
    llm_notes n = {{0}};
    llm_note(&n, "tools[%d]", 1);
    llm_note(&n, "tools[%d]", 1);
    llm_note(&n, "tools");
    llm_note(&n, "a\r\nb");
    assert_string_equal(n.dropped, "tools[1], tools, a??b");
    for (int i = 0; i < 100; i++)
        llm_note(&n, "name%d", i);
    assert_true(strlen(n.dropped) < sizeof n.dropped);
    assert_string_equal(n.dropped + strlen(n.dropped) - 5, ", ...");
    llm_note(NULL, "nothing");
    /* parts that nobody knows: the first by name */
    arena m;
    llm_request q;
    buf text;
    arena_init(&m, 1 << 20);
    buf_init(&text, 1 << 16);
    buf_puts(&text, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"x\"}");
    for (int i = 0; i < 40; i++)
        buf_puts(&text, ",{\"type\":\"x\"}");
    buf_puts(&text, "]}]}");
    assert_int_equal(llm_openai.parse(buf_str(&text), &m, &q, NULL), 0);
    assert_int_equal(q.n_left, LLM_DROPS);
    assert_true(sv_str_is(q.left[0], "messages[0].content[0]"));
    assert_true(sv_str_is(q.left[LLM_DROPS - 1], "..."));
    buf_free(&text);
    arena_free(&m);
}

static void estimates(void **state)
{
    (void)state;
    assert_int_equal(llm_estimate(sv_cstr("")), 0);
    assert_int_equal(llm_estimate(sv_cstr("a")), 1);
    assert_int_equal(llm_estimate(sv_cstr("abcdefgh")), 2);
    assert_int_equal(llm_estimate(sv_cstr("\xe4\xb8\xad\xe4\xb8\xad")), 2);
    assert_int_equal(llm_estimate(sv_cstr("\\u4e2d\\u4e2d")), 2);
    assert_int_equal(llm_estimate(sv_cstr("\\u0061\\u0061\\n\\n")), 1);
}

static void arguments(void **state)
{
    (void)state;
    static const struct {
        const char *inside, *json;
    } rows[] = {{"", "{}"},
                {" \\n", "{}"},
                {"{\\\"a\\\":1}", "{\"a\":1}"},
                {"[1]", "{\"invalid_arguments\":\"[1]\"}"},
                {"{\\\"a", "{\"invalid_arguments\":\"{\\\"a\"}"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf out;
        buf_init(&out, 1000);
        assert_int_equal(llm_put_object(&out, sv_cstr(rows[i].inside)), 0);
        assert_string_equal(text_of(&out), rows[i].json);
        buf_free(&out);
    }
}

static void features(void **state)
{
    (void)state;
    arena a;
    llm_request q;
    llm_features f;
    arena_init(&a, 1 << 20);
    sv_str text = sv_cstr(
        "{\"messages\":[{\"role\":\"system\",\"content\":\"Be.\"},{\"role\":\"user\",\"content\":"
        "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}},{\"type\":\"text\","
        "\"text\":\"one\"}]},{\"role\":\"assistant\",\"reasoning_details\":[{\"type\":"
        "\"reasoning.encrypted\",\"data\":\"sv1.gemini.x\"}],\"content\":\"two\"}],\"tools\":[{"
        "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"stream\":true,\"max_tokens\":7,"
        "\"reasoning_effort\":\"low\",\"response_format\":{\"type\":\"json_object\"}}");
    assert_int_equal(llm_openai.parse(text, &a, &q, NULL), 0);
    llm_features_of(&q, &f);
    assert_true(f.tools && f.images && f.json && f.stream && f.thinking && f.opaque && f.prefill);
    assert_false(f.audio || f.files || f.schema);
    assert_true(f.foreign);
    assert_int_equal(f.origin, LLM_GEMINI);
    assert_int_equal(f.messages, 3);
    assert_int_equal(f.max_tokens, 7);
    assert_true(f.prompt_tokens > 1000 && f.prompt_tokens < 1100);
    assert_true(sv_str_is(f.system, "Be.") && sv_str_is(f.last_user, "one"));
    arena_free(&a);
}

/* Thoughts that a provider of the client's own format would refuse. */
static void foreign(void **state)
{
    (void)state;
    static const struct {
        const llm_ops *from;
        const char *turn;
        bool foreign;
    } rows[] = {
        {&llm_anthropic, "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}", false},
        {&llm_anthropic, "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"\"}", true},
        {&llm_anthropic,
         "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"sv1.gemini.s\"}", true},
        {&llm_anthropic, "{\"type\":\"redacted_thinking\",\"data\":\"sv1.anthropic.s\"}", false},
        {&llm_anthropic,
         "{\"type\":\"redacted_thinking\",\"data\":\"sv1.gemini.s\"},{\"type\":\"tool_use\",\"id\":"
         "\"a\",\"name\":\"f\"}",
         true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        arena a;
        llm_request q;
        llm_features f;
        char text[512];
        snprintf(text, sizeof text, "{\"messages\":[{\"role\":\"assistant\",\"content\":[%s]}]}",
                 rows[i].turn);
        arena_init(&a, 1 << 20);
        assert_int_equal(rows[i].from->parse(sv_cstr(text), &a, &q, NULL), 0);
        llm_features_of(&q, &f);
        assert_int_equal(f.foreign, rows[i].foreign);
        arena_free(&a);
    }
}

/* The edges of what is collected for a whole answer. */
static void whole_limits(void **state)
{
    (void)state;
    llm_whole w;
    llm_whole_init(&w);
    static char big[1 << 20];
    memset(big, 'x', sizeof big);
    llm_event call = {.kind = LLM_CALL, .id = sv_cstr("a"), .name = sv_cstr("f")};
    llm_event piece = {.kind = LLM_ARGUMENTS, .text = {big, sizeof big}};
    assert_int_equal(llm_whole_event(&w, &piece), 0); /* of no call: nothing */
    assert_int_equal(llm_whole_event(&w, &call), 0);
    assert_int_equal(llm_whole_event(&w, &piece), 0);
    assert_int_equal(llm_whole_event(&w, &piece), SV_E_PROVIDER_TOO_LARGE);
    llm_event far = {.kind = LLM_TEXT, .choice = LLM_CHOICES, .text = sv_cstr("x")};
    assert_int_equal(llm_whole_event(&w, &far), SV_E_PROVIDER_TOO_LARGE);
    llm_whole_free(&w);
    llm_whole_init(&w);
    int rc = 0;
    for (uint32_t i = 0; i <= LLM_WHOLE_BLOCKS && rc == 0; i++) {
        llm_event e = {.kind = i % 2 ? LLM_TEXT : LLM_THINKING, .index = -1, .text = sv_cstr("x")};
        rc = llm_whole_event(&w, &e);
    }
    assert_int_equal(rc, SV_E_PROVIDER_TOO_LARGE);
    llm_whole_free(&w);
}

static void table(void **state)
{
    (void)state;
    for (int f = 0; f < LLM_FORMATS; f++) {
        const llm_ops *ops = llm_ops_of((llm_format)f);
        assert_non_null(ops);
        assert_int_equal(ops->format, f);
        assert_true((ops->parse != NULL) == (ops->writer_new != NULL));
        assert_true(ops->write == NULL || ops->read != NULL);
        assert_true((ops->path != NULL) == (ops->read != NULL));
    }
    assert_null(llm_ops_of(LLM_FORMATS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),   cmocka_unit_test(opaque),       cmocka_unit_test(notes),
        cmocka_unit_test(estimates), cmocka_unit_test(arguments),    cmocka_unit_test(features),
        cmocka_unit_test(foreign),   cmocka_unit_test(whole_limits), cmocka_unit_test(table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
