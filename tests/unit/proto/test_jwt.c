/*  test_jwt.c - base64url in one spelling, the vectors of RFC 8037, and tokens that break one rule
 *  each: every one of them is signed by the right key, so that only the rule refuses it. */
#include "base64url.h"
#include "error.h"
#include "jwt.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char iss[] = "https://samovar.example";
enum { NOW = 1800000000 };

static jws_signer signer, next, stranger;
static jwt_ring ring;
static arena memory;

static int setup(void **state)
{
    (void)state;
    jws_signer_init(&signer, (const uint8_t[JWS_SEED]){1});
    jws_signer_init(&next, (const uint8_t[JWS_SEED]){2});
    jws_signer_init(&stranger, (const uint8_t[JWS_SEED]){3});
    ring = (jwt_ring){0};
    arena_init(&memory, JWT_ARENA);
    return jwt_ring_add(&ring, signer.jwk.key);
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&memory);
    return 0;
}

/* ---- base64url ---- */

static void test_base64url(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text;
    } rows[] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf text, bytes;
        buf_init(&text, strlen(rows[i].text)); /* not a byte more is asked for */
        buf_init(&bytes, strlen(rows[i].bytes));
        assert_int_equal(base64url_put(rows[i].bytes, strlen(rows[i].bytes), &text), 0);
        assert_true(sv_str_is(buf_str(&text), rows[i].text));
        assert_int_equal(base64url_get(buf_str(&text), &bytes), 0);
        assert_true(sv_str_is(buf_str(&bytes), rows[i].bytes));
        buf_free(&text);
        buf_free(&bytes);
    }
    static const char *const other[] = {"Zg==",   "Zg=",   "Z",       "Zh",   "Zm9",
                                        "Zm9v ",  " Zm9v", "Zm 9v",   "+/+/", "Zm9vY",
                                        "Zm9v\n", "Zm9v.", "Zm9vYg=", "=",    "\xc3\xa4"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        buf bytes;
        uint8_t exact[16];
        buf_init(&bytes, 64);
        if (base64url_get(sv_cstr(other[i]), &bytes) != SV_E_INVALID) fail_msg("%s", other[i]);
        assert_int_equal(bytes.n, 0);
        for (size_t n = 0; n < sizeof exact; n++)
            assert_int_equal(base64url_get_exact(sv_cstr(other[i]), exact, n), SV_E_INVALID);
        buf_free(&bytes);
    }
}

/* Of all texts of two and three characters exactly one a byte string is read. */
static void test_base64url_is_canonical(void **state)
{
    (void)state;
    uint8_t bytes[2];
    int two = 0, three = 0;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char text[3] = {(char)a, (char)b, 'A'};
            two += base64url_get_exact((sv_str){text, 2}, bytes, 1) == 0;
            three += base64url_get_exact((sv_str){text, 3}, bytes, 2) == 0;
        }
    }
    assert_int_equal(two, 256);
    assert_int_equal(three, 64 * 64);
}

static void test_base64url_long(void **state)
{
    (void)state;
    static uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    for (size_t n = 0; n <= sizeof bytes; n += n < 300 ? 1 : 97) {
        buf text, back;
        buf_init(&text, 4096);
        buf_init(&back, 4096);
        assert_int_equal(base64url_put(bytes, n, &text), 0);
        assert_int_equal(text.n, BASE64URL_TEXT(n));
        assert_int_equal(base64url_get(buf_str(&text), &back), 0);
        assert_int_equal(back.n, n);
        assert_true(n == 0 || memcmp(back.p, bytes, n) == 0);
        buf_free(&text);
        buf_free(&back);
    }
    buf small;
    buf_init(&small, 300);
    assert_int_equal(base64url_put(bytes, sizeof bytes, &small), SV_E_TOO_LARGE);
    assert_int_equal(small.n, 0);
    buf_free(&small);
}

/* ---- RFC 8037, appendix A ---- */

static const char rfc_x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
static const char rfc_d[] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char rfc_jws[] =
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

