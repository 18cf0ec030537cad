/*  test_message_json.c - JSON and msgpack both ways, secrets, base64, refusals that name the
 *  place. */
#include "error.h"
#include "harness.h"
#include "message.h"
#include "skim.h"
#include "uuid.h"

/* Messages of the test's own: every field type, secrets at two levels. */
typedef struct inner {
    sv_str name, token;
} inner;

typedef struct outer {
    bool flag;
    int64_t count;
    double ratio;
    sv_str title, password, bytes, raw;
    sv_strs tags;
    sv_list items;
    inner *one;
} outer;

static const sv_field inner_fields[] = {
    {"name", SV_T_STR, 0, offsetof(inner, name), 0, 64, 0, NULL, "name"},
    {"token", SV_T_STR, SV_SECRET, offsetof(inner, token), 0, 64, 0, NULL, "token"},
};
static const sv_message inner_msg = {"inner", "inner", sizeof(inner), inner_fields, 2};

static const sv_field outer_fields[] = {
    {"flag", SV_T_BOOL, 0, offsetof(outer, flag), 0, 1, 0, NULL, "flag"},
    {"count", SV_T_INT, 0, offsetof(outer, count), -1e18, 1e18, 0, NULL, "count"},
    {"ratio", SV_T_NUM, 0, offsetof(outer, ratio), -1e300, 1e300, 0, NULL, "ratio"},
    {"title", SV_T_STR, 0, offsetof(outer, title), 0, 1000, 0, NULL, "title"},
    {"password", SV_T_STR, SV_SECRET, offsetof(outer, password), 0, 64, 0, NULL, "password"},
    {"bytes", SV_T_BIN, 0, offsetof(outer, bytes), 0, 1000, 0, NULL, "bytes"},
    {"raw", SV_T_RAW, 0, offsetof(outer, raw), 0, 1000, 0, NULL, "raw"},
    {"tags", SV_T_STRS, 0, offsetof(outer, tags), 0, 10, 0, NULL, "tags"},
    {"items", SV_T_LIST, 0, offsetof(outer, items), 0, 10, 0, &inner_msg, "items"},
    {"one", SV_T_MSG, 0, offsetof(outer, one), 0, 0, 0, &inner_msg, "one"},
};
static const sv_message outer_msg = {"outer", "outer", sizeof(outer), outer_fields, 10};

static int to_msgpack(const sv_message *m, const char *json, buf *out, sv_error *err)
{
    buf_init(out, 1 << 22);
    size_t n = strlen(json);
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, json, n);
    int rc = message_from_json(m, (sv_str){exact, (uint32_t)n}, out, err);
    free(exact);
    assert_int_equal(rc, err->code);
    if (rc) assert_int_equal(out->n, 0);
    return rc;
}

/* JSON -> msgpack -> JSON. */
static void check(const sv_message *m, const char *json, bool redact_unknown, const char *want)
{
    buf packed, text;
    sv_error err = {0};
    if (to_msgpack(m, json, &packed, &err)) fail_msg("%s: %s", json, err.message);
    assert_int_equal(skim_msgpack(buf_str(&packed), LIMIT_DEPTH, LIMIT_NODES, NULL), 0);
    buf_init(&text, 1 << 22);
    assert_int_equal(message_to_json(m, buf_str(&packed), redact_unknown, &text, &err), 0);
    if (!sv_str_is(buf_str(&text), want))
        fail_msg("got %.*s, wanted %s", SV_FMT(buf_str(&text)), want);
    buf_free(&packed);
    buf_free(&text);
}

static void check_same(const char *json)
{
    check(NULL, json, false, json);
}

static void check_packed(const char *json, const char *want_hex)
{
    buf packed;
    sv_error err = {0};
    assert_int_equal(to_msgpack(NULL, json, &packed, &err), 0);
    char text[128];
    assert_true(packed.n * 2 < sizeof text);
    hex_format(packed.p, packed.n, text);
    assert_string_equal(text, want_hex);
    buf_free(&packed);
}

static void test_values_round_trip(void **state)
{
    (void)state;
    check_same("{}");
    check_same("null");
    check_same("[true,false,null,[],{},\"\"]");
    check_same("{\"a\":{\"b\":[1,{\"c\":\"d\"}]},\"e\":-1}");
    check_same("\"\\\"\\\\\\n\\u0001\xc3\xa9\xf0\x9f\x98\x80\"");
    check(NULL, " [ 1 , \"\\u00e9\\uD83D\\uDE00\\/\" ] ", false,
          "[1,\"\xc3\xa9\xf0\x9f\x98\x80/\"]");
    check(NULL, "{\"\\u0061\":1}", false, "{\"a\":1}");
}

