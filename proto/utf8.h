/*  utf8.h - strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SV_UTF8_H
#define SV_UTF8_H

#include "sv_types.h"

bool utf8_valid(sv_str s);
/* Length in bytes of the well-formed sequence at p, or 0. `n` bytes may be read. */
size_t utf8_sequence(const uint8_t *p, size_t n);

#endif
