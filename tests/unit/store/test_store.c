/*  test_store.c - opening and refusing, the clock, long reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"
#include "sv_limits.h"

#include <dirent.h>
#include <lmdb.h>

static const store_schema next_schema = {
    .service = "tester", .version = 2, .tables = item_tables, .n_tables = 1};
static const store_schema strange_schema = {
    .service = "stranger", .version = 1, .tables = item_tables, .n_tables = 1};

/* ---- opening ---- */

static void each_opening_has_its_epoch(void **state)
{
    life *l = *state;
    for (uint64_t epoch = 1; epoch < 4; epoch++) {
        must_open(l, &item_schema);
        store_stat st = stats_of(l);
        assert_int_equal(st.epoch, epoch);
        assert_int_equal(st.version, 1);
        assert_int_equal(st.state, STORE_READY);
        assert_int_equal(st.map_bytes, l->spec.map_bytes);
        assert_true(st.file_pages > 2);
        assert_int_equal(must_put(l, (int64_t)epoch, 7), 0);
        assert_int_equal(count_items(l), epoch);
        must_close(l);
    }
}

static void one_process_at_a_time(void **state)
{
    life *l = *state;
    char pid[32];
    store *second;
    sv_error err = {.code = 0};
    must_open(l, &item_schema);
    assert_int_equal(store_open(&l->spec, &second, &err), SV_E_STORE_LOCKED);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_non_null(strstr(err.message, pid));
    assert_int_equal(must_put(l, 1, 1), 0);
}

static void the_store_of_another_service(void **state)
{
    life *l = *state;
    sv_error err;
    must_open(l, &item_schema);
    must_close(l);
    assert_int_equal(try_open(l, &strange_schema, &err), SV_E_STORE_FOREIGN);
    assert_non_null(strstr(err.message, "tester"));
    assert_non_null(strstr(err.message, "stranger"));
    must_open(l, &item_schema);
    assert_int_equal(stats_of(l).epoch, 2);
}

static void a_database_of_another_program(void **state)
{
    life *l = *state;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    sv_error err;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 2), 0);
    assert_int_equal(mdb_env_open(env, l->folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "mails", MDB_CREATE, &dbi), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_FOREIGN);
    assert_non_null(strstr(err.message, "another program"));
}

static void a_file_that_is_no_database(void **state)
{
    life *l = *state;
    char path[128];
    sv_error err;
    data_path(l->folder, path);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 10000; i++)
        fputs("not a database\n", f);
    fclose(f);
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_FOREIGN);
}

static void a_newer_version_is_refused(void **state)
{
    life *l = *state;
    sv_error err;
    char path[128], before[65], after[65];
    must_open(l, &next_schema);
    must_close(l);
    data_path(l->folder, path);
    hash_of(path, before);
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_NEWER);
    assert_non_null(strstr(err.message, "version 2"));
    assert_non_null(strstr(err.message, "version 1"));
    hash_of(path, after);
    assert_string_equal(before, after);
    must_open(l, &next_schema);
}

static int put_layout(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    return meta_put_int(tx, "layout", 2);
}

static void a_newer_layout_is_refused(void **state)
{
    life *l = *state;
    sv_error err;
    must_open(l, &item_schema);
    assert_int_equal(write_now(l, put_layout, NULL, NULL, NULL), 0);
    must_close(l);
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_NEWER);
    assert_non_null(strstr(err.message, "layout 2"));
}

static void a_wrong_root_key_writes_nothing(void **state)
{
    life *l = *state;
    sv_error err;
    char path[128], before[65], after[65];
    seal_key *right = l->root, *wrong = seal_key_new();
    must_open(l, &item_schema);
    must_close(l);
    data_path(l->folder, path);
    hash_of(path, before);
    l->spec.root = wrong;
    assert_int_equal(try_open(l, &next_schema, &err), SV_E_STORE_KEY);
    l->spec.root = NULL;
    assert_int_equal(try_open(l, &next_schema, &err), SV_E_STORE_KEY);
    hash_of(path, after);
    assert_string_equal(before, after);
    l->spec.root = wrong;
    l->spec.root_new = right;
    must_open(l, &item_schema);
    seal_key_free(wrong);
    l->spec.root = right; /* borrowed until the store is closed */
    must_close(l);
}

