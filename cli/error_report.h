/*  error_report.h - errors of the platform's processes, sent to a Sentry-compatible service.
 *
 *  Every line of severity error that a process writes becomes an event, also those about processes
 *  that died. An event has the line's fixed words, the service, its instance, the error's code and
 *  the release: nothing that a user said, sent or is called, no addresses, no ids. The same words
 *  are told once in REPORT_SAME_MS; at most REPORT_MINUTE events go out in a minute, the rest is
 *  counted and told with the next one. What cannot be delivered is dropped: the log has it.
 *
 *  Thread: the loop's.   Ownership: DSN and lines are copied.   Limits: REPORT_WAITING events.
 *  Errors: SV_E_CONFIG for a DSN that is none. */
#ifndef CLI_ERROR_REPORT_H
#define CLI_ERROR_REPORT_H

#include "loop.h"

enum { REPORT_MINUTE = 10, REPORT_WAITING = 16, REPORT_SAME_MS = 600000 };

typedef struct error_report error_report;

/* DSN: https://PUBLIC_KEY@HOST[:PORT][/path]/PROJECT. */
int error_report_new(loop *l, const char *dsn, error_report **ret, sv_error *err);
/* NULL is allowed. What is on its way is given up. */
void error_report_free(error_report *r);
/* A line of a process's log, JSON. Lines of other severities are passed over. NULL is allowed. */
void error_report_line(error_report *r, sv_str line);

#endif
