/*  base64url.h - RFC 4648 section 5 in its one canonical spelling: no padding, no white space, no
 *  bits left over. Every byte string has exactly one text, so nobody can spell a revoked token a
 *  second way.
 *  Thread: any.   Ownership: no memory of its own.   Errors: SV_E_INVALID for any other spelling,
 *  buffer errors. */
#ifndef SV_BASE64URL_H
#define SV_BASE64URL_H

#include "buf.h"
#include "sv_types.h"

/* Characters for `n` bytes, without a NUL. */
#define BASE64URL_TEXT(n) (((n)*4 + 2) / 3)

/* Appends the text of `n` bytes. */
int base64url_put(const void *p, size_t n, buf *out);
/* Appends the bytes of `text`; `out` is as it was on failure. */
int base64url_get(sv_str text, buf *out);
/* Exactly `n` bytes into `p`; a text of another length is SV_E_INVALID. */
int base64url_get_exact(sv_str text, void *p, size_t n);

#endif
