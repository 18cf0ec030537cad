/*  insight_store.c - every row is found by its key; nothing here reads more than a handful of them,
 *  but for loading. */
#include "insight_store.h"

#include "error.h"
#include "rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORGOTTEN 10 /* half-lives after which nothing is left worth a row */

void insight_batch_free(insight_batch *b)
{
    if (b == NULL) return;
    for (uint32_t i = 0; i < b->n_decisions; i++) {
        kept_decision *d = b->first;
        b->first = d->next;
        free(d);
    }
    free(b);
}

static int absent(store_tx *tx, int rc)
{
    if (rc != SV_E_NOT_FOUND) return rc;
    *store_error(tx) = (sv_error){0};
    return 0;
}

static void cell_of(const char *task, const char *who, const char *which, uint8_t cell[LEDGER_CELL])
{
    const sv_str names[] = {sv_cstr(task), sv_cstr(who), sv_cstr(which)};
    ledger_cell_of(names, 3, cell);
}

static int64_t forgotten_ms(uint64_t at_ms, double half_life_ms)
{
    return (int64_t)at_ms + (int64_t)(FORGOTTEN * half_life_ms);
}

/* ---- written behind ---- */

static int put_learning(store_tx *tx, const kept_learning *k)
{
    uint8_t cell[LEDGER_CELL];
    const char *task = model_task_names[k->task];
    cell_of(task, k->provider, k->model, cell);
    learned_row row = {.cell = {(const char *)cell, LEDGER_CELL},
                       .task = sv_cstr(task),
                       .provider = sv_cstr(k->provider),
                       .model = sv_cstr(k->model),
                       .good = k->good,
                       .n = k->n,
                       .at = (int64_t)k->at_ms,
                       .expires = forgotten_ms(k->at_ms, LEARN_OUTCOME_MS)};
    return store_put(tx, &learned_rows, &row);
}

int insight_write(store_tx *tx, const void *in, void *out)
{
    const insight_batch *b = in;
    const kept_decision *d = b->first;
    int rc = 0;
    (void)out;
    for (uint32_t i = 0; i < b->n_decisions && rc == 0; i++, d = d->next) {
        decision_row row = {.id = {(const char *)d->id.b, sizeof d->id.b},
                            .expires = d->expires_ms,
                            .record = {d->bytes, d->n}};
        rc = store_put(tx, &decision_rows, &row);
    }
    for (uint32_t i = 0; i < b->n_learnings && rc == 0; i++)
        rc = put_learning(tx, &b->learnings[i]);
    return rc;
}

/* ---- ratings ---- */

static int take_rating(store_tx *tx, const insight_rating *r, int *ret_former)
{
    feedback_row row = {.decision = {(const char *)r->about.id.b, sizeof r->about.id.b}};
    int rc = store_get(tx, &feedback_rows, &row);
    *ret_former = rc == 0 ? (int)row.rating : 0;
    if (absent(tx, rc)) return rc;
    row.rating = r->rating;
    row.expires = store_now_ms(tx) + (int64_t)RANK_DAYS * DATE_DAY_MS;
    if (r->rating) return store_put(tx, &feedback_rows, &row);
    return rc ? 0 : store_delete(tx, &feedback_rows, &row);
}

/* One user's part; *good_by and *n_by become what the sum of all changes by. */
static int vote(store_tx *tx, const decision_about *a, sv_str cell, double *good_by, double *n_by)
{
    uint8_t voter[LEDGER_CELL];
    const sv_str names[] = {sv_cstr(a->org), sv_cstr(a->user)};
    ledger_cell_of(names, 2, voter);
    vote_row row = {.cell = cell, .voter = {(const char *)voter, LEDGER_CELL}};
    int rc = absent(tx, store_get(tx, &vote_rows, &row));
    if (rc) return rc;
    learn_vote v = {row.good, row.n, row.counts_good, row.counts_n, (uint64_t)row.at};
    learn_vote_add(&v, *good_by, *n_by, (uint64_t)store_now_ms(tx), good_by, n_by);
    row.good = v.good;
    row.n = v.n;
    row.counts_good = v.counts_good;
    row.counts_n = v.counts_n;
    row.at = (int64_t)v.at_ms;
    row.expires = forgotten_ms(v.at_ms, LEARN_RATING_MS);
    return store_put(tx, &vote_rows, &row);
}

