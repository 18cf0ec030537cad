/*  http_server.h - a listening socket and the HTTP connections it takes, all on one loop.
 *
 *  Connections are taken with accept4 up to `connections` and `connections_per_address`; what
 *  comes beyond is taken only to be answered "overloaded" and closed, at most HTTP_OVERLOADED at
 *  a time, and reset beyond that. When the process has no descriptor left, a reserve one is
 *  given up so that one connection at a time is still heard (the service sees `overloaded` and
 *  may answer health checks); the reserve is taken again when it ends.
 *
 *  A trusted proxy may have to begin its connections with a header of the PROXY protocol, before TLS;
 *  they then count at the address that it tells. Nobody else's such header is looked at: it is no
 *  HTTP.
 *
 *  The exchanges of HTTP/2 count like connections: beyond `connections` of them, or
 *  `connections_per_address` of one address, a stream is `overloaded`.
 *
 *  Thread: the loop's.
 *  Ownership: copies limits and service; connections belong to the server.
 *  Errors: SV_E_CONFIG when the address cannot be listened on, in words for the operator;
 *  SV_E_NO_MEMORY, SV_E_IO. */
#ifndef EDGE_HTTP_SERVER_H
#define EDGE_HTTP_SERVER_H

#include "http.h"
#include "http_transport.h"
#include "loop.h"
#include "trusted.h"

enum { HTTP_OVERLOADED = 64 };

typedef struct http_limits {
    uint32_t head_bytes, line_bytes, headers;
    size_t body_bytes;
    size_t output_bytes; /* high mark: see http_pending; the low mark is half of it */
    uint32_t connections, connections_per_address;
    uint32_t streams;       /* HTTP/2: exchanges of one connection at once */
    uint32_t head_ms;       /* for a whole head, from its first byte (the first one: from accept) */
    uint32_t body_grace_ms; /* for a body, plus one second for each body_rate bytes that came */
    uint32_t body_rate;
    uint32_t idle_ms;   /* between requests */
    uint32_t stall_ms;  /* without the client taking a byte of its answer */
    uint32_t linger_ms; /* after a refusal, for the client to read the answer */
} http_limits;

typedef struct http_server http_server;

typedef struct http_server_stats {
    uint32_t connections; /* open, those beyond the limits included */
    uint32_t exchanges;   /* with the service */
    uint64_t accepted;
    uint64_t overloaded;  /* taken beyond a limit or reset for it */
    uint64_t exhausted;   /* times no descriptor was left */
    uint64_t unannounced; /* trusted proxies' closed for want of a good PROXY protocol header */
} http_server_stats;

http_server *http_server_new(loop *l, const http_limits *limits, const http_service *service,
                             sv_error *err);
/* Closes everything at once; on_over(GONE) for what is open. NULL is allowed. */
void http_server_free(http_server *s);
/* What new connections are spoken to through; without it, plain TCP. */
void http_server_transport(http_server *s, http_open_fn *open, void *arg);
/* For new connections. `proxy_protocol`: those of trusted proxies begin with its header. `proxies` is
 * copied. */
void http_server_proxies(http_server *s, const trusted *proxies, bool proxy_protocol);
/* `ip` is a numeric address; port 0 takes a free one. `share`: SO_REUSEPORT, for several processes.
 */
int http_server_listen(http_server *s, const char *ip, uint16_t port, bool share, sv_error *err);
/* Before http_server_listen: it takes the port, and connections come behind http_server_begin only, so
 * that a process that cannot serve yet draws none from those that share the port. */
void http_server_hold(http_server *s);
/* Nothing to do without http_server_hold, or behind http_server_stop_listening. */
int http_server_begin(http_server *s, sv_error *err);
void http_server_stop_listening(http_server *s);
uint16_t http_server_port(const http_server *s);
/* Takes what waits in the backlog, then no more; idle connections close, open exchanges end with
 * "Connection: close". empty(arg) is called once when no connection is left, maybe at once. */
void http_server_drain(http_server *s, void (*empty)(void *arg), void *arg);
http_server_stats http_server_look(const http_server *s);

#endif