static void test_rfc8037(void **state)
{
    (void)state;
    uint8_t seed[JWS_SEED], key[JWS_KEY];
    assert_int_equal(base64url_get_exact(sv_cstr(rfc_d), seed, sizeof seed), 0);
    assert_int_equal(base64url_get_exact(sv_cstr(rfc_x), key, sizeof key), 0);
    jws_signer s;
    jws_signer_init(&s, seed);
    assert_memory_equal(s.jwk.key, key, sizeof key);
    assert_string_equal(s.jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    buf out;
    buf_init(&out, 1024);
    assert_int_equal(
        jws_sign(&s, sv_cstr("{\"alg\":\"EdDSA\"}"), sv_cstr("Example of Ed25519 signing"), &out),
        0);
    assert_true(sv_str_is(buf_str(&out), rfc_jws));
    jws j;
    sv_error err = {0};
    assert_int_equal(jws_read(sv_cstr(rfc_jws), &j, &err), 0);
    assert_int_equal(jws_verify(&j, &s.jwk, &err), 0);
    assert_int_equal(jws_verify(&j, &stranger.jwk, &err), SV_E_TOKEN);
    buf_free(&out);
    jws_signer_clear(&s);
    for (size_t i = 0; i < sizeof s.secret; i++)
        assert_int_equal(s.secret[i], 0);
}

/* Every changed character of a token is refused. */
static void test_every_changed_character(void **state)
{
    (void)state;
    jwk k;
    char text[sizeof rfc_jws];
    uint8_t key[JWS_KEY];
    assert_int_equal(base64url_get_exact(sv_cstr(rfc_x), key, sizeof key), 0);
    assert_int_equal(jwk_from(key, &k), 0);
    for (size_t i = 0; i < sizeof rfc_jws - 1; i++) {
        for (int c = 0; c < 256; c++) {
            if (c == (uint8_t)rfc_jws[i]) continue;
            memcpy(text, rfc_jws, sizeof text);
            text[i] = (char)c;
            jws j;
            sv_str token = {text, sizeof text - 1};
            if (jws_read(token, &j, NULL) == 0 && jws_verify(&j, &k, NULL) == 0)
                fail_msg("character %zu as %d is accepted", i, c);
        }
    }
    for (uint32_t n = 0; n < sizeof rfc_jws - 1; n++) {
        char *exact = malloc(n ? n : 1);
        jws j;
        memcpy(exact, rfc_jws, n);
        assert_int_equal(jws_read((sv_str){exact, n}, &j, NULL), SV_E_TOKEN);
        free(exact);
    }
}

static int read_and_verify(const char *header, const jwk *k)
{
    buf out;
    jws j;
    buf_init(&out, 4096);
    assert_int_equal(jws_sign(&signer, sv_cstr(header), sv_cstr("x"), &out), 0);
    int rc = jws_read(buf_str(&out), &j, NULL);
    if (rc == 0) rc = jws_verify(&j, k, NULL);
    buf_free(&out);
    return rc;
}

static void test_key_names(void **state)
{
    (void)state;
    jwk k = signer.jwk;
    strcpy(k.kid, "a");
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\"}", &k), 0);
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\",\"kid\":\"a\"}", &k), 0);
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\",\"kid\":\"\\u0061\"}", &k), 0);
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\",\"kid\":\"b\"}", &k), SV_E_TOKEN);
    k.kid[0] = 0;
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\",\"kid\":\"b\"}", &k), 0);
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\",\"kid\":[\"b\"]}", &k), SV_E_TOKEN);
    assert_int_equal(read_and_verify("{\"alg\":\"EdDSA\",\"kid\":null}", &k), SV_E_TOKEN);
}

static void test_small_buffers(void **state)
{
    (void)state;
    for (size_t max = 2; max < sizeof rfc_jws + 1; max++) {
        buf out;
        buf_init(&out, max);
        assert_int_equal(buf_puts(&out, "ab"), 0);
        assert_int_equal(jws_sign(&signer, sv_cstr("{\"alg\":\"EdDSA\"}"),
                                  sv_cstr("Example of Ed25519 signing"), &out),
                         SV_E_TOO_LARGE);
        assert_true(sv_str_is(buf_str(&out), "ab"));
        buf_free(&out);
    }
}

/* ---- keys ---- */

