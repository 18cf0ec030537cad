/*  test_engine.c - the engine's contract: tables, rows, cursors, transactions within transactions,
 *  snapshots, limits. */
#include "engine_kit.h"

#include "sv_limits.h"

#include <pthread.h>
#include <sys/wait.h>

static void rows(void **state)
{
    (void)state;
    kit k;
    sv_error err = {0};
    sv_str v;
    kit_begin(&k, MIB);
    engine_txn *t = kit_txn(&k, true);
    kit_put(&k, t, "a", "1");
    assert_int_equal(engine_put(t, k.table, sv_cstr("a"), sv_cstr("2"), true, &err), SV_E_CONFLICT);
    assert_int_equal(err.code, 0);
    assert_string_equal(kit_get(&k, t, "a"), "1");
    kit_put(&k, t, "a", "3");
    assert_int_equal(engine_put(t, k.table, sv_cstr("b"), (sv_str){NULL, 0}, true, &err), 0);
    assert_int_equal(engine_get(t, k.table, sv_cstr("b"), &v, &err), 0);
    assert_int_equal(v.n, 0);
    assert_int_equal(engine_delete(t, k.table, sv_cstr("x"), &err), SV_E_NOT_FOUND);
    assert_int_equal(engine_delete(t, k.table, sv_cstr("b"), &err), 0);
    assert_int_equal(err.code, 0);
    kit_commit(t);
    kit_close(&k);
    kit_open(&k);
    t = kit_txn(&k, false);
    assert_string_equal(kit_get(&k, t, "a"), "3");
    assert_null(kit_get(&k, t, "b"));
    engine_abort(t);
    t = kit_txn(&k, true);
    kit_put(&k, t, "a", "4");
    engine_abort(t);
    t = kit_txn(&k, false);
    assert_string_equal(kit_get(&k, t, "a"), "3");
    kit_commit(t);
    kit_end(&k);
}

/* A write that failed for its key can only be undone, and the next one works. */
static void key_limits(void **state)
{
    (void)state;
    kit k;
    sv_str v;
    char bytes[LIMIT_STORE_KEY_BYTES + 1];
    memset(bytes, 'k', sizeof bytes);
    kit_begin(&k, MIB);
    const uint32_t wrong[] = {0, LIMIT_STORE_KEY_BYTES + 1};
    for (size_t i = 0; i < 2; i++) {
        sv_error err = {0};
        engine_txn *t = kit_txn(&k, true);
        kit_put(&k, t, "a", "1");
        sv_str key = {bytes, wrong[i]};
        assert_int_equal(engine_put(t, k.table, key, sv_cstr("x"), false, &err), SV_E_TOO_LARGE);
        assert_non_null(strstr(err.message, "1 to 480"));
        assert_int_equal(engine_get(t, k.table, key, &v, NULL), SV_E_TOO_LARGE);
        assert_int_equal(engine_delete(t, k.table, key, NULL), SV_E_TOO_LARGE);
        assert_int_equal(engine_commit(t, NULL), SV_E_TOO_LARGE);
    }
    sv_error err = {0};
    engine_txn *t = kit_txn(&k, true);
    assert_null(kit_get(&k, t, "a"));
    sv_str key = {bytes, LIMIT_STORE_KEY_BYTES};
    kit_ok(engine_put(t, k.table, key, sv_cstr("longest"), true, &err), &err);
    kit_ok(engine_get(t, k.table, key, &v, &err), &err);
    kit_commit(t);
    kit_end(&k);
}

typedef struct names {
    char text[256];
    int stop_at, n;
} names;

static int add_name(void *arg, sv_str name)
{
    names *to = arg;
    strncat(to->text, name.p, name.n);
    strcat(to->text, ",");
    return ++to->n == to->stop_at ? -7 : 0;
}