static void test_integers_keep_64_bits(void **state)
{
    (void)state;
    static const char *const same[] = {"0",
                                       "127",
                                       "128",
                                       "255",
                                       "256",
                                       "65535",
                                       "65536",
                                       "4294967295",
                                       "4294967296",
                                       "9007199254740993",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "18446744073709551615",
                                       "-1",
                                       "-32",
                                       "-33",
                                       "-128",
                                       "-129",
                                       "-32768",
                                       "-32769",
                                       "-2147483648",
                                       "-2147483649",
                                       "-9223372036854775808"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        check_same(same[i]);
    check(NULL, "-0", false, "0");
    check_packed("127", "7f");
    check_packed("128", "cc80");
    check_packed("256", "cd0100");
    check_packed("65536", "ce00010000");
    check_packed("18446744073709551615", "cfffffffffffffffff");
    check_packed("-32", "e0");
    check_packed("-33", "d0df");
    check_packed("-129", "d1ff7f");
    check_packed("-32769", "d2ffff7fff");
    check_packed("-2147483649", "d3ffffffff7fffffff");
}

static void test_reals(void **state)
{
    (void)state;
    check_same("0.1");
    check_same("-1.5");
    check_same("1e+300");
    check_same("4.94065645841247e-324");
    check_same("1.7976931348623157e+308");
    check_same("0.30000000000000004");
    check(NULL, "1.0", false, "1.0");
    check(NULL, "-0.0", false, "-0.0");
    check(NULL, "100e0", false, "100.0");
    check(NULL, "1e22", false, "1e+22");
    check_packed("0.5", "cb3fe0000000000000");
}

static void test_msgpack_that_json_never_makes(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *want;
    } cases[] = {
        {"", "{}"},
        {"c4030102ff", "\"AQL/\""},
        {"c400", "\"\""},
        {"c50001fb", "\"+w==\""},
        {"c600000002fbf0", "\"+/A=\""},
        {"ca3fc00000", "1.5"},
        {"d9026869", "\"hi\""},
        {"da00026869", "\"hi\""},
        {"db000000026869", "\"hi\""},
        {"dc000101", "[1]"},
        {"dd0000000101", "[1]"},
        {"de0001a16101", "{\"a\":1}"},
        {"df00000001a16101", "{\"a\":1}"},
        {"cf0000000000000001", "1"},
        {"d3ffffffffffffffff", "-1"},
        {"d0ff", "-1"},
        {"d1ffff", "-1"},
        {"d2ffffffff", "-1"},
        {"d37fffffffffffffff", "9223372036854775807"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[64];
        size_t n = strlen(cases[i].hex) / 2;
        assert_int_equal(hex_parse(sv_cstr(cases[i].hex), bytes, n), 0);
        buf text;
        buf_init(&text, 1000);
        sv_error err = {0};
        assert_int_equal(
            message_to_json(NULL, (sv_str){(char *)bytes, (uint32_t)n}, false, &text, &err), 0);
        if (!sv_str_is(buf_str(&text), cases[i].want))
            fail_msg("%s gave %.*s", cases[i].hex, SV_FMT(buf_str(&text)));
        buf_free(&text);
    }
}

/* Containers and strings at every size where the header changes. */
static void test_header_sizes(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 15, 16, 17, 31, 32, 255, 256, 65535, 65536, 70000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int n = sizes[k];
        buf json;
        buf_init(&json, 1 << 22);
        buf_puts(&json, "[\"");
        for (int i = 0; i < n; i++)
            buf_putc(&json, 'x');
        buf_puts(&json, "\"]");
        buf_putc(&json, 0);
        check_same(json.p);
        if (n > 20000) n = 20000; /* the bus takes 65536 values */
        json.n = 0;
        buf_puts(&json, "{\"list\":[");
        for (int i = 0; i < n; i++)
            buf_printf(&json, "%s%d", i ? "," : "", i);
        buf_puts(&json, "],\"map\":{");
        for (int i = 0; i < n; i++)
            buf_printf(&json, "%s\"k%d\":%d", i ? "," : "", i, -i - 1);
        buf_puts(&json, "}}");
        buf_putc(&json, 0);
        check_same(json.p);
        buf_free(&json);
    }
    check_packed("[\"\\u0061\"]", "91a161");
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
        const char *field, *words;
    } cases[] = {
        {"", SV_E_MALFORMED, "", "byte 0"},
        {"{\"a\":1} x", SV_E_MALFORMED, "", "byte 8: nothing may follow"},
        {"{\"a\":1,\"a\":2}", SV_E_DUPLICATE_KEY, "a", "byte 8"},
        {"{\"a\":[1,18446744073709551616]}", SV_E_OUT_OF_RANGE, "a[1]", "64 bits"},
        {"{\"a\":{\"b\":-9223372036854775809}}", SV_E_OUT_OF_RANGE, "a.b", "64 bits"},
        {"[1e999]", SV_E_OUT_OF_RANGE, "[0]", "too large"},
        {"99999999999999999999999999", SV_E_OUT_OF_RANGE, "", "Field body"},
        {"[NaN]", SV_E_MALFORMED, "", "byte 1"},
        {"\"\\u0000\"", SV_E_MALFORMED, "", "u0000"},
        {"\"\xff\"", SV_E_BAD_UTF8, "", "byte 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf out;
        sv_error err = {0};
        int rc = to_msgpack(NULL, cases[i].json, &out, &err);
        if (rc != cases[i].code || strcmp(err.field, cases[i].field) ||
            !strstr(err.message, cases[i].words))
            fail_msg("%s: %d, field %s, %s", cases[i].json, rc, err.field, err.message);
        buf_free(&out);
    }
}

