/*  process_stat.h - what /proc tells about a process of ours.
 *  Thread: any.   Errors: zeros for a process that is gone or not ours. */
#ifndef CLI_PROCESS_STAT_H
#define CLI_PROCESS_STAT_H

#include "sv_types.h"

typedef struct process_stat {
    uint64_t cpu_ns; /* of all its threads */
    uint64_t rss_bytes;
} process_stat;

process_stat process_stat_read(uint32_t pid);

#endif
