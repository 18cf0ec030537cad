/*  multipart/form-data: every body, good and bad, at every cut into two and byte by byte tells the
 *  same; limits to the byte; names in their encodings. */
#include "error.h"
#include "multipart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define TYPE            "multipart/form-data; boundary=XyZ"
#define ONE(head, data) "--XyZ\r\n" head "\r\n\r\n" data "\r\n--XyZ--\r\n"
#define D               "Content-Disposition: form-data; name=a"

/* What was told, as text: {name|filename|type}bytes; and so on. */
typedef struct story {
    char text[1 << 16];
    size_t n;
    int stop_at; /* a call that refuses: 1 begin, 2 bytes, 3 end */
} story;

static void add(story *s, const char *p, size_t n)
{
    assert_true(s->n + n < sizeof s->text);
    memcpy(s->text + s->n, p, n);
    s->n += n;
    s->text[s->n] = 0;
}

static int on_begin(void *arg, const multipart_part *part, sv_error *err)
{
    story *s = arg;
    char line[4096];
    int n = snprintf(line, sizeof line, "{%.*s|%.*s|%.*s}", SV_FMT(part->name),
                     SV_FMT(part->has_file ? part->filename : sv_cstr("-")), SV_FMT(part->type));
    add(s, line, (size_t)n);
    return s->stop_at == 1 ? sv_fail(err, SV_E_DENIED, NULL, NULL) : 0;
}

static int on_bytes(void *arg, sv_str bytes, sv_error *err)
{
    story *s = arg;
    assert_true(bytes.n > 0);
    add(s, bytes.p, bytes.n);
    return s->stop_at == 2 ? sv_fail(err, SV_E_DENIED, NULL, NULL) : 0;
}

static int on_end(void *arg, sv_error *err)
{
    story *s = arg;
    add(s, ";", 1);
    return s->stop_at == 3 ? sv_fail(err, SV_E_DENIED, NULL, NULL) : 0;
}

static int feed_all(story *s, const char *type, const char *body, size_t n, size_t first,
                    size_t step, sv_error *err)
{
    multipart *m = malloc(sizeof *m);
    multipart_calls calls = {s, on_begin, on_bytes, on_end};
    s->n = 0;
    s->text[0] = 0;
    int rc = multipart_init(m, sv_cstr(type), &calls, err);
    for (size_t at = 0; at < n && rc == 0;) {
        size_t piece = at == 0 && first ? first : step;
        if (piece > n - at) piece = n - at;
        char *copy = malloc(piece); /* so that reading beyond it is seen */
        memcpy(copy, body + at, piece);
        rc = multipart_feed(m, (sv_str){copy, (uint32_t)piece}, err);
        free(copy);
        at += piece;
    }
    if (rc == 0)
        rc = multipart_end(m, err);
    else
        assert_true(multipart_feed(m, sv_cstr("x"), NULL) < 0 && multipart_end(m, NULL) < 0);
    free(m);
    return rc;
}

/* At every cut: `told` when it is good, an error with `told` in its words when it is not. */
static void expect(const char *type, const char *body, size_t n, int want, const char *told)
{
    static story s;
    for (size_t cut = 0; cut <= n + 1; cut++) {
        sv_error err = {0};
        s.stop_at = 0;
        int rc = feed_all(&s, type, body, n, cut > n ? 1 : cut, cut > n ? 1 : n, &err);
        if (rc != want)
            fail_msg("%d, not %d at cut %zu (%s): %s", rc, want, cut, err.message, body);
        if (want == 0 && strcmp(s.text, told) != 0) fail_msg("%s, not %s", s.text, told);
        if (want && (strstr(err.message, told) == NULL || err.code != want))
            fail_msg("no \"%s\" in \"%s\"", told, err.message);
    }
}

