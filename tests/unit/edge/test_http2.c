/*  HTTP/2 against a client session of nghttp2, over real sockets and a transport whose hello does
 *  nothing but choose HTTP/2: streams, windows both ways, refusals as in HTTP/1.1, leaving
 *  clients, floods, draining. */
#include "http2_harness.h"

/* ---- requests and answers ---- */

static void many_streams_on_one_connection(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    int32_t wait = get(k, "/wait"), last = 0;
    for (int i = 0; i < 50; i++)
        last = get(k, "/sync");
    MEET(&h, k, of(k, last)->closed);
    for (int32_t id = wait + 2; id <= last; id += 2) {
        MEET(&h, k, of(k, id)->closed);
        assert_int_equal(of(k, id)->status, 200);
        assert_string_equal(of(k, id)->body, "sync");
    }
    assert_false(of(k, wait)->closed);
    UNTIL(&h, h.done == 50);
    assert_int_equal(http_server_look(h.s).exchanges, 1);
    answer(h.open[0], 200, text("late"));
    MEET(&h, k, of(k, wait)->closed);
    assert_string_equal(of(k, wait)->body, "late");
    UNTIL(&h, h.done == 51);
    finish(k);
    h_close(&h);
}

static void uploads_come_back_whole(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    uint8_t *bytes = malloc(N);
    int32_t ids[8];
    for (size_t i = 0; i < N; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    for (int i = 0; i < 8; i++)
        ids[i] = post(k, "/echo", bytes, N - (size_t)i);
    size_t most = 0;
    for (int i = 0; i < 8; i++)
        UNTIL(&h, both(&h, k) && ({
                      http_conn *c = TAILQ_FIRST(&h.s->all);
                      if (c && c->h2 && c->h2->bodies > most) most = c->h2->bodies;
                      of(k, ids[i])->closed;
                  }));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(of(k, ids[i])->status, 200);
        assert_int_equal(of(k, ids[i])->bytes, N - i);
    }
    /* The oldest one's body and a window of each other. */
    assert_in_range(most, N / 2, HTTP2_BODIES_BYTES + N + 8 * HTTP2_WINDOW_BYTES);
    free(bytes);
    finish(k);
    h_close(&h);
}

static void heads_are_refused_as_in_http1(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *name, *value;
        int status;
    } cases[] = {
        {"GET", "/sync", "x", "y", 200},
        {"GET", "/sync", "host", "a", 200},
        {"GET", "/sync", "host", "b", 400},
        {"GET", "/sync", "host", "a b", 400},
        {"GET", "/a%zz", "x", "y", 400},
        {"GET", "/a b", "x", "y", 400},
        {"GET", "*", "x", "y", 400},
        {"TRACE", "/sync", "x", "y", 405},
        {"POST", "/sync", "content-length", "+1", 400},
        {"POST", "/small", "content-length", "11", 413},
        {"POST", "/sync", "expect", "tea", 417},
        {"POST", "/sync", "transfer-encoding", "gzip", 400},
    };
    harness h = {0};
    start(&h);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        h2_client *k = begin(&h);
        nghttp2_nv more = nv(cases[i].name, cases[i].value);
        int32_t id = request(k, cases[i].method, cases[i].path, &more, 1, false);
        MEET(&h, k, of(k, id)->closed);
        /* What nghttp2 itself finds malformed is reset: RFC 9113 8.1.1. */
        if (of(k, id)->status == 0)
            assert_int_equal(of(k, id)->code, NGHTTP2_PROTOCOL_ERROR);
        else if (of(k, id)->status != cases[i].status)
            fail_msg("case %zu: %d, not %d", i, of(k, id)->status, cases[i].status);
        if (cases[i].status == 200) assert_int_equal(of(k, id)->status, 200);
        int32_t next = get(k, "/sync");
        MEET(&h, k, of(k, next)->closed);
        assert_int_equal(of(k, next)->status, 200); /* the connection lives on */
        finish(k);
    }
    h_close(&h);
}

static void limits_of_a_head(void **state)
{
    (void)state;
    static char path[2000], value[7000], names[64][16];
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    int32_t id = get(k, path);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 414);

    memset(value, 'v', sizeof value - 1);
    nghttp2_nv big[6];
    for (int i = 0; i < 6; i++)
        big[i] = nv("x-big", value);
    id = request(k, "GET", "/sync", big, 1, false);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 200);
    id = request(k, "GET", "/sync", big, 2, false);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 431);

    nghttp2_nv many[64];
    for (int i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "x-%d", i);
        many[i] = nv(names[i], "");
    }
    id = request(k, "GET", "/sync", many, 31, false); /* and Host */
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 200);
    id = request(k, "GET", "/sync", many, 32, false);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 431);

    id = request(k, "GET", "/sync", big, 6, false); /* far beyond */
    MEET(&h, k, k->ended);
    assert_true(k->goaway);
    assert_int_equal(k->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    finish(k);
    h_close(&h);
}

