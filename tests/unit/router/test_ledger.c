/*  The ledger in a real store: rows once, sums that follow them, days that expire as a whole. */
#include "ledger_kit.h"
#include "ledger_names.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DAY = 20000, HOUR = 3600000 };
#define AT(day, ms) ((uint64_t)(day)*DATE_DAY_MS + (uint64_t)(ms))

static arena mem;

static int setup(void **state)
{
    (void)state;
    kit_start(AT(DAY, HOUR));
    arena_init(&mem, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_stop();
    arena_free(&mem);
    return 0;
}

static ledger_piece piece_of(store_fn *fn, int64_t first, int64_t last)
{
    ledger_from from = {.first_day = first, .last_day = last};
    ledger_piece p;
    assert_int_equal(kit_read(fn, &from, &p, &mem), 0);
    return p;
}

static ledger_sum only_sum(int64_t day)
{
    ledger_piece p = piece_of(ledger_sums_some, day, day);
    assert_int_equal(p.n, 1);
    assert_true(p.done);
    return p.of.sums[0];
}

static void test_sums(void **state)
{
    (void)state;
    ledger_item *items[5];
    for (uint32_t i = 0; i < 5; i++)
        items[i] = kit_item(AT(DAY, i), i, "m", "o");
    items[1]->row.outcome = sv_cstr("timeout");
    items[1]->row.usage_known = items[1]->row.price_known = false;
    items[1]->row.prompt_tokens = items[1]->row.first_token_us = 0;
    items[2]->row.outcome = sv_cstr("cancelled");
    assert_int_equal(kit_put(items, 5, 90), 5);
    ledger_sum s = only_sum(DAY);
    assert_int_equal(s.day, DAY);
    assert_true(sv_str_is(s.org, "o") && sv_str_is(s.model, "m") && sv_str_is(s.provider, "p"));
    assert_int_equal(s.requests, 5);
    assert_int_equal(s.errors, 1);
    assert_int_equal(s.cancelled, 1);
    assert_int_equal(s.counted, 4);
    assert_int_equal(s.priced, 4);
    assert_int_equal(s.prompt_tokens, 40);
    assert_int_equal(s.completion_tokens, 25);
    assert_int_equal(s.cached_tokens, 10);
    assert_int_equal(s.reasoning_tokens, 5);
    assert_int_equal(s.price, 35);
    assert_int_equal(s.latency_us, 5000);
    assert_int_equal(s.first_token_us, 400);
    assert_int_equal(s.first_tokens, 4);
    ledger_piece rows = piece_of(ledger_rows_some, DAY, DAY);
    assert_int_equal(rows.n, 5);
    assert_int_equal(rows.mark.day, DAY);
    assert_true(rows.mark.whole);
    for (uint32_t i = 0; i < 5; i++) {
        assert_memory_equal(rows.of.rows[i].attempt.p, items[i]->row.attempt.p, 16);
        assert_true(rows.of.rows[i].expires == (int64_t)AT(DAY + 91, 0));
        assert_int_equal(rows.of.rows[i].batch, 1);
        free(items[i]);
    }
}

static void test_once(void **state)
{
    (void)state;
    ledger_item *items[3];
    for (uint32_t i = 0; i < 3; i++)
        items[i] = kit_item(AT(DAY, i), i, "m", "o");
    assert_int_equal(kit_put(items, 2, 90), 2);
    assert_int_equal(kit_put(items, 2, 90), 0); /* the same batch */
    assert_int_equal(kit_put(items, 3, 90), 1); /* one more in it */
    ledger_item *twice[2] = {kit_item(AT(DAY, 9), 9, "m", "o"), kit_item(AT(DAY, 9), 9, "x", "o")};
    assert_int_equal(kit_put(twice, 2, 90), 1); /* twice in one batch */
    ledger_sum s = only_sum(DAY);
    assert_int_equal(s.requests, 4);
    assert_int_equal(s.price, 28);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).n, 4);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).mark.batches, 3);
    for (int i = 0; i < 3; i++)
        free(items[i]);
    free(twice[0]);
    free(twice[1]);
}

