/*  test_canonical.c - one spelling for equal values, and one key for equal requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache_key.h"
#include "canonical.h"
#include "error.h"

#include <stdio.h>

static void is(const char *text, const char *want)
{
    buf out;
    buf_init(&out, 4096);
    assert_int_equal(canonical_json(sv_cstr(text), NULL, &out), 0);
    assert_int_equal(buf_putc(&out, 0), 0);
    assert_string_equal(out.p, want);
    buf_free(&out);
}

static void fails(const char *text, int code)
{
    buf out;
    buf_init(&out, 4096);
    assert_int_equal(canonical_json(sv_cstr(text), NULL, &out), code);
    assert_int_equal(out.n, 0);
    buf_free(&out);
}

static void one_spelling(void **state)
{
    (void)state;
    is(" { } ", "{}");
    is("[ ]", "[]");
    is("{\"b\": 1, \"a\" :[ 2 , 1.50, -0.0e+1 ,true,false , null ] }",
       "{\"a\":[2,1.50,-0.0e+1,true,false,null],\"b\":1}");
    is("{\"z\":{\"b\":{},\"a\":0},\"aa\":1,\"a\":\" x \"}",
       "{\"a\":\" x \",\"aa\":1,\"z\":{\"a\":0,\"b\":{}}}");
    is("{\"\\u0062\":1,\"a\":\"\\u0041\\/\\n\\u000a\\\"\\u00e9\"}",
       "{\"a\":\"A/\\n\\n\\\"\xc3\xa9\",\"b\":1}");
    is("\"x\"", "\"x\"");
}

static void what_is_no_json(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",   " ",   "{",     "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "[1,]",
        "[1", "\"a", "\"a\\", "{a:1}",  "1 2",     "{}{}",     ":"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        fails(bad[i], SV_E_MALFORMED);
    char deep[2 * CANONICAL_DEPTH + 8] = "";
    for (int i = 0; i <= CANONICAL_DEPTH; i++)
        deep[i] = '[';
    for (int i = 0; i <= CANONICAL_DEPTH; i++)
        deep[CANONICAL_DEPTH + 1 + i] = ']';
    fails(deep, SV_E_TOO_DEEP);
    deep[2 * CANONICAL_DEPTH + 1] = 0;
    is(deep + 1, deep + 1);
}

/* ---- keys ---- */

typedef struct asked {
    cache_scope scope;
    router_complete_req q;
    const char *body, *generation;
} asked;

static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                           "\"temperature\":0}";

static asked plain(void)
{
    return (asked){.scope = {.org = sv_cstr("o1"), .user = sv_cstr("u1")},
                   .q = {.model = sv_cstr("m"), .endpoint = sv_cstr("chat")},
                   .body = body,
                   .generation = "g"};
}

static const char *key_of(const asked *a)
{
    static char keys[4][CACHE_KEY + 1];
    static int turn;
    char *key = keys[turn++ % 4];
    assert_int_equal(cache_key(&a->scope, &a->q, sv_cstr(a->body), sv_cstr(a->generation), key), 0);
    assert_int_equal(strlen(key), CACHE_KEY);
    return key;
}

static void same(const asked *a)
{
    asked p = plain();
    assert_string_equal(key_of(a), key_of(&p));
}

static void other(const asked *a)
{
    asked p = plain();
    assert_string_not_equal(key_of(a), key_of(&p));
}

static void what_does_not_matter(void **state)
{
    (void)state;
    asked a = plain();
    a.scope.user = sv_cstr("u2"); /* of the same organization */
    same(&a);
    a.body = "{ \"temperature\" : 0, \"user\":\"x\", \"metadata\":{\"a\":1}, \"stream\":false,"
             "\"messages\":[{\"content\":\"h\\u0069\",\"role\":\"user\"}], \"model\":\"m\","
             "\"stream_options\":{}, \"prompt_cache_key\":\"k\"}";
    same(&a);
    a.q.endpoint = (sv_str){NULL, 0};
    a.q.via = sv_cstr("1.1 x");
    a.q.session = sv_cstr("s");
    a.q.model_at = 9;
    a.q.explain = a.q.include_usage = true; /* usage in a stream that there is not */
    same(&a);
}

static void what_matters(void **state)
{
    (void)state;
    static sv_str models[] = {{"b", 1}, {"c", 1}};
    asked a[16];
    size_t n = sizeof a / sizeof *a;
    for (size_t i = 0; i < n; i++)
        a[i] = plain();
    a[0].scope.org = sv_cstr("o2");
    a[1].scope.own = true;
    a[2].scope.org = (sv_str){NULL, 0};
    a[3].q.model = sv_cstr("n");
    a[4].q.endpoint = sv_cstr("completions");
    a[5].q.stream = true;
    a[6].generation = "h";
    a[7].q.models = (sv_strs){models, 2};
    a[8].q.allowed = (sv_strs){models, 2};
    a[9].q.mode = sv_cstr("race");
    a[10].q.task = sv_cstr("code");
    a[11].q.complexity = sv_cstr("low");
    a[12].q.budget = 5;
    a[13].q.version = sv_cstr("2023-06-01");
    a[14].q.beta = sv_cstr("x");
    a[15].body = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                 "\"temperature\":0.0}";
    for (size_t i = 0; i < n; i++)
        other(&a[i]);
    asked usage = a[5];
    usage.q.include_usage = true;
    assert_string_not_equal(key_of(&usage), key_of(&a[5]));
    asked own = a[1];
    own.scope.user = sv_cstr("u2");
    assert_string_not_equal(key_of(&own), key_of(&a[1]));
    asked alone = a[2]; /* a user is no organization of the same name */
    alone.scope.user = sv_cstr("o1");
    other(&alone);
    asked shown = plain(), shown_more = plain();
    shown.q.endpoint = shown_more.q.endpoint = sv_cstr("responses");
    shown.body = "{\"input\":1}";
    shown_more.body = "{\"input\":1,\"metadata\":{}}";
    assert_string_not_equal(key_of(&shown), key_of(&shown_more));
}

static void what_has_no_key(void **state)
{
    (void)state;
    static char large[CACHE_BODY_BYTES + 1];
    char key[CACHE_KEY + 1];
    asked a = plain();
    memset(large, ' ', sizeof large);
    sv_str none = {NULL, 0};
    assert_int_equal(cache_key(&a.scope, &a.q, none, none, key), SV_E_INVALID);
    assert_int_equal(cache_key(&a.scope, &a.q, sv_cstr("[]"), none, key), SV_E_INVALID);
    assert_int_equal(cache_key(&a.scope, &a.q, sv_cstr("{\"a\""), none, key), SV_E_INVALID);
    assert_int_equal(cache_key(&a.scope, &a.q, (sv_str){large, sizeof large}, none, key),
                     SV_E_TOO_LARGE);
    a.q.content_type = sv_cstr("multipart/form-data");
    assert_int_equal(cache_key(&a.scope, &a.q, sv_cstr(body), none, key), SV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_spelling),         cmocka_unit_test(what_is_no_json),
        cmocka_unit_test(what_does_not_matter), cmocka_unit_test(what_matters),
        cmocka_unit_test(what_has_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
