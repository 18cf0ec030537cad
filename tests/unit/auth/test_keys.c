/*  test_keys.c - API keys: what they may, who may make, see and delete them, and when they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "org_kit.h"
#include "key_store.h"
#include "members.h"

#include <regex.h>

static const char password[] = "correct horse battery";
static auth_user owner, member, stranger;
static arena memory; /* of the last result */

/* ---- the cast: an owner, a member of his organization, somebody else ---- */

static int begin(void **state)
{
    kit_start(state);
    arena_init(&memory, 1 << 22);
    if (kit_user("owner@example.org", password, true, &owner) ||
        kit_user("member@example.org", password, false, &member) ||
        kit_user("stranger@example.org", password, false, &stranger))
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

static key_asker asker(const auth_user *u, const char *org)
{
    key_asker a = {.operator= false };
    snprintf(a.who.id, sizeof a.who.id, "%s", u->id);
    snprintf(a.who.actor, sizeof a.who.actor, "%s", u->id);
    snprintf(a.org, sizeof a.org, "%s", org);
    return a;
}

/* ---- making ---- */

typedef struct made {
    char id[AUTH_ID + 1], key[KEY_TEXT + 1];
    uint8_t hash[WORDS_HASH];
} made;

/* The result's text lives in the write's arena: what the tests need of it is copied. */
static int insert(store_tx *tx, const void *in, void *out)
{
    (void)out;
    auth_key key;
    return key_insert(tx, in, &key);
}

static int make(const key_asker *by, const auth_key_new_req *q, made *ret)
{
    key_new n = {.asker = *by, .request = q, .most = 5};
    key_make(n.id, n.shown, ret->key);
    token_hash(sv_cstr(ret->key), n.hash);
    memcpy(ret->id, n.id, sizeof ret->id);
    memcpy(ret->hash, n.hash, sizeof ret->hash);
    return kit_write(insert, &n, NULL);
}

static made make_one(const key_asker *by)
{
    made m;
    assert_int_equal(make(by, &(auth_key_new_req){.minute_limit = 0}, &m), 0);
    return m;
}

static int check(const made *m, auth_key_check_reply *ret)
{
    arena_reset(&memory);
    return kit_read(key_check, m->hash, ret, &memory);
}

static void the_form(void **state)
{
    (void)state;
    regex_t form;
    made m;
    char id[AUTH_ID + 1], shown[KEY_SHOWN + 1], other[KEY_TEXT + 1];
    assert_int_equal(regcomp(&form, "^sv_[0-9a-f]{12}_[0-9a-f]{64}$", REG_EXTENDED | REG_NOSUB), 0);
    key_make(id, shown, m.key);
    key_make(m.id, shown, other);
    assert_int_equal(regexec(&form, m.key, 0, NULL, 0), 0);
    assert_memory_equal(m.key + 3, id + AUTH_ID - 12, 12);
    assert_memory_equal(other, shown, KEY_SHOWN);
    assert_string_not_equal(m.key + KEY_SHOWN, other + KEY_SHOWN);
    regfree(&form);
}

static void made_and_used(void **state)
{
    (void)state;
    key_asker by = asker(&member, owner.org);
    sv_str scopes[] = {sv_cstr("write"), sv_cstr("chat"), sv_cstr("write")};
    sv_str models[] = {sv_cstr("demo/echo")};
    made m;
    auth_key_check_reply r;
    auth_key_new_req q = {.name = sv_cstr("ci"),
                          .scopes = {scopes, 3},
                          .models = {models, 1},
                          .minute_limit = 7,
                          .hour_limit = 70,
                          .cache_seconds = 600};
    assert_int_equal(make(&by, &q, &m), 0);
    kit_again();
    assert_int_equal(check(&m, &r), 0);
    assert_true(sv_str_is(r.key->id, m.id) && sv_str_is(r.key->user, member.id));
    assert_true(sv_str_is(r.key->org, owner.org) && sv_str_is(r.key->name, "ci"));
    assert_int_equal(r.key->scopes.n, 2); /* in the table's order, each once */
    assert_true(sv_str_is(r.key->scopes.items[0], "chat"));
    assert_true(sv_str_is(r.key->scopes.items[1], "write"));
    assert_true(sv_str_is(r.key->models.items[0], "demo/echo"));
    assert_int_equal(r.key->minute_limit, 7);
    assert_int_equal(r.key->hour_limit, 70);
    assert_int_equal(r.key->cache_seconds, 600);
    assert_true(sv_str_is(r.role, "member") && sv_str_is(r.tier, "free") && !r.admin);
    assert_int_equal(kit_events(owner.org, "key.created"), 1);
    m.hash[31] ^= 1;
    assert_int_equal(check(&m, &r), SV_E_API_KEY);
}

/* The file has no key in it, and no more of one than is shown. */
static void kept_as_a_hash(void **state)
{
    (void)state;
    key_asker by = asker(&member, owner.org);
    made m = make_one(&by);
    char path[96], *bytes = malloc(64 << 20);
    kit_again();
    snprintf(path, sizeof path, "%s/data.mdb", kit_folder);
    FILE *f = fopen(path, "rb");
    assert_true(bytes && f);
    size_t n = fread(bytes, 1, 64 << 20, f);
    fclose(f);
    assert_non_null(memmem(bytes, n, m.key, KEY_SHOWN));
    assert_null(memmem(bytes, n, m.key + KEY_SHOWN + 1, 32));
    free(bytes);
}

static void what_is_refused(void **state)
{
    (void)state;
    key_asker by = asker(&member, owner.org), boss = asker(&owner, owner.org);
    sv_str odd = sv_cstr("chat.write"), org = sv_cstr("org"), admin = sv_cstr("admin");
    sv_str both[] = {org, admin};
    char text[KEY_MODEL + 2];
    made m;
    assert_int_equal(make(&by, &(auth_key_new_req){.scopes = {&odd, 1}}, &m), SV_E_INVALID);
    assert_string_equal(kit_error.field, "scopes");
    assert_non_null(strstr(kit_error.message, "chat.write"));
    assert_non_null(strstr(kit_error.message, "files"));
    assert_int_equal(make(&by, &(auth_key_new_req){.scopes = {&org, 1}}, &m), SV_E_ROLE);
    assert_int_equal(make(&by, &(auth_key_new_req){.scopes = {&admin, 1}}, &m), SV_E_ROLE);
    assert_int_equal(make(&boss, &(auth_key_new_req){.scopes = {both, 2}}, &m), 0);
    memset(text, 'm', sizeof text);
    sv_str model = {text, KEY_MODEL + 1}, none = {"", 0};
    assert_int_equal(make(&by, &(auth_key_new_req){.models = {&model, 1}}, &m), SV_E_INVALID);
    assert_int_equal(make(&by, &(auth_key_new_req){.models = {&none, 1}}, &m), SV_E_INVALID);
    assert_int_equal(make(&by, &(auth_key_new_req){.expires = (int64_t)kit_now_ms}, &m),
                     SV_E_INVALID);
    assert_string_equal(kit_error.field, "expires");
    key_asker far = asker(&stranger, owner.org);
    assert_int_equal(make(&far, &(auth_key_new_req){.minute_limit = 0}, &m), SV_E_NOT_FOUND);
    key_asker nobody = {.operator= true, .who = {.email = "nobody@example.org"}};
    assert_int_equal(make(&nobody, &(auth_key_new_req){.minute_limit = 0}, &m), SV_E_NOT_FOUND);
}

static void only_so_many(void **state)
{
    (void)state;
    key_asker by = asker(&member, owner.org);
    made m;
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            make(&by, &(auth_key_new_req){.expires = (int64_t)kit_now_ms + 1000 * (i + 1)}, &m), 0);
    assert_int_equal(make(&by, &(auth_key_new_req){.minute_limit = 0}, &m), SV_E_QUOTA);
    kit_now_ms += 1500; /* one has expired */
    make_one(&by);
    assert_int_equal(make(&by, &(auth_key_new_req){.minute_limit = 0}, &m), SV_E_QUOTA);
}

