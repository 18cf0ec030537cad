/*  test_providers.c - who may bring, see and change which provider, what the feed of routers says of it,
 *  and that providers end with whom they are of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "feed.h"
#include "members.h"
#include "org_kit.h"
#include "providers.h"

#include <stdlib.h>

static auth_user owner, member, stranger;
static char last_id[AUTH_ID + 1];
static arena memory; /* of the last result */

static int begin(void **state)
{
    kit_start(state);
    arena_init(&memory, 1 << 22);
    kit_someone("owner@example.org", &owner);
    kit_someone("member@example.org", &member);
    kit_someone("stranger@example.org", &stranger);
    kit_join(owner.org, &member, ROLE_MEMBER);
    return 0;
}

static int end(void **state)
{
    arena_free(&memory);
    kit_stop(state);
    return 0;
}

/* Works in the owner's organization. */
static provider_act act(const auth_user *u, const char *id)
{
    provider_act q = {.put = NULL};
    if (u)
        snprintf(q.who.user, sizeof q.who.user, "%s", u->id);
    else
        q.who.operator= true;
    snprintf(q.who.actor, sizeof q.who.actor, "%s", u ? u->id : "operator");
    snprintf(q.who.org, sizeof q.who.org, "%s", u ? owner.org : "");
    snprintf(q.org, sizeof q.org, "%s", owner.org);
    snprintf(q.id, sizeof q.id, "%s", id);
    return q;
}

static int put_fn(store_tx *tx, const void *in, void *out)
{
    auth_provider p;
    (void)out;
    return provider_put(tx, in, &p);
}

static int remove_fn(store_tx *tx, const void *in, void *out)
{
    auth_provider p;
    (void)out;
    return provider_remove(tx, in, &p);
}

static int bring(const auth_user *u, bool whole_org, const char *name)
{
    provider_act q = act(u, "");
    kit_id(last_id);
    auth_provider_put_req s = {.id = sv_cstr(last_id),
                               .anew = true,
                               .whole_org = whole_org,
                               .name = sv_cstr(name),
                               .kind = sv_cstr("openai"),
                               .base_url = sv_cstr("https://api.example.org/v1"),
                               .last4 = sv_cstr("1234"),
                               .sealed = sv_cstr("a sealed blob")};
    q.put = &s;
    return kit_write(put_fn, &q, NULL);
}

static int change(const auth_user *u, const char *id, const char *name, const char *status,
                  const char *sealed)
{
    provider_act q = act(u, id);
    auth_provider_put_req s = {.id = sv_cstr(id),
                               .name = sv_cstr(name),
                               .status = sv_cstr(status),
                               .last4 = sv_cstr("5678"),
                               .sealed = sv_cstr(sealed)};
    q.put = &s;
    return kit_write(put_fn, &q, NULL);
}

static int drop(const auth_user *u, const char *id)
{
    provider_act q = act(u, id);
    return kit_write(remove_fn, &q, NULL);
}

static int look(const auth_user *u, const char *id, auth_provider *ret)
{
    provider_act q = act(u, id);
    arena_reset(&memory);
    return kit_read(provider_one, &q, ret, &memory);
}

static uint32_t seen(const auth_user *u)
{
    auth_providers_reply page;
    provider_act q = act(u, "");
    arena_reset(&memory);
    assert_int_equal(kit_read(provider_some, &q, &page, &memory), 0);
    return page.providers.n;
}

/* What the feed's last item says. */
static auth_feed_item last_told(void)
{
    int64_t after = 0;
    auth_feed_page page;
    arena_reset(&memory);
    assert_int_equal(kit_read(feed_some, &after, &page, &memory), 0);
    assert_true(page.items.n > 0);
    return ((auth_feed_item *)page.items.items)[page.items.n - 1];
}

