/*  blob.c - bytes of any size beside a row.
 *
 *  sys.blobs tells a blob's number and size by table and key; its chunks lie under (number, n), all
 *  but the last of LIMIT_STORE_CHUNK_BYTES, each with a checksum. Dropping one only moves its number
 *  to sys.drops; blob_sweep takes the chunks away piece by piece. Numbers are never used again, so a
 *  new blob of the same row cannot meet old chunks. */
#include "internal.h"

#include "sv_limits.h"

static const char next_number[] = "blob.next";

enum { HEAD_BYTES = 16 };

static void put_be64(char *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (char)(v >> (56 - 8 * i));
}

static uint64_t get_be64(const char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

/* ---- heads and chunks ---- */

int blob_key(const store_table *t, sv_str key, tuple *ret)
{
    tuple_clear(ret);
    tuple_text(ret, sv_cstr(t->name));
    return tuple_append(ret, key);
}

bool blob_head_read(sv_str key, sv_str value, blob_head *ret)
{
    if (!checksum_take(key, value, &value) || value.n != HEAD_BYTES) return false;
    *ret = (blob_head){(int64_t)get_be64(value.p), get_be64(value.p + 8)};
    return ret->number > 0;
}

static int head_write(store_tx *tx, const tuple *where, const blob_head *h)
{
    char value[STORE_CHECKSUM + HEAD_BYTES];
    put_be64(value + STORE_CHECKSUM, (uint64_t)h->number);
    put_be64(value + STORE_CHECKSUM + 8, h->size);
    checksum_set(tuple_str(where), value, sizeof value);
    return tx_put(tx, tx->store->sys.blobs, tuple_str(where), (sv_str){value, sizeof value}, false);
}

static int damaged(store_tx *tx)
{
    return sv_fail(tx->err, SV_E_STORE_DAMAGED, "blob", "A stored file is damaged.");
}

static void chunk_key(const blob_head *h, uint64_t n, tuple *ret)
{
    tuple_clear(ret);
    tuple_int(ret, h->number);
    tuple_int(ret, (int64_t)n);
}

int blob_chunk(store_tx *tx, const blob_head *h, uint64_t n, sv_str *ret)
{
    tuple key;
    sv_str value = {NULL, 0};
    chunk_key(h, n, &key);
    int rc = engine_get(tx->txn, tx->store->sys.chunks, tuple_str(&key), &value, tx->err);
    if (rc == SV_E_NOT_FOUND) return tx_failed(tx, damaged(tx));
    if (rc) return tx_failed(tx, rc);
    if (!checksum_take(tuple_str(&key), value, ret)) return tx_failed(tx, damaged(tx));
    uint64_t start = n * LIMIT_STORE_CHUNK_BYTES;
    uint64_t want = h->size > start ? h->size - start : 0;
    if (want > LIMIT_STORE_CHUNK_BYTES) want = LIMIT_STORE_CHUNK_BYTES;
    return ret->n == want ? 0 : tx_failed(tx, damaged(tx));
}

static int chunk_write(store_tx *tx, const blob_head *h, uint64_t n, sv_str head, sv_str tail)
{
    tuple key;
    char value[STORE_CHECKSUM + LIMIT_STORE_CHUNK_BYTES];
    char *at = value + STORE_CHECKSUM;
    if (head.n) memcpy(at, head.p, head.n);
    memcpy(at + head.n, tail.p, tail.n);
    sv_str all = {value, STORE_CHECKSUM + head.n + tail.n};
    chunk_key(h, n, &key);
    checksum_set(tuple_str(&key), value, all.n);
    return tx_put(tx, tx->store->sys.chunks, tuple_str(&key), all, false);
}

/* ---- finding ---- */

/* Where the head of a row's blob is. The row itself has to be there. */
static int find(store_tx *tx, const store_table *table, const void *row, tuple *where)
{
    if (tx->failed) return tx->failed;
    table_state *t = schema_table(tx->store, table);
    tuple key;
    if (t == NULL || !table->blobs)
        return sv_fail(tx->err, SV_E_INVALID, table->name, "Rows of table %s have no blobs.",
                       table->name);
    tuple_clear(&key);
    int rc = row_key(&t->key, t->key.n, false, row, &key, tx->err);
    if (rc == 0 && blob_key(table, tuple_str(&key), where))
        rc = sv_fail(tx->err, SV_E_TOO_LARGE, table->name,
                     "The key of a row with a blob must be shorter.");
    return rc ? rc : row_there(tx, t, tuple_str(&key));
}

/* Damage fails the call, not the function: nothing has been changed yet. */
static int read_head(store_tx *tx, const tuple *where, blob_head *ret)
{
    sv_str value = {NULL, 0};
    int rc = engine_get(tx->txn, tx->store->sys.blobs, tuple_str(where), &value, tx->err);
    if (rc) return rc == SV_E_NOT_FOUND ? rc : tx_failed(tx, rc);
    return blob_head_read(tuple_str(where), value, ret) ? 0 : damaged(tx);
}

/* ---- public ---- */

static int new_head(store_tx *tx, blob_head *ret)
{
    int64_t number = 1;
    int rc = meta_get_int(tx, next_number, &number);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    *ret = (blob_head){number, 0};
    return meta_put_int(tx, next_number, number + 1);
}

static int append(store_tx *tx, blob_head *h, sv_str bytes)
{
    char last[LIMIT_STORE_CHUNK_BYTES];
    while (bytes.n > 0) {
        uint64_t n = h->size / LIMIT_STORE_CHUNK_BYTES;
        uint32_t used = (uint32_t)(h->size % LIMIT_STORE_CHUNK_BYTES);
        uint32_t room = LIMIT_STORE_CHUNK_BYTES - used;
        sv_str piece = {bytes.p, bytes.n < room ? bytes.n : room}, head = {last, 0};
        int rc = 0;
        if (used) {
            rc = blob_chunk(tx, h, n, &head);
            if (rc) return rc;
            memcpy(last, head.p, head.n); /* the map moves under a write */
            head.p = last;
        }
        rc = chunk_write(tx, h, n, head, piece);
        if (rc) return rc;
        h->size += piece.n;
        bytes = (sv_str){bytes.p + piece.n, bytes.n - piece.n};
    }
    return 0;
}

int store_blob_append(store_tx *tx, const store_table *t, const void *row, sv_str bytes)
{
    tuple where;
    blob_head h = {0};
    int rc = find(tx, t, row, &where);
    if (rc) return rc;
    rc = read_head(tx, &where, &h);
    if (rc == SV_E_NOT_FOUND) rc = new_head(tx, &h);
    if (rc == 0) rc = append(tx, &h, bytes);
    return rc ? rc : head_write(tx, &where, &h);
}

int store_blob_size(store_tx *tx, const store_table *t, const void *row, uint64_t *ret)
{
    tuple where;
    blob_head h = {0};
    int rc = find(tx, t, row, &where);
    if (rc == 0) rc = read_head(tx, &where, &h);
    if (rc == 0) *ret = h.size;
    return rc;
}

int store_blob_read(store_tx *tx, const store_table *t, const void *row, uint64_t offset, void *to,
                    size_t n, size_t *got)
{
    tuple where;
    blob_head h = {0};
    int rc = find(tx, t, row, &where);
    if (rc == 0) rc = read_head(tx, &where, &h);
    *got = 0;
    while (rc == 0 && n > 0 && offset < h.size) {
        sv_str chunk = {"", 0};
        rc = blob_chunk(tx, &h, offset / LIMIT_STORE_CHUNK_BYTES, &chunk);
        if (rc) break;
        uint32_t skip = (uint32_t)(offset % LIMIT_STORE_CHUNK_BYTES);
        size_t piece = chunk.n - skip < n ? chunk.n - skip : n;
        memcpy((char *)to + *got, chunk.p + skip, piece);
        *got += piece;
        offset += piece;
        n -= piece;
    }
    return rc;
}

static int drop(store_tx *tx, const tuple *where)
{
    blob_head h = {0};
    tuple number;
    int rc = read_head(tx, where, &h);
    if (rc) return rc;
    tuple_clear(&number);
    tuple_int(&number, h.number);
    rc = tx_put(tx, tx->store->sys.drops, tuple_str(&number), (sv_str){"", 0}, false);
    return rc ? rc : tx_delete(tx, tx->store->sys.blobs, tuple_str(where));
}

int store_blob_drop(store_tx *tx, const store_table *t, const void *row)
{
    tuple where;
    int rc = find(tx, t, row, &where);
    return rc ? rc : drop(tx, &where);
}

int blob_drop_key(store_tx *tx, const table_state *t, sv_str key)
{
    tuple where;
    if (blob_key(t->spec, key, &where)) return 0; /* too long to ever have had one */
    int rc = drop(tx, &where);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- sweeping ---- */

/* The first key of `table` from `from` on. */
static int first_key(store_tx *tx, engine_table table, const tuple *from, tuple *ret)
{
    engine_cursor *c;
    sv_str key, value;
    int rc = engine_cursor_open(tx->txn, table, &c, tx->err);
    if (rc) return tx_failed(tx, rc);
    rc = engine_at_least(c, tuple_str(from), &key, &value, tx->err);
    tuple_clear(ret);
    if (rc == 0) tuple_append(ret, key);
    engine_cursor_close(c);
    return rc && rc != SV_E_NOT_FOUND ? tx_failed(tx, rc) : rc;
}

/* One chunk of the first dropped blob, or its entry when there is none left. NOT_FOUND: no drops. */
static int sweep_one(store_tx *tx)
{
    const system_tables *sys = &tx->store->sys;
    tuple start = {.n = 1, .b = {0}}, number = {.n = 0}, chunk = {.n = 0};
    int rc = first_key(tx, sys->drops, &start, &number);
    if (rc) return rc;
    rc = first_key(tx, sys->chunks, &number, &chunk);
    bool own = rc == 0 && chunk.n > number.n && memcmp(chunk.b, number.b, number.n) == 0;
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    return own ? tx_delete(tx, sys->chunks, tuple_str(&chunk))
               : tx_delete(tx, sys->drops, tuple_str(&number));
}

int blob_sweep(store_tx *tx, uint32_t most, uint32_t *ret)
{
    for (*ret = 0; *ret < most; ++*ret) {
        int rc = sweep_one(tx);
        if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    }
    return 0;
}
