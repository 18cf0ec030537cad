/*  cmd_config.c - `samovar config`: the configuration as every process of the platform reads it. */
#include "commands.h"

#include "error.h"
#include "platform.h"

#include <stdio.h>

enum { SHOW_BYTES = 4194304 };

static int show(const config *c, bool json)
{
    buf out;
    buf_init(&out, SHOW_BYTES);
    int rc = config_show(c, json, &out);
    bool ok = rc == 0 && !out.failed && fwrite(out.p, 1, out.n, stdout) == out.n;
    if (!ok) fprintf(stderr, "samovar config: the configuration cannot be printed\n");
    buf_free(&out);
    return ok ? CLI_OK : CLI_FAILED;
}

int cmd_config(int argc, char **argv)
{
    const char *file = NULL, *output = NULL;
    const args_option options[] = {{'c', "config", "FILE",
                                    "file to read (default: SAMOVAR_CONFIG, DATA/samovar.yaml)",
                                    &file, NULL},
                                   {'o', "output", "yaml|json", "format of show", &output, NULL}};
    const args_spec spec = {
        "samovar config",
        "check | show",
        "check: reads the configuration and names every mistake with file and line.\n"
        "show:  prints every setting with its value, where it comes from and what it means.\n"
        "Order: environment (SAMOVAR_...), then the file, then the default.",
        "exit codes: 0 valid, 2 wrong words, 78 not valid",
        options,
        2,
        1,
        1};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    bool check = strcmp(words.word[0], "check") == 0, json = output && strcmp(output, "json") == 0;
    if ((!check && strcmp(words.word[0], "show") != 0) ||
        (output && !json && strcmp(output, "yaml") != 0)) {
        fprintf(stderr, "samovar config: it takes check or show, and -o yaml or json\n");
        return CLI_USAGE;
    }
    if (cli_config(file, &c)) return CLI_CONFIG;
    if (check)
        printf("valid: %s\n",
               config_file(c) ? config_file(c) : "no file; defaults and environment");
    else
        exit_code = show(c, json);
    if (check) exit_code = CLI_OK;
    config_free(c);
    return exit_code;
}
