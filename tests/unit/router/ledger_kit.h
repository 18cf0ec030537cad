/*  ledger_kit.h - a real store in a folder of its own, with a clock that a test sets, and attempts
 *  made of a few words. Include once. */
#ifndef LEDGER_KIT_H
#define LEDGER_KIT_H

#include "../store_kit.h"
#include "ledger_store.h"

#include <assert.h>

static inline void kit_start(uint64_t now_ms)
{
    kit_make(&ledger_schema, now_ms);
}

static inline void kit_stop(void)
{
    kit_remove();
}

/* An attempt at a moment; `serial` makes its id. Text is borrowed. */
static inline ledger_item *kit_item(uint64_t ms, uint32_t serial, const char *model,
                                    const char *org)
{
    ledger_item *i = calloc(1, sizeof *i + 16);
    assert(i);
    for (int k = 0; k < 6; k++)
        i->text[k] = (char)(ms >> (40 - 8 * k));
    for (int k = 0; k < 4; k++)
        i->text[8 + k] = (char)(serial >> (24 - 8 * k));
    i->row = (ledger_row){.attempt = {i->text, 16},
                          .started = (int64_t)ms,
                          .model = sv_cstr(model),
                          .provider = {"p", 1},
                          .org = sv_cstr(org),
                          .listed = true,
                          .outcome = {"ok", 2},
                          .usage_known = true,
                          .price_known = true,
                          .prompt_tokens = 10,
                          .completion_tokens = 5,
                          .cached_tokens = 2,
                          .reasoning_tokens = 1,
                          .price = 7,
                          .latency_us = 1000,
                          .first_token_us = 100};
    return i;
}

/* Writes a batch and answers how many were new. The items stay the caller's. */
static inline uint32_t kit_put(ledger_item *const *items, uint32_t n, int64_t keep_days)
{
    uint32_t added = UINT32_MAX;
    for (uint32_t i = 0; i + 1 < n; i++)
        items[i]->next = items[i + 1];
    ledger_batch b = {items[0], n, keep_days};
    int rc = kit_write(ledger_write, &b, &added);
    if (rc) fprintf(stderr, "kit_put: %d\n", rc);
    return rc ? UINT32_MAX : added;
}

static inline uint32_t kit_put_one(uint64_t ms, uint32_t serial, const char *model, const char *org)
{
    ledger_item *i = kit_item(ms, serial, model, org);
    uint32_t added = kit_put(&i, 1, 90);
    free(i);
    return added;
}

#endif
