/*  bare.c - LMDB without the store over it, for the proof of the tools: with default flags nothing
 *  acknowledged may be lost, with --nometasync the last commits are, with --nosync anything goes.
 *
 *  Transaction i writes i under "count" and, in each of a few of 256 slots, a value that depends on
 *  i and the slot, or removes it; some values need several pages. So the count tells what the whole
 *  environment has to hold. */
#include "images.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 256, TRANSACTIONS = 60, VALUE_MAX = 20000 };

/* What transaction i does to the slots: last[slot] = i, or 0 for removed. Returns the slots it
 * touched in touched[]. */
static size_t transaction(uint64_t seed, uint64_t i, uint64_t last[SLOTS], uint32_t touched[16])
{
    rng r = rng_of(seed, i);
    size_t n = 1 + rng_below(&r, 16);
    for (size_t k = 0; k < n; k++) {
        touched[k] = (uint32_t)rng_below(&r, SLOTS);
        last[touched[k]] = rng_below(&r, 4) ? i : 0;
    }
    return n;
}

static size_t value(uint64_t seed, uint64_t i, uint32_t slot, char *ret)
{
    rng r = rng_of(seed ^ i, slot);
    size_t n = rng_below(&r, 10) ? 8 + rng_below(&r, 400) : 3000 + rng_below(&r, VALUE_MAX - 3000);
    for (size_t at = 0; at < n; at++)
        ret[at] = (char)rng_next(&r);
    return n;
}

static void must(int rc, const char *what)
{
    if (rc) die("%s: %s", what, mdb_strerror(rc));
}

static int work(const char *folder, int acks, int argc, char **argv)
{
    static char bytes[VALUE_MAX];
    uint64_t seed = option(argc, argv, "--seed", 1), last[SLOTS] = {0};
    unsigned flags = flag(argc, argv, "--nosync")       ? MDB_NOSYNC
                     : flag(argc, argv, "--nometasync") ? MDB_NOMETASYNC
                                                        : 0;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn;
    make_folder(folder);
    must(mdb_env_create(&env), "create");
    must(mdb_env_set_mapsize(env, 64 << 20), "mapsize");
    must(mdb_env_open(env, folder, flags | MDB_NOTLS, 0600), "open");
    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi), "table");
    must(mdb_txn_commit(txn), "commit");
    sync_folder(folder);
    for (uint64_t i = 1; i <= TRANSACTIONS; i++) {
        uint32_t touched[16];
        size_t n = transaction(seed, i, last, touched);
        MDB_val count = {5, (void *)"count"}, number = {sizeof i, &i};
        must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
        must(mdb_put(txn, dbi, &count, &number, 0), "put");
        for (size_t k = 0; k < n; k++) {
            uint64_t was = last[touched[k]];
            MDB_val key = {sizeof touched[k], &touched[k]}, v = {0, bytes};
            int rc;
            if (was) {
                v.mv_size = value(seed, was, touched[k], bytes);
                rc = mdb_put(txn, dbi, &key, &v, 0);
            } else {
                rc = mdb_del(txn, dbi, &key, NULL);
            }
            if (rc != MDB_NOTFOUND) must(rc, "change");
        }
        must(mdb_txn_commit(txn), "commit");
        char line[32];
        int line_n = snprintf(line, sizeof line, "0 %llu\n", (unsigned long long)i);
        if (write(acks, line, (size_t)line_n) != line_n) die("acknowledgement");
    }
    mdb_env_close(env);
    return 0;
}

static verdict scan(MDB_txn *txn, MDB_dbi dbi, const acked *a, uint64_t seed, char *why,
                    size_t why_n)
{
    static char bytes[VALUE_MAX];
    MDB_val count = {5, (void *)"count"}, v, key;
    MDB_cursor *c;
    uint64_t n = 0, last[SLOTS] = {0};
    uint32_t touched[16];
    int rc = mdb_get(txn, dbi, &count, &v);
    if (rc == 0 && v.mv_size == sizeof n) memcpy(&n, v.mv_data, sizeof n);
    if (rc && rc != MDB_NOTFOUND) {
        snprintf(why, why_n, "count: %s", mdb_strerror(rc));
        return BROKEN;
    }
    if (n < a->upto[0]) {
        snprintf(why, why_n, "%llu acknowledged, %llu there", (unsigned long long)a->upto[0],
                 (unsigned long long)n);
        return LOST;
    }
    for (uint64_t i = 1; i <= n; i++)
        transaction(seed, i, last, touched);
    if ((rc = mdb_cursor_open(txn, dbi, &c))) return BROKEN;
    uint32_t found = 0, expected = 0, slot;
    while ((rc = mdb_cursor_get(c, &key, &v, MDB_NEXT)) == 0) {
        if (key.mv_size == 5) continue;
        memcpy(&slot, key.mv_data, sizeof slot);
        found++;
        if (slot < SLOTS && last[slot] && v.mv_size == value(seed, last[slot], slot, bytes) &&
            memcmp(v.mv_data, bytes, v.mv_size) == 0)
            continue;
        snprintf(why, why_n, "slot %u is wrong at count %llu", slot, (unsigned long long)n);
        mdb_cursor_close(c);
        return BROKEN;
    }
    mdb_cursor_close(c);
    for (slot = 0; slot < SLOTS; slot++)
        expected += last[slot] != 0;
    if (rc == MDB_NOTFOUND && found == expected) return FINE;
    snprintf(why, why_n, "%u of %u slots, %s", found, expected, mdb_strerror(rc));
    return BROKEN;
}

static verdict check(const char *folder, const acked *a, uint64_t seed, char *why, size_t why_n)
{
    MDB_env *env;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    verdict v = BROKEN;
    must(mdb_env_create(&env), "create");
    must(mdb_env_set_mapsize(env, 64 << 20), "mapsize");
    int rc = mdb_env_open(env, folder, MDB_NOTLS, 0600);
    if (rc == 0) rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (rc == 0)
        v = scan(txn, dbi, a, seed, why, why_n);
    else if (rc == MDB_INVALID && !a->upto[0])
        v = FINE; /* its first two pages are not written at once: that is the store's business */
    else
        snprintf(why, why_n, "open: %s", mdb_strerror(rc));
    if (txn) mdb_txn_abort(txn);
    mdb_env_close(env);
    return v;
}

const subject bare_lmdb = {"bare", work, check};
