/*  What the wires have in common, at every cut of a connection's bytes: requests stay what they are,
 *  trailers are dropped, repeated fields stay apart, nothing is upgraded, tunnelled or smuggled. */
#include "http2_harness.h"

/* What of a request's headers the service saw. */
static struct {
    char vias[64], trailer[16];
    uint32_t n_headers;
} seen;

static void s_head(void *arg, http_exchange *x)
{
    x->data = arg;
    x->on_over = h_over;
    memset(&seen, 0, sizeof seen);
    seen.n_headers = x->request->n_headers;
    for (uint32_t i = 0; i < x->request->n_headers; i++) {
        const http_header *f = &x->request->headers[i];
        char *to = sv_str_is(f->name, "via") ? seen.vias : NULL;
        if (sv_str_is(f->name, "x-late")) to = seen.trailer;
        if (to) snprintf(to + strlen(to), 16, "%.*s;", SV_FMT(f->value));
    }
}

static void open_world(harness *h, bool two)
{
    memset(h, 0, sizeof *h);
    h->limits = default_limits;
    h->limits.head_ms = 500;
    h->service = (http_service){.arg = h, .head = s_head, .request = h_request, .refuse = h_refuse};
    if (two)
        start(h);
    else
        h_open(h);
}

static void via_stays_apart(const char *vias)
{
    assert_string_equal(seen.vias, vias);
    assert_string_equal(seen.trailer, "");
}

/* S-H1: trailers are dropped, whatever they are called; Upgrade: h2c means nothing. */
static void http1_at_every_cut(void **state)
{
    (void)state;
    static const char bytes[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nvia: 1.1 one\r\nvia: 1.1 two\r\nUpgrade: h2c\r\n"
        "Connection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
        "2\r\nhi\r\n0\r\nx-late: smuggled\r\nvia: 1.1 three\r\nContent-Length: 5\r\n\r\n" GET(
            "/sync");
    harness h;
    open_world(&h, false);
    for (size_t cut = 1; cut < sizeof bytes - 1; cut++) {
        client *c = connected(&h);
        say_n(&h, c, bytes, cut);
        loop_turn(h.l, 0);
        loop_turn(h.l, 0);
        if (cut > 230) via_stays_apart("1.1 one;1.1 two;");
        say_n(&h, c, bytes + cut, sizeof bytes - 1 - cut);
        UNTIL(&h, heard(c, "\r\n\r\nhi") && heard(c, "sync"));
        assert_int_equal(count(c->got, "HTTP/1.1 200"), 2);
        assert_false(heard(c, "101 "));
        leave(c);
        UNTIL(&h, http_server_look(h.s).connections == 0);
    }
    assert_int_equal(h.refused, 0);
    h_close(&h);
}

/* Framing errors end the connection wherever they are cut, and what follows is no request. */
static void http1_refusals_at_every_cut(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *status;
    } cases[] = {
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n\r\n" GET("/sync"),
         "400"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody" GET(
             "/sync"),
         "400"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nbody" GET("/sync"),
         "501"},
        {"POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET(
             "/sync"),
         "400"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "2\nhi\r\n0\r\n\r\n" GET("/sync"),
         "400"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "10000000000000002\r\nhi\r\n0\r\n\r\n" GET("/sync"),
         "400"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 4\r\n\r\nbody" GET(
             "/sync"),
         "417"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" GET("/sync"), "400"},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n" GET("/sync"), "400"},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n" GET("/sync"), "400"},
        {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" GET("/sync"), "405"},
        {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n" GET("/sync"), "405"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n" GET("/sync"), "505"},
    };
    harness h;
    open_world(&h, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].bytes);
        for (size_t cut = 1; cut < n; cut += 3) {
            client *c = connected(&h);
            say_n(&h, c, cases[i].bytes, cut);
            loop_turn(h.l, 0);
            loop_turn(h.l, 0);
            say_n(&h, c, cases[i].bytes + cut, n - cut);
            UNTIL(&h, hear(c));
            if (strncmp(c->got + 9, cases[i].status, 3) != 0) fail_msg("%zu: %.60s", i, c->got);
            assert_int_equal(count(c->got, "\r\ndate: "), 1);
            assert_true(heard(c, "connection: close"));
            leave(c);
        }
    }
    assert_int_equal(h.requests, 0);
    h_close(&h);
}

