/*  core_state.h - what the files of the core share: its structs and the doors between them.
 *  Only broker/core*.c includes this.   Thread: one.   Ownership: the core owns every struct here;
 *  tables, rings and timers only link them.
 *
 *  The life of a REQUEST:
 *
 *      accepted -> DELAYED (fault) -> QUEUED -> HANDED -> gone          by the callee's REPLY
 *                                                      -> ZOMBIE -> gone   the caller's side ended
 *  first accepted -> OWN (bus.tap, an answer in parts, bus.policy waiting for a reload) -> gone
 *      accepted -> DROPPED (fault) -> gone                              by its deadline
 *
 *  `open` counts all but zombies. A zombie keeps the callee's slot occupied until the callee
 *  answers, leaves, or 30 s have passed, so that a slot is never given out twice.
 *
 *  A peer is never ended in the middle of a step: core_peer_doom marks it, the end of the step ends
 *  it. */
#ifndef SV_CORE_STATE_H
#define SV_CORE_STATE_H

#include "core.h"

#include "arena.h"
#include "core_table.h"
#include "error.h"
#include "message.h"
#include "metrics.h"

enum {
    ZOMBIE_US = 30000000,
    HELD_FOR_FAILURE_US = 100000, /* a deadline met sooner says nothing about the callee */
    RETRY_FULL = 100,             /* tokens in tenths: 10 of them */
    RETRY_COST = 10,
    RETRY_FLOOR = 50, /* no retry at or below half */
    FLOWS_MAX = 1024,
    TAPS_MAX = 16,
    TAP_WORDS = 8,
    OWN_REPLY_BYTES = 4 << 20,
    OWN_REPLIES = 16, /* answers in parts at a time */
    RETAINED_BYTES = 64 << 20,
    EVENT_QUEUE_BYTES = 4 << 20,
    DRAIN_BATCH = 64, /* messages given to a peer that became writable, at a time */
    STRANGERS = 256,  /* remembered connections that did not say HELLO */
    STRANGER_US = 50000,
    REQUESTS_SPARE = 1024,
    P2C_FROM = 9, /* candidates from which two are drawn instead of looking at all */
    CORE_OUT_MESSAGES = 32768,
    CORE_OUT_BYTES = 32 << 20
};

typedef struct peer peer;
typedef struct service service;
typedef struct method method;
typedef struct request request;
typedef struct flow flow;

typedef enum timer_kind { TIMER_PEER, TIMER_REQUEST } timer_kind;

/* What a peer offers for one method, as it is listed under the method. */
typedef struct server {
    peer *peer;
    bool idempotent;
} server;

/* A name on the bus. Lives while a member, a method or a flow refers to it. */
struct service {
    core_node node; /* by name */
    char name[LIMIT_NAME_BYTES + 1];
    uint32_t refs;
    core_link members;   /* peer.member */
    uint32_t n_serving;  /* members with methods that are not draining */
    uint32_t n_ejected;  /* of those */
    uint32_t in_flight;  /* over all members, zombies included */
    uint32_t generation; /* grows when the set of possible owners of a key changes */
    core_link queue;     /* request.queue */
    uint32_t queue_n;    /* with those that wait for their owner in peer.keyed */
    uint64_t queue_bytes;
    core_link dirty; /* in core.dirty when the queue may move */
    const policy_service *policy;
    uint64_t policy_generation;
    bool split;
};

/* service.method. Lives while served, requested or counted. */
struct method {
    core_node node; /* by target */
    service *service;
    char target[LIMIT_TARGET_BYTES + 1];
    uint32_t target_n;
    uint32_t refs;
    int bus; /* index of the broker's own method, -1 for others */
    server *servers;
    uint32_t n_servers, cap_servers;
};

/* Golden figures and the remembered policy decision of one (caller service, method). */
struct flow {
    core_node node; /* by caller and method */
    service *caller;
    method *method;
    uint64_t policy_generation;
    bool allowed;
    uint32_t open; /* requests that point here */
    uint64_t requests, errors;
    histogram service_time, queue_time;
    struct retry *retry;
};

