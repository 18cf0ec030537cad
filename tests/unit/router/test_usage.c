/*  Reports group, filter and page; a check finds every wrong sum, also while attempts come in, and
 *  repairs it. */
#include "usage.h"

#include "ledger_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DAY = 20000 }; /* 2024-10-04 */
#define AT(day, ms) ((uint64_t)(day)*DATE_DAY_MS + (uint64_t)(ms))

static usage_report report;
static usage_check check;
static arena mem;

static int setup(void **state)
{
    (void)state;
    kit_start(AT(DAY, 0));
    arena_init(&mem, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    usage_report_free(&report);
    usage_check_free(&check);
    arena_free(&mem);
    kit_stop();
    return 0;
}

/* ---- reports ---- */

static const router_usage_row *row_named(const char *name)
{
    for (uint32_t i = 0; i < report.n; i++)
        if (sv_str_is(report.rows[i].name, name)) return &report.rows[i];
    return NULL;
}

static void run(const router_usage_req *q)
{
    usage_report_free(&report);
    int rc = usage_report_begin(&report, kit_store, q, &mem);
    while (rc == 0 && !report.done && !report.full)
        rc = usage_report_step(&report);
    if (rc) fail_msg("%d %s", rc, report.err.message);
}

static void fill(void)
{
    ledger_item *i = kit_item(AT(DAY, 5), 6, "b", "y");
    kit_put_one(AT(DAY, 0), 1, "a", "x");
    kit_put_one(AT(DAY, 1), 2, "a", "x");
    kit_put_one(AT(DAY, 2), 3, "b", "x");
    kit_put_one(AT(DAY + 1, 0), 4, "a", "y");
    kit_put_one(AT(DAY + 2, 0), 5, "a", "");
    i->row.user = sv_cstr("u");
    i->row.key = sv_cstr("k");
    i->row.provider = sv_cstr("q");
    i->row.outcome = sv_cstr("cut");
    kit_put(&i, 1, 90);
    free(i);
}

static void test_groups(void **state)
{
    (void)state;
    static const struct {
        const char *by, *names[4];
        int64_t requests[4];
    } want[] = {
        {"", {""}, {6}},
        {"day", {"2024-10-04", "2024-10-05", "2024-10-06"}, {4, 1, 1}},
        {"model", {"a", "b"}, {4, 2}},
        {"provider", {"p", "q"}, {5, 1}},
        {"org", {"x", "y", ""}, {3, 2, 1}},
        {"user", {"u", ""}, {1, 5}},
        {"key", {"k", ""}, {1, 5}},
    };
    fill();
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        router_usage_req q = {.by = sv_cstr(want[i].by)};
        run(&q);
        assert_true(report.done);
        uint32_t n = 0;
        for (; n < 4 && want[i].requests[n]; n++) {
            const router_usage_row *row = row_named(want[i].names[n]);
            if (row == NULL) fail_msg("by %s: no row %s", want[i].by, want[i].names[n]);
            assert_int_equal(row->requests, want[i].requests[n]);
            assert_int_equal(row->price, 7 * want[i].requests[n]);
            assert_int_equal(row->prompt_tokens, 10 * want[i].requests[n]);
            assert_int_equal(row->first_tokens, want[i].requests[n]);
        }
        assert_int_equal(report.n, n);
    }
}

static void test_filters(void **state)
{
    (void)state;
    fill();
    const struct {
        router_usage_req q;
        int64_t requests;
    } want[] = {
        {{.org = {"x", 1}}, 3},
        {{.org = {"", 0}}, 1}, /* given and empty: those without */
        {{.model = {"a", 1}, .org = {"y", 1}}, 1},
        {{.provider = {"q", 1}}, 1},
        {{.user = {"u", 1}}, 1},
        {{.key = {"k", 1}}, 1},
        {{.model = {"A", 1}}, 0},
        {{.from = {"2024-10-05", 10}}, 2},
        {{.to = {"2024-10-05", 10}}, 5},
        {{.from = {"2024-10-05", 10}, .to = {"2024-10-05", 10}}, 1},
        {{.from = {"2030-01-01", 10}}, 0},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        run(&want[i].q);
        assert_int_equal(report.n ? report.rows[0].requests : 0, want[i].requests);
    }
}

