/*  What of a client's request to a model the edge reads: fields, lists, headers, and what it cuts out. */
#include "error.h"
#include "model_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct asked {
    model_request m;
    sv_error err;
    int rc;
} asked;

static asked read_with(model_endpoint e, sv_str body, const http_header *headers, uint32_t n)
{
    asked a = {0};
    http_request r = {.headers = headers, .n_headers = n, .body = body};
    a.rc = model_request_read(e, &r, body, &a.m, &a.err);
    return a;
}

static asked read_chat(const char *body)
{
    return read_with(MODEL_CHAT, sv_cstr(body), NULL, 0);
}

#define CHAT "\"messages\":[]"

static void refused(model_endpoint e, const char *body, int code, const char *field)
{
    asked a = read_with(e, sv_cstr(body), NULL, 0);
    if (a.rc != code) fail_msg("%s: %d, not %d", body, a.rc, code);
    assert_string_equal(a.err.field, field);
    assert_true(a.err.message[0] != 0);
}

/* ---- fields ---- */

static void fields(void **state)
{
    (void)state;
    const char *body = "{ \"stream\" : true, \"model\" : \"gpt\" ,\"temperature\":0.0," CHAT
                       ",\"stream_options\":{\"include_usage\":true},\"x\":[{\"model\":\"no\"}]}";
    asked a = read_chat(body);
    assert_int_equal(a.rc, 0);
    assert_true(sv_str_is(a.m.req.endpoint, "chat"));
    assert_true(sv_str_is(a.m.req.model, "gpt"));
    assert_true(a.m.req.stream && a.m.req.include_usage && a.m.zero_temperature);
    assert_int_equal(a.m.req.model_n, 5);
    assert_memory_equal(body + a.m.req.model_at, "\"gpt\"", 5);
    assert_ptr_equal(a.m.body.p, body); /* as it came */
    assert_int_equal(a.m.max_age_s, -1);
    assert_int_equal(a.m.req.models.n, 0);
    model_request_free(&a.m);

    a = read_chat(
        "{\"model\":\"a\",\"stream\":null,\"stream_options\":null,\"temperature\":0.1," CHAT "}");
    assert_int_equal(a.rc, 0);
    assert_false(a.m.req.stream || a.m.req.include_usage || a.m.zero_temperature);
    model_request_free(&a.m);
}

static void escaped_keys(void **state)
{
    (void)state;
    asked a =
        read_chat("{\"\\u006dodel\":\"a\\u0062\\n\",\"m\\u0065ssages\":[],\"strea\\u006d\":true}");
    assert_int_equal(a.rc, 0);
    assert_true(sv_str_is(a.m.req.model, "ab\n"));
    assert_true(a.m.req.stream);
    model_request_free(&a.m);
    a = read_chat("{\"model\":\"a\",\"\\u006dodels\":[\"b\"],\"mod\\u0065\":\"race\"," CHAT "}");
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.m.req.models.n, 1);
    assert_true(sv_str_is(a.m.body, "{\"model\":\"a\"," CHAT "}"));
    model_request_free(&a.m);
}

