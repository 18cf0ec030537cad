/*  meanings.h - what kept answers were questions of, as vectors, to find one of the same meaning.
 *
 *  A bucket has the vectors of requests that differ in nothing but the last words of the user
 *  (cache_bucket of cache_key.h); a search looks at all of them, MEANINGS_BUCKET at most, so that its
 *  time is bounded. Numbers of a vector are kept as 16-bit shares of its largest: that changes a
 *  cosine by less than 0.001.
 *
 *  Nothing here touches bus or store; time is a parameter of the caller's rule.
 *  Thread: the loop's.
 *  Ownership: a meaning belongs to the table and ends with its answer (meaning_drop) or before, when
 *  room is needed: its answer stays, and is found by its words only.
 *  Limits: MEANINGS_BUCKET of the newest in each bucket, `most` bytes in all: the oldest go first.
 *  Errors: without memory there is no meaning. */
#ifndef CACHE_MEANINGS_H
#define CACHE_MEANINGS_H

#include "cache_key.h"
#include "idmap.h"

#include <sys/queue.h>

enum { MEANINGS_BUCKET = 256, MEANING_DIMS = 4096, MEANING_BYTES = 2 * MEANING_DIMS };

struct answer;
typedef struct meaning meaning;
typedef TAILQ_HEAD(meaning_list, meaning) meaning_list;

typedef struct meanings {
    idmap map;        /* buckets */
    meaning_list all; /* the newest first */
    uint64_t bytes, most;
} meanings;

/* A vector: numbers of a machine with the low byte first, of length `n`. */
typedef struct meaning_vector {
    uint32_t n;
    int16_t v[MEANING_DIMS];
} meaning_vector;

/* The first vector of an answer to an embeddings request, as OpenAI writes it. SV_E_PROVIDER_GARBAGE
 * for what is none: no numbers, too many, or nothing but zeroes. */
int meaning_read(sv_str json, meaning_vector *ret);
/* From the disk; false: not a vector. */
bool meaning_of_bytes(sv_str bytes, meaning_vector *ret);
sv_str meaning_bytes(const meaning_vector *v);

void meanings_init(meanings *m, uint64_t most);
/* Answers are gone before. */
void meanings_free(meanings *m);
/* Of an answer that has none; its info.created is its age. */
void meanings_add(meanings *m, const char bucket[CACHE_KEY + 1], const meaning_vector *v,
                  struct answer *of);
void meaning_drop(meaning *m);
/* The nearest in the bucket of those that `fits`, and its cosine; NULL: none. */
struct answer *meanings_nearest(const meanings *m, const char bucket[CACHE_KEY + 1],
                                const meaning_vector *v,
                                bool (*fits)(void *arg, const struct answer *a), void *arg,
                                double *similarity);

#endif
