/*  test_writer.c - group commit, and what happens when a commit fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"
#include "sv_limits.h"

#include <sys/mount.h>
#include <sys/syscall.h>

/* The disk's part in a commit: fails while it says so. */
static atomic_int sync_failures;

int fdatasync(int fd)
{
    int left = atomic_load(&sync_failures);
    while (left > 0)
        if (atomic_compare_exchange_weak(&sync_failures, &left, left - 1)) {
            errno = EIO;
            return -1;
        }
    return (int)syscall(SYS_fdatasync, fd);
}

typedef struct write_job {
    store_op op;
    item row;
    arena mem;
} write_job;

static write_job *make_jobs(uint32_t n, store_fn *fn)
{
    write_job *jobs = calloc(n, sizeof *jobs);
    assert_non_null(jobs);
    for (uint32_t i = 0; i < n; i++) {
        arena_init(&jobs[i].mem, 1 << 20);
        jobs[i].row.id = i;
        jobs[i].op = (store_op){
            .fn = fn, .in = &jobs[i].row, .arena = &jobs[i].mem, .owner = "job", .code = 1};
    }
    return jobs;
}

static void submit_all(life *l, write_job *jobs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(store_submit(l->store, &jobs[i].op), 0);
}

static void free_jobs(life *l, write_job *jobs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (l) wait_op(l, &jobs[i].op);
        arena_free(&jobs[i].mem);
    }
    free(jobs);
}

/* ---- group commit ---- */

static void many_writes_few_commits(void **state)
{
    life *l = *state;
    latch h;
    must_open(l, &item_schema);
    write_job *jobs = make_jobs(64, put_item);
    hold_writer(l, &h);
    uint64_t before = stats_of(l).commits;
    submit_all(l, jobs, 64);
    let_go(l, &h);
    free_jobs(l, jobs, 64);
    store_stat st = stats_of(l);
    assert_in_range(st.commits - before, 1, 2); /* the clock may have been saved */
    assert_int_equal(st.batch_max, 65);
    assert_true(st.commit_us_last > 0);
    assert_int_equal(count_items(l), 64);
}

typedef struct caller {
    life *l;
    int64_t first;
    int failed;
} caller;

static void *call(void *arg)
{
    caller *c = arg;
    for (int64_t i = 0; i < 20; i++)
        if (must_put(c->l, c->first + i, i)) c->failed++;
    return NULL;
}

static void callers_on_many_threads(void **state)
{
    life *l = *state;
    pthread_t threads[64];
    caller callers[64];
    must_open(l, &item_schema);
    for (int i = 0; i < 64; i++) {
        callers[i] = (caller){.l = l, .first = i * 100};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < 64; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].failed, 0);
    }
    store_stat st = stats_of(l);
    assert_int_equal(st.writes, 64 * 20);
    assert_true(st.commits < st.writes);
    assert_int_equal(count_items(l), 64 * 20);
}

static void batches_are_bounded(void **state)
{
    life *l = *state;
    latch h;
    must_open(l, &item_schema);
    uint32_t n = LIMIT_STORE_BATCH_WRITES + 10;
    write_job *jobs = make_jobs(n, put_item);
    hold_writer(l, &h);
    uint64_t before = stats_of(l).commits;
    submit_all(l, jobs, n);
    let_go(l, &h);
    free_jobs(l, jobs, n);
    store_stat st = stats_of(l);
    assert_in_range(st.commits - before, 2, 3);
    assert_int_equal(st.batch_max, LIMIT_STORE_BATCH_WRITES);
}

static void a_batch_is_bounded_in_bytes(void **state)
{
    life *l = *state;
    latch h;
    static char ballast[16000];
    must_open(l, &item_schema);
    uint32_t n = 2 * LIMIT_STORE_BATCH_BYTES / sizeof ballast;
    write_job *jobs = make_jobs(n, put_item);
    for (uint32_t i = 0; i < n; i++)
        jobs[i].row.data = (sv_str){ballast, sizeof ballast};
    hold_writer(l, &h);
    uint64_t before = stats_of(l).commits;
    submit_all(l, jobs, n);
    let_go(l, &h);
    free_jobs(l, jobs, n);
    assert_in_range(stats_of(l).commits - before, 2, 4);
}

