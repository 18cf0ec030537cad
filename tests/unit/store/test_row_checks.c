/*  test_row_checks.c - a row that could not be read again is refused when it is written, by the
 *  field's name; all others come back as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"

typedef struct leaf {
    sv_str text;
    sv_list leaves;
} leaf;

typedef struct full {
    int64_t id, must;
    double share;
    sv_str text, bytes, raw;
    sv_strs words;
    sv_list leaves;
    leaf *one;
} full;

static const sv_message leaf_msg;
static const sv_field leaf_fields[] = {
    {"text", SV_T_STR, 0, offsetof(leaf, text), 0, 20, 0, NULL, "text"},
    {"leaves", SV_T_LIST, 0, offsetof(leaf, leaves), 0, 2, 0, &leaf_msg, "leaves of a leaf"},
};
static const sv_message leaf_msg = {"leaf", "leaf", sizeof(leaf), leaf_fields, 2};
static const sv_field full_fields[] = {
    {"id", SV_T_INT, 0, offsetof(full, id), 0, 9, 0, NULL, "key"},
    {"must", SV_T_INT, SV_REQUIRED, offsetof(full, must), 1, 9, 0, NULL, "required"},
    {"share", SV_T_NUM, 0, offsetof(full, share), 0.5, 1, 0, NULL, "0 by default"},
    {"text", SV_T_STR, 0, offsetof(full, text), 0, 20, 0, NULL, "text"},
    {"bytes", SV_T_BIN, 0, offsetof(full, bytes), 0, 20, 0, NULL, "bytes"},
    {"raw", SV_T_RAW, 0, offsetof(full, raw), 0, 20, 0, NULL, "any value"},
    {"words", SV_T_STRS, 0, offsetof(full, words), 0, 3, 0, NULL, "texts"},
    {"leaves", SV_T_LIST, 0, offsetof(full, leaves), 0, 3, 0, &leaf_msg, "leaves"},
    {"one", SV_T_MSG, 0, offsetof(full, one), 0, 0, 0, &leaf_msg, "a leaf"},
};
static const sv_message full_msg = {"full", "full", sizeof(full), full_fields, 9};
static const store_table fulls = {.name = "fulls", .row = &full_msg, .key = "id"};

/* With everything required. */
typedef struct strict {
    int64_t id;
    sv_str text, raw;
    leaf *one;
} strict;

static const sv_field strict_fields[] = {
    {"id", SV_T_INT, SV_REQUIRED, offsetof(strict, id), 0, 9, 0, NULL, "key"},
    {"text", SV_T_STR, SV_REQUIRED, offsetof(strict, text), 0, 20, 0, NULL, "text"},
    {"raw", SV_T_RAW, SV_REQUIRED, offsetof(strict, raw), 0, 20, 0, NULL, "any value"},
    {"one", SV_T_MSG, SV_REQUIRED, offsetof(strict, one), 0, 0, 0, &leaf_msg, "a leaf"},
};
static const sv_message strict_msg = {"strict", "strict", sizeof(strict), strict_fields, 4};
static const store_table stricts = {.name = "stricts", .row = &strict_msg, .key = "id"};
static const store_table *const full_tables[] = {&fulls, &stricts};
static const store_schema full_schema = {
    .service = "tester", .version = 1, .tables = full_tables, .n_tables = 2};

static int put_full(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &fulls, in);
}

static bool same_strs(const sv_strs *a, const sv_strs *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++)
        same = sv_str_eq(a->items[i], b->items[i]);
    return same;
}

static bool same_leaf(const leaf *a, const leaf *b)
{
    bool same = sv_str_eq(a->text, b->text) && a->leaves.n == b->leaves.n;
    for (uint32_t i = 0; same && i < a->leaves.n; i++)
        same = same_leaf((const leaf *)a->leaves.items + i, (const leaf *)b->leaves.items + i);
    return same;
}

static int get_same(store_tx *tx, const void *in, void *out)
{
    const full *want = in;
    full got = {.id = want->id};
    (void)out;
    int rc = store_get(tx, &fulls, &got);
    if (rc) return rc;
    leaf a = {.leaves = want->leaves}, b = {.leaves = got.leaves};
    bool same = got.must == want->must && sv_str_eq(got.text, want->text) &&
                sv_str_eq(got.bytes, want->bytes) && sv_str_eq(got.raw, want->raw) &&
                same_strs(&want->words, &got.words) && same_leaf(&a, &b) &&
                (want->one != NULL) == (got.one != NULL) &&
                (want->one == NULL || same_leaf(want->one, got.one));
    return same ? 0 : SV_E_INTERNAL;
}

static void kept(life *l, const full *row)
{
    sv_error err;
    if (write_now(l, put_full, row, NULL, &err)) fail_msg("%s: %s", err.field, err.message);
    assert_int_equal(read_now(l, get_same, row, NULL), 0);
}

static void refused(life *l, const full *row, int code, const char *field)
{
    sv_error err;
    assert_int_equal(write_now(l, put_full, row, NULL, &err), code);
    assert_string_equal(err.field, field);
}

#define S(text) ((sv_str){text, sizeof(text) - 1})

