/*  env_lock.h - one process at a time has an environment.
 *  The folder's file `owner` is locked with flock(2) for as long as the process lives and tells who
 *  holds it: one line "PID EPOCH SERVICE". The epoch grows with every opening; it is also kept
 *  inside of the environment, so that a process that lost its lock unnoticed is found out at its
 *  next commit.
 *  Thread: any.   Ownership: the descriptor belongs to the struct.
 *  Errors: SV_E_STORE_LOCKED (names the holder's pid), SV_E_IO. */
#ifndef STORE_ENV_LOCK_H
#define STORE_ENV_LOCK_H

#include "sv_types.h"

typedef struct env_lock {
    int fd; /* -1: not held */
} env_lock;

/* Makes the folder (0700, its parents too) if it is missing. */
int env_lock_take(env_lock *l, const char *folder, const char *service, sv_error *err);
/* Writes the epoch beside the pid, for people. */
int env_lock_note(env_lock *l, const char *service, uint64_t epoch, sv_error *err);
void env_lock_give(env_lock *l);
/* The pid that holds the folder, 0 when nobody does, INT_MAX when the file does not say who. Never a
 * number that kill(2) takes for more than one process. */
int env_lock_holder(const char *folder);

#endif