static void good_bodies(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {ONE(D, "1"), "{a|-|}1;"},
        {ONE(D, ""), "{a|-|};"},
        {"--XyZ--", ""},
        {"--XyZ--\r\n", ""},
        {"preamble\r\n--XyZ--", ""},
        {"\r\n--XyZ--", ""},
        {"\r\r\n\r\n--Xy\r\n--XyZ--", ""},
        {"--XyZ \t\r\n" D "\r\n\r\nx\r\n--XyZ--\r\nepilogue --XyZ", "{a|-|}x;"},
        {"--XyZ\r\n" D "\r\n\r\nx\r\n--XyZ\r\n" D "\r\n\r\ny\r\n--XyZ--", "{a|-|}x;{a|-|}y;"},
        {ONE(D, "\r\n--Xy\r\n-\r\r\n--XY\r\r"), "{a|-|}\r\n--Xy\r\n-\r\r\n--XY\r\r;"},
        {ONE(D, "--XyZ"), "{a|-|}--XyZ;"},
        {ONE("content-disposition:form-data;name=\"a b\"", "x"), "{a b|-|}x;"},
        {ONE("Content-Disposition: form-data; name=\"a\\\"b\\\\c\\d\"", "x"), "{a\"b\\c\\d|-|}x;"},
        {ONE(D "; filename=\"\"", "x"), "{a||}x;"},
        {ONE(D "; filename=\"../../etc/passwd\"\r\nContent-Type: text/plain", "x"),
         "{a|../../etc/passwd|text/plain}x;"},
        {ONE(D "; filename=\"C:\\dir\\f.txt\"", "x"), "{a|C:\\dir\\f.txt|}x;"},
        {ONE(D "; filename*=UTF-8''%e2%82%ac%20r", "x"), "{a|\xe2\x82\xac r|}x;"},
        {ONE(D "; filename=old; filename*=utf-8'en'new", "x"), "{a|new|}x;"},
        {ONE(D "; filename*=utf-8'en'new; filename=old", "x"), "{a|new|}x;"},
        {ONE(D "; filename*=ISO-8859-1''%A3%20", "x"), "{a|\xc2\xa3 |}x;"},
        {ONE(D "; other=1; more=\"2\"", "x"), "{a|-|}x;"},
        {ONE("X-Other: \xff\r\nContent-Transfer-Encoding: BINARY\r\n" D, "x"), "{a|-|}x;"},
        {ONE(D "; filename=\"\xd0\xb4\"", "x"), "{a|\xd0\xb4|}x;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(TYPE, cases[i][0], strlen(cases[i][0]), 0, cases[i][1]);
    expect("Multipart/Form-Data; charset=utf-8; boundary=\"a b:?\" ", "--a b:?--", 9, 0, "");
}

static void bad_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"", "its boundary does not come"},
        {"--Xy", "its boundary does not come"},
        {"x--XyZ--", "its boundary does not come"},
        {"--XyZ", "before its last boundary"},
        {"--XyZ-", "before its last boundary"},
        {"--XyZ\r\n" D, "before its last boundary"},
        {"--XyZ\r\n" D "\r\n\r\nx", "before its last boundary"},
        {"--XyZ\r\n" D "\r\n\r\nx\r\n--XyZ\r\n", "before its last boundary"},
        {"--XyZx", "something stands behind a boundary"},
        {"--XyZ -", "something stands behind a boundary"},
        {"--XyZ-x", "one dash behind a boundary"},
        {"--XyZ\n", "something stands behind a boundary"},
        {"--XyZ\rx", "CR without LF"},
        {"--XyZ\r\nA: b\n", "LF alone"},
        {"--XyZ\r\nA: b\x01", "a control character"},
        {"--XyZ\r\nA: b\rx", "CR without LF"},
        {ONE("A: b", "x"), "no Content-Disposition"},
        {ONE("", "x"), "no Content-Disposition"},
        {ONE("Content-Disposition: form-data", "x"), "no name"},
        {ONE("Content-Disposition: attachment; name=a", "x"), "not form-data"},
        {ONE("Content-Disposition: form-data; name=\"\"", "x"), "name is empty"},
        {ONE("Content-Disposition: form-data; name=\"\xff\"", "x"), "not plain UTF-8"},
        {ONE("Content-Disposition: form-data; name=\"a\tb\"", "x"), "not plain UTF-8"},
        {ONE("Content-Disposition: form-data; name=\"a", "x"), "malformed parameter"},
        {ONE("Content-Disposition: form-data; name", "x"), "malformed parameter"},
        {ONE("Content-Disposition: form-data; =a", "x"), "malformed parameter"},
        {ONE("Content-Disposition: form-data; name=", "x"), "malformed parameter"},
        {ONE("Content-Disposition: form-data; name=a b", "x"), "malformed parameter"},
        {ONE("Content-Disposition: form-data; name=\"a\"b", "x"), "malformed parameter"},
        {ONE(D "; name=b", "x"), "two names"},
        {ONE(D "; filename=b; filename=c", "x"), "two file names"},
        {ONE(D "; filename*=UTF-8''b; filename*=UTF-8''c", "x"), "two file names"},
        {ONE(D "; filename=\"\t\"", "x"), "a file name is too long or"},
        {ONE(D "; filename*=UTF-8''%00", "x"), "filename* is not"},
        {ONE(D "; filename*=UTF-8''%0a", "x"), "filename* is not"},
        {ONE(D "; filename*=UTF-8''%ff", "x"), "filename* is not"},
        {ONE(D "; filename*=UTF-8''%f", "x"), "filename* is not"},
        {ONE(D "; filename*=UTF-8''%gg", "x"), "filename* is not"},
        {ONE(D "; filename*=UTF-8'x", "x"), "filename* is not"},
        {ONE(D "; filename*=x", "x"), "filename* is not"},
        {ONE(D "; filename*=\"\"", "x"), "filename* is not"},
        {ONE(D "; filename*=KOI8-R''x", "x"), "filename* is not"},
        {ONE(D "\r\n" D, "x"), "two Content-Disposition"},
        {ONE(D "\r\nContent-Type: a/b\r\nContent-Type: a/b", "x"), "two Content-Type"},
        {ONE(D "\r\nContent-Type: Multipart/mixed; boundary=q", "x"), "a multipart itself"},
        {ONE(D "\r\nContent-Transfer-Encoding: base64", "x"), "transfer-encoded"},
        {ONE(D "\r\n folded", "x"), "no colon"},
        {ONE(D "\r\n folded: x", "x"), "not a token"},
        {ONE(D "\r\nA : b", "x"), "not a token"},
        {ONE(D "\r\n: b", "x"), "not a token"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(TYPE, cases[i].body, strlen(cases[i].body), SV_E_INVALID, cases[i].why);
    expect(TYPE, "--XyZ\r\nA\0: b", 12, SV_E_INVALID, "a control character");
}

