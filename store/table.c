/*  table.c - rows with what hangs on them: index entries, the expiry entry, the blob.
 *
 *  Invariant: after every operation a table's indexes hold exactly one entry for each row that
 *  belongs in them, and sys.expiry one for each row with a time. A put therefore reads the row it
 *  replaces and touches only entries that differ. */
#include "internal.h"

#include "sv_limits.h"

#include <assert.h>

enum { OLD_ROW_BYTES = 4 * LIMIT_STORE_ROW_BYTES };

int tx_failed(store_tx *tx, int code)
{
    if (code && tx->failed == 0) tx->failed = code;
    return code;
}

/* ---- below rows ---- */

static int count_write(store_tx *tx, size_t bytes)
{
    assert(tx->write && "a read function wrote");
    if (tx->failed) return tx->failed;
    tx->changes++;
    tx->bytes += bytes;
    if (tx->bytes <= LIMIT_STORE_WRITE_BYTES) return 0;
    return tx_failed(tx, sv_fail(tx->err, SV_E_TOO_LARGE, NULL,
                                 "One write may change at most %d bytes: do it in pieces.",
                                 LIMIT_STORE_WRITE_BYTES));
}

static int engine_result(store_tx *tx, int code)
{
    return code && code != SV_E_NOT_FOUND && code != SV_E_CONFLICT ? tx_failed(tx, code) : code;
}

int tx_put(store_tx *tx, engine_table table, sv_str key, sv_str value, bool insert_only)
{
    int rc = count_write(tx, (size_t)key.n + value.n);
    return rc ? rc
              : engine_result(tx, engine_put(tx->txn, table, key, value, insert_only, tx->err));
}

int tx_delete(store_tx *tx, engine_table table, sv_str key)
{
    int rc = count_write(tx, key.n);
    return rc ? rc : engine_result(tx, engine_delete(tx->txn, table, key, tx->err));
}

static int tx_get(store_tx *tx, engine_table table, sv_str key, sv_str *ret)
{
    return tx->failed ? tx->failed
                      : engine_result(tx, engine_get(tx->txn, table, key, ret, tx->err));
}

/* An entry that has to be there: if it is not, the table is damaged. */
static int delete_entry(store_tx *tx, engine_table table, const tuple *entry)
{
    int rc = tx_delete(tx, table, tuple_str(entry));
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- entries ---- */

static bool empty_first(const index_state *x, const void *row)
{
    const sv_field *f = x->key.part[0];
    bool number = f->type == SV_T_INT || f->type == SV_T_BOOL;
    return number ? row_int(f, row) == 0 : row_str(f, row).n == 0;
}

int index_entry(store_tx *tx, index_state *x, sv_str key, const void *row, tuple *ret_key,
                bool *ret_in)
{
    *ret_in = !((x->spec->flags & STORE_SPARSE) && empty_first(x, row));
    tuple_clear(ret_key);
    if (!*ret_in) return 0;
    int rc = row_key(&x->key, x->key.n, true, row, ret_key, tx->err);
    if (rc || (x->spec->flags & STORE_UNIQUE)) return rc;
    if (tuple_append(ret_key, key) == 0) return 0;
    return sv_fail(tx->err, SV_E_TOO_LARGE, x->spec->name,
                   "The fields of index %s and the key together are longer than %d bytes.",
                   x->spec->name, LIMIT_STORE_KEY_BYTES);
}

int index_target(const index_state *x, sv_str entry, sv_str value, sv_str *ret_key)
{
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part part;
    if (x->spec->flags & STORE_UNIQUE) {
        *ret_key = value;
        return value.n ? 0 : SV_E_STORE_DAMAGED;
    }
    for (uint32_t i = 0; i < x->key.n; i++)
        if (tuple_next(&entry, scratch, &part)) return SV_E_STORE_DAMAGED;
    *ret_key = entry;
    return entry.n ? 0 : SV_E_STORE_DAMAGED;
}

int expiry_entry(const table_state *t, sv_str key, int64_t expires_ms, tuple *ret)
{
    tuple_clear(ret);
    tuple_int(ret, expires_ms);
    tuple_text(ret, sv_cstr(t->spec->name));
    return tuple_append(ret, key);
}

/* The row that holds a unique entry already: gone when its time is over. */
static int make_way(store_tx *tx, table_state *t, index_state *x, sv_str key, const tuple *entry)
{
    sv_str holder, bytes;
    int rc = tx_get(tx, x->table, tuple_str(entry), &holder);
    if (rc == SV_E_NOT_FOUND || (rc == 0 && sv_str_eq(holder, key))) return 0;
    if (rc) return rc;
    char *copy = arena_copy(tx->arena, holder);
    void *row = arena_alloc(tx->arena, t->spec->row->size);
    if (copy == NULL || row == NULL)
        return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    holder.p = copy;
    rc = tx_get(tx, t->table, holder, &bytes);
    if (rc == 0) rc = row_decode_sealed(tx, t, holder, bytes, tx->arena, row);
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(tx->err, SV_E_STORE_DAMAGED, x->spec->name,
                       "Index %s of table %s leads nowhere.", x->spec->name, t->spec->name);
    if (rc) return rc;
    if (row_expired(tx, t, row)) return row_delete(tx, t, holder);
    return sv_fail(tx->err, SV_E_CONFLICT, x->spec->name, "There is one with the same %s already.",
                   x->spec->fields);
}

/* What a change of a row does to its entry in one index. */
typedef struct index_move {
    bool was, is;
    tuple before, after;
} index_move;

/* `old` or `row` NULL: there was none, there is none any more. All that can be refused is refused
 * here, before anything is changed: the function may go on afterwards. */
static int plan_entries(store_tx *tx, table_state *t, sv_str key, const void *old, const void *row,
                        index_move *moves)
{
    tuple entry;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->spec->n_indexes; i++) {
        index_state *x = &t->index[i];
        index_move *m = &moves[i];
        m->was = m->is = false;
        if (old) rc = index_entry(tx, x, key, old, &m->before, &m->was);
        if (rc == 0 && row) rc = index_entry(tx, x, key, row, &m->after, &m->is);
        if (rc) return rc;
        if (m->was && m->is && sv_str_eq(tuple_str(&m->before), tuple_str(&m->after)))
            m->was = m->is = false;
        if (m->is && (x->spec->flags & STORE_UNIQUE)) rc = make_way(tx, t, x, key, &m->after);
    }
    if (rc || !row || !t->expires || row_int(t->expires, row) == 0) return rc;
    if (expiry_entry(t, key, row_int(t->expires, row), &entry))
        return sv_fail(tx->err, SV_E_TOO_LARGE, t->expires->name,
                       "The key of a row that expires must be shorter.");
    return 0;
}

