/*  complete.h - what complete.c and complete_meaning.c share: calls in flights.
 *
 *  A seat is what a call has in a flight. It lives in the call's arena, which lives until the call is
 *  answered; the rider in it is the flight's. What the flight needs beyond the leader's call (who, how
 *  long) is copied to its trip.
 *  Thread: the loop's.   Ownership: as flights.h has it.   Errors: SV_E_NO_MEMORY, as NULL. */
#ifndef CACHE_COMPLETE_H
#define CACHE_COMPLETE_H

#include "answer_cache.h"
#include "json_scan.h"

enum { REPLY_MORE = 64 << 10 };

typedef struct seat {
    sv_call *call;
    const cache_complete_req *request;
    answer_cache *cache;
    sv_str org;
    const char *how; /* head.cache; NULL: by what the rider is */
    uint64_t began_us;
    int64_t age_s;
    double similarity;
    json_value question; /* what its meaning is asked of */
    char bucket[CACHE_KEY + 1];
} seat;

/* Freed with its flight. */
typedef struct trip {
    sv_stream *stream;
    answer_info info; /* what is known before the answer is */
    int64_t keep_s;
    char endpoint[25];
    char leader[37]; /* the user in whose name it was asked */
    /* of the same meaning */
    bool asking, understood;
    int64_t age_s;
    char key[CACHE_KEY + 1], bucket[CACHE_KEY + 1];
    meaning_vector *vector; /* NULL: by the words only; behind the text */
    char text[];
} trip;

answer_cache *complete_cache(const flight *f);
/* The call is about to be answered. */
void seat_release(const seat *s);
rider *seat_rider(seat *s);
trip *trip_new(const seat *s, const cache_scope *scope, bool by_vector);

/* ---- questions of the same meaning (complete_meaning.c) ---- */

/* Is the request one of those? Then the seat has its question and bucket. */
bool meaning_wanted(seat *s, const cache_scope *scope);
/* A flight in which it is asked for. Any code: it could not be begun, nothing is left of it. */
int meaning_fly(seat *s, const cache_scope *scope, const char *key);
/* `start` of such a flight. */
int meaning_ask(flight *f, const seat *s, sv_error *err);

#endif
