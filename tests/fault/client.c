#include "client.h"
#include "error.h"

#include <stdio.h>
#include <string.h>

typedef struct call {
    store_op op; /* first: the store gives it back */
    bool done;
} call;

static void finished(void *arg, store_op *list)
{
    client *c = arg;
    pthread_mutex_lock(&c->mutex);
    while (list) {
        store_op *next = list->next;
        ((call *)list)->done = true;
        list = next;
    }
    pthread_cond_broadcast(&c->finished);
    pthread_mutex_unlock(&c->mutex);
}

static void event(void *arg, store_level level, const char *what, const char *detail)
{
    client *c = arg;
    if (level != STORE_ALARM) return;
    pthread_mutex_lock(&c->mutex);
    snprintf(c->alarm, sizeof c->alarm, "%s: %s", what, detail ? detail : "");
    pthread_mutex_unlock(&c->mutex);
}

int client_open(client *c, const char *folder, size_t map_bytes, sv_error *err)
{
    store_spec spec = {.schema = c->schema ? c->schema : &plan_schema,
                       .folder = folder,
                       .map_bytes = map_bytes,
                       .finished = finished,
                       .event = event,
                       .arg = c,
                       .unix_ms = c->clock ? c->clock : plan_clock};
    c->root = plan_root_key();
    if (!c->root) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    spec.root = c->given ? c->given : c->root;
    spec.root_new = c->given_new;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->finished, NULL);
    int rc = store_open(&spec, &c->store, err);
    if (rc == 0) return 0;
    seal_key_free(c->root);
    pthread_cond_destroy(&c->finished);
    pthread_mutex_destroy(&c->mutex);
    return rc;
}

void client_close(client *c)
{
    store_close(c->store);
    seal_key_free(c->root);
    pthread_cond_destroy(&c->finished);
    pthread_mutex_destroy(&c->mutex);
}

int client_write(client *c, store_fn *fn, const void *in, void *out, sv_error *err)
{
    arena a;
    call k = {.op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "client"}};
    arena_init(&a, 64 << 20);
    int rc = store_submit(c->store, &k.op);
    if (rc == 0) {
        pthread_mutex_lock(&c->mutex);
        while (!k.done)
            pthread_cond_wait(&c->finished, &c->mutex);
        pthread_mutex_unlock(&c->mutex);
        rc = k.op.code;
    }
    *err = k.op.error;
    arena_free(&a);
    return rc;
}

int client_read(client *c, store_fn *fn, const void *in, void *out, sv_error *err)
{
    arena a;
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "client"};
    arena_init(&a, 256 << 20);
    int rc = store_view(c->store, &op);
    *err = op.error;
    arena_free(&a);
    return rc;
}
