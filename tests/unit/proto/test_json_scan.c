/*  test_json_scan.c - what is JSON and what is not, beside jansson; finding and editing by
 *  offsets. */
/* jansson and json_scan.h use some of the same names; here jansson's are put aside. */
#define json_type   jansson_type
#define json_string jansson_string
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_TRUE   JANSSON_TRUE
#define JSON_FALSE  JANSSON_FALSE
#define JSON_NULL   JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef json_string
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "error.h"
#include "json_scan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int skim(const char *text)
{
    sv_error err = {0};
    /* An exact copy on the heap, so that the sanitizer sees every byte read past the end. */
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    int rc = json_skim((sv_str){copy, (uint32_t)n}, 64, &err);
    assert_int_equal(rc, err.code);
    free(copy);
    return rc;
}

static void test_accepts(void **state)
{
    (void)state;
    static const char *const good[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "12",
        "-1.5",
        "1e5",
        "1E+5",
        "0.0e-12",
        "1.0E0",
        "\"\"",
        "\"a\"",
        " \t\r\n[ ] \n",
        "{}",
        "[]",
        "[[],{},[[]]]",
        "{\"\":1}",
        "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}",
        "[1,2 , 3]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00\\uFFFF\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "\"\x7f\"",
        "\"12345678\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\"",
        "123456789012345678901234567890",
        "1e999",
        "{\"a\":1,\"A\":2,\"a \":3}",
        "{\"a\\u0062\":1,\"ba\":2}",
        "\"\\\\\"",
        "[\"\\\\\",\"]\"]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (skim(good[i])) fail_msg("refused: %s", good[i]);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } bad[] = {
        {"", SV_E_MALFORMED},
        {" ", SV_E_MALFORMED},
        {"nul", SV_E_MALFORMED},
        {"nulL", SV_E_MALFORMED},
        {"True", SV_E_MALFORMED},
        {"01", SV_E_MALFORMED},
        {"-", SV_E_MALFORMED},
        {"+1", SV_E_MALFORMED},
        {".5", SV_E_MALFORMED},
        {"1.", SV_E_MALFORMED},
        {"1e", SV_E_MALFORMED},
        {"1e+", SV_E_MALFORMED},
        {"1.e5", SV_E_MALFORMED},
        {"-01", SV_E_MALFORMED},
        {"0x1", SV_E_MALFORMED},
        {"NaN", SV_E_MALFORMED},
        {"Infinity", SV_E_MALFORMED},
        {"-Infinity", SV_E_MALFORMED},
        {"\"", SV_E_MALFORMED},
        {"\"a", SV_E_MALFORMED},
        {"\"\\", SV_E_MALFORMED},
        {"\"\\\"", SV_E_MALFORMED},
        {"\"\\x41\"", SV_E_MALFORMED},
        {"\"\\u12\"", SV_E_MALFORMED},
        {"\"\\u123g\"", SV_E_MALFORMED},
        {"\"\\u0000\"", SV_E_MALFORMED},
        {"\"\\ud800\"", SV_E_MALFORMED},
        {"\"\\udc00\"", SV_E_MALFORMED},
        {"\"\\ud800\\u0041\"", SV_E_MALFORMED},
        {"\"\\ud800\\ud800\"", SV_E_MALFORMED},
        {"\"\\ud83d\\ude0\"", SV_E_MALFORMED},
        {"\"\n\"", SV_E_MALFORMED},
        {"\"1234567\x1f\"", SV_E_MALFORMED},
        {"'a'", SV_E_MALFORMED},
        {"[", SV_E_MALFORMED},
        {"[1", SV_E_MALFORMED},
        {"[1,", SV_E_MALFORMED},
        {"[1,]", SV_E_MALFORMED},
        {"[,1]", SV_E_MALFORMED},
        {"[1 2]", SV_E_MALFORMED},
        {"[1}", SV_E_MALFORMED},
        {"]", SV_E_MALFORMED},
        {"{", SV_E_MALFORMED},
        {"{\"a\"", SV_E_MALFORMED},
        {"{\"a\":", SV_E_MALFORMED},
        {"{\"a\":}", SV_E_MALFORMED},
        {"{\"a\":1", SV_E_MALFORMED},
        {"{\"a\":1,", SV_E_MALFORMED},
        {"{\"a\":1,}", SV_E_MALFORMED},
        {"{a:1}", SV_E_MALFORMED},
        {"{1:1}", SV_E_MALFORMED},
        {"{\"a\" 1}", SV_E_MALFORMED},
        {"{\"a\":1]", SV_E_MALFORMED},
        {"{,}", SV_E_MALFORMED},
        {"{\"a\":1 \"b\":2}", SV_E_MALFORMED},
        {"[1]]", SV_E_MALFORMED},
        {"1 2", SV_E_MALFORMED},
        {"{}{}", SV_E_MALFORMED},
        {"[1]//x", SV_E_MALFORMED},
        {"/**/1", SV_E_MALFORMED},
        {"\xef\xbb\xbf{}", SV_E_MALFORMED},
        {"[\f1]", SV_E_MALFORMED},
        {"\xc2\xa0"
         "1",
         SV_E_MALFORMED},
        {"\"\xff\"", SV_E_BAD_UTF8},
        {"\"\xc0\xaf\"", SV_E_BAD_UTF8},
        {"\"\xc3\"", SV_E_BAD_UTF8},
        {"\"\xed\xa0\x80\"", SV_E_BAD_UTF8},
        {"\"\xf4\x90\x80\x80\"", SV_E_BAD_UTF8},
        {"\"1234567\x80\"", SV_E_BAD_UTF8},
        {"\"\xe2\x82", SV_E_BAD_UTF8},
        {"{\"\xff\":1}", SV_E_BAD_UTF8},
        {"{\"a\":1,\"a\":2}", SV_E_DUPLICATE_KEY},
        {"{\"\":1,\"\":2}", SV_E_DUPLICATE_KEY},
        {"{\"model\":1,\"b\":{\"model\":3},\"mod\\u0065l\":2}", SV_E_DUPLICATE_KEY},
        {"{\"\\u00e9\":1,\"\xc3\xa9\":2}", SV_E_DUPLICATE_KEY},
        {"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", SV_E_DUPLICATE_KEY},
        {"[{\"x\":[{\"a\":1,\"b\":2,\"a\":3}]}]", SV_E_DUPLICATE_KEY},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = skim(bad[i].text);
        if (rc != bad[i].code) fail_msg("%s answered %d, not %d", bad[i].text, rc, bad[i].code);
    }
    sv_error err = {0};
    assert_int_equal(json_skim((sv_str){"\"a\0b\"", 5}, 64, &err), SV_E_MALFORMED);
    assert_int_equal(json_skim((sv_str){NULL, 0}, 64, NULL), SV_E_MALFORMED);
}