static void cookies_are_one_field(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    nghttp2_nv more[40];
    for (int i = 0; i < 40; i++)
        more[i] = nv("cookie", "a=b"); /* more pieces than header lines are allowed */
    int32_t id = request(k, "GET", "/sync", more, 40, false);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 200);
    finish(k);
    h_close(&h);
}

static void head_and_continue_and_refusal(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    int32_t id = request(k, "HEAD", "/sync", NULL, 0, false);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 200);
    assert_int_equal(of(k, id)->bytes, 0);

    nghttp2_nv expect = nv("expect", "100-continue");
    id = request(k, "POST", "/echo", &expect, 1, true);
    MEET(&h, k, of(k, id)->continued);
    assert_int_equal(h.requests, 1);
    of(k, id)->upload = (const uint8_t *)"tea";
    of(k, id)->upload_n = 3;
    of(k, id)->end = true;
    nghttp2_session_resume_data(k->s, id);
    MEET(&h, k, of(k, id)->closed);
    assert_string_equal(of(k, id)->body, "tea");

    id = request(k, "POST", "/refuse", NULL, 0, true); /* the body never comes */
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 404);
    assert_int_equal(of(k, id)->code, NGHTTP2_NO_ERROR);
    id = post(k, "/small", NULL, 4000); /* no length is told: counted */
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 413);
    UNTIL(&h, h.done == 4);
    finish(k);
    h_close(&h);
}

/* ---- windows ---- */

static void a_slow_reader_holds_back_its_own_stream(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    k->shut_windows = true;
    int32_t flood_id = get(k, "/flood");
    MEET(&h, k, of(k, flood_id)->bytes == 65535);
    for (int i = 0; i < 20; i++)
        loop_turn(h.l, 1);
    assert_true(h.flooded < 65536 + 2 * h.limits.output_bytes);
    assert_true(h.most_pending <= h.limits.output_bytes + 4096);
    nghttp2_submit_window_update(k->s, 0, 0, 100); /* the connection's; the stream's stays shut */
    int32_t id = get(k, "/sync");
    MEET(&h, k, of(k, id)->closed);
    assert_string_equal(of(k, id)->body, "sync");
    k->shut_windows = false;
    nghttp2_session_consume(k->s, flood_id, 65535);
    MEET(&h, k, of(k, flood_id)->closed);
    assert_int_equal(of(k, flood_id)->bytes, FLOOD_BYTES);
    assert_true(h.most_pending <= h.limits.output_bytes + 4096);
    finish(k);
    h_close(&h);
}

static void a_stalled_stream_is_reset_alone(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.stall_ms = 200;
    start(&h);
    h2_client *k = begin(&h);
    k->shut_windows = true;
    int32_t wait = get(k, "/wait"), id = get(k, "/flood");
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->code, NGHTTP2_CANCEL);
    UNTIL(&h, h.gone == 1);
    assert_false(of(k, wait)->closed);
    answer(h.open[0], 204, text(""));
    MEET(&h, k, of(k, wait)->closed);
    assert_int_equal(of(k, wait)->status, 204);
    finish(k);
    h_close(&h);
}

static void a_body_that_drips_is_refused(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.body_grace_ms = 200;
    start(&h);
    h2_client *k = begin(&h);
    int32_t id = request(k, "POST", "/echo", NULL, 0, true);
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 408);
    assert_int_equal(h.last_refusal, SV_E_HTTP_TIMEOUT);
    finish(k);
    h_close(&h);
}

/* ---- leaving ---- */

static void a_reset_is_a_client_that_left(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    int32_t a = get(k, "/wait"), b = get(k, "/stream");
    MEET(&h, k, h.n_open == 2);
    nghttp2_submit_rst_stream(k->s, 0, a, NGHTTP2_CANCEL);
    MEET(&h, k, h.gone == 1);
    assert_int_equal(h.n_open, 1);
    http_write(h.open[0], text("event"));
    MEET(&h, k, of(k, b)->bytes == 5);
    http_abort(h.open[0]);
    MEET(&h, k, of(k, b)->closed);
    assert_int_equal(of(k, b)->code, NGHTTP2_INTERNAL_ERROR);
    UNTIL(&h, h.aborted == 1);
    get(k, "/wait");
    get(k, "/stream");
    MEET(&h, k, h.n_open == 2);
    finish(k); /* the whole connection */
    UNTIL(&h, h.gone == 3);
    UNTIL(&h, http_server_look(h.s).connections == 0);
    assert_int_equal(http_server_look(h.s).exchanges, 0);
    h_close(&h);
}

