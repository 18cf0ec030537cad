/*  human_log.c - one walk over the members of the JSON object. */
#include "human_log.h"

#include "json_scan.h"
#include "sv_limits.h"
#include "utf8.h"

#include <stdio.h>
#include <time.h>

#define COLOUR_END "\033[0m"

static const char *colour_of(const char *name)
{
    static const char *const colours[] = {"\033[36m", "\033[32m", "\033[35m",
                                          "\033[34m", "\033[33m", "\033[96m"};
    uint32_t hash = 2166136261u;
    for (; *name && *name != '/'; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return colours[hash % (sizeof colours / sizeof *colours)];
}

/* Text without control characters: they could move the cursor or retitle the window. */
static void put_plain(buf *out, sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c == '\t')
            buf_putc(out, ' ');
        else if (c < 0x20 || c == 0x7f)
            buf_putc(out, '?');
        else if (c == 0xc2 && i + 1 < s.n && ((uint8_t)s.p[i + 1] & 0xe0) == 0x80)
            i++, buf_putc(out, '?'); /* U+0080 to U+009F */
        else
            buf_putc(out, (char)c);
    }
}

static void put_time(buf *out, time_t s, unsigned ms)
{
    struct tm tm;
    localtime_r(&s, &tm);
    buf_printf(out, "%02d:%02d:%02d.%03u ", tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}

/* 2030-01-31T12:00:01.123Z in quotes. */
static bool read_time(json_value v, time_t *s, unsigned *ms)
{
    struct tm tm = {.tm_isdst = 0};
    char text[32];
    if (v.type != JSON_STRING || v.raw.n != 26) return false;
    memcpy(text, v.raw.p + 1, 24);
    text[24] = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3uZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, ms) != 7)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *s = timegm(&tm);
    return true;
}

static bool is_object(sv_str line)
{
    return line.n > 1 && line.p[0] == '{' && json_skim(line, LIMIT_JSON_DEPTH, NULL) == 0;
}

static void put_string(buf *out, json_value v)
{
    buf text;
    buf_init(&text, 65536);
    if (json_string(v, &text) == 0) put_plain(out, buf_str(&text));
    buf_free(&text);
}

static void put_field(buf *out, sv_str key, json_value v)
{
    static const char *const shown_elsewhere[] = {"ts", "level", "service", "instance", "event"};
    for (size_t i = 0; i < sizeof shown_elsewhere / sizeof *shown_elsewhere; i++)
        if (sv_str_is(key, shown_elsewhere[i])) return;
    buf_puts(out, "  ");
    if (sv_str_is(key, "error") && v.type == JSON_OBJECT) {
        json_value code = json_get(v, "code");
        if (code.type == JSON_STRING) put_string(out, code);
        static const char *const words[] = {"message", "field", "detail"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            json_value w = json_get(v, words[i]);
            if (w.type != JSON_STRING || w.raw.n <= 2) continue;
            buf_puts(out, i == 0 ? ": " : i == 1 ? " field=" : " | ");
            put_string(out, w);
        }
        return;
    }
    put_plain(out, key);
    buf_putc(out, '=');
    if (v.type == JSON_STRING)
        put_string(out, v);
    else
        put_plain(out, v.raw);
}

static void put_name(buf *out, const char *name, bool colour)
{
    if (colour) buf_puts(out, colour_of(name));
    buf_printf(out, "%-10s", name);
    buf_puts(out, colour ? COLOUR_END "  " : "  ");
}

void human_log_line(sv_str line, const char *name, uint64_t unix_ms, bool colour, buf *out)
{
    time_t s = (time_t)(unix_ms / 1000);
    unsigned ms = (unsigned)(unix_ms % 1000);
    json_value object = is_object(line) ? json_root(line) : (json_value){JSON_NONE, {NULL, 0}};
    json_value event = json_get(object, "event");
    if (event.type != JSON_STRING) {
        put_time(out, s, ms);
        put_name(out, name, colour);
        put_plain(out, line);
        buf_putc(out, '\n');
        return;
    }
    read_time(json_get(object, "ts"), &s, &ms);
    put_time(out, s, ms);
    put_name(out, name, colour);
    json_value level = json_get(object, "level");
    bool error = json_string_is(level, "error"), bad = error || json_string_is(level, "warn");
    if (bad) {
        if (colour) buf_puts(out, error ? "\033[1;31m" : "\033[1;33m");
        buf_puts(out, error ? "ERROR " : "WARN ");
    }
    put_string(out, event);
    if (bad && colour) buf_puts(out, COLOUR_END);
    size_t at = 0;
    sv_str key;
    json_value v;
    while (json_next_member(object, &at, &key, &v))
        put_field(out, key, v);
    buf_putc(out, '\n');
}

void json_log_text(sv_str text, buf *out)
{
    for (uint32_t i = 0; i < text.n;) {
        size_t n = utf8_sequence((const uint8_t *)text.p + i, text.n - i);
        buf_json_escape(out, n && text.p[i] ? (sv_str){text.p + i, (uint32_t)n} : sv_cstr("?"));
        i += n ? (uint32_t)n : 1;
    }
}

void json_log_line(sv_str line, const char *name, uint64_t unix_ms, buf *out)
{
    if (is_object(line)) {
        buf_put(out, line.p, line.n);
        buf_putc(out, '\n');
        return;
    }
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    const char *slash = strchr(name, '/');
    buf_printf(out,
               "{\"ts\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03uZ\",\"level\":\"error\","
               "\"service\":\"%.*s\",\"instance\":%s,\"event\":\"output\",\"text\":\"",
               tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
               (unsigned)(unix_ms % 1000), (int)(slash ? slash - name : (int)strlen(name)), name,
               slash ? slash + 1 : "0");
    json_log_text(line, out);
    buf_puts(out, "\"}\n");
}