static void test_errors_name_the_place(void **state)
{
    (void)state;
    sv_error err = {0};
    json_skim(sv_cstr("{\"a\": tru}"), 64, &err);
    assert_string_equal(err.message, "The JSON text is not valid at byte 6: expected a value.");
    err = (sv_error){0};
    json_skim(sv_cstr("{\"a\":[1,2"), 64, &err);
    assert_string_equal(err.message, "The JSON text is not valid at byte 9: it ends too early.");
    err = (sv_error){0};
    json_skim(sv_cstr("{\"model\":1, \"model\":2}"), 64, &err);
    assert_string_equal(err.field, "model");
    assert_non_null(strstr(err.message, "at byte 13"));
}

static void test_depth(void **state)
{
    (void)state;
    char text[1200];
    for (int depth = 1; depth <= 300; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        sv_str s = {text, (uint32_t)(2 * depth)};
        sv_error err = {0};
        assert_int_equal(json_skim(s, 64, &err), depth <= 64 ? 0 : SV_E_TOO_DEEP);
        assert_int_equal(json_skim(s, 100000, NULL), depth <= 256 ? 0 : SV_E_TOO_DEEP);
    }
    assert_int_equal(json_skim(sv_cstr("1"), 0, NULL), 0);
    assert_int_equal(json_skim(sv_cstr("[]"), 0, NULL), SV_E_TOO_DEEP);
    assert_int_equal(json_skim(sv_cstr("{\"a\":{}}"), 1, NULL), SV_E_TOO_DEEP);
}

