/*  http2_harness.h - http_harness.h for HTTP/2: a client session of nghttp2 over real sockets and a
 *  transport whose hello does nothing but choose HTTP/2. */
#ifndef HTTP2_HARNESS_H
#define HTTP2_HARNESS_H

#include "http_harness.h"
#include "http2_stream.h"

#include <netinet/tcp.h>

enum { STREAMS = 256 };

typedef struct result {
    int status;
    size_t bytes;
    bool closed, continued, end;
    uint32_t code;
    char body[64];
    const uint8_t *upload; /* NULL: zeros */
    bool no_echo;          /* the answer is not the upload */
    size_t upload_at, upload_n;
} result;

typedef struct h2_client {
    client *c;
    nghttp2_session *s;
    bool shut_windows; /* take DATA, give no window back */
    bool goaway;
    uint32_t goaway_code;
    int32_t last_id;
    bool ended;
    result r[STREAMS]; /* by (id - 1) / 2 */
} h2_client;

static http_hello hello(http_transport *t)
{
    char first;
    ssize_t n = recv(t->fd, &first, 1, MSG_PEEK);
    if (n == 0) return HTTP_HELLO_FAILED;
    return n == 1 ? HTTP_HELLO_HTTP2 : HTTP_HELLO_MORE;
}

static int open_http2(void *arg, http_transport *t)
{
    static http_transport_ops ops;
    (void)arg;
    ops = http_transport_plain;
    ops.hello = hello;
    t->ops = &ops;
    return 0;
}

static inline void start(harness *h)
{
    if (h->limits.head_bytes == 0) h->limits = default_limits;
    if (h->limits.streams == 0) h->limits.streams = 100;
    h_open(h);
    http_server_transport(h->s, open_http2, NULL);
}

static result *of(h2_client *k, int32_t id)
{
    assert_true(id > 0 && (id - 1) / 2 < STREAMS);
    return &k->r[(id - 1) / 2];
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t n, uint8_t flags, void *arg)
{
    result *r = of(arg, f->hd.stream_id);
    (void)s;
    (void)n;
    (void)flags;
    if (name_n != 7 || memcmp(name, ":status", 7) != 0) return 0;
    int status = atoi((const char *)value);
    if (status == 100)
        r->continued = true;
    else
        r->status = status;
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *arg)
{
    h2_client *k = arg;
    result *r = of(k, id);
    (void)flags;
    for (size_t i = 0; i < n && r->bytes + i < sizeof r->body - 1; i++)
        r->body[r->bytes + i] = (char)p[i];
    if (r->upload && !r->no_echo)
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], r->upload[r->bytes + i]);
    r->bytes += n;
    if (!k->shut_windows) nghttp2_session_consume(s, id, n);
    return 0;
}

static int on_closed(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    (void)s;
    of(arg, id)->closed = true;
    of(arg, id)->code = code;
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    h2_client *k = arg;
    (void)s;
    if (f->hd.type != NGHTTP2_GOAWAY) return 0;
    k->goaway = true;
    k->goaway_code = f->goaway.error_code;
    k->last_id = f->goaway.last_stream_id;
    return 0;
}

static inline h2_client *begin(harness *h)
{
    h2_client *k = calloc(1, sizeof *k);
    nghttp2_session_callbacks *cb;
    nghttp2_option *o;
    k->c = connected(h);
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_closed);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_option_new(&o);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_http_messaging(o, 1);
    assert_int_equal(nghttp2_session_client_new2(&k->s, cb, k, o), 0);
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
    assert_int_equal(nghttp2_submit_settings(k->s, 0, NULL, 0), 0);
    return k;
}

static inline void finish(h2_client *k)
{
    nghttp2_session_del(k->s);
    leave(k->c);
    free(k);
}

static void push(harness *h, h2_client *k)
{
    for (;;) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(k->s, &p);
        if (n <= 0) return;
        if (!say_n(h, k->c, (const char *)p, (size_t)n)) return;
    }
}

/* Sends what there is and takes what has come. */
static inline bool both(harness *h, h2_client *k)
{
    push(h, k);
    char got[65536];
    for (;;) {
        ssize_t n = recv(k->c->fd, got, sizeof got, 0);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) {
            k->ended = true;
            break;
        }
        if (nghttp2_session_mem_recv(k->s, (uint8_t *)got, (size_t)n) < 0) fail_msg("bad frames");
    }
    push(h, k);
    return true;
}

#define MEET(h, k, condition) UNTIL(h, both(h, k) && (condition))

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), 0};
}

static ssize_t upload(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                      nghttp2_data_source *source, void *arg)
{
    result *r = of(arg, id);
    (void)s;
    (void)source;
    size_t n = r->upload_n - r->upload_at < room ? r->upload_n - r->upload_at : room;
    if (n == 0 && !r->end) return NGHTTP2_ERR_DEFERRED;
    if (r->upload)
        memcpy(to, r->upload + r->upload_at, n);
    else
        memset(to, 0, n);
    r->upload_at += n;
    if (r->upload_at == r->upload_n && r->end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static inline int32_t request(h2_client *k, const char *method, const char *path,
                              const nghttp2_nv *more, size_t n_more, bool body)
{
    nghttp2_nv list[128] = {nv(":method", method), nv(":scheme", "http"), nv(":authority", "a"),
                            nv(":path", path)};
    nghttp2_data_provider source = {.read_callback = upload};
    assert_true(n_more <= 120);
    if (n_more) memcpy(list + 4, more, n_more * sizeof *more);
    int32_t id = nghttp2_submit_request(k->s, NULL, list, 4 + n_more, body ? &source : NULL, NULL);
    assert_true(id > 0);
    return id;
}

static inline int32_t get(h2_client *k, const char *path)
{
    return request(k, "GET", path, NULL, 0, false);
}

static inline int32_t post(h2_client *k, const char *path, const void *p, size_t n)
{
    int32_t id = request(k, "POST", path, NULL, 0, true);
    *of(k, id) = (result){.upload = p, .upload_n = n, .end = true};
    return id;
}

#endif
