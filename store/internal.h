/*  internal.h - inside of store/: what its files share.
 *
 *  Tables of an environment: "t.NAME" rows, "i.NAME.INDEX" indexes, and the system's own:
 *    sys.meta    text -> checksum, bytes: service, version, epoch, clock, built indexes, migration position
 *    sys.expiry  (expires_ms, table, key) -> ""
 *    sys.blobs   (table, key) -> number, size      sys.chunks  (number, n) -> bytes
 *    sys.drops   (number) -> next chunk: blobs that nobody has any more, taken away piece by piece
 *    sys.keys    (kind, ...) -> wrapped keys (keyring.c)
 *  A row is stored under tuple(key fields) as 4 bytes checksum (seal_checksum of key and value) and
 *  its msgpack. An index entry is tuple(index fields, shortened) + the row's key, empty;
 *  a unique one is tuple(index fields) -> the row's key.
 *
 *  Thread: one writer thread owns write transactions; readers hold `gate` shared, whoever closes or
 *  opens the engine holds it exclusively. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "engine.h"
#include "env_lock.h"
#include "seal.h"
#include "store.h"
#include "tuple.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    STORE_KEY_PARTS = 8,
    STORE_INDEXES = 8,
    STORE_TABLES = 64,
    STORE_NAME = 31,
    STORE_READERS = 16,
    STORE_CHECKSUM = 4
};

typedef struct key_spec {
    uint32_t n;
    const sv_field *part[STORE_KEY_PARTS];
} key_spec;

typedef struct index_state {
    const store_index *spec;
    key_spec key;
    engine_table table;
} index_state;

typedef struct table_state {
    const store_table *spec;
    key_spec key;
    engine_table table;
    index_state index[STORE_INDEXES];
    const sv_field *expires, *tenant; /* NULL: none */
    uint32_t n_sealed;                /* secret fields */
    /* The row's descriptor as it lies on the disk: secret fields have room for their sealed form. */
    const sv_message *stored;
    sv_field *stored_fields; /* owned; NULL when nothing is sealed */
    sv_message stored_message;
} table_state;

typedef struct system_tables {
    engine_table meta, expiry, blobs, chunks, drops, keys;
} system_tables;

typedef struct keyring keyring;

typedef struct store_reader {
    atomic_uint_fast64_t since_us; /* 0: free */
    const char *_Atomic owner;
    atomic_bool told; /* the watchdog has reported it */
} store_reader;

/* What the writer does besides writing, and when next (monotonic, us). */
typedef struct upkeep {
    uint64_t look_at_us, sweep_at_us, probe_at_us, room_at_us, dead_readers_at_us;
    uint64_t saved_commits; /* when the clock was saved last */
    uint64_t full_at_us;    /* last time the store was full */
    bool full_told, disk_low;
    uint32_t map_level; /* 0, 60, 80: the alarm that has been told */
} upkeep;

struct store {
    store_spec spec;
    char *folder;
    env_lock lock;
    engine *engine;
    pthread_rwlock_t gate;
    uint64_t epoch;
    table_state tables[STORE_TABLES];
    uint32_t n_tables;
    system_tables sys;
    keyring *keys;
    buf row; /* the writer's: a row being encoded */
    store_reader readers[STORE_READERS];
    /* writer.c */
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex; /* guards what follows up to `stat` */
    pthread_cond_t wake;
    store_op *head, **tail;
    uint32_t waiting;
    bool stopping;
    bool pause, paused; /* store_replace holds the writer between two batches */
    pthread_cond_t pause_changed;
    store_state state;
    uint64_t retry_at_us; /* FULL, FAILING: no attempt before */
    store_stat stat;      /* counters; figures of the engine as store_stats saw them last */
    uint32_t backoff_ms;  /* between two attempts while FULL or FAILING */
    int refused;          /* LOCKED, DAMAGED: nothing is written any more; the code says why */
    bool unraised;        /* opened when there was no room: the first commit raises the epoch */
    /* the writer's own; store_replace uses them while it holds the writer */
    bool fenced;        /* the environment has our epoch: every transaction checks it */
    uint64_t acked_txn; /* number of the last commit that was acknowledged */
    upkeep upkeep;
    /* any thread */
    _Atomic int64_t clock_ms;            /* newest time used by a transaction */
    atomic_bool stop_copies;             /* a reopening waits for them */
    atomic_uint_fast64_t damage_told_us; /* store_damaged tells once a minute */
    atomic_uint_fast64_t long_read_told_us;
    atomic_uint_fast64_t long_reads;
};

