/*  http_answer.c - how an exchange's answer becomes bytes of an HTTP/1.1 connection.
 *  Everything is appended to the connection's output, one flat buffer that starts as a pooled
 *  block. A failed append marks the connection broken, and the flush at the end of the turn ends
 *  it: callers need not look. A stream of an HTTP/1.0 client has no chunks and ends with the
 *  connection. */
#include "http_conn.h"

#include <assert.h>
#include <stdlib.h>

static bool grow(http_conn *c, size_t n)
{
    if (c->out_at > 0 && c->out_at >= c->out_n / 2) {
        memmove(c->out, c->out + c->out_at, c->out_n - c->out_at);
        c->out_n -= c->out_at;
        c->out_at = 0;
    }
    if (c->out_cap - c->out_n >= n) return true;
    if (c->out == NULL && n <= BLOCK_BYTES) {
        c->out = server_block_take(c->s);
        c->out_cap = c->out ? BLOCK_BYTES : 0;
        return c->out != NULL;
    }
    size_t cap = c->out_cap ? c->out_cap : BLOCK_BYTES;
    while (cap - c->out_n < n)
        cap *= 2;
    char *p = NULL;
    if (c->out_cap == BLOCK_BYTES) { /* pooled: leave it to the pool */
        p = malloc(cap);
        if (p) {
            memcpy(p, c->out, c->out_n);
            server_block_give(c->s, c->out);
        }
    } else {
        p = realloc(c->out, cap);
    }
    if (p == NULL) return false;
    c->out = p;
    c->out_cap = cap;
    return true;
}

bool conn_append(http_conn *c, const void *p, size_t n)
{
    if (!grow(c, n)) return false;
    memcpy(c->out + c->out_n, p, n);
    c->out_n += n;
    return true;
}

void conn_put(http_conn *c, const void *p, size_t n)
{
    if (n == 0 || c->broken) return;
    server_touch(c->s, c);
    if (!conn_append(c, p, n)) c->broken = true;
}

void conn_out_release(http_conn *c)
{
    if (c->out_cap == BLOCK_BYTES)
        server_block_give(c->s, c->out);
    else
        free(c->out);
    c->out = NULL;
    c->out_at = c->out_n = c->out_cap = 0;
}

static void put_str(http_conn *c, sv_str s)
{
    conn_put(c, s.p, s.n);
}

static void put_text(http_conn *c, const char *s)
{
    conn_put(c, s, strlen(s));
}

static void put_number(http_conn *c, uint64_t v, unsigned base)
{
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    conn_put(c, text + at, sizeof text - at);
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

static void put_head(http_conn *c, const http_response *r)
{
    c->x.close = c->x.close || c->unread || c->s->draining;
    put_text(c, "HTTP/1.1 ");
    put_number(c, (uint64_t)r->status, 10);
    put_text(c, " ");
    put_text(c, http_reason(r->status));
    put_text(c, "\r\ndate: ");
    put_text(c, server_date(c->s));
    if (r->content_type.n) {
        put_text(c, "\r\ncontent-type: ");
        put_str(c, r->content_type);
    }
    for (uint32_t i = 0; i < r->n_headers; i++) {
        put_text(c, "\r\n");
        put_str(c, r->headers[i].name);
        put_text(c, ": ");
        put_str(c, r->headers[i].value);
    }
    if (c->x.close)
        put_text(c, "\r\nconnection: close");
    else if (c->minor == 0)
        put_text(c, "\r\nconnection: keep-alive");
}

static http_conn *conn_of(http_exchange *x)
{
    return (http_conn *)x;
}

static void put_length(http_conn *c, uint64_t n)
{
    put_text(c, "\r\ncontent-length: ");
    put_number(c, n, 10);
}

static void wire_respond(http_exchange *x, const http_response *r)
{
    http_conn *c = conn_of(x);
    conn_stop_body(c);
    put_head(c, r);
    if (!has_no_body(r->status)) put_length(c, r->has_length ? r->length : r->body.n);
    put_text(c, "\r\n\r\n");
    if (!c->head_only && !has_no_body(r->status)) put_str(c, r->body);
}

static void wire_start(http_exchange *x, const http_response *r)
{
    http_conn *c = conn_of(x);
    assert(!has_no_body(r->status));
    conn_stop_body(c);
    bool chunked = c->minor > 0 && !r->has_length;
    c->chunked_out = chunked && !c->head_only;
    c->counted = r->has_length && !c->head_only;
    c->owed_n = r->length;
    if (c->minor == 0 && !r->has_length) x->close = true;
    put_head(c, r);
    if (r->has_length) put_length(c, r->length);
    put_text(c, chunked ? "\r\ntransfer-encoding: chunked\r\n\r\n" : "\r\n\r\n");
}

static void wire_write(http_exchange *x, sv_str bytes)
{
    http_conn *c = conn_of(x);
    if (c->head_only) return;
    if (c->out_n - c->out_at > c->s->limits.output_bytes + HTTP_OUTPUT_SLACK) {
        c->broken = true;
        server_touch(c->s, c);
        return;
    }
    if (c->counted) {
        assert(bytes.n <= c->owed_n);
        c->owed_n -= bytes.n;
    }
    if (c->chunked_out) {
        put_number(c, bytes.n, 16);
        put_text(c, "\r\n");
    }
    put_str(c, bytes);
    if (c->chunked_out) put_text(c, "\r\n");
    c->wrote = true;
}

static void wire_end(http_exchange *x)
{
    http_conn *c = conn_of(x);
    if (c->chunked_out) put_text(c, "0\r\n\r\n");
    if (c->counted && c->owed_n) { /* the client sees that it is cut */
        c->aborted = true;
        x->close = true;
    }
    server_touch(c->s, c);
}

static void wire_abort(http_exchange *x)
{
    http_conn *c = conn_of(x);
    conn_stop_body(c);
    c->aborted = true;
    x->close = true;
    server_touch(c->s, c);
}

static size_t wire_pending(const http_exchange *x)
{
    const http_conn *c = (const http_conn *)x;
    return c->out_n - c->out_at;
}

/* Nothing is counted here. */
static void wire_unkeep(http_exchange *x)
{
    (void)x;
}

const http_wire http1_wire = {
    .respond = wire_respond,
    .start = wire_start,
    .write = wire_write,
    .end = wire_end,
    .abort = wire_abort,
    .pending = wire_pending,
    .pause = conn_wire_pause,
    .resume = conn_wire_resume,
    .keep = conn_wire_keep,
    .unkeep = wire_unkeep,
};
