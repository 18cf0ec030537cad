/*  sse_tail.h - whether a stream of server-sent events stands between two events.
 *  Comments and events of our own may go into somebody else's stream only there: at its start
 *  and behind an empty line (LF, CR or CRLF ends a line).
 *  Thread: any.   Memory: the struct.   Errors: none. */
#ifndef EDGE_SSE_TAIL_H
#define EDGE_SSE_TAIL_H

#include "sv_types.h"

typedef struct sse_tail {
    char last[4]; /* the newest bytes, the newest last */
    uint8_t n;
} sse_tail;

void sse_tail_add(sse_tail *t, sv_str bytes);
bool sse_tail_between(const sse_tail *t);

#endif
