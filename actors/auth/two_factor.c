/*  two_factor.c - methods of the second factor: its setup, its codes, and the second step of a
 *  login. */
#include "attempt.h"
#include "caller.h"
#include "error.h"
#include "factor.h"
#include "qr.h"
#include "seal.h"
#include "uuid.h"

#include <ctype.h>
#include <stdio.h>

/* What is longer in an address or a host is cut: it is read by people, and the picture stays small. */
enum { URI = 512, ACCOUNT = 121, ISSUER = 81, HOST = 254, SVG = 32768, SECRET_TEXT = 32 };

/* ---- half-login tokens ---- */

int auth_half_sign(const auth *a, const char *user, const char *id, int64_t now_ms, buf *out,
                   sv_error *err)
{
    uint64_t now_s = (uint64_t)now_ms / 1000;
    jwt_claims claims = {.kind = JWT_HALF,
                         .sub = sv_cstr(user),
                         .jti = sv_cstr(id),
                         .iat_s = now_s,
                         .exp_s = now_s + HALF_LIFE_MS / 1000};
    int rc = auth_keys_ready(a, err);
    return rc ? rc : jwt_sign(&a->signer, sv_cstr(a->issuer), &claims, out, err);
}

static int half_read(sv_call *call, const auth *a, sv_str token, factor_login *ret)
{
    jwt_ring ring = {.n = a->n_keys};
    jwt_claims claims;
    jwt_rules rules = {.iss = sv_cstr(a->issuer),
                       .kind = JWT_HALF,
                       .now_s = loop_unix_us(sv_loop(a->process)) / 1000000};
    for (uint32_t i = 0; i < a->n_keys; i++)
        ring.keys[i] = a->keys[i];
    int rc = auth_keys_ready(a, sv_call_error(call));
    if (rc) return rc;
    rc = jwt_verify(&ring, &rules, token, sv_call_arena(call), &claims, NULL);
    if (rc || claims.sub.n > AUTH_ID || claims.jti.n > AUTH_ID)
        return sv_fail(sv_call_error(call), SV_E_HALF_TOKEN, "half_token", NULL);
    snprintf(ret->try.who.id, sizeof ret->try.who.id, "%.*s", SV_FMT(claims.sub));
    snprintf(ret->half, sizeof ret->half, "%.*s", SV_FMT(claims.jti));
    return 0;
}

/* ---- what is shown ---- */

static void base32(const uint8_t *bytes, size_t size, char *to)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t bits = 0, n = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | bytes[i];
        for (n += 8; n >= 5; n -= 5)
            *to++ = letters[bits >> (n - 5) & 31];
    }
    *to = 0;
}

/* Percent-encoded; what does not fit is left out, whole characters of UTF-8 at a time. */
static void encode(const char *text, char *to, size_t size)
{
    size_t at = 0, whole = 0;
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;
        if ((c & 0xc0) != 0x80) whole = at;
        size_t n = isalnum(c) || strchr("-._~@", c) ? 1 : 3;
        if (at + n >= size) {
            at = whole;
            break;
        }
        at += (size_t)snprintf(to + at, size - at, n == 1 ? "%c" : "%%%02X", c);
    }
    to[at] = 0;
}

/* Whose code it is, in the list of an authenticator: the platform by its host. */
static void issuer(const auth *a, char *to, size_t size)
{
    const char *origin = config_str(sv_config(a->process), "edge.origin");
    const char *host = origin ? strstr(origin, "://") : NULL;
    char plain[HOST + 16];
    if (host)
        snprintf(plain, sizeof plain, "Samovar %.*s", (int)strcspn(host + 3, "/:"), host + 3);
    else
        snprintf(plain, sizeof plain, "Samovar");
    encode(plain, to, size);
}

static int reply_secret(sv_call *call, const auth *a, const factor_setup *s, const char *email)
{
    char secret[SECRET_TEXT + 1], account[ACCOUNT], from[ISSUER], uri[URI];
    buf svg;
    base32(s->secret, sizeof s->secret, secret);
    encode(email, account, sizeof account);
    issuer(a, from, sizeof from);
    snprintf(uri, sizeof uri,
             "otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=6&period=30", from,
             account, secret, from);
    buf_init(&svg, SVG);
    int rc = qr_svg(uri, &svg);
    if (rc == 0)
        rc = sv_reply(call, &(auth_2fa_setup_reply){.secret = sv_cstr(secret),
                                                    .uri = sv_cstr(uri),
                                                    .qr_svg = buf_str(&svg)});
    buf_free(&svg);
    seal_wipe(secret, sizeof secret);
    seal_wipe(uri, sizeof uri);
    return rc;
}

