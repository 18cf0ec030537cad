/*  Which requests to models may be answered from the cache, and for how long. */
#include "model_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { KEEP = 600 };

typedef struct asked {
    model_request m;
    model_cache kept;
    bool may;
} asked;

static asked ask_as(model_endpoint e, const char *body, const char *control, const identity *who)
{
    asked a = {0};
    sv_error err = {0};
    http_header h = {sv_cstr("cache-control"), sv_cstr(control ? control : "")};
    http_request r = {.headers = &h, .n_headers = control ? 1 : 0, .body = sv_cstr(body)};
    assert_int_equal(model_request_read(e, &r, r.body, &a.m, &err), 0);
    a.may = model_cache_may(&a.m, who, KEEP, &a.kept);
    return a;
}

static bool may(model_endpoint e, const char *body, const char *control, const identity *who)
{
    asked a = ask_as(e, body, control, who);
    model_request_free(&a.m);
    return a.may;
}

#define REST "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define WARM "{\"model\":\"a\"," REST
#define COLD "{\"model\":\"a\",\"temperature\":0," REST

static void who_may(void **state)
{
    (void)state;
    identity by_key = {.user = "u", .org = "o", .cache_s = 30},
             never = {.user = "u", .org = "o", .cache_s = -1};
    assert_false(may(MODEL_CHAT, WARM, NULL, NULL));
    assert_true(may(MODEL_CHAT, COLD, NULL, NULL));
    assert_true(may(MODEL_CHAT, WARM, "max-age=5", NULL));
    assert_false(may(MODEL_CHAT, WARM, "max-age=0", NULL));
    assert_true(may(MODEL_CHAT, WARM, NULL, &by_key));
    assert_false(may(MODEL_CHAT, COLD, "max-age=5", &never));
    assert_false(may(MODEL_CHAT, COLD, "no-store", NULL));
    assert_false(may(MODEL_CHAT, COLD, "no-store, max-age=5", &by_key));
    assert_true(may(MODEL_MESSAGES, COLD, NULL, NULL));
#define OPTIONS(t) "{\"model\":\"a\",\"options\":{\"temperature\":" t "}," REST
    assert_true(may(MODEL_OLLAMA, OPTIONS("0.0"), NULL, NULL)); /* Ollama's place for it */
    assert_false(may(MODEL_OLLAMA, OPTIONS("0.5"), NULL, NULL));
    assert_false(may(MODEL_OLLAMA, COLD, NULL, NULL));
    assert_false(may(MODEL_CHAT, OPTIONS("0"), NULL, NULL));
    assert_true(may(MODEL_EMBEDDINGS, "{\"model\":\"a\",\"input\":\"x\"}", "max-age=5", NULL));
    assert_false(may(MODEL_COUNT_TOKENS, COLD, NULL, NULL));
    assert_false(may(MODEL_IMAGES, "{\"model\":\"a\",\"prompt\":\"x\"}", "max-age=5", NULL));
    assert_false(may(
        MODEL_CHAT, "{\"model\":\"a\",\"models\":[\"b\"],\"mode\":\"race\",\"temperature\":0," REST,
        NULL, NULL));
    assert_false(may(MODEL_CHAT,
                     "{\"model\":\"a\",\"models\":[\"b\"],\"mode\":\"all\",\"temperature\":0," REST,
                     NULL, NULL));
    assert_true(
        may(MODEL_CHAT, "{\"model\":\"a\",\"models\":[\"b\"],\"temperature\":0," REST, NULL, NULL));
}

static void for_how_long(void **state)
{
    (void)state;
    identity by_key = {.user = "u", .org = "o", .cache_s = 30};
    static const struct {
        const char *control;
        bool key, anew, own;
        int64_t keep, age;
    } rows[] = {{NULL, false, false, false, KEEP, 0},
                {"max-age=60", false, false, false, KEEP, 60},
                {"max-age=6000", false, false, false, 6000, 6000},
                {"max-age=0", false, true, false, KEEP, 0},
                {"no-cache", false, true, false, KEEP, 0},
                {"private", false, false, true, KEEP, 0},
                {NULL, true, false, false, 30, 0},
                {"max-age=40", true, false, false, 40, 40},
                {"max-age=999999999", false, false, false, CACHE_KEEP_MOST_S, CACHE_KEEP_MOST_S}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        asked a = ask_as(MODEL_CHAT, COLD, rows[i].control, rows[i].key ? &by_key : NULL);
        assert_true(a.may);
        if (a.kept.req.keep_s != rows[i].keep || a.kept.req.age_s != rows[i].age)
            fail_msg("%zu: %lld, %lld", i, (long long)a.kept.req.keep_s,
                     (long long)a.kept.req.age_s);
        assert_int_equal(a.kept.req.anew, rows[i].anew);
        assert_int_equal(a.kept.req.own, rows[i].own);
        model_request_free(&a.m);
    }
}

