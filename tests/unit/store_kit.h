/*  store_kit.h - a real store in a folder of its own, with a clock that a test sets, for the tests of
 *  actors. Failures abort. Include once. */
#ifndef STORE_KIT_H
#define STORE_KIT_H

#include "error.h"
#include "seal.h"
#include "store.h"
#include "uuid.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KIT_NOW_MS 1900000000000ull
enum { KIT_MEMORY_BYTES = 16 << 20 };

static store *kit_store;
static const store_schema *kit_schema;
static seal_key *kit_root;
static char kit_folder[64];
static _Atomic uint64_t kit_now_ms; /* read by the writer, too */
static sv_error kit_error;          /* of the last operation */

static pthread_mutex_t kit_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kit_changed = PTHREAD_COND_INITIALIZER;
static uint32_t kit_finished;

static inline void kit_on_finished(void *arg, store_op *list)
{
    (void)arg;
    pthread_mutex_lock(&kit_mutex);
    for (; list; list = list->next)
        kit_finished++;
    pthread_cond_signal(&kit_changed);
    pthread_mutex_unlock(&kit_mutex);
}

static inline void kit_on_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg, (void)level, (void)what, (void)detail;
}

static inline uint64_t kit_clock(void)
{
    return kit_now_ms;
}

static inline void kit_open(void)
{
    store_spec spec = {.schema = kit_schema,
                       .folder = kit_folder,
                       .map_bytes = 1 << 30,
                       .root = kit_root,
                       .finished = kit_on_finished,
                       .event = kit_on_event,
                       .unix_ms = kit_clock};
    kit_error = (sv_error){.code = 0};
    if (store_open(&spec, &kit_store, &kit_error)) {
        fprintf(stderr, "store_open: %s %s\n", kit_error.message, kit_error.detail);
        abort();
    }
}

static inline void kit_make(const store_schema *schema, uint64_t now_ms)
{
    kit_schema = schema;
    kit_now_ms = now_ms;
    snprintf(kit_folder, sizeof kit_folder, "/tmp/%s_test_XXXXXX", schema->service);
    if (mkdtemp(kit_folder) == NULL) abort();
    kit_root = seal_key_new();
    kit_open();
}

/* The same data, as after a crash: nothing is in memory any more. */
static inline void kit_again(void)
{
    store_close(kit_store);
    kit_open();
}

static inline void kit_remove(void)
{
    char command[96];
    store_close(kit_store);
    seal_key_free(kit_root);
    snprintf(command, sizeof command, "rm -rf %s", kit_folder);
    if (system(command)) abort();
}

/* Writes at the same moment: `in` and `out` are arrays of items of these sizes. */
static inline void kit_write_all(store_fn *fn, const void *in, size_t in_size, void *out,
                                 size_t out_size, uint32_t n, int *ret_codes)
{
    store_op *ops = calloc(n, sizeof *ops);
    arena *memory = calloc(n, sizeof *memory);
    if (ops == NULL || memory == NULL) abort();
    kit_finished = 0;
    for (uint32_t i = 0; i < n; i++) {
        arena_init(&memory[i], KIT_MEMORY_BYTES);
        ops[i] = (store_op){.fn = fn,
                            .in = in ? (const char *)in + i * in_size : NULL,
                            .out = out ? (char *)out + i * out_size : NULL,
                            .arena = &memory[i],
                            .owner = "test"};
        if (store_submit(kit_store, &ops[i])) abort();
    }
    pthread_mutex_lock(&kit_mutex);
    while (kit_finished < n)
        pthread_cond_wait(&kit_changed, &kit_mutex);
    pthread_mutex_unlock(&kit_mutex);
    for (uint32_t i = 0; i < n; i++) {
        ret_codes[i] = ops[i].code;
        kit_error = ops[i].error;
        arena_free(&memory[i]);
    }
    free(ops);
    free(memory);
}

static inline int kit_write(store_fn *fn, const void *in, void *out)
{
    int code;
    kit_write_all(fn, in, 0, out, 0, 1, &code);
    return code;
}

static inline int kit_read(store_fn *fn, const void *in, void *out, arena *a)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = a, .owner = "test"};
    int rc = store_view(kit_store, &op);
    kit_error = op.error;
    return rc;
}

/* The same, of what leaves nothing in the arena. */
static inline int kit_peek(store_fn *fn, const void *in, void *out)
{
    arena a;
    arena_init(&a, KIT_MEMORY_BYTES);
    int rc = kit_read(fn, in, out, &a);
    arena_free(&a);
    return rc;
}

static inline void kit_id(char ret[UUID_TEXT + 1])
{
    sv_id id = uuid_new();
    uuid_format(&id, ret);
}

#endif
