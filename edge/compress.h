/*  compress.h - content codings (RFC 9110, 8.4.1 and 12.5.3): which one a client takes, and gzip and
 *  brotli of answers.
 *
 *  What a client takes is known while its request is there; the answer may come later. So the choice
 *  is made in two steps:
 *
 *      c->takes = coding_of(request, CODINGS_ALL);                        at the head
 *
 *      coding how = compress_choose(c->takes, content_type, body.n);      at the answer
 *      if (how && compress_body(how, body, &packed) == 0) {
 *          body = buf_str(&packed);                      header content-encoding: coding_names[how]
 *      }
 *      if (compress_may(content_type, size before)) header vary: accept-encoding
 *
 *  Not for answers with secrets beside what a caller can choose (ROUTE_SECRET): their length would
 *  tell about the secret. Event streams are never compressed, nor what is coded already.
 *
 *  Thread: any.   Ownership: nothing is kept; working memory is freed before the call returns.
 *  Limits: COMPRESS_LEAST and COMPRESS_MOST bytes; the result is shorter than what it is made of.
 *  Errors: SV_E_TOO_LARGE when it does not get shorter, SV_E_NO_MEMORY: send it as it is. */
#ifndef EDGE_COMPRESS_H
#define EDGE_COMPRESS_H

#include "buf.h"
#include "http.h"

enum { COMPRESS_LEAST = 1025, COMPRESS_MOST = 2 << 20 };

/* In order of preference where a client has none. */
typedef enum coding { CODING_IDENTITY, CODING_GZIP, CODING_BR, CODINGS } coding;

enum { CODINGS_ALL = 1u << CODING_IDENTITY | 1u << CODING_GZIP | 1u << CODING_BR };

extern const char *const coding_names[CODINGS]; /* "gzip"; NULL for identity */

/* The one of `available` (bits 1 << coding; identity always is) that the client likes best.
 * Elements that cannot be read count as not sent. A client that refuses all there is gets identity:
 * an answer that it may be able to use instead of none. */
coding coding_of(const http_request *r, unsigned available);

/* Text of a size that is worth it. */
bool compress_may(sv_str content_type, size_t n);
/* What to do with an answer for a client that takes `takes`. */
coding compress_choose(coding takes, sv_str content_type, size_t n);
/* Appends `body` in the coding, which is not identity, to `out`. */
int compress_body(coding how, sv_str body, buf *out);

#endif
