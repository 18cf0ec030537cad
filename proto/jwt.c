/*  jwt.c - header, key, signature, then claims: nothing of the payload is read before the signature
 *  holds. Times are integers up to the year 9999, so that sums with the skew cannot overflow. */
#include "jwt.h"

#include "base64url.h"
#include "error.h"
#include "utf8.h"

#include <assert.h>
#include <stdio.h>

enum { PAYLOAD_DEPTH = 4, SET_DEPTH = 6 };

static const uint64_t last_second = 253402300799; /* of the year 9999 */

static const struct {
    const char *typ, *aud;
    uint32_t life_s;
} kinds[JWT_KINDS] = {
    [JWT_ACCESS] = {"samovar-access+jwt", "samovar", 900},
    [JWT_HALF] = {"samovar-half+jwt", "samovar:second-factor", 300},
};

static int refuse(sv_error *err, const char *why)
{
    sv_fail(err, SV_E_TOKEN, NULL, NULL);
    sv_error_detail(err, "%s", why);
    return SV_E_TOKEN;
}

uint32_t jwt_life_s(jwt_kind kind)
{
    assert(kind < JWT_KINDS);
    return kinds[kind].life_s;
}

/* ---- signing ---- */

static int check_times(const jwt_claims *c, sv_error *err)
{
    if (c->iat_s > last_second) return sv_fail(err, SV_E_INVALID, "iat", "iat is out of range.");
    if (c->exp_s <= c->iat_s || c->exp_s - c->iat_s > kinds[c->kind].life_s)
        return sv_fail(err, SV_E_INVALID, "exp", "exp must be after iat, by at most %u seconds.",
                       kinds[c->kind].life_s);
    return 0;
}

static int check_text(sv_str s, bool required, const char *claim, sv_error *err)
{
    if (required && s.n == 0) return sv_fail(err, SV_E_INVALID, claim, "%s is empty.", claim);
    if (!utf8_valid(s) || (s.n && memchr(s.p, 0, s.n)))
        return sv_fail(err, SV_E_BAD_UTF8, claim, "%s is not UTF-8 without NUL.", claim);
    return 0;
}

static int check_list(const sv_str *items, uint32_t n, const char *claim, sv_error *err)
{
    if (n > JWT_LIST)
        return sv_fail(err, SV_E_INVALID, claim, "%s has more than %d items.", claim, JWT_LIST);
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = check_text(items[i], true, claim, err);
    return rc;
}

static int check_claims(sv_str iss, const jwt_claims *c, sv_error *err)
{
    assert(c->kind < JWT_KINDS);
    int rc = check_times(c, err);
    if (rc == 0) rc = check_text(iss, true, "iss", err);
    if (rc == 0) rc = check_text(c->sub, true, "sub", err);
    if (rc == 0) rc = check_text(c->jti, true, "jti", err);
    if (rc == 0) rc = check_text(c->org, false, "org", err);
    if (rc == 0) rc = check_text(c->tier, false, "tier", err);
    if (rc == 0) rc = check_text(c->sid, false, "sid", err);
    if (rc == 0) rc = check_text(c->act, false, "act", err);
    if (rc == 0) rc = check_list(c->roles, c->n_roles, "roles", err);
    if (rc == 0) rc = check_list(c->scopes, c->n_scopes, "scopes", err);
    return rc;
}

static void put_text(buf *b, const char *claim, sv_str s)
{
    if (s.n == 0) return;
    buf_printf(b, ",\"%s\":\"", claim);
    buf_json_escape(b, s);
    buf_putc(b, '"');
}

/* RFC 8693, section 4.1: who acts is an object with a subject. */
static void put_actor(buf *b, sv_str s)
{
    if (s.n == 0) return;
    buf_puts(b, ",\"act\":{\"sub\":\"");
    buf_json_escape(b, s);
    buf_puts(b, "\"}");
}

static void put_list(buf *b, const char *claim, const sv_str *items, uint32_t n)
{
    if (n == 0) return;
    buf_printf(b, ",\"%s\":[", claim);
    for (uint32_t i = 0; i < n; i++) {
        buf_puts(b, i ? ",\"" : "\"");
        buf_json_escape(b, items[i]);
        buf_putc(b, '"');
    }
    buf_putc(b, ']');
}

static int put_payload(sv_str iss, const jwt_claims *c, buf *b)
{
    buf_printf(b, "{\"aud\":\"%s\"", kinds[c->kind].aud);
    put_text(b, "iss", iss);
    put_text(b, "sub", c->sub);
    put_text(b, "jti", c->jti);
    put_text(b, "org", c->org);
    put_text(b, "tier", c->tier);
    put_text(b, "sid", c->sid);
    put_actor(b, c->act);
    put_list(b, "roles", c->roles, c->n_roles);
    put_list(b, "scopes", c->scopes, c->n_scopes);
    unsigned long long iat = c->iat_s, exp = c->exp_s;
    buf_printf(b, ",\"iat\":%llu,\"nbf\":%llu,\"exp\":%llu}", iat, iat, exp);
    return b->error;
}