/* ---- ends ---- */

static int change_user(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const auth_user *u = in;
    user_row row = {.id = sv_cstr(u->id)};
    int rc = store_get(tx, &auth_users, &row);
    row.disabled = u->disabled;
    row.admin = u->admin;
    return rc ? rc : store_put(tx, &auth_users, &row);
}

static void ends_of_a_key(void **state)
{
    (void)state;
    key_asker by = asker(&member, owner.org);
    auth_key_check_reply r;
    made m = make_one(&by), late;
    int64_t end_ms = (int64_t)kit_now_ms + 60000;
    assert_int_equal(make(&by, &(auth_key_new_req){.expires = end_ms}, &late), 0);
    assert_int_equal(check(&late, &r), 0);
    kit_now_ms += 60000;
    assert_int_equal(check(&late, &r), SV_E_API_KEY);
    assert_int_equal(check(&m, &r), 0);
    auth_user shut = member;
    shut.disabled = true;
    assert_int_equal(kit_write(change_user, &shut, NULL), 0);
    assert_int_equal(check(&m, &r), SV_E_API_KEY);
    shut.disabled = false;
    assert_int_equal(kit_write(change_user, &shut, NULL), 0);
    assert_int_equal(check(&m, &r), 0);
    int64_t before = r.sequence;
    assert_int_equal(kit_leave(owner.org, member.id), 0);
    assert_int_equal(check(&m, &r), SV_E_API_KEY);
    kit_join(owner.org, &member, ROLE_MEMBER);
    assert_int_equal(check(&m, &r), SV_E_API_KEY); /* it does not come back */
    made other = make_one(&by);
    assert_int_equal(check(&other, &r), 0);
    assert_true(r.sequence >= before + 3); /* two keys and the membership */
}

