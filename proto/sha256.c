/*  sha256.c - libsodium's state in an opaque one, so that its header stays in this room. */
#include "sha256.h"

#include <sodium.h>

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(sha256), "the state fits");

static crypto_hash_sha256_state *state_of(sha256 *h)
{
    return (crypto_hash_sha256_state *)(void *)h->opaque;
}

void sha256_start(sha256 *h)
{
    crypto_hash_sha256_init(state_of(h));
}

void sha256_add(sha256 *h, const void *p, size_t n)
{
    crypto_hash_sha256_update(state_of(h), p, n);
}

void sha256_end(sha256 *h, char hex[65])
{
    uint8_t sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(state_of(h), sum);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
}
