/*  fuzz_jwt.c - any bytes as a token, as signed header and claims, and as a key: reading is safe, a
 *  token whose signature was changed never verifies, and what verifies is the same after it was
 *  signed again. The first
 *  byte picks; header and claims are parted by a line end. */
#include "error.h"
#include "jwt.h"

#include <assert.h>
#include <stdlib.h>

static const char iss[] = "https://samovar.example";
enum { NOW = 1800000000 };

static jws_signer signer;
static jwt_ring ring;

static int verify(sv_str token, arena *a, jwt_kind kind, jwt_claims *ret)
{
    jwt_rules rules = {sv_cstr(iss), kind, NOW, JWT_SKEW_S};
    sv_error err = {0};
    int rc = jwt_verify(&ring, &rules, token, a, ret, &err);
    assert(rc == err.code);
    assert(rc == 0 || rc == SV_E_TOKEN || rc == SV_E_TOKEN_EXPIRED);
    return rc;
}

static void sign_again(const jwt_claims *c)
{
    arena a;
    buf out;
    jwt_claims got;
    arena_init(&a, JWT_ARENA);
    buf_init(&out, JWT_BYTES);
    int rc = jwt_sign(&signer, sv_cstr(iss), c, &out, NULL);
    assert(rc == 0 || rc == SV_E_TOO_LARGE); /* strings may have been spelled shorter */
    if (rc == 0) {
        assert(verify(buf_str(&out), &a, c->kind, &got) == 0);
        assert(sv_str_eq(got.sub, c->sub) && sv_str_eq(got.jti, c->jti));
        assert(sv_str_eq(got.org, c->org) && sv_str_eq(got.tier, c->tier));
        assert(sv_str_eq(got.sid, c->sid) && got.exp_s == c->exp_s && got.iat_s == c->iat_s);
        assert(got.n_roles == c->n_roles && got.n_scopes == c->n_scopes);
    }
    buf_free(&out);
    arena_free(&a);
}

static void as_token(sv_str text)
{
    arena a;
    arena_init(&a, JWT_ARENA);
    for (int kind = 0; kind < JWT_KINDS; kind++) {
        jwt_claims c;
        if (verify(text, &a, (jwt_kind)kind, &c)) continue;
        sign_again(&c);
        char *last = (char *)text.p + text.n - 20; /* within the signature */
        *last = *last == 'A' ? 'B' : 'A';
        assert(verify(text, &a, (jwt_kind)kind, &c) == SV_E_TOKEN);
    }
    arena_free(&a);
}

static void as_parts(sv_str text)
{
    const char *end = text.n ? memchr(text.p, '\n', text.n) : NULL;
    if (end == NULL) return;
    sv_str header = {text.p, (uint32_t)(end - text.p)};
    sv_str claims = {end + 1, text.n - header.n - 1};
    buf out;
    buf_init(&out, 1 << 20);
    if (jws_sign(&signer, header, claims, &out) == 0) as_token(buf_str(&out));
    buf_free(&out);
}

static void as_key(sv_str text)
{
    jwk k, again;
    if (jwk_read(text, &k, NULL)) return;
    buf out;
    buf_init(&out, 4096);
    assert(jwks_print(&k, 1, &out) == 0);
    sv_str one = {out.p + 9, (uint32_t)out.n - 11}; /* within {"keys":[ ]} */
    assert(jwk_read(one, &again, NULL) == 0);
    assert(memcmp(&k.key, &again.key, JWS_KEY) == 0 && strcmp(k.kid, again.kid) == 0);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ring.n == 0) {
        jws_signer_init(&signer, (const uint8_t[JWS_SEED]){1});
        int rc = jwt_ring_add(&ring, signer.jwk.key);
        assert(rc == 0);
    }
    if (size == 0) return 0;
    char *exact = malloc(size); /* so that a read beyond the end is seen */
    memcpy(exact, data, size);
    sv_str text = {exact + 1, (uint32_t)size - 1};
    switch (exact[0]) {
    case 'k': as_key(text); break;
    case 's': as_parts(text); break;
    default: as_token(text);
    }
    free(exact);
    return 0;
}