/* ---- each write for itself ---- */

static int put_then_fail(store_tx *tx, const void *in, void *out)
{
    (void)out;
    item other = {.id = 1000, .color = 1};
    int rc = store_put(tx, &items, &other);
    if (rc == 0) rc = store_put(tx, &items, in);
    return rc ? rc : sv_fail(store_error(tx), SV_E_INVALID, "id", "Not this one.");
}

static void a_failure_is_undone_alone(void **state)
{
    life *l = *state;
    latch h;
    must_open(l, &item_schema);
    write_job *jobs = make_jobs(9, put_item);
    jobs[4].op.fn = put_then_fail;
    hold_writer(l, &h);
    submit_all(l, jobs, 9);
    let_go(l, &h);
    for (int i = 0; i < 9; i++)
        wait_op(l, &jobs[i].op);
    assert_int_equal(jobs[3].op.code, 0);
    assert_int_equal(jobs[4].op.code, SV_E_INVALID);
    assert_string_equal(jobs[4].op.error.message, "Not this one.");
    assert_int_equal(jobs[5].op.code, 0);
    free_jobs(NULL, jobs, 9);
    assert_int_equal(count_items(l), 8);
    assert_int_equal(color_of(l, 1000), SV_E_NOT_FOUND);
    assert_int_equal(color_of(l, 4), SV_E_NOT_FOUND);
}

static int positive(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = store_put(tx, &items, in);
    return rc ? rc : 7;
}

/* An answer above 0 is the function's own: it undoes, and is no error with words. */
static void any_answer_but_0_undoes(void **state)
{
    life *l = *state;
    item it = {.id = 1};
    sv_error err;
    must_open(l, &item_schema);
    assert_int_equal(write_now(l, positive, &it, NULL, &err), 7);
    assert_int_equal(count_items(l), 0);
}

static int read_back(store_tx *tx, const void *in, void *out)
{
    item it = *(const item *)in;
    int rc = store_put(tx, &items, in);
    it.color = 0;
    if (rc == 0) rc = store_get(tx, &items, &it);
    *(int64_t *)out = it.color;
    return rc;
}

static void own_writes_are_seen(void **state)
{
    life *l = *state;
    item it = {.id = 1, .color = 77};
    int64_t color = 0;
    must_open(l, &item_schema);
    assert_int_equal(write_now(l, read_back, &it, &color, NULL), 0);
    assert_int_equal(color, 77);
}

static int ignore_not_found(store_tx *tx, const void *in, void *out)
{
    (void)out;
    item it = {.id = 999};
    if (store_get(tx, &items, &it) != SV_E_NOT_FOUND) return SV_E_INTERNAL;
    return store_insert(tx, &items, in);
}

static void an_error_the_function_went_on_after_is_not_told(void **state)
{
    life *l = *state;
    item it = {.id = 1};
    sv_error err;
    must_open(l, &item_schema);
    assert_int_equal(write_now(l, ignore_not_found, &it, NULL, &err), 0);
    assert_int_equal(err.code, 0);
    assert_int_equal(write_now(l, ignore_not_found, &it, NULL, &err), SV_E_CONFLICT);
    assert_int_equal(err.code, SV_E_CONFLICT);
}

static int must_not_run(store_tx *tx, const void *in, void *out)
{
    (void)tx;
    (void)in;
    *(bool *)out = true;
    return 0;
}

