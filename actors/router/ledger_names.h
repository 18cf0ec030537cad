/*  ledger_names.h - which names of models may have sums of their own. Some providers take whatever a model is
 *  called, and a tenant's own ones list what he likes: such names are the client's, and sums stay for good.
 *  LEDGER_NAMES of them a day have their own for each organization, the rest are summed without a name.
 *
 *  Thread: one owner.   Ownership: names are remembered as hashes.
 *  Memory: 600 bytes for each of the last LEDGER_ORGS organizations that had such a name.
 *  Errors: SV_E_NO_MEMORY; without memory a name is one of the rest. */
#ifndef ROUTER_LEDGER_NAMES_H
#define ROUTER_LEDGER_NAMES_H

#include "recent.h"

#include <stdbool.h>

enum { LEDGER_NAMES = 64, LEDGER_ORGS = 4096 };

typedef struct ledger_names {
    recent orgs;
} ledger_names;

int ledger_names_init(ledger_names *n);
void ledger_names_free(ledger_names *n);
bool ledger_names_fit(ledger_names *n, int64_t day, sv_str org, sv_str provider, sv_str model);

#endif