int jwt_sign(const jws_signer *s, sv_str iss, const jwt_claims *c, buf *out, sv_error *err)
{
    int rc = check_claims(iss, c, err);
    if (rc) return rc;
    char header[128 + JWK_THUMBPRINT];
    int header_n =
        snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"typ\":\"%s\",\"kid\":\"%s\"}",
                 kinds[c->kind].typ, s->jwk.kid);
    assert(header_n > 0 && (size_t)header_n < sizeof header);
    buf payload;
    size_t start = out->n;
    buf_init(&payload, JWT_BYTES);
    rc = put_payload(iss, c, &payload);
    if (rc == 0) rc = jws_sign(s, (sv_str){header, (uint32_t)header_n}, buf_str(&payload), out);
    if (rc == 0 && out->n - start > JWT_BYTES) {
        out->n = start;
        rc = SV_E_TOO_LARGE;
    }
    buf_free(&payload);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

/* ---- verifying ---- */

int jwt_ring_add(jwt_ring *r, const uint8_t key[JWS_KEY])
{
    for (uint32_t i = 0; i < r->n; i++)
        if (memcmp(r->keys[i].key, key, JWS_KEY) == 0) return 0;
    if (r->n == JWT_KEYS) return SV_E_TOO_LARGE;
    int rc = jwk_from(key, &r->keys[r->n]);
    if (rc == 0) r->n++;
    return rc;
}

int jwt_ring_read(jwt_ring *r, sv_str jwks, sv_error *err)
{
    int rc = json_skim(jwks, SET_DEPTH, err);
    if (rc) return rc;
    json_value keys = json_get(json_root(jwks), "keys"), one;
    if (keys.type != JSON_ARRAY)
        return sv_fail(err, SV_E_INVALID, "keys", "A JWK Set must have a list of keys.");
    jwt_ring ring = {.n = 0};
    jwk k;
    for (size_t at = 0; rc == 0 && json_next_element(keys, &at, &one);) {
        rc = jwk_read(one.raw, &k, err);
        if (rc == 0 && (rc = jwt_ring_add(&ring, k.key)))
            sv_fail(err, rc, "keys", "The set has more than %d keys.", JWT_KEYS);
    }
    if (rc == 0) *r = ring;
    return rc;
}

/* Exactly alg, typ and kid; jws_read has looked at alg. */
static int check_header(const jws *j, jwt_kind kind, sv_error *err)
{
    json_value h = jws_header(j), v;
    sv_str key;
    int members = 0;
    for (size_t at = 0; json_next_member(h, &at, &key, &v);)
        members++;
    if (!json_string_is(json_get(h, "typ"), kinds[kind].typ))
        return refuse(err, "the header's typ is of another kind of token");
    if (json_get(h, "kid").type != JSON_STRING) return refuse(err, "the header has no kid");
    return members == 3 ? 0 : refuse(err, "the header has members that are not expected");
}

static int check_signature(const jwt_ring *r, const jws *j, sv_error *err)
{
    json_value kid = json_get(jws_header(j), "kid");
    for (uint32_t i = 0; i < r->n; i++)
        if (json_string_is(kid, r->keys[i].kid)) return jws_verify(j, &r->keys[i], err);
    return refuse(err, "the kid is not known");
}

typedef struct reader {
    json_value claims;
    arena *a;
    const char *why; /* the first claim that is not acceptable */
    int rc;
} reader;

static void fail(reader *r, int rc, const char *why)
{
    if (r->rc) return;
    r->rc = rc;
    r->why = why;
}

static sv_str take_string(reader *r, json_value v, const char *why)
{
    sv_str none = {NULL, 0};
    if (v.type != JSON_STRING || v.raw.n <= 2) { /* an empty claim says nothing */
        fail(r, SV_E_TOKEN, why);
        return none;
    }
    buf text;
    buf_init(&text, v.raw.n);
    int rc = json_text(v, &text);
    char *copy = rc == 0 ? arena_copy(r->a, buf_str(&text)) : NULL;
    sv_str ret = {copy, copy ? (uint32_t)text.n : 0};
    buf_free(&text);
    if (copy == NULL) fail(r, SV_E_NO_MEMORY, NULL);
    return ret;
}

static sv_str take_optional(reader *r, const char *claim, const char *why)
{
    json_value v = json_get(r->claims, claim);
    return v.type == JSON_NONE ? (sv_str){NULL, 0} : take_string(r, v, why);
}

static sv_str take_actor(reader *r)
{
    static const char why[] = "act names nobody who acts";
    json_value v = json_get(r->claims, "act");
    if (v.type == JSON_NONE) return (sv_str){NULL, 0};
    if (v.type == JSON_OBJECT) return take_string(r, json_get(v, "sub"), why);
    fail(r, SV_E_TOKEN, why);
    return (sv_str){NULL, 0};
}