static int reply_codes(sv_call *call, recovery_codes *codes)
{
    sv_str list[RECOVERY_CODES];
    for (uint32_t i = 0; i < RECOVERY_CODES; i++)
        list[i] = sv_cstr(codes->text[i]);
    int rc = sv_reply(call, &(auth_2fa_codes_reply){.recovery_codes = {list, RECOVERY_CODES}});
    seal_wipe(codes, sizeof *codes);
    return rc;
}

/* ---- methods ---- */

int auth_2fa_setup(sv_call *call, const void *request)
{
    const auth_2fa_setup_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    attempt *t = attempt_of_caller(call, q->email, q->network);
    factor_setup *s = arena_alloc(sv_call_arena(call), sizeof *s);
    if (t == NULL) return sv_call_error(call)->code;
    if (s == NULL) return SV_E_NO_MEMORY;
    int rc = attempt_compare(call, t, q->password, (sv_str){NULL, 0});
    if (rc) return rc;
    s->password = t->end;
    uuid_random(s->secret, sizeof s->secret);
    rc = auth_write(call, factor_setup_end, s, &t->result);
    if (rc == 0) rc = attempt_verdict(call, &t->result);
    if (rc == 0) rc = reply_secret(call, a, s, t->result.user.email);
    seal_wipe(s->secret, sizeof s->secret);
    return rc;
}

/* The caller and the code. */
static int fill_try(sv_call *call, sv_str email, sv_str network, sv_str code, factor_try *ret)
{
    int rc = auth_who_of(call, email, &ret->who);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = network_normalise(network, ret->network, sv_call_error(call));
    if (rc) return rc;
    snprintf(ret->code, sizeof ret->code, "%.*s", SV_FMT(code));
    return 0;
}

/* What a code brings new recovery codes for. */
static int with_code(sv_call *call, const auth_2fa_code_req *q, store_fn *fn)
{
    factor_codes *f = arena_alloc(sv_call_arena(call), sizeof *f);
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    if (f == NULL || result == NULL) return SV_E_NO_MEMORY;
    int rc = fill_try(call, q->email, q->network, q->code, &f->try);
    if (rc) return rc;
    recovery_new(&f->codes);
    rc = auth_named(call, auth_write(call, fn, f, result));
    if (rc == 0) rc = attempt_verdict(call, result);
    if (rc == 0) return reply_codes(call, &f->codes);
    seal_wipe(&f->codes, sizeof f->codes);
    return rc;
}

int auth_2fa_enable(sv_call *call, const void *request)
{
    return with_code(call, request, factor_enable_end);
}

int auth_2fa_recovery_codes(sv_call *call, const void *request)
{
    return with_code(call, request, factor_codes_end);
}

int auth_2fa_disable(sv_call *call, const void *request)
{
    const auth_2fa_disable_req *q = request;
    attempt *t = attempt_of_caller(call, q->email, q->network);
    factor_disable *f = arena_alloc(sv_call_arena(call), sizeof *f);
    if (t == NULL) return sv_call_error(call)->code;
    if (f == NULL) return SV_E_NO_MEMORY;
    int rc = fill_try(call, q->email, q->network, q->code, &f->try);
    if (rc == 0) rc = attempt_compare(call, t, q->password, (sv_str){NULL, 0});
    if (rc) return rc;
    f->password = t->end;
    rc = auth_write(call, factor_disable_end, f, &t->result);
    if (rc == 0) rc = attempt_verdict(call, &t->result);
    return rc ? rc : sv_reply(call, &(auth_status_reply){.status = sv_cstr("ok")});
}

int auth_login_code(sv_call *call, const void *request)
{
    const auth_login_code_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    factor_login *f = arena_alloc(sv_call_arena(call), sizeof *f);
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    char token[WORDS_TOKEN + 1];
    if (f == NULL || result == NULL) return SV_E_NO_MEMORY;
    int rc = half_read(call, a, q->half_token, f);
    if (rc == 0) rc = network_normalise(q->network, f->try.network, sv_call_error(call));
    if (rc) return rc;
    snprintf(f->try.who.actor, sizeof f->try.who.actor, "%s", f->try.who.id);
    snprintf(f->try.code, sizeof f->try.code, "%.*s", SV_FMT(q->code));
    attempt_session(a, q->device, q->remember, f->try.network, &f->start, token);
    rc = auth_write(call, factor_login_end, f, result);
    if (rc == 0) rc = attempt_verdict(call, result);
    return rc ? rc : auth_reply_session(call, result, token);
}
