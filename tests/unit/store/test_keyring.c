/*  test_keyring.c - keys and secrets through an open store: wrong keys, moved values, undone writes,
 *  rotation and change of the root key with a process killed in the middle, dropped keys, and a search
 *  for clear secrets in the files. */
#include "internal.h"

#include "sv_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SV_MESSAGES_FILE "test_keyring.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE
#define SV_MESSAGES_FILE "test_keyring.def"
#include "message_tables.h"

enum { ROWS = 200, ORGS = 5, OWN_ROWS = 10, KILLS = 25 };

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

static uint32_t pick(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 24) % below;
}

static void finished(void *arg, store_op *list)
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

static int try_open(world *w, const seal_key *root, const seal_key *next)
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

static void open_with(world *w, const seal_key *root, const seal_key *next)
{
    if (try_open(w, root, next)) fail_msg("%s (%s)", w->error.message, w->error.detail);
}

static void shut(world *w)
{
    store_close(w->store);
    w->store = NULL;
}

static int setup(void **state)
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

static int teardown(void **state)
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

static int run_write(world *w, store_fn *fn, const void *in, void *out)
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

static int run_read(world *w, store_fn *fn, const void *in, void *out)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &w->mem, .owner = "test"};
    store_view(w->store, &op);
    w->error = op.error;
    return op.code;
}

static void write_ok(world *w, store_fn *fn, const void *in, void *out)
{
    int rc = run_write(w, fn, in, out);
    if (rc) fail_msg("%d: %s (%s)", rc, w->error.message, w->error.detail);
}

/* ---- rows ---- */

static int do_put(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &vault, in);
}

static int do_put_undone(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = store_put(tx, &vault, in);
    return rc ? rc : SV_E_DENIED;
}

static int do_put_safe(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &safe, in);
}

static int do_put_own(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &own, in);
}

static int do_get(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &vault, out);
}

static int do_get_safe(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &safe, out);
}

static int do_get_own(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &own, out);
}

static int do_delete(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_delete(tx, &vault, in);
}

typedef struct words {
    char org[16], name[24], token[64], seed[64];
} words;

/* What row i says in round n. */
static entry_row row_of(uint32_t i, uint32_t n, words *t)
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

static void fill(world *w, uint32_t round)
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

static void check_rows(world *w, uint32_t round)
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

static void check_store(world *w)
{
    store_check c = {.done = false};
    buf_init(&c.position, 4096);
    while (!c.done)
        assert_int_equal(run_read(w, store_check_some, &c, &c), 0);
    if (c.problems) fail_msg("%s", c.first_problem);
    buf_free(&c.position);
}

/* ---- files ---- */

