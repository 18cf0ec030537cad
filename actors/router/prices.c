/*  prices.c - a sorted array; sums in 128 bits: three products of 53 and 40 bits. */
#include "prices.h"

#include "error.h"

#include <stdio.h>
#include <stdlib.h>

static const char list_key[] = "router.prices";

enum { LIST_BYTES = 1 << 20, PER_TOKENS = 1000000, NAME_MOST = 512 };

static int by_model(const void *a, const void *b)
{
    return strcmp(((const price *)a)->model, ((const price *)b)->model);
}

static int read_item(price_list *l, const config *c, uint32_t i, sv_error *err)
{
    price *p = &l->items[i];
    p->model = arena_copy(&l->mem, sv_cstr(config_item_str(c, list_key, i, "model")));
    if (p->model == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    p->place = i;
    p->input = config_item_int(c, list_key, i, "input");
    p->output = config_item_int(c, list_key, i, "output");
    p->cached = config_item_has(c, list_key, i, "cached")
                    ? config_item_int(c, list_key, i, "cached")
                    : p->input;
    return 0;
}

int price_list_load(price_list *l, const config *c, sv_error *err)
{
    uint32_t n = config_items(c, list_key);
    int rc = 0;
    *l = (price_list){.n = n};
    arena_init(&l->mem, LIST_BYTES);
    if (n && (l->items = arena_alloc(&l->mem, n * sizeof *l->items)) == NULL)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = read_item(l, c, i, err);
    if (rc == 0 && n) qsort(l->items, n, sizeof *l->items, by_model);
    for (uint32_t i = 1; rc == 0 && i < n; i++) {
        const price *a = &l->items[i - 1], *b = &l->items[i];
        if (strcmp(a->model, b->model) != 0) continue;
        rc =
            sv_fail(err, SV_E_CONFIG, list_key,
                    "%s: key %s[%u].model: \"%s\" has a price already in %s[%u]",
                    config_source(c, list_key), list_key, a->place > b->place ? a->place : b->place,
                    a->model, list_key, a->place < b->place ? a->place : b->place);
    }
    if (rc) price_list_free(l);
    return rc;
}

void price_list_free(price_list *l)
{
    arena_free(&l->mem);
    *l = (price_list){0};
}

const price *price_find(const price_list *l, const char *provider, const char *model)
{
    char name[NAME_MOST];
    if (l->n == 0) return NULL;
    int n = snprintf(name, sizeof name, "%s/%s", provider, model);
    price wanted = {.model = name};
    const price *p = NULL;
    if (n < NAME_MOST) p = bsearch(&wanted, l->items, l->n, sizeof *l->items, by_model);
    wanted.model = model;
    return p ? p : bsearch(&wanted, l->items, l->n, sizeof *l->items, by_model);
}

int64_t price_of(const price *p, const tokens *t)
{
    static const int64_t most = 9007199254740991;
    int64_t cached = t->cached < t->prompt ? t->cached : t->prompt;
    __int128 sum = (__int128)(t->prompt - cached) * p->input + (__int128)cached * p->cached +
                   (__int128)t->completion * p->output;
    sum = (sum + PER_TOKENS - 1) / PER_TOKENS;
    return sum > most ? most : (int64_t)sum;
}