static void test_jwk(void **state)
{
    (void)state;
#define KEY                                                                                        \
    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
    static const struct {
        const char *json, *field;
        int want;
    } rows[] = {
        {"{" KEY "}", NULL, 0},
        {"{" KEY ",\"use\":\"sig\",\"alg\":\"EdDSA\",\"key_ops\":[\"verify\"],\"kid\":\"a\"}", NULL,
         0},
        {"{" KEY ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"ext\":true}", NULL, 0},
        {"{" KEY ",\"use\":\"enc\"}", "use", SV_E_INVALID},
        {"{" KEY ",\"use\":1}", "use", SV_E_INVALID},
        {"{" KEY ",\"alg\":\"HS256\"}", "alg", SV_E_INVALID},
        {"{" KEY ",\"alg\":\"none\"}", "alg", SV_E_INVALID},
        {"{" KEY ",\"key_ops\":[\"sign\"]}", "key_ops", SV_E_INVALID},
        {"{" KEY ",\"key_ops\":\"verify\"}", "key_ops", SV_E_INVALID},
        {"{" KEY ",\"kid\":7}", "kid", SV_E_INVALID},
        {"{" KEY "," KEY "}", "kty", SV_E_DUPLICATE_KEY},
        {"[]", "", SV_E_INVALID},
        {"{}", "kty", SV_E_INVALID},
        {"{\"kty\":\"OKP\"}", "crv", SV_E_INVALID},
        {"{\"kty\":\"oct\",\"k\":\"AAAA\"}", "kty", SV_E_UNIMPLEMENTED},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\"}", "kty", SV_E_UNIMPLEMENTED},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}", "kty", SV_E_UNIMPLEMENTED},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", "x", SV_E_INVALID},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":1}", "x", SV_E_INVALID},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="
         "\"}",
         "x", SV_E_INVALID},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
         "7TyWQHOg7hcvPapiMlrwIaaPcHURp\"}",
         "x", SV_E_INVALID}, /* a bit left over */
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
         "7TyWQHOg7hcvPapiMlrwIaaPcHUR\"}",
         "x", SV_E_INVALID},
        /* points of small order */
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
         "x", SV_E_INVALID},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
         "\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
         "x", SV_E_INVALID},
        {"{" KEY, "", SV_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        jwk k = {.kid = "before"};
        sv_error err = {0};
        int rc = jwk_read(sv_cstr(rows[i].json), &k, &err);
        if (rc != rows[i].want) fail_msg("%s: %d %s", rows[i].json, rc, err.message);
        if (rc == 0) continue;
        assert_string_equal(err.field, rows[i].field);
        assert_string_equal(k.kid, "before");
    }
    char longer[JWK_KID_BYTES + 200];
    for (int n = JWK_KID_BYTES; n <= JWK_KID_BYTES + 1; n++) {
        jwk k;
        snprintf(longer, sizeof longer, "{" KEY ",\"kid\":\"%0*d\"}", n, 0);
        assert_int_equal(jwk_read(sv_cstr(longer), &k, NULL),
                         n == JWK_KID_BYTES ? 0 : SV_E_INVALID);
    }
}

static void test_jwks(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 1024);
    assert_int_equal(jwks_print(NULL, 0, &out), 0);
    assert_true(sv_str_is(buf_str(&out), "{\"keys\":[]}"));
    buf_reset(&out, 0);
    assert_int_equal(jwt_ring_add(&ring, next.jwk.key), 0);
    assert_int_equal(jwks_print(ring.keys, ring.n, &out), 0);
    assert_int_equal(json_skim(buf_str(&out), 8, NULL), 0);
    json_value keys = json_get(json_root(buf_str(&out)), "keys"), one;
    const jws_signer *const want[] = {&signer, &next};
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        jwk k;
        assert_true(json_next_element(keys, &at, &one));
        assert_int_equal(jwk_read(one.raw, &k, NULL), 0);
        assert_memory_equal(k.key, want[i]->jwk.key, JWS_KEY);
        assert_string_equal(k.kid, want[i]->jwk.kid);
        assert_int_equal(json_get(one, "d").type, JSON_NONE);
    }
    assert_false(json_next_element(keys, &at, &one));
    jwt_ring read = {0};
    assert_int_equal(jwt_ring_read(&read, buf_str(&out), NULL), 0);
    assert_int_equal(read.n, 2);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(read.keys[i].key, ring.keys[i].key, JWS_KEY);
        assert_string_equal(read.keys[i].kid, ring.keys[i].kid);
    }
    jwk three[3] = {signer.jwk, next.jwk, stranger.jwk};
    buf_reset(&out, 0);
    assert_int_equal(jwks_print(three, 3, &out), 0);
    assert_int_equal(jwt_ring_read(&read, buf_str(&out), NULL), SV_E_TOO_LARGE);
    static const char *const bad[] = {
        "", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[1]}", "{\"keys\":[{\"kty\":\"oct\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(jwt_ring_read(&read, sv_cstr(bad[i]), NULL) != 0);
    assert_int_equal(read.n, 2);
    assert_int_equal(jwt_ring_read(&read, sv_cstr("{\"keys\":[]}"), NULL), 0);
    assert_int_equal(read.n, 0);
    buf_free(&out);
}

/* ---- tokens ---- */

static jwt_claims sample(void)
{
    jwt_claims c = {.kind = JWT_ACCESS,
                    .sub = sv_cstr("u-1"),
                    .jti = sv_cstr("t-1"),
                    .org = sv_cstr("acme"),
                    .tier = sv_cstr("premium"),
                    .sid = sv_cstr("s-1"),
                    .act = sv_cstr("a-\"1\""),
                    .n_roles = 2,
                    .n_scopes = 1,
                    .iat_s = NOW,
                    .exp_s = NOW + 900};
    c.roles[0] = sv_cstr("admin");
    c.roles[1] = sv_cstr("d\xc3\xa9v \"x\"\\");
    c.scopes[0] = sv_cstr("chat");
    return c;
}

