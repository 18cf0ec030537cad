/*  tls_load.c - new TLS connections to a server on loopback, each with one GET: one thread, epoll.
 *  C slots work at once; each connects, shakes hands, asks, reads the answer and begins anew. With
 *  --resume each slot comes back with the ticket that it got last. Certificates are not checked
 *  against anybody, the signature of the handshake is. Ends with a reset, so that no port lies in
 *  TIME_WAIT. What finishes within [warmup, warmup + seconds) is counted; one JSON line; ends with 1
 *  if there were errors. */
#include "hist.h"
#include "http_reader.h"
#include "net.h"
#include "opts.h"
#include "pids.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef struct slot {
    int fd;
    bool asked;
    SSL *tls;
    SSL_SESSION *ticket; /* for the next connection; used once */
    http_reader reader;
    uint64_t start, retry_at;
    uint32_t watched;
} slot;

enum { EVENTS = 256, RETRY_US = 20000 };

static struct {
    int64_t port, connections;
    double seconds, warmup;
    const char *path, *pids;
    bool resume;
} o = {.connections = 16, .seconds = 2, .warmup = 0.5, .path = "/"};

static SSL_CTX *ctx;
static slot *slots;
static int ep;
static char request[2048];
static int request_n;
static uint64_t t_from, t_to, good, resumed, errors;
static hist total;

static bool counted(uint64_t us)
{
    return us >= t_from && us < t_to;
}

/* ---- a connection ---- */

static int on_ticket(SSL *tls, SSL_SESSION *ticket)
{
    slot *s = SSL_get_app_data(tls);
    SSL_SESSION_free(s->ticket);
    s->ticket = ticket;
    return 1; /* ours now */
}

static void drop(slot *s)
{
    if (s->tls) {
        SSL_set_quiet_shutdown(s->tls, 1);
        SSL_shutdown(s->tls); /* says nothing; without it the library calls the session broken */
        SSL_free(s->tls);
    }
    if (s->fd >= 0) net_reset(s->fd);
    s->tls = NULL;
    s->fd = -1;
    http_reader_next(&s->reader);
}

static void begin(slot *s)
{
    s->start = now_us();
    s->asked = false;
    s->fd = net_connect((uint16_t)o.port, 0);
    s->tls = SSL_new(ctx);
    if (s->fd < 0 || !s->tls) die("cannot connect: %s", strerror(errno));
    SSL_set_app_data(s->tls, s);
    SSL_set_fd(s->tls, s->fd);
    SSL_set_connect_state(s->tls);
    if (o.resume && s->ticket) {
        SSL_set_session(s->tls, s->ticket);
        SSL_SESSION_free(s->ticket);
        s->ticket = NULL;
    }
    s->watched = EPOLLOUT;
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = s};
    epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e);
}

static void failed(slot *s)
{
    uint64_t now = now_us();
    if (counted(now)) errors++;
    ERR_clear_error();
    drop(s);
    s->retry_at = now + RETRY_US;
}

static void finish(slot *s)
{
    uint64_t now = now_us();
    if (s->reader.status / 100 != 2) {
        failed(s);
        return;
    }
    if (counted(now)) {
        good++;
        resumed += (uint64_t)SSL_session_reused(s->tls);
        hist_add(&total, now - s->start);
    }
    drop(s);
    begin(s);
}

static void ignore(void *arg, const char *p, size_t n)
{
    (void)arg, (void)p, (void)n;
}

/* 1: go on, 0: wait, -1: broken. */
static int outcome(slot *s, int rc)
{
    if (rc > 0) return 1;
    int why = SSL_get_error(s->tls, rc);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return -1;
    uint32_t want = why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
    if (want != s->watched) {
        struct epoll_event e = {.events = want, .data.ptr = s};
        epoll_ctl(ep, EPOLL_CTL_MOD, s->fd, &e);
        s->watched = want;
    }
    return 0;
}

