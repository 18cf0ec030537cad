/*  opts.h - command lines of the tools: --name value, declared in a table.
 *  Thread: main, before anything else.   Ownership: text options borrow from argv.
 *  Errors: an unknown option or a value out of range ends the tool with code 2 and says what is
 *  allowed; --help prints the table and ends it with 0. */
#ifndef KIT_OPTS_H
#define KIT_OPTS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum opt_type { OPT_INT, OPT_NUM, OPT_STR, OPT_FLAG } opt_type;

typedef struct opt {
    const char *name; /* without the dashes */
    opt_type type;
    void *to;        /* int64_t, double, const char * or bool, holding its default */
    double min, max; /* numbers only */
    const char *doc;
} opt;

/* Fills the targets of `table` (n rows). `about` is the first line of --help. */
void opts_parse(int argc, char **argv, const char *about, const opt *table, int n);
/* Prints "PROGRAM: WORDS" to stderr and exits with 2. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
