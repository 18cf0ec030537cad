/*  child.h - one process of the platform: how it is forked, held, watched and described.
 *  Thread: fork and exec from the main thread only (PDEATHSIG follows the thread that forked).
 *  Ownership: the caller owns the descriptors that child_spawn hands out.
 *  Errors: SV_E_NOT_FOUND for a missing executable, SV_E_IO with the system's word. */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include "env.h"
#include "sv_types.h"

#include <sys/types.h>

enum { CHILD_PASS_FD = 3, CHILD_PASSES = 2 };

typedef struct child_spec {
    const char *path;
    char *const *argv;
    const env_list *env;
    int out_fd;             /* becomes the child's standard output; -1: the log pipe */
    int pass[CHILD_PASSES]; /* are inherited as CHILD_PASS_FD and those after it; -1: none */
    bool gated;             /* waits before exec until child_open_gate */
    bool own_group; /* a process group of its own: the terminal's Ctrl-C does not reach it */
} child_spec;

typedef struct child_process {
    pid_t pid;
    int gate_fd; /* -1 when not gated */
    int log_fd;  /* what it writes; not blocking */
} child_process;

/* A child that dies with its parent: PDEATHSIG is SIGKILL. */
int child_spawn(const child_spec *spec, child_process *ret, sv_error *err);
/* Lets a gated child go on to exec. */
void child_open_gate(child_process *p);
/* Signals the child's whole group. */
void child_signal(const child_process *p, int signo);

/* "exit code 3" or "signal 11 (Segmentation fault)". */
void child_describe_end(int wait_status, char *text, size_t size);

#endif
