/*  http2.c - the connection's side of HTTP/2: an nghttp2 session between the connection's input and
 *  output, its deadlines and its allowance.
 *
 *  nghttp2 calls back while it is fed (requests, bodies, closed streams) and while it is asked for
 *  frames (answers' bytes, closed streams). The service is called from within; it only submits
 *  frames, which leave with the flush at the end of the turn.
 *
 *  Deadlines: `read_by_us` of the connection is the earliest of all that it and its streams have,
 *  or earlier; the timer looks at each and sets it anew. */
#include "http2_stream.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>

static const uint8_t drain_ping[8] = "samovar";

/* ---- allowance ---- */

static void earn(http2 *h, uint32_t n)
{
    h->allowance = h->allowance + n < HTTP2_ALLOWANCE ? h->allowance + n : HTTP2_ALLOWANCE;
}

static void calm_down(http2 *h)
{
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
    server_touch(h->c->s, h->c);
}

static void pay(http2 *h, uint32_t n)
{
    uint64_t now_us = loop_now_us(h->c->s->l);
    uint64_t gained = (now_us - h->refilled_us) * HTTP2_ALLOWANCE_SECOND / 1000000;
    if (gained) {
        earn(h, gained < HTTP2_ALLOWANCE ? (uint32_t)gained : HTTP2_ALLOWANCE);
        h->refilled_us = now_us;
    }
    if (h->allowance < n) {
        calm_down(h);
        return;
    }
    h->allowance -= n;
}

/* ---- what nghttp2 tells ---- */

static h2_stream *find(http2 *h, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(h->session, id) : NULL;
}

static int on_frame_begins(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    (void)session;
    if (hd->type == NGHTTP2_RST_STREAM)
        pay(arg, HTTP2_RESET_COST);
    else if (hd->type != NGHTTP2_HEADERS && hd->type != NGHTTP2_DATA)
        pay(arg, 1);
    else if (hd->type == NGHTTP2_DATA && hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM))
        pay(arg, 1);
    return 0;
}

static int on_headers_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    http2 *h = arg;
    (void)session;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        pay(h, 1);
        return 0;
    }
    if (h2_stream_begin(h, frame->hd.stream_id)) return 0;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Of trailers nothing is kept. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    http2 *h = arg;
    (void)session;
    (void)flags;
    if (h->collect.st == NULL || h->collect.st->id != frame->hd.stream_id) return 0;
    sv_str n = {(const char *)name, (uint32_t)name_n}, v = {(const char *)value, (uint32_t)value_n};
    if (!h2_stream_field(h, n, v)) calm_down(h);
    return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *arg)
{
    http2 *h = arg;
    (void)session;
    (void)frame;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    if (h->collect.st) h->collect.wrong = "a header holds bytes that are not allowed in it";
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    http2 *h = arg;
    h2_stream *st = find(h, frame->hd.stream_id);
    bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    (void)session;
    if (frame->hd.type == NGHTTP2_SETTINGS && !h->greeted) {
        h->greeted = true;
        h->idle_us = loop_now_us(h->c->s->l) + (uint64_t)h->c->s->limits.idle_ms * 1000;
        conn_read_by(h->c, h->idle_us);
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) && h->retiring &&
        memcmp(frame->ping.opaque_data, drain_ping, sizeof drain_ping) == 0)
        h2_final(h);
    if (st == NULL) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && h->collect.st == st)
        h2_stream_head(st, last);
    else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && last)
        h2_stream_complete(st);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *arg)
{
    http2 *h = arg;
    h2_stream *st = find(h, id);
    (void)flags;
    if (st)
        h2_stream_data(st, (sv_str){(const char *)p, (uint32_t)n});
    else
        nghttp2_session_consume_connection(session, n);
    return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    http2 *h = arg;
    h2_stream *st = find(h, frame->hd.stream_id);
    bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_DATA) earn(h, 2);
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        !(st && st->aborted))
        pay(h, HTTP2_RESET_COST); /* a client that makes us reset its streams */
    if (st == NULL || !last ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    st->answered = true;
    earn(h, HTTP2_RESET_COST);
    if (!st->complete) /* RFC 9113 8.1: the rest of the request is not wanted */
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_closed(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    h2_stream *st = find(arg, id);
    (void)session;
    (void)code;
    if (st) h2_stream_closed(st);
    return 0;
}

/* ---- life ---- */

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *cb = NULL;
    if (nghttp2_session_callbacks_new(&cb)) return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_frame_begins);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_headers_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_closed);
    return cb;
}

static bool open_session(http2 *h)
{
    const http_limits *l = &h->c->s->limits;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->head_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_session_callbacks *cb = callbacks();
    nghttp2_option *o = NULL;
    bool ok = cb && nghttp2_option_new(&o) == 0;
    if (ok) {
        nghttp2_option_set_no_auto_window_update(o, 1);
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_max_outbound_ack(o, HTTP2_ALLOWANCE);
        nghttp2_option_set_max_settings(o, 32);
        nghttp2_option_set_max_continuations(o, 8);
        nghttp2_option_set_stream_reset_rate_limit(o, HTTP2_ALLOWANCE, HTTP2_ALLOWANCE_SECOND);
        ok = nghttp2_session_server_new2(&h->session, cb, h, o) == 0 &&
             nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof *settings) == 0 &&
             nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                   HTTP2_BODIES_BYTES) == 0;
    }
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
    return ok;
}

