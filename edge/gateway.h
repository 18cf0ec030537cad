/*  gateway.h - between HTTP and the bus: one edge process and the calls it is answering.
 *  The gateway is the service of http.h: it names, checks and routes each request, keeps what an
 *  answer needs after the request's bytes are gone, and counts and logs when it is over.
 *
 *  Thread: the loop's.
 *  Ownership: an edge_call lives from `head` (or `refuse`) until its exchange is over and
 *  belongs to the gateway; a handler's bus stream belongs to the call, which cancels it when the
 *  client leaves.
 *  Limits: those of http_limits; calls come from a free list.
 *  Errors: answered to the client. */
#ifndef EDGE_GATEWAY_H
#define EDGE_GATEWAY_H

#include "caller.h"
#include "http_server.h"
#include "listen_port.h"
#include "operator.h"
#include "routes.h"
#include "samovar.h"
#include "sse_tail.h"
#include "tls.h"
#include "trace_context.h"

typedef struct edge {
    sv_process *p;
    loop *l;
    http_server *server;
    tls *tls; /* NULL: plain HTTP */
    listen_port port;
    operator_identity who;
    char url[64];
    uint32_t request_ms;
    size_t output_bytes, answer_bytes;
    bool stopping; /* the bus is closed: streams are gone without `done` */
    bool held;     /* sv_hold for the drain */
    buf text;      /* bodies being written; empty between calls of the service */
    arena arena;   /* decoded messages, same */
    edge_call *free_calls;
    uint32_t n_free;
} edge;

struct edge_call {
    edge *e;
    http_exchange *x;
    const route *route; /* NULL: none was found */
    sv_str tail;        /* {id} of the path; only inside the handler */
    char request_id[REQUEST_ID_BYTES + 1];
    sv_trace trace; /* its span is this request at the edge */
    uint64_t since_us;
    int status;   /* of the answer, 0 before */
    bool openai;  /* errors in OpenAI's shape */
    bool refused; /* by the wire: the client's doing, whatever the status */
    sv_stream *stream;
    char *wanted; /* GET /v1/models/{id}: the id, decoded; owned */
    buf list;     /* GET /v1/models: the pages so far */

    /* chat completions as a stream */
    bool streaming;
    bool events; /* what streams are server-sent events */
    loop_timer heartbeat;
    uint64_t wrote_us;
    uint32_t owed_items; /* received and not yet granted again */
    size_t owed_bytes;
    sse_tail tail_bytes;

    edge_call *next_free;
};

/* Opens listener and identity by the configuration; the edge is not serving before the loop runs.
 */
int gateway_open(sv_process *p, edge **ret, sv_error *err);
void gateway_free(edge *e);
/* No new requests; open ones are finished while sv_hold keeps the process. */
void gateway_drain(edge *e);
/* Takes a new certificate when its files have changed. Once a second. */
void gateway_certificate(edge *e);
/* Gauges that nobody sets on the way. */
void gateway_gauges(edge *e);
/* The headers called `name`, joined with ", " into `to`. {NULL, 0} when absent; *fits false when
 * they are longer than `size`. */
sv_str gateway_joined(const http_request *r, const char *name, char *to, size_t size, bool *fits);

#endif
