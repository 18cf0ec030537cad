/*  keyring_kit.h - what the tests of keys share: a store in a folder that goes away, rows with secrets
 *  in it and their check, and a look at sys.keys. */
#ifndef TEST_KEYRING_KIT_H
#define TEST_KEYRING_KIT_H

#include "internal.h"

#include "sv_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SV_MESSAGES_FILE "test_keyring.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE
#define SV_MESSAGES_FILE "test_keyring.def"
#include "message_tables.h"

enum { ROWS = 200, ORGS = 5, OWN_ROWS = 10 };

static const store_index by_name[] = {{"by_name", "name", 0}};
static const store_table vault = {.name = "vault",
                                  .row = &entry_row_msg,
                                  .key = "org,id",
                                  .indexes = by_name,
                                  .n_indexes = 1,
                                  .tenant = "org"};
static const store_table safe = {
    .name = "safe", .row = &entry_row_msg, .key = "org,id", .tenant = "org"};
static const store_table own = {.name = "own", .row = &own_row_msg, .key = "id"};
static const store_table *const tables[] = {&vault, &safe, &own};
static const store_schema schema = {
    .service = "tester", .version = 1, .tables = tables, .n_tables = 3};

typedef struct world {
    char folder[64];
    store *store;
    seal_key *root, *next;
    arena mem;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    sv_error error;
} world;

static uint64_t seed = 88172645463325252u;

static inline uint32_t pick(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 24) % below;
}

static inline void finished(void *arg, store_op *list)
{
    world *w = arg;
    pthread_mutex_lock(&w->mutex);
    for (store_op *op = list, *next; op; op = next) {
        next = op->next;
        op->owner = NULL; /* done */
    }
    pthread_cond_broadcast(&w->done);
    pthread_mutex_unlock(&w->mutex);
}

static inline int try_open(world *w, const seal_key *root, const seal_key *next)
{
    store_spec spec = {.schema = &schema,
                       .folder = w->folder,
                       .map_bytes = 256 << 20,
                       .root = root,
                       .root_new = next,
                       .finished = finished,
                       .arg = w};
    w->error = (sv_error){0};
    return store_open(&spec, &w->store, &w->error);
}

static inline void open_with(world *w, const seal_key *root, const seal_key *next)
{
    if (try_open(w, root, next)) fail_msg("%s (%s)", w->error.message, w->error.detail);
}

static inline void shut(world *w)
{
    store_close(w->store);
    w->store = NULL;
}

static inline int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/samovar-keys.XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->root = seal_key_new();
    w->next = seal_key_new();
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->done, NULL);
    arena_init(&w->mem, 256 << 20);
    open_with(w, w->root, NULL);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    world *w = *state;
    char command[128];
    store_close(w->store);
    seal_key_free(w->root);
    seal_key_free(w->next);
    arena_free(&w->mem);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->done);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static inline int run_write(world *w, store_fn *fn, const void *in, void *out)
{
    arena mem;
    arena_init(&mem, 64 << 20);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &mem, .owner = "test"};
    int rc = store_submit(w->store, &op);
    pthread_mutex_lock(&w->mutex);
    while (rc == 0 && op.owner)
        pthread_cond_wait(&w->done, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    w->error = op.error;
    arena_free(&mem);
    return rc ? rc : op.code;
}

static inline int run_read(world *w, store_fn *fn, const void *in, void *out)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &w->mem, .owner = "test"};
    store_view(w->store, &op);
    w->error = op.error;
    return op.code;
}

static inline void write_ok(world *w, store_fn *fn, const void *in, void *out)
{
    int rc = run_write(w, fn, in, out);
    if (rc) fail_msg("%d: %s (%s)", rc, w->error.message, w->error.detail);
}

/* ---- rows ---- */

static inline int do_put(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &vault, in);
}

static inline int do_put_undone(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = store_put(tx, &vault, in);
    return rc ? rc : SV_E_DENIED;
}

static inline int do_put_safe(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &safe, in);
}

static inline int do_put_own(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &own, in);
}

static inline int do_get(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &vault, out);
}

static inline int do_get_safe(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &safe, out);
}

static inline int do_get_own(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &own, out);
}

static inline int do_delete(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_delete(tx, &vault, in);
}