http2 *http2_new(http_conn *c)
{
    http2 *h = calloc(1, sizeof *h);
    if (h == NULL) return NULL;
    h->c = c;
    h->allowance = HTTP2_ALLOWANCE;
    h->refilled_us = loop_now_us(c->s->l);
    h->idle_us = c->read_by_us; /* of the connection's first head: the preface */
    h->final_us = UINT64_MAX;
    TAILQ_INIT(&h->streams);
    TAILQ_INIT(&h->leaving);
    h2_collect_init(h);
    if (!open_session(h)) {
        http2_free(h);
        return NULL;
    }
    server_touch(c->s, c);
    if (c->s->draining) http2_retire(h);
    return h;
}

static void free_list(h2_streams *list)
{
    h2_stream *st;
    while ((st = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, st, link);
        h2_stream_free(st, HTTP_OVER_GONE);
    }
}

void http2_free(http2 *h)
{
    free_list(&h->streams);
    free_list(&h->leaving);
    nghttp2_session_del(h->session);
    h2_collect_free(h);
    free(h);
}

void h2_final(http2 *h)
{
    if (h->final) return;
    h->final = true;
    h->final_us = UINT64_MAX;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
    server_touch(h->c->s, h->c);
}

/* Streams that are on their way while the first GOAWAY travels are still taken: the answer to the
 * PING behind it tells that none are any more. */
void http2_retire(http2 *h)
{
    if (h->retiring) return;
    h->retiring = true;
    h->final_us = loop_now_us(h->c->s->l) + (uint64_t)HTTP2_DRAIN_MS * 1000;
    nghttp2_submit_shutdown_notice(h->session);
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, drain_ping);
    conn_read_by(h->c, h->final_us);
    server_touch(h->c->s, h->c);
}

/* ---- input and output ---- */

bool http2_run(http2 *h)
{
    http_conn *c = h->c;
    size_t budget = HTTP_TURN_BYTES;
    while (c->readable && budget > 0) {
        ssize_t n = c->t.ops->read(&c->t, c->s->scratch, budget);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            c->readable = errno == EINTR;
            break;
        }
        /* Fed even when the session is ending: it reads and forgets then. */
        if (n <= 0 ||
            nghttp2_session_mem_recv(h->session, (const uint8_t *)c->s->scratch, (size_t)n) < 0) {
            conn_drop(c, false);
            return false;
        }
        budget -= (size_t)n;
    }
    if (c->readable) server_ready(c->s, c);
    server_touch(c->s, c);
    return true;
}

/* Frames up to one turn's bytes. False: no memory. */
static bool fill(http2 *h)
{
    http_conn *c = h->c;
    while (c->out_n - c->out_at < HTTP_TURN_BYTES) {
        const uint8_t *p = NULL;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n == 0) return true;
        if (n < 0 || !conn_append(c, p, (size_t)n)) return false;
    }
    return true;
}

static void tell_drained(http2 *h)
{
    h2_stream *st;
    size_t low = h->c->s->limits.output_bytes / 2;
    TAILQ_FOREACH(st, &h->streams, link)
    {
        if (!st->wrote || st->x.ended || st->aborted || h2_stream_pending(st) > low) continue;
        st->wrote = false;
        if (st->x.on_drained) st->x.on_drained(&st->x);
    }
}

static void go_on(http2 *h)
{
    h2_stream *st;
    if (!h->resumed) return;
    h->resumed = false;
    TAILQ_FOREACH(st, &h->streams, link)
    h2_stream_go_on(st);
}

void http2_flush(http2 *h)
{
    http_conn *c = h->c;
    h2_stream *st;
    go_on(h);
    if (!fill(h) || !conn_write(c)) {
        conn_drop(c, true);
        return;
    }
    bool sent = c->out_n == c->out_at;
    while (sent && (st = TAILQ_FIRST(&h->leaving)) != NULL) {
        TAILQ_REMOVE(&h->leaving, st, link);
        h2_stream_free(st, HTTP_OVER_DONE);
    }
    tell_drained(h);
    if (sent && !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session)) {
        c->h2 = NULL;
        http2_free(h);
        conn_linger(c);
        return;
    }
    if (sent && nghttp2_session_want_write(h->session)) server_touch(c->s, c);
}

/* ---- deadlines ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is due of one stream; the time of what is not. */
static uint64_t stream_timer(http2 *h, h2_stream *st, uint64_t now_us)
{
    if (h2_stream_read_by(st) <= now_us) h2_stream_late(st);
    if (st->stall_us <= now_us) {
        /* With output waiting it is the connection that stalls, or others that take its turn. */
        if (h->c->out_n > h->c->out_at)
            st->stall_us = now_us + (uint64_t)h->c->s->limits.stall_ms * 1000;
        else
            h2_stream_reset(st, NGHTTP2_CANCEL);
    }
    return sooner(h2_stream_read_by(st), st->stall_us);
}

void http2_timer(http2 *h)
{
    http_conn *c = h->c;
    h2_stream *st;
    uint64_t now_us = loop_now_us(c->s->l), next_us;
    if ((!h->greeted && h->idle_us <= now_us) || (h->collect.st && h->collect.by_us <= now_us)) {
        conn_drop(c, false);
        return;
    }
    if (h->final_us <= now_us) h2_final(h);
    next_us = h->collect.st ? h->collect.by_us : UINT64_MAX;
    if (h->n_streams == 0 && h->idle_us <= now_us)
        nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    else if (h->n_streams == 0)
        next_us = sooner(next_us, h->idle_us);
    TAILQ_FOREACH(st, &h->streams, link)
    next_us = sooner(next_us, stream_timer(h, st, now_us));
    c->read_by_us = UINT64_MAX;
    conn_read_by(c, sooner(next_us, h->final_us));
    server_touch(c->s, c);
}
