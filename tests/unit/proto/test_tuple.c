/*  test_tuple.c - order against a comparison of the parts themselves, round trips, known bytes,
 *  ranges, the limit, short forms, bytes nobody wrote. */
#include "buf.h"
#include "error.h"
#include "harness.h"
#include "tuple.h"

enum { PARTS = 4, ROUNDS = 60000, PART_BYTES = 12 };

typedef struct value {
    tuple_type type;
    int64_t i;
    char s[PART_BYTES];
    uint32_t n;
} value;

typedef struct values {
    value v[PARTS];
    uint32_t n;
} values;

static uint64_t seed = 88172645463325252u;

static uint32_t pick(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 24) % below;
}

/* Around each power of 256 on both sides of zero, and the ends. */
static int64_t border(void)
{
    if (pick(16) == 0) return pick(2) ? INT64_MIN + (int64_t)pick(3) : INT64_MAX - (int64_t)pick(3);
    int64_t v = pick(9) ? (int64_t)((uint64_t)1 << (8 * pick(8))) : 0;
    v += (int64_t)pick(5) - 2;
    return pick(2) ? v : -v;
}

static value some_value(void)
{
    static const char set[] = {0, 0, 1, 'a', 'b', (char)0xfe, (char)0xff};
    static const tuple_type types[] = {TUPLE_BYTES, TUPLE_TEXT, TUPLE_INT};
    value v = {.type = types[pick(3)]};
    if (v.type == TUPLE_INT) {
        v.i = border();
        return v;
    }
    v.n = pick(PART_BYTES / 2);
    for (uint32_t i = 0; i < v.n; i++)
        v.s[i] = set[pick(sizeof set)];
    return v;
}

static int compare_values(const value *a, const value *b)
{
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    if (a->type == TUPLE_INT) return a->i < b->i ? -1 : a->i > b->i;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    return c ? c : (int)a->n - (int)b->n;
}

static int compare(const values *a, const values *b)
{
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        int c = compare_values(&a->v[i], &b->v[i]);
        if (c) return c;
    }
    return (int)a->n - (int)b->n;
}

static int compare_keys(const tuple *a, const tuple *b)
{
    int c = memcmp(a->b, b->b, a->n < b->n ? a->n : b->n);
    return c ? c : a->n - b->n;
}

static int sign(int c)
{
    return (c > 0) - (c < 0);
}

static void put_value(tuple *t, const value *v)
{
    sv_str s = {v->s, v->n};
    int rc = v->type == TUPLE_INT    ? tuple_int(t, v->i)
             : v->type == TUPLE_TEXT ? tuple_text(t, s)
                                     : tuple_bytes(t, s);
    assert_int_equal(rc, 0);
}

static void encode(tuple *t, const values *v)
{
    tuple_clear(t);
    for (uint32_t i = 0; i < v->n; i++)
        put_value(t, &v->v[i]);
}

static void some_values(values *v)
{
    v->n = pick(PARTS + 1);
    for (uint32_t i = 0; i < v->n; i++)
        v->v[i] = some_value();
}

/* Sometimes unrelated, sometimes the same beginning. */
static void some_pair(values *a, values *b)
{
    some_values(a);
    some_values(b);
    uint32_t same = pick(PARTS + 1);
    for (uint32_t i = 0; i < same && i < a->n && i < b->n; i++)
        b->v[i] = a->v[i];
}