/* Objects below, at and above the switch from comparing to sorting; the doubled key at every place.
 */
static void test_many_keys(void **state)
{
    (void)state;
    static const int sizes[] = {2, 23, 24, 25, 26, 95, 96, 97, 300};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int n = sizes[k];
        for (int twice = -1; twice < n - 1; twice += 1 + n / 30) {
            buf b;
            buf_init(&b, 1 << 20);
            buf_puts(&b, "{\"outer\":[{");
            size_t last = 0; /* where the last key starts */
            for (int i = 0; i < n; i++) {
                last = b.n + (i ? 2 : 1);
                buf_printf(&b, "%s\"key number %d with a long common tail\":{\"x\":%d}",
                           i ? "," : "", i == n - 1 && twice >= 0 ? twice : i, i);
            }
            buf_puts(&b, "}],\"key number 0 with a long common tail\":0}");
            sv_error err = {0};
            int want = twice >= 0 ? SV_E_DUPLICATE_KEY : 0;
            assert_int_equal(json_skim(buf_str(&b), 8, &err), want);
            char at[32];
            snprintf(at, sizeof at, "at byte %zu.", last);
            assert_true(want == 0 || strstr(err.message, at));
            buf_free(&b);
        }
    }
}

/* ---- beside jansson ---- */

static const char *const seeds[] = {
    "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
    "\"h\\u00e9llo "
    "\\ud83d\\ude00 \xd0\xbf\xd1\x80\"}],\"temperature\":-0.5e-3,\"n\":[1,2,{\"a\":null}]}",
    "[\"\\\\\\\"\",{\"a\":1,\"b\":[false,true,null]},[],{},\"\xe2\x82\xac\",0,-1,1.5E+10]",
    "{\"a\":{\"b\":{\"c\":[[[]]]}},\"a1\":\"\",\"\\u0061\\u0062\":2}"};

static bool jansson_takes(const char *p, size_t n, bool *overflow)
{
    json_error_t e;
    json_t *j = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    *overflow = j == NULL && json_error_code(&e) == json_error_numeric_overflow;
    json_decref(j);
    return j != NULL;
}

/* Texts that are one to three small changes away from good ones: both say the same. */
static void test_mutants_like_jansson(void **state)
{
    (void)state;
    static const char alphabet[] = "{}[]\",:\\u0019eE+-. \n\t/ntfab\x80\xc3\xa9\xed\xff\x01";
    unsigned seed = 11;
    int accepted = 0, refused = 0;
    for (int i = 0; i < 30000; i++) {
        const char *from = seeds[(size_t)i % 3];
        size_t n = strlen(from);
        char text[512];
        memcpy(text, from, n);
        for (int k = rand_r(&seed) % 3; k >= 0; k--) {
            size_t at = (size_t)rand_r(&seed) % n;
            char c = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
            switch (rand_r(&seed) % 4) {
            case 0: text[at] = c; break;
            case 1:
                memmove(text + at + 1, text + at, n - at);
                text[at] = c;
                n++;
                break;
            case 2:
                memmove(text + at, text + at + 1, n - at - 1);
                n--;
                break;
            default: n = rand_r(&seed) % 4 ? n : at + 1;
            }
        }
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text, n);
        bool overflow, theirs = jansson_takes(copy, n, &overflow);
        bool ours = json_skim((sv_str){copy, (uint32_t)n}, 64, NULL) == 0;
        free(copy);
        if (!overflow && ours != theirs)
            fail_msg("we say %d, jansson %d: %.*s", ours, theirs, (int)n, text);
        accepted += ours;
        refused += !ours;
    }
    assert_true(accepted > 1000 && refused > 10000);
}

/* ---- scanning ---- */

