/*  Outgoing HTTP against a real server socket on the same loop: answers, limits, clocks, pausing,
 *  cancelling from anywhere, and what must never be called. */
#include "http_client.h"

#include "error.h"
#include "tiny_server.h"

#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WAIT_MS = 5000 };

typedef struct run {
    http_transfer *t;
    int heads, dones, datas;
    int status, code;
    int64_t content_length;
    char content_type[64], retry_after[64], request_id[64], via[64];
    buf body;
    sv_error err;
    uint64_t done_us;
    /* behaviour */
    int pause_at; /* refuse this call of data */
    int cancel_at_head;
    int cancel_at_data;     /* this call of data */
    struct run *cancel_too; /* with it */
    struct run *start_then; /* start it in data */
    struct run *resume_then;
} run;

static loop *l;
static http_client *client;
static tiny_server server;
static char url[64];

static void start(run *r, const http_spec *spec);
static const http_spec *plain(void);

static void on_head(void *arg, const http_head *h)
{
    run *r = arg;
    r->heads++;
    assert_int_equal(r->datas, 0);
    r->status = h->status;
    r->content_length = h->content_length;
    snprintf(r->content_type, sizeof r->content_type, "%.*s", SV_FMT(h->content_type));
    snprintf(r->retry_after, sizeof r->retry_after, "%.*s", SV_FMT(h->retry_after));
    snprintf(r->request_id, sizeof r->request_id, "%.*s", SV_FMT(h->request_id));
    snprintf(r->via, sizeof r->via, "%.*s", SV_FMT(h->via));
    if (r->cancel_at_head) {
        http_cancel(r->t);
        r->t = NULL;
    }
}

static bool on_data(void *arg, sv_str bytes)
{
    run *r = arg;
    assert_int_equal(r->heads, 1);
    assert_int_equal(r->dones, 0);
    assert_non_null(r->t);
    r->datas++;
    if (r->datas == r->pause_at) return false;
    assert_int_equal(buf_put(&r->body, bytes.p, bytes.n), 0);
    if (r->start_then) {
        start(r->start_then, plain());
        r->start_then = NULL;
    }
    if (r->resume_then) {
        http_resume(r->resume_then->t);
        r->resume_then = NULL;
    }
    if (r->datas == r->cancel_at_data) {
        if (r->cancel_too && r->cancel_too->t) {
            http_cancel(r->cancel_too->t);
            r->cancel_too->t = NULL;
        }
        http_cancel(r->t);
        r->t = NULL;
    }
    return true;
}

static void on_done(void *arg, int code, const sv_error *err)
{
    run *r = arg;
    assert_int_equal(r->dones, 0);
    r->dones++;
    r->code = code;
    r->err = *err;
    r->t = NULL;
    r->done_us = clock_us();
    assert_int_equal(code, err->code);
}

static const http_events events = {on_head, on_data, on_done};

static void start(run *r, const http_spec *spec)
{
    sv_error err = {0};
    buf_init(&r->body, 64 << 20);
    r->t = http_start(client, spec, &events, r, &err);
    if (r->t == NULL) fail_msg("%s", err.message);
    assert_int_equal(r->heads + r->datas + r->dones, 0);
}

