/*  The chunked decoder: the same body, or the same refusal, however the bytes are cut. */
#include "error.h"
#include "http_chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct outcome {
    int rc; /* 1 complete, 0 wants more, else the error */
    size_t used;
    char body[8192];
    size_t n;
} outcome;

static void feed(http_chunked *c, const char *p, size_t n, outcome *o)
{
    char *copy = malloc(n + 1);
    memcpy(copy, p, n);
    size_t at = 0;
    while (o->rc == 0 && at < n) {
        size_t used = 0;
        sv_str data;
        sv_error err = {0};
        o->rc = http_chunked_next(c, copy + at, n - at, &used, &data, &err);
        assert_true(used <= n - at);
        assert_true(o->n + data.n <= sizeof o->body);
        memcpy(o->body + o->n, data.p, data.n);
        o->n += data.n;
        at += used;
        if (o->rc == 0) assert_true(used > 0);
        if (o->rc < 0) assert_true(err.message[0] != 0);
    }
    o->used += at;
    free(copy);
}

static void decode(const char *text, size_t n, size_t cut, size_t cut2, outcome *o)
{
    http_chunked c;
    http_chunked_reset(&c);
    memset(o, 0, sizeof *o);
    feed(&c, text, cut, o);
    if (o->rc == 0) feed(&c, text + cut, cut2 - cut, o);
    if (o->rc == 0) feed(&c, text + cut2, n - cut2, o);
}

typedef struct chunk_case {
    const char *text;
    size_t n;
    const char *body; /* NULL: refused */
    size_t used;
} chunk_case;

#define ALL(s) s, sizeof(s) - 1

static const chunk_case cases[] = {
    {ALL("0\r\n\r\n"), "", 5},
    {ALL("5\r\nhello\r\n0\r\n\r\nGET /"), "hello", 15},
    {ALL("1\r\nA\r\n0000000000000002\r\nBC\r\n000\r\n\r\n"), "ABC", 35},
    {ALL("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789", 35},
    {ALL("5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n"), "hello", 32},
    {ALL("5;\r\n\r\n0\r\n\r\n0\r\n\r\n"), "\r\n0\r\n", 16},
    {ALL("0\r\nContent-Length: 5\r\nX:\r\n\r\nrest"), "", 28},
    {ALL("5\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("5\r\nhello\n0\r\n\r\n"), NULL, 0},
    {ALL("5\r\nhello0\r\n\r\n"), NULL, 0},
    {ALL("5\r\nhelloX\r\n0\r\n\r\n"), NULL, 0},
    {ALL("5\r\nhello\r\n0\r\n\n"), NULL, 0},
    {ALL("5\r\nhello\r\n0\n\r\n"), NULL, 0},
    {ALL("5 \r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL(" 5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("0x5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("-5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("+5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL(";a\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("00000000000000005\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("5;a\nb\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("5;a\0b\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("5;a\rb\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("5\r\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("g\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    {ALL("0\r\nX : y\r\n\r\n"), NULL, 0},
    {ALL("0\r\n folded\r\n\r\n"), NULL, 0},
    {ALL("0\r\nno colon\r\n\r\n"), NULL, 0},
    {ALL("0\r\nX: \0\r\n\r\n"), NULL, 0},
    {ALL("0\r\nX: y\n\r\n"), NULL, 0},
    {ALL("0\r\n: y\r\n\r\n"), NULL, 0},
    {ALL("0\r\nX: y\r\n\rx"), NULL, 0},
};

static void check(const chunk_case *k, const outcome *o, size_t cut, size_t cut2)
{
    int want = k->body ? 1 : SV_E_HTTP_MALFORMED;
    if (o->rc != want) fail_msg("%s, cut at %zu and %zu: %d", k->text, cut, cut2, o->rc);
    if (k->body == NULL) return;
    if (o->used != k->used) fail_msg("%s: used %zu of %zu", k->text, o->used, k->used);
    assert_int_equal(o->n, strlen(k->body));
    assert_memory_equal(o->body, k->body, o->n);
}

static void every_case_at_every_two_cuts(void **state)
{
    (void)state;
    static outcome o;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t cut = 0; cut <= cases[i].n; cut++)
            for (size_t cut2 = cut; cut2 <= cases[i].n; cut2++) {
                decode(cases[i].text, cases[i].n, cut, cut2, &o);
                check(&cases[i], &o, cut, cut2);
            }
}

static void extensions_are_bounded_for_the_whole_body(void **state)
{
    (void)state;
    static char text[4 * HTTP_CHUNK_EXTENSION_BYTES];
    static outcome o;
    size_t at = 0;
    for (int i = 0; i < HTTP_CHUNK_EXTENSION_BYTES / 16 + 1; i++)
        at += (size_t)sprintf(text + at, "1;%.*s\r\nx\r\n", 16, "abcdefghijklmnop");
    decode(text, at, at, at, &o);
    assert_int_equal(o.rc, SV_E_HTTP_MALFORMED);
    assert_int_equal(o.n, HTTP_CHUNK_EXTENSION_BYTES / 16);
}

static void trailers_are_bounded(void **state)
{
    (void)state;
    static char text[2 * HTTP_TRAILER_BYTES];
    static outcome o;
    size_t at = (size_t)sprintf(text, "0\r\n");
    while (at < HTTP_TRAILER_BYTES * 3 / 2)
        at += (size_t)sprintf(text + at, "X-Trailer: 0123456789\r\n");
    decode(text, at, at / 2, at, &o);
    assert_int_equal(o.rc, SV_E_HTTP_MALFORMED);
    assert_true(o.used >= HTTP_TRAILER_BYTES);
}

static void a_huge_size_is_told_before_its_data(void **state)
{
    (void)state;
    http_chunked c;
    http_chunked_reset(&c);
    size_t used;
    sv_str data;
    assert_int_equal(http_chunked_next(&c, "ffffffffffffffff\r\n", 18, &used, &data, NULL), 0);
    assert_int_equal(used, 18);
    assert_true(c.left == UINT64_MAX);
    assert_int_equal(http_chunked_next(&c, "xyz", 3, &used, &data, NULL), 0);
    assert_int_equal(data.n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_at_every_two_cuts),
        cmocka_unit_test(extensions_are_bounded_for_the_whole_body),
        cmocka_unit_test(trailers_are_bounded),
        cmocka_unit_test(a_huge_size_is_told_before_its_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
