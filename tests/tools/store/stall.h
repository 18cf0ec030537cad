/*  stall.h - how late a timer of 1 ms comes on the runtime's loop, while nothing else happens and
 *  while the same loop has a store write and tells its callers. */
#ifndef BENCH_STALL_H
#define BENCH_STALL_H

#include "driver.h"

/* d NULL: an idle loop. Leaves no write waiting. */
void stall_measure(driver *d, double seconds, hist *late_us);

#endif
