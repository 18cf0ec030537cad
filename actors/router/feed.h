/*  feed.h - the router's copy of what auth keeps for routers (auth.feed): budgets and other things by
 *  kind. News come by the event auth.feed, which says twice a second where the list ends; what was
 *  missed is asked for. Each kind has one consumer, which hears of every item in the order of changes.
 *
 *  Until the first snapshot is complete, and again when a list comes that is older than this copy (a
 *  restored backup) or nothing was heard for an hour, the copy is not ready: consumers are reset and
 *  hear of everything anew.
 *
 *  Thread: the loop's.   Ownership: items are borrowed for the call.
 *  Limits: FEED_KINDS.   Errors: SV_E_NO_MEMORY; what cannot be asked for is asked for again. */
#ifndef ROUTER_FEED_H
#define ROUTER_FEED_H

#include "samovar.h"

enum { FEED_KINDS = 8 };

typedef struct feed feed;

typedef struct feed_consumer {
    const char *kind;
    void (*reset)(void *arg);                            /* forget all items */
    void (*item)(void *arg, const auth_feed_item *item); /* new, changed or gone */
    void (*ready)(void *arg);                            /* all is known; may be NULL */
    void *arg;
} feed_consumer;

/* Subscribes; asks as soon as there is a bus. From init. */
int feed_new(sv_process *p, feed **ret, sv_error *err);
void feed_free(feed *f);
/* Before anything can have come: in the same turn as feed_new. */
int feed_add(feed *f, const feed_consumer *c);
bool feed_ready(const feed *f);

/* For tests: takes an answer (of a question) or an event as it would come from the bus. */
void feed_take(feed *f, const auth_feed_page *page, bool answer);
int64_t feed_sequence(const feed *f);

#endif
