/*  test_tenants.c - providers of users and organizations: whose blobs open, who sees what, and that calls
 *  under way outlive changes. */
#include "tenants.h"

#include "../runtime/tiny_server.h"
#include "error.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ID(n) "01900000-0000-7000-8000-00000000000" #n

static loop *l;
static provider_list none;
static catalog cat;
static tenants *t;
static feed_consumer feed_of;
static int64_t changes;
static const char org_a[] = "01900000-0000-7000-8000-0000000000aa",
                  org_b[] = "01900000-0000-7000-8000-0000000000bb",
                  user_a[] = "01900000-0000-7000-8000-0000000000a1";

static box_pair *pair_of(uint8_t first)
{
    uint8_t bytes[SEAL_KEY] = {first};
    seal_key *k = seal_key_from(bytes);
    box_pair *p = box_pair_from(k);
    seal_key_free(k);
    return p;
}

static tenants *make(uint8_t first, uint32_t most)
{
    tenants *made;
    tenants_spec s = {.loop = l,
                      .catalog = &cat,
                      .pair = pair_of(first),
                      .trust = HTTP_TRUST_OPERATOR,
                      .most = most};
    assert_int_equal(tenants_new(&s, &made, NULL), 0);
    return made;
}

static int begin(void **state)
{
    (void)state;
    l = loop_new(NULL);
    cat = (catalog){.loop = l, .http = http_client_new(l, 10, NULL), .providers = &none};
    t = make(1, 4);
    feed_of = tenants_consumer(t);
    return 0;
}

static int end(void **state)
{
    (void)state;
    tenants_free(t);
    http_client_free(cat.http);
    loop_free(l);
    metrics_free();
    return 0;
}

static auth_provider row(const char *id, const char *org, const char *user, const char *name)
{
    return (auth_provider){.id = sv_cstr(id),
                           .org = sv_cstr(org),
                           .user = sv_cstr(user),
                           .name = sv_cstr(name),
                           .kind = sv_cstr("openai"),
                           .base_url = sv_cstr("http://127.0.0.1:1/v1"),
                           .status = sv_cstr("active"),
                           .changed = ++changes};
}

static void tell_blob(const auth_provider *p, sv_str sealed)
{
    buf data;
    buf_init(&data, 16384);
    tenant_provider tp = {.provider = (auth_provider *)(uintptr_t)p, .sealed = sealed};
    assert_int_equal(message_encode(&tenant_provider_msg, &tp, &data), 0);
    feed_of.item(feed_of.arg,
                 &(auth_feed_item){.id = p->id, .org = p->org, .data = buf_str(&data)});
    buf_free(&data);
}

/* The blob is sealed by `by` for what `of` says. */
static void seal(tenants *by, const auth_provider *of, buf *sealed)
{
    tenant_secret s = {.id = of->id,
                       .org = of->org,
                       .user = of->user,
                       .kind = of->kind,
                       .base_url = of->base_url,
                       .key = sv_cstr("sk-tenant-secret-1")};
    buf_init(sealed, 8192);
    assert_int_equal(tenants_seal(by, &s, sealed), 0);
    assert_null(memmem(sealed->p, sealed->n, "sk-tenant", 9));
}

/* As auth tells it. */
static void tell_sealed(tenants *by, const auth_provider *p, const auth_provider *of)
{
    buf sealed;
    seal(by, of, &sealed);
    tell_blob(p, buf_str(&sealed));
    buf_free(&sealed);
}

static void tell(auth_provider p)
{
    tell_sealed(t, &p, &p);
}

static void gone(const char *id)
{
    feed_of.item(feed_of.arg, &(auth_feed_item){.id = sv_cstr(id), .gone = true});
}

/* The names that somebody may use, in order. */
static const char *seen(const char *org, const char *user)
{
    static char words[400];
    provider *list[2 * TENANT_OWN];
    size_t n = tenants_of(t, sv_cstr(org), sv_cstr(user), list), at = 0;
    words[0] = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(words + at, sizeof words - at, "%s%s%s", i ? " " : "",
                               list[i]->user[0] ? "my:" : "", list[i]->name);
    return words;
}

static const char *state_of(const char *id)
{
    static char words[200];
    auth_provider p = {.id = sv_cstr(id)};
    tenants_look(t, &p);
    snprintf(words, sizeof words, "%.*s", SV_FMT(p.state));
    return words;
}