static int move_expiry(store_tx *tx, table_state *t, sv_str key, const void *old, const void *row)
{
    tuple entry;
    int64_t before = old ? row_int(t->expires, old) : 0;
    int64_t after = row ? row_int(t->expires, row) : 0;
    int rc = 0;
    if (before == after) return 0;
    if (before) {
        expiry_entry(t, key, before, &entry);
        rc = delete_entry(tx, tx->store->sys.expiry, &entry);
    }
    if (rc || after == 0) return rc;
    expiry_entry(t, key, after, &entry);
    return tx_put(tx, tx->store->sys.expiry, tuple_str(&entry), (sv_str){"", 0}, false);
}

static int move_entries(store_tx *tx, table_state *t, sv_str key, const void *old, const void *row,
                        const index_move *moves)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->spec->n_indexes; i++) {
        const index_state *x = &t->index[i];
        sv_str value = x->spec->flags & STORE_UNIQUE ? key : (sv_str){"", 0};
        if (moves[i].was) rc = delete_entry(tx, x->table, &moves[i].before);
        if (rc == 0 && moves[i].is)
            rc = tx_put(tx, x->table, tuple_str(&moves[i].after), value, false);
    }
    if (rc == 0 && t->expires) rc = move_expiry(tx, t, key, old, row);
    return rc;
}

/* ---- rows ---- */

arena *store_arena(store_tx *tx)
{
    return tx->arena;
}

sv_error *store_error(store_tx *tx)
{
    return tx->err;
}

int64_t store_now_ms(const store_tx *tx)
{
    return tx->now_ms;
}

static int find_table(store_tx *tx, const store_table *t, const void *row, table_state **ret,
                      tuple *key)
{
    if (tx->failed) return tx->failed;
    *ret = schema_table(tx->store, t);
    if (*ret == NULL)
        return sv_fail(tx->err, SV_E_INVALID, t->name, "The schema has no table %s.", t->name);
    tuple_clear(key);
    return row_key(&(*ret)->key, (*ret)->key.n, false, row, key, tx->err);
}

int store_get(store_tx *tx, const store_table *table, void *row)
{
    table_state *t;
    tuple key;
    sv_str bytes;
    int rc = find_table(tx, table, row, &t, &key);
    if (rc == 0) rc = tx_get(tx, t->table, tuple_str(&key), &bytes);
    if (rc == 0) rc = row_decode(tx, t, tuple_str(&key), bytes, tx->arena, row);
    return rc == 0 && row_expired(tx, t, row) ? SV_E_NOT_FOUND : rc;
}

