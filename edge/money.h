/*  money.h - money as people write it: whole units with up to six decimals, like 0.05.
 *  Thread: any.   Limits: MONEY_MOST units.   Errors: false, and *ret is as it was. */
#ifndef EDGE_MONEY_H
#define EDGE_MONEY_H

#include "sv_types.h"

enum { MONEY_MOST = 1000000 };

/* Into micro-units. No sign, no exponent, no blanks; a digit comes first. */
bool money_read(sv_str text, int64_t *ret);

#endif