/* Scopes and roles are judged when the key is used. */
static void rights_of_now(void **state)
{
    (void)state;
    key_asker by = asker(&owner, owner.org);
    sv_str admin = sv_cstr("admin");
    auth_key_check_reply r;
    made full, plain = make_one(&by);
    assert_int_equal(make(&by, &(auth_key_new_req){.scopes = {&admin, 1}}, &full), 0);
    assert_int_equal(check(&full, &r), 0);
    assert_true(r.admin && sv_str_is(r.role, "owner"));
    assert_int_equal(check(&plain, &r), 0);
    assert_false(r.admin); /* its maker is one, it has no such scope */
    auth_user less = owner;
    less.admin = false;
    assert_int_equal(kit_write(change_user, &less, NULL), 0);
    assert_int_equal(check(&full, &r), 0);
    assert_false(r.admin);
}

/* ---- seeing and deleting ---- */

static int remove_key(store_tx *tx, const void *in, void *out)
{
    (void)out;
    auth_key gone;
    return key_remove(tx, in, &gone);
}

static int drop(const key_asker *by, const made *m)
{
    key_look look = {.asker = *by, .id = sv_cstr(m->id)};
    return kit_write(remove_key, &look, NULL);
}

static int64_t last_number(void)
{
    int64_t none = -1;
    revocations_page page;
    arena_reset(&memory);
    assert_int_equal(kit_read(revocations_some, &none, &page, &memory), 0);
    return page.sequence;
}