static const http_spec *plain(void)
{
    static http_spec spec;
    spec = (http_spec){.method = "GET",
                       .url = url,
                       .connect_ms = 2000,
                       .first_byte_ms = 2000,
                       .idle_ms = 2000,
                       .total_ms = WAIT_MS,
                       .max_body = 16 << 20};
    return &spec;
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_us = clock_us() + WAIT_MS * 1000;                                           \
        while (!(condition)) {                                                                     \
            if (clock_us() > until_us) fail_msg("waited in vain for %s", #condition);              \
            loop_turn(l, 50);                                                                      \
        }                                                                                          \
    } while (0)

/* Lets things happen that should not: a few turns until nothing moves. */
static void settle(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(l, 1);
}

static int setup(void **state)
{
    (void)state;
    l = loop_new(NULL);
    client = http_client_new(l, 1000, NULL);
    assert_non_null(client);
    tiny_start(&server, l, tiny_answer_text);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/x", server.port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_client_free(client);
    tiny_stop(&server);
    loop_free(l);
    return 0;
}

static void expect_text(const char *answer, int code, int status, const char *body)
{
    run r = {0};
    server.text = answer;
    start(&r, plain());
    UNTIL(r.dones);
    if (r.code != code)
        fail_msg("%d instead of %d: %s (%s)", r.code, code, r.err.message, r.err.detail);
    assert_int_equal(r.status, status);
    assert_int_equal(r.body.n, strlen(body));
    if (r.body.n) assert_memory_equal(r.body.p, body, r.body.n);
    buf_free(&r.body);
}

static void test_plain_and_reuse(void **state)
{
    (void)state;
    server.text =
        "HTTP/1.1 429 Slow\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
        "X-Request-Id: abc\r\nVia: 1.1 samovar\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}";
    for (int i = 0; i < 3; i++) {
        run r = {0};
        start(&r, plain());
        assert_int_equal(http_first_byte_us(r.t), 0);
        UNTIL(r.dones);
        assert_int_equal(r.code, 0);
        assert_int_equal(r.heads, 1);
        assert_int_equal(r.status, 429);
        assert_int_equal(r.content_length, 2);
        assert_string_equal(r.content_type, "application/json");
        assert_string_equal(r.retry_after, "7");
        assert_string_equal(r.request_id, "abc");
        assert_string_equal(r.via, "1.1 samovar");
        assert_memory_equal(r.body.p, "{}", 2);
        buf_free(&r.body);
    }
    assert_int_equal(server.requests, 3);
    assert_int_equal(server.accepted, 1);
    assert_null(strcasestr(server.last.p, "cookie"));
    assert_null(strcasestr(server.last.p, "expect"));
    assert_non_null(strstr(server.last.p, "Accept-Encoding: identity\r\n"));
    assert_int_equal(strncmp(server.last.p, "GET /v1/x HTTP/1.1\r\n", 20), 0);
}

static void test_post(void **state)
{
    (void)state;
    size_t n = 3 << 20;
    char *body = malloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7);
    const char *headers[] = {"Content-Type: application/json", "Authorization: Bearer k", NULL};
    http_spec spec = *plain();
    spec.method = "POST";
    spec.headers = headers;
    spec.body = (sv_str){body, (uint32_t)n};
    server.text = "HTTP/1.1 204 No\r\n\r\n";
    run r = {0};
    start(&r, &spec);
    UNTIL(r.dones);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.status, 204);
    assert_int_equal(strncmp(server.last.p, "POST ", 5), 0);
    assert_null(strcasestr(server.last.p, "expect"));
    assert_non_null(strstr(server.last.p, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(server.last.p, "Authorization: Bearer k\r\n"));
    assert_non_null(strstr(server.last.p, "Content-Length: 3145728\r\n"));
    assert_memory_equal(server.last.p + server.last.n - 1 - n, body, n);
    free(body);
    /* The next one must not inherit anything. */
    run next = {0};
    start(&next, plain());
    UNTIL(next.dones);
    assert_null(strstr(server.last.p, "Authorization"));
    assert_int_equal(strncmp(server.last.p, "GET ", 4), 0);
}

