/*  http_conn.c - the state machine of http_conn.h.
 *
 *  The descriptor is registered once, edge-triggered for everything, and never modified:
 *  `readable` and `writable` remember what the edges and the calls told. Input that is left at
 *  the end of a turn's budget puts the connection on the server's ready list.
 *
 *  Input: `in` is the server's scratch during conn_run, or memory of our own when a request is
 *  not complete. in[in_at, in_n) starts with the current request's head; a body follows it in
 *  place. A chunked body is decoded onto itself: behind the head lie `body_n` decoded bytes, and
 *  between calls nothing else, because the decoder takes every byte until the body ends. What
 *  follows the request is the next one, parsed when the answer has left.
 *
 *  Deadlines only move one `loop_timer` forward: it is set again when it fires early or when a
 *  new deadline comes before it, so a busy keep-alive connection hardly touches the heap. */
#include "http_conn.h"

#include "error.h"
#include "http2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum {
    NO_DEADLINE_MS = 0,
    OVERLOADED_MS = 2000,   /* for a connection beyond the limits to send its request */
    HELLOS_TURN = 8,        /* handshake steps; each may cost a signature */
    LINGER_BYTES = 1 << 20, /* discarded before a refused client is cut off */
    READ_BYTES = 4096,      /* room made for the rest of a head */
    CHUNKED_ROOM = 16384
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

static uint64_t head_ms(const http_conn *c)
{
    uint32_t ms = c->s->limits.head_ms;
    return c->x.overloaded && ms > OVERLOADED_MS ? OVERLOADED_MS : ms;
}

/* The body's deadline grows with what came: rate after grace. */
static void body_deadline(http_conn *c, uint64_t received)
{
    const http_limits *l = &c->s->limits;
    uint64_t earned_us = received * 1000000 / l->body_rate;
    c->read_by_us = c->body_since_us + (uint64_t)l->body_grace_ms * 1000 + earned_us;
    arm(c);
}

/* ---- life ---- */

void conn_new(http_server *s, int fd, const http_address *from, conn_peer *peer, bool reserve)
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
    c->state = t.ops->hello ? CONN_HELLO : CONN_IDLE;
    c->reserve = reserve;
    c->writable = c->readable = c->first = true;
    c->read_by_us = c->write_by_us = UINT64_MAX;
    TAILQ_INSERT_TAIL(&s->all, c, all);
    s->stats.connections++;
    if (loop_fd_add(s->l, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_event, c, &c->watch)) {
        conn_drop(c, true);
        return;
    }
    conn_read_within(c, head_ms(c));
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
    c->x.data = NULL;
    c->x.on_over = NULL;
    c->x.on_drained = NULL;
}

void conn_drop(http_conn *c, bool reset)
{
    over(c, c->aborted ? HTTP_OVER_ABORTED : HTTP_OVER_GONE);
    destroy(c, reset);
}

/* ---- input buffer ---- */

static size_t in_left(const http_conn *c)
{
    return c->in_n - c->in_at;
}

/* Before the turn's work: without bytes of our own we read into the scratch. */
static void in_borrow(http_conn *c)
{
    if (c->in) return;
    c->in = c->s->scratch;
    c->in_cap = HTTP_TURN_BYTES;
    c->in_at = c->in_n = 0;
    c->in_own = false;
}

/* How much more of the current request may come. */
static size_t in_wanted(const http_conn *c)
{
    if (c->state != CONN_BODY) return READ_BYTES;
    if (c->head->chunked) return CHUNKED_ROOM;
    uint64_t missing = c->head->bytes + c->head->length - in_left(c);
    return missing < HTTP_TURN_BYTES ? (size_t)missing : HTTP_TURN_BYTES;
}

static bool in_move(http_conn *c, size_t cap)
{
    size_t n = in_left(c);
    if (c->in_own && c->in_at == 0) {
        char *p = realloc(c->in, cap);
        if (p == NULL) return false;
        c->in = p;
    } else {
        char *p = malloc(cap);
        if (p == NULL) return false;
        memcpy(p, c->in + c->in_at, n);
        if (c->in_own) free(c->in);
        c->in = p;
    }
    c->in_own = true;
    c->in_at = 0;
    c->in_n = n;
    c->in_cap = cap;
    return true;
}

/* After the turn's work: what is left moves to memory of our own, and without any there is none. */
static bool in_settle(http_conn *c)
{
    size_t n = in_left(c);
    if (n > 0) return c->in_own || in_move(c, n + in_wanted(c));
    if (c->in_own) free(c->in);
    c->in = NULL;
    c->in_own = false;
    c->in_at = c->in_n = c->in_cap = 0;
    return true;
}

static bool in_room(http_conn *c)
{
    size_t want = in_wanted(c), n = in_left(c);
    return c->in_cap - c->in_n >= want || in_move(c, n + want + n / 2);
}

