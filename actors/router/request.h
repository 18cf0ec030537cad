/*  request.h - the body a provider gets: the client's own bytes with as few edits as possible.
 *  Thread: any.   Ownership: request_edit writes to `out` only when something changes.
 *  Errors: SV_E_INVALID with the field; SV_E_NO_MEMORY, SV_E_TOO_LARGE. */
#ifndef ROUTER_REQUEST_H
#define ROUTER_REQUEST_H

#include "buf.h"
#include "error.h"
#include "json_scan.h"

typedef struct request_edits {
    sv_str model; /* new name of the model; {NULL, 0}: keep the client's */
    size_t model_at,
        model_n;        /* where a trusted caller says the model's string lies; n 0: look for it */
    bool include_usage; /* ask for usage in the stream */
} request_edits;

/* `text` is validated JSON. *ret is `text` itself or the bytes of `out`. */
int request_edit(sv_str text, const request_edits *e, buf *out, sv_str *ret, sv_error *err);

#endif