static void test_methods(void **state)
{
    (void)state;
    http_spec spec = *plain();
    spec.method = "DELETE";
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    run r = {0};
    start(&r, &spec);
    UNTIL(r.dones);
    assert_int_equal(strncmp(server.last.p, "DELETE ", 7), 0);
    spec.method = "PUT";
    spec.body = sv_cstr("abc");
    run put = {0};
    start(&put, &spec);
    UNTIL(put.dones);
    assert_int_equal(strncmp(server.last.p, "PUT ", 4), 0);
    assert_non_null(strstr(server.last.p, "\r\n\r\nabc"));
    assert_null(strstr(server.last.p, "x-www-form"));
    spec.method = "HEAD";
    spec.body = sv_cstr("");
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    run head = {0};
    start(&head, &spec);
    UNTIL(head.dones);
    assert_int_equal(head.code, 0);
    assert_int_equal(strncmp(server.last.p, "HEAD ", 5), 0);
    run get = {0};
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    start(&get, plain());
    UNTIL(get.dones);
    assert_int_equal(get.code, 0);
    assert_int_equal(get.body.n, 1);
    buf_free(&get.body);
}

static void test_answers(void **state)
{
    (void)state;
    expect_text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n"
                "Trailer: x\r\nContent-Type: evil\r\n\r\n",
                0, 200, "abcde");
    expect_text("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nRetry-After: 1\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
                0, 200, "x");
    /* redirects are answers */
    expect_text("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                0, 302, "");
    assert_int_equal(server.requests, 3);
}

static void answer_and_close(tiny_conn *c, sv_str request)
{
    tiny_answer_text(c, request);
    tiny_close(c);
}

static void answer_with_reset(tiny_conn *c, sv_str request)
{
    tiny_answer_text(c, request);
    tiny_reset(c);
}

static void test_broken_answers(void **state)
{
    (void)state;
    server.answer = answer_and_close;
    expect_text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", SV_E_PROVIDER_CUT, 200, "abc");
    expect_text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                SV_E_PROVIDER_CUT, 200, "abc");
    expect_text("", SV_E_PROVIDER_CUT, 0, "");
    expect_text("HTTP/1.1 200 OK\r\nConte", SV_E_PROVIDER_CUT, 0, "");
    expect_text("HTTP/1.1 100 Continue\r\n\r\n", SV_E_PROVIDER_CUT, 0, "");
    expect_text("hello, this is not HTTP\r\n\r\n", SV_E_PROVIDER_GARBAGE, 0, "");
    expect_text("\x01\x02\x03\x04\xff\xfe\r\n\r\n", SV_E_PROVIDER_GARBAGE, 0, "");
    expect_text("HTTP/1.1 99 OK\r\n\r\n", SV_E_PROVIDER_GARBAGE, 0, "");
    expect_text("HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n", SV_E_PROVIDER_GARBAGE, 0, "");
    expect_text("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
                SV_E_PROVIDER_GARBAGE, 0, "");
    expect_text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
                SV_E_PROVIDER_CUT, 200, "");
    /* no length: the close ends it */
    expect_text("HTTP/1.1 200 OK\r\n\r\nuntil the end", 0, 200, "until the end");
    server.answer = answer_with_reset;
    expect_text("", SV_E_PROVIDER_UNREACHABLE, 0, "");
    expect_text("HTTP/1.1 200 OK\r\n\r\n", SV_E_PROVIDER_CUT, 200, "");
}