static void test_order(void **state)
{
    (void)state;
    uint32_t equal = 0;
    for (int round = 0; round < ROUNDS; round++) {
        values a, b;
        tuple ta, tb;
        some_pair(&a, &b);
        encode(&ta, &a);
        encode(&tb, &b);
        assert_int_equal(sign(compare(&a, &b)), sign(compare_keys(&ta, &tb)));
        equal += compare(&a, &b) == 0;
    }
    assert_true(equal > 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        values a;
        tuple t;
        some_values(&a);
        encode(&t, &a);
        sv_str rest = tuple_str(&t);
        for (uint32_t i = 0; i < a.n; i++) {
            char scratch[LIMIT_STORE_KEY_BYTES];
            tuple_part part;
            assert_int_equal(tuple_next(&rest, scratch, &part), 0);
            assert_int_equal(part.type, a.v[i].type);
            if (part.type == TUPLE_INT)
                assert_true(part.i == a.v[i].i);
            else
                assert_true(sv_str_eq(part.s, (sv_str){a.v[i].s, a.v[i].n}));
        }
        assert_int_equal(rest.n, 0);
    }
}

/* Every width's first and last value, in order. */
static void test_integers(void **state)
{
    (void)state;
    int64_t v[64];
    uint32_t n = 0;
    v[n++] = INT64_MIN;
    v[n++] = INT64_MIN + 1;
    for (uint32_t bytes = 7; bytes > 0; bytes--) {
        int64_t power = (int64_t)1 << (8 * bytes);
        v[n++] = -power;
        v[n++] = -power + 1;
    }
    v[n++] = -1;
    v[n++] = 0;
    v[n++] = 1;
    for (uint32_t bytes = 1; bytes < 8; bytes++) {
        int64_t power = (int64_t)1 << (8 * bytes);
        v[n++] = power - 1;
        v[n++] = power;
    }
    v[n++] = INT64_MAX;
    tuple before = {0};
    for (uint32_t i = 0; i < n; i++) {
        tuple t = {0};
        char scratch[LIMIT_STORE_KEY_BYTES];
        tuple_part part;
        assert_int_equal(tuple_int(&t, v[i]), 0);
        assert_true(compare_keys(&before, &t) < 0);
        sv_str rest = tuple_str(&t);
        assert_int_equal(tuple_next(&rest, scratch, &part), 0);
        assert_true(part.type == TUPLE_INT && part.i == v[i] && rest.n == 0);
        before = t;
    }
}

static void assert_bytes(const tuple *t, const char *bytes, uint32_t n)
{
    assert_true(sv_str_eq(tuple_str(t), (sv_str){bytes, n}));
}

/* The examples of FoundationDB's own description of the encoding. */
static void test_known_bytes(void **state)
{
    (void)state;
    tuple t = {0};
    tuple_bytes(&t, (sv_str){"foo\x00"
                             "bar",
                             7});
    assert_bytes(&t,
                 "\x01"
                 "foo\x00\xff"
                 "bar\x00",
                 10);
    tuple_clear(&t);
    tuple_text(&t, (sv_str){"F\xc3\x94O\x00"
                            "bar",
                            8});
    assert_bytes(&t,
                 "\x02"
                 "F\xc3\x94O\x00\xff"
                 "bar\x00",
                 11);
    tuple_clear(&t);
    tuple_int(&t, -5551212);
    assert_bytes(&t, "\x11\xab\x4b\x93", 4);
    tuple_clear(&t);
    tuple_int(&t, 0);
    tuple_int(&t, 255);
    tuple_int(&t, 256);
    tuple_int(&t, -1);
    tuple_int(&t, INT64_MIN);
    assert_bytes(&t,
                 "\x14"
                 "\x15\xff"
                 "\x16\x01\x00"
                 "\x13\xfe"
                 "\x0c\x7f\xff\xff\xff\xff\xff\xff\xff",
                 17);
    tuple_clear(&t);
    tuple_text(&t, (sv_str){NULL, 0});
    assert_bytes(&t, "\x02\x00", 2);
}

/* Between t and tuple_end(t) lies exactly what has the parts of t at its beginning. */
static void test_range(void **state)
{
    (void)state;
    uint32_t inside = 0;
    for (int round = 0; round < ROUNDS; round++) {
        values a, b;
        tuple low, high, key;
        some_pair(&a, &b);
        if (a.n == 0) continue;
        encode(&low, &a);
        high = low;
        assert_int_equal(tuple_end(&high), 0);
        encode(&key, &b);
        values head = b;
        if (head.n > a.n) head.n = a.n;
        bool begins = compare(&a, &head) == 0;
        assert_int_equal(compare_keys(&low, &key) <= 0 && compare_keys(&key, &high) < 0, begins);
        inside += begins;
    }
    assert_true(inside > 100);
}