static void late_writes_are_not_begun(void **state)
{
    life *l = *state;
    latch h;
    bool ran = false;
    must_open(l, &item_schema);
    write_job *jobs = make_jobs(2, put_item);
    jobs[0].op.fn = must_not_run;
    jobs[0].op.out = &ran;
    jobs[0].op.deadline_us = 1;
    jobs[1].op.deadline_us = store_us() + 3600000000;
    hold_writer(l, &h);
    submit_all(l, jobs, 2);
    let_go(l, &h);
    wait_op(l, &jobs[0].op);
    wait_op(l, &jobs[1].op);
    assert_int_equal(jobs[0].op.code, SV_E_DEADLINE);
    assert_int_equal(jobs[0].op.error.code, SV_E_DEADLINE);
    assert_false(ran);
    assert_int_equal(jobs[1].op.code, 0);
    free_jobs(NULL, jobs, 2);
}

static void the_queue_is_bounded(void **state)
{
    life *l = *state;
    latch h;
    must_open(l, &item_schema);
    write_job *jobs = make_jobs(LIMIT_STORE_QUEUE + 1, must_not_run);
    bool ran = false;
    for (uint32_t i = 0; i <= LIMIT_STORE_QUEUE; i++) {
        jobs[i].op.out = &ran;
        jobs[i].op.deadline_us = 1;
    }
    hold_writer(l, &h);
    submit_all(l, jobs, LIMIT_STORE_QUEUE);
    assert_int_equal(stats_of(l).waiting, LIMIT_STORE_QUEUE);
    store_op *last = &jobs[LIMIT_STORE_QUEUE].op;
    assert_int_equal(store_submit(l->store, last), SV_E_OVERLOADED);
    assert_int_equal(last->error.code, SV_E_OVERLOADED);
    assert_true(last->error.retry_after_ms > 0);
    let_go(l, &h);
    free_jobs(l, jobs, LIMIT_STORE_QUEUE);
}

static void closing_finishes_what_waits(void **state)
{
    life *l = *state;
    latch h;
    must_open(l, &item_schema);
    write_job *jobs = make_jobs(100, put_item);
    hold_writer(l, &h);
    submit_all(l, jobs, 100);
    sem_post(&h.leave);
    must_close(l);
    arena_free(&h.mem);
    sem_destroy(&h.entered);
    sem_destroy(&h.leave);
    assert_int_equal(l->done, 101);
    for (int i = 0; i < 100; i++)
        assert_int_equal(jobs[i].op.code, 0);
    free_jobs(NULL, jobs, 100);
    must_open(l, &item_schema);
    assert_int_equal(count_items(l), 100);
}

/* ---- fence ---- */

static int forge_epoch(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return meta_put_int(tx, "epoch", *(const int64_t *)in);
}

static void a_lost_environment_is_not_written(void **state)
{
    life *l = *state;
    int64_t epoch = 4711;
    sv_error err;
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 1), 0);
    assert_int_equal(write_now(l, forge_epoch, &epoch, NULL, NULL), 0);
    item it = {.id = 2};
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_LOCKED);
    wait_told(l, "the store is lost to this process", 1);
    assert_non_null(strstr(l->events[l->n_events - 1], "4711"));
    assert_int_equal(l->levels[l->n_events - 1], STORE_ALARM);
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_LOCKED);
    assert_int_equal(err.retry_after_ms, 0);
    assert_int_equal(color_of(l, 1), 1); /* reads go on */
    assert_int_equal(color_of(l, 2), SV_E_NOT_FOUND);
    assert_int_equal(stats_of(l).state, STORE_FAILING);
}

/* ---- no room ---- */

static char ballast[16000];

/* Rows until there is no room; how many there are. */
static int64_t fill(life *l)
{
    item it = {.id = 0, .data = {ballast, sizeof ballast}};
    sv_error err;
    int rc;
    while ((rc = write_now(l, put_item, &it, NULL, &err)) == 0 && it.id < 100000)
        it.id++;
    assert_int_equal(rc, SV_E_STORE_FULL);
    return it.id;
}