static void test_depth(void **state)
{
    (void)state;
    char json[2 * LIMIT_DEPTH + 3];
    for (size_t depth = LIMIT_DEPTH; depth <= LIMIT_DEPTH + 1; depth++) {
        memset(json, '[', depth);
        memset(json + depth, ']', depth);
        json[2 * depth] = 0;
        buf out;
        sv_error err = {0};
        assert_int_equal(to_msgpack(NULL, json, &out, &err),
                         depth > LIMIT_DEPTH ? SV_E_TOO_DEEP : 0);
        buf_free(&out);
        if (depth == LIMIT_DEPTH) check_same(json);
    }
}

static void test_numbers_json_cannot_say(void **state)
{
    (void)state;
    static const char *const hex[] = {"81a16191cb7ff8000000000000", "81a16191cb7ff0000000000000",
                                      "81a16191caff800000"};
    for (size_t i = 0; i < 3; i++) {
        uint8_t bytes[32];
        size_t n = strlen(hex[i]) / 2;
        assert_int_equal(hex_parse(sv_cstr(hex[i]), bytes, n), 0);
        buf text;
        buf_init(&text, 1000);
        buf_puts(&text, "kept");
        sv_error err = {0};
        assert_int_equal(
            message_to_json(NULL, (sv_str){(char *)bytes, (uint32_t)n}, false, &text, &err),
            SV_E_OUT_OF_RANGE);
        assert_string_equal(err.field, "a[0]");
        assert_true(sv_str_is(buf_str(&text), "kept"));
        buf_free(&text);
    }
    buf text;
    buf_init(&text, 100);
    assert_int_equal(message_to_json(NULL, (sv_str){"\x81\xa1", 2}, false, &text, NULL),
                     SV_E_MALFORMED);
    buf_free(&text);
}

/* ---- with a descriptor ---- */

static void test_secrets(void **state)
{
    (void)state;
    check(
        &outer_msg,
        "{\"title\":\"t\",\"password\":\"hunter2\",\"one\":{\"name\":\"n\",\"token\":\"x\"},"
        "\"items\":[{\"token\":[1,{\"deep\":2}],\"name\":\"m\"}],\"extra\":{\"token\":\"shown\"}}",
        false,
        "{\"title\":\"t\",\"password\":\"[redacted]\",\"one\":{\"name\":\"n\",\"token\":\"["
        "redacted]\"},"
        "\"items\":[{\"token\":\"[redacted]\",\"name\":\"m\"}],\"extra\":{\"token\":\"shown\"}}");
    check(&outer_msg,
          "{\"extra\":{\"password\":\"p\"},\"one\":{\"more\":1,\"name\":\"n\"},\"tags\":[\"a\"]}",
          true,
          "{\"extra\":\"[redacted]\",\"one\":{\"more\":\"[redacted]\",\"name\":\"n\"},\"tags\":["
          "\"a\"]}");
    check(NULL, "{\"password\":\"shown\"}", false, "{\"password\":\"shown\"}");
}

