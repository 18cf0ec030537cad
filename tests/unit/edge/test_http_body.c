/*  Streamed, paused and kept requests, over HTTP/1.1 and HTTP/2: the same bytes in the same order
 *  however they are cut, bounded memory, deadlines without pauses, answers in the middle, requests
 *  that outlive their call. */
#include "http2_harness.h"

enum { BIG = 3 << 20 };

/* What one exchange was told; tests look at the newest. */
typedef struct told {
    http_exchange *x;
    size_t bytes;
    uint32_t sum, runs;
    bool complete, over;
    http_over how;
    int refused;
} told;

static struct {
    harness h;
    told t;
    size_t max;             /* body_max; 0: as it is */
    size_t room, room_most; /* body_room; 0: as it is; what `more` grants at most */
    uint32_t asked;
    bool stream, pause_in_head, keep_in_head, keep, unkeep, silent;
    uint32_t heads;
    uint32_t pause_at; /* run */
    uint32_t answer_at;
    const char *first_body; /* where request->body was when it was kept */
} w;

static uint32_t sum_of(uint32_t sum, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + (uint8_t)p[i];
    return sum;
}

static void w_over(http_exchange *x, http_over how)
{
    assert_ptr_equal(x, w.t.x);
    w.t.over = true;
    w.t.how = how;
    w.h.done += how == HTTP_OVER_DONE;
    w.h.gone += how == HTTP_OVER_GONE;
}

static void w_head(void *arg, http_exchange *x)
{
    (void)arg;
    w.t = (told){.x = x};
    w.heads++;
    x->on_over = w_over;
    assert_false(x->paused);
    assert_null(x->kept);
    if (w.max) x->body_max = w.max;
    if (w.room) x->body_room = w.room;
    if (w.stream) http_stream_body(x);
    if (w.pause_in_head) http_pause(x);
    if (w.keep_in_head) {
        assert_int_equal(http_keep(x), 0);
        assert_int_equal(x->request->body.n, 0);
    }
}

static void w_body(void *arg, http_exchange *x, sv_str bytes)
{
    (void)arg;
    assert_ptr_equal(x, w.t.x);
    assert_true(bytes.n > 0 && !x->paused && !w.t.complete && !w.t.over);
    assert_true((x->request != NULL) == (x->kept != NULL));
    w.t.bytes += bytes.n;
    w.t.sum = sum_of(w.t.sum, bytes.p, bytes.n);
    w.t.runs++;
    if (w.pause_at && w.t.runs >= w.pause_at) http_pause(x);
    if (w.t.runs == w.answer_at) answer(x, 403, text("enough"));
    w.t.sum = sum_of(w.t.sum, bytes.p, 0);
}

static int w_more(void *arg, http_exchange *x, size_t n, sv_error *err)
{
    (void)arg;
    assert_ptr_equal(x, w.t.x);
    assert_true(n > x->body_room && n <= x->body_max);
    w.asked++;
    if (n > w.room_most) return sv_fail(err, SV_E_OVERLOADED, NULL, NULL);
    x->body_room = n;
    return 0;
}

static void w_answer(void)
{
    char line[64];
    snprintf(line, sizeof line, "%zu bytes %u", w.t.bytes, w.t.sum);
    answer(w.t.x, 200, text(line));
}

static void w_request(void *arg, http_exchange *x)
{
    (void)arg;
    assert_ptr_equal(x, w.t.x);
    assert_false(x->paused);
    w.t.complete = true;
    w.h.requests++;
    if (w.stream) assert_int_equal(x->request->body.n, 0);
    if (!w.stream) {
        w.t.bytes = x->request->body.n;
        w.t.sum = sum_of(0, x->request->body.p, x->request->body.n);
    }
    w.first_body = x->request->body.p;
    if (w.keep) assert_int_equal(http_keep(x), 0);
    if (w.unkeep) http_unkeep(x);
    if (!w.silent) w_answer();
}