static void must_recover(life *l, int64_t filled)
{
    store_stat st = stats_of(l);
    sv_error err;
    item it = {.id = 200000};
    assert_int_equal(st.state, STORE_FULL);
    assert_int_equal(told(l, "the store is full"), 1);
    assert_int_equal(count_items(l), filled); /* reads go on */
    int refused = write_now(l, put_item, &it, NULL, &err);
    if (refused) {
        assert_int_equal(refused, SV_E_STORE_FULL);
        assert_int_equal(err.code, SV_E_STORE_FULL);
        assert_in_range(err.retry_after_ms, 1, 2001);
    }
    /* Deleting makes room, as soon as an attempt lets it through. */
    for (int64_t gone = 0; gone < filled && gone < 30;) {
        item out = {.id = gone};
        int rc = write_now(l, delete_item, &out, NULL, &err);
        if (rc == 0)
            gone++;
        else
            assert_int_equal(rc, SV_E_STORE_FULL);
        if (rc) usleep(err.retry_after_ms * 1000);
    }
    wait_told(l, "the store can be written again", 1);
    it = (item){.id = 0, .data = {ballast, sizeof ballast}};
    assert_int_equal(write_now(l, put_item, &it, NULL, NULL), 0);
    assert_int_equal(stats_of(l).state, STORE_READY);
    check_all(l);
}

static void a_full_map(void **state)
{
    life *l = *state;
    l->spec.map_bytes = 2 << 20;
    must_open(l, &item_schema);
    must_recover(l, fill(l));
}

static int put_and_say(store_tx *tx, const void *in, void *out)
{
    *(bool *)out = true;
    return store_put(tx, &items, in);
}

/* Who comes back when told to is let through: the store's own attempts do not take that turn. */
static void an_attempt_when_told(void **state)
{
    life *l = *state;
    sv_error err;
    item it = {.id = 300000, .data = {ballast, sizeof ballast}};
    l->spec.map_bytes = 2 << 20;
    must_open(l, &item_schema);
    fill(l);
    for (int i = 0; i < 5; i++) {
        bool ran = false;
        while (write_now(l, put_and_say, &it, &ran, &err) == 0)
            it.id++;
        if (i > 0) assert_true(ran);
        assert_int_equal(err.code, SV_E_STORE_FULL);
        usleep(err.retry_after_ms * 1000);
    }
}

static void a_full_disk(void **state)
{
    life *l = *state;
    if (mount("none", l->folder, "tmpfs", 0, "size=2m")) skip();
    must_open(l, &item_schema);
    must_recover(l, fill(l));
    must_close(l);
    assert_int_equal(umount(l->folder), 0);
}

static void take_all_room(life *l, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", l->folder, name);
    FILE *f = fopen(path, "w");
    while (fwrite(ballast, 1, 512, f) == 512 && fflush(f) == 0)
        ;
    fclose(f);
}

/* A process that starts while the disk is full serves reads, and writes once there is room. */
static void opened_on_a_full_disk(void **state)
{
    life *l = *state;
    char path[128];
    sv_error err;
    item it = {.id = 2};
    if (mount("none", l->folder, "tmpfs", 0, "size=2m")) skip();
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    must_close(l);
    take_all_room(l, "junk");
    must_open(l, &item_schema);
    assert_int_equal(stats_of(l).state, STORE_FULL);
    assert_int_equal(stats_of(l).epoch, 1);
    assert_int_equal(told(l, "the store is full"), 1);
    assert_int_equal(color_of(l, 1), 11);
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_FULL);
    assert_true(err.retry_after_ms > 0);
    snprintf(path, sizeof path, "%s/junk", l->folder);
    assert_int_equal(unlink(path), 0);
    wait_told(l, "the store can be written again", 1);
    assert_int_equal(stats_of(l).epoch, 2);
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), 0);
    must_close(l);
    /* A new one has to be written first. */
    snprintf(path, sizeof path, "%s/data.mdb", l->folder);
    assert_int_equal(unlink(path), 0);
    take_all_room(l, "junk");
    assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_FULL);
    assert_int_equal(err.code, SV_E_STORE_FULL);
    assert_int_equal(umount(l->folder), 0);
}

