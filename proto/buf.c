/*  buf.c - doubling growth from 256 bytes up to the declared maximum. */
#include "buf.h"

#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(buf *b, size_t max)
{
    *b = (buf){.max = max};
}

void buf_free(buf *b)
{
    free(b->p);
    *b = (buf){.max = b->max};
}

void buf_reset(buf *b, size_t keep)
{
    b->n = 0;
    b->failed = false;
    b->error = 0;
    if (b->cap > keep) {
        free(b->p);
        b->p = NULL;
        b->cap = 0;
    }
}

static char *fail(buf *b, int error)
{
    b->failed = true;
    b->error = error;
    return NULL;
}

char *buf_room(buf *b, size_t n)
{
    if (b->failed) return NULL;
    if (n > b->max || b->n > b->max - n) return fail(b, SV_E_TOO_LARGE);
    if (b->n + n > b->cap) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < b->n + n)
            cap *= 2;
        if (cap > b->max) cap = b->max;
        char *p = realloc(b->p, cap);
        if (p == NULL) return fail(b, SV_E_NO_MEMORY);
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

void buf_added(buf *b, size_t n)
{
    b->n += n;
}

int buf_put(buf *b, const void *p, size_t n)
{
    if (n == 0) return b->error;
    char *to = buf_room(b, n);
    if (to == NULL) return b->error;
    memcpy(to, p, n);
    b->n += n;
    return 0;
}

int buf_puts(buf *b, const char *s)
{
    return buf_put(b, s, strlen(s));
}

int buf_putc(buf *b, char c)
{
    return buf_put(b, &c, 1);
}

int buf_printf(buf *b, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) return SV_E_INTERNAL;
    if ((size_t)n < sizeof small) return buf_put(b, small, (size_t)n);
    char *to = buf_room(b, (size_t)n + 1);
    if (to == NULL) return b->error;
    va_start(ap, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
    return 0;
}

int buf_json_escape(buf *b, sv_str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
        buf_put(b, s.p + from, i - from);
        from = i + 1;
        switch (c) {
        case '"': buf_puts(b, "\\\""); break;
        case '\\': buf_puts(b, "\\\\"); break;
        case '\n': buf_puts(b, "\\n"); break;
        case '\r': buf_puts(b, "\\r"); break;
        case '\t': buf_puts(b, "\\t"); break;
        default: buf_printf(b, "\\u%04x", c);
        }
    }
    return buf_put(b, s.n ? s.p + from : "", s.n - from);
}

void buf_consume(buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

sv_str buf_str(const buf *b)
{
    return (sv_str){b->p, (uint32_t)b->n};
}
