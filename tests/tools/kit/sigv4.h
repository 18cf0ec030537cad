/*  sigv4.h - AWS signature version 4 as its specification tells, for judging what others sign: an
 *  implementation that shares nothing with the one under test but SHA-256 and HMAC from libsodium.
 *  Thread: any.   Ownership: texts are borrowed.   Limits: 64 headers and 64 query parameters. */
#ifndef KIT_SIGV4_H
#define KIT_SIGV4_H

#include <stdbool.h>
#include <stddef.h>

typedef struct sigv4_request {
    const char *method;
    const char *path;                   /* as it was sent */
    const char *query;                  /* as it was sent, without "?"; "" when there is none */
    const char *names[64], *values[64]; /* the signed headers: lower case, values without blanks
                                           around them, sorted by name */
    size_t n;
    const char *body_hash; /* the value of x-amz-content-sha256 */
    const char *when;      /* 20130524T000000Z */
    const char *region, *service, *secret;
} sigv4_request;

/* The canonical request: path and query are decoded and encoded anew, the query sorted. False: they
 * cannot be decoded, or do not fit. */
bool sigv4_canonical(const sigv4_request *r, char *out, size_t size);
/* The signature, 64 hex digits. */
bool sigv4_sign(const sigv4_request *r, char hex[65]);

#endif
