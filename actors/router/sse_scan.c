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
    *s = (sse_scan){.line_start = true};
    buf_init(&s->held, SSE_EVENT_BYTES);
    buf_init(&s->joined, SSE_EVENT_BYTES);
}

void sse_free(sse_scan *s)
{
    buf_free(&s->held);
    buf_free(&s->joined);
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

static bool data_line(sv_str line, sv_str *value)
{
    if (line.n < 4 || memcmp(line.p, "data", 4) != 0) return false;
    if (line.n > 4 && line.p[4] != ':') return false;
    uint32_t skip = line.n == 4 ? 4 : line.n > 5 && line.p[5] == ' ' ? 6 : 5;
    *value = (sv_str){line.p + skip, line.n - skip};
    return true;
}

/* The data of an event: in place when it is one line. */
static int data_of(sse_scan *s, sv_str event, sv_str *data)
{
    sv_str line, value;
    int lines = 0;
    *data = (sv_str){NULL, 0};
    if (!s->begun && event.n >= 3 && memcmp(event.p, "\xef\xbb\xbf", 3) == 0)
        event = (sv_str){event.p + 3, event.n - 3};
    for (size_t at = 0; next_line(event, &at, &line);) {
        if (!data_line(line, &value)) continue;
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