static void endpoints(void **state)
{
    (void)state;
    static const struct {
        model_endpoint e;
        const char *name, *body;
        bool stream;
    } rows[] = {
        {MODEL_COMPLETIONS, "completions", "{\"model\":\"a\",\"prompt\":\"x\"}", false},
        {MODEL_RESPONSES, "responses", "{\"model\":\"a\",\"input\":\"x\",\"stream\":true}", true},
        {MODEL_MESSAGES, "messages", "{\"model\":\"a\",\"messages\":[]}", false},
        {MODEL_COUNT_TOKENS, "count_tokens", "{\"model\":\"a\",\"messages\":[]}", false},
        {MODEL_OLLAMA, "ollama", "{\"model\":\"a\",\"messages\":[]}", true},
        {MODEL_OLLAMA_GENERATE, "generate", "{\"model\":\"a\",\"prompt\":\"x\"}", true},
        {MODEL_OLLAMA_EMBED, "ollama_embed", "{\"model\":\"a\",\"prompt\":\"x\"}", false},
        {MODEL_EMBEDDINGS, "embeddings", "{\"model\":\"a\",\"input\":[1,2]}", false},
        {MODEL_MODERATIONS, "moderations", "{\"model\":\"a\",\"input\":\"x\"}", false},
        {MODEL_IMAGES, "images", "{\"model\":\"a\",\"prompt\":\"x\"}", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        asked a = read_with(rows[i].e, sv_cstr(rows[i].body), NULL, 0);
        assert_int_equal(a.rc, 0);
        assert_true(sv_str_is(a.m.req.endpoint, rows[i].name));
        assert_int_equal(a.m.req.stream, rows[i].stream);
        model_request_free(&a.m);
    }
    asked a =
        read_with(MODEL_OLLAMA, sv_cstr("{\"model\":\"a\",\"stream\":false," CHAT "}"), NULL, 0);
    assert_false(a.m.req.stream);
    model_request_free(&a.m);
}

static void lists(void **state)
{
    (void)state;
    asked a = read_chat("{\"model\":\"a\",\"models\":[\"b\",\"c\"],\"mode\":\"all\"," CHAT "}");
    assert_int_equal(a.rc, 0);
    assert_true(sv_str_is(a.m.req.model, "a"));
    assert_int_equal(a.m.req.models.n, 2);
    assert_true(sv_str_is(a.m.req.models.items[0], "b") && sv_str_is(a.m.req.models.items[1], "c"));
    assert_true(sv_str_is(a.m.req.mode, "all"));
    assert_int_equal(a.m.req.model_n, 0); /* it lies elsewhere now */
    model_request_free(&a.m);

    a = read_chat("{\"models\":[\"b\",\"c\"],\"mode\":\"fallback\"," CHAT "}");
    assert_int_equal(a.rc, 0);
    assert_true(sv_str_is(a.m.req.model, "b"));
    assert_int_equal(a.m.req.models.n, 1);
    assert_int_equal(a.m.req.mode.n, 0);                            /* the usual one */
    assert_true(sv_str_is(a.m.body, "{\"model\":\"b\"," CHAT "}")); /* so it also passes */
    model_request_free(&a.m);

    char many[1024];
    for (int n = MODEL_LIST - 1; n <= MODEL_LIST; n++) { /* beside "model" */
        int at = snprintf(many, sizeof many, "{\"model\":\"a\"," CHAT ",\"models\":[");
        for (int i = 0; i < n; i++)
            at += snprintf(many + at, sizeof many - (size_t)at, "%s\"m%d\"", i ? "," : "", i);
        snprintf(many + at, sizeof many - (size_t)at, "]}");
        a = read_chat(many);
        assert_int_equal(a.rc, n < MODEL_LIST ? 0 : SV_E_OUT_OF_RANGE);
        if (a.rc) continue;
        assert_true(sv_str_is(a.m.req.models.items[n - 1], "m14"));
        model_request_free(&a.m);
    }
}

/* What remains is what came, byte by byte. */
static void cut_exactly(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"models\":[\"b\"],\"model\":\"a\"," CHAT "}", "{\"model\":\"a\"," CHAT "}"},
        {"{\"model\":\"a\", \"models\" : [\"b\"] , \"x\": 1.50," CHAT "}",
         "{\"model\":\"a\" , \"x\": 1.50," CHAT "}"},
        {"{" CHAT ",\"model\":\"a\",\"mode\":\"race\",\"models\":[\"b\"]}",
         "{" CHAT ",\"model\":\"a\"}"},
        {"\n{\"model\":\"a\",\"y\":\"\\u00e9 \xc3\xa9\",\"models\":[]," CHAT "}\n ",
         "\n{\"model\":\"a\",\"y\":\"\\u00e9 \xc3\xa9\"," CHAT "}\n "},
        {"{\"model\":\"a\",\"models\":null,\"mode\":null," CHAT "}", "{\"model\":\"a\"," CHAT "}"},
        {"{\"model\":null,\"models\":[\"\\u0022b\"]," CHAT "}", "{\"model\":\"\\\"b\"," CHAT "}"},
        {"{\"model\":\"a\",\"mode\":\"json\"," CHAT "}",
         "{\"model\":\"a\",\"mode\":\"json\"," CHAT "}"}, /* not ours */
        {"{\"model\":\"a\",\"t\":{\"models\":[1],\"mode\":2},\"models\":[\"b\"]," CHAT "}",
         "{\"model\":\"a\",\"t\":{\"models\":[1],\"mode\":2}," CHAT "}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        asked a = read_chat(rows[i][0]);
        if (a.rc) fail_msg("%s: %s", rows[i][0], a.err.message);
        if (!sv_str_is(a.m.body, rows[i][1])) fail_msg("%zu: %.*s", i, (int)a.m.body.n, a.m.body.p);
        model_request_free(&a.m);
    }
}

