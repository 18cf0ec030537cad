/*  test_engine_copy.c - copies of an environment that is in use: to a file, to a pipe whose reader
 *  is slow or goes away, to what takes nothing, with signals coming in. A copy that goes wrong says
 *  so and leaves the environment as it was; none hangs (SIGALRM would end the test). */
#include "engine_kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

enum { ROWS = 6000 };

static void fill(kit *k, uint32_t rows)
{
    char key[16], value[1000];
    for (uint32_t i = 0; i < rows; i += 500) {
        engine_txn *t = kit_txn(k, true);
        for (uint32_t j = i; j < i + 500; j++) {
            sv_error err = {0};
            memset(value, (int)('a' + j % 26), sizeof value);
            sv_str v = {value, sizeof value};
            kit_ok(engine_put(t, k->table, kit_key(j, key), v, false, &err), &err);
        }
        kit_commit(t);
    }
}

static void begin(kit *k)
{
    kit_begin(k, 64 * MIB);
    fill(k, ROWS);
    fill(k, ROWS);
    sv_error err = {0};
    engine_txn *t = kit_txn(k, true);
    char key[16];
    for (uint32_t i = 0; i < ROWS; i += 2)
        kit_ok(engine_delete(t, k->table, kit_key(i, key), &err), &err);
    kit_commit(t);
}

/* The environment goes on, and copies again. */
static void still_works(kit *k)
{
    sv_error err = {0};
    assert_false(engine_broken(k->e));
    engine_txn *t = kit_txn(k, true);
    kit_put(k, t, "after", "1");
    kit_commit(t);
    FILE *f = tmpfile();
    kit_ok(engine_copy(k->e, fileno(f), &err), &err);
    fclose(f);
}

static void open_copy(kit *copy)
{
    sv_error err = {0};
    copy->map_bytes = MIB;
    copy->e = NULL;
    kit_ok(kit_try_open(copy, true, &err), &err);
    engine_txn *t = kit_txn(copy, false);
    int rc = engine_table_open(t, "t.rows", false, &copy->table, &err);
    kit_ok(rc, &err);
    kit_commit(t);
}

static void copy_folder(kit *copy)
{
    kit_folder(copy->folder, sizeof copy->folder);
    snprintf(copy->data, sizeof copy->data, "%s/data.mdb", copy->folder);
}

static void to_file(void **state)
{
    (void)state;
    kit k, copy;
    struct stat before, after;
    sv_error err = {0};
    engine_stat s;
    char a[16];
    begin(&k);
    copy_folder(&copy);
    int fd = open(copy.data, O_WRONLY | O_CREAT | O_EXCL, 0600);
    kit_ok(engine_copy(k.e, fd, &err), &err);
    close(fd);
    stat(k.data, &before);
    stat(copy.data, &after);
    assert_true(after.st_size < before.st_size * 3 / 4);
    open_copy(&copy);
    assert_int_equal(kit_entries(&copy), ROWS / 2);
    kit_ok(engine_stats(copy.e, true, &s, &err), &err);
    assert_int_equal(s.free_pages, 0);
    assert_int_equal(s.file_pages * s.page_bytes, (uint64_t)after.st_size);
    engine_txn *t = kit_txn(&copy, false);
    for (uint32_t i = 1; i < ROWS; i += 2) {
        sv_str v;
        kit_ok(engine_get(t, copy.table, kit_key(i, a), &v, &err), &err);
        assert_int_equal(v.n, 1000);
        assert_int_equal(v.p[999], 'a' + i % 26);
    }
    engine_abort(t);
    kit_close(&copy);
    /* It can be written, too. */
    copy.map_bytes = 64 * MIB;
    kit_open(&copy);
    t = kit_txn(&copy, true);
    kit_put(&copy, t, "new", "1");
    kit_commit(t);
    kit_end(&copy);
    kit_end(&k);
}

static void of_empty(void **state)
{
    (void)state;
    kit k, copy = {.map_bytes = MIB};
    sv_error err = {0};
    kit_begin(&k, MIB);
    kit_close(&k);
    unlink(k.data);
    kit_ok(kit_try_open(&k, false, &err), &err);
    copy_folder(&copy);
    int fd = open(copy.data, O_WRONLY | O_CREAT | O_EXCL, 0600);
    kit_ok(engine_copy(k.e, fd, &err), &err);
    close(fd);
    kit_open(&copy);
    assert_int_equal(kit_entries(&copy), 0);
    kit_end(&copy);
    kit_end(&k);
}

/* ---- pipes ---- */

typedef struct reader {
    int fd;
    size_t stop_after; /* closes its end then; 0: reads all */
    long slow_ns;      /* before each read */
    FILE *to;
    size_t got;
} reader;

