/*  store.h - durable state: tables of rows with ordered keys, indexes kept by the store.
 *
 *  A table's rows are messages (message.h), declared once in a .def table; the names of the fields
 *  that are its key, its indexes, its expiry and its tenant stand in the table's declaration. What
 *  is marked SV_SECRET in the row is sealed before it reaches the disk and opened on the way back.
 *
 *  Reads and writes are functions. A store_fn holds only store operations on its transaction and
 *  computes `out` from `in` and what it reads: it may run more than once (it must set all of `out`
 *  each time) and on another thread. It sees its own writes. 0 commits; anything else undoes it
 *  alone. A write's answer comes after its commit is on disk, never before.
 *
 *  Thread: store_submit from any thread, store_view from any; operations only inside a store_fn.
 *  Ownership: rows read by store_get live in the transaction's arena; rows of a scan until its next
 *  step. The store copies what it is given.
 *  Limits: keys LIMIT_STORE_KEY_BYTES encoded, rows LIMIT_STORE_ROW_BYTES, one write
 *  LIMIT_STORE_WRITE_BYTES, waiting writes LIMIT_STORE_QUEUE.
 *  Errors: SV_E_NOT_FOUND, SV_E_CONFLICT (err->field names the unique index), SV_E_STORE_FULL,
 *  SV_E_STORE_IO, SV_E_STORE_DAMAGED, SV_E_TOO_LARGE, SV_E_OVERLOADED, SV_E_DEADLINE; SV_E_STORE_KEY
 *  for a secret whose tenant's key was dropped, or without a root key; the errors of
 *  message_decode for a row that its table would not take. An operation that fails for the disk or
 *  memory fails its whole function even if the function goes on. SV_E_STORE_IO of a write may mean
 *  that its outcome is not known: write so that doing it again does no harm. */
#ifndef SV_STORE_H
#define SV_STORE_H

#include "message.h"

typedef struct store store;
typedef struct store_tx store_tx;

/* ---- what there is: declared by an actor, static ---- */

enum { STORE_UNIQUE = 1, STORE_SPARSE = 2 };

typedef struct store_index {
    const char *name;   /* "by_email" */
    const char *fields; /* "org,created": fields of the row, in order; the key is appended */
    unsigned flags;     /* STORE_UNIQUE; STORE_SPARSE: rows whose first field is empty (absent text,
                           0) are not in it */
} store_index;

typedef struct store_table {
    const char *name;      /* [a-z][a-z0-9_]{0,31}; never reused for something else */
    const sv_message *row; /* key fields are INT, BOOL, STR or BIN, required or not */
    const char *key;       /* "org,id" */
    const store_index *indexes;
    size_t n_indexes;
    const char *expires; /* INT field, Unix ms; 0 in a row: never. NULL: rows do not expire */
    const char *tenant;  /* STR field: whose key seals secret (BIN) fields. NULL: the platform's */
    bool blobs;          /* a row may have a blob */
} store_table;

/* Steps from one version to the next, in order, each in transactions of its own: safe to interrupt.
 * `step` does a bounded piece of work and answers 0 when it is done or STORE_MORE to be called again
 * in the next transaction; `position` is its own note, kept with the commit (empty at first). */
enum { STORE_MORE = 1, STORE_POSITION = 512 };
typedef struct store_migration {
    uint32_t to; /* the version that holds afterwards */
    const char *doc;
    int (*step)(store_tx *tx, buf *position);
} store_migration;

typedef struct store_schema {
    const char *service; /* an environment belongs to one service */
    uint32_t version;    /* from 1 */
    const store_table *const *tables;
    size_t n_tables;
    const store_migration *migrations;
    size_t n_migrations;
    size_t room_bytes; /* kept on the disk for this service's rows when others fill it; 0: none */
} store_schema;

/* ---- inside a store_fn ---- */

typedef int store_fn(store_tx *tx, const void *in, void *out);

arena *store_arena(store_tx *tx);
/* Words for the caller go here. */
sv_error *store_error(store_tx *tx);
/* Unix ms, the same for the whole transaction; never goes back by small steps. */
int64_t store_now_ms(const store_tx *tx);

/* `row` has its key fields set; all of it is filled. Expired rows are not found. */
int store_get(store_tx *tx, const store_table *t, void *row);
/* Writes the row, replacing one of the same key. */
int store_put(store_tx *tx, const store_table *t, const void *row);
/* As put; SV_E_CONFLICT when the key is there. */
int store_insert(store_tx *tx, const store_table *t, const void *row);
/* `row` has its key fields set. Its blob goes too. SV_E_NOT_FOUND. */
int store_delete(store_tx *tx, const store_table *t, const void *row);

