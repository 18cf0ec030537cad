/*  fuzz_http2.c - any bytes as frames of an HTTP/2 client, over a connection whose transport is memory.
 *  The first byte: 1 puts the client's preface and SETTINGS in front; 2 takes bytes one by one; 4
 *  streams bodies; 8 pauses them; 16 keeps requests; 32 drains at the end; 64 speaks HTTP/1.1. Each
 *  exchange is over exactly once, bodies come in their order, and nothing stays behind. */
#include "http2_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PREFACE = 1, DRIP = 2, STREAM = 4, PAUSE = 8, KEEP = 16, DRAIN = 32, ONE = 64, OPEN = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static struct {
    const uint8_t *p;
    size_t n, preface_at;
    uint8_t flags;
    bool stalled;
    http_exchange *open[OPEN];
    uint32_t n_open;
} w;

/* ---- the transport ---- */

static http_hello hello(http_transport *t)
{
    (void)t;
    return w.flags & ONE ? HTTP_HELLO_HTTP1 : HTTP_HELLO_HTTP2;
}

static ssize_t take(http_transport *t, void *to, size_t n)
{
    (void)t;
    const uint8_t *p = w.p;
    size_t left = w.n;
    bool first = w.preface_at < sizeof preface - 1;
    if (first) {
        p = (const uint8_t *)preface + w.preface_at;
        left = sizeof preface - 1 - w.preface_at;
    }
    if (left == 0 && !w.stalled) { /* all are answered before the client leaves */
        w.stalled = true;
        errno = EAGAIN;
        return -1;
    }
    if (n > left) n = left;
    if (n > 1 && (w.flags & DRIP)) n = 1;
    if (n) memcpy(to, p, n);
    if (first) {
        w.preface_at += n;
    } else {
        w.p += n;
        w.n -= n;
    }
    return (ssize_t)n;
}

static ssize_t give(http_transport *t, const void *p, size_t n)
{
    (void)t;
    (void)p;
    return (ssize_t)n;
}

static void shut(http_transport *t)
{
    (void)t;
}

static void close_it(http_transport *t, bool reset)
{
    (void)reset;
    if (t->fd >= 0) close(t->fd);
    t->fd = -1;
}

static const http_transport_ops memory = {
    .hello = hello, .read = take, .write = give, .shut = shut, .close = close_it};

static int open_memory(void *arg, http_transport *t)
{
    (void)arg;
    t->ops = &memory;
    t->session = &w; /* there may be more than the last read gave */
    return 0;
}

/* ---- the service ---- */

static void over(http_exchange *x, http_over how)
{
    (void)how;
    uint32_t i = 0;
    while (i < w.n_open && w.open[i] != x)
        i++;
    assert(i < w.n_open);
    w.open[i] = w.open[--w.n_open];
}

static void respond(http_exchange *x, int status)
{
    http_respond(x, &(http_response){.status = status, .body = sv_cstr("said")});
}

static void head(void *arg, http_exchange *x)
{
    (void)arg;
    assert(x->request->path.n > 0 && x->request->method.n > 0 && w.n_open < OPEN);
    w.open[w.n_open++] = x;
    x->on_over = over;
    x->data = NULL;
    if (sv_str_is(x->request->path, "/no")) {
        respond(x, 404);
        return;
    }
    if (w.flags & STREAM) http_stream_body(x);
    if (w.flags & PAUSE) http_pause(x);
    if (w.flags & KEEP) assert(http_keep(x) == 0);
}

static void body(void *arg, http_exchange *x, sv_str bytes)
{
    (void)arg;
    assert(x->streaming && !x->paused && bytes.n > 0 && x->data == NULL);
    assert((x->request != NULL) == (x->kept != NULL));
    if (w.flags & PAUSE) http_pause(x);
    if (bytes.p[0] == '!') respond(x, 403);
}

static void request(void *arg, http_exchange *x)
{
    (void)arg;
    assert(x->data == NULL && !x->paused);
    x->data = x;
    sv_str got = x->request->body;
    char sum = 0;
    for (uint32_t i = 0; i < got.n; i++)
        sum = (char)(sum + got.p[i]);
    http_start(x, &(http_response){.status = 200});
    http_write(x, (sv_str){&sum, 1});
    http_write(x, got);
    if (got.n && got.p[0] == '~')
        http_abort(x);
    else
        http_end(x);
    if (x->kept && (sum & 1)) http_unkeep(x);
}

static void refuse(void *arg, http_exchange *x, int code, const sv_error *err)
{
    (void)arg;
    assert(code < 0 && err->code == code && x->data == NULL);
    if (x->on_over == NULL) {
        assert(w.n_open < OPEN);
        w.open[w.n_open++] = x;
        x->on_over = over;
    }
    respond(x, 400);
}

static const http_limits limits = {
    .head_bytes = 4096,
    .line_bytes = 1024,
    .headers = 32,
    .body_bytes = 65536,
    .output_bytes = 65536,
    .connections = 100,
    .connections_per_address = 100,
    .streams = 20,
    .head_ms = 10000,
    .body_grace_ms = 10000,
    .body_rate = 1024,
    .idle_ms = 10000,
    .stall_ms = 10000,
    .linger_ms = 1000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static http_server *s;
    static loop *l;
    const http_service service = {.head = head, .body = body, .request = request, .refuse = refuse};
    const http_address from = {{0}, 0};
    if (size < 1) return 0;
    if (l == NULL) {
        l = loop_new(NULL);
        s = l ? http_server_new(l, &limits, &service, NULL) : NULL;
        assert(s);
        http_server_transport(s, open_memory, NULL);
    }
    memset(&w, 0, sizeof w);
    w.flags = data[0];
    w.p = data + 1;
    w.n = size - 1;
    if (!(w.flags & PREFACE) || (w.flags & ONE)) w.preface_at = sizeof preface - 1;
    int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    assert(fd >= 0);
    s->unknown.n++;
    conn_new(s, fd, &from, &s->unknown, false, false);
    for (int i = 0; i < 100000 && http_server_look(s).connections; i++) {
        assert(loop_turn(l, 0) == 0);
        bool resumed = false;
        for (uint32_t k = 0; k < w.n_open; k++) {
            resumed = resumed || w.open[k]->paused;
            http_resume(w.open[k]);
        }
        http_conn *c = TAILQ_FIRST(&s->all);
        if (c == NULL || !w.stalled || resumed) continue;
        if ((w.flags & DRAIN) && c->h2) {
            w.flags = (uint8_t)(w.flags & ~DRAIN);
            http2_retire(c->h2);
        } else {
            c->readable = true; /* the client's end */
            server_ready(s, c);
        }
    }
    assert(http_server_look(s).connections == 0 && http_server_look(s).exchanges == 0);
    assert(w.n_open == 0 && s->unknown.n == 0);
    return 0;
}
