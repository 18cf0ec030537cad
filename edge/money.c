/*  money.c - digit by digit: no rounding, and nothing that a locale could change. */
#include "money.h"

enum { MICRO = 1000000 };

static bool is_digit(sv_str s, uint32_t at)
{
    return at < s.n && s.p[at] >= '0' && s.p[at] <= '9';
}

bool money_read(sv_str text, int64_t *ret)
{
    int64_t units = 0, micro = 0, weight = MICRO / 10;
    uint32_t i = 0;
    for (; is_digit(text, i) && units <= MONEY_MOST; i++)
        units = units * 10 + (text.p[i] - '0');
    bool ok = i > 0;
    if (ok && i < text.n && text.p[i] == '.')
        for (i++; is_digit(text, i) && weight > 0; i++, weight /= 10)
            micro += (text.p[i] - '0') * weight;
    int64_t money = units * MICRO + micro;
    if (!ok || i < text.n || money > (int64_t)MONEY_MOST * MICRO) return false;
    *ret = money;
    return true;
}
