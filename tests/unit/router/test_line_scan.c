/*  Lines in a byte stream: what is found, and that cutting the input anywhere changes nothing. */
#include "line_scan.h"

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct seen {
    buf text; /* each line in brackets */
    int lines, stop_at;
} seen;

static bool on_line(void *arg, sv_str line)
{
    seen *s = arg;
    s->lines++;
    buf_printf(&s->text, "[%.*s]", SV_FMT(line));
    return s->lines != s->stop_at;
}

/* Fed as an exact copy, so that reading too far shows. */
static int feed(line_scan *s, sv_str bytes, seen *to)
{
    char *copy = malloc(bytes.n ? bytes.n : 1);
    memcpy(copy, bytes.p, bytes.n);
    int rc = line_feed(s, (sv_str){copy, bytes.n}, on_line, to);
    free(copy);
    return rc;
}

static void found(const char *text, const char *want)
{
    uint32_t n = (uint32_t)strlen(text);
    for (uint32_t cut = 0; cut <= n; cut++)
        for (uint32_t other = cut; other <= n; other += 3) {
            line_scan s;
            seen got = {0};
            line_init(&s);
            buf_init(&got.text, 4096);
            assert_int_equal(feed(&s, (sv_str){text, cut}, &got), 0);
            assert_int_equal(feed(&s, (sv_str){text + cut, other - cut}, &got), 0);
            assert_int_equal(feed(&s, (sv_str){text + other, n - other}, &got), 0);
            assert_int_equal(line_end(&s, on_line, &got), 0);
            if (!sv_str_is(buf_str(&got.text), want)) fail_msg("%.*s", SV_FMT(buf_str(&got.text)));
            buf_free(&got.text);
            line_free(&s);
        }
}

static void test_lines(void **state)
{
    (void)state;
    found("", "");
    found("a\nbc\n", "[a][bc]");
    found("a\r\nbc\r\n", "[a][bc]");
    found("\n\n\r\na\n\n", "[a]");
    found("a\nno end", "[a][no end]");
    found("{\"a\":\"\xe2\x82\xac\"}\n\xf0\x9f\x98\x80\n",
          "[{\"a\":\"\xe2\x82\xac\"}][\xf0\x9f\x98\x80]");
    found("a\rb\n", "[a\rb]");
}

static void test_stop(void **state)
{
    (void)state;
    line_scan s;
    seen got = {.stop_at = 2};
    line_init(&s);
    buf_init(&got.text, 4096);
    assert_int_equal(feed(&s, sv_cstr("a\nb"), &got), 0);
    assert_int_equal(feed(&s, sv_cstr("c\nd\n"), &got), 1);
    assert_true(sv_str_is(buf_str(&got.text), "[a][bc]"));
    line_free(&s);
    line_init(&s);
    got.stop_at = 3;
    assert_int_equal(feed(&s, sv_cstr("last"), &got), 0);
    assert_int_equal(line_end(&s, on_line, &got), 1);
    assert_int_equal(line_end(&s, on_line, &got), 0); /* shown once */
    buf_free(&got.text);
    line_free(&s);
}

static void test_too_long(void **state)
{
    (void)state;
    size_t n = LINE_BYTES + 1;
    char *text = malloc(n + 1);
    seen got = {0};
    memset(text, 'x', n);
    text[n] = '\n';
    buf_init(&got.text, 4 << 20);
    for (int whole = 0; whole < 2; whole++) { /* in one piece, and in many that never end */
        line_scan s;
        int rc = 0;
        line_init(&s);
        if (whole) rc = feed(&s, (sv_str){text, (uint32_t)n + 1}, &got);
        for (size_t at = 0; !whole && rc == 0 && at < n; at += 4096)
            rc = feed(&s, (sv_str){text + at, (uint32_t)(n - at < 4096 ? n - at : 4096)}, &got);
        assert_int_equal(rc, SV_E_PROVIDER_TOO_LARGE);
        line_free(&s);
        /* one byte less is taken */
        line_init(&s);
        assert_int_equal(feed(&s, (sv_str){text + 1, whole ? (uint32_t)n : 5000}, &got), 0);
        if (!whole) assert_int_equal(feed(&s, (sv_str){text + 5001, (uint32_t)n - 5000}, &got), 0);
        assert_int_equal(got.lines, whole + 1);
        line_free(&s);
    }
    buf_free(&got.text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
