/*  model_map.c - the plain map: an array of rows, each scan a filter and a sort. A row is kept as the
 *  step that wrote it; its fields are computed when they are needed. What a function changes is
 *  kept until it has ended, so that one that fails can be undone. */
#include "error.h"
#include "model_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = MODEL_ORGS * MODEL_IDS, UNDO = MODEL_STEPS * ROWS };

typedef struct held {
    bool there;
    uint64_t stamp;
    int64_t expires_ms, score;
    uint64_t name_hash; /* 0: none */
    bool has_blob;
    char *blob;
    uint32_t blob_n;
} held;

typedef struct undo {
    uint32_t row;
    held was;
} undo;

struct model {
    uint64_t seed;
    int64_t now;
    held rows[ROWS];
    undo undo[UNDO];
    uint32_t n_undo;
    /* of the scan under way */
    item seen[ROWS];
    row_room rooms[ROWS];
    uint32_t sorted[ROWS];
};

model *model_new(uint64_t seed)
{
    model *m = calloc(1, sizeof *m);
    if (!m) die("no memory for the model");
    m->seed = seed;
    return m;
}

void model_free(model *m)
{
    for (uint32_t i = 0; i < ROWS; i++)
        free(m->rows[i].blob);
    free(m);
}

/* ---- rows ---- */

static uint32_t at(uint32_t org, uint32_t id)
{
    return org * MODEL_IDS + id;
}

static bool visible(const model *m, uint32_t row)
{
    const held *h = &m->rows[row];
    return h->there && (h->expires_ms == 0 || h->expires_ms > m->now);
}

static void fill(const model *m, uint32_t row, row_room *room, item *ret)
{
    model_row(m->seed, m->rows[row].stamp, row / MODEL_IDS, row % MODEL_IDS, room, ret);
}

/* Remembers the row as it is. */
static held *change(model *m, uint32_t row)
{
    held *h = &m->rows[row];
    if (m->n_undo == UNDO) die("the model has no room to undo");
    undo *u = &m->undo[m->n_undo++];
    *u = (undo){row, *h};
    if (h->blob) {
        u->was.blob = malloc(h->blob_n + 1);
        if (!u->was.blob) die("no memory");
        memcpy(u->was.blob, h->blob, h->blob_n);
    }
    return h;
}

static void drop_blob(held *h)
{
    free(h->blob);
    h->blob = NULL;
    h->blob_n = 0;
    h->has_blob = false;
}

static void end_changes(model *m, bool keep)
{
    while (m->n_undo) {
        undo *u = &m->undo[--m->n_undo];
        if (keep) {
            free(u->was.blob);
            continue;
        }
        free(m->rows[u->row].blob);
        m->rows[u->row] = u->was;
    }
}

static void clear(held *h)
{
    drop_blob(h);
    *h = (held){.there = false};
}

static int put(model *m, const step *s)
{
    row_room room;
    item row;
    uint32_t here = at(s->org, s->id);
    model_row(m->seed, s->stamp, s->org, s->id, &room, &row);
    uint64_t name = row.name.n ? model_hash_bytes(7, row.name.p, row.name.n) : 0;
    if (s->kind == STEP_INSERT && visible(m, here)) return SV_E_CONFLICT;
    if (s->kind == STEP_PUT_WRONG) return s->bytes % 2 ? SV_E_BAD_UTF8 : SV_E_TOO_LARGE;
    for (uint32_t i = 0; name && i < ROWS; i++)
        if (i != here && visible(m, i) && m->rows[i].name_hash == name) return SV_E_CONFLICT;
    held *h = change(m, here);
    if (!visible(m, here)) clear(h);
    h->there = true;
    h->stamp = s->stamp;
    h->expires_ms = row.expires_ms;
    h->score = row.score;
    h->name_hash = name;
    return 0;
}

static int delete_row(model *m, uint32_t row)
{
    if (!visible(m, row)) return SV_E_NOT_FOUND;
    clear(change(m, row));
    return 0;
}

/* ---- scans ---- */

static int compare_str(sv_str a, sv_str b)
{
    /* Long texts in an index: their beginnings, then whether they are the same. */
    bool cut = a.n > SHORT_TEXT && b.n > SHORT_TEXT;
    uint32_t an = cut ? KEPT_TEXT : a.n, bn = cut ? KEPT_TEXT : b.n, n = an < bn ? an : bn;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c || !cut) return c ? c : (an > bn) - (an < bn);
    return sv_str_eq(a, b) ? 0 : memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
}