static int verify(sv_str token, jwt_kind kind, uint64_t now_s, jwt_claims *ret, sv_error *err)
{
    jwt_rules rules = {sv_cstr(iss), kind, now_s, 0};
    arena_reset(&memory);
    return jwt_verify(&ring, &rules, token, &memory, ret, err);
}

static void test_round_trip(void **state)
{
    (void)state;
    jwt_claims c = sample(), got = {0};
    buf out;
    buf_init(&out, JWT_BYTES);
    sv_error err = {0};
    assert_int_equal(jwt_sign(&signer, sv_cstr(iss), &c, &out, &err), 0);
    assert_int_equal(verify(buf_str(&out), JWT_ACCESS, NOW, &got, &err), 0);
    assert_int_equal(err.code, 0);
    assert_int_equal(got.kind, JWT_ACCESS);
    assert_true(sv_str_eq(got.sub, c.sub) && sv_str_eq(got.jti, c.jti) &&
                sv_str_eq(got.org, c.org));
    assert_true(sv_str_eq(got.tier, c.tier) && sv_str_eq(got.sid, c.sid));
    assert_true(sv_str_eq(got.act, c.act));
    assert_true(got.n_roles == 2 && sv_str_eq(got.roles[0], c.roles[0]));
    assert_true(sv_str_eq(got.roles[1], c.roles[1]));
    assert_true(got.n_scopes == 1 && sv_str_eq(got.scopes[0], c.scopes[0]));
    assert_true(got.iat_s == c.iat_s && got.exp_s == c.exp_s);
    /* the next key, and both while they overlap */
    buf by_next;
    buf_init(&by_next, JWT_BYTES);
    assert_int_equal(jwt_sign(&next, sv_cstr(iss), &c, &by_next, &err), 0);
    assert_int_equal(verify(buf_str(&by_next), JWT_ACCESS, NOW, &got, NULL), SV_E_TOKEN);
    assert_int_equal(jwt_ring_add(&ring, next.jwk.key), 0);
    assert_int_equal(jwt_ring_add(&ring, next.jwk.key), 0); /* is there already */
    assert_int_equal(jwt_ring_add(&ring, stranger.jwk.key), SV_E_TOO_LARGE);
    assert_int_equal(verify(buf_str(&by_next), JWT_ACCESS, NOW, &got, NULL), 0);
    assert_int_equal(verify(buf_str(&out), JWT_ACCESS, NOW, &got, NULL), 0);
    ring = (jwt_ring){0};
    assert_int_equal(jwt_ring_add(&ring, (const uint8_t[JWS_KEY]){0}), SV_E_INVALID);
    assert_int_equal(ring.n, 0);
    assert_int_equal(verify(buf_str(&out), JWT_ACCESS, NOW, &got, NULL), SV_E_TOKEN);
    buf_free(&by_next);
    buf_free(&out);
}

