/*  sv_types.h - the small values every room passes around: ids, slices, traces, errors.
 *  Thread: plain values, any thread.    Ownership: a slice borrows; ids and errors are copied.
 *  Errors: functions return 0 or a negative error number (errors.def) and may fill an sv_error. */
#ifndef SV_TYPES_H
#define SV_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes; not NUL-terminated. {NULL, 0} means absent. */
typedef struct sv_str {
    const char *p;
    uint32_t n;
} sv_str;

/* A request id: UUIDv7, 16 bytes, network order. All zero means none. */
typedef struct sv_id {
    uint8_t b[16];
} sv_id;

/* W3C trace context in binary: 16 byte trace id, 8 byte span id, flags (bit 0 sampled, bit 1
 * random). */
typedef struct sv_trace {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t flags;
} sv_trace;

/* What went wrong, in words for the caller. `message` and `field` may reach a client; `detail` is
 * for the server's log only. The first failing place sets it (sv_fail keeps the first). */
typedef struct sv_error {
    int code;                /* 0 or a negative number from errors.def */
    uint32_t retry_after_ms; /* 0: say nothing about when to retry */
    bool final;              /* the service has tried again itself: repeating it helps nobody */
    char field[96];          /* path of the offending field, or "" */
    char message[256];
    char detail[256];
} sv_error;

static inline sv_str sv_cstr(const char *s)
{
    return (sv_str){s, s ? (uint32_t)strlen(s) : 0};
}

static inline bool sv_str_eq(sv_str a, sv_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool sv_str_is(sv_str a, const char *s)
{
    return sv_str_eq(a, sv_cstr(s));
}

static inline bool sv_id_eq(const sv_id *a, const sv_id *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

static inline bool sv_id_is_zero(const sv_id *a)
{
    static const sv_id zero;
    return sv_id_eq(a, &zero);
}

#define SV_FMT(s) (int)(s).n, (s).p ? (s).p : "" /* for "%.*s" */

#endif
