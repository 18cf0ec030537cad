/*  The HTTP/1.1 connection machine on real sockets: order, bodies, framing, streams, leaving
 *  clients. */
#include "http_harness.h"

static void answers_one_request(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/sync"));
    UNTIL(&h, heard(c, "\r\n\r\nsync"));
    assert_true(heard(c, "HTTP/1.1 200 OK\r\ndate: "));
    assert_true(heard(c, "\r\ncontent-type: text/plain\r\n"));
    assert_true(heard(c, "\r\ncontent-length: 4\r\n"));
    assert_false(heard(c, "connection:"));
    UNTIL(&h, h.done == 1);
    leave(c);
    UNTIL(&h, http_server_look(h.s).connections == 0);
    h_close(&h);
}

static void every_piece_size_is_the_same_request(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello there" GET("/sync");
    harness h = {0};
    h_open(&h);
    for (size_t piece = 1; piece < sizeof request; piece += 3) {
        client *c = connected(&h);
        for (size_t at = 0; at < sizeof request - 1; at += piece) {
            size_t n = sizeof request - 1 - at < piece ? sizeof request - 1 - at : piece;
            say_n(&h, c, request + at, n);
            loop_turn(h.l, 0);
        }
        UNTIL(&h, heard(c, "hello there") && heard(c, "sync"));
        leave(c);
    }
    assert_int_equal(h.refused, 0);
    h_close(&h);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c,
        GET("/wait") "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n2two" GET("/wait")
            GET("/sync"));
    UNTIL(&h, h.n_open == 1);
    for (int i = 0; i < 5; i++)
        loop_turn(h.l, 1);
    assert_int_equal(h.requests, 1); /* the others wait for their turn */
    answer(h.open[0], 200, text("1one"));
    UNTIL(&h, h.n_open == 1 && h.requests == 3);
    assert_false(heard(c, "sync"));
    answer(h.open[0], 200, text("3three"));
    UNTIL(&h, heard(c, "sync"));
    assert_true(strstr(c->got, "1one") < strstr(c->got, "2two"));
    assert_true(strstr(c->got, "2two") < strstr(c->got, "3three"));
    assert_true(strstr(c->got, "3three") < strstr(c->got, "sync"));
    leave(c);
    h_close(&h);
}

static void a_hundred_pipelined_requests(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    for (int i = 0; i < 100; i++)
        say(&h, c, GET("/sync"));
    UNTIL(&h, hear(c) || count(c->got, "sync") == 100);
    assert_int_equal(h.done, 100);
    assert_int_equal(http_server_look(h.s).exchanges, 0);
    leave(c);
    h_close(&h);
}

static void chunked_bodies(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5;x=y\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: gone\r\n\r\n" GET("/sync");
    harness h = {0};
    h_open(&h);
    for (size_t piece = 1; piece < 80; piece += 7) {
        client *c = connected(&h);
        for (size_t at = 0; at < sizeof request - 1; at += piece) {
            size_t n = sizeof request - 1 - at < piece ? sizeof request - 1 - at : piece;
            say_n(&h, c, request + at, n);
            loop_turn(h.l, 0);
        }
        UNTIL(&h, heard(c, "\r\n\r\nhello world") && heard(c, "sync"));
        leave(c);
    }
    h_close(&h);
}

