/*  broker_line.h - the supervisor's line to the broker: which process is which service.
 *  A SOCK_SEQPACKET pair whose other end the broker inherits. Packets: "child PID SERVICE
 *  INSTANCE", "exited PID", "signer HEX64"; the broker answers each, in order, with "ok" or "error
 *  WORDS".
 *  Thread: the loop's.   Limits: BROKER_LINE_OPEN packets without an answer. Errors:
 *  SV_E_OVERLOADED when the broker takes no more, SV_E_IO. */
#ifndef CLI_BROKER_LINE_H
#define CLI_BROKER_LINE_H

#include "loop.h"

enum { BROKER_LINE_OPEN = 256 };

typedef struct broker_line {
    loop *loop;
    loop_fd *watch;
    int fd; /* -1: closed */
    uint32_t tags[BROKER_LINE_OPEN];
    uint32_t first, n;
    uint64_t waiting_since_us; /* of the oldest packet without an answer */
    /* `words` is NULL for ok. */
    void (*answer)(void *arg, uint32_t tag, const char *words);
    void *arg;
} broker_line;

/* Fills in `c` and hands out the broker's end, which the caller closes after the fork. */
int broker_line_open(broker_line *c, loop *l,
                     void (*answer)(void *arg, uint32_t tag, const char *words), void *arg,
                     int *ret_fd, sv_error *err);
/* Answers that are still missing never come. */
void broker_line_close(broker_line *c);
/* `tag` comes back with the answer. */
int broker_line_send(broker_line *c, uint32_t tag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