static int compare_int(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* By the first n fields of the order of `index`. */
static int compare(uint32_t index, uint32_t n, const item *a, const item *b)
{
    int c[4] = {0};
    uint32_t k = 0;
    switch (index) {
    case INDEX_SCORE:
        c[k++] = compare_str(a->org, b->org);
        c[k++] = compare_int(a->score, b->score);
        break;
    case INDEX_RANK: c[k++] = compare_int(a->score, b->score); break;
    case INDEX_NAME: c[k++] = compare_str(a->name, b->name); break;
    case INDEX_TAG: c[k++] = compare_str(a->tag, b->tag); break;
    default: break;
    }
    if (index != INDEX_NAME) {
        c[k++] = compare_str(a->org, b->org);
        c[k++] = compare_int(a->id, b->id);
    }
    for (uint32_t i = 0; i < n && i < k; i++)
        if (c[i]) return c[i];
    return 0;
}

static bool in_index(uint32_t index, const item *row)
{
    if (index == INDEX_RANK) return row->score != 0;
    return index != INDEX_NAME || row->name.n > 0;
}

typedef struct order {
    const model *m;
    uint32_t index;
} order;

static int by_order(const void *a, const void *b, void *arg)
{
    const order *o = arg;
    const uint32_t *x = a, *y = b;
    return compare(o->index, 4, &o->m->seen[*x], &o->m->seen[*y]);
}

/* The rows of a range in order: m->sorted[0 .. n-1]. */
static uint32_t range(model *m, const step *s)
{
    row_room low_room, high_room;
    item low, high;
    uint32_t n = 0;
    model_row(m->seed, s->low_stamp, s->low_org, s->low_id, &low_room, &low);
    model_row(m->seed, s->high_stamp, s->high_org, s->high_id, &high_room, &high);
    for (uint32_t i = 0; i < ROWS; i++) {
        if (!visible(m, i)) continue;
        item *row = &m->seen[i];
        fill(m, i, &m->rooms[i], row);
        if (!in_index(s->index, row) || compare(s->index, s->low_n, row, &low) < 0 ||
            compare(s->index, s->high_n, row, &high) > 0)
            continue;
        m->sorted[n++] = i;
    }
    qsort_r(m->sorted, n, sizeof *m->sorted, by_order, &(order){m, s->index});
    for (uint32_t i = 0; s->reverse && i < n / 2; i++) {
        uint32_t other = m->sorted[n - 1 - i];
        m->sorted[n - 1 - i] = m->sorted[i];
        m->sorted[i] = other;
    }
    return n;
}

static int scan(model *m, const step *s, step_result *ret)
{
    uint32_t n = range(m, s);
    if (s->limit && s->limit < n && s->kind != STEP_PAGES) n = s->limit;
    for (uint32_t i = 0; i < n; i++) {
        ret->hash = model_hash_seen(s, ret->hash, &m->seen[m->sorted[i]]);
        if (s->kind == STEP_SCAN_DELETE && (i % 2 == 0 || !model_ordered(s)))
            delete_row(m, m->sorted[i]);
    }
    return 0;
}

/* ---- steps ---- */

static int blob(model *m, const step *s, step_result *ret)
{
    uint32_t row = at(s->org, s->id);
    held *h = &m->rows[row];
    if (!visible(m, row)) return SV_E_NOT_FOUND;
    if (s->kind == STEP_BLOB_APPEND) {
        h = change(m, row);
        h->blob = realloc(h->blob, h->blob_n + s->bytes + 1);
        if (!h->blob) die("no memory");
        for (uint32_t i = 0; i < s->bytes; i++)
            h->blob[h->blob_n + i] = model_blob_byte(s->stamp, i);
        h->blob_n += s->bytes;
        h->has_blob = true;
        return 0;
    }
    if (!h->has_blob) return SV_E_NOT_FOUND;
    if (s->kind == STEP_BLOB_DROP) {
        drop_blob(change(m, row));
    } else if (s->kind == STEP_BLOB_SIZE) {
        ret->hash = h->blob_n;
    } else {
        uint64_t from = s->offset < h->blob_n ? s->offset : h->blob_n, n = h->blob_n - from;
        ret->hash = model_hash_bytes(0, h->blob + from, n < s->bytes ? n : s->bytes);
    }
    return 0;
}

static int one(model *m, const step *s, step_result *ret)
{
    row_room room;
    item row;
    switch (s->kind) {
    case STEP_GET:
        if (!visible(m, at(s->org, s->id))) return SV_E_NOT_FOUND;
        fill(m, at(s->org, s->id), &room, &row);
        ret->hash = model_hash_row(&row);
        return 0;
    case STEP_PUT:
    case STEP_INSERT:
    case STEP_PUT_WRONG: return put(m, s);
    case STEP_DELETE: return delete_row(m, at(s->org, s->id));
    case STEP_SCAN:
    case STEP_PAGES:
    case STEP_SCAN_DELETE: return scan(m, s, ret);
    case STEP_BLOB_SIZE:
    case STEP_BLOB_READ:
    case STEP_BLOB_APPEND:
    case STEP_BLOB_DROP: return blob(m, s, ret);
    }
    return SV_E_INTERNAL;
}

int model_do(model *m, const work *w, work_result *ret)
{
    int rc = 0;
    m->now = (int64_t)model_clock_ms(w->number / MODEL_ROUND);
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < w->n && rc == 0; i++) {
        step_result *r = &ret->steps[ret->n++];
        r->code = one(m, &w->steps[i], r);
        if (r->code && w->strict) rc = r->code;
    }
    if (rc == 0) rc = w->ends_with;
    end_changes(m, rc == 0);
    return rc;
}

