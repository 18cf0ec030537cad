/*  schedule.c - looks, waits, runs, and looks again.
 *
 *      LOOK   a child lists the finished backups; its last line says when the newest was begun
 *      WAIT   a timer, at most an hour at a time: the wall clock may have been set meanwhile
 *      RUN    a child makes one (or, after exit code 3, copies the newest one to the store)
 *
 *  Every RUN is followed by a LOOK: what is in the folder decides, not what a child said. */
#include "schedule.h"

#include "backup_remote.h"
#include "error.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EVERY_LEAST_MS = 1000,
    LOOK_MS = 60000,        /* a folder that does not answer */
    RUN_LEAST_MS = 3600000, /* a backup may take as long as backup.every, and at least so long */
    WAIT_MOST_MS = 3600000, /* also the longest pause after failures */
    PAUSE_LEAST_MS = 1000,
    PAUSE_MOST_MS = 60000, /* the first pause after a failure */
    PAUSE_PART = 16        /* ... is this part of backup.every */
};

typedef enum state { IDLE, LOOK, WAIT, RUN, STOPPED } state;

struct schedule {
    schedule_options o;
    state state;
    char program[PLATFORM_PATH];
    const char *dir;
    char keep[24];
    uint64_t every_ms, run_ms;
    child_process process;
    log_source *log;
    loop_timer timer;
    int list_fd; /* what LOOK's child prints; -1: none */
    loop_fd *list_watch;
    char tail[2 * MANIFEST_NAME + 1]; /* of what it has printed */
    size_t tail_n;
    int64_t last_s;
    uint64_t began_us;
    uint32_t failures;
    bool unseen;    /* the last LOOK failed */
    bool begun;     /* the first LOOK is over */
    bool copy_only; /* RUN: only the copying failed */
    bool killed;    /* it took too long */
};

static void look(schedule *s);
static void run(schedule *s);
static void plan(schedule *s);

static void later(schedule *s, uint64_t ms, loop_fn *fn)
{
    if (loop_timer_set(s->o.loop, &s->timer, ms * 1000, fn, s)) {
        log_write(LOG_ERROR, "out of memory: no more backups are made");
        schedule_stop(s);
    }
}

/* ---- children ---- */

static void took_too_long(void *arg)
{
    schedule *s = arg;
    s->killed = true;
    child_signal(&s->process, SIGKILL);
}

/* Its standard output goes to `out_fd`, its errors to the log. */
static int spawn(schedule *s, char *const *argv, int out_fd, sv_error *err)
{
    env_list env;
    if (s->o.env(s->o.arg, &env)) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    child_spec spec = {.path = s->program,
                       .argv = argv,
                       .env = &env,
                       .out_fd = out_fd,
                       .pass = {-1, -1},
                       .own_group = true};
    int rc = child_spawn(&spec, &s->process, err);
    env_free(&env);
    if (rc) s->process.pid = 0;
    if (rc == 0 && log_source_open(s->log, s->process.log_fd)) close(s->process.log_fd);
    s->began_us = loop_now_us(s->o.loop);
    s->killed = false;
    return rc;
}

static int64_t unix_ms(const schedule *s)
{
    return (int64_t)(loop_unix_us(s->o.loop) / 1000);
}

/* A newest backup from the future was begun now: else a clock that was set back stops everything. */
static void clamp_last(schedule *s)
{
    if (s->last_s > unix_ms(s) / 1000) s->last_s = unix_ms(s) / 1000;
}

/* Counts a failure and says when it will be tried again. */
static void failed(schedule *s, const char *what, const char *how)
{
    s->failures++;
    uint64_t ms = schedule_wait(unix_ms(s), s->last_s, s->every_ms, s->failures);
    log_write(LOG_ERROR, what, LOG_STR("dir", s->dir), LOG_STR("end", how),
              LOG_INT("failures", s->failures), LOG_INT("again_after_s", ms / 1000));
}

/* ---- looking ---- */

static void close_list(schedule *s)
{
    loop_fd_del(s->list_watch);
    if (s->list_fd >= 0) close(s->list_fd);
    s->list_watch = NULL;
    s->list_fd = -1;
}

