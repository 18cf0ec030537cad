/*  The platform's administration in a real store: searching, the last administrator, what a disabled
 *  account loses, acting as somebody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "org_kit.h"
#include "sv_limits.h"

static auth_user boss, boss2, user;

static void someone(const char *email, const char *name, bool admin, auth_user *ret)
{
    auth_user_new n = {.user = {.verified = true, .hash = "none", .admin = admin},
                       .actor = "operator"};
    snprintf(n.user.email, sizeof n.user.email, "%s", email);
    snprintf(n.user.name, sizeof n.user.name, "%s", name);
    kit_id(n.user.id);
    kit_id(n.user.org);
    if (kit_write(auth_user_insert, &n, ret)) abort();
}

static int start(void **state)
{
    kit_start(state);
    someone("boss@x.org", "Boss", true, &boss);
    someone("boss2@x.org", "Boss Two", true, &boss2);
    someone("user@x.org", "User", false, &user);
    return 0;
}

static admin_change change_of(const auth_user *who, const auth_user *whom)
{
    admin_change c = {.tier = NULL};
    if (who) memcpy(c.who.user, who->id, sizeof c.who.user);
    snprintf(c.who.actor, sizeof c.who.actor, "%s", who ? who->id : "operator");
    memcpy(c.id, whom->id, sizeof c.id);
    return c;
}

static int disable(const auth_user *who, const auth_user *whom, bool disabled)
{
    auth_user out;
    admin_change c = change_of(who, whom);
    c.set_disabled = true;
    c.disabled = disabled;
    return kit_write(admin_change_user, &c, &out);
}

static int make_admin(const auth_user *who, const auth_user *whom, bool admin)
{
    auth_user out;
    admin_change c = change_of(who, whom);
    c.set_admin = true;
    c.admin = admin;
    return kit_write(admin_change_user, &c, &out);
}

static uint32_t open_sessions(const auth_user *u)
{
    arena a;
    auth_session_list list;
    auth_sessions_in in = {.idle_ms = KIT_IDLE_MS};
    memcpy(in.who.id, u->id, sizeof in.who.id);
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(auth_sessions_some, &in, &list, &a), 0);
    uint32_t n = list.n;
    arena_free(&a);
    return n;
}

static bool user_revoked(const auth_user *u)
{
    char subject[64];
    snprintf(subject, sizeof subject, "user/%s", u->id);
    return kit_subject_revoked(subject);
}

/* ---- searching ---- */

static uint32_t search(const char *part, uint32_t *ret_pages)
{
    admin_search q = {.part = ""};
    admin_user_page *page = calloc(1, sizeof *page);
    arena a;
    uint32_t n = 0;
    *ret_pages = 0;
    snprintf(q.part, sizeof q.part, "%s", part);
    do {
        arena_init(&a, 1 << 20);
        assert_int_equal(kit_read(admin_users_some, &q, page, &a), 0);
        arena_free(&a);
        n += page->found.n;
        ++*ret_pages;
        memcpy(q.after, page->next, sizeof q.after);
    } while (page->next[0]);
    free(page);
    return n;
}

static void test_search(void **state)
{
    (void)state;
    auth_user u;
    char email[64];
    uint32_t pages;
    assert_int_equal(search("", &pages), 3);
    assert_int_equal(search("BOSS", &pages), 2);
    assert_int_equal(search("boss two", &pages), 1);
    assert_int_equal(search("@X.ORG", &pages), 3);
    assert_int_equal(search("%", &pages), 0);
    assert_int_equal(search("\xd0\x90", &pages), 0);
    someone("anna@x.org", "\xd0\x90\xd0\xbd\xd0\xbd\xd0\xb0", false, &u);
    assert_int_equal(search("\xd0\xbd\xd0\xbd", &pages), 1);
    for (int i = 0; i < AUTH_PIECE + AUTH_PAGE; i++) {
        snprintf(email, sizeof email, "m%04d@y.org", i);
        someone(email, "", false, &u);
    }
    assert_int_equal(search("y.org", &pages), AUTH_PIECE + AUTH_PAGE);
    /* work is bounded also where nothing is found */
    assert_int_equal(search("user@", &pages), 1);
    assert_int_equal(pages, 2);
    assert_int_equal(search("nobody", &pages), 0);
    assert_int_equal(pages, 2);
}

