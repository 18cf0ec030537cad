/*  rate_limits.h - may this request pass? Rate limits at the edge.
 *
 *  Each counter (address, user, key, organization; for each class of routes) has one owner, a
 *  process of the cache actor. The edge holds leases of it: a few requests that it may let through
 *  until the lease ends. What a lease covers is answered at once, without a message and without an
 *  allocation; otherwise the owner is asked and the answer comes later. When half of a lease is used
 *  the next one is fetched in the background; what is left of a lease goes back.
 *
 *  While the owner cannot be asked a stricter limit holds here, a quarter of the real one, divided by
 *  the number of edges, and at least 1, for all that passed of late. What passed meanwhile is told to the owner when it is back.
 *  When another owner answers than before, it is told what passed here in the last minute or hour.
 *
 *      typedef struct edge_call { ...; limits_wait limit; limits_verdict verdict; } edge_call;
 *
 *      limits_subject s = {.class = c->route->class, .address = ip, .user = ..., .tier = ...};
 *      if (limits_check(e->limits, &s, &c->limit, limited, &c->verdict)) limited(&c->limit,
 *                                                                               &c->verdict);
 *      // else: wait; when the client goes away first: limits_cancel(e->limits, &c->limit)
 *
 *      static void limited(limits_wait *w, const limits_verdict *v)
 *      {
 *          edge_call *c = member_of(edge_call, limit, w);
 *          sv_error err = {0};
 *          c->verdict = *v;                       // its headers go with every answer:
 *          if (!v->allowed) {                     //   limits_headers_fill(&c->verdict, &headers)
 *              int code = limits_error(v, &err);
 *              return reply_error(c, code, &err);
 *          }
 *          c->route->handler(c);
 *      }
 *
 *  Thread: the loop's.   Time: from limits_options.now_us, which never goes back.
 *  Ownership: a wait is the caller's memory; from a pending limits_check until `done` or
 *  limits_cancel it must stay where it is. `done` comes exactly once, never from within limits_check.
 *  Memory: at most `counters` of about 600 bytes; the one not used for longest gives way, and with
 *  it what it knows of the last minute and hour.
 *  Limits: LIMITS_WAITING requests wait for one counter, each no longer than LIMITS_WAIT_US and one
 *  answer of the owner.   Errors: none; a request that cannot be counted is refused for a second. */
#ifndef EDGE_RATE_LIMITS_H
#define EDGE_RATE_LIMITS_H

#include "limits_rules.h"
#include "message.h"

enum {
    LIMITS_WAITING = 2048, /* a crowd that comes at once with one key */
    LIMITS_WAIT_US = 1000000,
    LIMITS_AWAY_US = 1000000, /* between tries while the owner is away */
    LIMITS_TICK_MS = 500
};

typedef struct limits limits;
typedef struct limits_counter limits_counter;
typedef struct limits_wait limits_wait;
typedef void limits_done(limits_wait *w, const limits_verdict *v);

/* Embedded in whatever waits; the members are not for its eyes. */
struct limits_wait {
    ring_link link; /* in the queue of counters[at] */
    limits_done *done;
    limits_counter *counters[LIMITS_COUNTERS];
    struct limits_token {
        int64_t lease, epoch; /* lease 0: let through without the owner */
    } tokens[LIMITS_COUNTERS];
    uint32_t n, at;
    uint64_t until_us;
    route_class class;
    limits_verdict verdict;
};

/* The way to the owner; limits_bus.h is the real one. */
typedef struct limits_options {
    limits_rules rules;
    uint32_t counters;
    uint64_t (*now_us)(void *arg);
    /* Asks the owner of q->name; limits_answer follows exactly once, never from within. False: it
     * could not be asked, and no answer follows. */
    bool (*ask)(void *arg, limits_counter *c, const cache_limit_take_req *q);
    /* Tells the owner; nothing follows. */
    void (*tell)(void *arg, const cache_limit_take_req *q);
    /* limits_tick is needed every LIMITS_TICK_MS from now on, until it answers false. */
    void (*wake)(void *arg);
    void *arg;
} limits_options;

/* NULL without memory. */
limits *limits_new(const limits_options *o);
/* No wait may be pending and no answer follow any more. Leases are not given back: limits_drain. */
void limits_free(limits *l);

/* True: *ret is the answer. False: done(w, verdict) comes later. */
bool limits_check(limits *l, const limits_subject *s, limits_wait *w, limits_done *done,
                  limits_verdict *ret);
/* The request is given up: `done` does not come, and what it has taken is given back. Harmless for
 * a wait that is over, or zeroed. */
void limits_cancel(limits *l, limits_wait *w);

/* The outcome of an ask: code 0 with the reply, or an error. */
void limits_answer(limits *l, limits_counter *c, int code, const cache_limit_take_reply *reply);
bool limits_tick(limits *l);
/* Gives all leases back. What still passes takes no more than it needs. */
void limits_drain(limits *l);

/* The owner could not be asked lately. */
bool limits_away(const limits *l);

#endif
