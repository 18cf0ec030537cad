/*  usage_check.c - the sums of each day rebuilt from its rows, while more rows come in.
 *
 *  A piece is a read transaction of its own, so the ledger changes between two of them. What is
 *  compared is nevertheless exact: every row names the batch of its day that brought it, and a day's
 *  mark counts the batches. First the sums are read; with each is noted how many batches the day had
 *  in that very transaction. Then the rows are read, and a row counts for its sum when its batch was
 *  among those. A row without a sum is a difference if its batch was there before the first sum was
 *  read; later ones may belong to a sum that is newer than the reading.
 *
 *  A day is looked at when its mark says that none of its rows has gone. Should the mark go
 *  meanwhile, the day is left out. Memory holds the sums of one day. */
#include "usage.h"

#include "error.h"

enum { CELLS_BYTES = 64 << 20, PIECE_BYTES = 4 << 20, MEND_AT_ONCE = 1024 };

static int read_piece(usage_check *k, store_fn *fn, void *out)
{
    arena_reset(&k->piece);
    store_op op = {
        .fn = fn, .in = &k->from, .out = out, .arena = &k->piece, .owner = "router.usage_check"};
    int rc = store_view(k->store, &op);
    if (rc) k->err = op.error;
    return rc;
}

static void go_on_behind(usage_check *k, const ledger_piece *p)
{
    sv_str at = p->n ? p->at[p->n - 1] : (sv_str){NULL, 0};
    if (at.n) memcpy(k->position, at.p, at.n);
    k->from.after = (sv_str){k->position, at.n};
}

static void enter(usage_check *k, usage_phase phase)
{
    k->phase = phase;
    k->from.after.n = 0;
}

static void next_day(usage_check *k)
{
    arena_free(&k->memory);
    k->first_day++;
    enter(k, k->first_day > k->last_day ? CHECK_DONE : CHECK_DAY);
}

static int no_memory(usage_check *k)
{
    char day[DATE_TEXT + 1];
    date_format(k->first_day, day);
    return sv_fail(&k->err, SV_E_NO_MEMORY, NULL,
                   "The sums of %s do not fit the memory of a check (%d MiB).", day,
                   CELLS_BYTES >> 20);
}

static int find_day(usage_check *k)
{
    int64_t day;
    k->from = (ledger_from){.first_day = k->first_day, .last_day = k->last_day};
    int rc = read_piece(k, ledger_next_day, &day);
    if (rc) return rc;
    if (day < 0) {
        enter(k, CHECK_DONE);
        return 0;
    }
    k->first_day = k->from.first_day = k->from.last_day = day;
    k->oldest_batch = -1;
    arena_init(&k->memory, CELLS_BYTES);
    ledger_cells_init(&k->cells, &k->memory);
    enter(k, CHECK_SUMS);
    return 0;
}

/* ---- what is stored, then what the rows give ---- */

static void copy_numbers(ledger_sum *to, const ledger_sum *from)
{
    for (int i = 0; i < LEDGER_NUMBERS; i++)
        ledger_number_set(to, i, ledger_number(from, i));
}

static bool whole(usage_check *k, const ledger_piece *p)
{
    if (p->mark.day >= 0 && p->mark.whole) return true;
    k->reply.skipped++;
    next_day(k);
    return false;
}

static int read_sums(usage_check *k)
{
    ledger_piece p;
    int rc = read_piece(k, ledger_sums_some, &p);
    if (rc || !whole(k, &p)) return rc;
    if (k->oldest_batch < 0) k->oldest_batch = p.mark.batches;
    for (uint32_t i = 0; i < p.n; i++) {
        ledger_cell *c = ledger_cells_get(&k->cells, &p.of.sums[i]);
        if (c == NULL) return no_memory(k);
        if (!sv_str_eq(c->sum.cell, p.of.sums[i].cell))
            return sv_fail(&k->err, SV_E_STORE_DAMAGED, "cell",
                           "A sum lies under another key than its names give.");
        copy_numbers(&c->stored, &p.of.sums[i]);
        c->batch = p.mark.batches;
    }
    go_on_behind(k, &p);
    if (p.done) enter(k, CHECK_ROWS);
    return 0;
}

