/*  args.h - options and words of a command line, declared as a table.
 *  Accepted: -o VALUE, -oVALUE, --name VALUE, --name=VALUE, flags, words in between, and -- after
 *  which everything is a word. An unknown option, a missing or doubled value and a wrong number of
 *  words are errors that say what to write instead.
 *  Thread: any.   Ownership: results borrow from
 *  argv.   Limits: ARGS_WORDS words. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "buf.h"

enum { ARGS_WORDS = 16 };

typedef struct args_option {
    char letter;       /* 'o', or 0 when it has none */
    const char *name;  /* "output" */
    const char *value; /* what it takes, for the help: "json"; NULL: a flag */
    const char *doc;
    const char **text; /* takes the value; must point at NULL before */
    bool *flag;
} args_option;

typedef struct args_spec {
    const char *command; /* "samovar tap" */
    const char *words;   /* "[FILTER...]" */
    const char *doc;     /* one line */
    const char *more;    /* examples and exit codes; NULL: none */
    const args_option *options;
    size_t n;
    uint32_t min, max; /* number of words */
} args_spec;

typedef struct args {
    const char *word[ARGS_WORDS];
    uint32_t n;
} args;

typedef enum args_result { ARGS_RUN, ARGS_HELP, ARGS_WRONG } args_result;

/* `argv` starts behind the command's own name. ARGS_WRONG: `why` holds a sentence. */
args_result args_parse(const args_spec *spec, int argc, char **argv, args *ret, buf *why);
/* The page that --help prints. */
void args_help(const args_spec *spec, buf *out);
/* A whole decimal number within min..max. 0 or SV_E_INVALID. */
int args_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
/* 10, 10s, 500ms, 2m: a plain number is seconds. At most an hour, at least 1 ms. 0 or SV_E_INVALID.
 */
int args_duration(const char *text, uint32_t *ret_ms);

#endif