static void test_wrong_words(void **state)
{
    (void)state;
    const struct {
        router_usage_req q;
        const char *field;
    } wrong[] = {
        {{.by = {"weekday", 7}}, "by"},
        {{.by = {"Day", 3}}, "by"},
        {{.from = {"2024-02-30", 10}}, "from"},
        {{.to = {"tomorrow", 8}}, "to"},
        {{.from = {"2024-10-05", 10}, .to = {"2024-10-04", 10}}, "to"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        usage_report_free(&report);
        assert_int_equal(usage_report_begin(&report, kit_store, &wrong[i].q, &mem), SV_E_INVALID);
        assert_string_equal(report.err.field, wrong[i].field);
        assert_true(strlen(report.err.message) > 20);
    }
    /* a position is only a place to go on from: any bytes do no harm */
    static const char bytes[512] = {1, 2, (char)0xff};
    for (uint32_t n = 0; n <= sizeof bytes; n++) {
        router_usage_req q = {.after = {bytes, n}};
        usage_report_free(&report);
        int rc = usage_report_begin(&report, kit_store, &q, &mem);
        if (rc == 0) rc = usage_report_step(&report);
        assert_true(rc == 0 || rc == SV_E_INVALID);
    }
}

/* More groups than an answer holds: several answers together are complete and exact. */
static void test_pages(void **state)
{
    (void)state;
    enum { N = 700 };
    static char name[N][400];
    ledger_item *items[N];
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name[i], sizeof name[i], "org-%u-%0*d", i, (int)(i % 300), 0);
        items[i] = kit_item(AT(DAY + i % 3, i), i, "m", name[i]);
    }
    assert_int_equal(kit_put(items, N, 90), N);
    int64_t requests = 0, answers = 0;
    char after[LIMIT_STORE_KEY_BYTES];
    router_usage_req q = {.by = {"org", 3}};
    for (bool more = true; more; answers++) {
        run(&q);
        router_usage_reply reply = usage_report_reply(&report);
        buf packed;
        buf_init(&packed, LIMIT_PART_BYTES);
        assert_int_equal(message_encode(&router_usage_reply_msg, &reply, &packed), 0);
        buf_free(&packed);
        assert_true(reply.rows.n > 0);
        for (uint32_t i = 0; i < reply.rows.n; i++)
            requests += ((router_usage_row *)reply.rows.items)[i].requests;
        more = reply.next.n > 0;
        if (more) memcpy(after, reply.next.p, reply.next.n);
        q.after = (sv_str){after, reply.next.n};
    }
    assert_int_equal(requests, N);
    assert_true(answers > 2);
    for (uint32_t i = 0; i < N; i++)
        free(items[i]);
}

/* ---- checks ---- */

static void (*between)(int step); /* what happens between two pieces */

static void check_days(bool repair)
{
    router_usage_check_req q = {.repair = repair};
    usage_check_free(&check);
    int rc = usage_check_begin(&check, kit_store, &q, &mem);
    for (int step = 0; rc == 0 && check.phase != CHECK_DONE; step++) {
        uint32_t changed = 0;
        if (between) between(step);
        if (check.phase != CHECK_MEND) {
            rc = usage_check_step(&check);
        } else if ((rc = kit_write(ledger_mend, &check.mend, &changed)) == 0) {
            usage_check_mended(&check, changed);
        }
    }
    if (rc) fail_msg("%d %s", rc, check.err.message);
}

static int put_sum(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &ledger_sums, in);
}

static int drop_sum(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_delete(tx, &ledger_sums, in);
}

static int read_sum(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &ledger_sums, out);
}

/* The sum of a model and organization on a day, as stored. */
static ledger_sum sum_of(int64_t day, const char *model, const char *org)
{
    static uint8_t cells[4][LEDGER_CELL];
    static unsigned at;
    static arena a;
    uint8_t *cell = cells[at++ % 4];
    ledger_sum s = {.day = day, .model = sv_cstr(model), .org = sv_cstr(org), .provider = {"p", 1}};
    ledger_sum_key(&s, cell);
    arena_free(&a);
    arena_init(&a, 65536);
    ledger_sum found = {.day = day, .cell = s.cell};
    if (kit_read(read_sum, NULL, &found, &a) == 0) s = found;
    s.org = sv_cstr(org);
    s.model = sv_cstr(model);
    s.provider = sv_cstr("p");
    s.cell = (sv_str){(const char *)cell, LEDGER_CELL};
    arena_free(&a);
    return s;
}

static void test_clean(void **state)
{
    (void)state;
    fill();
    check_days(false);
    assert_int_equal(check.reply.days, 3);
    assert_int_equal(check.reply.rows, 6);
    assert_int_equal(check.reply.sums, 5);
    assert_int_equal(check.reply.differences, 0);
    assert_int_equal(check.reply.skipped, 0);
}

