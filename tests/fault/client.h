/*  client.h - a store with the plan's schema, and calls that wait for their answer, as an actor's fiber
 *  does. Thread: any thread may write and read; opening and closing is one's.
 *  Ownership: client_close frees.   Errors: the store's. */
#ifndef CLIENT_H
#define CLIENT_H

#include "plan.h"

#include <pthread.h>

typedef struct client {
    store *store;
    seal_key *root;
    const seal_key *given, *given_new; /* borrowed: instead of the plan's root key */
    const store_schema *schema;
    uint64_t (*clock)(void);
    pthread_mutex_t mutex; /* of all waiting calls */
    pthread_cond_t finished;
    char alarm[200]; /* the last that the store told an operator */
} client;

/* Zeroed but for what was chosen; schema and clock NULL: the plan's. */
int client_open(client *c, const char *folder, size_t map_bytes, sv_error *err);
void client_close(client *c);
/* Queues a write and waits until it is finished. */
int client_write(client *c, store_fn *fn, const void *in, void *out, sv_error *err);
int client_read(client *c, store_fn *fn, const void *in, void *out, sv_error *err);

#endif
