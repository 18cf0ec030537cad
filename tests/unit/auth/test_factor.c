/*  test_factor.c - the second factor: its setup, codes that work once, delays, recovery codes, and
 *  logins that wait for a code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "factor.h"
#include "qr.h"
#include "totp.h"

static const char anna[] = "anna@example.org", good[] = "correct horse battery";
static const char home[] = "192.0.2.1";
static auth_user user;
static uint8_t secret[FACTOR_SECRET];
static recovery_codes codes;

enum { STEP_MS = 30000 };

/* The code of the step so many steps from now. */
static const char *code_at(int steps)
{
    static char code[TOTP_DIGITS_MAX + 1];
    uint64_t step = kit_now_ms / STEP_MS + (uint64_t)steps;
    sv_str s = {(const char *)secret, sizeof secret};
    if (totp_code(&totp_usual, s, step, code, NULL)) abort();
    return code;
}

static factor_try try_of(const char *code, const char *network)
{
    factor_try t = {.network = ""};
    snprintf(t.who.id, sizeof t.who.id, "%s", user.id);
    snprintf(t.who.actor, sizeof t.who.actor, "%s", user.id);
    snprintf(t.network, sizeof t.network, "%s", network);
    snprintf(t.code, sizeof t.code, "%s", code);
    return t;
}

static int setup(const char *password)
{
    kit_try t;
    factor_setup s = {.secret = {0}};
    if (!kit_compare(&t, anna, password, home)) return t.result.code;
    s.password = t.end;
    uuid_random(secret, sizeof secret);
    memcpy(s.secret, secret, sizeof secret);
    assert_int_equal(kit_write(factor_setup_end, &s, &t.result), 0);
    return t.result.code;
}

static int with_code(store_fn *fn, const char *code)
{
    factor_codes f = {.try = try_of(code, home)};
    auth_login_result result;
    recovery_new(&f.codes);
    assert_int_equal(kit_write(fn, &f, &result), 0);
    if (result.code == 0) codes = f.codes;
    return result.code;
}

/* The first step of a login: the id of the half one. */
static const char *half(void)
{
    static kit_try t;
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    assert_true(t.result.two_factor);
    assert_string_equal(t.result.session, "");
    return t.end.half;
}

static factor_login second(const char *half_id, const char *code, const char *network)
{
    factor_login f = {.try = try_of(code, network),
                      .start = {.life_ms = KIT_LIFE_MS, .idle_ms = KIT_IDLE_MS, .most = 50}};
    snprintf(f.half, sizeof f.half, "%s", half_id);
    kit_id(f.start.session);
    uuid_random(f.start.refresh, sizeof f.start.refresh);
    return f;
}

static int login_code(const char *half_id, const char *code, const char *network)
{
    factor_login f = second(half_id, code, network);
    auth_login_result result;
    assert_int_equal(kit_write(factor_login_end, &f, &result), 0);
    assert_int_equal(result.code == 0, result.session[0] != 0);
    return result.code;
}

static int begin(void **state)
{
    kit_start(state);
    int rc = kit_user(anna, good, false, &user);
    if (rc == 0) rc = setup(good);
    if (rc == 0) rc = with_code(factor_enable_end, code_at(0));
    kit_now_ms += 2 * STEP_MS;
    return rc;
}

static int begin_without(void **state)
{
    kit_start(state);
    return kit_user(anna, good, false, &user);
}

/* ---- setup ---- */

static void it_counts_from_its_first_code(void **state)
{
    (void)state;
    kit_try t;
    assert_int_equal(with_code(factor_enable_end, "123456"), SV_E_TWO_FACTOR_STATE);
    assert_int_equal(setup("wrong"), SV_E_CREDENTIALS);
    assert_int_equal(setup(good), 0);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    assert_false(t.result.two_factor);
    assert_int_equal(with_code(factor_enable_end, "000000"), SV_E_CODE);
    assert_int_equal(setup(good), 0); /* another secret */
    assert_int_equal(with_code(factor_enable_end, code_at(0)), 0);
    assert_int_equal(with_code(factor_enable_end, code_at(1)), SV_E_TWO_FACTOR_STATE);
    assert_int_equal(setup(good), SV_E_TWO_FACTOR_STATE);
    half();
    assert_int_equal(kit_events(user.org, "factor.enabled"), 1);
    assert_int_equal(kit_mails("two_factor_changed"), 1);
}