static void test_kinds(void **state)
{
    (void)state;
    for (int kind = 0; kind < JWT_KINDS; kind++) {
        jwt_claims c = {.kind = (jwt_kind)kind,
                        .sub = sv_cstr("u"),
                        .jti = sv_cstr("t"),
                        .iat_s = NOW,
                        .exp_s = NOW + jwt_life_s((jwt_kind)kind)};
        buf out;
        buf_init(&out, JWT_BYTES);
        assert_int_equal(jwt_sign(&signer, sv_cstr(iss), &c, &out, NULL), 0);
        for (int as = 0; as < JWT_KINDS; as++) {
            jwt_claims got = {0};
            assert_int_equal(verify(buf_str(&out), (jwt_kind)as, NOW, &got, NULL),
                             as == kind ? 0 : SV_E_TOKEN);
            if (as == kind) assert_true(got.org.p == NULL && got.n_roles == 0);
        }
        buf_free(&out);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        int64_t now; /* after iat */
        uint32_t skew_s;
        int want;
    } rows[] = {
        {0, 0, 0},
        {899, 0, 0},
        {900, 0, SV_E_TOKEN_EXPIRED},
        {-1, 0, SV_E_TOKEN},
        {959, 60, 0},
        {-60, 60, 0},
        {960, 60, SV_E_TOKEN_EXPIRED},
        {-61, 60, SV_E_TOKEN},
        {-60, 9999, 0},
        {959, 9999, 0},
        {960, UINT32_MAX, SV_E_TOKEN_EXPIRED},
        {-61, 9999, SV_E_TOKEN},
    };
    jwt_claims c = sample(), got;
    buf out;
    buf_init(&out, JWT_BYTES);
    assert_int_equal(jwt_sign(&signer, sv_cstr(iss), &c, &out, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        jwt_rules rules = {sv_cstr(iss), JWT_ACCESS, (uint64_t)(NOW + rows[i].now), rows[i].skew_s};
        sv_error err = {0};
        int rc = jwt_verify(&ring, &rules, buf_str(&out), &memory, &got, &err);
        if (rc != rows[i].want) fail_msg("row %zu: %d %s", i, rc, err.detail);
    }
    assert_int_equal(verify(buf_str(&out), JWT_ACCESS, UINT64_MAX, &got, NULL), SV_E_TOKEN_EXPIRED);
    assert_int_equal(verify(buf_str(&out), JWT_ACCESS, 0, &got, NULL), SV_E_TOKEN);
    jwt_rules last = {sv_cstr(iss), JWT_ACCESS, UINT64_MAX, JWT_SKEW_S};
    assert_int_equal(jwt_verify(&ring, &last, buf_str(&out), &memory, &got, NULL),
                     SV_E_TOKEN_EXPIRED);
    buf_free(&out);
}

#define HEAD   "{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}"
#define WHO    "\"aud\":\"samovar\",\"iss\":\"https://samovar.example\",\"sub\":\"u\",\"jti\":\"t\""
#define WHEN   "\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900"
#define CLAIMS "{" WHO "," WHEN "}"

/* Signs header and claims as they are. In the header, %s is the signer's kid. */
static int verdict(const char *header, const char *claims, sv_error *err)
{
    char head[JWS_HEADER_BYTES];
    buf out;
    jwt_claims got = {.tier = sv_cstr("before")};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(head, sizeof head, header, signer.jwk.kid);
#pragma GCC diagnostic pop
    buf_init(&out, 8192);
    assert_int_equal(jws_sign(&signer, sv_cstr(head), sv_cstr(claims), &out), 0);
    int rc = verify(buf_str(&out), JWT_ACCESS, NOW, &got, err);
    if (rc) assert_true(sv_str_is(got.tier, "before"));
    buf_free(&out);
    return rc;
}

static void test_beyond_limits(void **state)
{
    (void)state;
    static char long_org[JWT_BYTES];
    memset(long_org, 'x', sizeof long_org - 1);
    char claims[3 * JWT_BYTES];
    sv_error err = {0};
    snprintf(claims, sizeof claims, "{" WHO "," WHEN ",\"org\":\"%s\"}", long_org);
    assert_int_equal(verdict(HEAD, claims, &err), SV_E_TOKEN);
    assert_string_equal(err.detail, "the token is too long");
    /* the year 10000, seen from there */
    jwt_rules rules = {sv_cstr(iss), JWT_ACCESS, 253402300800, JWT_SKEW_S};
    char head[256];
    jwt_claims got;
    buf out;
    buf_init(&out, JWT_BYTES);
    snprintf(head, sizeof head, HEAD, signer.jwk.kid);
    assert_int_equal(jws_sign(&signer, sv_cstr(head),
                              sv_cstr("{" WHO ",\"iat\":253402300800,\"nbf\":253402300800,"
                                      "\"exp\":253402300900}"),
                              &out),
                     0);
    err = (sv_error){0};
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&out), &memory, &got, &err), SV_E_TOKEN);
    assert_string_equal(err.detail, "nbf is no time");
    buf_free(&out);
}

static void test_hostile_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header, *why;
    } rows[] = {
        {"{\"alg\":\"none\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"None\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"HS256\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"eddsa\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":[\"EdDSA\"],\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":null,\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"crit\":[\"exp\"]}",
         "rules"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"jku\":\"https://e\"}",
         "key"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"jwk\":{}}", "key"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"x5u\":\"https://e\"}",
         "key"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"x5c\":[]}", "key"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"b64\":false}",
         "rules"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"zip\":\"DEF\"}",
         "expected"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\",\"cty\":\"JWT\"}",
         "expected"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-half+jwt\",\"kid\":\"%s\"}", "typ"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"%s\"}", "typ"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", "typ"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\"}", "kid"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":7}", "kid"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"\"}", "kid"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%sA\"}", "kid"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"../../etc/passwd\"}", "kid"},
        {"{\"alg\":\"none\",\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"}",
         "JSON"},
        {"{\"alg\":\"none\",\"\\u0061lg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\"}", "JSON"},
        {"[\"EdDSA\"]", "object"},
        {"", "JSON"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"samovar-access+jwt\",\"kid\":\"%s\"} x", "JSON"},
    };
    assert_int_equal(verdict(HEAD, CLAIMS, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sv_error err = {0};
        int rc = verdict(rows[i].header, CLAIMS, &err);
        if (rc != SV_E_TOKEN || strstr(err.detail, rows[i].why) == NULL)
            fail_msg("%s: %d %s", rows[i].header, rc, err.detail);
    }
}

