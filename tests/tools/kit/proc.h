/*  proc.h - what a process used, and starting and ending children.
 *  CPU comes from /proc/PID/task/TID/schedstat in nanoseconds; the ticks of /proc/PID/stat are
 *  10 ms.
 *  Thread: any.   Errors: 0 for a process that is gone.
 *  Limits: threads that ended before a reading are missing from it; none of the measured
 *  processes ends threads under load. */
#ifndef KIT_PROC_H
#define KIT_PROC_H

#include <stdint.h>
#include <sys/types.h>

uint64_t proc_cpu_ns(pid_t pid);
/* Starts argv[0] (found by PATH) in a process that dies with this one. `keep_fd` >= 0 stays open in
 * it. `environment` holds NAME=VALUE entries to add, NULL-ended, or is NULL. Ends the tool on
 * failure. */
pid_t proc_start(char *const argv[], char *const environment[], int keep_fd);
/* SIGTERM, then SIGKILL after `grace_ms`; reaps it and answers its wait status. */
int proc_stop(pid_t pid, int grace_ms);
/* Makes the calling process die with its parent. */
void proc_die_with_parent(void);

#endif
