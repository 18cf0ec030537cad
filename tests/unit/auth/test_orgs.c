/*  Organizations in a real store: every role and every act, who is not in it, the last owner, acts at
 *  the same moment, and deletion in pieces that a crash does not stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "key_store.h"
#include "org_kit.h"

/* ---- every role and every act ---- */

typedef enum target { NOBODY, SELF, MEMBER, ADMIN, OWNER } target;

typedef struct act {
    const char *name;
    store_fn *fn;
    bool read;
    target target;
    member_role role;
    int want[ROLE_OWNER + 1]; /* for each role of the caller */
} act;

#define NF   SV_E_NOT_FOUND
#define ROLE SV_E_ROLE

static const act acts[] = {
    {"look", org_look, true, NOBODY, 0, {NF, 0, 0, 0, 0}},
    {"change", org_change, false, NOBODY, 0, {NF, ROLE, ROLE, 0, 0}},
    {"delete", org_end, false, NOBODY, 0, {NF, ROLE, ROLE, ROLE, 0}},
    {"switch", org_change_session, false, NOBODY, 0, {NF, 0, 0, 0, 0}},
    {"members", member_some, true, NOBODY, 0, {NF, 0, 0, 0, 0}},
    {"leave", member_remove, false, SELF, 0, {NF, 0, 0, 0, 0}},
    {"transfer", member_transfer, false, MEMBER, 0, {NF, ROLE, ROLE, ROLE, 0}},
    {"lower a member", member_set_role, false, MEMBER, ROLE_VIEWER, {NF, ROLE, ROLE, 0, 0}},
    {"raise a member", member_set_role, false, MEMBER, ROLE_ADMIN, {NF, ROLE, ROLE, 0, 0}},
    {"make an owner", member_set_role, false, MEMBER, ROLE_OWNER, {NF, ROLE, ROLE, ROLE, 0}},
    {"lower an admin", member_set_role, false, ADMIN, ROLE_MEMBER, {NF, ROLE, ROLE, 0, 0}},
    {"lower an owner", member_set_role, false, OWNER, ROLE_ADMIN, {NF, ROLE, ROLE, ROLE, 0}},
    {"raise oneself", member_set_role, false, SELF, ROLE_OWNER, {NF, ROLE, ROLE, ROLE, 0}},
    {"raise oneself a bit", member_set_role, false, SELF, ROLE_ADMIN, {NF, ROLE, ROLE, 0, 0}},
    {"lower oneself", member_set_role, false, SELF, ROLE_VIEWER, {NF, 0, 0, 0, 0}},
    {"remove a member", member_remove, false, MEMBER, 0, {NF, ROLE, ROLE, 0, 0}},
    {"remove an admin", member_remove, false, ADMIN, 0, {NF, ROLE, ROLE, 0, 0}},
    {"remove an owner", member_remove, false, OWNER, 0, {NF, ROLE, ROLE, ROLE, 0}},
    {"invite", invitation_make, false, NOBODY, ROLE_MEMBER, {NF, ROLE, ROLE, 0, 0}},
    {"invite an admin", invitation_make, false, NOBODY, ROLE_ADMIN, {NF, ROLE, ROLE, 0, 0}},
    {"invite an owner", invitation_make, false, NOBODY, ROLE_OWNER, {NF, ROLE, ROLE, ROLE, ROLE}},
    {"invitations", invitation_some, true, NOBODY, 0, {NF, ROLE, ROLE, 0, 0}},
    {"drop", invitation_end, false, NOBODY, 0, {NF, ROLE, ROLE, 0, 0}},
};

/* Users that all organizations of this test are made of. */
typedef struct cast {
    auth_user owner, owner2, admin, member, caller;
    char session[AUTH_ID + 1];
} cast;

static void make_cast(cast *c)
{
    kit_someone("owner@x.org", &c->owner);
    kit_someone("owner2@x.org", &c->owner2);
    kit_someone("admin@x.org", &c->admin);
    kit_someone("member@x.org", &c->member);
    kit_someone("caller@x.org", &c->caller);
    kit_session(&c->caller, c->session);
}

