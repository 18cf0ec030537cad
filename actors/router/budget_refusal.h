/*  budget_refusal.h - what a request that a budget refuses is told.
 *  Thread: any.   Ownership: none.   Errors: each answers its error, with words in `err` (may be NULL). */
#ifndef ROUTER_BUDGET_REFUSAL_H
#define ROUTER_BUDGET_REFUSAL_H

#include "sv_types.h"

/* `counter`: its name; `period`: day, month or total; `until`: Unix ms when it ends, 0: never.
 * SV_E_BUDGET; of a provider SV_E_PROVIDER_LIMIT. */
int budget_refuse_money(sv_str counter, const char *period, int64_t until, int64_t now_ms,
                        sv_error *err);
/* Too many tokens or requests in this minute; `wait_ms` until there is room. SV_E_LIMIT_TOKENS; of a
 * provider SV_E_PROVIDER_LIMIT. */
int budget_refuse_minute(sv_str counter, bool tokens, uint32_t wait_ms, sv_error *err);
/* Money is limited and nobody knows what the model costs. SV_E_BUDGET. */
int budget_refuse_unpriced(sv_str counter, sv_error *err);
/* Nobody says whether it may pass. SV_E_UNAVAILABLE. */
int budget_unknown(sv_error *err);

#endif
