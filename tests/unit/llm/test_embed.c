/*  test_embed.c - requests for embeddings parsed and written, answers of all providers converted. */
#include "embed.h"
#include "trace_kit.h"

typedef struct parsed {
    char *copy;
    embed_request q;
    sv_error err;
    int rc;
} parsed;

static void parse(parsed *p, llm_format client, const char *text)
{
    *p = (parsed){0};
    p->copy = heap_copy(sv_cstr(text));
    sv_str body = {p->copy, (uint32_t)strlen(text)};
    assert_int_equal(json_skim(body, 64, &p->err), 0);
    p->rc = embed_parse(client, body, &p->q, &p->err);
}

/* ---- requests ---- */

static void expect_parsed(llm_format client, const char *text, uint32_t n, int64_t estimate)
{
    parsed p;
    parse(&p, client, text);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.q.n, n);
    assert_int_equal(p.q.prompt_tokens, estimate);
    free(p.copy);
}

static void test_parse(void **state)
{
    (void)state;
    expect_parsed(LLM_OPENAI, "{\"model\":\"m\",\"input\":\"abcdefgh\"}", 1, 2);
    expect_parsed(LLM_OPENAI, "{\"input\":[\"abcd\",\"efgh\",\"\"]}", 3, 2);
    expect_parsed(LLM_OPENAI, "{\"input\":[1,2,3]}", 1, 3);
    expect_parsed(LLM_OPENAI, "{\"input\":[[1,2,3],[4]]}", 2, 4);
    expect_parsed(LLM_OLLAMA, "{\"input\":[\"abcd\"]}", 1, 1);
    parsed p;
    parse(&p, LLM_OPENAI, "{\"input\":\"a\",\"encoding_format\":\"base64\",\"dimensions\":256}");
    assert_true(p.q.base64);
    assert_int_equal(p.q.dimensions, 256);
    free(p.copy);
    parse(&p, LLM_OLLAMA, "{\"prompt\":\"a\",\"encoding_format\":\"base64\"}");
    assert_int_equal(p.rc, 0);
    assert_true(p.q.older);
    assert_false(p.q.base64);
    free(p.copy);
}

