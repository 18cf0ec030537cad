/*  restart.h - when a process that ended is started again, and when to give up.
 *  The first restart is immediate, then the pause doubles from 0.2 s to the longest one, with jitter so
 *  that many children do not come back in step. A child that stayed up for 60 s starts over. More than
 *  `most` restarts within `window_us`: give up.
 *  Thread: any; time and dice are parameters.
 *
 *  Ownership: restart_init/restart_free. */
#ifndef CLI_RESTART_H
#define CLI_RESTART_H

#include "sv_types.h"

enum { RESTART_STABLE_US = 60000000, RESTART_FIRST_US = 200000 };

typedef struct restart {
    uint64_t *at_us; /* ring of the last `most` restarts */
    uint32_t most, n, head;
    uint64_t window_us, longest_us;
    uint32_t step; /* restarts since it was last stable */
} restart;

int restart_init(restart *r, uint32_t most, uint64_t window_us, uint64_t longest_us);
void restart_free(restart *r);
/* The child ended at `now_us` after `up_us`. `dice` is any random number. 0 and the pause until the
 * next start, or SV_E_UNAVAILABLE: give up. */
int restart_next(restart *r, uint64_t now_us, uint64_t up_us, uint32_t dice,
                 uint64_t *ret_pause_us);

#endif