static void *read_pipe(void *arg)
{
    reader *r = arg;
    char block[32768];
    while (r->stop_after == 0 || r->got < r->stop_after) {
        if (r->slow_ns) nanosleep(&(struct timespec){0, r->slow_ns}, NULL);
        ssize_t n = read(r->fd, block, sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        r->got += (size_t)n;
        if (r->to) fwrite(block, 1, (size_t)n, r->to);
    }
    close(r->fd);
    return NULL;
}

typedef struct writer {
    kit *k;
    atomic_bool stop;
    uint32_t commits;
} writer;

/* What a snapshot holds back has to fit into the map, however slow the copy is. */
enum { COMMITS_MOST = 200 };

/* Two rows that always say the same, in one commit, and others that move. */
static void *write_on(void *arg)
{
    writer *w = arg;
    char text[16], key[16];
    for (; !atomic_load(&w->stop) && w->commits < COMMITS_MOST; w->commits++) {
        sv_error err = {0};
        snprintf(text, sizeof text, "%u", w->commits);
        engine_txn *t = kit_txn(w->k, true);
        kit_put(w->k, t, "a first", text);
        for (uint32_t i = 0; i < 20; i++) {
            sv_str row = kit_key((w->commits * 37 + i) % ROWS, key);
            kit_ok(engine_put(t, w->k->table, row, sv_cstr(text), false, &err), &err);
        }
        kit_put(w->k, t, "z last", text);
        kit_commit(t);
    }
    return NULL;
}

static void to_pipe_while_writing(void **state)
{
    (void)state;
    kit k, copy;
    begin(&k);
    for (int round = 0; round < 5; round++) {
        pthread_t rt, wt;
        int ends[2];
        sv_error err = {0};
        copy_folder(&copy);
        assert_int_equal(pipe(ends), 0);
        reader r = {.fd = ends[0], .slow_ns = 200000, .to = fopen(copy.data, "w")};
        writer w = {.k = &k};
        assert_int_equal(pthread_create(&rt, NULL, read_pipe, &r), 0);
        assert_int_equal(pthread_create(&wt, NULL, write_on, &w), 0);
        kit_ok(engine_copy(k.e, ends[1], &err), &err);
        close(ends[1]);
        pthread_join(rt, NULL);
        atomic_store(&w.stop, true);
        pthread_join(wt, NULL);
        fclose(r.to);
        assert_true(w.commits > 0);
        open_copy(&copy);
        engine_txn *t = kit_txn(&copy, false);
        const char *first = kit_get(&copy, t, "a first"), *last = kit_get(&copy, t, "z last");
        if (first) assert_string_equal(first, last);
        if (!first) assert_null(last);
        engine_abort(t);
        kit_end(&copy);
    }
    still_works(&k);
    kit_end(&k);
}

/* The reader goes away: at once, in the middle, shortly before the end; with SIGPIPE ignored, as
 * our processes have it, and not. */
static void reader_goes_away(void **state)
{
    (void)state;
    static const size_t stops[] = {1, 8192, 100000, 1048576, 1500000, 2500000, 3500000};
    kit k;
    begin(&k);
    for (size_t i = 0; i < 2 * sizeof stops / sizeof *stops; i++) {
        pthread_t rt;
        int ends[2];
        sv_error err = {0};
        signal(SIGPIPE, i % 2 ? SIG_IGN : SIG_DFL);
        assert_int_equal(pipe(ends), 0);
        reader r = {.fd = ends[0], .stop_after = stops[i / 2]};
        assert_int_equal(pthread_create(&rt, NULL, read_pipe, &r), 0);
        assert_int_equal(engine_copy(k.e, ends[1], &err), SV_E_STORE_IO);
        assert_non_null(strstr(err.detail, "Broken pipe"));
        close(ends[1]);
        pthread_join(rt, NULL);
    }
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(engine_copy(k.e, ends[1], NULL), SV_E_STORE_IO);
    close(ends[1]);
    signal(SIGPIPE, SIG_DFL);
    still_works(&k);
    kit_end(&k);
}

static void takes_nothing(void **state)
{
    (void)state;
    kit k;
    begin(&k);
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    int fds[] = {open("/dev/full", O_WRONLY), open("/dev/null", O_RDONLY), -1, ends[1]};
    static const char *const words[] = {"No space left", "Bad file", "Bad file", "unavailable"};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        sv_error err = {0};
        assert_int_equal(engine_copy(k.e, fds[i], &err), SV_E_STORE_IO);
        assert_non_null(strstr(err.detail, words[i]));
    }
    close(fds[0]);
    close(fds[1]);
    close(ends[0]);
    close(ends[1]);
    still_works(&k);
    kit_end(&k);
}

static void nothing(int signo)
{
    (void)signo;
}

/* Signals whose handlers interrupt system calls do not end a copy that has to wait. */
static void signals(void **state)
{
    (void)state;
    kit k;
    pthread_t rt;
    int ends[2];
    sv_error err = {0};
    begin(&k);
    struct sigaction action = {.sa_handler = nothing}, before;
    sigaction(SIGVTALRM, &action, &before);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    struct itimerspec often = {{0, 300000}, {0, 300000}};
    assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
    assert_int_equal(pipe(ends), 0);
    reader r = {.fd = ends[0], .slow_ns = 500000};
    assert_int_equal(pthread_create(&rt, NULL, read_pipe, &r), 0);
    kit_ok(engine_copy(k.e, ends[1], &err), &err);
    close(ends[1]);
    pthread_join(rt, NULL);
    timer_delete(timer);
    sigaction(SIGVTALRM, &before, NULL);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_file),
        cmocka_unit_test(of_empty),
        cmocka_unit_test(to_pipe_while_writing),
        cmocka_unit_test(reader_goes_away),
        cmocka_unit_test(takes_nothing),
        cmocka_unit_test(signals),
    };
    alarm(100);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