/* The code of the setup does not serve for a login. */
static void the_first_code_is_spent(void **state)
{
    (void)state;
    assert_int_equal(setup(good), 0);
    assert_int_equal(with_code(factor_enable_end, code_at(0)), 0);
    assert_int_equal(login_code(half(), code_at(0), home), SV_E_CODE);
    assert_int_equal(login_code(half(), code_at(1), home), 0);
}

/* ---- codes ---- */

/* S-TOTP1: one step before and after, never the same or an older one again, also after a crash. */
static void codes_work_once(void **state)
{
    (void)state;
    assert_int_equal(login_code(half(), code_at(-2), home), SV_E_CODE);
    assert_int_equal(login_code(half(), code_at(2), home), SV_E_CODE);
    assert_int_equal(login_code(half(), code_at(-1), home), 0);
    assert_int_equal(login_code(half(), code_at(-1), home), SV_E_CODE);
    assert_int_equal(login_code(half(), code_at(1), home), 0);
    kit_again();
    assert_int_equal(login_code(half(), code_at(1), home), SV_E_CODE);
    assert_int_equal(login_code(half(), code_at(0), home), SV_E_CODE); /* older than the last */
    kit_now_ms += 2 * STEP_MS;
    char spaced[16];
    snprintf(spaced, sizeof spaced, "%.3s %s", code_at(0), code_at(0) + 3);
    assert_int_equal(login_code(half(), spaced, home), 0);
}

/* Twelve at the same moment: one of them is right. */
static void a_race_spends_a_code_once(void **state)
{
    (void)state;
    enum { N = 12 };
    static factor_login in[N];
    static auth_login_result out[N];
    static char ids[N][AUTH_ID + 1];
    int rc[N], won = 0;
    for (int i = 0; i < N; i++) /* the first one counts a wrong try less than a delay takes */
        snprintf(ids[i], sizeof ids[i], "%s", half());
    for (int i = 0; i < N; i++) {
        char network[32];
        snprintf(network, sizeof network, "198.51.100.%d", i);
        in[i] = second(ids[i], code_at(0), network);
    }
    kit_write_all(factor_login_end, in, sizeof *in, out, sizeof *out, N, rc);
    for (int i = 0; i < N; i++) {
        assert_int_equal(rc[i], 0);
        won += out[i].code == 0;
    }
    assert_int_equal(won, 1);
}

/* ---- half-logins ---- */

static void a_half_login_works_once(void **state)
{
    (void)state;
    char id[AUTH_ID + 1], other[AUTH_ID + 1];
    snprintf(id, sizeof id, "%s", half());
    assert_int_equal(login_code(id, "000000", home), SV_E_CODE); /* it may be tried again */
    assert_int_equal(login_code(id, code_at(0), home), 0);
    kit_again();
    assert_int_equal(login_code(id, code_at(1), home), SV_E_HALF_TOKEN);
    kit_id(other);
    assert_int_equal(login_code(other, code_at(1), home), SV_E_HALF_TOKEN);
    snprintf(id, sizeof id, "%s", half());
    kit_now_ms += HALF_LIFE_MS;
    assert_int_equal(login_code(id, code_at(0), home), SV_E_HALF_TOKEN);
}

/* Bound to its account, and over when the password is another one or the account is shut. */
static void a_half_login_is_one_users(void **state)
{
    (void)state;
    char id[AUTH_ID + 1];
    auth_user eve, mine = user;
    kit_try change;
    snprintf(id, sizeof id, "%s", half());
    assert_int_equal(kit_user("eve@example.org", good, false, &eve), 0);
    user = eve; /* who has a factor of the same secret */
    user_row row = {.id = sv_cstr(eve.id),
                    .email = sv_cstr(eve.email),
                    .org = sv_cstr(eve.org),
                    .two_factor = true};
    factor_row same = {
        .user = row.id, .org = row.org, .secret = {(const char *)secret, sizeof secret}};
    assert_int_equal(kit_put(&auth_users, &row), 0);
    assert_int_equal(kit_put(&auth_factors, &same), 0);
    assert_int_equal(login_code(id, code_at(0), home), SV_E_HALF_TOKEN);
    user = mine;
    assert_true(kit_compare(&change, anna, good, home));
    assert_int_equal(password_hash(sv_cstr(good), KIT_MEMORY, change.end.new_hash, NULL), 0);
    assert_int_equal(kit_write(auth_password_end, &change.end, &change.result), 0);
    assert_int_equal(login_code(id, code_at(0), home), SV_E_HALF_TOKEN);
    snprintf(id, sizeof id, "%s", half());
    auth_user_change shut = {.email = "anna@example.org", .disabled = true};
    assert_int_equal(kit_write(auth_user_switch, &shut, &eve), 0);
    assert_int_equal(login_code(id, code_at(0), home), SV_E_HALF_TOKEN);
    shut.disabled = false;
    assert_int_equal(kit_write(auth_user_switch, &shut, &eve), 0);
    assert_int_equal(login_code(id, code_at(0), home), SV_E_HALF_TOKEN);
}