static void test_cells(void **state)
{
    (void)state;
    /* what differs in one name only is summed apart; what only looks alike, too */
    static const char *const orgs[] = {"a", "ab", "", "a"}, *const models[] = {"bc", "c", "abc",
                                                                               ""};
    ledger_item *items[4];
    for (uint32_t i = 0; i < 4; i++)
        items[i] = kit_item(AT(DAY, 0), i, models[i], orgs[i]);
    assert_int_equal(kit_put(items, 4, 90), 4);
    assert_int_equal(piece_of(ledger_sums_some, DAY, DAY).n, 4);
    items[0]->row.attempt = items[1]->row.attempt = sv_cstr("0123456789abcdef");
    items[0]->row.key = sv_cstr("k");
    assert_int_equal(kit_put(items, 1, 90), 1);
    ledger_piece p = piece_of(ledger_sums_some, 0, DATE_LAST);
    assert_int_equal(p.n, 5);
    for (uint32_t i = 0; i < p.n; i++)
        assert_int_equal(p.of.sums[i].requests, 1);
    for (int i = 0; i < 4; i++)
        free(items[i]);
}

static void test_unlisted(void **state)
{
    (void)state;
    ledger_item *items[3];
    char name[3][16];
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(name[i], sizeof name[i], "made-up-%u", i);
        items[i] = kit_item(AT(DAY, 0), i, name[i], "o");
        items[i]->row.listed = false;
        items[i]->row.outcome = sv_cstr(i == 0 ? "refused" : i == 1 ? "cancelled" : "ok");
    }
    assert_int_equal(kit_put(items, 3, 90), 3);
    ledger_piece p = piece_of(ledger_sums_some, DAY, DAY);
    assert_int_equal(p.n, 2);
    for (uint32_t i = 0; i < 2; i++) {
        bool named = p.of.sums[i].model.n > 0;
        assert_int_equal(p.of.sums[i].requests, named ? 1 : 2);
        if (named) assert_true(sv_str_is(p.of.sums[i].model, "made-up-2"));
    }
    for (int i = 0; i < 3; i++)
        free(items[i]);
}

/* Names that clients make up have sums of their own up to a number, and are told apart by day and org. */
static void test_names(void **state)
{
    (void)state;
    ledger_names n;
    const sv_str p = sv_cstr("p"), orgs[2] = {sv_cstr("o"), {"", 0}};
    char name[16];
    assert_int_equal(ledger_names_init(&n), 0);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 2 * LEDGER_NAMES; i++) {
            snprintf(name, sizeof name, "m%d", i);
            assert_int_equal(ledger_names_fit(&n, DAY, orgs[0], p, sv_cstr(name)),
                             i < LEDGER_NAMES);
        }
    assert_true(ledger_names_fit(&n, DAY, orgs[1], p, sv_cstr("m99")));
    assert_false(ledger_names_fit(&n, DAY, orgs[0], sv_cstr("q"), sv_cstr("m1")));
    assert_true(ledger_names_fit(&n, DAY + 1, orgs[0], p, sv_cstr("m99")));
    ledger_names_free(&n);
    assert_false(ledger_names_fit(&n, DAY, orgs[0], p, sv_cstr("m1")));
    ledger_item *items[2] = {kit_item(AT(DAY, 0), 0, "m1", "o"),
                             kit_item(AT(DAY, 0), 1, "m2", "o")};
    items[0]->row.unnamed = items[1]->row.unnamed = true;
    assert_int_equal(kit_put(items, 2, 90), 2);
    ledger_sum s = only_sum(DAY);
    assert_int_equal(s.model.n, 0);
    assert_int_equal(s.requests, 2);
    assert_int_equal(s.price, 14);
    free(items[0]);
    free(items[1]);
}

static void test_most(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        ledger_item *item = kit_item(AT(DAY, 0), i, "m", "o");
        item->row.prompt_tokens = item->row.price = item->row.latency_us = LEDGER_MOST;
        assert_int_equal(kit_put(&item, 1, 90), 1);
        free(item);
    }
    ledger_sum s = only_sum(DAY);
    assert_true(s.prompt_tokens == LEDGER_MOST && s.price == LEDGER_MOST);
    assert_int_equal(s.requests, 3);
}

static void test_days(void **state)
{
    (void)state;
    assert_int_equal(kit_put_one(AT(DAY, 0), 1, "m", "o"), 1);
    assert_int_equal(kit_put_one(AT(DAY, DATE_DAY_MS - 1), 2, "m", "o"), 1);
    assert_int_equal(kit_put_one(AT(DAY + 1, 0), 3, "m", "o"), 1);
    ledger_item *mixed[3] = {kit_item(AT(DAY + 1, 5), 4, "m", "o"),
                             kit_item(AT(DAY, 7), 5, "m", "o"),
                             kit_item(AT(DAY + 2, 7), 6, "m", "o")};
    assert_int_equal(kit_put(mixed, 3, 90), 3);
    ledger_piece p = piece_of(ledger_sums_some, 0, DATE_LAST);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.of.sums[0].requests, 3);
    assert_int_equal(p.of.sums[1].requests, 2);
    assert_int_equal(p.of.sums[2].requests, 1);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).n, 3);
    assert_int_equal(piece_of(ledger_rows_some, DAY + 1, DAY + 2).n, 3);
    int64_t day = 0;
    ledger_from from = {.first_day = 0, .last_day = DATE_LAST};
    assert_int_equal(kit_read(ledger_next_day, &from, &day, &mem), 0);
    assert_int_equal(day, DAY);
    from.first_day = DAY + 3;
    assert_int_equal(kit_read(ledger_next_day, &from, &day, &mem), 0);
    assert_int_equal(day, -1);
    for (int i = 0; i < 3; i++)
        free(mixed[i]);
}

