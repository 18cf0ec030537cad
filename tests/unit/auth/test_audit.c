/*  test_audit.c - the chains of the audit log: what was edited, taken out, cut off or put in is
 *  found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"

static const char org[] = "01234567-0123-7123-8123-0123456789ab";

static int add_event(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return audit_add(tx, in);
}

static void fill(const char *chain, int n)
{
    for (int i = 0; i < n; i++) {
        auth_event e = {.chain = chain, .event = "login.ok", .actor = "a", .target = "b"};
        kit_now_ms += 1000;
        assert_int_equal(kit_write(add_event, &e, NULL), 0);
    }
}

static auth_verify verify(void)
{
    auth_verify v = {.done = false};
    arena a;
    for (int i = 0; !v.done && i < 100; i++) {
        arena_init(&a, 8 << 20);
        assert_int_equal(kit_read(auth_verify_some, &v, &v, &a), 0);
        arena_free(&a);
    }
    assert_true(v.done);
    return v;
}

typedef struct tamper {
    const char *chain;
    int64_t number;
    enum { EDIT, REMOVE, REMOVE_ALL, REMOVE_HEAD, APPEND } how;
} tamper;

static int do_tamper(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const tamper *t = in;
    audit_row row = {.chain = sv_cstr(t->chain), .number = t->number};
    audit_head head = {.chain = sv_cstr(t->chain)};
    if (t->how == REMOVE_HEAD) return store_delete(tx, &auth_heads, &head);
    if (t->how == REMOVE) return store_delete(tx, &auth_audits, &row);
    if (t->how == REMOVE_ALL) {
        for (row.number = 1; store_delete(tx, &auth_audits, &row) == 0;)
            row.number++;
        return 0;
    }
    if (t->how == APPEND) {
        row.event = sv_cstr("made.up");
        return store_insert(tx, &auth_audits, &row);
    }
    int rc = store_get(tx, &auth_audits, &row);
    row.actor = sv_cstr("somebody else");
    return rc ? rc : store_put(tx, &auth_audits, &row);
}

static void sound_chains(void **state)
{
    (void)state;
    auth_verify v = verify();
    assert_int_equal(v.chains + v.events + v.broken, 0);
    fill(NULL, 3);
    fill(org, AUTH_PIECE); /* ends with a piece */
    fill("11234567-0123-7123-8123-0123456789ab", AUTH_PIECE + 7);
    v = verify();
    assert_int_equal(v.broken, 0);
    assert_int_equal(v.chains, 3);
    assert_int_equal(v.events, 2 * AUTH_PIECE + 10);
    assert_int_equal(strlen(v.head), 64);
}

static void what_was_changed_is_found(void **state)
{
    const struct {
        tamper how;
        int64_t first;
    } cases[] = {
        {{org, 4, EDIT}, 4},         {{org, 10, EDIT}, 10},   {{org, 1, REMOVE}, 1},
        {{org, 5, REMOVE}, 5},       {{org, 10, REMOVE}, 10}, {{org, 0, REMOVE_ALL}, 1},
        {{org, 0, REMOVE_HEAD}, 11}, {{org, 11, APPEND}, 11},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill(NULL, 4);
        fill(org, 10);
        assert_int_equal(kit_write(do_tamper, &cases[i].how, NULL), 0);
        auth_verify v = verify();
        assert_int_equal(v.broken, 1);
        assert_string_equal(v.first_chain, org);
        assert_int_equal(v.first_number, cases[i].first);
        assert_int_equal(strlen(v.head), 64); /* the other chain is sound */
        kit_stop(state);
        kit_start(state);
    }
}

static void pages_and_ranges(void **state)
{
    (void)state;
    arena a;
    auth_audit_page page;
    int64_t start = (int64_t)kit_now_ms;
    fill(NULL, 250);
    auth_audit_req q = {.after = 0};
    arena_init(&a, 8 << 20);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kit_read(auth_audit_some, &q, &page, &a), 0);
        assert_int_equal(page.n, i < 2 ? 100 : 50);
        assert_int_equal(page.items[0].number, i * 100 + 1);
        q.after = page.next;
    }
    assert_int_equal(page.next, 0);
    q = (auth_audit_req){.from = start + 11000, .to = start + 20000};
    assert_int_equal(kit_read(auth_audit_some, &q, &page, &a), 0);
    assert_int_equal(page.n, 10);
    assert_int_equal(page.items[0].number, 11);
    q = (auth_audit_req){.chain = sv_cstr(org)};
    assert_int_equal(kit_read(auth_audit_some, &q, &page, &a), 0);
    assert_int_equal(page.n, 0);
    arena_free(&a);
}

/* How many events fit, and how many answers it took; none looks at more than AUTH_PIECE. */
static uint32_t filtered(auth_audit_req q, uint32_t *ret_answers)
{
    uint32_t n = 0;
    int64_t before = 0;
    *ret_answers = 0;
    do {
        arena a;
        auth_audit_page page;
        arena_init(&a, 1 << 20);
        assert_int_equal(kit_read(auth_audit_some, &q, &page, &a), 0);
        n += page.n;
        ++*ret_answers;
        assert_true(page.next == 0 || (page.next > before && page.next - before <= AUTH_PIECE));
        before = q.after = page.next;
        arena_free(&a);
    } while (q.after > 0);
    return n;
}

static void filters(void **state)
{
    (void)state;
    static const auth_event odd[] = {
        {.event = "login.failed", .actor = "x", .target = "b"},
        {.event = "login", .actor = "a", .target = "y"},
        {.event = "loginlike.ok", .actor = "a", .target = "b"},
    };
    uint32_t answers;
    fill(NULL, 600);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_int_equal(kit_write(add_event, &odd[i], NULL), 0);
    fill(NULL, 600);
    assert_int_equal(filtered((auth_audit_req){.from = 0}, &answers), 1203);
    assert_int_equal(filtered((auth_audit_req){.event = sv_cstr("login.ok")}, &answers), 1200);
    assert_int_equal(filtered((auth_audit_req){.event = sv_cstr("login.")}, &answers), 1201);
    assert_int_equal(filtered((auth_audit_req){.event = sv_cstr("login")}, &answers), 1);
    assert_int_equal(answers, 3);
    assert_int_equal(filtered((auth_audit_req){.event = sv_cstr("login.o")}, &answers), 0);
    assert_int_equal(filtered((auth_audit_req){.actor = sv_cstr("x")}, &answers), 1);
    assert_int_equal(filtered((auth_audit_req){.target = sv_cstr("y")}, &answers), 1);
    auth_audit_req both = {.actor = sv_cstr("x"), .target = sv_cstr("y")};
    assert_int_equal(filtered(both, &answers), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_start, kit_stop)
        TEST(sound_chains),
        TEST(what_was_changed_is_found),
        TEST(pages_and_ranges),
        TEST(filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
