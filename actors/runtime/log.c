/*  log.c - each line is built on the stack and leaves with one write(2).
 *
 *  The buffer keeps a reserve at its end for the ids, the mark "truncated" and the closing
 *  brace, so a line that is cut is still one JSON object: a string is cut between characters,
 *  anything else that does not fit is left out whole.
 *
 *  A pipe (the supervisor reads the other end) is opened a second time without blocking: a
 *  reader that stalls costs lines, which are counted, and never holds the loop. A line that
 *  went out in part is closed by the newline that every buffer starts with and that is normally
 *  not written.
 *
 *  Rate limit: a fixed table of call sites, each with the second it counts in. The first line
 *  of a new second, from whichever site, reports what was suppressed in the seconds before. */
#include "log.h"

#include "error.h"
#include "metrics.h"
#include "utf8.h"
#include "uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES = 8192,
    TAIL_BYTES = 160, /* request_id 53, trace_id 47, truncated 17, brace, newline */
    SITES = 256,
    LINES_SECOND = 50
};

typedef struct site {
    const char *file; /* NULL: free */
    int line;
    uint64_t second;
    uint32_t lines, suppressed;
} site;

static struct {
    char service[40];
    _Atomic uint32_t instance;
    _Atomic int level, fd;
    int own_fd; /* 1 + the descriptor that log_init opened, or 0 */
    _Atomic bool torn;
    pthread_mutex_t mutex; /* guards what follows */
    site sites[SITES];
    uint64_t second; /* of the last look over the sites */
} logger = {.level = LOG_INFO, .fd = 2, .mutex = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local const sv_id *context_id;
static _Thread_local const sv_trace *context_trace;

static const char *const level_name[] = {"debug", "info", "warn", "error"};

/* ---- settings ---- */

void log_init(const char *service, uint32_t instance, log_level level, int fd)
{
    snprintf(logger.service, sizeof logger.service, "%s", service);
    logger.instance = instance;
    logger.level = (int)level;
    logger.torn = false;
    if (logger.own_fd) close(logger.own_fd - 1);
    logger.own_fd = 0;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (again >= 0) {
            fd = again;
            logger.own_fd = again + 1;
        }
    }
    logger.fd = fd;
    pthread_mutex_lock(&logger.mutex);
    memset(logger.sites, 0, sizeof logger.sites);
    pthread_mutex_unlock(&logger.mutex);
}

void log_instance(uint32_t instance)
{
    logger.instance = instance;
}

void log_set_level(log_level level)
{
    logger.level = (int)level;
}

int log_level_parse(const char *word, log_level *ret)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(word, level_name[i]) == 0) {
            *ret = (log_level)i;
            return 0;
        }
    }
    return SV_E_INVALID;
}

void log_context(const sv_id *request_id, const sv_trace *trace)
{
    context_id = request_id;
    context_trace = trace;
}

bool log_has_context(void)
{
    return context_id != NULL;
}

/* ---- building a line ---- */

typedef struct writer {
    char p[LINE_BYTES + 1]; /* p[0] is the spare newline */
    size_t n, max;
    bool cut;
} writer;

static bool put(writer *w, const char *p, size_t n)
{
    if (n > w->max - w->n) return false;
    memcpy(w->p + w->n, p, n);
    w->n += n;
    return true;
}

static bool puts_(writer *w, const char *s)
{
    return put(w, s, strlen(s));
}

/* One character of `s` at `i`, as JSON wants it; the replacement character for a byte that is no
 * UTF-8. Answers how many bytes of `s` it stands for. */
static size_t escape(sv_str s, size_t i, char out[8], size_t *n)
{
    uint8_t c = (uint8_t)s.p[i];
    size_t len = utf8_sequence((const uint8_t *)s.p + i, s.n - i);
    if (len == 0) {
        memcpy(out, "\\ufffd", *n = 6);
        return 1;
    }
    static const char line_separators[] = "\xe2\x80\xa8\xe2\x80\xa9"; /* U+2028, U+2029 */
    if (len == 3 && memcmp(s.p + i, line_separators, 2) == 0 &&
        (uint8_t)(s.p[i + 2] & 0xfe) == 0xa8)
        *n = (size_t)snprintf(out, 8, "\\u202%c", s.p[i + 2] == line_separators[2] ? '8' : '9');
    else if (c == '"' || c == '\\')
        *n = (size_t)snprintf(out, 8, "\\%c", c);
    else if (c == '\n')
        *n = (size_t)snprintf(out, 8, "\\n");
    else if (c < 0x20 || c == 0x7f)
        *n = (size_t)snprintf(out, 8, "\\u%04x", c);
    else
        memcpy(out, s.p + i, *n = len);
    return len;
}