static bool raw_is(json_value v, json_type type, const char *raw)
{
    return v.type == type && sv_str_is(v.raw, raw);
}

static void test_get(void **state)
{
    (void)state;
    sv_str text =
        sv_cstr(" { \"a\" : [1, {\"model\":\"no\"}] ,\"mod\\u0065l\":\"yes\", \"t\":true,\n"
                "\"f\":false ,\"n\":null,\"num\": -1.5e3 ,\"o\":{ \"k\" : \"}\\\"\" }} ");
    assert_int_equal(json_skim(text, 8, NULL), 0);
    json_value root = json_root(text);
    assert_int_equal(root.type, JSON_OBJECT);
    assert_int_equal(root.raw.n, text.n - 2);
    assert_true(raw_is(json_get(root, "a"), JSON_ARRAY, "[1, {\"model\":\"no\"}]"));
    assert_true(raw_is(json_get(root, "model"), JSON_STRING, "\"yes\""));
    assert_true(json_string_is(json_get(root, "model"), "yes"));
    assert_true(raw_is(json_get(root, "t"), JSON_TRUE, "true"));
    assert_true(raw_is(json_get(root, "f"), JSON_FALSE, "false"));
    assert_true(raw_is(json_get(root, "n"), JSON_NULL, "null"));
    assert_true(raw_is(json_get(root, "num"), JSON_NUMBER, "-1.5e3"));
    assert_true(raw_is(json_get(json_get(root, "o"), "k"), JSON_STRING, "\"}\\\"\""));
    assert_int_equal(json_get(root, "mod").type, JSON_NONE);
    assert_int_equal(json_get(root, "models").type, JSON_NONE);
    assert_int_equal(json_get(root, "mod\\u0065l").type, JSON_NONE);
    assert_int_equal(json_get(json_get(root, "a"), "model").type, JSON_NONE);
    assert_int_equal(json_root(sv_cstr("  ")).type, JSON_NONE);
    assert_true(raw_is(json_root(sv_cstr(" 17 ")), JSON_NUMBER, "17"));
}

static void test_walk(void **state)
{
    (void)state;
    json_value root = json_root(sv_cstr("{\"a\":1,\"b\":[],\"\\n\":\"x\"}")), v;
    static const char *const keys[] = {"a", "b", "\\n"};
    size_t at = 0, n = 0;
    sv_str key;
    while (json_next_member(root, &at, &key, &v))
        assert_true(sv_str_is(key, keys[n++]));
    assert_int_equal(n, 3);
    json_value list = json_root(sv_cstr("[ 1 ,\"a,b\" , [2,3] ,{}]"));
    static const char *const items[] = {"1", "\"a,b\"", "[2,3]", "{}"};
    for (at = 0, n = 0; json_next_element(list, &at, &v); n++)
        assert_true(sv_str_is(v.raw, items[n]));
    assert_int_equal(n, 4);
    at = 0;
    assert_false(json_next_element(root, &at, &v));
    assert_false(json_next_member(list, &at, &key, &v));
    at = 0;
    assert_false(json_next_element(json_root(sv_cstr("[ ]")), &at, &v));
    assert_false(json_next_member(json_root(sv_cstr("{ }")), &at, &key, &v));
}

/* Text that nobody skimmed: no crash and no endless loop. */
static void test_scan_of_garbage_ends(void **state)
{
    (void)state;
    static const char alphabet[] = "{}[]\",:\\u1 a\0";
    unsigned seed = 5;
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)rand_r(&seed) % 24;
        char *text = malloc(n + 1);
        assert_non_null(text);
        for (size_t k = 0; k < n; k++)
            text[k] = alphabet[(size_t)rand_r(&seed) % sizeof alphabet];
        if (n && i % 2) text[0] = "{["[i / 2 % 2];
        char *exact = malloc(n ? n : 1);
        memcpy(exact, text, n);
        free(text);
        sv_str s = {exact, (uint32_t)n}, key;
        json_value root = json_root(s), v;
        buf out;
        buf_init(&out, 1000);
        size_t at = 0, items = 0;
        while (json_next_member(root, &at, &key, &v)) {
            assert_true(++items <= n);
            json_text(v, &out);
            double d;
            json_number(v, &d);
        }
        for (at = 0; json_next_element(root, &at, &v);)
            assert_true(++items <= 2 * n + 2);
        json_get(root, "a");
        json_edit_remove(s, "a");
        buf_free(&out);
        free(exact);
    }
}

