/*  life_kit.h - a store in a folder of its own, for tests of its life: synchronous writes, a latch
 *  that holds the writer, the events it told, a clock that is a parameter.
 *  Include after cmocka; everything is static. */
#ifndef LIFE_KIT_H
#define LIFE_KIT_H

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define SV_MESSAGES_FILE "../tests/unit/store/life_rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE
#define SV_MESSAGES_FILE "../tests/unit/store/life_rows.def"
#include "message_tables.h"

#define UNUSED __attribute__((unused))

enum { WAIT_S = 20, EVENTS = 64, NEW_YEAR_MS = 1000000000 };

typedef struct life {
    char folder[64], spare[64];
    store *store;
    store_spec spec;
    seal_key *root;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t done, lists; /* ops and lists that `finished` got */
    char events[EVENTS][512];
    store_level levels[EVENTS];
    uint32_t n_events;
} life;

static _Atomic uint64_t wall_ms = NEW_YEAR_MS;

static uint64_t life_clock(void)
{
    return wall_ms;
}

static const store_table items = {.name = "items", .row = &item_msg, .key = "id"};
static const store_table *const item_tables[] = {&items};
static const store_schema item_schema UNUSED = {
    .service = "tester", .version = 1, .tables = item_tables, .n_tables = 1};

static void life_event(void *arg, store_level level, const char *what, const char *detail)
{
    life *l = arg;
    pthread_mutex_lock(&l->mutex);
    if (l->n_events < EVENTS) {
        snprintf(l->events[l->n_events], sizeof l->events[0], "%s: %s", what, detail);
        l->levels[l->n_events++] = level;
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
}

/* A finished op's owner becomes NULL. */
static void life_finished(void *arg, store_op *list)
{
    life *l = arg;
    pthread_mutex_lock(&l->mutex);
    l->lists++;
    for (store_op *op = list, *next; op; op = next) {
        next = op->next;
        op->owner = NULL;
        l->done++;
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
}

static struct timespec life_deadline(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += WAIT_S;
    return t;
}

/* Events that begin with `what`. */
UNUSED static uint32_t told(life *l, const char *what)
{
    uint32_t n = 0;
    pthread_mutex_lock(&l->mutex);
    for (uint32_t i = 0; i < l->n_events; i++)
        n += strncmp(l->events[i], what, strlen(what)) == 0;
    pthread_mutex_unlock(&l->mutex);
    return n;
}

/* Waits until at least n such events have been told. */
UNUSED static void wait_told(life *l, const char *what, uint32_t n)
{
    struct timespec until = life_deadline();
    while (told(l, what) < n) {
        pthread_mutex_lock(&l->mutex);
        int rc = pthread_cond_timedwait(&l->changed, &l->mutex, &until);
        pthread_mutex_unlock(&l->mutex);
        if (rc) fail_msg("was never told: %s", what);
    }
}

UNUSED static void forget_events(life *l)
{
    pthread_mutex_lock(&l->mutex);
    l->n_events = 0;
    pthread_mutex_unlock(&l->mutex);
}

static int life_setup_in(void **state, const char *root)
{
    life *l = calloc(1, sizeof *l);
    snprintf(l->folder, sizeof l->folder, "%s/samovar-life.XXXXXX", root);
    assert_non_null(mkdtemp(l->folder));
    snprintf(l->spare, sizeof l->spare, "%s/samovar-life.XXXXXX", root);
    assert_non_null(mkdtemp(l->spare));
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->root = seal_key_new();
    wall_ms = NEW_YEAR_MS;
    l->spec = (store_spec){.schema = &item_schema,
                           .folder = l->folder,
                           .map_bytes = 64 << 20,
                           .root = l->root,
                           .finished = life_finished,
                           .event = life_event,
                           .arg = l,
                           .unix_ms = life_clock};
    *state = l;
    return 0;
}

UNUSED static int life_setup(void **state)
{
    return life_setup_in(state, "/tmp");
}

/* For what opens very often: in memory, where syncing costs nothing. */
UNUSED static int life_setup_fast(void **state)
{
    return life_setup_in(state, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

UNUSED static int life_teardown(void **state)
{
    life *l = *state;
    char command[160];
    store_close(l->store);
    umount2(l->folder, MNT_DETACH); /* of a test that failed */
    seal_key_free(l->root);
    snprintf(command, sizeof command, "rm -rf %s %s", l->folder, l->spare);
    assert_int_equal(system(command), 0);
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->changed);
    free(l);
    return 0;
}

UNUSED static void must_open(life *l, const store_schema *schema)
{
    sv_error err = {.code = 0};
    l->spec.schema = schema;
    if (store_open(&l->spec, &l->store, &err))
        fail_msg("open: %d %s (%s)", err.code, err.message, err.detail);
}

UNUSED static void must_close(life *l)
{
    store_close(l->store);
    l->store = NULL;
}

UNUSED static int try_open(life *l, const store_schema *schema, sv_error *err)
{
    *err = (sv_error){.code = 0};
    l->spec.schema = schema;
    int rc = store_open(&l->spec, &l->store, err);
    if (rc) assert_null(l->store);
    return rc;
}

/* ---- files ---- */

UNUSED static void data_path(const char *folder, char to[128])
{
    snprintf(to, 128, "%s/data.mdb", folder);
}

UNUSED static void hash_of(const char *path, char hex[65])
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

/* ---- writes ---- */

UNUSED static void wait_op(life *l, store_op *op)
{
    struct timespec until = life_deadline();
    pthread_mutex_lock(&l->mutex);
    int rc = 0;
    while (op->owner && rc == 0)
        rc = pthread_cond_timedwait(&l->changed, &l->mutex, &until);
    pthread_mutex_unlock(&l->mutex);
    assert_int_equal(rc, 0);
}

/* Submits and waits; the op's error in *err, which may be NULL. */
UNUSED static int write_now(life *l, store_fn *fn, const void *in, void *out, sv_error *err)
{
    arena mem;
    arena_init(&mem, 64 << 20);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &mem, .owner = "test"};
    if (store_submit(l->store, &op) == 0) wait_op(l, &op);
    if (err) *err = op.error;
    arena_free(&mem);
    return op.code;
}

UNUSED static int read_now(life *l, store_fn *fn, const void *in, void *out)
{
    arena mem;
    arena_init(&mem, 64 << 20);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &mem, .owner = "test"};
    int rc = store_view(l->store, &op);
    arena_free(&mem);
    return rc;
}

UNUSED static int put_item(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &items, in);
}