static void tables(void **state)
{
    (void)state;
    kit k;
    sv_error err = {0};
    engine_table a, b;
    kit_begin(&k, MIB);
    engine_txn *t = kit_txn(&k, true);
    assert_int_equal(engine_table_open(t, "t.none", false, &a, &err), SV_E_NOT_FOUND);
    kit_ok(engine_table_open(t, "i.rows.x", true, &a, &err), &err);
    kit_ok(engine_table_open(t, "sys.meta", true, &b, &err), &err);
    kit_commit(t);

    t = kit_txn(&k, true);
    for (uint32_t i = 0; i < 500; i++) {
        char key[16];
        kit_ok(engine_put(t, a, kit_key(i, key), sv_cstr("some value"), true, &err), &err);
    }
    names n = {0};
    kit_ok(engine_table_names(t, add_name, &n, &err), &err);
    assert_string_equal(n.text, "i.rows.x,sys.meta,t.rows,");
    n = (names){.stop_at = 2};
    assert_int_equal(engine_table_names(t, add_name, &n, &err), -7);
    assert_string_equal(n.text, "i.rows.x,sys.meta,");
    engine_table_stat s;
    kit_ok(engine_table_count(t, a, &s, &err), &err);
    assert_int_equal(s.entries, 500);
    assert_true(s.pages > 3 && s.pages < 20);
    kit_commit(t);

    t = kit_txn(&k, true);
    kit_ok(engine_table_clear(t, a, &err), &err);
    kit_ok(engine_table_count(t, a, &s, &err), &err);
    assert_int_equal(s.entries, 0);
    engine_abort(t);
    t = kit_txn(&k, true);
    kit_ok(engine_table_count(t, a, &s, &err), &err);
    assert_int_equal(s.entries, 500);
    kit_ok(engine_table_drop(t, "t.none", &err), &err);
    kit_ok(engine_table_drop(t, "i.rows.x", &err), &err);
    kit_commit(t);

    kit_close(&k);
    kit_open(&k);
    t = kit_txn(&k, false);
    assert_int_equal(engine_table_open(t, "i.rows.x", false, &a, &err), SV_E_NOT_FOUND);
    kit_ok(engine_table_open(t, "sys.meta", false, &b, &err), &err);
    kit_ok(engine_table_count(t, b, &s, &err), &err);
    assert_int_equal(s.entries, 0);
    engine_abort(t);
    kit_end(&k);
}

/* More tables than the environment was opened for. */
static void too_many_tables(void **state)
{
    (void)state;
    kit k;
    sv_error err = {0};
    kit_begin(&k, MIB);
    engine_txn *t = kit_txn(&k, true);
    int rc = 0;
    for (int i = 0; i < 40 && rc == 0; i++) {
        char name[16];
        engine_table table;
        snprintf(name, sizeof name, "t.%d", i);
        rc = engine_table_open(t, name, true, &table, &err);
    }
    assert_int_equal(rc, SV_E_STORE_IO);
    assert_non_null(strstr(err.detail, "MDB_DBS_FULL"));
    assert_int_equal(engine_commit(t, NULL), SV_E_STORE_IO);
    kit_end(&k);
}

static void expect(int rc, sv_str key, const char *want)
{
    if (want == NULL) {
        assert_int_equal(rc, SV_E_NOT_FOUND);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(key.n, strlen(want));
    assert_memory_equal(key.p, want, key.n);
}

/* Where a cursor stands for every bound, in a table with none, one and three rows. */
static void cursor_borders(void **state)
{
    (void)state;
    kit k;
    sv_error err = {0};
    sv_str key, value;
    engine_cursor *c;
    kit_begin(&k, MIB);
    engine_txn *t = kit_txn(&k, true);
    kit_ok(engine_cursor_open(t, k.table, &c, &err), &err);
    expect(engine_at_least(c, sv_cstr("a"), &key, &value, &err), key, NULL);
    expect(engine_at_least(c, (sv_str){NULL, 0}, &key, &value, &err), key, NULL);
    expect(engine_last_below(c, sv_cstr("z"), &key, &value, &err), key, NULL);
    expect(engine_next(c, &key, &value, &err), key, NULL);
    expect(engine_previous(c, &key, &value, &err), key, NULL);
    engine_cursor_close(c);
    kit_put(&k, t, "b", "1");
    static const struct {
        const char *bound, *at_least, *below;
    } one[] = {{"a", "b", NULL}, {"b", "b", NULL}, {"b\x01", NULL, "b"}, {"z", NULL, "b"}};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        kit_ok(engine_cursor_open(t, k.table, &c, &err), &err);
        sv_str bound = sv_cstr(one[i].bound);
        expect(engine_at_least(c, bound, &key, &value, &err), key, one[i].at_least);
        expect(engine_last_below(c, bound, &key, &value, &err), key, one[i].below);
        engine_cursor_close(c);
    }
    kit_put(&k, t, "d", "2");
    kit_put(&k, t, "f", "3");
    kit_commit(t);
    t = kit_txn(&k, false);
    kit_ok(engine_cursor_open(t, k.table, &c, &err), &err);
    expect(engine_last_below(c, (sv_str){NULL, 0}, &key, &value, &err), key, NULL);
    expect(engine_at_least(c, (sv_str){NULL, 0}, &key, &value, &err), key, "b");
    expect(engine_previous(c, &key, &value, &err), key, NULL);
    expect(engine_at_least(c, sv_cstr("c"), &key, &value, &err), key, "d");
    assert_memory_equal(value.p, "2", 1);
    expect(engine_next(c, &key, &value, &err), key, "f");
    expect(engine_next(c, &key, &value, &err), key, NULL);
    expect(engine_at_least(c, sv_cstr("g"), &key, &value, &err), key, NULL);
    expect(engine_last_below(c, sv_cstr("g"), &key, &value, &err), key, "f");
    expect(engine_last_below(c, sv_cstr("f"), &key, &value, &err), key, "d");
    expect(engine_last_below(c, sv_cstr("e"), &key, &value, &err), key, "d");
    expect(engine_previous(c, &key, &value, &err), key, "b");
    expect(engine_previous(c, &key, &value, &err), key, NULL);
    expect(engine_last_below(c, sv_cstr("b"), &key, &value, &err), key, NULL);
    /* A bound may be longer than any key. */
    char high[700];
    memset(high, 0xff, sizeof high);
    expect(engine_last_below(c, (sv_str){high, sizeof high}, &key, &value, &err), key, "f");
    expect(engine_at_least(c, (sv_str){high, sizeof high}, &key, &value, &err), key, NULL);
    engine_cursor_close(c);
    engine_abort(t);
    assert_int_equal(err.code, 0);
    kit_end(&k);
}

