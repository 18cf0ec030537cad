/*  log_mux.h - the output of all children as one stream of lines, and the last lines of each.
 *  Every source keeps a ring of its last LOG_RING lines (at most LOG_RING_BYTES). What goes on to
 *  the output is rate limited per source, with a line that says how many were suppressed. The output
 *  is never waited for: what a stalled terminal cannot take is kept up to LOG_OUT_BYTES, then
 *  dropped and counted.
 *  Thread: the loop's.   Ownership: the mux owns its sources, a source the
 *  descriptor it reads. */
#ifndef CLI_LOG_MUX_H
#define CLI_LOG_MUX_H

#include "buf.h"
#include "loop.h"

enum {
    LOG_RING = 1000,
    LOG_RING_BYTES = 1048576,
    LOG_LINE_BYTES = 8192,
    LOG_OUT_BYTES = 1048576,
    LOG_LINES_SECOND = 500, /* of one source; bursts up to twice that */
};

typedef enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_HUMAN, LOG_FORMAT_COLOUR } log_format;

typedef struct log_mux log_mux;
typedef struct log_source log_source;

/* Writes to `fd`, which stays the caller's. */
log_mux *log_mux_new(loop *l, int fd, log_format format, sv_error *err);
/* Gives the output at most `wait_ms` to take what is left. */
void log_mux_free(log_mux *m, uint32_t wait_ms);

log_source *log_mux_source(log_mux *m, const char *name);
/* Reads lines from `fd` (not blocking) until it ends; takes the descriptor on success. */
int log_source_open(log_source *s, int fd);
/* Takes in what is there now and closes: the writer has ended. */
void log_source_close(log_source *s);

typedef struct log_entry {
    uint64_t number;  /* over all sources, growing */
    uint64_t unix_ms; /* when it was read */
    uint32_t n;
    char text[]; /* without newline */
} log_entry;

typedef void log_entry_fn(void *arg, const char *name, const log_entry *e);
/* The last `most` lines of one source, or of all in the order they came (`s` NULL). */
void log_mux_last(log_mux *m, log_source *s, size_t most, log_entry_fn *fn, void *arg);
/* fn for each line that passes the rate limit, from now on. One listener. */
void log_mux_listen(log_mux *m, log_entry_fn *fn, void *arg);
/* The same, for one more. */
void log_mux_watch(log_mux *m, log_entry_fn *fn, void *arg);

#endif
