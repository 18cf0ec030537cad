/*  http_chunked.h - the chunked transfer coding of a request body, read strictly in any pieces.
 *
 *  A chunk's size is 1 to 16 hex digits; extensions are skipped within a small total for the
 *  request; every line ends in CRLF; trailer fields must be well-formed, are bounded, and are
 *  dropped. The outcome depends on the bytes alone, never on where they were cut.
 *
 *  Thread: any.   Memory: the struct.   Ownership: data slices borrow from the caller's bytes.
 *  Limits: HTTP_CHUNK_EXTENSION_BYTES, HTTP_TRAILER_BYTES; the body's size is the caller's to
 *  bound.
 *  Errors: SV_E_HTTP_MALFORMED. */
#ifndef EDGE_HTTP_CHUNKED_H
#define EDGE_HTTP_CHUNKED_H

#include "sv_types.h"

enum {
    HTTP_CHUNK_EXTENSION_BYTES = 1024, /* of all chunks of one body together */
    HTTP_TRAILER_BYTES = 8192
};

typedef struct http_chunked {
    uint64_t left;  /* data bytes missing from the current chunk */
    uint32_t extra; /* extension bytes seen so far */
    uint32_t trailer;
    uint8_t state;
    uint8_t digits;
} http_chunked;

void http_chunked_reset(http_chunked *c);

/* Reads up to one run of data. *used is how many bytes were consumed; *data the run, maybe empty.
 * 1 when the body is complete, 0 otherwise: call again with the bytes that follow. */
int http_chunked_next(http_chunked *c, const char *p, size_t n, size_t *used, sv_str *data,
                      sv_error *err);

#endif
