/*  test_budgets.c - who may set which budget, what the feed of routers says of it, and that budgets end
 *  with what they limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "budgets.h"
#include "key_store.h"
#include "members.h"
#include "org_kit.h"

#include <stdlib.h>

static auth_user owner, member, stranger;
static char member_key[AUTH_ID + 1], last_id[AUTH_ID + 1];
static arena memory; /* of the last result */

static int insert_key(store_tx *tx, const void *in, void *out)
{
    auth_key key;
    (void)out;
    return key_insert(tx, in, &key);
}

static int begin(void **state)
{
    kit_start(state);
    arena_init(&memory, 1 << 22);
    kit_someone("owner@example.org", &owner);
    kit_someone("member@example.org", &member);
    kit_someone("stranger@example.org", &stranger);
    kit_join(owner.org, &member, ROLE_MEMBER);
    char text[KEY_TEXT + 1];
    key_new n = {.request = &(auth_key_new_req){.minute_limit = 0}, .most = 5};
    snprintf(n.asker.who.id, sizeof n.asker.who.id, "%s", member.id);
    snprintf(n.asker.who.actor, sizeof n.asker.who.actor, "%s", member.id);
    snprintf(n.asker.org, sizeof n.asker.org, "%s", owner.org);
    key_make(n.id, n.shown, text);
    token_hash(sv_cstr(text), n.hash);
    memcpy(member_key, n.id, sizeof member_key);
    return kit_write(insert_key, &n, NULL);
}

static int end(void **state)
{
    arena_free(&memory);
    kit_stop(state);
    return 0;
}

static budget_act act(const auth_user *u, const char *org)
{
    budget_act q = {.set = NULL};
    if (u)
        snprintf(q.who.user, sizeof q.who.user, "%s", u->id);
    else
        q.who.operator= q.who.admin = true;
    snprintf(q.who.actor, sizeof q.who.actor, "%s", u ? u->id : "operator");
    snprintf(q.who.org, sizeof q.who.org, "%s", u ? u->org : "");
    snprintf(q.org, sizeof q.org, "%s", org);
    return q;
}

static int insert(store_tx *tx, const void *in, void *out)
{
    auth_budget b;
    (void)out;
    int rc = budget_set(tx, in, &b);
    if (rc == 0) snprintf(last_id, sizeof last_id, "%.*s", SV_FMT(b.id));
    return rc;
}

static int set(const auth_user *u, const char *org, const char *level, const char *kind,
               const char *subject, int64_t month)
{
    auth_budget_set_req s = {.kind = sv_cstr(kind), .subject = sv_cstr(subject), .month = month};
    budget_act q = act(u, org);
    q.set = &s;
    q.level = level;
    kit_id(q.id);
    return kit_write(insert, &q, NULL);
}

static int take_away(store_tx *tx, const void *in, void *out)
{
    auth_budget gone;
    (void)out;
    return budget_remove(tx, in, &gone);
}

static int drop(const auth_user *u, const char *id)
{
    budget_act q = act(u, owner.org);
    snprintf(q.id, sizeof q.id, "%s", id);
    return kit_write(take_away, &q, NULL);
}

static uint32_t seen(const auth_user *u, const char *org)
{
    auth_budgets_reply page;
    budget_act q = act(u, org);
    arena_reset(&memory);
    assert_int_equal(kit_read(budget_some, &q, &page, &memory), 0);
    return page.budgets.n;
}

static auth_feed_page feed_after(int64_t after)
{
    auth_feed_page page;
    arena_reset(&memory);
    assert_int_equal(kit_read(feed_some, &after, &page, &memory), 0);
    return page;
}

static void who_may_set_what(void **state)
{
    (void)state;
    assert_int_equal(set(&owner, owner.org, NULL, "org", "", 5), 0);
    assert_int_equal(set(&owner, owner.org, NULL, "user", "*", 5), 0);
    assert_int_equal(set(&owner, owner.org, "org", "user", member.id, 5), 0);
    assert_int_equal(set(&owner, owner.org, "org", "key", member_key, 5), 0);
    assert_int_equal(set(&owner, owner.org, "org", "user", stranger.id, 5), SV_E_NOT_FOUND);
    assert_int_equal(set(&owner, owner.org, "platform", "org", "", 5), SV_E_ROLE);
    assert_int_equal(set(&owner, "*", NULL, "org", "", 5), SV_E_ROLE);
    assert_int_equal(set(&owner, stranger.org, NULL, "org", "", 5), SV_E_NOT_FOUND);
    assert_int_equal(set(&member, owner.org, NULL, "key", member_key, 5), 0);
    assert_int_equal(set(&member, owner.org, NULL, "key", "*", 5), SV_E_NOT_FOUND);
    assert_int_equal(set(&member, owner.org, "org", "key", member_key, 5), SV_E_ROLE);
    assert_int_equal(set(&member, owner.org, NULL, "user", member.id, 5), SV_E_ROLE);
    assert_int_equal(set(&owner, owner.org, "user", "key", member_key, 5), SV_E_NOT_FOUND);
    assert_int_equal(set(&stranger, owner.org, NULL, "key", member_key, 5), SV_E_NOT_FOUND);
    assert_int_equal(set(NULL, "*", NULL, "org", "", 5), 0);
    assert_int_equal(set(NULL, "*", NULL, "user", "*", 5), 0);
    assert_int_equal(set(NULL, "*", NULL, "user", member.id, 5), SV_E_INVALID);
    assert_int_equal(set(NULL, owner.org, NULL, "org", "x", 5), SV_E_INVALID);
    assert_int_equal(set(NULL, owner.org, NULL, "team", "", 5), SV_E_INVALID);
    assert_int_equal(set(NULL, owner.org, NULL, "org", "", 0), SV_E_INVALID);
    assert_int_equal(set(NULL, stranger.id, NULL, "org", "", 5), SV_E_NOT_FOUND);
}

