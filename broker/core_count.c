/*  core_count.c - what the driver dropped before the core could see it, counted where people look.
 */
#include "core_state.h"

void core_count_dropped(core *c, uint64_t malformed, uint64_t unknown)
{
    c->stats.dropped_malformed += malformed;
    c->stats.dropped_unknown += unknown;
}