/* Retry budget of one (caller service, callee service). */
typedef struct retry {
    core_node node;
    service *caller, *callee;
    uint32_t refs;
    uint32_t tokens; /* tenths */
} retry;

typedef enum out_class { OUT_CONTROL, OUT_DATA } out_class;

/* A message that waits for a blocked peer: received frames, or one of the core's own with its body
 * and texts copied behind it. */
typedef struct out_item {
    core_link link;
    core_frames *frames;
    envelope env;
    sv_str body;
    uint32_t bytes;
    uint32_t size; /* of this struct with what is behind it */
} out_item;

struct peer {
    core_node node; /* by id */
    peer_id id;
    identity who;
    service *service;
    core_link member;
    uint32_t instance;
    uint64_t epoch;
    char version[33];
    uint32_t slots, in_flight;
    bool draining, suspect, blocked, doomed;
    bool owed;    /* some grant waits until it reads again */
    bool serving; /* counted in service.n_serving: has methods, is not draining */
    bool clean;   /* it said GOODBYE */
    core_link doom;

    method **methods;
    uint32_t n_methods, cap_methods;
    bus_method *hello; /* the same methods as HELLO told them, strings behind the array */
    size_t hello_bytes;

    core_link calls; /* request.of_caller */
    core_link work;  /* request.of_callee */
    uint32_t n_calls;

    core_timer timer;
    uint64_t seen_us; /* on the clock of liveness, core.live_us */
    uint64_t connected_us, pinged_us, rtt_us;
    sv_id ping_id;

    uint64_t served, errors;
    double ewma_us;
    uint64_t ewma_at_us;
    uint32_t failures; /* consecutive */
    uint32_t ejections;
    uint64_t ejected_until_us; /* 0: not ejected */
    request *probe;            /* the one request that decides about coming back */
    core_link keyed;           /* request.queue: waiting for this owner of their key */

    core_link held, control,
        data;           /* out_item.link, sent in this order; held: returned by the driver */
    core_link *held_at; /* where the next returned one goes */
    core_link lag;      /* in core.lagging */
    uint32_t out_n;
    uint64_t out_bytes;

    core_link subs; /* subscription.of_peer */
    uint32_t n_subs;
};

typedef enum request_state {
    R_DELAYED,
    R_QUEUED,
    R_HANDED,
    R_ZOMBIE,
    R_OWN,
    R_DROPPED
} request_state;

/* One direction of a stream: what the consumer granted and what the producer used. */
typedef struct stream_side {
    uint32_t granted_items;
    uint64_t granted_bytes;
    uint32_t items; /* also the last sequence number */
    uint64_t bytes;
    bool owed; /* a grant waits for its blocked reader */
} stream_side;

typedef struct tap tap;

/* A bound ticket on a request that a peer works on: it may pass the ticket on until that is over. */
typedef struct pass {
    core_node node; /* by peer and ticket, while `peer` is set */
    peer *peer;
    uint8_t ticket[TICKET_HASH];
} pass;

struct request {
    core_node node; /* by id */
    sv_id id;
    request_state state;
    uint8_t attempt;
    bool idempotent, streaming, versioned;
    bool keyed;     /* one instance alone may get it: its key's owner, or `only` */
    uint32_t only;  /* the instance its target names, 0: none */
    bool uploading; /* the caller's next PARTIAL is expected */
    bool touched;   /* a PARTIAL went either way: no second hand-over */
    bool unsent;    /* handed over but never left: the callee knows nothing of it */
    method *method;
    flow *flow; /* may be NULL when the table of flows is full */
    peer *caller, *callee;
    core_link of_caller, of_callee, queue;
    core_timer timer;
    uint64_t accepted_us, queued_us, handed_us, deadline_us;
    core_frames *frames; /* until handed over; longer when it may be handed over again */
    uint32_t bytes;
    uint64_t key_hash;
    double dice; /* for the split by version */
    peer *owner; /* who may get a keyed one, valid for owner_generation */
    uint32_t owner_generation;
    sv_trace trace;
    pass *pass;           /* of a bound ticket; NULL: it has none */
    stream_side down, up; /* down: callee to caller */
    /* OWN */
    tap *tap;
    char *own; /* the rest of an answer in parts */
    uint32_t own_n, own_at;
    core_link own_link; /* core.taps, core.waiting */
};

