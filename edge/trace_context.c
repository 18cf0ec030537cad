/*  trace_context.c - fixed offsets: 00-<32 hex>-<16 hex>-<2 hex>, lower case only. */
#include "trace_context.h"

#include "sv_limits.h"
#include "uuid.h"

enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, FLAG_SAMPLED = 1, FLAG_RANDOM = 2 };

static bool lower_hex(sv_str s, size_t at, size_t digits, uint8_t *to)
{
    for (size_t i = at; i < at + digits; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'F') return false;
    return hex_parse((sv_str){s.p + at, (uint32_t)digits}, to, digits / 2) == 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

bool trace_parse(sv_str v, sv_trace *ret)
{
    sv_trace t;
    uint8_t version;
    if (v.n < TRACEPARENT_BYTES || v.p[2] != '-' || v.p[AT_SPAN - 1] != '-' ||
        v.p[AT_FLAGS - 1] != '-')
        return false;
    if (!lower_hex(v, 0, 2, &version) || version == 0xff) return false;
    if (v.n > TRACEPARENT_BYTES && (version == 0 || v.p[TRACEPARENT_BYTES] != '-')) return false;
    if (!lower_hex(v, AT_TRACE, 32, t.trace_id) || !lower_hex(v, AT_SPAN, 16, t.span_id) ||
        !lower_hex(v, AT_FLAGS, 2, &t.flags))
        return false;
    if (all_zero(t.trace_id, sizeof t.trace_id) || all_zero(t.span_id, sizeof t.span_id))
        return false;
    *ret = t;
    return true;
}

sv_trace trace_start(void)
{
    sv_trace t = {.flags = FLAG_RANDOM};
    uuid_random(t.trace_id, sizeof t.trace_id);
    uuid_random(t.span_id, sizeof t.span_id);
    return t;
}

sv_trace trace_continue(const sv_trace *from)
{
    sv_trace t = *from;
    t.flags &= FLAG_SAMPLED | FLAG_RANDOM;
    uuid_random(t.span_id, sizeof t.span_id);
    return t;
}

void trace_format(const sv_trace *t, char text[TRACEPARENT_BYTES + 1])
{
    memcpy(text, "00-", 3);
    hex_format(t->trace_id, sizeof t->trace_id, text + AT_TRACE);
    text[AT_SPAN - 1] = '-';
    hex_format(t->span_id, sizeof t->span_id, text + AT_SPAN);
    text[AT_FLAGS - 1] = '-';
    hex_format(&t->flags, 1, text + AT_FLAGS);
}

bool tracestate_ok(sv_str value)
{
    if (value.n == 0 || value.n > LIMIT_TRACESTATE_BYTES) return false;
    for (uint32_t i = 0; i < value.n; i++)
        if (value.p[i] != '\t' && (value.p[i] < ' ' || value.p[i] > '~')) return false;
    return true;
}
