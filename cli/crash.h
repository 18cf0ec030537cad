/*  crash.h - what a process left behind when it ended badly: RUN/crash/SERVICE-N-TIME.log.
 *  Thread: the loop's.   Limits: the CRASH_KEEP newest reports stay. */
#ifndef CLI_CRASH_H
#define CLI_CRASH_H

#include "log_mux.h"

enum { CRASH_KEEP = 20, CRASH_LINES = 20 };

/* Writes how `name` ended and its last lines; `ret_path` gets the file's path, or "" when it could
 * not be written. */
void crash_report(const char *run, const char *name, const char *how, log_mux *mux, log_source *log,
                  uint64_t unix_us, char *ret_path, size_t size);

#endif
