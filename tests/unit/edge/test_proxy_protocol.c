/*  PROXY protocol headers, whole and cut at every byte. */
#include "error.h"
#include "proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SIG  "\r\n\r\n\0\r\nQUIT\n"
#define IPV4 "\xc0\x00\x02\x07\x0a\x00\x00\x01\x12\x34\x01\xbb"
#define IPV6                                                                                       \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"                                                   \
    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34\x01\xbb"
#define BYTES(s) s, sizeof s - 1

static int parse(const char *p, size_t n, proxy_header *h, sv_error *err)
{
    char *copy = malloc(n + 1);
    memcpy(copy, p, n);
    char *exact = realloc(copy, n ? n : 1);
    int rc = proxy_header_parse(exact, n, h, err);
    free(exact);
    return rc;
}

static void good(const char *p, size_t n, bool local, const char *from)
{
    proxy_header h = {0};
    sv_error err = {0};
    char text[46], more[4096];
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(parse(p, cut, &h, &err), 1);
    if (parse(p, n, &h, &err)) fail_msg("%s", err.message);
    memcpy(more, p, n);
    memcpy(more + n, "GET", 3);
    assert_int_equal(parse(more, n + 3, &h, &err), 0);
    assert_int_equal(h.bytes, n);
    assert_int_equal(h.local, local);
    http_address_text(&h.from, text);
    if (from) assert_string_equal(text, from);
    if (from) assert_int_equal(h.from.port, 0x1234);
}

static void good_headers(void **state)
{
    (void)state;
    good(BYTES(SIG "\x21\x11\x00\x0c" IPV4), false, "192.0.2.7");
    good(BYTES(SIG "\x21\x21\x00\x24" IPV6), false, "2001:db8::7");
    good(BYTES(SIG "\x21\x11\x00\x13" IPV4 "\x04\x00\x01x\x05\x00\x00"), false, "192.0.2.7");
    good(BYTES(SIG "\x20\x00\x00\x00"), true, NULL);
    good(BYTES(SIG "\x20\x11\x00\x0c" IPV4), true, NULL);
    good(BYTES(SIG "\x20\x31\x00\x05"
                   "what?"),
         true, NULL);
    good(BYTES(SIG "\x21\x00\x00\x00"), true, NULL);
    good(BYTES(SIG "\x21\x00\x00\x02zz"), true, NULL);
    char full[PROXY_HEADER_BYTES];
    memset(full, 0, sizeof full);
    memcpy(full, SIG "\x21\x11", 14);
    full[14] = (char)((PROXY_HEADER_BYTES - 16) >> 8);
    full[15] = (char)((PROXY_HEADER_BYTES - 16) & 0xff);
    memcpy(full + 16, IPV4, 12);
    full[28] = 4;
    full[29] = (char)((PROXY_HEADER_BYTES - 31) >> 8);
    full[30] = (char)((PROXY_HEADER_BYTES - 31) & 0xff);
    good(full, sizeof full, false, "192.0.2.7");
}

/* Refused, and never taken for good at an earlier cut. */
static void bad(const char *p, size_t n, const char *why)
{
    proxy_header h = {0};
    sv_error err = {0};
    for (size_t cut = 0; cut < n; cut++) {
        err = (sv_error){0};
        int rc = parse(p, cut, &h, &err);
        assert_true(rc == 1 || rc == SV_E_HTTP_MALFORMED);
    }
    err = (sv_error){0};
    assert_int_equal(parse(p, n, &h, &err), SV_E_HTTP_MALFORMED);
    if (strstr(err.message, why) == NULL) fail_msg("%s", err.message);
}

static void bad_headers(void **state)
{
    (void)state;
    bad(BYTES("GET / HTTP/1.1\r\n"), "signature");
    bad(BYTES("G"), "signature");
    bad(BYTES("PROXX"), "signature");
    bad(BYTES("\r\n\r\n\0\r\nQUIT "), "signature");
    bad(BYTES("\x16\x03\x01"), "signature");
    bad(BYTES("PROXY "), "version 1");
    bad(BYTES("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"), "version 1");
    bad(BYTES(SIG "\x11\x11\x00\x0c"), "version or command");
    bad(BYTES(SIG "\x31\x11\x00\x0c"), "version or command");
    bad(BYTES(SIG "\x22\x11\x00\x0c"), "version or command");
    bad(BYTES(SIG "\x21\x12\x00\x0c"), "not about TCP");
    bad(BYTES(SIG "\x21\x31\x00\xd8"), "not about TCP");
    bad(BYTES(SIG "\x21\x10\x00\x0c"), "not about TCP");
    bad(BYTES(SIG "\x21\x11\x07\xf1"), "too long");
    bad(BYTES(SIG "\x20\x00\xff\xff"), "too long");
    bad(BYTES(SIG "\x21\x11\x00\x0b\xc0\x00\x02\x07\x0a\x00\x00\x01\x12\x34\x01"), "too short");
    bad(BYTES(SIG "\x21\x21\x00\x0c" IPV4), "too short");
    bad(BYTES(SIG "\x21\x11\x00\x0d" IPV4 "\x04"), "do not fill");
    bad(BYTES(SIG "\x21\x11\x00\x0f" IPV4 "\x04\x00\x01"), "do not fill");
    bad(BYTES(SIG "\x21\x11\x00\x12" IPV4 "\x04\x00\x00\x04\xff\xff"), "do not fill");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers),
        cmocka_unit_test(bad_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