#define LONG_TYPE                                                                                  \
    "multipart/form-data; boundary="                                                               \
    "1234567890123456789012345678901234567890123456789012345678901234567890"

static void content_types(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "text/plain",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"a ",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=\"a\xff\"",
        "multipart/form-data; boundary=a*b",
        "multipart/form-data; boundary=a; boundary=a",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=\"a\"b",
        LONG_TYPE "1",
    };
    static story s;
    sv_error err;
    char longer[700];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (sv_error){0};
        assert_int_equal(feed_all(&s, bad[i], "--a--", 5, 0, 5, &err), SV_E_HTTP_MEDIA_TYPE);
        assert_non_null(strstr(err.message, "boundary"));
    }
    memset(longer, 'x', sizeof longer);
    memcpy(longer, "multipart/form-data; boundary=a; x=", 35);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(feed_all(&s, longer, "--a--", 5, 0, 5, &err), SV_E_HTTP_MEDIA_TYPE);
    const char *most = LONG_TYPE;
    char body[80];
    snprintf(body, sizeof body, "--%s--", strchr(most, '=') + 1);
    assert_int_equal(feed_all(&s, most, body, strlen(body), 0, 7, &err), 0);
}

/* `n` times `c`, between two texts. */
static char *long_body(const char *before, char c, size_t n, const char *after)
{
    size_t b = strlen(before), a = strlen(after);
    char *p = malloc(b + n + a + 1);
    memcpy(p, before, b);
    memset(p + b, c, n);
    memcpy(p + b + n, after, a + 1);
    return p;
}

static void at_limit(const char *before, size_t most, const char *after, int want)
{
    static story s;
    for (size_t more = 0; more < 2; more++) {
        char *body = long_body(before, 'x', most + more, after);
        for (size_t step = 1; step < 9000; step += 2999) {
            sv_error err = {0};
            int rc = feed_all(&s, TYPE, body, strlen(body), 0, step, &err);
            if (rc != (more ? want : 0)) fail_msg("%d %s: %.60s %zu", rc, err.message, body, more);
        }
        free(body);
    }
}

