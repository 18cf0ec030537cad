/*  Invitations in a real store: one use, also when many try at the same moment and after a restart;
 *  whom they are for; limits, expiry, mails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "org_kit.h"

static auth_user owner, guest, other;
static char org[AUTH_ID + 1];

static int start(void **state)
{
    kit_start(state);
    kit_someone("owner@x.org", &owner);
    kit_someone("guest@x.org", &guest);
    kit_someone("other@x.org", &other);
    kit_org(&owner, org);
    return 0;
}

static int invite(const char *email, member_role role, uint8_t hash[WORDS_HASH])
{
    org_act q = kit_act(&owner, org);
    q.role = role;
    return kit_invite(&q, email, hash);
}

static int take(const uint8_t hash[WORDS_HASH], const auth_user *u)
{
    org_act q = kit_act(u, "");
    auth_org o;
    memcpy(q.hash, hash, WORDS_HASH);
    return kit_write(invitation_take, &q, &o);
}

static int look(const uint8_t hash[WORDS_HASH], auth_invitation *ret, arena *a)
{
    org_act q = {.org = ""};
    memcpy(q.hash, hash, WORDS_HASH);
    return kit_read(invitation_by_token, &q, ret, a);
}

static int open_ones(void)
{
    return kit_rows(&auth_invitations_table, &(invitation_row){.org = sv_cstr(org)}, "by_org");
}

static void test_one_use(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH], unknown[WORDS_HASH] = {7};
    auth_invitation i;
    arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(invite("", ROLE_ADMIN, hash), 0);
    assert_int_equal(look(hash, &i, &a), 0);
    assert_true(sv_str_is(i.org_name, "Acme") && sv_str_is(i.role, "admin"));
    assert_true(i.id.n == 0 && i.org.n == 0 && i.by.n == 0 && i.email.n == 0);
    assert_int_equal(look(unknown, &i, &a), SV_E_LINK);
    assert_int_equal(take(unknown, &guest), SV_E_LINK);
    assert_int_equal(take(hash, &guest), 0);
    assert_int_equal(kit_role(org, &guest), ROLE_ADMIN);
    assert_int_equal(take(hash, &other), SV_E_LINK);
    kit_again();
    assert_int_equal(take(hash, &other), SV_E_LINK);
    assert_int_equal(look(hash, &i, &a), SV_E_LINK);
    assert_int_equal(kit_role(org, &other), ROLE_NONE);
    assert_int_equal(kit_events(org, "invitation.made"), 1);
    assert_int_equal(kit_events(org, "invitation.used"), 1);
    assert_int_equal(kit_events(org, "member.added"), 1);
    assert_int_equal(open_ones(), 0);
    arena_free(&a);
}

static void test_at_the_same_moment(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    org_act q[3];
    auth_org o[3];
    int codes[3];
    assert_int_equal(invite("", ROLE_MEMBER, hash), 0);
    q[0] = q[1] = kit_act(&guest, "");
    q[2] = kit_act(&other, "");
    for (int i = 0; i < 3; i++)
        memcpy(q[i].hash, hash, WORDS_HASH);
    kit_write_all(invitation_take, q, sizeof *q, o, sizeof *o, 3, codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], SV_E_LINK);
    assert_int_equal(codes[2], SV_E_LINK);
    assert_int_equal(kit_role(org, &guest), ROLE_MEMBER);
    assert_int_equal(kit_role(org, &other), ROLE_NONE);
}

/* Who is a member does not use it up. */
static void test_member_already(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    kit_join(org, &guest, ROLE_VIEWER);
    assert_int_equal(invite("guest@x.org", ROLE_MEMBER, hash), SV_E_CONFLICT);
    assert_int_equal(invite("", ROLE_MEMBER, hash), 0);
    assert_int_equal(take(hash, &guest), SV_E_CONFLICT);
    assert_int_equal(kit_role(org, &guest), ROLE_VIEWER);
    assert_int_equal(open_ones(), 1);
    assert_int_equal(take(hash, &other), 0);
}

static int set_unverified(store_tx *tx, const void *in, void *out)
{
    (void)out;
    user_row row = {.id = sv_cstr(in)};
    int rc = store_get(tx, &auth_users, &row);
    row.verified = false;
    return rc ? rc : store_put(tx, &auth_users, &row);
}

