/*  password.c - libsodium's Argon2id, and the judgement of new passwords.
 *
 *  Judging: the password in small letters is looked up among the most used; then every word that
 *  belongs to its account is struck out of it, and what remains must still be some characters long:
 *  "anna.smith2030" is no password of anna.smith@example.org. */
#include "password.h"

#include "error.h"
#include "utf8.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORD_LEAST = 4, REST_LEAST = 6 };

static atomic_uint_fast64_t runs;

static const char *const common[] = {
#define COMMON(text) text,
#include "common_passwords.inc"
#undef COMMON
};

/* ---- judging ---- */

static uint32_t characters(sv_str s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; s.p && i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0xc0) != 0x80;
    return n;
}

static int by_text(const void *key, const void *item)
{
    return strcmp(key, *(const char *const *)item);
}

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Both ends of a word: a run of letters, digits and bytes of other scripts. */
static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (uint8_t)c >= 0x80;
}

/* Strikes every appearance of `word` out of `text`. */
static void strike(char *text, const char *word, size_t n)
{
    for (char *at; (at = memmem(text, strlen(text), word, n)) != NULL;)
        memmove(at, at + n, strlen(at + n) + 1);
}

static void strike_all(char *text, sv_str words)
{
    char part[64];
    size_t n = 0;
    for (uint32_t i = 0; i <= words.n; i++) {
        char c = i < words.n ? small(words.p[i]) : 0;
        if (in_word(c) && n < sizeof part) {
            part[n++] = c;
            continue;
        }
        if (n >= WORD_LEAST) strike(text, part, n);
        n = 0;
    }
}

static int refuse(sv_error *err, const char *why)
{
    return sv_fail(err, SV_E_WEAK_PASSWORD, "password", "%s", why);
}

int password_check(sv_str password, const sv_str *words, size_t n_words, sv_error *err)
{
    char text[PASSWORD_BYTES + 1];
    if (password.n > PASSWORD_BYTES)
        return refuse(err, "The password is too long: take at most 128 characters.");
    if (!utf8_valid(password)) return sv_fail(err, SV_E_BAD_UTF8, "password", NULL);
    if (memchr(password.p ? password.p : "", 0, password.n))
        return refuse(err, "The password holds a NUL character: take another one.");
    uint32_t n = characters(password);
    if (n < PASSWORD_LEAST)
        return refuse(err, "The password is too short: take at least 8 characters.");
    if (n > PASSWORD_MOST)
        return refuse(err, "The password is too long: take at most 128 characters.");
    for (uint32_t i = 0; i < password.n; i++)
        text[i] = small(password.p[i]);
    text[password.n] = 0;
    int rc = 0;
    if (bsearch(text, common, sizeof common / sizeof *common, sizeof *common, by_text))
        rc = refuse(err, "The password is among the most used ones: take another one.");
    for (size_t i = 0; i < n_words; i++)
        strike_all(text, words[i]);
    if (rc == 0 && n_words > 0 && strlen(text) < password.n && strlen(text) < REST_LEAST)
        rc = refuse(err, "The password is made of the account's own name: take another one.");
    sodium_memzero(text, sizeof text);
    return rc;
}

/* ---- Argon2id ---- */

static int no_memory(sv_error *err)
{
    sv_fail(err, SV_E_NO_MEMORY, NULL, "There is no memory to work on a password.");
    if (err && err->retry_after_ms == 0) err->retry_after_ms = 1000;
    return SV_E_NO_MEMORY;
}

int password_hash(sv_str password, uint64_t memory_bytes, char ret[PASSWORD_HASH], sv_error *err)
{
    _Static_assert(PASSWORD_HASH >= crypto_pwhash_argon2id_STRBYTES, "a hash has no room");
    atomic_fetch_add(&runs, 1);
    memset(ret, 0, PASSWORD_HASH);
    if (sodium_init() < 0 ||
        crypto_pwhash_argon2id_str(ret, password.p ? password.p : "", password.n, PASSWORD_PASSES,
                                   (size_t)memory_bytes))
        return no_memory(err);
    return 0;
}

int password_verify(sv_str password, const char *hash, bool *ret_right, sv_error *err)
{
    char text[crypto_pwhash_argon2id_STRBYTES];
    atomic_fetch_add(&runs, 1);
    *ret_right = false;
    snprintf(text, sizeof text, "%s", hash);
    errno = 0;
    int rc =
        sodium_init() < 0
            ? -1
            : crypto_pwhash_argon2id_str_verify(text, password.p ? password.p : "", password.n);
    /* A wrong password and a lack of memory are the same answer of libsodium's. */
    if (rc && errno == ENOMEM) return no_memory(err);
    *ret_right = rc == 0;
    return 0;
}

bool password_is_weaker(const char *hash, uint64_t memory_bytes)
{
    unsigned kib = 0, passes = 0;
    if (sscanf(hash, "$argon2id$v=19$m=%u,t=%u,", &kib, &passes) != 2) return true;
    return kib < memory_bytes / 1024 || passes < PASSWORD_PASSES;
}

uint64_t password_runs(void)
{
    return atomic_load(&runs);
}
