/*  human_log.h - log lines for eyes: a JSON line of log.h becomes
 *      12:00:01.123 router/1  provider answered  status=200
 *  with the time of this machine's zone, one colour per service and the level when it is worse than
 *  info. Control characters never reach the terminal. A line that is no JSON object of log.h is
 *  shown as it is, with control characters replaced.
 *  Thread: any. */
#ifndef CLI_HUMAN_LOG_H
#define CLI_HUMAN_LOG_H

#include "buf.h"

/* Appends one line with its newline. `name` is who wrote it ("router/1"); `unix_ms` is when it was
 * read, for lines without a time. */
void human_log_line(sv_str line, const char *name, uint64_t unix_ms, bool colour, buf *out);
/* Appends a line for machines: as it is when it is a JSON object, else wrapped into one. */
void json_log_line(sv_str line, const char *name, uint64_t unix_ms, buf *out);
/* Appends any bytes as the inside of a JSON string: what is not UTF-8, and NUL, becomes "?". */
void json_log_text(sv_str text, buf *out);

#endif
