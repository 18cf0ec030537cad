/*  test_login.c - users, tries with a password, and the delays that wrong ones bring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"

static const char anna[] = "anna@example.org", good[] = "correct horse battery";
static const char home[] = "192.0.2.1";
enum { S = 1000 };

static int begin(void **state)
{
    auth_user user;
    kit_start(state);
    return kit_user(anna, good, false, &user);
}

static void users_are_unique_and_own_an_organization(void **state)
{
    (void)state;
    auth_user user;
    auth_me_result me;
    arena a;
    assert_int_equal(kit_user(anna, good, false, &user), SV_E_CONFLICT);
    assert_string_equal(kit_error.field, "email");
    arena_init(&a, 1 << 20);
    auth_who who = {.email = "anna@example.org"};
    assert_int_equal(kit_read(auth_me_read, &who, &me, &a), 0);
    assert_int_equal(me.n, 1);
    assert_true(sv_str_is(me.orgs[0].role, "owner") && me.orgs[0].personal);
    assert_true(sv_str_is(me.orgs[0].id, me.user.org));
    auth_who nobody = {.email = "eve@example.org"};
    assert_int_equal(kit_read(auth_me_read, &nobody, &me, &a), SV_E_NOT_FOUND);
    arena_free(&a);
    assert_int_equal(kit_events("", "user.added"), 1);
}

static void pages_of_users(void **state)
{
    (void)state;
    static auth_user_page page;
    arena a;
    for (int i = 0; i < AUTH_PAGE; i++) {
        auth_user_new n = {.actor = "operator"};
        auth_user made;
        snprintf(n.user.email, sizeof n.user.email, "user%03d@example.org", i);
        snprintf(n.user.hash, sizeof n.user.hash, "$none$");
        kit_id(n.user.id);
        kit_id(n.user.org);
        assert_int_equal(kit_write(auth_user_insert, &n, &made), 0);
    }
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(auth_user_some, "", &page, &a), 0);
    assert_int_equal(page.n, AUTH_PAGE);
    assert_true(page.more);
    assert_string_equal(page.users[0].email, anna);
    assert_int_equal(kit_read(auth_user_some, page.users[AUTH_PAGE - 1].email, &page, &a), 0);
    assert_int_equal(page.n, 1);
    assert_false(page.more);
    assert_string_equal(page.users[0].email, "user099@example.org");
    arena_free(&a);
}

static void setup_works_once(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH], other[WORDS_HASH];
    bool kept, valid;
    arena a;
    token_hash(sv_cstr("svs_one"), hash);
    token_hash(sv_cstr("svs_two"), other);
    assert_int_equal(kit_write(auth_setup_begin, hash, &kept), 0);
    assert_true(kept);
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(auth_setup_valid, other, &valid, &a), 0);
    assert_false(valid);
    assert_int_equal(kit_read(auth_setup_valid, hash, &valid, &a), 0);
    assert_true(valid);
    arena_free(&a);
    auth_user_new n = {.user = {.admin = true, .hash = "$none$"}, .setup = other};
    auth_user made;
    strcpy(n.user.email, "root@example.org");
    kit_id(n.user.id);
    kit_id(n.user.org);
    assert_int_equal(kit_write(auth_user_insert, &n, &made), SV_E_SETUP_TOKEN);
    n.setup = hash;
    assert_int_equal(kit_write(auth_user_insert, &n, &made), 0);
    assert_true(made.admin);
    strcpy(n.user.email, "second@example.org");
    kit_id(n.user.id);
    kit_id(n.user.org);
    assert_int_equal(kit_write(auth_user_insert, &n, &made), SV_E_SETUP_TOKEN);
    assert_int_equal(kit_write(auth_setup_begin, other, &kept), 0);
    assert_false(kept); /* there is an administrator */
    assert_int_equal(kit_events("", "platform.setup"), 1);
}

static void right_and_wrong(void **state)
{
    (void)state;
    kit_try t;
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    assert_string_equal(t.result.role, "owner");
    assert_string_equal(t.result.user.email, anna);
    assert_int_equal(t.result.expires, (int64_t)kit_now_ms + KIT_LIFE_MS);
    assert_int_equal(t.result.user.last_login, kit_now_ms);
    char org[AUTH_ID + 1];
    memcpy(org, t.result.user.org, sizeof org);
    assert_int_equal(kit_login(&t, anna, "wrong horse battery", home), SV_E_CREDENTIALS);
    assert_int_equal(kit_login(&t, "eve@example.org", good, home), SV_E_CREDENTIALS);
    assert_int_equal(kit_events(org, "login.ok"), 1);
    assert_int_equal(kit_events(org, "login.failed"), 1);
    assert_int_equal(kit_events("", "login.failed"), 1);
}

