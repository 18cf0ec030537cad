/*  http_harness.h - a server with a service that does what the path says, and clients on real
 *  sockets, all on one thread: every wait turns the loop until its condition holds or ten
 *  seconds have passed.
 *
 *  Paths: /sync answers at once; /echo with the body; /wait stays open until answered by the
 *  test; /stream starts and stays open; /flood streams FLOOD_BYTES as the client takes them;
 *  /refuse answers in `head`; /small allows ten bytes of body. */
#ifndef HTTP_HARNESS_H
#define HTTP_HARNESS_H

#include "error.h"
#include "http_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { MAX_OPEN = 64, FLOOD_BYTES = 8 << 20, PATIENCE_US = 10000000 };

typedef struct harness {
    loop *l;
    http_server *s;
    http_limits limits;
    http_exchange *open[MAX_OPEN]; /* /wait and /stream, oldest first */
    int n_open;
    int requests, refused, done, gone, aborted;
    int last_refusal;
    size_t flooded, most_pending;
    bool empty;
    http_service service; /* the test's own, when it has `head` */
} harness;

static const http_limits default_limits = {
    .head_bytes = 8192,
    .line_bytes = 1024,
    .headers = 32,
    .body_bytes = 1 << 20,
    .output_bytes = 65536,
    .connections = 100,
    .connections_per_address = 100,
    .head_ms = 10000,
    .body_grace_ms = 10000,
    .body_rate = 1024,
    .idle_ms = 10000,
    .stall_ms = 10000,
    .linger_ms = 5000,
};

static sv_str text(const char *s)
{
    return sv_cstr(s);
}

static inline void answer(http_exchange *x, int status, sv_str body)
{
    http_respond(
        x, &(http_response){.status = status, .content_type = text("text/plain"), .body = body});
}

static void h_over(http_exchange *x, http_over how)
{
    harness *h = x->data;
    h->done += how == HTTP_OVER_DONE;
    h->gone += how == HTTP_OVER_GONE;
    h->aborted += how == HTTP_OVER_ABORTED;
    for (int i = 0; i < h->n_open; i++) {
        if (h->open[i] != x) continue;
        memmove(&h->open[i], &h->open[i + 1], (size_t)(h->n_open - i - 1) * sizeof *h->open);
        h->n_open--;
    }
}

static void flood(http_exchange *x)
{
    static const char block[4096];
    harness *h = x->data;
    while (h->flooded < FLOOD_BYTES && http_pending(x) < h->limits.output_bytes) {
        http_write(x, (sv_str){block, sizeof block});
        h->flooded += sizeof block;
        if (http_pending(x) > h->most_pending) h->most_pending = http_pending(x);
    }
    if (h->flooded >= FLOOD_BYTES && !x->ended) http_end(x);
}

static void flood_on(http_exchange *x)
{
    harness *h = x->data;
    assert_true(http_pending(x) <= h->limits.output_bytes / 2);
    flood(x);
}

static void h_head(void *arg, http_exchange *x)
{
    x->data = arg;
    x->on_over = h_over;
    if (x->overloaded && !sv_str_is(x->request->path, "/health"))
        answer(x, 503, text("overloaded"));
    else if (sv_str_is(x->request->path, "/refuse"))
        answer(x, 404, text("refused"));
    else if (sv_str_is(x->request->path, "/small"))
        x->body_max = 10;
}

static void keep(harness *h, http_exchange *x)
{
    assert_true(h->n_open < MAX_OPEN);
    h->open[h->n_open++] = x;
}

static void h_request(void *arg, http_exchange *x)
{
    harness *h = arg;
    sv_str path = x->request->path;
    h->requests++;
    if (sv_str_is(path, "/echo")) {
        answer(x, 200, x->request->body);
    } else if (sv_str_is(path, "/wait")) {
        keep(h, x);
    } else if (sv_str_is(path, "/stream") || sv_str_is(path, "/flood")) {
        http_start(x, &(http_response){.status = 200, .content_type = text("text/event-stream")});
        if (sv_str_is(path, "/stream")) {
            keep(h, x);
        } else {
            x->on_drained = flood_on;
            flood(x);
        }
    } else {
        answer(x, 200, text("sync"));
    }
}

static void h_refuse(void *arg, http_exchange *x, int code, const sv_error *err)
{
    harness *h = arg;
    x->data = h;
    x->on_over = h_over;
    h->refused++;
    h->last_refusal = code;
    answer(x, sv_error_lookup(code)->http, text(err->message));
}

static void h_open(harness *h)
{
    sv_error err = {0};
    http_service service = {.arg = h, .head = h_head, .request = h_request, .refuse = h_refuse};
    if (h->service.head) service = h->service;
    if (h->limits.head_bytes == 0) h->limits = default_limits;
    h->l = loop_new(&err);
    assert_non_null(h->l);
    h->s = http_server_new(h->l, &h->limits, &service, &err);
    assert_non_null(h->s);
    if (http_server_listen(h->s, "127.0.0.1", 0, false, &err)) fail_msg("%s", err.message);
}

static void h_close(harness *h)
{
    http_server_free(h->s);
    assert_int_equal(h->n_open, 0);
    loop_free(h->l);
}

static inline void wait_or_fail(harness *h, uint64_t since_us, const char *what)
{
    if (clock_us() - since_us > PATIENCE_US) fail_msg("waited in vain: %s", what);
    assert_int_equal(loop_turn(h->l, 5), 0);
}

#define UNTIL(h, condition)                                                                        \
    do {                                                                                           \
        uint64_t since_us_ = clock_us();                                                           \
        while (!(condition))                                                                       \
            wait_or_fail(h, since_us_, #condition);                                                \
    } while (0)

/* ---- clients ---- */

typedef struct client {
    int fd;
    char got[1 << 16];
    size_t n;
    bool eof, reset;
} client;

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static void join(harness *h, client *c, int fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_server_port(h->s))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(c, 0, sizeof *c);
    c->fd = fd;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static inline client *connected(harness *h)
{
    client *c = malloc(sizeof *c);
    join(h, c, new_socket());
    return c;
}

static void leave(client *c)
{
    if (c->fd >= 0) close(c->fd);
    free(c);
}

/* Sends everything, turning the loop when the socket is full; false when the server is gone. */
static inline bool say_n(harness *h, client *c, const char *p, size_t n)
{
    uint64_t since_us = clock_us();
    while (n > 0) {
        ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) return false;
        if (done < 0) {
            wait_or_fail(h, since_us, "send");
            continue;
        }
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static inline bool say(harness *h, client *c, const char *s)
{
    return say_n(h, c, s, strlen(s));
}

/* Takes what has arrived. True when there is nothing more to come. */
static bool hear(client *c)
{
    while (!c->eof && c->n < sizeof c->got - 1) {
        ssize_t n = recv(c->fd, c->got + c->n, sizeof c->got - 1 - c->n, 0);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) {
            c->eof = true;
            c->reset = n < 0;
        } else {
            c->n += (size_t)n;
        }
    }
    c->got[c->n] = 0;
    return c->eof;
}

static inline bool heard(client *c, const char *what)
{
    hear(c);
    return strstr(c->got, what) != NULL;
}

static inline int count(const char *in, const char *what)
{
    int n = 0;
    for (const char *at = in; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

#endif
