/*  http_conn.c - the state machine of http_conn.h.
 *
 *  The descriptor is registered once, edge-triggered for everything, and never modified:
 *  `readable` and `writable` remember what the edges and the calls told. Input that is left at
 *  the end of a turn's budget puts the connection on the server's ready list.
 *
 *  Deadlines only move one `loop_timer` forward: it is set again when it fires early or when a
 *  new deadline comes before it, so a busy keep-alive connection hardly touches the heap. */
#include "http_conn.h"

#include "error.h"
#include "http2.h"
#include "http_keep.h"
#include "proxy_protocol.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    NO_DEADLINE_MS = 0,
    OVERLOADED_MS = 2000,  /* for a connection beyond the limits to send its request */
    RETIRE_MS = 500,       /* in a drain, for a request on its way, which a close would cut */
    HELLOS_TURN = 8,       /* handshake steps; each may cost a signature */
    LINGER_BYTES = 1 << 20 /* discarded before a refused client is cut off */
};

static void on_timer(void *arg);
static void on_event(void *arg, int fd, uint32_t events);

/* ---- deadlines ---- */

static uint64_t deadline_of(const http_conn *c)
{
    return c->read_by_us < c->write_by_us ? c->read_by_us : c->write_by_us;
}

static void arm(http_conn *c)
{
    uint64_t at_us = deadline_of(c), now_us = loop_now_us(c->s->l);
    if (at_us == UINT64_MAX || (c->timer.slot && c->timer.at_us <= at_us)) return;
    uint64_t delay_us = at_us > now_us ? at_us - now_us : 0;
    if (loop_timer_set(c->s->l, &c->timer, delay_us, on_timer, c)) {
        c->broken = true; /* a connection without deadlines must not live */
        server_touch(c->s, c);
    }
}

void conn_read_within(http_conn *c, uint64_t ms)
{
    c->read_by_us = ms ? loop_now_us(c->s->l) + ms * 1000 : UINT64_MAX;
    arm(c);
}

void conn_read_by(http_conn *c, uint64_t at_us)
{
    if (at_us >= c->read_by_us) return;
    c->read_by_us = at_us;
    arm(c);
}

uint64_t conn_head_ms(const http_conn *c)
{
    uint32_t ms = c->s->limits.head_ms;
    return c->x.overloaded && ms > OVERLOADED_MS ? OVERLOADED_MS : ms;
}

/* ---- life ---- */

void conn_new(http_server *s, int fd, const http_address *from, conn_peer *peer, bool reserve,
              bool announced)
{
    http_conn *c = calloc(1, sizeof *c);
    http_transport t = {.ops = &http_transport_plain, .fd = fd};
    if (c == NULL || (s->open && s->open(s->open_arg, &t))) {
        t.ops->close(&t, true);
        free(c);
        server_give_place(s, peer, reserve);
        return;
    }
    c->s = s;
    c->t = t;
    c->x.remote = *from;
    c->x.overloaded = peer == NULL;
    c->peer = peer;
    c->x.wire = &http1_wire;
    c->state = announced ? CONN_PROXY : t.ops->hello ? CONN_HELLO : CONN_IDLE;
    c->proxied = trusted_has(&s->trusted, from);
    c->reserve = reserve;
    c->writable = c->readable = c->first = true;
    c->read_by_us = c->write_by_us = UINT64_MAX;
    TAILQ_INSERT_TAIL(&s->all, c, all);
    s->stats.connections++;
    if (loop_fd_add(s->l, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_event, c, &c->watch)) {
        conn_drop(c, true);
        return;
    }
    conn_read_within(c, conn_head_ms(c));
}

static void destroy(http_conn *c, bool reset)
{
    http_server *s = c->s;
    assert(!c->open);
    if (c->h2) http2_free(c->h2);
    loop_timer_stop(s->l, &c->timer);
    loop_fd_del(c->watch);
    c->t.ops->close(&c->t, reset);
    conn_out_release(c);
    if (c->in_own) free(c->in);
    if (c->head) server_head_give(s, c->head);
    server_forget(s, c);
    free(c);
}

static void over(http_conn *c, http_over how)
{
    if (!c->open) return;
    c->open = false;
    c->s->stats.exchanges--;
    if (c->x.on_over) c->x.on_over(&c->x, how);
    http_kept_free(&c->x);
    c->x.data = NULL;
    c->x.on_over = NULL;
    c->x.on_drained = NULL;
}

void conn_drop(http_conn *c, bool reset)
{
    over(c, c->aborted ? HTTP_OVER_ABORTED : HTTP_OVER_GONE);
    destroy(c, reset);
}