UNUSED static int insert_item(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_insert(tx, &items, in);
}

UNUSED static int delete_item(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_delete(tx, &items, in);
}

/* out: an item with its id set; strings of it are gone with the arena. */
UNUSED static int get_item(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &items, out);
}

UNUSED static int must_put(life *l, int64_t id, int64_t color)
{
    item it = {.id = id, .color = color};
    return write_now(l, put_item, &it, NULL, NULL);
}

/* The item's color, or the error. */
UNUSED static int64_t color_of(life *l, int64_t id)
{
    item it = {.id = id};
    int rc = read_now(l, get_item, NULL, &it);
    return rc ? rc : it.color;
}

UNUSED static int count_fn(store_tx *tx, const void *in, void *out)
{
    store_scan *scan;
    item it;
    uint64_t n = 0;
    store_range range = {.table = in ? in : &items};
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &it))
        n++;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    *(uint64_t *)out = n;
    return rc;
}

UNUSED static uint64_t count_items(life *l)
{
    uint64_t n = 0;
    assert_int_equal(read_now(l, count_fn, NULL, &n), 0);
    return n;
}

UNUSED static store_stat stats_of(life *l)
{
    store_stat st;
    assert_int_equal(store_stats(l->store, false, &st, NULL), 0);
    return st;
}

UNUSED static void check_all(life *l)
{
    store_check c = {.done = false};
    buf_init(&c.position, 4096);
    while (!c.done)
        assert_int_equal(read_now(l, store_check_some, NULL, &c), 0);
    buf_free(&c.position);
    if (c.problems) fail_msg("%s", c.first_problem);
}

/* ---- holding the writer ---- */

typedef struct latch {
    sem_t entered, leave;
    store_op op;
    arena mem;
} latch;

static int latch_fn(store_tx *tx, const void *in, void *out)
{
    (void)tx;
    (void)in;
    latch *h = out;
    sem_post(&h->entered);
    while (sem_wait(&h->leave))
        ;
    return 0;
}

/* The writer is within a write until let_go. */
UNUSED static void hold_writer(life *l, latch *h)
{
    sem_init(&h->entered, 0, 0);
    sem_init(&h->leave, 0, 0);
    arena_init(&h->mem, 4096);
    h->op = (store_op){.fn = latch_fn, .out = h, .arena = &h->mem, .owner = "latch"};
    assert_int_equal(store_submit(l->store, &h->op), 0);
    while (sem_wait(&h->entered))
        ;
}

UNUSED static void let_go(life *l, latch *h)
{
    sem_post(&h->leave);
    wait_op(l, &h->op);
    arena_free(&h->mem);
    sem_destroy(&h->entered);
    sem_destroy(&h->leave);
}

/* ---- holding a read ---- */

static int read_latch(store_tx *tx, const void *in, void *out)
{
    (void)in;
    latch *h = out;
    item it = {.id = INT32_MAX};
    sem_post(&h->entered);
    while (sem_wait(&h->leave))
        ;
    return store_get(tx, &items, &it) == SV_E_NOT_FOUND ? 0 : SV_E_INTERNAL;
}

static void *read_held(void *arg)
{
    store_op *op = arg;
    latch *h = op->out;
    /* `in` names the store: the op is no write. */
    return (void *)(intptr_t)store_view((store *)(uintptr_t)h->op.in, op);
}

UNUSED static void hold_reader(life *l, latch *h, pthread_t *thread)
{
    sem_init(&h->entered, 0, 0);
    sem_init(&h->leave, 0, 0);
    arena_init(&h->mem, 1 << 20);
    h->op =
        (store_op){.fn = read_latch, .in = l->store, .out = h, .arena = &h->mem, .owner = "reader"};
    assert_int_equal(pthread_create(thread, NULL, read_held, &h->op), 0);
    while (sem_wait(&h->entered))
        ;
}

UNUSED static void release_reader(latch *h, pthread_t thread)
{
    void *rc;
    sem_post(&h->leave);
    pthread_join(thread, &rc);
    assert_int_equal((intptr_t)rc, 0);
    arena_free(&h->mem);
    sem_destroy(&h->entered);
    sem_destroy(&h->leave);
}

#endif
