/*  http2.h - HTTP/2 on one connection: its streams are exchanges of http.h.
 *
 *  A request's pseudo-headers and headers become the text of an HTTP/1.1 head and are read by
 *  http_parser.h, so both protocols have the same limits and the same strictness. Framing, HPACK,
 *  windows and the rules of RFC 9113 are nghttp2's.
 *
 *  Flow: what a stream's writer has given waits in the stream until the client's windows and the
 *  connection's output take it; http_pending and on_drained are the stream's. A body is collected up to
 *  body_max; while the bodies of one connection hold more than HTTP2_BODIES_BYTES, only the oldest
 *  one's window is opened further.
 *  Limits: those of http_limits. A client that gives a stream no window for stall_ms loses that
 *  stream. Frames that cost and ask for nothing (PING, SETTINGS, RST_STREAM, ...) are paid from an
 *  allowance that requests and answers refill; GOAWAY with ENHANCE_YOUR_CALM ends it.
 *  Draining: GOAWAY, open streams are finished, then the connection ends.
 *
 *  Thread: the loop's.
 *  Ownership: belongs to its http_conn, which frees it.
 *  Errors: a stream's become answers or RST_STREAM, the connection's GOAWAY or its end. */
#ifndef EDGE_HTTP2_H
#define EDGE_HTTP2_H

#include "http_conn.h"

enum {
    HTTP2_WINDOW_BYTES = 131072,  /* of a stream */
    HTTP2_BODIES_BYTES = 1 << 20, /* of a connection, and its window */
    HTTP2_ALLOWANCE = 1000,       /* most that is saved up */
    HTTP2_ALLOWANCE_SECOND = 50,  /* refill */
    HTTP2_RESET_COST = 5,
    HTTP2_DRAIN_MS = 1000 /* for the client to have seen the first GOAWAY */
};

/* NULL: no memory. */
http2 *http2_new(http_conn *c);
/* Open exchanges end as GONE. */
void http2_free(http2 *h);
/* Reads what there is, up to the turn's budget. False when it freed the connection. */
bool http2_run(http2 *h);
/* Sends what there is, up to the turn's budget. May free the connection. */
void http2_flush(http2 *h);
/* A deadline has come. May free the connection. */
void http2_timer(http2 *h);
/* Takes no new streams, and ends when the open ones have. */
void http2_retire(http2 *h);

#endif