/* Every key of a table of several levels, from both sides and from every bound. */
static void cursor_walks(void **state)
{
    (void)state;
    enum { N = 3000 };
    kit k;
    sv_error err = {0};
    sv_str key, value;
    engine_cursor *c;
    char a[16], filler[300];
    memset(filler, 'f', sizeof filler);
    kit_begin(&k, 8 * MIB);
    engine_txn *t = kit_txn(&k, true);
    for (uint32_t i = 0; i < N; i++) {
        sv_str v = {filler, i % sizeof filler};
        kit_ok(engine_put(t, k.table, kit_key(i * 2, a), v, true, &err), &err);
    }
    kit_commit(t);
    t = kit_txn(&k, false);
    kit_ok(engine_cursor_open(t, k.table, &c, &err), &err);
    for (uint32_t i = 0; i < N; i++) {
        kit_ok(engine_at_least(c, kit_key(i * 2, a), &key, &value, &err), &err);
        assert_memory_equal(key.p, a, key.n);
        assert_int_equal(value.n, i % sizeof filler);
        int rc = engine_last_below(c, kit_key(i * 2, a), &key, &value, &err);
        assert_int_equal(rc, i == 0 ? SV_E_NOT_FOUND : 0);
        if (i > 0) assert_memory_equal(key.p, kit_key(i * 2 - 2, a).p, key.n);
        kit_ok(engine_last_below(c, kit_key(i * 2 + 1, a), &key, &value, &err), &err);
        assert_memory_equal(key.p, kit_key(i * 2, a).p, key.n);
    }
    uint32_t n = 1;
    kit_ok(engine_at_least(c, (sv_str){NULL, 0}, &key, &value, &err), &err);
    for (; engine_next(c, &key, &value, &err) == 0; n++)
        assert_memory_equal(key.p, kit_key(n * 2, a).p, key.n);
    assert_int_equal(n, N);
    kit_ok(engine_last_below(c, sv_cstr("l"), &key, &value, &err), &err);
    for (n = 1; engine_previous(c, &key, &value, &err) == 0; n++)
        assert_memory_equal(key.p, kit_key((N - 1 - n) * 2, a).p, key.n);
    assert_int_equal(n, N);
    engine_cursor_close(c);
    engine_abort(t);
    kit_end(&k);
}

/* ---- transactions within one ---- */

