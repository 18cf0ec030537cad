/*  ledger_write.c - a batch of attempts into the store: each row once, each sum and each day's mark
 *  once for the whole batch. */
#include "ledger_store.h"

#include "error.h"
#include "rank.h"

/* ---- marks of days ---- */

typedef struct marked_day {
    struct marked_day *next;
    ledger_day row;
    bool used;
} marked_day;

/* A day without a mark is new, unless it has sums: then its rows have expired, and those that still
 * come do not make it whole again. */
static int has_sums(store_tx *tx, int64_t day, bool *ret)
{
    ledger_sum low = {.day = day}, found;
    store_scan *scan;
    store_range range = {
        .table = &ledger_sums, .low = &low, .high = &low, .low_n = 1, .high_n = 1, .limit = 1};
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    *ret = store_scan_next(scan, &found);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int read_mark(store_tx *tx, int64_t keep_days, ledger_day *ret)
{
    bool sums = false;
    int64_t day = ret->day;
    int rc = store_get(tx, &ledger_days, ret);
    if (rc != SV_E_NOT_FOUND) return rc;
    rc = has_sums(tx, day, &sums);
    *ret = (ledger_day){.day = day, .expires = (day + 1 + keep_days) * DATE_DAY_MS, .whole = !sums};
    return rc;
}

/* NULL: *rc says why. */
static marked_day *mark_of(store_tx *tx, marked_day **all, int64_t day, int64_t keep_days, int *rc)
{
    marked_day *m = *all;
    while (m && m->row.day != day)
        m = m->next;
    if (m) return m;
    m = arena_alloc(store_arena(tx), sizeof *m);
    *rc = m ? 0 : SV_E_NO_MEMORY;
    if (m == NULL) return NULL;
    m->row.day = day;
    *rc = read_mark(tx, keep_days, &m->row);
    if (*rc) return NULL;
    m->row.batches++;
    m->next = *all;
    *all = m;
    return m;
}

/* ---- the batch ---- */

static void add_sums(ledger_sum *to, const ledger_sum *more)
{
    for (int i = 0; i < LEDGER_NUMBERS; i++)
        ledger_number_set(to, i, ledger_plus(ledger_number(to, i), ledger_number(more, i)));
}

static int put_sums(store_tx *tx, const ledger_cells *cells)
{
    int rc = 0;
    for (const ledger_cell *c = cells->first; c && rc == 0; c = c->next) {
        ledger_sum now = {.day = c->sum.day, .cell = c->sum.cell};
        rc = store_get(tx, &ledger_sums, &now);
        if (rc == 0) {
            add_sums(&now, &c->sum);
            rc = store_put(tx, &ledger_sums, &now);
        } else if (rc == SV_E_NOT_FOUND) {
            rc = store_put(tx, &ledger_sums, &c->sum);
        }
    }
    return rc;
}

static int put_marks(store_tx *tx, const marked_day *m)
{
    int rc = 0;
    for (; m && rc == 0; m = m->next)
        if (m->used) rc = store_put(tx, &ledger_days, &m->row);
    return rc;
}

int ledger_write(store_tx *tx, const void *in, void *out)
{
    const ledger_batch *b = in;
    uint32_t *added = out;
    ledger_cells cells;
    rank_batch ranks = {NULL};
    marked_day *marks = NULL;
    const ledger_item *item = b->first;
    int rc = 0;
    *added = 0;
    ledger_cells_init(&cells, store_arena(tx));
    for (uint32_t i = 0; i < b->n && rc == 0; i++) {
        if (i) item = item->next;
        ledger_row row = item->row;
        marked_day *m = mark_of(tx, &marks, date_of_ms(row.started), b->keep_days, &rc);
        if (m == NULL) break;
        row.expires = m->row.expires;
        row.batch = m->row.batches;
        rc = store_insert(tx, &ledger_rows, &row);
        if (rc == SV_E_CONFLICT) { /* counted already: this batch is a repetition */
            *store_error(tx) = (sv_error){0};
            rc = 0;
            continue;
        }
        if (rc) break;
        m->used = true;
        ++*added;
        ledger_sum of = ledger_sum_of(&row);
        ledger_cell *c = ledger_cells_get(&cells, &of);
        if (c)
            ledger_sum_add(&c->sum, &row);
        else
            rc = SV_E_NO_MEMORY;
        if (rc == 0) rc = rank_batch_add(&ranks, tx, &row);
    }
    if (rc == 0) rc = put_sums(tx, &cells);
    if (rc == 0) rc = rank_batch_put(&ranks, tx);
    if (rc == 0) rc = put_marks(tx, marks);
    return rc ? sv_fail(store_error(tx), rc, NULL, NULL) : 0;
}

/* ---- repair ---- */

static bool differs(const ledger_cell *c)
{
    for (int i = 0; i < LEDGER_NUMBERS; i++)
        if (ledger_number(&c->sum, i) != ledger_number(&c->stored, i)) return true;
    return false;
}

/* What is stored now, less what was stored then, plus what the rows gave then. */
static int mend(store_tx *tx, const ledger_cell *c)
{
    ledger_sum now = {.day = c->sum.day, .cell = c->sum.cell};
    int rc = store_get(tx, &ledger_sums, &now);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    bool found = rc == 0;
    ledger_sum put = c->sum;
    for (int i = 0; i < LEDGER_NUMBERS; i++) {
        int64_t since = found ? ledger_number(&now, i) - ledger_number(&c->stored, i) : 0;
        int64_t value = ledger_number(&c->sum, i) + since;
        ledger_number_set(&put, i, value < 0 ? 0 : value > LEDGER_MOST ? LEDGER_MOST : value);
    }
    if (put.requests > 0) return store_put(tx, &ledger_sums, &put);
    return found ? store_delete(tx, &ledger_sums, &now) : 0;
}

int ledger_mend(store_tx *tx, const void *in, void *out)
{
    const ledger_repair *r = in;
    uint32_t *changed = out, left = r->n;
    int rc = 0;
    *changed = 0;
    for (const ledger_cell *c = r->first; c && left-- && rc == 0; c = c->next) {
        if (!differs(c)) continue;
        rc = mend(tx, c);
        ++*changed;
    }
    return rc;
}