/* S-EN1: one Argon2id run of the same cost, the same code, for every kind of wrong. */
static void unknown_costs_what_known_costs(void **state)
{
    (void)state;
    kit_try t;
    auth_user user;
    auth_user_change shut = {.email = "shut@example.org", .disabled = true};
    assert_int_equal(kit_user("shut@example.org", good, false, &user), 0);
    assert_int_equal(kit_write(auth_user_switch, &shut, &user), 0);
    user_row service = {.id = sv_cstr("a-service"),
                        .email = sv_cstr("bot@example.org"),
                        .org = sv_cstr(user.org),
                        .service = true};
    assert_int_equal(kit_put(&auth_users, &service), 0);
    service.id = sv_cstr("with-a-hash");
    service.email = sv_cstr("robot@example.org");
    service.hash = sv_cstr(user.hash);
    assert_int_equal(kit_put(&auth_users, &service), 0);
    const char *const tries[][2] = {{anna, "wrong"},
                                    {"eve@example.org", good},
                                    {"shut@example.org", good},
                                    {"bot@example.org", ""},
                                    {"robot@example.org", good}};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        char network[32];
        snprintf(network, sizeof network, "198.51.100.%zu", i);
        for (int k = 0; k < TRIES_FREE + 1; k++) {
            uint64_t before = password_runs();
            int code = kit_login(&t, tries[i][0], tries[i][1], network);
            assert_int_equal(password_runs() - before, k < TRIES_FREE ? 1 : 0);
            assert_int_equal(code, k < TRIES_FREE ? SV_E_CREDENTIALS : SV_E_LOCKED_OUT);
            assert_int_equal(t.result.retry_after_ms, k < TRIES_FREE ? 0 : TRIES_FIRST_MS);
        }
    }
}

static void the_delay_grows_and_ends(void **state)
{
    (void)state;
    kit_try t;
    char network[32];
    const uint32_t delays[] = {30 * S, 60 * S, 120 * S, 240 * S, 480 * S, 900 * S, 900 * S};
    for (int i = 1; i < TRIES_FREE; i++) {
        snprintf(network, sizeof network, "198.51.100.%d", i); /* the account alone counts */
        assert_int_equal(kit_login(&t, anna, "wrong", network), SV_E_CREDENTIALS);
    }
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        snprintf(network, sizeof network, "203.0.113.%zu", i);
        assert_int_equal(kit_login(&t, anna, "wrong", network), SV_E_CREDENTIALS);
        assert_int_equal(kit_login(&t, anna, good, network), SV_E_LOCKED_OUT);
        assert_int_equal(t.result.retry_after_ms, delays[i]);
        kit_again(); /* counters are in the store */
        kit_now_ms += delays[i] - 1;
        assert_int_equal(kit_login(&t, anna, good, network), SV_E_LOCKED_OUT);
        kit_now_ms += 1;
    }
    assert_int_equal(kit_login(&t, anna, good, home), 0); /* never permanent */
    for (int i = 1; i < TRIES_FREE; i++)                  /* and forgotten */
        assert_int_equal(kit_login(&t, anna, "wrong", home), SV_E_CREDENTIALS);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
}

/* Whoever keeps an account's delay up from elsewhere does not keep its owner out. */
static void strangers_do_not_lock_the_owner_out(void **state)
{
    (void)state;
    kit_try t;
    char network[32];
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    for (int i = 0; i < 3 * TRIES_FREE; i++) {
        snprintf(network, sizeof network, "198.51.100.%d", i);
        int rc = kit_login(&t, anna, "wrong", network);
        assert_int_equal(rc, i < TRIES_FREE ? SV_E_CREDENTIALS : SV_E_LOCKED_OUT);
    }
    kit_again();
    assert_int_equal(kit_login(&t, anna, good, "192.0.2.2"), SV_E_LOCKED_OUT);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    assert_int_equal(kit_login(&t, anna, good, network), SV_E_LOCKED_OUT); /* they still wait */
    for (int i = 0; i < TRIES_FREE; i++) /* at home nobody guesses more either */
        assert_int_equal(kit_login(&t, anna, "wrong", home), SV_E_CREDENTIALS);
    assert_int_equal(kit_login(&t, anna, good, home), SV_E_LOCKED_OUT);
}

static void a_pause_forgets(void **state)
{
    (void)state;
    kit_try t;
    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < TRIES_FREE; i++)
            assert_int_equal(kit_login(&t, anna, "wrong", home), SV_E_CREDENTIALS);
        kit_now_ms += TRIES_WINDOW_MS;
    }
    for (int i = 0; i < TRIES_FREE; i++) {
        assert_int_equal(kit_login(&t, anna, "wrong", home), SV_E_CREDENTIALS);
        kit_now_ms += TRIES_WINDOW_MS / TRIES_FREE;
    }
    kit_now_ms -= TRIES_WINDOW_MS / TRIES_FREE;
    assert_int_equal(kit_login(&t, anna, good, home), SV_E_LOCKED_OUT);
}

