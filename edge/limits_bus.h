/*  limits_bus.h - rate_limits.h on the bus: the owner of a counter is asked with cache.limit_take, the
 *  counter's name as partition key, and has LIMITS_ASK_MS for its answer.
 *  Thread: the loop's.   Ownership: `limits` belongs to the struct.
 *  Errors: SV_E_NO_MEMORY. */
#ifndef EDGE_LIMITS_BUS_H
#define EDGE_LIMITS_BUS_H

#include "rate_limits.h"
#include "samovar.h"

enum { LIMITS_ASK_MS = 250 };

typedef struct limits_bus limits_bus;

/* With the settings of the process. */
int limits_bus_open(sv_process *p, limits_bus **ret, sv_error *err);
limits *limits_bus_limits(limits_bus *b);
/* No wait may be pending. `bus_gone`: the process has left the bus, its streams are gone without
 * `done`. NULL is allowed. */
void limits_bus_close(limits_bus *b, bool bus_gone);

#endif
