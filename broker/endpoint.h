/*  endpoint.h - the ROUTER sockets of the bus, made with the options that make them safe.
 *
 *  One socket serves any number of endpoints of one mechanism. Every socket reports unroutable
 *  messages (ROUTER_MANDATORY), keeps a connection's routing id from being taken over, bounds
 *  frames, handshakes and queues, and admits nobody without the ZAP handler's word.
 *
 *  Thread: the owner's.   Ownership: the caller closes the socket.
 *  Errors: SV_E_CONFIG for an address that is not allowed, with the setting's name in `field`;
 *  SV_E_CONFLICT for one that is taken; SV_E_IO otherwise. */
#ifndef BROKER_ENDPOINT_H
#define BROKER_ENDPOINT_H

#include "sv_types.h"

typedef enum endpoint_kind {
    ENDPOINT_LOCAL,  /* NULL over ipc: identity is the process */
    ENDPOINT_CURVE,  /* CURVE over tcp or ipc: identity is the key */
    ENDPOINT_MEASURE /* NULL over loopback tcp: no identity */
} endpoint_kind;

enum {
    ENDPOINT_BACKLOG =
        1024, /* the default, 100, stalls a burst of reconnecting actors for a second */
    ENDPOINT_HANDSHAKE_MS = 2000,
    ENDPOINT_LINGER_MS = 500,
    /* Messages in libzmq for one peer; what is more waits where it is counted. libzmq may refuse
     * from half of it on, since it learns late what the peer took: 512 in flight must pass. */
    ENDPOINT_HWM = 1024,
    ENDPOINT_HEARTBEAT_MS = 5000,
    ENDPOINT_BYTES = 256 /* room for the text of an address */
};

/* `secret`: the broker's CURVE key in Z85, for ENDPOINT_CURVE. */
int endpoint_socket(void *zmq_context, endpoint_kind kind, const char *secret, void **ret,
                    sv_error *err);
/* Checks the address for this kind, binds, and writes what was bound (with the port chosen for
 * "tcp://127.0.0.1:*") to `bound`. An ipc path must not be served by anybody; its file is 0600. */
int endpoint_bind(void *socket, endpoint_kind kind, const char *address, char bound[ENDPOINT_BYTES],
                  sv_error *err);
/* Pure part of endpoint_bind: is `address` allowed? */
int endpoint_check(endpoint_kind kind, const char *address, sv_error *err);

#endif
