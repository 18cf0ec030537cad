/*  pids.h - the CPU time that named processes use between two moments, for the line of a result.
 *  Thread: one.   Ownership: one list for the tool.   Limits: PIDS_MOST processes.
 *  Errors: a list that cannot be read ends the tool with a message. */
#ifndef KIT_PIDS_H
#define KIT_PIDS_H

#include <stdint.h>

enum { PIDS_MOST = 8 };

/* NAME=PID,NAME=PID; NULL: none. */
void pids_parse(const char *text);
void pids_begin(void);
void pids_end(void);
/* ,"cpu_us_NAME":... for each and ,"cpu_us_total":..., divided by `answers`; nothing without a list. */
void pids_print(uint64_t answers);

#endif
