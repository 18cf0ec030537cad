/*  json_scan.h - strict look at JSON bytes, and edits at byte offsets.
 *  LLM bodies travel as the client's own bytes: they are validated once, a few fields are found by
 *  token, and what must change is replaced in place, so unknown fields, key order and number
 *  spelling survive.
 *
 *  json_skim accepts exactly RFC 8259 texts in strict UTF-8 whose objects have no duplicate keys
 *  (keys are compared after decoding escapes), within `max_depth` (at most 256). One pass, no
 *  recursion; memory only for keys. \u0000 and unpaired surrogates in escapes are refused. Values
 *  are found by a scanner that steps over strings and counts brackets: no token array.
 *  Thread: any.
 *
 *  Ownership: results borrow from the text.
 *  Errors: SV_E_MALFORMED, SV_E_TOO_DEEP, SV_E_BAD_UTF8,
 *  SV_E_DUPLICATE_KEY, SV_E_TOO_LARGE, SV_E_NO_MEMORY; err->message names the byte offset. */
#ifndef SV_JSON_SCAN_H
#define SV_JSON_SCAN_H

#include "buf.h"
#include "sv_types.h"

typedef enum json_type {
    JSON_NONE, /* not there */
    JSON_NULL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_type;

typedef struct json_value {
    json_type type;
    sv_str raw; /* the value's bytes; strings with their quotes */
} json_value;

int json_skim(sv_str text, uint32_t max_depth, sv_error *err);

/* The members below work on text that json_skim accepted (behaviour on other text is memory-safe
 * but the answer is unspecified). They scan without allocating. */

/* The value of the whole text. */
json_value json_root(sv_str text);
/* Member `key` of an object; {JSON_NONE} when absent or when `object` is no object. */
json_value json_get(json_value object, const char *key);
/* Walks an object: *at starts at 0. False at the end. The key comes raw, without quotes. */
bool json_next_member(json_value object, size_t *at, sv_str *key, json_value *value);
bool json_next_element(json_value array, size_t *at, json_value *value);
/* Decodes a string's escapes into `out` (UTF-8). 0, SV_E_WRONG_TYPE or buffer errors. */
int json_text(json_value v, buf *out);
/* The same by its older name; inline, because jansson exports a function called json_string. */
static inline int json_string(json_value v, buf *out)
{
    return json_text(v, out);
}
/* Text equality of a string value with `s`, escapes decoded. */
bool json_string_is(json_value v, const char *s);
/* Integers within int64 without fraction or exponent. 0 or SV_E_WRONG_TYPE / SV_E_OUT_OF_RANGE. */
int json_int(json_value v, int64_t *ret);
/* Finite, spelled in at most 512 bytes. 0 or SV_E_WRONG_TYPE / SV_E_OUT_OF_RANGE. */
int json_number(json_value v, double *ret);

/* One replacement: bytes [at, at+cut) of the text become `put`. */
typedef struct json_edit {
    size_t at, cut;
    sv_str put;
} json_edit;
/* Writes text with `n` edits to out. SV_E_INVALID unless they are sorted by `at` and do not overlap
 * (two removals of neighbours do, by their comma: apply one, then make the other); or buffer
 * errors. */
int json_apply(sv_str text, const json_edit *edits, size_t n, buf *out);
/* The edit that sets top-level member `key` of the object to the JSON text `value`: a replacement,
 * or an insertion after the opening brace. `scratch` holds the inserted text and must outlive the
 * edit: one scratch an edit. An empty object takes one insertion per json_apply. 0, SV_E_WRONG_TYPE
 * (the text is no object) or buffer errors. */
int json_edit_set(sv_str text, const char *key, sv_str value, buf *scratch, json_edit *ret);
/* The edit that removes a top-level member with its comma; cut 0 when it is absent. */
json_edit json_edit_remove(sv_str text, const char *key);

#endif