static void who_may_bring_and_see_what(void **state)
{
    (void)state;
    auth_provider p;
    char of_org[AUTH_ID + 1];
    assert_int_equal(bring(&owner, true, "openai"), 0);
    memcpy(of_org, last_id, sizeof of_org);
    assert_int_equal(bring(&member, true, "groq"), SV_E_ROLE);
    assert_int_equal(bring(&member, false, "openai"), 0);
    assert_int_equal(bring(&stranger, false, "openai"), SV_E_NOT_FOUND);
    assert_int_equal(bring(&stranger, true, "openai"), SV_E_NOT_FOUND);
    assert_int_equal(bring(NULL, false, "openai"), SV_E_NO_CREDENTIALS);
    assert_int_equal(seen(&owner), 1);
    assert_int_equal(seen(&member), 2);
    assert_int_equal(seen(&stranger), 0);
    assert_int_equal(seen(NULL), 2);
    assert_int_equal(look(&member, of_org, &p), 0);
    assert_true(sv_str_is(p.last4, "1234"));
    assert_int_equal(look(&stranger, of_org, &p), SV_E_NOT_FOUND);
    kit_id(of_org);
    char hers[AUTH_ID + 1];
    assert_int_equal(bring(&member, false, "groq"), 0);
    memcpy(hers, last_id, sizeof hers);
    assert_int_equal(look(&owner, hers, &p), SV_E_NOT_FOUND);
    assert_int_equal(change(&owner, hers, "mine", "", ""), SV_E_NOT_FOUND);
    assert_int_equal(drop(&owner, hers), SV_E_NOT_FOUND);
}

static void names_are_unique_for_their_owner(void **state)
{
    (void)state;
    char first[AUTH_ID + 1];
    assert_int_equal(bring(&owner, true, "openai"), 0);
    memcpy(first, last_id, sizeof first);
    assert_int_equal(bring(&owner, true, "openai"), SV_E_CONFLICT);
    assert_int_equal(bring(&owner, false, "openai"), 0);
    assert_int_equal(bring(&owner, true, "groq"), 0);
    assert_int_equal(change(&owner, first, "groq", "", ""), SV_E_CONFLICT);
    assert_int_equal(change(&owner, first, "openai", "", ""), 0);
    char name[] = "p00";
    for (int i = 2; i < PROVIDERS_MOST; i++) {
        name[1] = (char)('0' + i / 10);
        name[2] = (char)('0' + i % 10);
        assert_int_equal(bring(&owner, true, name), 0);
    }
    assert_int_equal(bring(&owner, true, "more"), SV_E_QUOTA);
    assert_int_equal(bring(&owner, false, "more"), 0);
}

/* The operator's list comes in pages; it has each one once. */
static void the_operator_sees_all(void **state)
{
    (void)state;
    enum { PEOPLE = 7, EACH = 16 };
    uint32_t n = 0, pages = 0;
    char after[100] = "", last[100] = "";
    for (int p = 0; p < PEOPLE; p++) {
        auth_user u;
        char mail[40], name[16];
        snprintf(mail, sizeof mail, "member%d@example.org", p);
        kit_someone(mail, &u);
        kit_join(owner.org, &u, ROLE_MEMBER);
        for (int i = 0; i < EACH; i++) {
            snprintf(name, sizeof name, "p%02d", i);
            assert_int_equal(bring(&u, false, name), 0);
        }
    }
    do {
        auth_providers_reply page;
        provider_act q = act(NULL, "");
        q.after = sv_cstr(after);
        arena_reset(&memory);
        assert_int_equal(kit_read(provider_some, &q, &page, &memory), 0);
        for (uint32_t i = 0; i < page.providers.n; i++) {
            const auth_provider *p = &((auth_provider *)page.providers.items)[i];
            char at[100];
            snprintf(at, sizeof at, "%.*s/%.*s", SV_FMT(p->user), SV_FMT(p->name));
            assert_true(strcmp(at, last) > 0);
            memcpy(last, at, sizeof last);
        }
        n += page.providers.n;
        pages++;
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
    } while (after[0]);
    assert_int_equal(n, PEOPLE * EACH);
    assert_true(pages > 1);
}