/* The row that is there now, NULL if none: only as far as entries and expiry need it. */
static int old_row(store_tx *tx, table_state *t, sv_str key, arena *mem, void **ret)
{
    sv_str bytes;
    *ret = NULL;
    int rc = tx_get(tx, t->table, key, &bytes);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    void *row = arena_alloc(mem, t->spec->row->size);
    if (row == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    rc = row_decode_sealed(tx, t, key, bytes, mem, row);
    if (rc == 0) *ret = row;
    return rc;
}

int row_there(store_tx *tx, table_state *t, sv_str key)
{
    sv_str bytes;
    arena mem;
    void *row;
    if (t->expires == NULL) return tx_get(tx, t->table, key, &bytes);
    arena_init(&mem, OLD_ROW_BYTES);
    int rc = old_row(tx, t, key, &mem, &row);
    if (rc == 0 && (row == NULL || row_expired(tx, t, row))) rc = SV_E_NOT_FOUND;
    arena_free(&mem);
    return rc;
}

static int replace(store_tx *tx, table_state *t, sv_str key, const void *row, bool insert_only,
                   arena *mem)
{
    void *old;
    sv_str bytes;
    index_move moves[STORE_INDEXES];
    int rc = old_row(tx, t, key, mem, &old);
    if (rc == 0 && old && row_expired(tx, t, old)) {
        rc = row_delete(tx, t, key);
        old = NULL;
    }
    if (rc) return rc;
    if (old && insert_only)
        return sv_fail(tx->err, SV_E_CONFLICT, t->key.part[t->key.n - 1]->name,
                       "There is one with the same key already.");
    rc = plan_entries(tx, t, key, old, row, moves);
    if (rc == 0) rc = row_encode(tx, t, key, row, &bytes);
    if (rc == 0) rc = move_entries(tx, t, key, old, row, moves);
    return rc ? rc : tx_put(tx, t->table, key, bytes, false);
}

static int write_row(store_tx *tx, const store_table *table, const void *row, bool insert_only)
{
    table_state *t;
    tuple key;
    sv_str bytes;
    int rc = find_table(tx, table, row, &t, &key);
    if (rc) return rc;
    if (t->spec->n_indexes == 0 && t->expires == NULL) {
        rc = row_encode(tx, t, tuple_str(&key), row, &bytes);
        if (rc == 0) rc = tx_put(tx, t->table, tuple_str(&key), bytes, insert_only);
        if (rc == SV_E_CONFLICT)
            sv_fail(tx->err, rc, t->key.part[t->key.n - 1]->name,
                    "There is one with the same key already.");
        return rc;
    }
    arena mem;
    arena_init(&mem, OLD_ROW_BYTES);
    rc = replace(tx, t, tuple_str(&key), row, insert_only, &mem);
    arena_free(&mem);
    return rc;
}

int store_put(store_tx *tx, const store_table *t, const void *row)
{
    return write_row(tx, t, row, false);
}

int store_insert(store_tx *tx, const store_table *t, const void *row)
{
    return write_row(tx, t, row, true);
}

int row_delete(store_tx *tx, table_state *t, sv_str key)
{
    arena mem;
    void *old;
    index_move moves[STORE_INDEXES];
    arena_init(&mem, OLD_ROW_BYTES);
    int rc = old_row(tx, t, key, &mem, &old);
    if (rc == 0 && old == NULL) rc = SV_E_NOT_FOUND;
    if (rc == 0) rc = plan_entries(tx, t, key, old, NULL, moves);
    if (rc == 0 && t->spec->blobs) rc = blob_drop_key(tx, t, key);
    if (rc == 0) rc = move_entries(tx, t, key, old, NULL, moves);
    if (rc == 0) rc = tx_delete(tx, t->table, key);
    arena_free(&mem);
    return rc;
}

int store_delete(store_tx *tx, const store_table *table, const void *row)
{
    table_state *t;
    tuple key;
    int rc = find_table(tx, table, row, &t, &key);
    if (rc == 0) rc = row_there(tx, t, tuple_str(&key));
    return rc ? rc : row_delete(tx, t, tuple_str(&key));
}

/* ---- expiry ---- */

static table_state *table_named(store *s, sv_str name)
{
    for (uint32_t i = 0; i < s->n_tables; i++)
        if (sv_str_is(name, s->tables[i].spec->name)) return &s->tables[i];
    return NULL;
}

/* The first entry whose time has come: its bytes and what they say. NOT_FOUND: none. */
static int first_due(store_tx *tx, tuple *entry, table_state **ret, sv_str *ret_key)
{
    engine_cursor *c;
    sv_str key, value, rest;
    tuple_part at, name;
    char scratch[LIMIT_STORE_KEY_BYTES];
    int rc = engine_cursor_open(tx->txn, tx->store->sys.expiry, &c, tx->err);
    if (rc) return tx_failed(tx, rc);
    rc = engine_at_least(c, (sv_str){"\0", 1}, &key, &value, tx->err);
    if (rc == 0) {
        tuple_clear(entry);
        tuple_append(entry, key);
    }
    engine_cursor_close(c);
    if (rc) return engine_result(tx, rc);
    rest = tuple_str(entry);
    *ret = NULL;
    *ret_key = (sv_str){NULL, 0};
    if (tuple_next(&rest, scratch, &at) || at.type != TUPLE_INT) return 0; /* no entry of ours */
    if (at.i > tx->now_ms) return SV_E_NOT_FOUND;
    if (tuple_next(&rest, scratch, &name) || name.type != TUPLE_TEXT) return 0;
    *ret = table_named(tx->store, name.s);
    *ret_key = rest;
    return 0;
}

/* Deletes the row that an entry names, if that is its time: a damaged entry takes no row away. */
static int take_away(store_tx *tx, table_state *t, sv_str key, sv_str entry)
{
    arena mem;
    void *row;
    tuple own;
    arena_init(&mem, OLD_ROW_BYTES);
    int rc = old_row(tx, t, key, &mem, &row);
    bool due = rc == 0 && row && t->expires && row_expired(tx, t, row) &&
               expiry_entry(t, key, row_int(t->expires, row), &own) == 0 &&
               sv_str_eq(tuple_str(&own), entry);
    arena_free(&mem);
    return rc == 0 && due ? row_delete(tx, t, key) : rc;
}

int expiry_sweep(store_tx *tx, uint32_t most, uint32_t *ret)
{
    tuple entry;
    table_state *t = NULL;
    sv_str key = {NULL, 0};
    int rc = 0;
    for (*ret = 0; *ret < most; ++*ret) {
        rc = first_due(tx, &entry, &t, &key);
        if (rc) break;
        /* A table that is no longer declared keeps its rows; only their times are forgotten. */
        if (t && key.n) rc = take_away(tx, t, key, tuple_str(&entry));
        /* A damaged row is left to store_check; it must not keep those behind it. */
        if (rc == SV_E_STORE_DAMAGED && !tx->failed) rc = 0;
        if (rc == 0) rc = delete_entry(tx, tx->store->sys.expiry, &entry);
        if (rc) break;
    }
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- building an index over rows that are there ---- */

static int build_one(store_tx *tx, table_state *t, index_state *x, sv_str key, sv_str bytes,
                     arena *mem)
{
    tuple entry;
    bool in;
    bool unique = x->spec->flags & STORE_UNIQUE;
    void *row = arena_alloc(mem, t->spec->row->size);
    if (row == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    int rc = row_decode_sealed(tx, t, key, bytes, mem, row);
    if (rc == 0) rc = index_entry(tx, x, key, row, &entry, &in);
    if (rc || !in) return rc;
    if (unique && (rc = make_way(tx, t, x, key, &entry))) return rc;
    return tx_put(tx, x->table, tuple_str(&entry), unique ? key : (sv_str){"", 0}, false);
}

int index_build(store_tx *tx, table_state *t, index_state *x, buf *position, uint32_t most,
                bool *ret_done)
{
    engine_cursor *c;
    sv_str found, bytes;
    tuple key;
    arena mem;
    *ret_done = false;
    arena_init(&mem, OLD_ROW_BYTES);
    int rc = 0;
    tuple_clear(&key);
    tuple_append(&key, buf_str(position));
    for (uint32_t i = 0; rc == 0 && i < most; i++) {
        arena_reset(&mem);
        rc = engine_cursor_open(tx->txn, t->table, &c, tx->err);
        if (rc) break;
        tuple_after(&key);
        rc = engine_at_least(c, tuple_str(&key), &found, &bytes, tx->err);
        tuple_clear(&key);
        if (rc == 0) tuple_append(&key, found);
        engine_cursor_close(c);
        if (rc == 0) rc = build_one(tx, t, x, tuple_str(&key), bytes, &mem);
    }
    arena_free(&mem);
    *ret_done = rc == SV_E_NOT_FOUND;
    buf_reset(position, 0);
    if (rc == 0) rc = buf_put(position, key.b, key.n);
    return *ret_done ? 0 : rc;
}