static void a_wrong_schema(void **state)
{
    life *l = *state;
    sv_error err;
    const store_table wrong = {.name = "items", .row = &item_msg, .key = "nothing"};
    const store_table *const tables[] = {&wrong};
    const store_schema schema = {
        .service = "tester", .version = 1, .tables = tables, .n_tables = 1};
    assert_int_equal(try_open(l, &schema, &err), SV_E_INVALID);
    assert_string_equal(err.field, "nothing");
}

static void to_look_only(void **state)
{
    life *l = *state;
    sv_error err;
    char lock[128];
    l->spec.read_only = true;
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_FOREIGN);
    snprintf(lock, sizeof lock, "%s/lock.mdb", l->folder);
    assert_int_equal(access(lock, F_OK), -1);
    l->spec.read_only = false;
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    must_close(l);
    unlink(lock);
    l->spec.read_only = true;
    must_open(l, &item_schema);
    assert_int_equal(color_of(l, 1), 11);
    check_all(l);
    item it = {.id = 2};
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_IO);
    assert_int_equal(store_replace(l->store, l->spare, &err), SV_E_INVALID);
    assert_int_equal(stats_of(l).epoch, 1);
    must_close(l);
    assert_int_equal(access(lock, F_OK), -1);
    l->spec.root = NULL;
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_KEY);
}

static uint32_t open_files(void)
{
    uint32_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static uint64_t resident_pages(void)
{
    unsigned long long all, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(f, "%llu %llu", &all, &resident), 2);
    fclose(f);
    return resident;
}

static void opening_often_leaks_nothing(void **state)
{
    life *l = *state;
    sv_error err;
    must_open(l, &item_schema);
    must_close(l);
    uint32_t files = open_files();
    uint64_t resident = 0;
    for (int i = 0; i < 10000; i++) {
        if (i % 10 == 9) {
            assert_int_equal(try_open(l, &strange_schema, &err), SV_E_STORE_FOREIGN);
            continue;
        }
        if (i == 2000) resident = resident_pages();
        must_open(l, &item_schema);
        must_close(l);
    }
    assert_int_equal(open_files(), files);
    assert_true(resident_pages() < resident + 4096); /* of 4 KiB; sanitizers keep some */
}

/* ---- the clock ---- */

static int now_fn(store_tx *tx, const void *in, void *out)
{
    (void)in;
    *(int64_t *)out = store_now_ms(tx);
    return 0;
}

static int64_t now_of(life *l)
{
    int64_t now = 0;
    assert_int_equal(read_now(l, now_fn, NULL, &now), 0);
    return now;
}

static void the_clock_goes_back(void **state)
{
    life *l = *state;
    must_open(l, &item_schema);
    assert_int_equal(now_of(l), NEW_YEAR_MS);
    wall_ms = NEW_YEAR_MS + 7000;
    assert_int_equal(now_of(l), NEW_YEAR_MS + 7000);
    wall_ms = NEW_YEAR_MS - 290 * 1000; /* less than five minutes: time stands */
    assert_int_equal(now_of(l), NEW_YEAR_MS + 7000);
    assert_int_equal(told(l, "the clock went back"), 0);
    wall_ms = NEW_YEAR_MS - 3600 * 1000;
    assert_int_equal(now_of(l), NEW_YEAR_MS - 3600 * 1000);
    assert_int_equal(told(l, "the clock went back"), 1);
    assert_int_equal(now_of(l), NEW_YEAR_MS - 3600 * 1000);
    assert_int_equal(told(l, "the clock went back"), 1);
}

