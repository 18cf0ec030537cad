/*  log.h - JSON lines on stderr, one call a line.
 *  Fields are an allow-list of kinds: a secret has no kind, so it cannot be printed. Every value is
 *  escaped (control characters, U+2028), lines are cut at 8 KiB. Request and trace ids are added
 *  from the running call. Lines of one call site beyond the rate limit are counted and reported.
 *  Thread: any (one write(2) a line).   Errors: none; a failed write is counted. */
#ifndef SV_LOG_H
#define SV_LOG_H

#include "sv_types.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;

typedef enum log_kind {
    LOG_K_END,
    LOG_K_STR,
    LOG_K_INT,
    LOG_K_NUM,
    LOG_K_BOOL,
    LOG_K_ID,
    LOG_K_ERR
} log_kind;
typedef struct log_field {
    log_kind kind;
    const char *name;
    union {
        sv_str s;
        int64_t i;
        double d;
        const sv_id *id;
        const sv_error *err;
    } v;
} log_field;

#define LOG_STR(name, str)     ((log_field){LOG_K_STR, (name), {.s = sv_cstr(str)}})
#define LOG_SLICE(name, slice) ((log_field){LOG_K_STR, (name), {.s = (slice)}})
#define LOG_INT(name, int64)   ((log_field){LOG_K_INT, (name), {.i = (int64_t)(int64)}})
#define LOG_NUM(name, num)     ((log_field){LOG_K_NUM, (name), {.d = (num)}})
#define LOG_BOOL(name, flag)   ((log_field){LOG_K_BOOL, (name), {.i = (flag)}})
#define LOG_ID(name, idp)      ((log_field){LOG_K_ID, (name), {.id = (idp)}})
/* code, field, message and detail of an sv_error */
#define LOG_ERR(errp) ((log_field){LOG_K_ERR, "error", {.err = (errp)}})

/* `service` and `instance` appear in every line. `fd` 2 unless a test says otherwise. */
void log_init(const char *service, uint32_t instance, log_level level, int fd);
void log_instance(uint32_t instance);
void log_set_level(log_level level);
int log_level_parse(const char *word, log_level *ret);
/* What the running call adds to each line; NULL clears. Borrowed until cleared. */
void log_context(const sv_id *request_id, const sv_trace *trace);
bool log_has_context(void);

/* log_write(LOG_INFO, "provider answered", LOG_STR("provider", name), LOG_INT("status", 200)); */
#define log_write(level, event, ...)                                                               \
    log_line(level, __FILE__, __LINE__, event,                                                     \
             (const log_field[]){__VA_ARGS__ __VA_OPT__(, ){LOG_K_END, NULL, {.i = 0}}})
void log_line(log_level level, const char *file, int line, const char *event,
              const log_field *fields);

#endif
