/*  upstreams.c - first fit over a fixed table. */
#include "upstreams.h"

#include "error.h"

#include <assert.h>

enum { CONNECTIONS_EACH = 65536 / UPSTREAM_CLIENTS }; /* router.slots at its maximum */

void upstreams_free(upstreams *u)
{
    for (uint32_t i = 0; i < UPSTREAM_CLIENTS; i++) {
        if (u->slots[i].client) http_client_free(u->slots[i].client);
        u->slots[i].client = NULL;
        u->slots[i].under_way = 0;
    }
}

http_client *upstreams_take(upstreams *u, uint32_t *slot, sv_error *err)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < UPSTREAM_CLIENTS; i++) {
        if (u->slots[i].under_way < u->slots[best].under_way) best = i;
        if (u->slots[i].under_way >= UPSTREAM_EACH) continue;
        best = i;
        break;
    }
    if (u->slots[best].client == NULL &&
        (u->slots[best].client = http_client_new(u->loop, CONNECTIONS_EACH, err)) == NULL)
        return NULL;
    u->slots[best].under_way++;
    *slot = best;
    return u->slots[best].client;
}

void upstreams_give(upstreams *u, uint32_t slot)
{
    assert(slot < UPSTREAM_CLIENTS && u->slots[slot].under_way > 0);
    u->slots[slot].under_way--;
}