static void make_org(const cast *c, member_role role, char org[AUTH_ID + 1],
                     char invitation[AUTH_ID + 1])
{
    kit_org(&c->owner, org);
    kit_join(org, &c->owner2, ROLE_OWNER);
    kit_join(org, &c->admin, ROLE_ADMIN);
    kit_join(org, &c->member, ROLE_MEMBER);
    org_act q = kit_act(&c->owner, org);
    q.role = ROLE_MEMBER;
    assert_int_equal(kit_invite(&q, "", NULL), 0);
    memcpy(invitation, q.fresh, AUTH_ID + 1);
    if (role) kit_join(org, &c->caller, role);
}

static int do_act(const cast *c, const act *a, const char *org, const char *invitation,
                  const char *key_org)
{
    org_act q = kit_act(&c->caller, org);
    const char *const user[] = {"", c->caller.id, c->member.id, c->admin.id, c->owner2.id};
    snprintf(q.user, sizeof q.user, "%s", user[a->target]);
    snprintf(q.session, sizeof q.session, "%s", c->session);
    snprintf(q.name, sizeof q.name, "other");
    snprintf(q.fresh, sizeof q.fresh, "%s", invitation);
    if (a->fn == invitation_make) kit_id(q.fresh);
    memset(q.hash, 1, sizeof q.hash);
    q.role = a->role;
    q.life_ms = KIT_DAY_MS;
    if (key_org) {
        kit_id(q.who.key);
        snprintf(q.who.org, sizeof q.who.org, "%s", key_org);
    }
    union {
        auth_org org;
        auth_member member;
        auth_invitation invitation;
        auth_login_result login;
        org_page orgs;
        member_page members;
        invitation_page invitations;
    } *out = calloc(1, sizeof *out);
    arena mem;
    arena_init(&mem, 1 << 20);
    int rc = a->read ? kit_read(a->fn, &q, out, &mem) : kit_write(a->fn, &q, out);
    arena_free(&mem);
    free(out);
    return rc;
}

static void test_roles_and_acts(void **state)
{
    (void)state;
    cast c;
    char org[AUTH_ID + 1], invitation[AUTH_ID + 1];
    make_cast(&c);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        for (member_role r = ROLE_NONE; r <= ROLE_OWNER; r++) {
            make_org(&c, r, org, invitation);
            int rc = do_act(&c, &acts[i], org, invitation, NULL);
            if (rc != acts[i].want[r])
                fail_msg("%s as %s: %d instead of %d: %s", acts[i].name, role_name(r), rc,
                         acts[i].want[r], kit_error.message);
            kit_forget_org(org);
        }
}

/* A key works for its own organization only: any other one is not there, whatever its user is. */
static void test_keys_stay_at_home(void **state)
{
    (void)state;
    cast c;
    char org[AUTH_ID + 1], other[AUTH_ID + 1], invitation[AUTH_ID + 1];
    make_cast(&c);
    make_org(&c, ROLE_OWNER, other, invitation);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        make_org(&c, ROLE_OWNER, org, invitation);
        int rc = do_act(&c, &acts[i], org, invitation, other);
        if (rc != SV_E_NOT_FOUND) fail_msg("%s: %d", acts[i].name, rc);
        rc = do_act(&c, &acts[i], org, invitation, org);
        if (rc != acts[i].want[ROLE_OWNER]) fail_msg("%s at home: %d", acts[i].name, rc);
        kit_forget_org(org);
    }
    arena mem;
    arena_init(&mem, 1 << 20);
    org_page page;
    org_act q = kit_act(&c.caller, "");
    kit_id(q.who.key);
    memcpy(q.who.org, other, sizeof other);
    assert_int_equal(kit_read(org_some, &q, &page, &mem), 0);
    assert_int_equal(page.n, 1);
    assert_true(sv_str_is(page.items[0].id, other));
    arena_free(&mem);
}