static void nested_alone(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    engine_txn *t = kit_txn(&k, true);
    kit_put(&k, t, "base", "1");
    engine_txn *n = kit_nest(t);
    kit_put(&k, n, "kept", "1");
    kit_put(&k, n, "base", "2");
    kit_commit(n);
    n = kit_nest(t);
    assert_string_equal(kit_get(&k, n, "base"), "2");
    kit_put(&k, n, "gone", "1");
    kit_put(&k, n, "base", "3");
    engine_abort(n);
    assert_string_equal(kit_get(&k, t, "base"), "2");
    n = kit_nest(t);
    engine_txn *deeper = kit_nest(n);
    kit_put(&k, deeper, "deep", "1");
    kit_commit(deeper);
    deeper = kit_nest(n);
    kit_put(&k, deeper, "deep", "2");
    engine_abort(deeper);
    kit_commit(n);
    kit_commit(t);
    t = kit_txn(&k, false);
    assert_string_equal(kit_get(&k, t, "base"), "2");
    assert_string_equal(kit_get(&k, t, "kept"), "1");
    assert_string_equal(kit_get(&k, t, "deep"), "1");
    assert_null(kit_get(&k, t, "gone"));
    engine_abort(t);
    kit_end(&k);
}

/* One that failed takes nobody with it, whether it is committed or undone. */
static void nested_failure_stays_inside(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    engine_txn *t = kit_txn(&k, true);
    for (int i = 0; i < 2; i++) {
        engine_txn *n = kit_nest(t);
        kit_put(&k, n, "half", "1");
        sv_error err = {0};
        char *large = calloc(1, 2 * MIB);
        sv_str value = {large, 2 * MIB};
        assert_int_equal(engine_put(n, k.table, sv_cstr("large"), value, false, &err),
                         SV_E_STORE_FULL);
        assert_non_null(strstr(err.detail, "MDB_MAP_FULL"));
        free(large);
        if (i == 0) assert_int_equal(engine_commit(n, NULL), SV_E_STORE_FULL);
        if (i == 1) engine_abort(n);
        n = kit_nest(t);
        kit_put(&k, n, i == 0 ? "first" : "second", "1");
        kit_commit(n);
    }
    kit_commit(t);
    assert_false(engine_broken(k.e));
    t = kit_txn(&k, false);
    assert_null(kit_get(&k, t, "half"));
    assert_string_equal(kit_get(&k, t, "first"), "1");
    assert_string_equal(kit_get(&k, t, "second"), "1");
    engine_abort(t);
    kit_end(&k);
}

/* ---- snapshots, readers ---- */

static void snapshots(void **state)
{
    (void)state;
    kit k;
    sv_error err = {0};
    engine_stat s;
    kit_begin(&k, 4 * MIB);
    engine_txn *readers[20];
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        engine_txn *t = kit_txn(&k, true);
        kit_put(&k, t, "n", text);
        kit_commit(t);
        readers[i] = kit_txn(&k, false); /* all on one thread: MDB_NOTLS */
    }
    kit_ok(engine_stats(k.e, false, &s, &err), &err);
    assert_int_equal(s.readers, 20);
    engine_txn *write = kit_txn(&k, true);
    kit_put(&k, write, "n", "not yet");
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        assert_string_equal(kit_get(&k, readers[i], "n"), text);
        engine_abort(readers[i]);
    }
    engine_abort(write);
    kit_ok(engine_stats(k.e, false, &s, &err), &err);
    assert_int_equal(s.readers, 0);
    assert_int_equal(s.last_txn, 21);
    kit_end(&k);
}