static void answer_huge_head(tiny_conn *c, sv_str request)
{
    (void)request;
    char line[1024];
    memset(line, 'a', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    tiny_puts(c, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 80; i++)
        tiny_send(c, line, sizeof line);
    tiny_puts(c, "Content-Length: 0\r\n\r\n");
}

static void test_huge_head(void **state)
{
    (void)state;
    server.answer = answer_huge_head;
    run r = {0};
    start(&r, plain());
    UNTIL(r.dones);
    assert_int_equal(r.code, SV_E_PROVIDER_GARBAGE);
    assert_int_equal(r.heads, 0);
}

static void test_too_large(void **state)
{
    (void)state;
    http_spec spec = *plain();
    spec.max_body = 4;
    run exact = {0}, length = {0}, chunked = {0};
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    start(&exact, &spec);
    UNTIL(exact.dones);
    assert_int_equal(exact.code, 0);
    buf_free(&exact.body);
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
    start(&length, &spec);
    UNTIL(length.dones);
    assert_int_equal(length.code, SV_E_PROVIDER_TOO_LARGE);
    assert_int_equal(length.heads, 0);
    server.text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    start(&chunked, &spec);
    UNTIL(chunked.dones);
    assert_int_equal(chunked.code, SV_E_PROVIDER_TOO_LARGE);
    assert_true(chunked.body.n <= 4);
    buf_free(&chunked.body);
    UNTIL(server.peer_closed == 2);
}

static void test_refused_connection(void **state)
{
    (void)state;
    tiny_server gone;
    tiny_start(&gone, l, tiny_answer_text);
    int port = gone.port;
    tiny_stop(&gone);
    char dead[64];
    snprintf(dead, sizeof dead, "http://127.0.0.1:%d/", port);
    http_spec spec = *plain();
    spec.url = dead;
    run r = {0};
    start(&r, &spec);
    UNTIL(r.dones);
    assert_int_equal(r.code, SV_E_PROVIDER_UNREACHABLE);
    assert_true(r.err.detail[0] != 0);
    spec.url = "http://no-such-host.invalid/";
    run name = {0};
    start(&name, &spec);
    UNTIL(name.dones);
    assert_int_equal(name.code, SV_E_PROVIDER_UNREACHABLE);
}

/* A kept-alive connection that the server closed meanwhile is not a failure. */
static void answer_once(tiny_conn *c, sv_str request)
{
    if (c->requests > 1) {
        tiny_reset(c);
        return;
    }
    tiny_answer_text(c, request);
}

static void test_dead_kept_connection(void **state)
{
    (void)state;
    server.answer = answer_once;
    expect_text("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", 0, 200, "1");
    expect_text("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2", 0, 200, "2");
    assert_int_equal(server.accepted, 2);
}

/* ---- clocks ---- */

static void expect_timeout(const http_spec *spec, const char *what, uint64_t least_ms,
                           uint64_t most_ms)
{
    run r = {0};
    uint64_t from = clock_us();
    start(&r, spec);
    UNTIL(r.dones);
    assert_int_equal(r.code, SV_E_PROVIDER_TIMEOUT);
    if (strstr(r.err.detail, what) == NULL) fail_msg("%s", r.err.detail);
    assert_in_range((r.done_us - from) / 1000, least_ms, most_ms);
    buf_free(&r.body);
}

static void test_connect_clock(void **state)
{
    (void)state;
    /* A full accept queue: further handshakes are not answered. */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), fill[4];
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 0), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fill[i], (struct sockaddr *)&a, n);
    }
    char full[64];
    snprintf(full, sizeof full, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    http_spec spec = *plain();
    spec.url = full;
    spec.connect_ms = 100;
    expect_timeout(&spec, "connecting", 95, 1500);
    for (int i = 0; i < 4; i++)
        close(fill[i]);
    close(fd);
}

static void test_first_byte_clock(void **state)
{
    (void)state;
    server.answer = tiny_answer_nothing;
    http_spec spec = *plain();
    spec.connect_ms = 50; /* is over once connected */
    spec.first_byte_ms = 150;
    expect_timeout(&spec, "first byte", 145, 1500);
    UNTIL(server.peer_closed == 1);
    server.answer = tiny_answer_text;
    server.text = "HTTP/1.1 100 Continue\r\n\r\n"; /* is no answer */
    expect_timeout(&spec, "first byte", 145, 1500);
}

static void test_idle_clock(void **state)
{
    (void)state;
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    http_spec spec = *plain();
    spec.first_byte_ms = 50; /* is over once the head is there */
    spec.idle_ms = 150;
    expect_timeout(&spec, "silence", 145, 1500);
    server.text = "HTTP/1.1 200 OK\r\nX: y\r\n";
    expect_timeout(&spec, "silence", 145, 1500);
}

static void drip(void *arg)
{
    tiny_conn *c = arg;
    tiny_puts(c, "x");
    if (c->fd >= 0) loop_timer_set(l, &c->timer, 20000, drip, c);
}

