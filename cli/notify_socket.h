/*  notify_socket.h - the sd_notify protocol, on the receiving side: READY=1, STATUS=...,
 *  STOPPING=1, WATCHDOG=1. The kernel names the sender (SCM_CREDENTIALS); a datagram that claims
 *  nothing else is believed.
 *  Thread: the loop's.   Errors: SV_E_IO with the system's word. */
#ifndef CLI_NOTIFY_SOCKET_H
#define CLI_NOTIFY_SOCKET_H

#include "loop.h"

#include <sys/types.h>

typedef struct notify_message {
    bool ready, stopping, watchdog;
    bool has_status;
    char status[128]; /* printable; control characters became spaces */
} notify_message;

typedef struct notify_socket {
    int fd;
    loop_fd *watch;
    char path[108];
    void (*fn)(void *arg, pid_t pid, const notify_message *m);
    void *arg;
} notify_socket;

/* Binds RUN/notify.sock; an old socket there is replaced (the supervisor's lock is held). */
int notify_socket_open(notify_socket *n, loop *l, const char *path,
                       void (*fn)(void *arg, pid_t pid, const notify_message *m), void *arg,
                       sv_error *err);
void notify_socket_close(notify_socket *n);
/* Lines NAME=value; what is not known is ignored, as the protocol asks. */
void notify_parse(sv_str text, notify_message *ret);

#endif