/* ---- delays ---- */

static void wrong_codes_bring_a_delay(void **state)
{
    (void)state;
    char id[AUTH_ID + 1], network[32];
    kit_try t;
    snprintf(id, sizeof id, "%s", half());
    for (int i = 0; i < TRIES_FREE; i++) {
        snprintf(network, sizeof network, "198.51.100.%d", i); /* the factor alone counts */
        if (i == 3) kit_again();
        assert_int_equal(login_code(id, "000000", network), SV_E_CODE);
    }
    assert_int_equal(login_code(id, code_at(0), home), SV_E_LOCKED_OUT);
    assert_int_equal(login_code(id, codes.text[0], home), SV_E_LOCKED_OUT);
    assert_int_equal(with_code(factor_codes_end, code_at(0)), SV_E_LOCKED_OUT);
    assert_int_equal(kit_login(&t, anna, good, home), 0); /* the password's counter is another */
    assert_int_equal(kit_events(user.org, "factor.delayed"), 1);
    kit_now_ms += TRIES_FIRST_MS;
    assert_int_equal(login_code(id, code_at(0), home), 0);
    assert_int_equal(login_code(half(), "000000", home), SV_E_CODE); /* counted from one again */
    assert_int_equal(login_code(half(), code_at(1), home), 0);
}

static void parallel_tries_are_no_more(void **state)
{
    (void)state;
    enum { N = 12 };
    static factor_login in[N];
    static auth_login_result out[N];
    int rc[N], wrong = 0, late = 0;
    const char *id = half();
    for (int i = 0; i < N; i++)
        in[i] = second(id, i == N - 1 ? code_at(0) : "000000", home);
    kit_write_all(factor_login_end, in, sizeof *in, out, sizeof *out, N, rc);
    for (int i = 0; i < N; i++) {
        wrong += out[i].code == SV_E_CODE;
        late += out[i].code == SV_E_LOCKED_OUT;
    }
    assert_int_equal(wrong, TRIES_FREE);
    assert_int_equal(late, N - TRIES_FREE);
}

/* ---- recovery codes ---- */

static void recovery_codes_work_once(void **state)
{
    (void)state;
    recovery_codes former = codes;
    char typed[32];
    assert_int_equal(strlen(codes.text[0]), RECOVERY_TEXT);
    assert_int_equal(login_code(half(), codes.text[0], home), 0);
    kit_again();
    assert_int_equal(login_code(half(), codes.text[0], home), SV_E_CODE);
    snprintf(typed, sizeof typed, "%.4s %.4s%.4s-%.4s ", codes.text[1], codes.text[1] + 5,
             codes.text[1] + 10, codes.text[1] + 15);
    for (char *c = typed; *c; c++)
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
    assert_int_equal(login_code(half(), typed, home), 0);
    assert_int_equal(with_code(factor_codes_end, codes.text[2]), SV_E_CODE); /* not for this */
    assert_int_equal(with_code(factor_codes_end, code_at(0)), 0);
    assert_int_equal(login_code(half(), former.text[2], home), SV_E_CODE);
    for (int i = 0; i < RECOVERY_CODES; i++)
        assert_int_equal(login_code(half(), codes.text[i], home), 0);
    assert_int_equal(kit_events(user.org, "factor.recovery_used"), RECOVERY_CODES + 2);
}

static void they_are_random_and_of_one_form(void **state)
{
    (void)state;
    recovery_codes a, b;
    uint8_t hash[WORDS_HASH];
    recovery_new(&a);
    recovery_new(&b);
    for (int i = 0; i < RECOVERY_CODES; i++)
        for (int k = 0; k < RECOVERY_CODES; k++) {
            assert_string_not_equal(a.text[i], b.text[k]);
            if (i != k) assert_string_not_equal(a.text[i], a.text[k]);
        }
    assert_true(recovery_hash(a.text[3], hash));
    assert_memory_equal(hash, a.hash[3], sizeof hash);
    assert_false(recovery_hash("abcd-efgh-ijkl-mno", hash));
    assert_false(recovery_hash("abcd-efgh-ijkl-mnopq", hash));
    assert_false(recovery_hash("abcd-efgh-ijkl-mno1", hash));
    assert_false(recovery_hash("", hash));
}

/* ---- the end of it ---- */

