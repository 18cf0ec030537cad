/*  ticket.h - who a request is for: signed by the edge or auth, passed on unchanged by everybody.
 *  Bytes, version 2: msgpack array [2, user, organization, roles, tier, scopes, expires (Unix s), actor,
 *  credential, bound, signer (8 bytes)] followed by a 64-byte Ed25519 signature over
 *  "samovar-ticket-2\0" and those bytes. The signer is the first 8 bytes of BLAKE2b-512 of the public
 *  key. Version 1 is not read any more: no ticket lives for more than a quarter of an hour, and all
 *  processes of a platform are of one version.
 *  A bound ticket, "service/job", may be sent by that service, and passed on by whoever serves a
 *  request that carries it; the broker refuses it from everybody else.
 *  Limits: LIMIT_TICKET_BYTES.   Thread: any; a cache belongs to one thread.
 *  Errors: SV_E_TICKET with the reason in detail. */
#ifndef SV_TICKET_H
#define SV_TICKET_H

#include "buf.h"
#include "sv_types.h"

enum { TICKET_KEY = 32, TICKET_SEED = 32, TICKET_SIGNERS = 8, TICKET_LIST = 8, TICKET_HASH = 16 };

typedef struct ticket {
    sv_str user, org, tier;
    sv_str roles[TICKET_LIST], scopes[TICKET_LIST];
    uint32_t n_roles, n_scopes;
    uint64_t expires_s; /* Unix seconds */
    sv_str actor;       /* administrator who acts as the user; empty: the user himself */
    sv_str credential;  /* what it was made from: "session/ID", "key/ID" or "grant/ID" */
    sv_str bound;       /* "service/job": only for that service and those it calls with it */
} ticket;

typedef struct ticket_signer {
    uint8_t secret[64]; /* seed and public key; zeroed by ticket_signer_clear */
    uint8_t id[8];
} ticket_signer;

void ticket_signer_init(ticket_signer *s, const uint8_t seed[TICKET_SEED]);
void ticket_signer_public(const ticket_signer *s, uint8_t key[TICKET_KEY]);
void ticket_signer_clear(ticket_signer *s);
/* Appends the signed ticket. 0, SV_E_TOO_LARGE, SV_E_BAD_UTF8. */
int ticket_sign(const ticket_signer *s, const ticket *t, buf *out);
/* Reads without checking the signature; slices borrow from `bytes`. */
int ticket_read(sv_str bytes, ticket *ret, sv_error *err);

/* Public keys that may sign, and a cache of 1024 tickets that verified, by keyed hash. */
typedef struct ticket_ring ticket_ring;
ticket_ring *ticket_ring_new(void);
void ticket_ring_free(ticket_ring *r);
/* 0, or SV_E_TOO_LARGE beyond TICKET_SIGNERS keys. */
int ticket_ring_add(ticket_ring *r, const uint8_t key[TICKET_KEY]);
/* 0 when the signature is by a known key and `now_s` is before the expiry. */
int ticket_ring_verify(ticket_ring *r, sv_str bytes, uint64_t now_s, sv_error *err);
/* The same, and what it says; slices borrow from `bytes`. `hash` is the ring's own name of the bytes,
 * under a key that nobody else has. */
int ticket_ring_read(ticket_ring *r, sv_str bytes, uint64_t now_s, ticket *ret,
                     uint8_t hash[TICKET_HASH], sv_error *err);

#endif
