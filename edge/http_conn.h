/*  http_conn.h - one connection: a state machine over a transport, a loop and the parser.
 *
 *      PROXY -> HELLO or IDLE                          a trusted proxy says who is behind it
 *      HELLO -> IDLE or HTTP2                          only over TLS, which chooses the protocol
 *      IDLE -> HEAD -> BODY -> ANSWER -> IDLE ...      keep-alive; pipelined requests in order
 *                 \-------\---> ANSWER -> LINGER       refused: the rest is never read as a request
 *
 *  One exchange at a time. While its answer is awaited nothing more is read, but the end of the
 *  peer's side is noticed at once (EPOLLRDHUP) and counts as "the client left", also when only its
 *  sending half ended. While a body is paused that end is noticed behind what was sent before it. At most one read, one request and one flush a turn, each of at most
 *  HTTP_TURN_BYTES. Deadlines are absolute: a dripping head or body ends its connection however
 *  often bytes arrive.
 *
 *  In HTTP2 the connection is the shell around http2.h: it reads, writes, keeps the time and the
 *  places in the server's lists; `x`, `in` and `head` are unused then.
 *
 *  Memory: an idle or waiting connection holds this struct and no buffers. Input is read into
 *  the server's scratch and copied only when a request is not complete, or kept, or a streamed body
 *  paused; output is held until it is flushed.
 *  Thread: the loop's.
 *  Ownership: a connection belongs to its server; it is freed only from its own event, its timer
 *  or the server's hook, never inside a call of the service.
 *  Included by http_conn.c, http_input.c, http_request.c, http_answer.c, http_server.c and
 *  http2.c (and their tests) only. */
#ifndef EDGE_HTTP_CONN_H
#define EDGE_HTTP_CONN_H

#include "http_chunked.h"
#include "http_parser.h"
#include "http_server.h"
#include "http_transport.h"

#include <sys/queue.h>

enum { HTTP_TURN_BYTES = 65536, HTTP_COLLECT_MOST = 1 << 30 /* of a body that is not streamed */ };

typedef enum conn_state {
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_ANSWER,
    CONN_LINGER,
    CONN_PROXY,
    CONN_HELLO,
    CONN_HTTP2
} conn_state;

typedef struct http2 http2;
typedef struct http_conn http_conn;
typedef TAILQ_HEAD(conn_list, http_conn) conn_list;

/* Connections of one address. */
typedef struct conn_peer {
    struct conn_peer *next;
    uint8_t ip[16];
    uint32_t n;
    uint32_t streams; /* of HTTP/2; counted apart, against the same limit */
} conn_peer;

struct http_conn {
    http_exchange x; /* first: the wire's functions find the connection by it */
    http_server *s;
    http_transport t;
    loop_fd *watch;
    conn_peer *peer; /* NULL for those beyond the limits; the server's `unknown` in PROXY */
    TAILQ_ENTRY(http_conn) all, touched_link, ready_link;

    conn_state state;
    http2 *h2; /* in HTTP2 */
    uint8_t minor;
    bool touched, ready;     /* on the server's lists */
    bool readable, writable; /* as far as the last event or call told */
    bool peer_ended;         /* EPOLLRDHUP or a read of 0 */
    bool open;               /* the service knows x */
    bool unread;             /* the request has a body that was not read: close after the answer */
    bool head_only;          /* HEAD: no body in the answer */
    bool chunked_out;
    bool counted;    /* the answer's length was told */
    uint64_t owed_n; /* of it, to be written still */
    bool wrote;      /* since on_drained */
    bool broken;     /* no memory for output, or too much of it */
    bool aborted;
    bool reserve;                 /* uses the server's reserve descriptor */
    bool in_own;                  /* `in` is ours, not the scratch */
    bool first;                   /* no request was read yet */
    bool proxied;                 /* the peer is a trusted proxy */
    bool expect;                  /* 100 (Continue) is owed when the body is let come */
    bool handing;                 /* `request` runs */
    bool feeding;                 /* `body` runs, or may */
    bool body_chunked, body_done; /* of a streamed body */

    char *in; /* the current request starts at in_at */
    size_t in_at, in_n, in_cap;
    http_head *head;    /* while a head is read or its request is being handed over */
    size_t request_n;   /* bytes of the input that go when the request is released */
    size_t body_n;      /* of the body: collected, decoded or streamed */
    uint64_t body_left; /* of a streamed body with a length */
    http_chunked chunked;

    char *out;
    size_t out_at, out_n, out_cap;

    uint64_t read_by_us, write_by_us; /* UINT64_MAX: no deadline */
    uint64_t body_since_us;           /* without pauses */
    uint64_t paused_us;
    uint64_t ready_us; /* clock of the turn that put it on the ready list */
    size_t discarded;  /* LINGER */
    loop_timer timer;
};

/* A stream's writer that ignores http_pending is cut off this far above the high mark. */
enum { HTTP_OUTPUT_SLACK = 1 << 20 };

enum { PEER_BUCKETS = 1024, HEADS_KEPT = 16, BLOCK_BYTES = 4096, BLOCKS_KEPT = 64 };

struct http_server {
    loop *l;
    http_limits limits;
    http_service service;
    http_server_stats stats;
    http_open_fn *open; /* NULL: plain TCP */
    void *open_arg;
    trusted trusted;
    bool proxy_protocol;
    conn_peer unknown;  /* of those that have still to tell whose they are */
    uint64_t hellos_us; /* turn that `hellos` counts in */
    uint32_t hellos;

