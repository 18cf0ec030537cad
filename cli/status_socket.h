/*  status_socket.h - RUN/supervisor.sock: what the supervisor knows, for ps, logs and stop.
 *  One JSON object a line in, JSON lines out, then the end of the connection:
 *      {"cmd":"status"}
 *      {"cmd":"logs","child":"router/1","lines":100,"follow":true}     child is optional
 *      {"cmd":"stop"}
 *  Only processes of the same user are heard (SO_PEERCRED).
 *  Thread: the loop's.   Limits: STATUS_CLIENTS at once, each with STATUS_LINE_BYTES in and
 *  STATUS_OUT_BYTES out; lines a slow reader has no room for are dropped and counted. */
#ifndef CLI_STATUS_SOCKET_H
#define CLI_STATUS_SOCKET_H

#include "supervisor.h"

enum {
    STATUS_CLIENTS = 16,
    STATUS_LINE_BYTES = 1024,
    STATUS_OUT_BYTES = 4194304,
    STATUS_IDLE_MS = 5000 /* for the request to arrive */
};

typedef struct status_socket status_socket;

status_socket *status_socket_open(loop *l, const char *path, supervisor *s, log_mux *mux,
                                  sv_error *err);
void status_socket_close(status_socket *k);

#endif
