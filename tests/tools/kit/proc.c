#include "proc.h"

#include "net.h"
#include "opts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t proc_cpu_ns(pid_t pid)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (!d) return 0;
    uint64_t sum = 0;
    const struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.') continue;
        char file[400];
        snprintf(file, sizeof file, "%s/%s/schedstat", path, e->d_name);
        FILE *f = fopen(file, "re");
        unsigned long long run = 0;
        if (f && fscanf(f, "%llu", &run) == 1) sum += run;
        if (f) fclose(f);
    }
    closedir(d);
    return sum;
}

void proc_die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

pid_t proc_start(char *const argv[], char *const environment[], int keep_fd)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) die("cannot fork: %s", strerror(errno));
    if (pid > 0) return pid;
    proc_die_with_parent();
    if (getppid() != parent) _exit(127);
    if (keep_fd >= 0) fcntl(keep_fd, F_SETFD, 0);
    for (int i = 0; environment && environment[i]; i++)
        putenv(environment[i]);
    execvp(argv[0], argv);
    fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int proc_stop(pid_t pid, int grace_ms)
{
    int status = 0;
    kill(pid, SIGTERM);
    uint64_t until = now_us() + (uint64_t)grace_ms * 1000u;
    for (;;) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid || (r < 0 && errno != EINTR)) return status;
        if (now_us() >= until) break;
        poll(NULL, 0, 5);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return status;
}
