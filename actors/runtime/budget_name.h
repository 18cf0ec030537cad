/*  budget_name.h - what the counter of a budget is called, by those who define budgets, spend and count.
 *  Thread: any.   Ownership: the text is the caller's.   Limits: ids of up to 36 bytes; a model is told
 *  by a hash, so that its name may be of any length.   Errors: none; longer ids are cut. */
#ifndef SV_BUDGET_NAME_H
#define SV_BUDGET_NAME_H

#include "sv_types.h"

enum { BUDGET_NAME = 120 };

/* LEVEL.KIND/ORG[/SUBJECT][/HASH]: level platform, org or user; kind org, user or key. Answers the
 * length. */
uint32_t budget_name(char ret[BUDGET_NAME + 1], const char *level, const char *kind, sv_str org,
                     sv_str subject, sv_str model);

/* own.provider/ORG/ID: of a provider with a key of somebody's own. Answers the length. */
uint32_t budget_name_provider(char ret[BUDGET_NAME + 1], sv_str org, sv_str id);
bool budget_name_is_provider(sv_str name);

#endif
