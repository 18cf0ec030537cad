/*  test_store.c - opening and refusing, the clock, long reads, copies, replacing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"
#include "sv_limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/stat.h>

static const store_schema next_schema = {
    .service = "tester", .version = 2, .tables = item_tables, .n_tables = 1};
static const store_schema strange_schema = {
    .service = "stranger", .version = 1, .tables = item_tables, .n_tables = 1};

static void data_path(const char *folder, char to[128])
{
    snprintf(to, 128, "%s/data.mdb", folder);
}

static void hash_of(const char *path, char hex[65])
{
    char piece[65536];
    ssize_t n;
    file_hash h;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    file_hash_start(&h);
    while ((n = read(fd, piece, sizeof piece)) > 0)
        file_hash_add(&h, piece, (size_t)n);
    close(fd);
    file_hash_end(&h, hex);
}

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

/* ---- copies ---- */

typedef struct inserter {
    life *l;
    atomic_bool stop;
    atomic_llong done;
    int failed;
} inserter;

static void *insert_on(void *arg)
{
    inserter *w = arg;
    static char ballast[3000];
    for (long long i = 0; !atomic_load(&w->stop); i++) {
        item it = {.id = i, .color = 5, .data = {ballast, sizeof ballast}};
        if (write_now(w->l, insert_item, &it, NULL, NULL)) w->failed++;
        atomic_store(&w->done, i + 1);
    }
    return NULL;
}

static void a_copy_while_writing(void **state)
{
    life *l = *state;
    inserter w = {.l = l};
    pthread_t thread;
    store_copy copy;
    sv_error err = {.code = 0};
    char path[128], hex[65];
    struct stat st;
    must_open(l, &item_schema);
    assert_int_equal(pthread_create(&thread, NULL, insert_on, &w), 0);
    while (atomic_load(&w.done) < 200)
        usleep(1000);
    data_path(l->spare, path);
    long long before = atomic_load(&w.done);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(store_backup(l->store, fd, &copy, &err), 0);
    long long after = atomic_load(&w.done);
    close(fd);
    while (atomic_load(&w.done) == after)
        usleep(1000);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(w.failed, 0);
    hash_of(path, hex);
    assert_string_equal(hex, copy.hash);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(copy.bytes, st.st_size);
    assert_int_equal(copy.version, 1);
    assert_int_equal(copy.epoch, 1);
    assert_true(copy.last_txn > 0);
    must_close(l);
    /* What is in it: 0, 1, 2, ... up to some point between before and after. */
    l->spec.folder = l->spare;
    l->spec.read_only = true;
    must_open(l, &item_schema);
    uint64_t n = count_items(l);
    assert_in_range(n, (uint64_t)before, (uint64_t)after + 1);
    assert_int_equal(color_of(l, 0), 5);
    assert_int_equal(color_of(l, (int64_t)n - 1), 5);
    check_all(l);
    must_close(l);
    l->spec.read_only = false; /* and it can be gone on with */
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 1), 0);
    l->spec.folder = l->folder;
}

static void fill_megabytes(life *l)
{
    static char ballast[16000];
    for (int64_t i = 0; i < 200; i++) {
        item it = {.id = i, .color = 5, .data = {ballast, sizeof ballast}};
        assert_int_equal(write_now(l, put_item, &it, NULL, NULL), 0);
    }
}

typedef struct copier {
    life *l;
    int fd, rc;
    store_copy copy;
    sv_error err;
} copier;

static void *copy_on(void *arg)
{
    copier *c = arg;
    c->rc = store_backup(c->l->store, c->fd, &c->copy, &c->err);
    return NULL;
}

static void a_reader_of_the_copy_goes_away(void **state)
{
    life *l = *state;
    int ends[2];
    pthread_t thread;
    char some[100];
    must_open(l, &item_schema);
    fill_megabytes(l);
    assert_int_equal(pipe(ends), 0);
    copier c = {.l = l, .fd = ends[1]};
    assert_int_equal(pthread_create(&thread, NULL, copy_on, &c), 0);
    assert_int_equal(read(ends[0], some, sizeof some), sizeof some);
    close(ends[0]);
    pthread_join(thread, NULL);
    close(ends[1]);
    assert_int_equal(c.rc, SV_E_STORE_IO);
    assert_int_equal(c.err.code, SV_E_STORE_IO);
    assert_int_equal(must_put(l, 1, 1), 0);
    assert_int_equal(stats_of(l).state, STORE_READY);
}

/* A copy that nobody takes must not keep a restore waiting. */
static void a_copy_gives_way(void **state)
{
    life *l = *state;
    int ends[2];
    pthread_t thread;
    char some[100], command[300];
    sv_error err = {.code = 0};
    must_open(l, &item_schema);
    fill_megabytes(l);
    must_close(l);
    snprintf(command, sizeof command, "cp %s/data.mdb %s/data.mdb", l->folder, l->spare);
    assert_int_equal(system(command), 0);
    must_open(l, &item_schema);
    assert_int_equal(pipe(ends), 0);
    copier c = {.l = l, .fd = ends[1]};
    assert_int_equal(pthread_create(&thread, NULL, copy_on, &c), 0);
    assert_int_equal(read(ends[0], some, sizeof some), sizeof some);
    assert_int_equal(store_replace(l->store, l->spare, &err), 0);
    pthread_join(thread, NULL);
    assert_int_equal(c.rc, SV_E_STORE_IO);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(count_items(l), 200);
}

