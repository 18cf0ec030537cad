/*  rotate.c - new keys, and everything sealed anew with them, in bounded pieces.
 *
 *  Beginning makes a key-encryption key. From that commit on a tenant's data key that it does not wrap
 *  counts as old: the next value sealed for the tenant makes a new one. The rest is a walk over all
 *  rows of tables with secret fields, in order of table names, which writes rows whose values are not
 *  of the newest key. Behind the last row nothing uses old keys any more, and they are dropped.
 *
 *  Where the walk is stands in sys.meta, written with each piece: "rotation" as (seen, resealed,
 *  skipped, table) and "rotation.key", the last row looked at. A row that cannot be read is left as it
 *  is, and then old keys are kept: the row may be mended from a backup. */
#include "internal.h"

#include "sv_limits.h"

#include <stdio.h>

enum {
    LOOK = 2000, /* rows of one piece ... */
    RESEAL = 64, /* ... and most that are written: other writes wait for it */
    DROP = 500,
    ROW_BYTES = 8 * LIMIT_STORE_ROW_BYTES,
    VIEW_BYTES = 1 << 20
};

static const char meta_state[] = "rotation", meta_key[] = "rotation.key";
static const char behind_all[] = "~"; /* no table has that name */

typedef struct progress {
    int64_t seen, resealed, skipped;
    char table[STORE_NAME + 2]; /* a name, or one with "!" behind: the next one */
    tuple key;                  /* empty: from the table's start */
} progress;

/* ---- where it is ---- */

static int load(store_tx *tx, progress *p)
{
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part part[4] = {{0}};
    sv_str value, key;
    *p = (progress){.seen = 0};
    int rc = meta_get(tx, meta_state, &value);
    for (int i = 0; rc == 0 && i < 4; i++)
        rc = tuple_next(&value, scratch, &part[i]);
    if (rc == 0) {
        p->seen = part[0].i;
        p->resealed = part[1].i;
        p->skipped = part[2].i;
        snprintf(p->table, sizeof p->table, "%.*s", SV_FMT(part[3].s));
        rc = meta_get(tx, meta_key, &key);
        if (rc == 0) rc = tuple_append(&p->key, key);
    }
    if (rc == 0 || rc == SV_E_NOT_FOUND || tx->failed) return rc;
    return sv_fail(tx->err, SV_E_STORE_DAMAGED, meta_state,
                   "Where the rotation of keys is cannot be read.");
}

static int save(store_tx *tx, const progress *p)
{
    tuple t;
    tuple_clear(&t);
    tuple_int(&t, p->seen);
    tuple_int(&t, p->resealed);
    tuple_int(&t, p->skipped);
    tuple_text(&t, sv_cstr(p->table));
    int rc = meta_put(tx, meta_state, tuple_str(&t));
    return rc ? rc : meta_put(tx, meta_key, tuple_str(&p->key));
}

/* The first table with secrets whose name is `from` or behind it. */
static table_state *table_from(store *s, const char *from)
{
    table_state *best = NULL;
    for (uint32_t i = 0; i < s->n_tables; i++) {
        table_state *t = &s->tables[i];
        if (t->n_sealed && strcmp(t->spec->name, from) >= 0 &&
            (best == NULL || strcmp(t->spec->name, best->spec->name) < 0))
            best = t;
    }
    return best;
}

/* ---- rows ---- */

typedef struct piece {
    store_tx *tx;
    progress *p;
    uint32_t look, reseal; /* left */
    arena mem;             /* of one row */
} piece;

static bool current(store_tx *tx, const table_state *t, const void *row)
{
    const sv_message *m = t->spec->row;
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        if (!(f->rules & SV_SECRET)) continue;
        sv_str value = row_str(f, row);
        if (value.p && !keyring_current(tx, row_tenant(t, row), value)) return false;
    }
    return true;
}

