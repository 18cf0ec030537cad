/*  status_client.h - asks the supervisor over RUN/supervisor.sock.
 *  Thread: any; blocks.   Errors: SV_E_NOT_FOUND when no supervisor runs on this data folder,
 *  SV_E_IO. */
#ifndef CLI_STATUS_CLIENT_H
#define CLI_STATUS_CLIENT_H

#include "config.h"

/* Connects and sends one request line; the answer is read from the descriptor up to its end. */
int status_connect(const config *c, const char *request, int *ret_fd, sv_error *err);
/* The whole answer, at most `answer->max` bytes. */
int status_ask(const config *c, const char *request, buf *answer, sv_error *err);

#endif