static void everybody_sees_his_own(void **state)
{
    (void)state;
    tell(row(ID(3), org_a, "", "second"));
    tell(row(ID(1), org_a, "", "first"));
    tell(row(ID(2), org_a, user_a, "mine"));
    tell(row(ID(4), org_b, "", "theirs"));
    assert_string_equal(seen(org_a, user_a), "my:mine first second");
    assert_string_equal(seen(org_a, "somebody"), "first second");
    assert_string_equal(seen(org_a, ""), "first second");
    assert_string_equal(seen(org_b, user_a), "theirs");
    assert_string_equal(seen("", user_a), "");
    assert_string_equal(seen("nobody", user_a), "");
    provider *p = tenants_find(t, sv_cstr(ID(2)));
    assert_string_equal(provider_label(p), "own:mine");
    assert_string_equal(provider_series(p), "tenant");
    assert_memory_equal(provider_tag(p), ID(2), 36);
    assert_string_equal(provider_key_header(p, 0), "Authorization: Bearer sk-tenant-secret-1");
}

static void limits_are_its_own(void **state)
{
    (void)state;
    auth_provider p = row(ID(1), org_a, "", "one");
    tell(p);
    assert_int_equal(tenants_find(t, sv_cstr(ID(1)))->limits.day, 0);
    p.limits = &(auth_provider_limits){5, 6, 7, 8};
    tell(p);
    const budget_caps *c = &tenants_find(t, sv_cstr(ID(1)))->limits;
    assert_true(c->day == 5 && c->month == 6 && c->total == 0);
    assert_true(c->minute_requests == 7 && c->minute_tokens == 8);
}

static void a_name_of_his_own_hides_the_organizations(void **state)
{
    (void)state;
    tell(row(ID(1), org_a, "", "openai"));
    tell(row(ID(2), org_a, user_a, "openai"));
    assert_string_equal(seen(org_a, user_a), "my:openai");
    assert_string_equal(seen(org_a, ""), "openai");
}

static void what_is_gone_is_gone(void **state)
{
    (void)state;
    tell(row(ID(1), org_a, "", "one"));
    gone(ID(1));
    gone(ID(1));
    assert_string_equal(seen(org_a, ""), "");
    assert_null(tenants_find(t, sv_cstr(ID(1))));
    auth_provider off = row(ID(2), org_a, "", "two");
    tell(off);
    off.status = sv_cstr("disabled");
    tell(off);
    assert_string_equal(seen(org_a, ""), "");
    assert_string_equal(state_of(ID(2)), "disabled");
}

static void refused(const auth_provider *p, const auth_provider *of)
{
    tell_sealed(t, p, of);
    assert_string_equal(seen(org_a, user_a), "");
    assert_string_equal(state_of(ID(1)),
                        "its key was given for something else: enter the key again");
    gone(ID(1));
}

static void a_blob_that_was_moved_is_refused(void **state)
{
    (void)state;
    auth_provider p = row(ID(1), org_a, "", "one"), of = p;
    of.id = sv_cstr(ID(2));
    refused(&p, &of);
    of = p;
    of.org = sv_cstr(org_b);
    refused(&p, &of);
    of = p;
    of.user = sv_cstr(user_a);
    refused(&p, &of);
    of = p;
    of.base_url = sv_cstr("http://127.0.0.1:2/v1");
    refused(&p, &of);
    of = p;
    of.kind = sv_cstr("anthropic");
    refused(&p, &of);
}

static void another_root_key_opens_nothing(void **state)
{
    (void)state;
    tenants *other = make(2, 4);
    auth_provider p = row(ID(1), org_a, "", "one");
    tell(p);
    assert_string_equal(seen(org_a, ""), "one");
    tell_sealed(other, &p, &p);
    assert_string_equal(seen(org_a, ""), "");
    assert_string_equal(state_of(ID(1)),
                        "cannot be opened with this root key: enter the key again");
    tell(p);
    assert_string_equal(seen(org_a, ""), "one");
    tenants_free(other);
}

static void calls_under_way_keep_theirs(void **state)
{
    (void)state;
    tell(row(ID(1), org_a, "", "one"));
    provider *former = provider_ref(tenants_find(t, sv_cstr(ID(1))));
    char tag[64];
    snprintf(tag, sizeof tag, "%s", provider_tag(former));
    tell(row(ID(1), org_a, "", "renamed"));
    provider *now = tenants_find(t, sv_cstr(ID(1)));
    assert_ptr_not_equal(now, former);
    assert_string_not_equal(provider_tag(now), tag);
    provider_ref(now);
    gone(ID(1));
    assert_string_equal(provider_label(former), "own:one");
    assert_string_equal(provider_label(now), "own:renamed");
    provider_unref(former);
    provider_unref(now);
}

