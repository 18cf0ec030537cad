/*  test_accounts.c - accounts that people make and recover themselves: registration, confirmed
 *  addresses, forgotten passwords, and the sessions they may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "factor.h"
#include "register.h"

static const char anna[] = "anna@example.org", bob[] = "bob@example.org";
static const char good[] = "correct horse battery", next[] = "another good one";
static const char home[] = "192.0.2.1";
static auth_user user;

static int begin(void **state)
{
    kit_start(state);
    return kit_user(anna, good, true, &user);
}

static link_made link_of(const char *token)
{
    link_made l;
    token_hash(sv_cstr(token), l.hash);
    snprintf(l.url, sizeof l.url, "https://ai.example.org/page#token=%s", token);
    return l;
}

static register_in registration(const char *email, register_mode mode, const link_made *link)
{
    register_in in = {.mode = mode, .network = "192.0.2.1", .link = link};
    snprintf(in.user.email, sizeof in.user.email, "%s", email);
    kit_id(in.user.id);
    kit_id(in.user.org);
    if (password_hash(sv_cstr(good), KIT_MEMORY, in.user.hash, NULL)) abort();
    return in;
}

static int sign_up(const char *email, register_mode mode, const link_made *link)
{
    register_in in = registration(email, mode, link);
    return kit_write(register_end, &in, NULL);
}

static int login_verified(const char *email, const link_made *link)
{
    kit_try t;
    if (!kit_compare(&t, email, good, home)) return t.result.code;
    t.end.verify = true;
    t.end.link = link;
    assert_int_equal(kit_write(auth_login_end, &t.end, &t.result), 0);
    return t.result.code;
}

static bool verify(const char *token)
{
    uint8_t hash[WORDS_HASH];
    bool held;
    token_hash(sv_cstr(token), hash);
    assert_int_equal(kit_write(verify_end, hash, &held), 0);
    return held;
}

/* ---- registration ---- */

static void nobody_comes_before_the_first_admin(void **state)
{
    (void)state;
    assert_int_equal(sign_up(bob, REGISTER_OPEN, NULL), SV_E_REGISTRATION);
    assert_int_equal(kit_user(anna, good, false, &user), 0);
    assert_int_equal(sign_up(bob, REGISTER_OPEN, NULL), SV_E_REGISTRATION);
    assert_int_equal(kit_user("root@example.org", good, true, &user), 0);
    assert_int_equal(sign_up(bob, REGISTER_CLOSED, NULL), SV_E_REGISTRATION);
    assert_int_equal(sign_up(bob, REGISTER_INVITATION, NULL), SV_E_REGISTRATION);
    assert_int_equal(sign_up(bob, REGISTER_OPEN, NULL), 0);
}

/* S-EN1: the same answer; who has the address hears of it, not more often than every ten minutes. */
static void a_taken_address_is_told_by_mail(void **state)
{
    (void)state;
    kit_try t;
    link_made l = link_of("svv_one");
    assert_int_equal(sign_up(anna, REGISTER_OPEN, &l), 0);
    assert_int_equal(sign_up(anna, REGISTER_OPEN, &l), 0);
    assert_int_equal(kit_mails("taken_address"), 1);
    assert_int_equal(kit_mails("verify_email"), 0);
    assert_false(verify("svv_one"));
    kit_now_ms += AUTH_MAIL_PAUSE_MS;
    assert_int_equal(sign_up(anna, REGISTER_OPEN, &l), 0);
    assert_int_equal(kit_mails("taken_address"), 2);
    assert_int_equal(kit_events(user.org, "register.taken"), 3);
    assert_int_equal(kit_login(&t, anna, good, home), 0);
    assert_true(t.result.user.admin); /* untouched */
}

static void an_invitation_must_hold_for_the_address(void **state)
{
    (void)state;
    const char *const both[] = {anna, bob}; /* taken and free alike */
    for (int i = 0; i < 2; i++) {
        register_in in = registration(both[i], REGISTER_INVITATION, NULL);
        in.invited = true;
        token_hash(sv_cstr("svi_nothing"), in.invitation);
        assert_int_equal(kit_write(register_end, &in, NULL), SV_E_LINK);
        assert_string_equal(kit_error.field, "invitation");
    }
}

static int accept(const char *email, const char *token)
{
    link_made l = link_of("svv_not_needed");
    register_in in = registration(email, REGISTER_INVITATION, &l);
    in.invited = true;
    token_hash(sv_cstr(token), in.invitation);
    return kit_write(register_end, &in, NULL);
}

