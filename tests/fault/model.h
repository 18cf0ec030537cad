/*  model.h - random work, and a plain map that knows what has to come of it.
 *
 *  Round r happens at one moment of a virtual clock and has up to 8 functions, numbered 8r .. 8r+7.
 *  A function is 1 to 5 steps; what it does follows from the seed and its number alone. The same
 *  steps are done by the store (model_fn) and by the map (model_do), and each step's result, a code
 *  and a hash of what was read, is compared.
 *
 *  Thread: one; model_fn wherever the store runs it.   Ownership: model_free. */
#ifndef MODEL_H
#define MODEL_H

#include "kit.h"
#include "store.h"

#define SV_MESSAGES_FILE "model_rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

enum { MODEL_ROUND = 8, MODEL_STEPS = 5, MODEL_ORGS = 4, MODEL_IDS = 60 };

typedef enum step_kind {
    STEP_GET,
    STEP_BLOB_SIZE,
    STEP_BLOB_READ,
    STEP_SCAN,
    STEP_PAGES, /* a scan in pieces, each going on behind the last */
    STEP_PUT,   /* from here on: writes */
    STEP_INSERT,
    STEP_PUT_WRONG, /* a row that its table does not take */
    STEP_DELETE,
    STEP_BLOB_APPEND,
    STEP_BLOB_DROP,
    STEP_SCAN_DELETE /* deletes every second row it sees (all, where no order is promised) */
} step_kind;

enum { INDEX_KEY, INDEX_SCORE, INDEX_RANK, INDEX_NAME, INDEX_TAG, INDEXES };

typedef struct step {
    step_kind kind;
    uint32_t org, id;
    uint64_t stamp;
    uint64_t offset;
    uint32_t bytes; /* of a blob */
    /* of a scan */
    uint32_t index, low_n, high_n, limit;
    bool reverse, claim;
    uint64_t low_stamp, high_stamp; /* bounds: rows that these stamps would write */
    uint32_t low_org, low_id, high_org, high_id;
} step;

typedef struct step_result {
    int code;
    uint64_t hash;
} step_result;

typedef struct work {
    uint64_t seed, number;
    bool read_only, strict; /* strict: the first error ends it */
    int ends_with;          /* returned after all steps */
    uint32_t n;
    step steps[MODEL_STEPS];
} work;

typedef struct work_result {
    uint32_t n;
    step_result steps[MODEL_STEPS];
} work_result;

extern const store_schema model_schema;

uint64_t model_clock_ms(uint64_t round);
/* How many functions a round has. */
uint32_t model_round(uint64_t seed, uint64_t round);
void model_work(uint64_t seed, uint64_t number, work *ret);

/* The store function: in a work, out a work_result. Writes also note their number (model_noted). */
int model_fn(store_tx *tx, const void *in, void *out);
/* A store function: out a uint64_t, 1 + the number of the last function that is there, or 0. */
int model_noted(store_tx *tx, const void *in, void *out);

typedef struct model model;
model *model_new(uint64_t seed);
void model_free(model *m);
/* What the function has to answer; changes the map if that is 0. */
int model_do(model *m, const work *w, work_result *ret);
/* Before a comparison: the time it happens at. */
void model_at(model *m, uint64_t now_ms);
/* A store function: in the model, out a buf of 300 bytes for words: compares everything. */
int model_compare(store_tx *tx, const void *in, void *out);

#endif
