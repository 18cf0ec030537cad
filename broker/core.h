/*  core.h - the broker as a pure state machine: core_step (state, event, now) -> actions.
 *  No sockets, no clock, no threads, no global state: the simulation in tests/sim runs this very
 *  code with a virtual clock and a seed.   Memory: bounded by the limits in core_limits.
 *
 *  Rules that hold after every step (checked by core_check in tests):
 *   - every REQUEST accepted ends in exactly one REPLY to its caller, unless the caller itself is
 *  gone or cancelled it;
 *   - a request not marked idempotent is handed to at most one instance; an idempotent one to at
 *  most two, within its ttl and the retry budget, never after a PARTIAL went out;
 *   - what is forwarded to a peer on a stream stays within the window it granted;
 *   - expired work is never dispatched; ttl only shrinks;
 *   - the sender in every forwarded header is the authenticated one.
 *
 *  Thread: one.   Ownership: an event's frames are given to the core (it unrefs them when done);
 *  the frames of an action are the driver's to unref after sending.   Errors are actions, never
 *  returns, except SV_E_NO_MEMORY from core_new. */
#ifndef SV_CORE_H
#define SV_CORE_H

#include "envelope.h"
#include "policy.h"
#include "ticket.h"

typedef struct core core;
typedef uint32_t peer_id; /* the connection; never reused within one broker's life */

/* A received message. The driver allocates it with its own data behind; header_data is writable and
 * is what core patches (ttl, sender, attempt, code, credit). Frames that are sent while refs > 1
 * may be patched and sent again later: the driver must not share their header with what is still
 * under way. */
typedef struct core_frames {
    int refs;
    void (*release)(struct core_frames *f); /* called when refs reach zero */
    envelope env;                           /* decoded from header_data, borrows from it */
    void *header_data;
    sv_str body;         /* frame 1, for the core's own decoding (HELLO, bus.*) */
    uint32_t bytes;      /* all frames */
    uint32_t data_bytes; /* frames after the header: what stream windows count */
} core_frames;

static inline core_frames *frames_ref(core_frames *f)
{
    f->refs++;
    return f;
}
static inline void frames_unref(core_frames *f)
{
    if (f && --f->refs == 0) f->release(f);
}

/* How a connection proved who it is (from ZAP), constant over its life. */
typedef enum identity_kind {
    IDENTITY_NONE,       /* measurement endpoints: the claimed name is taken as it is */
    IDENTITY_SUPERVISED, /* a process the supervisor started: `service` and `instance` are fixed */
    IDENTITY_KEY,        /* a CURVE key: `service` is the key's name */
    IDENTITY_OPERATOR    /* same user on this machine: a caller named "operator", serves nothing */
} identity_kind;

typedef struct identity {
    identity_kind kind;
    char service[LIMIT_NAME_BYTES + 1];
    uint32_t instance; /* 0: any */
    uint32_t pid;      /* 0: not local */
    char note[48];     /* for people: "pid 4121", "key echo" */
} identity;

typedef enum core_event_kind {
    CORE_MESSAGE, /* peer, identity (of this connection), frames */
    CORE_GONE,    /* peer: EHOSTUNREACH, or its process exited */
    /* peer: a send did not fit; frames: the one to keep (for an EMIT the driver makes frames of it,
     * with env filled in). One event for each action of a step that did not go out, in their order,
     * before any other event. Nothing more is sent to the peer ... */
    CORE_BLOCKED,
    CORE_WRITABLE, /* ... until this. A backlog then goes out in batches over the next steps. */
    CORE_TICK,     /* time passed; at least every 10 ms while busy, else when core_next_us says */
    CORE_POLICY,   /* a new policy; the core takes the reference */
    CORE_EXITED    /* pid: the supervisor saw this process end */
} core_event_kind;

typedef struct core_event {
    core_event_kind kind;
    peer_id peer;
    const identity *who;
    core_frames *frames;
    policy *policy;
    const char *policy_file; /* CORE_POLICY: where it comes from, NULL: built-in; copied */
    uint32_t pid;
} core_event;

typedef enum core_action_kind {
    CORE_FORWARD, /* send frames (header patched) to peer; unref them */
    CORE_EMIT,    /* send a message of the core's own: envelope `env`, body `body` */
    CORE_FORGET   /* the peer is no longer known; drop the driver's state of it */
} core_action_kind;

typedef struct core_action {
    core_action_kind kind;
    peer_id peer;
    core_frames *frames;
    envelope env; /* EMIT: slices borrow from the core until the next step */
    sv_str body;  /* EMIT: msgpack, borrows likewise */
} core_action;

typedef struct core_actions {
    core_action *items; /* owned by the core, valid until the next step */
    size_t n;
} core_actions;

typedef struct core_limits {
    uint32_t peers, open, peer_open;       /* 0: limits.def */
    uint32_t ping_ms, suspect_ms, lost_ms; /* 0: 250, 1000, 5000 */
    /* Waiting for one blocked peer; beyond either it is dropped. 0: 32768 (2000 streams with 16
     * items each) and 32 MiB. */
    uint32_t out_messages;
    uint64_t out_bytes;
    uint32_t records; /* ring of last hop records; 0: 4096 */
} core_limits;

typedef struct core_options {
    const char *node; /* name in WELCOME */
    uint64_t epoch;   /* of this broker's life */
    uint64_t seed;    /* for dice and tie breaks */
    core_limits limits;
    policy *policy;       /* the core takes the reference */
    ticket_ring *tickets; /* NULL: no ticket is ever valid; borrowed */
    /* Asked by bus.policy {reload}: load again and answer through CORE_POLICY in a later step. May
     * be NULL. Returns 0 or fills err. */
    int (*reload)(void *arg, sv_error *err);
    void *reload_arg;
    const char *policy_file; /* for bus.policy; may be NULL */
} core_options;

/* Wall clock for records and tickets: unix_us = now_us + the offset given here. NULL: no memory;
 * the policy stays the caller's then. */
core *core_new(const core_options *o, uint64_t now_us, uint64_t unix_us);
void core_free(core *c);
/* Actions are valid until the next step. `now_us` never goes back. */
core_actions core_step(core *c, const core_event *e, uint64_t now_us);
/* When the next CORE_TICK is due, in the same clock; UINT64_MAX: nothing waits. */
uint64_t core_next_us(const core *c);

/* Counters and gauges, also answered by bus.stats. */
typedef struct core_stats {
#define CORE_STAT(name, doc) uint64_t name;
#include "core_stats.def"
#undef CORE_STAT
} core_stats;
const core_stats *core_get_stats(const core *c);
/* Adds what the driver dropped without an event to dropped_malformed and dropped_unknown. */
void core_count_dropped(core *c, uint64_t malformed, uint64_t unknown);
/* Walks every invariant; "" or what is broken. For tests: cost grows with the state. */
const char *core_check(const core *c);
/* Bytes held by the core itself, for the simulation's memory bound. */
size_t core_memory(const core *c);

#endif