static void answer_drip(tiny_conn *c, sv_str request)
{
    (void)request;
    tiny_puts(c, "HTTP/1.1 200 OK\r\n\r\n");
    drip(c);
}

static void test_total_clock(void **state)
{
    (void)state;
    server.answer = answer_drip;
    http_spec spec = *plain();
    spec.idle_ms = 200;
    spec.total_ms = 400;
    expect_timeout(&spec, "total", 395, 2000);
}

/* ---- pausing ---- */

static char pattern(size_t i)
{
    return (char)('a' + i % 23);
}

static void answer_megabytes(tiny_conn *c, sv_str request)
{
    (void)request;
    size_t n = 12 << 20;
    char *bytes = malloc(n), head[96];
    for (size_t i = 0; i < n; i++)
        bytes[i] = pattern(i);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    tiny_puts(c, head);
    tiny_send(c, bytes, n);
    free(bytes);
}

static void test_pause(void **state)
{
    (void)state;
    server.answer = answer_megabytes;
    http_spec spec = *plain();
    spec.idle_ms = 100;
    run r = {.pause_at = 3};
    start(&r, &spec);
    UNTIL(r.datas == 3);
    size_t had = r.body.n;
    uint64_t over_us = clock_us() + 300000; /* longer than the idle clock */
    while (clock_us() < over_us)
        loop_turn(l, 20);
    assert_int_equal(r.dones, 0);
    assert_int_equal(r.datas, 3);
    assert_int_equal(r.body.n, had);
    size_t sent = server.conns->sent;
    assert_true(sent < 10 << 20); /* held back by TCP */
    http_resume(r.t);
    assert_int_equal(r.datas, 3); /* never from within */
    UNTIL(r.dones);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.body.n, 12 << 20);
    for (size_t i = 0; i < r.body.n; i++)
        if (r.body.p[i] != pattern(i)) fail_msg("byte %zu differs", i);
    buf_free(&r.body);
}

static void test_pause_at_the_end(void **state)
{
    (void)state;
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    run r = {.pause_at = 1};
    start(&r, plain());
    UNTIL(r.datas == 1);
    settle();
    assert_int_equal(r.dones, 0);
    http_resume(r.t);
    http_resume(r.t);
    UNTIL(r.dones);
    assert_int_equal(r.code, 0);
    assert_memory_equal(r.body.p, "abc", 3);
    buf_free(&r.body);
}

static void test_cancel_while_paused(void **state)
{
    (void)state;
    server.answer = answer_megabytes;
    run r = {.pause_at = 2};
    start(&r, plain());
    UNTIL(r.datas == 2);
    http_resume(r.t);
    http_cancel(r.t);
    UNTIL(server.peer_closed + (server.conns->fd < 0) > 0);
    settle();
    assert_int_equal(r.dones, 0);
    buf_free(&r.body);
}

/* The second data call, made by curl_easy_pause itself, cancels or overruns. */
static void test_end_while_resuming(void **state)
{
    (void)state;
    server.answer = answer_megabytes;
    run r = {.pause_at = 1, .cancel_at_data = 2};
    start(&r, plain());
    UNTIL(r.datas == 1);
    http_resume(r.t);
    UNTIL(r.datas == 2);
    UNTIL(server.conns->fd < 0);
    assert_int_equal(r.dones, 0);
    buf_free(&r.body);
}

static void test_resume_from_a_callback(void **state)
{
    (void)state;
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    run first = {.pause_at = 1};
    start(&first, plain());
    UNTIL(first.datas == 1);
    run second = {.resume_then = &first};
    start(&second, plain());
    UNTIL(first.dones && second.dones);
    assert_int_equal(first.code, 0);
    assert_int_equal(first.body.n, 3);
    buf_free(&first.body);
    buf_free(&second.body);
}

/* ---- cancelling ---- */

