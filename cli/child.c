/*  child.c - fork and exec. Everything that needs memory is made ready before the fork; between
 *  fork and exec the child uses async-signal-safe calls only. */
#include "child.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_EXEC_FAILED = 127 };

static _Noreturn void child_fail(const char *words)
{
    /* Nothing can be done about a log pipe that takes no more words. */
    if (write(STDERR_FILENO, words, strlen(words)) < 0) _exit(CHILD_EXEC_FAILED);
    _exit(CHILD_EXEC_FAILED);
}

static void close_from(int fd)
{
    if (close_range((unsigned)fd, ~0U, 0) == 0) return;
    long most = sysconf(_SC_OPEN_MAX);
    for (; fd < (most > 0 && most < 65536 ? most : 65536); fd++)
        close(fd);
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int signo = 1; signo < 32; signo++)
        if (signo != SIGKILL && signo != SIGSTOP) signal(signo, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Puts what is passed on in its places; places of nothing are closed. */
static bool take_passes(const int pass[CHILD_PASSES])
{
    int high[CHILD_PASSES];
    for (int i = 0; i < CHILD_PASSES; i++) { /* out of the way of the places themselves */
        high[i] = pass[i] < 0 ? -1 : fcntl(pass[i], F_DUPFD, CHILD_PASS_FD + CHILD_PASSES);
        if (pass[i] >= 0 && high[i] < 0) return false;
    }
    for (int i = 0; i < CHILD_PASSES; i++) {
        if (high[i] < 0)
            close(CHILD_PASS_FD + i);
        else if (dup2(high[i], CHILD_PASS_FD + i) < 0)
            return false;
    }
    return true;
}

/* Runs in the child. `sorry` was made before the fork. */
static _Noreturn void child_main(const child_spec *spec, pid_t parent, int null_fd, int log_fd,
                                 const int gate[2], const char *sorry)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent) _exit(CHILD_EXEC_FAILED);
    if (spec->own_group) setpgid(0, 0);
    reset_signals();
    if (dup2(null_fd, STDIN_FILENO) < 0 ||
        dup2(spec->out_fd >= 0 ? spec->out_fd : log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(CHILD_EXEC_FAILED);
    if (spec->gated) {
        close(gate[1]);
        char go = 0;
        ssize_t n;
        do
            n = read(gate[0], &go, 1);
        while (n < 0 && errno == EINTR);
        if (n != 1) _exit(CHILD_EXEC_FAILED);
    }
    if (!take_passes(spec->pass)) child_fail(sorry);
    close_from(CHILD_PASS_FD + CHILD_PASSES);
    execve(spec->path, spec->argv, spec->env->vars);
    child_fail(sorry);
}

static void close_pair(const int fd[2])
{
    if (fd[0] >= 0) close(fd[0]);
    if (fd[1] >= 0) close(fd[1]);
}

int child_spawn(const child_spec *spec, child_process *ret, sv_error *err)
{
    if (access(spec->path, X_OK))
        return sv_fail(err, SV_E_NOT_FOUND, NULL, "The executable %s cannot be run: %s.",
                       spec->path, strerror(errno));
    int log_fd[2] = {-1, -1}, gate[2] = {-1, -1};
    char sorry[512];
    snprintf(sorry, sizeof sorry, "cannot run %s\n", spec->path);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool ready = null_fd >= 0 && pipe2(log_fd, O_CLOEXEC) == 0 &&
                 fcntl(log_fd[0], F_SETFL, O_NONBLOCK) == 0 &&
                 (!spec->gated || pipe2(gate, O_CLOEXEC) == 0);
    pid_t parent = getpid();
    pid_t pid = ready ? fork() : -1;
    if (pid == 0) child_main(spec, parent, null_fd, log_fd[1], gate, sorry);
    int saved = errno;
    if (null_fd >= 0) close(null_fd);
    if (pid < 0) {
        close_pair(log_fd);
        close_pair(gate);
        return sv_fail(err, SV_E_IO, NULL, "The process %s cannot be started: %s.", spec->path,
                       strerror(saved));
    }
    if (spec->own_group) setpgid(pid, pid); /* in both, so that it holds before either goes on */
    close(log_fd[1]);
    if (spec->gated) close(gate[0]);
    *ret = (child_process){.pid = pid, .gate_fd = spec->gated ? gate[1] : -1, .log_fd = log_fd[0]};
    return 0;
}

void child_open_gate(child_process *p)
{
    if (p->gate_fd < 0) return;
    /* EPIPE means that it died meanwhile, which its exit tells anyway. */
    if (write(p->gate_fd, "g", 1) < 0) errno = 0;
    close(p->gate_fd);
    p->gate_fd = -1;
}

void child_signal(const child_process *p, int signo)
{
    if (p->pid > 0 && kill(-p->pid, signo)) kill(p->pid, signo); /* not the leader of a group */
}

void child_describe_end(int wait_status, char *text, size_t size)
{
    if (WIFSIGNALED(wait_status))
        snprintf(text, size, "signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(text, size, "exit code %d", WEXITSTATUS(wait_status));
}
