/*  prices.h - what models cost, in whole micro-units of one currency.
 *  Thread: the loop's.   Ownership: the list copies what it reads from the configuration.
 *  Errors: SV_E_CONFIG with the place, SV_E_NO_MEMORY. */
#ifndef ROUTER_PRICES_H
#define ROUTER_PRICES_H

#include "arena.h"
#include "config.h"
#include "tokens.h"

/* Micro-units per million tokens. */
typedef struct price {
    const char *model; /* as configured: with or without its provider in front */
    int64_t input, output, cached;
    uint32_t place; /* in router.prices, for messages */
} price;

typedef struct price_list {
    price *items; /* sorted by model */
    uint32_t n;
    arena mem;
} price_list;

/* Reads router.prices. Zero is a valid empty list. */
int price_list_load(price_list *l, const config *c, sv_error *err);
void price_list_free(price_list *l);
/* The price of a provider's model: an entry PROVIDER/MODEL, else MODEL, else NULL. */
const price *price_find(const price_list *l, const char *provider, const char *model);
/* What these tokens cost, rounded up to a whole micro-unit; at most 2^53 - 1. Cached tokens lie
 * inside prompt tokens and reasoning tokens inside completion tokens: those are no extra. */
int64_t price_of(const price *p, const tokens *t);

#endif
