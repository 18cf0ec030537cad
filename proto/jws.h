/*  jws.h - compact JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037), and the keys for them.
 *  The algorithm is fixed here: a header's `alg` is only compared. Refused are `none`, every other
 *  algorithm, keys that the header brings or points to (jwk, jku, x5u, x5c), extensions that must be
 *  understood (crit, and b64 with it), any base64url but the canonical one, and JSON that
 *  json_scan.h refuses.
 *  Thread: any.   Ownership: plain values; jws_signer_clear wipes a secret.
 *  Limits: headers up to JWS_HEADER_BYTES, key names up to JWK_KID_BYTES.
 *  Errors: SV_E_TOKEN with the reason in detail; of a key SV_E_UNIMPLEMENTED (another kind) or
 *  SV_E_INVALID with the member in field. */
#ifndef SV_JWS_H
#define SV_JWS_H

#include "buf.h"
#include "json_scan.h"
#include "sv_types.h"

enum {
    JWS_SEED = 32,
    JWS_KEY = 32,
    JWS_SIGNATURE = 64,
    JWS_HEADER_BYTES = 1024,
    JWK_KID_BYTES = 128,
    JWK_THUMBPRINT = 43 /* characters */
};

/* A public key with its name; "" when it has none. */
typedef struct jwk {
    uint8_t key[JWS_KEY];
    char kid[JWK_KID_BYTES + 1];
} jwk;

typedef struct jws_signer {
    uint8_t secret[64]; /* seed and public key; zeroed by jws_signer_clear */
    jwk jwk;            /* named by its thumbprint */
} jws_signer;

void jws_signer_init(jws_signer *s, const uint8_t seed[JWS_SEED]);
void jws_signer_clear(jws_signer *s);
/* Appends header.payload.signature; `header` is JSON text that says alg EdDSA. Buffer errors; `out`
 * is then as it was. */
int jws_sign(const jws_signer *s, sv_str header, sv_str payload, buf *out);

/* A token taken apart, its header checked, its signature not. Slices borrow from the text. */
typedef struct jws {
    sv_str payload;      /* base64url */
    sv_str signed_bytes; /* header.payload */
    uint8_t signature[JWS_SIGNATURE];
    uint32_t header_n;
    char header[JWS_HEADER_BYTES];
} jws;

int jws_read(sv_str text, jws *ret, sv_error *err);
/* The header as a JSON object; borrows from `j`. */
json_value jws_header(const jws *j);
/* 0 when `k` signed it. A header that names another key than `k` is refused. */
int jws_verify(const jws *j, const jwk *k, sv_error *err);

/* A key from its 32 bytes, named by its thumbprint (RFC 7638). SV_E_INVALID for bytes that are no
 * point of the curve's main subgroup. */
int jwk_from(const uint8_t key[JWS_KEY], jwk *ret);
/* Reads a JWK (RFC 7517): kty OKP, crv Ed25519, and if there, use sig, key_ops with verify, alg
 * EdDSA. A private part is not looked at. */
int jwk_read(sv_str json, jwk *ret, sv_error *err);
/* Appends the JWK Set of public keys. */
int jwks_print(const jwk *keys, uint32_t n, buf *out);

#endif
