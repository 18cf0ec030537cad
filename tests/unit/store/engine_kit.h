/*  engine_kit.h - what the engine's tests share: a folder that goes away, an environment in it, and
 *  rows written and read in one line. Failures stop the test. */
#ifndef TEST_ENGINE_KIT_H
#define TEST_ENGINE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

typedef struct kit {
    char folder[256], data[300];
    engine *e;
    size_t map_bytes, room_bytes;
    engine_table table;
} kit;

static inline int kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void kit_remove(const char *folder)
{
    nftw(folder, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void kit_folder(char *to, size_t n)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(to, n, "%s/engine.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(to));
}

static inline int kit_try_open(kit *k, bool read_only, sv_error *err)
{
    engine_spec spec = {.folder = k->folder,
                        .map_bytes = k->map_bytes,
                        .room_bytes = k->room_bytes,
                        .tables = 16,
                        .read_only = read_only};
    return engine_open(&spec, &k->e, err);
}

static inline void kit_ok(int rc, const sv_error *err)
{
    if (rc != 0) fail_msg("%d: %s (%s)", rc, err->message, err->detail);
}

/* Opens the environment and its table "t.rows". */
static inline void kit_open(kit *k)
{
    sv_error err = {0};
    engine_txn *t;
    kit_ok(kit_try_open(k, false, &err), &err);
    kit_ok(engine_begin(k->e, true, &t, &err), &err);
    kit_ok(engine_table_open(t, "t.rows", true, &k->table, &err), &err);
    kit_ok(engine_commit(t, &err), &err);
}

static inline void kit_close(kit *k)
{
    engine_close(k->e);
    k->e = NULL;
}

static inline void kit_begin_in(kit *k, const char *folder, size_t map_bytes)
{
    *k = (kit){.map_bytes = map_bytes};
    snprintf(k->folder, sizeof k->folder, "%s", folder);
    snprintf(k->data, sizeof k->data, "%s/data.mdb", k->folder);
    kit_open(k);
}

static inline void kit_begin(kit *k, size_t map_bytes)
{
    char folder[128];
    kit_folder(folder, sizeof folder);
    kit_begin_in(k, folder, map_bytes);
}

static inline void kit_end(kit *k)
{
    kit_close(k);
    kit_remove(k->folder);
}

static inline engine_txn *kit_txn(kit *k, bool write)
{
    sv_error err = {0};
    engine_txn *t = NULL;
    kit_ok(engine_begin(k->e, write, &t, &err), &err);
    return t;
}

static inline engine_txn *kit_nest(engine_txn *parent)
{
    sv_error err = {0};
    engine_txn *t = NULL;
    kit_ok(engine_nest(parent, &t, &err), &err);
    return t;
}

static inline void kit_commit(engine_txn *t)
{
    sv_error err = {0};
    kit_ok(engine_commit(t, &err), &err);
}

static inline void kit_put(kit *k, engine_txn *t, const char *key, const char *value)
{
    sv_error err = {0};
    kit_ok(engine_put(t, k->table, sv_cstr(key), sv_cstr(value), false, &err), &err);
}

/* The value as a string, NULL when there is none. */
static inline const char *kit_get(kit *k, engine_txn *t, const char *key)
{
    static char to[4][512];
    static unsigned turn;
    sv_error err = {0};
    sv_str v;
    int rc = engine_get(t, k->table, sv_cstr(key), &v, &err);
    if (rc == SV_E_NOT_FOUND) return NULL;
    kit_ok(rc, &err);
    char *s = to[turn++ % 4];
    snprintf(s, sizeof to[0], "%.*s", SV_FMT(v));
    return s;
}

static inline uint64_t kit_entries(kit *k)
{
    sv_error err = {0};
    engine_table_stat s;
    engine_txn *t = kit_txn(k, false);
    kit_ok(engine_table_count(t, k->table, &s, &err), &err);
    engine_abort(t);
    return s.entries;
}

/* A number as a key whose bytes sort as the numbers do. */
static inline sv_str kit_key(uint32_t n, char to[16])
{
    snprintf(to, 16, "k%010u", n);
    return (sv_str){to, 11};
}

/* A small generator of its own: the same numbers everywhere for a seed. */
static inline uint32_t kit_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
