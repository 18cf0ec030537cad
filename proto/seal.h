/*  seal.h - secrets at rest: keys in locked memory, values sealed with XChaCha20-Poly1305.
 *  A sealed value is bound to its place by the additional data: moved to another row, field or
 *  tenant it does not open. Bytes of a sealed value: 0x01, key version (4, big-endian), nonce (24,
 *  random), ciphertext, tag (16).
 *  Thread: a key may be used by several threads once it is made.   Ownership: seal_key owns locked,
 *  guarded memory, wiped by seal_key_free.   Limits: values up to LIMIT_STORE_ROW_BYTES.
 *  Errors: SV_E_STORE_KEY when a value does not open (wrong key, moved or changed bytes),
 *  SV_E_NO_MEMORY (also when locked memory has run out), SV_E_MALFORMED. No error holds key or value
 *  bytes. */
#ifndef SV_SEAL_H
#define SV_SEAL_H

#include "buf.h"
#include "sv_types.h"

enum {
    SEAL_KEY = 32,
    SEAL_NONCE = 24,
    SEAL_TAG = 16,
    SEAL_OVERHEAD = 1 + 4 + SEAL_NONCE + SEAL_TAG,
    SEAL_SALT = 16
};

typedef struct seal_key seal_key;

/* A fresh random key; a key from bytes (copied, the caller wipes his). NULL: no memory. */
seal_key *seal_key_new(void);
seal_key *seal_key_from(const uint8_t bytes[SEAL_KEY]);
/* An independent key for `purpose` ("check", "wrap"), by BLAKE2b key derivation. */
seal_key *seal_key_derive(const seal_key *k, const char *purpose);
/* From a passphrase with Argon2id at libsodium's SENSITIVE cost: about a GiB and seconds. */
seal_key *seal_key_stretch(sv_str passphrase, const uint8_t salt[SEAL_SALT]);
void seal_key_free(seal_key *k);
/* The key itself, SEAL_KEY bytes: for root_key_file.c. */
const uint8_t *seal_key_bytes(const seal_key *k);
bool seal_key_same(const seal_key *a, const seal_key *b);
/* A value that tells whether two keys are the same without telling either: 16 bytes. */
void seal_key_check(const seal_key *k, uint8_t ret[16]);

/* Appends the sealed form of `plain`. `place` is the additional data. */
int seal_put(const seal_key *k, uint32_t version, sv_str place, sv_str plain, buf *out);
/* The key version a sealed value asks for. */
int seal_version(sv_str sealed, uint32_t *ret);
/* Appends the plain bytes to `out`; wipe them with seal_wipe when done. */
int seal_open(const seal_key *k, sv_str place, sv_str sealed, buf *out);
/* What seal_open does inside, of any length: the plain bytes, as many as `cipher` has, to `to`. What
 * does not open leaves zeros there. */
int seal_open_parts(const seal_key *k, const uint8_t nonce[SEAL_NONCE], sv_str place, sv_str cipher,
                    const uint8_t tag[SEAL_TAG], uint8_t *to);
/* A key sealed by another key, and back. */
int seal_wrap(const seal_key *by, uint32_t version, sv_str place, const seal_key *k, buf *out);
int seal_unwrap(const seal_key *by, sv_str place, sv_str sealed, seal_key **ret);
void seal_wipe(void *p, size_t n);

/* 32 bits of XXH3 over the value, seeded by the key's: finds damage, not malice. Part of the file
 * format. */
uint32_t seal_checksum(sv_str key, sv_str value);
/* BLAKE2b-256 of a stream of bytes, for files. */
typedef struct file_hash {
    _Alignas(64) uint8_t opaque[384];
} file_hash;
void file_hash_start(file_hash *h);
void file_hash_add(file_hash *h, const void *p, size_t n);
void file_hash_end(file_hash *h, char hex[65]);

#endif
