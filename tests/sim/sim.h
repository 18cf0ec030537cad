/*  sim.h - the broker's core in a world made from a seed: actors that behave, misbehave, die and
 *  come back, a network that blocks, a clock that only this world moves, and a model that knows what
 *  the broker may and must do.
 *
 *  sim_main.c    options, the loop, how a failing seed is told
 *  sim_net.c     connections: frames in, actions out, blocked and writable
 *  sim_model.c   what was promised: checked on every delivery and after every step
 *  sim_actors.c  who does what
 *  sim_memory.c  allocations that fail
 *
 *  Everything depends on the seed alone; the same seed gives the same run. */
#ifndef SIM_H
#define SIM_H

#include "core.h"
#include "error.h"
#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ACTORS_MAX = 48,
    METHODS_MAX = 3,
    SLACK_US = 6000, /* how late an answer may be: a timer's grain and a step */
    ID_REQUEST = 1,
    ID_SUBSCRIPTION = 2,
    ID_OTHER = 3
};

typedef enum role { EDGE, WORKER, OPERATOR, CHATTER } role;

/* A received message as an actor keeps it until it looks. */
typedef struct letter {
    struct letter *next;
    envelope env; /* without texts */
    char target[LIMIT_TARGET_BYTES + 1];
    uint32_t data_bytes;
} letter;

/* A connection: one identity at the broker, until FORGET. */
typedef struct conn {
    peer_id id;
    int actor;     /* -1: a stranger that is nobody's */
    bool known;    /* welcomed by this broker and not forgotten */
    bool dead;     /* the sim cut it: nothing arrives any more */
    bool blocked;  /* the driver was told that a send did not fit */
    bool draining; /* it said DRAIN, or was told */
    bool asked;    /* an operator asked the broker to drain it */
    bool crossed;  /* was blocked at some time: what waited may cross what was sent */
    uint32_t slots;
    char service[LIMIT_NAME_BYTES + 1];
    uint32_t instance;
    letter *in, **tail;
    uint32_t n_in, high; /* letters waiting, and how many fit */
} conn;

typedef struct todo { /* a request an actor works on */
    struct todo *next;
    sv_id id;
    uint64_t due_us;
    uint32_t request;
    int parts_left;
    uint32_t sequence;
    bool stream, more, uploading, cancelled;
} todo;

typedef struct actor {
    role role;
    char name[LIMIT_NAME_BYTES + 1];
    uint32_t instance;
    identity who;
    uint64_t epoch;
    const char *methods[METHODS_MAX]; /* "get!": idempotent */
    uint32_t slots;
    const char *version;
    int conn; /* index, -1: down */
    bool wicked;
    uint64_t up_us;    /* when a dead one comes back */
    uint64_t awake_us; /* does nothing before: hangs */
    uint64_t look_us;  /* next look into its inbox */
    todo *work;
} actor;

/* What the model knows of one REQUEST. */
typedef struct sreq {
    int conn; /* the caller's */
    uint64_t sent_us, due_us;
    uint32_t ttl_ms;
    char target[LIMIT_TARGET_BYTES + 1];
    uint32_t only; /* the instance its target names, 0: none */
    bool idempotent, stream, more;
    bool voided; /* the caller was unknown, or went, or the broker restarted */
    bool cancelled, crossed;
    bool listed; /* in sim.open */
    uint32_t finals, handed;
    int callee[2]; /* connections it was handed to */
    uint64_t handed_us[2];
    bool replied[2];        /* that callee sent a REPLY */
    bool freed[2];          /* that callee was forgotten, and the slot with it */
    bool told[2];           /* that callee got a CANCEL */
    uint32_t granted_items; /* by the caller */
    uint64_t granted_bytes;
    uint32_t got_items; /* PARTIALs that reached the caller */
    uint64_t got_bytes;
    uint32_t up_granted_items; /* by the callee */
    uint64_t up_granted_bytes;
    uint32_t up_sent, up_got;
    uint64_t up_sent_bytes, up_got_bytes;
    bool up_done;
    int next_open;
} sreq;

typedef struct ssub {
    int conn;
    bool gone;
    char pattern[64];
    uint32_t granted, got, last;
} ssub;

typedef struct sim {
    uint64_t seed, random, now_us, epoch, step;
    bool verbose;
    core *c;
    actor actors[ACTORS_MAX];
    int n_actors;
    conn **conns;
    int n_conns, cap_conns;
    sreq *requests;
    uint32_t n_requests, cap_requests;
    ssub *subs;
    uint32_t n_subs, cap_subs;
    int open; /* chain of requests that may still need an answer */
    int live; /* frames not given back */
    uint64_t policies, answers, deliveries;
    uint32_t starve; /* of 1000 allocations inside the core so many fail; 0: all succeed */
    bool failed;
    char why[400];
} sim;

/* ---- sim_main.c ---- */

uint64_t roll(sim *s, uint64_t n);     /* uniform in [0, n) */
bool chance(sim *s, uint32_t percent); /* true so often */
/* The first broken rule; later ones are not kept. */
void broken(sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tell(const sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void count_stats(const core *c); /* into the totals of all worlds */

/* ---- sim_memory.c ---- */

/* From now on so many of 1000 allocations of this process fail; 0: none. */
void memory_starve(uint32_t per_mille, uint64_t seed);

/* ---- sim_tickets.c ---- */

ticket_ring *tickets_ring(void); /* of all worlds; made with the first */
sv_str
tickets_bound_to(const char *service); /* one for its own use; {NULL, 0}: too many services */
void tickets_free(void);

/* ---- sim_net.c ---- */

conn *conn_new(sim *s, int owner);
int conn_index(const sim *s, const conn *c);
void net_step(sim *s, core_event e); /* one step of the core and all that follows at once */
/* Fields of `e` not set are zero; texts are borrowed for the call. */
void net_send(sim *s, conn *c, const envelope *e, sv_str body, uint32_t attachment);
void net_tick(sim *s, uint64_t until_us); /* time passes, timers fire when due */
void net_cut(sim *s, conn *c, bool tell_broker);
letter *net_take(sim *s, conn *c); /* the next letter; the caller frees it */
void net_broker(sim *s);           /* a new life of the broker */
void net_free(sim *s);

/* ---- sim_model.c ---- */

sv_id id_of(uint32_t n, int kind);
sreq *request_of(sim *s, const sv_id *id); /* NULL: not one of ours */
/* The broker took it in; told before the WELCOME itself may have to wait. */
void model_welcomed(sim *s, conn *c, sv_str body);
void model_delivered(sim *s, conn *c, const envelope *e, uint32_t data_bytes, bool own);
void model_forgotten(sim *s, conn *c);
void model_restarted(sim *s);
void model_check(sim *s);
void model_end(sim *s);

/* ---- sim_actors.c ---- */

void actors_make(sim *s);
void actors_act(sim *s);  /* one thing happens */
void actors_look(sim *s); /* everybody whose time has come reads and works */
void actors_free(sim *s);
policy *actors_policy(sim *s);

#endif
