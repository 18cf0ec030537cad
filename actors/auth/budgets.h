/*  budgets.h - definitions of budgets and limits: who may spend how much, in which time.
 *
 *  A budget is of a level (platform, org, user: who has set it), of an organization or of each ("*", of
 *  the level platform alone), and limits the organization, a user in it or an API key of it, or each
 *  that has no other of that level ("*"), for one model or all. Those of all levels hold at the same
 *  time, so that nobody gets more than somebody above him has allowed. Administrators of the platform
 *  set those of its level, administrators of an organization those of theirs, users those of their own
 *  keys. Routers get them by the feed (feed.h, kind budget).
 *
 *  Thread: store_fns, and fibers of the loop.   Limits: BUDGETS_MOST of one organization.
 *  Errors: SV_E_NOT_FOUND, SV_E_ROLE, SV_E_INVALID, SV_E_QUOTA, those of the store. */
#ifndef AUTH_BUDGETS_H
#define AUTH_BUDGETS_H

#include "caller.h"

enum { BUDGETS_MOST = 5000, BUDGETS_LOOK = 128 };

extern const sv_message budget_row_msg;
extern const store_table auth_budgets_table;

typedef struct budget_act {
    auth_caller who;
    const auth_budget_set_req *set;
    const char *level;     /* of `set`, when it says one */
    char org[AUTH_ID + 1]; /* of `set`, and of a list */
    char id[AUTH_ID + 1];  /* of one that is there, or for a new one */
    sv_str after;          /* of a list */
} budget_act;

/* Writes. in: budget_act, out: auth_budget. */
int budget_set(store_tx *tx, const void *in, void *out);
int budget_remove(store_tx *tx, const void *in, void *out);
/* Reads. out: auth_budget; auth_budgets_reply. */
int budget_one(store_tx *tx, const void *in, void *out);
int budget_some(store_tx *tx, const void *in, void *out);

/* In a write: the budgets of somebody who is no more; `kind` NULL: all of the organization.
 * `left` (NULL: all): at most so many, and what is left of that number. */
int budgets_drop(store_tx *tx, sv_str org, const char *kind, sv_str subject, uint32_t *left);

/* On a fiber: what up to BUDGETS_LOOK counters say now, in the order of their names. NULL: their owner
 * does not answer. */
cache_budget_used *budgets_look(sv_call *call, const sv_str *names, uint32_t n);

sv_handler auth_budget_set, auth_budget_delete, auth_budget_one, auth_budgets_list;

#endif