/* Nothing of it tells a taken address from a free one; the account is a member at once.
 * Who invites has the link as well: it confirms no address. */
static void an_invitation_confirms_no_address(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    kit_try t;
    org_row org = {.id = sv_cstr("team"), .name = sv_cstr("Team")};
    invitation_row row = {.id = sv_cstr("first"),
                          .org = org.id,
                          .hash = {(const char *)hash, sizeof hash},
                          .email = sv_cstr(bob),
                          .role = sv_cstr("member"),
                          .by = sv_cstr(user.id),
                          .expires = (int64_t)kit_now_ms + KIT_DAY_MS};
    token_hash(sv_cstr("svi_bob"), hash);
    assert_int_equal(kit_put(&auth_orgs, &org), 0);
    assert_int_equal(kit_put(&auth_invitations_table, &row), 0);
    assert_int_equal(accept("eve@example.org", "svi_bob"), SV_E_DENIED);
    assert_int_equal(accept(anna, "svi_bob"), SV_E_DENIED); /* taken */
    assert_int_equal(accept(bob, "svi_bob"), 0);
    assert_int_equal(kit_mails("verify_email"), 1);
    assert_int_equal(login_verified(bob, NULL), SV_E_NOT_VERIFIED);
    assert_int_equal(accept("carl@example.org", "svi_bob"), SV_E_LINK);
    assert_int_equal(kit_login(&t, bob, good, home), 0);
    arena a;
    auth_me_result me;
    auth_who who = {.email = "bob@example.org"};
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(auth_me_read, &who, &me, &a), 0);
    assert_int_equal(me.n, 2);
    arena_free(&a);
    token_hash(sv_cstr("svi_anna"), hash); /* for somebody who has an account */
    row.id = sv_cstr("second");
    row.email = sv_cstr(anna);
    assert_int_equal(kit_put(&auth_invitations_table, &row), 0);
    assert_int_equal(accept(anna, "svi_anna"), 0);
    assert_int_equal(kit_mails("taken_address"), 1);
}

/* ---- confirmed addresses ---- */

static void an_address_is_confirmed_before_the_login(void **state)
{
    (void)state;
    kit_try t;
    link_made first = link_of("svv_first"), second = link_of("svv_second");
    assert_int_equal(sign_up(bob, REGISTER_OPEN, &first), 0);
    assert_int_equal(kit_mails("verify_email"), 1);
    assert_int_equal(kit_login(&t, bob, "wrong", home), SV_E_CREDENTIALS);
    assert_int_equal(login_verified(bob, &second), SV_E_NOT_VERIFIED);
    assert_int_equal(kit_mails("verify_email"), 2);
    assert_int_equal(login_verified(bob, &second), SV_E_NOT_VERIFIED);
    assert_int_equal(kit_mails("verify_email"), 2); /* once in ten minutes */
    assert_false(verify("svv_first"));              /* the second took its place */
    kit_again();
    assert_true(verify("svv_second"));
    kit_again();
    assert_false(verify("svv_second"));
    assert_int_equal(login_verified(bob, &second), 0);
    assert_int_equal(kit_events("", "user.registered"), 1);
}

static void a_link_holds_for_a_day(void **state)
{
    (void)state;
    link_made l = link_of("svv_slow");
    bool verified;
    assert_int_equal(sign_up(bob, REGISTER_OPEN, &l), 0);
    kit_now_ms += KIT_DAY_MS;
    assert_false(verify("svv_slow"));
    verify_again_in in = {.who = {.email = "bob@example.org"}, .link = &l};
    assert_int_equal(kit_write(verify_again_end, &in, &verified), 0);
    assert_false(verified);
    assert_int_equal(kit_write(verify_again_end, &in, &verified), 0);
    assert_int_equal(kit_mails("verify_email"), 2);
    assert_true(verify("svv_slow"));
    assert_int_equal(kit_write(verify_again_end, &in, &verified), 0);
    assert_true(verified);
}

/* ---- forgotten passwords ---- */

static int forgot(const char *email, const char *network, const char *token)
{
    link_made l = link_of(token);
    forgot_in in = {.link = &l};
    auth_login_result result;
    snprintf(in.email, sizeof in.email, "%s", email);
    snprintf(in.network, sizeof in.network, "%s", network);
    assert_int_equal(kit_write(forgot_end, &in, &result), 0);
    return result.code;
}

