/*  date.c - days and civil dates by eras of 400 years (146,097 days each), years beginning in March
 *  so that the leap day comes last. */
#include "date.h"

#include "error.h"

enum { ERA_DAYS = 146097, FROM_MARCH_0000 = 719468 };

static int64_t day_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - FROM_MARCH_0000;
}

static void civil(int64_t day, int64_t *year, int64_t *month, int64_t *of_month)
{
    day += FROM_MARCH_0000;
    int64_t era = day / ERA_DAYS, n = day % ERA_DAYS;
    int64_t of_era = (n - n / 1460 + n / 36524 - n / (ERA_DAYS - 1)) / 365;
    int64_t of_year = n - (365 * of_era + of_era / 4 - of_era / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *of_month = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = era * 400 + of_era + (*month <= 2);
}

static bool digits(const char *p, int n, int64_t *ret)
{
    *ret = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        *ret = *ret * 10 + (p[i] - '0');
    }
    return true;
}

int date_parse(sv_str text, int64_t *ret_day)
{
    int64_t year, month, day, y, m, d;
    if (text.n != DATE_TEXT || text.p[4] != '-' || text.p[7] != '-') return SV_E_INVALID;
    if (!digits(text.p, 4, &year) || !digits(text.p + 5, 2, &month) ||
        !digits(text.p + 8, 2, &day) || year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > 31)
        return SV_E_INVALID;
    int64_t n = day_of(year, month, day);
    civil(n, &y, &m, &d);
    if (y != year || m != month || d != day) return SV_E_INVALID; /* the 30th of February */
    *ret_day = n;
    return 0;
}

void date_format(int64_t day, char text[DATE_TEXT + 1])
{
    int64_t part[3];
    static const int at[3] = {0, 5, 8}, width[3] = {4, 2, 2};
    civil(day < 0 ? 0 : day > DATE_LAST ? DATE_LAST : day, &part[0], &part[1], &part[2]);
    memcpy(text, "0000-00-00", DATE_TEXT + 1);
    for (int i = 0; i < 3; i++)
        for (int k = width[i] - 1; k >= 0; k--, part[i] /= 10)
            text[at[i] + k] = (char)('0' + part[i] % 10);
}

int64_t date_of_ms(int64_t unix_ms)
{
    return unix_ms < 0 ? 0 : unix_ms / DATE_DAY_MS;
}
