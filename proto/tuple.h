/*  tuple.h - keys whose bytes sort as their parts do.
 *  A key is a sequence of parts: integers, text, bytes. memcmp order of two keys is the order of
 *  their parts, one after the other; a key that is the beginning of another sorts first. Each part
 *  begins with a tag, so a key can be read back without knowing its shape. The encoding is that of
 *  the FoundationDB tuple layer, restricted to these three types:
 *      bytes 0x01, text 0x02: the bytes, 0x00 written as 0x00 0xFF, then 0x00
 *      integer 0x0c..0x1c: 0x14 + n, then n big-endian bytes (none for 0); a negative one has
 *      0x14 - n and its value plus 2^(8n) - 1
 *  Thread: plain values.   Ownership: a reader borrows the key; text with zeros in it is undone in
 *  the caller's scratch space.   Limits: LIMIT_STORE_KEY_BYTES.
 *  Errors: SV_E_TOO_LARGE, remembered in `failed`; SV_E_MALFORMED when reading. */
#ifndef SV_TUPLE_H
#define SV_TUPLE_H

#include "sv_limits.h"
#include "sv_types.h"

typedef struct tuple {
    uint16_t n;
    bool failed; /* a part did not fit; stays set until tuple_clear */
    uint8_t b[LIMIT_STORE_KEY_BYTES];
} tuple;

void tuple_clear(tuple *t);
int tuple_int(tuple *t, int64_t value);
int tuple_text(tuple *t, sv_str text);
int tuple_bytes(tuple *t, sv_str bytes);
/* As above, for keys that only have to order and to be equal when the values are: what has
 * LIMIT_STORE_INDEX_TEXT bytes or more is written as its beginning and a 16 byte BLAKE2b hash of all
 * of it. Order among such long values is that of their beginnings. */
int tuple_text_short(tuple *t, sv_str text);
int tuple_bytes_short(tuple *t, sv_str bytes);
/* Appends parts that are encoded already. */
int tuple_append(tuple *t, sv_str encoded);
sv_str tuple_str(const tuple *t);
/* The first key after every key that begins with `t`: appends 0xFF, or counts a full one up. */
int tuple_end(tuple *t);
/* The first key after `t` itself: appends 0x00. */
int tuple_after(tuple *t);

typedef enum tuple_type { TUPLE_BYTES = 1, TUPLE_TEXT = 2, TUPLE_INT = 20 } tuple_type;

typedef struct tuple_part {
    tuple_type type;
    int64_t i;
    sv_str s; /* of the key's bytes, or of the scratch space */
} tuple_part;

/* Reads the first part of *rest and moves behind it. `scratch` has LIMIT_STORE_KEY_BYTES bytes and
 * must outlive ret->s. 0, or SV_E_MALFORMED for bytes tuple_* would not have written, the end
 * included. */
int tuple_next(sv_str *rest, char *scratch, tuple_part *ret);
/* "(7, \"a\\tb\", x'00ff')" for people; malformed bytes print as x'..'. */
struct buf;
int tuple_print(sv_str key, struct buf *out);

#endif