static int reset(const char *token, const char *password, const char *network)
{
    reset_in in = {.network = ""};
    auth_login_result result;
    snprintf(in.network, sizeof in.network, "%s", network);
    token_hash(sv_cstr(token), in.token);
    if (password_hash(sv_cstr(password), KIT_MEMORY, in.new_hash, NULL)) abort();
    assert_int_equal(kit_write(reset_end, &in, &result), 0);
    return result.code;
}

/* S-RS1: once, also after a crash; sessions end, the address is confirmed, nobody is logged in. */
static void a_reset_works_once(void **state)
{
    (void)state;
    kit_try before, after;
    assert_int_equal(kit_login(&before, anna, good, home), 0);
    assert_int_equal(forgot(anna, home, "svp_old"), 0);
    assert_int_equal(forgot(anna, home, "svp_new"), 0);
    assert_int_equal(reset("svp_old", next, home), SV_E_LINK); /* the newer one took its place */
    assert_int_equal(reset("svp_new", next, home), 0);
    assert_int_equal(kit_refresh(before.token), SV_E_REFRESH_TOKEN);
    kit_again();
    assert_int_equal(reset("svp_new", good, home), SV_E_LINK);
    assert_int_equal(kit_login(&after, anna, good, home), SV_E_CREDENTIALS);
    assert_int_equal(kit_login(&after, anna, next, home), 0);
    assert_true(after.result.user.verified);
    assert_int_equal(kit_events(user.org, "password.reset"), 1);
    assert_int_equal(kit_mails("password_changed"), 1);
}

static void a_reset_link_is_short_lived_and_of_its_kind(void **state)
{
    (void)state;
    auth_user out;
    auth_user_change shut = {.email = "anna@example.org", .disabled = true};
    assert_int_equal(forgot(anna, home, "svp_late"), 0);
    assert_false(verify("svp_late"));
    kit_now_ms += 30 * 60 * 1000;
    assert_int_equal(reset("svp_late", next, home), SV_E_LINK);
    assert_int_equal(forgot(anna, "192.0.2.3", "svp_shut"), 0);
    assert_int_equal(kit_write(auth_user_switch, &shut, &out), 0);
    assert_int_equal(reset("svp_shut", next, "192.0.2.3"), SV_E_LINK);
    assert_int_equal(forgot(anna, "192.0.2.4", "svp_none"), 0);
    assert_int_equal(kit_mails("reset_password"), 2); /* none for an account that is shut */
}

/* A password link is used up by a change of the password as well. */
static void a_changed_password_ends_the_link(void **state)
{
    (void)state;
    kit_try change;
    assert_int_equal(forgot(anna, home, "svp_one"), 0);
    assert_true(kit_compare(&change, anna, good, home));
    assert_int_equal(password_hash(sv_cstr(next), KIT_MEMORY, change.end.new_hash, NULL), 0);
    assert_int_equal(kit_write(auth_password_end, &change.end, &change.result), 0);
    assert_int_equal(reset("svp_one", good, home), SV_E_LINK);
}

/* The same for an address that nobody has; delayed like logins. */
static void asking_is_counted(void **state)
{
    (void)state;
    const char *const both[] = {anna, "nobody@example.org"};
    for (int i = 0; i < 2; i++) {
        char network[40];
        for (int k = 0; k < TRIES_FREE; k++) {
            snprintf(network, sizeof network, "198.51.10%d.%d", i, k);
            assert_int_equal(forgot(both[i], network, "svp_x"), 0);
        }
        kit_again();
        assert_int_equal(forgot(both[i], home, "svp_x"), SV_E_LOCKED_OUT);
    }
    assert_int_equal(kit_mails("reset_password"), TRIES_FREE);
    for (int k = 0; k < TRIES_FREE; k++)
        assert_int_equal(reset("svp_guess", next, "203.0.113.1"), SV_E_LINK);
    assert_int_equal(reset("svp_x", next, "203.0.113.1"), SV_E_LOCKED_OUT);
    assert_int_equal(reset("svp_x", next, "203.0.113.2"), 0);
}

/* The factor stays, and a stranger's wrong tries are forgotten. */
static void a_reset_keeps_the_second_factor(void **state)
{
    (void)state;
    kit_try t;
    user_row row = {.id = sv_cstr(user.id),
                    .email = sv_cstr(anna),
                    .org = sv_cstr(user.org),
                    .hash = sv_cstr(user.hash),
                    .two_factor = true};
    assert_int_equal(kit_put(&auth_users, &row), 0);
    for (int i = 0; i < TRIES_FREE; i++)
        kit_login(&t, anna, "wrong", "198.51.100.1");
    assert_int_equal(kit_login(&t, anna, good, home), SV_E_LOCKED_OUT);
    assert_int_equal(forgot(anna, home, "svp_two"), 0);
    assert_int_equal(reset("svp_two", next, home), 0);
    assert_int_equal(kit_login(&t, anna, next, home), 0);
    assert_true(t.result.two_factor);
    assert_string_equal(t.result.session, "");
}

