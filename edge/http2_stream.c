/*  http2_stream.c - requests and answers of single streams.
 *
 *  The fields of a head are collected in pieces, because Host and Cookie may come last, and put
 *  together as HTTP/1.1 text when all are there. Collected is what can stand in one line of such
 *  a text; anything else refuses the request, and the parsed head must be the whole text: so no
 *  field can pass as two.
 *
 *  An answer's bytes lie in `out` until nghttp2 asks for them. */
#include "http2_stream.h"

#include "error.h"
#include "http_keep.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FAR_BEYOND = 4, /* times the limit of a head, before its connection is ended */
    KEEP = 512,     /* bytes of collected pieces kept between requests */
    FIELDS = 40,
    SMALL = 16384 /* an answer's rest is moved to the front when more than that was sent */
};

static const http_wire http2_wire;

/* ---- collecting ---- */

static buf *const *pieces(http2 *h, buf *list[7])
{
    h2_collect *k = &h->collect;
    memcpy(
        list,
        (buf *[]){&k->method, &k->scheme, &k->authority, &k->path, &k->host, &k->cookie, &k->lines},
        7 * sizeof *list);
    return list;
}

void h2_collect_init(http2 *h)
{
    buf *list[7];
    pieces(h, list);
    for (int i = 0; i < 7; i++)
        buf_init(list[i], h->c->s->limits.head_bytes);
}

void h2_collect_free(http2 *h)
{
    buf *list[7];
    pieces(h, list);
    for (int i = 0; i < 7; i++)
        buf_free(list[i]);
}

bool h2_stream_begin(http2 *h, int32_t id)
{
    h2_collect *k = &h->collect;
    const http_server *s = h->c->s;
    buf *list[7];
    h2_stream *st = calloc(1, sizeof *st);
    if (st == NULL || nghttp2_session_set_stream_user_data(h->session, id, st)) {
        free(st);
        return false;
    }
    *st = (h2_stream){.h = h, .id = id, .stall_us = UINT64_MAX};
    st->x.wire = &http2_wire;
    st->x.remote = h->c->x.remote;
    buf_init(&st->out, s->limits.output_bytes + HTTP_OUTPUT_SLACK + HTTP_TURN_BYTES);
    TAILQ_INSERT_TAIL(&h->streams, st, link);
    h->n_streams++;
    pieces(h, list);
    for (int i = 0; i < 7; i++)
        buf_reset(list[i], KEEP);
    k->st = st;
    k->bytes = 0;
    k->too_large = false;
    k->wrong = NULL;
    k->by_us = loop_now_us(s->l) + (uint64_t)s->limits.head_ms * 1000;
    conn_read_by(h->c, k->by_us);
    return true;
}

static bool is_word(sv_str s) /* text without blanks: what may stand in a request line */
{
    return s.n > 0 && memchr(s.p, ' ', s.n) == NULL && memchr(s.p, '\t', s.n) == NULL;
}

static void collect_pseudo(h2_collect *k, sv_str name, sv_str value)
{
    buf *to = sv_str_is(name, ":method")      ? &k->method
              : sv_str_is(name, ":scheme")    ? &k->scheme
              : sv_str_is(name, ":authority") ? &k->authority
              : sv_str_is(name, ":path")      ? &k->path
                                              : NULL;
    if (to == NULL || !is_word(value) || to->n)
        k->wrong = "a pseudo-header is unknown, doubled or not one word";
    else
        buf_put(to, value.p, value.n);
}

bool h2_stream_field(http2 *h, sv_str name, sv_str value)
{
    h2_collect *k = &h->collect;
    size_t most = h->c->s->limits.head_bytes;
    k->bytes += (size_t)name.n + value.n + 4; /* as a line: colon, blank, CRLF */
    if (k->bytes > FAR_BEYOND * most) return false;
    if (k->bytes > most) k->too_large = true;
    if (k->too_large || k->wrong) return true;
    if (!http_is_text(value)) {
        k->wrong = "a header holds a control character";
    } else if (name.n && name.p[0] == ':') {
        collect_pseudo(k, name, value);
    } else if (!http_is_token(name)) {
        k->wrong = "a header name is not a token";
    } else if (sv_str_is(name, "host")) {
        if (k->host.n || !is_word(value)) k->wrong = "Host is doubled or not one word";
        buf_put(&k->host, value.p, value.n);
    } else if (sv_str_is(name, "cookie")) { /* RFC 9113 8.2.3: pieces of one field */
        if (k->cookie.n) buf_puts(&k->cookie, "; ");
        buf_put(&k->cookie, value.p, value.n);
    } else {
        buf_printf(&k->lines, "%.*s: %.*s\r\n", SV_FMT(name), SV_FMT(value));
    }
    return true;
}

