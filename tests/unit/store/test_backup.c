/*  test_backup.c - copies of a running store, and another environment put in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const store_schema next_schema = {
    .service = "tester", .version = 2, .tables = item_tables, .n_tables = 1};
static const store_schema strange_schema = {
    .service = "stranger", .version = 1, .tables = item_tables, .n_tables = 1};

/* ---- syncs and renames that can be counted, killed at, and refused ---- */

/* In a child: the call at which it is killed, before or after. */
static atomic_int kill_at, killed_after;
static bool no_exchange;

static int counted(long (*fn)(const char *, const char *, int), const char *a, const char *b, int n)
{
    bool now = atomic_load(&kill_at) > 0 && atomic_fetch_sub(&kill_at, 1) == 1;
    if (now && !killed_after) kill(getpid(), SIGKILL);
    int rc = (int)fn(a, b, n);
    if (now) kill(getpid(), SIGKILL);
    return rc;
}

static long call_fsync(const char *a, const char *b, int n)
{
    (void)a;
    (void)b;
    return syscall(SYS_fsync, n);
}

static long call_fdatasync(const char *a, const char *b, int n)
{
    (void)a;
    (void)b;
    return syscall(SYS_fdatasync, n);
}

static long call_rename(const char *a, const char *b, int n)
{
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, n);
}

int fsync(int fd)
{
    return counted(call_fsync, NULL, NULL, fd);
}

int fdatasync(int fd)
{
    return counted(call_fdatasync, NULL, NULL, fd);
}

int rename(const char *from, const char *to)
{
    return counted(call_rename, from, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    assert_int_equal(from_dir, AT_FDCWD);
    assert_int_equal(to_dir, AT_FDCWD);
    if (no_exchange && (flags & RENAME_EXCHANGE)) {
        errno = EINVAL;
        return -1;
    }
    return counted(call_rename, from, to, (int)flags);
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

/* True: the child came to its end. */
static bool replace_killed(life *l, int nth, int after)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sv_error err = {.code = 0};
        store *s;
        l->spec.event = NULL;
        if (store_open(&l->spec, &s, &err)) _exit(1);
        writer_pause(s); /* the writer must not sync in between */
        writer_resume(s);
        kill_at = nth;
        killed_after = after;
        int rc = store_replace(s, l->spare, &err);
        kill_at = 0;
        store_close(s);
        _exit(rc ? 2 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

/* Whenever it is killed, the one or the other is in place, and whole. */
static void replacing_killed_anywhere(life *l, bool exchange)
{
    int old = 0, new = 0;
    no_exchange = !exchange;
    for (int after = 0; after < 2; after++) {
        bool over = false;
        for (int nth = 1; !over; nth++) {
            l->spec.schema = &item_schema;
            must_open(l, &item_schema);
            assert_int_equal(must_put(l, 1, 11), 0);
            must_close(l);
            make_spare(l, &item_schema, 22);
            over = replace_killed(l, nth, after);
            must_open(l, &item_schema);
            int64_t color = color_of(l, 1);
            assert_true(color == 11 || color == 22);
            assert_true(!over || color == 22);
            old += color == 11;
            new += color == 22;
            check_all(l);
            must_close(l);
        }
    }
    no_exchange = false;
    assert_true(old >= 2 && new >= 4);
}

static void replacing_killed_with_exchange(void **state)
{
    replacing_killed_anywhere(*state, true);
}

static void replacing_killed_without_exchange(void **state)
{
    replacing_killed_anywhere(*state, false);
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
        TEST(a_copy_while_writing),
        TEST(a_reader_of_the_copy_goes_away),
        TEST(a_copy_gives_way),
        TEST(a_copy_without_room),
        TEST(another_environment_in_its_place),
        TEST(an_older_version_in_its_place),
        TEST(what_does_not_fit_is_put_back),
        TEST(writes_wait_for_a_replacement),
        TEST_FAST(replacing_killed_with_exchange),
        TEST_FAST(replacing_killed_without_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
