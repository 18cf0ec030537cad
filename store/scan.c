/*  scan.c - a range of rows, in key order or an index's, either way.
 *
 *  The range is turned into two byte strings once: [low, high). A scan remembers the last entry it
 *  gave; its cursor is only a shortcut, placed anew after every write of the transaction. So rows
 *  may be changed, made and removed between two steps. A position handed in from outside can only
 *  narrow the range, never widen it.
 *
 *  A claim needs nothing here: LMDB has one writer, so no other transaction can have a row claimed
 *  (docs/adr/0010 has the statement for engines with many). */
#include "internal.h"

#include "sv_limits.h"

enum { SCAN_BYTES = 4 * LIMIT_STORE_ROW_BYTES };

struct store_scan {
    store_tx *tx;
    store_scan *next; /* open scans of tx */
    table_state *t;
    index_state *x; /* NULL: by key */
    bool reverse;
    uint32_t left; /* rows still wanted */
    tuple low, high;
    tuple last; /* entry of the last step, or where to go on; empty at the start */
    engine_cursor *cursor;
    uint64_t changes; /* of tx when the cursor was placed */
    arena mem;        /* of the row of the last step */
    int result;
};

/* First n fields of the key, or of the index's and then the key's. */
static int bound(store_scan *s, const void *row, uint32_t n, tuple *ret)
{
    uint32_t own = s->x ? s->x->key.n : 0;
    bool unique = s->x && (s->x->spec->flags & STORE_UNIQUE);
    sv_error *err = s->tx->err;
    tuple_clear(ret);
    if (n > own + (unique ? 0 : s->t->key.n))
        return sv_fail(err, SV_E_INVALID, "range", "Table %s has no %u fields to order by.",
                       s->t->spec->name, n);
    int rc = s->x ? row_key(&s->x->key, n, true, row, ret, err) : 0;
    if (rc == 0 && n > own) rc = row_key(&s->t->key, n - own, false, row, ret, err);
    return rc;
}

static int set_bounds(store_scan *s, const store_range *r)
{
    int rc = bound(s, r->low, r->low_n, &s->low);
    if (rc == 0) rc = bound(s, r->high, r->high_n, &s->high);
    if (rc) return rc;
    if (s->low.n == 0) tuple_append(&s->low, (sv_str){"\0", 1});
    tuple_end(&s->high);
    if (r->after.n == 0) return 0;
    if (tuple_append(&s->last, r->after))
        return sv_fail(s->tx->err, SV_E_INVALID, "after", "This is no position of a scan.");
    return 0;
}

int store_scan_open(store_tx *tx, const store_range *r, store_scan **ret)
{
    if (tx->failed) return tx->failed;
    table_state *t = schema_table(tx->store, r->table);
    index_state *x = t && r->index ? schema_index(t, r->index) : NULL;
    if (t == NULL || (r->index && x == NULL))
        return sv_fail(tx->err, SV_E_INVALID, "range", "The schema has no such table or index.");
    store_scan *s = arena_alloc(tx->arena, sizeof *s);
    if (s == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    s->tx = tx;
    s->t = t;
    s->x = x;
    s->reverse = r->reverse;
    s->left = r->limit ? r->limit : UINT32_MAX;
    int rc = set_bounds(s, r);
    if (rc) return rc;
    arena_init(&s->mem, SCAN_BYTES);
    s->next = tx->scans;
    tx->scans = s;
    *ret = s;
    return 0;
}

/* ---- steps ---- */

static int compare(sv_str a, sv_str b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int place(store_scan *s, sv_str *key, sv_str *value)
{
    store_tx *tx = s->tx;
    engine_cursor_close(s->cursor);
    s->cursor = NULL;
    engine_table table = s->x ? s->x->table : s->t->table;
    int rc = engine_cursor_open(tx->txn, table, &s->cursor, tx->err);
    if (rc) return rc;
    s->changes = tx->changes;
    if (s->reverse) {
        bool inside = s->last.n && compare(tuple_str(&s->last), tuple_str(&s->high)) < 0;
        return engine_last_below(s->cursor, tuple_str(inside ? &s->last : &s->high), key, value,
                                 tx->err);
    }
    tuple from = s->low;
    if (s->last.n && compare(tuple_str(&s->last), tuple_str(&s->low)) >= 0) {
        from = s->last;
        if (tuple_after(&from)) return SV_E_NOT_FOUND;
    }
    return engine_at_least(s->cursor, tuple_str(&from), key, value, tx->err);
}

static int step(store_scan *s, sv_str *key, sv_str *value)
{
    if (s->cursor == NULL || s->changes != s->tx->changes) return place(s, key, value);
    return s->reverse ? engine_previous(s->cursor, key, value, s->tx->err)
                      : engine_next(s->cursor, key, value, s->tx->err);
}

/* The row an entry stands for. */
static int read_row(store_scan *s, sv_str key, sv_str value, void *row)
{
    store_tx *tx = s->tx;
    arena_reset(&s->mem);
    if (s->x == NULL) return row_decode(tx, s->t, key, value, &s->mem, row);
    sv_str target, bytes;
    int rc = index_target(s->x, key, value, &target);
    if (rc == 0) rc = engine_get(tx->txn, s->t->table, target, &bytes, tx->err);
    if (rc == SV_E_NOT_FOUND || rc == SV_E_STORE_DAMAGED)
        return tx_failed(tx, sv_fail(tx->err, SV_E_STORE_DAMAGED, s->x->spec->name,
                                     "Index %s of table %s leads nowhere.", s->x->spec->name,
                                     s->t->spec->name));
    return rc ? tx_failed(tx, rc) : row_decode(tx, s->t, target, bytes, &s->mem, row);
}

static bool end(store_scan *s, int result)
{
    s->result = result;
    s->left = 0;
    return false;
}

bool store_scan_next(store_scan *s, void *row)
{
    sv_str key, value;
    if (s->tx->failed) return end(s, s->tx->failed);
    while (s->left > 0) {
        int rc = step(s, &key, &value);
        if (rc) return end(s, rc == SV_E_NOT_FOUND ? 0 : tx_failed(s->tx, rc));
        if (s->reverse ? compare(key, tuple_str(&s->low)) < 0
                       : compare(key, tuple_str(&s->high)) >= 0)
            return end(s, 0);
        tuple_clear(&s->last);
        tuple_append(&s->last, key);
        rc = read_row(s, key, value, row);
        if (rc) return end(s, rc);
        if (row_expired(s->tx, s->t, row)) continue;
        s->left--;
        return true;
    }
    return false;
}

int store_scan_result(const store_scan *s)
{
    return s->result;
}

sv_str store_scan_position(const store_scan *s)
{
    return tuple_str(&s->last);
}

void store_scan_close(store_scan *s)
{
    store_scan **at = &s->tx->scans;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at == NULL) return;
    *at = s->next;
    engine_cursor_close(s->cursor);
    s->cursor = NULL;
    s->left = 0;
    arena_free(&s->mem);
}

void scan_close_all(store_tx *tx)
{
    while (tx->scans)
        store_scan_close(tx->scans);
}
