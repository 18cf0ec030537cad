/*  rank.h - sums for rankings: for each day, organization, task, provider and model. They are written
 *  with the attempts that they add up (ledger_write) and with ratings (insight_store.h), and go after
 *  RANK_DAYS.
 *
 *  Thread: the store_fns where the store runs them; a report: one at a time, any thread.
 *  Ownership: a report's answer lives in the arena that was handed in.
 *  Errors: SV_E_INVALID with the field; those of store_view. */
#ifndef ROUTER_RANK_H
#define ROUTER_RANK_H

#include "ledger_store.h"
#include "samovar.h"

enum { RANK_DAYS = 400, RANK_GROUPS = 256 };

/* ---- writing, inside of a store_fn ---- */

typedef struct rank_cell {
    struct rank_cell *next;
    rank_row row; /* names are borrowed from the batch */
    uint8_t cell[LEDGER_CELL];
} rank_cell;

typedef struct rank_batch {
    rank_cell *first;
} rank_batch;

int rank_batch_add(rank_batch *b, store_tx *tx, const ledger_row *row);
int rank_batch_put(const rank_batch *b, store_tx *tx);
/* A rating changes the sums of the answer's day; nothing when they are gone. */
int rank_rate(store_tx *tx, int64_t day, sv_str org, sv_str task, sv_str provider, sv_str model,
              int64_t ratings_by, int64_t liked_by);

/* ---- reading ---- */

typedef struct rank_report {
    store *store;
    sv_str task, org; /* of these only; {NULL, 0}: of all */
    ledger_from from;
    router_rank rows[RANK_GROUPS];
    uint32_t n;
    size_t bytes; /* of the answer, at most */
    char position[LIMIT_STORE_KEY_BYTES];
    bool done, full;
    arena *answer;
    arena piece;
    sv_error err;
} rank_report;

/* `org` {NULL, 0}: of all organizations. `today` is a day as in date.h. */
int rank_report_begin(rank_report *r, store *s, const router_rankings_req *req, sv_str org,
                      int64_t today, arena *answer);
/* One piece more; call it until `done` or `full`. */
int rank_report_step(void *arg);
router_rankings_reply rank_report_reply(const rank_report *r);
void rank_report_free(rank_report *r);

/* Method router.rankings (usage_methods.c), and the same of a router that does not run. */
sv_handler router_rankings;
int rankings_answer(sv_offline *o, const void *request, void *reply);

#endif