static char *read_file(const char *folder, const char *name, size_t *ret_n)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    for (size_t at = 0; at < (size_t)st.st_size;) {
        ssize_t n = read(fd, p + at, (size_t)st.st_size - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    close(fd);
    *ret_n = (size_t)st.st_size;
    return p;
}

static bool file_has(const char *folder, const char *name, const void *what, size_t what_n)
{
    size_t n;
    char *p = read_file(folder, name, &n);
    bool has = memmem(p, n, what, what_n) != NULL;
    free(p);
    return has;
}

/* ---- the tests ---- */

static void test_wrong_root(void **state)
{
    world *w = *state;
    size_t before_n, after_n;
    seal_key *wrong = seal_key_new();
    fill(w, 0);
    shut(w);
    char *before = read_file(w->folder, "data.mdb", &before_n);
    assert_int_equal(try_open(w, wrong, NULL), SV_E_STORE_KEY);
    assert_non_null(strstr(w->error.message, "does not open the keys of tester"));
    assert_int_equal(try_open(w, NULL, NULL), SV_E_STORE_KEY);
    assert_non_null(strstr(w->error.message, "no root key"));
    assert_int_equal(try_open(w, wrong, w->next), SV_E_STORE_KEY);
    char *after = read_file(w->folder, "data.mdb", &after_n);
    assert_int_equal(before_n, after_n);
    assert_memory_equal(before, after, before_n);
    free(before);
    free(after);
    open_with(w, wrong, w->root); /* while a change is under way */
    check_rows(w, 0);
    seal_key_free(wrong);
}

/* Without a root key a store opens that has no keys, and keeps what is not secret. */
static void test_no_root(void **state)
{
    world *w = *state, *none = calloc(1, sizeof *none);
    words t;
    entry_row r = row_of(1, 0, &t);
    pthread_mutex_init(&none->mutex, NULL);
    pthread_cond_init(&none->done, NULL);
    snprintf(none->folder, sizeof none->folder, "%.50s/none", w->folder);
    open_with(none, NULL, NULL);
    assert_int_equal(run_write(none, do_put, &r, NULL), SV_E_STORE_KEY);
    assert_non_null(strstr(none->error.message, "without a root key"));
    r.token = r.seed = (sv_str){NULL, 0};
    write_ok(none, do_put, &r, NULL);
    assert_int_equal(run_write(none, store_rotate_begin, NULL, &(store_rotation){0}),
                     SV_E_STORE_KEY);
    assert_int_equal(run_write(none, store_rekey, w->next, NULL), SV_E_STORE_KEY);
    shut(none);
    open_with(none, w->root, NULL);
    r = row_of(1, 0, &t);
    write_ok(none, do_put, &r, NULL);
    shut(none);
    assert_int_equal(try_open(none, NULL, NULL), SV_E_STORE_KEY);
    free(none);
}

/* Writes row 1 of org1 as the disk would have it after somebody moved it. */
typedef struct moved {
    const store_table *to;
    const char *org;
    int64_t id;
    bool swap;
} moved;

static int do_move(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const moved *m = in;
    table_state *from = schema_table(tx->store, &vault), *to = schema_table(tx->store, m->to);
    entry_row r = {.org = sv_cstr("org1"), .id = 1};
    tuple key = {0};
    sv_str bytes;
    buf packed;
    int rc = row_key(&from->key, 2, false, &r, &key, tx->err);
    if (rc == 0) rc = engine_get(tx->txn, from->table, tuple_str(&key), &bytes, tx->err);
    if (rc == 0) rc = row_decode_sealed(tx, from, tuple_str(&key), bytes, tx->arena, &r);
    r.org = sv_cstr(m->org);
    r.id = m->id;
    if (m->swap) {
        sv_str token = r.token;
        r.token = r.seed;
        r.seed = token;
    }
    tuple_clear(&key);
    if (rc == 0) rc = row_key(&to->key, 2, false, &r, &key, tx->err);
    buf_init(&packed, 65536);
    buf_put(&packed, "\0\0\0\0", 4);
    message_encode(to->stored, &r, &packed);
    checksum_set(tuple_str(&key), packed.p, (uint32_t)packed.n);
    if (rc == 0) rc = tx_put(tx, to->table, tuple_str(&key), buf_str(&packed), false);
    buf_free(&packed);
    return rc;
}

static void test_moved_values(void **state)
{
    world *w = *state;
    static const struct {
        moved m;
        int want;
    } t[] = {
        {{&vault, "org1", 1, false}, 0}, /* where it was */
        {{&vault, "org1", 2, false}, SV_E_STORE_DAMAGED},
        {{&vault, "org2", 1, false}, SV_E_STORE_DAMAGED},
        {{&vault, "org9", 1, false}, SV_E_STORE_KEY}, /* has no key at all */
        {{&safe, "org1", 1, false}, SV_E_STORE_DAMAGED},
        {{&vault, "org1", 1, true}, SV_E_STORE_DAMAGED},
    };
    fill(w, 0);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        entry_row r = {.org = sv_cstr(t[i].m.org), .id = t[i].m.id};
        write_ok(w, do_move, &t[i].m, NULL);
        int rc = run_read(w, t[i].m.to == &vault ? do_get : do_get_safe, NULL, &r);
        if (rc != t[i].want) fail_msg("%zu: %d %s", i, rc, w->error.message);
        assert_null(strstr(w->error.message, "SECRET"));
    }
}

/* Keys made by a write that was undone are never used. */
static void test_undone(void **state)
{
    world *w = *state;
    words t;
    entry_row r = row_of(1, 0, &t);
    assert_int_equal(run_write(w, do_put_undone, &r, NULL), SV_E_DENIED);
    write_ok(w, do_put, &r, NULL);
    shut(w);
    open_with(w, w->root, NULL);
    entry_row back = {.org = r.org, .id = 1};
    assert_int_equal(run_read(w, do_get, NULL, &back), 0);
    assert_true(sv_str_eq(back.token, r.token));
}

