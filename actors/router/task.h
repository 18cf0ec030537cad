/*  task.h - what a request is about, and how hard it is, by rules: no model is asked.
 *
 *  What is there for certain comes first: images, very long prompts, tools, a schema. Otherwise cue
 *  words of task_cues.def in the user's last message (a few KiB of its beginning and its end) and code
 *  in it decide. The cost is bounded whatever the length of the text.
 *
 *  Thread: any.   Ownership: plain values; rule names are static.   Errors: none. */
#ifndef ROUTER_TASK_H
#define ROUTER_TASK_H

#include "llm.h"
#include "models.h"

typedef struct task_guess {
    model_task task;
    float complexity; /* 0..1 */
    const char *rule; /* that decided the task, for people */
} task_guess;

void task_classify(const llm_features *f, task_guess *ret);
/* "code"; false: there is no such task. */
bool task_parse(sv_str word, model_task *ret);
/* "low", "medium" or "high"; false: another word. */
bool task_complexity_parse(sv_str word, float *ret);

#endif
