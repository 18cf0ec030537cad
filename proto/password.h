/*  password.h - passwords: which are accepted, and their Argon2id hashes.
 *  A hash is the text of libsodium, "$argon2id$v=19$m=...", with its own salt and cost. One hash takes
 *  as much memory as its cost says, for as long as it is being computed, and tens of milliseconds:
 *  not on a loop.
 *  Thread: any.   Ownership: nothing is kept.   Limits: PASSWORD_*.
 *  Errors: SV_E_WEAK_PASSWORD with the field "password"; SV_E_NO_MEMORY when there is no memory for a
 *  hash. */
#ifndef SV_PASSWORD_H
#define SV_PASSWORD_H

#include "sv_types.h"

enum {
    PASSWORD_LEAST = 8, /* characters */
    PASSWORD_MOST = 128,
    PASSWORD_BYTES = 512, /* that many characters of four bytes */
    PASSWORD_HASH = 128,  /* with NUL */
    PASSWORD_PASSES = 2,
    PASSWORD_MEMORY_LEAST = 19 << 20
};

/* Counts characters, not kinds of them: what is too short, too long, among the most used or made of
 * `words` (the account's name and the like; parts of three letters and fewer are not looked at) is
 * refused. */
int password_check(sv_str password, const sv_str *words, size_t n_words, sv_error *err);
/* `memory_bytes` at least PASSWORD_MEMORY_LEAST. */
int password_hash(sv_str password, uint64_t memory_bytes, char ret[PASSWORD_HASH], sv_error *err);
/* Costs what the hash was made with. */
int password_verify(sv_str password, const char *hash, bool *ret_right, sv_error *err);
/* Was it made with less than this? Also true for what is not a hash. */
bool password_is_weaker(const char *hash, uint64_t memory_bytes);
/* How often Argon2id ran in this process, for either of the two above. */
uint64_t password_runs(void);

#endif
