/*  trace_context.h - W3C trace context (traceparent, tracestate) between HTTP headers and
 *  sv_trace.
 *  Strict: a header that is not exactly right, or comes twice, is as good as none and a new
 *  trace starts; its tracestate is dropped with it. Version ff is refused, later versions are
 *  read by the rules of 00.
 *  Thread: any (the random source is per thread).   Errors: none. */
#ifndef EDGE_TRACE_CONTEXT_H
#define EDGE_TRACE_CONTEXT_H

#include "sv_types.h"

enum { TRACEPARENT_BYTES = 55 };

/* Reads a traceparent value; the span id is the caller's. */
bool trace_parse(sv_str value, sv_trace *ret);
/* A new trace: random ids, marked random, not sampled. */
sv_trace trace_start(void);
/* The same trace with a span id of our own and only the flags that are defined. */
sv_trace trace_continue(const sv_trace *from);
/* "00-...-...-.." with NUL. */
void trace_format(const sv_trace *t, char text[TRACEPARENT_BYTES + 1]);
/* At most 512 visible bytes and blanks: may be passed on. */
bool tracestate_ok(sv_str value);

#endif
