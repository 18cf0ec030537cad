/*  seal.c - XChaCha20-Poly1305, BLAKE2b and Argon2id of libsodium behind seal.h; checksums by xxHash.
 *  Each key has a page of its own between guard pages (sodium_malloc), which must be locked: where
 *  that fails there is no key. */
#include "seal.h"

#include "error.h"
#include "sv_limits.h"

#include <assert.h>
#include <sodium.h>
#include <xxhash.h>

struct seal_key {
    uint8_t b[SEAL_KEY];
};

enum { FORMAT = 1, VERSION_AT = 1, NONCE_AT = VERSION_AT + 4, CIPHER_AT = NONCE_AT + SEAL_NONCE };

_Static_assert(SEAL_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "a seal_key opens values");
_Static_assert(SEAL_KEY <= crypto_generichash_KEYBYTES_MAX, "a seal_key keys BLAKE2b");
_Static_assert(SEAL_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "its nonce");
_Static_assert(SEAL_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "its tag");
_Static_assert(SEAL_OVERHEAD == CIPHER_AT + SEAL_TAG, "the bytes that seal.h shows");
_Static_assert(SEAL_SALT == crypto_pwhash_SALTBYTES, "Argon2id's salt");
_Static_assert(sizeof(crypto_generichash_state) <= sizeof(file_hash), "it holds BLAKE2b's state");
_Static_assert(_Alignof(file_hash) == 64, "as BLAKE2b's state wants to be aligned");

static seal_key *key_alloc(void)
{
    int rc = sodium_init();
    assert(rc >= 0); /* fails only without any source of randomness */
    seal_key *k = sodium_malloc(sizeof *k);
    if (k && sodium_mlock(k, sizeof *k)) { /* sodium_malloc does not say whether it could */
        sodium_free(k);
        return NULL;
    }
    return k;
}

seal_key *seal_key_new(void)
{
    seal_key *k = key_alloc();
    if (k) randombytes_buf(k->b, sizeof k->b);
    return k;
}

seal_key *seal_key_from(const uint8_t bytes[SEAL_KEY])
{
    seal_key *k = key_alloc();
    if (k) memcpy(k->b, bytes, sizeof k->b);
    return k;
}

static void hash(const seal_key *k, const char *text, uint8_t *to, size_t n)
{
    int rc = crypto_generichash(to, n, (const uint8_t *)text, strlen(text), k->b, sizeof k->b);
    assert(rc == 0); /* only for lengths out of range */
}

seal_key *seal_key_derive(const seal_key *k, const char *purpose)
{
    seal_key *ret = key_alloc();
    if (ret) hash(k, purpose, ret->b, sizeof ret->b);
    return ret;
}

seal_key *seal_key_stretch(sv_str passphrase, const uint8_t salt[SEAL_SALT])
{
    seal_key *k = key_alloc();
    if (k && crypto_pwhash(k->b, sizeof k->b, passphrase.p ? passphrase.p : "", passphrase.n, salt,
                           crypto_pwhash_OPSLIMIT_SENSITIVE, crypto_pwhash_MEMLIMIT_SENSITIVE,
                           crypto_pwhash_ALG_ARGON2ID13)) {
        sodium_free(k);
        return NULL;
    }
    return k;
}

void seal_key_free(seal_key *k)
{
    sodium_free(k); /* wipes */
}

const uint8_t *seal_key_bytes(const seal_key *k)
{
    return k->b;
}

bool seal_key_same(const seal_key *a, const seal_key *b)
{
    return sodium_memcmp(a->b, b->b, sizeof a->b) == 0;
}

void seal_key_check(const seal_key *k, uint8_t ret[16])
{
    hash(k, "samovar key check", ret, 16);
}

/* ---- values ---- */

static int room(buf *out, size_t n, uint8_t **ret)
{
    *ret = (uint8_t *)buf_room(out, n);
    if (*ret) return 0;
    return out->n + n > out->max ? SV_E_TOO_LARGE : SV_E_NO_MEMORY;
}

static const uint8_t *bytes(sv_str s)
{
    return (const uint8_t *)s.p;
}