static void who_sees_what(void **state)
{
    (void)state;
    set(&owner, owner.org, NULL, "org", "", 5);
    set(&owner, owner.org, NULL, "user", "*", 5);
    set(&owner, owner.org, NULL, "user", owner.id, 5);
    set(&owner, owner.org, NULL, "key", member_key, 5);
    assert_int_equal(seen(&owner, owner.org), 4);
    assert_int_equal(seen(&member, owner.org), 2);
    assert_int_equal(seen(&stranger, owner.org), 0);
    assert_int_equal(seen(NULL, owner.org), 4);
    assert_int_equal(drop(&member, last_id), SV_E_ROLE); /* he sees it, it is not his */
    assert_int_equal(drop(&stranger, last_id), SV_E_NOT_FOUND);
    assert_int_equal(drop(&owner, last_id), 0);
    assert_int_equal(drop(&owner, last_id), SV_E_NOT_FOUND);
    assert_int_equal(seen(&owner, owner.org), 3);
}

static void replaced(void **state)
{
    (void)state;
    char first[AUTH_ID + 1];
    set(&owner, owner.org, NULL, "org", "", 5);
    memcpy(first, last_id, sizeof first);
    set(&owner, owner.org, NULL, "org", "", 6);
    assert_string_equal(first, last_id);
    assert_int_equal(seen(&owner, owner.org), 1);
    set(NULL, owner.org, "platform", "org", "", 7);
    assert_string_not_equal(first, last_id);
}

static void the_feed(void **state)
{
    (void)state;
    auth_feed_page page = feed_after(0);
    assert_int_equal(page.sequence, 0);
    set(&owner, owner.org, NULL, "org", "", 5);
    set(&owner, owner.org, NULL, "user", "*", 5);
    set(&owner, owner.org, NULL, "org", "", 6);
    page = feed_after(0); /* one row for each, by its last change */
    const auth_feed_item *items = page.items.items;
    assert_int_equal(page.items.n, 2);
    assert_int_equal(items[0].sequence, 2);
    assert_int_equal(items[1].sequence, 3);
    assert_int_equal(page.upto, 3);
    auth_budget b;
    assert_int_equal(
        message_decode(&auth_budget_msg, items[1].data, MESSAGE_STRICT, &memory, &b, NULL), 0);
    assert_int_equal(b.month, 6);
    assert_true(sv_str_is(b.org, owner.org) && sv_str_is(b.kind, "org"));
    page = feed_after(2);
    assert_int_equal(page.items.n, 1);
    assert_int_equal(page.before, 2);
    assert_int_equal(drop(&owner, last_id), 0);
    page = feed_after(3);
    items = page.items.items;
    assert_int_equal(page.items.n, 1);
    assert_true(items[0].gone && items[0].data.n == 0);
    assert_int_equal(feed_after(4).items.n, 0);
    assert_int_equal(feed_after(-1).upto, 4);
}

/* A page ends where its bytes do, and the next one goes on there. */
static void long_feeds(void **state)
{
    (void)state;
    int64_t at = 0;
    uint32_t n = 0;
    char model[128];
    for (int i = 0; i < 400; i++) {
        memset(model, 'm', sizeof model);
        snprintf(model, sizeof model - 1, "model-%d", i);
        auth_budget_set_req s = {.kind = sv_cstr("org"), .model = sv_cstr(model), .day = 1};
        budget_act q = act(&owner, owner.org);
        q.set = &s;
        kit_id(q.id);
        assert_int_equal(kit_write(insert, &q, NULL), 0);
    }
    for (int pages = 0;; pages++) {
        auth_feed_page page = feed_after(at);
        const auth_feed_item *items = page.items.items;
        for (uint32_t i = 0; i < page.items.n; i++)
            assert_int_equal(items[i].sequence, at + 1 + i);
        n += page.items.n;
        at = page.upto;
        if (page.upto == page.sequence) {
            assert_true(pages > 1);
            break;
        }
    }
    assert_int_equal(n, 400);
}

static void they_end_with_what_they_limit(void **state)
{
    (void)state;
    set(&owner, owner.org, NULL, "key", member_key, 5);
    set(&member, owner.org, NULL, "key", member_key, 5);
    set(&owner, owner.org, NULL, "user", member.id, 5);
    set(&owner, owner.org, NULL, "user", "*", 5);
    assert_int_equal(seen(&owner, owner.org), 4);
    assert_int_equal(kit_leave(owner.org, member.id), 0);
    assert_int_equal(seen(&owner, owner.org), 1);
    assert_int_equal(feed_after(4).items.n, 3);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {CASE(who_may_set_what), CASE(who_sees_what),
                                       CASE(replaced),         CASE(the_feed),
                                       CASE(long_feeds),       CASE(they_end_with_what_they_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
