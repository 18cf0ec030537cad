/*  restart.c - a ring of the times of the last `most` restarts: the budget is spent when the ring
 *  is full and its oldest entry is still inside the window. */
#include "restart.h"

#include "error.h"

#include <stdlib.h>

int restart_init(restart *r, uint32_t most, uint64_t window_us, uint64_t longest_us)
{
    *r = (restart){.most = most, .window_us = window_us, .longest_us = longest_us};
    if (most == 0) return 0;
    r->at_us = calloc(most, sizeof *r->at_us);
    return r->at_us ? 0 : SV_E_NO_MEMORY;
}

void restart_free(restart *r)
{
    free(r->at_us);
    *r = (restart){.most = 0};
}

int restart_next(restart *r, uint64_t now_us, uint64_t up_us, uint32_t dice, uint64_t *ret_pause_us)
{
    if (r->most == 0) return SV_E_UNAVAILABLE;
    if (up_us >= RESTART_STABLE_US) r->step = 0;
    uint32_t oldest = r->n < r->most ? 0 : r->head;
    if (r->n == r->most && now_us - r->at_us[oldest] <= r->window_us) return SV_E_UNAVAILABLE;
    r->at_us[r->head] = now_us;
    r->head = (r->head + 1) % r->most;
    if (r->n < r->most) r->n++;

    uint64_t pause_us = 0;
    if (r->step > 0) {
        uint32_t doublings = r->step - 1 < 20 ? r->step - 1 : 20;
        pause_us = (uint64_t)RESTART_FIRST_US << doublings;
        pause_us = pause_us * 3 / 4 + pause_us / 2 * (dice % 1024) / 1024; /* 75 to 125 % */
        if (pause_us > r->longest_us) pause_us = r->longest_us;
    }
    r->step++;
    *ret_pause_us = pause_us;
    return 0;
}
