/*  rival_sqlite.c - the work on SQLite: write-ahead log, synchronous=FULL, prepared statements, a
 *  connection for the writing thread and one for reads, both with memory mapping and 64 MiB of
 *  cache. Writes come through the same queue as the others', or one by one. */
#include "rival.h"

#include "opts.h"

#include <sqlite3.h>
#include <stdio.h>

typedef struct connection {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *put, *delete, *get, *by_at, *scan;
} connection;

static connection writer, reader;

static void must(const connection *c, int rc, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
        die("SQLite, %s: %s", what, sqlite3_errmsg(c->db));
}

static void run_sql(connection *c, const char *sql)
{
    must(c, sqlite3_exec(c->db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(connection *c, const char *sql)
{
    sqlite3_stmt *st;
    must(c, sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL), sql);
    return st;
}

static void step(connection *c, sqlite3_stmt *st)
{
    must(c, sqlite3_step(st), sqlite3_sql(st));
    must(c, sqlite3_reset(st), sqlite3_sql(st));
}

static void connect(connection *c, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench.sqlite", folder);
    if (sqlite3_open(path, &c->db) != SQLITE_OK) die("SQLite cannot open %s", path);
    sqlite3_busy_timeout(c->db, 10000);
    run_sql(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
               "PRAGMA mmap_size=2147418112; PRAGMA temp_store=MEMORY");
    run_sql(c, "CREATE TABLE IF NOT EXISTS rows (id BLOB PRIMARY KEY, at INTEGER NOT NULL,"
               " body BLOB NOT NULL) WITHOUT ROWID");
    run_sql(c, "CREATE INDEX IF NOT EXISTS by_at ON rows (at)");
    c->begin = prepare(c, "BEGIN IMMEDIATE");
    c->commit = prepare(c, "COMMIT");
    c->put = prepare(c, "INSERT INTO rows VALUES (?1, ?2, ?3) ON CONFLICT (id)"
                        " DO UPDATE SET at = excluded.at, body = excluded.body");
    c->delete = prepare(c, "DELETE FROM rows WHERE id = ?1");
    c->get = prepare(c, "SELECT at, body FROM rows WHERE id = ?1");
    c->by_at = prepare(c, "SELECT id, body FROM rows WHERE at = ?1 LIMIT 1");
    c->scan = prepare(c, "SELECT id, body FROM rows WHERE id >= ?1 ORDER BY id LIMIT ?2");
}

static void disconnect(connection *c)
{
    sqlite3_stmt *st;
    while ((st = sqlite3_next_stmt(c->db, NULL)))
        sqlite3_finalize(st);
    must(c, sqlite3_close(c->db), "close");
}

/* ---- writes ---- */

static void begin(void)
{
    step(&writer, writer.begin);
}

static void commit(void)
{
    step(&writer, writer.commit);
}

static void apply(const bench_op *o)
{
    uint8_t id[BENCH_ID];
    sqlite3_stmt *st = o->kind == BENCH_PUT ? writer.put : writer.delete;
    for (uint32_t i = 0; i < o->count; i++) {
        bench_id(o->first + i, id);
        sqlite3_bind_blob(st, 1, id, BENCH_ID, SQLITE_STATIC);
        if (o->kind == BENCH_PUT) {
            sqlite3_bind_int64(st, 2, o->at + i);
            sqlite3_bind_blob(st, 3, bench_body(o->first + i), (int)o->body, SQLITE_STATIC);
        }
        step(&writer, st);
    }
}

static const group_engine engine = {begin, apply, commit};

static void start(const char *folder, bool single, bench_done *done, void *arg)
{
    connect(&writer, folder);
    connect(&reader, folder);
    group_start(&engine, single ? 1 : BENCH_WRITES, done, arg);
}

static void finish(void)
{
    group_stop();
    disconnect(&reader);
    disconnect(&writer);
}

/* ---- reads ---- */

static uint32_t read_all(sqlite3_stmt *st)
{
    uint32_t n = 0;
    int rc;
    for (; (rc = sqlite3_step(st)) == SQLITE_ROW; n++)
        bench_look(sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
    must(&reader, rc, "read");
    must(&reader, sqlite3_reset(st), "read");
    return n;
}

static bool get(uint64_t number)
{
    uint8_t id[BENCH_ID];
    bench_id(number, id);
    sqlite3_bind_blob(reader.get, 1, id, BENCH_ID, SQLITE_STATIC);
    return read_all(reader.get) == 1;
}

static bool by_at(int64_t at)
{
    sqlite3_bind_int64(reader.by_at, 1, at);
    return read_all(reader.by_at) == 1;
}

static uint32_t scan(uint64_t number, uint32_t most)
{
    uint8_t id[BENCH_ID];
    bench_id(number, id);
    sqlite3_bind_blob(reader.scan, 1, id, BENCH_ID, SQLITE_STATIC);
    sqlite3_bind_int64(reader.scan, 2, most);
    return read_all(reader.scan);
}

const rival rival_sqlite = {"sqlite", start, finish, group_submit, get, by_at, scan};
