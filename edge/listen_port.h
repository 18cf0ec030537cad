/*  listen_port.h - which port this edge listens on, and that others of its platform may share
 *  it.
 *
 *  Edges of one platform listen on one port with SO_REUSEPORT, which would also let a second
 *  platform of the same user share it unnoticed. So the first edge of a platform proves that the
 *  port is free before it shares it; a lock in the run folder tells the others that they may
 *  join. With port 0 the first edge takes the port of an earlier start if RUN/edge.port names
 *  one and it is free, else any free one.
 *
 *  Thread: at start, before the loop runs (the lock may wait for a sibling's start).
 *  Ownership: the lock is held until listen_port_close or the end of the process, however it
 *  ends.
 *  Errors: SV_E_CONFIG in words for the operator; SV_E_IO for the run folder. */
#ifndef EDGE_LISTEN_PORT_H
#define EDGE_LISTEN_PORT_H

#include "http_server.h"

typedef struct listen_port {
    int alive_fd;
} listen_port;

/* Listens with `s` and writes the port to RUN/edge.port. `shared`: this platform has several edges.
 */
int listen_port_open(listen_port *l, http_server *s, const char *run, const char *ip, uint16_t port,
                     bool shared, sv_error *err);
void listen_port_close(listen_port *l);

#endif
