#include "pids.h"

#include "opts.h"
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    char name[32];
    pid_t pid;
    uint64_t before, after;
} list[PIDS_MOST];
static int n;

void pids_parse(const char *text)
{
    char *copy = text ? strdup(text) : NULL, *save = NULL;
    for (char *t = copy ? strtok_r(copy, ",", &save) : NULL; t; t = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(t, '=');
        if (!eq || n == PIDS_MOST || atoi(eq + 1) <= 0)
            die("--pids takes up to %d NAME=PID, separated by commas", PIDS_MOST);
        *eq = 0;
        snprintf(list[n].name, sizeof list[n].name, "%s", t);
        list[n++].pid = (pid_t)atoi(eq + 1);
    }
    free(copy);
}

void pids_begin(void)
{
    for (int i = 0; i < n; i++)
        list[i].before = proc_cpu_ns(list[i].pid);
}

void pids_end(void)
{
    for (int i = 0; i < n; i++)
        list[i].after = proc_cpu_ns(list[i].pid);
}

void pids_print(uint64_t answers)
{
    double all = 0;
    for (int i = 0; i < n; i++) {
        double us = (double)(list[i].after - list[i].before) / 1000;
        all += us;
        printf(",\"cpu_us_%s\":%.2f", list[i].name, answers ? us / (double)answers : 0);
    }
    if (n) printf(",\"cpu_us_total\":%.2f", answers ? all / (double)answers : 0);
}
