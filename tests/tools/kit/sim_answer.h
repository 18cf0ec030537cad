/*  sim_answer.h - the bytes of one answer of the simulated provider, piece by piece.
 *  The server asks for the next piece whenever the last one is written and its time has come.
 *  Thread: one.   Ownership: the answer copies what it needs.   Errors: none. */
#ifndef KIT_SIM_ANSWER_H
#define KIT_SIM_ANSWER_H

#include "buf.h"
#include "sim_behaviour.h"

typedef enum sim_after {
    SIM_GO_ON,  /* ask again after `wait_ms` */
    SIM_KEEP,   /* the answer is complete; the connection may be used again */
    SIM_CLOSE,  /* close when everything is written */
    SIM_RESET,  /* reset when everything is written */
    SIM_SILENCE /* never send anything again */
} sim_after;

typedef enum sim_phase { SIM_START, SIM_HEAD, SIM_ROLE, SIM_TOKENS, SIM_TAIL } sim_phase;

typedef struct sim_answer {
    sim_behaviour b;
    bool stream, include_usage;
    char model[512]; /* JSON-escaped */
    uint64_t number; /* of the request, part of the answer's id */
    sim_phase phase;
    int64_t token;
} sim_answer;

void sim_answer_start(sim_answer *a, const sim_behaviour *b, bool stream, bool include_usage,
                      const char *model, uint64_t number);
/* Appends the next piece to `out`. */
sim_after sim_answer_next(sim_answer *a, buf *out, uint64_t *wait_ms);

#endif