/* The string with its quotes. When `whole`, all of it or nothing; else as much as fits. */
static bool put_string(writer *w, sv_str s, bool whole)
{
    if (s.p == NULL) return puts_(w, "null");
    size_t start = w->n;
    if (w->max - w->n < 2) return false;
    w->p[w->n++] = '"';
    w->max--; /* keeps room for the closing quote */
    bool fits = true;
    for (size_t i = 0, n = 0; i < s.n && fits;) {
        char c[8];
        i += escape(s, i, c, &n);
        fits = put(w, c, n);
    }
    w->max++;
    if (!fits && whole) {
        w->n = start;
        return false;
    }
    w->cut |= !fits;
    w->p[w->n++] = '"';
    return true;
}

static bool put_name(writer *w, const char *name)
{
    return put(w, ",", 1) && put_string(w, sv_cstr(name), true) && put(w, ":", 1);
}

static bool put_member(writer *w, bool *first, const char *name, const char *value)
{
    if (value[0] == 0) return true;
    bool ok = put(w, ",", *first ? 0 : 1) && put_string(w, sv_cstr(name), true) && put(w, ":", 1) &&
              put_string(w, sv_cstr(value), true);
    *first = false;
    return ok;
}

/* The detail goes first when there is no room for all of it: message and code say more. */
static bool put_error(writer *w, const sv_error *e)
{
    if (e == NULL) return puts_(w, "null");
    for (int with_detail = 1; with_detail >= 0; with_detail--) {
        size_t start = w->n;
        bool first = true;
        if (put(w, "{", 1) && put_member(w, &first, "code", sv_error_lookup(e->code)->name) &&
            put_member(w, &first, "field", e->field) &&
            put_member(w, &first, "message", e->message) &&
            (!with_detail || put_member(w, &first, "detail", e->detail)) && put(w, "}", 1)) {
            w->cut |= !with_detail;
            return true;
        }
        w->n = start;
    }
    return false;
}

static bool put_value(writer *w, const log_field *f)
{
    char text[64];
    switch (f->kind) {
    case LOG_K_STR: return put_string(w, f->v.s, false);
    case LOG_K_INT: snprintf(text, sizeof text, "%lld", (long long)f->v.i); break;
    case LOG_K_NUM:
        if (isfinite(f->v.d))
            snprintf(text, sizeof text, "%.15g", f->v.d);
        else
            snprintf(text, sizeof text, "null");
        break;
    case LOG_K_BOOL: return puts_(w, f->v.i ? "true" : "false");
    case LOG_K_ID:
        if (f->v.id == NULL) return puts_(w, "null");
        uuid_format(f->v.id, text);
        return put_string(w, sv_cstr(text), true);
    case LOG_K_ERR: return put_error(w, f->v.err);
    case LOG_K_END: return false;
    }
    return puts_(w, text);
}

static void put_field(writer *w, const log_field *f)
{
    size_t start = w->n;
    if (!put_name(w, f->name) || !put_value(w, f)) {
        w->n = start;
        w->cut = true;
    }
}

static void put_head(writer *w, log_level level, const char *event, const struct timespec *now)
{
    struct tm tm;
    gmtime_r(&now->tv_sec, &tm);
    char head[128];
    int n =
        snprintf(head, sizeof head,
                 "{\"ts\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"level\":\"%s\",\"service\":",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)(now->tv_nsec / 1000000), level_name[level]);
    put(w, head, (size_t)n);
    put_string(w, sv_cstr(logger.service), false);
    n = snprintf(head, sizeof head, ",\"instance\":%u,\"event\":", logger.instance);
    put(w, head, (size_t)n);
    put_string(w, sv_cstr(event), false);
}

