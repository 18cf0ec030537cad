/*  sse_scan.h - server-sent events found in a byte stream, however it is cut into pieces.
 *  Each whole event is shown to `event`, which says whether its bytes go on; `pass` gets those
 *  bytes, unchanged and in order, as few and large pieces as they come. An event is never passed on
 *  in part. Lines end with LF, CR or CRLF; comments, unknown fields and a byte order mark are kept.
 *  The concatenation of what is passed does not depend on how the input was cut.
 *  Fields are read by the rules of WHATWG's HTML, "Server-sent events"; beside the data, the scan
 *  holds an event's type, the last id and the reconnection time for who wants them.
 *  Thread: one owner.   Ownership: everything shown is borrowed for the call.
 *  Limits: SSE_EVENT_BYTES an event, SSE_ID_BYTES an id.   Errors: SV_E_PROVIDER_TOO_LARGE, SV_E_BAD_UTF8,
 *  SV_E_NO_MEMORY. */
#ifndef ROUTER_SSE_SCAN_H
#define ROUTER_SSE_SCAN_H

#include "buf.h"

/* With what one read brings (16 KiB) and the 64 KiB that may wait already, an event fits the 1 MiB
 * that sv_write keeps. */
enum {
    SSE_EVENT_BYTES = 896 << 10,
    SSE_ID_BYTES = 4096 /* a longer id is not taken */
};

typedef enum sse_verdict { SSE_PASS, SSE_DROP, SSE_STOP } sse_verdict;

typedef struct sse_sink {
    /* `data` is the event's data lines joined by LF; {NULL, 0} when it has none (comments, blank
     * lines). */
    sse_verdict (*event)(void *arg, sv_str data);
    /* False stops. */
    bool (*pass)(void *arg, sv_str bytes);
} sse_sink;

typedef struct sse_scan {
    buf held;        /* the event that is not whole yet */
    buf joined;      /* data of an event with several data lines */
    bool line_start; /* the current line is empty so far */
    bool after_cr;   /* an LF now belongs to the line end before it */
    bool last_passed;
    bool begun;
    sv_str type;      /* of the event that is being shown; empty stands for "message" */
    buf id;           /* of the last event that had one */
    int64_t retry_ms; /* the last one of whole events; -1 before the first */
} sse_scan;

void sse_init(sse_scan *s);
void sse_free(sse_scan *s);
/* 0, 1 when `event` or `pass` stopped it, or an error. */
int sse_feed(sse_scan *s, sv_str bytes, const sse_sink *sink, void *arg);
/* The input ended: an event that lacks only its last blank line is shown, and completed when
 * passed. */
int sse_end(sse_scan *s, const sse_sink *sink, void *arg);
/* The reconnection time that the lines so far ask for, an event's that is not whole, too; or -1. */
int64_t sse_retry(const sse_scan *s);
/* Bytes of an event that is not whole. */
size_t sse_held(const sse_scan *s);

#endif
