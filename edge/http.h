/*  http.h - requests and answers as the rest of the edge sees them, whatever carries them.
 *
 *  A wire (HTTP/1.1 in http_answer.c, HTTP/2 in http2.c) turns bytes into exchanges and
 *  calls the service. Of every exchange the service hears, in this order:
 *    head        the head is complete and valid, the body is not read yet. The service may answer
 *                here (the body is then never read) or leave it; it may set `body_max`, and call
 *                http_stream_body and http_pause. What a client that expects 100 (Continue) waits
 *                for is sent after `head`, when the exchange is neither answered nor paused.
 *    body        some bytes of a streamed body, in order; never while paused.
 *    request     the body is complete: in request->body, or, when it was streamed, handed over
 *                before. The service answers now or later.
 *    refuse      instead of what has not come yet: the wire refuses the request and wants the
 *                answer's words. The service must call http_respond before it returns.
 *                `request->method` and `path` are set as far as they were read; of a request whose
 *                body is streamed nothing is, unless it is kept.
 *    x->on_over  exactly once, if it was set, when the exchange ends in any way; `x` is gone then.
 *
 *  A service that answers or aborts before `request` gets nothing more of the body: HTTP/1 closes
 *  the connection behind the answer, HTTP/2 ends the stream with RST_STREAM(NO_ERROR).
 *
 *  An answer is one http_respond, or http_start, http_writes, and http_end or http_abort.
 *  Answers never block: bytes wait in the connection. What a stream's writer must watch is
 *  http_pending and on_drained.
 *
 *  Thread: the loop's.
 *  Ownership: an exchange belongs to its wire. x->request is valid only inside head, request and
 *  refuse (NULL otherwise) unless it is kept: copy what must live longer. What respond, start and
 *  write are given is copied. No function here frees the exchange or calls back before it returns.
 *  Limits: of a streamed body that is paused a wire holds no more than one turn's bytes (HTTP/1)
 *  or one window (HTTP/2). A kept body counts as one that is being received.
 *  Errors: none; a wire that lost its client accepts and drops what is still written. */
#ifndef EDGE_HTTP_H
#define EDGE_HTTP_H

#include "sv_types.h"

typedef struct http_exchange http_exchange;

typedef struct http_header {
    sv_str name, value;
} http_header;

/* 16 bytes of IPv6 (IPv4 mapped) and the port. */
typedef struct http_address {
    uint8_t ip[16];
    uint16_t port;
} http_address;

typedef struct http_request {
    sv_str method, path, query; /* path raw, as sent; query without its ? */
    sv_str host;                /* Host or :authority; absent only in HTTP/1.0 */
    const http_header *headers; /* framing fields included, order kept */
    uint32_t n_headers;
    sv_str body;   /* empty before `request` */
    bool has_body; /* a length or a coding announced one, even an empty one */
    bool secure;   /* came over TLS */
} http_request;

typedef struct http_response {
    int status;
    sv_str content_type; /* absent: no such header */
    const http_header
        *headers; /* further ones; lower-case valid names, at most 32, never framing */
    uint32_t n_headers;
    sv_str body; /* http_respond only */
    /* Content-Length of what is started, which then must have exactly so many bytes (an answer that
     * ends before is seen as cut), or of a body that a HEAD or a 304 leaves out. */
    bool has_length;
    uint64_t length;
} http_response;

typedef enum http_over {
    HTTP_OVER_DONE,   /* the last byte of the answer was handed to the system */
    HTTP_OVER_GONE,   /* the client left or stalled, or the server closed */
    HTTP_OVER_ABORTED /* http_abort */
} http_over;

typedef struct http_kept http_kept;

/* What a wire implements. */
typedef struct http_wire {
    void (*respond)(http_exchange *x, const http_response *r);
    void (*start)(http_exchange *x, const http_response *r);
    void (*write)(http_exchange *x, sv_str bytes);
    void (*end)(http_exchange *x);
    void (*abort)(http_exchange *x);
    size_t (*pending)(const http_exchange *x);
    void (*pause)(http_exchange *x); /* `paused` has just changed */
    void (*resume)(http_exchange *x);
    int (*keep)(http_exchange *x);    /* sets x->kept and x->request */
    void (*unkeep)(http_exchange *x); /* x->kept is about to be freed */
} http_wire;

