/*  cost.h - what a request may cost at most, and what it did cost: tokens, pictures, hours of sound, or
 *  calls, by whichever the model's price tells (models.h).
 *
 *  Where the provider tells tokens and they have a price, that is the cost. Else a picture, the length
 *  of a recording or the call has its own price; without one the cost is not known, which is not 0.
 *  Lengths that nobody tells are estimated from the recording's bytes (COST_SOUND_BYTES a second).
 *
 *  Thread: any; pure.   Ownership: texts are borrowed from the request's body.
 *  Limits: COST_ANSWERS; amounts stop at 2^53 - 1.   Errors: none. */
#ifndef ROUTER_COST_H
#define ROUTER_COST_H

#include "json_scan.h"
#include "models.h"

enum {
    COST_ANSWERS = 128,        /* to one request, or its pictures */
    COST_TOKENS_UNSAID = 4096, /* of an answer whose client does not say how many */
    COST_SOUND_BYTES = 4000    /* of a second: 32 kbit/s, less than most recordings have */
};

typedef enum cost_kind {
    COST_ANSWER,   /* prompt and answer */
    COST_PROMPT,   /* the prompt alone: embeddings */
    COST_PICTURES, /* from here on no texts are made */
    COST_SOUND,
    COST_CALL
} cost_kind;

/* What is paid for, as it is asked. */
typedef struct cost_ask {
    cost_kind kind;
    int64_t prompt;       /* tokens, an estimate */
    int64_t answer_most;  /* tokens of an answer; 0: not said */
    int64_t answers;      /* or pictures; at least 1 */
    sv_str size, quality; /* of pictures, inside of JSON strings; empty: not said */
    int64_t sound_ms;     /* an estimate */
} cost_ask;

/* What was done. */
typedef struct cost_use {
    tokens tokens;
    bool done;        /* there is a whole answer: pieces are counted */
    int64_t pictures; /* in the answer */
    int64_t sound_ms;
} cost_use;

/* What the body says of its length, answers and pictures; it is a JSON object, or whatever holds a
 * recording. Kind and prompt are the caller's. */
void cost_read_body(sv_str body, cost_ask *ret);
/* What a whole answer tells, JSON or {NULL, 0}; `q` is what it answers. */
void cost_read_answer(const cost_ask *q, sv_str json, cost_use *ret);

/* False: there is no price for it, and *ret_micro is 0. */
bool cost_most(const model_info *m, const cost_ask *q, int64_t *ret_micro, int64_t *ret_tokens);
bool cost_paid(const model_info *m, const cost_ask *q, const cost_use *u, int64_t *ret_micro);

#endif
