/*  judge.h - opens what a loss of power left, in a child process that may crash or hang.
 *  Thread: one.   Ownership: judge_end ends the child.   Errors: end the program. */
#ifndef JUDGE_H
#define JUDGE_H

#include "images.h"

typedef struct answer {
    uint32_t verdict;
    bool crashed; /* or hung */
    char why[300];
} answer;

typedef struct judge {
    const subject *subject;
    const char *folder; /* of the environment in the image */
    uint64_t seed;
    bool quiet; /* crashes are expected: no reports */
    pid_t pid;
    int to, from;
    unsigned done;
} judge;

/* What the subject's check says of the folder as it is now. */
void judge_ask(judge *j, const acked *a, answer *ret);
/* 0, or what the child ended with: its leak check is in that. */
int judge_end(judge *j);

/* A file of the run into the image's environment: after a loss of power the lock file holds
 * anything, often what it held. */
void leave_stale(const char *from, const char *folder);
/* Reads the lines of an acknowledgement. */
void note_acks(acked *a, const char *bytes, size_t n);

#endif