/* One network, many accounts; a login that works does not clear what the network did. */
static void networks_count(void **state)
{
    (void)state;
    kit_try t;
    char email[64];
    for (int i = 0; i < TRIES_FREE; i++) {
        assert_int_equal(kit_login(&t, anna, good, home), 0);
        snprintf(email, sizeof email, "user%d@example.org", i);
        assert_int_equal(kit_login(&t, email, "guess", home), SV_E_CREDENTIALS);
    }
    assert_int_equal(kit_login(&t, anna, good, home), SV_E_LOCKED_OUT);
    assert_int_equal(kit_login(&t, anna, good, "192.0.2.2"), 0);
    assert_int_equal(kit_events("", "network.delayed"), 1);
}

/* Compared at the same moment: five verdicts, and not even a right password behind them. */
static void a_race_gives_no_tries(void **state)
{
    (void)state;
    enum { N = 12 };
    static kit_try tries[N];
    static auth_try_end ends[N];
    static auth_login_result results[N];
    int codes[N];
    for (int i = 0; i < N; i++) {
        assert_true(kit_compare(&tries[i], anna, i == N - 1 ? good : "wrong", home));
        ends[i] = tries[i].end;
    }
    kit_write_all(auth_login_end, ends, sizeof *ends, results, sizeof *results, N, codes);
    for (int i = 0; i < N; i++) {
        assert_int_equal(codes[i], 0);
        assert_int_equal(results[i].code, i < TRIES_FREE ? SV_E_CREDENTIALS : SV_E_LOCKED_OUT);
    }
}

static void many_right_ones_at_once(void **state)
{
    (void)state;
    enum { N = 8 };
    static kit_try tries[N];
    static auth_try_end ends[N];
    static auth_login_result results[N];
    int codes[N];
    for (int i = 0; i < N; i++) {
        assert_true(kit_compare(&tries[i], anna, good, home));
        ends[i] = tries[i].end;
    }
    kit_write_all(auth_login_end, ends, sizeof *ends, results, sizeof *results, N, codes);
    for (int i = 0; i < N; i++)
        assert_int_equal(codes[i] ? codes[i] : results[i].code, 0);
}

static void a_weaker_hash_is_made_anew(void **state)
{
    (void)state;
    kit_try t;
    assert_true(kit_compare(&t, anna, good, home));
    assert_string_equal(t.work.new_hash, "");
    t.work.memory_bytes = KIT_MEMORY + (1 << 20);
    assert_int_equal(auth_work_run(&t.work), 0);
    assert_string_not_equal(t.work.new_hash, "");
    memcpy(t.end.new_hash, t.work.new_hash, sizeof t.end.new_hash);
    assert_int_equal(kit_write(auth_login_end, &t.end, &t.result), 0);
    assert_string_equal(t.result.user.hash, t.work.new_hash);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
}

/* A verdict on a password that was changed meanwhile. */
static void a_changed_password_ends_sessions(void **state)
{
    (void)state;
    kit_try stays, goes, change, late;
    assert_int_equal(kit_login(&stays, anna, good, home), 0);
    assert_int_equal(kit_login(&goes, anna, good, home), 0);
    assert_true(kit_compare(&late, anna, good, home));
    assert_true(kit_compare(&change, anna, good, home));
    strcpy(change.try.who.keep, stays.result.session);
    assert_int_equal(
        password_hash(sv_cstr("another good one"), KIT_MEMORY, change.end.new_hash, NULL), 0);
    assert_int_equal(kit_write(auth_password_end, &change.end, &change.result), 0);
    assert_int_equal(change.result.code, 0);
    assert_int_equal(kit_refresh(stays.token), 0);
    assert_int_equal(kit_refresh(goes.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_write(auth_login_end, &late.end, &late.result), 0);
    assert_int_equal(late.result.code, SV_E_CREDENTIALS);
    assert_int_equal(kit_login(&late, anna, "another good one", home), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, kit_stop)
        TEST(users_are_unique_and_own_an_organization),
        TEST(pages_of_users),
        TEST(setup_works_once),
        TEST(right_and_wrong),
        TEST(unknown_costs_what_known_costs),
        TEST(the_delay_grows_and_ends),
        TEST(strangers_do_not_lock_the_owner_out),
        TEST(a_pause_forgets),
        TEST(networks_count),
        TEST(a_race_gives_no_tries),
        TEST(many_right_ones_at_once),
        TEST(a_weaker_hash_is_made_anew),
        TEST(a_changed_password_ends_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
