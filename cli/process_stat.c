/*  process_stat.c - schedstat counts nanoseconds, where stat counts ticks of 10 ms. */
#include "process_stat.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

process_stat process_stat_read(uint32_t pid)
{
    process_stat ret = {0, 0};
    char path[320];
    snprintf(path, sizeof path, "/proc/%u/task", pid);
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        unsigned long long ns;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%u/task/%.20s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%llu", &ns) == 1) ret.cpu_ns += ns;
        if (f) fclose(f);
    }
    if (d) closedir(d);
    unsigned long long total, resident;
    snprintf(path, sizeof path, "/proc/%u/statm", pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%llu %llu", &total, &resident) == 2)
        ret.rss_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    if (f) fclose(f);
    return ret;
}
