/*  control.h - the line from the supervisor: which process is which service, who may sign tickets.
 *
 *  An inherited SOCK_SEQPACKET socket. Packets are lines of text, each answered in order by a
 *  packet "ok" once it has taken effect, or "error WORDS":
 *
 *      child PID SERVICE INSTANCE   before that process may connect
 *      exited PID                   best sent before the process is reaped: its number is free then
 *      signer HEX64                 an Ed25519 public key that may sign tickets
 *
 *  Thread: the loop's.   Ownership: the descriptor is taken by control_open on success.
 *  Limits: CONTROL_BYTES a packet, CONTROL_TURN packets a turn.
 *  Errors: a packet that is wrong is answered and logged; a closed line calls `gone` once. */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include "loop.h"
#include "sv_limits.h"
#include "ticket.h"

enum { CONTROL_BYTES = 200, CONTROL_TURN = 64 };

typedef enum control_verb { CONTROL_CHILD = 1, CONTROL_EXITED, CONTROL_SIGNER } control_verb;

typedef struct control_command {
    control_verb verb;
    uint32_t pid, instance;
    char service[LIMIT_NAME_BYTES + 1];
    uint8_t key[TICKET_KEY];
} control_command;

typedef struct control control;

typedef struct control_events {
    /* 0, or an error whose message goes back to the supervisor. */
    int (*command)(void *arg, const control_command *c, sv_error *err);
    void (*gone)(void *arg); /* the supervisor closed its end; control_close is still due */
} control_events;

int control_open(loop *l, int fd, const control_events *ev, void *arg, control **ret,
                 sv_error *err);
/* NULL is allowed. */
void control_close(control *c);
/* Pure: one packet. SV_E_INVALID says what is allowed. */
int control_parse(sv_str packet, control_command *ret, sv_error *err);

#endif