/* Who is not in it hears the same as where there is nothing, to the letter. */
static void test_not_there(void **state)
{
    (void)state;
    cast c;
    char org[AUTH_ID + 1], gone[AUTH_ID + 1], invitation[AUTH_ID + 1];
    make_cast(&c);
    make_org(&c, ROLE_NONE, org, invitation);
    make_org(&c, ROLE_OWNER, gone, invitation);
    assert_int_equal(do_act(&c, &acts[2], gone, invitation, NULL), 0);
    static const char *const hostile[] = {"",
                                          "x",
                                          "'\"; --",
                                          "../../../../etc/passwd",
                                          "\xd0\xb0\xd0\xb1\xd0\xb2",
                                          "platform",
                                          "00000000-0000-0000-0000-000000000000"};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (acts[i].read) continue; /* kit_error is of writes */
        assert_int_equal(do_act(&c, &acts[i], org, invitation, NULL), SV_E_NOT_FOUND);
        sv_error here = kit_error;
        assert_int_equal(do_act(&c, &acts[i], gone, invitation, NULL), SV_E_NOT_FOUND);
        assert_memory_equal(&here, &kit_error, sizeof here);
        for (size_t k = 0; k < sizeof hostile / sizeof *hostile; k++) {
            assert_int_equal(do_act(&c, &acts[i], hostile[k], invitation, NULL), SV_E_NOT_FOUND);
            assert_memory_equal(&here, &kit_error, sizeof here);
        }
    }
    /* and in one's own organization, a member or an invitation that is not there */
    kit_join(org, &c.caller, ROLE_ADMIN);
    for (size_t k = 0; k < sizeof hostile / sizeof *hostile; k++) {
        org_act q = kit_act(&c.caller, org);
        auth_member m;
        snprintf(q.user, sizeof q.user, "%s", hostile[k]);
        snprintf(q.fresh, sizeof q.fresh, "%s", hostile[k]);
        q.role = ROLE_VIEWER;
        assert_int_equal(kit_write(member_set_role, &q, &m), SV_E_NOT_FOUND);
        assert_int_equal(kit_write(member_remove, &q, NULL), SV_E_NOT_FOUND);
        assert_int_equal(kit_write(invitation_end, &q, NULL), SV_E_NOT_FOUND);
    }
    /* an invitation of another organization */
    org_act q = kit_act(&c.caller, org);
    char other[AUTH_ID + 1];
    kit_org(&c.caller, other);
    org_act theirs = kit_act(&c.caller, other);
    theirs.role = ROLE_MEMBER;
    assert_int_equal(kit_invite(&theirs, "", NULL), 0);
    memcpy(q.fresh, theirs.fresh, sizeof q.fresh);
    assert_int_equal(kit_write(invitation_end, &q, NULL), SV_E_NOT_FOUND);
    assert_int_equal(kit_write(invitation_end, &theirs, NULL), 0);
}

/* ---- the last owner ---- */

static void test_last_owner(void **state)
{
    (void)state;
    auth_user owner, other;
    char org[AUTH_ID + 1];
    auth_member m;
    auth_org o;
    kit_someone("owner@x.org", &owner);
    kit_someone("other@x.org", &other);
    kit_org(&owner, org);
    org_act q = kit_act(&owner, org);
    memcpy(q.user, owner.id, sizeof q.user);
    for (member_role r = ROLE_VIEWER; r < ROLE_OWNER; r++) {
        q.role = r;
        assert_int_equal(kit_write(member_set_role, &q, &m), SV_E_LAST_OWNER);
    }
    assert_int_equal(kit_write(member_remove, &q, NULL), SV_E_LAST_OWNER);
    assert_int_equal(kit_write(member_transfer, &q, &o), SV_E_INVALID);
    kit_join(org, &other, ROLE_VIEWER);
    assert_int_equal(kit_write(member_remove, &q, NULL), SV_E_LAST_OWNER);
    memcpy(q.user, other.id, sizeof q.user);
    assert_int_equal(kit_write(member_transfer, &q, &o), 0);
    assert_int_equal(kit_role(org, &owner), ROLE_ADMIN);
    assert_int_equal(kit_role(org, &other), ROLE_OWNER);
    memcpy(q.user, owner.id, sizeof q.user);
    assert_int_equal(kit_write(member_remove, &q, NULL), 0);
    assert_int_equal(kit_role(org, &owner), ROLE_NONE);
    assert_int_equal(kit_events(org, "org.transferred"), 1);
    assert_int_equal(kit_events(org, "member.left"), 1);
}