static void whose_keys_they_are(void **state)
{
    (void)state;
    key_asker boss = asker(&owner, owner.org), by = asker(&member, owner.org);
    key_asker far = asker(&stranger, stranger.org), there = asker(&stranger, owner.org);
    key_asker away = asker(&owner, stranger.org), machine = {.operator= true };
    made mine = make_one(&boss), his = make_one(&by);
    auth_key key;
    const key_asker *may_not[] = {&far, &there, &away};
    for (size_t i = 0; i < 3; i++) {
        key_look look = {.asker = *may_not[i], .id = sv_cstr(his.id)};
        arena_reset(&memory);
        assert_int_equal(kit_read(key_one, &look, &key, &memory), SV_E_NOT_FOUND);
        assert_int_equal(drop(may_not[i], &his), SV_E_NOT_FOUND);
    }
    assert_int_equal(drop(&by, &mine), SV_E_NOT_FOUND);
    snprintf(by.key, sizeof by.key, "%s", his.id); /* the key itself asks */
    made second = his;
    by.key[0] = 0;
    second = make_one(&by);
    snprintf(by.key, sizeof by.key, "%s", his.id);
    assert_int_equal(drop(&by, &second), SV_E_DENIED);
    int64_t before = last_number();
    assert_int_equal(drop(&by, &his), 0);
    assert_int_equal(last_number(), before + 1);
    assert_int_equal(drop(&by, &his), SV_E_NOT_FOUND);
    assert_int_equal(drop(&boss, &second), 0);
    assert_int_equal(drop(&machine, &mine), 0);
    auth_key_check_reply r;
    kit_again();
    assert_int_equal(check(&his, &r), SV_E_API_KEY);
    assert_int_equal(check(&mine, &r), SV_E_API_KEY);
    assert_int_equal(kit_events(owner.org, "key.deleted"), 3);
}

static int insert_many(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const uint32_t *n = in;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < *n; i++) {
        char id[AUTH_ID + 1], hash[WORDS_HASH + 1];
        snprintf(id, sizeof id, "01999999-0000-7000-8000-%012u", i);
        snprintf(hash, sizeof hash, "%032u", i);
        key_row row = {.id = sv_cstr(id),
                       .hash = {hash, WORDS_HASH},
                       .user = sv_cstr(member.id),
                       .org = sv_cstr(i % 2 ? owner.org : member.org)};
        rc = store_insert(tx, &auth_keys_table, &row);
    }
    return rc;
}

/* Every key once, newest first; the number of them. */
static uint32_t list(const key_asker *by)
{
    char after[AUTH_ID + 1] = "", last[AUTH_ID + 1] = "";
    uint32_t n = 0;
    do {
        key_look look = {.asker = *by, .after = after[0] ? sv_cstr(after) : (sv_str){NULL, 0}};
        key_page page;
        arena_reset(&memory);
        assert_int_equal(kit_read(key_some, &look, &page, &memory), 0);
        assert_true(page.n <= AUTH_PAGE);
        for (uint32_t i = 0; i < page.n; i++, n++) {
            char id[AUTH_ID + 1];
            snprintf(id, sizeof id, "%.*s", SV_FMT(page.items[i].id));
            assert_true(last[0] == 0 || strcmp(id, last) < 0);
            memcpy(last, id, sizeof last);
        }
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
    } while (after[0]);
    return n;
}

static void lists(void **state)
{
    (void)state;
    uint32_t n = 1201;
    key_asker boss = asker(&owner, owner.org), by = asker(&member, owner.org);
    key_asker home = asker(&member, member.org), far = asker(&stranger, owner.org);
    key_asker machine = {.operator= true, .who = {.email = "member@example.org"}};
    assert_int_equal(list(&by), 0);
    assert_int_equal(kit_write(insert_many, &n, NULL), 0);
    assert_int_equal(list(&by), 600);
    assert_int_equal(list(&home), 601);
    assert_int_equal(list(&machine), 1201);
    assert_int_equal(list(&boss), 600);
    assert_int_equal(list(&far), 0);
    make_one(&boss);
    assert_int_equal(list(&boss), 601);
    assert_int_equal(list(&by), 600);
}

/* ---- last use ---- */

static int64_t last_use(const made *m)
{
    auth_key_check_reply r;
    assert_int_equal(check(m, &r), 0);
    return r.key->last_used;
}