/* Rows whose first low_n fields are >= those of `low` and whose first high_n fields are <= those of
 * `high`, in key order or the index's. Fields are the key's, or the index's followed by the key's.
 * Everything with a given beginning: low == high, low_n == high_n. */
typedef struct store_range {
    const store_table *table;
    const char *index; /* NULL: by key */
    const void *low, *high;
    uint32_t low_n, high_n; /* 0: no bound */
    bool reverse;
    sv_str after;   /* go on behind this position of an earlier scan; {NULL, 0}: from the start */
    uint32_t limit; /* 0: all */
    bool claim;     /* in a write: rows that another transaction has claimed are left out, and these
                       are kept from the others until this one ends. A function that claims may be
                       sure of what it claims and writes, not of rows that it only reads */
} store_range;

typedef struct store_scan store_scan;
/* In the transaction's arena, closed with the transaction at the latest. `after` is copied. */
int store_scan_open(store_tx *tx, const store_range *range, store_scan **ret);
/* True: *row is filled, valid until the next step. The table may be changed between steps. */
bool store_scan_next(store_scan *s, void *row);
/* After next was false: 0 at the end, or what went wrong. */
int store_scan_result(const store_scan *s);
/* Behind the row of the last step: for `after`. Valid until the next step. */
sv_str store_scan_position(const store_scan *s);
void store_scan_close(store_scan *s);

/* Bytes that belong to a row (which must exist; key fields set). Kept in chunks, so that they may be
 * of any size; appended in as many writes as it takes. */
int store_blob_append(store_tx *tx, const store_table *t, const void *row, sv_str bytes);
int store_blob_size(store_tx *tx, const store_table *t, const void *row, uint64_t *ret);
/* Reads up to n bytes at offset; *got is 0 at the end. */
int store_blob_read(store_tx *tx, const store_table *t, const void *row, uint64_t offset, void *to,
                    size_t n, size_t *got);
int store_blob_drop(store_tx *tx, const store_table *t, const void *row);

/* Forgets a tenant's key: what it sealed can never be opened again, also not in older backups that
 * are restored beside a newer key table. Its rows stay until they are deleted. */
int store_tenant_shred(store_tx *tx, sv_str tenant);

/* ---- life ---- */

typedef enum store_state {
    STORE_READY,
    STORE_FULL,    /* no room: reads go on, writes are tried now and then */
    STORE_FAILING, /* the disk failed: reads go on, the environment is opened again */
    STORE_AWAY     /* closed for a moment: restore, reopening */
} store_state;

typedef enum store_level { STORE_NOTE, STORE_WARN, STORE_ALARM } store_level;

struct seal_key;
typedef struct store_op store_op;

typedef struct store_spec {
    const store_schema *schema;
    const char *folder; /* of this environment: data.mdb, lock.mdb, owner */
    size_t map_bytes;
    const struct seal_key *root; /* borrowed while the store is open; NULL: secrets cannot be kept
                                        and an environment that has keys is refused */
    const struct seal_key
        *root_new; /* during a change of the root key: tried when `root` does not fit */
    /* On the writer's thread, after each commit: the finished operations as a list by `next`.
     * `code` and `error` are set. They belong to the hook from then on. */
    void (*finished)(void *arg, store_op *list);
    /* Something an operator should know; any thread. */
    void (*event)(void *arg, store_level level, const char *what, const char *detail);
    void *arg;
    uint64_t (*unix_ms)(void); /* NULL: the system's clock */
    bool read_only;            /* for verification: no lock, no writer thread, no migration */
} store_spec;

/* Takes the lock, opens, checks service, version and root key, migrates, starts the writer.
 * SV_E_STORE_LOCKED, SV_E_STORE_FOREIGN, SV_E_STORE_NEWER (names both versions), SV_E_STORE_KEY,
 * SV_E_STORE_DAMAGED, SV_E_STORE_FULL, SV_E_STORE_IO; SV_E_INVALID for a wrong schema. */
int store_open(const store_spec *spec, store **ret, sv_error *err);
/* Finishes every waiting write first. */
void store_close(store *s);

