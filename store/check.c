/*  check.c - looks at everything that is stored, and prints it, in bounded pieces.
 *
 *  A walk goes through parts: for each table its rows, then each of its indexes; behind them
 *  expiry entries and blobs. The position between two pieces is (part, last key). Each piece sees a
 *  state of its own, so a row and its entries are always compared within one piece. */
#include "internal.h"

#include "buf.h"
#include "sv_limits.h"

#include <stdarg.h>
#include <stdio.h>

enum { PIECE = 1000, MEMORY = 8 * LIMIT_STORE_ROW_BYTES };

typedef enum part_kind { PART_ROWS, PART_INDEX, PART_EXPIRY, PART_BLOBS, PART_END } part_kind;

typedef struct part {
    part_kind kind;
    table_state *t;
    index_state *x;
    engine_table table;
} part;

static part part_at(store *s, int64_t number)
{
    for (uint32_t i = 0; i < s->n_tables; i++) {
        table_state *t = &s->tables[i];
        if (number-- == 0) return (part){PART_ROWS, t, NULL, t->table};
        for (size_t k = 0; k < t->spec->n_indexes; k++)
            if (number-- == 0) return (part){PART_INDEX, t, &t->index[k], t->index[k].table};
    }
    if (number == 0) return (part){PART_EXPIRY, NULL, NULL, s->sys.expiry};
    if (number == 1) return (part){PART_BLOBS, NULL, NULL, s->sys.blobs};
    return (part){PART_END, NULL, NULL, 0};
}

/* ---- the walk ---- */

typedef struct walk {
    store_tx *tx;
    int64_t part;
    tuple key; /* last one seen */
    /* false: enough for this piece. Nothing may be written. */
    bool (*entry)(struct walk *w, const part *p, sv_str key, sv_str value);
    void *arg;
    arena mem; /* of one entry */
} walk;

static int walk_start(walk *w, const buf *position)
{
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part number;
    sv_str rest = buf_str(position);
    arena_init(&w->mem, MEMORY);
    tuple_clear(&w->key);
    w->part = 0;
    if (rest.n == 0) return 0;
    bool good = tuple_next(&rest, scratch, &number) == 0 && number.type == TUPLE_INT;
    if (!good || tuple_append(&w->key, rest))
        return sv_fail(w->tx->err, SV_E_INVALID, "position", "This is no position of a walk.");
    w->part = number.i;
    return 0;
}

static int walk_end(walk *w, buf *position)
{
    tuple number;
    arena_free(&w->mem);
    tuple_clear(&number);
    tuple_int(&number, w->part);
    buf_reset(position, 0);
    buf_put(position, number.b, number.n);
    return buf_put(position, w->key.b, w->key.n);
}

