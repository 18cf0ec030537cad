/*  budget_rules.h - which budgets limit a request: the router's copy of the definitions.
 *
 *  Of each level (platform, org, user), kind (org, user, key) and model (and of those without one) the
 *  most special one holds: the one that names the subject, then the one for each in the organization,
 *  then the one for each in all organizations. All that are found limit the request at the same time.
 *
 *  Thread: one owner.   Ownership: rules are borrowed until the next change.
 *  Cost: two look-ups for an organization without budgets where the platform has none for each.
 *  Limits: BUDGET_RULES of them for one request.   Errors: SV_E_NO_MEMORY; a definition that cannot be
 *  read is logged and left out. */
#ifndef ROUTER_BUDGET_RULES_H
#define ROUTER_BUDGET_RULES_H

#include "message.h"

enum {
    BUDGET_SHARES = 49, /* names of models in one request */
    BUDGET_RULES = 9 * (1 + BUDGET_SHARES)
};

typedef struct budget_rule budget_rule;
typedef struct budget_rules budget_rules;

typedef struct budget_caps {
    int64_t day, month, total, minute_requests, minute_tokens; /* 0: not limited */
} budget_caps;

/* The part of a model, by one of its names: the most that it may be, or what it was. */
typedef struct budget_share {
    sv_str model;
    int64_t micro, tokens;
    bool called; /* what it was: a provider was asked */
} budget_share;

typedef struct budget_who {
    sv_str org, user, key;
    const budget_share *shares; /* models that may answer, each name once */
    uint32_t n_shares;
} budget_who;

typedef struct budget_found {
    const budget_rule *rules[BUDGET_RULES];
    int8_t shares[BUDGET_RULES]; /* which of the shares a rule is about; -1: all models */
    uint32_t n;
} budget_found;

budget_rules *budget_rules_new(void);
void budget_rules_free(budget_rules *r);
void budget_rules_clear(budget_rules *r);
/* An item of the feed of the kind budget. */
void budget_rules_take(budget_rules *r, const auth_feed_item *item);

void budget_rules_find(const budget_rules *r, const budget_who *who, budget_found *ret);
/* There are some about a model. */
bool budget_rules_by_model(const budget_rules *r);
const budget_caps *budget_rule_caps(const budget_rule *rule);
/* The counter's name for the caller; `ret` has BUDGET_NAME + 1 bytes. Answers its length. */
uint32_t budget_rule_counter(const budget_rule *rule, const budget_who *who, char *ret);

#endif