static void advance(slot *s)
{
    static char in[65536];
    int rc = 1;
    if (!SSL_is_init_finished(s->tls)) rc = outcome(s, SSL_do_handshake(s->tls));
    if (rc > 0 && !s->asked) {
        rc = outcome(s, SSL_write(s->tls, request, request_n));
        s->asked = rc > 0;
    }
    while (rc > 0) {
        int n = SSL_read(s->tls, in, sizeof in);
        size_t used;
        rc = outcome(s, n);
        if (rc <= 0) break;
        http_result r = http_reader_feed(&s->reader, in, (size_t)n, &used, ignore, NULL);
        if (r == HTTP_DONE) {
            finish(s);
            return;
        }
        if (r == HTTP_BAD) rc = -1;
    }
    if (rc < 0) failed(s);
}

/* ---- the run ---- */

static void run(void)
{
    struct epoll_event ev[EVENTS];
    bool cpu = false;
    for (int64_t i = 0; i < o.connections; i++)
        begin(&slots[i]);
    for (;;) {
        int n = epoll_wait(ep, ev, EVENTS, 10);
        uint64_t now = now_us();
        if (!cpu && now >= t_from) {
            cpu = true;
            t_from = now;
            pids_begin();
        }
        if (now >= t_to) {
            pids_end();
            t_to = now;
            return;
        }
        for (int i = 0; i < n; i++)
            advance(ev[i].data.ptr);
        for (int64_t i = 0; i < o.connections; i++)
            if (slots[i].fd < 0 && now >= slots[i].retry_at) begin(&slots[i]);
    }
}

static void options(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &o.port, 1, 65535, "port on 127.0.0.1"},
        {"connections", OPT_INT, &o.connections, 1, 1000, "connections at once"},
        {"seconds", OPT_NUM, &o.seconds, 0.01, 3600, "measured time"},
        {"warmup", OPT_NUM, &o.warmup, 0, 600, "time before it"},
        {"path", OPT_STR, &o.path, 0, 0, "request target"},
        {"resume", OPT_FLAG, &o.resume, 0, 0, "come back with the ticket of the last connection"},
        {"pids", OPT_STR, &o.pids, 0, 0, "NAME=PID,...: report their CPU per connection"},
    };
    opts_parse(argc, argv, "new TLS connections, one request each", table,
               sizeof table / sizeof *table);
    if (o.port == 0) die("--port is needed");
    pids_parse(o.pids);
    request_n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\n\r\n",
                         o.path, (long long)o.port);
    if (request_n >= (int)sizeof request) die("--path is too long");
}

int main(int argc, char **argv)
{
    options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    slots = calloc((size_t)o.connections, sizeof *slots);
    ep = epoll_create1(EPOLL_CLOEXEC);
    ctx = SSL_CTX_new(TLS_client_method());
    if (!slots || ep < 0 || !ctx) die("out of memory");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    for (int64_t i = 0; i < o.connections; i++) {
        slots[i].fd = -1;
        http_reader_init(&slots[i].reader, false, false);
    }
    t_from = now_us() + (uint64_t)(o.warmup * 1e6);
    t_to = t_from + (uint64_t)(o.seconds * 1e6);
    run();
    double seconds = (double)(t_to - t_from) / 1e6;
    printf("{\"connections\":%lld,\"handshakes\":%llu,\"per_s\":%.1f,\"resumed\":%llu,"
           "\"p50_us\":%llu,\"p99_us\":%llu,\"max_us\":%llu",
           (long long)o.connections, (unsigned long long)good, (double)good / seconds,
           (unsigned long long)resumed, (unsigned long long)hist_at(&total, 0.5),
           (unsigned long long)hist_at(&total, 0.99), (unsigned long long)total.max);
    pids_print(good);
    printf(",\"errors\":%llu}\n", (unsigned long long)errors);
    for (int64_t i = 0; i < o.connections; i++) {
        drop(&slots[i]);
        SSL_SESSION_free(slots[i].ticket);
        http_reader_free(&slots[i].reader);
    }
    free(slots);
    SSL_CTX_free(ctx);
    close(ep);
    return errors ? 1 : 0;
}
