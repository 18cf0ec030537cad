/*  revocations.h - ends of tokens before their time: a numbered list that edges keep a copy of.
 *
 *  What ends access (a session's end, a disabled account, another role, a deleted key) adds a row in
 *  the transaction of what it does. Rows stay for as long as a token could still be used. An edge
 *  reads them once and then hears of new ones by the event auth.revoked; the numbers have no gaps,
 *  so that it notices what it missed, also of events that were lost, for the event comes twice a
 *  second whether there is news or not.
 *
 *  Thread: revoke_subject in store_fns, the rest the loop's.   Errors: those of the store. */
#ifndef AUTH_REVOCATIONS_H
#define AUTH_REVOCATIONS_H

#include "auth_store.h"

typedef struct auth auth;

/* In a write: tokens issued up to this transaction for the subject do not hold any more. `kind` and
 * ids: "session" ID, "user" ID, "member" ORG USER, "key" ID; id2 NULL but for members. `stale`: a
 * refresh brings one that does (a role changed); otherwise the way back is a new login. */
int revoke_subject(store_tx *tx, const char *kind, sv_str id, sv_str id2, bool stale);

/* Tells the edges of what was committed since it last did. After every write, and by the tick, which
 * also says twice a second where the list ends. */
void revocations_look(auth *a);

#endif