static void test_hostile_claims(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        int want;
        const char *why;
    } rows[] = {
        {"{" WHO "," WHEN ",\"unknown\":[{\"a\":1}]}", 0, NULL},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000901}", SV_E_TOKEN,
         "longer"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000}", SV_E_TOKEN, "exp"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":1800000900}", SV_E_TOKEN, "nbf"},
        {"{" WHO ",\"nbf\":1800000000,\"exp\":1800000900}", SV_E_TOKEN, "iat"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000001,\"exp\":1800000900}", SV_E_TOKEN, "nbf"},
        {"{" WHO ",\"iat\":1800000001,\"nbf\":1800000000,\"exp\":1800000900}", SV_E_TOKEN, "iat"},
        {"{" WHO ",\"iat\":1799999100,\"nbf\":1799999100,\"exp\":1800000000}", SV_E_TOKEN_EXPIRED,
         ""},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000000}", SV_E_TOKEN,
         "longer"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":\"1800000900\"}", SV_E_TOKEN,
         "exp"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900.5}", SV_E_TOKEN, "exp"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1.8e9}", SV_E_TOKEN, "exp"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":99999999999999999999}", SV_E_TOKEN,
         "exp"},
        {"{" WHO ",\"iat\":-1,\"nbf\":0,\"exp\":1}", SV_E_TOKEN, "iat"},
        {"{" WHO ",\"iat\":1800000000,\"nbf\":1800000000,\"exp\":null}", SV_E_TOKEN, "exp"},
        {"{\"iss\":\"https://samovar.example\",\"sub\":\"u\",\"jti\":\"t\"," WHEN "}", SV_E_TOKEN,
         "aud"},
        {"{\"aud\":[\"samovar\"],\"iss\":\"https://"
         "samovar.example\",\"sub\":\"u\",\"jti\":\"t\"," WHEN "}",
         SV_E_TOKEN, "aud"},
        {"{\"aud\":\"samovar:second-factor\",\"iss\":\"https://"
         "samovar.example\",\"sub\":\"u\",\"jti\":\"t\"," WHEN "}",
         SV_E_TOKEN, "aud"},
        {"{\"aud\":\"samovar\",\"sub\":\"u\",\"jti\":\"t\"," WHEN "}", SV_E_TOKEN, "iss"},
        {"{\"aud\":\"samovar\",\"iss\":\"https://samovar.example/"
         "\",\"sub\":\"u\",\"jti\":\"t\"," WHEN "}",
         SV_E_TOKEN, "iss"},
        {"{\"aud\":\"samovar\",\"iss\":\"https://samovar.example\",\"jti\":\"t\"," WHEN "}",
         SV_E_TOKEN, "sub"},
        {"{\"aud\":\"samovar\",\"iss\":\"https://samovar.example\",\"sub\":\"\",\"jti\":\"t\"," WHEN
         "}",
         SV_E_TOKEN, "sub"},
        {"{\"aud\":\"samovar\",\"iss\":\"https://samovar.example\",\"sub\":[],\"jti\":\"t\"," WHEN
         "}",
         SV_E_TOKEN, "sub"},
        {"{\"aud\":\"samovar\",\"iss\":\"https://samovar.example\",\"sub\":\"u\"," WHEN "}",
         SV_E_TOKEN, "jti"},
        {"{" WHO "," WHEN ",\"org\":1}", SV_E_TOKEN, "org"},
        {"{" WHO "," WHEN ",\"tier\":null}", SV_E_TOKEN, "tier"},
        {"{" WHO "," WHEN ",\"sid\":{}}", SV_E_TOKEN, "sid"},
        {"{" WHO "," WHEN ",\"act\":\"a-1\"}", SV_E_TOKEN, "act"},
        {"{" WHO "," WHEN ",\"act\":{}}", SV_E_TOKEN, "act"},
        {"{" WHO "," WHEN ",\"act\":{\"sub\":\"\"}}", SV_E_TOKEN, "act"},
        {"{" WHO "," WHEN ",\"act\":{\"sub\":1}}", SV_E_TOKEN, "act"},
        {"{" WHO "," WHEN ",\"act\":null}", SV_E_TOKEN, "act"},
        {"{" WHO "," WHEN ",\"act\":{\"sub\":\"a\",\"act\":{\"sub\":\"b\"}}}", 0, NULL},
        {"{" WHO "," WHEN ",\"roles\":\"admin\"}", SV_E_TOKEN, "roles"},
        {"{" WHO "," WHEN ",\"roles\":[\"a\",1]}", SV_E_TOKEN, "roles"},
        {"{" WHO "," WHEN ",\"roles\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}",
         SV_E_TOKEN, "roles"},
        {"{" WHO "," WHEN ",\"scopes\":[[\"a\"]]}", SV_E_TOKEN, "scopes"},
        {"{" WHO "," WHEN ",\"sub\":\"v\"}", SV_E_TOKEN, "JSON"},
        {"{" WHO "," WHEN ",\"s\\u0075b\":\"v\"}", SV_E_TOKEN, "JSON"},
        {"{" WHO "," WHEN ",\"org\":\"\\u0000\"}", SV_E_TOKEN, "JSON"},
        {"{" WHO "," WHEN ",\"org\":\"\xff\"}", SV_E_TOKEN, "JSON"},
        {"{" WHO "," WHEN ",\"org\":[[[[[]]]]]}", SV_E_TOKEN, "JSON"},
        {"{" WHO "," WHEN "}{}", SV_E_TOKEN, "JSON"},
        {"[]", SV_E_TOKEN, "JSON"},
        {"", SV_E_TOKEN, "JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sv_error err = {0};
        int rc = verdict(HEAD, rows[i].claims, &err);
        if (rc != rows[i].want || (rc == SV_E_TOKEN && strstr(err.detail, rows[i].why) == NULL))
            fail_msg("%s: %d %s", rows[i].claims, rc, err.detail);
        if (rc) assert_string_equal(err.message, sv_error_lookup(rc)->text);
    }
}