typedef enum term_kind {
    TERM_METHOD, /* bare word: service, service.method or the start of one */
    TERM_METHOD_IS,
    TERM_KIND,
    TERM_STATUS,
    TERM_TRACE,
    TERM_ID,
    TERM_FROM,
    TERM_TO,
    TERM_ERR
} term_kind;

typedef struct tap_term {
    term_kind what;
    uint32_t number;
    uint8_t bytes[16];
    char text[LIMIT_TARGET_BYTES + 1];
} tap_term;

struct tap {
    tap_term terms[TAP_WORDS];
    uint32_t n_terms;
    bool wants_control; /* kind= names PING, PONG or CREDIT */
    uint64_t left;      /* records to go */
    bool endless;
    double rate, allowance; /* records a second, and those that may go now */
    uint64_t filled_us;
    uint64_t dropped;
    bool done; /* `left` ran out: the next timer answers */
};

/* One message as the broker saw it. */
typedef struct hop {
    uint64_t ts_us; /* Unix */
    sv_id id;
    uint8_t trace_id[16];
    uint64_t queue_us, service_us;
    uint32_t from_instance, to_instance, status, bytes;
    uint32_t only; /* request.only */
    uint8_t kind, attempt;
    bool has_status;
    char from[LIMIT_NAME_BYTES + 1], to[LIMIT_NAME_BYTES + 1]; /* "" when there is none */
    char method[LIMIT_TARGET_BYTES + 1];
} hop;

typedef struct event_item {
    core_frames *frames;
    uint32_t sequence;
} event_item;

typedef struct subscription {
    core_link of_peer, of_word;
    peer *peer;
    sv_id id;
    char pattern[LIMIT_TARGET_BYTES + 1];
    uint32_t granted;
    uint64_t sent;
    uint32_t sequence;
    event_item *queue; /* ring, grown to LIMIT_EVENT_QUEUE */
    uint32_t cap, head, n;
    uint64_t bytes;
} subscription;

/* Subscriptions whose pattern begins with this word; "*" holds those with a wildcard there. */
typedef struct event_word {
    core_node node;
    char word[LIMIT_TARGET_BYTES + 1];
    core_link subs;
} event_word;

typedef struct stranger {
    peer_id id;
    bool known;
    uint64_t told_us;
} stranger;

struct core {
    char node[65];
    uint64_t epoch;
    core_limits limits;
    policy *policy;
    uint64_t policy_generation;
    bool faults;
    ticket_ring *tickets;
    int (*reload)(void *arg, sv_error *err);
    void *reload_arg;
    char policy_file[1025];
    char reload_error[300];

    uint64_t now_us, started_us;
    uint64_t unix_offset; /* Unix time less now_us, in us */
    uint64_t
        live_us; /* like now_us, but a pause of the broker itself counts as one ping interval */
    uint64_t random;
    core_seed seed;
    core_wheel wheel;

    core_table peers, services, methods, requests, flows, retries, words, passes;
    service *bus;
    uint32_t n_open, n_zombies;
    request *spare;
    uint32_t n_spare;
    uint64_t retained_bytes;
    uint64_t ping_count, flows_swept_us;

    core_link doomed, dirty;
    core_link taps;    /* request.own_link */
    core_link waiting; /* request.own_link: bus.policy until the reload */
    uint32_t n_taps, n_own;
    core_link lagging; /* peers that are writable but have messages waiting: peer.lag */
    hop *hops;
    uint64_t n_hops;
    stranger strangers[STRANGERS];

    core_action *actions;
    size_t n_actions, cap_actions;
    arena arena; /* of this step */
    buf scratch;
    core_frames **lent; /* bodies lent to this step's actions */
    size_t n_lent, cap_lent;

