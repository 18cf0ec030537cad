/*  limit_core.h - the owner's side of rate limits: a table of counters, each a sliding minute and a
 *  sliding hour. What is granted may be used until its lease ends, and counts for the window's
 *  length after that; so no window ever sees more than the limit, as long as the owner lives.
 *
 *  Callers tell what passed here or with another owner. As long as some may not have told yet, the
 *  first moment after a change of owners, no more than a quarter of the limit is granted.
 *
 *  When the table is full of counters that still count, new names share one counter for each class
 *  (the name up to its first /) with the limit of a single one: stricter, and never none.
 *
 *  Thread: one owner; time is a parameter and never goes back.
 *  Memory: at most `counters` of about 450 bytes, 300 more where an hour is limited, and 32 shared
 *  ones. A counter goes when nothing of it counts any more.
 *  Ownership: requests are borrowed for the call.
 *  Errors: SV_E_INVALID with the field. */
#ifndef CACHE_LIMIT_CORE_H
#define CACHE_LIMIT_CORE_H

#include "message.h"
#include "rate_window.h"
#include "sv_types.h"

enum {
    LIMIT_CORE_LIFE_MS = RATE_LIFE_MOST_MS, /* of a lease */
    LIMIT_CORE_LIFE_ONE_MS = 1000,          /* of a lease of one, which is used as it comes */
    LIMIT_CORE_HEIR_MS = 1500,              /* within it all callers have told an heir */
    LIMIT_CORE_SHARED = 32
};

typedef struct limit_core limit_core;

typedef struct limit_core_stats {
    uint32_t counters;
    uint64_t granted, refused; /* requests of limit_core_take that asked for something */
    uint64_t shared;           /* of those, answered by a shared counter */
    bool full;
} limit_core_stats;

/* NULL without memory. `epoch` tells owners apart; it is not 0. */
limit_core *limit_core_new(uint32_t counters, int64_t epoch);
void limit_core_free(limit_core *c);

int limit_core_take(limit_core *c, uint64_t now_ms, const cache_limit_take_req *q,
                    cache_limit_take_reply *ret, sv_error *err);
int limit_core_look(limit_core *c, uint64_t now_ms, const cache_limit_look_req *q,
                    cache_limit_look_reply *ret, sv_error *err);
/* Lets go of counters that do not count any more; once in a while. */
void limit_core_tick(limit_core *c, uint64_t now_ms);
limit_core_stats limit_core_look_stats(const limit_core *c);

#endif
