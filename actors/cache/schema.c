/*  schema.c - the tables of the cache actor. */
#include "answers_store.h"
#include "budget_store.h"
#include "cache.h"
#include "cache_rows.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

static const store_table *const tables[] = {&cache_budget_counters, &cache_budget_clients,
                                            &cache_budget_marks, &cache_answers};

/* On a full disk budgets are still counted. */
const store_schema cache_schema = {.service = "cache",
                                   .version = 1,
                                   .tables = tables,
                                   .n_tables = sizeof tables / sizeof *tables,
                                   .room_bytes = 4 << 20};