/* The parts around a good signature: what stands there decides, not what one could make of it. */
static void test_hostile_shapes(void **state)
{
    (void)state;
    jwt_claims c = sample(), got;
    buf out;
    buf_init(&out, JWT_BYTES);
    assert_int_equal(jwt_sign(&signer, sv_cstr(iss), &c, &out, NULL), 0);
    char good[JWT_BYTES + 1], text[4 * JWT_BYTES];
    snprintf(good, sizeof good, "%.*s", (int)out.n, out.p);
    static const char *const forms[] = {"%s.",  ".%s",  "%s=",       "%s==",   " %s",   "%s ",
                                        "%s\n", "%s.x", "Bearer %s", "\"%s\"", "%.20s", "%.*s"};
    for (size_t i = 0; i + 1 < sizeof forms / sizeof *forms; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text, forms[i], good);
#pragma GCC diagnostic pop
        if (verify(sv_cstr(text), JWT_ACCESS, NOW, &got, NULL) != SV_E_TOKEN) fail_msg("%s", text);
    }
    char *dot = strchr(good, '.');
    snprintf(text, sizeof text, "%.*s%s", (int)(strrchr(good, '.') - good + 1), good, "");
    assert_int_equal(verify(sv_cstr(text), JWT_ACCESS, NOW, &got, NULL), SV_E_TOKEN);
    snprintf(text, sizeof text, "%.*s=%s", (int)(dot - good), good, dot);
    assert_int_equal(verify(sv_cstr(text), JWT_ACCESS, NOW, &got, NULL), SV_E_TOKEN);
    assert_int_equal(verify((sv_str){NULL, 0}, JWT_ACCESS, NOW, &got, NULL), SV_E_TOKEN);
    memset(text, 'A', sizeof text);
    assert_int_equal(verify((sv_str){text, sizeof text}, JWT_ACCESS, NOW, &got, NULL), SV_E_TOKEN);
    /* signed over a payload in another spelling */
    for (int i = 0; i < 2; i++) {
        char head[256], by_hand[512];
        buf b;
        buf_init(&b, 512);
        snprintf(head, sizeof head, HEAD, signer.jwk.kid);
        assert_int_equal(base64url_put(head, strlen(head), &b), 0);
        buf_puts(&b, i ? ".e30" : ".e30=");
        uint8_t signature[JWS_SIGNATURE];
        crypto_sign_detached(signature, NULL, (const uint8_t *)b.p, b.n, signer.secret);
        buf_putc(&b, '.');
        assert_int_equal(base64url_put(signature, sizeof signature, &b), 0);
        snprintf(by_hand, sizeof by_hand, "%.*s", (int)b.n, b.p);
        sv_error why = {0};
        assert_int_equal(verify(sv_cstr(by_hand), JWT_ACCESS, NOW, &got, &why), SV_E_TOKEN);
        assert_string_equal(why.detail, i ? "aud is another audience"
                                          : "the claims are not in canonical base64url");
        buf_free(&b);
    }
    /* a stranger who names our key */
    buf forged;
    buf_init(&forged, JWT_BYTES);
    jws_signer liar = stranger;
    memcpy(liar.jwk.kid, signer.jwk.kid, sizeof liar.jwk.kid);
    assert_int_equal(jwt_sign(&liar, sv_cstr(iss), &c, &forged, NULL), 0);
    sv_error err = {0};
    assert_int_equal(verify(buf_str(&forged), JWT_ACCESS, NOW, &got, &err), SV_E_TOKEN);
    assert_string_equal(err.detail, "the signature is not by this key");
    /* another issuer's reader, and one that expects none */
    jwt_rules rules = {sv_cstr("https://other.example"), JWT_ACCESS, NOW, 0};
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&out), &memory, &got, NULL), SV_E_TOKEN);
    rules.iss = (sv_str){NULL, 0};
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&out), &memory, &got, NULL), SV_E_TOKEN);
    arena none;
    arena_init(&none, 16);
    rules.iss = sv_cstr(iss);
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&out), &none, &got, NULL), SV_E_NO_MEMORY);
    arena_free(&none);
    buf_free(&forged);
    buf_free(&out);
}