static int clock_fn(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return meta_get_int(tx, "clock", out);
}

/* The newest commit's time is kept, about once a second. */
static void save_clock(life *l)
{
    int64_t saved = 0;
    for (int i = 0; i < 2000 && saved != (int64_t)wall_ms; i++) {
        assert_int_equal(must_put(l, 1, i % 1000), 0);
        read_now(l, clock_fn, NULL, &saved);
        usleep(10000);
    }
    assert_int_equal(saved, wall_ms);
}

static void the_clock_went_back_while_closed(void **state)
{
    life *l = *state;
    must_open(l, &item_schema);
    save_clock(l);
    must_close(l);
    wall_ms = NEW_YEAR_MS - 60 * 1000;
    must_open(l, &item_schema);
    assert_int_equal(now_of(l), NEW_YEAR_MS);
    assert_int_equal(told(l, "the clock went back"), 0);
    must_close(l);
    wall_ms = NEW_YEAR_MS - 3600 * 1000;
    must_open(l, &item_schema);
    assert_int_equal(now_of(l), NEW_YEAR_MS - 3600 * 1000);
    assert_int_equal(told(l, "the clock went back"), 1);
}

/* ---- reads ---- */

static int read_long(store_tx *tx, const void *in, void *out)
{
    (void)tx;
    (void)out;
    uint64_t until = store_us() + *(const uint64_t *)in;
    while (store_us() < until)
        ;
    return 0;
}

static void a_long_read_is_told(void **state)
{
    life *l = *state;
    uint64_t us = (LIMIT_STORE_READ_MS + 20) * 1000;
    must_open(l, &item_schema);
    assert_int_equal(read_now(l, read_long, &us, NULL), 0);
    assert_int_equal(stats_of(l).long_reads, 1);
    assert_int_equal(told(l, "a read took long: test"), 1);
}

static void a_read_that_does_not_end_is_told(void **state)
{
    life *l = *state;
    latch h;
    pthread_t thread;
    must_open(l, &item_schema);
    hold_reader(l, &h, &thread);
    wait_told(l, "a read takes long: reader", 1);
    store_stat st = stats_of(l);
    assert_int_equal(st.readers, 1);
    assert_true(st.oldest_reader_us > LIMIT_STORE_READ_MS * 1000);
    release_reader(&h, thread);
    assert_int_equal(stats_of(l).readers, 0);
    assert_int_equal(stats_of(l).oldest_reader_us, 0);
    assert_int_equal(told(l, "a read took long"), 0); /* once is enough */
}

static void the_map_fills_up(void **state)
{
    life *l = *state;
    static char ballast[16000];
    item it = {.id = 0, .data = {ballast, sizeof ballast}};
    l->spec.map_bytes = 4 << 20;
    must_open(l, &item_schema);
    for (; it.id < 160; it.id++)
        assert_int_equal(write_now(l, put_item, &it, NULL, NULL), 0);
    wait_told(l, "the store's map fills up", 1);
    assert_int_equal(l->levels[l->n_events - 1], STORE_WARN);
}

#define TEST(f)      cmocka_unit_test_setup_teardown(f, life_setup, life_teardown)
#define TEST_FAST(f) cmocka_unit_test_setup_teardown(f, life_setup_fast, life_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_opening_has_its_epoch),
        TEST(one_process_at_a_time),
        TEST(the_store_of_another_service),
        TEST(a_database_of_another_program),
        TEST(a_file_that_is_no_database),
        TEST(a_newer_version_is_refused),
        TEST(a_newer_layout_is_refused),
        TEST(a_wrong_root_key_writes_nothing),
        TEST(a_wrong_schema),
        TEST(to_look_only),
        TEST_FAST(opening_often_leaks_nothing),
        TEST(the_clock_goes_back),
        TEST(the_clock_went_back_while_closed),
        TEST(a_long_read_is_told),
        TEST(a_read_that_does_not_end_is_told),
        TEST(the_map_fills_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
