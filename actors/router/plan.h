/*  plan.h - which models may answer a request, in which order, and why.
 *
 *  A request names a model, an alias (router.aliases), a list, or auto. A name is searched with every
 *  provider that the caller may use, also under the other names that models.h knows; behind what was
 *  asked for come router.fallbacks. auto is classified by rules (task.h), filtered hard (abilities,
 *  context, price cap, allow-lists, data policy, recent outage) and ranked by quality for the task,
 *  price, live latency and time to the first token, errors and wrong tool calls (health.h), and what
 *  was learned (learn.h); the same conversation stays where its prompt is cached.
 *
 *  Thread: the loop's.   Ownership: a plan borrows names from its arena; providers outlive the call.
 *  Limits: PLAN_MOST candidates.
 *  Errors: SV_E_MODEL_UNKNOWN, SV_E_MODEL_NOT_ALLOWED, SV_E_INVALID with the field and words that say
 *  which filter left nobody. */
#ifndef ROUTER_PLAN_H
#define ROUTER_PLAN_H

#include "cost.h"
#include "health.h"
#include "learn.h"
#include "llm.h"
#include "message.h"
#include "models.h"
#include "provider.h"

enum { PLAN_MOST = 16, PLAN_SEEN = 32 };

typedef enum plan_op {
    OP_CHAT, /* chat, completions, responses, messages, Ollama */
    OP_EMBEDDINGS,
    OP_TRANSCRIPTION,
    OP_IMAGE,
    OP_MODERATION,
    OP_COUNT /* of tokens */
} plan_op;

typedef struct plan_ask {
    plan_op op;
    sv_str model;               /* as the client named it; "auto" */
    sv_strs list;               /* further ones, in order; or those of a race */
    sv_strs allowed;            /* the key's; empty: all */
    sv_str task, complexity;    /* as the client said; empty: found out */
    int64_t budget;             /* most that the request may cost, micro-units; 0: not said */
    const llm_request *request; /* NULL: not parsed; then features has what the bytes tell */
    const llm_features *features;
    int64_t answers, output; /* that are asked for, and tokens of the longest; 0: not said */
    uint32_t at_once;        /* so many candidates are called together; 0: one after the other */
    const cost_ask *cost;    /* of what is paid otherwise than a chat; NULL: as a chat */
    sv_str org, user;
    uint64_t conversation;      /* hash that stays while a conversation goes on; 0: none */
    provider *const *providers; /* that the caller may use, in order of preference */
    size_t n_providers;
    uint64_t now_us, unix_ms;
    uint64_t seed; /* randomness of exploration, so that a decision can be repeated */
} plan_ask;

typedef struct candidate {
    provider *provider;
    const char *model; /* upstream's name */
    const model_info *info;
    float score; /* 0..1; of auto */
    const char
        *why; /* "named", "alias", "other name", "fallback", "ranked", "explored", "sticky" */
} candidate;

/* One that was looked at, for explanations. */
typedef struct plan_seen {
    const char *provider, *model;
    const char *filter; /* why it was left out; NULL: it was not */
    float score, quality, price, speed, reliability, learned; /* parts of the score, 0..1 */
} plan_seen;

typedef struct plan {
    candidate items[PLAN_MOST];
    uint32_t n;
    bool auto_chosen, explored;
    model_task task;
    bool task_known;
    float complexity; /* 0..1 */
    const char *rule; /* that decided the task, for people */
    plan_seen seen[PLAN_SEEN];
    uint32_t n_seen;
    uint64_t took_us;
} plan;

typedef struct planner planner;

int planner_new(const config *c, models *m, health *h, planner **ret, sv_error *err);
void planner_free(planner *p);
/* What was learned moves rankings from now on; borrowed. NULL: nothing does. */
void planner_learn(planner *p, const learn *l);
/* Fills *ret; its names live in `a`. */
int planner_choose(planner *p, const plan_ask *ask, arena *a, plan *ret, sv_error *err);
/* The built-in model: "demo", or an alias whose first model it is, since it always answers. */
bool planner_means_demo(const planner *p, sv_str name);
/* What came of it: keeps conversations where they are. Called once, with the one that answered. */
void planner_answered(planner *p, const plan_ask *ask, const candidate *c);

#endif