static void wrong_bodies(void **state)
{
    (void)state;
    char deep[512], long_name[400];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    int rc = read_chat(deep).rc;
    assert_true(rc != 0 && rc != SV_E_INTERNAL);
    assert_int_not_equal(read_chat("").rc, 0);
    assert_int_not_equal(read_chat("{\"model\":\"a\"").rc, 0);
    assert_int_not_equal(read_chat("{\"model\":\"a\xff\"," CHAT "}").rc, 0);
    assert_int_equal(read_chat("{\"model\":\"a\",\"model\":\"b\"," CHAT "}").rc,
                     SV_E_DUPLICATE_KEY);
    assert_int_equal(read_chat("{\"model\":\"a\",\"mode\\u006c\":\"b\"," CHAT "}").rc,
                     SV_E_DUPLICATE_KEY);
    refused(MODEL_CHAT, "[]", SV_E_WRONG_TYPE, "");
    refused(MODEL_CHAT, "{" CHAT "}", SV_E_MISSING_FIELD, "model");
    refused(MODEL_CHAT, "{\"model\":null," CHAT "}", SV_E_MISSING_FIELD, "model");
    refused(MODEL_CHAT, "{\"models\":[]," CHAT "}", SV_E_MISSING_FIELD, "model");
    refused(MODEL_CHAT, "{\"model\":7," CHAT "}", SV_E_WRONG_TYPE, "model");
    refused(MODEL_CHAT, "{\"model\":\"\"," CHAT "}", SV_E_OUT_OF_RANGE, "model");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"models\":\"b\"," CHAT "}", SV_E_WRONG_TYPE, "models");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"models\":[1]," CHAT "}", SV_E_WRONG_TYPE, "models");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"models\":[\"\"]," CHAT "}", SV_E_OUT_OF_RANGE,
            "models");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"models\":[\"b\"],\"mode\":\"best\"," CHAT "}",
            SV_E_INVALID, "mode");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"models\":[\"b\"],\"mode\":1," CHAT "}", SV_E_INVALID,
            "mode");
    refused(MODEL_CHAT, "{\"model\":\"a\"}", SV_E_MISSING_FIELD, "messages");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"messages\":{}}", SV_E_WRONG_TYPE, "messages");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"stream\":1," CHAT "}", SV_E_WRONG_TYPE, "stream");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"stream_options\":[]," CHAT "}", SV_E_WRONG_TYPE,
            "stream_options");
    refused(MODEL_CHAT, "{\"model\":\"a\",\"stream_options\":{\"include_usage\":\"yes\"}," CHAT "}",
            SV_E_WRONG_TYPE, "stream_options.include_usage");
    refused(MODEL_EMBEDDINGS, "{\"model\":\"a\"}", SV_E_MISSING_FIELD, "input");
    refused(MODEL_EMBEDDINGS, "{\"model\":\"a\",\"input\":\"x\",\"stream\":true}", SV_E_INVALID,
            "stream");
    refused(MODEL_COUNT_TOKENS, "{\"model\":\"a\",\"stream\":true," CHAT "}", SV_E_INVALID,
            "stream");
    for (int n = 256; n <= 257; n++) {
        snprintf(long_name, sizeof long_name, "{\"model\":\"%0*d\"," CHAT "}", n, 0);
        asked a = read_chat(long_name);
        assert_int_equal(a.rc, n == 256 ? 0 : SV_E_OUT_OF_RANGE);
        if (a.rc == 0) model_request_free(&a.m);
    }
}