/* Sets wrong or too_large when the pieces make no head. */
static void write_head(http2 *h, buf *text)
{
    h2_collect *k = &h->collect;
    const buf *host = k->authority.n ? &k->authority : &k->host;
    const char *scheme = h->c->t.ops->secure ? "https" : "http";
    if (k->lines.failed || k->cookie.failed || k->host.failed) k->too_large = true;
    if (k->wrong == NULL && k->scheme.n && !h->c->proxied &&
        !http_word_is(buf_str(&k->scheme), scheme))
        k->wrong = "the scheme is not this port's";
    if (k->wrong == NULL && k->authority.n && k->host.n &&
        (k->authority.n != k->host.n || memcmp(k->authority.p, k->host.p, k->host.n) != 0))
        k->wrong = ":authority and Host name different hosts";
    if (k->method.n == 0 || k->path.n == 0) return; /* not read as far as that */
    buf_put(text, k->method.p, k->method.n);
    buf_putc(text, ' ');
    buf_put(text, k->path.p, k->path.n);
    buf_puts(text, " HTTP/1.1\r\n");
    if (host->n) buf_printf(text, "host: %.*s\r\n", (int)host->n, host->p);
    buf_put(text, k->lines.p, k->lines.n);
    if (k->cookie.n) buf_printf(text, "cookie: %.*s\r\n", (int)k->cookie.n, k->cookie.p);
    buf_puts(text, "\r\n");
}

