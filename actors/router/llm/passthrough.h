/*  passthrough.h - edits of bodies that are passed to providers as they came.
 *
 *  A form (multipart/form-data, as transcriptions are asked for) names its model in a field of its
 *  own. The field's value is replaced, no other byte is touched. Providers' readers of forms differ,
 *  so that a field which one of them would see and this one would not must not pass: the form is read
 *  strictly, and anything that could be read in two ways is refused - text around the parts, line ends
 *  other than CRLF at boundaries, boundaries inside values, escapes in names, folded or doubled header
 *  lines, transfer encodings, a second field "model".
 *
 *  Thread: any.   Ownership: results borrow from the body.
 *  Limits: FORM_*; one pass over the body, no memory.
 *  Errors: SV_E_INVALID with what is wrong, SV_E_MISSING_FIELD and SV_E_INVALID with field "model",
 *  SV_E_OUT_OF_RANGE for its length, SV_E_HTTP_MEDIA_TYPE for a Content-Type that is no form. */
#ifndef LLM_PASSTHROUGH_H
#define LLM_PASSTHROUGH_H

#include "buf.h"
#include "sv_types.h"

enum {
    FORM_PARTS = 64,
    FORM_HEAD_BYTES = 8192, /* header lines of one part */
    FORM_HEAD_LINES = 16,
    FORM_BOUNDARY_BYTES = 70,
    FORM_MODEL_BYTES = 256
};

/* The boundary in the value of a header Content-Type: multipart/form-data. */
int form_boundary(sv_str content_type, sv_str *ret, sv_error *err);
/* The value of the field "model": printable text of 1 to FORM_MODEL_BYTES bytes of UTF-8. */
int form_model(sv_str body, sv_str boundary, sv_str *ret, sv_error *err);
/* Appends the body with `model` as that value. Also SV_E_INVALID for a model that cannot be a field's
 * value, and buffer errors. */
int form_set_model(sv_str body, sv_str boundary, sv_str model, buf *out, sv_error *err);

#endif