int seal_put(const seal_key *k, uint32_t version, sv_str place, sv_str plain, buf *out)
{
    if (plain.n > LIMIT_STORE_ROW_BYTES) return SV_E_TOO_LARGE;
    uint8_t *to;
    int rc = room(out, SEAL_OVERHEAD + plain.n, &to);
    if (rc) return rc;
    to[0] = FORMAT;
    for (int i = 0; i < 4; i++)
        to[VERSION_AT + i] = (uint8_t)(version >> (24 - 8 * i));
    randombytes_buf(to + NONCE_AT, SEAL_NONCE);
    rc = crypto_aead_xchacha20poly1305_ietf_encrypt(to + CIPHER_AT, NULL, bytes(plain), plain.n,
                                                    bytes(place), place.n, NULL, to + NONCE_AT,
                                                    k->b);
    assert(rc == 0);
    buf_added(out, SEAL_OVERHEAD + plain.n);
    return 0;
}

static bool well_formed(sv_str sealed)
{
    return sealed.n >= SEAL_OVERHEAD && sealed.n <= SEAL_OVERHEAD + LIMIT_STORE_ROW_BYTES &&
           (uint8_t)sealed.p[0] == FORMAT;
}

int seal_version(sv_str sealed, uint32_t *ret)
{
    if (!well_formed(sealed)) return SV_E_MALFORMED;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | (uint8_t)sealed.p[VERSION_AT + i];
    *ret = v;
    return 0;
}

int seal_open_parts(const seal_key *k, const uint8_t nonce[SEAL_NONCE], sv_str place, sv_str cipher,
                    const uint8_t tag[SEAL_TAG], uint8_t *to)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
               to, NULL, bytes(cipher), cipher.n, tag, bytes(place), place.n, nonce, k->b)
               ? SV_E_STORE_KEY
               : 0;
}

/* `sealed` is well formed and `to` has room for the plain bytes. */
static int open_to(const seal_key *k, sv_str place, sv_str sealed, uint8_t *to)
{
    sv_str cipher = {sealed.p + CIPHER_AT, sealed.n - SEAL_OVERHEAD};
    return seal_open_parts(k, bytes(sealed) + NONCE_AT, place, cipher, bytes(cipher) + cipher.n,
                           to);
}

int seal_open(const seal_key *k, sv_str place, sv_str sealed, buf *out)
{
    if (!well_formed(sealed)) return SV_E_MALFORMED;
    size_t n = sealed.n - SEAL_OVERHEAD;
    uint8_t *to, none;
    int rc = n ? room(out, n, &to) : 0;
    if (rc == 0) rc = open_to(k, place, sealed, n ? to : &none);
    if (rc == 0) buf_added(out, n);
    return rc;
}

int seal_wrap(const seal_key *by, uint32_t version, sv_str place, const seal_key *k, buf *out)
{
    return seal_put(by, version, place, (sv_str){(const char *)k->b, sizeof k->b}, out);
}

int seal_unwrap(const seal_key *by, sv_str place, sv_str sealed, seal_key **ret)
{
    if (!well_formed(sealed) || sealed.n != SEAL_OVERHEAD + SEAL_KEY) return SV_E_MALFORMED;
    seal_key *k = key_alloc();
    if (k == NULL) return SV_E_NO_MEMORY;
    int rc = open_to(by, place, sealed, k->b);
    if (rc)
        sodium_free(k);
    else
        *ret = k;
    return rc;
}

void seal_wipe(void *p, size_t n)
{
    if (n) sodium_memzero(p, n);
}

/* ---- hashes ---- */

uint32_t seal_checksum(sv_str key, sv_str value)
{
    uint64_t seed = XXH3_64bits(key.p, key.n);
    return (uint32_t)XXH3_64bits_withSeed(value.p, value.n, seed);
}

void file_hash_start(file_hash *h)
{
    crypto_generichash_init((crypto_generichash_state *)(void *)h, NULL, 0, 32);
}

void file_hash_add(file_hash *h, const void *p, size_t n)
{
    crypto_generichash_update((crypto_generichash_state *)(void *)h, p, n);
}

void file_hash_end(file_hash *h, char hex[65])
{
    uint8_t digest[32];
    crypto_generichash_final((crypto_generichash_state *)(void *)h, digest, sizeof digest);
    sodium_bin2hex(hex, 65, digest, sizeof digest);
}