/* More tenants than opened keys are kept for, names of any length and bytes. */
static void test_many_tenants(void **state)
{
    world *w = *state;
    char org[200];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 300; i++) {
            int n = snprintf(org, sizeof org, "%d", i);
            if (i % 4 == 0) memset(org + n, 'x', sizeof org - 1 - (size_t)n);
            sv_str name = {org, i % 4 == 0 ? (uint32_t)(120 + i % 7) : (uint32_t)n};
            entry_row r = {.org = name, .id = 1, .token = name};
            if (pass == 0) {
                write_ok(w, do_put_safe, &r, NULL);
            } else {
                r.token = (sv_str){NULL, 0};
                assert_int_equal(run_read(w, do_get_safe, NULL, &r), 0);
                assert_true(sv_str_eq(r.token, name));
            }
        }
    }
    store_key_info k;
    assert_int_equal(store_keys(w->store, &k, NULL), 0);
    assert_int_equal(k.tenants, 300);
    assert_int_equal(k.kek_version, 1);
}

typedef struct key_count {
    uint32_t keks, old_keks, data, old_data, stale;
} key_count;

static int count_keys(store_tx *tx, const void *in, void *out)
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

static key_count keys_of(world *w)
{
    key_count n;
    assert_int_equal(run_read(w, count_keys, NULL, &n), 0);
    return n;
}

static uint64_t rotate(world *w)
{
    store_rotation r;
    write_ok(w, store_rotate_begin, NULL, &r);
    while (!r.done)
        write_ok(w, store_rotate_some, NULL, &r);
    assert_int_equal(r.skipped, 0);
    return r.resealed;
}

static void test_rotate(void **state)
{
    world *w = *state;
    store_key_info k;
    store_rotation r = {.done = false};
    words t;
    write_ok(w, store_rotate_some, NULL, &r);
    assert_true(r.done); /* nothing is under way */
    fill(w, 0);
    assert_int_equal(keys_of(w).data, ORGS + 1);
    write_ok(w, store_rotate_begin, NULL, &r);
    assert_int_equal(store_keys(w->store, &k, NULL), 0);
    assert_int_equal(k.kek_version, 2);
    assert_int_equal(k.to_go, ROWS + OWN_ROWS);
    check_rows(w, 0); /* old keys open */
    entry_row row = row_of(7, 0, &t);
    write_ok(w, do_put, &row, NULL); /* sealed with a new one already */
    assert_int_equal(keys_of(w).data, ORGS + 2);
    write_ok(w, store_rotate_begin, NULL, &r); /* goes on, does not begin again */
    assert_int_equal(store_keys(w->store, &k, NULL), 0);
    assert_int_equal(k.kek_version, 2);
    assert_int_equal(rotate(w), ROWS + OWN_ROWS - 1);
    key_count n = keys_of(w);
    assert_int_equal(n.keks, 1);
    assert_int_equal(n.data, ORGS + 1);
    assert_int_equal(n.old_keks + n.old_data, 0);
    check_rows(w, 0);
    check_store(w);
    assert_int_equal(store_keys(w->store, &k, NULL), 0);
    assert_int_equal(k.to_go + k.resealed, 0);
    shut(w);
    open_with(w, w->root, NULL);
    check_rows(w, 0);
    assert_int_equal(rotate(w), ROWS + OWN_ROWS);
    check_rows(w, 0);
}

/* A row that cannot be read keeps the old keys alive until it is gone. */
static int do_damage(store_tx *tx, const void *in, void *out)
{
    (void)out;
    table_state *s = schema_table(tx->store, &safe);
    tuple key = {0};
    int rc = row_key(&s->key, 2, false, in, &key, tx->err);
    return rc ? rc : tx_put(tx, s->table, tuple_str(&key), sv_cstr("rubbish"), false);
}

static void test_rotate_damaged(void **state)
{
    world *w = *state;
    words t;
    store_rotation r;
    entry_row row = row_of(2, 0, &t);
    fill(w, 0);
    write_ok(w, do_damage, &row, NULL);
    write_ok(w, store_rotate_begin, NULL, &r);
    while (!r.done)
        write_ok(w, store_rotate_some, NULL, &r);
    assert_int_equal(r.skipped, 1);
    assert_int_equal(r.resealed, ROWS + OWN_ROWS - 1);
    key_count n = keys_of(w);
    assert_int_equal(n.keks, 2);
    assert_int_equal(n.old_data, ORGS + 1);
    write_ok(w, do_put_safe, &row, NULL); /* mended */
    check_rows(w, 0);
    rotate(w);
    n = keys_of(w);
    assert_int_equal(n.keks, 1);
    assert_int_equal(n.old_data, 0);
    check_rows(w, 0);
}

/* ---- killed in the middle ---- */

/* Runs `work` in a process of its own and kills it after some of its steps, told by a pipe. True when
 * it came to its end first. */
