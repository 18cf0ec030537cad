/*  keep.h - how long answers are kept, and which routing they belong to.
 *  Thread: any.   Ownership: values.   Errors: SV_E_CONFIG with what is wrong. */
#ifndef CACHE_KEEP_H
#define CACHE_KEEP_H

#include "cache_key.h"
#include "config.h"

enum { KEEP_TASKS = 16, KEEP_TASK = 16 };

/* cache.task_keep: "translate=7d, summarise=1d"; units s, m, h, d. Tasks of router_complete_head, and the
 * endpoints embeddings, moderations and count_tokens. What is not named is not kept. */
typedef struct keep_rules {
    char task[KEEP_TASKS][KEEP_TASK + 1];
    int64_t seconds[KEEP_TASKS];
    uint32_t n;
} keep_rules;

int keep_parse(const char *text, keep_rules *ret, sv_error *err);
int64_t keep_seconds(const keep_rules *k, sv_str endpoint, sv_str task);

/* Answers to questions of the same meaning. */
typedef struct meaning_rules {
    bool on;
    char model[257];
    char task[KEEP_TASKS][KEEP_TASK + 1]; /* of answers that may be given so */
    uint32_t n_tasks;
    double threshold;
} meaning_rules;

int meaning_rules_read(const config *c, meaning_rules *ret, sv_error *err);
bool meaning_allowed(const meaning_rules *m, sv_str task);

/* A hash of the settings that decide who answers to which name: every setting of the router that is a
 * list, text or a switch, prices left out. Another routing finds none of the older answers. */
int keep_generation(const config *c, char ret[CACHE_KEY + 1]);

#endif
