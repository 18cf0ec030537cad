/*  file_name.h - what a user may call a file, and what the bytes of one may be called.
 *  Thread: any.   Ownership: copies into what the caller gives.
 *  Errors: SV_E_BAD_UTF8, SV_E_INVALID, SV_E_OUT_OF_RANGE; err->field is "name" or "type". */
#ifndef WORKSPACE_FILE_NAME_H
#define WORKSPACE_FILE_NAME_H

#include "sv_types.h"

enum { FILE_NAME = 255, FILE_TYPE = 96 };

/* The last part of a path in anybody's spelling; "file" when nothing is left. Refused are control
 * characters and those that turn the direction of writing or break the line: they make a name look
 * like another one. */
int file_name_clean(sv_str given, char ret[FILE_NAME + 1], sv_error *err);
/* A media type without parameters: fit for a header as it is. */
int file_type_check(sv_str type, sv_error *err);

#endif
