/*  totp.h - one-time codes: HOTP (RFC 4226) and TOTP (RFC 6238), computed by liboath.
 *  Thread: any.   Ownership: no memory of its own.   Limits: secrets up to TOTP_SECRET_BYTES, 6 to
 *  8 digits, steps of at least a second.   Errors: SV_E_INVALID with the parameter in field. */
#ifndef AUTH_TOTP_H
#define AUTH_TOTP_H

#include "sv_types.h"

typedef enum totp_hash { TOTP_SHA1, TOTP_SHA256, TOTP_SHA512, TOTP_HASHES } totp_hash;

enum { TOTP_SECRET_BYTES = 256, TOTP_DIGITS_MAX = 8 };

typedef struct totp_shape {
    totp_hash hash;
    uint32_t digits;
    uint32_t step_s;
} totp_shape;

/* What authenticator programs take for granted. */
extern const totp_shape totp_usual; /* SHA1, 6 digits, 30 s */

/* The code of one counter value: HOTP's counter, TOTP's step number. Uses no step_s. */
int totp_code(const totp_shape *t, sv_str secret, uint64_t counter, char code[TOTP_DIGITS_MAX + 1],
              sv_error *err);
/* The number of the step that `now_s` (Unix seconds) is in. SV_E_INVALID for a step of 0 s. */
int totp_step(const totp_shape *t, uint64_t now_s, uint64_t *ret, sv_error *err);
/* Whether `code` is right within `window` steps before and after the present one, and its step is
 * after `last`: the step that was accepted last, -1 before the first. True sets *ret_step, which the
 * caller keeps as the new `last` in the transaction that acts on the code. Takes the same time for
 * every code of the right length. */
bool totp_check(const totp_shape *t, sv_str secret, sv_str code, uint64_t now_s, uint32_t window,
                int64_t last, uint64_t *ret_step);

#endif