static int owners(const char *org, const auth_user *users, int n)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        found += kit_role(org, &users[i]) == ROLE_OWNER;
    return found;
}

/* Both are decided in one batch, each sees what the other did. */
static void test_at_the_same_moment(void **state)
{
    (void)state;
    auth_user u[3];
    char org[AUTH_ID + 1];
    org_act q[2];
    auth_org made[2];
    auth_member m[2];
    int codes[2];
    kit_someone("a@x.org", &u[0]);
    kit_someone("b@x.org", &u[1]);
    kit_someone("c@x.org", &u[2]);
    kit_org(&u[0], org);
    kit_join(org, &u[1], ROLE_MEMBER);
    kit_join(org, &u[2], ROLE_MEMBER);
    /* two transfers */
    for (int i = 0; i < 2; i++) {
        q[i] = kit_act(&u[0], org);
        memcpy(q[i].user, u[i + 1].id, sizeof q[i].user);
    }
    kit_write_all(member_transfer, q, sizeof *q, made, sizeof *made, 2, codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], SV_E_ROLE);
    assert_int_equal(owners(org, u, 3), 1);
    /* both owners leave */
    kit_join_again(org, &u[0], ROLE_OWNER);
    kit_join_again(org, &u[1], ROLE_OWNER);
    for (int i = 0; i < 2; i++) {
        q[i] = kit_act(&u[i], org);
        memcpy(q[i].user, u[i].id, sizeof q[i].user);
    }
    kit_write_all(member_remove, q, sizeof *q, m, sizeof *m, 2, codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], SV_E_LAST_OWNER);
    assert_int_equal(owners(org, u, 3), 1);
    /* both lower each other */
    kit_join_again(org, &u[0], ROLE_OWNER);
    for (int i = 0; i < 2; i++) {
        q[i] = kit_act(&u[i], org);
        memcpy(q[i].user, u[1 - i].id, sizeof q[i].user);
        q[i].role = ROLE_VIEWER;
    }
    kit_write_all(member_set_role, q, sizeof *q, m, sizeof *m, 2, codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], SV_E_ROLE);
    assert_int_equal(owners(org, u, 3), 1);
}

/* ---- personal ones, limits, counts ---- */

static void test_personal(void **state)
{
    (void)state;
    auth_user u, other;
    auth_org o;
    kit_someone("a@x.org", &u);
    kit_someone("b@x.org", &other);
    org_act q = kit_act(&u, u.org);
    q.role = ROLE_MEMBER;
    assert_int_equal(kit_write(org_end, &q, NULL), SV_E_INVALID);
    assert_int_equal(kit_invite(&q, "", NULL), SV_E_INVALID);
    memcpy(q.user, u.id, sizeof q.user);
    assert_int_equal(kit_write(member_remove, &q, NULL), SV_E_INVALID);
    memcpy(q.user, other.id, sizeof q.user);
    assert_int_equal(kit_write(member_transfer, &q, &o), SV_E_INVALID);
    assert_int_equal(kit_role(u.org, &u), ROLE_OWNER);
}

