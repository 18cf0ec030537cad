/*  The edge's copy of revocations: order, gaps, what is forgotten, what never is. */
#include "revoked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* RFC 8037, appendix A.2. */
static const char jwks[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
                           "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static void ignore(void *arg)
{
    (void)arg;
}

typedef struct world {
    revoked *r;
    auth_revocation items[8];
    auth_revocations news;
} world;

static void open_world(world *w)
{
    *w = (world){.r = revoked_new(NULL, ignore, NULL)};
    assert_non_null(w->r);
}

/* n items from `from` on, for one subject. */
static bool take(world *w, bool snapshot, int64_t from, uint32_t n, int64_t end,
                 const char *subject, int64_t before, bool stale)
{
    for (uint32_t i = 0; i < n; i++)
        w->items[i] = (auth_revocation){
            .sequence = from + i, .subject = sv_cstr(subject), .before = before, .stale = stale};
    w->news = (auth_revocations){.items = {w->items, n},
                                 .sequence = end,
                                 .issuer = sv_cstr("samovar"),
                                 .jwks = sv_cstr(jwks)};
    return revoked_take(w->r, &w->news, snapshot);
}

static void nobody_is_known_before_the_snapshot(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    assert_false(revoked_ready(w.r));
    assert_false(take(&w, false, 5, 1, 5, "user/a", 100, false));
    assert_false(revoked_ready(w.r));
    assert_true(take(&w, true, 5, 2, 6, "user/a", 100, false));
    assert_true(revoked_ready(w.r));
    assert_int_equal(revoked_sequence(w.r), 6);
    revoked_free(w.r);
}

static void a_snapshot_without_keys_is_none(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    auth_revocations empty = {.sequence = 0};
    revoked_take(w.r, &empty, true);
    assert_false(revoked_ready(w.r));
    revoked_free(w.r);
}

static void what_was_issued_before_does_not_hold(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    take(&w, true, 0, 0, 0, "", 0, false);
    assert_true(take(&w, false, 1, 1, 1, "session/s", 1000, false));
    assert_int_equal(revoked_since(w.r, "session/s", 999), REVOKED_ENDED);
    assert_int_equal(revoked_since(w.r, "session/s", 1000), REVOKED_ENDED);
    assert_int_equal(revoked_since(w.r, "session/s", 1001), REVOKED_NOT);
    assert_int_equal(revoked_since(w.r, "session/t", 0), REVOKED_STALE); /* issued at no time */
    assert_int_equal(revoked_since(w.r, "session/t", 1), REVOKED_NOT);
    revoked_free(w.r);
}

static void a_change_of_role_asks_for_a_refresh_and_an_end_stays_one(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    take(&w, true, 0, 0, 0, "", 0, false);
    take(&w, false, 1, 1, 1, "member/o/u", 1000, true);
    assert_int_equal(revoked_since(w.r, "member/o/u", 500), REVOKED_STALE);
    take(&w, false, 2, 1, 2, "member/o/u", 2000, false);
    assert_int_equal(revoked_since(w.r, "member/o/u", 500), REVOKED_ENDED);
    take(&w, false, 3, 1, 3, "member/o/u", 1500, true);
    assert_int_equal(revoked_since(w.r, "member/o/u", 1900), REVOKED_ENDED);
    revoked_free(w.r);
}

static void a_lost_event_is_noticed(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    take(&w, true, 0, 0, 3, "", 0, false);
    assert_int_equal(revoked_sequence(w.r), 3);
    assert_false(take(&w, false, 5, 1, 5, "user/a", 100, false)); /* 4 is missing */
    assert_int_equal(revoked_sequence(w.r), 3);
    assert_int_equal(revoked_since(w.r, "user/a", 50), REVOKED_NOT);
    assert_true(take(&w, true, 4, 2, 5, "user/a", 100, false));
    assert_int_equal(revoked_since(w.r, "user/a", 50), REVOKED_ENDED);
    assert_false(take(&w, false, 0, 0, 7, "", 0, false)); /* an empty one that ends later */
    assert_false(take(&w, false, 0, 0, 2, "", 0, false)); /* a list that went back */
    assert_int_equal(revoked_sequence(w.r), 0);
    revoked_free(w.r);
}

static void entries_that_no_longer_matter_are_no_gap(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    take(&w, true, 0, 0, 3, "", 0, false);
    assert_true(take(&w, true, 90, 2, 91, "user/a", 100, false));
    assert_int_equal(revoked_sequence(w.r), 91);
    revoked_free(w.r);
}

static void keys_are_judged_by_number(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    take(&w, true, 0, 0, 10, "", 0, false);
    take(&w, false, 11, 1, 11, "key/k", 5, false);
    assert_int_equal(revoked_after(w.r, "key/k", 10), REVOKED_ENDED);
    assert_int_equal(revoked_after(w.r, "key/k", 11), REVOKED_NOT);
    assert_int_equal(revoked_after(w.r, "key/l", 10), REVOKED_NOT);
    revoked_free(w.r);
}

static void too_many_refuse_everything_that_is_older(void **state)
{
    (void)state;
    world w;
    char subject[40];
    open_world(&w);
    take(&w, true, 0, 0, 0, "", 0, false);
    for (int i = 1; i <= REVOKED_MOST; i++) {
        snprintf(subject, sizeof subject, "session/%d", i);
        assert_true(take(&w, false, i, 1, i, subject, 1000, false));
    }
    assert_int_equal(revoked_since(w.r, "session/x", 900), REVOKED_NOT);
    assert_true(
        take(&w, false, REVOKED_MOST + 1, 1, REVOKED_MOST + 1, "session/last", 2000, false));
    assert_int_equal(revoked_since(w.r, "session/1", 1500), REVOKED_STALE);
    assert_int_equal(revoked_since(w.r, "session/x", 2000), REVOKED_STALE);
    assert_int_equal(revoked_since(w.r, "session/x", 2001), REVOKED_NOT);
    assert_int_equal(revoked_after(w.r, "key/x", REVOKED_MOST), REVOKED_STALE);
    assert_int_equal(revoked_after(w.r, "key/x", REVOKED_MOST + 1), REVOKED_NOT);
    revoked_free(w.r);
}

static void hostile_lists_do_no_harm(void **state)
{
    (void)state;
    world w;
    char subject[200];
    open_world(&w);
    take(&w, true, 0, 0, 0, "", 0, false);
    memset(subject, 'x', sizeof subject - 1);
    subject[sizeof subject - 1] = 0;
    assert_true(take(&w, false, 1, 1, 1, subject, 10, false)); /* too long to be anybody's */
    assert_int_equal(revoked_sequence(w.r), 1);
    w.news = (auth_revocations){.sequence = 1, .jwks = sv_cstr("{\"keys\":[]}")};
    revoked_take(w.r, &w.news, false);
    assert_int_equal(revoked_ring(w.r)->n, 1); /* the good keys stay */
    revoked_free(w.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_known_before_the_snapshot),
        cmocka_unit_test(a_snapshot_without_keys_is_none),
        cmocka_unit_test(what_was_issued_before_does_not_hold),
        cmocka_unit_test(a_change_of_role_asks_for_a_refresh_and_an_end_stays_one),
        cmocka_unit_test(a_lost_event_is_noticed),
        cmocka_unit_test(entries_that_no_longer_matter_are_no_gap),
        cmocka_unit_test(keys_are_judged_by_number),
        cmocka_unit_test(too_many_refuse_everything_that_is_older),
        cmocka_unit_test(hostile_lists_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