static uint32_t take_list(reader *r, const char *claim, sv_str *to, const char *why)
{
    json_value list = json_get(r->claims, claim), item;
    if (list.type == JSON_NONE) return 0;
    if (list.type != JSON_ARRAY) fail(r, SV_E_TOKEN, why);
    uint32_t n = 0;
    for (size_t at = 0; r->rc == 0 && json_next_element(list, &at, &item);) {
        if (n == JWT_LIST)
            fail(r, SV_E_TOKEN, why);
        else
            to[n++] = take_string(r, item, why);
    }
    return n;
}

static uint64_t take_time(reader *r, const char *claim, const char *why)
{
    int64_t s = 0;
    if (json_int(json_get(r->claims, claim), &s) || s < 0 || (uint64_t)s > last_second) {
        fail(r, SV_E_TOKEN, why);
        return 0;
    }
    return (uint64_t)s;
}

static void take_times(reader *r, const jwt_rules *rules, jwt_claims *c)
{
    uint64_t skew = rules->skew_s < JWT_SKEW_S ? rules->skew_s : JWT_SKEW_S;
    uint64_t now = rules->now_s < last_second ? rules->now_s : last_second;
    uint64_t nbf = take_time(r, "nbf", "nbf is no time");
    c->iat_s = take_time(r, "iat", "iat is no time");
    c->exp_s = take_time(r, "exp", "exp is no time");
    if (c->exp_s <= c->iat_s || c->exp_s - c->iat_s > kinds[rules->kind].life_s)
        fail(r, SV_E_TOKEN, "it lives longer than its kind may");
    if (c->iat_s > now + skew) fail(r, SV_E_TOKEN, "iat is in the future");
    if (nbf > now + skew) fail(r, SV_E_TOKEN, "nbf is in the future");
    if (now >= c->exp_s + skew) fail(r, SV_E_TOKEN_EXPIRED, "it has expired");
}

static int read_claims(sv_str payload, const jwt_rules *rules, arena *a, jwt_claims *ret,
                       sv_error *err)
{
    sv_error why = {0};
    int rc = json_skim(payload, PAYLOAD_DEPTH, &why);
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    reader r = {.a = a};
    if (rc == 0) r.claims = json_root(payload);
    if (r.claims.type != JSON_OBJECT)
        return refuse(err, "the claims are no acceptable JSON object");
    if (!json_string_is(json_get(r.claims, "aud"), kinds[rules->kind].aud))
        return refuse(err, "aud is another audience");
    char iss[JWT_BYTES];
    if (rules->iss.n == 0 || rules->iss.n >= sizeof iss || memchr(rules->iss.p, 0, rules->iss.n))
        return refuse(err, "no issuer is expected here");
    memcpy(iss, rules->iss.p, rules->iss.n);
    iss[rules->iss.n] = 0;
    if (!json_string_is(json_get(r.claims, "iss"), iss))
        return refuse(err, "iss is another issuer");
    jwt_claims c = {.kind = rules->kind};
    take_times(&r, rules, &c);
    c.sub = take_string(&r, json_get(r.claims, "sub"), "sub is no text");
    c.jti = take_string(&r, json_get(r.claims, "jti"), "jti is no text");
    c.org = take_optional(&r, "org", "org is no text");
    c.tier = take_optional(&r, "tier", "tier is no text");
    c.sid = take_optional(&r, "sid", "sid is no text");
    c.act = take_actor(&r);
    c.n_roles = take_list(&r, "roles", c.roles, "roles is no short list of texts");
    c.n_scopes = take_list(&r, "scopes", c.scopes, "scopes is no short list of texts");
    if (r.rc == 0)
        *ret = c;
    else if (r.rc == SV_E_TOKEN)
        refuse(err, r.why);
    else
        sv_fail(err, r.rc, NULL, NULL);
    return r.rc;
}

int jwt_verify(const jwt_ring *r, const jwt_rules *rules, sv_str token, arena *a, jwt_claims *ret,
               sv_error *err)
{
    assert(rules->kind < JWT_KINDS);
    if (token.n > JWT_BYTES) return refuse(err, "the token is too long");
    jws j;
    int rc = jws_read(token, &j, err);
    if (rc == 0) rc = check_header(&j, rules->kind, err);
    if (rc == 0) rc = check_signature(r, &j, err);
    if (rc) return rc;
    buf payload;
    buf_init(&payload, JWT_BYTES);
    rc = base64url_get(j.payload, &payload);
    if (rc == SV_E_INVALID)
        rc = refuse(err, "the claims are not in canonical base64url");
    else if (rc)
        rc = sv_fail(err, rc, NULL, NULL);
    else
        rc = read_claims(buf_str(&payload), rules, a, ret, err);
    buf_free(&payload);
    return rc;
}