/* 0, or what is the matter with this one row; tx->failed for anything worse. */
static int reseal(piece *c, table_state *t, sv_str key)
{
    store_tx *tx = c->tx;
    sv_str bytes;
    void *row = arena_alloc(&c->mem, t->spec->row->size);
    if (row == NULL) return tx_failed(tx, SV_E_NO_MEMORY);
    int rc = engine_get(tx->txn, t->table, key, &bytes, tx->err);
    if (rc) return tx_failed(tx, rc);
    rc = row_decode(tx, t, key, bytes, &c->mem, row);
    if (rc == 0) rc = row_encode(tx, t, key, row, &bytes);
    return rc ? rc : tx_put(tx, t->table, key, bytes, false);
}

/* Moves to the next row whose values are not of the newest key. 1: found; 0: no more in this piece. */
static int seek(piece *c, table_state *t, bool *ret_end)
{
    store_tx *tx = c->tx;
    engine_cursor *cursor;
    sv_str key, value;
    tuple from = c->p->key;
    int rc = engine_cursor_open(tx->txn, t->table, &cursor, tx->err);
    if (rc) return tx_failed(tx, rc);
    bool found = false;
    if (from.n == sizeof from.b)
        tuple_end(&from); /* nothing lies between */
    else
        tuple_after(&from);
    rc = engine_at_least(cursor, tuple_str(&from), &key, &value, tx->err);
    while (rc == 0 && !found && c->look > 0) {
        c->look--;
        c->p->seen++;
        tuple_clear(&c->p->key);
        tuple_append(&c->p->key, key);
        arena_reset(&c->mem);
        void *row = arena_alloc(&c->mem, t->spec->row->size);
        if (row == NULL)
            rc = SV_E_NO_MEMORY;
        else if (row_decode_sealed(tx, t, key, value, &c->mem, row))
            c->p->skipped++;
        else
            found = !current(tx, t, row);
        if (rc == 0 && !found) rc = engine_next(cursor, &key, &value, tx->err);
    }
    engine_cursor_close(cursor);
    *ret_end = rc == SV_E_NOT_FOUND;
    if (tx->failed) return tx->failed;
    return rc && !*ret_end ? tx_failed(tx, rc) : found;
}

static int walk_table(piece *c, table_state *t, bool *ret_end)
{
    store_tx *tx = c->tx;
    int rc;
    while ((rc = seek(c, t, ret_end)) == 1) {
        tuple key = c->p->key;
        rc = reseal(c, t, tuple_str(&key));
        if (tx->failed) return tx->failed;
        if (rc == 0)
            c->p->resealed++;
        else if (rc != SV_E_STORE_KEY) /* that one's key was dropped: it needs none */
            c->p->skipped++;
        if (--c->reseal == 0) return 0;
    }
    return rc;
}