/* Names and addresses as long as they may be: a page of them fits into a message. */
static void test_long_texts(void **state)
{
    (void)state;
    enum { MANY = 120 };
    char email[WORDS_EMAIL + 1], name[AUTH_NAME + 1];
    auth_user u;
    admin_search q = {.part = ""};
    admin_user_page *page = calloc(1, sizeof *page);
    auth_user_info infos[AUTH_PAGE];
    uint32_t found = 0, pages = 0;
    arena a;
    memset(name, 'n', AUTH_NAME);
    name[AUTH_NAME] = 0;
    for (int i = 0; i < MANY; i++) {
        memset(email, 'e', WORDS_EMAIL);
        memcpy(email + WORDS_EMAIL - 6, "@x.org", 7);
        email[0] = (char)('a' + i / 26);
        email[1] = (char)('a' + i % 26);
        someone(email, name, false, &u);
    }
    do {
        buf out;
        arena_init(&a, 1 << 20);
        assert_int_equal(kit_read(admin_users_some, &q, page, &a), 0);
        for (uint32_t i = 0; i < page->found.n; i++)
            infos[i] = auth_user_show(&page->found.users[i]);
        auth_user_list_reply reply = {.users = {infos, page->found.n}, .next = sv_cstr(page->next)};
        buf_init(&out, 1 << 20);
        assert_int_equal(message_encode(&auth_user_list_reply_msg, &reply, &out), 0);
        assert_true(out.n < LIMIT_MESSAGE_BYTES - 8192);
        buf_free(&out);
        found += page->found.n;
        pages++;
        memcpy(q.after, page->next, sizeof q.after);
        arena_free(&a);
    } while (page->next[0]);
    assert_int_equal(found, MANY + 3);
    assert_in_range(pages, 2, 4);
    free(page);
}

static void test_search_orgs(void **state)
{
    (void)state;
    char org[AUTH_ID + 1], gone[AUTH_ID + 1];
    admin_search q = {.part = "acME"};
    org_page page;
    arena a;
    kit_org(&user, org);
    kit_org(&user, gone);
    org_act act = kit_act(&user, gone);
    assert_int_equal(kit_write(org_end, &act, NULL), 0);
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(admin_orgs_some, &q, &page, &a), 0);
    assert_int_equal(page.n, 1);
    assert_true(sv_str_is(page.items[0].id, org) && page.items[0].role.n == 0);
    snprintf(q.part, sizeof q.part, "%s", org);
    assert_int_equal(kit_read(admin_orgs_some, &q, &page, &a), 0);
    assert_int_equal(page.n, 1);
    q.part[0] = 0;
    assert_int_equal(kit_read(admin_orgs_some, &q, &page, &a), 0);
    assert_int_equal(page.n, 4); /* three are personal */
    admin_org_tier t = {.tier = "premium"};
    auth_org o;
    snprintf(t.id, sizeof t.id, "%s", org);
    assert_int_equal(kit_write(admin_set_org_tier, &t, &o), 0);
    assert_int_equal(kit_events("platform", "org.tier"), 1);
    assert_int_equal(kit_events(org, "org.tier"), 1);
    t.tier = "golden";
    assert_int_equal(kit_write(admin_set_org_tier, &t, &o), SV_E_INVALID);
    t.tier = "";
    assert_int_equal(kit_write(admin_set_org_tier, &t, &o), SV_E_INVALID);
    snprintf(t.id, sizeof t.id, "%s", gone);
    t.tier = "own";
    assert_int_equal(kit_write(admin_set_org_tier, &t, &o), SV_E_NOT_FOUND);
    arena_free(&a);
}

/* ---- changes ---- */

static void test_disable(void **state)
{
    (void)state;
    char session[AUTH_ID + 1];
    kit_session(&user, session);
    uint32_t mails = kit_mails("account_disabled");
    assert_int_equal(disable(&boss, &user, true), 0);
    assert_int_equal(open_sessions(&user), 0);
    assert_true(user_revoked(&user));
    assert_int_equal(kit_mails("account_disabled"), mails + 1);
    assert_int_equal(kit_events("platform", "user.disabled"), 1);
    assert_int_equal(disable(&boss, &user, true), 0); /* nothing more happens */
    assert_int_equal(kit_mails("account_disabled"), mails + 1);
    assert_int_equal(kit_events("platform", "user.disabled"), 1);
    assert_int_equal(disable(&boss, &user, false), 0);
    assert_int_equal(kit_events("platform", "user.enabled"), 1);
    auth_user nobody = {.id = "nobody"};
    assert_int_equal(disable(&boss, &nobody, true), SV_E_NOT_FOUND);
    /* the operator's way does the same */
    auth_user_change c = {.disabled = true, .actor = "operator", .email = "boss2@x.org"};
    auth_user out;
    assert_int_equal(kit_write(auth_user_switch, &c, &out), 0);
    assert_true(user_revoked(&boss2) && out.disabled);
}