static void w_refuse(void *arg, http_exchange *x, int code, const sv_error *err)
{
    (void)arg;
    assert_false(w.t.complete);
    w.t.x = x;
    w.t.refused = code;
    w.h.refused++;
    x->on_over = w_over;
    answer(x, sv_error_lookup(code)->http, text(err->message));
}

static void open_world(bool two)
{
    w.h.service = (http_service){.arg = &w,
                                 .head = w_head,
                                 .body = w_body,
                                 .more = w_more,
                                 .request = w_request,
                                 .refuse = w_refuse};
    if (two)
        start(&w.h);
    else
        h_open(&w.h);
}

static void close_world(void)
{
    h_close(&w.h);
    memset(&w, 0, sizeof w);
}

static int new_world(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    return 0;
}

static char *bytes_of(size_t n)
{
    char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('0' + (i * 7 + i / 253) % 75);
    return p;
}

static void turns(int n)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(loop_turn(w.h.l, 1), 0);
}

/* Pushes as much as the socket takes. */
static size_t push_some(client *c, const char *p, size_t n)
{
    ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);
    return done < 0 ? 0 : (size_t)done;
}

static http_conn *only_conn(void)
{
    return TAILQ_FIRST(&w.h.s->all);
}

#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"

/* ---- HTTP/1.1 ---- */

static void streamed_at_every_cut(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED
        "5;x\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nA: b\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    w.stream = true;
    open_world(false);
    for (size_t r = 0; r < 5; r++) {
        char whole[512], want[64];
        size_t n = r < 2 ? 11 : 0;
        snprintf(whole, sizeof whole, "%s%s", requests[r], GET("/next"));
        snprintf(want, sizeof want, "%zu bytes %u", n, sum_of(0, "hello world", n));
        for (size_t step = 1; step <= strlen(whole); step += step < 20 ? 1 : 23) {
            client *c = connected(&w.h);
            int before = w.h.requests;
            for (size_t at = 0; at < strlen(whole); at += step) {
                size_t left = strlen(whole) - at;
                say_n(&w.h, c, whole + at, left < step ? left : step);
                loop_turn(w.h.l, 0);
            }
            UNTIL(&w.h, heard(c, want) && w.h.requests == before + 2);
            UNTIL(&w.h, count(c->got, "HTTP/1.1 200") == (hear(c), 2));
            leave(c);
        }
    }
    close_world();
}

/* Paused at each run and resumed from outside, again and again; the pipelined request stays in its
 * place. */
static void paused_at_every_run(void **state)
{
    (void)state;
    static const char request[] = "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED
                                  "2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n" GET("/b");
    for (uint32_t first = 1; first <= 3; first++) {
        w.stream = true;
        w.pause_at = first;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c, request);
        for (uint32_t run = first; run <= 3; run++) {
            UNTIL(&w.h, w.t.runs == run && w.t.x->paused);
            turns(5);
            assert_int_equal(w.t.runs, run);
            assert_false(w.t.complete);
            assert_true(only_conn()->in_cap <= HTTP_TURN_BYTES);
            http_resume(w.t.x);
            assert_int_equal(w.t.runs, run); /* later, not now */
        }
        UNTIL(&w.h, heard(c, "5 bytes ") && heard(c, "0 bytes 0"));
        assert_int_equal(w.h.requests, 2);
        leave(c);
        close_world();
    }
}

