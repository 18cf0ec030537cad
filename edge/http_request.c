/*  http_request.c - from bytes to the service's calls: heads and bodies of HTTP/1.1.
 *
 *  in[in_at, in_n) starts with the current request's head; a body that is collected follows it in
 *  place. A chunked one is decoded onto itself: behind the head lie `body_n` decoded bytes, and
 *  between calls nothing else, because the decoder takes every byte until the body ends. What
 *  follows the request is the next one, parsed when the answer has left.
 *
 *  Of a body that is streamed the head is given up at once, and the input holds only what came
 *  before the service paused. */
#include "http_conn.h"

#include "error.h"
#include "http_keep.h"

#include <assert.h>
#include <stdlib.h>

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

static const http_request *kept_request(const http_conn *c)
{
    return c->x.kept ? &c->x.kept->request : NULL;
}

/* As far as the head was read. */
static void fill_request(http_conn *c)
{
    c->x.request = kept_request(c);
    if (c->x.request) return;
    const char *base = c->head ? c->in + c->in_at : NULL;
    conn_fill_request(c->s, c->head, base, c->t.ops->secure);
    c->x.request = &c->s->request;
}

static void open_exchange(http_conn *c)
{
    http_exchange *x = &c->x;
    x->body_max = c->s->limits.body_bytes;
    x->body_room = SIZE_MAX;
    x->secure = c->t.ops->secure;
    x->started = x->ended = x->streaming = x->paused = false;
    x->close = c->s->draining || x->overloaded || (c->head && c->head->close);
    c->open = true;
    c->chunked_out = c->counted = c->wrote = c->expect = false;
    c->s->stats.exchanges++;
}

static void release_head(http_conn *c)
{
    if (c->head) server_head_give(c->s, c->head);
    c->head = NULL;
    c->first = false;
}

/* The request has been handed over or refused: its bytes are done with. */
static void release_request(http_conn *c)
{
    c->x.request = kept_request(c);
    c->in_at += c->request_n;
    c->request_n = 0;
    c->body_n = 0;
    release_head(c);
    if (c->x.ended) server_touch(c->s, c);
}

/* What of the input belongs to a request that is answered before it was read. */
static size_t unread_bytes(const http_conn *c)
{
    if (c->unread) return conn_in_left(c);
    return c->head ? c->head->bytes : 0;
}

void conn_refuse(http_conn *c, int code, const sv_error *err)
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
    conn_read_within(c, 0);
    fill_request(c);
    c->request_n = conn_in_left(c);
    c->s->service.refuse(c->s->service.arg, &c->x, code, err);
    assert(c->x.ended);
    release_request(c);
}

int conn_too_large(size_t body_max, sv_error *err)
{
    if (body_max == 0)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "This address takes no request body.");
    return sv_fail(err, SV_E_TOO_LARGE, NULL,
                   "The request body is larger than the %zu bytes allowed.", body_max);
}

int conn_body_room(const http_server *s, http_exchange *x, size_t n, sv_error *err)
{
    if (n > x->body_max) return conn_too_large(x->body_max, err);
    if (n <= x->body_room) return 0;
    return s->service.more(s->service.arg, x, n, err);
}

static void refuse_too_large(http_conn *c)
{
    sv_error err = {0};
    conn_refuse(c, conn_too_large(c->x.body_max, &err), &err);
}

void conn_stop_body(http_conn *c)
{
    if (c->state != CONN_BODY) return;
    c->state = CONN_ANSWER;
    conn_read_within(c, 0);
    c->request_n = unread_bytes(c);
    release_request(c);
    if (!c->feeding) conn_in_settle(c); /* what it holds is its own: nothing moves */
}

/* ---- keeping ---- */