/* Every beginning of a good body, and every byte of it changed: an answer or an error, nothing else. */
static void hostile_bytes(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"a\",\"models\":[\"b\",\"\\u00e9\"],\"mode\":\"race\",\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true},\"temperature\":0,\"messages\":[{}]}";
    for (size_t n = 0; n < sizeof body - 1; n++) {
        char *copy = malloc(n ? n : 1); /* exactly as long: reading behind it shows */
        memcpy(copy, body, n);
        assert_int_not_equal(read_with(MODEL_CHAT, (sv_str){copy, (uint32_t)n}, NULL, 0).rc, 0);
        free(copy);
    }
    for (size_t i = 0; i < sizeof body - 1; i++)
        for (unsigned c = 0; c < 256; c += 3) {
            char *copy = malloc(sizeof body - 1);
            memcpy(copy, body, sizeof body - 1);
            copy[i] = (char)c;
            asked a = read_with(MODEL_CHAT, (sv_str){copy, sizeof body - 1}, NULL, 0);
            if (a.rc == 0) {
                assert_true(a.m.req.model.n > 0);
                model_request_free(&a.m);
            } else {
                assert_true(a.rc < 0 && a.err.code == a.rc);
            }
            free(copy);
        }
}

/* ---- headers ---- */

static asked with_header(const char *name, const char *value)
{
    http_header h = {sv_cstr(name), sv_cstr(value)};
    return read_with(MODEL_CHAT, sv_cstr("{\"model\":\"a\"," CHAT "}"), &h, 1);
}

static void words(void **state)
{
    (void)state;
    http_header all[] = {{sv_cstr("X-Samovar-Task"), sv_cstr("code")},
                         {sv_cstr("x-samovar-complexity"), sv_cstr("high")},
                         {sv_cstr("x-samovar-session"), sv_cstr("s-1")},
                         {sv_cstr("anthropic-version"), sv_cstr("2026-10-21")},
                         {sv_cstr("anthropic-beta"), sv_cstr("a,b")},
                         {sv_cstr("x-samovar-explain"), sv_cstr("1")},
                         {sv_cstr("x-samovar-continue"), sv_cstr("TRUE")}};
    asked a = read_with(MODEL_CHAT, sv_cstr("{\"model\":\"a\"," CHAT "}"), all, 7);
    assert_int_equal(a.rc, 0);
    assert_true(sv_str_is(a.m.req.task, "code") && sv_str_is(a.m.req.complexity, "high"));
    assert_true(sv_str_is(a.m.req.session, "s-1"));
    assert_true(sv_str_is(a.m.req.version, "2026-10-21") && sv_str_is(a.m.req.beta, "a,b"));
    assert_true(a.m.explain && a.m.req.explain && a.m.req.continued);
    model_request_free(&a.m);

    http_header twice[] = {{sv_cstr("x-samovar-task"), sv_cstr("code")},
                           {sv_cstr("x-samovar-task"), sv_cstr("chat")}};
    a = read_with(MODEL_CHAT, sv_cstr("{\"model\":\"a\"," CHAT "}"), twice, 2);
    assert_int_equal(a.rc, SV_E_INVALID);
    assert_string_equal(a.err.field, "x-samovar-task");
    assert_int_equal(with_header("x-samovar-task", "seventeen letters").rc, SV_E_INVALID);
    assert_int_equal(with_header("x-samovar-session", "caf\xc3\xa9").rc, SV_E_INVALID);
    a = with_header("x-samovar-explain", "no");
    assert_false(a.m.explain || a.m.req.continued);
    model_request_free(&a.m);
}