static bool run_and_kill(world *w, uint32_t steps, int (*work)(world *w, int step_fd))
{
    int ends[2], status;
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        _exit(work(w, ends[1]));
    }
    close(ends[1]);
    for (uint32_t i = 0; i < steps && read(ends[0], &byte, 1) == 1; i++) {
    }
    for (volatile uint32_t spin = pick(400000); spin > 0; spin--) {
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ends[0]);
    if (WIFSIGNALED(status)) return false;
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

static void tell(int fd)
{
    if (write(fd, "s", 1) != 1) _exit(9);
}

static int child_rotates(world *w, int fd)
{
    store_rotation r;
    if (try_open(w, w->root, NULL)) return 2;
    tell(fd);
    if (run_write(w, store_rotate_begin, NULL, &r)) return 3;
    tell(fd);
    while (!r.done) {
        if (run_write(w, store_rotate_some, NULL, &r)) return 4;
        tell(fd);
    }
    return 0;
}

static void test_rotate_killed(void **state)
{
    world *w = *state;
    uint32_t ended = 0, killed = 0;
    fill(w, 0);
    shut(w);
    for (uint32_t i = 0; i < KILLS; i++) {
        if (run_and_kill(w, pick(8), child_rotates))
            ended++;
        else
            killed++;
        open_with(w, w->root, NULL);
        check_rows(w, 0);
        check_store(w);
        shut(w);
    }
    assert_true(killed > 0);
    open_with(w, w->root, NULL);
    rotate(w);
    check_rows(w, 0);
    key_count n = keys_of(w);
    assert_int_equal(n.keks, 1);
    assert_int_equal(n.old_data, 0);
    assert_int_equal(n.data, ORGS + 1);
}

static int child_rekeys(world *w, int fd)
{
    if (try_open(w, w->root, w->next)) return 2;
    tell(fd);
    for (int i = 0; i < 6; i++) { /* there and back */
        if (run_write(w, store_rekey, i % 2 ? w->root : w->next, NULL)) return 3;
        tell(fd);
    }
    return 0;
}

static void test_rekey_killed(void **state)
{
    world *w = *state;
    uint32_t was_old = 0, was_next = 0;
    fill(w, 0);
    store_rotation r;
    write_ok(w, store_rotate_begin, NULL, &r); /* two key-encryption keys */
    write_ok(w, do_put, &(entry_row){.org = sv_cstr("x")}, NULL);
    shut(w);
    for (uint32_t i = 0; i < KILLS; i++) {
        run_and_kill(w, pick(7), child_rekeys);
        bool old = try_open(w, w->root, NULL) == 0;
        if (!old) open_with(w, w->next, NULL);
        old ? was_old++ : was_next++;
        check_rows(w, 0);
        shut(w);
        assert_int_equal(try_open(w, old ? w->next : w->root, NULL), SV_E_STORE_KEY);
        open_with(w, w->root, w->next); /* as a process that starts during the change */
        check_rows(w, 0);
        shut(w);
    }
    print_message("with the former key %u times, with the next %u times\n", was_old, was_next);
    assert_true(was_next > 0);
}

static void test_rekey(void **state)
{
    world *w = *state;
    fill(w, 0);
    write_ok(w, store_rekey, w->next, NULL);
    write_ok(w, store_rekey, w->next, NULL); /* again: nothing to do */
    check_rows(w, 0);
    fill(w, 1);
    assert_int_equal(rotate(w), ROWS + OWN_ROWS); /* wraps with the next one */
    shut(w);
    assert_int_equal(try_open(w, w->root, NULL), SV_E_STORE_KEY);
    open_with(w, w->next, NULL);
    check_rows(w, 1);
    /* Many changes in one life of a process. */
    for (int i = 0; i < 10; i++) {
        seal_key *k = seal_key_new();
        write_ok(w, store_rekey, k, NULL);
        check_rows(w, 1);
        seal_key_free(k);
    }
    write_ok(w, store_rekey, w->root, NULL);
    shut(w);
    open_with(w, w->root, NULL);
    check_rows(w, 1);
}

/* ---- dropped keys ---- */

static int do_shred(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_tenant_shred(tx, sv_cstr(in));
}

