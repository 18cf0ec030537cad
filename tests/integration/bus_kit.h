/*  bus_kit.h - one broker with real actors on it. The test program stands in the supervisor's place,
 *  signs tickets as an edge would, and asks as the operator. BIN names the executables.
 *  Thread: one; a program has one kit.   Ownership: a call's memory lives until kit_end().
 *  Errors: what does not work fails the test. */
#ifndef BUS_KIT_H
#define BUS_KIT_H

#include "buf.h"
#include "ticket.h"
#include "tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/types.h>

enum { KIT_PATIENCE_MS = 20000 };

extern char kit_folder[64]; /* goes away at the end; the platform's data is in its folder data */
extern sv_process *kit_me;  /* since kit_join() */
extern uint8_t kit_seed[];  /* of the tickets, as the auth actor has it too */
extern ticket_signer kit_signer; /* the broker believes it */

/* ---- processes ---- */

/* The folder /tmp/samovar-NAME.*, and the environment variables that lead there. */
void kit_open(const char *name);
/* Once more after kit_kill_broker(). */
void kit_start_broker(void);
void kit_kill_broker(void);
/* `actor` NULL: the program samovar-NAME; else the actor runs in a copy of this process. */
pid_t kit_start(const sv_actor *actor, const char *name, unsigned instance);
/* Tells the broker who a process is that it does not know any more. */
void kit_announce(pid_t pid, const char *name, unsigned instance);
void kit_kill(pid_t pid);
/* Somebody else ended it; waits, and tells the broker. */
void kit_ended(pid_t pid);
/* Onto the bus as the operator. */
void kit_join(void);
/* Everything ends; each process in peace and without a leak. For a group's teardown. */
int kit_close(void **state);

/* ---- calls ---- */

typedef struct kit_call {
    int code;
    bool done, hold; /* hold: nothing is taken from the stream */
    uint32_t wait_ms;
    sv_error error;
    buf body, bytes; /* the reply's; what came as attachments of items */
    arena a;
} kit_call;

sv_stream *kit_begin(kit_call *k, const sv_request *r);
bool kit_is_done(void *call);
/* Waits; `m` NULL: the reply is not decoded. `reply` lives until kit_end(). */
int kit_finish(kit_call *k, const sv_message *m, void *reply);
void kit_end(kit_call *k);
/* Both, and the end: for who wants the code alone. */
int kit_code(const sv_request *r);

#endif
