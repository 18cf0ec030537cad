/*  totp.c - liboath counts HMAC over a counter; its TOTP with a step of one second takes that counter
 *  as the time, with any of the hashes, where its HOTP knows SHA-1 only. */
#include "totp.h"

#include "error.h"
#include "seal.h"

#include <liboath/oath.h>
#include <time.h>

const totp_shape totp_usual = {TOTP_SHA1, 6, 30};

/* liboath takes the counter as a time_t. */
_Static_assert(sizeof(time_t) == sizeof(int64_t), "every step number is a time");

static int check_shape(const totp_shape *t, sv_str secret, sv_error *err)
{
    if (t->digits < 6 || t->digits > TOTP_DIGITS_MAX)
        return sv_fail(err, SV_E_INVALID, "digits", "digits must be 6, 7 or 8.");
    if (t->hash >= TOTP_HASHES)
        return sv_fail(err, SV_E_INVALID, "alg", "alg must be SHA1, SHA256 or SHA512.");
    if (secret.n == 0 || secret.n > TOTP_SECRET_BYTES)
        return sv_fail(err, SV_E_INVALID, "secret", "The secret must have 1 to %d bytes.",
                       TOTP_SECRET_BYTES);
    return 0;
}

int totp_code(const totp_shape *t, sv_str secret, uint64_t counter, char code[TOTP_DIGITS_MAX + 1],
              sv_error *err)
{
    static const int flags[TOTP_HASHES] = {0, OATH_TOTP_HMAC_SHA256, OATH_TOTP_HMAC_SHA512};
    int rc = check_shape(t, secret, err);
    if (rc) return rc;
    if (counter > INT64_MAX)
        return sv_fail(err, SV_E_INVALID, "counter", "The counter must be below 2^63.");
    char text[TOTP_DIGITS_MAX + 1];
    rc = oath_init();
    if (rc == OATH_OK)
        rc = oath_totp_generate2(secret.p, secret.n, (time_t)counter, 1, 0, t->digits,
                                 flags[t->hash], text);
    if (rc != OATH_OK) {
        sv_fail(err, SV_E_INTERNAL, NULL, NULL);
        sv_error_detail(err, "liboath: %s", oath_strerror(rc));
        return SV_E_INTERNAL;
    }
    memcpy(code, text, t->digits + 1);
    seal_wipe(text, sizeof text);
    return 0;
}

int totp_step(const totp_shape *t, uint64_t now_s, uint64_t *ret, sv_error *err)
{
    if (t->step_s == 0)
        return sv_fail(err, SV_E_INVALID, "step", "The step must be at least a second.");
    *ret = now_s / t->step_s;
    return 0;
}

static bool same(const char *a, const char *b, uint32_t n)
{
    uint8_t differ = 0;
    for (uint32_t i = 0; i < n; i++)
        differ |= (uint8_t)(a[i] ^ b[i]);
    return differ == 0;
}

bool totp_check(const totp_shape *t, sv_str secret, sv_str code, uint64_t now_s, uint32_t window,
                int64_t last, uint64_t *ret_step)
{
    uint64_t now = 0, found = 0;
    bool right = false;
    if (totp_step(t, now_s, &now, NULL) || code.n != t->digits) return false;
    uint64_t from = now > window ? now - window : 0;
    for (uint64_t step = from; step - from <= now - from + window; step++) {
        char want[TOTP_DIGITS_MAX + 1];
        if (totp_code(t, secret, step, want, NULL)) return false;
        bool fresh = last < 0 || step > (uint64_t)last;
        if (same(want, code.p, t->digits) && fresh && !right) {
            right = true;
            found = step;
        }
        seal_wipe(want, sizeof want);
    }
    if (right) *ret_step = found;
    return right;
}