static void a_told_length_is_reached_or_the_stream_is_reset(void **state)
{
    (void)state;
    harness h = {0};
    const http_response ten = {.status = 200, .has_length = true, .length = 10};
    start(&h);
    h2_client *k = begin(&h);
    int32_t whole = get(k, "/wait");
    MEET(&h, k, h.n_open == 1);
    http_start(h.open[0], &ten);
    http_write(h.open[0], text("0123456789"));
    http_end(h.open[0]);
    MEET(&h, k, of(k, whole)->closed);
    assert_int_equal(of(k, whole)->code, 0);
    assert_int_equal(of(k, whole)->bytes, 10);
    int32_t cut = get(k, "/wait");
    MEET(&h, k, h.n_open == 1);
    http_start(h.open[0], &ten);
    http_write(h.open[0], text("01234"));
    http_end(h.open[0]);
    MEET(&h, k, of(k, cut)->closed);
    assert_int_equal(of(k, cut)->code, NGHTTP2_INTERNAL_ERROR);
    finish(k);
    h_close(&h);
}

static void the_server_goes_with_streams_open(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    get(k, "/wait");
    get(k, "/stream");
    post(k, "/echo", NULL, 100000);
    MEET(&h, k, h.n_open == 2);
    h_close(&h);
    assert_true(h.gone >= 2);
    finish(k);
}

static void emptied(void *arg)
{
    ((harness *)arg)->empty = true;
}

static void draining_finishes_what_is_open(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h), *idle = begin(&h);
    int32_t id = get(k, "/wait");
    MEET(&h, k, h.n_open == 1);
    int32_t first = get(idle, "/sync");
    MEET(&h, idle, of(idle, first)->closed);
    http_server_drain(h.s, emptied, &h);
    MEET(&h, k, k->goaway && k->last_id == id);
    MEET(&h, idle, idle->ended);
    assert_true(idle->goaway);
    assert_int_equal(idle->goaway_code, NGHTTP2_NO_ERROR);
    assert_false(h.empty);
    answer(h.open[0], 200, text("done"));
    MEET(&h, k, of(k, id)->closed);
    assert_string_equal(of(k, id)->body, "done");
    finish(k);
    finish(idle);
    UNTIL(&h, h.empty);
    h_close(&h);
}

static void draining_does_not_wait_for_the_client(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    h2_client *k = begin(&h);
    int32_t id = get(k, "/sync");
    MEET(&h, k, of(k, id)->closed);
    http_server_drain(h.s, emptied, &h); /* the client answers no PING from here on */
    UNTIL(&h, hear(k->c));
    finish(k);
    UNTIL(&h, h.empty);
    h_close(&h);
}

static void idle_connections_end(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.idle_ms = 200;
    start(&h);
    h2_client *k = begin(&h);
    int32_t wait = get(k, "/wait"), id = get(k, "/sync");
    MEET(&h, k, of(k, id)->closed && h.n_open == 1);
    uint64_t since_us = clock_us();
    MEET(&h, k, clock_us() - since_us > 400000);
    assert_false(k->goaway); /* a stream is open */
    answer(h.open[0], 200, text("x"));
    MEET(&h, k, k->ended);
    assert_true(of(k, wait)->closed && k->goaway);
    assert_int_equal(k->goaway_code, NGHTTP2_NO_ERROR);
    finish(k);
    h_close(&h);
}

static void beyond_the_limit_of_exchanges(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.connections = 3;
    start(&h);
    h2_client *k = begin(&h);
    for (int i = 0; i < 3; i++)
        get(k, "/wait");
    MEET(&h, k, h.n_open == 3);
    int32_t id = get(k, "/sync"), vital = get(k, "/health");
    MEET(&h, k, of(k, id)->closed && of(k, vital)->closed);
    assert_int_equal(of(k, id)->status, 503);
    assert_int_equal(of(k, vital)->status, 200);
    answer(h.open[0], 200, text(""));
    UNTIL(&h, both(&h, k) && h.n_open == 2 && http_server_look(h.s).exchanges == 2);
    id = get(k, "/sync");
    MEET(&h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 200);
    finish(k);
    h_close(&h);
}