int conn_wire_keep(http_exchange *x)
{
    http_conn *c = (http_conn *)x;
    char *block = NULL, *at = NULL;
    const char *base = c->in ? c->in + c->in_at : NULL;
    int rc = http_kept_new(x);
    if (rc) return rc;
    if (c->handing) {
        rc = conn_in_take(c, c->request_n, &block, &at);
        if (rc == 0) c->request_n = 0;
    } else if (c->head && base) {
        block = at = malloc(c->head->at + 1);
        if (block) memcpy(block, base, c->head->at);
        rc = block ? 0 : SV_E_NO_MEMORY;
    }
    if (rc) {
        http_kept_free(x);
        x->request = &c->s->request;
        return rc;
    }
    x->kept->block[0] = block;
    if (at) http_kept_move(x->kept, base, at);
    return 0;
}

/* The body of a request whose head was kept. */
static int keep_body(http_conn *c)
{
    http_kept *k = c->x.kept;
    char *at = NULL;
    if (c->body_n == 0) return 0;
    c->in_at += c->head->bytes;
    c->request_n -= c->head->bytes;
    int rc = conn_in_take(c, c->request_n, &k->block[1], &at);
    if (rc) return rc;
    c->request_n = 0;
    k->request.body = (sv_str){at, (uint32_t)c->body_n};
    return 0;
}

static void hand_over(http_conn *c, size_t bytes)
{
    c->state = CONN_ANSWER;
    c->unread = false;
    conn_read_within(c, 0);
    c->request_n = bytes;
    if (c->x.streaming) c->body_n = 0;
    if (c->x.kept && keep_body(c)) {
        c->broken = true;
        server_touch(c->s, c);
        return;
    }
    fill_request(c);
    if (c->x.kept == NULL && c->body_n)
        c->s->request.body = (sv_str){c->in + c->in_at + c->head->bytes, (uint32_t)c->body_n};
    c->handing = true;
    c->s->service.request(c->s->service.arg, &c->x);
    c->handing = false;
    release_request(c);
}

/* ---- bodies ---- */

/* The deadline grows with what came: rate after grace. */
static void body_deadline(http_conn *c, uint64_t received)
{
    const http_limits *l = &c->s->limits;
    uint64_t earned_us = received * 1000000 / l->body_rate;
    c->read_by_us = UINT64_MAX;
    conn_read_by(c, c->body_since_us + (uint64_t)l->body_grace_ms * 1000 + earned_us);
}

static uint64_t received(const http_conn *c)
{
    if (c->x.streaming || c->head->chunked) return c->body_n;
    return conn_in_left(c) - c->head->bytes;
}

static void let_body_come(http_conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->expect) conn_put(c, go_on, sizeof go_on - 1);
    c->expect = false;
    body_deadline(c, received(c));
}

void conn_wire_pause(http_exchange *x)
{
    http_conn *c = (http_conn *)x;
    if (c->state != CONN_BODY) return;
    c->paused_us = loop_now_us(c->s->l);
    conn_read_within(c, 0);
}

void conn_wire_resume(http_exchange *x)
{
    http_conn *c = (http_conn *)x;
    if (c->state != CONN_BODY) return;
    c->body_since_us += loop_now_us(c->s->l) - c->paused_us;
    let_body_come(c);
    server_ready(c->s, c);
}