static void changes_are_told(void **state)
{
    (void)state;
    tenant_provider tp;
    sv_error err = {.code = 0};
    char id[AUTH_ID + 1];
    assert_int_equal(bring(&owner, true, "openai"), 0);
    memcpy(id, last_id, sizeof id);
    assert_int_equal(change(&member, id, "x", "", ""), SV_E_ROLE);
    assert_int_equal(change(&owner, id, "", "sleeping", ""), SV_E_INVALID);
    assert_int_equal(change(&owner, id, "", "disabled", "another blob"), 0);
    auth_feed_item item = last_told();
    assert_true(sv_str_is(item.kind, "provider"));
    assert_true(sv_str_is(item.org, owner.org));
    assert_int_equal(
        message_decode(&tenant_provider_msg, item.data, MESSAGE_STRICT, &memory, &tp, &err), 0);
    assert_true(sv_str_is(tp.sealed, "another blob"));
    assert_true(sv_str_is(tp.provider->status, "disabled"));
    assert_true(sv_str_is(tp.provider->last4, "5678"));
    assert_true(sv_str_is(tp.provider->name, "openai"));
    assert_true(sv_str_is(tp.provider->base_url, "https://api.example.org/v1"));
    assert_int_equal(drop(&member, id), SV_E_ROLE);
    assert_int_equal(drop(&owner, id), 0);
    assert_true(last_told().gone);
    assert_int_equal(drop(&owner, id), SV_E_NOT_FOUND);
}

static int limit(const auth_user *u, const char *id, const auth_provider_limits *l)
{
    provider_act q = act(u, id);
    auth_provider_put_req s = {.id = sv_cstr(id), .limits = (auth_provider_limits *)(uintptr_t)l};
    q.put = &s;
    return kit_write(put_fn, &q, NULL);
}

static void limits_stay_until_others_come(void **state)
{
    (void)state;
    auth_provider p;
    tenant_provider tp;
    char id[AUTH_ID + 1];
    assert_int_equal(bring(&owner, true, "openai"), 0);
    memcpy(id, last_id, sizeof id);
    assert_int_equal(look(&owner, id, &p), 0);
    assert_null(p.limits);
    assert_int_equal(limit(&member, id, &(auth_provider_limits){.day = 1}), SV_E_ROLE);
    assert_int_equal(limit(&owner, id, &(auth_provider_limits){5, 6, 7, 8}), 0);
    assert_int_equal(change(&owner, id, "other", "", ""), 0);
    auth_feed_item item = last_told();
    assert_int_equal(
        message_decode(&tenant_provider_msg, item.data, MESSAGE_STRICT, &memory, &tp, NULL), 0);
    const auth_provider_limits *l = tp.provider->limits;
    assert_non_null(l);
    assert_true(l->day == 5 && l->month == 6 && l->minute_requests == 7 && l->minute_tokens == 8);
    assert_int_equal(limit(&owner, id, &(auth_provider_limits){.month = 9}), 0);
    assert_int_equal(look(&owner, id, &p), 0);
    assert_true(p.limits->day == 0 && p.limits->month == 9);
    assert_true(sv_str_is(p.name, "other"));
    assert_int_equal(limit(&owner, id, &(auth_provider_limits){0}), 0);
    assert_int_equal(look(&owner, id, &p), 0);
    assert_null(p.limits);
}

static void they_end_with_whom_they_are_of(void **state)
{
    (void)state;
    char id[AUTH_ID + 1];
    assert_int_equal(bring(&owner, true, "openai"), 0);
    assert_int_equal(bring(&member, false, "openai"), 0);
    memcpy(id, last_id, sizeof id);
    assert_int_equal(kit_leave(owner.org, member.id), 0);
    auth_feed_item item = last_told();
    assert_true(item.gone && sv_str_is(item.id, id));
    assert_int_equal(seen(NULL), 1);
    assert_int_equal(seen(&member), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_may_bring_and_see_what, begin, end),
        cmocka_unit_test_setup_teardown(names_are_unique_for_their_owner, begin, end),
        cmocka_unit_test_setup_teardown(the_operator_sees_all, begin, end),
        cmocka_unit_test_setup_teardown(changes_are_told, begin, end),
        cmocka_unit_test_setup_teardown(limits_stay_until_others_come, begin, end),
        cmocka_unit_test_setup_teardown(they_end_with_whom_they_are_of, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
