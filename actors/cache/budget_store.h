/*  budget_store.h - budgets (budget_core.h) in the cache process: the methods, and what is kept of
 *  them on disk, written at most BUDGET_WAIT_MS after it came, one write at a time.
 *
 *  A write that fails is tried again with all that has come since. Budgets belong to one instance of
 *  the cache, the first: what is on its disk must not depend on how many there are. The others refuse.
 *
 *  Thread: the loop's.   Ownership: budgets_stop hands what still waits to the store, which writes it
 *  before it closes.
 *  Errors: those of budget_core.h; SV_E_STORE_IO while the store is away; SV_E_NO_SERVICE on another
 *  instance. */
#ifndef CACHE_BUDGET_STORE_H
#define CACHE_BUDGET_STORE_H

#include "samovar.h"

enum { BUDGET_WAIT_MS = 20 };

typedef struct budget_owner budget_owner;

extern const store_table cache_budget_counters, cache_budget_clients, cache_budget_marks;

int budgets_start(sv_process *p, budget_owner **ret, sv_error *err);
void budgets_tick(budget_owner *o);
void budgets_stop(budget_owner *o);

/* The owner of a process is found by cache.h. */
sv_handler cache_budget_reserve, cache_budget_settle, cache_budget_look;

#endif