static void test_owned_most(void **state)
{
    (void)state;
    auth_user u, other;
    auth_org o;
    auth_member m;
    char org[AUTH_ID + 1], theirs[AUTH_ID + 1];
    kit_someone("a@x.org", &u);
    kit_someone("b@x.org", &other);
    org_act q = kit_act(&u, "");
    q.owned_most = 2;
    snprintf(q.name, sizeof q.name, "x");
    for (int i = 0; i < 3; i++) {
        kit_id(q.fresh);
        if (i == 0) memcpy(org, q.fresh, sizeof org);
        assert_int_equal(kit_write(org_make, &q, &o), i < 2 ? 0 : SV_E_QUOTA);
    }
    /* nor is he made the owner of another one */
    kit_org(&other, theirs);
    kit_join(theirs, &u, ROLE_MEMBER);
    q = kit_act(&other, theirs);
    q.owned_most = 2;
    q.role = ROLE_OWNER;
    memcpy(q.user, u.id, sizeof q.user);
    assert_int_equal(kit_write(member_set_role, &q, &m), SV_E_QUOTA);
    assert_int_equal(kit_write(member_transfer, &q, &o), SV_E_QUOTA);
    q = kit_act(&u, org);
    assert_int_equal(kit_write(org_end, &q, NULL), 0);
    kit_end(org);
    q.owned_most = 2;
    snprintf(q.name, sizeof q.name, "x");
    kit_id(q.fresh);
    assert_int_equal(kit_write(org_make, &q, &o), 0);
}

static void test_lists(void **state)
{
    (void)state;
    enum { MANY = 103 };
    auth_user owner, u[MANY];
    char org[AUTH_ID + 1], email[32], first[AUTH_ID + 1];
    arena mem;
    org_page orgs;
    member_page members;
    auth_org o;
    kit_someone("owner@x.org", &owner);
    kit_org(&owner, org);
    for (int i = 0; i < MANY; i++) {
        snprintf(email, sizeof email, "u%d@x.org", i);
        kit_someone(email, &u[i]);
        kit_join(org, &u[i], ROLE_VIEWER);
    }
    arena_init(&mem, 1 << 20);
    org_act q = kit_act(&u[7], org);
    assert_int_equal(kit_read(org_look, &q, &o, &mem), 0);
    assert_int_equal(o.members, MANY + 1);
    assert_int_equal(kit_read(member_some, &q, &members, &mem), 0);
    assert_int_equal(members.n, 100);
    assert_true(members.next.n > 0);
    snprintf(q.after, sizeof q.after, "%.*s", SV_FMT(members.next));
    assert_int_equal(kit_read(member_some, &q, &members, &mem), 0);
    assert_int_equal(members.n, MANY + 1 - 100);
    assert_int_equal(members.next.n, 0);
    /* one user in many */
    for (int i = 0; i < MANY; i++)
        kit_org(&owner, first);
    q = kit_act(&owner, "");
    assert_int_equal(kit_read(org_some, &q, &orgs, &mem), 0);
    assert_int_equal(orgs.n, 100);
    snprintf(q.after, sizeof q.after, "%.*s", SV_FMT(orgs.next));
    assert_int_equal(kit_read(org_some, &q, &orgs, &mem), 0);
    assert_int_equal(orgs.n, MANY + 2 - 100);
    assert_int_equal(orgs.next.n, 0);
    assert_true(sv_str_is(orgs.items[orgs.n - 1].role, "owner"));
    arena_free(&mem);
}

/* ---- what follows ---- */

/* The last revocation: its subject and whether a refresh helps. */
static bool revoked_last(const char *subject, bool stale)
{
    arena mem;
    revocations_page page;
    int64_t after = 0;
    bool is = false;
    arena_init(&mem, 1 << 20);
    do {
        assert_int_equal(kit_read(revocations_some, &after, &page, &mem), 0);
        for (uint32_t i = 0; i < page.n; i++)
            is = sv_str_is(page.items[i].subject, subject) && page.items[i].stale == stale;
        if (page.n) after = page.items[page.n - 1].sequence;
    } while (page.more);
    arena_free(&mem);
    return is;
}

