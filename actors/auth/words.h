/*  words.h - what callers write, in the one form that is kept: e-mail addresses, networks, tokens.
 *  Thread: any.   Ownership: results are copies.   Limits: WORDS_*.
 *  Errors: SV_E_INVALID with the field's name and what to write instead. */
#ifndef AUTH_WORDS_H
#define AUTH_WORDS_H

#include "sv_types.h"

enum {
    WORDS_EMAIL = 254,
    WORDS_NETWORK = 45,
    WORDS_HASH = 32, /* SHA-256 */
    WORDS_TOKEN = 68 /* four characters that say what it is, then 256 random bits in hex */
};

/* Without white space around it, ASCII letters small: two spellings of one address are one account. */
int email_normalise(sv_str text, char ret[WORDS_EMAIL + 1], sv_error *err);
/* An IPv4 address as it is (also one mapped into IPv6), of an IPv6 address its /64. */
int network_normalise(sv_str text, char ret[WORDS_NETWORK + 1], sv_error *err);

/* Of people and organizations: one line of text. */
int name_check(sv_str name, sv_error *err);

/* en, ru or empty. */
int locale_check(sv_str locale, sv_error *err);

/* `kind` has four characters: "svr_" of refresh tokens, "svs_" of the setup token. */
void token_new(const char *kind, char ret[WORDS_TOKEN + 1]);
void token_hash(sv_str token, uint8_t ret[WORDS_HASH]);
/* A key for counting: SHA-256 of `kind` and `text`. */
void words_hash(const char *kind, const char *text, uint8_t ret[WORDS_HASH]);

#endif
