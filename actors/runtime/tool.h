/*  tool.h - a short-lived process on the bus: the CLI and tests.
 *  It is a caller without methods; over the local socket its name is "operator".
 *  Thread: the caller's; the loop runs only inside sv_tool_wait.   Errors: as in samovar.h. */
#ifndef SV_TOOL_H
#define SV_TOOL_H

#include "samovar.h"

/* Connects; does not wait for WELCOME (sv_connected tells). `name` NULL: "operator". The config is
 * borrowed and must outlive the process. */
sv_process *sv_tool_start(const config *c, const char *name, sv_error *err);
/* Runs the loop until until(arg) is true: 0, or SV_E_DEADLINE after `ms`. */
int sv_tool_wait(sv_process *p, bool (*until)(void *arg), void *arg, uint32_t ms);
void sv_tool_stop(sv_process *p);

#endif