struct store_tx {
    store *store;
    engine_txn *txn;
    bool write;
    int64_t now_ms;
    arena *arena;
    sv_error *err;
    uint64_t changes; /* grows with each write: cursors place themselves anew */
    size_t bytes;     /* written; bounded by LIMIT_STORE_WRITE_BYTES */
    int failed;       /* first failure of the engine or of memory: the function fails with it */
    struct store_scan *scans; /* open ones */
};

/* ---- schema.c: declarations made ready; tables opened ---- */
int schema_compile(store *s, sv_error *err);
void schema_free(store *s);
/* Opens every table in `txn`, makes missing ones when `create`. */
int schema_open_tables(store *s, engine_txn *txn, bool create, sv_error *err);
table_state *schema_table(store *s, const store_table *t);
index_state *schema_index(table_state *t, const char *name); /* NULL: none of that name */

/* ---- row.c: one row to bytes and back ---- */
/* The key of a row, its first n fields. Field by field: SV_E_TOO_LARGE names the field. */
int row_key(const key_spec *k, uint32_t n, bool shortened, const void *row, tuple *ret,
            sv_error *err);
/* Checks, seals and encodes to checksum and msgpack; *ret is valid until the next row_encode. */
int row_encode(store_tx *tx, table_state *t, sv_str key, const void *row, sv_str *ret);
/* `bytes` are copied to `to` first; *row borrows from there. SV_E_STORE_DAMAGED. */
int row_decode(store_tx *tx, table_state *t, sv_str key, sv_str bytes, arena *to, void *row);
/* As row_decode, with secret fields still sealed: for indexes and expiry. */
int row_decode_sealed(store_tx *tx, table_state *t, sv_str key, sv_str bytes, arena *to, void *row);
/* Is the row past its time? */
bool row_expired(const store_tx *tx, const table_state *t, const void *row);
/* The first 4 of n bytes become the checksum of key and the others; and back: false for damage. */
void checksum_set(sv_str key, char *value, uint32_t n);
bool checksum_take(sv_str key, sv_str value, sv_str *ret);
/* Whose data key seals its secrets. */
sv_str row_tenant(const table_state *t, const void *row);
sv_str row_str(const sv_field *f, const void *row);
int64_t row_int(const sv_field *f, const void *row);

/* ---- table.c: get, put, delete with indexes, expiry and blobs ---- */
/* Remembers a failure of the engine in tx->failed and answers it. */
int tx_failed(store_tx *tx, int code);
/* Writes and deletes below rows: counted against LIMIT_STORE_WRITE_BYTES. */
int tx_put(store_tx *tx, engine_table table, sv_str key, sv_str value, bool insert_only);
int tx_delete(store_tx *tx, engine_table table, sv_str key);
/* The entry of an index for a row of this key. *ret_in false: the row is not in it. */
int index_entry(store_tx *tx, index_state *x, sv_str key, const void *row, tuple *ret_key,
                bool *ret_in);
/* The key of the row that an index entry leads to. */
int index_target(const index_state *x, sv_str entry, sv_str value, sv_str *ret_key);
/* (expires, table, key) */
int expiry_entry(const table_state *t, sv_str key, int64_t expires_ms, tuple *ret);
/* Removes rows whose time has come, at most `most`; answers how many through *ret. */
int expiry_sweep(store_tx *tx, uint32_t most, uint32_t *ret);
/* Writes all entries of an index for rows behind *position, at most `most` rows; empties `position`
 * at the end. */
int index_build(store_tx *tx, table_state *t, index_state *x, buf *position, uint32_t most,
                bool *ret_done);
/* 0, or SV_E_NOT_FOUND, also when its time is over. */
int row_there(store_tx *tx, table_state *t, sv_str key);
/* Deletes a row whose key bytes are known, with all that belongs to it. */
int row_delete(store_tx *tx, table_state *t, sv_str key);

/* ---- scan.c ---- */
/* Closes what a function left open; before its transaction ends. */
void scan_close_all(store_tx *tx);

/* ---- blob.c ---- */
typedef struct blob_head {
    int64_t number;
    uint64_t size;
} blob_head;
int blob_key(const store_table *t, sv_str key, tuple *ret);
bool blob_head_read(sv_str key, sv_str value, blob_head *ret);
/* One chunk checked, *ret in the map. SV_E_STORE_DAMAGED. */
int blob_chunk(store_tx *tx, const blob_head *h, uint64_t n, sv_str *ret);
int blob_drop_key(store_tx *tx, const table_state *t, sv_str key);
/* Takes away chunks of dropped blobs, at most `most`; *ret tells how many. */
int blob_sweep(store_tx *tx, uint32_t most, uint32_t *ret);