static void fill(tuple *t, uint32_t n, char c)
{
    char text[LIMIT_STORE_KEY_BYTES];
    memset(text, c, sizeof text);
    tuple_clear(t);
    assert_int_equal(tuple_text(t, (sv_str){text, n - 2}), 0);
    assert_int_equal(t->n, n);
}

static void test_limit(void **state)
{
    (void)state;
    tuple t, end, other;
    fill(&t, LIMIT_STORE_KEY_BYTES, 'x');
    tuple full = t;
    assert_int_equal(tuple_int(&t, 0), SV_E_TOO_LARGE);
    assert_true(t.failed);
    tuple_clear(&t);
    assert_int_equal(tuple_int(&t, 0), 0);

    fill(&t, LIMIT_STORE_KEY_BYTES - 2, 'x');
    assert_int_equal(tuple_int(&t, 1 << 20), SV_E_TOO_LARGE);
    assert_int_equal(tuple_int(&t, 0), SV_E_TOO_LARGE); /* fits, but the key has a hole now */
    assert_int_equal(tuple_append(&t, sv_cstr("")), SV_E_TOO_LARGE);
    assert_int_equal(tuple_end(&t), SV_E_TOO_LARGE);

    char zeros[LIMIT_STORE_KEY_BYTES / 2] = {0};
    tuple_clear(&t);
    assert_int_equal(tuple_bytes(&t, (sv_str){zeros, sizeof zeros}), SV_E_TOO_LARGE);
    tuple_clear(&t);
    assert_int_equal(tuple_bytes(&t, (sv_str){zeros, sizeof zeros - 1}), 0);

    end = full;
    assert_int_equal(tuple_end(&end), 0);
    assert_true(compare_keys(&full, &end) < 0);
    fill(&other, LIMIT_STORE_KEY_BYTES, 'x');
    other.b[other.n - 2] = 'y';
    assert_true(compare_keys(&other, &end) > 0);
    memset(t.b, 0xff, sizeof t.b);
    t.n = sizeof t.b;
    t.failed = false;
    assert_int_equal(tuple_end(&t), SV_E_TOO_LARGE);
}

static tuple short_text(const char *text, uint32_t n)
{
    tuple t = {0};
    assert_int_equal(tuple_text_short(&t, (sv_str){text, n}), 0);
    return t;
}