static void test_revocations(void **state)
{
    (void)state;
    auth_user owner, u;
    auth_member m;
    char org[AUTH_ID + 1], subject[96];
    kit_someone("owner@x.org", &owner);
    kit_someone("u@x.org", &u);
    kit_org(&owner, org);
    kit_join(org, &u, ROLE_MEMBER);
    snprintf(subject, sizeof subject, "member/%.36s/%.36s", org, u.id);
    org_act q = kit_act(&owner, org);
    memcpy(q.user, u.id, sizeof q.user);
    q.role = ROLE_MEMBER;
    assert_int_equal(kit_write(member_set_role, &q, &m), 0);
    assert_false(revoked_last(subject, true)); /* nothing has changed */
    assert_int_equal(kit_events(org, "member.changed"), 0);
    q.role = ROLE_ADMIN;
    assert_int_equal(kit_write(member_set_role, &q, &m), 0);
    assert_true(revoked_last(subject, true));
    assert_int_equal(kit_events(org, "member.changed"), 1);
    assert_int_equal(kit_write(member_remove, &q, NULL), 0);
    assert_true(revoked_last(subject, false));
    assert_int_equal(kit_events(org, "member.removed"), 1);
}

static void test_switch(void **state)
{
    (void)state;
    auth_user owner, u;
    auth_login_result r;
    char org[AUTH_ID + 1], session[AUTH_ID + 1], theirs[AUTH_ID + 1];
    kit_someone("owner@x.org", &owner);
    kit_someone("u@x.org", &u);
    kit_session(&u, session);
    kit_session(&owner, theirs);
    kit_org(&owner, org);
    kit_join(org, &u, ROLE_VIEWER);
    org_act q = kit_act(&u, org);
    memcpy(q.session, session, sizeof q.session);
    assert_int_equal(kit_write(org_change_session, &q, &r), 0);
    assert_string_equal(r.org, org);
    assert_string_equal(r.role, "viewer");
    assert_string_equal(r.tier, "free");
    assert_string_equal(r.session, session);
    assert_int_equal(kit_events(org, "org.switched"), 1);
    assert_int_equal(kit_write(org_change_session, &q, &r), 0);
    assert_int_equal(kit_events(org, "org.switched"), 1);
    /* the session works in it from now on, and at home once the membership is over */
    char where[AUTH_ID + 1];
    member_role role;
    kit_home(&u, org, where, &role);
    assert_string_equal(where, org);
    assert_int_equal(role, ROLE_VIEWER);
    memcpy(q.session, theirs, sizeof q.session);
    assert_int_equal(kit_write(org_change_session, &q, &r), SV_E_TOKEN_REVOKED);
    q.session[0] = 0;
    assert_int_equal(kit_write(org_change_session, &q, &r), SV_E_TOKEN_REVOKED);
    memcpy(q.user, u.id, sizeof q.user);
    assert_int_equal(kit_write(member_remove, &q, NULL), 0);
    kit_home(&u, org, where, &role);
    assert_string_equal(where, u.org);
    assert_int_equal(role, ROLE_OWNER);
    kit_end_sessions(&u);
    memcpy(q.session, session, sizeof q.session);
    memcpy(q.org, u.org, sizeof q.org);
    assert_int_equal(kit_write(org_change_session, &q, &r), SV_E_TOKEN_REVOKED);
}

/* An access token alone does not keep a session: what it gets by switching ends when the token of the
 * last login or refresh would have. */
static void test_switch_prolongs_nothing(void **state)
{
    (void)state;
    auth_user owner;
    auth_login_result r;
    char org[AUTH_ID + 1], session[AUTH_ID + 1];
    kit_someone("owner@x.org", &owner);
    kit_session(&owner, session);
    kit_org(&owner, org);
    int64_t end = (int64_t)kit_now_ms + 900000;
    org_act q = kit_act(&owner, org);
    memcpy(q.session, session, sizeof q.session);
    kit_now_ms += 600000;
    assert_int_equal(kit_write(org_change_session, &q, &r), 0);
    assert_int_equal(r.expires, end);
    kit_now_ms += 299999;
    assert_int_equal(kit_write(org_change_session, &q, &r), 0);
    assert_int_equal(r.expires, end);
    kit_now_ms++;
    assert_int_equal(kit_write(org_change_session, &q, &r), SV_E_TOKEN_EXPIRED);
}

