/*  sse_scan.c - a state of two bits over bytes: is the line empty so far, was the last byte a CR.
 *  A line end on an empty line ends the event. With CRLF that is known at the CR already; the LF
 *  that may follow is counted to the event before it, whose verdict is remembered for it. Whole
 *  events inside one piece of input are shown and passed in place, neighbouring ones as one slice;
 *  only an event that crosses pieces is copied. */
#include "sse_scan.h"

#include "error.h"
#include "utf8.h"

void sse_init(sse_scan *s)
{
    *s = (sse_scan){.line_start = true, .retry_ms = -1};
    buf_init(&s->held, SSE_EVENT_BYTES);
    buf_init(&s->joined, SSE_EVENT_BYTES);
    buf_init(&s->id, SSE_ID_BYTES);
}

void sse_free(sse_scan *s)
{
    buf_free(&s->held);
    buf_free(&s->joined);
    buf_free(&s->id);
}

size_t sse_held(const sse_scan *s)
{
    return s->held.n;
}

/* The next line of `event` from *at, without its end. */
static bool next_line(sv_str event, size_t *at, sv_str *line)
{
    size_t from = *at;
    if (from >= event.n) return false;
    size_t to = from;
    while (to < event.n && event.p[to] != '\n' && event.p[to] != '\r')
        to++;
    *line = (sv_str){event.p + from, (uint32_t)(to - from)};
    if (to + 1 < event.n && event.p[to] == '\r' && event.p[to + 1] == '\n') to++;
    *at = to + 1;
    return true;
}

/* Whether the line is of the field `name`, of `n` bytes; its value without the first space. */
static bool field_line(sv_str line, const char *name, uint32_t n, sv_str *value)
{
    if (line.n < n || memcmp(line.p, name, n) != 0) return false;
    if (line.n > n && line.p[n] != ':') return false;
    uint32_t skip = line.n == n ? n : line.n > n + 1 && line.p[n + 1] == ' ' ? n + 2 : n + 1;
    *value = (sv_str){line.p + skip, line.n - skip};
    return true;
}

/* Digits alone; beyond sixteen of them the number is large enough. */
static void read_retry(sv_str digits, int64_t *retry_ms)
{
    int64_t v = 0;
    for (uint32_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') return;
        if (v < 1000000000000000) v = v * 10 + (digits.p[i] - '0');
    }
    if (digits.n) *retry_ms = v;
}

/* A line that is not data. */
static int other_line(sse_scan *s, sv_str line)
{
    sv_str value;
    if (field_line(line, "event", 5, &value)) {
        s->type = value;
    } else if (field_line(line, "retry", 5, &value)) {
        read_retry(value, &s->retry_ms);
    } else if (field_line(line, "id", 2, &value)) {
        if (value.n > SSE_ID_BYTES || (value.n && memchr(value.p, 0, value.n))) return 0;
        buf_reset(&s->id, SSE_ID_BYTES);
        return buf_put(&s->id, value.p, value.n);
    }
    return 0;
}

/* Without the byte order mark that a stream may begin with. */
static sv_str without_mark(const sse_scan *s, sv_str text)
{
    bool mark = !s->begun && text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0;
    return mark ? (sv_str){text.p + 3, text.n - 3} : text;
}

int64_t sse_retry(const sse_scan *s)
{
    sv_str held = without_mark(s, buf_str(&s->held)), line, value;
    int64_t retry_ms = s->retry_ms;
    for (size_t at = 0; next_line(held, &at, &line);)
        if (line.p + line.n < held.p + held.n && field_line(line, "retry", 5, &value))
            read_retry(value, &retry_ms);
    return retry_ms;
}

/* The data of an event, in place when it is one line; its other fields to the scan. */
static int data_of(sse_scan *s, sv_str event, sv_str *data)
{
    sv_str line, value;
    int lines = 0;
    *data = (sv_str){NULL, 0};
    s->type = (sv_str){NULL, 0};
    event = without_mark(s, event);
    for (size_t at = 0; next_line(event, &at, &line);) {
        if (!field_line(line, "data", 4, &value)) {
            int rc = other_line(s, line);
            if (rc) return rc;
            continue;
        }
        if (++lines == 1) {
            *data = value;
            continue;
        }
        if (lines == 2) {
            buf_reset(&s->joined, 4096);
            buf_put(&s->joined, data->p, data->n);
        }
        buf_putc(&s->joined, '\n');
        buf_put(&s->joined, value.p, value.n);
    }
    if (lines < 2) return 0;
    *data = buf_str(&s->joined);
    return s->joined.failed ? SV_E_NO_MEMORY : 0;
}

