/*  The event scanner: what it finds, and that cutting the input anywhere changes nothing. */
#include "sse_scan.h"

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct seen {
    buf out, data; /* passed bytes; data of each event in brackets */
    int events, passes;
    int stop_at; /* stop at this event */
} seen;

/* Events with data "drop" are dropped. */
static sse_verdict on_event(void *arg, sv_str data)
{
    seen *s = arg;
    s->events++;
    if (data.p)
        buf_printf(&s->data, "[%.*s]", SV_FMT(data));
    else
        buf_puts(&s->data, "-");
    if (s->events == s->stop_at) return SSE_STOP;
    return sv_str_is(data, "drop") ? SSE_DROP : SSE_PASS;
}

static bool on_pass(void *arg, sv_str bytes)
{
    seen *s = arg;
    s->passes++;
    assert_int_equal(buf_put(&s->out, bytes.p, bytes.n), 0);
    return true;
}

static const sse_sink sink = {on_event, on_pass};

static void seen_init(seen *s)
{
    *s = (seen){0};
    buf_init(&s->out, 8 << 20);
    buf_init(&s->data, 8 << 20);
}

static void seen_free(seen *s)
{
    buf_free(&s->out);
    buf_free(&s->data);
}

static bool equals(const buf *b, const char *text)
{
    return b->n == strlen(text) && memcmp(b->p ? b->p : "", text, b->n) == 0;
}

/* Feeds text cut at `a` and `b`; each piece in memory of its own so that overreads show. */
static void feed_cut(const char *text, size_t n, size_t a, size_t b, bool end, const char *out,
                     const char *data)
{
    seen s;
    sse_scan scan;
    size_t cuts[4] = {0, a, b, n};
    seen_init(&s);
    sse_init(&scan);
    for (int i = 0; i < 3; i++) {
        size_t len = cuts[i + 1] - cuts[i];
        char *piece = malloc(len ? len : 1);
        memcpy(piece, text + cuts[i], len);
        assert_int_equal(sse_feed(&scan, (sv_str){piece, (uint32_t)len}, &sink, &s), 0);
        free(piece);
    }
    if (end) assert_int_equal(sse_end(&scan, &sink, &s), 0);
    if (!equals(&s.out, out))
        fail_msg("cut at %zu and %zu: passed \"%.*s\"", a, b, (int)s.out.n, s.out.p ? s.out.p : "");
    if (!equals(&s.data, data))
        fail_msg("cut at %zu and %zu: saw \"%.*s\"", a, b, (int)s.data.n, s.data.p ? s.data.p : "");
    sse_free(&scan);
    seen_free(&s);
}

static void every_cut(const char *text, bool end, const char *out, const char *data)
{
    size_t n = strlen(text);
    for (size_t a = 0; a <= n; a++)
        for (size_t b = a; b <= n; b++)
            feed_cut(text, n, a, b, end, out, data);
}

static void test_line_ends(void **state)
{
    (void)state;
    every_cut("data: a\n\ndata: b\n\n", false, "data: a\n\ndata: b\n\n", "[a][b]");
    every_cut("data: a\r\n\r\ndata: b\r\n\r\n", false, "data: a\r\n\r\ndata: b\r\n\r\n", "[a][b]");
    every_cut("data: a\r\rdata: b\r\r", false, "data: a\r\rdata: b\r\r", "[a][b]");
    every_cut("data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", false,
              "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", "[a][b][c]");
}

static void test_dropping(void **state)
{
    (void)state;
    every_cut("data: a\n\ndata: drop\n\ndata: b\n\n", false, "data: a\n\ndata: b\n\n",
              "[a][drop][b]");
    every_cut("data: a\r\n\r\ndata: drop\r\n\r\ndata: b\r\n\r\n", false,
              "data: a\r\n\r\ndata: b\r\n\r\n", "[a][drop][b]");
    every_cut("data: drop\r\rdata: b\r\r", false, "data: b\r\r", "[drop][b]");
    every_cut("data: drop\n\ndata: drop\n\n", false, "", "[drop][drop]");
}