static void test_last_admin(void **state)
{
    (void)state;
    assert_int_equal(disable(&boss, &boss, true), SV_E_DENIED);
    assert_int_equal(make_admin(&boss, &boss, false), SV_E_DENIED);
    assert_int_equal(disable(&boss, &boss2, true), 0);
    /* one that is disabled does not count */
    assert_int_equal(disable(NULL, &boss, true), SV_E_LAST_ADMIN);
    assert_int_equal(make_admin(NULL, &boss, false), SV_E_LAST_ADMIN);
    assert_int_equal(make_admin(&boss, &boss2, false), 0);
    assert_int_equal(make_admin(&boss, &user, true), 0);
    assert_true(user_revoked(&user));
    assert_int_equal(make_admin(&user, &boss, false), 0);
    assert_int_equal(make_admin(NULL, &user, false), SV_E_LAST_ADMIN);
    assert_int_equal(kit_events("platform", "user.role"), 3);
}

/* Two administrators put each other out at the same moment: one stays. */
static void test_admins_at_the_same_moment(void **state)
{
    (void)state;
    admin_change c[2] = {change_of(&boss, &boss2), change_of(&boss2, &boss)};
    auth_user out[2];
    int codes[2];
    for (int i = 0; i < 2; i++)
        c[i].set_disabled = c[i].disabled = true;
    kit_write_all(admin_change_user, c, sizeof *c, out, sizeof *out, 2, codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], SV_E_LAST_ADMIN);
}

/* A setup token is worth nothing once there is an administrator, however he became one. */
static void test_setup_is_over(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH] = {1};
    bool valid = true;
    arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_put(&auth_setups, &(setup_row){.hash = {(const char *)hash, WORDS_HASH}}),
                     0);
    assert_int_equal(kit_read(auth_setup_valid, hash, &valid, &a), 0);
    assert_true(valid);
    assert_int_equal(make_admin(NULL, &user, true), 0);
    assert_int_equal(kit_read(auth_setup_valid, hash, &valid, &a), 0);
    assert_false(valid);
    arena_free(&a);
}

static void test_tier(void **state)
{
    (void)state;
    auth_user out;
    admin_change c = change_of(&boss, &user);
    c.tier = "premium";
    assert_int_equal(kit_write(admin_change_user, &c, &out), 0);
    assert_string_equal(out.tier, "premium");
    assert_int_equal(kit_write(admin_change_user, &c, &out), 0);
    assert_int_equal(kit_events("platform", "user.tier"), 1);
    c.tier = "golden";
    assert_int_equal(kit_write(admin_change_user, &c, &out), SV_E_INVALID);
    c = change_of(&boss, &boss);
    c.tier = "own";
    assert_int_equal(kit_write(admin_change_user, &c, &out), 0); /* his own tier he may change */
}

/* ---- password and second factor ---- */

static int set_factor(store_tx *tx, const void *in, void *out)
{
    (void)out;
    user_row row = {.id = sv_cstr(in)};
    int rc = store_get(tx, &auth_users, &row);
    row.two_factor = true;
    factor_row f = {.user = row.id, .org = row.org, .secret = {"01234567890123456789", 20}};
    if (rc == 0) rc = store_put(tx, &auth_factors, &f);
    return rc ? rc : store_put(tx, &auth_users, &row);
}

