/*  upstreams.h - transfers spread over several HTTP clients, 64 each.
 *  libcurl walks all connections of one handle when it looks for a free one: with 2,000 transfers
 *  under way in one handle each cost 165 us of CPU, spread over several 37. The first client with
 *  room is taken, so idle connections are found again.
 *  Thread: the loop's.   Ownership: a slot taken must be given back.
 *  Errors: SV_E_NO_MEMORY. */
#ifndef ROUTER_UPSTREAMS_H
#define ROUTER_UPSTREAMS_H

#include "http_client.h"

enum { UPSTREAM_CLIENTS = 128, UPSTREAM_EACH = 64 };

typedef struct upstreams {
    loop *loop;
    struct {
        http_client *client; /* made when it is first needed */
        uint32_t under_way;
    } slots[UPSTREAM_CLIENTS];
} upstreams;

/* Zero and `loop` set is a valid empty one. Transfers under way end without callbacks. */
void upstreams_free(upstreams *u);
/* Counts one transfer; when all are full the least busy client gets it. */
http_client *upstreams_take(upstreams *u, uint32_t *slot, sv_error *err);
void upstreams_give(upstreams *u, uint32_t slot);

#endif