/* Reads the collected head into st->text and st->head. 0 or what to refuse it with. */
static int read_head(h2_stream *st, sv_error *err)
{
    http2 *h = st->h;
    http_server *s = h->c->s;
    const h2_collect *k = &h->collect;
    buf text;
    int rc = 0;
    buf_init(&text, 2 * (size_t)s->limits.head_bytes + 64);
    write_head(h, &text);
    st->text = text.p;
    st->text_n = text.n;
    if (text.n && (st->head = server_head_take(s)) != NULL) {
        http_head_reset(st->head, s->limits.head_bytes, s->limits.line_bytes, s->limits.headers);
        rc = http_head_parse(st->head, text.p, text.n, err);
        if (rc == HTTP_MORE || (rc == 0 && st->head->bytes != text.n))
            rc = sv_fail(err, SV_E_HTTP_MALFORMED, NULL, NULL);
    } else if (text.n || text.failed) {
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    if (k->wrong || k->too_large) *err = (sv_error){0};
    if (k->wrong)
        return sv_fail(err, SV_E_HTTP_MALFORMED, NULL, "The HTTP request is malformed: %s.",
                       k->wrong);
    if (k->too_large)
        return sv_fail(err, SV_E_HTTP_HEAD_TOO_LARGE, NULL,
                       "The request head is larger than %u bytes.", s->limits.head_bytes);
    if (rc == 0 && st->head == NULL)
        rc = sv_fail(err, SV_E_HTTP_MALFORMED, NULL,
                     "The HTTP request is malformed: method or path is missing.");
    return rc;
}

/* ---- requests ---- */

static void open_exchange(h2_stream *st)
{
    http_conn *c = st->h->c;
    http_server *s = c->s;
    http_exchange *x = &st->x;
    x->body_max = s->limits.body_bytes;
    x->body_room = SIZE_MAX;
    x->secure = c->t.ops->secure;
    x->overloaded = c->x.overloaded || s->stats.exchanges >= s->limits.connections ||
                    (c->peer && c->peer->streams >= s->limits.connections_per_address);
    st->open = true;
    s->stats.exchanges++;
    if (c->peer) c->peer->streams++;
    if (c->x.overloaded) h2_final(st->h);
}

static void fill_request(h2_stream *st)
{
    http_server *s = st->h->c->s;
    if (st->x.kept) {
        st->x.request = &st->x.kept->request;
        return;
    }
    conn_fill_request(s, st->head, st->text, st->x.secure);
    if (!st->complete) s->request.has_body = true;
    st->x.request = &s->request;
}

static void release_head(h2_stream *st)
{
    st->x.request = st->x.kept ? &st->x.kept->request : NULL;
    if (st->head) server_head_give(st->h->c->s, st->head);
    st->head = NULL;
    free(st->text);
    st->text = NULL;
}

/* The request has been handed over, refused or answered: the rest of its body is not wanted. */
static void release_request(h2_stream *st)
{
    st->receiving = false;
    st->h->bodies -= st->body.n;
    st->owed = 0;
    buf_free(&st->body);
    release_head(st);
}

static void refuse(h2_stream *st, int code, const sv_error *err)
{
    http_server *s = st->h->c->s;
    if (!st->open) {
        open_exchange(st);
        if (st->head && st->head->method.n == 4)
            st->head_only = memcmp(st->text + st->head->method.at, "HEAD", 4) == 0;
    }
    st->receiving = false;
    fill_request(st);
    s->service.refuse(s->service.arg, &st->x, code, err);
    assert(st->x.ended);
    release_request(st);
}

/* The body's memory becomes the kept request's; it goes on counting. */
static void keep_body(h2_stream *st)
{
    http_kept *k = st->x.kept;
    if (st->x.streaming) return;
    k->request.body = (sv_str){st->body.p, (uint32_t)st->body.n};
    k->block[1] = st->body.p;
    st->kept_n = st->body.n;
    buf_init(&st->body, 0);
}

static int wire_keep(http_exchange *x)
{
    h2_stream *st = (h2_stream *)x;
    int rc = http_kept_new(x);
    if (rc) return rc;
    if (st->handing) { /* the head is done with */
        x->kept->block[0] = st->text;
        st->text = NULL;
        keep_body(st);
        return 0;
    }
    if (st->text == NULL) return 0;
    char *copy = malloc(st->text_n);
    if (copy == NULL) {
        http_kept_free(x);
        x->request = &st->h->c->s->request;
        return SV_E_NO_MEMORY;
    }
    memcpy(copy, st->text, st->text_n);
    x->kept->block[0] = copy;
    http_kept_move(x->kept, st->text, copy);
    return 0;
}

static void hand_over(h2_stream *st)
{
    http_server *s = st->h->c->s;
    st->receiving = false;
    if (st->x.kept) keep_body(st);
    fill_request(st);
    if (st->x.kept == NULL) s->request.body = (sv_str){st->body.p, (uint32_t)st->body.n};
    st->handing = true;
    s->service.request(s->service.arg, &st->x);
    st->handing = false;
    release_request(st);
}

static void send_continue(h2_stream *st)
{
    static const nghttp2_nv status = {.name = (uint8_t *)(uintptr_t) ":status",
                                      .value = (uint8_t *)(uintptr_t) "100",
                                      .namelen = 7,
                                      .valuelen = 3};
    nghttp2_submit_headers(st->h->session, NGHTTP2_FLAG_NONE, st->id, NULL, &status, 1, NULL);
}

static void let_body_come(h2_stream *st);

void h2_stream_head(h2_stream *st, bool last)
{
    http_conn *c = st->h->c;
    http_server *s = c->s;
    sv_error err = {0};
    st->complete = last;
    int rc = read_head(st, &err);
    st->h->collect.st = NULL;
    if (rc) {
        refuse(st, rc, &err);
        return;
    }
    st->head_only = sv_str_is((sv_str){st->text, st->head->method.n}, "HEAD");
    open_exchange(st);
    fill_request(st);
    s->service.head(s->service.arg, &st->x);
    if (st->x.started || st->x.ended) {
        release_request(st);
        return;
    }
    st->x.request = st->x.kept ? &st->x.kept->request : NULL;
    if (!st->x.streaming && st->x.body_max > HTTP_COLLECT_MOST) st->x.body_max = HTTP_COLLECT_MOST;
    if (st->head->length > st->x.body_max) {
        refuse(st, conn_too_large(st->x.body_max, &err), &err);
        return;
    }
    st->expect = st->head->expect && !last;
    buf_init(&st->body, st->x.streaming ? HTTP2_WINDOW_BYTES : st->x.body_max);
    st->receiving = true;
    st->since_us = st->paused_us = loop_now_us(s->l);
    if (st->x.streaming) release_head(st);
    if (!st->x.paused) let_body_come(st);
}

/* ---- bodies ---- */

/* Grown by what came, like HTTP/1's. A body that we hold back is not late. */
uint64_t h2_stream_read_by(const h2_stream *st)
{
    const http_limits *l = &st->h->c->s->limits;
    if (!st->receiving || st->held || st->x.paused || st->complete) return UINT64_MAX;
    return st->since_us + (uint64_t)l->body_grace_ms * 1000 + st->got * 1000000 / l->body_rate;
}

static void give_window(h2_stream *st)
{
    if (st->owed == 0) return;
    nghttp2_session_consume_stream(st->h->session, st->id, st->owed);
    st->owed = 0;
    conn_read_by(st->h->c, h2_stream_read_by(st));
}

/* Opens windows: all of them, or with too much in memory the oldest body's only. A body that was
 * held back has its time from now on. */
static void give_windows(http2 *h)
{
    h2_stream *st;
    bool plenty = h->bodies <= HTTP2_BODIES_BYTES;
    bool behind = false;
    h->held = false;
    TAILQ_FOREACH(st, &h->streams, link)
    {
        if (!st->receiving || st->x.paused) continue;
        if (!plenty && behind) {
            st->held = st->owed > 0;
            h->held = h->held || st->held;
            continue;
        }
        behind = true;
        if (st->held) st->since_us = loop_now_us(h->c->s->l);
        st->held = false;
        give_window(st);
    }
}

static void window_after(h2_stream *st)
{
    http2 *h = st->h;
    if (!st->receiving || st->x.paused) return;
    if (h->bodies > HTTP2_BODIES_BYTES || h->held)
        give_windows(h);
    else {
        st->held = false;
        give_window(st);
    }
}

/* What came while the exchange was paused is its own memory here: the service may end it. */
static void pour(h2_stream *st)
{
    http2 *h = st->h;
    const http_service *service = &h->c->s->service;
    while (st->receiving && !st->x.paused && st->body.n) {
        buf waiting = st->body;
        buf_init(&st->body, HTTP2_WINDOW_BYTES);
        service->body(service->arg, &st->x, buf_str(&waiting));
        h->bodies -= waiting.n;
        buf_free(&waiting);
    }
}

void h2_stream_data(h2_stream *st, sv_str bytes)
{
    http2 *h = st->h;
    sv_error err = {0};
    const http_service *service = &h->c->s->service;
    nghttp2_session_consume_connection(h->session, bytes.n);
    if (!st->receiving) return; /* answered already: its window stays shut */
    int rc = conn_body_room(h->c->s, &st->x, st->got + bytes.n, &err);
    if (rc) {
        refuse(st, rc, &err);
        return;
    }
    st->got += bytes.n;
    st->owed += bytes.n;
    if (st->x.streaming && !st->x.paused) {
        pour(st);
        if (st->receiving && !st->x.paused) {
            service->body(service->arg, &st->x, bytes);
            bytes.n = 0;
        }
    }
    if (bytes.n && st->receiving) {
        if (buf_put(&st->body, bytes.p, bytes.n)) {
            h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
            return;
        }
        h->bodies += bytes.n;
    }
    window_after(st);
}

static void let_body_come(h2_stream *st)
{
    http2 *h = st->h;
    if (st->expect && st->got == 0 && !st->complete) send_continue(st);
    st->expect = false;
    if (st->x.streaming) pour(st);
    if (!st->receiving || st->x.paused) return;
    if (st->complete) {
        hand_over(st);
        if (h->held) give_windows(h);
        return;
    }
    window_after(st);
    conn_read_by(h->c, h2_stream_read_by(st));
}

void h2_stream_go_on(h2_stream *st)
{
    if (st->receiving && !st->x.paused && !st->aborted) let_body_come(st);
}

void h2_stream_complete(h2_stream *st)
{
    st->complete = true;
    if (st->receiving && !st->x.paused) let_body_come(st);
}

static void wire_pause(http_exchange *x)
{
    h2_stream *st = (h2_stream *)x;
    st->paused_us = loop_now_us(st->h->c->s->l);
}

static void wire_resume(http_exchange *x)
{
    h2_stream *st = (h2_stream *)x;
    http2 *h = st->h;
    if (!st->receiving) return;
    st->since_us += loop_now_us(h->c->s->l) - st->paused_us;
    conn_read_by(h->c, h2_stream_read_by(st));
    h->resumed = true;
    server_touch(h->c->s, h->c);
}

/* The service has answered or given up. */
static void stop_body(h2_stream *st)
{
    http2 *h = st->h;
    if (!st->receiving) return;
    release_request(st);
    if (h->held) give_windows(h);
}

static void wire_unkeep(http_exchange *x)
{
    h2_stream *st = (h2_stream *)x;
    http2 *h = st->h;
    h->bodies -= st->kept_n;
    st->kept_n = 0;
    if (!h->held) return;
    give_windows(h);
    server_touch(h->c->s, h->c);
}

void h2_stream_late(h2_stream *st)
{
    sv_error err = {0};
    sv_fail(&err, SV_E_HTTP_TIMEOUT, NULL, "The request body did not arrive in time.");
    refuse(st, SV_E_HTTP_TIMEOUT, &err);
    if (st->h->held) give_windows(st->h);
}

/* ---- answers ---- */

static h2_stream *stream_of(http_exchange *x)
{
    return (h2_stream *)x;
}

size_t h2_stream_pending(const h2_stream *st)
{
    return st->out.n - st->out_at;
}

static uint64_t stall_us(const h2_stream *st)
{
    const http_server *s = st->h->c->s;
    return loop_now_us(s->l) + (uint64_t)s->limits.stall_ms * 1000;
}

/* What nghttp2 asks for when the windows have room. */
static ssize_t take_bytes(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                          uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    h2_stream *st = source->ptr;
    (void)session;
    (void)id;
    (void)arg;
    size_t n = h2_stream_pending(st);
    if (n > room) n = room;
    if (n) memcpy(to, st->out.p + st->out_at, n);
    st->out_at += n;
    bool empty = st->out_at == st->out.n;
    if (empty) {
        buf_reset(&st->out, 0);
        st->out_at = 0;
    } else if (st->out_at > SMALL && st->out_at > st->out.n / 2) {
        buf_consume(&st->out, st->out_at);
        st->out_at = 0;
    }
    st->stall_us = empty ? UINT64_MAX : stall_us(st);
    if (empty && st->x.ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

/* There is something new to ask for. */
static void resume(h2_stream *st)
{
    if (st->stall_us == UINT64_MAX && h2_stream_pending(st)) {
        st->stall_us = stall_us(st);
        conn_read_by(st->h->c, st->stall_us);
    }
    if (st->deferred) nghttp2_session_resume_data(st->h->session, st->id);
    st->deferred = false;
    server_touch(st->h->c->s, st->h->c);
}

static nghttp2_nv field(sv_str name, sv_str value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
                        .value = (uint8_t *)(uintptr_t)value.p,
                        .namelen = name.n,
                        .valuelen = value.n};
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

static void submit(h2_stream *st, const http_response *r, bool whole, bool body)
{
    http_server *s = st->h->c->s;
    nghttp2_nv nv[FIELDS];
    char status[12], length[24];
    size_t n = 0;
    assert(r->n_headers + 4 <= FIELDS);
    snprintf(status, sizeof status, "%d", r->status);
    nv[n++] = field(sv_cstr(":status"), sv_cstr(status));
    nv[n++] = field(sv_cstr("date"), sv_cstr(server_date(s)));
    if (r->content_type.n) nv[n++] = field(sv_cstr("content-type"), r->content_type);
    for (uint32_t i = 0; i < r->n_headers; i++)
        nv[n++] = field(r->headers[i].name, r->headers[i].value);
    if ((whole || r->has_length) && !has_no_body(r->status)) {
        snprintf(length, sizeof length, "%" PRIu64, r->has_length ? r->length : r->body.n);
        nv[n++] = field(sv_cstr("content-length"), sv_cstr(length));
    }
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = take_bytes};
    if (nghttp2_submit_response(st->h->session, st->id, nv, n, body ? &provider : NULL))
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    server_touch(s, st->h->c);
}

static void wire_respond(http_exchange *x, const http_response *r)
{
    h2_stream *st = stream_of(x);
    stop_body(st);
    bool body = r->body.n > 0 && !st->head_only && !has_no_body(r->status);
    if (body) {
        st->out.max = r->body.n; /* all of it, however long */
        if (buf_put(&st->out, r->body.p, r->body.n)) {
            h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
            return;
        }
    }
    submit(st, r, true, body);
    if (body) resume(st);
}

static void wire_start(http_exchange *x, const http_response *r)
{
    assert(!has_no_body(r->status));
    h2_stream *st = stream_of(x);
    stop_body(st);
    st->counted = r->has_length && !st->head_only;
    st->owed_n = r->length;
    submit(st, r, false, true);
}

static void wire_write(http_exchange *x, sv_str bytes)
{
    h2_stream *st = stream_of(x);
    size_t most = st->h->c->s->limits.output_bytes + HTTP_OUTPUT_SLACK;
    if (st->head_only || st->aborted) return;
    if (st->counted) {
        assert(bytes.n <= st->owed_n);
        st->owed_n -= bytes.n;
    }
    st->wrote = true;
    if (h2_stream_pending(st) > most) {
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (st->out_at && st->out.n + bytes.n > st->out.max) {
        buf_consume(&st->out, st->out_at);
        st->out_at = 0;
    }
    if (bytes.n > st->out.max - st->out.n) st->out.max = st->out.n + bytes.n;
    if (buf_put(&st->out, bytes.p, bytes.n))
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    else
        resume(st);
}

static void wire_end(http_exchange *x)
{
    h2_stream *st = stream_of(x);
    if (st->counted && st->owed_n) /* the client sees that it is cut */
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    else
        resume(st);
}

static void wire_abort(http_exchange *x)
{
    stop_body(stream_of(x));
    h2_stream_reset(stream_of(x), NGHTTP2_INTERNAL_ERROR);
}

static size_t wire_pending(const http_exchange *x)
{
    return h2_stream_pending((const h2_stream *)x);
}

static const http_wire http2_wire = {
    .respond = wire_respond,
    .start = wire_start,
    .write = wire_write,
    .end = wire_end,
    .abort = wire_abort,
    .pending = wire_pending,
    .pause = wire_pause,
    .resume = wire_resume,
    .keep = wire_keep,
    .unkeep = wire_unkeep,
};

/* ---- ends ---- */

/* The stream is closed, and its exchange over, when the frame has left. */
void h2_stream_reset(h2_stream *st, uint32_t code)
{
    st->aborted = true;
    st->stall_us = UINT64_MAX;
    buf_reset(&st->out, 0);
    st->out_at = 0;
    nghttp2_submit_rst_stream(st->h->session, NGHTTP2_FLAG_NONE, st->id, code);
    server_touch(st->h->c->s, st->h->c);
}

static void over(h2_stream *st, http_over how)
{
    http_conn *c = st->h->c;
    if (!st->open) return;
    st->open = false;
    c->s->stats.exchanges--;
    if (c->peer) c->peer->streams--;
    if (st->x.on_over) st->x.on_over(&st->x, how);
    st->h->bodies -= st->kept_n;
    http_kept_free(&st->x);
}

void h2_stream_free(h2_stream *st, http_over how)
{
    over(st, how);
    release_request(st);
    buf_free(&st->out);
    free(st);
}

void h2_stream_closed(h2_stream *st)
{
    http2 *h = st->h;
    TAILQ_REMOVE(&h->streams, st, link);
    h->n_streams--;
    if (h->collect.st == st) h->collect.st = NULL;
    if (h->n_streams == 0) {
        const http_server *s = h->c->s;
        h->idle_us = loop_now_us(s->l) + (uint64_t)s->limits.idle_ms * 1000;
        conn_read_by(h->c, h->idle_us);
    }
    if (st->answered && !st->aborted) {
        TAILQ_INSERT_TAIL(&h->leaving, st, link);
        return;
    }
    h2_stream_free(st, st->aborted && st->x.ended ? HTTP_OVER_ABORTED : HTTP_OVER_GONE);
    if (h->held) give_windows(h);
}