/* What is text is UTF-8 wherever it stands; what is bytes need not be. */
static void text_is_utf8(void **state)
{
    life *l = *state;
    static const sv_str bad[] = {S("\xff"),      S("abc\x80"),      S("\xc3"),
                                 S("\xc0\x80"),  S("\xed\xa0\x80"), S("\xf4\x90\x80\x80"),
                                 S("a\xe2\x82"), S("\xe2\x82z"),    S("0123456789012345678\xff")};
    static const sv_str good[] = {S(""), S("\0"), S("\xf0\x9f\x98\x80\xc3\xa9"), S("a\tb\x7f")};
    must_open(l, &full_schema);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        leaf deep = {.text = bad[i]}, leaves[3] = {{.text = S("a")}, {.text = bad[i]}};
        leaf around = {.text = S("a"), .leaves = {&deep, 1}};
        sv_str first[] = {bad[i], S("b")}, last[] = {S("a"), S("b"), bad[i]};
        refused(l, &(full){.must = 1, .text = bad[i]}, SV_E_BAD_UTF8, "text");
        refused(l, &(full){.must = 1, .words = {first, 2}}, SV_E_BAD_UTF8, "words");
        refused(l, &(full){.must = 1, .words = {last, 3}}, SV_E_BAD_UTF8, "words");
        refused(l, &(full){.must = 1, .leaves = {leaves, 3}}, SV_E_BAD_UTF8, "text");
        refused(l, &(full){.must = 1, .one = &deep}, SV_E_BAD_UTF8, "text");
        refused(l, &(full){.must = 1, .one = &around}, SV_E_BAD_UTF8, "text");
        kept(l, &(full){.must = 1, .bytes = bad[i]});
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        leaf deep = {.text = good[i]}, around = {.text = good[i], .leaves = {&deep, 1}};
        sv_str words[] = {good[i], good[i]};
        kept(l, &(full){.must = 1,
                        .text = good[i],
                        .words = {words, 2},
                        .leaves = {&around, 1},
                        .one = &around});
    }
}

static void a_raw_value_is_one(void **state)
{
    life *l = *state;
    static const sv_str bad[] = {S("\x01\x01"), S("\x91"), S("\xc1"), S("\xa1\xff"),
                                 S("\x82\xa1x\x01\xa1x\x01")};
    static const sv_str good[] = {S("\x01"), S("\x93\x01\xa1x\xc0"), S("\x81\xa1x\x80"),
                                  S("\xc4\x01\xff")};
    must_open(l, &full_schema);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(l, &(full){.must = 1, .raw = bad[i]}, SV_E_MALFORMED, "raw");
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        kept(l, &(full){.must = 1, .raw = good[i]});
}

/* At each limit and one beyond it. */
static void limits_of_fields(void **state)
{
    life *l = *state;
    char bytes[64];
    memset(bytes, 'b', sizeof bytes);
    sv_str most = {bytes, 20}, more = {bytes, 21}, longer = {bytes, 64};
    sv_str words[] = {most, more, longer, most};
    leaf leaves[4] = {{.text = most}};
    leaf two = {.leaves = {leaves, 2}}, three = {.leaves = {leaves, 3}};
    must_open(l, &full_schema);
    kept(l, &(full){.must = 9, .text = most, .bytes = most, .words = {words, 3}});
    kept(l, &(full){.must = 1, .leaves = {leaves, 3}, .one = &two, .share = 0.5});
    refused(l, &(full){.must = 1, .text = more}, SV_E_TOO_LARGE, "text");
    refused(l, &(full){.must = 1, .bytes = more}, SV_E_TOO_LARGE, "bytes");
    refused(l, &(full){.must = 1, .words = {words, 4}}, SV_E_TOO_LARGE, "words");
    refused(l, &(full){.must = 1, .leaves = {leaves, 4}}, SV_E_TOO_LARGE, "leaves");
    refused(l, &(full){.must = 1, .one = &three}, SV_E_TOO_LARGE, "leaves");
    refused(l, &(full){.must = 10}, SV_E_OUT_OF_RANGE, "must");
    refused(l, &(full){.must = 0}, SV_E_OUT_OF_RANGE, "must"); /* no default of a required one */
    refused(l, &(full){.must = 1, .share = 0.4}, SV_E_OUT_OF_RANGE, "share");
    refused(l, &(full){.must = 1, .share = 1.1}, SV_E_OUT_OF_RANGE, "share");
    refused(l, &(full){.must = 1, .share = __builtin_nan("")}, SV_E_OUT_OF_RANGE, "share");
}

static int put_strict(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &stricts, in);
}

static int get_strict(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &stricts, out);
}

static void what_is_required(void **state)
{
    life *l = *state;
    leaf one = {.text = S("a")};
    const strict whole = {.text = S(""), .raw = S("\xc0"), .one = &one};
    strict rows[] = {whole, whole, whole}, got = {.id = 0};
    static const char *const fields[] = {"text", "raw", "one"};
    sv_error err;
    must_open(l, &full_schema);
    rows[0].text.p = NULL;
    rows[1].raw.p = NULL;
    rows[2].one = NULL;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(write_now(l, put_strict, &rows[i], NULL, &err), SV_E_MISSING_FIELD);
        assert_string_equal(err.field, fields[i]);
    }
    assert_int_equal(write_now(l, put_strict, &whole, NULL, NULL), 0);
    assert_int_equal(read_now(l, get_strict, NULL, &got), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, life_setup_fast, life_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_is_utf8),
        TEST(a_raw_value_is_one),
        TEST(limits_of_fields),
        TEST(what_is_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
