/*  images.h - what images.c needs to know of a thing that promises durability: a program that writes
 *  and acknowledges, and a check of what a loss of power left of it. */
#ifndef IMAGES_H
#define IMAGES_H

#include "kit.h"

enum { WRITERS_MAX = 64 };

/* What was acknowledged: writer w has been told of the operations 1 .. upto[w]. The program
 * writes one line each, "WRITER OPERATION\n". */
typedef struct acked {
    uint64_t upto[WRITERS_MAX];
} acked;

typedef enum verdict { FINE, LOST, BROKEN } verdict;

typedef struct subject {
    const char *name;
    /* The recorded process: writes in `folder`, acknowledges to `acks`, ends with 0. */
    int (*work)(const char *folder, int acks, int argc, char **argv);
    /* In a process of its own, which may crash. `seed` is that of the work. */
    verdict (*check)(const char *folder, const acked *a, uint64_t seed, char *why, size_t why_n);
} subject;

extern const subject bare_lmdb, whole_store, usage_ledger, rare_chores;

#endif
