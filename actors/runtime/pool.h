/*  pool.h - a few low-priority threads for work that would hold the loop (Argon2id, parsing).
 *  Thread: submit and callbacks on the loop's thread; `work` runs on a pool thread.
 *  Limits: threads and queue length fixed at start; a full queue is SV_E_OVERLOADED.
 *  Ownership: `arg` belongs to the job from submit until `done` was called, exactly once. */
#ifndef SV_POOL_H
#define SV_POOL_H

#include "loop.h"

typedef struct pool pool;
pool *pool_new(loop *l, uint32_t threads, uint32_t queue, sv_error *err);
/* Waits for running jobs; queued ones end with SV_E_CANCELLED. */
void pool_free(pool *p);
/* 0, SV_E_OVERLOADED, SV_E_NO_MEMORY, or SV_E_CANCELLED while the pool is being freed.
 * work(arg) returns 0 or an error number, handed to done(arg, code) on the loop. */
int pool_submit(pool *p, int (*work)(void *arg), void (*done)(void *arg, int code), void *arg);
uint32_t pool_waiting(const pool *p);

#endif