/* ---- everything ---- */

void model_at(model *m, uint64_t now_ms)
{
    m->now = (int64_t)now_ms;
}

static int differs(buf *words, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int differs(buf *words, const char *fmt, ...)
{
    char line[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (words->n == 0) buf_puts(words, line);
    return SV_E_INTERNAL;
}

static int compare_row(store_tx *tx, const model *m, uint32_t i, buf *words)
{
    row_room room;
    item want, got = {.org = model_org(i / MODEL_IDS), .id = i % MODEL_IDS};
    const held *h = &m->rows[i];
    uint64_t size = 0;
    int rc = store_get(tx, &model_items, &got);
    if (rc && rc != SV_E_NOT_FOUND) return differs(words, "row %u answers %d", i, rc);
    if (visible(m, i) != (rc == 0))
        return differs(words, "row %u %s there", i, rc ? "is not" : "is");
    if (rc) return 0;
    fill(m, i, &room, &want);
    if (model_hash_row(&want) != model_hash_row(&got))
        return differs(words, "row %u is that of step %lld, not %lld", i, (long long)got.stamp,
                       (long long)want.stamp);
    rc = store_blob_size(tx, &model_items, &got, &size);
    if (h->has_blob != (rc == 0) || (rc == 0 && size != h->blob_n))
        return differs(words, "the blob of row %u has %llu bytes (%d), not %u", i,
                       (unsigned long long)size, rc, h->blob_n);
    for (uint64_t from = 0; from < h->blob_n;) {
        char bytes[4096];
        size_t n;
        rc = store_blob_read(tx, &model_items, &got, from, bytes, sizeof bytes, &n);
        if (rc || n == 0 || memcmp(bytes, h->blob + from, n) != 0)
            return differs(words, "the blob of row %u differs from %llu on", i,
                           (unsigned long long)from);
        from += n;
    }
    return 0;
}

int model_compare(store_tx *tx, const void *in, void *out)
{
    const model *m = in;
    buf *words = out;
    uint32_t want = 0, got = 0;
    store_scan *s;
    item row;
    for (uint32_t i = 0; i < ROWS; i++) {
        want += visible(m, i);
        int rc = compare_row(tx, m, i, words);
        if (rc) return rc;
    }
    store_range all = {.table = &model_items};
    int rc = store_scan_open(tx, &all, &s);
    if (rc) return differs(words, "a scan answers %d", rc);
    while (store_scan_next(s, &row))
        got++;
    rc = store_scan_result(s);
    store_scan_close(s);
    return rc || got != want ? differs(words, "%u rows, not %u (%d)", got, want, rc) : 0;
}
