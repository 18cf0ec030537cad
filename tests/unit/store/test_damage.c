/*  test_damage.c - bytes of the system's own tables that have changed on the disk: each is found by
 *  its checksum, and an entry that lies takes no row away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"
#include "sv_limits.h"

static const store_table filed = {
    .name = "items", .row = &item_msg, .key = "id", .expires = "until", .blobs = true};
static const store_table *const filed_tables[] = {&filed};
static const store_schema filed_schema = {
    .service = "tester", .version = 1, .tables = filed_tables, .n_tables = 1};

/* ---- bytes below the checksums ---- */

/* What to change in a system table: the entry `to` becomes that of `from` with a change. */
typedef struct spoil {
    enum { META, BLOBS, CHUNKS } where;
    sv_str from, to;
    uint32_t at;  /* the byte */
    uint8_t mask; /* 0: the value gets `at` bytes */
    bool sealed;  /* the checksum fits what is written */
} spoil;

static int spoil_fn(store_tx *tx, const void *in, void *out)
{
    const spoil *s = in;
    const system_tables *sys = &tx->store->sys;
    engine_table table = s->where == META    ? sys->meta
                         : s->where == BLOBS ? sys->blobs
                                             : sys->chunks;
    char copy[256] = {0};
    sv_str value;
    int rc = engine_get(tx->txn, table, s->from, &value, NULL);
    if (rc) return rc;
    assert_true(value.n <= sizeof copy);
    memcpy(copy, value.p, value.n);
    if (s->mask == 0)
        value.n = s->at;
    else
        copy[s->at] = (char)(copy[s->at] ^ s->mask);
    if (s->sealed) checksum_set(s->to, copy, value.n);
    *(uint32_t *)out = value.n;
    return tx_put(tx, table, s->to, (sv_str){copy, value.n}, false);
}

static uint32_t spoil_one(life *l, const spoil *s)
{
    uint32_t n = 0;
    assert_int_equal(write_now(l, spoil_fn, s, &n, NULL), 0);
    return n;
}

/* ---- sys.meta ---- */

static int put_note(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    return meta_put_int(tx, "note", 4711);
}

static int get_note(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int64_t n = 0;
    int rc = meta_get_int(tx, in, &n);
    return rc ? rc : n == 4711 ? 0 : SV_E_INTERNAL;
}

static int get_note_bytes(store_tx *tx, const void *in, void *out)
{
    sv_str bytes;
    (void)out;
    return meta_get(tx, in, &bytes);
}

static void notes_answer(life *l, const char *name, int code)
{
    assert_int_equal(read_now(l, get_note, name, NULL), code);
    assert_int_equal(read_now(l, get_note_bytes, name, NULL), code);
}

static void a_value_of_meta(void **state)
{
    life *l = *state;
    spoil s = {.from = sv_cstr("note"), .to = sv_cstr("note"), .mask = 1};
    must_open(l, &item_schema);
    assert_int_equal(write_now(l, put_note, NULL, NULL, NULL), 0);
    notes_answer(l, "note", 0);
    for (uint32_t n = 1; s.at < n; s.at++) {
        n = spoil_one(l, &s);
        notes_answer(l, "note", SV_E_STORE_DAMAGED);
        spoil_one(l, &s);
        notes_answer(l, "note", 0);
    }
    /* Another's value, which is whole; one that is cut, also within its checksum. */
    s = (spoil){.from = sv_cstr("note"), .to = sv_cstr("other"), .at = 12};
    spoil_one(l, &s);
    notes_answer(l, "other", SV_E_STORE_DAMAGED);
    for (s.to = s.from; s.at-- > 0;) {
        spoil_one(l, &s);
        notes_answer(l, "note", SV_E_STORE_DAMAGED);
    }
    /* Whole, but no number. */
    for (s = (spoil){.from = s.from, .to = s.to, .at = 14, .sealed = true}; s.at >= 4; s.at--) {
        if (s.at == 12) continue;
        spoil_one(l, &s);
        assert_int_equal(read_now(l, get_note, "note", NULL), SV_E_STORE_DAMAGED);
        assert_int_equal(read_now(l, get_note_bytes, "note", NULL), 0);
    }
}

