/*  line_scan.c - a line that lies within one piece is shown where it is. */
#include "line_scan.h"

#include "error.h"

void line_init(line_scan *s)
{
    buf_init(&s->held, LINE_BYTES);
}

void line_free(line_scan *s)
{
    buf_free(&s->held);
}

static bool show(sv_str line, line_sink *sink, void *arg)
{
    if (line.n > 0 && line.p[line.n - 1] == '\r') line.n--;
    return line.n == 0 || sink(arg, line);
}

static int keep(line_scan *s, sv_str bytes)
{
    int rc = buf_put(&s->held, bytes.p, bytes.n);
    return rc == SV_E_TOO_LARGE ? SV_E_PROVIDER_TOO_LARGE : rc;
}

int line_feed(line_scan *s, sv_str bytes, line_sink *sink, void *arg)
{
    while (bytes.n > 0) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        if (end == NULL) return keep(s, bytes);
        uint32_t n = (uint32_t)(end - bytes.p);
        sv_str line = {bytes.p, n};
        if (s->held.n > 0) {
            int rc = keep(s, line);
            if (rc) return rc;
            line = buf_str(&s->held);
        } else if (n > LINE_BYTES) {
            return SV_E_PROVIDER_TOO_LARGE;
        }
        bool go_on = show(line, sink, arg);
        buf_reset(&s->held, 65536);
        if (!go_on) return 1;
        bytes = (sv_str){end + 1, bytes.n - n - 1};
    }
    return 0;
}

int line_end(line_scan *s, line_sink *sink, void *arg)
{
    if (s->held.n == 0) return 0;
    bool go_on = show(buf_str(&s->held), sink, arg);
    buf_reset(&s->held, 0);
    return go_on ? 0 : 1;
}