/* ---- comparing ---- */

static sv_str keep_name(usage_check *k, sv_str name)
{
    char *copy = name.n ? arena_copy(k->answer, name) : NULL;
    return (sv_str){copy, copy ? name.n : 0};
}

static void note(usage_check *k, const ledger_cell *c, int field)
{
    char day[DATE_TEXT + 1];
    if (k->reply.differences++ >= USAGE_FIRST) return;
    date_format(c->sum.day, day);
    k->first[k->reply.first.n++] =
        (router_usage_difference){.day = keep_name(k, (sv_str){day, DATE_TEXT}),
                                  .org = keep_name(k, c->sum.org),
                                  .key = keep_name(k, c->sum.key),
                                  .user = keep_name(k, c->sum.user),
                                  .model = keep_name(k, c->sum.model),
                                  .provider = keep_name(k, c->sum.provider),
                                  .field = sv_cstr(ledger_numbers[field].name),
                                  .sum = ledger_number(&c->stored, field),
                                  .rows = ledger_number(&c->sum, field)};
}

/* True when the day has differences. */
static bool compare(usage_check *k)
{
    int64_t before = k->reply.differences;
    k->reply.days++;
    for (ledger_cell *c = k->cells.first; c; c = c->next) {
        if (c->batch >= 0) k->reply.sums++;
        for (int i = 0; i < LEDGER_NUMBERS; i++) {
            if (ledger_number(&c->sum, i) == ledger_number(&c->stored, i)) continue;
            note(k, c, i);
            break;
        }
    }
    return k->reply.differences > before;
}

static int read_rows(usage_check *k)
{
    ledger_piece p;
    int rc = read_piece(k, ledger_rows_some, &p);
    if (rc || !whole(k, &p)) return rc;
    for (uint32_t i = 0; i < p.n; i++) {
        const ledger_row *row = &p.of.rows[i];
        ledger_sum of = ledger_sum_of(row);
        ledger_cell *c = ledger_cells_get(&k->cells, &of);
        if (c == NULL) return no_memory(k);
        if (row->batch > (c->batch >= 0 ? c->batch : k->oldest_batch)) continue;
        ledger_sum_add(&c->sum, row);
        k->reply.rows++;
    }
    go_on_behind(k, &p);
    if (!p.done) return 0;
    if (compare(k) && k->repair) {
        k->phase = CHECK_MEND;
        k->mend = (ledger_repair){k->cells.first, MEND_AT_ONCE};
    } else {
        next_day(k);
    }
    return 0;
}

/* ---- the check ---- */

int usage_check_begin(usage_check *k, store *s, const router_usage_check_req *req, arena *answer)
{
    *k = (usage_check){.store = s, .repair = req->repair, .answer = answer};
    arena_init(&k->piece, PIECE_BYTES);
    k->first = arena_alloc(answer, USAGE_FIRST * sizeof *k->first);
    if (k->first == NULL) return sv_fail(&k->err, SV_E_NO_MEMORY, NULL, NULL);
    k->reply.first.items = k->first;
    return usage_days(req->from, req->to, &k->first_day, &k->last_day, &k->err);
}

int usage_check_step(void *arg)
{
    usage_check *k = arg;
    switch (k->phase) {
    case CHECK_DAY: return find_day(k);
    case CHECK_SUMS: return read_sums(k);
    case CHECK_ROWS: return read_rows(k);
    case CHECK_MEND:
    case CHECK_DONE: break;
    }
    return 0;
}

void usage_check_mended(usage_check *k, uint32_t changed)
{
    k->reply.repaired += changed;
    for (uint32_t n = k->mend.n; n > 0 && k->mend.first; n--)
        k->mend.first = k->mend.first->next;
    if (k->mend.first == NULL) next_day(k);
}

void usage_check_free(usage_check *k)
{
    arena_free(&k->memory);
    arena_free(&k->piece);
}