static void a_paused_upload_is_not_read(void **state)
{
    (void)state;
    w.stream = true;
    w.pause_at = 1;
    w.max = BIG;
    open_world(false);
    client *c = connected(&w.h);
    char *bytes = bytes_of(BIG), want[64], head[128];
    snprintf(head, sizeof head, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BIG);
    say(&w.h, c, head);
    size_t at = 0;
    int stuck = 0;
    while (at < BIG && stuck < 50) { /* until the system's buffers are full */
        size_t n = push_some(c, bytes + at, BIG - at);
        at += n;
        stuck = n ? 0 : stuck + 1;
        turns(1);
    }
    UNTIL(&w.h, w.t.runs > 0);
    turns(5);
    assert_true(w.t.runs == 1 && w.t.bytes <= HTTP_TURN_BYTES);
    assert_true(only_conn()->in_cap <= HTTP_TURN_BYTES);
    w.pause_at = 0;
    http_resume(w.t.x);
    uint64_t since_us = clock_us();
    while (at < BIG) {
        at += push_some(c, bytes + at, BIG - at);
        wait_or_fail(&w.h, since_us, "the upload");
        assert_true(only_conn()->in_cap <= HTTP_TURN_BYTES);
    }
    snprintf(want, sizeof want, "%d bytes %u", BIG, sum_of(0, bytes, BIG));
    UNTIL(&w.h, heard(c, want));
    free(bytes);
    leave(c);
    close_world();
}

/* What is limited, and what is not, is the whole body. */
static void limits_of_streamed_bodies(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "a\r\n0123456789\r\n1\r\nx\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "b\r\n0123456789x",
        "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "5\r\n01234\r\n6\r\n567890\r\n",
    };
    w.stream = true;
    w.max = 10;
    open_world(false);
    for (size_t i = 0; i < 4; i++) {
        client *c = connected(&w.h);
        say(&w.h, c, bad[i]);
        say(&w.h, c, GET("/smuggled"));
        UNTIL(&w.h, hear(c));
        assert_true(heard(c, "HTTP/1.1 413 ") && heard(c, "connection: close"));
        assert_int_equal(count(c->got, "HTTP/1.1"), 1);
        assert_true(w.t.bytes <= 10);
        leave(c);
    }
    assert_int_equal(w.h.refused, 4);
    client *c = connected(&w.h);
    say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "a\r\n0123456789\r\nx");
    UNTIL(&w.h, hear(c));
    assert_true(heard(c, "HTTP/1.1 400 "));
    assert_int_equal(w.t.bytes, 10);
    leave(c);
    assert_int_equal(w.h.requests, 0);
    close_world();
}

/* A body that outgrows its room is asked about, and refused where it comes to that. */
static void room_is_asked_for(void **state)
{
    (void)state;
    for (size_t most = 10; most <= 30; most += 20) {
        w.room = 10;
        w.room_most = most;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "a\r\n0123456789\r\n");
        UNTIL(&w.h, w.t.x);
        assert_int_equal(w.asked, 0);
        say(&w.h, c, "1\r\nx\r\n0\r\n\r\n");
        UNTIL(&w.h, hear(c));
        assert_true(heard(c, most == 10 ? "HTTP/1.1 503 " : "HTTP/1.1 200 "));
        assert_int_equal(w.t.refused, most == 10 ? SV_E_OVERLOADED : 0);
        assert_int_equal(w.asked, 1);
        leave(c);
        close_world();
    }
}

static void expectations_wait_for_the_service(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        w.stream = streamed;
        w.pause_in_head = true;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c,
            "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        UNTIL(&w.h, w.t.x);
        turns(5);
        assert_false(heard(c, "100 Continue"));
        http_resume(w.t.x);
        UNTIL(&w.h, heard(c, "HTTP/1.1 100 Continue\r\n\r\n"));
        say(&w.h, c, "body");
        UNTIL(&w.h, heard(c, "4 bytes"));
        /* Refused while it waits: no 100, and the rest is no request. */
        w.t.x = NULL;
        say(&w.h, c,
            "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        UNTIL(&w.h, w.t.x);
        answer(w.t.x, 429, text("slow down"));
        say(&w.h, c, GET("/smuggled"));
        UNTIL(&w.h, hear(c));
        assert_int_equal(count(c->got, "100 Continue"), 1);
        assert_true(heard(c, "HTTP/1.1 429 ") && heard(c, "connection: close"));
        assert_int_equal(w.h.requests, 1);
        leave(c);
        close_world();
    }
}