/* The fence is read with each write, apart from the others. */
static void the_epoch(void **state)
{
    life *l = *state;
    sv_error err;
    item it = {.id = 2};
    static const uint32_t places[] = {0, STORE_CHECKSUM - 1, STORE_CHECKSUM + 7};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        spoil s = {.from = sv_cstr("epoch"), .to = sv_cstr("epoch"), .at = places[i], .mask = 0x80};
        char path[128];
        must_open(l, &item_schema);
        assert_int_equal(must_put(l, 1, 11), 0);
        spoil_one(l, &s);
        assert_int_equal(write_now(l, put_item, &it, NULL, &err), SV_E_STORE_DAMAGED);
        assert_string_equal(err.field, "epoch");
        wait_told(l, "stored data is damaged", (uint32_t)i + 1);
        assert_int_equal(color_of(l, 1), 11); /* reads go on */
        assert_int_equal(color_of(l, 2), SV_E_NOT_FOUND);
        must_close(l);
        assert_int_equal(try_open(l, &item_schema, &err), SV_E_STORE_DAMAGED);
        assert_string_equal(err.field, "epoch");
        data_path(l->folder, path);
        assert_int_equal(unlink(path), 0);
    }
}

/* ---- heads of blobs ---- */

static int put_filed(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &filed, in);
}

static int append_fn(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_blob_append(tx, &filed, in, (sv_str){"0123456789", 10});
}

static int drop_fn(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_blob_drop(tx, &filed, in);
}

static int size_fn(store_tx *tx, const void *in, void *out)
{
    uint64_t n = 0;
    (void)out;
    int rc = store_blob_size(tx, &filed, in, &n);
    return rc ? rc : n == 10 ? 0 : SV_E_INTERNAL;
}

static int read_fn(store_tx *tx, const void *in, void *out)
{
    char bytes[64];
    size_t n = 0;
    (void)out;
    int rc = store_blob_read(tx, &filed, in, 0, bytes, sizeof bytes, &n);
    return rc ? rc : n == 10 && memcmp(bytes, "0123456789", 10) == 0 ? 0 : SV_E_INTERNAL;
}

static void head_of(int64_t id, tuple *ret)
{
    tuple key;
    tuple_clear(&key);
    tuple_int(&key, id);
    assert_int_equal(blob_key(&filed, tuple_str(&key), ret), 0);
}

static bool check_says(life *l, const char *words)
{
    store_check c = {.done = false};
    buf_init(&c.position, STORE_POSITION);
    while (!c.done)
        assert_int_equal(read_now(l, store_check_some, NULL, &c), 0);
    buf_free(&c.position);
    return strstr(c.first_problem, words) != NULL;
}

static void the_head_of_a_blob(void **state)
{
    life *l = *state;
    item one = {.id = 1}, two = {.id = 2};
    tuple own, other;
    head_of(1, &own);
    head_of(2, &other);
    must_open(l, &filed_schema);
    assert_int_equal(write_now(l, put_filed, &one, NULL, NULL), 0);
    assert_int_equal(write_now(l, put_filed, &two, NULL, NULL), 0);
    assert_int_equal(write_now(l, append_fn, &one, NULL, NULL), 0);
    spoil s = {.where = BLOBS, .from = tuple_str(&own), .to = tuple_str(&own), .mask = 2};
    for (uint32_t n = 1; s.at < n; s.at++) {
        n = spoil_one(l, &s);
        assert_int_equal(read_now(l, size_fn, &one, NULL), SV_E_STORE_DAMAGED);
        assert_int_equal(read_now(l, read_fn, &one, NULL), SV_E_STORE_DAMAGED);
        assert_int_equal(write_now(l, append_fn, &one, NULL, NULL), SV_E_STORE_DAMAGED);
        assert_int_equal(write_now(l, drop_fn, &one, NULL, NULL), SV_E_STORE_DAMAGED);
        assert_true(check_says(l, "a blob's size cannot be read"));
        spoil_one(l, &s);
        assert_int_equal(read_now(l, read_fn, &one, NULL), 0);
    }
    check_all(l);
    /* The head of another row's blob: it would show what is not this row's. */
    s = (spoil){.where = BLOBS, .from = s.from, .to = tuple_str(&other), .at = 20};
    spoil_one(l, &s);
    assert_int_equal(read_now(l, read_fn, &two, NULL), SV_E_STORE_DAMAGED);
    assert_int_equal(read_now(l, read_fn, &one, NULL), 0);
    /* Whole, but too short, too long, and with a number that is none. */
    const spoil odd[] = {{.at = 19}, {.at = 21}, {.at = STORE_CHECKSUM, .mask = 0x80}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        s = odd[i];
        s.where = BLOBS;
        s.sealed = true;
        s.from = tuple_str(&own);
        s.to = tuple_str(&other);
        spoil_one(l, &s);
        assert_int_equal(read_now(l, size_fn, &two, NULL), SV_E_STORE_DAMAGED);
    }
}