typedef struct words {
    char org[16], name[24], token[64], seed[64];
} words;

/* What row i says in round n. */
static inline entry_row row_of(uint32_t i, uint32_t n, words *t)
{
    snprintf(t->org, sizeof t->org, "org%u", i % ORGS);
    snprintf(t->name, sizeof t->name, "name of %u", i);
    snprintf(t->token, sizeof t->token, "SECRET-TOKEN-%u-%u", i, n);
    snprintf(t->seed, sizeof t->seed, "SECRET-SEED-%u-%u", i, n);
    return (entry_row){.org = sv_cstr(t->org),
                       .id = i,
                       .name = sv_cstr(t->name),
                       .token = sv_cstr(t->token),
                       .seed = i % 3 ? sv_cstr(t->seed) : (sv_str){NULL, 0}};
}

static inline void fill(world *w, uint32_t round)
{
    words t;
    for (uint32_t i = 0; i < ROWS; i++) {
        entry_row r = row_of(i, round, &t);
        write_ok(w, i % 2 ? do_put : do_put_safe, &r, NULL);
    }
    for (uint32_t i = 0; i < OWN_ROWS; i++) {
        own_row o = {.id = i, .token = sv_cstr("SECRET-OWN")};
        write_ok(w, do_put_own, &o, NULL);
    }
}

static inline void check_rows(world *w, uint32_t round)
{
    words t;
    for (uint32_t i = 0; i < ROWS; i++) {
        entry_row want = row_of(i, round, &t), r = {.org = want.org, .id = i};
        int rc = run_read(w, i % 2 ? do_get : do_get_safe, NULL, &r);
        if (rc) fail_msg("row %u: %s", i, w->error.message);
        assert_true(sv_str_eq(r.token, want.token) && sv_str_eq(r.seed, want.seed));
        assert_true((r.seed.p == NULL) == (want.seed.p == NULL));
    }
    for (uint32_t i = 0; i < OWN_ROWS; i++) {
        own_row o = {.id = i};
        assert_int_equal(run_read(w, do_get_own, NULL, &o), 0);
        assert_true(sv_str_is(o.token, "SECRET-OWN"));
    }
    arena_reset(&w->mem);
}

static inline void check_store(world *w)
{
    store_check c = {.done = false};
    buf_init(&c.position, 4096);
    while (!c.done)
        assert_int_equal(run_read(w, store_check_some, &c, &c), 0);
    if (c.problems) fail_msg("%s", c.first_problem);
    buf_free(&c.position);
}

typedef struct key_count {
    uint32_t keks, old_keks, data, old_data, stale;
} key_count;

static inline int count_keys(store_tx *tx, const void *in, void *out)
{
    (void)in;
    key_count *n = out;
    engine_cursor *c;
    sv_str key, value;
    uint32_t newest, by;
    *n = (key_count){0};
    assert_int_equal(keyring_newest(tx, &newest), 0);
    assert_int_equal(engine_cursor_open(tx->txn, tx->store->sys.keys, &c, tx->err), 0);
    int rc = engine_at_least(c, (sv_str){"\0", 1}, &key, &value, tx->err);
    for (; rc == 0; rc = engine_next(c, &key, &value, tx->err)) {
        char scratch[LIMIT_STORE_KEY_BYTES];
        tuple_part kind, number;
        if (tuple_next(&key, scratch, &kind)) return SV_E_STORE_DAMAGED;
        bool kek = sv_str_is(kind.s, "kek"), data = sv_str_is(kind.s, "data");
        if (kek && tuple_next(&key, scratch, &number) == 0) {
            n->keks++;
            n->old_keks += number.i != newest;
        }
        if (data) {
            assert_int_equal(seal_version(value, &by), 0);
            n->data++;
            n->old_data += by != newest;
        }
    }
    engine_cursor_close(c);
    return 0;
}

static inline key_count keys_of(world *w)
{
    key_count n;
    assert_int_equal(run_read(w, count_keys, NULL, &n), 0);
    return n;
}

static inline uint64_t rotate(world *w)
{
    store_rotation r;
    write_ok(w, store_rotate_begin, NULL, &r);
    while (!r.done)
        write_ok(w, store_rotate_some, NULL, &r);
    assert_int_equal(r.skipped, 0);
    return r.resealed;
}

#endif
