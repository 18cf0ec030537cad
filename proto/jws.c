/*  jws.c - three slices between two dots. Nothing of a header chooses anything: each member is
 *  compared with what is expected, and what would bring a key or change the rules is refused. */
#include "jws.h"

#include "base64url.h"
#include "error.h"

#include <assert.h>
#include <sodium.h>

_Static_assert(JWS_KEY == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(JWS_SEED == crypto_sign_SEEDBYTES, "Ed25519 seed");
_Static_assert(JWS_SIGNATURE == crypto_sign_BYTES, "Ed25519 signature");
_Static_assert(JWK_THUMBPRINT == BASE64URL_TEXT(crypto_hash_sha256_BYTES), "SHA-256 in base64url");

enum { HEADER_DEPTH = 4, KEY_DEPTH = 4, KEY_TEXT = BASE64URL_TEXT(JWS_KEY) };

static int refuse(sv_error *err, const char *why)
{
    sv_fail(err, SV_E_TOKEN, NULL, NULL);
    sv_error_detail(err, "%s", why);
    return SV_E_TOKEN;
}

static void start_sodium(void)
{
    int rc = sodium_init();
    assert(rc >= 0); /* fails only where the kernel has no random numbers */
}

/* ---- keys ---- */

static void key_text(const uint8_t key[JWS_KEY], char text[KEY_TEXT + 1])
{
    sodium_bin2base64(text, KEY_TEXT + 1, key, JWS_KEY, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* RFC 7638: SHA-256 of the required members, in the order of their names, without white space. */
static void thumbprint(const uint8_t key[JWS_KEY], char kid[JWK_KID_BYTES + 1])
{
    static const char before[] = "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"", after[] = "\"}";
    char x[KEY_TEXT + 1];
    uint8_t sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state h;
    key_text(key, x);
    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, (const uint8_t *)before, sizeof before - 1);
    crypto_hash_sha256_update(&h, (const uint8_t *)x, KEY_TEXT);
    crypto_hash_sha256_update(&h, (const uint8_t *)after, sizeof after - 1);
    crypto_hash_sha256_final(&h, sum);
    sodium_bin2base64(kid, JWK_KID_BYTES + 1, sum, sizeof sum,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int jwk_from(const uint8_t key[JWS_KEY], jwk *ret)
{
    start_sodium();
    if (!crypto_core_ed25519_is_valid_point(key)) return SV_E_INVALID;
    jwk k = {0};
    memcpy(k.key, key, JWS_KEY);
    thumbprint(key, k.kid);
    *ret = k;
    return 0;
}

static int bad_member(sv_error *err, const char *member, const char *what)
{
    return sv_fail(err, SV_E_INVALID, member, "The key's member %s must be %s.", member, what);
}

static bool absent_or(json_value v, const char *text)
{
    return v.type == JSON_NONE || json_string_is(v, text);
}

static bool may_verify(json_value key_ops)
{
    if (key_ops.type == JSON_NONE) return true;
    json_value op;
    for (size_t at = 0; json_next_element(key_ops, &at, &op);)
        if (json_string_is(op, "verify")) return true;
    return false;
}

/* A string of at most `size` - 1 bytes; absent reads as "". */
static bool take_text(json_value v, char *to, size_t size)
{
    to[0] = 0;
    if (v.type == JSON_NONE) return true;
    buf text;
    buf_init(&text, size - 1);
    bool fits = json_text(v, &text) == 0;
    if (fits && text.n) memcpy(to, text.p, text.n);
    if (fits) to[text.n] = 0;
    buf_free(&text);
    return fits;
}

int jwk_read(sv_str json, jwk *ret, sv_error *err)
{
    start_sodium();
    int rc = json_skim(json, KEY_DEPTH, err);
    if (rc) return rc;
    json_value o = json_root(json);
    if (o.type != JSON_OBJECT)
        return sv_fail(err, SV_E_INVALID, NULL, "A key must be a JSON object.");
    json_value kty = json_get(o, "kty"), crv = json_get(o, "crv");
    if (kty.type != JSON_STRING) return bad_member(err, "kty", "a string");
    if (!json_string_is(kty, "OKP") || (crv.type == JSON_STRING && !json_string_is(crv, "Ed25519")))
        return sv_fail(err, SV_E_UNIMPLEMENTED, "kty",
                       "Only keys of kind OKP with Ed25519 are used.");
    if (crv.type != JSON_STRING) return bad_member(err, "crv", "a string");
    if (!absent_or(json_get(o, "use"), "sig")) return bad_member(err, "use", "sig");
    if (!may_verify(json_get(o, "key_ops")))
        return bad_member(err, "key_ops", "a list with verify in it");
    if (!absent_or(json_get(o, "alg"), "EdDSA")) return bad_member(err, "alg", "EdDSA");
    char x[KEY_TEXT + 1];
    jwk k = {0};
    if (json_get(o, "x").type != JSON_STRING || !take_text(json_get(o, "x"), x, sizeof x) ||
        base64url_get_exact(sv_cstr(x), k.key, JWS_KEY))
        return bad_member(err, "x", "32 bytes in base64url without padding");
    if (!crypto_core_ed25519_is_valid_point(k.key))
        return bad_member(err, "x", "a point of the curve's main subgroup");
    if (!take_text(json_get(o, "kid"), k.kid, sizeof k.kid))
        return bad_member(err, "kid", "a string of at most 128 bytes");
    *ret = k;
    return 0;
}

int jwks_print(const jwk *keys, uint32_t n, buf *out)
{
    buf_puts(out, "{\"keys\":[");
    for (uint32_t i = 0; i < n; i++) {
        char x[KEY_TEXT + 1];
        key_text(keys[i].key, x);
        buf_printf(out, "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\",\"kid\":\"",
                   i ? "," : "", x);
        buf_json_escape(out, sv_cstr(keys[i].kid));
        buf_puts(out, "\",\"use\":\"sig\",\"alg\":\"EdDSA\"}");
    }
    buf_puts(out, "]}");
    return out->error;
}

/* ---- signing ---- */

void jws_signer_init(jws_signer *s, const uint8_t seed[JWS_SEED])
{
    start_sodium();
    uint8_t key[JWS_KEY];
    crypto_sign_seed_keypair(key, s->secret, seed);
    int rc = jwk_from(key, &s->jwk);
    assert(rc == 0); /* a clamped multiple of the base point */
}

void jws_signer_clear(jws_signer *s)
{
    sodium_memzero(s, sizeof *s);
}

int jws_sign(const jws_signer *s, sv_str header, sv_str payload, buf *out)
{
    size_t start = out->n;
    uint8_t signature[JWS_SIGNATURE];
    int rc = base64url_put(header.p, header.n, out);
    if (rc == 0) rc = buf_putc(out, '.');
    if (rc == 0) rc = base64url_put(payload.p, payload.n, out);
    if (rc == 0) {
        crypto_sign_detached(signature, NULL, (const uint8_t *)out->p + start, out->n - start,
                             s->secret);
        rc = buf_putc(out, '.');
    }
    if (rc == 0) rc = base64url_put(signature, sizeof signature, out);
    if (rc) out->n = start;
    return rc;
}

/* ---- reading ---- */

static const char *const not_in_headers[] = {"crit", "jku", "jwk", "x5u", "x5c", "b64"};

static int check_header(const jws *j, sv_error *err)
{
    sv_error why = {0};
    if (json_skim((sv_str){j->header, j->header_n}, HEADER_DEPTH, &why))
        return refuse(err, "the header is not acceptable JSON");
    json_value h = jws_header(j), v;
    if (h.type != JSON_OBJECT) return refuse(err, "the header is no JSON object");
    if (!json_string_is(json_get(h, "alg"), "EdDSA"))
        return refuse(err, "the header's alg is not EdDSA");
    for (size_t i = 0; i < sizeof not_in_headers / sizeof *not_in_headers; i++)
        if (json_get(h, not_in_headers[i]).type != JSON_NONE)
            return refuse(err, "the header has a member that brings a key or changes the rules");
    v = json_get(h, "kid");
    if (v.type != JSON_NONE && v.type != JSON_STRING)
        return refuse(err, "the header's kid is no string");
    return 0;
}

int jws_read(sv_str text, jws *ret, sv_error *err)
{
    const char *end = text.p + text.n;
    const char *one = text.n ? memchr(text.p, '.', text.n) : NULL;
    const char *two = one ? memchr(one + 1, '.', (size_t)(end - one - 1)) : NULL;
    if (two == NULL) return refuse(err, "the token does not have three parts");
    jws j;
    j.payload = (sv_str){one + 1, (uint32_t)(two - one - 1)};
    j.signed_bytes = (sv_str){text.p, (uint32_t)(two - text.p)};
    sv_str signature = {two + 1, (uint32_t)(end - two - 1)};
    sv_str header = {text.p, (uint32_t)(one - text.p)};
    if (base64url_get_exact(signature, j.signature, JWS_SIGNATURE))
        return refuse(err, "the signature is not 64 bytes in canonical base64url");
    buf bytes;
    buf_init(&bytes, JWS_HEADER_BYTES);
    int rc = base64url_get(header, &bytes);
    j.header_n = (uint32_t)bytes.n;
    if (rc == 0 && bytes.n) memcpy(j.header, bytes.p, bytes.n);
    buf_free(&bytes);
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    if (rc) return refuse(err, "the header is too long or not canonical base64url");
    rc = check_header(&j, err);
    if (rc == 0) *ret = j;
    return rc;
}

json_value jws_header(const jws *j)
{
    return json_root((sv_str){j->header, j->header_n});
}

int jws_verify(const jws *j, const jwk *k, sv_error *err)
{
    json_value kid = json_get(jws_header(j), "kid");
    if (kid.type != JSON_NONE && k->kid[0] && !json_string_is(kid, k->kid))
        return refuse(err, "the header names another key");
    if (crypto_sign_verify_detached(j->signature, (const uint8_t *)j->signed_bytes.p,
                                    j->signed_bytes.n, k->key))
        return refuse(err, "the signature is not by this key");
    return 0;
}
