/*  jwt.h - access tokens and their kin: what they claim, and every rule that is checked.
 *  A token is a compact JWS (jws.h) with the header {"alg","typ","kid"} and nothing else. Each kind
 *  has its own typ and aud, so that one cannot stand in for another. `kid` is looked up among at
 *  most two keys, the present one and the next or the previous. Claims: iss, aud, sub, iat, nbf,
 *  exp, jti; org, roles, tier, scopes, sid, act where they apply; unknown claims are ignored.
 *  Thread: any; a ring is read by several threads only while nobody changes it.
 *  Ownership: claims borrow from the arena they were read into.   Limits: JWT_BYTES a token,
 *  JWT_LIST roles or scopes; an arena of JWT_ARENA bytes holds any token's claims.
 *  Errors: SV_E_TOKEN with the reason in detail (server only), SV_E_TOKEN_EXPIRED, SV_E_NO_MEMORY. */
#ifndef SV_JWT_H
#define SV_JWT_H

#include "arena.h"
#include "jws.h"

enum { JWT_BYTES = 2048, JWT_LIST = 8, JWT_KEYS = 2, JWT_SKEW_S = 60, JWT_ARENA = 8192 };

typedef enum jwt_kind {
    JWT_ACCESS, /* 15 minutes: what a caller may do */
    JWT_HALF,   /* 5 minutes: the password was right, the second factor is still to come */
    JWT_KINDS
} jwt_kind;

typedef struct jwt_claims {
    jwt_kind kind;
    sv_str sub, jti;       /* user and token; never empty */
    sv_str org, tier, sid; /* {NULL, 0} when absent */
    sv_str act;            /* administrator who acts as the user, same */
    sv_str roles[JWT_LIST], scopes[JWT_LIST];
    uint32_t n_roles, n_scopes;
    uint64_t iat_s, exp_s; /* Unix seconds */
} jwt_claims;

/* The longest that a token of this kind lives, in seconds: no signer makes, and no reader takes, one
 * that lives longer. */
uint32_t jwt_life_s(jwt_kind kind);
/* Appends the signed token; nbf is iat. SV_E_INVALID with the claim in field (sub or jti empty, exp
 * not after iat or beyond the kind's life, too many roles or scopes), SV_E_BAD_UTF8, SV_E_TOO_LARGE
 * beyond JWT_BYTES, buffer errors; `out` is then as it was. */
int jwt_sign(const jws_signer *s, sv_str iss, const jwt_claims *c, buf *out, sv_error *err);

/* The keys that may sign now. Starts as zeros. */
typedef struct jwt_ring {
    jwk keys[JWT_KEYS];
    uint32_t n;
} jwt_ring;

/* 0 also when it is there already; SV_E_TOO_LARGE beyond JWT_KEYS, SV_E_INVALID for what is no key. */
int jwt_ring_add(jwt_ring *r, const uint8_t key[JWS_KEY]);

/* The keys of a JWK Set in place of those in the ring, which is untouched on failure: SV_E_TOO_LARGE
 * beyond JWT_KEYS, the errors of json_skim and jwk_read, SV_E_INVALID for what is no set. */
int jwt_ring_read(jwt_ring *r, sv_str jwks, sv_error *err);

/* What a reader expects. */
typedef struct jwt_rules {
    sv_str iss;
    jwt_kind kind;
    uint64_t now_s;
    uint32_t skew_s; /* between the clocks of signer and reader; above JWT_SKEW_S counts as that */
} jwt_rules;

/* 0 when the token is of this kind, by a key of the ring, and valid now. *ret is untouched on
 * failure. */
int jwt_verify(const jwt_ring *r, const jwt_rules *rules, sv_str token, arena *a, jwt_claims *ret,
               sv_error *err);

#endif