/* With x-samovar-semantic: what is asked for, and that questions of one bucket meet at one instance. */
static void the_same_meaning(void **state)
{
    (void)state;
#define ASKS(text) "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]}"
    static const struct {
        model_endpoint e;
        const char *body;
        bool may;
    } rows[] = {{MODEL_CHAT, ASKS("hi"), true},
                {MODEL_CHAT, ASKS("how are you"), true},
                {MODEL_MESSAGES, ASKS("hi"), true},
                {MODEL_COMPLETIONS, "{\"model\":\"a\",\"prompt\":\"hi\"}", false},
                {MODEL_CHAT, "{\"model\":\"a\",\"tools\":[{}]," REST, false},
                {MODEL_CHAT, "{\"model\":\"a\",\"models\":[\"b\"],\"mode\":\"race\"," REST, false}};
    char first[CACHE_KEY + 1] = "";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        asked a = {0};
        sv_error err = {0};
        http_header h = {sv_cstr("x-samovar-semantic"), sv_cstr("1")};
        http_request r = {.headers = &h, .n_headers = 1, .body = sv_cstr(rows[i].body)};
        assert_int_equal(model_request_read(rows[i].e, &r, r.body, &a.m, &err), 0);
        a.may = model_cache_may(&a.m, NULL, KEEP, &a.kept);
        if (a.may != rows[i].may) fail_msg("%s", rows[i].body);
        if (a.may) assert_true(a.kept.req.semantic && a.kept.req.keep_s == KEEP);
        if (i == 0) memcpy(first, a.kept.key, sizeof first);
        if (i == 1) assert_string_equal(a.kept.key, first);
        if (i == 2) assert_string_not_equal(a.kept.key, first);
        model_request_free(&a.m);
    }
}

/* Requests meet at one key exactly when they may share an answer. */
static void keys(void **state)
{
    (void)state;
    identity anna = {.user = "anna", .org = "o"}, ben = {.user = "ben", .org = "o"},
             eve = {.user = "eve", .org = "other"};
    asked first = ask_as(MODEL_CHAT, COLD, NULL, &anna);
    const struct {
        model_endpoint e;
        const char *body, *control;
        const identity *who;
        bool same;
    } rows[] = {
        {MODEL_CHAT, COLD, NULL, &ben, true},
        {MODEL_CHAT, "{ \"temperature\":0, \"model\":\"a\" ," REST, NULL, &anna, true},
        {MODEL_CHAT, COLD, NULL, &eve, false},
        {MODEL_CHAT, COLD, "private", &anna, false},
        {MODEL_MESSAGES, COLD, NULL, &anna, false},
        {MODEL_CHAT, "{\"model\":\"b\",\"temperature\":0," REST, NULL, &anna, false},
        {MODEL_CHAT, "{\"model\":\"a\",\"temperature\":0,\"stream\":true," REST, NULL, &anna,
         false},
        {MODEL_CHAT, "{\"model\":\"a\",\"temperature\":0,\"seed\":1," REST, NULL, &anna, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        asked a = ask_as(rows[i].e, rows[i].body, rows[i].control, rows[i].who);
        assert_true(a.may);
        if ((strcmp(a.kept.key, first.kept.key) == 0) != rows[i].same) fail_msg("%zu", i);
        model_request_free(&a.m);
    }
    asked own = ask_as(MODEL_CHAT, COLD, "private", &anna),
          others = ask_as(MODEL_CHAT, COLD, "private", &ben);
    assert_string_not_equal(own.kept.key, others.kept.key);
    model_request_free(&own.m);
    model_request_free(&others.m);
    model_request_free(&first.m);
}

static void too_large(void **state)
{
    (void)state;
    char *body = malloc(CACHE_BODY_BYTES + 200);
    int n = sprintf(body, "{\"model\":\"a\",\"temperature\":0,\"messages\":[],\"x\":\"");
    memset(body + n, 'x', CACHE_BODY_BYTES);
    strcpy(body + n + CACHE_BODY_BYTES, "\"}");
    assert_false(may(MODEL_CHAT, body, NULL, NULL));
    strcpy(body + CACHE_BODY_BYTES - 2, "\"}");
    assert_true(may(MODEL_CHAT, body, NULL, NULL));
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_may), cmocka_unit_test(for_how_long),
                                       cmocka_unit_test(the_same_meaning), cmocka_unit_test(keys),
                                       cmocka_unit_test(too_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