static int read_and_go_on(store_tx *tx, const void *in, void *out)
{
    int rc = read_fn(tx, in, out);
    return rc == SV_E_STORE_DAMAGED ? 0 : rc ? rc : 7;
}

/* A function that goes on after it fails nevertheless: it may have had the half of a file. */
static void the_bytes_of_a_blob(void **state)
{
    life *l = *state;
    item one = {.id = 1};
    tuple key;
    tuple_clear(&key);
    tuple_int(&key, 1);
    tuple_int(&key, 0);
    must_open(l, &filed_schema);
    assert_int_equal(write_now(l, put_filed, &one, NULL, NULL), 0);
    assert_int_equal(write_now(l, append_fn, &one, NULL, NULL), 0);
    spoil s = {.where = CHUNKS, .from = tuple_str(&key), .to = tuple_str(&key), .mask = 1};
    for (uint32_t n = 1; s.at < n; s.at++) {
        n = spoil_one(l, &s);
        assert_int_equal(read_now(l, size_fn, &one, NULL), 0);
        assert_int_equal(read_now(l, read_fn, &one, NULL), SV_E_STORE_DAMAGED);
        assert_int_equal(read_now(l, read_and_go_on, &one, NULL), SV_E_STORE_DAMAGED);
        assert_int_equal(write_now(l, append_fn, &one, NULL, NULL), SV_E_STORE_DAMAGED);
        assert_true(check_says(l, "a blob's bytes at 0 are damaged"));
        spoil_one(l, &s);
        assert_int_equal(read_now(l, read_fn, &one, NULL), 0);
    }
    /* Whole, but of another length than the head says. */
    for (s.at = STORE_CHECKSUM + 9; s.at < STORE_CHECKSUM + 12; s.at += 2) {
        s.mask = 0;
        s.sealed = true;
        spoil_one(l, &s);
        assert_int_equal(read_now(l, read_and_go_on, &one, NULL), SV_E_STORE_DAMAGED);
    }
}

/* ---- noted times ---- */

enum { SOON = NEW_YEAR_MS + 1000 };

typedef struct forged {
    int64_t id, at;
} forged;

/* An entry that says the row's time is `at`. */
static int forge_time(store_tx *tx, const void *in, void *out)
{
    const forged *f = in;
    table_state *t = schema_table(tx->store, &filed);
    tuple key, entry;
    (void)out;
    tuple_clear(&key);
    tuple_int(&key, f->id);
    assert_int_equal(expiry_entry(t, tuple_str(&key), f->at, &entry), 0);
    return tx_put(tx, tx->store->sys.expiry, tuple_str(&entry), (sv_str){"", 0}, false);
}

static int damage_row(store_tx *tx, const void *in, void *out)
{
    engine_table table = schema_table(tx->store, &filed)->table;
    tuple key;
    sv_str bytes;
    char copy[256];
    (void)out;
    tuple_clear(&key);
    tuple_int(&key, *(const int64_t *)in);
    int rc = engine_get(tx->txn, table, tuple_str(&key), &bytes, NULL);
    if (rc) return rc;
    memcpy(copy, bytes.p, bytes.n);
    copy[0] = (char)(copy[0] ^ 1);
    return tx_put(tx, table, tuple_str(&key), (sv_str){copy, bytes.n}, false);
}

typedef struct swept {
    uint32_t most, done;
    uint64_t rows, times; /* that are left */
} swept;

static int sweep_fn(store_tx *tx, const void *in, void *out)
{
    swept *s = out;
    engine_table_stat rows, times;
    (void)in;
    int rc = expiry_sweep(tx, s->most, &s->done);
    if (rc) return rc;
    rc = engine_table_count(tx->txn, schema_table(tx->store, &filed)->table, &rows, NULL);
    if (rc == 0) rc = engine_table_count(tx->txn, tx->store->sys.expiry, &times, NULL);
    s->rows = rows.entries;
    s->times = times.entries;
    return rc;
}