/* Decodes what came onto the end of the body. */
static void body_chunked(http_conn *c)
{
    char *base = c->in + c->in_at + c->head->bytes;
    size_t at = c->body_n, end = conn_in_left(c) - c->head->bytes;
    for (;;) {
        size_t used = 0;
        sv_str data;
        sv_error err = {0};
        int rc = http_chunked_next(&c->chunked, base + at, end - at, &used, &data, &err);
        int refused = rc < 0 ? rc : conn_body_room(c->s, &c->x, c->body_n + data.n, &err);
        if (refused) {
            conn_refuse(c, refused, &err);
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

static void body_collect(http_conn *c)
{
    assert(c->head); /* given up for streamed bodies only */
    if (c->head->chunked) {
        body_chunked(c);
        return;
    }
    size_t have = conn_in_left(c) - c->head->bytes;
    if (have < c->head->length) {
        body_deadline(c, have);
        return;
    }
    c->body_n = (size_t)c->head->length;
    hand_over(c, c->head->bytes + c->body_n);
}

static void stream_begin(http_conn *c)
{
    c->body_left = c->head->length;
    c->body_chunked = c->head->chunked;
    c->body_done = !c->unread;
    c->in_at += c->head->bytes;
    release_head(c);
}

/* Cuts the next run of a streamed body off the input. 0 or what to refuse it with. */
static int stream_next(http_conn *c, sv_str *data, sv_error *err)
{
    const char *p = c->in + c->in_at;
    size_t n = conn_in_left(c), used = 0;
    int rc = 0;
    if (c->body_chunked) {
        rc = http_chunked_next(&c->chunked, p, n, &used, data, err);
        c->body_done = rc == 1;
    } else {
        used = n < c->body_left ? n : (size_t)c->body_left;
        *data = (sv_str){p, (uint32_t)used};
        c->body_left -= used;
        c->body_done = c->body_left == 0;
    }
    if (rc < 0) return rc;
    if (data->n > c->x.body_max - c->body_n) return conn_too_large(c->x.body_max, err);
    c->in_at += used;
    c->body_n += data->n;
    if (c->body_done) c->unread = false;
    return 0;
}

/* Hands over what there is until the service pauses or answers. */
static void body_stream(http_conn *c)
{
    c->feeding = true;
    while (c->state == CONN_BODY && !c->x.paused) {
        sv_str data = {NULL, 0};
        sv_error err = {0};
        int rc = 0;
        if (c->body_done) {
            hand_over(c, 0);
        } else if (conn_in_left(c) == 0) {
            body_deadline(c, c->body_n);
            break;
        } else if ((rc = stream_next(c, &data, &err)) != 0) {
            conn_refuse(c, rc, &err);
        } else if (data.n) {
            c->x.request = kept_request(c);
            c->s->service.body(c->s->service.arg, &c->x, data);
        }
    }
    c->feeding = false;
}

/* ---- heads ---- */

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
        conn_read_within(c, 0);
        c->request_n = unread_bytes(c);
        release_request(c);
        return;
    }
    c->x.request = kept_request(c);
    if (!c->x.streaming && c->x.body_max > HTTP_COLLECT_MOST) c->x.body_max = HTTP_COLLECT_MOST;
    if (h->length > c->x.body_max) {
        refuse_too_large(c);
        return;
    }
    c->expect = h->expect && body && conn_in_left(c) == h->bytes;
    c->state = CONN_BODY;
    c->body_n = 0;
    c->body_since_us = c->paused_us = loop_now_us(c->s->l);
    http_chunked_reset(&c->chunked);
    if (c->x.streaming) stream_begin(c);
    if (c->x.paused)
        conn_read_within(c, 0);
    else if (body)
        let_body_come(c);
}

static void head_step(http_conn *c)
{
    sv_error err = {0};
    int rc = http_head_parse(c->head, c->in + c->in_at, conn_in_left(c), &err);
    if (rc == 0) rc = conn_check_scheme(c, c->head, &err);
    if (rc == 0)
        head_done(c);
    else if (rc != HTTP_MORE)
        conn_refuse(c, rc, &err);
}

int conn_check_scheme(const http_conn *c, const http_head *h, sv_error *err)
{
    if (h->authority.n == 0 || c->proxied || h->https == c->t.ops->secure) return 0;
    return sv_fail(err, SV_E_HTTP_MALFORMED, NULL,
                   "The HTTP request is malformed: the target's scheme is not this port's.");
}

void conn_parse(http_conn *c)
{
    if (c->state == CONN_IDLE && conn_in_left(c) > 0) {
        c->head = server_head_take(c->s);
        if (c->head == NULL) {
            c->broken = true;
            server_touch(c->s, c);
            return;
        }
        http_head_reset(c->head, c->s->limits.head_bytes, c->s->limits.line_bytes,
                        c->s->limits.headers);
        c->state = CONN_HEAD;
        if (!c->first) conn_read_within(c, conn_head_ms(c));
    }
    if (c->state == CONN_HEAD) head_step(c);
    if (c->state != CONN_BODY || c->x.paused) return;
    if (c->x.streaming)
        body_stream(c);
    else
        body_collect(c);
}