/* All rows of a day go at the same moment, also when the setting changes on that day. */
static void test_expiry(void **state)
{
    (void)state;
    ledger_item *early = kit_item(AT(DAY, 0), 1, "m", "o"),
                *late = kit_item(AT(DAY, 5), 2, "m", "o");
    assert_int_equal(kit_put(&early, 1, 2), 1);
    assert_int_equal(kit_put(&late, 1, 50), 1);
    kit_now_ms = AT(DAY + 3, -1);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).n, 2);
    assert_true(piece_of(ledger_rows_some, DAY, DAY).mark.whole);
    kit_now_ms = AT(DAY + 3, 0);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).n, 0);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).mark.day, -1);
    assert_int_equal(only_sum(DAY).requests, 2); /* sums stay */
    /* what still comes for that day is counted, but the day is not whole any more */
    ledger_item *later = kit_item(AT(DAY, 6), 3, "m", "o");
    assert_int_equal(kit_put(&later, 1, 90), 1);
    assert_int_equal(only_sum(DAY).requests, 3);
    assert_int_equal(piece_of(ledger_rows_some, DAY, DAY).mark.day, DAY);
    assert_false(piece_of(ledger_rows_some, DAY, DAY).mark.whole);
    free(early);
    free(late);
    free(later);
}

static void test_reopen(void **state)
{
    (void)state;
    assert_int_equal(kit_put_one(AT(DAY, 0), 1, "m", "o"), 1);
    store_close(kit_store);
    kit_open();
    assert_int_equal(kit_put_one(AT(DAY, 0), 1, "m", "o"), 0);
    assert_int_equal(kit_put_one(AT(DAY, 0), 2, "m", "o"), 1);
    assert_int_equal(only_sum(DAY).requests, 2);
}

static void test_pieces(void **state)
{
    (void)state;
    enum { N = 2 * LEDGER_PIECE + 10 };
    ledger_item **items = calloc(N, sizeof *items);
    for (uint32_t i = 0; i < N; i++)
        items[i] = kit_item(AT(DAY, i), i, "m", "o");
    assert_int_equal(kit_put(items, N, 90), N);
    ledger_from from = {.first_day = DAY, .last_day = DAY};
    uint32_t seen = 0;
    char at[LIMIT_STORE_KEY_BYTES];
    for (bool done = false; !done;) {
        ledger_piece p;
        assert_int_equal(kit_read(ledger_rows_some, &from, &p, &mem), 0);
        for (uint32_t i = 0; i < p.n; i++)
            assert_memory_equal(p.of.rows[i].attempt.p, items[seen + i]->row.attempt.p, 16);
        seen += p.n;
        done = p.done;
        if (p.n) memcpy(at, p.at[p.n - 1].p, p.at[p.n - 1].n);
        if (p.n) from.after = (sv_str){at, p.at[p.n - 1].n};
    }
    assert_int_equal(seen, N);
    for (uint32_t i = 0; i < N; i++)
        free(items[i]);
    free(items);
}

/* The longest names there can be fit a row, a sum and a batch. */
static void test_longest(void **state)
{
    (void)state;
    char text[512];
    memset(text, 'x', sizeof text);
    sv_str longest = {text, sizeof text};
    ledger_item *item = kit_item(AT(DAY, 0), 1, "", "");
    item->row.org = item->row.user = item->row.key = longest;
    item->row.model = item->row.asked = (sv_str){text, 256};
    item->row.provider = (sv_str){text, 64};
    assert_int_equal(kit_put(&item, 1, 90), 1);
    ledger_sum s = only_sum(DAY);
    assert_true(sv_str_eq(s.org, longest) && sv_str_eq(s.user, longest) && s.model.n == 256);
    free(item);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_sums),     TEST(test_once),   TEST(test_cells),
                                       TEST(test_unlisted), TEST(test_names),  TEST(test_most),
                                       TEST(test_days),     TEST(test_expiry), TEST(test_reopen),
                                       TEST(test_pieces),   TEST(test_longest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