static int disable(const char *password, const char *code)
{
    kit_try t;
    factor_disable f = {.try = try_of(code, home)};
    if (!kit_compare(&t, anna, password, home)) return t.result.code;
    f.password = t.end;
    assert_int_equal(kit_write(factor_disable_end, &f, &t.result), 0);
    return t.result.code;
}

static void it_goes_with_password_and_code(void **state)
{
    (void)state;
    kit_try t;
    assert_int_equal(disable("wrong", code_at(0)), SV_E_CREDENTIALS);
    assert_int_equal(disable(good, "000000"), SV_E_CODE);
    assert_int_equal(disable(good, code_at(0)), 0);
    assert_int_equal(disable(good, code_at(1)), SV_E_TWO_FACTOR_STATE);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    assert_false(t.result.two_factor);
    assert_string_not_equal(t.result.session, "");
    assert_int_equal(kit_events(user.org, "factor.disabled"), 1);
}

static void a_recovery_code_ends_it_too(void **state)
{
    (void)state;
    assert_int_equal(disable(good, codes.text[5]), 0);
    assert_int_equal(setup(good), 0);
    assert_int_equal(with_code(factor_enable_end, code_at(0)), 0);
    assert_int_equal(login_code(half(), codes.text[5], home), 0); /* of the new ones */
}

/* ---- tokens and pictures ---- */

static void half_tokens_are_of_their_own_kind(void **state)
{
    (void)state;
    static auth a = {.issuer = "samovar"};
    uint8_t seed[32] = {7};
    jwt_claims claims;
    jwt_ring ring = {.n = 0};
    arena memory;
    buf out;
    jws_signer_init(&a.signer, seed);
    a.keys[0] = a.signer.jwk;
    a.n_keys = 1;
    ring.keys[ring.n++] = a.keys[0];
    buf_init(&out, JWT_BYTES);
    arena_init(&memory, JWT_ARENA);
    assert_int_equal(auth_half_sign(&a, user.id, "some-id", (int64_t)kit_now_ms, &out, NULL), 0);
    jwt_rules rules = {.iss = sv_cstr("samovar"), .kind = JWT_HALF, .now_s = kit_now_ms / 1000};
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&out), &memory, &claims, NULL), 0);
    assert_true(sv_str_is(claims.sub, user.id) && sv_str_is(claims.jti, "some-id"));
    assert_int_equal(claims.exp_s - claims.iat_s, 300);
    rules.kind = JWT_ACCESS;
    assert_int_equal(jwt_verify(&ring, &rules, buf_str(&out), &memory, &claims, NULL), SV_E_TOKEN);
    jws_signer_clear(&a.signer);
    arena_free(&memory);
    buf_free(&out);
}

static void pictures_refer_to_nothing(void **state)
{
    (void)state;
    char text[3000];
    buf out;
    buf_init(&out, 32768);
    assert_int_equal(qr_svg("otpauth://totp/Samovar:anna@example.org?secret=ABC", &out), 0);
    assert_int_equal(buf_putc(&out, 0), 0);
    assert_non_null(strstr(out.p, "viewBox=\"0 0 "));
    assert_non_null(strstr(out.p, "crispEdges"));
    assert_null(strstr(out.p, "href"));
    assert_null(strstr(out.p, "url("));
    buf_free(&out);
    memset(text, 'x', sizeof text - 1);
    text[400] = 0; /* longer than any URI of ours: it fits into the answer */
    buf_init(&out, 32768);
    assert_int_equal(qr_svg(text, &out), 0);
    buf_free(&out);
    text[400] = 'x';
    text[sizeof text - 1] = 0;
    buf_init(&out, 32768);
    assert_int_equal(qr_svg(text, &out), SV_E_TOO_LARGE);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f)  cmocka_unit_test_setup_teardown(f, begin, kit_stop)
#define FRESH(f) cmocka_unit_test_setup_teardown(f, begin_without, kit_stop)
        FRESH(it_counts_from_its_first_code),
        FRESH(the_first_code_is_spent),
        TEST(codes_work_once),
        TEST(a_race_spends_a_code_once),
        TEST(a_half_login_works_once),
        TEST(a_half_login_is_one_users),
        TEST(wrong_codes_bring_a_delay),
        TEST(parallel_tries_are_no_more),
        TEST(recovery_codes_work_once),
        TEST(they_are_random_and_of_one_form),
        TEST(it_goes_with_password_and_code),
        TEST(a_recovery_code_ends_it_too),
        TEST(half_tokens_are_of_their_own_kind),
        TEST(pictures_refer_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
