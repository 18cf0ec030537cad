/*  ledger_kit.h - a real store in a folder of its own, with a clock that a test sets, and attempts
 *  made of a few words. Include once. */
#ifndef LEDGER_KIT_H
#define LEDGER_KIT_H

#include "error.h"
#include "ledger_store.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static store *kit_store;
static char kit_folder[64];
static uint64_t kit_now_ms;

static pthread_mutex_t kit_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kit_changed = PTHREAD_COND_INITIALIZER;
static store_op *kit_finished;

static void kit_on_finished(void *arg, store_op *list)
{
    (void)arg;
    pthread_mutex_lock(&kit_mutex);
    kit_finished = list;
    pthread_cond_signal(&kit_changed);
    pthread_mutex_unlock(&kit_mutex);
}

static void kit_on_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg, (void)level, (void)what, (void)detail;
}

static uint64_t kit_clock(void)
{
    return kit_now_ms;
}

static inline void kit_open(void)
{
    sv_error err = {0};
    store_spec spec = {.schema = &ledger_schema,
                       .folder = kit_folder,
                       .map_bytes = 1 << 30,
                       .finished = kit_on_finished,
                       .event = kit_on_event,
                       .unix_ms = kit_clock};
    if (store_open(&spec, &kit_store, &err)) {
        fprintf(stderr, "store_open: %s %s\n", err.message, err.detail);
        abort();
    }
}

static inline void kit_start(uint64_t now_ms)
{
    kit_now_ms = now_ms;
    snprintf(kit_folder, sizeof kit_folder, "/tmp/ledger_test_XXXXXX");
    if (mkdtemp(kit_folder) == NULL) abort();
    kit_open();
}

static inline void kit_stop(void)
{
    char command[96];
    store_close(kit_store);
    snprintf(command, sizeof command, "rm -rf %s", kit_folder);
    if (system(command)) abort();
}

/* A write, and waits for its commit. */
static inline int kit_write(store_fn *fn, const void *in, void *out)
{
    arena a;
    arena_init(&a, 16 << 20);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "test"};
    kit_finished = NULL;
    int rc = store_submit(kit_store, &op);
    pthread_mutex_lock(&kit_mutex);
    while (rc == 0 && kit_finished == NULL)
        pthread_cond_wait(&kit_changed, &kit_mutex);
    pthread_mutex_unlock(&kit_mutex);
    arena_free(&a);
    return rc ? rc : op.code;
}

static inline int kit_read(store_fn *fn, const void *in, void *out, arena *a)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = a, .owner = "test"};
    return store_view(kit_store, &op);
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
