/*  rival.h - one piece of work, done by Samovar's store, by bare LMDB and by SQLite.
 *  The work: rows of a 16 byte key, an indexed time and bytes. A put replaces the row of its key
 *  and moves its index entry; a write is answered when it is on disk. The driver keeps as many
 *  writes waiting as there are callers and cannot tell one rival from the other.
 *  Thread: open, close, submit and reads on one thread; `done` comes on a thread of the rival's.
 *  Ownership: an op belongs to the rival from submit to done.
 *  Errors: any ends the tool. */
#ifndef BENCH_RIVAL_H
#define BENCH_RIVAL_H

#include "store.h"

enum {
    BENCH_ID = 16,
    BENCH_BODY = 211, /* makes a stored row 256 bytes */
    BENCH_BODY_MOST = 2048,
    BENCH_WRITES = 1024 /* most of one commit, as LIMIT_STORE_BATCH_WRITES */
};

typedef enum bench_kind { BENCH_PUT, BENCH_DELETE } bench_kind;

/* `count` rows from number `first` on. */
typedef struct bench_op {
    store_op op; /* first; `next` makes lists */
    bench_kind kind;
    uint64_t first;
    uint32_t count;
    uint32_t body; /* bytes of each row's body */
    int64_t at;    /* of the first; the others follow by one */
    uint64_t start_us;
    arena arena;
} bench_op;

typedef void bench_done(void *arg, store_op *list);

typedef struct rival {
    const char *name;
    /* `single`: every write in a commit of its own. */
    void (*open)(const char *folder, bool single, bench_done *done, void *arg);
    void (*close)(void);
    void (*submit)(bench_op *op);
    /* Reads, each a transaction of its own. The row, its body's bytes looked at. */
    bool (*get)(uint64_t number);
    /* By the index: the first row of that time. */
    bool (*by_at)(int64_t at);
    /* Rows in key order from a key on; how many came. */
    uint32_t (*scan)(uint64_t number, uint32_t most);
} rival;

/* Of the environments of LMDB and of the store. */
extern size_t bench_map_bytes;

extern const rival rival_samovar, rival_lmdb;
#ifdef BENCH_SQLITE
extern const rival rival_sqlite;
#endif

/* The key of row `number`: scattered, the same in every run. */
void bench_id(uint64_t number, uint8_t id[BENCH_ID]);
/* Its body: BENCH_BODY_MOST bytes and more to take from. */
const char *bench_body(uint64_t number);
/* Touches each cache line of what was read, so that no compiler leaves the read out. */
void bench_look(const void *p, size_t n);

/* The store under the bench, for what only it can do. NULL for the others. */
store *bench_store(void);

/* ---- group.c: the queue and the writing thread that rivals are given ---- */

typedef struct group_engine {
    void (*begin)(void);
    void (*apply)(const bench_op *op);
    void (*commit)(void);
} group_engine;

/* `most`: writes of one commit. */
void group_start(const group_engine *e, uint32_t most, bench_done *done, void *arg);
void group_submit(bench_op *op);
void group_stop(void);

#endif
