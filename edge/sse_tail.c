/*  sse_tail.c - four bytes decide: the longest end of an event is CRLF CRLF. */
#include "sse_tail.h"

void sse_tail_add(sse_tail *t, sv_str b)
{
    uint32_t take = b.n < sizeof t->last ? b.n : (uint32_t)sizeof t->last;
    uint32_t keep = (uint32_t)sizeof t->last - take;
    if (take == 0) return;
    memmove(t->last, t->last + sizeof t->last - keep, keep);
    memcpy(t->last + keep, b.p + b.n - take, take);
    uint32_t n = t->n + take;
    t->n = (uint8_t)(n < sizeof t->last ? n : sizeof t->last);
}

bool sse_tail_between(const sse_tail *t)
{
    if (t->n == 0) return true;
    char d = t->last[3], c = t->n > 1 ? t->last[2] : 0, b = t->n > 2 ? t->last[1] : 0;
    if (d == '\r') return c == '\n' || c == '\r';
    if (d != '\n') return false;
    /* LF closes the line; the line before it must have been empty. */
    return c == '\n' || (c == '\r' && (b == '\n' || b == '\r'));
}
