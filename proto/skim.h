/*  skim.h - a look over msgpack bytes before anything decodes them.
 *  One forward pass, no recursion, no allocation: every claimed size is checked against what is
 *  left, so a five-byte array header cannot make a decoder reserve gigabytes. Refuses: truncation,
 *  trailing bytes, more than `max_depth` levels, more than `max_nodes` values, 0xc1, extension
 *  types, strings that are not UTF-8, map keys that are not strings, duplicate keys.
 *  Thread: any.
 *
 *  Errors: SV_E_MALFORMED, SV_E_TOO_DEEP, SV_E_TOO_LARGE, SV_E_BAD_UTF8, SV_E_DUPLICATE_KEY; `err`
 *  names the byte offset. */
#ifndef SV_SKIM_H
#define SV_SKIM_H

#include "sv_limits.h"
#include "sv_types.h"

int skim_msgpack(sv_str bytes, uint32_t max_depth, uint32_t max_nodes, sv_error *err);

#endif
