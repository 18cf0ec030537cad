/*  supervisor.h - starts the platform's processes in order, keeps them running, stops them in
 *  reverse.
 *
 *  Order: broker, then routers, then edges; each group waits until the one before is ready.
 *  Restarts are one for one (restart.h); only the broker has to be ready for a restart. A process
 *  that ends with exit code 78 (configuration) or too often is failed; when the broker or the last
 *  process of a service has failed, everything is stopped and the exit code says so.
 *
 *  Thread: the main thread's loop; no other thread exists in this process.
 *  Ownership: the supervisor owns its children; they die with it, however it dies.
 *  Errors: SV_E_IO, SV_E_NO_MEMORY, SV_E_NOT_FOUND, SV_E_CONFIG with words for the operator. */
#ifndef CLI_SUPERVISOR_H
#define CLI_SUPERVISOR_H

#include "child.h"
#include "config.h"
#include "log_mux.h"
#include "restart.h"

enum { EXIT_CONFIG = 78 };

typedef enum child_state {
    CHILD_STOPPED,  /* not running; starts when its turn comes */
    CHILD_STARTING, /* forked, not yet READY=1 */
    CHILD_READY,
    CHILD_DRAINING, /* told to stop */
    CHILD_BACKOFF,  /* waits for its next start */
    CHILD_FAILED    /* given up */
} child_state;

const char *child_state_name(child_state s);

typedef struct supervisor supervisor;

typedef struct child {
    supervisor *owner;
    const char *service;
    uint32_t instance, group;
    unsigned gets; /* what it is given at its start, see supervisor.c */
    char name[32]; /* "router/1" */
    child_state state;
    child_process process; /* pid 0: not running */
    uint64_t started_us;
    uint32_t restarts;
    restart budget;
    char status[128]; /* its own words (STATUS=) */
    char note[192];   /* why it is not running, and where to read more */
    loop_timer timer; /* start time-out, pause before a start, time to stop */
    loop_timer watchdog;
    bool aborted; /* the watchdog sent SIGABRT */
    log_source *log;
} child;

typedef struct supervisor_options {
    loop *loop;
    const config *config;
    log_mux *mux;
    const char *bin;          /* folder with the executables */
    void (*ready)(void *arg); /* once, when everything is ready for the first time */
    void *arg;
} supervisor_options;

/* Options are copied, what they point to is borrowed. RUN exists and is locked by the caller. */
supervisor *supervisor_new(const supervisor_options *o, sv_error *err);
void supervisor_free(supervisor *s);
void supervisor_start(supervisor *s);
/* Stops everything in reverse order, then the loop; a second call kills at once. The first exit
 * code that is not 0 stays. */
void supervisor_stop(supervisor *s, int exit_code);
bool supervisor_stopping(const supervisor *s);
int supervisor_exit_code(const supervisor *s);
/* Runs a short-lived program beside the children, without restarts; its output goes to this
 * process's standard output. One at a time. */
void supervisor_helper(supervisor *s, const char *path, char *const *argv);
/* Borrowed, constant while the supervisor lives. */
child *supervisor_children(supervisor *s, size_t *n);

#endif
