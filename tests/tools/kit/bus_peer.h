/*  bus_peer.h - a client and a worker on one DEALER each, for measuring what lies between.
 *  Both speak whole Samovar messages (header and body of docs/protocol.md); with `bare` they only
 *  greet differently (one frame "hello"), so that a forwarder can stand in the broker's place.
 *  Thread: one a process.
 *  Errors: peer_open ends the process with a message; errors in answers are counted. */
#ifndef KIT_BUS_PEER_H
#define KIT_BUS_PEER_H

#include "hist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct peer_keys {
    char public_key[41], secret_key[41], server_key[41]; /* Z85; "" without CURVE */
} peer_keys;

typedef struct peer {
    void *ctx, *socket;
    bool bare;
    const char *service;
    uint64_t epoch;
} peer;

typedef struct client_run {
    uint32_t window, body_bytes;
    double warmup_s, seconds;
    pid_t broker; /* whose CPU is read at both ends of the measured time; 0: nobody's */
    /* results */
    hist latency;
    uint64_t replies, errors, broker_cpu_ns, elapsed_us, own_cpu_us;
    char first_error[160];
} client_run;

/* Connects, greets and waits up to ten seconds for the answer. `worker` offers the method "echo".
 */
void peer_open(peer *p, const char *endpoint, const peer_keys *keys, bool bare, bool worker,
               const char *service);
/* Answers every request with its own body until the process is killed or `idle_s` pass in silence.
 */
void peer_serve(peer *p, double idle_s);
/* Keeps `window` requests open; fills the results. False when answers stopped coming. */
bool peer_run_client(peer *p, client_run *run);

#endif