static bool is_reading(const http_conn *c)
{
    if (c->state == CONN_BODY) return !c->x.paused;
    return c->state == CONN_IDLE || c->state == CONN_HEAD;
}

/* LINGER: reads and forgets, so that the close is no reset and the client sees its answer. */
static bool discard(http_conn *c)
{
    ssize_t n = c->t.ops->read(&c->t, c->s->scratch, HTTP_TURN_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        c->readable = errno == EINTR;
        return true;
    }
    c->discarded += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->discarded > LINGER_BYTES) {
        conn_drop(c, false);
        return false;
    }
    server_ready(c->s, c);
    return true;
}

/* One read and what follows from it. False when the connection must go. */
static bool read_step(http_conn *c)
{
    conn_in_borrow(c);
    /* A pipelined request that came with an earlier one, or what was left when a body was paused. */
    if (c->state == CONN_IDLE || c->state == CONN_BODY) conn_parse(c);
    if (conn_in_left(c) == 0) { /* the read may go to the scratch */
        conn_in_settle(c);
        conn_in_borrow(c);
    }
    if (is_reading(c) && c->readable) {
        int rc = conn_in_read(c);
        if (rc < 0) return false;
        if (rc > 0) conn_parse(c);
    }
    return conn_in_settle(c);
}

/* PROXY: the header is taken when it is whole, and what follows stays where it is. False when it
 * freed `c`. */
static bool announce(http_conn *c)
{
    http_server *s = c->s;
    proxy_header h = {0};
    ssize_t n = recv(c->t.fd, s->scratch, PROXY_HEADER_BYTES, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    int rc = n > 0 ? proxy_header_parse(s->scratch, (size_t)n, &h, NULL) : -1;
    if (rc == 1 && !c->peer_ended) return true;
    if (rc || recv(c->t.fd, s->scratch, h.bytes, 0) != (ssize_t)h.bytes) {
        s->stats.unannounced++;
        conn_drop(c, true);
        return false;
    }
    if (!server_place(s, c, h.local ? &c->x.remote : &h.from)) {
        conn_drop(c, true);
        return false;
    }
    c->state = c->t.ops->hello ? CONN_HELLO : CONN_IDLE;
    conn_read_by(c, loop_now_us(s->l) + conn_head_ms(c) * 1000);
    server_ready(s, c);
    return true;
}

/* HELLO: one step, if the turn has one left. Handshakes of many clients at once must not hold up the
 * others. False when it freed `c`. */
static bool hello(http_conn *c)
{
    http_server *s = c->s;
    if (s->hellos_us != loop_now_us(s->l)) {
        s->hellos_us = loop_now_us(s->l);
        s->hellos = 0;
    }
    if (s->hellos == HELLOS_TURN) {
        server_ready(s, c);
        return true;
    }
    s->hellos++;
    sv_error err = {0};
    switch (c->t.ops->hello(&c->t)) {
    case HTTP_HELLO_MORE: return true;
    case HTTP_HELLO_HTTP1:
        c->state = CONN_IDLE;
        if (s->draining) conn_read_within(c, OVERLOADED_MS);
        break;
    case HTTP_HELLO_HTTP2:
        c->state = CONN_HTTP2;
        c->h2 = http2_new(c);
        if (c->h2 == NULL) {
            conn_drop(c, true);
            return false;
        }
        break;
    case HTTP_HELLO_PLAIN:
        sv_fail(&err, SV_E_HTTP_MALFORMED, NULL,
                "This port speaks HTTPS only: write https:// in front of the address.");
        conn_refuse(c, SV_E_HTTP_MALFORMED, &err);
        return true;
    case HTTP_HELLO_FAILED: conn_drop(c, false); return false;
    }
    server_ready(s, c);
    return true;
}

bool conn_run(http_conn *c)
{
    if (c->state == CONN_PROXY) return announce(c);
    if (c->state == CONN_HELLO) return hello(c);
    if (c->state == CONN_HTTP2) return http2_run(c->h2);
    if (c->state == CONN_LINGER) return !c->readable || discard(c);
    if (is_reading(c) && !read_step(c)) {
        if (!c->in_own) c->in = NULL;
        conn_drop(c, c->broken);
        return false;
    }
    if (is_reading(c) && c->readable) server_ready(c->s, c);
    if (c->state == CONN_ANSWER && c->peer_ended && !c->x.ended) {
        conn_drop(c, false);
        return false;
    }
    return true;
}

void conn_retire(http_conn *c)
{
    if (c->state == CONN_HTTP2) http2_retire(c->h2);
    if (c->state != CONN_IDLE) return;
    c->readable = true;
    if (conn_run(c) && c->state == CONN_IDLE) conn_read_within(c, RETIRE_MS);
}

static void on_event(void *arg, int fd, uint32_t events)
{
    http_conn *c = arg;
    (void)fd;
    if (events & EPOLLERR) {
        conn_drop(c, true);
        return;
    }
    if (events & EPOLLOUT) {
        c->writable = true;
        if (c->out_n > c->out_at) server_touch(c->s, c);
    }
    if (events & (EPOLLRDHUP | EPOLLHUP)) c->peer_ended = true;
    if (c->state == CONN_HELLO ||
        c->state == CONN_PROXY) { /* in the order of arrival, so many a turn */
        c->readable = true;
        server_ready(c->s, c);
        return;
    }
    if (c->t.session) { /* a session may wait for one direction to go on in the other */
        c->writable = true;
        if (c->out_n > c->out_at) server_touch(c->s, c);
    }
    if (c->t.session || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))) {
        c->readable = true;
        if (!c->ready) conn_run(c);
    }
}

