/*  live.h - GET /api/events: what happens to the caller and in his organization, as server-sent events.
 *
 *  Services publish SERVICE.live.ORG.USER with a live_event; every edge hears all of them and keeps
 *  the last LIVE_KEPT in the order they came. A client gets those of its organization that are for
 *  it or for all, and after a pause (Last-Event-ID, or ?last_event_id=) those it has missed; when
 *  they are not known any more it hears `gap` and should read anew what it shows. A comment every
 *  fifteen seconds shows that the stream lives. A client that does not read is held back, and hears
 *  of a gap if it missed more than is kept.
 *  The stream ends, with `end`, as soon as the caller's token does not hold any more.
 *
 *  Thread: the loop's.   Ownership: the streams' calls belong to the gateway.
 *  Limits: LIVE_KEPT events of LIVE_BYTES in all, edge.events_per_user streams of one user.
 *  Errors: SV_E_RATE for too many streams. */
#ifndef EDGE_LIVE_H
#define EDGE_LIVE_H

#include "samovar.h"

enum { LIVE_KEPT = 4096, LIVE_BYTES = 4 << 20 };

typedef struct live live;
typedef struct edge_call edge_call;

/* Subscribes. NULL without memory. */
live *live_new(sv_process *p, uint32_t per_user);
void live_free(live *l);
/* Heartbeats, and an end for those who may no longer listen. A few times a second. */
void live_tick(live *l);
/* Ends all streams: clients come back to another edge. */
void live_drain(live *l);
/* Open streams. */
uint32_t live_streams(const live *l);

#endif