static void test_strings(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 64);
    json_value v = json_root(sv_cstr("\"a\\n\\\"\\u00e9\\uD83D\\uDE00\\/z\""));
    assert_int_equal(json_text(v, &out), 0);
    assert_true(sv_str_is(buf_str(&out), "a\n\"\xc3\xa9\xf0\x9f\x98\x80/z"));
    assert_true(json_string_is(v, "a\n\"\xc3\xa9\xf0\x9f\x98\x80/z"));
    assert_false(json_string_is(v, "a\n\"\xc3\xa9\xf0\x9f\x98\x80/"));
    assert_false(json_string_is(v, "a\n\"\xc3\xa9\xf0\x9f\x98\x80/zz"));
    assert_false(json_string_is(json_root(sv_cstr("5")), "5"));
    assert_true(json_string_is(json_root(sv_cstr("\"\"")), ""));
    assert_int_equal(json_text(json_root(sv_cstr("null")), &out), SV_E_WRONG_TYPE);
    buf_free(&out);
    buf_init(&out, 2);
    assert_int_equal(json_text(v, &out), SV_E_TOO_LARGE);
    buf_free(&out);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        int64_t want;
    } ints[] = {{"0", 0, 0},
                {"-0", 0, 0},
                {"42", 0, 42},
                {"9223372036854775807", 0, INT64_MAX},
                {"-9223372036854775808", 0, INT64_MIN},
                {"9223372036854775808", SV_E_OUT_OF_RANGE, 0},
                {"-9223372036854775809", SV_E_OUT_OF_RANGE, 0},
                {"99999999999999999999999", SV_E_OUT_OF_RANGE, 0},
                {"1.0", SV_E_WRONG_TYPE, 0},
                {"1e3", SV_E_WRONG_TYPE, 0},
                {"-", SV_E_WRONG_TYPE, 0},
                {"\"1\"", SV_E_WRONG_TYPE, 0},
                {"true", SV_E_WRONG_TYPE, 0}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        int64_t got = 0;
        assert_int_equal(json_int(json_root(sv_cstr(ints[i].text)), &got), ints[i].code);
        assert_int_equal(got, ints[i].want);
    }
    double d = 0;
    assert_int_equal(json_number(json_root(sv_cstr("-1.25e2")), &d), 0);
    assert_true(d <= -125 && d >= -125);
    assert_int_equal(json_number(json_root(sv_cstr("1e999")), &d), SV_E_OUT_OF_RANGE);
    assert_int_equal(json_number(json_root(sv_cstr("\"1\"")), &d), SV_E_WRONG_TYPE);
    char big[600];
    memset(big, '1', sizeof big);
    assert_int_equal(json_number(json_root((sv_str){big, sizeof big}), &d), SV_E_OUT_OF_RANGE);
    assert_int_equal(json_number(json_root((sv_str){big, 300}), &d), 0);
    assert_true(d > 1e299 && d < 1.2e299);
}

/* ---- edits ---- */

static void check_apply(const char *text, const json_edit *e, size_t n, const char *want)
{
    buf out;
    buf_init(&out, 4096);
    assert_int_equal(json_apply(sv_cstr(text), e, n, &out), 0);
    if (!sv_str_is(buf_str(&out), want))
        fail_msg("got %.*s, wanted %s", SV_FMT(buf_str(&out)), want);
    assert_int_equal(json_skim(buf_str(&out), 64, NULL), 0);
    buf_free(&out);
}

static void check_set(const char *text, const char *key, const char *value, const char *want)
{
    buf scratch;
    json_edit e;
    buf_init(&scratch, 256);
    assert_int_equal(json_edit_set(sv_cstr(text), key, sv_cstr(value), &scratch, &e), 0);
    check_apply(text, &e, 1, want);
    buf_free(&scratch);
}