    core_stats stats;
    size_t memory;
    char broken[256]; /* of core_check */
};

/* ---- core.c: memory and sending ---- */

void *core_alloc(core *c, size_t n); /* zeroed, counted; NULL when memory is out */
void core_dealloc(core *c, void *p, size_t n);
uint64_t core_unix_us(const core *c);
/* Keeps frames until the next step, because an action will borrow from them: takes over one
 * reference. False when memory is out; nothing is taken then. */
bool core_lend_frames(core *c, core_frames *f);
/* Encodes into the step's memory; {NULL, 0} when memory is out. */
sv_str core_encode(core *c, const sv_message *m, const void *src);
/* An error_body with these words; message NULL takes the table's. */
sv_str core_error_body(core *c, int code, const char *message, uint32_t retry_after_ms);
/* The next action, to be filled in; NULL when memory is out. */
core_action *core_action_room(core *c);
/* To a connection, known or not; the sender is "bus" unless `e` names one. False: no memory. */
bool core_emit_to(core *c, peer_id to, const envelope *e, sv_str body);

/* ---- core_out.c: what is on its way to one peer ---- */

/* A message sent now would leave with this step. */
static inline bool core_out_direct(const peer *p)
{
    return !p->blocked && p->out_n == 0;
}
/* Takes over one reference of the frames. */
void core_send_frames(core *c, peer *p, core_frames *f, out_class class);
/* Sends a message of the core's own; the sender is filled in as "bus" unless e names one. */
void core_send_own(core *c, peer *p, const envelope *e, sv_str body, out_class class);
void core_out_blocked(core *c, peer *p, core_frames *f);
void core_out_writable(core *c, peer *p);
/* Sends the next batch to peers that are writable and still have messages waiting. */
void core_out_pump(core *c);
void core_out_clear(core *c, peer *p);

/* ---- core_peer.c: HELLO, liveness, the end of a peer; core_registry.c: services and methods ----
 */

peer *core_peer_find(const core *c, peer_id id);
void core_peer_hello(core *c, peer_id id, peer *known, const identity *who, core_frames *f);
void core_peer_stranger(core *c, peer_id id, const envelope *e);
void core_peer_seen(core *c, peer *p);
void core_peer_timer(core *c, peer *p);
void core_peer_pong(core *c, peer *p, const envelope *e);
void core_peer_exited(core *c, uint32_t pid);
void core_peer_drain(core *c, peer *p); /* no new work for it from now on */
/* Marks it for the end of this step. */
void core_peer_doom(core *c, peer *p);
void core_peer_end(core *c, peer *p);
void core_peer_free(core *c, peer *p);

service *core_service_get(core *c,
                          sv_str name); /* found or made; a new reference; NULL: no memory */
service *core_service_find(const core *c, sv_str name);
void core_service_unref(core *c, service *s);
const policy_service *core_service_policy(core *c, service *s);
method *core_method_find(const core *c, sv_str target);
method *core_method_get(core *c, service *s, sv_str name); /* as core_service_get */
void core_method_unref(core *c, method *m);
int core_method_serve(core *c, method *m, peer *p, bool idempotent);
void core_method_unserve(method *m, const peer *p);
/* The instance of this number among those that serve it; NULL: it is not connected. */
peer *core_method_server(const method *m, uint32_t instance);
flow *core_flow_get(core *c, service *caller, method *m); /* NULL when full */
void core_flow_free(core *c, flow *f);
bool core_flow_allowed(core *c, flow *f, service *caller, sv_str target);
/* Its queue may move: looked at when the step ends. */
void core_service_touch(core *c, service *s);

/* ---- core_request.c: from REQUEST to its one answer ---- */