static void test_fields(void **state)
{
    (void)state;
    every_cut("event: x\nid: 7\ndata: a\nretry: 1\ndata:b\ndata\ndata:  c\n\n", false,
              "event: x\nid: 7\ndata: a\nretry: 1\ndata:b\ndata\ndata:  c\n\n", "[a\nb\n\n c]");
    every_cut(": comment\n\n\n\ndatax: no\n\ndata:\n\n", false,
              ": comment\n\n\n\ndatax: no\n\ndata:\n\n", "----[]");
    every_cut("\xef\xbb\xbf"
              "data: a\n\n",
              false,
              "\xef\xbb\xbf"
              "data: a\n\n",
              "[a]");
    every_cut("data: \xf0\x9f\x98\x80\n\n", false, "data: \xf0\x9f\x98\x80\n\n",
              "[\xf0\x9f\x98\x80]");
}

static void test_end(void **state)
{
    (void)state;
    every_cut("data: a\n\ndata: b", false, "data: a\n\n", "[a]");
    every_cut("data: a\n\ndata: b", true, "data: a\n\ndata: b\n\n", "[a][b]");
    every_cut("data: b\n", true, "data: b\n\n", "[b]");
    every_cut("data: b\r", true, "data: b\r\n\n", "[b]");
    every_cut("data: b\r\n", true, "data: b\r\n\n", "[b]");
    every_cut("data: b\n\n", true, "data: b\n\n", "[b]");
    every_cut("", true, "", "");
}

static void test_few_pieces(void **state)
{
    (void)state;
    seen s;
    sse_scan scan;
    seen_init(&s);
    sse_init(&scan);
    const char *text = "data: 1\n\ndata: 2\n\ndata: 3\n\ndata: drop\n\ndata: 4\n\ndata: 5\n\n";
    assert_int_equal(sse_feed(&scan, sv_cstr(text), &sink, &s), 0);
    assert_int_equal(s.passes, 2);
    assert_int_equal(sse_held(&scan), 0);
    sse_free(&scan);
    seen_free(&s);
}

static void test_stop(void **state)
{
    (void)state;
    seen s;
    sse_scan scan;
    seen_init(&s);
    sse_init(&scan);
    s.stop_at = 2;
    assert_int_equal(sse_feed(&scan, sv_cstr("data: 1\n\ndata: 2\n\ndata: 3\n\n"), &sink, &s), 1);
    assert_true(equals(&s.out, "data: 1\n\n"));
    assert_int_equal(s.events, 2);
    sse_free(&scan);
    seen_free(&s);
}

static void test_bad_utf8(void **state)
{
    (void)state;
    const char *bad[] = {"data: \xff\n\n", "data: \xc3\n\n", "data: \xed\xa0\x80\n\n",
                         ": \x80\n\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (size_t cut = 0; cut <= strlen(bad[i]); cut++) {
            seen s;
            sse_scan scan;
            seen_init(&s);
            sse_init(&scan);
            assert_int_equal(sse_feed(&scan, sv_cstr("data: good\n\n"), &sink, &s), 0);
            int rc = sse_feed(&scan, (sv_str){bad[i], (uint32_t)cut}, &sink, &s);
            if (rc == 0) rc = sse_feed(&scan, sv_cstr(bad[i] + cut), &sink, &s);
            assert_int_equal(rc, SV_E_BAD_UTF8);
            assert_true(equals(&s.out, "data: good\n\n"));
            sse_free(&scan);
            seen_free(&s);
        }
    }
}

static void test_too_large(void **state)
{
    (void)state;
    size_t n = SSE_EVENT_BYTES;
    char *text = malloc(n + 16);
    memset(text, 'x', n + 16);
    memcpy(text, "data: ", 6);
    memcpy(text + n - 2, "\n\n", 2);
    for (size_t piece = 1000; piece <= 2 * n; piece += n / 3) {
        for (int over = 0; over < 2; over++) {
            seen s;
            sse_scan scan;
            int rc = 0;
            size_t all = n + (size_t)over * 2;
            if (over) {
                memset(text + n - 2, 'x', 2);
                memcpy(text + n, "\n\n", 2);
            }
            seen_init(&s);
            sse_init(&scan);
            for (size_t at = 0; at < all && rc == 0; at += piece) {
                size_t len = all - at < piece ? all - at : piece;
                rc = sse_feed(&scan, (sv_str){text + at, (uint32_t)len}, &sink, &s);
            }
            assert_int_equal(rc, over ? SV_E_PROVIDER_TOO_LARGE : 0);
            assert_int_equal(s.out.n, over ? 0 : n);
            assert_true(scan.held.cap <= SSE_EVENT_BYTES);
            if (over) {
                memset(text + n, 'x', 2);
                memcpy(text + n - 2, "\n\n", 2);
            }
            sse_free(&scan);
            seen_free(&s);
        }
    }
    free(text);
}

