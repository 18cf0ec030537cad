/*  test_sessions.c - refresh tokens are used once, and sessions end when they should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"

static const char anna[] = "anna@example.org", good[] = "correct horse battery";
static const char home[] = "192.0.2.1";
static kit_try login;

static int begin(void **state)
{
    auth_user user;
    kit_start(state);
    return kit_user(anna, good, false, &user) || kit_login(&login, anna, good, home);
}

static void one_use_each(void **state)
{
    (void)state;
    char first[WORDS_TOKEN + 1], token[WORDS_TOKEN + 1];
    memcpy(token, login.token, sizeof token);
    memcpy(first, login.token, sizeof first);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kit_refresh(token), 0);
        kit_again();
    }
    assert_int_equal(kit_events(login.result.user.org, "token.reused"), 0);
    assert_int_equal(kit_refresh(first), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_refresh(token), SV_E_REFRESH_TOKEN); /* the family is over */
    assert_int_equal(kit_refresh(first), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_events(login.result.user.org, "token.reused"), 1);
    kit_try other;
    assert_int_equal(kit_login(&other, anna, good, home), 0); /* other sessions are not touched */
    assert_int_equal(kit_refresh(other.token), 0);
}

static void unknown_tokens(void **state)
{
    (void)state;
    char token[WORDS_TOKEN + 1];
    token_new("svr_", token);
    assert_int_equal(kit_refresh(token), SV_E_REFRESH_TOKEN);
    memcpy(token, login.token, sizeof token);
    token[10] ^= 1;
    assert_int_equal(kit_refresh(token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_refresh(login.token), 0);
}

static void twelve_at_once(void **state)
{
    (void)state;
    enum { N = 12 };
    auth_refresh_in in[N];
    auth_login_result results[N];
    int codes[N], won = 0;
    for (int i = 0; i < N; i++) {
        in[i] = (auth_refresh_in){.idle_ms = KIT_IDLE_MS};
        token_hash(sv_cstr(login.token), in[i].token);
        uuid_random(in[i].next, sizeof in[i].next);
    }
    kit_write_all(auth_refresh_swap, in, sizeof *in, results, sizeof *results, N, codes);
    for (int i = 0; i < N; i++) {
        assert_int_equal(codes[i], 0);
        won += results[i].code == 0;
        if (results[i].code) assert_int_equal(results[i].code, SV_E_REFRESH_TOKEN);
    }
    assert_int_equal(won, 1);
    assert_int_equal(kit_events(login.result.user.org, "token.reused"), 1);
}

static void idle_and_absolute_life(void **state)
{
    (void)state;
    char token[WORDS_TOKEN + 1];
    memcpy(token, login.token, sizeof token);
    kit_now_ms += KIT_IDLE_MS - 1;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(kit_refresh(token), 0);
        kit_now_ms += KIT_IDLE_MS - 1;
    }
    assert_int_equal(kit_refresh(token), SV_E_REFRESH_TOKEN); /* 35 days after the login */
    kit_try other;
    assert_int_equal(kit_login(&other, anna, good, home), 0);
    kit_now_ms += KIT_IDLE_MS;
    assert_int_equal(kit_refresh(other.token), SV_E_REFRESH_TOKEN);
    kit_now_ms -= KIT_IDLE_MS; /* it stays over */
    assert_int_equal(kit_refresh(other.token), SV_E_REFRESH_TOKEN);
}

static uint32_t listed(auth_session_info *ret_first)
{
    arena a;
    auth_sessions_in in = {.who = {.email = "anna@example.org"}, .idle_ms = KIT_IDLE_MS};
    auth_session_list list;
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(auth_sessions_some, &in, &list, &a), 0);
    if (list.n) *ret_first = list.items[0];
    arena_free(&a);
    return list.n;
}

static void logout_ends_one_or_all(void **state)
{
    (void)state;
    kit_try second, third;
    auth_session_info first;
    auth_end_in end = {.session = ""};
    bool ended;
    int64_t n;
    kit_now_ms += 1000;
    assert_int_equal(kit_login(&second, anna, good, home), 0);
    assert_int_equal(kit_login(&third, anna, good, home), 0);
    assert_int_equal(listed(&first), 3);
    assert_int_equal(first.created, kit_now_ms);
    token_hash(sv_cstr(second.token), end.token);
    assert_int_equal(kit_write(auth_session_end, &end, &ended), 0);
    assert_true(ended);
    assert_int_equal(kit_write(auth_session_end, &end, &ended), 0);
    assert_false(ended);
    assert_int_equal(kit_refresh(second.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(listed(&first), 2);
    auth_who who = {.email = "anna@example.org"};
    assert_int_equal(kit_write(auth_sessions_end, &who, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(kit_refresh(login.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_refresh(third.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(listed(&first), 0);
    assert_int_equal(kit_events(login.result.user.org, "logout"), 1);
    assert_int_equal(kit_events(login.result.user.org, "logout.all"), 1);
}

static void a_disabled_user_has_no_sessions(void **state)
{
    (void)state;
    auth_user user;
    kit_try t;
    auth_user_change c = {.email = "anna@example.org", .disabled = true, .actor = "operator"};
    assert_int_equal(kit_write(auth_user_switch, &c, &user), 0);
    assert_true(user.disabled);
    assert_int_equal(kit_refresh(login.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_login(&t, anna, good, home), SV_E_CREDENTIALS);
    c.disabled = false;
    assert_int_equal(kit_write(auth_user_switch, &c, &user), 0);
    assert_int_equal(kit_refresh(login.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    strcpy(c.email, "eve@example.org");
    assert_int_equal(kit_write(auth_user_switch, &c, &user), SV_E_NOT_FOUND);
    assert_string_equal(kit_error.field, "email");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, kit_stop)
        TEST(one_use_each),           TEST(unknown_tokens),
        TEST(twelve_at_once),         TEST(idle_and_absolute_life),
        TEST(logout_ends_one_or_all), TEST(a_disabled_user_has_no_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