/* Another name or other limits are no other provider; another key is. */
static void health_stays_with_the_key(void **state)
{
    (void)state;
    buf sealed;
    char tag[64];
    auth_provider p = row(ID(1), org_a, "", "one");
    seal(t, &p, &sealed);
    tell_blob(&p, buf_str(&sealed));
    snprintf(tag, sizeof tag, "%s", provider_tag(tenants_find(t, sv_cstr(ID(1)))));
    p.changed = ++changes;
    p.name = sv_cstr("renamed");
    p.limits = &(auth_provider_limits){.day = 1};
    tell_blob(&p, buf_str(&sealed));
    buf_free(&sealed);
    assert_string_equal(provider_label(tenants_find(t, sv_cstr(ID(1)))), "own:renamed");
    assert_string_equal(provider_tag(tenants_find(t, sv_cstr(ID(1)))), tag);
    tell(p);
    assert_string_not_equal(provider_tag(tenants_find(t, sv_cstr(ID(1)))), tag);
}

static void models_stay_while_a_key_changes(void **state)
{
    (void)state;
    model_list models;
    tell(row(ID(1), org_a, "", "one"));
    model_list_init(&models);
    assert_int_equal(model_list_add(&models, sv_cstr("m"), 1), 0);
    provider_set_models(tenants_find(t, sv_cstr(ID(1))), &models);
    tell(row(ID(1), org_a, "", "one"));
    assert_true(provider_lists(tenants_find(t, sv_cstr(ID(1))), sv_cstr("m")));
    auth_provider elsewhere = row(ID(1), org_a, "", "one");
    elsewhere.base_url = sv_cstr("http://127.0.0.1:3/v1");
    tell(elsewhere);
    assert_false(provider_lists(tenants_find(t, sv_cstr(ID(1))), sv_cstr("m")));
}

static void there_is_a_most(void **state)
{
    (void)state;
    static const char *const ids[] = {ID(1), ID(2), ID(3), ID(4), ID(5)};
    for (int i = 0; i < 5; i++) {
        char name[] = {'p', (char)('1' + i), 0};
        tell(row(ids[i], org_a, "", name));
    }
    assert_string_equal(seen(org_a, ""), "p1 p2 p3 p4");
    assert_string_equal(state_of(ID(5)),
                        "not used: there are as many as router.own_providers allows");
}

static int woken;

static void on_woken(void *arg, bool ready)
{
    (void)arg;
    woken += ready ? 1 : 100;
}

static void a_new_copy_takes_the_place_of_the_former(void **state)
{
    (void)state;
    tenants_wait w = {.fn = on_woken}, cancelled = {.fn = on_woken};
    woken = 0;
    assert_false(tenants_ready(t));
    tenants_wait_for(t, &w);
    tenants_wait_for(t, &cancelled);
    tenants_wait_cancel(&cancelled);
    tell(row(ID(1), org_a, "", "one"));
    tell(row(ID(2), org_a, "", "two"));
    feed_of.ready(feed_of.arg);
    assert_int_equal(woken, 0);
    for (int i = 0; i < 20 && !woken; i++)
        loop_turn(l, 50);
    assert_int_equal(woken, 1);
    assert_true(tenants_ready(t));
    feed_of.reset(feed_of.arg);
    tell(row(ID(2), org_a, "", "two"));
    assert_string_equal(seen(org_a, ""), "one two"); /* served on while it is read anew */
    feed_of.ready(feed_of.arg);
    assert_string_equal(seen(org_a, ""), "two");
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everybody_sees_his_own, begin, end),
        cmocka_unit_test_setup_teardown(limits_are_its_own, begin, end),
        cmocka_unit_test_setup_teardown(a_name_of_his_own_hides_the_organizations, begin, end),
        cmocka_unit_test_setup_teardown(what_is_gone_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(a_blob_that_was_moved_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(another_root_key_opens_nothing, begin, end),
        cmocka_unit_test_setup_teardown(calls_under_way_keep_theirs, begin, end),
        cmocka_unit_test_setup_teardown(health_stays_with_the_key, begin, end),
        cmocka_unit_test_setup_teardown(models_stay_while_a_key_changes, begin, end),
        cmocka_unit_test_setup_teardown(there_is_a_most, begin, end),
        cmocka_unit_test_setup_teardown(a_new_copy_takes_the_place_of_the_former, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
