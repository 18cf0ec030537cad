/*  tiny_server.h - an HTTP server for tests, on the loop of the code under test.
 *  It reads whole requests and hands each to `answer`, which sends any bytes it likes. Include
 *  once. */
#ifndef TINY_SERVER_H
#define TINY_SERVER_H

#include "buf.h"
#include "loop.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct tiny_server tiny_server;

typedef struct tiny_conn {
    tiny_server *server;
    struct tiny_conn *next;
    int fd; /* -1: closed */
    int number;
    loop_fd *watch;
    buf in, out;
    bool close_when_sent;
    size_t sent;
    loop_timer timer;
    int step;     /* for `answer` and its timers */
    int requests; /* seen on this connection */
} tiny_conn;

struct tiny_server {
    loop *loop;
    int fd, port;
    loop_fd *watch;
    tiny_conn *conns; /* newest first */
    void (*answer)(tiny_conn *c, sv_str request);
    int accepted, requests, peer_closed;
    uint64_t peer_closed_us;
    buf last;         /* the last request, NUL-terminated */
    const char *text; /* for tiny_answer_text */
};

static void tiny_drop(tiny_conn *c)
{
    if (c->fd < 0) return;
    loop_timer_stop(c->server->loop, &c->timer);
    loop_fd_del(c->watch);
    close(c->fd);
    c->fd = -1;
}

static void tiny_flush(tiny_conn *c)
{
    while (c->fd >= 0 && c->out.n > 0) {
        ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            tiny_drop(c);
            return;
        }
        c->sent += (size_t)n;
        buf_consume(&c->out, (size_t)n);
    }
    if (c->fd < 0) return;
    if (c->out.n == 0 && c->close_when_sent)
        tiny_drop(c);
    else
        loop_fd_mod(c->watch, c->out.n ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static inline void tiny_send(tiny_conn *c, const void *p, size_t n)
{
    if (c->fd < 0) return;
    assert(buf_put(&c->out, p, n) == 0);
    tiny_flush(c);
}

static inline void tiny_puts(tiny_conn *c, const char *s)
{
    tiny_send(c, s, strlen(s));
}

/* Closes once everything is sent. */
static inline void tiny_close(tiny_conn *c)
{
    c->close_when_sent = true;
    tiny_flush(c);
}

/* Closes with a reset. */
static inline void tiny_reset(tiny_conn *c)
{
    struct linger hard = {1, 0};
    if (c->fd < 0) return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    tiny_drop(c);
}

/* Sends server->text. */
static inline void tiny_answer_text(tiny_conn *c, sv_str request)
{
    (void)request;
    tiny_puts(c, c->server->text);
}

static inline void tiny_answer_nothing(tiny_conn *c, sv_str request)
{
    (void)c, (void)request;
}

static size_t tiny_request_size(const buf *in)
{
    const char *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;
    if (end == NULL) return 0;
    size_t head = (size_t)(end - in->p) + 4, body = 0;
    for (const char *p = in->p; p < end; p++)
        if (strncasecmp(p, "\ncontent-length:", 16) == 0) body = strtoul(p + 16, NULL, 10);
    return in->n >= head + body ? head + body : 0;
}

static void tiny_on_conn(void *arg, int fd, uint32_t events)
{
    tiny_conn *c = arg;
    tiny_server *s = c->server;
    (void)events;
    char *room = buf_room(&c->in, 65536);
    assert(room);
    ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        s->peer_closed++;
        s->peer_closed_us = clock_us();
        tiny_drop(c);
        return;
    }
    if (n > 0) buf_added(&c->in, (size_t)n);
    size_t size;
    while (c->fd >= 0 && (size = tiny_request_size(&c->in)) > 0) {
        s->requests++;
        c->requests++;
        buf_reset(&s->last, SIZE_MAX);
        buf_put(&s->last, c->in.p, size);
        buf_putc(&s->last, 0);
        buf_consume(&c->in, size);
        s->answer(c, (sv_str){s->last.p, (uint32_t)size});
    }
    tiny_flush(c);
}

static void tiny_on_accept(void *arg, int fd, uint32_t events)
{
    tiny_server *s = arg;
    (void)events;
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn < 0) return;
    tiny_conn *c = calloc(1, sizeof *c);
    assert(c);
    c->server = s;
    c->fd = conn;
    c->number = ++s->accepted;
    buf_init(&c->in, 64 << 20);
    buf_init(&c->out, 64 << 20);
    c->next = s->conns;
    s->conns = c;
    assert(loop_fd_add(s->loop, conn, EPOLLIN, tiny_on_conn, c, &c->watch) == 0);
}

static inline void tiny_start(tiny_server *s, loop *l, void (*answer)(tiny_conn *, sv_str))
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    *s = (tiny_server){.loop = l, .answer = answer};
    buf_init(&s->last, 64 << 20);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&a, n) == 0 && listen(s->fd, 64) == 0);
    assert(getsockname(s->fd, (struct sockaddr *)&a, &n) == 0);
    s->port = ntohs(a.sin_port);
    assert(loop_fd_add(l, s->fd, EPOLLIN, tiny_on_accept, s, &s->watch) == 0);
}

static inline void tiny_stop(tiny_server *s)
{
    while (s->conns) {
        tiny_conn *c = s->conns;
        s->conns = c->next;
        tiny_drop(c);
        buf_free(&c->in);
        buf_free(&c->out);
        free(c);
    }
    loop_fd_del(s->watch);
    close(s->fd);
    buf_free(&s->last);
}

#endif
