/*  fnv.h - FNV-1a with 64 bits, for finding a name's place in a table and for telling texts apart where a
 *  mistake costs nothing. It can be made to collide: a table of names that clients choose begins it with
 *  a random number instead of FNV_BASIS, or bounds how far it looks.
 *  Thread: any.   Errors: none. */
#ifndef SV_FNV_H
#define SV_FNV_H

#include "sv_types.h"

static const uint64_t FNV_BASIS = 14695981039346656037u, FNV_PRIME = 1099511628211u;

/* The text, and after it a byte that no UTF-8 has, so that "ab", "c" is not "a", "bc". */
static inline uint64_t fnv_more(uint64_t h, sv_str text)
{
    for (uint32_t i = 0; i < text.n; i++)
        h = (h ^ (uint8_t)text.p[i]) * FNV_PRIME;
    return (h ^ 0xff) * FNV_PRIME;
}

#endif
