/*  cache_rows.h - the rows that the cache actor keeps, declared in rows.def.
 *  Thread: any.   Ownership: as of messages. */
#ifndef CACHE_CACHE_ROWS_H
#define CACHE_CACHE_ROWS_H

#include "message.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

extern const sv_message budget_counter_row_msg, budget_client_row_msg, budget_mark_row_msg;

#endif
