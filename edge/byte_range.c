/*  byte_range.c - small readers of header values. */
#include "byte_range.h"

#include "http_parser.h"

#include <strings.h>

/* 1*DIGIT; more than a file can have becomes the most there is. False: no number. */
static bool number(sv_str s, uint64_t *ret)
{
    *ret = 0;
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        *ret = *ret > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *ret * 10 + digit;
    }
    return s.n > 0;
}

range_kind byte_range_read(sv_str value, uint64_t size, uint64_t *from, uint64_t *n)
{
    uint64_t first, last;
    if (value.n < 6 || strncasecmp(value.p, "bytes=", 6) != 0) return RANGE_WHOLE;
    sv_str s = http_trim((sv_str){value.p + 6, value.n - 6});
    const char *dash = s.n ? memchr(s.p, '-', s.n) : NULL;
    if (dash == NULL) return RANGE_WHOLE;
    sv_str a = {s.p, (uint32_t)(dash - s.p)}, b = {dash + 1, s.n - (uint32_t)(dash - s.p) - 1};
    if (a.n == 0) { /* the last b bytes */
        if (!number(b, &last)) return RANGE_WHOLE;
        if (last == 0 || size == 0) return RANGE_BEYOND;
        *n = last < size ? last : size;
        *from = size - *n;
        return RANGE_PART;
    }
    if (!number(a, &first)) return RANGE_WHOLE;
    if (b.n == 0)
        last = UINT64_MAX;
    else if (!number(b, &last) || last < first)
        return RANGE_WHOLE;
    if (first >= size) return RANGE_BEYOND;
    *from = first;
    *n = (last < size ? last : size - 1) - first + 1;
    return RANGE_PART;
}

bool etag_listed(sv_str list, sv_str tag)
{
    list = http_trim(list);
    if (sv_str_is(list, "*")) return true;
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        uint32_t n = comma ? (uint32_t)(comma - list.p) : list.n;
        sv_str one = http_trim((sv_str){list.p, n});
        if (one.n > 2 && memcmp(one.p, "W/", 2) == 0) one = (sv_str){one.p + 2, one.n - 2};
        if (sv_str_eq(one, tag)) return true;
        n += comma != NULL;
        list = (sv_str){list.p + n, list.n - n};
    }
    return false;
}
