/*  error.c - errors.def expanded into a dense table indexed by the positive number. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

enum {
#define STATUS(name, number, http) STATUS_HTTP_##name = http,
#include "status.def"
#undef STATUS
};

static const sv_error_info table[] = {
    [0] = {0, "ok", SV_STATUS_OK, 200, SV_RETRY_NO, "OK"},
#define ERROR(name, number, code, status, http, retry, text)                                       \
    [number] = {                                                                                   \
        -(number),        code, SV_STATUS_##status, (http) ? (http) : STATUS_HTTP_##status,        \
        SV_RETRY_##retry, text},
#include "errors.def"
#undef ERROR
};

const sv_error_info *sv_error_lookup(int code)
{
    size_t i = (size_t)(code > 0 ? code : -code);
    if (i >= sizeof table / sizeof *table || table[i].name == NULL) i = -SV_E_INTERNAL;
    return &table[i];
}

const sv_error_info *sv_error_by_name(sv_str name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].name && sv_str_is(name, table[i].name)) return &table[i];
    return NULL;
}

const char *sv_status_name(uint32_t status)
{
    switch (status) {
#define STATUS(name, number, http)                                                                 \
    case number:                                                                                   \
        return #name;
#include "status.def"
#undef STATUS
    default: return "UNKNOWN";
    }
}

int sv_status_http(uint32_t status)
{
    switch (status) {
#define STATUS(name, number, http)                                                                 \
    case number:                                                                                   \
        return http;
#include "status.def"
#undef STATUS
    default: return 500;
    }
}

int sv_fail(sv_error *err, int code, const char *field, const char *fmt, ...)
{
    if (err == NULL || err->code != 0) return code;
    err->code = code;
    snprintf(err->field, sizeof err->field, "%s", field ? field : "");
    if (fmt == NULL) {
        snprintf(err->message, sizeof err->message, "%s", sv_error_lookup(code)->text);
        return code;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return code;
}

void sv_error_detail(sv_error *err, const char *fmt, ...)
{
    if (err == NULL) return;
    size_t used = strlen(err->detail);
    if (used > 0 && used + 3 < sizeof err->detail) {
        memcpy(err->detail + used, "; ", 3);
        used += 2;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->detail + used, sizeof err->detail - used, fmt, ap);
    va_end(ap);
}
