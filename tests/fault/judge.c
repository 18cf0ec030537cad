#include "judge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HANG_MS = 60000, CHILD_IMAGES = 200 };

static void judge_main(const judge *j, int from, int to)
{
    acked a;
    /* The pipes of other judges: held open here, they would never end. */
    for (int fd = 3; fd < 1024; fd++)
        if (fd != from && fd != to) close(fd);
    if (j->quiet) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 2);
    }
    while (read(from, &a, sizeof a) == sizeof a) {
        answer w = {.why = ""};
        w.verdict = j->subject->check(j->folder, &a, j->seed, w.why, sizeof w.why);
        if (write(to, &w, sizeof w) != sizeof w) break;
    }
    exit(0); /* with the leak check */
}

static void judge_start(judge *j)
{
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) die("pipe: %s", strerror(errno));
    fflush(NULL);
    j->pid = fork();
    if (j->pid < 0) die("fork: %s", strerror(errno));
    if (j->pid == 0) {
        close(down[1]);
        close(up[0]);
        judge_main(j, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    j->to = down[1];
    j->from = up[0];
    j->done = 0;
}

int judge_end(judge *j)
{
    if (!j->pid) return 0;
    close(j->to);
    close(j->from);
    int rc = finish(j->pid);
    j->pid = 0;
    return rc;
}

void judge_ask(judge *j, const acked *a, answer *ret)
{
    if (!j->pid) judge_start(j);
    struct pollfd p = {.fd = j->from, .events = POLLIN};
    bool asked = write(j->to, a, sizeof *a) == sizeof *a;
    bool hung = asked && poll(&p, 1, HANG_MS) == 0;
    if (hung) kill(j->pid, SIGKILL);
    if (asked && !hung && read(j->from, ret, sizeof *ret) == sizeof *ret) {
        if (++j->done < CHILD_IMAGES) return;
        int rc = judge_end(j);
        if (rc == 0) return;
        *ret = (answer){.verdict = BROKEN};
        snprintf(ret->why, sizeof ret->why, "the child ended with %d after its images", rc);
        return;
    }
    int rc = judge_end(j);
    *ret = (answer){.verdict = BROKEN, .crashed = true};
    if (hung)
        snprintf(ret->why, sizeof ret->why, "the child hung");
    else
        snprintf(ret->why, sizeof ret->why, "the child ended with %d (%s)", rc,
                 rc >= 256 ? strsignal(rc - 256) : "exit code");
}

void leave_stale(const char *from, const char *folder)
{
    char to[PATH_MAX];
    const char *name = strrchr(from, '/');
    size_t n;
    if (access(from, R_OK)) return;
    if (snprintf(to, sizeof to, "%s%s", folder, name) >= PATH_MAX) die("%s: too long", folder);
    char *bytes = read_all(from, &n);
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) die("%s: %s", to, strerror(errno));
    close(fd);
    free(bytes);
}

void note_acks(acked *a, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        unsigned writer;
        unsigned long long number;
        int used = 0;
        if (sscanf(bytes + at, "%u %llu\n%n", &writer, &number, &used) < 2 || !used ||
            writer >= WRITERS_MAX)
            die("an acknowledgement is not understood");
        if (number != a->upto[writer] + 1)
            die("writer %u acknowledged %llu twice or too early", writer, number);
        a->upto[writer] = number;
        at += (size_t)used;
    }
}