static void on_timer(void *arg)
{
    http_conn *c = arg;
    uint64_t now_us = loop_now_us(c->s->l);
    if (now_us < deadline_of(c)) {
        arm(c);
        return;
    }
    if (c->write_by_us <= now_us) {
        conn_drop(c, true);
        return;
    }
    if (c->state == CONN_HTTP2) {
        http2_timer(c->h2);
        return;
    }
    if (c->state != CONN_HEAD && c->state != CONN_BODY) {
        conn_drop(c, false);
        return;
    }
    sv_error err = {0};
    sv_fail(&err, SV_E_HTTP_TIMEOUT, NULL, "The request %s did not arrive in time.",
            c->state == CONN_HEAD ? "head" : "body");
    conn_refuse(c, SV_E_HTTP_TIMEOUT, &err);
    if (!conn_in_settle(c)) conn_drop(c, true);
}

/* ---- output ---- */

/* The answer has left: the next request, or the end. */
static void answer_done(http_conn *c)
{
    over(c, HTTP_OVER_DONE);
    c->write_by_us = UINT64_MAX;
    if (!c->x.close) {
        c->state = CONN_IDLE;
        conn_read_within(c, c->s->draining ? RETIRE_MS : c->s->limits.idle_ms);
        if (conn_in_left(c) > 0 || c->readable) server_ready(c->s, c);
        return;
    }
    if (!c->unread && conn_in_left(c) == 0 && !c->readable) {
        c->t.ops->shut(&c->t);
        conn_drop(c, false);
        return;
    }
    conn_linger(c);
}

void conn_linger(http_conn *c)
{
    c->t.ops->shut(&c->t);
    c->in_at = c->in_n;
    conn_in_settle(c);
    c->state = CONN_LINGER;
    conn_read_within(c, c->s->limits.linger_ms);
    if (c->readable) server_ready(c->s, c);
}

bool conn_write(http_conn *c)
{
    size_t budget = HTTP_TURN_BYTES;
    bool progress = false;
    while (c->out_at < c->out_n && c->writable && budget > 0) {
        size_t n = c->out_n - c->out_at;
        if (n > budget) n = budget;
        ssize_t done = c->t.ops->write(&c->t, c->out + c->out_at, n);
        if (done < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
            c->writable = false;
            break;
        }
        progress = progress || done > 0;
        c->out_at += (size_t)done;
        budget -= (size_t)done;
    }
    if (c->out_at == c->out_n) {
        conn_out_release(c);
        c->write_by_us = UINT64_MAX;
        return true;
    }
    if (progress || c->write_by_us == UINT64_MAX) {
        c->write_by_us = loop_now_us(c->s->l) + (uint64_t)c->s->limits.stall_ms * 1000;
        arm(c);
    }
    if (c->writable) server_touch(c->s, c);
    return true;
}

void conn_flush(http_conn *c)
{
    if (c->state == CONN_HTTP2 && !c->broken) {
        http2_flush(c->h2);
        return;
    }
    if (c->broken || c->aborted || !conn_write(c)) {
        conn_drop(c, c->broken && !c->aborted);
        return;
    }
    if (!c->open) return;
    size_t pending = c->out_n - c->out_at;
    if (c->wrote && !c->x.ended && pending <= c->s->limits.output_bytes / 2) {
        c->wrote = false;
        if (c->x.on_drained) c->x.on_drained(&c->x);
    }
    if (c->state == CONN_ANSWER && c->x.ended && c->out_n == c->out_at && !c->aborted)
        answer_done(c);
}