/* Without a body, `request` waits too, and a refusal keeps the connection. */
static void a_paused_request_without_a_body(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        w.stream = streamed;
        w.pause_in_head = true;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c, GET("/a") GET("/b") GET("/c"));
        UNTIL(&w.h, w.t.x);
        turns(5);
        assert_int_equal(w.h.requests, 0);
        http_resume(w.t.x);
        UNTIL(&w.h, heard(c, "0 bytes") && w.h.done == 1 && !w.t.over);
        answer(w.t.x, 403, text("no"));
        UNTIL(&w.h, w.h.done == 2 && !w.t.over);
        http_resume(w.t.x);
        UNTIL(&w.h, w.h.done == 3);
        assert_int_equal(w.h.requests, 2);
        turns(5);
        assert_int_equal(w.heads, 3);
        assert_false(hear(c));
        leave(c);
        close_world();
    }
}

/* Answered, or given up, from inside and from outside `body`. */
static void answered_in_the_middle(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345",
        "POST /a HTTP/1.1\r\nHost: a\r\n" CHUNKED "5\r\n12345\r\nff\r\n12345",
    };
    for (int i = 0; i < 8; i++) {
        w.stream = true;
        w.answer_at = i & 1 ? 1 : 0;
        w.pause_at = i & 2 ? 1 : 0;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c, requests[i / 4]);
        say(&w.h, c, GET("/smuggled"));
        if (w.answer_at == 0) {
            UNTIL(&w.h, w.t.runs > 0);
            answer(w.t.x, 403, text("enough"));
        }
        UNTIL(&w.h, hear(c));
        assert_true(heard(c, "HTTP/1.1 403 ") && heard(c, "connection: close"));
        assert_int_equal(count(c->got, "HTTP/1.1"), 1);
        assert_false(w.t.complete);
        leave(c);
        UNTIL(&w.h, w.h.done == 1);
        c = connected(&w.h);
        w.answer_at = 0;
        w.t.runs = 0;
        say(&w.h, c, requests[i / 4]);
        UNTIL(&w.h, w.t.runs > 0);
        http_abort(w.t.x);
        say(&w.h, c, "more");
        UNTIL(&w.h, hear(c));
        assert_int_equal(c->n, 0);
        assert_int_equal(w.t.how, HTTP_OVER_ABORTED);
        leave(c);
        close_world();
    }
}

static void pauses_do_not_count(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        w.h.limits = default_limits;
        w.h.limits.body_grace_ms = 100;
        w.stream = streamed;
        w.pause_in_head = true;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12");
        UNTIL(&w.h, w.t.x);
        uint64_t since_us = clock_us();
        UNTIL(&w.h, clock_us() - since_us > 300000);
        assert_false(w.t.over);
        http_resume(w.t.x);
        say(&w.h, c, "34");
        UNTIL(&w.h, heard(c, "4 bytes"));
        leave(c);
        UNTIL(&w.h, http_server_look(w.h.s).connections == 0);
        /* Resumed, time runs again. */
        c = connected(&w.h);
        w.t.x = NULL;
        say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12");
        UNTIL(&w.h, w.t.x);
        http_resume(w.t.x);
        UNTIL(&w.h, hear(c));
        assert_true(heard(c, "HTTP/1.1 408 "));
        leave(c);
        close_world();
    }
}