static void last_used(void **state)
{
    (void)state;
    key_asker by = asker(&member, owner.org);
    made m = make_one(&by), gone = make_one(&by);
    int64_t now = (int64_t)kit_now_ms;
    assert_int_equal(drop(&by, &gone), 0);
    auth_key_used_item items[] = {{sv_cstr(gone.id), now - 5000},
                                  {sv_cstr(m.id), now - 5000},
                                  {sv_cstr("no id"), now},
                                  {sv_cstr(""), now}};
    auth_key_used_req q = {.keys = {items, 4}};
    assert_int_equal(last_use(&m), 0);
    assert_int_equal(kit_write(key_used, &q, NULL), 0);
    assert_int_equal(last_use(&m), now - 5000);
    items[1].at = now - 9000; /* another edge was slower */
    assert_int_equal(kit_write(key_used, &q, NULL), 0);
    assert_int_equal(last_use(&m), now - 5000);
    items[1].at = now + KIT_DAY_MS; /* a clock that is wrong */
    assert_int_equal(kit_write(key_used, &q, NULL), 0);
    assert_int_equal(last_use(&m), now);
    auth_key_check_reply r;
    assert_int_equal(check(&gone, &r), SV_E_API_KEY);
}

/* ---- service accounts ---- */

static char account[AUTH_ID + 1];

static int insert_service(store_tx *tx, const void *in, void *out)
{
    (void)out;
    auth_member member_made;
    return service_insert(tx, in, &member_made);
}

static int service(const key_asker *by, const char *role)
{
    auth_service_new_req q = {
        .id = sv_cstr(owner.org), .name = sv_cstr("robot"), .role = sv_cstr(role)};
    service_new n = {.asker = *by, .request = &q};
    kit_id(n.id);
    memcpy(account, n.id, sizeof account);
    return kit_write(insert_service, &n, NULL);
}

static void service_accounts(void **state)
{
    (void)state;
    key_asker boss = asker(&owner, owner.org), by = asker(&member, owner.org);
    key_asker far = asker(&stranger, owner.org);
    made m;
    auth_key_check_reply r;
    assert_int_equal(service(&by, ""), SV_E_ROLE);
    assert_int_equal(service(&far, ""), SV_E_NOT_FOUND);
    assert_int_equal(service(&boss, "owner"), SV_E_INVALID);
    assert_int_equal(service(&boss, "viewer"), 0);
    auth_key_new_req q = {.service_account = sv_cstr(account)};
    assert_int_equal(make(&by, &q, &m), SV_E_ROLE);
    key_asker wrong = asker(&stranger, stranger.org);
    assert_int_equal(make(&wrong, &q, &m), SV_E_NOT_FOUND);
    assert_int_equal(make(&boss, &(auth_key_new_req){.service_account = sv_cstr(member.id)}, &m),
                     SV_E_NOT_FOUND); /* nobody makes keys for people */
    assert_int_equal(make(&boss, &q, &m), 0);
    assert_int_equal(check(&m, &r), 0);
    assert_true(sv_str_is(r.key->user, account) && sv_str_is(r.role, "viewer"));
    kit_try t;
    char email[80];
    snprintf(email, sizeof email, "%s@service.invalid", account);
    assert_int_equal(kit_login(&t, email, "", "192.0.2.1"), SV_E_CREDENTIALS);
    assert_int_equal(kit_leave(owner.org, account), 0);
    assert_int_equal(check(&m, &r), SV_E_API_KEY);
    assert_int_equal(make(&boss, &q, &m), SV_E_NOT_FOUND);
    assert_int_equal(kit_events(owner.org, "service.created"), 1);
}

static void only_so_many_service_accounts(void **state)
{
    (void)state;
    key_asker boss = asker(&owner, owner.org);
    for (int i = 0; i < SERVICE_ACCOUNTS; i++)
        assert_int_equal(service(&boss, ""), 0);
    assert_int_equal(service(&boss, ""), SV_E_QUOTA);
    assert_int_equal(kit_leave(owner.org, account), SV_E_NOT_FOUND);
}

int main(void)
{
#define KEY_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        KEY_TEST(the_form),
        KEY_TEST(made_and_used),
        KEY_TEST(kept_as_a_hash),
        KEY_TEST(what_is_refused),
        KEY_TEST(only_so_many),
        KEY_TEST(ends_of_a_key),
        KEY_TEST(rights_of_now),
        KEY_TEST(whose_keys_they_are),
        KEY_TEST(lists),
        KEY_TEST(last_used),
        KEY_TEST(service_accounts),
        KEY_TEST(only_so_many_service_accounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