/* What of an event is not data: "type|data|id" of each, then the retry time. */
typedef struct fields {
    sse_scan scan;
    buf text;
} fields;

static sse_verdict on_fields(void *arg, sv_str data)
{
    fields *f = arg;
    if (data.p)
        buf_printf(&f->text, "[%.*s|%.*s|%.*s]", SV_FMT(f->scan.type), SV_FMT(data),
                   SV_FMT(buf_str(&f->scan.id)));
    return SSE_DROP;
}

static void fields_of(const char *text, size_t n, const char *want)
{
    static const sse_sink reader = {on_fields, on_pass};
    for (size_t cut = 0; cut <= n; cut++) {
        fields f;
        sse_init(&f.scan);
        buf_init(&f.text, 65536);
        assert_int_equal(sse_feed(&f.scan, (sv_str){text, (uint32_t)cut}, &reader, &f), 0);
        assert_int_equal(sse_feed(&f.scan, (sv_str){text + cut, (uint32_t)(n - cut)}, &reader, &f),
                         0);
        buf_printf(&f.text, "%lld", (long long)sse_retry(&f.scan));
        if (!equals(&f.text, want))
            fail_msg("%s cut at %zu: %.*s", text, cut, SV_FMT(buf_str(&f.text)));
        buf_free(&f.text);
        sse_free(&f.scan);
    }
}

static void test_other_fields(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"data: a\n\n", "[|a|]-1"},
        {"event: x\ndata: a\n\ndata: b\n\n", "[x|a|][|b|]-1"},
        {"event: x\nevent\ndata: a\n\n", "[|a|]-1"},
        {"event:x\r\ndata: a\r\nevent:  y\r\n\r\n", "[ y|a|]-1"},
        {"event: x\n\ndata: a\n\n", "[|a|]-1"},
        {"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", "[|a|1][|b|1][|c|]-1"},
        {"id: 1\n\ndata: b\n\n", "[|b|1]-1"}, /* an id without data counts */
        {"id: 1\nid:2\ndata: a\n\nid: 3", "[|a|2]-1"},
        {"\xef\xbb\xbfid: 7\ndata\n\n", "[||7]-1"},
        {" id: 7\nID: 8\nidx: 9\ndata: a\n\n", "[|a|]-1"},
        {": id: 7\nevents: x\neven: x\ndata: a\n\n", "[|a|]-1"},
        {"retry: 10\n\n", "10"},
        {"retry: 10\n", "10"},
        {"retry: 10\r", "10"},
        {"retry: 10", "-1"},
        {"\xef\xbb\xbfretry: 10\nretry: x\nretry: -5\nretry: 1.5\nretry\nretry: 7 \n", "10"},
        {"retry:3\n\nretry:4\ndata: a\n\n", "[|a|]4"},
        {"retry: 99999999999999999999999\n\n", "9999999999999999"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        fields_of(rows[i].text, strlen(rows[i].text), rows[i].want);
    fields_of("id: 1\ndata: a\nid: 2\0 3\n\n", 25, "[|a|1]-1"); /* an id with NUL is none */
    char text[SSE_ID_BYTES + 64];
    for (int n = SSE_ID_BYTES; n <= SSE_ID_BYTES + 1; n++) {
        sse_scan scan;
        seen s;
        sse_init(&scan);
        seen_init(&s);
        int len = snprintf(text, sizeof text, "id: 1\n\nid: %0*d\n\n", n, 0);
        assert_int_equal(sse_feed(&scan, (sv_str){text, (uint32_t)len}, &sink, &s), 0);
        assert_int_equal(scan.id.n, n > SSE_ID_BYTES ? 1 : n);
        seen_free(&s);
        sse_free(&scan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_ends),    cmocka_unit_test(test_dropping),
        cmocka_unit_test(test_fields),       cmocka_unit_test(test_end),
        cmocka_unit_test(test_few_pieces),   cmocka_unit_test(test_stop),
        cmocka_unit_test(test_bad_utf8),     cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_other_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
