/*  conns.h - the connections the broker knows, by routing id and by peer number.
 *  libzmq names each connection of a ROUTER by a number of its own; here it gets a peer number that
 *  is never used again. Two lists, oldest first: those the core welcomed, whose number it bounds,
 *  and strangers, of which only the last CONNS_STRANGERS are remembered.
 *  Thread: one.   Ownership: the table owns every conn.   Limits: CONNS_MAX in all.
 *  Errors: conns_add answers NULL when full or out of memory. */
#ifndef BROKER_CONNS_H
#define BROKER_CONNS_H

#include "core.h"
#include "keyfile.h"

enum { CONNS_MAX = 2 * LIMIT_PEERS, CONNS_STRANGERS = 1024, CONNS_SLOTS = 4096 };

typedef struct conn {
    peer_id id;
    uint32_t rid; /* libzmq's number */
    uint8_t port; /* index of the socket */
    bool known;   /* the core welcomed it */
    bool blocked; /* the core was told; it sends nothing until CORE_WRITABLE */
    bool gone;    /* a CORE_GONE waits to be delivered */
    bool watched; /* counted by procs */
    uint32_t pid; /* 0: not a local process */
    identity who;
    char key[KEYFILE_Z85 + 1];   /* "" when the connection has no key */
    struct conn *by_id, *by_rid; /* hash chains */
    struct conn *prev, *next;    /* its list */
} conn;

typedef struct conn_list {
    conn *first, *last;
    uint32_t n;
} conn_list;

typedef struct conns {
    conn *by_id[CONNS_SLOTS], *by_rid[CONNS_SLOTS];
    conn_list known, strangers;
    peer_id last_id;
} conns;

void conns_free(conns *t);
conn *conns_find(const conns *t, uint8_t port, uint32_t rid);
conn *conns_get(const conns *t, peer_id id);
/* A new stranger. When t->strangers.n is CONNS_STRANGERS the caller removes t->strangers.first
 * first. */
conn *conns_add(conns *t, uint8_t port, uint32_t rid);
/* It is a stranger no more. */
void conns_welcome(conns *t, conn *c);
void conns_remove(conns *t, conn *c);

#endif