static void clients_that_leave(void **state)
{
    (void)state;
    w.stream = true;
    w.pause_at = 1;
    open_world(false);
    client *c = connected(&w.h);
    say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345");
    UNTIL(&w.h, w.t.runs == 1);
    struct linger at_once = {.l_onoff = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave(c);
    UNTIL(&w.h, w.h.gone == 1); /* a reset is noticed while paused */
    c = connected(&w.h);
    w.t.runs = 0;
    say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345");
    UNTIL(&w.h, w.t.runs == 1);
    leave(c);
    turns(3);
    http_resume(w.t.x);
    UNTIL(&w.h, w.h.gone == 2);
    /* What came before the end counts. */
    c = connected(&w.h);
    w.t.runs = 0;
    say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345");
    UNTIL(&w.h, w.t.runs == 1);
    say(&w.h, c, "6789");
    shutdown(c->fd, SHUT_WR);
    turns(3);
    w.pause_at = 0;
    http_resume(w.t.x);
    UNTIL(&w.h, heard(c, "9 bytes"));
    leave(c);
    close_world();
}

/* ---- kept requests ---- */

static void check_kept(const char *body, size_t n)
{
    const http_request *r = w.t.x->request;
    uint32_t headers = 0;
    assert_non_null(r);
    assert_true(sv_str_is(r->method, "POST"));
    assert_true(sv_str_is(r->path, "/a"));
    assert_true(sv_str_is(r->query, "q=1"));
    assert_true(sv_str_is(r->host, "a"));
    assert_true(sv_str_is(http_header_get(r, "x-one", &headers), "1"));
    assert_int_equal(headers, 2);
    assert_int_equal(r->body.n, n);
    assert_memory_equal(r->body.p, body, n);
}

static void kept_requests(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 70000, 1 << 20};
    for (int i = 0; i < 16; i++) {
        size_t n = sizes[i / 4];
        bool chunked = i & 1;
        w.keep = !(i & 2);
        w.keep_in_head = !w.keep;
        w.silent = true;
        open_world(false);
        client *c = connected(&w.h), *other = connected(&w.h);
        char *body = bytes_of(n), head[200];
        snprintf(head, sizeof head, "POST /a?q=1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-One: 2\r\n");
        snprintf(head + strlen(head), 100,
                 chunked ? CHUNKED "%zx\r\n" : "Content-Length: %zu\r\n\r\n", n);
        say(&w.h, c, head);
        assert_true(say_n(&w.h, c, body, n));
        say(&w.h, c, chunked ? "\r\n0\r\n\r\n" GET("/b") : GET("/b"));
        UNTIL(&w.h, w.h.requests == 1);
        check_kept(body, n);
        if (n > HTTP_TURN_BYTES) assert_ptr_equal(w.t.x->request->body.p, w.first_body); /* moved */
        told mine = w.t;
        say(&w.h, other, GET("/c")); /* the scratch and the shared request are used by another */
        UNTIL(&w.h, w.h.requests == 2);
        answer(w.t.x, 200, text("other"));
        UNTIL(&w.h, heard(other, "other"));
        w.t = mine;
        w.t.over = false;
        check_kept(body, n);
        w.silent = false;
        answer(w.t.x, 200, w.t.x->request->body.n < 1000 ? w.t.x->request->body : text("large"));
        check_kept(body, n); /* until the exchange is over */
        if (n >= 1000) UNTIL(&w.h, heard(c, "large"));
        UNTIL(&w.h, w.h.requests == 3); /* the pipelined one */
        UNTIL(&w.h, heard(c, "0 bytes 0"));
        free(body);
        leave(c);
        leave(other);
        close_world();
    }
}

static void kept_and_given_up(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        w.keep = i == 0;
        w.keep_in_head = i == 1;
        w.unkeep = true;
        w.silent = true;
        open_world(false);
        client *c = connected(&w.h);
        say(&w.h, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n12" GET("/b"));
        UNTIL(&w.h, w.h.requests == 1);
        assert_null(w.t.x->request);
        http_unkeep(w.t.x);
        answer(w.t.x, 200, text("one"));
        UNTIL(&w.h, heard(c, "one") && w.h.requests == 2);
        assert_int_equal(w.t.bytes, 0);
        leave(c);
        UNTIL(&w.h, http_server_look(w.h.s).connections == 0); /* nothing leaks: ASan */
        close_world();
    }
}

