/*  kit.h - what the fault programs share: chance from a seed, folders to work in, processes that run
 *  with the preloaded library.
 *  Thread: one, if not said.   Errors: end the program with a message. */
#ifndef KIT_H
#define KIT_H

#include "fault.h"

#include <sys/types.h>

/* Ends the program with words on standard error. Any thread. */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* The whole of a file; the caller frees it. */
char *read_all(const char *path, size_t *ret_n);

/* xorshift64*: the same numbers from the same seed everywhere. */
typedef struct rng {
    uint64_t s;
} rng;

static inline uint64_t rng_next(rng *r)
{
    r->s ^= r->s >> 12;
    r->s ^= r->s << 25;
    r->s ^= r->s >> 27;
    return r->s * 0x2545F4914F6CDD1Dull;
}

/* 0 .. n-1 */
static inline uint64_t rng_below(rng *r, uint64_t n)
{
    return (rng_next(r) >> 11) % n;
}

static inline rng rng_of(uint64_t seed, uint64_t stream)
{
    rng r = {(seed + 1) * 0x9E3779B97F4A7C15ull ^ (stream + 1) * 0xD1B54A32D192ED03ull};
    if (!r.s) r.s = 1;
    rng_next(&r);
    rng_next(&r);
    return r;
}

/* A new folder below /dev/shm, or TMPDIR when there is none. */
void work_begin(char *ret, size_t n, const char *name);
/* What is in it, at any depth. */
void empty_folder(const char *path);
/* Makes a folder, 0700; it may be there. */
void make_folder(const char *path);
/* Syncs the names in it. */
void sync_folder(const char *path);
/* Removes it. */
void work_end(const char *path);

/* ---- processes ---- */

typedef struct watched {
    const char *folder; /* NULL: nothing is watched before fault_restart */
    const char *log;    /* NULL: nothing is recorded */
    const char *page;   /* NULL: nothing fails */
} watched;

/* Starts argv[0] with the library; what it writes to descriptor `acks` (-1: none) are
 * acknowledgements. */
pid_t start_watched(char *const argv[], const watched *w, int acks);
/* Waits; the exit code, or 256 and the signal. */
int finish(pid_t pid);
/* A page of its own in a file. */
fault_page *page_new(const char *path);

/* "--name VALUE" among the arguments, or `otherwise`. */
uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise);
const char *word(int argc, char **argv, const char *name); /* NULL: not there */
bool flag(int argc, char **argv, const char *name);
/* From the clock, when no seed was given. */
uint64_t fresh_seed(void);

#endif