static void a_large_body_arrives_whole(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    char *body = malloc(N);
    for (size_t i = 0; i < N; i++)
        body[i] = (char)('a' + i * 7 % 26);
    say(&h, c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    assert_true(say_n(&h, c, body, N));
    size_t at = 0;
    uint64_t since_us = clock_us();
    while (at < N) {
        wait_or_fail(&h, since_us, "the echo");
        hear(c);
        char *from = c->got;
        if (at == 0) {
            from = strstr(c->got, "\r\n\r\n");
            if (from == NULL) continue;
            from += 4;
        }
        size_t n = (size_t)(c->got + c->n - from);
        assert_memory_equal(from, body + at, n);
        at += n;
        c->n = 0;
    }
    free(body);
    leave(c);
    h_close(&h);
}

static void expect_continue(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c,
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    UNTIL(&h, heard(c, "HTTP/1.1 100 Continue\r\n\r\n"));
    say(&h, c, "body");
    UNTIL(&h, heard(c, "\r\n\r\nbody"));
    assert_int_equal(count(c->got, "100 Continue"), 1);
    leave(c);

    /* With the body already there, or a refusal, there is no 100. */
    c = connected(&h);
    say(&h, c,
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    UNTIL(&h, heard(c, "\r\n\r\nbody"));
    assert_false(heard(c, "100 Continue"));
    leave(c);
    c = connected(&h);
    say(&h, c,
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
        "9000000\r\n\r\n");
    UNTIL(&h, hear(c));
    assert_true(heard(c, "HTTP/1.1 413 "));
    assert_false(heard(c, "100 Continue"));
    leave(c);
    h_close(&h);
}

static void head_has_no_body(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, "HEAD /sync HTTP/1.1\r\nHost: a\r\n\r\n" GET("/echo"));
    UNTIL(&h, count(c->got, "HTTP/1.1 200") == (hear(c), 2));
    assert_true(heard(c, "content-length: 4\r\n"));
    assert_false(heard(c, "sync"));
    leave(c);
    c = connected(&h);
    say(&h, c, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" GET("/sync"));
    UNTIL(&h, h.n_open == 1);
    http_write(h.open[0], text("unseen"));
    http_end(h.open[0]);
    UNTIL(&h, heard(c, "sync"));
    assert_false(heard(c, "unseen"));
    assert_int_equal(count(c->got, "\r\n0\r\n"), 0);
    leave(c);
    h_close(&h);
}

static void http_1_0(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, "GET /sync HTTP/1.0\r\n\r\n");
    UNTIL(&h, hear(c));
    assert_true(heard(c, "connection: close\r\n"));
    assert_false(c->reset);
    leave(c);
    c = connected(&h);
    say(&h, c, "GET /sync HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    UNTIL(&h, heard(c, "sync"));
    assert_true(heard(c, "connection: keep-alive\r\n"));
    say(&h, c, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    UNTIL(&h, h.n_open == 1);
    http_write(h.open[0], text("one "));
    http_write(h.open[0], text("two"));
    http_end(h.open[0]);
    UNTIL(&h, hear(c));
    assert_true(heard(c, "connection: close\r\n\r\none two"));
    assert_false(heard(c, "chunked"));
    leave(c);
    h_close(&h);
}

static void streams_are_chunked(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/stream"));
    UNTIL(&h, h.n_open == 1);
    UNTIL(&h, heard(c, "transfer-encoding: chunked\r\n\r\n"));
    http_write(h.open[0], text("data: 1\n\n"));
    UNTIL(&h, heard(c, "9\r\ndata: 1\n\n\r\n"));
    http_write(h.open[0], text("0123456789abcdefX"));
    http_write(h.open[0], text(""));
    UNTIL(&h, heard(c, "11\r\n0123456789abcdefX\r\n"));
    http_end(h.open[0]);
    UNTIL(&h, heard(c, "\r\n0\r\n\r\n"));
    say(&h, c, GET("/sync"));
    UNTIL(&h, heard(c, "sync"));
    assert_int_equal(h.done, 2);
    leave(c);
    h_close(&h);
}

/* Starts /wait with a length of ten. */
static client *ten(harness *h, const char *request)
{
    client *c = connected(h);
    say(h, c, request);
    UNTIL(h, h->n_open == 1);
    http_start(h->open[0], &(http_response){.status = 200, .has_length = true, .length = 10});
    return c;
}

static void a_told_length_replaces_chunks(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = ten(&h, GET("/wait"));
    http_write(h.open[0], text("01234"));
    http_write(h.open[0], text("56789"));
    http_end(h.open[0]);
    UNTIL(&h, heard(c, "content-length: 10\r\n\r\n0123456789"));
    say(&h, c, GET("/sync"));
    UNTIL(&h, heard(c, "sync"));
    assert_int_equal(h.done, 2);
    leave(c);
    h_close(&h);
}

static void a_told_length_that_is_not_reached_is_a_cut(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = ten(&h, GET("/wait"));
    http_write(h.open[0], text("01234"));
    http_end(h.open[0]);
    UNTIL(&h, hear(c));
    assert_int_equal(h.aborted, 1);
    leave(c);
    h_close(&h);
}

static void head_tells_the_length_of_get(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = ten(&h, "HEAD /wait HTTP/1.1\r\nhost: a\r\n\r\n");
    http_end(h.open[0]);
    UNTIL(&h, heard(c, "content-length: 10\r\n\r\n"));
    say(&h, c, GET("/sync"));
    UNTIL(&h, heard(c, "sync"));
    leave(c);
    h_close(&h);
}

static void an_aborted_stream_has_no_end(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/stream"));
    UNTIL(&h, h.n_open == 1);
    http_write(h.open[0], text("part"));
    UNTIL(&h, heard(c, "part"));
    http_abort(h.open[0]);
    UNTIL(&h, hear(c));
    assert_false(heard(c, "\r\n0\r\n"));
    assert_int_equal(h.aborted, 1);
    leave(c);
    h_close(&h);
}

static void output_between_turns_leaves_without_another_event(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/wait"));
    UNTIL(&h, h.n_open == 1);
    loop_turn(h.l, 0);
    answer(h.open[0], 200, text("late"));
    uint64_t before_us = clock_us();
    loop_turn(h.l, 5000); /* must not wait */
    assert_true(clock_us() - before_us < 2000000);
    UNTIL(&h, heard(c, "late"));
    leave(c);
    h_close(&h);
}

static void a_waiting_connection_holds_no_buffers(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/stream"));
    UNTIL(&h, h.n_open == 1);
    http_write(h.open[0], text("data: 1\n\n"));
    UNTIL(&h, heard(c, "data: 1"));
    const http_conn *conn = (const http_conn *)h.open[0];
    assert_null(conn->in);
    assert_null(conn->out);
    assert_null(conn->head);
    assert_true(sizeof *conn <= 1024);
    leave(c);
    UNTIL(&h, h.gone == 1);
    h_close(&h);
}

/* ---- clients that leave ---- */

enum { BY_CLOSE, BY_HALF_CLOSE, BY_RESET, BY_CLOSE_WITH_MORE };

static void leave_by(harness *h, client *c, int how)
{
    struct linger at_once = {1, 0};
    if (how == BY_CLOSE_WITH_MORE) say(h, c, GET("/sync") GET("/sync"));
    if (how == BY_RESET) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (how == BY_HALF_CLOSE)
        shutdown(c->fd, SHUT_WR);
    else {
        close(c->fd);
        c->fd = -1;
    }
}

static void a_client_that_leaves_is_noticed(void **state)
{
    (void)state;
    static const char *const paths[] = {GET("/wait"), GET("/stream")};
    harness h = {0};
    h_open(&h);
    int gone = 0;
    for (int how = BY_CLOSE; how <= BY_CLOSE_WITH_MORE; how++) {
        for (int p = 0; p < 2; p++) {
            client *c = connected(&h);
            say(&h, c, paths[p]);
            UNTIL(&h, h.n_open == 1);
            uint64_t left_us = clock_us();
            leave_by(&h, c, how);
            UNTIL(&h, h.gone == gone + 1);
            assert_true(clock_us() - left_us < 500000);
            gone++;
            leave(c);
        }
    }
    assert_int_equal(h.n_open, 0);
    assert_int_equal(h.requests, 2 * (BY_CLOSE_WITH_MORE + 1));
    UNTIL(&h, http_server_look(h.s).connections == 0);
    h_close(&h);
}

static void a_half_closed_client_still_gets_what_is_ready(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/sync") GET("/echo"));
    shutdown(c->fd, SHUT_WR);
    UNTIL(&h, hear(c));
    assert_int_equal(count(c->got, "HTTP/1.1 200"), 2);
    assert_false(c->reset);
    leave(c);
    h_close(&h);
}

static void a_client_that_leaves_in_a_request_costs_nothing(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "G", "GET / HTTP/1.1\r\nHos",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"};
    harness h = {0};
    h_open(&h);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        client *c = connected(&h);
        say(&h, c, parts[i]);
        UNTIL(&h, http_server_look(h.s).connections == 1);
        loop_turn(h.l, 1);
        leave(c);
        UNTIL(&h, http_server_look(h.s).connections == 0);
    }
    assert_int_equal(h.requests + h.refused, 0);
    assert_int_equal(http_server_look(h.s).exchanges, 0);
    h_close(&h);
}

/* ---- refusals ---- */

static void after_a_refusal_nothing_is_a_request(void **state)
{
    (void)state;
    static const char *const smuggling[] = {
        "GET /sync HTTP/1.1\nHost: a\r\n\r\n" GET("/sync"),
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n" GET("/sync"),
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n" GET("/sync"),
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n\r\n" GET(
            "/sync"),
        "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\n" GET("/sync"),
        "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" GET("/sync"),
        "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\n" GET("/sync"),
        "POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" GET("/sync"),
        "GET /sync HTTP/3.0\r\n\r\n" GET("/sync"),
    };
    harness h = {0};
    h_open(&h);
    for (size_t i = 0; i < sizeof smuggling / sizeof *smuggling; i++) {
        client *c = connected(&h);
        uint64_t since_us = clock_us();
        say(&h, c, smuggling[i]);
        UNTIL(&h, hear(c));
        assert_true(clock_us() - since_us <
                    3000000); /* our side ends at once, not after the linger */
        if (count(c->got, "\r\ndate: ") != 1 || c->reset) fail_msg("%zu: %s", i, c->got);
        assert_true(heard(c, "connection: close\r\n"));
        assert_true(heard(c, "HTTP/1.1 4") || heard(c, "HTTP/1.1 5"));
        leave(c);
    }
    assert_int_equal(h.requests, 0);
    h_close(&h);
}

static void a_refusal_without_a_body_keeps_the_connection(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/refuse") GET("/sync"));
    UNTIL(&h, heard(c, "sync"));
    assert_true(heard(c, "HTTP/1.1 404 "));
    assert_false(heard(c, "connection: close"));
    leave(c);
    h_close(&h);
}

static void the_answer_to_a_huge_upload_is_seen(void **state)
{
    (void)state;
    static const char filler[65536];
    harness h = {0};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    for (int i = 0; i < 12; i++)
        say_n(&h, c, filler, sizeof filler);
    shutdown(c->fd, SHUT_WR);
    UNTIL(&h, hear(c));
    assert_true(heard(c, "HTTP/1.1 413 Content Too Large\r\n"));
    assert_false(c->reset);
    assert_int_equal(h.last_refusal, SV_E_TOO_LARGE);
    leave(c);
    UNTIL(&h, http_server_look(h.s).connections == 0);
    h_close(&h);
}

static void note_empty(void *arg)
{
    ((harness *)arg)->empty = true;
}

static void a_drain_finishes_what_is_open(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *waiting = connected(&h), *idle = connected(&h), *quick = connected(&h);
    say(&h, idle, GET("/sync"));
    UNTIL(&h, heard(idle, "sync"));
    say(&h, waiting, GET("/wait"));
    UNTIL(&h, h.n_open == 1);
    say(&h, quick, GET("/echo")); /* sent before the drain, read by it */
    http_server_drain(h.s, note_empty, &h);
    UNTIL(&h, hear(idle) && hear(quick));
    assert_true(heard(quick, "connection: close"));
    assert_false(h.empty);
    answer(h.open[0], 200, text("at last"));
    UNTIL(&h, hear(waiting));
    assert_true(heard(waiting, "connection: close\r\n"));
    assert_true(heard(waiting, "at last"));
    UNTIL(&h, h.empty);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_server_port(h.s))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = new_socket();
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    close(fd);
    leave(waiting);
    leave(idle);
    leave(quick);
    h_close(&h);
}

