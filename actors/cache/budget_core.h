/*  budget_core.h - the owner of budgets: a table of counters, each with the money of a day, a month
 *  and all time (UTC), and with requests and tokens of a sliding minute.
 *
 *  A client is one router's account of one counter. It says in totals what it has used since it began
 *  and up to which line it may go; both are absolute, so that a message that is repeated or lost
 *  changes nothing. What lies between used and line is its lease: it counts as used for all others. A
 *  client that has not been heard of for BUDGET_LIFE_MS loses its lease, which is how a router that
 *  died gives back; its last totals stay, so that one that comes back is not counted twice. Money
 *  counts in the day and month in which the owner hears of it.
 *
 *  Nothing is granted beyond a limit, whatever order messages come in. An owner that starts does not
 *  know what was granted before: for BUDGET_HEIR_MS from the first message on it takes what clients
 *  say and grants nothing; routers do not use a lease for so long without hearing from an owner.
 *
 *  Money and the clients' totals are durable: whoever calls takes batches of what has changed and
 *  writes them, each in one transaction; `load` reads them back. Minutes live in memory; clients say
 *  what they have used of late to an owner that does not know them.
 *
 *  Thread: one owner; time is a parameter: `now_ms` never goes back, `unix_ms` may, periods do not.
 *  Memory: at most `counters` of about 300 bytes, 700 more where minutes are limited, 150 for each
 *  client. A counter leaves memory when no router knows it and nothing of it has to be written.
 *  Ownership: requests are borrowed for the call.
 *  Errors: SV_E_INVALID with the field, SV_E_OVERLOADED when the table is full, those of `load`. */
#ifndef CACHE_BUDGET_CORE_H
#define CACHE_BUDGET_CORE_H

#include "cache_rows.h"
#include "sv_types.h"

enum {
    BUDGET_LIFE_MS = 10000, /* of a lease without a word from its client */
    BUDGET_HEIR_MS =
        2000,         /* more than routers use a lease without an owner, several of their asks */
    BUDGET_PART = 16, /* of what is left, granted beyond what is needed at once */
    BUDGET_FORGET_MS = 65000,  /* after a client's last word: what it said fills no minute */
    BUDGET_CLIENT_KEPT_H = 48, /* a client's totals on disk after the last change */
    BUDGET_ITEMS = 48,         /* in a message */
    BUDGET_LOOK = 128,         /* names in a question */
    BUDGET_BATCH = 128,        /* counters in one batch */
    BUDGET_BATCH_CLIENTS = 1024
};

typedef struct budget_core budget_core;

typedef struct budget_core_options {
    uint32_t counters;
    int64_t epoch; /* tells owners apart */
    bool heir;     /* there may have been an owner before */
    /* What is on disk; SV_E_NOT_FOUND. Rows have their key fields set. */
    int (*load_counter)(void *arg, budget_counter_row *row);
    int (*load_client)(void *arg, budget_client_row *row);
    void *arg;
} budget_core_options;

/* Rows to be written in one transaction; text belongs to counters that stay until it is ended. */
typedef struct budget_batch {
    uint32_t n_counters, n_clients;
    struct budget_counter *of[BUDGET_BATCH];
    budget_counter_row counters[BUDGET_BATCH];
    budget_client_row clients[BUDGET_BATCH_CLIENTS];
} budget_batch;

typedef struct budget_core_stats {
    uint32_t counters, clients;
    uint64_t granted, refused; /* items that needed something and got it, or not all of it */
} budget_core_stats;

/* NULL without memory. */
budget_core *budget_core_new(const budget_core_options *o);
void budget_core_free(budget_core *c);
/* There was no owner before after all. */
void budget_core_first(budget_core *c);

/* `grants` has room for BUDGET_ITEMS and becomes the reply's list. `grant` false: totals and lines are
 * taken, nothing is granted. */
int budget_core_reserve(budget_core *c, uint64_t now_ms, int64_t unix_ms, const cache_budget_req *q,
                        bool grant, cache_budget_grant *grants, cache_budget_reply *ret,
                        sv_error *err);
/* `used` has room for BUDGET_LOOK. */
int budget_core_look(budget_core *c, uint64_t now_ms, int64_t unix_ms,
                     const cache_budget_look_req *q, cache_budget_used *used,
                     cache_budget_look_reply *ret, sv_error *err);

bool budget_core_dirty(const budget_core *c);
/* False: nothing has to be written. One batch at a time; it ends with budget_core_written. */
bool budget_core_batch(budget_core *c, int64_t unix_ms, budget_batch *ret);
void budget_core_written(budget_core *c, budget_batch *b, bool ok);

/* Forgets clients and counters; about once a second. */
void budget_core_tick(budget_core *c, uint64_t now_ms);
budget_core_stats budget_core_look_stats(const budget_core *c);

#endif
