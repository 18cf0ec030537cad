/*  test_keyring.c - keys and secrets through an open store: wrong keys, moved values, undone writes,
 *  rotation and change of the root key, dropped keys, and a search for clear secrets in the files. */
#include "keyring_kit.h"

#include <fcntl.h>
#include <sys/stat.h>

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
        T(test_wrong_root),   T(test_no_root), T(test_moved_values),      T(test_undone),
        T(test_many_tenants), T(test_rotate),  T(test_rotate_damaged),    T(test_rekey),
        T(test_shred),        T(test_canary),  T(test_readers_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
