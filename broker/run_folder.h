/*  run_folder.h - the folder of sockets and locks, held by one broker at a time.
 *  An ipc bind silently steals a path that somebody serves, so the lock is taken before any bind,
 *  and stale files are removed only under it. The system drops the lock when the process ends,
 *  however it ends.
 *  Thread: one.   Ownership: release gives up the lock and removes what was made here.
 *  Errors: SV_E_CONFLICT names the process that holds the lock; SV_E_IO, SV_E_CONFIG. */
#ifndef BROKER_RUN_FOLDER_H
#define BROKER_RUN_FOLDER_H

#include "sv_types.h"

typedef struct run_folder run_folder;

/* Makes the folder (and its parents) with mode 0700, or takes one that belongs to this user. */
int run_folder_take(const char *path, run_folder **ret, sv_error *err);
/* Writes a small file under `name`, mode 0600, whole or not at all. */
int run_folder_write(run_folder *r, const char *name, const char *text, sv_error *err);
/* NULL is allowed. */
void run_folder_release(run_folder *r);
/* mkdir -p: new folders get `mode`. 0 or SV_E_IO. */
int folder_make(const char *path, unsigned mode, sv_error *err);

#endif