    int listen_fd, reserve_fd;
    loop_fd *listen_watch;
    uint16_t port;
    bool paused; /* the listener is not watched */
    bool held;   /* bound, not listening yet */
    loop_timer accept_timer;

    conn_list all, touched, ready;
    uint32_t n_touched, n_ready, n_overloaded;
    uint64_t hook_us; /* clock of the turn whose hook ran last */
    bool in_hook;
    loop_timer wake;
    conn_peer *peers[PEER_BUCKETS];
    uint64_t peer_seed;

    char *scratch;        /* HTTP_TURN_BYTES */
    http_request request; /* of the connection whose service call runs */
    http_header *headers;
    http_head *heads[HEADS_KEPT];
    uint32_t n_heads;
    char *blocks[BLOCKS_KEPT]; /* output buffers of BLOCK_BYTES */
    uint32_t n_blocks;

    uint64_t date_s;
    char date[30]; /* "Sun, 06 Nov 1994 08:49:37 GMT" */

    bool draining;
    void (*empty)(void *arg);
    void *empty_arg;
};

/* ---- http_conn.c ---- */

/* Takes over `fd` and the place that `peer` counted (NULL: beyond the limits), also on failure.
 * `announced`: a header of the PROXY protocol has to come first. */
void conn_new(http_server *s, int fd, const http_address *from, conn_peer *peer, bool reserve,
              bool announced);
/* Ends the exchange as GONE and frees the connection. `reset` drops unsent output. */
void conn_drop(http_conn *c, bool reset);
/* Work that waited for a new turn: unread input, the next pipelined request. False when it freed
 * `c`. */
bool conn_run(http_conn *c);
/* The server drains: `c` is closed behind its request, or soon, if none comes. May free `c`. */
void conn_retire(http_conn *c);
/* Hands output to the system and does what follows from it. May free `c`. */
void conn_flush(http_conn *c);
/* Up to the turn's budget of what is in the output. False when the connection is lost. */
bool conn_write(http_conn *c);
/* Within so many ms (0: no deadline) the peer has to do its part; on_timer ends the connection. */
void conn_read_within(http_conn *c, uint64_t ms);
/* The same for a moment; it only ever comes nearer. */
void conn_read_by(http_conn *c, uint64_t at_us);
/* Ends our side, then reads and forgets until the peer has seen what was written. May free `c`. */
void conn_linger(http_conn *c);
/* Milliseconds for a head. */
uint64_t conn_head_ms(const http_conn *c);

/* ---- http_input.c ---- */

size_t conn_in_left(const http_conn *c);
/* Before the turn's work: without bytes of our own we read into the scratch. */
void conn_in_borrow(http_conn *c);
/* After the turn's work: what is left moves to memory of our own, and without any there is none.
 * False when there is no memory for it. */
bool conn_in_settle(http_conn *c);
/* One read. 1 when bytes came, 0 when there are none now, -1 when the peer is gone. */
int conn_in_read(http_conn *c);
/* Gives the first n bytes away: they lie at *ret_at in *ret_block, which the caller frees. The rest
 * stays. 0 or SV_E_NO_MEMORY. */
int conn_in_take(http_conn *c, size_t n, char **ret_block, char **ret_at);

/* ---- http_request.c ---- */

/* Goes on with what is there, as far as the state goes. */
void conn_parse(http_conn *c);
/* Answers in the service's words and ends the connection; nothing more is read as a request. */
void conn_refuse(http_conn *c, int code, const sv_error *err);
/* The exchange is answered or given up: if its body is still coming, no more of it is wanted. */
void conn_stop_body(http_conn *c);
/* The server's request from a head whose offsets count from `base`; `h` NULL: nothing was read. */
void conn_fill_request(http_server *s, const http_head *h, const char *base, bool secure);
/* SV_E_TOO_LARGE in words, for a body limit. Returns it. */
int conn_too_large(size_t body_max, sv_error *err);
/* May a collected body become `n` bytes long? 0, or what to refuse it with. */
int conn_body_room(const http_server *s, http_exchange *x, size_t n, sv_error *err);
/* An absolute target has this port's scheme, unless a trusted proxy sent it. 0 or
 * SV_E_HTTP_MALFORMED. */
int conn_check_scheme(const http_conn *c, const http_head *h, sv_error *err);
void conn_wire_pause(http_exchange *x);
void conn_wire_resume(http_exchange *x);
int conn_wire_keep(http_exchange *x);

/* ---- http_answer.c ---- */

extern const http_wire http1_wire;
/* Appends to the output and has it flushed at the end of the turn; failures set `broken`. */
void conn_put(http_conn *c, const void *p, size_t n);
/* The same from within the flush; false when there is no memory. */
bool conn_append(http_conn *c, const void *p, size_t n);
/* Gives the empty output buffer back. */
void conn_out_release(http_conn *c);

/* ---- http_server.c ---- */

/* Both may be called again and again. */
void server_touch(http_server *s, http_conn *c);  /* flush at the end of the turn */
void server_ready(http_server *s, http_conn *c);  /* run again in the next turn */
void server_forget(http_server *s, http_conn *c); /* leaves every list and count */
/* Counts a connection at the address that its proxy told. False: it must be dropped. */
bool server_place(http_server *s, http_conn *c, const http_address *from);
/* Undoes the counting of a connection; `peer` NULL: one beyond the limits. */
void server_give_place(http_server *s, conn_peer *peer, bool reserve);
http_head *server_head_take(http_server *s);
void server_head_give(http_server *s, http_head *h);
char *server_block_take(http_server *s);
void server_block_give(http_server *s, char *block);
const char *server_date(http_server *s);

#endif