/* ---- sessions ---- */

static void the_longest_unused_session_ends(void **state)
{
    (void)state;
    kit_try a, b, c;
    assert_int_equal(kit_login(&a, anna, good, home), 0);
    kit_now_ms += 1000;
    assert_int_equal(kit_login(&b, anna, good, home), 0);
    kit_now_ms += 1000;
    assert_int_equal(kit_refresh(a.token), 0); /* now b was used longest ago */
    assert_true(kit_compare(&c, anna, good, home));
    c.end.start.most = 2;
    assert_int_equal(kit_write(auth_login_end, &c.end, &c.result), 0);
    assert_int_equal(kit_refresh(b.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_refresh(a.token), 0);
    assert_int_equal(kit_events(user.org, "session.replaced"), 1);
    assert_true(kit_compare(&c, anna, good, home)); /* the setting was lowered */
    c.end.start.most = 1;
    assert_int_equal(kit_write(auth_login_end, &c.end, &c.result), 0);
    assert_int_equal(kit_refresh(a.token), SV_E_REFRESH_TOKEN);
    assert_int_equal(kit_refresh(c.token), 0);
}

static void nobody_ends_the_session_of_another(void **state)
{
    (void)state;
    kit_try mine;
    auth_user eve;
    auth_end_in in = {.session = ""};
    bool ended;
    assert_int_equal(kit_login(&mine, anna, good, home), 0);
    assert_int_equal(kit_user("eve@example.org", good, false, &eve), 0);
    memcpy(in.session, mine.result.session, sizeof in.session);
    memcpy(in.user, eve.id, sizeof in.user);
    assert_int_equal(kit_write(auth_session_end, &in, &ended), 0);
    assert_false(ended);
    assert_int_equal(kit_refresh(mine.token), 0);
    memcpy(in.user, user.id, sizeof in.user);
    assert_int_equal(kit_write(auth_session_end, &in, &ended), 0);
    assert_true(ended);
    assert_int_equal(kit_refresh(mine.token), SV_E_REFRESH_TOKEN);
    assert_true(kit_revoked("session/", mine.result.session));
}

/* Whatever ends a session ends its access tokens in the same transaction. */
static void ends_are_revocations(void **state)
{
    (void)state;
    kit_try t[4];
    int64_t n;
    auth_user out;
    auth_who who = {.email = "anna@example.org"};
    auth_user_change shut = {.email = "anna@example.org", .disabled = true};
    for (int i = 0; i < 4; i++)
        assert_int_equal(kit_login(&t[i], anna, good, home), 0);
    char spent[WORDS_TOKEN + 1];
    memcpy(spent, t[0].token, sizeof spent);
    assert_int_equal(kit_refresh(t[0].token), 0);
    assert_false(kit_revoked("session/", t[0].result.session));
    assert_int_equal(kit_refresh(spent), SV_E_REFRESH_TOKEN); /* reuse */
    assert_true(kit_revoked("session/", t[0].result.session));
    assert_int_equal(kit_write(auth_sessions_end, &who, &n), 0);
    assert_int_equal(n, 3);
    for (int i = 1; i < 4; i++)
        assert_true(kit_revoked("session/", t[i].result.session));
    assert_int_equal(kit_write(auth_user_switch, &shut, &out), 0);
    assert_true(kit_revoked("user/", user.id));
    assert_int_equal(kit_mails("account_disabled"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, kit_stop)
        cmocka_unit_test_setup_teardown(nobody_comes_before_the_first_admin, kit_start, kit_stop),
        TEST(a_taken_address_is_told_by_mail),
        TEST(an_invitation_must_hold_for_the_address),
        TEST(an_invitation_confirms_no_address),
        TEST(an_address_is_confirmed_before_the_login),
        TEST(a_link_holds_for_a_day),
        TEST(a_reset_works_once),
        TEST(a_reset_link_is_short_lived_and_of_its_kind),
        TEST(a_changed_password_ends_the_link),
        TEST(asking_is_counted),
        TEST(a_reset_keeps_the_second_factor),
        TEST(the_longest_unused_session_ends),
        TEST(nobody_ends_the_session_of_another),
        TEST(ends_are_revocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