/* A declared place of the wrong shape does not let secrets through. */
static void test_secrets_in_wrong_shapes(void **state)
{
    (void)state;
    check(&outer_msg, "{\"one\":[{\"token\":\"x\"}]}", false, "{\"one\":\"[redacted]\"}");
    check(&outer_msg, "{\"items\":{\"token\":\"x\"}}", false, "{\"items\":\"[redacted]\"}");
    check(&outer_msg, "{\"items\":[[{\"token\":\"x\"}],{\"name\":\"n\"}]}", false,
          "{\"items\":[\"[redacted]\",{\"name\":\"n\"}]}");
    check(&outer_msg, "{\"one\":null,\"items\":null,\"password\":null}", false,
          "{\"one\":null,\"items\":null,\"password\":\"[redacted]\"}");
    buf text;
    buf_init(&text, 100);
    sv_error err = {0};
    assert_int_equal(message_to_json(&outer_msg, sv_cstr("\xa1x"), false, &text, &err),
                     SV_E_WRONG_TYPE);
    buf_free(&text);
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const good[] = {"",     "AA==",     "AAA=",        "AAAA",
                                       "+/A=", "/////w==", "AQIDBAUGBwg="};
    char json[64];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(json, sizeof json, "{\"bytes\":\"%s\"}", good[i]);
        check(&outer_msg, json, false, json);
    }
    check(&outer_msg, "{\"bytes\":\"\\/\\u002b8=\"}", false, "{\"bytes\":\"/+8=\"}");
    check(&outer_msg, "{\"bytes\":null}", false, "{\"bytes\":null}");
    check(NULL, "{\"bytes\":\"not base64\"}", false, "{\"bytes\":\"not base64\"}");
    static const char *const bad[] = {"\"A\"",        "\"AA\"",   "\"AAA\"",  "\"AA=A\"",
                                      "\"A===\"",     "\"====\"", "\"AB==\"", "\"AAB=\"",
                                      "\"AA==AAAA\"", "\"A-_A\"", "\"AA A\"", "\"AAAA=\"",
                                      "12",           "[1]",      "{}",       "true"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(json, sizeof json, "{\"bytes\":%s}", bad[i]);
        buf out;
        sv_error err = {0};
        if (to_msgpack(&outer_msg, json, &out, &err) != SV_E_WRONG_TYPE) fail_msg("took %s", json);
        assert_string_equal(err.field, "bytes");
        assert_non_null(strstr(err.message, "base64"));
        buf_free(&out);
    }
    /* 300 bytes need a longer header */
    buf b;
    buf_init(&b, 1000);
    buf_puts(&b, "{\"bytes\":\"");
    for (int i = 0; i < 100; i++)
        buf_puts(&b, "AbC/");
    buf_puts(&b, "\"}");
    buf_putc(&b, 0);
    check(&outer_msg, b.p, false, b.p);
    buf_free(&b);
}

static void test_decodes_into_the_struct(void **state)
{
    (void)state;
    buf packed;
    sv_error err = {0};
    assert_int_equal(
        to_msgpack(
            &outer_msg,
            "{\"flag\":true,\"count\":-5,\"ratio\":2,\"title\":\"\\u00e9\",\"bytes\":\"/w==\","
            "\"raw\":{\"x\":[1]},\"tags\":[\"a\",\"b\"],\"items\":[{\"name\":\"i\"}],"
            "\"on\\u0065\":{\"token\":\"t\"}}",
            &packed, &err),
        0);
    arena a;
    arena_init(&a, 1 << 16);
    outer o;
    if (message_decode(&outer_msg, buf_str(&packed), MESSAGE_STRICT, &a, &o, &err))
        fail_msg("%s", err.message);
    assert_true(o.flag);
    assert_int_equal(o.count, -5);
    assert_true(o.ratio > 1.9 && o.ratio < 2.1);
    assert_true(sv_str_is(o.title, "\xc3\xa9"));
    assert_true(sv_str_is(o.bytes, "\xff"));
    assert_int_equal(o.tags.n, 2);
    assert_true(sv_str_is(((inner *)o.items.items)->name, "i"));
    assert_true(sv_str_is(o.one->token, "t"));
    arena_free(&a);
    buf_free(&packed);
    assert_int_equal(to_msgpack(&outer_msg, "[1]", &packed, &err), SV_E_WRONG_TYPE);
    buf_free(&packed);
}

