/*  rival_lmdb.c - the work on LMDB by hand: one table, one index, the bytes the store would write,
 *  and nothing that this work does not need. No checksum, no schema, no nested transactions: a
 *  write that failed would take its batch with it. Reads keep one transaction and renew it. */
#include "rival.h"

#include "opts.h"

#include <lmdb.h>

enum {
    KEY = 1 + BENCH_ID + 1, /* tag, bytes, end */
    TIME = 1 + 6,           /* tag, 48 bits */
    ENTRY = TIME + KEY,
    AT = 30, /* of the time in a value: checksum, map, "id", bin, 16 bytes, "at", tag */
    BODY = AT + 8 + 5 + 2
};

static MDB_env *env;
static MDB_dbi rows, index_at;
static MDB_txn *writing, *reading;
static MDB_cursor *row_cursor, *index_cursor;

static void must(int rc, const char *what)
{
    if (rc) die("LMDB, %s: %s", what, mdb_strerror(rc));
}

static void big_endian(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

static void make_key(uint64_t number, uint8_t key[KEY])
{
    key[0] = 1;
    bench_id(number, key + 1);
    key[KEY - 1] = 0;
}

static void make_entry(const uint8_t at[8], const uint8_t key[KEY], uint8_t entry[ENTRY])
{
    entry[0] = 0x14 + 6;
    memcpy(entry + 1, at + 2, 6);
    memcpy(entry + TIME, key, KEY);
}

/* ---- writes ---- */

static void begin(void)
{
    must(mdb_txn_begin(env, NULL, 0, &writing), "begin");
}

static void commit(void)
{
    must(mdb_txn_commit(writing), "commit");
}

static void apply_one(const bench_op *o, uint32_t i)
{
    uint8_t key[KEY], entry[ENTRY], value[BODY + BENCH_BODY_MOST] = {0};
    make_key(o->first + i, key);
    MDB_val k = {KEY, key}, v, e = {ENTRY, entry}, none = {0, ""};
    int rc = mdb_get(writing, rows, &k, &v);
    if (rc != MDB_NOTFOUND) {
        must(rc, "get");
        make_entry((const uint8_t *)v.mv_data + AT, key, entry);
        must(mdb_del(writing, index_at, &e, NULL), "delete an entry");
    }
    if (o->kind == BENCH_DELETE) {
        must(mdb_del(writing, rows, &k, NULL), "delete");
        return;
    }
    memcpy(value + 10, key + 1, BENCH_ID);
    big_endian(value + AT, (uint64_t)(o->at + i), 8);
    memcpy(value + BODY, bench_body(o->first + i), o->body);
    make_entry(value + AT, key, entry);
    must(mdb_put(writing, index_at, &e, &none, 0), "put an entry");
    v = (MDB_val){BODY + o->body, value};
    must(mdb_put(writing, rows, &k, &v, 0), "put");
}

static void apply(const bench_op *o)
{
    for (uint32_t i = 0; i < o->count; i++)
        apply_one(o, i);
}

static const group_engine engine = {begin, apply, commit};

static void start(const char *folder, bool single, bench_done *done, void *arg)
{
    must(mdb_env_create(&env), "open");
    mdb_env_set_mapsize(env, bench_map_bytes);
    mdb_env_set_maxdbs(env, 4);
    must(mdb_env_open(env, folder, MDB_NOTLS, 0600), "open");
    begin();
    must(mdb_dbi_open(writing, "rows", MDB_CREATE, &rows), "open a table");
    must(mdb_dbi_open(writing, "at", MDB_CREATE, &index_at), "open a table");
    commit();
    must(mdb_txn_begin(env, NULL, MDB_RDONLY, &reading), "begin");
    must(mdb_cursor_open(reading, rows, &row_cursor), "cursor");
    must(mdb_cursor_open(reading, index_at, &index_cursor), "cursor");
    mdb_txn_reset(reading);
    group_start(&engine, single ? 1 : BENCH_WRITES, done, arg);
}

static void finish(void)
{
    group_stop();
    mdb_cursor_close(row_cursor);
    mdb_cursor_close(index_cursor);
    mdb_txn_abort(reading);
    mdb_env_close(env);
}

/* ---- reads ---- */

static bool look(int rc, const MDB_val *v)
{
    if (rc == MDB_NOTFOUND) return false;
    must(rc, "read");
    bench_look((const char *)v->mv_data + BODY, v->mv_size - BODY);
    return true;
}

static bool get(uint64_t number)
{
    uint8_t key[KEY];
    make_key(number, key);
    MDB_val k = {KEY, key}, v;
    must(mdb_txn_renew(reading), "renew");
    bool found = look(mdb_get(reading, rows, &k, &v), &v);
    mdb_txn_reset(reading);
    return found;
}

static bool by_at(int64_t at)
{
    uint8_t low[TIME] = {0x14 + 6};
    big_endian(low + 1, (uint64_t)at, 6);
    MDB_val k = {TIME, low}, v;
    must(mdb_txn_renew(reading), "renew");
    must(mdb_cursor_renew(reading, index_cursor), "renew");
    int rc = mdb_cursor_get(index_cursor, &k, &v, MDB_SET_RANGE);
    if (rc == 0 && memcmp(k.mv_data, low, TIME) != 0) rc = MDB_NOTFOUND;
    if (rc == 0) {
        k = (MDB_val){KEY, (char *)k.mv_data + TIME};
        rc = mdb_get(reading, rows, &k, &v);
    }
    bool found = look(rc, &v);
    mdb_txn_reset(reading);
    return found;
}

static uint32_t scan(uint64_t number, uint32_t most)
{
    uint8_t key[KEY];
    make_key(number, key);
    MDB_val k = {KEY, key}, v;
    uint32_t n = 0;
    must(mdb_txn_renew(reading), "renew");
    must(mdb_cursor_renew(reading, row_cursor), "renew");
    int rc = mdb_cursor_get(row_cursor, &k, &v, MDB_SET_RANGE);
    while (look(rc, &v) && ++n < most)
        rc = mdb_cursor_get(row_cursor, &k, &v, MDB_NEXT);
    mdb_txn_reset(reading);
    return n;
}

const rival rival_lmdb = {"lmdb", start, finish, group_submit, get, by_at, scan};