static void test_shred(void **state)
{
    world *w = *state;
    words t;
    fill(w, 0);
    entry_row mine = row_of(1, 0, &t), r = {.org = sv_cstr("org1"), .id = 1};
    assert_int_equal(run_read(w, do_get, NULL, &r), 0); /* opened keys are in memory now */
    write_ok(w, do_shred, "org1", NULL);
    write_ok(w, do_shred, "org1", NULL);
    write_ok(w, do_shred, "nobody", NULL);
    assert_int_equal(run_write(w, do_shred, "", NULL), SV_E_INVALID);
    for (int again = 0; again < 2; again++) {
        r = (entry_row){.org = sv_cstr("org1"), .id = 1};
        assert_int_equal(run_read(w, do_get, NULL, &r), SV_E_STORE_KEY);
        assert_non_null(strstr(w->error.message, "dropped"));
        r = (entry_row){.org = sv_cstr("org2"), .id = 7};
        assert_int_equal(run_read(w, do_get, NULL, &r), 0); /* others are well */
        shut(w);
        open_with(w, w->root, NULL);
    }
    /* A key that is made later is another one, and numbers are not used twice. */
    entry_row fresh = {.org = sv_cstr("org1"), .id = 100, .token = sv_cstr("SECRET-NEW")};
    write_ok(w, do_put, &fresh, NULL);
    r = (entry_row){.org = sv_cstr("org1"), .id = 1};
    assert_int_equal(run_read(w, do_get, NULL, &r), SV_E_STORE_KEY);
    r = (entry_row){.org = sv_cstr("org1"), .id = 100};
    assert_int_equal(run_read(w, do_get, NULL, &r), 0);
    assert_true(sv_str_is(r.token, "SECRET-NEW"));
    rotate(w); /* rows without a key are no obstacle */
    assert_int_equal(keys_of(w).old_data, 0);
    write_ok(w, do_delete, &mine, NULL);
    r = (entry_row){.org = sv_cstr("org1"), .id = 1};
    assert_int_equal(run_read(w, do_get, NULL, &r), SV_E_NOT_FOUND);
}

/* ---- canary ---- */

static void test_canary(void **state)
{
    world *w = *state;
    char path[128];
    store_copy copy;
    words t;
    fill(w, 0);
    fill(w, 1); /* updated */
    for (uint32_t i = 1; i < ROWS / 2; i += 2) {
        entry_row r = row_of(i, 1, &t);
        write_ok(w, do_delete, &r, NULL);
    }
    rotate(w);
    write_ok(w, store_rekey, w->next, NULL);
    snprintf(path, sizeof path, "%s/copy.mdb", w->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(store_backup(w->store, fd, &copy, NULL), 0);
    close(fd);
    static const char *const files[] = {"data.mdb", "copy.mdb", "lock.mdb", "owner"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_false(file_has(w->folder, files[i], "SECRET", 6));
        assert_false(file_has(w->folder, files[i], seal_key_bytes(w->root), SEAL_KEY));
        assert_false(file_has(w->folder, files[i], seal_key_bytes(w->next), SEAL_KEY));
    }
    assert_true(
        file_has(w->folder, "data.mdb", "name of 199", 11)); /* what is not secret is there */
    assert_true(file_has(w->folder, "copy.mdb", "name of 199", 11));
}

/* ---- threads ---- */

static atomic_bool stop_reading;

static void *reader(void *arg)
{
    world *w = arg;
    while (!atomic_load(&stop_reading)) {
        arena mem;
        words t;
        arena_init(&mem, 1 << 20);
        for (uint32_t i = 1; i < ROWS; i += 2) {
            entry_row want = row_of(i, 0, &t), r = {.org = want.org, .id = i};
            store_op op = {.fn = do_get, .out = &r, .arena = &mem, .owner = "reader"};
            int rc = store_view(w->store, &op);
            if (rc == SV_E_STORE_IO) continue; /* away for a moment */
            if (rc || !sv_str_eq(r.token, want.token)) return "a row did not open";
        }
        arena_free(&mem);
    }
    return NULL;
}

static void test_readers_meanwhile(void **state)
{
    world *w = *state;
    pthread_t thread[2];
    fill(w, 0);
    atomic_store(&stop_reading, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, reader, w), 0);
    for (int i = 0; i < 5; i++) {
        rotate(w);
        write_ok(w, store_rekey, i % 2 ? w->root : w->next, NULL);
    }
    atomic_store(&stop_reading, true);
    for (int i = 0; i < 2; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        assert_null(complaint);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_wrong_root),
        T(test_no_root),
        T(test_moved_values),
        T(test_undone),
        T(test_many_tenants),
        T(test_rotate),
        T(test_rotate_damaged),
        T(test_rotate_killed),
        T(test_rekey),
        T(test_rekey_killed),
        T(test_shred),
        T(test_canary),
        T(test_readers_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
