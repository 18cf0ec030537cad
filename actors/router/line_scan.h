/*  line_scan.h - lines found in a byte stream, however it is cut into pieces (NDJSON).
 *  Each whole line is shown without its end (LF or CR LF); empty ones are not.
 *  Thread: one owner.   Ownership: lines are borrowed for the call.
 *  Limits: LINE_BYTES a line.   Errors: SV_E_PROVIDER_TOO_LARGE, SV_E_NO_MEMORY. */
#ifndef ROUTER_LINE_SCAN_H
#define ROUTER_LINE_SCAN_H

#include "buf.h"

enum { LINE_BYTES = 896 << 10 };

typedef struct line_scan {
    buf held;
} line_scan;

/* False stops. */
typedef bool line_sink(void *arg, sv_str line);

void line_init(line_scan *s);
void line_free(line_scan *s);
/* 0, 1 when the sink stopped it, or an error. */
int line_feed(line_scan *s, sv_str bytes, line_sink *sink, void *arg);
/* The input ended: what is held is a line. */
int line_end(line_scan *s, line_sink *sink, void *arg);

#endif
