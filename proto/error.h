/*  error.h - the one table of errors and how it maps to gRPC status, HTTP and text.
 *  Thread: any.   Errors: an unknown number is treated as INTERNAL. */
#ifndef SV_ERROR_H
#define SV_ERROR_H

#include "sv_types.h"

typedef enum sv_status_code {
#define STATUS(name, number, http) SV_STATUS_##name = number,
#include "status.def"
#undef STATUS
} sv_status_code;

enum {
    SV_OK = 0,
#define ERROR(name, number, code, status, http, retry, text) SV_E_##name = -(number),
#include "errors.def"
#undef ERROR
};

typedef enum sv_retry { SV_RETRY_NO, SV_RETRY_LATER, SV_RETRY_SAFE } sv_retry;

typedef struct sv_error_info {
    int code;         /* negative */
    const char *name; /* "request.invalid" */
    sv_status_code status;
    int http;
    sv_retry retry;
    const char *text;
} sv_error_info;

/* The row of `code` (0 or negative); INTERNAL's row for numbers nobody declared. Never NULL. */
const sv_error_info *sv_error_lookup(int code);
/* The row whose stable code is `name`, or NULL. */
const sv_error_info *sv_error_by_name(sv_str name);
/* "DEADLINE_EXCEEDED" for 4; "UNKNOWN" for numbers outside the table. */
const char *sv_status_name(uint32_t status);
int sv_status_http(uint32_t status);

/* Records the first failure in `err` (may be NULL) and returns `code`. `fmt` NULL takes the table's
 * text. */
int sv_fail(sv_error *err, int code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds server-only words for the log; keeps what is there. */
void sv_error_detail(sv_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
