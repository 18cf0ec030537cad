/*  plan.h - a workload that can be judged afterwards: each writer's operations, and so its rows after
 *  each of them, follow from the seed alone.
 *
 *  A writer has entries of its own (two indexes, one of them unique; a sealed field; some with a
 *  blob), and visits that expire. Teams and their sums are shared by all writers: each operation
 *  changes entry, sum and the writer's progress in one store function, as the router's ledger does.
 *  Some operations are made to fail behind their first writes: they must leave no trace.
 *
 *  Thread: a plan_writer has one owner; plan_fn runs wherever the store runs it.
 *  Ownership: no memory but the writer's own array. */
#ifndef PLAN_H
#define PLAN_H

#include "images.h"
#include "seal.h"
#include "store.h"

#define SV_MESSAGES_FILE "fault_rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

enum { PLAN_OPS = 400, PLAN_TEAMS = 6, PLAN_TABLES = 4 };
#define PLAN_NOW_MS 1700000000000ull

typedef enum plan_kind {
    PLAN_INSERT,
    PLAN_UPDATE,
    PLAN_DELETE,
    PLAN_CONFLICT,
    PLAN_FAIL
} plan_kind;

typedef struct plan_entry {
    uint64_t version; /* operation that wrote it last; 0: it is not there */
    uint32_t blob;    /* bytes */
} plan_entry;

typedef struct plan_writer {
    uint64_t seed;
    uint32_t writer;
    uint64_t done;      /* operations behind it */
    uint64_t last_good; /* the last of them that was not made to fail */
    uint64_t n;         /* entries ever made: numbers 1..n */
    plan_entry entry[PLAN_OPS + 1];
} plan_writer;

typedef struct plan_op {
    uint64_t seed;
    uint32_t writer;
    uint64_t i; /* its number, from 1 */
    plan_kind kind;
    uint64_t number;             /* entry */
    uint64_t other, was_version; /* an entry that is there (the same, if it changes one) */
    uint32_t blob_before, blob_add;
    bool blob_drop;
    int expect; /* the code it answers when the disk is well */
} plan_op;

extern const store_schema plan_schema;
extern const store_table *const plan_tables[PLAN_TABLES];
extern const sv_message mark_msg;
/* Always the same, never in a file. The caller frees them. */
seal_key *plan_root_key(void);
seal_key *plan_other_root_key(void);
uint64_t plan_clock(void);

void plan_start(plan_writer *p, uint64_t seed, uint32_t writer);
/* What the writer does next, and, when that is done, how the model changes. */
void plan_next(const plan_writer *p, plan_op *ret);
void plan_apply(plan_writer *p, const plan_op *op);
/* The store function of an operation: `in` is its plan_op, `out` is not used. */
int plan_fn(store_tx *tx, const void *in, void *out);
/* How far a writer is; inside a store function. */
int plan_progress(store_tx *tx, uint32_t writer, uint64_t *ret);
/* A store function: reads all tables and blobs; out a uint64_t, a hash of what there is. */
int plan_read(store_tx *tx, const void *in, void *out);

/* Compares all that is stored with the plan: each writer somewhere between what was acknowledged to
 * it and `upto` (all writers; PLAN_OPS if not known), sums, indexes, blobs, visits; then
 * store_check_some. progress[w], when not NULL, becomes how far each writer is. */
verdict plan_check(store *s, uint64_t seed, uint32_t writers, const acked *a, uint64_t upto,
                   uint64_t *progress, char *why, size_t why_n);
/* Only the last, for any schema. */
verdict plan_check_store(store *s, char *why, size_t why_n);

#endif
