/*  access.h - who a request is from, and what that one may do.
 *
 *  A credential is an access token (JWT), verified here with the auth actor's public keys, or an API
 *  key (sv_...), which the auth actor is asked about once and then again after five minutes at most.
 *  Either becomes an identity with a ticket for the bus, kept by the credential's SHA-256: a request
 *  whose credential was seen before costs no signature and no message. Every use looks whether the
 *  copy of revocations (revoked.h) has changed since the identity was last found good.
 *
 *  Open access: on a loopback address, with edge.access open and no proxies, until there is an
 *  administrator: who comes without a credential of ours is the operator.
 *
 *  Thread: the loop's.
 *  Ownership: identities are counted; who takes one gives it back with identity_drop. A wait belongs
 *  to its caller, who cancels it or hears of it exactly once.
 *  Limits: ACCESS_IDENTITIES kept, of about 900 bytes each, ACCESS_ASKING keys asked about at once.
 *  Errors: SV_E_TOKEN, SV_E_TOKEN_EXPIRED (also for one that a refresh replaces), SV_E_TOKEN_REVOKED,
 *  SV_E_API_KEY, SV_E_NO_CREDENTIALS, SV_E_ROLE, SV_E_SCOPE, SV_E_UNAVAILABLE before the first
 *  snapshot, SV_E_OVERLOADED. */
#ifndef EDGE_ACCESS_H
#define EDGE_ACCESS_H

#include "operator.h"
#include "revoked.h"
#include "routes.h"
#include "sv_limits.h"

#include <sys/queue.h>

enum { ACCESS_IDENTITIES = 16384, ACCESS_ASKING = 256, ACCESS_ID = 36, ACCESS_TIER = 16 };

typedef struct identity {
    uint32_t refs;
    bool is_operator; /* by open access */
    bool platform;    /* administrator of the platform */
    bool by_key;
    route_who role;  /* WHO_VIEWER to WHO_OWNER in `org`; WHO_USER: none */
    uint32_t scopes; /* of a key: bits 1 << route_scope */
    char user[ACCESS_ID + 1], org[ACCESS_ID + 1], tier[ACCESS_TIER + 1];
    char session[ACCESS_ID + 1], key[ACCESS_ID + 1]; /* one of them is set */
    char actor[ACCESS_ID + 1];                       /* administrator who acts as the user */
    uint32_t minute_limit, hour_limit;               /* of a key; 0: as its user */
    sv_strs models;                                  /* of a key; empty: all */
    int64_t cache_s; /* of a key: answers may be kept for so long; -1: never; 0: as requests say */
    /* how long it is good */
    uint8_t hash[32];
    int64_t issued_ms; /* of a token */
    int64_t sequence;  /* of a key: end of the revocations when it was read */
    int64_t checked;   /* end of the revocations when it was found good */
    uint64_t expires_s, used_us;
    uint64_t fresh_s; /* a key's: for requests behind that it is asked about again */
    uint32_t ticket_n;
    char ticket[LIMIT_TICKET_BYTES];
} identity;

typedef struct access access;

/* Whoever waits for a key to be asked about. */
typedef struct access_wait {
    TAILQ_ENTRY(access_wait) link;
    struct key_ask *ask; /* NULL: not waiting */
    /* `who` is the receiver's when code is 0. */
    void (*done)(struct access_wait *w, int code, identity *who, const sv_error *err);
} access_wait;

/* `may_open`: the address and the settings allow open access. `signer` is borrowed. */
access *access_new(sv_process *p, operator_identity *signer, bool may_open);
void access_free(access *a);
/* A few times a second. */
void access_tick(access *a);

/* The first snapshot of revocations is here. */
bool access_ready(const access *a);
/* Open access holds now. */
bool access_open(const access *a);
const revoked *access_revoked(const access *a);

/* The identity of a credential, or NULL in *ret for the anonymous. `credential` {NULL, 0}: there was
 * none. SV_PENDING: access_ask is needed. */
int access_find(access *a, sv_str credential, identity **ret, sv_error *err);
/* Asks about a key; w->done comes in a later turn. 0 or an error, then without `done`. */
int access_ask(access *a, sv_str key, access_wait *w, sv_error *err);
void access_wait_cancel(access_wait *w);

/* It still holds; for what lives longer than a request. */
int access_holds(access *a, identity *who, sv_error *err);
/* May `who` (NULL: anonymous) go this way? */
int access_allows(const identity *who, const route *r, sv_error *err);
/* Its key may ask this model. */
bool access_model_ok(const identity *who, sv_str model);
/* For requests on the bus; {NULL, 0} for the anonymous. */
sv_str access_ticket(access *a, const identity *who);

identity *identity_take(identity *who);
void identity_drop(identity *who);

#endif