/* A kept head tells what was refused when the body of a streamed request is. */
static void kept_heads_outlive_their_bodies(void **state)
{
    (void)state;
    w.stream = w.keep_in_head = true;
    w.max = 3;
    open_world(false);
    client *c = connected(&w.h);
    say(&w.h, c,
        "POST /a?q=1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 1\r\n" CHUNKED "2\r\n12\r\n");
    UNTIL(&w.h, w.t.bytes == 2);
    check_kept("", 0);
    say(&w.h, c, "2\r\n34\r\n");
    UNTIL(&w.h, heard(c, "HTTP/1.1 413"));
    leave(c);
    close_world();
}

/* ---- HTTP/2 ---- */

static int32_t post_only(h2_client *k, const char *path, const char *p, size_t n)
{
    int32_t id = post(k, path, p, n);
    of(k, id)->no_echo = true;
    return id;
}

static void h2_streamed_and_paused(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        w.stream = !(i & 1);
        w.pause_in_head = i & 2;
        w.pause_at = w.pause_in_head ? 0 : 1;
        w.max = BIG;
        open_world(true);
        h2_client *k = begin(&w.h);
        char *bytes = bytes_of(BIG), want[64];
        int32_t id = post_only(k, "/a", bytes, BIG);
        MEET(&w.h, k, w.t.x && (w.t.runs || !w.stream || w.pause_in_head));
        for (int t = 0; t < 20; t++) {
            both(&w.h, k);
            turns(1);
        }
        if (w.t.x->paused) {
            const h2_stream *st = (const h2_stream *)w.t.x;
            assert_true(of(k, id)->upload_at <= 2 * HTTP2_WINDOW_BYTES);
            assert_true(st->body.n <= HTTP2_WINDOW_BYTES);
            assert_true(w.t.runs <= 1);
        }
        if (w.stream || w.pause_in_head) assert_true(w.t.x->paused);
        w.pause_at = 0;
        http_resume(w.t.x);
        MEET(&w.h, k, of(k, id)->closed);
        snprintf(want, sizeof want, "%d bytes %u", BIG, sum_of(0, bytes, BIG));
        assert_string_equal(of(k, id)->body, want);
        assert_int_equal(only_conn()->h2->bodies, 0);
        free(bytes);
        finish(k);
        close_world();
    }
}

/* Each run paused, with the end of the body in the backlog. */
static void h2_paused_at_every_run(void **state)
{
    (void)state;
    w.stream = true;
    w.pause_at = 1;
    open_world(true);
    h2_client *k = begin(&w.h);
    char *bytes = bytes_of(300000), want[64];
    int32_t id = post_only(k, "/a", bytes, 300000);
    uint64_t since_us = clock_us();
    while (!of(k, id)->closed) {
        both(&w.h, k);
        wait_or_fail(&w.h, since_us, "the upload");
        if (w.t.x && !w.t.over && w.t.x->paused) {
            uint32_t runs = w.t.runs;
            http_resume(w.t.x);
            assert_int_equal(w.t.runs, runs);
        }
    }
    assert_true(w.t.runs > 2);
    snprintf(want, sizeof want, "300000 bytes %u", sum_of(0, bytes, 300000));
    assert_string_equal(of(k, id)->body, want);
    free(bytes);
    finish(k);
    close_world();
}

static void h2_answered_in_the_middle(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        w.stream = true;
        w.answer_at = i & 1 ? 1 : 0;
        w.pause_at = i & 2 ? 1 : 0;
        open_world(true);
        h2_client *k = begin(&w.h);
        int32_t id = request(k, "POST", "/a", NULL, 0, true);
        *of(k, id) = (result){.upload_n = 100000}; /* without an end */
        MEET(&w.h, k, w.t.runs > 0);
        if (w.answer_at == 0) answer(w.t.x, 403, text("enough"));
        MEET(&w.h, k, of(k, id)->closed);
        assert_int_equal(of(k, id)->status, 403);
        assert_int_equal(of(k, id)->code, NGHTTP2_NO_ERROR);
        assert_string_equal(of(k, id)->body, "enough");
        UNTIL(&w.h, w.h.done == 1);
        assert_false(w.t.complete);
        assert_int_equal(only_conn()->h2->bodies, 0);
        w.t.runs = 0;
        w.answer_at = 0;
        id = request(k, "POST", "/a", NULL, 0, true);
        *of(k, id) = (result){.upload_n = 100000};
        MEET(&w.h, k, w.t.runs > 0);
        http_abort(w.t.x);
        MEET(&w.h, k, of(k, id)->closed);
        assert_int_equal(w.t.how, HTTP_OVER_ABORTED);
        finish(k);
        close_world();
    }
}

