/*  schedule.h - backups at an interval: backup.dir, backup.every, backup.keep.
 *
 *  A child process runs `samovar backup`; this only decides when. The next one is due backup.every
 *  after the newest finished one in backup.dir was begun, whoever made it; what is overdue when the
 *  platform starts is made SCHEDULE_SOON_MS later. One runs at a time. One that fails is an error
 *  line in the log and is tried again after a pause that doubles up to an hour; when the backup was
 *  made and only not copied to the store, the copying alone is tried again, also after a restart.
 *
 *  Thread: the supervisor's loop, which never waits: even the folder is looked at by the child.
 *  Ownership: options are copied, what they point to is borrowed.
 *  Errors: SV_E_CONFIG when backup.every is set without backup.dir; SV_E_NO_MEMORY. */
#ifndef CLI_SCHEDULE_H
#define CLI_SCHEDULE_H

#include "child.h"
#include "config.h"
#include "log_mux.h"

enum { SCHEDULE_SOON_MS = 5000 };

typedef struct schedule schedule;

typedef struct schedule_options {
    loop *loop;
    const config *config;
    log_mux *mux;
    const char *bin;                      /* folder with the executables */
    int (*env)(void *arg, env_list *ret); /* the child's environment; the schedule frees it */
    void *arg;
    uint32_t soon_ms; /* 0: SCHEDULE_SOON_MS */
} schedule_options;

/* *ret is NULL with 0 when no backups are scheduled; every function below takes that. */
int schedule_new(schedule **ret, const schedule_options *o, sv_error *err);
void schedule_free(schedule *s);
/* From now on; called again it does nothing. */
void schedule_begin(schedule *s);
/* Nothing more begins, what runs is killed. */
void schedule_stop(schedule *s);
/* A child of this process has ended and been reaped. True: it was the schedule's. */
bool schedule_ended(schedule *s, pid_t pid, int wait_status);

/* How long to wait, in ms. `last_s` is when the newest finished backup was begun (0: there is none;
 * one from the future counts as begun now), `failures` how many tries have failed since. */
uint64_t schedule_wait(int64_t now_ms, int64_t last_s, uint64_t every_ms, uint32_t failures);

#endif
