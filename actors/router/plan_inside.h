/*  plan_inside.h - what plan.c (names and order), plan_auto.c (ranking) and plan_rules.c (filters,
 *  settings) share. Nobody else includes it. */
#ifndef ROUTER_PLAN_INSIDE_H
#define ROUTER_PLAN_INSIDE_H

#include "plan.h"
#include "task.h"

enum { TARGETS_MOST = 16, LISTINGS = 256, STICKY_SETS = 1024, STICKY_WAYS = 8 };

/* router.aliases and router.fallbacks: a name and what stands behind it. */
typedef struct detour {
    const char *name;
    const char *const *to;
    uint32_t n;
    bool has_task;
    model_task task;
} detour;

/* Models of a provider's list that something is known of, by their place there. The names are read
 * from the list itself, which may have changed: whoever uses one compares its info again. */
typedef struct listing {
    const provider *of;
    const model *items;
    size_t n;
    uint64_t generation;
    struct listed {
        const model_info *info;
        uint32_t place;
    } * known;
    size_t n_known;
} listing;

typedef struct sticky {
    uint64_t conversation, where; /* hashes; conversation 0: free */
    uint64_t at_us;
} sticky;

struct planner {
    models *m;
    health *h;
    const learn *learned;
    detour *aliases, *fallbacks;
    uint32_t n_aliases, n_fallbacks;
    float quality, speed; /* knobs, 0..1 */
    uint32_t explore;     /* percent */
    int64_t price_cap;
    uint64_t sticky_us;
    bool no_training;
    listing listings[LISTINGS];
    sticky *table; /* sets of STICKY_WAYS; in a set the one not used for longest goes */
};

/* Why somebody is left out, in the order in which it is told when nobody is left. */
typedef enum plan_filter {
    FILTER_NONE,
    FILTER_CONTEXT,
    FILTER_TOOLS,
    FILTER_IMAGES,
    FILTER_AUDIO,
    FILTER_FILES,
    FILTER_SCHEMA,
    FILTER_KIND,   /* an embedding model for a chat, or the other way round */
    FILTER_FORMAT, /* the endpoint is not there in the provider's format */
    FILTER_PRICE,
    FILTER_PRICE_UNKNOWN,
    FILTER_POLICY,
    FILTER_ALLOWED,
    FILTER_OUTAGE,
    FILTERS
} plan_filter;
extern const char *const plan_filter_words[FILTERS];

typedef struct planning {
    planner *p;
    const plan_ask *ask;
    llm_features features;
    arena *a;
    plan *plan;
    sv_error *err;
    sv_str allowed_as; /* the alias or name by which what is looked at was asked for */
    uint32_t left_out[FILTERS];
    unsigned need;               /* MODEL_CAN_* that the request wants */
    int64_t prompt, answer_most; /* tokens: estimate, and the most an answer may have */
    int64_t answers;
    int64_t cap;
    uint64_t stays_with; /* hash of where the conversation was, or 0 */
} planning;

/* plan_rules.c */
int plan_read_settings(planner *p, const config *c, sv_error *err);
void plan_prepare(planning *g);
/* What everybody has to pass: rights, policy, price. */
plan_filter plan_rights(const planning *g, const provider *p, const model_info *info, sv_str name);
/* What the model can; for all that the client did not name himself. */
plan_filter plan_abilities(const planning *g, const model_info *info);
bool plan_is_open(const planning *g, const provider *p, sv_str name);
bool plan_fits_origin(const planning *g, const provider *p);
int plan_nobody(const planning *g);
/* Those that are called at once must not cost more together than is allowed. */
int plan_together(const planning *g);
void plan_saw(planning *g, const provider *p, sv_str name, plan_filter why, const plan_seen *parts);
uint64_t plan_where(const char *who, sv_str name);

/* plan_auto.c */
int plan_auto(planning *g, bool has_task, model_task task);
void plan_forget_listings(planner *p);

/* plan.c: adds a candidate unless it is there. 0 or SV_E_NO_MEMORY. */
int plan_add(planning *g, provider *p, sv_str name, const model_info *info, const char *why,
             float score);

#endif
