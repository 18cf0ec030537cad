/*  tap_line.c - text of a record. Names come from the broker, which checked them. */
#include "tap_line.h"

#include "uuid.h"

#include <stdio.h>
#include <time.h>

static void put_text(buf *out, const char *name, sv_str s)
{
    buf_printf(out, ",\"%s\":", name);
    if (s.n == 0) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    buf_json_escape(out, s);
    buf_putc(out, '"');
}

static void put_id(buf *out, const char *name, sv_str id)
{
    char hex[33] = "";
    if (id.n == 16) hex_format(id.p, 16, hex);
    put_text(out, name, sv_cstr(hex));
}

void tap_json(const bus_record *r, buf *out)
{
    buf_printf(out, "{\"ts\":%lld", (long long)r->ts);
    put_text(out, "from", r->from);
    put_text(out, "to", r->to);
    put_text(out, "kind", r->kind);
    put_text(out, "method", r->method);
    put_id(out, "id", r->id);
    put_id(out, "trace_id", r->trace_id);
    put_text(out, "status", r->status);
    buf_printf(out, ",\"bytes\":%lld,\"queue_us\":%lld,\"service_us\":%lld}\n", (long long)r->bytes,
               (long long)r->queue_us, (long long)r->service_us);
}

static void put_time(buf *out, const char *name, int64_t us)
{
    if (us >= 1000)
        buf_printf(out, "  %s%.1f ms", name, (double)us / 1000);
    else if (us > 0)
        buf_printf(out, "  %s%lld us", name, (long long)us);
}

static const char *colour_of(const bus_record *r)
{
    if (r->status.n && !sv_str_is(r->status, "OK")) return "\033[31m";
    if (sv_str_is(r->kind, "REQUEST")) return "\033[36m";
    return sv_str_is(r->kind, "REPLY") ? "\033[32m" : "\033[2m";
}

void tap_human(const bus_record *r, bool colour, buf *out)
{
    time_t s = (time_t)(r->ts / 1000000);
    struct tm tm;
    localtime_r(&s, &tm);
    char way[96];
    snprintf(way, sizeof way, "%.*s -> %.*s", SV_FMT(r->from), SV_FMT(r->to));
    buf_printf(out, "%02d:%02d:%02d.%06d  %-24s %s%-9.*s%s %-20.*s", tm.tm_hour, tm.tm_min,
               tm.tm_sec, (int)(r->ts % 1000000), way, colour ? colour_of(r) : "", SV_FMT(r->kind),
               colour ? "\033[0m" : "", SV_FMT(r->method));
    if (r->status.n) buf_printf(out, "  %.*s", SV_FMT(r->status));
    buf_printf(out, "  %lld B", (long long)r->bytes);
    put_time(out, "queue ", r->queue_us);
    put_time(out, "", r->service_us);
    if (r->id.n == 16) {
        /* The end of a UUIDv7 is its random part: enough to tell requests apart. */
        char hex[33];
        hex_format(r->id.p, 16, hex);
        buf_printf(out, "  %s", hex + 24);
    }
    if (r->attempt > 1) buf_printf(out, "  attempt %lld", (long long)r->attempt);
    buf_putc(out, '\n');
}