static int walk(store_tx *tx, progress *p)
{
    piece c = {.tx = tx, .p = p, .look = LOOK, .reseal = RESEAL};
    sv_error quiet = {0}, *err = tx->err;
    int rc = 0;
    arena_init(&c.mem, ROW_BYTES);
    c.tx->err = &quiet; /* one row's trouble is not the walk's */
    while (rc == 0 && c.look > 0 && c.reseal > 0) {
        table_state *t = table_from(tx->store, p->table);
        bool end = false;
        if (t == NULL) {
            snprintf(p->table, sizeof p->table, "%s", behind_all);
            break;
        }
        if (strcmp(t->spec->name, p->table) != 0) {
            snprintf(p->table, sizeof p->table, "%s", t->spec->name);
            tuple_clear(&p->key);
        }
        rc = walk_table(&c, t, &end);
        if (rc || !end) break;
        snprintf(p->table, sizeof p->table, "%s!", t->spec->name);
        tuple_clear(&p->key);
    }
    tx->err = err;
    arena_free(&c.mem);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

/* ---- keys ---- */

/* Drops data keys that the newest key-encryption key does not wrap, then older ones of those. */
static int drop_some(store_tx *tx, bool *ret_done)
{
    tuple at, end;
    sv_str value;
    uint32_t newest, left = DROP, by;
    int rc = keyring_newest(tx, &newest);
    tuple_clear(&at);
    tuple_text(&at, sv_cstr("data"));
    end = at;
    tuple_end(&end);
    while (rc == 0 && left > 0 && (rc = keyring_next(tx, &at, &end, &value)) == 0) {
        if (seal_version(value, &by) || by != newest) {
            rc = keyring_drop(tx, &at);
            left--;
        } else {
            tuple_after(&at);
        }
    }
    *ret_done = rc == SV_E_NOT_FOUND;
    if (!*ret_done) return rc;
    for (uint32_t n = newest - 1; n > 0; n--) {
        tuple_clear(&at);
        tuple_text(&at, sv_cstr("kek"));
        tuple_int(&at, n);
        rc = keyring_drop(tx, &at);
        if (rc) break; /* NOT_FOUND: those before are gone too */
    }
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- operations ---- */

int store_rotate_begin(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_rotation *r = out;
    progress p;
    *r = (store_rotation){.done = false};
    int rc = load(tx, &p);
    if (rc == 0) r->resealed = (uint64_t)p.resealed;
    if (rc != SV_E_NOT_FOUND) return rc;
    p = (progress){.seen = 0};
    rc = keyring_new_kek(tx);
    return rc ? rc : save(tx, &p);
}

int store_rotate_some(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_rotation *r = out;
    progress p;
    *r = (store_rotation){.done = false};
    int rc = keyring_needed(tx);
    if (rc == 0) rc = load(tx, &p);
    if (rc == SV_E_NOT_FOUND) {
        r->done = true;
        return 0;
    }
    if (rc) return rc;
    bool walked = strcmp(p.table, behind_all) == 0;
    if (!walked)
        rc = walk(tx, &p);
    else if (p.skipped == 0)
        rc = drop_some(tx, &r->done);
    else
        r->done = true;
    r->resealed = (uint64_t)p.resealed;
    r->skipped = (uint64_t)p.skipped;
    if (rc) return rc;
    if (!r->done) return walked ? 0 : save(tx, &p);
    rc = meta_delete(tx, meta_key);
    return rc ? rc : meta_delete(tx, meta_state);
}

static int count_tenants(store_tx *tx, uint32_t *ret)
{
    tuple at, end;
    sv_str value;
    engine_cursor *c;
    int rc = engine_cursor_open(tx->txn, tx->store->sys.keys, &c, tx->err);
    if (rc) return tx_failed(tx, rc);
    tuple_clear(&at);
    tuple_text(&at, sv_cstr("tenant"));
    end = at;
    tuple_end(&end);
    sv_str key, last = tuple_str(&end);
    rc = engine_at_least(c, tuple_str(&at), &key, &value, tx->err);
    for (*ret = 0; rc == 0; ++*ret) {
        if (memcmp(key.p, last.p, key.n < last.n ? key.n : last.n) >= 0) break;
        rc = engine_next(c, &key, &value, tx->err);
    }
    engine_cursor_close(c);
    return rc && rc != SV_E_NOT_FOUND ? tx_failed(tx, rc) : 0;
}

static int read_keys(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_key_info *ret = out;
    progress p;
    *ret = (store_key_info){.tenants = 0};
    int rc = keyring_newest(tx, &ret->kek_version);
    if (rc == 0) rc = count_tenants(tx, &ret->tenants);
    if (rc == 0) rc = load(tx, &p);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    ret->resealed = (uint64_t)p.resealed;
    uint64_t rows = 0;
    for (uint32_t i = 0; rc == 0 && i < tx->store->n_tables; i++) {
        const table_state *t = &tx->store->tables[i];
        engine_table_stat st = {0};
        if (t->n_sealed) rc = engine_table_count(tx->txn, t->table, &st, tx->err);
        rows += st.entries;
    }
    bool walking = strcmp(p.table, behind_all) != 0 && rows > (uint64_t)p.seen;
    ret->to_go = walking ? rows - (uint64_t)p.seen : 0;
    return rc ? tx_failed(tx, rc) : 0;
}

int store_keys(store *s, store_key_info *ret, sv_error *err)
{
    arena mem;
    arena_init(&mem, VIEW_BYTES);
    store_op op = {.fn = read_keys, .out = ret, .arena = &mem, .owner = "store_keys"};
    int rc = store_view(s, &op);
    arena_free(&mem);
    if (rc && err && err->code == 0) *err = op.error;
    return rc;
}
