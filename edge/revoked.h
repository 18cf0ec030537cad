/*  revoked.h - the edge's copy of what does not hold any more: a snapshot of the auth actor's list of
 *  revocations and everything that came after it, in order and without gaps.
 *
 *  News come by the event auth.revoked, which says twice a second where the list ends. A number that
 *  does not follow, or a list that is longer than this copy, means that an event was lost: the rest
 *  is asked for. Until the first snapshot is complete nobody is known. When the copy would grow
 *  beyond REVOKED_MOST entries it is emptied and every token issued before that moment is refused as
 *  stale: clients refresh theirs, nobody comes in who should not.
 *
 *  Thread: the loop's.   Ownership: `on_change` is called after the copy has changed.
 *  Errors: none; what cannot be asked for is asked for again. */
#ifndef EDGE_REVOKED_H
#define EDGE_REVOKED_H

#include "jwt.h"
#include "samovar.h"

enum { REVOKED_MOST = 65536, REVOKED_SUBJECT = 80 };

typedef struct revoked revoked;

/* Subscribes and asks for the snapshot. NULL without memory. */
revoked *revoked_new(sv_process *p, void (*on_change)(void *arg), void *arg);
void revoked_free(revoked *r);
/* Asks again for what is missing; a few times a second. */
void revoked_tick(revoked *r);

/* The first snapshot is complete. */
bool revoked_ready(const revoked *r);
bool revoked_has_admin(const revoked *r);
/* Number of the last entry of the copy; grows with each, and begins anew after a restored backup. */
int64_t revoked_sequence(const revoked *r);
/* Keys of access tokens and who issues them; empty before the snapshot. */
const jwt_ring *revoked_ring(const revoked *r);
sv_str revoked_issuer(const revoked *r);
sv_str revoked_jwks(const revoked *r);

typedef enum revoked_verdict { REVOKED_NOT, REVOKED_STALE, REVOKED_ENDED } revoked_verdict;

/* What became of `subject` ("session/ID") for something issued at that time (Unix ms). */
revoked_verdict revoked_since(const revoked *r, const char *subject, int64_t issued_ms);
/* Has it ended for good? A session that ended does not come back: a token of it that was signed at the
 * same moment, a little later, holds as little as those before. */
bool revoked_ended(const revoked *r, const char *subject);
/* As revoked_since, for something that was read when the list ended at `sequence`. */
revoked_verdict revoked_after(const revoked *r, const char *subject, int64_t sequence);

/* For tests: takes an answer or event as it would come from the bus. False: something is missing
 * and has to be asked for. */
bool revoked_take(revoked *r, const auth_revocations *news, bool snapshot);

#endif
