/*  tally.c - open addressing, half full at most; nothing is ever removed. */
#include "tally.h"

#include "fnv.h"

#include <stdlib.h>

void tally_init(tally *t)
{
    memset(t, 0, sizeof *t);
}

void tally_free(tally *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        free(t->rows[i].org);
        free(t->rows[i].model);
    }
}

static uint32_t hash(sv_str a, sv_str b)
{
    uint64_t h = fnv_more(fnv_more(FNV_BASIS, a), b);
    return (uint32_t)(h ^ h >> 32);
}

static uint32_t models_of(const tally *t, sv_str org)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n; i++)
        n += sv_str_is(org, t->rows[i].org);
    return n;
}

static tally_row *row_of(tally *t, sv_str org, sv_str model)
{
    sv_str other = sv_cstr(TALLY_OTHER);
    uint32_t at = hash(org, model) % (2 * TALLY_MOST);
    while (t->slots[at]) {
        tally_row *r = &t->rows[t->slots[at] - 1];
        if (sv_str_is(org, r->org) && sv_str_is(model, r->model)) return r;
        at = (at + 1) % (2 * TALLY_MOST);
    }
    if (models_of(t, org) >= TALLY_ORG && !sv_str_eq(model, other)) return row_of(t, org, other);
    tally_row *r = &t->rows[t->n];
    char *o = t->n < TALLY_MOST ? strndup(org.n ? org.p : "", org.n) : NULL;
    char *m = o ? strndup(model.n ? model.p : "", model.n) : NULL;
    if (m == NULL) {
        free(o);
        return &t->rows[TALLY_MOST];
    }
    r->org = o;
    r->model = m;
    t->slots[at] = ++t->n;
    return r;
}

void tally_add(tally *t, sv_str org, sv_str model, tally_outcome o, int64_t tokens, int64_t price)
{
    tally_row *r = row_of(t, org, model);
    r->count[o]++;
    if (o == TALLY_MISS) return;
    r->tokens += tokens;
    r->price += price;
}