static void put_tail(writer *w)
{
    static const sv_trace none;
    w->max = LINE_BYTES + 1;
    char text[UUID_TEXT + 1];
    if (context_id && !sv_id_is_zero(context_id)) {
        uuid_format(context_id, text);
        put_name(w, "request_id");
        put_string(w, sv_cstr(text), true);
    }
    if (context_trace && memcmp(context_trace->trace_id, none.trace_id, sizeof none.trace_id)) {
        hex_format(context_trace->trace_id, sizeof context_trace->trace_id, text);
        put_name(w, "trace_id");
        put_string(w, sv_cstr(text), true);
    }
    if (w->cut) puts_(w, ",\"truncated\":true");
    put(w, "}\n", 2);
}

static void count_dropped(uint64_t n)
{
    metric_add(metric_one(M_LOG_DROPPED), n);
}

static void emit(log_level level, const char *event, const log_field *fields,
                 const struct timespec *now)
{
    writer w;
    w.p[0] = '\n';
    w.n = 1;
    w.max = LINE_BYTES + 1 - TAIL_BYTES;
    w.cut = false;
    put_head(&w, level, event, now);
    for (; fields->kind != LOG_K_END; fields++)
        put_field(&w, fields);
    put_tail(&w);

    size_t from = atomic_exchange(&logger.torn, false) ? 0 : 1;
    ssize_t n;
    do
        n = write(logger.fd, w.p + from, w.n - from);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)(w.n - from)) return;
    if (n > 0 || from == 0) logger.torn = true;
    count_dropped(1);
}

/* ---- rate limit ---- */

typedef struct report {
    const char *file;
    int line;
    uint32_t n;
} report;

/* The site's entry; when the table is full the rest share the last one. */
static site *find_site(const char *file, int line)
{
    size_t h = ((size_t)(uintptr_t)file * 31 + (size_t)line * 2654435761u) % SITES;
    for (size_t i = 0; i < SITES; i++) {
        site *s = &logger.sites[(h + i) % SITES];
        if (s->file == NULL) {
            s->file = file;
            s->line = line;
        }
        if (s->file == file && s->line == line) return s;
    }
    return &logger.sites[SITES - 1];
}

/* Moves what earlier seconds suppressed to `reports`; answers how many. */
static size_t collect(uint64_t second, report *reports)
{
    size_t n = 0;
    for (size_t i = 0; i < SITES; i++) {
        site *s = &logger.sites[i];
        if (s->suppressed > 0 && s->second < second) {
            reports[n++] = (report){s->file, s->line, s->suppressed};
            s->suppressed = 0;
        }
    }
    return n;
}

static void emit_report(const report *r, const struct timespec *now)
{
    const char *slash = strrchr(r->file, '/');
    char where[64];
    snprintf(where, sizeof where, "%s:%d", slash ? slash + 1 : r->file, r->line);
    const log_field fields[] = {
        LOG_INT("n", r->n), LOG_STR("site", where), {LOG_K_END, NULL, {.i = 0}}};
    emit(LOG_WARN, "lines suppressed", fields, now);
}

void log_line(log_level level, const char *file, int line, const char *event,
              const log_field *fields)
{
    if ((int)level < logger.level) return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t second = (uint64_t)now.tv_sec;
    report reports[SITES];
    size_t n_reports = 0;

    pthread_mutex_lock(&logger.mutex);
    if (second > logger.second) {
        logger.second = second;
        n_reports = collect(second, reports);
    }
    site *s = find_site(file, line);
    if (s->second != second) {
        s->second = second;
        s->lines = 0;
    }
    bool over = s->lines >= LINES_SECOND;
    if (over)
        s->suppressed++;
    else
        s->lines++;
    pthread_mutex_unlock(&logger.mutex);

    if (logger.level <= (int)LOG_WARN)
        for (size_t i = 0; i < n_reports; i++)
            emit_report(&reports[i], &now);
    if (over)
        count_dropped(1);
    else
        emit(level, event, fields, &now);
}
