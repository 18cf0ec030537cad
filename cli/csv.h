/*  csv.h - rows of CSV (RFC 4180) that are safe to open in a spreadsheet.
 *  Thread: any.   Errors: the buffer's. */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include "buf.h"

/* Appends a text field in quotes. What a spreadsheet would take for a formula (a leading = + - @, TAB
 * or CR) gets an apostrophe in front. */
int csv_text(buf *out, sv_str s);

#endif