/* Keeps the end of it. */
static void read_list(schedule *s)
{
    char piece[4096];
    ssize_t n;
    while (s->list_fd >= 0 && (n = read(s->list_fd, piece, sizeof piece)) > 0) {
        size_t most = sizeof s->tail - 1, more = (size_t)n < most ? (size_t)n : most;
        size_t keep = s->tail_n < most - more ? s->tail_n : most - more;
        memmove(s->tail, s->tail + s->tail_n - keep, keep);
        memcpy(s->tail + keep, piece + (size_t)n - more, more);
        s->tail_n = keep + more;
    }
}

static void on_list(void *arg, int fd, uint32_t events)
{
    (void)fd;
    schedule *s = arg;
    read_list(s);
    if (events & (EPOLLHUP | EPOLLERR)) close_list(s);
}

static void looked(schedule *s, int wait_status, const char *how)
{
    char name[MANIFEST_NAME + 1] = "";
    read_list(s);
    close_list(s);
    if (s->tail_n > MANIFEST_NAME && s->tail[s->tail_n - 1] == '\n')
        memcpy(name, s->tail + s->tail_n - MANIFEST_NAME - 1, MANIFEST_NAME);
    s->unseen = wait_status != 0;
    if (s->unseen) {
        failed(s, "the folder of backups cannot be read", how);
    } else {
        int64_t last_s = manifest_is_name(name) ? backup_time(name) : 0;
        if (last_s > s->last_s && !s->copy_only) s->failures = 0; /* by hand, meanwhile */
        s->last_s = last_s;
        clamp_last(s);
    }
    bool first = !s->unseen && !s->begun;
    s->begun |= first;
    if (first && config_str(s->o.config, "backup.s3_url") &&
        schedule_wait(unix_ms(s), s->last_s, s->every_ms, 0) > 0) {
        s->copy_only = true; /* it may have been left uncopied when the platform stopped */
        run(s);
    } else {
        plan(s);
    }
}

static void look(schedule *s)
{
    char *argv[] = {s->program, "backup", "--list", "--", (char *)(uintptr_t)s->dir, NULL};
    int fd[2] = {-1, -1};
    sv_error err = {.code = 0};
    s->state = LOOK;
    s->tail_n = 0;
    int rc = pipe2(fd, O_CLOEXEC | O_NONBLOCK) ? SV_E_IO : 0;
    if (rc == 0) {
        s->list_fd = fd[0];
        fcntl(fd[1], F_SETFL, 0);
        rc = loop_fd_add(s->o.loop, fd[0], EPOLLIN, on_list, s, &s->list_watch);
    }
    if (rc == 0) rc = spawn(s, argv, fd[1], &err);
    if (fd[1] >= 0) close(fd[1]);
    if (rc) {
        close_list(s);
        s->unseen = true;
        failed(s, "the folder of backups cannot be read", err.message);
        plan(s);
        return;
    }
    later(s, LOOK_MS, took_too_long);
}

/* ---- running ---- */

static void run(schedule *s)
{
    char *make[] = {s->program, "backup", "--keep", s->keep, "--", (char *)(uintptr_t)s->dir, NULL};
    char *copy[] = {
        s->program, "backup", "--copy-only", "--keep", s->keep, "--", (char *)(uintptr_t)s->dir,
        NULL};
    sv_error err = {.code = 0};
    s->state = RUN;
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC); /* what it says is for people */
    int rc = spawn(s, s->copy_only ? copy : make, null_fd, &err);
    if (null_fd >= 0) close(null_fd);
    if (rc) {
        failed(s, "backup failed", err.message);
        plan(s);
        return;
    }
    log_write(LOG_INFO, s->copy_only ? "backup is copied to the store" : "backup starts",
              LOG_STR("dir", s->dir), LOG_INT("pid", s->process.pid));
    later(s, s->run_ms, took_too_long);
}

static void ran(schedule *s, int wait_status, const char *how)
{
    uint64_t ms = (loop_now_us(s->o.loop) - s->began_us) / 1000;
    bool not_copied = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == CLI_NOT_COPIED;
    if (not_copied) {
        s->copy_only = true;
        failed(s, "backup is made, but not copied to the store", how);
    } else if (wait_status) {
        failed(s, s->copy_only ? "backup is not copied to the store" : "backup failed", how);
    } else {
        log_write(LOG_INFO, s->copy_only ? "backup copied" : "backup made", LOG_STR("dir", s->dir),
                  LOG_INT("ms", ms));
        s->failures = 0;
        s->copy_only = false;
    }
    look(s);
}

/* ---- waiting ---- */

