/*  insight.h - what the router keeps beyond the request at hand: what was learned (learn.h), how requests
 *  were decided (decision.h), and both in its store.
 *
 *  Decisions worth keeping and what was learned go into the store some at a time, INSIGHT_WAIT_MS after
 *  the first one came and INSIGHT_LEARN_MS after something was learned: a kill -9 loses that much.
 *  Ratings are written before they are answered. While the store cannot be written, decisions wait, up
 *  to INSIGHT_QUEUE of them; those that find no place are lost and counted
 *  (samovar_decisions_lost_total).
 *
 *  Thread: the loop's.   Ownership: both tables are its own.   Limits: above.
 *  Errors: SV_E_NO_MEMORY from insight_start; a store that cannot be read is logged, and learning begins
 *  anew. */
#ifndef ROUTER_INSIGHT_H
#define ROUTER_INSIGHT_H

#include "insight_store.h"
#include "loop.h"
#include "samovar.h"

enum { INSIGHT_WAIT_MS = 500, INSIGHT_LEARN_MS = 5000, INSIGHT_QUEUE = 4096 };

typedef struct insight {
    sv_process *process;
    learn *learn;
    decisions *decisions;
    int64_t keep_days;
    kept_decision *head, **tail;
    uint32_t n;
    insight_batch *flying;
    uint64_t learned_us; /* something was learned that is not written; 0: nothing */
    uint32_t failures;   /* writes in a row */
    bool draining;
    uint64_t due_us; /* of the timer */
    loop_timer timer;
} insight;

int insight_start(insight *n, sv_process *p, sv_error *err);
void insight_drain(insight *n);
void insight_free(insight *n);

/* An answer went well or not, for learn_outcome; see there for what does not count. */
void insight_outcome(insight *n, model_task task, const char *provider, const char *model,
                     bool good);

/* router.decision and router.feedback. On fibers. */
int insight_decision(insight *n, sv_call *call, const router_decision_req *q);
int insight_feedback(insight *n, sv_call *call, const router_feedback_req *q);
/* The same for the actor's table. */
sv_handler router_decision, router_feedback;
/* sv_question.answer of a router that does not run. */
int decision_answer(sv_offline *o, const void *request, void *reply);

#endif
