/*  sim_vector.h - base64, and embeddings that mean something: texts of the same words in another
 *  order or case are near each other, others are far.
 *  Thread: one.   Ownership: the caller's.   Errors: -1. */
#ifndef KIT_SIM_VECTOR_H
#define KIT_SIM_VECTOR_H

#include "buf.h"

#include <stdint.h>

/* How many bytes a base64 text stands for (either alphabet, padded or not); -1 when it is none. */
int64_t sim_base64_bytes(const char *text);
void sim_base64_put(const void *p, size_t n, buf *out);
/* Fills `v` with a vector of length 1. */
void sim_vector(const char *text, float *v, size_t dims);

#endif