static void test_cancel_closes_at_once(void **state)
{
    (void)state;
    server.answer = tiny_answer_nothing;
    run r = {0};
    start(&r, plain());
    UNTIL(server.requests == 1);
    uint64_t from = clock_us();
    http_cancel(r.t);
    UNTIL(server.peer_closed == 1);
    assert_true(server.peer_closed_us - from < 50000);
    assert_int_equal(r.dones, 0);
    server.answer = answer_drip;
    run body = {0};
    start(&body, plain());
    UNTIL(body.datas > 0);
    from = clock_us();
    http_cancel(body.t);
    UNTIL(server.peer_closed == 2);
    assert_true(server.peer_closed_us - from < 50000);
    assert_int_equal(body.dones, 0);
    buf_free(&body.body);
}

static void test_cancel_before_anything(void **state)
{
    (void)state;
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    run r = {0};
    start(&r, plain());
    http_cancel(r.t);
    http_spec spec = *plain();
    spec.url = "http://some-name.invalid/"; /* while a name is looked up */
    uint64_t from = clock_us();
    start(&r, &spec);
    loop_turn(l, 0);
    http_cancel(r.t);
    assert_true(clock_us() - from < 200000);
    settle();
    assert_int_equal(r.heads + r.dones, 0);
}

static void test_cancel_from_callbacks(void **state)
{
    (void)state;
    server.answer = answer_drip;
    run other = {0}, self = {.cancel_at_data = 2, .cancel_too = &other},
        head = {.cancel_at_head = 1};
    start(&other, plain());
    UNTIL(other.datas > 0);
    start(&self, plain());
    start(&head, plain());
    UNTIL(self.datas == 2 && head.heads == 1);
    UNTIL(server.peer_closed == 3);
    settle();
    assert_int_equal(self.datas, 2);
    assert_int_equal(self.dones + other.dones + head.dones + head.datas, 0);
    buf_free(&other.body);
    buf_free(&self.body);
}

static void test_start_from_callback(void **state)
{
    (void)state;
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    run second = {0}, first = {.start_then = &second};
    start(&first, plain());
    UNTIL(first.dones && second.dones);
    assert_int_equal(second.code, 0);
    assert_int_equal(second.body.n, 1);
    /* started and cancelled while libcurl runs */
    run never = {0}, again = {.start_then = &never, .cancel_at_data = 1, .cancel_too = &never};
    start(&again, plain());
    UNTIL(again.datas == 1);
    settle();
    assert_int_equal(never.heads + never.dones + again.dones, 0);
    buf_free(&first.body);
    buf_free(&second.body);
    buf_free(&again.body);
}

static void test_many(void **state)
{
    (void)state;
    enum { N = 300 };
    static run runs[N];
    memset(runs, 0, sizeof runs);
    server.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    for (int i = 0; i < N; i++)
        start(&runs[i], plain());
    for (int i = 0; i < N; i += 3) {
        http_cancel(runs[i].t);
        runs[i].t = NULL;
    }
    for (int i = 0; i < N; i++)
        if (i % 3) UNTIL(runs[i].dones);
    for (int i = 0; i < N; i++) {
        assert_int_equal(runs[i].dones, i % 3 != 0);
        if (i % 3) assert_int_equal(runs[i].code, 0);
        buf_free(&runs[i].body);
    }
}

static void test_free_with_open_transfers(void **state)
{
    (void)state;
    server.answer = tiny_answer_nothing;
    run a = {0}, b = {0}, c = {0};
    start(&a, plain());
    UNTIL(server.requests == 1);
    start(&b, plain());
    http_spec spec = *plain();
    spec.url = "http://another-name.invalid/";
    start(&c, &spec);
    http_client_free(client);
    client = http_client_new(l, 10, NULL);
    UNTIL(server.peer_closed >= 1);
    assert_int_equal(a.dones + b.dones + c.dones, 0);
}

/* ---- refusals ---- */