static int sign(const jwt_claims *c, const char *by, sv_error *err)
{
    buf out;
    buf_init(&out, 8 * JWT_BYTES);
    int rc = jwt_sign(&signer, sv_cstr(by), c, &out, err);
    if (rc) assert_int_equal(out.n, 0);
    jwt_claims got;
    if (rc == 0) assert_int_equal(verify(buf_str(&out), c->kind, c->iat_s, &got, NULL), 0);
    buf_free(&out);
    return rc;
}

/* What is signed can be read: nothing else is signed. */
static void test_limits_of_signing(void **state)
{
    (void)state;
    static char big[JWT_BYTES + 1];
    memset(big, 'x', sizeof big);
    jwt_claims good = sample(), c = good;
    assert_int_equal(sign(&c, iss, NULL), 0);
    for (int i = 0; i < 13; i++) {
        sv_error err = {0};
        c = good;
        const char *field = "", *by = iss;
        int want = SV_E_INVALID;
        switch (i) {
        case 0: c.sub.n = 0, field = "sub"; break;
        case 1: c.jti.n = 0, field = "jti"; break;
        case 2: c.exp_s = c.iat_s, field = "exp"; break;
        case 3: c.exp_s = c.iat_s + 901, field = "exp"; break;
        case 4: c.iat_s = UINT64_MAX, field = "iat"; break;
        case 5: c.n_roles = JWT_LIST + 1, field = "roles"; break;
        case 6: c.n_scopes = JWT_LIST + 1, field = "scopes"; break;
        case 7: by = "", field = "iss"; break;
        case 8: c.org = sv_cstr("\xff"), field = "org", want = SV_E_BAD_UTF8; break;
        case 9: c.tier = (sv_str){"a\0b", 3}, field = "tier", want = SV_E_BAD_UTF8; break;
        case 10: c.roles[1].n = 0, field = "roles"; break;
        case 11: c.act = sv_cstr("\xc0"), field = "act", want = SV_E_BAD_UTF8; break;
        default: c.sid = (sv_str){big, sizeof big}, want = SV_E_TOO_LARGE;
        }
        assert_int_equal(sign(&c, by, &err), want);
        assert_string_equal(err.field, field);
    }
    int fits = 0, refused = 0;
    for (uint32_t n = 900; n <= 1600; n++) {
        c = good;
        c.sid = (sv_str){big, n};
        int rc = sign(&c, iss, NULL);
        assert_true(rc == 0 || rc == SV_E_TOO_LARGE);
        if (rc == 0) assert_int_equal(refused, 0);
        fits += rc == 0;
        refused += rc != 0;
    }
    assert_true(fits > 50 && refused > 50);
}

int main(void)
{
#define JWT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        JWT_TEST(test_base64url),
        JWT_TEST(test_base64url_is_canonical),
        JWT_TEST(test_base64url_long),
        JWT_TEST(test_rfc8037),
        JWT_TEST(test_every_changed_character),
        JWT_TEST(test_key_names),
        JWT_TEST(test_small_buffers),
        JWT_TEST(test_jwk),
        JWT_TEST(test_jwks),
        JWT_TEST(test_round_trip),
        JWT_TEST(test_kinds),
        JWT_TEST(test_times),
        JWT_TEST(test_hostile_headers),
        JWT_TEST(test_hostile_claims),
        JWT_TEST(test_beyond_limits),
        JWT_TEST(test_hostile_shapes),
        JWT_TEST(test_limits_of_signing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
