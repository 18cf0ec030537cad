/*  cache.h - the cache actor: counters of rate limits (limit_core.h) and
 *  of budgets behind the bus.
 *  Several instances share the counters: the counter's name is the partition key of its requests,
 *  so that each has one owner at a time. Nothing of them is kept on disk; an owner that starts knows
 *  of nothing that was taken before. Budgets (budget_store.h) are the first instance's alone, and
 *  durable.
 *  Thread: the loop's. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "limit_core.h"
#include "samovar.h"

typedef struct cache {
    sv_process *process;
    limit_core *limits;
    struct budget_owner *budgets; /* budget_store.h */
    struct answer_cache *answers; /* answer_cache.h */
    limit_core_stats told;        /* what the metrics have heard */
} cache;

extern const sv_actor cache_actor;
extern const store_schema cache_schema; /* schema.c */

#endif