struct store_op {
    store_fn *fn;
    const void *in;
    void *out;
    arena *arena;         /* for rows; used by nobody else until the operation has finished */
    const char *owner;    /* who is waiting, for the log: "router.complete"; outlives the store */
    uint64_t deadline_us; /* monotonic; 0: none. A write that is still waiting then is not begun */
    int code;
    sv_error error;
    store_op *next;
};
/* Queues a write. 0, or SV_E_OVERLOADED, SV_E_STORE_FULL, SV_E_STORE_IO at once (op->error is set,
 * `finished` is not called). The op is the store's until `finished` gets it. */
int store_submit(store *s, store_op *op);
/* Runs a read here and now; sets op->code and op->error and answers the code. SV_E_STORE_IO with
 * retry_after_ms while the environment is away. */
int store_view(store *s, store_op *op);

typedef struct store_stat {
    store_state state;
    uint64_t epoch;
    uint32_t version;
    uint64_t map_bytes, page_bytes, file_pages, free_pages, last_txn;
    uint32_t readers, waiting; /* read transactions open; writes in the queue */
    uint64_t oldest_reader_us; /* 0: none */
    uint64_t commits, writes, failures, expired;
    uint64_t commit_us_last, commit_us_max; /* of engine_commit; max since the last store_stats */
    uint64_t batch_max;  /* most writes in one commit since the last store_stats */
    uint64_t long_reads; /* reads that took longer than LIMIT_STORE_READ_MS */
} store_stat;
int store_stats(store *s, bool with_free, store_stat *ret, sv_error *err);

typedef struct store_table_info {
    char name[72]; /* "t.users", "i.users.by_email", "sys.expiry" */
    uint64_t entries, pages;
} store_table_info;
/* Fills up to `max`; answers the number of tables or an error. */
int store_tables(store *s, store_table_info *to, uint32_t max, sv_error *err);

/* ---- check and dump: bounded pieces, so that a running store can be looked at ---- */

typedef struct store_check {
    buf position; /* empty: from the start; buf_free it at the end */
    bool done;
    uint64_t rows, entries, blobs, bytes; /* looked at */
    uint64_t problems;
    char first_problem[256];
} store_check;
/* A store_fn for reads, in = out = a store_check: looks at some thousand entries and sets `done`
 * behind the last. Every row decodes and has its index and expiry entries, every entry has its
 * row, every blob all its chunks, every sealed field opens. */
int store_check_some(store_tx *tx, const void *in, void *out);

typedef struct store_dump {
    buf position;
    bool done;
    const char *table; /* NULL: all */
    buf *out;          /* one JSON object a line: {"table","row"}; secret fields are "[redacted]" */
    size_t most;       /* bytes to append at most per piece, about */
} store_dump;
int store_dump_some(store_tx *tx, const void *in, void *out);

/* ---- copies ---- */

/* Writes a compacted copy to `fd` and hashes it. Blocks for as long as that takes: a thread of its
 * own. Closing the other end of a pipe stops it. */
typedef struct store_copy {
    uint64_t bytes;
    uint32_t version;
    uint64_t epoch, last_txn; /* at about the copy's moment */
    char hash[65];            /* BLAKE2b-256 of the bytes, hex */
} store_copy;
int store_backup(store *s, int fd, store_copy *ret, sv_error *err);
/* Puts the environment in `folder_new` (verified by the caller, same file system) in this one's
 * place: closes, swaps the folders' data.mdb by rename, syncs, opens again. The former data stays in
 * folder_new. On failure the old environment is opened again. Blocks. */
int store_replace(store *s, const char *folder_new, sv_error *err);

/* ---- keys ---- */

typedef struct store_key_info {
    uint32_t kek_version;     /* the one that wraps */
    uint32_t tenants;         /* that have a data key */
    uint64_t resealed, to_go; /* of the rotation under way */
} store_key_info;
int store_keys(store *s, store_key_info *ret, sv_error *err);
/* A new key-encryption key and new data keys; store_fns, to be run as writes until `done`: sealed
 * fields are sealed anew piece by piece. Interrupted, it goes on where it was: call it again. */
typedef struct store_rotation {
    bool done;
    uint64_t resealed;
    uint64_t skipped; /* rows that cannot be read; if there are any, old keys are kept for them */
} store_rotation;
int store_rotate_begin(store_tx *tx, const void *in, void *out);
int store_rotate_some(store_tx *tx, const void *in, void *out);
/* Wraps the key-encryption keys with another root key, in one commit. `in`: the new seal_key. */
int store_rekey(store_tx *tx, const void *in, void *out);

#endif
