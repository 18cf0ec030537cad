/*  opts.c - one pass over argv; "--name=value" and "--name value" mean the same. */
#include "opts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program = "tool";

void die(const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "%s: ", program);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

static void print_default(const opt *o)
{
    switch (o->type) {
    case OPT_INT: printf(" [%lld]", (long long)*(int64_t *)o->to); break;
    case OPT_NUM: printf(" [%g]", *(double *)o->to); break;
    case OPT_STR:
        if (*(const char **)o->to) printf(" [%s]", *(const char **)o->to);
        break;
    case OPT_FLAG: break;
    }
}

static void help(const char *about, const opt *table, int n)
{
    printf("%s - %s\n", program, about);
    for (int i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s%s", table[i].name,
                 table[i].type == OPT_FLAG  ? ""
                 : table[i].type == OPT_STR ? " TEXT"
                                            : " N");
        printf("  %-24s %s", name, table[i].doc);
        print_default(&table[i]);
        putchar('\n');
    }
    exit(0);
}

static void take(const opt *o, const char *value)
{
    char *end;
    errno = 0;
    if (o->type == OPT_STR) {
        *(const char **)o->to = value;
        return;
    }
    double v = strtod(value, &end);
    if (end == value || *end || errno || v < o->min || v > o->max)
        die("--%s takes a number from %g to %g, not \"%s\"", o->name, o->min, o->max, value);
    if (o->type == OPT_INT)
        *(int64_t *)o->to = (int64_t)v;
    else
        *(double *)o->to = v;
}

void opts_parse(int argc, char **argv, const char *about, const opt *table, int n)
{
    const char *slash = strrchr(argv[0], '/');
    program = slash ? slash + 1 : argv[0];
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) help(about, table, n);
        if (strncmp(arg, "--", 2) != 0) die("\"%s\" is not an option; --help lists them", arg);
        const char *eq = strchr(arg, '=');
        size_t len = eq ? (size_t)(eq - arg - 2) : strlen(arg) - 2;
        const opt *o = NULL;
        for (int k = 0; k < n && !o; k++)
            if (strlen(table[k].name) == len && strncmp(table[k].name, arg + 2, len) == 0)
                o = &table[k];
        if (!o) die("there is no option %s; --help lists them", arg);
        if (o->type == OPT_FLAG) {
            if (eq) die("--%s takes no value", o->name);
            *(bool *)o->to = true;
        } else if (eq) {
            take(o, eq + 1);
        } else {
            if (++i == argc) die("--%s needs a value", o->name);
            take(o, argv[i]);
        }
    }
}
