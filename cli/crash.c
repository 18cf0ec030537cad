/*  crash.c - the time in the file's name sorts, so the oldest reports come first in the folder. */
#include "crash.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int is_report(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".log") == 0;
}

/* By the time at the end of the name; the service in front of it does not count. */
static int by_time(const struct dirent **a, const struct dirent **b)
{
    enum { TIME_PART = 24 }; /* 20300131T120001.123456.log less the separator */
    size_t n = strlen((*a)->d_name), m = strlen((*b)->d_name);
    return strcmp((*a)->d_name + (n > TIME_PART ? n - TIME_PART : 0),
                  (*b)->d_name + (m > TIME_PART ? m - TIME_PART : 0));
}

static void keep_newest(const char *folder)
{
    struct dirent **list = NULL;
    int n = scandir(folder, &list, is_report, by_time);
    for (int i = 0; i < n; i++) {
        char path[4400];
        if (i < n - CRASH_KEEP &&
            snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name) < (int)sizeof path)
            unlink(path);
        free(list[i]);
    }
    free(list);
}

static void put_line(void *arg, const char *name, const log_entry *e)
{
    (void)name;
    fprintf(arg, "%.*s\n", (int)e->n, e->text);
}

void crash_report(const char *run, const char *name, const char *how, log_mux *mux, log_source *log,
                  uint64_t unix_us, char *ret_path, size_t size)
{
    char folder[4200], when[40], plain[48];
    struct tm tm;
    time_t s = (time_t)(unix_us / 1000000);
    gmtime_r(&s, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%S", &tm);
    snprintf(plain, sizeof plain, "%s", name);
    for (char *p = plain; *p; p++)
        if (*p == '/') *p = '-';
    snprintf(folder, sizeof folder, "%s/crash", run);
    mkdir(folder, 0700);
    if (snprintf(ret_path, size, "%s/%s-%s.%06u.log", folder, plain, when,
                 (unsigned)(unix_us % 1000000)) >= (int)size) {
        ret_path[0] = 0;
        return;
    }
    int fd = open(ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0) close(fd);
        ret_path[0] = 0;
        return;
    }
    fprintf(f, "%s ended at %s UTC: %s\nlast lines:\n", name, when, how);
    log_mux_last(mux, log, CRASH_LINES, put_line, f);
    if (fclose(f)) ret_path[0] = 0;
    keep_newest(folder);
}
