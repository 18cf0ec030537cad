/*  driver.h - keeps as many writes waiting as there are callers, on one thread, as a process of the
 *  platform does: its loop submits, the rival's thread tells what is finished.
 *  Thread: one, except driver_done. */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include "hist.h"
#include "rival.h"

typedef struct driver driver;

/* Fills `op` with the next write; false: no more. */
typedef bool driver_next(void *arg, bench_op *op);

driver *driver_new(const rival *r, uint32_t callers, driver_next *next, void *arg);
void driver_free(driver *d);
/* What the rival calls: hand this and the driver to its `open`. */
void driver_done(void *driver, store_op *list);

/* For so many microseconds; 0: until `next` says that there are no more. Counts the rows answered
 * in that time, then waits for the other answers. */
typedef struct driver_result {
    uint64_t rows, took_us, cpu_us; /* cpu: of the whole process */
    hist latency;
} driver_result;
void driver_run(driver *d, uint64_t most_us, driver_result *ret);

/* The same from somebody else's loop: `fd` is readable when something is finished. */
int driver_fd(const driver *d);
void driver_start(driver *d);
/* Takes up to `most` answers and submits as many writes; what is left keeps `fd` readable. */
void driver_turn(driver *d, uint32_t most);
/* Submits no more. */
void driver_stop(driver *d);
uint32_t driver_waiting(const driver *d);
uint64_t driver_rows(const driver *d);

#endif
