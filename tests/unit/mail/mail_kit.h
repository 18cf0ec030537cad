/*  mail_kit.h - a real outbox in a folder of its own, with a clock that a test sets. Include once. */
#ifndef MAIL_KIT_H
#define MAIL_KIT_H

#include "error.h"
#include "outbox.h"
#include "seal.h"
#include "uuid.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static store *kit_store;
static seal_key *kit_root;
static char kit_folder[64];
static uint64_t kit_now_ms;

static pthread_mutex_t kit_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kit_changed = PTHREAD_COND_INITIALIZER;
static bool kit_done;

static void kit_on_finished(void *arg, store_op *list)
{
    (void)arg, (void)list;
    pthread_mutex_lock(&kit_mutex);
    kit_done = true;
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
    sv_error err = {.code = 0};
    store_spec spec = {.schema = &outbox_schema,
                       .folder = kit_folder,
                       .map_bytes = 1 << 30,
                       .root = kit_root,
                       .finished = kit_on_finished,
                       .event = kit_on_event,
                       .unix_ms = kit_clock};
    if (store_open(&spec, &kit_store, &err)) {
        fprintf(stderr, "store_open: %s %s\n", err.message, err.detail);
        abort();
    }
}

static inline void kit_start(void)
{
    kit_now_ms = 1900000000000;
    snprintf(kit_folder, sizeof kit_folder, "/tmp/mail_test_XXXXXX");
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

static inline void kit_stop(void)
{
    char command[96];
    store_close(kit_store);
    seal_key_free(kit_root);
    snprintf(command, sizeof command, "rm -rf %s", kit_folder);
    if (system(command)) abort();
}

static inline int kit_write(store_fn *fn, const void *in, void *out)
{
    arena a;
    arena_init(&a, 4 << 20);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "test"};
    kit_done = false;
    if (store_submit(kit_store, &op)) abort();
    pthread_mutex_lock(&kit_mutex);
    while (!kit_done)
        pthread_cond_wait(&kit_changed, &kit_mutex);
    pthread_mutex_unlock(&kit_mutex);
    arena_free(&a);
    return op.code;
}

static inline int kit_read(store_fn *fn, const void *in, void *out)
{
    arena a;
    arena_init(&a, 4 << 20);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "test"};
    int rc = store_view(kit_store, &op);
    arena_free(&a);
    return rc;
}

static inline outbox_mail kit_mail(const char *state)
{
    outbox_mail m = {.to = "anna@example.org",
                     .template = "reset_password",
                     .locale = "en",
                     .link = "https://example.org/reset?token=abc",
                     .name = "Anna"};
    sv_id id = uuid_new();
    uuid_format(&id, m.id);
    snprintf(m.state, sizeof m.state, "%s", state);
    return m;
}

#endif
