/*  http_transport.h - how bytes reach the peer: a table of functions over one non-blocking
 *  descriptor.
 *  Plain TCP here; tls.h has the second table, whose `session` holds its state. The connection
 *  machine sees nothing else, and registers the descriptor edge-triggered for both directions,
 *  so a table may need to write in order to read: every event makes a connection with a
 *  `session` try both again.
 *  Thread: the loop's.   Ownership: close gives back the descriptor and the session.
 *  Errors: -1 with errno, EAGAIN when nothing can move now. */
#ifndef EDGE_HTTP_TRANSPORT_H
#define EDGE_HTTP_TRANSPORT_H

#include "sv_types.h"

#include <sys/types.h>

typedef struct http_transport http_transport;

typedef enum http_hello {
    HTTP_HELLO_MORE,   /* call again after the next event */
    HTTP_HELLO_HTTP1,  /* done; HTTP/1.1 follows */
    HTTP_HELLO_HTTP2,  /* done; HTTP/2 follows */
    HTTP_HELLO_PLAIN,  /* the peer sends HTTP as it is; the transport is the plain one now */
    HTTP_HELLO_FAILED, /* the peer has been told, if it can be */
} http_hello;

typedef struct http_transport_ops {
    /* What has to happen before the first byte of HTTP; NULL: nothing, and HTTP/1.1 follows. */
    http_hello (*hello)(http_transport *t);
    ssize_t (*read)(http_transport *t, void *p, size_t n); /* 0: the peer ended its side */
    ssize_t (*write)(http_transport *t, const void *p, size_t n);
    void (*shut)(http_transport *t); /* nothing more will be written */
    /* `reset` drops what the system still holds instead of delivering it. */
    void (*close)(http_transport *t, bool reset);
    bool secure;
} http_transport_ops;

struct http_transport {
    const http_transport_ops *ops;
    void *session;
    int fd;
};

extern const http_transport_ops http_transport_plain;

/* Makes a transport of t->fd: fills in ops and session. Negative, with nothing changed, when there is
 * no memory. */
typedef int http_open_fn(void *arg, http_transport *t);

#endif
