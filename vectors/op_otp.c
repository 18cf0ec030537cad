/*  op_otp.c - one-time codes as the second factor counts them. */
#include "error.h"
#include "op.h"
#include "totp.h"

static bool find_hash(json_value alg, totp_hash *ret)
{
    static const char *const names[TOTP_HASHES] = {"SHA1", "SHA256", "SHA512"};
    for (int i = 0; i < TOTP_HASHES; i++) {
        if (!json_string_is(alg, names[i])) continue;
        *ret = (totp_hash)i;
        return true;
    }
    return false;
}

static int take_uint32(json_value request, const char *name, uint32_t absent, uint32_t *ret,
                       sv_error *err)
{
    uint64_t v;
    int rc = member_uint(request, name, absent, &v, err);
    if (rc) return rc;
    if (v > UINT32_MAX)
        return sv_fail(err, SV_E_OUT_OF_RANGE, name, "The member %s is too large.", name);
    *ret = (uint32_t)v;
    return 0;
}

static int answer_code(json_value request, const totp_shape *t, uint64_t counter, buf *answer,
                       sv_error *err)
{
    char code[TOTP_DIGITS_MAX + 1];
    buf secret;
    buf_init(&secret, LINE_BYTES);
    int rc = member_hex(request, "secret_hex", &secret, err);
    if (rc == 0) rc = totp_code(t, buf_str(&secret), counter, code, err);
    if (rc == 0) rc = buf_printf(answer, "{\"code\":\"%s\"}", code);
    buf_free(&secret);
    return rc;
}

static int op_otp(json_value request, bool timed, buf *answer, sv_error *err)
{
    totp_shape t = totp_usual;
    json_value alg = json_get(request, "alg");
    if (alg.type != JSON_NONE && alg.type != JSON_STRING)
        return sv_fail(err, SV_E_WRONG_TYPE, "alg", "The member alg must be a string.");
    if (alg.type == JSON_STRING && !find_hash(alg, &t.hash)) return op_skip(answer);
    uint64_t counter;
    int rc = member_uint(request, timed ? "time" : "counter", -1, &counter, err);
    if (rc == 0) rc = take_uint32(request, "digits", t.digits, &t.digits, err);
    if (rc == 0 && timed) rc = take_uint32(request, "step", t.step_s, &t.step_s, err);
    if (rc == 0 && timed) rc = totp_step(&t, counter, &counter, err);
    return rc ? rc : answer_code(request, &t, counter, answer, err);
}

int op_totp(json_value request, buf *answer, sv_error *err)
{
    return op_otp(request, true, answer, err);
}

int op_hotp(json_value request, buf *answer, sv_error *err)
{
    return op_otp(request, false, answer, err);
}