/* ---- meta.c: single values in sys.meta ---- */
int meta_get(store_tx *tx, const char *name, sv_str *ret); /* SV_E_NOT_FOUND; copied to the arena */
int meta_put(store_tx *tx, const char *name, sv_str value);
int meta_delete(store_tx *tx, const char *name);
int meta_get_int(store_tx *tx, const char *name, int64_t *ret);
int meta_put_int(store_tx *tx, const char *name, int64_t value);

/* ---- migrate.c: from what is there to what the schema says, in steps ---- */
/* Service, version, epoch+1, tables, migrations, indexes. At store_open, before the writer runs.
 * Runs its own transactions. SV_E_STORE_FULL with s->unraised: there was no room to write, but also
 * nothing to write except the epoch: the engine has to be opened again and can be read. */
int migrate_open(store *s, sv_error *err);

/* ---- keyring.c ---- */
/* Opens or makes the keys in `tx`; without a root key: NULL when there are none. SV_E_STORE_KEY.
 * A keyring that is there already, *ret, is kept: it may have learned root keys (store_rekey). */
int keyring_open(store_tx *tx, const seal_key *root, const seal_key *root_new, keyring **ret);
void keyring_free(keyring *k);
/* Seals with the tenant's newest data key (made if it is missing; only in a write), opens with the
 * one the value names. `place` is the caller's table|key|field; tenant and version are added here.
 * `plain`/`sealed` are appended to memory of tx's arena (write) or `to`. */
int keyring_seal(store_tx *tx, sv_str tenant, sv_str place, sv_str plain, sv_str *ret);
int keyring_open_value(store_tx *tx, sv_str tenant, sv_str place, sv_str sealed, arena *to,
                       sv_str *ret);
/* Is `sealed` of the newest key of its tenant? */
bool keyring_current(store_tx *tx, sv_str tenant, sv_str sealed);
/* SV_E_STORE_KEY when there is no root key. */
int keyring_needed(store_tx *tx);
/* Number of the newest key-encryption key, 0: there is none; and a newer one. */
int keyring_newest(store_tx *tx, uint32_t *ret);
int keyring_new_kek(store_tx *tx);
/* The first entry of sys.keys at or behind *at and before `end`, of which *at takes the key. */
int keyring_next(store_tx *tx, tuple *at, const tuple *end, sv_str *ret);
int keyring_drop(store_tx *tx, const tuple *at);

/* ---- writer.c ---- */
int writer_start(store *s, sv_error *err);
void writer_stop(store *s); /* finishes every waiting write */
/* Holds the writer between two batches: nothing is written until writer_resume. */
void writer_pause(store *s);
void writer_resume(store *s);
/* Runs fn in a transaction of its own on the calling thread: the writer's, or another while the
 * writer is held or not there. Commits when fn answers 0 and has changed something. */
int writer_run_now(store *s, int (*fn)(store_tx *tx, void *arg), void *arg, sv_error *err);

/* ---- upkeep.c: what the writer does besides writing ---- */
/* Readers that take long, readers that died, room in the map and on the disk. */
void upkeep_look(store *s, uint64_t now_us);
/* One piece of expired rows and of dropped blobs, the clock; *ret_more: there are more. */
int upkeep_sweep(store *s, bool *ret_more, sv_error *err);
/* Sweeps, then takes room for the largest row and gives it back, in commits: 0, or why not. */
int upkeep_room(store *s, sv_error *err);

/* ---- store.c ---- */
/* Takes the gate exclusively (copies are stopped) and closes the engine. */
void store_shut(store *s);
/* Opens the engine again. `other`: other data may lie there than what was closed; then it is brought
 * to the schema and gets a new epoch. Otherwise it has to be what was acknowledged. */
int store_enter(store *s, bool other, sv_error *err);
/* After store_enter failed: a disk that cannot be written can often be read. Only what was
 * acknowledged is shown. */
void store_enter_to_read(store *s);
void store_unshut(store *s);
/* Sets op->code to `rc` and op->error to its words. */
int store_settle(store *s, store_op *op, int rc);
uint64_t store_us(void); /* monotonic */
/* The environment's epoch is still ours: 0 or SV_E_STORE_LOCKED. */
int meta_fence(store *s, engine_txn *txn, sv_error *err);
void store_tell(store *s, store_level level, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int64_t store_clock(store *s); /* for a new transaction; see store_now_ms */

#endif
