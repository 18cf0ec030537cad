/*  byte_range.h - what a request asks of a representation (RFC 9110): conditions and one range.
 *  Thread: any.   Ownership: everything is borrowed.   Errors: none; what cannot be read counts as
 *  not sent, as the RFC has it. */
#ifndef EDGE_BYTE_RANGE_H
#define EDGE_BYTE_RANGE_H

#include "sv_types.h"

typedef enum range_kind {
    RANGE_WHOLE, /* none, several, another unit, or no range at all */
    RANGE_PART,
    RANGE_BEYOND /* 416 */
} range_kind;

/* `value` of Range for `size` bytes. RANGE_PART: *from and *n, inside of them and not empty. */
range_kind byte_range_read(sv_str value, uint64_t size, uint64_t *from, uint64_t *n);
/* `list` of If-None-Match has `tag` (with its quotes), strong or weak, or is *. */
bool etag_listed(sv_str list, sv_str tag);

#endif
