/*  fault_log.h - a log of the recorder read back.
 *  Thread: one.   Ownership: the log owns its bytes; events borrow them.
 *  Errors: a log that cannot be read or is not whole ends the program with a message. */
#ifndef FAULT_LOG_H
#define FAULT_LOG_H

#include "fault.h"

typedef struct fault_event {
    fault_record r;
    const char *bytes;
} fault_event;

typedef struct fault_log {
    char *bytes;
    fault_event *events;
    size_t n;
} fault_log;

void fault_log_read(fault_log *l, const char *path);
void fault_log_free(fault_log *l);

#endif
