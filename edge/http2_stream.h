/*  http2_stream.h - the inside of http2.h: one stream, from its head to its answer, and what the
 *  two sources share.
 *  Included by http2.c and http2_stream.c only. Contract: http2.h's. */
#ifndef EDGE_HTTP2_STREAM_H
#define EDGE_HTTP2_STREAM_H

#include "buf.h"
#include "http2.h"

#include <nghttp2/nghttp2.h>

typedef struct h2_stream {
    http_exchange x; /* first: the wire's functions find the stream by it */
    http2 *h;
    TAILQ_ENTRY(h2_stream) link;
    int32_t id;
    bool open;      /* the service knows x */
    bool receiving; /* the head was accepted, its body is not complete */
    bool complete;  /* the client has sent all it will */
    bool answered;  /* the last frame of the answer is in the connection's output */
    bool held;      /* its window is kept shut, for others' bodies */
    bool aborted, head_only, deferred, wrote;
    bool counted;    /* the answer's length was told */
    uint64_t owed_n; /* of it, to be written still */

    bool handing; /* `request` runs */
    bool expect;  /* 100 (Continue) is owed when the body is let come */
    char *text;   /* the head; with `head` until the request was handed over or refused */
    size_t text_n;
    http_head *head;
    buf body, out; /* body: collected, or come while the streamed one was paused */
    size_t owed;   /* of the body: taken, but the window not yet given back */
    uint64_t got;  /* of the body, in all */
    size_t kept_n; /* of a kept body, counted among the connection's bodies */
    uint64_t paused_us;
    size_t out_at;     /* sent of `out` */
    uint64_t since_us; /* of the body */
    uint64_t stall_us; /* the client must have taken something by then; UINT64_MAX: nothing waits */
} h2_stream;

typedef TAILQ_HEAD(h2_streams, h2_stream) h2_streams;

/* The head that is being received; there is one at a time. */
typedef struct h2_collect {
    h2_stream *st; /* NULL: none */
    buf method, scheme, authority, path, host, cookie, lines;
    size_t bytes;
    bool too_large;
    const char *wrong;
    uint64_t by_us;
} h2_collect;

struct http2 {
    http_conn *c;
    nghttp2_session *session;
    h2_streams streams; /* oldest first */
    h2_streams leaving; /* answered; their last bytes wait in the connection's output */
    uint32_t n_streams;
    h2_collect collect;
    size_t bodies; /* bytes of all bodies being received */
    bool held;     /* some stream is owed window */
    bool resumed;  /* some stream may go on */
    bool greeted;  /* the client's preface has come */
    bool retiring, final;
    uint64_t idle_us;  /* end of the time without streams */
    uint64_t final_us; /* retiring: the second GOAWAY goes out by then */
    uint32_t allowance;
    uint64_t refilled_us;
};

/* ---- http2_stream.c ---- */

void h2_collect_init(http2 *h);
void h2_collect_free(http2 *h);
/* A new stream's first frame; false when there is no memory. */
bool h2_stream_begin(http2 *h, int32_t id);
/* One field of the head being collected. False: the client is far beyond the limit. */
bool h2_stream_field(http2 *h, sv_str name, sv_str value);
/* The head is whole; `last`: no body follows. */
void h2_stream_head(h2_stream *st, bool last);
void h2_stream_data(h2_stream *st, sv_str bytes);
/* The client has ended its side. */
void h2_stream_complete(h2_stream *st);
/* Hands over what waited for its exchange to be resumed. */
void h2_stream_go_on(h2_stream *st);
/* The body did not come in time. */
void h2_stream_late(h2_stream *st);
/* When that will be; UINT64_MAX: nothing is awaited from the client. */
uint64_t h2_stream_read_by(const h2_stream *st);
/* nghttp2 has closed it. May free it. */
void h2_stream_closed(h2_stream *st);
void h2_stream_free(h2_stream *st, http_over how);
size_t h2_stream_pending(const h2_stream *st);
void h2_stream_reset(h2_stream *st, uint32_t code);

/* ---- http2.c ---- */

/* The second GOAWAY: what is open is finished, nothing else is begun. */
void h2_final(http2 *h);

#endif
