/*  op.h - one file an operation: a JSON object in, one out, by the product's own code.
 *  Thread: one.   Ownership: requests are borrowed; what an operation allocates it frees.
 *  Errors: an operation returns 0 and has appended its answer, or returns a negative number and says
 *  why in `err`. */
#ifndef VECTORS_OP_H
#define VECTORS_OP_H

#include "buf.h"
#include "json_scan.h"

enum {
    LINE_BYTES = 4 << 20,
    /* every byte may become six, beside the names of the members */
    ANSWER_BYTES = 8 * LINE_BYTES
};

typedef int op_function(json_value request, buf *answer, sv_error *err);

op_function op_aead, op_hotp, op_jws, op_msgpack, op_sse, op_totp, op_url;

/* The answer to what the product has no code for. */
int op_skip(buf *answer);

/* A member of the request, its text appended to `to`; WRONG_TYPE, MISSING_FIELD or INVALID by name. */
int member_text(json_value request, const char *name, buf *to, sv_error *err);
int member_hex(json_value request, const char *name, buf *to, sv_error *err);
/* An integer from 0; absent takes `absent`, or is refused where that is negative. */
int member_uint(json_value request, const char *name, int64_t absent, uint64_t *ret, sv_error *err);

/* Appends "name":"text", with quotes and escapes. */
void put_member(buf *answer, const char *name, sv_str text);
void put_member_hex(buf *answer, const char *name, sv_str bytes);

#endif