/* One read. 1 when bytes came, 0 when there are none now, -1 when the peer is gone. */
static int in_read(http_conn *c)
{
    if (!in_room(c)) {
        c->broken = true;
        return -1;
    }
    size_t room = c->in_cap - c->in_n;
    if (room > HTTP_TURN_BYTES) room = HTTP_TURN_BYTES;
    ssize_t n = c->t.ops->read(&c->t, c->in + c->in_n, room);
    if (n > 0) {
        c->in_n += (size_t)n;
        c->readable = (size_t)n == room || c->peer_ended || c->t.session;
        return 1;
    }
    c->readable = false;
    if (n < 0 && errno == EINTR) {
        c->readable = true;
        return 0;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    c->peer_ended = true;
    return -1;
}

/* ---- exchanges ---- */

static sv_str span(const char *base, http_span s)
{
    return (sv_str){base + s.at, s.n};
}

void conn_fill_request(http_server *s, const http_head *h, const char *base, bool secure)
{
    s->request = (http_request){.headers = s->headers, .secure = secure};
    if (h == NULL) return;
    s->request.method = span(base, h->method);
    s->request.path = span(base, h->path);
    if (h->query.at) s->request.query = span(base, h->query);
    if (h->host.n) s->request.host = span(base, h->host);
    s->request.has_body = h->has_length || h->chunked;
    s->request.n_headers = h->n_fields;
    for (uint32_t i = 0; i < h->n_fields; i++)
        s->headers[i] =
            (http_header){span(base, h->fields[i].name), span(base, h->fields[i].value)};
}

/* As far as the head was read. */
static void fill_request(http_conn *c)
{
    const char *base = c->head ? c->in + c->in_at : NULL;
    conn_fill_request(c->s, c->head, base, c->t.ops->secure);
    c->x.request = &c->s->request;
}

static void open_exchange(http_conn *c)
{
    http_exchange *x = &c->x;
    x->body_max = c->s->limits.body_bytes;
    x->secure = c->t.ops->secure;
    x->started = x->ended = false;
    x->close = c->s->draining || x->overloaded || (c->head && c->head->close);
    c->open = true;
    c->chunked_out = c->wrote = false;
    c->s->stats.exchanges++;
}

/* The request has been handed over or refused: its bytes are done with. */
static void release_request(http_conn *c, size_t bytes)
{
    c->x.request = NULL;
    c->in_at += bytes;
    c->body_n = 0;
    if (c->head) server_head_give(c->s, c->head);
    c->head = NULL;
    c->first = false;
    if (c->x.ended) server_touch(c->s, c);
}

/* Answers in the service's words and ends the connection; nothing more is read as a request. */
static void refuse(http_conn *c, int code, const sv_error *err)
{
    c->unread = true;
    if (!c->open) {
        if (c->head && c->head->method.n)
            c->head_only = sv_str_is(span(c->in + c->in_at, c->head->method), "HEAD");
        c->minor = 1;
        open_exchange(c);
    }
    c->x.close = true;
    c->state = CONN_ANSWER;
    conn_read_within(c, NO_DEADLINE_MS);
    fill_request(c);
    c->s->service.refuse(c->s->service.arg, &c->x, code, err);
    assert(c->x.ended);
    release_request(c, in_left(c));
}

int conn_too_large(size_t body_max, sv_error *err)
{
    if (body_max == 0)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "This address takes no request body.");
    return sv_fail(err, SV_E_TOO_LARGE, NULL,
                   "The request body is larger than the %zu bytes allowed.", body_max);
}

static void refuse_too_large(http_conn *c)
{
    sv_error err = {0};
    refuse(c, conn_too_large(c->x.body_max, &err), &err);
}

static void hand_over(http_conn *c, size_t bytes)
{
    c->state = CONN_ANSWER;
    c->unread = false;
    conn_read_within(c, NO_DEADLINE_MS);
    fill_request(c);
    c->s->request.body = (sv_str){c->in + c->in_at + c->head->bytes, (uint32_t)c->body_n};
    c->s->service.request(c->s->service.arg, &c->x);
    release_request(c, bytes);
}

/* The head is complete. */
static void head_done(http_conn *c)
{
    http_head *h = c->head;
    bool body = h->chunked || h->length > 0;
    c->minor = h->minor;
    c->head_only = sv_str_is(span(c->in + c->in_at, h->method), "HEAD");
    open_exchange(c);
    c->unread = body;
    fill_request(c);
    c->s->service.head(c->s->service.arg, &c->x);
    if (c->x.started || c->x.ended) {
        c->state = CONN_ANSWER;
        conn_read_within(c, NO_DEADLINE_MS);
        release_request(c, c->unread ? in_left(c) : h->bytes);
        return;
    }
    c->x.request = NULL;
    if (h->length > c->x.body_max) {
        refuse_too_large(c);
        return;
    }
    if (!body) {
        c->body_n = 0;
        hand_over(c, h->bytes);
        return;
    }
    if (h->expect && in_left(c) == h->bytes) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        conn_put(c, go_on, sizeof go_on - 1);
    }
    c->state = CONN_BODY;
    c->body_n = 0;
    c->body_since_us = loop_now_us(c->s->l);
    http_chunked_reset(&c->chunked);
    body_deadline(c, 0);
}

