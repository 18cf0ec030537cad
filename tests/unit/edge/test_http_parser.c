/*  The request head parser: what is refused, what is accepted, and that neither depends on where
 *  the bytes are cut. */
#include "error.h"
#include "http_parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MAX_BYTES = 4096, MAX_LINE = 512, MAX_FIELDS = 16 };

typedef struct bad_case {
    const char *name;
    int code;
    const char *text;
    size_t n; /* 0: strlen */
} bad_case;

#define H           "Host: a\r\n"
#define WITH_NUL(s) s, sizeof(s) - 1

static const bad_case bad[] = {
    /* line ends and control characters */
    {"bare LF request line", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\n" H "\r\n", 0},
    {"bare LF header", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a\n\r\n", 0},
    {"bare LF end", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "\n", 0},
    {"bare CR in value", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 0},
    {"CR CR LF", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\r\n" H "\r\n", 0},
    {"bare CR in request line", SV_E_HTTP_MALFORMED, "GET /\r HTTP/1.1\r\n" H "\r\n", 0},
    {"NUL in value", SV_E_HTTP_MALFORMED, WITH_NUL("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n")},
    {"NUL in name", SV_E_HTTP_MALFORMED, WITH_NUL("GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n")},
    {"NUL in target", SV_E_HTTP_MALFORMED, WITH_NUL("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n")},
    {"NUL first", SV_E_HTTP_MALFORMED, WITH_NUL("\0GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
    {"CTL in name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X\001: a\r\n\r\n", 0},
    {"DEL in name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X\177: a\r\n\r\n", 0},
    {"DEL in value", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X: a\177b\r\n\r\n", 0},
    {"ESC in value", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X: \033[2J\r\n\r\n", 0},
    {"vertical tab", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X: a\vb\r\n\r\n", 0},
    {"leading CRLF", SV_E_HTTP_MALFORMED, "\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    {"leading LF", SV_E_HTTP_MALFORMED, "\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    /* folding, names, colons */
    {"obs-fold space", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 0},
    {"obs-fold tab", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n", 0},
    {"blank before first header", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 0},
    {"space before colon", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 0},
    {"tab before colon", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n", 0},
    {"space in name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X Y: a\r\n\r\n", 0},
    {"empty name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H ": a\r\n\r\n", 0},
    {"no colon", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "Nonsense\r\n\r\n", 0},
    {"umlaut in name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X\303\244: a\r\n\r\n", 0},
    {"quote in name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "\"X\": a\r\n\r\n", 0},
    {"bracket in name", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H "X[0]: a\r\n\r\n", 0},
    /* Host */
    {"no Host", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nX: a\r\n\r\n", 0},
    {"no headers", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n\r\n", 0},
    {"two Hosts", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\n" H H "\r\n", 0},
    {"two Hosts in 1.0", SV_E_HTTP_MALFORMED, "GET / HTTP/1.0\r\n" H H "\r\n", 0},
    {"empty Host", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"Host with a space", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0},
    {"Host list", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0},
    {"Host with user", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 0},
    {"Host with bad port", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 0},
    {"Host with port 0", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", 0},
    {"Host with port 65536", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 0},
    {"Host with empty port", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 0},
    {"Host with open bracket", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 0},
    {"Host with junk in brackets", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1\r\nHost: [x]\r\n\r\n", 0},
    /* lengths and codings */
    {"CL and TE", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {"TE and CL", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 0},
    {"CL and unknown TE", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: x\r\nContent-Length: 3\r\n\r\n", 0},
    {"two different CL", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 0},
    {"two equal CL", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\ncontent-length: 3\r\n\r\n", 0},
    {"CL list", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n", 0},
    {"CL plus", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n", 0},
    {"CL minus", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\n", 0},
    {"CL hex", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\n", 0},
    {"CL empty", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: \r\n\r\n", 0},
    {"CL blank inside", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: 1 0\r\n\r\n",
     0},
    {"CL overflow", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n", 0},
    {"CL quoted", SV_E_HTTP_MALFORMED, "POST / HTTP/1.1\r\n" H "Content-Length: \"3\"\r\n\r\n", 0},
    {"TE unknown", SV_E_HTTP_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n",
     0},
    {"TE gzip", SV_E_HTTP_CODING,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 0},
    {"TE chunked twice", SV_E_HTTP_CODING,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", 0},
    {"TE identity", SV_E_HTTP_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n",
     0},
    {"TE empty", SV_E_HTTP_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 0},
    {"TE quoted", SV_E_HTTP_CODING,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n", 0},
    {"TE parameter", SV_E_HTTP_CODING,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;a\r\n\r\n", 0},
    {"TE in two lines", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {"TE in 1.0", SV_E_HTTP_MALFORMED, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n",
     0},
    /* expectations */
    {"Expect unknown", SV_E_HTTP_EXPECT, "POST / HTTP/1.1\r\n" H "Expect: coffee\r\n\r\n", 0},
    {"Expect twice", SV_E_HTTP_MALFORMED,
     "POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", 0},
    /* request line */
    {"no version", SV_E_HTTP_MALFORMED, "GET /\r\n" H "\r\n", 0},
    {"no target", SV_E_HTTP_MALFORMED, "GET HTTP/1.1\r\n" H "\r\n", 0},
    {"empty target", SV_E_HTTP_MALFORMED, "GET  HTTP/1.1\r\n" H "\r\n", 0},
    {"two spaces", SV_E_HTTP_MALFORMED, "GET  / HTTP/1.1\r\n" H "\r\n", 0},
    {"two spaces behind", SV_E_HTTP_MALFORMED, "GET /  HTTP/1.1\r\n" H "\r\n", 0},
    {"tab between", SV_E_HTTP_MALFORMED, "GET\t/ HTTP/1.1\r\n" H "\r\n", 0},
    {"trailing space", SV_E_HTTP_MALFORMED, "GET / HTTP/1.1 \r\n" H "\r\n", 0},
    {"leading space", SV_E_HTTP_MALFORMED, " GET / HTTP/1.1\r\n" H "\r\n", 0},
    {"lower-case version", SV_E_HTTP_MALFORMED, "GET / http/1.1\r\n" H "\r\n", 0},
    {"version without dot", SV_E_HTTP_MALFORMED, "GET / HTTP/11\r\n" H "\r\n", 0},
    {"version with two digits", SV_E_HTTP_MALFORMED, "GET / HTTP/1.10\r\n" H "\r\n", 0},
    {"version 1.2", SV_E_HTTP_VERSION, "GET / HTTP/1.2\r\n" H "\r\n", 0},
    {"version 0.9", SV_E_HTTP_VERSION, "GET / HTTP/0.9\r\n" H "\r\n", 0},
    {"HTTP/2 preface", SV_E_HTTP_VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
    {"method with colon", SV_E_HTTP_MALFORMED, "G:T / HTTP/1.1\r\n" H "\r\n", 0},
    {"method too long", SV_E_HTTP_MALFORMED,
     "GETGETGETGETGETGETGETGETGETGETGETX / HTTP/1.1\r\n" H "\r\n", 0},
    {"TLS hello", SV_E_HTTP_MALFORMED, WITH_NUL("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
    {"CONNECT", SV_E_HTTP_METHOD, "CONNECT a:80 HTTP/1.1\r\n" H "\r\n", 0},
    {"TRACE", SV_E_HTTP_METHOD, "TRACE / HTTP/1.1\r\n" H "\r\n", 0},
    /* targets */
    {"relative target", SV_E_HTTP_MALFORMED, "GET a HTTP/1.1\r\n" H "\r\n", 0},
    {"authority target", SV_E_HTTP_MALFORMED, "GET a:80 HTTP/1.1\r\n" H "\r\n", 0},
    {"star with GET", SV_E_HTTP_MALFORMED, "GET * HTTP/1.1\r\n" H "\r\n", 0},
    {"star and more", SV_E_HTTP_MALFORMED, "OPTIONS *x HTTP/1.1\r\n" H "\r\n", 0},
    {"fragment", SV_E_HTTP_MALFORMED, "GET /#a HTTP/1.1\r\n" H "\r\n", 0},
    {"backslash", SV_E_HTTP_MALFORMED, "GET /a\\b HTTP/1.1\r\n" H "\r\n", 0},
    {"quote in target", SV_E_HTTP_MALFORMED, "GET /\"a HTTP/1.1\r\n" H "\r\n", 0},
    {"umlaut in target", SV_E_HTTP_MALFORMED, "GET /\303\244 HTTP/1.1\r\n" H "\r\n", 0},
    {"percent at end", SV_E_HTTP_MALFORMED, "GET /a% HTTP/1.1\r\n" H "\r\n", 0},
    {"percent one digit", SV_E_HTTP_MALFORMED, "GET /a%4 HTTP/1.1\r\n" H "\r\n", 0},
    {"percent no hex", SV_E_HTTP_MALFORMED, "GET /a%4g HTTP/1.1\r\n" H "\r\n", 0},
    {"percent NUL", SV_E_HTTP_MALFORMED, "GET /a%00b HTTP/1.1\r\n" H "\r\n", 0},
    {"percent in query", SV_E_HTTP_MALFORMED, "GET /?a=%zz HTTP/1.1\r\n" H "\r\n", 0},
    {"absolute, other host", SV_E_HTTP_MALFORMED, "GET http://b/ HTTP/1.1\r\n" H "\r\n", 0},
    {"absolute, other port", SV_E_HTTP_MALFORMED, "GET http://a:81/ HTTP/1.1\r\n" H "\r\n", 0},
    {"absolute without path", SV_E_HTTP_MALFORMED, "GET http://a HTTP/1.1\r\n" H "\r\n", 0},
    {"absolute without host", SV_E_HTTP_MALFORMED, "GET http:///x HTTP/1.1\r\n" H "\r\n", 0},
    {"absolute in 1.0 without Host", SV_E_HTTP_MALFORMED, "GET http://a/ HTTP/1.0\r\n\r\n", 0},
    {"absolute ftp", SV_E_HTTP_MALFORMED, "GET ftp://a/ HTTP/1.1\r\n" H "\r\n", 0},
    {"scheme alone", SV_E_HTTP_MALFORMED, "GET http:// HTTP/1.1\r\n" H "\r\n", 0},
    {"https alone", SV_E_HTTP_MALFORMED, "GET https:// HTTP/1.1\r\n" H "\r\n", 0},
    {"https, other host", SV_E_HTTP_MALFORMED, "GET https://b/ HTTP/1.1\r\n" H "\r\n", 0},
    {"https without path", SV_E_HTTP_MALFORMED, "GET https://a HTTP/1.1\r\n" H "\r\n", 0},
    {"https cut short", SV_E_HTTP_MALFORMED, "GET https:/a/ HTTP/1.1\r\n" H "\r\n", 0},
    {"absolute, bad path", SV_E_HTTP_MALFORMED, "GET http://a/# HTTP/1.1\r\n" H "\r\n", 0},
};

static http_head *new_head(void)
{
    http_head *h = malloc(sizeof *h + MAX_FIELDS * sizeof(http_field));
    assert_non_null(h);
    http_head_reset(h, MAX_BYTES, MAX_LINE, MAX_FIELDS);
    return h;
}

/* Shows the bytes up to `cut`, then all of them; each time in a fresh copy, as a moving buffer
 * would. */
static int parse_cut(http_head *h, const char *text, size_t n, size_t cut, sv_error *err)
{
    int rc = HTTP_MORE;
    size_t shown[2] = {cut, n};
    for (int i = 0; i < 2 && rc == HTTP_MORE; i++) {
        char *copy = malloc(shown[i] + 1);
        memcpy(copy, text, shown[i]);
        rc = http_head_parse(h, copy, shown[i], err);
        free(copy);
    }
    return rc;
}

static int parse_bytewise(http_head *h, const char *text, size_t n, sv_error *err)
{
    int rc = HTTP_MORE;
    for (size_t i = 1; i <= n && rc == HTTP_MORE; i++)
        rc = http_head_parse(h, text, i, err);
    return rc;
}

static void every_malformed_request_is_refused(void **state)
{
    (void)state;
    assert_true(sizeof bad / sizeof *bad >= 60);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t n = bad[i].n ? bad[i].n : strlen(bad[i].text);
        for (size_t cut = 0; cut <= n; cut++) {
            sv_error err = {0};
            http_head *h = new_head();
            int rc = parse_cut(h, bad[i].text, n, cut, &err);
            if (rc != bad[i].code)
                fail_msg("%s, cut at %zu: %d instead of %d", bad[i].name, cut, rc, bad[i].code);
            assert_int_equal(err.code, rc);
            assert_true(err.message[0] != 0);
            free(h);
        }
        http_head *h = new_head();
        sv_error err = {0};
        assert_int_equal(parse_bytewise(h, bad[i].text, n, &err), bad[i].code);
        free(h);
    }
}

static void check_span(const char *text, http_span s, const char *want)
{
    sv_str got = {text + s.at, s.n};
    if (!sv_str_is(got, want)) fail_msg("\"%.*s\" instead of \"%s\"", SV_FMT(got), want);
}

static void a_good_request_is_read_at_every_cut(void **state)
{
    (void)state;
    static const char text[] = "POST /v1/chat/completions?a=%20b&c=/?@:! HTTP/1.1\r\n"
                               "hOST:  [::1]:7420 \t\r\n"
                               "Content-Length: 0012\r\n"
                               "Empty:\r\n"
                               "X-Any: \x80\xff caf\xc3\xa9\ttab\r\n"
                               "Expect: 100-Continue\r\n"
                               "Connection: foo , Close\r\n"
                               "\r\n";
    size_t n = sizeof text - 1;
    for (size_t cut = 0; cut <= n; cut++) {
        sv_error err = {0};
        http_head *h = new_head();
        assert_int_equal(parse_cut(h, text, n, cut, &err), 0);
        assert_int_equal(h->bytes, n);
        check_span(text, h->method, "POST");
        check_span(text, h->path, "/v1/chat/completions");
        check_span(text, h->query, "a=%20b&c=/?@:!");
        check_span(text, h->host, "[::1]:7420");
        assert_int_equal(h->minor, 1);
        assert_true(h->has_length && h->length == 12 && !h->chunked && h->expect && h->close);
        assert_int_equal(h->n_fields, 6);
        check_span(text, h->fields[0].name, "hOST");
        check_span(text, h->fields[2].value, "");
        check_span(text, h->fields[3].value, "\x80\xff caf\xc3\xa9\ttab");
        free(h);
    }
}

typedef struct good_case {
    const char *text;
    bool close, chunked, expect;
    const char *path;
} good_case;

static const good_case good[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, false, false, "/"},
    {"GET / HTTP/1.0\r\n\r\n", true, false, false, "/"},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false, false, false, "/"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", true, false, false, "/"},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false, false, false, "*"},
    {"GET http://LocalHost:7420/x?y HTTP/1.1\r\nHost: localhost:7420\r\n\r\n", false, false, false,
     "/x"},
    {"GET HTTPS://a/x HTTP/1.1\r\nHost: A\r\n\r\n", false, false, false, "/x"},
    {"HTTP://a / HTTP/1.1\r\nHost: a\r\n\r\n", false, false, false, NULL},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", false, true, false, "/"},
    {"POST / HTTP/1.0\r\nExpect: coffee\r\nContent-Length: 1\r\n\r\n", true, false, false, "/"},
    {"M-SEARCH /a%2Fb;c=~ HTTP/1.1\r\nHost: a.b-c_d:1\r\n\r\n", false, false, false, "/a%2Fb;c=~"},
    {"GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n", false, false, false, "/"},
    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", false, false, false,
     "/"},
};

static void other_good_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        sv_error err = {0};
        http_head *h = new_head();
        int rc = http_head_parse(h, good[i].text, strlen(good[i].text), &err);
        if (good[i].path == NULL) {
            assert_int_equal(rc, SV_E_HTTP_MALFORMED);
        } else {
            if (rc) fail_msg("%s: %d %s", good[i].text, rc, err.message);
            check_span(good[i].text, h->path, good[i].path);
            assert_int_equal(h->close, good[i].close);
            assert_int_equal(h->chunked, good[i].chunked);
            assert_int_equal(h->expect, good[i].expect);
        }
        free(h);
    }
}

/* A request with `n` bytes of path, `fields` headers and `pad` bytes in the last value. */
static char *make_request(size_t path, size_t fields, size_t pad)
{
    char *text = malloc(path + fields * 8 + pad + 128);
    size_t at = (size_t)sprintf(text, "GET /");
    memset(text + at, 'p', path - 1);
    at += path - 1;
    at += (size_t)sprintf(text + at, " HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 2; i < fields; i++)
        at += (size_t)sprintf(text + at, "X: y\r\n");
    at += (size_t)sprintf(text + at, "P: ");
    memset(text + at, 'v', pad);
    at += pad;
    sprintf(text + at, "\r\n\r\n");
    return text;
}

static int parse_made(size_t path, size_t fields, size_t pad, bool bytewise)
{
    char *text = make_request(path, fields, pad);
    http_head *h = new_head();
    sv_error err = {0};
    int rc = bytewise ? parse_bytewise(h, text, strlen(text), &err)
                      : http_head_parse(h, text, strlen(text), &err);
    free(h);
    free(text);
    return rc;
}

static void limits_hold_to_the_byte(void **state)
{
    (void)state;
    const size_t path_fits = MAX_LINE - strlen("GET  HTTP/1.1");
    char *probe = make_request(1, 2, 0);
    const size_t pad_fits = MAX_BYTES - strlen(probe);
    free(probe);
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        assert_int_equal(parse_made(path_fits, 2, 1, bytewise), 0);
        assert_int_equal(parse_made(path_fits + 1, 2, 1, bytewise), SV_E_HTTP_URI_TOO_LONG);
        assert_int_equal(parse_made(1, 2, pad_fits, bytewise), 0);
        assert_int_equal(parse_made(1, 2, pad_fits + 1, bytewise), SV_E_HTTP_HEAD_TOO_LARGE);
        assert_int_equal(parse_made(1, MAX_FIELDS, 1, bytewise), 0);
        assert_int_equal(parse_made(1, MAX_FIELDS + 1, 1, bytewise), SV_E_HTTP_HEAD_TOO_LARGE);
    }
}

static void words_and_lists(void **state)
{
    (void)state;
    assert_true(http_word_is(sv_cstr("ChUnKeD"), "chunked"));
    assert_false(http_word_is(sv_cstr("chunke"), "chunked"));
    assert_false(http_word_is(sv_cstr("chunkedx"), "chunked"));
    assert_true(http_list_has(sv_cstr("a,  b\t,c"), "B"));
    assert_false(http_list_has(sv_cstr("ab, c"), "b"));
    assert_false(http_list_has(sv_cstr(""), "b"));
    assert_true(http_is_authority(sv_cstr("[::ffff:1.2.3.4]:80")));
    assert_false(http_is_authority(sv_cstr("[]")));
    assert_false(http_is_authority(sv_cstr("[::1]80")));
    assert_true(http_is_authority(sv_cstr("a%41")));
    assert_false(http_is_authority(sv_cstr("a%4")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_malformed_request_is_refused),
        cmocka_unit_test(a_good_request_is_read_at_every_cut),
        cmocka_unit_test(other_good_requests),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(words_and_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