static void test_finds_and_repairs(void **state)
{
    (void)state;
    fill();
    ledger_sum wrong = sum_of(DAY, "a", "x"), missing = sum_of(DAY, "b", "x"),
               extra = sum_of(DAY + 1, "never", "z");
    wrong.price += 3;
    wrong.errors = 1;
    extra.requests = extra.price = 9;
    assert_int_equal(kit_write(put_sum, &wrong, NULL), 0);
    assert_int_equal(kit_write(drop_sum, &missing, NULL), 0);
    assert_int_equal(kit_write(put_sum, &extra, NULL), 0);
    check_days(false);
    assert_int_equal(check.reply.differences, 3);
    assert_int_equal(check.reply.repaired, 0);
    assert_int_equal(check.reply.first.n, 3);
    bool seen[3] = {false};
    for (uint32_t i = 0; i < 3; i++) {
        const router_usage_difference *d = &check.first[i];
        if (sv_str_is(d->model, "a")) {
            assert_true(sv_str_is(d->field, "errors") && d->sum == 1 && d->rows == 0);
            assert_true(sv_str_is(d->day, "2024-10-04") && sv_str_is(d->org, "x"));
            seen[0] = true;
        } else if (sv_str_is(d->model, "b")) {
            assert_true(sv_str_is(d->field, "requests") && d->sum == 0 && d->rows == 1);
            seen[1] = true;
        } else {
            assert_true(sv_str_is(d->model, "never") && d->sum == 9 && d->rows == 0);
            seen[2] = true;
        }
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    check_days(true);
    assert_int_equal(check.reply.differences, 3);
    assert_int_equal(check.reply.repaired, 3);
    check_days(false);
    assert_int_equal(check.reply.differences, 0);
    assert_int_equal(sum_of(DAY, "a", "x").price, 14);
    assert_int_equal(sum_of(DAY, "b", "x").requests, 1);
    assert_int_equal(sum_of(DAY + 1, "never", "z").requests, 0);
}

/* Attempts that come between any two pieces, for old sums and for new ones, are no differences and
 * survive a repair. */
static uint32_t serial;
static void one_more(int step)
{
    static const char *const models[] = {"a", "b", "new", "newer"};
    for (int i = 0; i < 3; i++) {
        serial++;
        kit_put_one(AT(DAY + (int)(serial % 3), (step * 7919) % 86400000), 1000 + serial,
                    models[(serial / 3) % 4], "x");
    }
}

static void test_while_rows_come(void **state)
{
    (void)state;
    enum { N = 3 * LEDGER_PIECE };
    ledger_item **items = calloc(N, sizeof *items);
    for (uint32_t i = 0; i < N; i++)
        items[i] = kit_item(AT(DAY + i % 3, i), 100000 + i, i % 2 ? "a" : "b", "x");
    assert_int_equal(kit_put(items, N, 90), N);
    serial = 0;
    between = one_more;
    for (int round = 0; round < 5; round++) {
        check_days(false);
        assert_int_equal(check.reply.days, 3);
        assert_int_equal(check.reply.differences, 0);
    }
    ledger_sum wrong = sum_of(DAY, "a", "x");
    wrong.price += 12345;
    assert_int_equal(kit_write(put_sum, &wrong, NULL), 0);
    check_days(true);
    assert_int_equal(check.reply.repaired, 1);
    between = NULL;
    check_days(false);
    assert_int_equal(check.reply.differences, 0);
    assert_int_equal(check.reply.rows, N + serial);
    for (uint32_t i = 0; i < N; i++)
        free(items[i]);
    free(items);
}

static void forward(int step)
{
    if (step == 2) kit_now_ms = AT(DAY + 91, 0);
}

/* A day whose rows go, before or in the middle, is left out; never "repaired" to nothing. */
static void test_expired_days(void **state)
{
    (void)state;
    fill();
    between = forward;
    check_days(true);
    between = NULL;
    assert_int_equal(check.reply.differences, 0);
    assert_int_equal(check.reply.skipped, 1);
    assert_int_equal(check.reply.days, 2);
    check_days(true);
    assert_int_equal(check.reply.skipped, 1);
    kit_put_one(AT(DAY, 9), 77, "a", "x");
    check_days(true);
    assert_int_equal(check.reply.skipped, 1);
    assert_int_equal(check.reply.repaired, 0);
    assert_int_equal(sum_of(DAY, "a", "x").requests, 3);
}

static void test_misplaced(void **state)
{
    (void)state;
    fill();
    ledger_sum s = sum_of(DAY, "a", "x");
    s.model = sv_cstr("b");
    assert_int_equal(kit_write(put_sum, &s, NULL), 0);
    router_usage_check_req q = {0};
    usage_check_free(&check);
    int rc = usage_check_begin(&check, kit_store, &q, &mem);
    while (rc == 0 && check.phase != CHECK_DONE)
        rc = usage_check_step(&check);
    assert_int_equal(rc, SV_E_STORE_DAMAGED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_groups),          TEST(test_filters),      TEST(test_wrong_words),
        TEST(test_pages),           TEST(test_clean),        TEST(test_finds_and_repairs),
        TEST(test_while_rows_come), TEST(test_expired_days), TEST(test_misplaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
