/*  sha256.h - SHA-256 of a stream of bytes, where somebody else's protocol asks for it.
 *  Thread: any.   Ownership: no memory of its own. */
#ifndef SV_SHA256_H
#define SV_SHA256_H

#include "sv_types.h"

typedef struct sha256 {
    _Alignas(16) uint8_t opaque[128];
} sha256;

void sha256_start(sha256 *h);
void sha256_add(sha256 *h, const void *p, size_t n);
void sha256_end(sha256 *h, char hex[65]);

#endif
