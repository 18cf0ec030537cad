/*  canonical.h - one spelling for each JSON value, so that equal requests have equal keys.
 *
 *  Members are sorted by their names (bytes of the decoded text), space between tokens is left out,
 *  strings are spelled with as few escapes as JSON allows, and numbers stay as they are spelled: 0 and
 *  0.0 are two values, because nobody here may say that a provider takes them for one. The canonical
 *  text of a canonical text is the text itself.
 *
 *  Thread: any.   Ownership: nothing of its own.
 *  Limits: CANONICAL_DEPTH levels. Time is the text's length times its depth at most, of memory moves.
 *  Errors: SV_E_MALFORMED for what json_skim refuses as far as it is noticed here (callers skim first:
 *  UTF-8, doubled names and the spelling of numbers are not looked at again), SV_E_TOO_DEEP,
 *  SV_E_TOO_LARGE and SV_E_NO_MEMORY of the buffer. */
#ifndef SV_CANONICAL_H
#define SV_CANONICAL_H

#include "buf.h"
#include "sv_types.h"

enum { CANONICAL_DEPTH = 64 };

/* Appends the canonical text. Members of the outermost object whose name is in `without` (NULL at its
 * end; NULL: none) are left out. */
int canonical_json(sv_str text, const char *const *without, buf *out);

#endif