static void h2_limits_and_expectations(void **state)
{
    (void)state;
    w.stream = w.pause_in_head = true;
    w.max = 10;
    open_world(true);
    h2_client *k = begin(&w.h);
    nghttp2_nv expect = nv("expect", "100-continue");
    int32_t id = request(k, "POST", "/a", &expect, 1, true);
    *of(k, id) = (result){.upload_n = 0}; /* nothing yet */
    MEET(&w.h, k, w.t.x);
    turns(5);
    both(&w.h, k);
    assert_false(of(k, id)->continued);
    http_resume(w.t.x);
    MEET(&w.h, k, of(k, id)->continued);
    of(k, id)->upload_n = 11;
    of(k, id)->end = true;
    nghttp2_session_resume_data(k->s, id);
    MEET(&w.h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 413);
    assert_int_equal(w.t.refused, SV_E_TOO_LARGE);
    /* Without a body `request` waits for the resume too. */
    w.t.x = NULL;
    id = get(k, "/a");
    MEET(&w.h, k, w.t.x);
    turns(5);
    assert_int_equal(w.h.requests, 0);
    http_resume(w.t.x);
    MEET(&w.h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 200);
    finish(k);
    close_world();
}

/* A body that outgrows its room is asked about, and refused where it comes to that. */
static void h2_room_is_asked_for(void **state)
{
    (void)state;
    for (size_t most = 10; most <= 30; most += 20) {
        w.room = 10;
        w.room_most = most;
        open_world(true);
        h2_client *k = begin(&w.h);
        int32_t id = request(k, "POST", "/a", NULL, 0, true);
        *of(k, id) = (result){.upload_n = 10};
        MEET(&w.h, k, w.t.x);
        assert_int_equal(w.asked, 0);
        of(k, id)->upload_n = 11;
        of(k, id)->end = true;
        nghttp2_session_resume_data(k->s, id);
        MEET(&w.h, k, of(k, id)->closed);
        assert_int_equal(of(k, id)->status, most == 10 ? 503 : 200);
        assert_int_equal(w.t.refused, most == 10 ? SV_E_OVERLOADED : 0);
        assert_int_equal(w.asked, 1);
        finish(k);
        close_world();
    }
}

static void h2_pauses_do_not_count(void **state)
{
    (void)state;
    w.h.limits = default_limits;
    w.h.limits.body_grace_ms = 100;
    w.stream = w.pause_in_head = true;
    open_world(true);
    h2_client *k = begin(&w.h);
    int32_t id = request(k, "POST", "/a", NULL, 0, true);
    *of(k, id) = (result){.upload_n = 3};
    MEET(&w.h, k, w.t.x);
    uint64_t since_us = clock_us();
    MEET(&w.h, k, clock_us() - since_us > 300000);
    assert_false(w.t.over);
    assert_int_equal(w.h.refused, 0);
    http_resume(w.t.x);
    MEET(&w.h, k, of(k, id)->closed);
    assert_int_equal(of(k, id)->status, 408);
    assert_int_equal(w.t.bytes, 3);
    finish(k);
    close_world();
}