uint64_t schedule_wait(int64_t now_ms, int64_t last_s, uint64_t every_ms, uint32_t failures)
{
    if (failures) {
        uint64_t pause = every_ms / PAUSE_PART;
        if (pause > PAUSE_MOST_MS) pause = PAUSE_MOST_MS;
        if (pause < PAUSE_LEAST_MS) pause = PAUSE_LEAST_MS;
        for (uint32_t i = 1; i < failures && pause < WAIT_MOST_MS; i++)
            pause *= 2;
        return pause < WAIT_MOST_MS ? pause : WAIT_MOST_MS;
    }
    int64_t last_ms = last_s * 1000;
    if (last_s == 0) return 0;
    if (last_ms > now_ms) return every_ms;
    uint64_t age = (uint64_t)(now_ms - last_ms);
    return age < every_ms ? every_ms - age : 0;
}

static void on_due(void *arg)
{
    schedule *s = arg;
    clamp_last(s);
    uint64_t ms = schedule_wait(unix_ms(s), s->last_s, s->every_ms, 0);
    if (ms == 0) s->copy_only = false; /* the next one is due: that one will be copied */
    if (s->unseen)
        look(s);
    else if (ms == 0 || s->failures)
        run(s);
    else /* the next piece of the wait, or a clock that was set */
        later(s, ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS, on_due);
}

static void plan(schedule *s)
{
    if (s->state == STOPPED) return;
    s->state = WAIT;
    uint64_t ms = schedule_wait(unix_ms(s), s->last_s, s->every_ms, s->failures);
    if (s->failures == 0)
        log_write(LOG_INFO, "next backup", LOG_STR("dir", s->dir), LOG_INT("after_s", ms / 1000));
    later(s, ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS, on_due);
}

/* ---- life ---- */

int schedule_new(schedule **ret, const schedule_options *o, sv_error *err)
{
    int64_t every = config_int(o->config, "backup.every");
    const char *dir = config_str(o->config, "backup.dir");
    *ret = NULL;
    if (every == 0) return 0;
    if (every < EVERY_LEAST_MS)
        return sv_fail(err, SV_E_CONFIG, "backup.every",
                       "backup.every is less than a second; say 24h, or 0 for never.");
    if (dir == NULL)
        return sv_fail(err, SV_E_CONFIG, "backup.dir",
                       "backup.every is set, but not backup.dir: where do backups go?");
    schedule *s = calloc(1, sizeof *s);
    if (s == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    s->o = *o;
    s->dir = dir;
    s->every_ms = (uint64_t)every;
    s->run_ms = s->every_ms > RUN_LEAST_MS ? s->every_ms : RUN_LEAST_MS;
    s->list_fd = -1;
    s->process = (child_process){.pid = 0, .gate_fd = -1, .log_fd = -1};
    snprintf(s->keep, sizeof s->keep, "%lld", (long long)config_int(o->config, "backup.keep"));
    s->log = log_mux_source(o->mux, "backup");
    if (s->log == NULL ||
        snprintf(s->program, sizeof s->program, "%s/samovar", o->bin) >= (int)sizeof s->program) {
        free(s);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    *ret = s;
    return 0;
}

static void on_start(void *arg)
{
    look(arg);
}

void schedule_begin(schedule *s)
{
    if (s == NULL || s->state != IDLE) return;
    s->state = WAIT;
    uint64_t soon_ms = s->o.soon_ms ? s->o.soon_ms : SCHEDULE_SOON_MS;
    later(s, s->every_ms < soon_ms ? s->every_ms : soon_ms, on_start);
}

void schedule_stop(schedule *s)
{
    if (s == NULL) return;
    s->state = STOPPED;
    loop_timer_stop(s->o.loop, &s->timer);
    child_signal(&s->process, SIGKILL);
}

bool schedule_ended(schedule *s, pid_t pid, int wait_status)
{
    char how[64];
    if (s == NULL || s->process.pid == 0 || s->process.pid != pid) return false;
    state was = s->state;
    s->process.pid = 0;
    loop_timer_stop(s->o.loop, &s->timer);
    log_source_close(s->log);
    if (s->killed)
        snprintf(how, sizeof how, "it took too long and was killed");
    else
        child_describe_end(wait_status, how, sizeof how);
    if (was == LOOK)
        looked(s, wait_status, how);
    else if (was == RUN)
        ran(s, wait_status, how);
    return true;
}

void schedule_free(schedule *s)
{
    if (s == NULL) return;
    schedule_stop(s);
    close_list(s);
    free(s);
}
