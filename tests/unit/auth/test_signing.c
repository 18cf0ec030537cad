/*  test_signing.c - two keys that hold, made when it is time, sealed in the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"

static signing_keys rotate(uint8_t mark, int64_t life_ms)
{
    signing_next next = {.life_ms = life_ms, .actor = "test"};
    signing_keys keys;
    memset(next.seed, mark, sizeof next.seed);
    assert_int_equal(kit_write(signing_rotate, &next, &keys), 0);
    return keys;
}

static void made_when_it_is_time(void **state)
{
    (void)state;
    signing_keys k = rotate(1, KIT_DAY_MS);
    assert_true(k.made && k.n == 1 && k.key[0].seed[0] == 1 && k.key[0].number == 1);
    kit_again();
    kit_now_ms += KIT_DAY_MS - 1;
    k = rotate(2, KIT_DAY_MS);
    assert_true(!k.made && k.n == 1 && k.key[0].seed[0] == 1);
    kit_now_ms += 1;
    k = rotate(3, KIT_DAY_MS);
    assert_true(k.made && k.n == 2);
    assert_true(k.key[0].seed[0] == 3 && k.key[1].seed[0] == 1);
    k = rotate(4, 0);
    assert_true(k.made && k.n == 2);
    assert_true(k.key[0].seed[0] == 4 && k.key[1].seed[0] == 3 && k.key[0].number == 3);
    kit_again();
    k = rotate(5, KIT_DAY_MS);
    assert_true(!k.made && k.n == 2 && k.key[0].seed[0] == 4 && k.key[1].seed[0] == 3);
    assert_int_equal(kit_events("", "signing_key.made"), 3);
}

static void tokens_say_who(void **state)
{
    (void)state;
    auth a = {.issuer = "test"};
    uint8_t seed[JWS_SEED] = {7};
    jwt_ring ring = {.n = 0};
    jwt_claims got;
    arena memory;
    buf token;
    sv_error err = {.code = 0};
    auth_claims c = {.user = sv_cstr("u"),
                     .org = sv_cstr("o"),
                     .role = sv_cstr("viewer"),
                     .session = sv_cstr("s"),
                     .issued = 1000,
                     .expires = 1900};
    buf_init(&token, JWT_BYTES);
    assert_int_equal(auth_sign(&a, &c, 1000123, &token, &err), SV_E_UNAVAILABLE);
    assert_true(err.retry_after_ms > 0);
    jws_signer_init(&a.signer, seed);
    a.n_keys = 1;
    assert_int_equal(auth_sign(&a, &c, 1000123, &token, NULL), 0);
    assert_int_equal(jwt_ring_add(&ring, a.signer.jwk.key), 0);
    arena_init(&memory, JWT_ARENA);
    jwt_rules rules = {.iss = sv_cstr("test"), .kind = JWT_ACCESS, .now_s = 1500};
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&token), &memory, &got, NULL), 0);
    assert_true(sv_str_is(got.sub, "u") && sv_str_is(got.org, "o") && sv_str_is(got.sid, "s"));
    assert_true(got.n_roles == 1 && sv_str_is(got.roles[0], "viewer"));
    assert_true(got.jti.n == UUID_TEXT && got.exp_s == 1900);
    /* As old as what it says: a revocation of the same millisecond is not before it. */
    assert_memory_equal(got.jti.p, "0000000f-42bb-7", 15); /* 1000123 ms */
    arena_free(&memory);
    buf_free(&token);
    auth_keys_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_when_it_is_time, kit_start, kit_stop),
        cmocka_unit_test(tokens_say_who),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