static void h2_kept_requests(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        size_t n = i & 1 ? 1 << 20 : 100;
        w.keep = !(i & 2);
        w.keep_in_head = !w.keep;
        w.silent = true;
        open_world(true);
        h2_client *k = begin(&w.h);
        char *body = bytes_of(n);
        nghttp2_nv more[] = {nv("x-one", "1"), nv("x-one", "2")};
        int32_t id = request(k, "POST", "/a?q=1", more, 2, true);
        *of(k, id) =
            (result){.upload = (const uint8_t *)body, .upload_n = n, .end = true, .no_echo = true};
        MEET(&w.h, k, w.h.requests == 1);
        check_kept(body, n);
        assert_ptr_equal(w.t.x->request->body.p, w.first_body);
        assert_int_equal(only_conn()->h2->bodies, n); /* it counts until it is given up */
        told mine = w.t;
        int32_t other = get(k, "/b");
        MEET(&w.h, k, w.h.requests == 2);
        answer(w.t.x, 200, text("other"));
        MEET(&w.h, k, of(k, other)->closed && w.h.done == 1);
        w.t = mine;
        w.t.over = false;
        check_kept(body, n);
        if (i & 2) http_unkeep(w.t.x);
        assert_int_equal(only_conn()->h2->bodies, i & 2 ? 0 : n);
        answer(w.t.x, 200, text("mine"));
        MEET(&w.h, k, of(k, id)->closed && w.h.done == 2);
        assert_int_equal(only_conn()->h2->bodies, 0);
        free(body);
        finish(k);
        close_world();
    }
}

/* Streams of one connection do not hold up each other, and the connection's end ends them all. */
static void h2_a_paused_stream_is_alone(void **state)
{
    (void)state;
    open_world(true);
    h2_client *k = begin(&w.h);
    char *bytes = bytes_of(BIG), want[64];
    w.max = BIG;
    w.stream = w.pause_in_head = w.keep_in_head = true;
    post_only(k, "/a?q=1", bytes, BIG);
    MEET(&w.h, k, w.t.x);
    told paused = w.t;
    w.pause_in_head = false;
    int32_t id = post_only(k, "/b", bytes, BIG);
    MEET(&w.h, k, of(k, id)->closed && w.h.done == 1);
    snprintf(want, sizeof want, "%d bytes %u", BIG, sum_of(0, bytes, BIG));
    assert_string_equal(of(k, id)->body, want);
    w.t = paused;
    assert_true(sv_str_is(w.t.x->request->path, "/a"));
    finish(k);
    UNTIL(&w.h, w.h.gone == 1);
    free(bytes);
    close_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(streamed_at_every_cut, new_world),
        cmocka_unit_test_setup(paused_at_every_run, new_world),
        cmocka_unit_test_setup(a_paused_upload_is_not_read, new_world),
        cmocka_unit_test_setup(limits_of_streamed_bodies, new_world),
        cmocka_unit_test_setup(room_is_asked_for, new_world),
        cmocka_unit_test_setup(expectations_wait_for_the_service, new_world),
        cmocka_unit_test_setup(a_paused_request_without_a_body, new_world),
        cmocka_unit_test_setup(answered_in_the_middle, new_world),
        cmocka_unit_test_setup(pauses_do_not_count, new_world),
        cmocka_unit_test_setup(clients_that_leave, new_world),
        cmocka_unit_test_setup(kept_requests, new_world),
        cmocka_unit_test_setup(kept_and_given_up, new_world),
        cmocka_unit_test_setup(kept_heads_outlive_their_bodies, new_world),
        cmocka_unit_test_setup(h2_streamed_and_paused, new_world),
        cmocka_unit_test_setup(h2_paused_at_every_run, new_world),
        cmocka_unit_test_setup(h2_answered_in_the_middle, new_world),
        cmocka_unit_test_setup(h2_limits_and_expectations, new_world),
        cmocka_unit_test_setup(h2_room_is_asked_for, new_world),
        cmocka_unit_test_setup(h2_pauses_do_not_count, new_world),
        cmocka_unit_test_setup(h2_kept_requests, new_world),
        cmocka_unit_test_setup(h2_a_paused_stream_is_alone, new_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
