/*  driver.h - the broker around its pure core: sockets, identities, keys, policy, control channel.
 *
 *  driver_new takes the run folder's lock, starts the ZAP handler, probes it, binds, and serves
 *  from then on whenever the loop turns. Received frames are moved, not copied; a message is
 *  checked (routing id, number and size of frames, header) before the core sees it.
 *
 *  Thread: the loop's.   Ownership: options are copied; the loop is borrowed; driver_free closes
 *  and removes everything.   Limits: DRIVER_BATCH messages of a socket a turn, LIMIT_PEERS peers.
 *  Errors: driver_new fills err and leaves nothing behind; afterwards nothing that a peer, a file
 *  or a full machine does ends the broker. */
#ifndef BROKER_DRIVER_H
#define BROKER_DRIVER_H

#include "core.h"
#include "loop.h"

enum { DRIVER_BATCH = 256, DRIVER_SIGNERS = TICKET_SIGNERS };

typedef struct driver driver;

typedef struct driver_options {
    const char *run, *data;    /* absolute folders */
    const char *const *listen; /* further CURVE endpoints */
    uint32_t n_listen;
    const char *const *listen_null; /* measurement endpoints, tcp on loopback */
    uint32_t n_listen_null;
    const char *policy_file;   /* NULL: DATA/policy.yaml if it exists, else the built-in policy */
    policy_service defaults;   /* for services the policy does not name */
    uint32_t ping_ms, lost_ms; /* 0: the core's own */
    uint8_t signers[DRIVER_SIGNERS][TICKET_KEY];
    uint32_t n_signers;
    int control_fd; /* -1: no supervisor; taken on success */
} driver_options;

int driver_new(loop *l, const driver_options *o, driver **ret, sv_error *err);
/* Says GOODBYE to every peer, closes, removes the files of the run folder. NULL is allowed. */
void driver_free(driver *d);
/* SIGHUP: keys and policy are read again. */
void driver_reload(driver *d);

const core_stats *driver_stats(const driver *d);
/* The `i`-th bound endpoint with its real port, or NULL: bus.ipc, curve.ipc, then as configured. */
const char *driver_endpoint(const driver *d, uint32_t i);
/* The broker's public CURVE key in Z85. */
const char *driver_public_key(const driver *d);
/* Messages held by the driver outside its pool; 0 when nothing is under way. For tests. */
uint32_t driver_messages(const driver *d);

#endif
