/*  test_cursors.c - a scan that a function leaves open is closed before its transaction ends,
 *  wherever the function runs and whatever it answers. LMDB is asked: a cursor that outlives its
 *  read is lost, one that outlives its write is freed twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"

#include <dlfcn.h>
#include <lmdb.h>

/* A transaction and its cursors stay on one thread. */
static _Thread_local uint32_t open_here;
static atomic_uint cursors, outlived;

static void *real(const char *name)
{
    void *fn = dlsym(RTLD_NEXT, name);
    if (fn == NULL) abort();
    return fn;
}

int mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **ret)
{
    int (*open)(MDB_txn *, MDB_dbi, MDB_cursor **);
    *(void **)&open = real("mdb_cursor_open");
    int rc = open(txn, dbi, ret);
    if (rc == 0) {
        open_here++;
        atomic_fetch_add(&cursors, 1);
    }
    return rc;
}

void mdb_cursor_close(MDB_cursor *c)
{
    void (*close)(MDB_cursor *);
    *(void **)&close = real("mdb_cursor_close");
    open_here--;
    close(c);
}

static void ends(void)
{
    if (open_here) atomic_fetch_add(&outlived, 1);
    open_here = 0;
}

int mdb_txn_commit(MDB_txn *t)
{
    int (*commit)(MDB_txn *);
    *(void **)&commit = real("mdb_txn_commit");
    ends();
    return commit(t);
}

void mdb_txn_abort(MDB_txn *t)
{
    void (*abort_it)(MDB_txn *);
    *(void **)&abort_it = real("mdb_txn_abort");
    ends();
    abort_it(t);
}

/* ---- functions that leave scans open ---- */

static const store_index by_color[] = {{"by_color", "color", 0}};
static const store_table colored = {
    .name = "items", .row = &item_msg, .key = "id", .indexes = by_color, .n_indexes = 1};
static const store_table *const colored_tables[] = {&colored};
static const store_schema colored_schema = {
    .service = "tester", .version = 1, .tables = colored_tables, .n_tables = 1};

/* Never stepped, in the middle, at the end, over an index, and one that was closed. */
static int open_scans(store_tx *tx)
{
    store_scan *s[5];
    item it;
    for (int i = 0; i < 5; i++) {
        store_range range = {
            .table = &colored, .index = i == 3 ? "by_color" : NULL, .reverse = i == 1};
        int rc = store_scan_open(tx, &range, &s[i]);
        if (rc) return rc;
        for (int steps = i == 2 ? INT32_MAX : i; steps > 0 && store_scan_next(s[i], &it); steps--)
            ;
    }
    store_scan_close(s[4]);
    return 0;
}

/* Answers what `in` says. */
static int leave_open(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = open_scans(tx);
    return rc ? rc : *(const int *)in;
}

/* Writes while they are open, too. */
static int write_and_leave_open(store_tx *tx, const void *in, void *out)
{
    item it = {.id = 3, .color = 9};
    int rc = open_scans(tx);
    if (rc == 0) rc = store_put(tx, &colored, &it);
    return rc ? rc : leave_open(tx, in, out);
}

/* The transaction is lost meanwhile. */
static int fail_and_leave_open(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    int rc = open_scans(tx);
    return rc ? rc : tx_failed(tx, SV_E_NO_MEMORY);
}

static const int answers[] = {0, 7, SV_E_DENIED};

static void must_be_closed(uint32_t before)
{
    assert_true(atomic_load(&cursors) >= before + 4);
    assert_int_equal(atomic_load(&outlived), 0);
}

static int put_six(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < 6; i++)
        rc = store_put(tx, &colored, &(item){.id = i, .color = 6 - i});
    return rc;
}

static void begin(life *l)
{
    atomic_store(&outlived, 0);
    must_open(l, &colored_schema);
    assert_int_equal(write_now(l, put_six, NULL, NULL, NULL), 0);
}

static void by_a_read(void **state)
{
    life *l = *state;
    begin(l);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        uint32_t before = atomic_load(&cursors);
        assert_int_equal(read_now(l, leave_open, &answers[i], NULL), answers[i]);
        must_be_closed(before);
    }
}

static void by_a_write(void **state)
{
    life *l = *state;
    begin(l);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        uint32_t before = atomic_load(&cursors);
        assert_int_equal(write_now(l, write_and_leave_open, &answers[i], NULL, NULL), answers[i]);
        must_be_closed(before);
    }
    uint32_t before = atomic_load(&cursors);
    assert_int_equal(write_now(l, fail_and_leave_open, NULL, NULL, NULL), SV_E_NO_MEMORY);
    must_be_closed(before);
    check_all(l);
}

static int careless_step(store_tx *tx, buf *position)
{
    int rc = open_scans(tx);
    if (rc == 0) rc = store_put(tx, &colored, &(item){.id = 7, .color = 7});
    if (rc || position->n) return rc;
    buf_put(position, "x", 1);
    return STORE_MORE;
}

static void by_a_migration(void **state)
{
    life *l = *state;
    static const store_migration migrations[] = {{2, "leaves scans open", careless_step}};
    static const store_schema next = {.service = "tester",
                                      .version = 2,
                                      .tables = colored_tables,
                                      .n_tables = 1,
                                      .migrations = migrations,
                                      .n_migrations = 1};
    begin(l);
    must_close(l);
    uint32_t before = atomic_load(&cursors);
    must_open(l, &next);
    must_be_closed(before);
    check_all(l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, life_setup_fast, life_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_a_read),
        TEST(by_a_write),
        TEST(by_a_migration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