/* Pieces, a crash between them, and the tick that goes on. */
static void test_deletion(void **state)
{
    (void)state;
    enum { MANY = 150 };
    auth_user owner, u[MANY];
    char org[AUTH_ID + 1], email[32], subject[96];
    bool done = false;
    uint8_t hash[WORDS_HASH];
    invitation_used used;
    kit_someone("owner@x.org", &owner);
    kit_org(&owner, org);
    for (int i = 0; i < MANY; i++) {
        snprintf(email, sizeof email, "u%d@x.org", i);
        kit_someone(email, &u[i]);
        kit_join(org, &u[i], ROLE_MEMBER);
    }
    org_act q = kit_act(&owner, org);
    q.role = ROLE_MEMBER;
    assert_int_equal(kit_invite(&q, "", hash), 0);
    assert_int_equal(kit_write(org_end_piece, org, &done), 0);
    assert_true(done); /* it has not ended: nothing is taken away */
    assert_int_equal(kit_role(org, &u[0]), ROLE_MEMBER);
    assert_int_equal(kit_write(org_end, &q, NULL), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(kit_role(org, &u[i]), ROLE_NONE);
    assert_int_equal(kit_use(hash, &u[0], &used), SV_E_LINK);
    assert_int_equal(kit_write(org_end, &q, NULL), SV_E_NOT_FOUND);
    assert_int_equal(kit_write(org_end_piece, org, &done), 0);
    assert_false(done);
    kit_again();
    int pieces = 0;
    for (done = false; !done; pieces++)
        assert_int_equal(kit_write(org_end_piece, "", &done), 0);
    assert_in_range(pieces, 2, 5);
    assert_int_equal(kit_rows(&auth_members, &(member_row){.org = sv_cstr(org)}, NULL), 0);
    assert_int_equal(
        kit_rows(&auth_invitations_table, &(invitation_row){.org = sv_cstr(org)}, "by_org"), 0);
    assert_int_equal(kit_events("platform", "org.deleted"), 1);
    assert_int_equal(kit_events(org, "org.deleted"), 1);
    int revoked = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(subject, sizeof subject, "member/%.36s/%.36s", org, u[i].id);
        revoked += kit_subject_revoked(subject);
    }
    assert_int_equal(revoked, MANY);
}

static void test_tiers(void **state)
{
    (void)state;
    static const char *const names[] = {"free", "premium", "own"};
    auth_user u;
    char org[AUTH_ID + 1], tier[TIER_BYTES];
    kit_someone("u@x.org", &u);
    kit_org(&u, org);
    kit_tier(&u, org, tier);
    assert_string_equal(tier, "free");
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            kit_set_tiers(&u, names[i], org, names[k]);
            kit_tier(&u, org, tier);
            assert_string_equal(tier, names[i > k ? i : k]);
        }
    kit_tier(&u, "nothing", tier);
    assert_string_equal(tier, "own");
    assert_int_equal(tier_rank(sv_cstr("golden")), 0);
}

static void test_actor(void **state)
{
    (void)state;
    char actor[AUTH_ACTOR], a[AUTH_ID + 1], b[AUTH_ID + 1], long_one[200];
    kit_id(a);
    kit_id(b);
    actor_spell("", a, actor);
    assert_string_equal(actor, a);
    actor_spell(a, b, actor);
    assert_int_equal(strlen(actor), AUTH_ID + 4 + AUTH_AS);
    assert_memory_equal(actor, a, AUTH_ID);
    assert_string_equal(actor + AUTH_ID + 4, b + AUTH_ID - AUTH_AS);
    actor_spell(a, "short", actor);
    assert_string_equal(actor + AUTH_ID, " as short");
    memset(long_one, 'x', sizeof long_one);
    long_one[sizeof long_one - 1] = 0;
    actor_spell(long_one, long_one, actor);
    assert_true(strlen(actor) < AUTH_ACTOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_roles_and_acts, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_keys_stay_at_home, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_not_there, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_last_owner, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_at_the_same_moment, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_personal, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_owned_most, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_lists, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_revocations, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_switch, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_switch_prolongs_nothing, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_deletion, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(test_tiers, kit_start, kit_stop),
        cmocka_unit_test(test_actor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
