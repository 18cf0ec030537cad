/*  procs.h - processes of this machine: which service a pid is, and when it ends.
 *  The supervisor announces its children; any other process is the operator's. A pid that has a
 *  connection is watched through a pidfd, so that its end is known at once and not only with the
 *  next message that cannot be delivered.
 *  Thread: the loop's.   Ownership: entries live while announced or connected.
 *  Limits: PROCS_MAX entries.   Errors: SV_E_OVERLOADED when there are too many; a pid that cannot
 *  be watched (old kernel, no descriptor left) is found dead later, by the core's PING. */
#ifndef BROKER_PROCS_H
#define BROKER_PROCS_H

#include "core.h"
#include "loop.h"

enum { PROCS_MAX = 2 * LIMIT_PEERS, PROCS_SLOTS = 1024 };

typedef struct proc proc;

typedef struct procs {
    loop *loop;
    void (*exited)(void *arg, uint32_t pid);
    void *arg;
    uint32_t n;
    proc *slots[PROCS_SLOTS];
} procs;

void procs_init(procs *p, loop *l, void (*exited)(void *arg, uint32_t pid), void *arg);
void procs_free(procs *p);
/* From now on `pid` is this instance of this service. */
int procs_announce(procs *p, uint32_t pid, const char *service, uint32_t instance);
/* The number no longer means anything: takes back the announcement. */
void procs_retract(procs *p, uint32_t pid);
/* One connection more of this process; the first one starts the watch. False when there is no room:
 * then procs_disconnected must not be called for it. */
bool procs_connected(procs *p, uint32_t pid);
void procs_disconnected(procs *p, uint32_t pid);
/* Who a process is now: supervised if it was announced, else the operator. */
void procs_identity(const procs *p, uint32_t pid, identity *ret);

#endif
