/*  test_engine_random.c - transactions within transactions against a plain model: at random written,
 *  deleted, emptied, committed and undone, three deep. After each commit every row is as the model
 *  says, the file passes the check of its layout, and no page is lost: each is in a tree or free.
 *  (LMDB refuses to compact an environment that has lost pages.) */
#include "engine_kit.h"

#include "engine_file.h"

enum { KEYS = 600, TABLES = 3, LEVELS = 4 };

/* The length of each row's value, 0: there is none. Its bytes follow from key and length. */
typedef struct model {
    uint32_t n[TABLES][KEYS];
} model;

typedef struct world {
    kit k;
    engine_table table[TABLES];
    model level[LEVELS];
    engine_txn *txn[LEVELS];
    uint64_t random;
    char *value;
} world;

static uint32_t draw(world *w, uint32_t below)
{
    return kit_random(&w->random) % below;
}

static void put(world *w, int level, uint32_t table, uint32_t key)
{
    static const uint32_t sizes[] = {1, 20, 100, 700, 2000, 2100, 5000, 16000};
    uint32_t n = 1 + draw(w, sizes[draw(w, 8)]);
    char a[16];
    sv_error err = {0};
    memset(w->value, (int)('a' + (key + n) % 26), n);
    bool fresh = draw(w, 4) == 0;
    int rc = engine_put(w->txn[level], w->table[table], kit_key(key, a), (sv_str){w->value, n},
                        fresh, &err);
    uint32_t *have = &w->level[level].n[table][key];
    if (fresh && *have != 0) {
        assert_int_equal(rc, SV_E_CONFLICT);
        return;
    }
    kit_ok(rc, &err);
    *have = n;
}

static void change(world *w, int level)
{
    uint32_t table = draw(w, TABLES), key = draw(w, KEYS), what = draw(w, 1000);
    char a[16];
    sv_error err = {0};
    if (what == 0) {
        kit_ok(engine_table_clear(w->txn[level], w->table[table], &err), &err);
        memset(w->level[level].n[table], 0, sizeof w->level[level].n[table]);
    } else if (what < 450) {
        uint32_t *have = &w->level[level].n[table][key];
        int rc = engine_delete(w->txn[level], w->table[table], kit_key(key, a), &err);
        assert_int_equal(rc, *have ? 0 : SV_E_NOT_FOUND);
        *have = 0;
    } else if (what < 500) {
        /* A run of neighbours, so that whole pages come and go within one transaction. */
        uint32_t n = draw(w, 100);
        bool remove = draw(w, 2);
        for (uint32_t i = key; i < key + n && i < KEYS; i++) {
            if (!remove) put(w, level, table, i);
            if (!remove || w->level[level].n[table][i] == 0) continue;
            kit_ok(engine_delete(w->txn[level], w->table[table], kit_key(i, a), &err), &err);
            w->level[level].n[table][i] = 0;
        }
    } else {
        put(w, level, table, key);
    }
}

static void run(world *w, int level)
{
    uint32_t steps = 1 + draw(w, 20);
    for (uint32_t i = 0; i < steps; i++) {
        if (level + 1 == LEVELS || draw(w, 3) != 0) {
            change(w, level);
            continue;
        }
        w->txn[level + 1] = kit_nest(w->txn[level]);
        w->level[level + 1] = w->level[level];
        run(w, level + 1);
        if (draw(w, 2) == 0) {
            engine_abort(w->txn[level + 1]);
            continue;
        }
        kit_commit(w->txn[level + 1]);
        w->level[level] = w->level[level + 1];
    }
}