/* What is passed on in one piece. */
typedef struct run {
    const char *from, *to;
} run;

static bool pass_run(run *r, const sse_sink *sink, void *arg)
{
    sv_str bytes = {r->from, (uint32_t)(r->to - r->from)};
    *r = (run){NULL, NULL};
    return bytes.n == 0 || sink->pass(arg, bytes);
}

/* Shows a whole event and adds it to the run, or ends the run before it. */
static int show(sse_scan *s, sv_str event, run *r, const sse_sink *sink, void *arg)
{
    sv_str data;
    if (!utf8_valid(event)) return SV_E_BAD_UTF8;
    int rc = data_of(s, event, &data);
    if (rc) return rc;
    s->begun = true;
    sse_verdict v = sink->event(arg, data);
    s->last_passed = v == SSE_PASS;
    if (v == SSE_PASS) {
        if (r->from == NULL) r->from = event.p;
        r->to = event.p + event.n;
        return 0;
    }
    return pass_run(r, sink, arg) && v == SSE_DROP ? 0 : 1;
}

/* Moves through `bytes` to the end of the event; its length, or 0 when it is not whole. */
static size_t find_end(sse_scan *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        bool cr = s->after_cr;
        s->after_cr = c == '\r';
        if (c == '\n' && cr) continue; /* the second half of a line end */
        if (c != '\n' && c != '\r') {
            s->line_start = false;
        } else if (s->line_start) {
            return i + 1;
        } else {
            s->line_start = true;
        }
    }
    return 0;
}

static int hold(sse_scan *s, const char *p, size_t n)
{
    int rc = buf_put(&s->held, p, n);
    return rc == SV_E_TOO_LARGE ? SV_E_PROVIDER_TOO_LARGE : rc;
}

/* Completes the held event with the start of the input. */
static int finish_held(sse_scan *s, sv_str *bytes, const sse_sink *sink, void *arg)
{
    size_t n = find_end(s, bytes->p, bytes->n);
    int rc = hold(s, bytes->p, n ? n : bytes->n);
    if (rc) return rc;
    if (n == 0) {
        bytes->n = 0;
        return 0;
    }
    run r = {NULL, NULL};
    rc = show(s, buf_str(&s->held), &r, sink, arg);
    if (rc == 0 && !pass_run(&r, sink, arg)) rc = 1;
    buf_reset(&s->held, 16384);
    *bytes = (sv_str){bytes->p + n, bytes->n - (uint32_t)n};
    return rc;
}

int sse_feed(sse_scan *s, sv_str bytes, const sse_sink *sink, void *arg)
{
    run r = {NULL, NULL};
    int rc = 0;
    if (s->held.n > 0) rc = finish_held(s, &bytes, sink, arg);
    while (rc == 0 && bytes.n > 0) {
        if (s->after_cr && s->line_start && bytes.p[0] == '\n') {
            /* the LF of the CR that ended the event before */
            s->after_cr = false;
            if (s->last_passed) {
                if (r.from == NULL) r.from = bytes.p;
                r.to = bytes.p + 1;
            }
            bytes = (sv_str){bytes.p + 1, bytes.n - 1};
            continue;
        }
        size_t n = find_end(s, bytes.p, bytes.n);
        if (n > SSE_EVENT_BYTES) {
            rc = SV_E_PROVIDER_TOO_LARGE;
            break;
        }
        if (n == 0) {
            rc = hold(s, bytes.p, bytes.n);
            break;
        }
        rc = show(s, (sv_str){bytes.p, (uint32_t)n}, &r, sink, arg);
        bytes = (sv_str){bytes.p + n, bytes.n - (uint32_t)n};
    }
    if (!pass_run(&r, sink, arg) && rc == 0) rc = 1;
    return rc;
}

int sse_end(sse_scan *s, const sse_sink *sink, void *arg)
{
    if (s->held.n == 0) return 0;
    int rc = hold(s, "\n\n", s->line_start && !s->after_cr ? 1 : 2);
    if (rc) return rc;
    run r = {NULL, NULL};
    rc = show(s, buf_str(&s->held), &r, sink, arg);
    if (rc == 0 && !pass_run(&r, sink, arg)) rc = 1;
    buf_reset(&s->held, 0);
    return rc;
}
