/*  test_grants.c - grants: whose they are, what they give, and when they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "org_kit.h"
#include "grants.h"
#include "members.h"

static auth_user owner, member;
static arena memory; /* of the last result */

static int begin(void **state)
{
    kit_start(state);
    arena_init(&memory, 1 << 20);
    if (kit_user("owner@example.org", "correct horse battery", true, &owner) ||
        kit_user("member@example.org", "correct horse battery", false, &member))
        return -1;
    kit_join(owner.org, &member, ROLE_MEMBER);
    return 0;
}

static int end(void **state)
{
    arena_free(&memory);
    kit_stop(state);
    return 0;
}

static grant_new request_of(const auth_user *u, const char *org, const char *service,
                            const auth_grant_req *q)
{
    grant_new n = {.request = q, .scopes = q->scopes, .service = service};
    snprintf(n.asker.who.id, sizeof n.asker.who.id, "%s", u->id);
    snprintf(n.asker.who.actor, sizeof n.asker.who.actor, "%s", u->id);
    snprintf(n.asker.org, sizeof n.asker.org, "%s", org);
    kit_id(n.id);
    return n;
}

static int ask(const char *job, const char *service, char ret[AUTH_ID + 1])
{
    auth_grant_req q = {.job = sv_cstr(job)};
    grant_new n = request_of(&member, owner.org, service, &q);
    return kit_write(grant_insert, &n, ret);
}

static int look(const char *id, const char *service, grant_rights *ret)
{
    grant_ask q = {.id = sv_cstr(id), .service = service};
    arena_reset(&memory);
    return kit_read(grant_look, &q, ret, &memory);
}

static void rights_of_now(void **state)
{
    (void)state;
    char id[AUTH_ID + 1];
    grant_rights r;
    assert_int_equal(ask("nightly", "workflow", id), 0);
    kit_again();
    assert_int_equal(look(id, "workflow", &r), 0);
    assert_true(sv_str_is(r.user, member.id) && sv_str_is(r.org, owner.org));
    assert_true(sv_str_is(r.role, "member") && sv_str_is(r.tier, "free") && !r.admin);
    assert_true(sv_str_is(r.job, "nightly"));
    assert_int_equal(kit_leave(owner.org, member.id), 0);
    assert_int_equal(look(id, "workflow", &r), SV_E_DENIED);
    kit_join(owner.org, &member, ROLE_VIEWER);
    assert_int_equal(look(id, "workflow", &r), 0);
    assert_true(sv_str_is(r.role, "viewer"));
    assert_int_equal(kit_events(owner.org, "grant.made"), 1);
}

static void of_one_service(void **state)
{
    (void)state;
    char id[AUTH_ID + 1];
    grant_rights r;
    assert_int_equal(ask("nightly", "workflow", id), 0);
    assert_int_equal(look(id, "router", &r), SV_E_NOT_FOUND);
    assert_int_equal(look("", "workflow", &r), SV_E_NOT_FOUND);
    assert_int_equal(look("nothing", "workflow", &r), SV_E_NOT_FOUND);
    grant_ask q = {.id = sv_cstr(id), .service = "router"};
    assert_int_equal(kit_write(grant_remove, &q, NULL), SV_E_NOT_FOUND);
    q.service = "workflow";
    assert_int_equal(kit_write(grant_remove, &q, NULL), 0);
    assert_int_equal(look(id, "workflow", &r), SV_E_NOT_FOUND);
    assert_int_equal(kit_write(grant_remove, &q, NULL), SV_E_NOT_FOUND);
    assert_int_equal(kit_events(owner.org, "grant.ended"), 1);
}

/* Asking again, as after a crash, makes no second one. */
static void the_same_job_is_one_grant(void **state)
{
    (void)state;
    char one[AUTH_ID + 1], two[AUTH_ID + 1], other[AUTH_ID + 1], longer[AUTH_ID + 1];
    char job[101];
    memset(job, 'j', 100);
    job[100] = 0;
    assert_int_equal(ask("nightly", "workflow", one), 0);
    assert_int_equal(ask("nightly", "workflow", two), 0);
    assert_string_equal(one, two);
    assert_int_equal(ask("nightly", "builder", other), 0);
    assert_string_not_equal(one, other);
    assert_int_equal(ask(job, "workflow", one), 0);
    job[99] = 'k';
    assert_int_equal(ask(job, "workflow", longer), 0);
    assert_string_not_equal(one, longer);
    assert_int_equal(kit_events(owner.org, "grant.made"), 4);
}

static int shut_user(store_tx *tx, const void *in, void *out)
{
    (void)out;
    user_row row = {.id = sv_cstr(member.id)};
    int rc = store_get(tx, &auth_users, &row);
    row.disabled = *(const bool *)in;
    return rc ? rc : store_put(tx, &auth_users, &row);
}

