/*  csv.c - see csv.h. */
#include "csv.h"

int csv_text(buf *out, sv_str s)
{
    buf_putc(out, '"');
    if (s.n && memchr("=+-@\t\r", s.p[0], 6)) buf_putc(out, '\'');
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') buf_putc(out, '"');
        buf_putc(out, s.p[i]);
    }
    return buf_putc(out, '"');
}