/* A path that does not fit is cut between characters: errors travel as strict UTF-8. */
static void test_long_paths_stay_utf8(void **state)
{
    (void)state;
    for (int lead = 0; lead < 4; lead++) {
        buf json;
        buf_init(&json, 4096);
        buf_printf(&json, "{\"%.*s", lead, "abc");
        for (int i = 0; i < 100; i++)
            buf_puts(&json, "\xe2\x82\xac");
        buf_puts(&json, "\":{\"deeper\":[1e999]}}");
        buf_putc(&json, 0);
        buf out, check_utf8;
        sv_error err = {0};
        assert_int_equal(to_msgpack(NULL, json.p, &out, &err), SV_E_OUT_OF_RANGE);
        buf_init(&check_utf8, 1000);
        buf_printf(&check_utf8, "\xd9%c%s", (int)strlen(err.field), err.field);
        assert_int_equal(skim_msgpack(buf_str(&check_utf8), 1, 1, NULL), 0);
        assert_true(strlen(err.field) > 80);
        buf_free(&check_utf8);
        buf_free(&out);
        buf_free(&json);
    }
}

static void test_small_buffers(void **state)
{
    (void)state;
    static const char json[] =
        "{\"bytes\":\"AAAA\",\"title\":\"a\\nb\",\"tags\":[1,2.5,-70000,\"x\"]}";
    buf full;
    sv_error err = {0};
    assert_int_equal(to_msgpack(&outer_msg, json, &full, &err), 0);
    for (size_t max = 0; max < full.n; max++) {
        buf out;
        buf_init(&out, max);
        err = (sv_error){0};
        assert_int_equal(message_from_json(&outer_msg, sv_cstr(json), &out, &err), SV_E_TOO_LARGE);
        assert_int_equal(err.code, SV_E_TOO_LARGE);
        buf_free(&out);
    }
    for (size_t max = 0; max < sizeof json - 1; max++) {
        buf out;
        buf_init(&out, max);
        assert_true(message_to_json(&outer_msg, buf_str(&full), false, &out, NULL) != 0);
        buf_free(&out);
    }
    buf_free(&full);
}

/* Any spelling in, the shortest out; what is out is its own canonical form. */
static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *want;
    } rows[] = {
        {"c0", "c0"},
        {"cc7f", "7f"},
        {"cd0080", "cc80"},
        {"cf00000000ffffffff", "ceffffffff"},
        {"cfffffffffffffffff", "cfffffffffffffffff"},
        {"d3ffffffffffffffe0", "e0"},
        {"d0df", "d0df"},
        {"d1ff80", "d080"},
        {"d200000001", "01"},
        {"d3ffffffff80000000", "d280000000"},
        {"ca3fc00000", "cb3ff8000000000000"},
        {"cb7ff0000000000000", "cb7ff0000000000000"},
        {"d90161", "a161"},
        {"db0000000161", "a161"},
        {"c600000002ffff", "c402ffff"},
        {"dc0002c2c3", "92c2c3"},
        {"dd00000000", "90"},
        {"df00000002a16201d9016102", "82a16201a16102"}, /* the order of keys stays */
        {"81a16192dc0001cd0001c0", "81a161929101c0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t in[64];
        uint32_t n = (uint32_t)strlen(rows[i].hex) / 2;
        char text[129];
        buf out, again;
        buf_init(&out, 64);
        buf_init(&again, 64);
        assert_int_equal(hex_parse(sv_cstr(rows[i].hex), in, n), 0);
        assert_int_equal(message_canonical((sv_str){(char *)in, n}, &out, NULL), 0);
        hex_format(out.p, out.n, text);
        assert_string_equal(text, rows[i].want);
        assert_int_equal(message_canonical(buf_str(&out), &again, NULL), 0);
        assert_true(sv_str_eq(buf_str(&out), buf_str(&again)));
        for (uint32_t cut = 0; cut < n; cut++) {
            size_t before = out.n;
            assert_true(message_canonical((sv_str){(char *)in, cut}, &out, NULL) != 0);
            assert_int_equal(out.n, before);
        }
        buf_free(&out);
        buf_init(&out, strlen(rows[i].want) / 2 - 1);
        assert_int_equal(message_canonical((sv_str){(char *)in, n}, &out, NULL), SV_E_TOO_LARGE);
        assert_int_equal(out.n, 0);
        buf_free(&out);
        buf_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_round_trip),
        cmocka_unit_test(test_integers_keep_64_bits),
        cmocka_unit_test(test_reals),
        cmocka_unit_test(test_msgpack_that_json_never_makes),
        cmocka_unit_test(test_header_sizes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_numbers_json_cannot_say),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_secrets_in_wrong_shapes),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_decodes_into_the_struct),
        cmocka_unit_test(test_long_paths_stay_utf8),
        cmocka_unit_test(test_small_buffers),
        cmocka_unit_test(test_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
