/*  ledger_names.c - a short list of hashes for each organization and day. */
#include "ledger_names.h"

#include "fnv.h"

typedef struct org_names {
    recent_item item; /* first */
    int64_t day;
    uint32_t n;
    uint64_t hashes[LEDGER_NAMES];
} org_names;

int ledger_names_init(ledger_names *n)
{
    return recent_init(&n->orgs, sizeof(org_names), LEDGER_ORGS);
}

void ledger_names_free(ledger_names *n)
{
    recent_free(&n->orgs);
}

/* The table's seed is secret: nobody chooses names that are taken for others. */
bool ledger_names_fit(ledger_names *n, int64_t day, sv_str org, sv_str provider, sv_str model)
{
    static const sv_str slash = {"/", 1}, nobody = {"", 0};
    if (org.n == 0) org = nobody;
    org_names *o = n->orgs.slots ? recent_get(&n->orgs, org) : NULL;
    if (o == NULL) return false;
    if (day > o->day) {
        o->day = day;
        o->n = 0;
    }
    uint64_t h = fnv_more(fnv_more(fnv_more(FNV_BASIS ^ n->orgs.seed, provider), slash), model);
    for (uint32_t i = 0; i < o->n; i++)
        if (o->hashes[i] == h) return true;
    if (o->n == LEDGER_NAMES) return false;
    o->hashes[o->n++] = h;
    return true;
}