static void a_drain_answers_what_is_on_its_way(void **state)
{
    (void)state;
    harness h = {0};
    h_open(&h);
    client *idle = connected(&h), *silent = connected(&h);
    say(&h, idle, GET("/sync"));
    UNTIL(&h, heard(idle, "sync"));
    http_server_drain(h.s, note_empty, &h);
    assert_false(h.empty);
    say(&h, idle, GET("/echo")); /* sent before the client could see the end */
    UNTIL(&h, hear(idle));
    assert_true(heard(idle, "connection: close"));
    UNTIL(&h, hear(silent));
    UNTIL(&h, h.empty);
    leave(idle);
    leave(silent);
    h_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_one_request),
        cmocka_unit_test(every_piece_size_is_the_same_request),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_hundred_pipelined_requests),
        cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(expect_continue),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(http_1_0),
        cmocka_unit_test(streams_are_chunked),
        cmocka_unit_test(a_told_length_replaces_chunks),
        cmocka_unit_test(a_told_length_that_is_not_reached_is_a_cut),
        cmocka_unit_test(head_tells_the_length_of_get),
        cmocka_unit_test(an_aborted_stream_has_no_end),
        cmocka_unit_test(output_between_turns_leaves_without_another_event),
        cmocka_unit_test(a_waiting_connection_holds_no_buffers),
        cmocka_unit_test(a_client_that_leaves_is_noticed),
        cmocka_unit_test(a_half_closed_client_still_gets_what_is_ready),
        cmocka_unit_test(a_client_that_leaves_in_a_request_costs_nothing),
        cmocka_unit_test(after_a_refusal_nothing_is_a_request),
        cmocka_unit_test(a_refusal_without_a_body_keeps_the_connection),
        cmocka_unit_test(the_answer_to_a_huge_upload_is_seen),
        cmocka_unit_test(a_drain_finishes_what_is_open),
        cmocka_unit_test(a_drain_answers_what_is_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
