/*  rate_window.h - how much was granted within a sliding window, never counted too low.
 *  Time is cut into slots of one unit; a slot is counted until all of it is older than the window
 *  and `life_ms`, the time for which a grant may be used after it was given. So what was used
 *  within any window of that length is at most what the window held at some moment.
 *
 *  Thread: one owner.   Memory: fixed.   Ownership: none.
 *  Limits: RATE_SLOTS bounds window and life; counts saturate.   Errors: none. */
#ifndef SV_RATE_WINDOW_H
#define SV_RATE_WINDOW_H

#include <stdint.h>

enum {
    RATE_SLOTS = 66,
    RATE_LIFE_MOST_MS = 5000, /* of a minute; hours have room for a unit more */
    RATE_LEASE_FROM = 60,     /* smaller limits are granted one by one */
    RATE_LEASE_PART = 20,     /* of others at most this part at a time: 5 % */
    RATE_MOST = 1000000000    /* largest limit */
};

typedef enum rate_span { RATE_MINUTE, RATE_HOUR } rate_span;

typedef struct rate_window {
    uint64_t sum;           /* of the slots from `oldest` to `newest` */
    int64_t oldest, newest; /* numbers of slots: time / unit */
    uint32_t unit_ms, keep; /* slots before the newest that still count */
    uint32_t slots[RATE_SLOTS];
} rate_window;

void rate_window_init(rate_window *w, rate_span span, uint64_t now_ms);
/* Grants from now on may be used for so long; a shorter life than before changes nothing. */
void rate_window_life(rate_window *w, uint32_t life_ms);
/* What counts at `now_ms`, which never goes back. */
uint64_t rate_window_sum(rate_window *w, uint64_t now_ms);
void rate_window_add(rate_window *w, uint64_t now_ms, uint32_t n);
/* Takes back up to n of what was added at `at_ms`. */
void rate_window_take_back(rate_window *w, uint64_t now_ms, uint64_t at_ms, uint32_t n);
/* ms until `n` more are within `limit`; 0: they are. n > limit: until the window is empty. */
uint64_t rate_window_wait_ms(rate_window *w, uint64_t now_ms, uint32_t limit, uint32_t n);
/* ms until nothing counts any more. */
uint64_t rate_window_empty_ms(rate_window *w, uint64_t now_ms);

/* Most that may be granted at once of what is limited so; 0: no limit of that span. */
uint32_t rate_lease_most(uint32_t minute, uint32_t hour);

#endif