struct http_exchange {
    const http_wire *wire;
    const http_request *request; /* inside head, request and refuse, or while kept */
    http_kept *kept;
    http_address remote;
    size_t body_max; /* bytes; set from the server's limit before `head`, where it may be changed */
    /* Bytes of a collected body that are granted; set to all before `head`, where it may be lowered.
     * One that outgrows them is asked about by the service's `more`. */
    size_t body_room;
    bool streaming; /* http_stream_body was called */
    bool paused;
    bool overloaded; /* taken beyond the connection limit, only to say so: answer at once */
    bool started;    /* the status line is out */
    bool ended;      /* the answer is complete or aborted */
    bool close;  /* HTTP/1: the connection ends with this answer; the service may set it before it
                 * starts. HTTP/2: only streams end */
    bool secure; /* came over TLS */
    /* The service's own. */
    void *data;
    void (*on_over)(http_exchange *x, http_over how);
    /* After bytes were written and the output has fallen to the low mark (half the high one). */
    void (*on_drained)(http_exchange *x);
};

typedef struct http_service {
    void *arg;
    void (*head)(void *arg, http_exchange *x);
    void (*body)(void *arg, http_exchange *x, sv_str bytes); /* NULL: it streams no bodies */
    /* The body is about to be `n` bytes long, above body_room: raises that to n or more, or returns what
     * to refuse the request with. NULL: body_room is never lowered. */
    int (*more)(void *arg, http_exchange *x, size_t n, sv_error *err);
    void (*request)(void *arg, http_exchange *x);
    void (*refuse)(void *arg, http_exchange *x, int code, const sv_error *err);
} http_service;

/* The whole answer. Content-Length, Date and Connection are the wire's. Only while nothing started.
 */
void http_respond(http_exchange *x, const http_response *r);
/* Status line and headers of an answer whose length is not known. */
void http_start(http_exchange *x, const http_response *r);
/* Bytes of a started answer; empty ones are allowed. */
void http_write(http_exchange *x, sv_str bytes);
void http_end(http_exchange *x);
/* Gives up: the client sees that the answer is cut. */
void http_abort(http_exchange *x);
/* Bytes of this answer that wait for the client: HTTP/1: the connection's output; HTTP/2: what the
 * stream has not been able to send. */
size_t http_pending(const http_exchange *x);

/* Only inside `head`: the body is handed over as it comes, not collected. */
void http_stream_body(http_exchange *x);
/* Stops reading the body, from any moment between the beginning of `head` and `request`, which does
 * not come either while paused. Time spent so does not count against the body's rate. */
void http_pause(http_exchange *x);
/* Goes on in a later turn. Both may be called again and again, and do nothing at other times. */
void http_resume(http_exchange *x);

/* Only inside head, request or refuse: x->request stays until http_unkeep or the end of the exchange.
 * It moves: slices taken from it before are not kept. Kept inside `head`, it gets its body later.
 * 0 or SV_E_NO_MEMORY. Head and body are copied once at most, a large body not at all. */
int http_keep(http_exchange *x);
/* Also when nothing is kept. x->request is NULL behind it. */
void http_unkeep(http_exchange *x);

/* The first header called `name` (any case), or {NULL, 0}; *count (may be NULL) how many there are.
 */
sv_str http_header_get(const http_request *r, const char *name, uint32_t *count);
/* Value of `name` in a query string, still encoded; {NULL, 0} when absent. */
sv_str http_query_get(sv_str query, const char *name);
/* Decodes %XX; false when `to` (size n) is too small. *ret is the length. Plus stays plus. */
bool http_percent_decode(sv_str s, char *to, size_t n, uint32_t *ret);
/* "Not Found" for 404; "Unknown" for numbers without a registered phrase. */
const char *http_reason(int status);
/* Media type of a Content-Type value equals `type`, parameters apart, without case. */
bool http_media_is(sv_str value, const char *type);
/* Value of a Content-Type parameter, quotes removed; {NULL, 0} when absent. */
sv_str http_media_parameter(sv_str value, const char *name);
/* Text of an address: "127.0.0.1" or "::1". `text` has room for 46 bytes. */
void http_address_text(const http_address *a, char *text);

#endif
