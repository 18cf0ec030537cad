/*  bus_broker.h - starts what is measured: the bare forwarder, or samovar-broker with this
 *  process in the supervisor's place (control channel, policy file, key files), in a data folder
 *  of its own.
 *  Thread: one.   Ownership: bus_broker_stop ends the process and removes the folder.
 *  Errors: end the tool with a message. */
#ifndef KIT_BUS_BROKER_H
#define KIT_BUS_BROKER_H

#include "bus_peer.h"

typedef struct bus_broker {
    pid_t pid;
    int control; /* our end of SAMOVAR_CONTROL_FD; -1 for the forwarder */
    bool bare;
    char folder[64];
    char client_at[128], worker_at[128]; /* endpoints */
    peer_keys client_keys, worker_keys;
} bus_broker;

/* `bin` is the folder of the executables; `tcp` and `curve` choose the endpoint. */
void bus_broker_start(bus_broker *b, const char *bin, bool bare, bool tcp, bool curve,
                      int io_threads);
/* Tells the broker which process is which service; returns when it said "ok". */
void bus_broker_announce(bus_broker *b, pid_t pid, const char *service, unsigned instance);
void bus_broker_stop(bus_broker *b);
/* The folder of this executable. */
const char *own_folder(void);

#endif