static void test_parse_errors(void **state)
{
    (void)state;
    static const struct {
        llm_format client;
        const char *text;
        int code;
        const char *field;
    } rows[] = {
        {LLM_OPENAI, "[]", SV_E_WRONG_TYPE, ""},
        {LLM_OPENAI, "{}", SV_E_MISSING_FIELD, "input"},
        {LLM_OPENAI, "{\"prompt\":\"a\"}", SV_E_MISSING_FIELD, "input"},
        {LLM_OPENAI, "{\"input\":7}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":[]}", SV_E_INVALID, "input"},
        {LLM_OPENAI, "{\"input\":[null]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":[\"a\",1]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":[1,\"a\"]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":[1.5]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":[-1]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":[[]]}", SV_E_OUT_OF_RANGE, "input"},
        {LLM_OPENAI, "{\"input\":[[[1]]]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OPENAI, "{\"input\":\"a\",\"encoding_format\":\"hex\"}", SV_E_INVALID,
         "encoding_format"},
        {LLM_OPENAI, "{\"input\":\"a\",\"dimensions\":0}", SV_E_OUT_OF_RANGE, "dimensions"},
        {LLM_OPENAI, "{\"input\":\"a\",\"dimensions\":\"x\"}", SV_E_WRONG_TYPE, "dimensions"},
        {LLM_OLLAMA, "{\"input\":[1]}", SV_E_WRONG_TYPE, "input"},
        {LLM_OLLAMA, "{\"prompt\":[\"a\"]}", SV_E_WRONG_TYPE, "prompt"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        parsed p;
        parse(&p, rows[i].client, rows[i].text);
        assert_int_equal(p.rc, rows[i].code);
        assert_string_equal(p.err.field, rows[i].field);
        assert_true(p.err.message[0]);
        free(p.copy);
    }
}

static void test_most(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        parsed p;
        buf text;
        buf_init(&text, 1 << 20);
        buf_puts(&text, "{\"input\":[");
        for (int i = 0; i < EMBED_INPUTS + over; i++)
            buf_puts(&text, i ? ",\"a\"" : "\"a\"");
        buf_puts(&text, "]}");
        buf_putc(&text, 0);
        parse(&p, LLM_OPENAI, text.p);
        assert_int_equal(p.rc, over ? SV_E_OUT_OF_RANGE : 0);
        free(p.copy);
        buf_free(&text);
    }
}

static void expect_path(llm_format f, const char *model, const char *want)
{
    buf out;
    buf_init(&out, 4096);
    int rc = embed_path(f, sv_cstr(model), &out);
    assert_int_equal(rc, want ? 0 : SV_E_INVALID);
    buf_putc(&out, 0);
    if (want) assert_string_equal(out.p, want);
    buf_free(&out);
}

static void test_path(void **state)
{
    (void)state;
    expect_path(LLM_OPENAI, "m", "/embeddings");
    expect_path(LLM_OLLAMA, "m", "/api/embed");
    expect_path(LLM_GEMINI, "models/m", "/models/m:batchEmbedContents");
    expect_path(LLM_ANTHROPIC, "m", NULL);
}

static void expect_written(llm_format client, const char *text, llm_format provider,
                           const char *want, const char *dropped)
{
    parsed p;
    buf out;
    llm_notes notes = {0};
    buf_init(&out, 1 << 20);
    parse(&p, client, text);
    assert_int_equal(p.rc, 0);
    assert_int_equal(embed_write(&p.q, provider, sv_cstr("up\"1"), &out, &notes, &p.err), 0);
    assert_int_equal(json_skim(buf_str(&out), 64, &p.err), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, want);
    assert_string_equal(notes.dropped, dropped);
    buf_free(&out);
    free(p.copy);
}

static void test_write(void **state)
{
    (void)state;
    static const char openai[] =
        "{\"model\": \"m\", \"input\": [\"a\\u00e9\",\"b\"], \"dimensions\":8,"
        "\"encoding_format\":\"base64\",\"user\":\"u\"}";
    expect_written(LLM_OPENAI, openai, LLM_OPENAI,
                   "{\"model\": \"up\\\"1\", \"input\": [\"a\\u00e9\",\"b\"], \"dimensions\":8,"
                   "\"encoding_format\":\"base64\",\"user\":\"u\"}",
                   "");
    expect_written(LLM_OPENAI, openai, LLM_OLLAMA,
                   "{\"model\":\"up\\\"1\",\"input\":[\"a\\u00e9\",\"b\"],\"dimensions\":8,"
                   "\"truncate\":false}",
                   "user");
    expect_written(LLM_OPENAI, openai, LLM_GEMINI,
                   "{\"requests\":[{\"model\":\"models/up\\\"1\",\"content\":{\"parts\":[{\"text\":"
                   "\"a\\u00e9\"}]},\"outputDimensionality\":8},{\"model\":\"models/up\\\"1\","
                   "\"content\":{\"parts\":[{\"text\":\"b\"}]},\"outputDimensionality\":8}]}",
                   "user");
    expect_written(LLM_OPENAI, "{\"input\":\"a\"}", LLM_GEMINI,
                   "{\"requests\":[{\"model\":\"models/up\\\"1\",\"content\":{\"parts\":[{\"text\":"
                   "\"a\"}]}}]}",
                   "");
    static const char ollama[] =
        "{\"model\":\"m\",\"input\":\"a\",\"keep_alive\":\"5m\",\"truncate\":true}";
    expect_written(
        LLM_OLLAMA, ollama, LLM_OLLAMA,
        "{\"model\":\"up\\\"1\",\"input\":\"a\",\"keep_alive\":\"5m\",\"truncate\":true}", "");
    expect_written(LLM_OLLAMA, ollama, LLM_OPENAI,
                   "{\"model\":\"up\\\"1\",\"input\":\"a\",\"encoding_format\":\"float\"}",
                   "keep_alive, truncate");
    expect_written(LLM_OLLAMA, "{\"prompt\":\"a\",\"options\":{\"num_ctx\":1}}", LLM_OLLAMA,
                   "{\"model\":\"up\\\"1\",\"input\":\"a\",\"options\":{\"num_ctx\":1}}", "");
    expect_written(LLM_OPENAI, "{\"input\":[[1,2]],\"model\":\"m\"}", LLM_OPENAI,
                   "{\"input\":[[1,2]],\"model\":\"up\\\"1\"}", "");
}

static void expect_refused(const char *text, llm_format provider, int code, const char *field)
{
    parsed p;
    buf out;
    buf_init(&out, 1 << 20);
    parse(&p, LLM_OPENAI, text);
    assert_int_equal(p.rc, 0);
    assert_int_equal(embed_write(&p.q, provider, sv_cstr("m"), &out, NULL, &p.err), code);
    assert_string_equal(p.err.field, field);
    buf_free(&out);
    free(p.copy);
}

static void test_write_refuses(void **state)
{
    (void)state;
    expect_refused("{\"input\":[1,2]}", LLM_GEMINI, SV_E_INVALID, "input");
    expect_refused("{\"input\":[1,2]}", LLM_OLLAMA, SV_E_INVALID, "input");
    expect_refused("{\"input\":\"a\"}", LLM_ANTHROPIC, SV_E_INVALID, "model");
    buf text;
    buf_init(&text, 4096);
    buf_puts(&text, "{\"input\":[\"a\"");
    for (int i = 0; i < EMBED_GEMINI_INPUTS; i++)
        buf_puts(&text, ",\"a\"");
    buf_puts(&text, "]}");
    buf_putc(&text, 0);
    expect_refused(text.p, LLM_GEMINI, SV_E_OUT_OF_RANGE, "input");
    buf_free(&text);
}

/* ---- answers ---- */

static int answer(const char *request, llm_format client, llm_format provider, const char *json,
                  tokens *t, buf *out)
{
    parsed p;
    buf_init(out, 1 << 24);
    parse(&p, client, request);
    assert_int_equal(p.rc, 0);
    char *copy = heap_copy(sv_cstr(json));
    int rc = embed_answer(&p.q, provider, client, sv_cstr("my\"m"),
                          (sv_str){copy, (uint32_t)strlen(json)}, t, out, &p.err);
    assert_int_equal(p.err.code, rc);
    buf_putc(out, 0);
    free(copy);
    free(p.copy);
    return rc;
}

static void expect_answer(const char *request, llm_format client, llm_format provider,
                          const char *json, const char *want)
{
    buf out;
    tokens t = {0};
    assert_int_equal(answer(request, client, provider, json, &t, &out), 0);
    assert_string_equal(out.p, want);
    buf_free(&out);
}

#define TWO    "{\"input\":[\"a\",\"b\"]}"
#define TWO_64 "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}"
#define OPENAI(first, second, tokens)                                                              \
    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":" first    \
    "},{\"object\":\"embedding\",\"index\":1,\"embedding\":" second "}],\"model\":\"my\\\"m\","    \
    "\"usage\":{\"prompt_tokens\":" #tokens ",\"total_tokens\":" #tokens "}}"

/* 1, -2 and 0.5, 0.25 as float32. */
static const char openai_floats[] =
    "{\"data\":[{\"index\":1,\"embedding\":[0.5, 25e-2]},{\"index\":0,\"embedding\":[1,-2.0]}],"
    "\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}";

static void test_openai(void **state)
{
    (void)state;
    expect_answer(TWO, LLM_OPENAI, LLM_OPENAI, openai_floats,
                  OPENAI("[1,-2.0]", "[0.5, 25e-2]", 9));
    expect_answer(TWO_64, LLM_OPENAI, LLM_OPENAI, openai_floats,
                  OPENAI("\"AACAPwAAAMA=\"", "\"AAAAPwAAgD4=\"", 9));
    static const char encoded[] =
        "{\"data\":[{\"embedding\":\"AACAPwAAAMA=\"},{\"embedding\":\"AAAAPwAAgD4=\"}],"
        "\"usage\":{\"prompt_tokens\":9}}";
    expect_answer(TWO, LLM_OPENAI, LLM_OPENAI, encoded, OPENAI("[1,-2]", "[0.5,0.25]", 9));
    expect_answer(TWO_64, LLM_OPENAI, LLM_OPENAI, encoded,
                  OPENAI("\"AACAPwAAAMA=\"", "\"AAAAPwAAgD4=\"", 9));
}

static void test_others(void **state)
{
    (void)state;
    expect_answer(TWO, LLM_OPENAI, LLM_GEMINI,
                  "{\"embeddings\":[{\"values\":[1,2]},{\"values\":[3,4]}]}",
                  OPENAI("[1,2]", "[3,4]", 2)); /* estimated */
    expect_answer(TWO, LLM_OPENAI, LLM_OLLAMA,
                  "{\"embeddings\":[[1,2],[3,4]],\"prompt_eval_count\":5}",
                  OPENAI("[1,2]", "[3,4]", 5));
    expect_answer(TWO, LLM_OLLAMA, LLM_OPENAI, openai_floats,
                  "{\"embeddings\":[[1,-2.0],[0.5, 25e-2]],\"model\":\"my\\\"m\","
                  "\"prompt_eval_count\":9}");
    expect_answer("{\"prompt\":\"a\"}", LLM_OLLAMA, LLM_OLLAMA, "{\"embedding\":[1,2]}",
                  "{\"embedding\":[1,2]}");
    /* Gemini's shortened vectors are made one long. */
    expect_answer(
        "{\"input\":\"a\",\"dimensions\":2}", LLM_OPENAI, LLM_GEMINI,
        "{\"embeddings\":[{\"values\":[3,4]}]}",
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
        "[0.600000024,0.800000012]}],\"model\":\"my\\\"m\",\"usage\":{\"prompt_tokens\":1,"
        "\"total_tokens\":1}}");
}

static void test_tokens(void **state)
{
    (void)state;
    buf out;
    tokens t = {0};
    assert_int_equal(answer(TWO, LLM_OPENAI, LLM_OPENAI, openai_floats, &t, &out), 0);
    assert_true(t.known && !t.estimated && t.prompt == 9 && t.completion == 0);
    buf_free(&out);
    assert_int_equal(answer(TWO, LLM_OPENAI, LLM_OLLAMA, "{\"embeddings\":[[1],[2]]}", &t, &out),
                     0);
    assert_true(!t.known && t.estimated && t.prompt == 2);
    buf_free(&out);
}

/* Every number becomes the float32 that strtof makes of it. */
static void test_numbers(void **state)
{
    (void)state;
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "0.0",
                                          "1",
                                          "-1",
                                          "1e0",
                                          "1E+2",
                                          "12e-2",
                                          "0.006929283495992422",
                                          "-0.012345678901234567",
                                          "0.00000000000000000000001234",
                                          "3.4028234e38",
                                          "1.17549435e-38",
                                          "1e-45",
                                          "9007199254740993",
                                          "123456789012345678901234567890",
                                          "1e-400",
                                          "0.1e22",
                                          "5e-324",
                                          "16777217",
                                          "0.1",
                                          "-0.30000001192092896",
                                          "1e23",
                                          "1234567890.12345678"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        buf out;
        tokens t;
        char json[256];
        snprintf(json, sizeof json, "{\"embeddings\":[[%s]]}", numbers[i]);
        assert_int_equal(answer("{\"input\":\"a\",\"encoding_format\":\"base64\"}", LLM_OPENAI,
                                LLM_OLLAMA, json, &t, &out),
                         0);
        float want = strtof(numbers[i], NULL);
        uint32_t bits;
        memcpy(&bits, &want, 4);
        uint8_t b[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                        (uint8_t)(bits >> 24)};
        static const char digits[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char text[16];
        snprintf(text, sizeof text, "\"%c%c%c%c%c%c==\"", digits[b[0] >> 2],
                 digits[(b[0] & 3) << 4 | b[1] >> 4], digits[(b[1] & 15) << 2 | b[2] >> 6],
                 digits[b[2] & 63], digits[b[3] >> 2], digits[(b[3] & 3) << 4]);
        if (strstr(out.p, text) == NULL) fail_msg("%s: %s in %s", numbers[i], text, out.p);
        buf_free(&out);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    static const struct {
        llm_format provider;
        const char *json;
    } rows[] = {
        {LLM_OPENAI, ""},
        {LLM_OPENAI, "{"},
        {LLM_OPENAI, "[]"},
        {LLM_OPENAI, "{}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1]}]}"}, /* one too few */
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1]},{\"embedding\":[1]},{\"embedding\":[1]}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1]},{\"embedding\":[1,2]}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1,2]},{\"embedding\":[1]}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[]},{\"embedding\":[]}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1]},{\"embedding\":[\"1\"]}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1]},{\"embedding\":[1e39]}]}"}, /* no float */
        {LLM_OPENAI, "{\"data\":[{\"embedding\":[1]},{\"embedding\":{}}]}"},
        {LLM_OPENAI,
         "{\"data\":[{\"index\":1,\"embedding\":[1]},{\"index\":1,\"embedding\":[1]}]}"},
        {LLM_OPENAI,
         "{\"data\":[{\"index\":2,\"embedding\":[1]},{\"index\":1,\"embedding\":[1]}]}"},
        {LLM_OPENAI,
         "{\"data\":[{\"index\":-1,\"embedding\":[1]},{\"index\":1,\"embedding\":[1]}]}"},
        {LLM_OPENAI,
         "{\"data\":[{\"index\":\"0\",\"embedding\":[1]},{\"index\":1,\"embedding\":[1]}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":\"AACAP!==\"}]}"},
        {LLM_OPENAI, "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":\"AACAPwAA\"}]}"},
        {LLM_OPENAI,
         "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":\"AADAfw==\"}]}"}, /* NaN */
        {LLM_OPENAI, "{\"data\":[{\"embedding\":\"\"},{\"embedding\":\"\"}]}"},
        {LLM_OLLAMA, "{\"error\":\"no\"}"},
        {LLM_GEMINI, "{\"embeddings\":[[1],[2]]}"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf out;
        tokens t = {0};
        int rc = answer(TWO, LLM_OPENAI, rows[i].provider, rows[i].json, &t, &out);
        if (rc != SV_E_PROVIDER_GARBAGE) fail_msg("%s: %d", rows[i].json, rc);
        assert_false(t.known || t.estimated);
        buf_free(&out);
    }
}

/* What does not fit the buffer is said. */
static void test_small_buffer(void **state)
{
    (void)state;
    parsed p;
    buf out;
    tokens t;
    parse(&p, LLM_OPENAI, TWO);
    for (size_t max = 0; max < 190; max += 7) {
        buf_init(&out, max);
        int rc = embed_answer(&p.q, LLM_OPENAI, LLM_OPENAI, sv_cstr("m"), sv_cstr(openai_floats),
                              &t, &out, &p.err);
        assert_int_equal(rc, SV_E_TOO_LARGE);
        buf_free(&out);
    }
    free(p.copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),   cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_most),    cmocka_unit_test(test_path),
        cmocka_unit_test(test_write),   cmocka_unit_test(test_write_refuses),
        cmocka_unit_test(test_openai),  cmocka_unit_test(test_others),
        cmocka_unit_test(test_tokens),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_garbage), cmocka_unit_test(test_small_buffer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