static void test_reset(void **state)
{
    (void)state;
    char session[AUTH_ID + 1];
    auth_user out;
    admin_change c = change_of(&boss, &user);
    assert_int_equal(kit_write(admin_drop_factor, &c, &out), SV_E_TWO_FACTOR_STATE);
    assert_int_equal(kit_write(set_factor, user.id, NULL), 0);
    kit_session(&user, session);
    assert_int_equal(kit_write(admin_drop_factor, &c, &out), 0);
    assert_false(out.two_factor);
    assert_int_equal(open_sessions(&user), 0);
    assert_int_equal(kit_events("platform", "user.reset_2fa"), 1);
    /* the operator */
    assert_int_equal(kit_write(set_factor, user.id, NULL), 0);
    kit_session(&user, session);
    admin_reset r = {.email = "user@x.org", .hash = "other", .actor = "operator"};
    assert_int_equal(kit_write(admin_reset_user, &r, &out), 0);
    assert_true(out.two_factor);
    assert_string_equal(out.hash, "other");
    assert_int_equal(open_sessions(&user), 0);
    r = (admin_reset){.email = "user@x.org", .drop_factor = true, .actor = "operator"};
    assert_int_equal(kit_write(admin_reset_user, &r, &out), 0);
    assert_false(out.two_factor);
    assert_string_equal(out.hash, "other");
    assert_int_equal(kit_events("platform", "user.reset"), 2);
    snprintf(r.email, sizeof r.email, "nobody@x.org");
    assert_int_equal(kit_write(admin_reset_user, &r, &out), SV_E_NOT_FOUND);
}

/* ---- acting as somebody else ---- */

static int act_as(const auth_user *who, const auth_user *whom, auth_login_result *ret)
{
    admin_act_as q = {.network = "192.0.2.1", .reason = "a ticket of theirs"};
    memcpy(q.who.user, who->id, sizeof q.who.user);
    memcpy(q.id, whom->id, sizeof q.id);
    kit_id(q.session);
    return kit_write(admin_impersonate, &q, ret);
}

static void test_impersonation(void **state)
{
    (void)state;
    auth_login_result r;
    assert_int_equal(act_as(&boss, &boss2, &r), SV_E_DENIED);
    assert_int_equal(act_as(&boss, &boss, &r), SV_E_DENIED);
    assert_int_equal(act_as(&user, &boss, &r), SV_E_ROLE);
    assert_int_equal(act_as(&boss, &user, &r), 0);
    assert_string_equal(r.impersonator, boss.id);
    assert_string_equal(r.user.id, user.id);
    assert_string_equal(r.org, user.org);
    assert_string_equal(r.role, "owner");
    assert_false(r.user.admin);
    assert_int_equal(r.expires - r.now_ms, ADMIN_ACT_MS);
    assert_int_equal(open_sessions(&user), 1);
    assert_int_equal(kit_events("platform", "user.impersonated"), 1);
    assert_int_equal(kit_events(user.org, "user.impersonated"), 1);
    /* no refresh token leads to it */
    assert_int_equal(kit_rows(&auth_refreshes, NULL, NULL), 0);
    /* another organization: the mark goes along */
    char org[AUTH_ID + 1];
    kit_org(&user, org);
    org_act q = kit_act(&user, org);
    memcpy(q.session, r.session, sizeof q.session);
    assert_int_equal(kit_write(org_change_session, &q, &r), 0);
    assert_string_equal(r.impersonator, boss.id);
    /* it is over after an hour */
    kit_now_ms += ADMIN_ACT_MS;
    assert_int_equal(kit_write(org_change_session, &q, &r), SV_E_TOKEN_REVOKED);
}

/* It ends with the rights of who began it, and when its user gets more. */
static void test_impersonation_ends(void **state)
{
    (void)state;
    auth_login_result r;
    char own[AUTH_ID + 1];
    kit_session(&user, own);
    assert_int_equal(act_as(&boss2, &user, &r), 0);
    assert_int_equal(open_sessions(&user), 2);
    assert_int_equal(make_admin(&boss, &boss2, false), 0);
    assert_int_equal(open_sessions(&user), 1);
    assert_int_equal(act_as(&boss2, &user, &r), SV_E_ROLE);
    assert_int_equal(make_admin(&boss, &boss2, true), 0);
    assert_int_equal(act_as(&boss2, &user, &r), 0);
    assert_int_equal(disable(&boss, &boss2, true), 0);
    assert_int_equal(open_sessions(&user), 1);
    assert_int_equal(act_as(&boss, &user, &r), 0);
    assert_int_equal(make_admin(&boss, &user, true), 0);
    assert_int_equal(open_sessions(&user), 0);
    assert_int_equal(make_admin(&boss, &user, false), 0);
    assert_int_equal(disable(&boss, &user, true), 0);
    assert_int_equal(act_as(&boss, &user, &r), SV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_search, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_long_texts, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_search_orgs, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_disable, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_last_admin, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_admins_at_the_same_moment, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_setup_is_over, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_tier, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_reset, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_impersonation, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_impersonation_ends, start, kit_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
