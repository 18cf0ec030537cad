/*  insight_store.h - decisions, ratings and what was learned, as they lie in the router's environment.
 *  Thread: store_fns where the store runs them.   Ownership: what is read lives in the arena of the
 *  store_op; batches own what they hold.   Errors: those of the store. */
#ifndef ROUTER_INSIGHT_STORE_H
#define ROUTER_INSIGHT_STORE_H

#include "decision.h"
#include "learn.h"
#include "ledger_store.h"

enum { INSIGHT_PIECE = 256, INSIGHT_RECORD = 15360 };

/* ---- written behind ---- */

typedef struct kept_decision {
    struct kept_decision *next;
    sv_id id;
    int64_t expires_ms;
    uint32_t n;
    char bytes[];
} kept_decision;

typedef struct kept_learning {
    model_task task;
    char provider[65], model[257];
    double good, n;
    uint64_t at_ms;
} kept_learning;

typedef struct insight_batch {
    kept_decision *first; /* `n_decisions` of them */
    uint32_t n_decisions, n_learnings;
    kept_learning learnings[INSIGHT_PIECE];
} insight_batch;

void insight_batch_free(insight_batch *b);
/* store_fn, in: insight_batch, out: nothing. */
int insight_write(store_tx *tx, const void *in, void *out);

/* ---- ratings ---- */

/* What is rated: the answer of whom, to whom. */
typedef struct decision_about {
    sv_id id;
    int64_t at_ms;
    char org[DECISION_ID + 1], user[DECISION_ID + 1];
    const char *task; /* static; "": none */
    char provider[65], model[257];
} decision_about;

typedef struct insight_rating {
    decision_about about;
    int rating;
} insight_rating;

typedef struct insight_rated {
    bool learned; /* the request had a task; good and n are what its ratings add up to now */
    double good, n;
    uint64_t at_ms;
} insight_rated;

/* store_fn, in: insight_rating, out: insight_rated. A second rating takes the place of the first. */
int insight_rate(store_tx *tx, const void *in, void *out);

/* ---- reading ---- */

/* store_fn, in: sv_id, out: router_decision_reply. SV_E_NOT_FOUND. */
int insight_read(store_tx *tx, const void *in, void *out);

typedef struct insight_piece {
    sv_str after; /* in: a position */
    bool ratings; /* in: of rated_rows, else of learned_rows */
    kept_learning items[INSIGHT_PIECE];
    uint32_t n;
    char position[LIMIT_STORE_KEY_BYTES];
    bool done;
} insight_piece;

/* store_fn, in = out: insight_piece. */
int insight_load(store_tx *tx, const void *in, void *out);

#endif