static void streams_at_once_are_limited(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.streams = 5;
    start(&h);
    h2_client *k = begin(&h);
    int32_t last = 0;
    for (int i = 0; i < 9; i++) /* the server's SETTINGS are not read yet */
        last = get(k, "/wait");
    MEET(&h, k, h.n_open == 5);
    for (int i = 0; i < 10; i++) {
        both(&h, k);
        loop_turn(h.l, 1);
    }
    assert_int_equal(h.n_open, 5);
    nghttp2_submit_rst_stream(k->s, 0, last, NGHTTP2_CANCEL);
    while (h.n_open) {
        int n = h.n_open;
        answer(h.open[0], 200, text(""));
        MEET(&h, k, h.n_open != n || h.done >= 5);
        if (h.done >= 5) break;
    }
    finish(k);
    h_close(&h);
}

/* ---- floods and garbage ---- */

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

/* Sends `frame` again and again; true when the server ends the connection. */
static bool is_ended_by(const char *head, size_t head_n, const char *frame, size_t n, int times)
{
    harness h = {0};
    start(&h);
    client *c = connected(&h);
    bool alive = say_n(&h, c, preface, sizeof preface - 1) && say_n(&h, c, head, head_n);
    for (int i = 0; alive && i < times; i++) {
        alive = say_n(&h, c, frame, n);
        if (i % 50 == 0) loop_turn(h.l, 0);
        c->n = 0;
        if (hear(c)) alive = false;
    }
    for (int i = 0; i < 50 && alive; i++) {
        loop_turn(h.l, 1);
        c->n = 0;
        alive = !hear(c);
    }
    leave(c);
    UNTIL(&h, http_server_look(h.s).connections == 0);
    assert_int_equal(http_server_look(h.s).exchanges, 0);
    h_close(&h);
    return !alive;
}

#define BYTES(s) s, sizeof(s) - 1

static void floods_are_ended(void **state)
{
    (void)state;
    /* GET /wait, HTTP 'http', authority a, on stream 1: HPACK without Huffman. */
    static const char wait_1[] = "\0\0\x0c\1\5\0\0\0\1\x82\x86\x04\5/wait\x41\1"
                                 "a";
    static const char upload_1[] = "\0\0\x0c\1\4\0\0\0\1\x83\x86\x04\5/echo\x41\1"
                                   "a";
    assert_true(is_ended_by(BYTES(""), BYTES("\0\0\10\6\0\0\0\0\0pingping"), 5000));
    assert_true(is_ended_by(BYTES(""), BYTES("\0\0\0\4\0\0\0\0\0"), 5000));
    assert_true(is_ended_by(BYTES(wait_1), BYTES("\0\0\5\2\0\0\0\0\1\0\0\0\0\1"), 5000));
    assert_true(is_ended_by(BYTES(wait_1), BYTES("\0\0\4\10\0\0\0\0\0\0\0\0\1"), 5000));
    assert_true(is_ended_by(BYTES(upload_1), BYTES("\0\0\0\0\0\0\0\0\1"), 5000));
    /* HEADERS without an end, then CONTINUATION for ever */
    assert_true(is_ended_by(BYTES("\0\0\1\1\0\0\0\0\1\x82"), BYTES("\0\0\0\x09\0\0\0\0\1"), 5000));
    assert_false(is_ended_by(BYTES(""), BYTES("\0\0\10\6\0\0\0\0\0pingping"), 100));
    assert_false(is_ended_by(BYTES(wait_1), BYTES(""), 1));
}

static void rapid_reset_is_ended(void **state)
{
    (void)state;
    harness h = {0};
    start(&h);
    client *c = connected(&h);
    char get_wait[] = "\0\0\x0c\1\5\0\0\0\0\x82\x86\x04\5/wait\x41\1"
                      "a";
    char rst[] = "\0\0\4\3\0\0\0\0\0\0\0\0\x08";
    say_n(&h, c, preface, sizeof preface - 1);
    int sent = 0;
    for (uint32_t id = 1; sent < 20000; id += 2, sent++) {
        get_wait[6] = rst[6] = (char)(id >> 16);
        get_wait[7] = rst[7] = (char)(id >> 8);
        get_wait[8] = rst[8] = (char)id;
        if (!say_n(&h, c, get_wait, sizeof get_wait - 1) || !say_n(&h, c, rst, sizeof rst - 1))
            break;
        if (sent % 20 == 0) loop_turn(h.l, 0);
        c->n = 0;
        if (hear(c)) break;
    }
    assert_true(sent < 20000);
    assert_in_range(h.requests, 50, HTTP2_ALLOWANCE);
    leave(c);
    UNTIL(&h, http_server_look(h.s).connections == 0);
    assert_int_equal(http_server_look(h.s).exchanges, 0);
    h_close(&h);
}