/* Decodes what came onto the end of the body. */
static void body_chunked(http_conn *c)
{
    char *base = c->in + c->in_at + c->head->bytes;
    size_t at = c->body_n, end = in_left(c) - c->head->bytes;
    for (;;) {
        size_t used = 0;
        sv_str data;
        sv_error err = {0};
        int rc = http_chunked_next(&c->chunked, base + at, end - at, &used, &data, &err);
        if (rc < 0) {
            refuse(c, rc, &err);
            return;
        }
        if (data.n > c->x.body_max - c->body_n) {
            refuse_too_large(c);
            return;
        }
        memmove(base + c->body_n, data.p, data.n);
        c->body_n += data.n;
        at += used;
        if (rc == 1) {
            hand_over(c, c->head->bytes + at);
            return;
        }
        if (at == end) break;
    }
    c->in_n = c->in_at + c->head->bytes + c->body_n;
    body_deadline(c, c->body_n);
}

static void body_step(http_conn *c)
{
    if (c->head->chunked) {
        body_chunked(c);
        return;
    }
    size_t have = in_left(c) - c->head->bytes;
    if (have < c->head->length) {
        body_deadline(c, have);
        return;
    }
    c->body_n = (size_t)c->head->length;
    hand_over(c, c->head->bytes + c->body_n);
}

static void head_step(http_conn *c)
{
    sv_error err = {0};
    int rc = http_head_parse(c->head, c->in + c->in_at, in_left(c), &err);
    if (rc == 0)
        head_done(c);
    else if (rc != HTTP_MORE)
        refuse(c, rc, &err);
}

/* Parses what is there, as far as the state goes. */
static void parse(http_conn *c)
{
    if (c->state == CONN_IDLE && in_left(c) > 0) {
        c->head = server_head_take(c->s);
        if (c->head == NULL) {
            c->broken = true;
            server_touch(c->s, c);
            return;
        }
        http_head_reset(c->head, c->s->limits.head_bytes, c->s->limits.line_bytes,
                        c->s->limits.headers);
        c->state = CONN_HEAD;
        if (!c->first) conn_read_within(c, head_ms(c));
    }
    if (c->state == CONN_HEAD) head_step(c);
    if (c->state == CONN_BODY && in_left(c) > 0) body_step(c);
}

static bool is_reading(const http_conn *c)
{
    return c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_BODY;
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
    in_borrow(c);
    if (c->state == CONN_IDLE) parse(c); /* a pipelined request that came with an earlier one */
    if (is_reading(c) && c->readable) {
        int rc = in_read(c);
        if (rc < 0) return false;
        if (rc > 0) parse(c);
    }
    return in_settle(c);
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
        refuse(c, SV_E_HTTP_MALFORMED, &err);
        return true;
    case HTTP_HELLO_FAILED: conn_drop(c, false); return false;
    }
    server_ready(s, c);
    return true;
}

bool conn_run(http_conn *c)
{
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
    if (conn_run(c) && c->state == CONN_IDLE) conn_drop(c, false);
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
    if (c->state == CONN_HELLO) { /* in the order of arrival, so many a turn */
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
    if ((c->state != CONN_HEAD && c->state != CONN_BODY) || in_left(c) == 0) {
        conn_drop(c, false);
        return;
    }
    sv_error err = {0};
    sv_fail(&err, SV_E_HTTP_TIMEOUT, NULL, "The request %s did not arrive in time.",
            c->state == CONN_HEAD ? "head" : "body");
    refuse(c, SV_E_HTTP_TIMEOUT, &err);
    if (!in_settle(c)) conn_drop(c, true);
}

/* ---- output ---- */

/* The answer has left: the next request, or the end. */
static void answer_done(http_conn *c)
{
    over(c, HTTP_OVER_DONE);
    c->write_by_us = UINT64_MAX;
    if (!c->x.close) {
        c->state = CONN_IDLE;
        if (c->s->draining && in_left(c) == 0) {
            conn_drop(c, false);
            return;
        }
        conn_read_within(c, c->s->limits.idle_ms);
        if (in_left(c) > 0 || c->readable) server_ready(c->s, c);
        return;
    }
    if (!c->unread && in_left(c) == 0 && !c->readable) {
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
    in_settle(c);
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