static int put_much(store_tx *tx, const void *in, void *out)
{
    (void)out;
    item it = {.id = ((const item *)in)->id, .data = {ballast, sizeof ballast}};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 200; i++, it.id++)
        rc = store_put(tx, &items, &it);
    return rc;
}

static void a_large_write_fails_alone(void **state)
{
    life *l = *state;
    latch h;
    l->spec.map_bytes = 2 << 20;
    must_open(l, &item_schema);
    write_job *jobs = make_jobs(64, put_item);
    jobs[30].op.fn = put_much;
    jobs[30].row.id = 10000;
    hold_writer(l, &h);
    submit_all(l, jobs, 64);
    let_go(l, &h);
    for (int i = 0; i < 64; i++)
        wait_op(l, &jobs[i].op);
    for (int i = 0; i < 64; i++)
        assert_int_equal(jobs[i].op.code, i == 30 ? SV_E_STORE_FULL : 0);
    free_jobs(NULL, jobs, 64);
    assert_int_equal(stats_of(l).state, STORE_READY);
    assert_int_equal(count_items(l), 63);
}

/* ---- a disk that fails ---- */

static void one_failed_commit(void **state)
{
    life *l = *state;
    latch h;
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    write_job *jobs = make_jobs(3, put_item);
    for (int i = 0; i < 3; i++)
        jobs[i].row.id = 100 + i;
    jobs[0].op.fn = put_then_fail;
    jobs[2].op.fn = insert_item;
    jobs[2].row.id = 101; /* a conflict with a row that will be undone */
    hold_writer(l, &h);
    submit_all(l, jobs, 3);
    atomic_store(&sync_failures, 1);
    let_go(l, &h);
    for (int i = 0; i < 3; i++)
        wait_op(l, &jobs[i].op);
    /* The latch was the first to succeed: all behind it may have seen what is undone. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(jobs[i].op.code, SV_E_STORE_IO);
    assert_true(jobs[1].op.error.retry_after_ms > 0);
    free_jobs(NULL, jobs, 3);
    wait_told(l, "the store can be written again", 1);
    assert_int_equal(told(l, "the store could not be written"), 1);
    assert_int_equal(color_of(l, 1), 11);
    assert_int_equal(must_put(l, 2, 22), 0);
    assert_int_equal(color_of(l, 2), 22);
    assert_int_equal(count_items(l), 2);
    assert_true(stats_of(l).failures >= 3);
}

static void a_disk_that_stays_broken(void **state)
{
    life *l = *state;
    sv_error err;
    item it = {.id = 2};
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    atomic_store(&sync_failures, INT32_MAX);
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_IO);
    /* Refused without an attempt; reads go on, but for the moment of an opening. */
    for (int i = 0; i < 50; i++) {
        int rc = write_now(l, put_item, &it, NULL, &err);
        assert_int_equal(rc, SV_E_STORE_IO);
        assert_true(err.retry_after_ms > 0);
        int64_t color = color_of(l, 1);
        assert_true(color == 11 || color == SV_E_STORE_IO);
        usleep(10000);
    }
    assert_int_equal(stats_of(l).state, STORE_FAILING);
    atomic_store(&sync_failures, 0);
    wait_told(l, "the store can be written again", 1);
    assert_int_equal(must_put(l, 2, 22), 0);
    assert_int_equal(color_of(l, 1), 11);
}

static int believe_more(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    item it = {.id = 1};
    tx->store->acked_txn += 1000;
    atomic_store(&sync_failures, 1);
    return store_put(tx, &items, &it);
}

/* What was acknowledged is not there after the environment was opened again. */
static void acknowledged_writes_that_are_gone(void **state)
{
    life *l = *state;
    sv_error err;
    item it = {.id = 2};
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    assert_int_equal(write_now(l, believe_more, NULL, NULL, &err), SV_E_STORE_IO);
    wait_told(l, "the store is lost to this process", 1);
    assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_DAMAGED);
    assert_int_equal(color_of(l, 1), SV_E_STORE_DAMAGED);
}

