/*  main.c - finds the command. */
#include "commands.h"
#include "platform.h"

#include <stdio.h>

static const struct {
    const char *name, *doc;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, doc) {#name, doc, cmd_##name},
    COMMANDS(COMMAND)
#undef COMMAND
};

enum { COUNT = sizeof commands / sizeof *commands };

static void help(FILE *out)
{
    fputs("usage: samovar COMMAND [options] [words]\n\ncommands:\n", out);
    for (size_t i = 0; i < COUNT; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].doc);
    fputs("  help     this page; samovar COMMAND --help tells more\n"
          "\nThe platform is found by its data folder: SAMOVAR_DATA (default ./var).\n"
          "exit codes: 0 done, 1 failed, 2 wrong words, 78 invalid configuration\n",
          out);
}

static int find(const char *name)
{
    for (int i = 0; i < (int)COUNT; i++)
        if (strcmp(commands[i].name, name) == 0) return i;
    return -1;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--version") == 0) {
        puts("samovar " SAMOVAR_VERSION);
        return CLI_OK;
    }
    bool asked =
        strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    if (asked && argc > 2 && find(argv[2]) >= 0) {
        char flag[] = "--help", *words[] = {flag, NULL};
        return commands[find(argv[2])].run(1, words);
    }
    if (asked) {
        help(stdout);
        return CLI_OK;
    }
    int i = find(name);
    if (i >= 0) return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "samovar: unknown command \"%s\"\n", name);
    help(stderr);
    return CLI_USAGE;
}
