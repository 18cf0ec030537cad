/*  http_keep.h - what http_keep holds of a request: its own list of headers and the memory that its
 *  slices lie in, copied or taken over from the wire.
 *  Thread: the loop's.   Ownership: belongs to its exchange.   Errors: SV_E_NO_MEMORY.
 *  Included by http.c and the wires only. */
#ifndef EDGE_HTTP_KEEP_H
#define EDGE_HTTP_KEEP_H

#include "http.h"

struct http_kept {
    http_request request;
    char *block[2]; /* freed with it; either may be NULL */
    http_header headers[];
};

/* Makes x->kept of x->request, whose slices stay where they are until they are moved. */
int http_kept_new(http_exchange *x);
/* Slices that lay at `from` lie at `to` now. */
void http_kept_move(http_kept *k, const char *from, char *to);
/* Sets x->request NULL. */
void http_kept_free(http_exchange *x);

#endif