/* Opening again waits for reads that run, refuses those that come, and they see their data. */
static void reads_under_way_are_waited_for(void **state)
{
    life *l = *state;
    latch h;
    pthread_t thread;
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    hold_reader(l, &h, &thread);
    atomic_store(&sync_failures, 1);
    assert_int_equal(must_put(l, 2, 22), SV_E_STORE_IO);
    arena mem;
    arena_init(&mem, 1 << 20);
    item it = {.id = 1};
    store_op op = {.fn = get_item, .out = &it, .arena = &mem, .owner = "test"};
    while (store_view(l->store, &op) == 0)
        usleep(1000);
    assert_int_equal(op.code, SV_E_STORE_IO);
    assert_int_equal(op.error.retry_after_ms, 1);
    arena_free(&mem);
    release_reader(&h, thread);
    wait_told(l, "the store can be written again", 1);
    assert_int_equal(color_of(l, 1), 11);
}

/* ---- expiry and blobs go by themselves ---- */

static const store_table lasting = {
    .name = "items", .row = &item_msg, .key = "id", .expires = "until", .blobs = true};
static const store_table *const lasting_tables[] = {&lasting};
static const store_schema lasting_schema = {
    .service = "tester", .version = 1, .tables = lasting_tables, .n_tables = 1};

static int put_lasting(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = store_put(tx, &lasting, in);
    return rc ? rc : store_blob_append(tx, &lasting, in, (sv_str){ballast, sizeof ballast});
}

static void expired_rows_are_swept(void **state)
{
    life *l = *state;
    must_open(l, &lasting_schema);
    for (int64_t i = 0; i < 30; i++) {
        item it = {.id = i, .until = NEW_YEAR_MS + 1000};
        assert_int_equal(write_now(l, put_lasting, &it, NULL, NULL), 0);
    }
    store_table_info info[16];
    wall_ms += 2000;
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(store_tables(l->store, info, 16, NULL), 7);
        assert_string_equal(info[0].name, "t.items");
        assert_string_equal(info[4].name, "sys.chunks");
        if (info[0].entries == 0 && info[4].entries == 0) break;
        usleep(10000);
    }
    assert_int_equal(info[0].entries, 0);
    assert_int_equal(info[4].entries, 0);
    assert_int_equal(stats_of(l).expired, 30);
    check_all(l);
}

static void an_idle_store_is_not_written(void **state)
{
    life *l = *state;
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 1), 0);
    uint64_t commits = 0;
    for (int still = 0; still < 25; usleep(100000)) { /* two sweeps without a commit */
        uint64_t now = stats_of(l).commits;
        still = now == commits ? still + 1 : 0;
        commits = now;
        assert_true(commits < 8);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, life_setup, life_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_writes_few_commits),
        TEST(callers_on_many_threads),
        TEST(batches_are_bounded),
        TEST(a_batch_is_bounded_in_bytes),
        TEST(a_failure_is_undone_alone),
        TEST(any_answer_but_0_undoes),
        TEST(own_writes_are_seen),
        TEST(an_error_the_function_went_on_after_is_not_told),
        TEST(late_writes_are_not_begun),
        TEST(the_queue_is_bounded),
        TEST(closing_finishes_what_waits),
        TEST(a_lost_environment_is_not_written),
        TEST(a_full_map),
        TEST(an_attempt_when_told),
        TEST(a_full_disk),
        TEST(opened_on_a_full_disk),
        TEST(a_large_write_fails_alone),
        TEST(one_failed_commit),
        TEST(a_disk_that_stays_broken),
        TEST(acknowledged_writes_that_are_gone),
        TEST(reads_under_way_are_waited_for),
        TEST(expired_rows_are_swept),
        TEST(an_idle_store_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