static void test_for_an_address(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    invitation_used used;
    uint32_t before = kit_mails("invitation");
    assert_int_equal(invite("guest@x.org", ROLE_MEMBER, hash), 0);
    assert_int_equal(kit_mails("invitation"), before + 1);
    assert_int_equal(take(hash, &other), SV_E_DENIED);
    assert_null(strstr(kit_error.message, "guest"));
    assert_int_equal(kit_write(set_unverified, guest.id, NULL), 0);
    assert_int_equal(take(hash, &guest), SV_E_NOT_VERIFIED);
    /* a new account confirms its address at its first login */
    kit_use_in q = {.registering = true};
    memcpy(q.hash, hash, WORDS_HASH);
    memcpy(q.user, other.id, sizeof q.user);
    assert_int_equal(kit_write(kit_use_fn, &q, &used), SV_E_DENIED);
    memcpy(q.user, guest.id, sizeof q.user);
    assert_int_equal(kit_write(kit_use_fn, &q, &used), 0);
    assert_string_equal(used.org, org);
    assert_string_equal(used.by, owner.id);
    assert_string_equal(used.email, "guest@x.org");
    assert_int_equal(used.role, ROLE_MEMBER);
    assert_int_equal(kit_role(org, &guest), ROLE_MEMBER);
}

static void test_replaced_dropped_expired(void **state)
{
    (void)state;
    uint8_t first[WORDS_HASH], second[WORDS_HASH], hash[WORDS_HASH];
    assert_int_equal(invite("guest@x.org", ROLE_ADMIN, first), 0);
    assert_int_equal(invite("guest@x.org", ROLE_VIEWER, second), 0);
    assert_int_equal(open_ones(), 1);
    assert_int_equal(take(first, &guest), SV_E_LINK);
    assert_int_equal(take(second, &guest), 0);
    assert_int_equal(kit_role(org, &guest), ROLE_VIEWER);
    org_act q = kit_act(&owner, org);
    q.role = ROLE_MEMBER;
    assert_int_equal(kit_invite(&q, "", hash), 0);
    assert_int_equal(kit_write(invitation_end, &q, NULL), 0);
    assert_int_equal(take(hash, &other), SV_E_LINK);
    assert_int_equal(kit_events(org, "invitation.dropped"), 1);
    assert_int_equal(kit_invite(&q, "", hash), 0);
    kit_now_ms += KIT_DAY_MS;
    assert_int_equal(take(hash, &other), SV_E_LINK);
}

/* It outlives the right of who made it; the audit log has his name. */
static void test_inviter_leaves(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    kit_join(org, &guest, ROLE_ADMIN);
    org_act q = kit_act(&guest, org);
    q.role = ROLE_ADMIN;
    assert_int_equal(kit_invite(&q, "", hash), 0);
    memcpy(q.user, guest.id, sizeof q.user);
    assert_int_equal(kit_write(member_remove, &q, NULL), 0);
    assert_int_equal(take(hash, &other), 0);
}

static void test_limits(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    char email[32];
    org_act q = kit_act(&owner, org);
    invitation_page page;
    arena a;
    for (int i = 0; i < INVITATIONS_MOST; i++) {
        snprintf(email, sizeof email, "g%d@x.org", i);
        assert_int_equal(invite(i % 2 ? email : "", ROLE_MEMBER, hash), 0);
    }
    assert_int_equal(invite("", ROLE_MEMBER, hash), SV_E_QUOTA);
    assert_int_equal(invite("new@x.org", ROLE_MEMBER, hash), SV_E_QUOTA);
    assert_int_equal(invite("g1@x.org", ROLE_MEMBER, hash), 0); /* replaces one */
    arena_init(&a, 1 << 20);
    uint32_t n = 0;
    do {
        assert_int_equal(kit_read(invitation_some, &q, &page, &a), 0);
        n += page.n;
        snprintf(q.after, sizeof q.after, "%.*s", SV_FMT(page.next));
    } while (page.next.n);
    assert_int_equal(n, INVITATIONS_MOST);
    arena_free(&a);
    kit_now_ms += KIT_DAY_MS;
    assert_int_equal(invite("", ROLE_MEMBER, hash), 0); /* the others have expired */
}

/* Nobody's mailbox is filled: not by one who invites again and again, nor by many. */
static void test_mails_to_one_address(void **state)
{
    (void)state;
    uint8_t hash[WORDS_HASH];
    uint32_t before = kit_mails("invitation");
    for (int i = 0; i < 5; i++)
        assert_int_equal(invite("victim@x.org", ROLE_MEMBER, hash), 0);
    assert_int_equal(invite("victim@x.org", ROLE_MEMBER, hash), SV_E_RATE);
    assert_string_equal(kit_error.field, "email");
    assert_int_equal(kit_error.retry_after_ms, 3600000);
    kit_org(&other, org);
    org_act q = kit_act(&other, org);
    q.role = ROLE_MEMBER;
    assert_int_equal(kit_invite(&q, "victim@x.org", hash), SV_E_RATE);
    assert_int_equal(kit_mails("invitation"), before + 5);
    assert_int_equal(kit_invite(&q, "another@x.org", hash), 0);
    kit_now_ms += 3600000;
    assert_int_equal(kit_invite(&q, "victim@x.org", hash), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_use, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_at_the_same_moment, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_member_already, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_for_an_address, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_replaced_dropped_expired, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_inviter_leaves, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_limits, start, kit_stop),
        cmocka_unit_test_setup_teardown(test_mails_to_one_address, start, kit_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