static ssize_t with_trailers(nghttp2_session *s, int32_t id, uint8_t *to, size_t room,
                             uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    nghttp2_nv trailers[] = {nv("x-late", "smuggled"), nv("via", "1.1 three")};
    (void)source;
    (void)arg;
    assert_true(room >= 2);
    memcpy(to, "hi", 2);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    assert_int_equal(nghttp2_submit_trailer(s, id, trailers, 2), 0);
    return 2;
}

/* The client's bytes of one session: preface, a request with repeated fields, body and trailers. */
static size_t session_bytes(uint8_t *to, size_t room)
{
    h2_client k = {0};
    nghttp2_session_callbacks *cb;
    size_t n = 0;
    nghttp2_nv list[] = {nv(":method", "POST"), nv(":scheme", "http"), nv(":authority", "a"),
                         nv(":path", "/echo"),  nv("via", "1.1 one"),  nv("via", "1.1 two"),
                         nv("cookie", "a=b"),   nv("cookie", "c=d")};
    nghttp2_data_provider body = {.read_callback = with_trailers};
    nghttp2_session_callbacks_new(&cb);
    assert_int_equal(nghttp2_session_client_new(&k.s, cb, &k), 0);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(k.s, 0, NULL, 0);
    assert_true(nghttp2_submit_request(k.s, NULL, list, 8, &body, NULL) > 0);
    for (;;) {
        const uint8_t *p;
        ssize_t got = nghttp2_session_mem_send(k.s, &p);
        if (got <= 0) break;
        assert_true(n + (size_t)got <= room);
        memcpy(to + n, p, (size_t)got);
        n += (size_t)got;
    }
    nghttp2_session_del(k.s);
    return n;
}

static void http2_at_every_cut(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t n = session_bytes(bytes, sizeof bytes);
    harness h;
    open_world(&h, true);
    for (size_t cut = 0; cut <= n; cut++) {
        client *c = connected(&h);
        int before = h.requests;
        for (size_t at = 0; at < n;) {
            size_t piece = cut == 0 ? 1 : at == 0 ? cut : n - at; /* 0: byte by byte */
            say_n(&h, c, (char *)bytes + at, piece);
            at += piece;
            loop_turn(h.l, 0);
            loop_turn(h.l, 0);
        }
        UNTIL(&h, h.requests == before + 1);
        via_stays_apart("1.1 one;1.1 two;");
        assert_int_equal(seen.n_headers, 4); /* host, two of via, one cookie */
        UNTIL(&h, (hear(c), memmem(c->got, c->n, "hi", 2)));
        leave(c);
        UNTIL(&h, http_server_look(h.s).connections == 0);
    }
    assert_int_equal(h.refused, 0);
    h_close(&h);
}

static void http2_has_no_tunnels(void **state)
{
    (void)state;
    harness h;
    open_world(&h, true);
    h2_client *k = begin(&h);
    nghttp2_nv list[] = {nv(":method", "CONNECT"), nv(":authority", "a:80")};
    int32_t id = nghttp2_submit_request(k->s, NULL, list, 2, NULL, NULL);
    MEET(&h, k, of(k, id)->closed);
    assert_true(of(k, id)->status == 400 || of(k, id)->status == 405);
    nghttp2_nv more[] = {nv("upgrade", "websocket")};
    id = request(k, "GET", "/sync", more, 1, false);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(h.requests, 0);
    finish(k);
    h_close(&h);
}

/* S-H2: a head that drips has the time of a head, however its frames are cut. */
static void http2_heads_have_their_time(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t n = session_bytes(bytes, sizeof bytes);
    harness h;
    open_world(&h, true);
    const size_t cuts[] = {1, 20, 30, 60}; /* in the preface, in SETTINGS, in HEADERS */
    for (size_t i = 0; i < 4; i++) {
        assert_true(cuts[i] < n);
        client *c = connected(&h);
        uint64_t since_us = clock_us();
        say_n(&h, c, (char *)bytes, cuts[i]);
        UNTIL(&h, hear(c));
        assert_in_range(clock_us() - since_us, 300000, 8000000);
        leave(c);
    }
    assert_int_equal(h.requests, 0);
    h_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http1_at_every_cut),
        cmocka_unit_test(http1_refusals_at_every_cut),
        cmocka_unit_test(http2_at_every_cut),
        cmocka_unit_test(http2_has_no_tunnels),
        cmocka_unit_test(http2_heads_have_their_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
