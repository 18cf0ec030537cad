/*  test_revocations.c - the numbers have no gaps, never go back, and rows stay for as long as they
 *  matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth_kit.h"
#include "sv_limits.h"

static const char some_id[] = "01999999-0000-7000-8000-000000000001";

static int revoke_some(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const int *n = in;
    int rc = 0;
    for (int i = 0; rc == 0 && i < *n; i++)
        rc = revoke_subject(tx, "session", sv_cstr(some_id), (sv_str){NULL, 0}, false);
    return rc;
}

static int revoke_and_fail(store_tx *tx, const void *in, void *out)
{
    int rc = revoke_some(tx, in, out);
    return rc ? rc : SV_E_DENIED;
}

static void revoke_n(int n)
{
    assert_int_equal(kit_write(revoke_some, &n, NULL), 0);
}

/* Page after page behind `after`; the number of items, all in order. */
static uint32_t read_all(int64_t after, int64_t *ret_last, int64_t *ret_first)
{
    uint32_t n = 0;
    bool more = true;
    *ret_first = 0;
    while (more) {
        arena a;
        revocations_page page;
        arena_init(&a, 1 << 20);
        assert_int_equal(kit_read(revocations_some, &after, &page, &a), 0);
        for (uint32_t i = 0; i < page.n; i++) {
            if (*ret_first == 0)
                *ret_first = page.items[i].sequence;
            else
                assert_int_equal(page.items[i].sequence, after + 1);
            after = page.items[i].sequence;
            n++;
        }
        *ret_last = page.sequence;
        more = page.more;
        assert_true(page.n <= 256 && (!more || page.n == 256));
        arena_free(&a);
    }
    return n;
}

static void numbers_without_gaps(void **state)
{
    (void)state;
    int64_t last, first;
    int three = 3;
    assert_int_equal(read_all(0, &last, &first), 0);
    assert_int_equal(last, 0);
    revoke_n(2);
    assert_int_equal(kit_write(revoke_and_fail, &three, NULL), SV_E_DENIED); /* takes no number */
    kit_again();
    revoke_n(1);
    assert_int_equal(read_all(0, &last, &first), 3);
    assert_int_equal(last, 3);
    assert_int_equal(first, 1);
    assert_int_equal(read_all(2, &last, &first), 1);
    assert_int_equal(first, 3);
    assert_int_equal(read_all(3, &last, &first), 0);
    assert_int_equal(read_all(1000, &last, &first), 0); /* ahead of us: nothing, and no failure */
    assert_int_equal(last, 3);
}

static void pages(void **state)
{
    (void)state;
    int64_t last, first;
    revoke_n(256);
    assert_int_equal(read_all(0, &last, &first), 256);
    revoke_n(1);
    assert_int_equal(read_all(0, &last, &first), 257);
    revoke_n(400);
    assert_int_equal(read_all(0, &last, &first), 657);
    assert_int_equal(last, 657);
    assert_int_equal(read_all(300, &last, &first), 357);
}

/* What no token can be of any more is forgotten; the number is not. */
static void rows_expire_and_numbers_do_not(void **state)
{
    (void)state;
    int64_t last, first;
    revoke_n(5);
    kit_now_ms += 16 * 60 * 1000; /* the longest token and all clocks' faults */
    assert_int_equal(read_all(0, &last, &first), 5);
    revoke_n(1);
    kit_now_ms += 5 * 60 * 1000;
    assert_int_equal(read_all(0, &last, &first), 1);
    assert_int_equal(first, 6);
    kit_now_ms += KIT_DAY_MS;
    kit_again();
    assert_int_equal(read_all(0, &last, &first), 0);
    assert_int_equal(last, 6);
    revoke_n(1);
    assert_int_equal(read_all(0, &last, &first), 1);
    assert_int_equal(first, 7);
}

static int revoke_member(store_tx *tx, const void *in, void *out)
{
    (void)in, (void)out;
    return revoke_subject(tx, "member", sv_cstr(some_id), sv_cstr(some_id), true);
}

static void what_a_row_says(void **state)
{
    (void)state;
    arena a;
    revocations_page page;
    int64_t none = 0;
    char want[90];
    assert_int_equal(kit_write(revoke_member, NULL, NULL), 0);
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(revocations_some, &none, &page, &a), 0);
    assert_int_equal(page.n, 1);
    snprintf(want, sizeof want, "member/%s/%s", some_id, some_id);
    assert_true(sv_str_is(page.items[0].subject, want));
    assert_true(page.items[0].stale);
    assert_int_equal(page.items[0].before, (int64_t)kit_now_ms);
    assert_false(page.has_admin);
    arena_free(&a);
}

