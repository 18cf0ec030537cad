/*  engine.h - inside of store/: what an engine under it has to offer, ordered bytes in tables.
 *  There is one engine, LMDB (engine_lmdb.c). docs/adr/0010 shows the same operations in SQL.
 *  Thread: one write transaction at a time, begun, used and ended by one thread; read transactions
 *  on any thread, each used by one. Nothing may be open when engine_close is called.
 *  Ownership: bytes handed out lie in the map: they are valid until the transaction ends or writes;
 *  those of a cursor until its next step.
 *  Limits: keys 1..LIMIT_STORE_KEY_BYTES bytes.
 *  Errors: SV_E_NOT_FOUND, SV_E_CONFLICT (insert of a key that is there), SV_E_STORE_FULL (map or
 *  disk; in a nested transaction also the memory that its parent has taken), SV_E_STORE_IO,
 *  SV_E_STORE_DAMAGED, SV_E_TOO_LARGE, SV_E_NO_MEMORY; engine_open also SV_E_STORE_FOREIGN.
 *  NOT_FOUND and CONFLICT are answers: they leave the sv_error alone. After any
 *  other error a write transaction can only be aborted. When engine_broken is true nothing works
 *  until the engine was closed and opened. */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include "error.h"

typedef struct engine engine;
typedef struct engine_txn engine_txn;
typedef struct engine_cursor engine_cursor;
typedef uint32_t engine_table;

typedef struct engine_spec {
    const char *folder; /* holds data.mdb and lock.mdb; must exist */
    size_t map_bytes; /* sparse: costs address space only. Raised to the file's size when smaller */
    size_t room_bytes; /* kept allocated behind the file's used pages, so that commits go on for a
                          while when others have filled the disk; taken while the disk has room */
    uint32_t tables;   /* most tables at once */
    bool read_only;    /* for verification: no lock file, nothing is created or changed, and the
                         whole structure is checked first: what passes cannot crash LMDB */
    bool trusted;      /* read_only: without that check, for what was open a moment ago */
} engine_spec;

/* Refuses what is no environment (SV_E_STORE_FOREIGN), and one whose file is shorter than what it
 * says it holds (SV_E_STORE_DAMAGED), before any of its pages is touched. A new environment's file
 * and folder are synced. Clears readers that died. */
int engine_open(const engine_spec *spec, engine **ret, sv_error *err);
void engine_close(engine *e);
bool engine_broken(const engine *e);

int engine_begin(engine *e, bool write, engine_txn **ret, sv_error *err);
/* A transaction within one: the parent must not be used until it has ended. */
int engine_nest(engine_txn *parent, engine_txn **ret, sv_error *err);
/* Durable when it answers 0 (outermost). The transaction is gone whatever it answers. */
int engine_commit(engine_txn *t, sv_error *err);
void engine_abort(engine_txn *t);

/* Opens a table, or makes it. Only in a transaction that nothing else runs beside, before other
 * tables are used: at start. SV_E_NOT_FOUND without `create`. */
int engine_table_open(engine_txn *t, const char *name, bool create, engine_table *ret,
                      sv_error *err);
/* Empties a table. */
int engine_table_clear(engine_txn *t, engine_table table, sv_error *err);
/* Drops the table called `name`; 0 also when there is none. */
int engine_table_drop(engine_txn *t, const char *name, sv_error *err);
/* Names of all tables, one callback each; stops at the first that is not 0. */
int engine_table_names(engine_txn *t, int (*fn)(void *arg, sv_str name), void *arg, sv_error *err);
typedef struct engine_table_stat {
    uint64_t entries, pages;
} engine_table_stat;
int engine_table_count(engine_txn *t, engine_table table, engine_table_stat *ret, sv_error *err);

int engine_get(engine_txn *t, engine_table table, sv_str key, sv_str *ret, sv_error *err);
int engine_put(engine_txn *t, engine_table table, sv_str key, sv_str value, bool insert_only,
               sv_error *err);
int engine_delete(engine_txn *t, engine_table table, sv_str key, sv_error *err);

/* A cursor must be closed before its transaction ends. After a write to its table it must be
 * placed anew. `at_least` places it on the first key >= `key`; engine_last_below on the last key
 * < `key`. Both and next/previous answer SV_E_NOT_FOUND at the end. */
int engine_cursor_open(engine_txn *t, engine_table table, engine_cursor **ret, sv_error *err);
void engine_cursor_close(engine_cursor *c);
int engine_at_least(engine_cursor *c, sv_str key, sv_str *ret_key, sv_str *ret_value,
                    sv_error *err);
int engine_last_below(engine_cursor *c, sv_str key, sv_str *ret_key, sv_str *ret_value,
                      sv_error *err);
int engine_next(engine_cursor *c, sv_str *ret_key, sv_str *ret_value, sv_error *err);
int engine_previous(engine_cursor *c, sv_str *ret_key, sv_str *ret_value, sv_error *err);

typedef struct engine_stat {
    uint64_t map_bytes, page_bytes;
    uint64_t file_pages; /* pages ever used; the file's size in pages */
    uint64_t free_pages; /* of those, free for the next transactions */
    uint64_t last_txn;   /* number of the last commit */
    uint32_t readers;    /* read transactions open */
} engine_stat;
/* free_pages costs a walk over the free list. */
int engine_stats(engine *e, bool with_free, engine_stat *ret, sv_error *err);
/* Clears slots of readers whose process died; answers how many. */
uint32_t engine_clear_dead_readers(engine *e);
/* Writes a compacted, consistent copy to `fd` (a file or a pipe) while others go on. Blocks.
 * SV_E_STORE_IO when the descriptor takes no more: closing the read end of a pipe stops it. */
int engine_copy(engine *e, int fd, sv_error *err);

#endif