static void refused(http_spec spec, int want)
{
    sv_error err = {0};
    run r = {0};
    assert_null(http_start(client, &spec, &events, &r, &err));
    assert_int_equal(err.code, want);
    settle();
    assert_int_equal(r.dones, 0);
}

static void test_refused_specs(void **state)
{
    (void)state;
    http_spec spec = *plain();
    spec.total_ms = 0;
    refused(spec, SV_E_INVALID);
    spec = *plain();
    spec.method = "GET /x";
    refused(spec, SV_E_INVALID);
    spec.method = "";
    refused(spec, SV_E_INVALID);
    spec = *plain();
    spec.url = "gopher://127.0.0.1/";
    refused(spec, SV_E_INVALID);
    spec = *plain();
    const char *bad[][2] = {{"A: b\r\nX: y", NULL},      {"A: b\n", NULL},
                            {"Content-Length: 5", NULL}, {"Host: evil", NULL},
                            {"nothing", NULL},           {"Transfer-Encoding: chunked", NULL},
                            {"connection: close", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec.headers = bad[i];
        refused(spec, SV_E_INVALID);
    }
    assert_int_equal(server.accepted, 0);
}

static bool resolves_locally(const char *name)
{
    struct addrinfo *a = NULL;
    if (getaddrinfo(name, NULL, NULL, &a)) return false;
    bool local = !http_address_public(a->ai_addr);
    freeaddrinfo(a);
    return local;
}

static void test_tenant_class(void **state)
{
    (void)state;
    http_spec spec = *plain();
    spec.trust = HTTP_TRUST_TENANT;
    const char *texts[] = {url,
                           "https://127.0.0.1/",
                           "https://192.168.1.1:8443/",
                           "https://[::1]/",
                           "https://u:p@example.com/",
                           "https://example.com:22/",
                           "https://localhost/",
                           "https://LOCALHOST.:8443/x",
                           "https://a.localhost/"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        spec.url = texts[i];
        refused(spec, SV_E_URL_FORBIDDEN);
    }
    /* Other names are judged by their address, at connect: those that this machine has for itself. */
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    const char *hosts[] = {own, "ip6-localhost", "ip6-loopback"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        char name[300];
        if (!resolves_locally(hosts[i])) continue;
        snprintf(name, sizeof name, "https://%s:8443/x", hosts[i]);
        spec.url = name;
        run r = {0};
        start(&r, &spec);
        UNTIL(r.dones);
        assert_int_equal(r.code, SV_E_URL_FORBIDDEN);
        assert_int_equal(r.heads, 0);
    }
    assert_int_equal(server.accepted, 0);
}

static void test_environment_is_ignored(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    expect_text("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 0, 200, "x");
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_plain_and_reuse),
        WITH_SERVER(test_post),
        WITH_SERVER(test_methods),
        WITH_SERVER(test_answers),
        WITH_SERVER(test_broken_answers),
        WITH_SERVER(test_huge_head),
        WITH_SERVER(test_too_large),
        WITH_SERVER(test_refused_connection),
        WITH_SERVER(test_dead_kept_connection),
        WITH_SERVER(test_connect_clock),
        WITH_SERVER(test_first_byte_clock),
        WITH_SERVER(test_idle_clock),
        WITH_SERVER(test_total_clock),
        WITH_SERVER(test_pause),
        WITH_SERVER(test_pause_at_the_end),
        WITH_SERVER(test_cancel_while_paused),
        WITH_SERVER(test_end_while_resuming),
        WITH_SERVER(test_resume_from_a_callback),
        WITH_SERVER(test_cancel_closes_at_once),
        WITH_SERVER(test_cancel_before_anything),
        WITH_SERVER(test_cancel_from_callbacks),
        WITH_SERVER(test_start_from_callback),
        WITH_SERVER(test_many),
        WITH_SERVER(test_free_with_open_transfers),
        WITH_SERVER(test_refused_specs),
        WITH_SERVER(test_tenant_class),
        WITH_SERVER(test_environment_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