static void the_first_administrator_is_told(void **state)
{
    (void)state;
    arena a;
    revocations_page page;
    auth_user user;
    int64_t below = -1;
    revoke_n(3);
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_user("u@example.org", "correct horse battery", false, &user), 0);
    assert_int_equal(kit_read(revocations_some, &below, &page, &a), 0);
    assert_false(page.has_admin);
    assert_int_equal(page.n, 0); /* below 0: only where it ends */
    assert_int_equal(page.sequence, 3);
    assert_int_equal(kit_user("a@example.org", "correct horse battery", true, &user), 0);
    assert_int_equal(kit_read(revocations_some, &below, &page, &a), 0);
    assert_true(page.has_admin);
    arena_free(&a);
}

/* The largest event there can be fits one message. */
static void fits_a_message(void **state)
{
    (void)state;
    static auth_revocation items[256];
    static char jwks[JWKS_BYTES], issuer[255], subject[80];
    memset(jwks, 'x', sizeof jwks);
    memset(issuer, 'x', sizeof issuer);
    memset(subject, 'x', sizeof subject);
    const int64_t most = 9007199254740991;
    for (int i = 0; i < 256; i++)
        items[i] = (auth_revocation){
            .sequence = most, .subject = {subject, sizeof subject}, .before = most, .stale = true};
    auth_revocations m = {.items = {items, 256},
                          .sequence = most,
                          .more = true,
                          .has_admin = true,
                          .issuer = {issuer, sizeof issuer},
                          .jwks = {jwks, sizeof jwks}};
    buf b;
    buf_init(&b, LIMIT_PART_BYTES);
    assert_int_equal(message_encode(&auth_revocations_msg, &m, &b), 0);
    buf_free(&b);
}

/* Eight writes at the same moment: eight numbers. */
static void at_once(void **state)
{
    (void)state;
    enum { N = 8 };
    int in[N], out[N], codes[N];
    int64_t last, first;
    for (int i = 0; i < N; i++)
        in[i] = 3;
    kit_write_all(revoke_some, in, sizeof *in, out, sizeof *out, N, codes);
    for (int i = 0; i < N; i++)
        assert_int_equal(codes[i], 0);
    assert_int_equal(read_all(0, &last, &first), 3 * N);
    assert_int_equal(last, 3 * N);
}

/* A token of the second of a revocation would not hold: it has to wait for the next one. */
static void the_second_of_a_revocation(void **state)
{
    (void)state;
    arena a;
    bool revoked;
    auth_login_result r = {.now_ms = (int64_t)kit_now_ms / 1000 * 1000 + 100};
    snprintf(r.user.id, sizeof r.user.id, "%s", some_id);
    snprintf(r.org, sizeof r.org, "%s", some_id);
    arena_init(&a, 1 << 20);
    kit_now_ms = (uint64_t)r.now_ms + 200;
    revoke_n(1); /* a session's end is not about others */
    assert_int_equal(kit_read(revoked_in_its_second, &r, &revoked, &a), 0);
    assert_false(revoked);
    assert_int_equal(kit_write(revoke_member, NULL, NULL), 0);
    revoke_n(2);
    assert_int_equal(kit_read(revoked_in_its_second, &r, &revoked, &a), 0);
    assert_true(revoked);
    r.now_ms += 800; /* after it, in the same second */
    assert_int_equal(kit_read(revoked_in_its_second, &r, &revoked, &a), 0);
    assert_true(revoked);
    r.now_ms += 200;
    assert_int_equal(kit_read(revoked_in_its_second, &r, &revoked, &a), 0);
    assert_false(revoked);
    r.now_ms -= 1000;
    r.org[0] = 'f';
    assert_int_equal(kit_read(revoked_in_its_second, &r, &revoked, &a), 0);
    assert_false(revoked);
    arena_free(&a);
}

int main(void)
{
#define REVOCATION_TEST(f) cmocka_unit_test_setup_teardown(f, kit_start, kit_stop)
    const struct CMUnitTest tests[] = {
        REVOCATION_TEST(numbers_without_gaps),
        REVOCATION_TEST(pages),
        REVOCATION_TEST(rows_expire_and_numbers_do_not),
        REVOCATION_TEST(what_a_row_says),
        REVOCATION_TEST(the_first_administrator_is_told),
        REVOCATION_TEST(fits_a_message),
        REVOCATION_TEST(at_once),
        REVOCATION_TEST(the_second_of_a_revocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