/* The writer must not sweep by itself. */
static void hold_sweeps(life *l)
{
    writer_pause(l->store);
    l->store->upkeep.sweep_at_us = UINT64_MAX;
    writer_resume(l->store);
}

static swept sweep(life *l, uint32_t most)
{
    swept s = {.most = most};
    assert_int_equal(write_now(l, sweep_fn, NULL, &s, NULL), 0);
    return s;
}

static void forge(life *l, int64_t id, int64_t at)
{
    forged f = {.id = id, .at = at};
    assert_int_equal(write_now(l, forge_time, &f, NULL, NULL), 0);
}

static void put_until(life *l, int64_t id, int64_t until)
{
    item it = {.id = id, .until = until};
    assert_int_equal(write_now(l, put_filed, &it, NULL, NULL), 0);
}

/* A row without a time, one whose time has not come, one whose entry says another time, none. */
static void entries_that_lie(void **state)
{
    life *l = *state;
    must_open(l, &filed_schema);
    hold_sweeps(l);
    put_until(l, 1, 0);
    put_until(l, 2, SOON);
    forge(l, 1, 0);
    forge(l, 1, 5);
    forge(l, 2, 6);
    forge(l, 3, 7);
    swept s = sweep(l, 100);
    assert_int_equal(s.done, 4);
    assert_int_equal(s.rows, 2);
    assert_int_equal(s.times, 1);
    check_all(l);
    wall_ms = SOON;
    forge(l, 2, 6);
    s = sweep(l, 1);
    assert_int_equal(s.rows, 2); /* only the entry */
    s = sweep(l, 100);
    assert_int_equal(s.done, 1);
    assert_int_equal(s.rows, 1);
    assert_int_equal(s.times, 0);
    check_all(l);
}

/* What cannot be read stays as it is, for a check to find; what has expired behind it goes. */
static void damage_keeps_nothing_back(void **state)
{
    life *l = *state;
    tuple head;
    must_open(l, &filed_schema);
    hold_sweeps(l);
    for (int64_t id = 1; id <= 5; id++) {
        put_until(l, id, SOON + id);
        assert_int_equal(write_now(l, append_fn, &(item){.id = id}, NULL, NULL), 0);
    }
    assert_int_equal(write_now(l, damage_row, &(int64_t){1}, NULL, NULL), 0);
    head_of(3, &head);
    spoil s = {.where = BLOBS, .from = tuple_str(&head), .to = tuple_str(&head), .mask = 1};
    spoil_one(l, &s);
    wall_ms = SOON + 100;
    swept left = sweep(l, 100);
    assert_int_equal(left.done, 5);
    assert_int_equal(left.rows, 2);
    assert_int_equal(left.times, 0);
    assert_true(check_says(l, "damaged"));
}

/* A delete that meets a damaged blob has changed nothing, also when the function goes on. */
static int delete_and_go_on(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_delete(tx, &filed, in) == SV_E_STORE_DAMAGED ? 0 : SV_E_INTERNAL;
}

static void a_delete_that_is_refused(void **state)
{
    life *l = *state;
    tuple head;
    swept all = {.most = 0};
    must_open(l, &filed_schema);
    hold_sweeps(l);
    put_until(l, 1, SOON);
    assert_int_equal(write_now(l, append_fn, &(item){.id = 1}, NULL, NULL), 0);
    head_of(1, &head);
    spoil s = {.where = BLOBS, .from = tuple_str(&head), .to = tuple_str(&head), .mask = 1};
    spoil_one(l, &s);
    assert_int_equal(write_now(l, delete_and_go_on, &(item){.id = 1}, NULL, NULL), 0);
    assert_int_equal(write_now(l, sweep_fn, NULL, &all, NULL), 0);
    assert_int_equal(all.rows, 1);
    assert_int_equal(all.times, 1);
    spoil_one(l, &s);
    assert_int_equal(read_now(l, read_fn, &(item){.id = 1}, NULL), 0);
    check_all(l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, life_setup_fast, life_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_of_meta),          TEST(the_epoch),        TEST(the_head_of_a_blob),
        TEST(the_bytes_of_a_blob),      TEST(entries_that_lie), TEST(damage_keeps_nothing_back),
        TEST(a_delete_that_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
