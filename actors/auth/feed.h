/*  feed.h - what routers keep a copy of: budgets and other things by kind, each item as it is since its
 *  last change, in one list by the number of that change.
 *
 *  feed_put gives the item the next number, in the transaction of what changes it; the row it had
 *  before goes. So the list has one row for each thing, reading it from the start is the snapshot, and
 *  reading on behind a number is all that has changed since. What is gone stays as a mark for
 *  FEED_GONE_DAYS. Routers hear of changes by the event auth.feed, which comes twice a second whether
 *  there is news or not and says where the list ends; who has missed something asks auth.feed.
 *
 *  Thread: feed_put and feed_some in store_fns, the rest the loop's.   Limits: FEED_DATA bytes of one
 *  item, AUTH_PAGE_BYTES of a page.   Errors: those of the store; SV_E_TOO_LARGE. */
#ifndef AUTH_FEED_H
#define AUTH_FEED_H

#include "auth_store.h"
#include "samovar.h"

typedef struct auth auth;

enum { FEED_DATA = 16384, FEED_GONE_DAYS = 30 };

extern const sv_message feed_row_msg, feed_head_row_msg;
extern const store_table auth_feed_table, auth_feed_head;

/* In a write. `org` empty: the platform's. `data` {NULL, 0}: it is gone. */
int feed_put(store_tx *tx, const char *kind, sv_str id, sv_str org, sv_str data);
/* A read. in: int64_t, the number to go on behind, below 0: where the list ends; out: auth_feed_page. */
int feed_some(store_tx *tx, const void *in, void *out);

/* What routers were told last. */
typedef struct feed_told {
    int64_t sequence;
    bool known, due;
} feed_told;

/* Tells routers of what was committed since it last did. After every write. */
void feed_look(auth *a);
/* Twice a second: also tells where the list ends when there is nothing new. */
void feed_tick(auth *a);

sv_handler auth_feed_read;

#endif
