/*  answer_cache.h - the response cache of a cache process: answers.h, its disk and flights.h behind
 *  cache.complete, cache.stats, cache.entries and cache.invalidate.
 *
 *  A failing or full disk costs what is kept on it and nothing else: requests go on, answers under way
 *  are shared, and none is kept until the store is well again.
 *
 *  Thread: the loop's.
 *  Ownership: answer_cache_stop frees it; open calls have ended before.
 *  Limits: ANSWER_WRITING bytes on their way to the disk; an answer that comes beyond is not kept. */
#ifndef CACHE_ANSWER_CACHE_H
#define CACHE_ANSWER_CACHE_H

#include "answers_store.h"
#include "flights.h"
#include "keep.h"
#include "metrics.h"
#include "samovar.h"
#include "tally.h"

enum { ANSWER_WRITING = 16 << 20, ANSWER_FORGET = 1000, ANSWER_NOTES = 256 };

typedef struct answer_cache {
    sv_process *process;
    loop *loop;
    answers answers;
    flights flights;
    keep_rules keep;
    meaning_rules meaning;
    meanings meanings;
    char generation[CACHE_KEY + 1];
    size_t answer_bytes; /* most that a router answers */
    tally tally;
    int64_t since; /* Unix ms: what it tells is from then on */
    bool log;      /* a line for each request that it answers */
    /* the disk */
    bool well;   /* it takes what is to be kept */
    bool warned; /* that it does not */
    uint64_t writing, not_kept;
    uint32_t ticks;
    bool forgetting, noting;
    answers_figures told; /* what the metrics have heard */
    uint64_t told_not_kept;
} answer_cache;

int answer_cache_start(sv_process *p, answer_cache **ret, sv_error *err);
void answer_cache_tick(answer_cache *c);
void answer_cache_stop(answer_cache *c);

int64_t answer_cache_now(const answer_cache *c); /* Unix ms */
/* Keeps an answer: in memory at once, on the disk soon. Takes a reference of `bytes`; the vector of
 * `meant` (NULL: it is found by its words only) is copied. */
void answer_cache_keep(answer_cache *c, const answer_info *info, const answer_meant *meant,
                       answer_bytes *bytes);
/* The bytes of an answer that was found, from memory or disk; NULL: it is gone after all. */
answer_bytes *answer_cache_bytes(answer_cache *c, answer *r);
/* On a fiber: removes from the disk what is gone from the table. */
int answer_cache_forget(answer_cache *c, sv_call *call);
/* A request was answered; `tokens` and `price` are those of the model's answer. */
void answer_cache_count(answer_cache *c, sv_str org, sv_str model, tally_outcome o, int64_t tokens,
                        int64_t price);

/* A process's own, by cache.h. */
answer_cache *answer_cache_of(sv_call *call);
sv_handler cache_complete, cache_stats, cache_entries, cache_invalidate;
extern const flight_ops cache_flight_ops;
/* Whose it is, and what was asked for; NULL: of a kept answer. */
const answer_info *cache_flight_info(const flight *f);

#endif