static void test_short(void **state)
{
    (void)state;
    char a[400], b[400];
    memset(a, 'a', sizeof a);
    memcpy(b, a, sizeof b);
    tuple one = short_text(a, 95), two = {0};
    tuple_text(&two, (sv_str){a, 95});
    assert_int_equal(compare_keys(&one, &two), 0);

    b[399] = 'b'; /* far behind what is kept */
    one = short_text(a, sizeof a);
    two = short_text(b, sizeof b);
    assert_in_range(one.n, LIMIT_STORE_INDEX_TEXT + 2, LIMIT_STORE_INDEX_TEXT + 16 + 2);
    assert_int_not_equal(compare_keys(&one, &two), 0);
    tuple again = short_text(a, sizeof a);
    assert_int_equal(compare_keys(&one, &again), 0);
    tuple shorter = short_text(a, 399);
    assert_int_not_equal(compare_keys(&one, &shorter), 0);

    b[79] = 'b'; /* in what is kept: order is theirs */
    two = short_text(b, sizeof b);
    assert_true(compare_keys(&one, &two) < 0);

    /* Text that looks like the short form of another is another. */
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part part;
    sv_str rest = tuple_str(&one);
    assert_int_equal(tuple_next(&rest, scratch, &part), 0);
    assert_int_equal(part.s.n, LIMIT_STORE_INDEX_TEXT);
    two = short_text(part.s.p, part.s.n);
    assert_int_not_equal(compare_keys(&one, &two), 0);

    tuple bytes = {0};
    assert_int_equal(tuple_bytes_short(&bytes, (sv_str){a, sizeof a}), 0);
    assert_int_equal(bytes.b[0], TUPLE_BYTES);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t n;
    } bad[] = {
        {"", 0},
        {"\x00", 1},
        {"\x03", 1},
        {"\x0b", 1},
        {"\x1d", 1},
        {"\xff", 1},
        {"\x02", 1},
        {"\x02xyz", 4},
        {"\x01x\x00\xff", 4},                        /* the zero inside, and no end */
        {"\x15", 1},                                 /* no digits */
        {"\x16\x01", 2},                             /* one of two */
        {"\x15\x00", 2},                             /* 0 has no digits */
        {"\x16\x00\xff", 3},                         /* 255 has one */
        {"\x13\xff", 2},                             /* -0 */
        {"\x12\xff\xfe", 3},                         /* -1 has one digit */
        {"\x1c\x80\x00\x00\x00\x00\x00\x00\x00", 9}, /* INT64_MAX + 1 */
        {"\x0c\x7f\xff\xff\xff\xff\xff\xff\xfe", 9}, /* INT64_MIN - 1 */
        {"\x0c\x00\x00\x00\x00\x00\x00\x00\x00", 9},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char scratch[LIMIT_STORE_KEY_BYTES];
        tuple_part part;
        char *exact = malloc(bad[i].n ? bad[i].n : 1); /* reading behind it is seen */
        assert_non_null(exact);
        memcpy(exact, bad[i].bytes, bad[i].n);
        sv_str rest = {exact, bad[i].n};
        assert_int_equal(tuple_next(&rest, scratch, &part), SV_E_MALFORMED);
        assert_int_equal(rest.n, bad[i].n);
        free(exact);
    }
    char *big = calloc(1, 4 * LIMIT_STORE_KEY_BYTES), scratch[LIMIT_STORE_KEY_BYTES];
    assert_non_null(big);
    big[0] = TUPLE_BYTES;
    for (uint32_t i = 1; i + 1 < 4 * LIMIT_STORE_KEY_BYTES; i += 2)
        big[i + 1] = (char)0xff;
    tuple_part part;
    sv_str rest = {big, 4 * LIMIT_STORE_KEY_BYTES};
    assert_int_equal(tuple_next(&rest, scratch, &part), SV_E_MALFORMED);
    free(big);
}

static void assert_printed(const tuple *t, const char *want)
{
    buf out;
    buf_init(&out, 4096);
    assert_int_equal(tuple_print(tuple_str(t), &out), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, want);
    buf_free(&out);
}

static void test_print(void **state)
{
    (void)state;
    tuple t = {0};
    assert_printed(&t, "()");
    tuple_int(&t, 7);
    tuple_text(&t, sv_cstr("a\tb\"\x1b"));
    tuple_bytes(&t, (sv_str){"\x00\xff", 2});
    assert_printed(&t, "(7, \"a\\tb\\\"\\u001b\", x'00ff')");
    tuple_append(&t, sv_cstr("\x1f\x01"));
    assert_printed(&t, "(7, \"a\\tb\\\"\\u001b\", x'00ff', x'1f01')");
    tuple_clear(&t);
    tuple_int(&t, INT64_MIN);
    tuple_text(&t, sv_cstr("\xc3("));
    assert_printed(&t, "(-9223372036854775808, x'c328')");
    buf small;
    buf_init(&small, 8);
    assert_int_equal(tuple_print(tuple_str(&t), &small), SV_E_TOO_LARGE);
    buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),    cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_range),    cmocka_unit_test(test_limit),
        cmocka_unit_test(test_short),    cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