static void budgets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t micro;
    } good[] = {{"1", 1000000},    {"0.05", 50000}, {"0", 0},
                {"12.", 12000000}, {"0.000001", 1}, {"1000000", 1000000000000},
                {"007.5", 7500000}};
    static const char *const bad[] = {
        "-1",  ".5", "1e3", "0.0000001", "1000001", "99999999999999999999",
        "1,5", "1 ", "$1",  "0x1",       "1.2.3",   "NaN"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        asked a = with_header("x-samovar-budget", good[i].text);
        if (a.rc) fail_msg("%s", good[i].text);
        assert_int_equal(a.m.req.budget, good[i].micro);
        model_request_free(&a.m);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        asked a = with_header("x-samovar-budget", bad[i]);
        if (a.rc != SV_E_INVALID) fail_msg("%s", bad[i]);
        assert_string_equal(a.err.field, "x-samovar-budget");
    }
}

static void cache_control(void **state)
{
    (void)state;
    asked a = with_header("Cache-Control", " no-store ,\tPRIVATE,No-Cache, max-age=60");
    assert_true(a.m.no_store && a.m.own_only && a.m.no_cache);
    assert_int_equal(a.m.max_age_s, 60);
    model_request_free(&a.m);
    http_header two[] = {{sv_cstr("cache-control"), sv_cstr("no-store")},
                         {sv_cstr("cache-control"), sv_cstr("max-age=0")}};
    a = read_with(MODEL_CHAT, sv_cstr("{\"model\":\"a\"," CHAT "}"), two, 2);
    assert_true(a.m.no_store);
    assert_int_equal(a.m.max_age_s, 0);
    model_request_free(&a.m);
    static const char *const nothing[] = {
        "", ",,, ,", "max-age=", "max-age=-5", "max-age=abc", "max-age=5x", "no-storex", "public"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        a = with_header("cache-control", nothing[i]);
        assert_int_equal(a.rc, 0);
        if (a.m.max_age_s != -1) fail_msg("%s: %lld", nothing[i], (long long)a.m.max_age_s);
        assert_false(a.m.no_store || a.m.no_cache || a.m.own_only);
        model_request_free(&a.m);
    }
    a = with_header("cache-control", "Max-Age=7");
    assert_int_equal(a.m.max_age_s, 7);
    model_request_free(&a.m);
    a = with_header("cache-control", "max-age=99999999999999999999");
    assert_int_equal(a.m.max_age_s, INT32_MAX);
    model_request_free(&a.m);
}

/* ---- forms ---- */

#define PART(name, value)                                                                          \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static asked form(const char *type, const char *body)
{
    http_header h = {sv_cstr("content-type"), sv_cstr(type)};
    return read_with(MODEL_TRANSCRIPTIONS, sv_cstr(body), &h, 1);
}

static void forms(void **state)
{
    (void)state;
    const char *type = "multipart/form-data; boundary=b";
    asked a = form(type, PART("file", "RIFF") PART("model", "whisper") "--b--\r\n");
    assert_int_equal(a.rc, 0);
    assert_true(sv_str_is(a.m.req.endpoint, "transcriptions"));
    assert_true(sv_str_is(a.m.req.model, "whisper"));
    assert_true(sv_str_is(a.m.req.content_type, type));
    model_request_free(&a.m);
    a = form(type, PART("file", "RIFF") "--b--\r\n");
    assert_int_equal(a.rc, SV_E_MISSING_FIELD);
    assert_string_equal(a.err.field, "model");
    a = form(type, PART("model", "a") PART("model", "b") "--b--\r\n");
    assert_int_equal(a.rc, SV_E_INVALID);
    assert_int_not_equal(form(type, PART("model", "a")).rc, 0); /* no end */
    assert_int_not_equal(form("text/plain", "x").rc, 0);
    char big[600];
    snprintf(big, sizeof big,
             "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n%0*d\r\n--b--\r\n", 300,
             0);
    a = form(type, big);
    assert_int_equal(a.rc, SV_E_OUT_OF_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),        cmocka_unit_test(escaped_keys),
        cmocka_unit_test(endpoints),     cmocka_unit_test(lists),
        cmocka_unit_test(cut_exactly),   cmocka_unit_test(wrong_bodies),
        cmocka_unit_test(hostile_bytes), cmocka_unit_test(words),
        cmocka_unit_test(budgets),       cmocka_unit_test(cache_control),
        cmocka_unit_test(forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
