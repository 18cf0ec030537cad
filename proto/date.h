/*  date.h - calendar days in UTC as numbers: 0 is 1970-01-01, as text YYYY-MM-DD.
 *  Thread: any.   Limits: 1970-01-01 to 9999-12-31.   Errors: SV_E_INVALID. */
#ifndef SV_DATE_H
#define SV_DATE_H

#include "sv_types.h"

enum { DATE_TEXT = 10, DATE_DAY_MS = 86400000, DATE_LAST = 2932896 };

/* Exactly ten characters and a day that exists. */
int date_parse(sv_str text, int64_t *ret_day);
/* What lies outside of the limits prints as the nearest day inside. */
void date_format(int64_t day, char text[DATE_TEXT + 1]);
/* The day of a moment; moments before 1970 belong to the first day. */
int64_t date_of_ms(int64_t unix_ms);

#endif