static void garbage_ends_the_connection(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.head_ms = 300;
    start(&h);
    static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
                                      "P"};
    for (size_t i = 0; i < 3; i++) {
        client *c = connected(&h);
        say(&h, c, bad[i]);
        UNTIL(&h, hear(c)); /* the last one by the time limit */
        leave(c);
    }
    client *c = connected(&h); /* half a head */
    say_n(&h, c, preface, sizeof preface - 1);
    say_n(&h, c, BYTES("\0\0\1\1\0\0\0\0\1\x82"));
    UNTIL(&h, hear(c));
    leave(c);
    assert_int_equal(h.requests + h.refused, 0);
    h_close(&h);
}

static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* Valid sessions with bytes changed, dropped and cut: nothing crashes, nothing is left. */
static void damaged_sessions(void **state)
{
    (void)state;
    static const char good[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                               "\0\0\x0c\1\5\0\0\0\1\x82\x86\x04\5/wait\x41\1a"
                               "\0\0\x0c\1\4\0\0\0\3\x83\x86\x04\5/echo\x41\1a"
                               "\0\0\5\0\0\0\0\0\3hello\0\0\0\0\1\0\0\0\3"
                               "\0\0\x0e\1\5\0\0\0\5\x82\x86\x04\7/stream\x41\1a"
                               "\0\0\4\10\0\0\0\0\0\0\0\1\0\0\0\4\3\0\0\0\0\1\0\0\0\x08"
                               "\0\0\x0c\1\5\0\0\0\7\x82\x86\x04\5/sync\x41\1a";
    harness h = {0};
    start(&h);
    for (int round = 0; round < 600; round++) {
        char bytes[sizeof good];
        size_t n = sizeof good - 1, at = 0;
        memcpy(bytes, good, n);
        for (uint32_t i = draw(4); i > 0; i--)
            bytes[24 + draw((uint32_t)n - 24)] = (char)draw(256);
        if (draw(3) == 0) n = draw((uint32_t)n);
        client *c = connected(&h);
        int on = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        while (at < n) {
            size_t piece = 1 + draw(60);
            if (piece > n - at) piece = n - at;
            if (!say_n(&h, c, bytes + at, piece)) break;
            at += piece;
            loop_turn(h.l, 0);
        }
        loop_turn(h.l, 0);
        while (h.n_open && draw(2)) {
            http_exchange *x = h.open[0];
            if (x->ended)
                break;
            else if (x->started)
                http_end(x);
            else
                answer(x, 200, text("x"));
            loop_turn(h.l, 0);
            loop_turn(h.l, 0);
        }
        leave(c);
        UNTIL(&h, http_server_look(h.s).connections == 0);
        assert_int_equal(http_server_look(h.s).exchanges, 0);
        assert_int_equal(h.n_open, 0);
    }
    assert_true(h.requests > 300);
    h_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_streams_on_one_connection),
        cmocka_unit_test(uploads_come_back_whole),
        cmocka_unit_test(heads_are_refused_as_in_http1),
        cmocka_unit_test(limits_of_a_head),
        cmocka_unit_test(cookies_are_one_field),
        cmocka_unit_test(head_and_continue_and_refusal),
        cmocka_unit_test(a_slow_reader_holds_back_its_own_stream),
        cmocka_unit_test(a_stalled_stream_is_reset_alone),
        cmocka_unit_test(a_body_that_drips_is_refused),
        cmocka_unit_test(a_reset_is_a_client_that_left),
        cmocka_unit_test(a_told_length_is_reached_or_the_stream_is_reset),
        cmocka_unit_test(the_server_goes_with_streams_open),
        cmocka_unit_test(draining_finishes_what_is_open),
        cmocka_unit_test(draining_does_not_wait_for_the_client),
        cmocka_unit_test(idle_connections_end),
        cmocka_unit_test(beyond_the_limit_of_exchanges),
        cmocka_unit_test(streams_at_once_are_limited),
        cmocka_unit_test(floods_are_ended),
        cmocka_unit_test(rapid_reset_is_ended),
        cmocka_unit_test(garbage_ends_the_connection),
        cmocka_unit_test(damaged_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
