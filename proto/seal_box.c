/*  seal_box.c - crypto_box_seal of libsodium behind seal_box.h. */
#include "seal_box.h"

#include "error.h"

#include <assert.h>
#include <sodium.h>

struct box_pair {
    uint8_t secret[crypto_box_SECRETKEYBYTES];
    uint8_t public[crypto_box_PUBLICKEYBYTES];
};

_Static_assert(SEAL_BOX_PUBLIC == crypto_box_PUBLICKEYBYTES, "the bytes that seal_box.h shows");
_Static_assert(SEAL_BOX_OVERHEAD == crypto_box_SEALBYTES, "and what a box adds");
_Static_assert(SEAL_KEY == crypto_box_SEEDBYTES, "a seal_key is a seed");

box_pair *box_pair_from(const seal_key *seed)
{
    box_pair *p = sodium_malloc(sizeof *p);
    if (p && sodium_mlock(p, sizeof *p)) { /* sodium_malloc does not say whether it could */
        sodium_free(p);
        p = NULL;
    }
    if (p == NULL) return NULL;
    int rc = crypto_box_seed_keypair(p->public, p->secret, seal_key_bytes(seed));
    assert(rc == 0);
    return p;
}

void box_pair_free(box_pair *p)
{
    sodium_free(p); /* wipes */
}

const uint8_t *box_pair_public(const box_pair *p)
{
    return p->public;
}

int box_put(const uint8_t public_key[SEAL_BOX_PUBLIC], sv_str plain, buf *out)
{
    if (plain.n > SEAL_BOX_MOST) return SV_E_TOO_LARGE;
    size_t n = SEAL_BOX_OVERHEAD + plain.n;
    uint8_t *to = (uint8_t *)buf_room(out, n);
    if (to == NULL) return out->n + n > out->max ? SV_E_TOO_LARGE : SV_E_NO_MEMORY;
    /* fails for a public key that is none */
    if (crypto_box_seal(to, (const uint8_t *)plain.p, plain.n, public_key)) return SV_E_STORE_KEY;
    buf_added(out, n);
    return 0;
}

int box_open(const box_pair *p, sv_str box, buf *out)
{
    if (box.n <= SEAL_BOX_OVERHEAD || box.n > SEAL_BOX_OVERHEAD + SEAL_BOX_MOST)
        return SV_E_STORE_KEY;
    size_t n = box.n - SEAL_BOX_OVERHEAD;
    uint8_t *to = (uint8_t *)buf_room(out, n);
    if (to == NULL) return out->n + n > out->max ? SV_E_TOO_LARGE : SV_E_NO_MEMORY;
    if (crypto_box_seal_open(to, (const uint8_t *)box.p, box.n, p->public, p->secret))
        return SV_E_STORE_KEY;
    buf_added(out, n);
    return 0;
}