/* Entries of one part. 0 at its end, 1 when the piece is full. */
static int walk_part(walk *w, const part *p, uint32_t *left)
{
    engine_cursor *c;
    sv_str key, value;
    tuple from = w->key;
    sv_error *err = w->tx->err;
    int rc = engine_cursor_open(w->tx->txn, p->table, &c, err);
    if (rc) return rc;
    tuple_after(&from);
    rc = from.failed ? SV_E_NOT_FOUND : engine_at_least(c, tuple_str(&from), &key, &value, err);
    while (rc == 0) {
        if (*left == 0) {
            rc = 1;
            break;
        }
        arena_reset(&w->mem);
        tuple_clear(&w->key);
        tuple_append(&w->key, key);
        *left = w->entry(w, p, key, value) ? *left - 1 : 0;
        rc = engine_next(c, &key, &value, err);
    }
    engine_cursor_close(c);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static int walk_run(walk *w, bool *done)
{
    uint32_t left = PIECE;
    int rc = 0;
    for (*done = false; rc == 0 && !*done;) {
        part p = part_at(w->tx->store, w->part);
        *done = p.kind == PART_END;
        if (*done) break;
        rc = walk_part(w, &p, &left);
        if (rc) break;
        w->part++;
        tuple_clear(&w->key);
    }
    return rc == 1 ? 0 : rc;
}

/* ---- check ---- */

static void problem(store_check *c, sv_str key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void problem(store_check *c, sv_str key, const char *fmt, ...)
{
    va_list ap;
    buf words;
    if (c->problems++ > 0) return;
    va_start(ap, fmt);
    int n = vsnprintf(c->first_problem, sizeof c->first_problem, fmt, ap);
    va_end(ap);
    buf_init(&words, sizeof c->first_problem);
    buf_puts(&words, " ");
    tuple_print(key, &words);
    if (n > 0 && (size_t)n < sizeof c->first_problem)
        snprintf(c->first_problem + n, sizeof c->first_problem - (size_t)n, "%.*s",
                 SV_FMT(buf_str(&words)));
    buf_free(&words);
}

static bool there(walk *w, engine_table table, sv_str key)
{
    sv_str value;
    return engine_get(w->tx->txn, table, key, &value, NULL) == 0;
}

/* Reads a row in silence: what is wrong becomes one problem, not the walk's end. */
static void *read_row(walk *w, table_state *t, sv_str key, sv_str bytes, bool open)
{
    sv_error quiet = {0}, *err = w->tx->err;
    void *row = arena_alloc(&w->mem, t->spec->row->size);
    w->tx->err = &quiet;
    int rc = row == NULL ? SV_E_NO_MEMORY
             : open      ? row_decode(w->tx, t, key, bytes, &w->mem, row)
                         : row_decode_sealed(w->tx, t, key, bytes, &w->mem, row);
    w->tx->err = err;
    if (rc == 0) return row;
    if (rc == SV_E_NO_MEMORY) {
        tx_failed(w->tx, sv_fail(err, rc, NULL, NULL));
        return NULL;
    }
    problem(w->arg, key, "table %s: %s", t->spec->name,
            quiet.message[0] ? quiet.message : sv_error_lookup(rc)->text);
    return NULL;
}

static void check_row(walk *w, const part *p, sv_str key, sv_str value)
{
    store_check *c = w->arg;
    table_state *t = p->t;
    tuple own;
    c->rows++;
    void *row = read_row(w, t, key, value, true);
    if (row == NULL) return;
    tuple_clear(&own);
    if (row_key(&t->key, t->key.n, false, row, &own, NULL) || !sv_str_eq(tuple_str(&own), key))
        problem(c, key, "table %s: a row lies under a key that is not its own", t->spec->name);
    for (size_t i = 0; i < t->spec->n_indexes; i++) {
        bool in = false;
        if (index_entry(w->tx, &t->index[i], key, row, &own, &in) ||
            (in && !there(w, t->index[i].table, tuple_str(&own))))
            problem(c, key, "table %s: a row is missing in index %s", t->spec->name,
                    t->index[i].spec->name);
    }
    int64_t expires = t->expires ? row_int(t->expires, row) : 0;
    if (expires && (expiry_entry(t, key, expires, &own) ||
                    !there(w, w->tx->store->sys.expiry, tuple_str(&own))))
        problem(c, key, "table %s: a row's time is not noted", t->spec->name);
}

static void check_index(walk *w, const part *p, sv_str key, sv_str value)
{
    store_check *c = w->arg;
    sv_str target, bytes;
    tuple own;
    bool in = false;
    c->entries++;
    if (index_target(p->x, key, value, &target) ||
        engine_get(w->tx->txn, p->t->table, target, &bytes, NULL)) {
        problem(c, key, "index %s of table %s leads nowhere", p->x->spec->name, p->t->spec->name);
        return;
    }
    void *row = read_row(w, p->t, target, bytes, false);
    if (row == NULL) return;
    if (index_entry(w->tx, p->x, target, row, &own, &in) || !in || !sv_str_eq(tuple_str(&own), key))
        problem(c, key, "index %s of table %s has an entry that is not its row's", p->x->spec->name,
                p->t->spec->name);
}

/* (table, key) at the front of a system table's key. */
static table_state *owner_of(walk *w, sv_str *rest)
{
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part name;
    store *s = w->tx->store;
    if (tuple_next(rest, scratch, &name) || name.type != TUPLE_TEXT) return NULL;
    for (uint32_t i = 0; i < s->n_tables; i++)
        if (sv_str_is(name.s, s->tables[i].spec->name)) return &s->tables[i];
    return NULL;
}

static void check_expiry(walk *w, sv_str key)
{
    store_check *c = w->arg;
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part at;
    sv_str rest = key, bytes;
    c->entries++;
    if (tuple_next(&rest, scratch, &at) || at.type != TUPLE_INT) {
        problem(c, key, "a noted time cannot be read");
        return;
    }
    table_state *t = owner_of(w, &rest);
    if (t == NULL) return; /* of a table that is no longer declared */
    void *row = engine_get(w->tx->txn, t->table, rest, &bytes, NULL)
                    ? NULL
                    : read_row(w, t, rest, bytes, false);
    if (row == NULL || t->expires == NULL || row_int(t->expires, row) != at.i)
        problem(c, key, "table %s: a noted time is not its row's", t->spec->name);
}

static void check_blob(walk *w, sv_str key, sv_str value)
{
    store_check *c = w->arg;
    sv_error quiet = {0}, *err = w->tx->err;
    blob_head h;
    sv_str rest = key, chunk;
    c->blobs++;
    table_state *t = owner_of(w, &rest);
    if (t && !there(w, t->table, rest))
        problem(c, key, "table %s: a blob has no row", t->spec->name);
    if (!blob_head_read(key, value, &h)) {
        problem(c, key, "a blob's size cannot be read");
        return;
    }
    int failed = w->tx->failed;
    w->tx->err = &quiet;
    for (uint64_t at = 0; at < h.size; at += LIMIT_STORE_CHUNK_BYTES) {
        if (blob_chunk(w->tx, &h, at / LIMIT_STORE_CHUNK_BYTES, &chunk)) {
            problem(c, key, "a blob's bytes at %llu are damaged", (unsigned long long)at);
            break;
        }
    }
    w->tx->err = err;
    w->tx->failed = failed;
    c->bytes += h.size;
}

static bool check_entry(walk *w, const part *p, sv_str key, sv_str value)
{
    store_check *c = w->arg;
    c->bytes += key.n + value.n;
    switch (p->kind) {
    case PART_ROWS: check_row(w, p, key, value); break;
    case PART_INDEX: check_index(w, p, key, value); break;
    case PART_EXPIRY: check_expiry(w, key); break;
    case PART_BLOBS: check_blob(w, key, value); return false; /* may have been long */
    case PART_END: break;
    }
    return true;
}

int store_check_some(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_check *c = out;
    walk w = {.tx = tx, .entry = check_entry, .arg = c};
    int rc = walk_start(&w, &c->position);
    if (rc == 0) rc = walk_run(&w, &c->done);
    int end = walk_end(&w, &c->position);
    return rc ? tx_failed(tx, rc) : end;
}

/* ---- dump ---- */

typedef struct dump_walk {
    store_dump *d;
    size_t start;
    int rc;
} dump_walk;

static bool dump_entry(walk *w, const part *p, sv_str key, sv_str value)
{
    dump_walk *a = w->arg;
    store_dump *d = a->d;
    sv_str packed;
    if (p->kind != PART_ROWS || (d->table && strcmp(d->table, p->t->spec->name) != 0)) return true;
    buf_printf(d->out, "{\"table\":\"%s\",", p->t->spec->name);
    size_t before = d->out->n;
    buf_puts(d->out, "\"row\":");
    if (!checksum_take(key, value, &packed) ||
        message_to_json(p->t->spec->row, packed, false, d->out, NULL)) {
        if (!d->out->failed) d->out->n = before;
        buf_puts(d->out, "\"damaged\":\"");
        buf words;
        buf_init(&words, 4096);
        tuple_print(key, &words);
        buf_json_escape(d->out, buf_str(&words));
        buf_free(&words);
        buf_puts(d->out, "\"");
    }
    buf_puts(d->out, "}\n");
    if (d->out->failed) a->rc = d->out->error;
    return a->rc == 0 && d->out->n - a->start < d->most;
}

int store_dump_some(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_dump *d = out;
    dump_walk a = {.d = d, .start = d->out->n};
    walk w = {.tx = tx, .entry = dump_entry, .arg = &a};
    bool known = d->table == NULL;
    for (uint32_t i = 0; i < tx->store->n_tables; i++)
        known = known || strcmp(tx->store->tables[i].spec->name, d->table) == 0;
    if (!known) return sv_fail(tx->err, SV_E_NOT_FOUND, "table", "There is no table %s.", d->table);
    int rc = walk_start(&w, &d->position);
    if (rc == 0) rc = walk_run(&w, &d->done);
    int end = walk_end(&w, &d->position);
    if (rc == 0) rc = a.rc;
    return rc ? rc : end;
}