/* A reader that was killed does not keep pages for ever. */
static void dead_readers(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    kit_close(&k);
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t pid = fork();
    if (pid == 0) {
        kit_open(&k);
        kit_txn(&k, false);
        (void)!write(told[1], "x", 1);
        for (;;)
            pause();
    }
    char c;
    assert_int_equal(read(told[0], &c, 1), 1);
    kit_open(&k);
    assert_int_equal(engine_clear_dead_readers(k.e), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(engine_clear_dead_readers(k.e), 1);
    assert_int_equal(engine_clear_dead_readers(k.e), 0);
    close(told[0]);
    close(told[1]);
    kit_end(&k);
}

/* A writer that was killed in the middle of a transaction does not keep the lock. */
static void dead_writer(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    kit_close(&k);
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t pid = fork();
    if (pid == 0) {
        kit_open(&k);
        kit_put(&k, kit_txn(&k, true), "half", "1");
        (void)!write(told[1], "x", 1);
        for (;;)
            pause();
    }
    char c;
    assert_int_equal(read(told[0], &c, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    kit_open(&k);
    engine_txn *t = kit_txn(&k, true);
    assert_null(kit_get(&k, t, "half"));
    kit_put(&k, t, "whole", "1");
    kit_commit(t);
    close(told[0]);
    close(told[1]);
    kit_end(&k);
}

/* ---- full ---- */

static int fill(kit *k, uint32_t *next)
{
    char key[16], value[1000];
    memset(value, 'v', sizeof value);
    for (;;) {
        sv_error err = {0};
        engine_txn *t;
        int rc = engine_begin(k->e, true, &t, &err);
        if (rc != 0) return rc;
        sv_str v = {value, sizeof value};
        rc = engine_put(t, k->table, kit_key(*next, key), v, true, &err);
        if (rc == 0) {
            rc = engine_commit(t, &err);
        } else {
            engine_abort(t);
        }
        if (rc != 0) return rc;
        ++*next;
    }
}

static void full_map(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    uint32_t n = 0;
    assert_int_equal(fill(&k, &n), SV_E_STORE_FULL);
    assert_false(engine_broken(k.e));
    assert_in_range(n, 400, 1000);
    assert_int_equal(kit_entries(&k), n);
    /* Deleting takes pages too: in the fullest map a few rows go at a time, sometimes not those. */
    uint32_t refused = 0;
    for (uint32_t pass = 0; pass < 3; pass++) {
        for (uint32_t i = 0; i < n; i++) {
            sv_error err = {0};
            char key[16];
            engine_txn *t = kit_txn(&k, true);
            int rc = engine_delete(t, k.table, kit_key(i, key), &err);
            assert_true(rc == 0 || rc == SV_E_NOT_FOUND || rc == SV_E_STORE_FULL);
            rc = engine_commit(t, &err);
            assert_true(rc == 0 || rc == SV_E_STORE_FULL);
            refused += rc != 0;
        }
    }
    print_message("%u rows, %u deletes refused\n", n, refused);
    assert_true(refused < n / 2);
    assert_int_equal(kit_entries(&k), 0);
    uint32_t again = 0;
    assert_int_equal(fill(&k, &again), SV_E_STORE_FULL);
    assert_in_range(again, n * 9 / 10, n + 50);
    kit_end(&k);
}

/* A larger map than before takes more; a smaller one than the file is raised. */
static void map_grows(void **state)
{
    (void)state;
    kit k;
    sv_error err = {0};
    engine_stat s;
    kit_begin(&k, MIB);
    uint32_t n = 0;
    assert_int_equal(fill(&k, &n), SV_E_STORE_FULL);
    kit_close(&k);
    k.map_bytes = 2 * MIB;
    kit_open(&k);
    uint32_t before = n;
    assert_int_equal(fill(&k, &n), SV_E_STORE_FULL);
    assert_true(n > before + 500);
    kit_close(&k);
    k.map_bytes = 1;
    kit_open(&k);
    kit_ok(engine_stats(k.e, true, &s, &err), &err);
    assert_true(s.map_bytes >= s.file_pages * s.page_bytes);
    assert_in_range(s.map_bytes, 2 * MIB - s.page_bytes, 2 * MIB);
    assert_int_equal(kit_entries(&k), n);
    kit_end(&k);
}

/* The same rows again and again need no more room than twice what they are. */
static void growth(void **state)
{
    (void)state;
    enum { ROWS = 1000, UPDATES = 20000 };
    kit k;
    struct stat before, after;
    char key[16], value[512];
    memset(value, 'v', sizeof value);
    kit_begin(&k, 64 * MIB);
    uint64_t random = 1;
    for (uint32_t i = 0; i < ROWS + UPDATES; i++) {
        sv_error err = {0};
        engine_txn *t = kit_txn(&k, true);
        uint32_t row = i < ROWS ? i : kit_random(&random) % ROWS;
        sv_str v = {value, sizeof value};
        kit_ok(engine_put(t, k.table, kit_key(row, key), v, false, &err), &err);
        kit_commit(t);
        if (i == ROWS) stat(k.data, &before);
    }
    assert_int_equal(stat(k.data, &after), 0);
    print_message("%lld bytes after the first writes, %lld after %d updates\n",
                  (long long)before.st_size, (long long)after.st_size, UPDATES);
    assert_true(after.st_size < before.st_size * 2);
    assert_true((size_t)after.st_size < 2 * ROWS * (sizeof value + 40));
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),           cmocka_unit_test(key_limits),
        cmocka_unit_test(tables),         cmocka_unit_test(too_many_tables),
        cmocka_unit_test(cursor_borders), cmocka_unit_test(cursor_walks),
        cmocka_unit_test(nested_alone),   cmocka_unit_test(nested_failure_stays_inside),
        cmocka_unit_test(snapshots),      cmocka_unit_test(dead_readers),
        cmocka_unit_test(dead_writer),    cmocka_unit_test(full_map),
        cmocka_unit_test(map_grows),      cmocka_unit_test(growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
