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

enum { JWKS_BYTES = 4096 };

typedef struct revocations_page {
    auth_revocation *items; /* with their text in the arena */
    uint32_t n;
    int64_t sequence; /* the last one given out */
    bool more, has_admin;
} revocations_page;
/* A read. in: int64_t, the number to go on behind, 0: all that still matter, below 0: none; out:
 * revocations_page. */
int revocations_some(store_tx *tx, const void *in, void *out);

/* A read. in: auth_login_result, out: bool, was its user or his membership revoked in the second of its
 * now_ms or later? */
int revoked_in_its_second(store_tx *tx, const void *in, void *out);

/* What the edges were told last. */
typedef struct revocations_told {
    int64_t sequence;
    bool known; /* `sequence` was read: this process has begun to tell */
    bool has_admin, due, keys_due;
    uint32_t ticks;
} revocations_told;

/* Tells the edges of what was committed since it last did. After every write. */
void revocations_look(auth *a);
/* Twice a second: also tells where the list ends when there is nothing new. */
void revocations_tick(auth *a);
/* The signing keys have changed: before anything is signed by the new one. */
void revocations_new_keys(auth *a);

#endif