static void ends(void **state)
{
    (void)state;
    char id[AUTH_ID + 1], late[AUTH_ID + 1];
    grant_rights r;
    bool shut = true, open = false;
    auth_grant_req q = {.job = sv_cstr("soon over"), .expires = (int64_t)kit_now_ms + 60000};
    grant_new n = request_of(&member, owner.org, "workflow", &q);
    assert_int_equal(ask("nightly", "workflow", id), 0);
    assert_int_equal(kit_write(shut_user, &shut, NULL), 0);
    assert_int_equal(look(id, "workflow", &r), SV_E_DENIED);
    assert_int_equal(kit_write(grant_insert, &n, late), SV_E_DENIED);
    assert_int_equal(kit_write(shut_user, &open, NULL), 0);
    assert_int_equal(look(id, "workflow", &r), 0);
    assert_int_equal(kit_write(grant_insert, &n, late), 0);
    assert_int_equal(look(late, "workflow", &r), 0);
    assert_int_equal(r.expires, q.expires);
    kit_now_ms += 60000;
    assert_int_equal(look(late, "workflow", &r), SV_E_NOT_FOUND);
    assert_int_equal(kit_write(grant_insert, &n, late), SV_E_INVALID);
    grant_new away = request_of(&owner, member.org, "workflow", &(auth_grant_req){.expires = 0});
    assert_int_equal(kit_write(grant_insert, &away, late), SV_E_DENIED); /* he is not in it */
}

static int make_key(store_tx *tx, const void *in, void *out)
{
    auth_key key;
    (void)out;
    return key_insert(tx, in, &key);
}

/* What was asked for with a key ends with it. */
static void with_a_key(void **state)
{
    (void)state;
    char id[AUTH_ID + 1], key[KEY_TEXT + 1];
    grant_rights r;
    key_new k = {.request = &(auth_key_new_req){.minute_limit = 0}, .most = 5};
    auth_grant_req q = {.job = sv_cstr("by key")};
    grant_new n = request_of(&member, owner.org, "workflow", &q);
    k.asker = n.asker;
    key_make(k.id, k.shown, key);
    token_hash(sv_cstr(key), k.hash);
    assert_int_equal(kit_write(make_key, &k, NULL), 0);
    memcpy(n.asker.key, k.id, sizeof n.asker.key);
    sv_str chat = sv_cstr("chat");
    n.scopes = (sv_strs){&chat, 1};
    assert_int_equal(kit_write(grant_insert, &n, id), 0);
    assert_int_equal(look(id, "workflow", &r), 0);
    assert_int_equal(r.scopes.n, 1);
    assert_true(sv_str_is(r.scopes.items[0], "chat"));
    assert_int_equal(kit_leave(owner.org, member.id), 0);
    kit_join(owner.org, &member, ROLE_MEMBER);
    assert_int_equal(look(id, "workflow", &r), SV_E_DENIED);
}

/* An administrator's limited grant is not an administrator's. */
static void administrators(void **state)
{
    (void)state;
    char all[AUTH_ID + 1], some[AUTH_ID + 1];
    grant_rights r;
    sv_str chat = sv_cstr("chat");
    auth_grant_req q = {.job = sv_cstr("all")},
                   limited = {.job = sv_cstr("some"), .scopes = {&chat, 1}};
    grant_new n = request_of(&owner, owner.org, "workflow", &q);
    assert_int_equal(kit_write(grant_insert, &n, all), 0);
    n = request_of(&owner, owner.org, "workflow", &limited);
    assert_int_equal(kit_write(grant_insert, &n, some), 0);
    assert_int_equal(look(all, "workflow", &r), 0);
    assert_true(r.admin);
    assert_int_equal(look(some, "workflow", &r), 0);
    assert_false(r.admin);
}

static void only_so_many(void **state)
{
    (void)state;
    char id[AUTH_ID + 1], job[32];
    for (int i = 0; i < GRANTS_MOST; i++) {
        snprintf(job, sizeof job, "job %d", i);
        assert_int_equal(ask(job, "workflow", id), 0);
    }
    assert_int_equal(ask("one more", "workflow", id), SV_E_QUOTA);
    assert_int_equal(ask("job 0", "workflow", id), 0);
}

int main(void)
{
#define GRANT_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        GRANT_TEST(rights_of_now),
        GRANT_TEST(of_one_service),
        GRANT_TEST(the_same_job_is_one_grant),
        GRANT_TEST(ends),
        GRANT_TEST(with_a_key),
        GRANT_TEST(administrators),
        GRANT_TEST(only_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