static void check_remove(const char *text, const char *key, const char *want)
{
    json_edit e = json_edit_remove(sv_cstr(text), key);
    check_apply(text, &e, 1, want);
}

static void test_set(void **state)
{
    (void)state;
    check_set("{\"z\":1.50, \"model\" : \"a\",\"u\":[ ]}", "model", "\"b\"",
              "{\"z\":1.50, \"model\" : \"b\",\"u\":[ ]}");
    check_set("{\"mod\\u0065l\":\"a\"}", "model", "null", "{\"mod\\u0065l\":null}");
    check_set(" { \"z\":1}", "a\"b", "{\"x\":true}", " {\"a\\\"b\":{\"x\":true}, \"z\":1}");
    check_set("{ }", "a", "1", "{\"a\":1 }");
    check_set("{\"o\":{\"a\":5}}", "a", "1", "{\"a\":1,\"o\":{\"a\":5}}");
    buf scratch;
    buf_init(&scratch, 8);
    json_edit e;
    assert_int_equal(json_edit_set(sv_cstr("[]"), "a", sv_cstr("1"), &scratch, &e),
                     SV_E_WRONG_TYPE);
    assert_int_equal(json_edit_set(sv_cstr("{}"), "long name", sv_cstr("1"), &scratch, &e),
                     SV_E_TOO_LARGE);
    buf_free(&scratch);
}

static void test_remove(void **state)
{
    (void)state;
    check_remove("{\"a\":1 , \"b\":2,\"c\":3}", "a", "{ \"b\":2,\"c\":3}");
    check_remove("{\"a\":1 , \"b\":2,\"c\":3}", "b", "{\"a\":1,\"c\":3}");
    check_remove("{\"a\":1 , \"b\":2,\"c\":3 }", "c", "{\"a\":1 , \"b\":2 }");
    check_remove("{ \"a\":[1,2] }", "a", "{  }");
    check_remove("{\"o\":{\"a\":1}}", "a", "{\"o\":{\"a\":1}}");
    check_remove("[1]", "a", "[1]");
}

static void test_apply_refuses_overlap(void **state)
{
    (void)state;
    sv_str text = sv_cstr("{\"a\":1,\"b\":2}");
    buf out;
    buf_init(&out, 100);
    json_edit both[] = {json_edit_remove(text, "a"), json_edit_remove(text, "b")};
    assert_int_equal(json_apply(text, both, 2, &out), SV_E_INVALID);
    json_edit beyond = {5, 100, {NULL, 0}};
    assert_int_equal(json_apply(text, &beyond, 1, &out), SV_E_INVALID);
    beyond.at = 1000;
    assert_int_equal(json_apply(text, &beyond, 1, &out), SV_E_INVALID);
    buf_free(&out);
    buf_init(&out, 5);
    assert_int_equal(json_apply(text, NULL, 0, &out), SV_E_TOO_LARGE);
    buf_free(&out);
}

static void test_two_edits(void **state)
{
    (void)state;
    const char *text = "{\"stream\":true,\"model\":\"x\",\"stop\":null}";
    buf scratch[2];
    buf_init(&scratch[0], 256);
    buf_init(&scratch[1], 256);
    json_edit e[3];
    assert_int_equal(json_edit_set(sv_cstr(text), "stream_options",
                                   sv_cstr("{\"include_usage\":true}"), &scratch[0], &e[0]),
                     0);
    assert_int_equal(json_edit_set(sv_cstr(text), "model", sv_cstr("\"y\""), &scratch[1], &e[1]),
                     0);
    e[2] = json_edit_remove(sv_cstr(text), "stop");
    check_apply(text, e, 3,
                "{\"stream_options\":{\"include_usage\":true},\"stream\":true,\"model\":\"y\"}");
    buf_free(&scratch[0]);
    buf_free(&scratch[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_mutants_like_jansson),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_scan_of_garbage_ends),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_apply_refuses_overlap),
        cmocka_unit_test(test_two_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
