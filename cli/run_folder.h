/*  run_folder.h - the data and run folders of one platform, held by one supervisor at a time.
 *  DATA is created with mode 0700 if it is missing; RUN is 0700 always. The lock is
 *  RUN/supervisor.lock (flock): the kernel gives it back however the holder ends.
 *  Thread: any.   Errors: SV_E_IO with the folder, the system's word and what to do; SV_E_CONFLICT
 *  with the process that runs already. */
#ifndef CLI_RUN_FOLDER_H
#define CLI_RUN_FOLDER_H

#include "config.h"

/* Longest path of RUN: the longest socket name below it must fit 107 bytes. */
enum { RUN_FOLDER_MAX = 90 };

/* Creates both folders. */
int run_folder_make(const config *c, sv_error *err);
/* Takes the lock and writes this process's id into it. The descriptor is the lock. */
int run_folder_lock(const config *c, int *ret_fd, sv_error *err);
/* Does a supervisor hold the lock now? */
bool run_folder_held(const config *c);

#endif
