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

#include "access.h"
#include "caller.h"
#include "compress.h"
#include "http_server.h"
#include "limits_bus.h"
#include "listen_port.h"
#include "live.h"
#include "operator.h"
#include "origin.h"
#include "routes.h"
#include "samovar.h"
#include "sse_tail.h"
#include "tls.h"
#include "trace_context.h"
#include "trusted.h"

typedef struct uploads uploads;
typedef struct upload upload;
typedef struct download download;

typedef struct edge {
    sv_process *p;
    loop *l;
    http_server *server;
    tls *tls; /* NULL: plain HTTP */
    listen_port port;
    operator_identity who;
    access *access;
    live *live;
    limits_bus *limits;
    uploads *uploads;
    origin_rules origin;
    trusted proxies;
    char url[64];
    uint32_t request_ms;
    uint64_t opened_us;
    size_t output_bytes, answer_bytes, model_bytes, body_bytes;
    size_t bodies, bodies_most; /* of large bodies that are coming or being read */
    int64_t keep_s;             /* of answers that may be kept */
    loop_timer early;           /* until identities are known */
    bool stopping;              /* the bus is closed: streams are gone without `done` */
    bool held;                  /* sv_hold for the drain */
    buf text;                   /* bodies being written; empty between calls of the service */
    buf packed;                 /* requests being packed, same */
    arena arena;                /* decoded messages, same */
    edge_call *free_calls;
    uint32_t n_free;
} edge;

struct edge_call {
    edge *e;
    http_exchange *x;
    const route *route; /* NULL: none was found */
    route_match match;  /* {names} of the path; only inside the handler */
    identity *who;      /* NULL: anonymous */
    http_address from;  /* the client's, also behind a trusted proxy */
    char request_id[REQUEST_ID_BYTES + 1];
    sv_trace trace; /* its span is this request at the edge */
    uint64_t since_us;
    int status;        /* of the answer, 0 before */
    bool openai;       /* errors in OpenAI's shape */
    bool anthropic;    /* errors in Anthropic's */
    bool ollama;       /* errors in Ollama's */
    bool responses;    /* the same as openai, but for events of a stream */
    bool explain;      /* the answer's headers say how it was made */
    uint32_t ttl_ms;   /* of a request to a model */
    size_t body_room;  /* of e->bodies */
    bool refused;      /* by the wire: the client's doing, whatever the status */
    access_wait key;   /* while an API key is asked about */
    limits_wait limit; /* while the owner of a limit is asked */
    limits_verdict verdict;
    int failed;         /* the credential was refused with this; first the address is counted */
    bool wants_cookie;  /* the refresh token goes into a cookie */
    bool secure;        /* the client speaks TLS, maybe with a proxy */
    const char *origin; /* a page of this origin of edge.cors_origins asks */
    buf set_cookie;
    void *data; /* of a handler that goes on for longer; data_free(data) at the end */
    void (*data_free)(void *data);
    coding takes;       /* what the client likes answers in */
    upload *upload;     /* POST /api/files */
    download *download; /* GET /api/files/{id} */
    /* of a route with ROUTE_STREAMS, set by its handler: some of the body; all of it was there */
    void (*on_bytes)(edge_call *c, sv_str bytes);
    void (*on_complete)(edge_call *c);
    sv_stream *stream;
    char *wanted; /* GET /v1/models/{id}: the id, decoded; owned */
    buf list;     /* GET /v1/models: the pages so far */

    /* chat completions as a stream */
    struct model_spare *spare; /* asked of the cache: for the router, when there is no cache */
    bool streaming;
    bool events; /* what streams are server-sent events */
    bool lines;  /* they are lines of JSON */
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
/* Looks after identities. A few times a second. */
void gateway_identities(edge *e);
/* A large body is needed no more: what it took of edge.bodies_bytes is free again. */
void gateway_body_done(edge_call *c);
/* Counts and answers a request that goes no further. */
void gateway_refuse(edge_call *c, int code, const sv_error *err);
/* Gauges that nobody sets on the way. */
void gateway_gauges(edge *e);
/* The headers called `name`, joined with ", " into `to`. {NULL, 0} when absent; *fits false when
 * they are longer than `size`. */
sv_str gateway_joined(const http_request *r, const char *name, char *to, size_t size, bool *fits);

#endif