static void compare(world *w, engine_txn *t, const model *m)
{
    char a[16];
    for (uint32_t table = 0; table < TABLES; table++) {
        sv_str key, value;
        sv_error err = {0};
        engine_cursor *c;
        kit_ok(engine_cursor_open(t, w->table[table], &c, &err), &err);
        int rc = engine_at_least(c, (sv_str){NULL, 0}, &key, &value, &err);
        for (uint32_t i = 0; i < KEYS; i++) {
            uint32_t n = m->n[table][i];
            if (n == 0) continue;
            kit_ok(rc, &err);
            assert_memory_equal(key.p, kit_key(i, a).p, key.n);
            assert_int_equal(value.n, n);
            assert_int_equal(value.p[0], 'a' + (i + n) % 26);
            assert_int_equal(value.p[n - 1], 'a' + (i + n) % 26);
            rc = engine_next(c, &key, &value, &err);
        }
        assert_int_equal(rc, SV_E_NOT_FOUND);
        engine_cursor_close(c);
    }
}

static void check_file(world *w)
{
    engine_file f;
    sv_error err = {0};
    kit_ok(engine_file_check(w->k.data, true, &f, &err), &err);
}

static void open_tables(world *w)
{
    kit_open(&w->k);
    engine_txn *t = kit_txn(&w->k, true);
    sv_error err = {0};
    for (uint32_t i = 0; i < TABLES; i++) {
        char name[8];
        snprintf(name, sizeof name, "t.%u", i);
        kit_ok(engine_table_open(t, name, true, &w->table[i], &err), &err);
    }
    kit_commit(t);
}

static void check_compacts(world *w)
{
    sv_error err = {0};
    char path[300];
    kit copy = {.map_bytes = MIB};
    kit_folder(copy.folder, sizeof copy.folder);
    snprintf(path, sizeof path, "%s/data.mdb", copy.folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    kit_ok(engine_copy(w->k.e, fileno(f), &err), &err);
    fclose(f);
    kit_ok(kit_try_open(&copy, true, &err), &err);
    engine_txn *t = kit_txn(&copy, false);
    engine_table table[TABLES];
    memcpy(table, w->table, sizeof table);
    for (uint32_t i = 0; i < TABLES; i++) {
        char name[8];
        snprintf(name, sizeof name, "t.%u", i);
        kit_ok(engine_table_open(t, name, false, &w->table[i], &err), &err);
    }
    compare(w, t, &w->level[0]);
    memcpy(w->table, table, sizeof table);
    engine_abort(t);
    kit_end(&copy);
}

static void play(uint64_t seed, uint32_t rounds)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->value = malloc(32768);
    w->random = seed;
    kit_begin(&w->k, 256 * MIB);
    kit_close(&w->k);
    open_tables(w);
    engine_txn *reader = NULL;
    model *seen = calloc(1, sizeof *seen);
    for (uint32_t round = 0; round < rounds; round++) {
        model before = w->level[0];
        w->txn[0] = kit_txn(&w->k, true);
        run(w, 0);
        if (draw(w, 4) == 0) {
            engine_abort(w->txn[0]);
            w->level[0] = before;
        } else {
            kit_commit(w->txn[0]);
        }
        engine_txn *t = kit_txn(&w->k, false);
        compare(w, t, &w->level[0]);
        engine_abort(t);
        check_file(w);
        if (reader && draw(w, 8) == 0) {
            compare(w, reader, seen);
            engine_abort(reader);
            reader = NULL;
        }
        if (reader == NULL && draw(w, 8) == 0) {
            *seen = w->level[0];
            reader = kit_txn(&w->k, false);
        }
        if (round % 16 == 15) check_compacts(w);
        if (reader == NULL && draw(w, 10) == 0) {
            kit_close(&w->k);
            open_tables(w);
        }
    }
    engine_abort(reader);
    kit_end(&w->k);
    free(seen);
    free(w->value);
    free(w);
}

static void nested_against_model(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
    const char *rounds = getenv("ROUNDS");
    print_message("SEED=%llu\n", (unsigned long long)seed);
    play(seed, rounds ? (uint32_t)strtoul(rounds, NULL, 10) : 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nested_against_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