static void limits_to_the_byte(void **state)
{
    (void)state;
    static story s;
    sv_error err = {0};
    at_limit("", MULTIPART_AROUND_BYTES, "\r\n--XyZ--", SV_E_TOO_LARGE);
    at_limit("--XyZ--", MULTIPART_AROUND_BYTES, "", SV_E_TOO_LARGE);
    at_limit("--XyZ\r\nContent-Disposition: form-data; name=", MULTIPART_NAME_BYTES,
             "\r\n\r\n\r\n--XyZ--", SV_E_INVALID);
    at_limit("--XyZ\r\n" D "; filename=", MULTIPART_FILENAME_BYTES, "\r\n\r\n\r\n--XyZ--",
             SV_E_INVALID);
    at_limit("--XyZ\r\n" D "; filename*=UTF-8''", MULTIPART_FILENAME_BYTES, "\r\n\r\n\r\n--XyZ--",
             SV_E_INVALID);
    at_limit("--XyZ\r\n" D "\r\nX: ", MULTIPART_HEAD_BYTES - strlen(D) - 9, "\r\n\r\n\r\n--XyZ--",
             SV_E_TOO_LARGE);
    for (int lines = MULTIPART_HEAD_LINES; lines <= MULTIPART_HEAD_LINES + 1; lines++) {
        char body[1024] = "--XyZ\r\n" D "\r\n";
        for (int i = 1; i < lines; i++)
            strcat(body, "X: y\r\n");
        strcat(body, "\r\n\r\n--XyZ--");
        assert_int_equal(feed_all(&s, TYPE, body, strlen(body), 0, 3, &err),
                         lines > MULTIPART_HEAD_LINES ? SV_E_TOO_LARGE : 0);
    }
    for (int parts = MULTIPART_PARTS; parts <= MULTIPART_PARTS + 1; parts++) {
        char body[8192] = "--XyZ";
        for (int i = 0; i < parts; i++)
            strcat(body, "\r\n" D "\r\n\r\nx\r\n--XyZ");
        strcat(body, "--");
        assert_int_equal(feed_all(&s, TYPE, body, strlen(body), 0, 100, &err),
                         parts > MULTIPART_PARTS ? SV_E_TOO_LARGE : 0);
    }
    /* Blank lines only are preamble too, wherever they are cut. */
    char *blank = malloc(3 * MULTIPART_AROUND_BYTES);
    for (size_t i = 0; i < 3 * MULTIPART_AROUND_BYTES; i++)
        blank[i] = i % 2 ? '\n' : '\r';
    for (size_t step = 1; step < 6; step++)
        assert_int_equal(feed_all(&s, TYPE, blank, 3 * MULTIPART_AROUND_BYTES, 0, step, &err),
                         SV_E_TOO_LARGE);
    free(blank);
    /* Blanks behind a boundary. */
    char *pad = long_body("--XyZ", ' ', MULTIPART_BOUNDARY_BYTES + 1, "\r\n");
    assert_int_equal(feed_all(&s, TYPE, pad, strlen(pad), 0, 9, &err), SV_E_INVALID);
    free(pad);
}

/* Texts with quotes, decoded names and unknown parameters fill what there is, and no more. */
static void long_parameters_have_room(void **state)
{
    (void)state;
    static story s;
    sv_error err = {0};
    char *tail = long_body("", 'y', 6000, "\"\r\n\r\nx\r\n--XyZ--");
    char head[9000 + 64];
    snprintf(head, sizeof head, "--XyZ\r\n%s; filename*=\"ISO-8859-1''", D);
    memset(head + strlen(head), 0xe9, 511);
    snprintf(head + strlen(head), sizeof head - strlen(head), "\"; x=\"%s", tail);
    assert_int_equal(feed_all(&s, TYPE, head, strlen(head), 0, 4000, &err), 0);
    free(tail);
}

static void calls_may_refuse(void **state)
{
    (void)state;
    static story s;
    const char *body = ONE(D, "12");
    for (s.stop_at = 1; s.stop_at <= 3; s.stop_at++) {
        for (size_t step = 1; step < 60; step++) {
            sv_error err = {0};
            assert_int_equal(feed_all(&s, TYPE, body, strlen(body), 0, step, &err), SV_E_DENIED);
        }
        if (s.stop_at == 1) assert_string_equal(s.text, "{a|-|}");
    }
    s.stop_at = 2; /* the data that is given back when a boundary was none */
    sv_error err = {0};
    body = ONE(D, "\r\n--X");
    assert_int_equal(feed_all(&s, TYPE, body, strlen(body), 0, 1, &err), SV_E_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies),      cmocka_unit_test(bad_bodies),
        cmocka_unit_test(content_types),    cmocka_unit_test(limits_to_the_byte),
        cmocka_unit_test(calls_may_refuse), cmocka_unit_test(long_parameters_have_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
