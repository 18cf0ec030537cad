/*  fault.h - what the preloaded library (recorder.c, faults.c) and the programs that use it agree on.
 *
 *  The library is told by the environment what to watch:
 *    FAULT_FOLDER  files below this folder (absolute, must exist)
 *    FAULT_LOG     a file to make: what happened to them, in order; only the first process
 *                          that finds it missing writes it
 *    FAULT_ACKS    a descriptor: what is written to it is an acknowledgement
 *    FAULT_PAGE    a file that holds a fault_page: which call fails, and how
 *
 *  The library is built without sanitizers and makes its system calls directly, so that it stands
 *  in front of AddressSanitizer's own interceptors; programs built with that need
 *  ASAN_OPTIONS=verify_asan_link_order=0 beside LD_PRELOAD.
 *  Calls that libc makes inside of itself (stdio) do not pass through it. */
#ifndef FAULT_H
#define FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the log: records, each followed by `bytes` bytes ---- */

typedef enum fault_kind {
    FAULT_OPENED = 1, /* a file was seen for the first time; the bytes are its path */
    FAULT_WRITE,    /* bytes at `offset`; with a `result` that is not 0 they may be there or not */
    FAULT_SYNC,     /* fsync, fdatasync; `result` is 0 or an errno */
    FAULT_TRUNCATE, /* to `offset` */
    FAULT_NAME,     /* rename "FROM\0TO\0"; unlink "FROM\0" */
    FAULT_MSYNC,    /* something was written through a map: cannot be replayed */
    FAULT_ACK       /* bytes written to the marked descriptor */
} fault_kind;

typedef struct fault_record {
    uint32_t kind;
    uint32_t file; /* number of the file, from 1, in order of first opening */
    uint64_t offset;
    uint32_t bytes;
    int32_t result;
    uint32_t durable; /* a write through a descriptor that syncs by itself (O_DSYNC, O_SYNC) */
    uint32_t folder;  /* opened: it is a folder */
} fault_record;

/* ---- the page: which call fails ---- */

enum { /* classes of calls on watched files */
       FAULT_ON_OPEN = 1,
       FAULT_ON_READ = 2,
       FAULT_ON_WRITE = 4,
       FAULT_ON_SYNC = 8,
       FAULT_ON_TRUNCATE = 16,
       FAULT_ON_NAME = 32, /* rename, unlink, mkdir */
       FAULT_ON_MAP = 64,
       FAULT_ON_ALL = 127
};

/* Instead of an errno: half of the bytes are really written; everything is done, then EIO is
 * answered, as a disk does that fails behind the cache; the same for the nth call, plain EIO for
 * those after it. */
enum { FAULT_SHORT = 10000, FAULT_LATE = 10001, FAULT_LATE_ONCE = 10002 };

typedef struct fault_page {
    _Atomic uint32_t on;    /* classes that count and fail; 0: none */
    _Atomic uint32_t error; /* errno, FAULT_SHORT (only writes), FAULT_LATE* (writes, syncs) */
    _Atomic uint64_t nth;   /* the first call that fails, from 1 */
    _Atomic uint64_t times; /* how many fail from there on */
    _Atomic uint64_t seen;  /* calls counted since armed */
    _Atomic uint64_t done;  /* of those, failed on purpose */
} fault_page;

static inline void fault_disarm(fault_page *p)
{
    atomic_store(&p->on, 0);
}

/* Counting starts anew. `times` 0: from the nth call on, all. */
static inline void fault_arm(fault_page *p, uint32_t on, uint32_t error, uint64_t nth,
                             uint64_t times)
{
    fault_disarm(p);
    atomic_store(&p->error, error);
    atomic_store(&p->nth, nth);
    atomic_store(&p->times, times ? times : UINT64_MAX);
    atomic_store(&p->seen, 0);
    atomic_store(&p->done, 0);
    atomic_store(&p->on, on);
}

/* What the environment says, said anew by a child after fork, before it has opened anything in the
 * folder: a process that has the library finds it with dlsym. Any of them may be NULL or -1. */
typedef void fault_restart_fn(const char *folder, const char *log, int acks, const char *page);
fault_restart_fn fault_restart;

/* ---- inside of the library ---- */

/* Maps the page, instead of one that is mapped. */
void faults_start(const char *path);
/* Counts a call of class `on`; 0 or the error it has to fail with. */
uint32_t faults_take(uint32_t on);

#endif
