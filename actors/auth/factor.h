/*  factor.h - the second factor: codes of an authenticator (TOTP, RFC 6238: SHA-1, six digits, 30 s),
 *  recovery codes, and logins that wait for one.
 *
 *  A code is looked at, counted and spent in the transaction of what it is for. Codes of one step
 *  before and after the present one are taken, for clocks that are off; a code's step and all before
 *  it are never taken again. Wrong codes are counted for the user apart from wrong passwords, and
 *  for the network together with them: the fifth brings a delay (tries.c). Only who knows the
 *  password gets as far as that, so a stranger cannot bring about that delay.
 *
 *  Thread: store_fns, except where it says otherwise.   Ownership: copies.
 *  Limits: FACTOR_*, RECOVERY_*.   Errors: those of the store. A verdict stands in `code` of the
 *  result: SV_E_CODE, SV_E_LOCKED_OUT, SV_E_HALF_TOKEN, SV_E_TWO_FACTOR_STATE. */
#ifndef AUTH_FACTOR_H
#define AUTH_FACTOR_H

#include "auth_store.h"

enum {
    FACTOR_SECRET = 20, /* bytes: 160 bits */
    FACTOR_CODE = 32,
    FACTOR_WINDOW = 1,
    HALF_LIFE_MS = 5 * 60 * 1000,
    RECOVERY_CODES = 10,
    RECOVERY_BYTES = 10, /* 80 bits */
    RECOVERY_TEXT = 19   /* "abcd-efgh-ijkl-mnop" */
};

typedef struct recovery_codes {
    char text[RECOVERY_CODES][RECOVERY_TEXT + 1];
    uint8_t hash[RECOVERY_CODES][WORDS_HASH];
} recovery_codes;
/* Any thread. */
void recovery_new(recovery_codes *ret);
/* Any thread. The hash of a code as people type it, with any case, blanks and dashes. False: it is
 * none. */
bool recovery_hash(const char *text, uint8_t ret[WORDS_HASH]);
/* In a write: these in place of the former; NULL: none. */
int recovery_replace(store_tx *tx, sv_str user, const recovery_codes *codes);
/* In a write: *ret_was: it was one of the user's, and is not any more. */
int recovery_use(store_tx *tx, sv_str user, const char *text, bool *ret_was);

/* A code and who sends it. */
typedef struct factor_try {
    auth_who who;
    char network[WORDS_NETWORK + 1];
    char code[FACTOR_CODE + 1];
} factor_try;

/* Logins whose password was right. In writes. */
int half_begin(store_tx *tx, const char *id, const char *user);
/* Ends all of the user. */
int half_drop(store_tx *tx, sv_str user);

/* in: factor_login, out: auth_login_result. */
typedef struct factor_login {
    factor_try try; /* who: of the half token */
    char half[AUTH_ID + 1];
    auth_session_new start;
} factor_login;
int factor_login_end(store_tx *tx, const void *in, void *out);

/* in: factor_setup, out: auth_login_result. The secret waits for its first code. */
typedef struct factor_setup {
    auth_try_end password;
    uint8_t secret[FACTOR_SECRET];
} factor_setup;
int factor_setup_end(store_tx *tx, const void *in, void *out);

/* in: factor_codes, out: auth_login_result. */
typedef struct factor_codes {
    factor_try try;
    recovery_codes codes;
} factor_codes;
/* The first code of the secret: it counts from now on. */
int factor_enable_end(store_tx *tx, const void *in, void *out);
/* Other recovery codes. */
int factor_codes_end(store_tx *tx, const void *in, void *out);

/* in: factor_disable, out: auth_login_result. */
typedef struct factor_disable {
    auth_try_end password;
    factor_try try;
} factor_disable;
int factor_disable_end(store_tx *tx, const void *in, void *out);

/* In a write: takes the user's second factor away, puts `row` and says it by mail. The caller has
 * the reason and writes the event. */
int factor_drop(store_tx *tx, user_row *row);

#endif
