/*  platform.h - what every command needs to find the platform: configuration, paths, URL.
 *  Thread: any.   Errors: printed on standard error by the functions that say so. */
#ifndef CLI_PLATFORM_H
#define CLI_PLATFORM_H

#include "args.h"
#include "config.h"

#include <limits.h>

/* Exit codes of every command. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NOT_COPIED = 3, CLI_CONFIG = 78 };

enum { PLATFORM_PATH = PATH_MAX };

/* Parses; prints help or what is wrong. True: go on; else *ret_exit is the exit code. */
bool cli_args(const args_spec *spec, int argc, char **argv, args *ret, int *ret_exit);
/* Loads the configuration; prints every problem. `file` NULL: where config.h looks. */
int cli_config(const char *file, config **ret);
/* Prints "samovar: CODE: MESSAGE (DETAIL)" on standard error; CLI_FAILED. */
int cli_complain(const sv_error *err);
/* "table" or "json" of -o; prints what is allowed otherwise. */
bool cli_output(const char *word, bool *ret_json);

/* RUN/name. False when it does not fit. */
bool platform_path(const config *c, const char *name, char path[PLATFORM_PATH]);
/* "http://127.0.0.1:7420"; port 0 is looked up in RUN/edge.port, "" when it is not there. */
void platform_url(const config *c, char *url, size_t size);
/* The folder with the executables: $SAMOVAR_BIN or beside this one. */
bool platform_bin(char path[PLATFORM_PATH]);
/* Can the edge's address be bound? SV_E_CONFLICT when it is taken, SV_E_IO otherwise. */
int platform_port_free(const char *host, uint16_t port, sv_error *err);

#endif