static int add_rated(store_tx *tx, const decision_about *a, sv_str cell, double good_by,
                     double n_by, insight_rated *ret)
{
    uint64_t now_ms = (uint64_t)store_now_ms(tx);
    rated_row row = {.cell = cell,
                     .task = sv_cstr(a->task),
                     .provider = sv_cstr(a->provider),
                     .model = sv_cstr(a->model)};
    int rc = absent(tx, store_get(tx, &rated_rows, &row));
    if (rc) return rc;
    double left = learn_left(LEARN_RATING_MS, (uint64_t)row.at, now_ms);
    row.n = fmax(row.n * left + n_by, 0);
    row.good = fmin(fmax(row.good * left + good_by, 0), row.n);
    row.at = (int64_t)now_ms;
    row.expires = forgotten_ms(now_ms, LEARN_RATING_MS);
    *ret = (insight_rated){true, row.good, row.n, now_ms};
    return store_put(tx, &rated_rows, &row);
}

int insight_rate(store_tx *tx, const void *in, void *out)
{
    const insight_rating *r = in;
    const decision_about *a = &r->about;
    insight_rated *ret = out;
    int former;
    *ret = (insight_rated){.learned = false};
    int rc = take_rating(tx, r, &former);
    int ratings_by = (r->rating != 0) - (former != 0), liked_by = (r->rating > 0) - (former > 0);
    if (rc || (ratings_by == 0 && liked_by == 0)) return rc;
    rc = rank_rate(tx, date_of_ms(a->at_ms), sv_cstr(a->org), sv_cstr(a->task),
                   sv_cstr(a->provider), sv_cstr(a->model), ratings_by, liked_by);
    if (rc || a->task[0] == 0 || strncmp(a->provider, "own:", 4) == 0) return rc;
    uint8_t bytes[LEDGER_CELL];
    sv_str cell = {(const char *)bytes, LEDGER_CELL};
    double good_by = liked_by, n_by = ratings_by;
    cell_of(a->task, a->provider, a->model, bytes);
    rc = vote(tx, a, cell, &good_by, &n_by);
    return rc ? rc : add_rated(tx, a, cell, good_by, n_by, ret);
}

/* ---- reading ---- */

int insight_read(store_tx *tx, const void *in, void *out)
{
    const sv_id *id = in;
    decision_row row = {.id = {(const char *)id->b, sizeof id->b}};
    feedback_row rated = {.decision = row.id};
    router_decision_reply *ret = out;
    int rc = store_get(tx, &decision_rows, &row);
    if (rc == 0)
        rc = message_decode(&router_decision_reply_msg, row.record, MESSAGE_LENIENT,
                            store_arena(tx), ret, store_error(tx));
    if (rc) return rc;
    rc = store_get(tx, &feedback_rows, &rated);
    if (rc == 0) ret->rating = rated.rating;
    return absent(tx, rc);
}

static void take_text(char *to, size_t most, sv_str s)
{
    size_t n = s.n < most ? s.n : most;
    if (n) memcpy(to, s.p, n);
    to[n] = 0;
}

/* A task that this version does not know is left out. */
static bool take_row(kept_learning *k, const learned_row *row)
{
    for (int i = 0; i < TASKS; i++) {
        if (!sv_str_is(row->task, model_task_names[i])) continue;
        *k = (kept_learning){
            .task = (model_task)i, .good = row->good, .n = row->n, .at_ms = (uint64_t)row->at};
        take_text(k->provider, sizeof k->provider - 1, row->provider);
        take_text(k->model, sizeof k->model - 1, row->model);
        return true;
    }
    return false;
}

int insight_load(store_tx *tx, const void *in, void *out)
{
    const insight_piece *from = in;
    insight_piece *p = out;
    store_range range = {.table = from->ratings ? &rated_rows : &learned_rows,
                         .after = from->after,
                         .limit = INSIGHT_PIECE};
    store_scan *scan;
    uint32_t seen = 0;
    union {
        learned_row learned;
        rated_row rated;
    } row;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    p->n = 0;
    while (store_scan_next(scan, &row)) {
        learned_row like = row.learned;
        if (p->ratings)
            like = (learned_row){.task = row.rated.task,
                                 .provider = row.rated.provider,
                                 .model = row.rated.model,
                                 .good = row.rated.good,
                                 .n = row.rated.n,
                                 .at = row.rated.at};
        p->n += take_row(&p->items[p->n], &like);
        sv_str at = store_scan_position(scan);
        memcpy(p->position, at.p, at.n);
        p->after = (sv_str){p->position, at.n};
        seen++;
    }
    p->done = seen < INSIGHT_PIECE;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}
