/*  ledger_read.c - pieces of the ledger, small enough to be read between two turns of a loop. */
#include "ledger_store.h"

#include "error.h"

static int start(store_tx *tx, const ledger_from *from, ledger_piece *p, size_t row_size,
                 void **ret_rows)
{
    *p = (ledger_piece){.mark = {.day = from->first_day}};
    *ret_rows = arena_alloc(store_arena(tx), LEDGER_PIECE * row_size);
    p->at = arena_alloc(store_arena(tx), LEDGER_PIECE * sizeof *p->at);
    if (*ret_rows == NULL || p->at == NULL)
        return sv_fail(store_error(tx), SV_E_NO_MEMORY, NULL, NULL);
    int rc = store_get(tx, &ledger_days, &p->mark);
    if (rc == SV_E_NOT_FOUND) p->mark.day = -1;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static bool keep_text(arena *to, sv_str *s)
{
    if (s->p) s->p = arena_copy(to, *s);
    return s->p || s->n == 0;
}

/* Text and position of a scan's row live until its next step: this keeps them. */
static bool keep(arena *to, const store_scan *scan, const sv_message *m, void *row, sv_str *at)
{
    *at = store_scan_position(scan);
    bool ok = keep_text(to, at);
    for (size_t i = 0; ok && i < m->n; i++)
        if (m->fields[i].type == SV_T_STR || m->fields[i].type == SV_T_BIN)
            ok = keep_text(to, (sv_str *)((char *)row + m->fields[i].offset));
    return ok;
}

static int read_some(store_tx *tx, const store_range *range, char *rows, ledger_piece *p)
{
    const sv_message *m = range->table->row;
    store_scan *scan;
    int rc = store_scan_open(tx, range, &scan);
    if (rc) return rc;
    bool kept = true;
    while (kept && p->n < LEDGER_PIECE && store_scan_next(scan, rows + p->n * m->size)) {
        kept = keep(store_arena(tx), scan, m, rows + p->n * m->size, &p->at[p->n]);
        p->n++;
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    p->done = p->n < LEDGER_PIECE;
    return kept ? rc : sv_fail(store_error(tx), SV_E_NO_MEMORY, NULL, NULL);
}

int ledger_sums_some(store_tx *tx, const void *in, void *out)
{
    const ledger_from *from = in;
    ledger_piece *p = out;
    ledger_sum low = {.day = from->first_day}, high = {.day = from->last_day};
    store_range range = {.table = &ledger_sums,
                         .low = &low,
                         .high = &high,
                         .low_n = 1,
                         .high_n = 1,
                         .after = from->after};
    void *rows;
    int rc = start(tx, from, p, sizeof(ledger_sum), &rows);
    p->of.sums = rows;
    return rc ? rc : read_some(tx, &range, rows, p);
}

int ledger_rows_some(store_tx *tx, const void *in, void *out)
{
    const ledger_from *from = in;
    ledger_piece *p = out;
    sv_id low_id, high_id, unused;
    ledger_day_ids(from->first_day, &low_id, &unused);
    ledger_day_ids(from->last_day, &unused, &high_id);
    ledger_row low = {.attempt = {(const char *)low_id.b, 16}};
    ledger_row high = {.attempt = {(const char *)high_id.b, 16}};
    store_range range = {.table = &ledger_rows,
                         .low = &low,
                         .high = &high,
                         .low_n = 1,
                         .high_n = 1,
                         .after = from->after};
    void *rows;
    int rc = start(tx, from, p, sizeof(ledger_row), &rows);
    p->of.rows = rows;
    return rc ? rc : read_some(tx, &range, rows, p);
}

int ledger_ranks_some(store_tx *tx, const void *in, void *out)
{
    const ledger_from *from = in;
    ledger_piece *p = out;
    rank_row low = {.day = from->first_day}, high = {.day = from->last_day};
    store_range range = {.table = &rank_rows,
                         .low = &low,
                         .high = &high,
                         .low_n = 1,
                         .high_n = 1,
                         .after = from->after};
    void *rows;
    int rc = start(tx, from, p, sizeof(rank_row), &rows);
    p->of.ranks = rows;
    return rc ? rc : read_some(tx, &range, rows, p);
}

int ledger_next_day(store_tx *tx, const void *in, void *out)
{
    const ledger_from *from = in;
    int64_t *ret = out;
    ledger_sum sum_low = {.day = from->first_day}, sum_high = {.day = from->last_day};
    ledger_day low = {.day = from->first_day}, high = {.day = from->last_day};
    union {
        ledger_sum sum;
        ledger_day day;
    } row;
    store_range ranges[2] = {
        {.table = &ledger_sums, .low = &sum_low, .high = &sum_high},
        {.table = &ledger_days, .low = &low, .high = &high},
    };
    *ret = -1;
    for (int i = 0; i < 2; i++) {
        store_scan *scan;
        ranges[i].low_n = ranges[i].high_n = ranges[i].limit = 1;
        int rc = store_scan_open(tx, &ranges[i], &scan);
        if (rc) return rc;
        if (store_scan_next(scan, &row)) {
            int64_t day = i == 0 ? row.sum.day : row.day.day;
            if (*ret < 0 || day < *ret) *ret = day;
        }
        rc = store_scan_result(scan);
        store_scan_close(scan);
        if (rc) return rc;
    }
    return 0;
}