request *core_request_find(const core *c, const sv_id *id);
void core_request_new(core *c, peer *p, core_frames *f);
void core_request_reply(core *c, peer *p, core_frames *f);
void core_request_cancel(core *c, peer *p, core_frames *f);
void core_request_timer(core *c, request *r);
/* A queued one that found no instance: answered with the reason. */
void core_request_unplaced(core *c, request *r);
/* Answers the caller with an error and ends its side. `message` NULL takes the table's text. */
void core_request_fail(core *c, request *r, int code, const char *message, uint32_t retry_after_ms);
/* The caller wants nothing any more: its side ends without an answer. */
void core_request_orphan(core *c, request *r);
/* The callee is gone: again elsewhere, or an error. */
void core_request_lost(core *c, request *r);
/* Ends an OWN request with this REPLY; the record is gone afterwards. */
void core_request_answer(core *c, request *r, uint32_t status, sv_str body);
/* Takes the record out of everything and frees it. */
void core_request_release(core *c, request *r);
void core_request_drop_frames(core *c, request *r);
/* An envelope for a message of the core's own about this request. */
envelope core_request_envelope(core *c, const request *r, sv_kind kind);

/* ---- core_pass.c: tickets that are bound to a service ---- */

bool core_pass_may(const core *c, const peer *p, sv_str bound, const uint8_t hash[TICKET_HASH]);
pass *core_pass_new(core *c, const uint8_t hash[TICKET_HASH]); /* NULL: no memory */
void core_pass_begin(core *c, request *r);                     /* it was handed to its callee */
void core_pass_end(core *c, request *r);                       /* the callee is done with it */
void core_pass_free(core *c, request *r);

/* ---- core_dispatch.c: which instance, when ---- */

/* Hands over at once, or queues, or refuses; the request may be gone afterwards. */
void core_dispatch_new(core *c, request *r);
void core_dispatch_again(core *c, request *r); /* to the front of the queue */
void core_dispatch_queue(core *c, service *s);
void core_dispatch_unqueue(core *c, request *r);
/* An instance joined, left or drains: keys may have other owners. */
void core_dispatch_members_changed(core *c, service *s);
/* What an instance's answer says about its health. */
void core_dispatch_outcome(core *c, request *r, uint32_t status, uint64_t service_us);
void core_dispatch_reinstate(peer *p);
bool core_dispatch_failure(uint32_t status);

/* ---- core_stream.c: PARTIAL and CREDIT ---- */

void core_stream_partial(core *c, peer *p, core_frames *f);
void core_stream_credit(core *c, peer *p, core_frames *f);
void core_stream_owed(core *c, peer *p); /* sends the grants a blocked peer missed */
bool core_stream_fits(const stream_side *s, uint32_t bytes);

/* ---- core_event.c: SUBSCRIBE, UNSUBSCRIBE, EVENT ---- */

void core_event_subscribe(core *c, peer *p, const envelope *e);
void core_event_unsubscribe(core *c, peer *p, const envelope *e);
bool core_event_credit(core *c, peer *p, const envelope *e); /* false: no such subscription */
void core_event_publish(core *c, peer *p, core_frames *f);
void core_event_leave(core *c, peer *p);

/* ---- core_bus.c: the service named bus; core_tap.c: records and taps ---- */

int core_bus_init(core *c);
void core_bus_request(core *c, request *r);
void core_bus_credit(core *c, request *r); /* more window for an OWN request */
void core_bus_policy_swapped(core *c);
void core_own_end(core *c, request *r); /* an OWN request leaves: its rings and memory */

int core_tap_open(core *c, request *r, const bus_tap_req *req, sv_error *err);
/* Fills what a message's envelope tells; `m` (may be NULL) knows the method better. A NULL peer
 * beside one that is not NULL is the broker itself. */
hop core_hop(const core *c, const envelope *e, const method *m, const peer *from, const peer *to,
             uint32_t bytes);
/* Into the ring and to the taps; ring false: to the taps alone. `r` is the request it belongs to.
 */
void core_hop_note(core *c, hop *h, const request *r, bool ring);
typedef struct hop_texts {
    char from[64], to[64], method[LIMIT_TARGET_BYTES + 12];
} hop_texts;
/* `texts` outlives the record's use. */
void core_hop_record(const hop *h, bus_record *rec, hop_texts *texts);

#endif