static void a_copy_without_room(void **state)
{
    life *l = *state;
    store_copy copy;
    sv_error err = {.code = 0};
    must_open(l, &item_schema);
    int fd = open("/dev/full", O_WRONLY);
    assert_int_equal(store_backup(l->store, fd, &copy, &err), SV_E_STORE_FULL);
    close(fd);
    assert_int_equal(stats_of(l).state, STORE_READY);
}

/* ---- replacing ---- */

/* An environment of ours in the spare folder with one item of this color. */
static void make_spare(life *l, const store_schema *schema, int64_t color)
{
    l->spec.folder = l->spare;
    must_open(l, schema);
    assert_int_equal(must_put(l, 1, color), 0);
    must_close(l);
    l->spec.folder = l->folder;
}

typedef struct reader {
    life *l;
    atomic_bool stop;
    uint64_t good, away, wrong;
} reader;

static void *read_on(void *arg)
{
    reader *r = arg;
    while (!atomic_load(&r->stop)) {
        int64_t color = color_of(r->l, 1);
        if (color == 11 || color == 22)
            r->good++;
        else if (color == SV_E_STORE_IO)
            r->away++;
        else
            r->wrong++;
    }
    return NULL;
}

static void another_environment_in_its_place(void **state)
{
    life *l = *state;
    reader r = {.l = l};
    pthread_t thread;
    latch h;
    sv_error err = {.code = 0};
    make_spare(l, &item_schema, 22);
    must_open(l, &item_schema);
    must_close(l);
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    assert_int_equal(store_replace(l->store, l->spare, &err), 0);
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(r.wrong, 0);
    assert_int_equal(color_of(l, 1), 22);
    assert_int_equal(stats_of(l).epoch, 3); /* more than both had */
    assert_int_equal(stats_of(l).state, STORE_READY);
    assert_int_equal(must_put(l, 2, 33), 0);
    hold_writer(l, &h); /* a write under way is waited for, see below */
    let_go(l, &h);
    must_close(l);
    must_open(l, &item_schema);
    assert_int_equal(color_of(l, 1), 22);
    assert_int_equal(color_of(l, 2), 33);
    must_close(l);
    l->spec.folder = l->spare; /* the former data stays */
    must_open(l, &item_schema);
    assert_int_equal(color_of(l, 1), 11);
    l->spec.folder = l->folder;
}

static void an_older_version_in_its_place(void **state)
{
    life *l = *state;
    sv_error err = {.code = 0};
    make_spare(l, &item_schema, 22);
    must_open(l, &next_schema);
    assert_int_equal(store_replace(l->store, l->spare, &err), 0);
    assert_int_equal(color_of(l, 1), 22);
    must_close(l);
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_NEWER); /* it was migrated */
}

static void must_refuse(life *l, int code)
{
    sv_error err = {.code = 0};
    assert_int_equal(store_replace(l->store, l->spare, &err), code);
    assert_int_equal(err.code, code);
    assert_int_equal(color_of(l, 1), 11);
    assert_int_equal(stats_of(l).state, STORE_READY);
    assert_int_equal(must_put(l, 2, 12), 0);
    assert_int_equal(color_of(l, 2), 12);
}

static void what_does_not_fit_is_put_back(void **state)
{
    life *l = *state;
    char path[128];
    data_path(l->spare, path);
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    must_refuse(l, SV_E_STORE_IO); /* nothing there */
    FILE *f = fopen(path, "w");
    fputs("damaged", f);
    fclose(f);
    must_refuse(l, SV_E_STORE_FOREIGN);
    must_close(l);
    unlink(path);
    make_spare(l, &strange_schema, 22);
    must_open(l, &item_schema);
    must_refuse(l, SV_E_STORE_FOREIGN);
    must_close(l);
    make_spare(l, &strange_schema, 22); /* it is whole again in its own place */
    seal_key *other = seal_key_new(), *own = l->root;
    unlink(path);
    l->spec.root = other;
    make_spare(l, &item_schema, 22);
    l->spec.root = own;
    must_open(l, &item_schema);
    must_refuse(l, SV_E_STORE_KEY);
    assert_int_equal(stats_of(l).epoch, 3);
    must_close(l);
    seal_key_free(other);
    must_open(l, &item_schema);
    check_all(l);
}

typedef struct replacer {
    life *l;
    int rc;
} replacer;

static void *replace_on(void *arg)
{
    replacer *r = arg;
    sv_error err = {.code = 0};
    r->rc = store_replace(r->l->store, r->l->spare, &err);
    return NULL;
}

/* Writes that wait while the data is replaced are written to the new one. */
static void writes_wait_for_a_replacement(void **state)
{
    life *l = *state;
    latch h;
    pthread_t thread;
    replacer r = {.l = l};
    item it = {.id = 5, .color = 55};
    arena mem;
    make_spare(l, &item_schema, 22);
    must_open(l, &item_schema);
    hold_writer(l, &h);
    assert_int_equal(pthread_create(&thread, NULL, replace_on, &r), 0);
    let_go(l, &h);
    arena_init(&mem, 1 << 20);
    store_op op = {.fn = put_item, .in = &it, .arena = &mem, .owner = "waiting"};
    assert_int_equal(store_submit(l->store, &op), 0);
    wait_op(l, &op);
    arena_free(&mem);
    pthread_join(thread, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(op.code, 0);
    assert_int_equal(color_of(l, 1), 22);
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
        TEST(a_copy_while_writing),
        TEST(a_reader_of_the_copy_goes_away),
        TEST(a_copy_gives_way),
        TEST(a_copy_without_room),
        TEST(another_environment_in_its_place),
        TEST(an_older_version_in_its_place),
        TEST(what_does_not_fit_is_put_back),
        TEST(writes_wait_for_a_replacement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
