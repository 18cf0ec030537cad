/*  supervisor.c - a table of children in start order and one function, advance(), that starts
 *  whatever may be started now. Everything else is an event: a child ended, said something, or a
 *  timer fired.
 *
 *  The broker learns each process id over the control channel before that process runs its program:
 *  a child waits at its gate until the broker has said ok. When the broker restarts, all living
 *  children are announced again, before the new broker has even started, so that the announcements
 *  come first. */
#include "supervisor.h"

#include "broker_line.h"
#include "crash.h"
#include "error.h"
#include "key_keeper.h"
#include "log.h"
#include "notify_socket.h"
#include "schedule.h"
#include "ticket.h"
#include "uuid.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GROUP_BROKER,
    GROUP_KEEPERS,
    GROUP_ROUTERS,
    GROUP_EDGES,
    GROUPS,
    START_MS = 30000,    /* to READY=1 */
    WATCHDOG_MS = 15000, /* silence of a child that has sent WATCHDOG=1 before */
    ABORT_MS = 5000,     /* between SIGABRT and SIGKILL */
    CONTROL_ANSWER_MS = 10000,
    TAG_NO_CHILD = 0xffffffff
};

/* What a service is given at its start, and nobody else is. */
enum {
    GETS_CONTROL = 1,       /* the line to the supervisor: the broker */
    GETS_ROOT_KEY = 2,      /* who seals what it keeps */
    GETS_TICKET_KEY = 4,    /* who speaks for users */
    GETS_PROVIDER_KEYS = 8, /* in its environment */
    GETS_MAIL_PASSWORD = 16 /* in its environment */
};

struct supervisor {
    supervisor_options o;
    child *children;
    size_t n;
    broker_line control;
    notify_socket notify;
    loop_timer control_timer;
    ticket_signer signer;
    uint8_t seed[TICKET_SEED];
    key_keeper root_key;
    const char **key_envs;
    size_t n_key_envs;
    child_process helper;
    log_source *helper_log;
    schedule *backups;
    bool was_ready, stopping, killing;
    uint32_t stop_group;
    int exit_code;
};

static void advance(supervisor *s);
static void schedule_start(child *c, uint64_t up_us);
static void give_up(child *c, const char *why, int exit_code);

const char *child_state_name(child_state s)
{
    switch (s) {
    case CHILD_STOPPED: return "stopped";
    case CHILD_STARTING: return "starting";
    case CHILD_READY: return "ready";
    case CHILD_DRAINING: return "draining";
    case CHILD_BACKOFF: return "backoff";
    case CHILD_FAILED: return "failed";
    }
    return "?";
}

static void later(child *c, loop_timer *t, uint64_t ms, loop_fn *fn)
{
    if (loop_timer_set(c->owner->o.loop, t, ms * 1000, fn, c)) {
        log_write(LOG_ERROR, "out of memory: stopping");
        supervisor_stop(c->owner, 1);
    }
}

/* ---- the broker's control channel ---- */

static void control_answer(void *arg, uint32_t tag, const char *words)
{
    supervisor *s = arg;
    child *c = tag < s->n ? &s->children[tag] : NULL;
    if (words)
        log_write(LOG_ERROR, "the broker refused", LOG_STR("child", c ? c->name : ""),
                  LOG_STR("answer", words));
    if (c == NULL || c->process.pid == 0 || c->process.gate_fd < 0) return;
    if (words)
        child_signal(&c->process, SIGKILL);
    else
        child_open_gate(&c->process);
}

/* A broker that does not read its control channel is of no use to anybody. */
static void check_control(void *arg)
{
    supervisor *s = arg;
    child *broker = &s->children[0];
    uint64_t since_us = s->control.waiting_since_us;
    if (broker->state == CHILD_READY && s->control.n > 0 &&
        loop_now_us(s->o.loop) - since_us > (uint64_t)CONTROL_ANSWER_MS * 1000) {
        log_write(LOG_ERROR, "the broker does not answer the supervisor");
        child_signal(&broker->process, SIGABRT);
    }
    loop_timer_set(s->o.loop, &s->control_timer, 1000000, check_control, s);
}

static void announce(child *c)
{
    supervisor *s = c->owner;
    int rc = broker_line_send(&s->control, (uint32_t)(c - s->children), "child %d %s %u",
                              (int)c->process.pid, c->service, c->instance);
    if (rc == SV_E_OVERLOADED) child_signal(&s->children[0].process, SIGABRT);
}

static void announce_all(supervisor *s)
{
    uint8_t key[TICKET_KEY];
    char hex[2 * TICKET_KEY + 1];
    ticket_signer_public(&s->signer, key);
    hex_format(key, sizeof key, hex);
    broker_line_send(&s->control, TAG_NO_CHILD, "signer %s", hex);
    for (size_t i = 1; i < s->n; i++)
        if (s->children[i].process.pid) announce(&s->children[i]);
}

/* ---- start ---- */

static void start_timeout(void *arg)
{
    child *c = arg;
    log_write(LOG_ERROR, "process is not ready in time", LOG_STR("child", c->name),
              LOG_INT("ms", START_MS));
    child_signal(&c->process, SIGKILL);
}

/* A pipe that holds the ticket seed, for an edge to read. */
static int seed_pipe(const supervisor *s)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC)) return -1;
    ssize_t n = write(fd[1], s->seed, sizeof s->seed);
    close(fd[1]);
    if (n == (ssize_t)sizeof s->seed) return fd[0];
    close(fd[0]);
    return -1;
}

/* How every child finds the platform, whatever the folder it runs in. */
static int env_platform(const supervisor *s, env_list *env)
{
    const char *file = config_file(s->o.config);
    char *path = file ? realpath(file, NULL) : NULL;
    int rc = env_set(env, "SAMOVAR_DATA", config_data(s->o.config));
    if (rc == 0) rc = env_set(env, "SAMOVAR_RUN", config_run(s->o.config));
    if (rc == 0 && path) rc = env_set(env, "SAMOVAR_CONFIG", path);
    free(path);
    return rc;
}

/* What is passed on as descriptors, in their order, with the variables that name them. */
static const struct {
    unsigned gets;
    const char *variable;
} passes[] = {{GETS_CONTROL, "SAMOVAR_CONTROL_FD"},
              {GETS_ROOT_KEY, "SAMOVAR_ROOT_KEY_FD"},
              {GETS_TICKET_KEY, "SAMOVAR_TICKET_FD"}};

static int env_passes(const child *c, env_list *env)
{
    char number[16];
    int rc = 0, fd = CHILD_PASS_FD;
    for (size_t i = 0; rc == 0 && i < sizeof passes / sizeof *passes; i++) {
        if (!(c->gets & passes[i].gets)) continue;
        snprintf(number, sizeof number, "%d", fd++);
        rc = env_set(env, passes[i].variable, number);
    }
    return rc;
}

/* One descriptor of what is passed on. */
static int open_pass(supervisor *s, unsigned gets, int *ret, sv_error *err)
{
    if (gets == GETS_CONTROL)
        return broker_line_open(&s->control, s->o.loop, control_answer, s, ret, err);
    if (gets == GETS_ROOT_KEY) return key_keeper_fd(&s->root_key, ret, err);
    *ret = seed_pipe(s);
    if (*ret >= 0) return 0;
    return sv_fail(err, SV_E_IO, NULL, "No pipe for the ticket key: %s.", strerror(errno));
}

static int make_env(const child *c, env_list *env)
{
    static const char mail_password[] = "SAMOVAR_MAIL_SMTP_PASSWORD";
    const supervisor *s = c->owner;
    char number[24], watchdog[24];
    snprintf(number, sizeof number, "%u", c->instance);
    snprintf(watchdog, sizeof watchdog, "%d", WATCHDOG_MS * 1000);
    int rc = env_copy(env, environ, c->gets & GETS_PROVIDER_KEYS, s->key_envs, s->n_key_envs);
    if (rc == 0 && (c->gets & GETS_MAIL_PASSWORD) && getenv(mail_password))
        rc = env_set(env, mail_password, getenv(mail_password));
    if (rc == 0 && (env_platform(s, env) || env_set(env, "SAMOVAR_INSTANCE", number) ||
                    env_set(env, "NOTIFY_SOCKET", s->notify.path) ||
                    env_set(env, "WATCHDOG_USEC", watchdog) || env_passes(c, env))) {
        env_free(env);
        rc = SV_E_NO_MEMORY;
    }
    return rc;
}

static int spawn(child *c, sv_error *err)
{
    supervisor *s = c->owner;
    char path[4200];
    env_list env;
    if (snprintf(path, sizeof path, "%s/samovar-%s", s->o.bin, c->service) >= (int)sizeof path)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "The path of samovar-%s is too long.",
                       c->service);
    if (make_env(c, &env)) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = 0, n = 0;
    char *argv[] = {path, NULL};
    child_spec spec = {.path = path,
                       .argv = argv,
                       .env = &env,
                       .out_fd = -1,
                       .pass = {-1, -1},
                       .gated = c->group != GROUP_BROKER,
                       .own_group = true};
    for (size_t i = 0; rc == 0 && i < sizeof passes / sizeof *passes; i++)
        if (c->gets & passes[i].gets) rc = open_pass(s, passes[i].gets, &spec.pass[n++], err);
    if (rc == 0) rc = child_spawn(&spec, &c->process, err);
    for (int i = 0; i < CHILD_PASSES; i++)
        if (spec.pass[i] >= 0) close(spec.pass[i]);
    env_free(&env);
    if (rc && c->group == GROUP_BROKER) broker_line_close(&s->control);
    if (rc == 0 && log_source_open(c->log, c->process.log_fd))
        close(c->process.log_fd); /* its lines are lost, it runs all the same */
    return rc;
}

static void start(child *c)
{
    supervisor *s = c->owner;
    sv_error err = {.code = 0};
    c->process = (child_process){.pid = 0, .gate_fd = -1, .log_fd = -1};
    c->status[0] = c->note[0] = 0;
    c->aborted = false;
    c->started_us = loop_now_us(s->o.loop);
    int rc = spawn(c, &err);
    if (rc) {
        log_write(LOG_ERROR, "process cannot be started", LOG_STR("child", c->name), LOG_ERR(&err));
        snprintf(c->note, sizeof c->note, "%.180s", err.message);
        if (rc == SV_E_NOT_FOUND && !s->was_ready)
            give_up(c, "its executable is missing", 1);
        else
            schedule_start(c, 0);
        return;
    }
    c->state = CHILD_STARTING;
    if (c->group == GROUP_BROKER)
        announce_all(s);
    else
        announce(c);
    later(c, &c->timer, START_MS, start_timeout);
    log_write(LOG_DEBUG, "process starts", LOG_STR("child", c->name),
              LOG_INT("pid", c->process.pid));
}

/* Starts what may be started: at first group by group, later whenever the broker is ready. */
static void advance(supervisor *s)
{
    for (uint32_t g = 0; g < GROUPS && !s->stopping; g++) {
        bool ready = true;
        for (size_t i = 0; i < s->n && !s->stopping; i++) {
            child *c = &s->children[i];
            if (c->group != g) continue;
            if (c->state == CHILD_STOPPED) start(c);
            ready &= c->state == CHILD_READY || c->state == CHILD_FAILED;
        }
        if (!ready && (g == GROUP_BROKER || !s->was_ready)) return;
    }
    if (!s->was_ready && !s->stopping) {
        s->was_ready = true;
        schedule_begin(s->backups);
        s->o.ready(s->o.arg);
    }
}

static void start_again(void *arg)
{
    child *c = arg;
    c->state = CHILD_STOPPED;
    c->restarts++;
    advance(c->owner);
}

/* ---- end ---- */

static void give_up(child *c, const char *why, int exit_code)
{
    supervisor *s = c->owner;
    c->state = CHILD_FAILED;
    snprintf(c->note, sizeof c->note, "%s; see: samovar logs %s", why, c->name);
    log_write(LOG_ERROR, "process failed", LOG_STR("child", c->name), LOG_STR("why", why));
    for (size_t i = 0; i < s->n; i++)
        if (s->children[i].service == c->service && s->children[i].state != CHILD_FAILED)
            return advance(s);
    log_write(LOG_ERROR, "nothing is left of a service the platform needs: stopping",
              LOG_STR("name", c->service));
    supervisor_stop(s, exit_code);
}

static void schedule_start(child *c, uint64_t up_us)
{
    uint32_t dice;
    uint64_t pause_us;
    uuid_random(&dice, sizeof dice);
    if (restart_next(&c->budget, loop_now_us(c->owner->o.loop), up_us, dice, &pause_us)) {
        char why[96];
        snprintf(why, sizeof why, "more than %u restarts in %u s", c->budget.most,
                 (unsigned)(c->budget.window_us / 1000000));
        give_up(c, why, 1);
        return;
    }
    c->state = CHILD_BACKOFF;
    size_t n = strlen(c->note);
    if (pause_us > 0)
        snprintf(c->note + n, sizeof c->note - n, "%snext try after %.1f s", n ? ", " : "",
                 (double)pause_us / 1e6);
    later(c, &c->timer, pause_us / 1000, start_again);
}

/* Stops group by group from the last to the first; called again whenever a child has ended. */
static void stop_more(supervisor *s);

static void ended(child *c, int wait_status)
{
    supervisor *s = c->owner;
    uint64_t up_us = loop_now_us(s->o.loop) - c->started_us;
    char how[64];
    child_describe_end(wait_status, how, sizeof how);
    log_source_close(c->log);
    if (c->process.gate_fd >= 0) close(c->process.gate_fd);
    c->process = (child_process){.pid = 0, .gate_fd = -1, .log_fd = -1};
    loop_timer_stop(s->o.loop, &c->timer);
    loop_timer_stop(s->o.loop, &c->watchdog);
    if (c->group == GROUP_BROKER) broker_line_close(&s->control);
    if (s->stopping) {
        log_write(LOG_DEBUG, "process stopped", LOG_STR("child", c->name), LOG_STR("end", how));
        c->state = CHILD_STOPPED;
        stop_more(s);
        return;
    }
    char report[4300] = "";
    if (wait_status != 0)
        crash_report(config_run(s->o.config), c->name, how, s->o.mux, c->log,
                     loop_unix_us(s->o.loop), report, sizeof report);
    log_write(wait_status ? LOG_ERROR : LOG_WARN, "process ended", LOG_STR("child", c->name),
              LOG_STR("end", how), LOG_INT("up_ms", up_us / 1000), LOG_STR("report", report));
    snprintf(c->note, sizeof c->note, "ended with %s", how);
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_CONFIG)
        give_up(c, "exit code 78: its configuration is not valid", EXIT_CONFIG);
    else
        schedule_start(c, up_us);
}

static void reap(void *arg, int signo)
{
    (void)signo;
    supervisor *s = arg;
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0) return;
        /* Until it is reaped its number cannot belong to anybody else. */
        child *c = NULL;
        for (size_t i = 0; i < s->n; i++)
            if (s->children[i].process.pid == info.si_pid) c = &s->children[i];
        if (c) {
            child_signal(&c->process, SIGKILL); /* what it left behind in its group */
            if (c->group != GROUP_BROKER)
                broker_line_send(&s->control, TAG_NO_CHILD, "exited %d", (int)info.si_pid);
        }
        int status = 0;
        if (waitpid(info.si_pid, &status, 0) != info.si_pid) return;
        if (c)
            ended(c, status);
        else if (info.si_pid == s->helper.pid)
            s->helper.pid = 0;
        else
            schedule_ended(s->backups, info.si_pid, status);
    }
}

/* ---- what children say ---- */

static void watchdog_bites(void *arg)
{
    child *c = arg;
    if (c->aborted) {
        child_signal(&c->process, SIGKILL);
        return;
    }
    log_write(LOG_ERROR, "process gives no sign of life", LOG_STR("child", c->name),
              LOG_INT("ms", WATCHDOG_MS));
    c->aborted = true;
    child_signal(&c->process, SIGABRT);
    later(c, &c->watchdog, ABORT_MS, watchdog_bites);
}

static void heard(void *arg, pid_t pid, const notify_message *m)
{
    supervisor *s = arg;
    child *c = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (s->children[i].process.pid == pid) c = &s->children[i];
    if (c == NULL) return;
    if (m->has_status) snprintf(c->status, sizeof c->status, "%s", m->status);
    if (m->watchdog && !c->aborted) later(c, &c->watchdog, WATCHDOG_MS, watchdog_bites);
    if (m->stopping && c->state == CHILD_READY) c->state = CHILD_DRAINING;
    if (m->ready && c->state == CHILD_STARTING) {
        c->state = CHILD_READY;
        loop_timer_stop(s->o.loop, &c->timer);
        log_write(LOG_INFO, "process ready", LOG_STR("child", c->name),
                  LOG_INT("pid", c->process.pid),
                  LOG_INT("ms", (loop_now_us(s->o.loop) - c->started_us) / 1000));
        advance(s);
    }
}

/* ---- stop ---- */

/* Processes that a child left behind outside its group were handed to us (PR_SET_CHILD_SUBREAPER).
 */
static void kill_orphans(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 100; round++) {
        FILE *f = fopen(path, "re");
        int pid, found = 0;
        while (f && fscanf(f, "%d", &pid) == 1) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            found++;
        }
        if (f) fclose(f);
        if (found == 0) return;
    }
}

static void stop_timeout(void *arg)
{
    child *c = arg;
    log_write(LOG_WARN, "process does not stop: killing it", LOG_STR("child", c->name));
    child_signal(&c->process, SIGKILL);
}

static void stop_more(supervisor *s)
{
    for (;; s->stop_group--) {
        bool alive = false;
        for (size_t i = 0; i < s->n; i++) {
            child *c = &s->children[i];
            if (c->group != s->stop_group || c->process.pid == 0) continue;
            alive = true;
            if (s->killing) {
                child_signal(&c->process, SIGKILL);
            } else if (c->timer.fn != stop_timeout || c->timer.slot == 0) {
                c->state = CHILD_DRAINING;
                child_signal(&c->process, SIGTERM);
                if (loop_timer_set(s->o.loop, &c->timer,
                                   (uint64_t)config_int(s->o.config, "supervisor.stop_ms") * 1000,
                                   stop_timeout, c))
                    child_signal(&c->process, SIGKILL);
            }
        }
        if (alive) return;
        if (s->stop_group == 0) break;
    }
    kill_orphans();
    loop_stop(s->o.loop);
}

void supervisor_stop(supervisor *s, int exit_code)
{
    if (s->exit_code == 0) s->exit_code = exit_code;
    if (s->stopping && !s->killing) {
        s->killing = true;
        log_write(LOG_WARN, "killing everything");
        for (size_t i = 0; i < s->n; i++)
            child_signal(&s->children[i].process, SIGKILL);
    }
    if (!s->stopping) {
        s->stopping = true;
        s->stop_group = GROUPS - 1;
        for (size_t i = 0; i < s->n; i++)
            loop_timer_stop(s->o.loop, &s->children[i].timer);
        if (s->helper.pid) kill(s->helper.pid, SIGKILL);
        schedule_stop(s->backups);
    }
    stop_more(s);
}

/* ---- life ---- */

static int make_children(supervisor *s, sv_error *err)
{
    const config *c = s->o.config;
    const struct {
        const char *service;
        uint32_t group;
        unsigned gets;
        int64_t count;
    } services[] = {
        {"broker", GROUP_BROKER, GETS_CONTROL, 1},
        {"auth", GROUP_KEEPERS, GETS_ROOT_KEY | GETS_TICKET_KEY, 1},
        {"mail", GROUP_KEEPERS, GETS_ROOT_KEY | GETS_MAIL_PASSWORD, 1},
        {"cache", GROUP_KEEPERS, 0, config_int(c, "supervisor.caches")},
        {"workspace", GROUP_KEEPERS, GETS_ROOT_KEY, 1},
        {"router", GROUP_ROUTERS, GETS_ROOT_KEY | GETS_PROVIDER_KEYS,
         config_int(c, "supervisor.routers")},
        {"edge", GROUP_EDGES, GETS_TICKET_KEY, config_int(c, "supervisor.edges")},
    };
    const size_t n = sizeof services / sizeof *services;
    for (size_t i = 0; i < n; i++)
        s->n += (size_t)services[i].count;
    s->children = calloc(s->n, sizeof *s->children);
    if (s->children == NULL) {
        s->n = 0;
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    size_t at = 0;
    for (size_t g = 0; g < n; g++) {
        for (uint32_t i = 1; i <= services[g].count; i++) {
            child *k = &s->children[at++];
            *k = (child){.owner = s,
                         .service = services[g].service,
                         .instance = i,
                         .group = services[g].group,
                         .gets = services[g].gets};
            k->process.gate_fd = k->process.log_fd = -1;
            snprintf(k->name, sizeof k->name, "%s/%u", k->service, i);
            k->log = log_mux_source(s->o.mux, k->name);
            if (k->log == NULL ||
                restart_init(&k->budget, (uint32_t)config_int(c, "supervisor.restarts"),
                             (uint64_t)config_int(c, "supervisor.restart_window") * 1000,
                             (uint64_t)config_int(c, "supervisor.restart_pause") * 1000))
                return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        }
    }
    return 0;
}

/* What `samovar backup` gets: the platform's folders and the keys of the store for copies. */
static int backup_env(void *arg, env_list *ret)
{
    static const char *const keys[] = {"SAMOVAR_BACKUP_S3_ACCESS_KEY",
                                       "SAMOVAR_BACKUP_S3_SECRET_KEY"};
    supervisor *s = arg;
    int rc = env_copy(ret, environ, false, s->key_envs, s->n_key_envs);
    if (rc) return rc;
    rc = env_platform(s, ret);
    for (size_t i = 0; rc == 0 && i < 2; i++)
        if (getenv(keys[i])) rc = env_set(ret, keys[i], getenv(keys[i]));
    if (rc) env_free(ret);
    return rc;
}

static int make_schedule(supervisor *s, sv_error *err)
{
    schedule_options o = {.loop = s->o.loop,
                          .config = s->o.config,
                          .mux = s->o.mux,
                          .bin = s->o.bin,
                          .env = backup_env,
                          .arg = s};
    return schedule_new(&s->backups, &o, err);
}

enum { MORE_KEYS = 7 }; /* router.providers[].more_key_envs */

static int read_key_envs(supervisor *s, sv_error *err)
{
    uint32_t n = config_items(s->o.config, "router.providers");
    s->key_envs = calloc(n * (1 + MORE_KEYS) + 1, sizeof *s->key_envs);
    if (s->key_envs == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    for (uint32_t i = 0; i < n; i++) {
        const char *name = config_item_str(s->o.config, "router.providers", i, "key_env");
        const char *const *more;
        uint32_t n_more =
            config_item_strs(s->o.config, "router.providers", i, "more_key_envs", &more);
        if (name) s->key_envs[s->n_key_envs++] = name;
        for (uint32_t k = 0; k < n_more && k < MORE_KEYS; k++)
            s->key_envs[s->n_key_envs++] = more[k];
    }
    return 0;
}

supervisor *supervisor_new(const supervisor_options *o, sv_error *err)
{
    supervisor *s = calloc(1, sizeof *s);
    if (s == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    s->o = *o;
    s->control.fd = s->notify.fd = -1;
    char path[4200];
    snprintf(path, sizeof path, "%s/notify.sock", config_run(o->config));
    bool seeded = getrandom(s->seed, sizeof s->seed, 0) == (ssize_t)sizeof s->seed;
    if (!seeded)
        sv_fail(err, SV_E_IO, NULL, "The system gives no random bytes: %s.", strerror(errno));
    else
        ticket_signer_init(&s->signer, s->seed);
    s->helper_log = log_mux_source(o->mux, "helper");
    if (!seeded || read_key_envs(s, err) || key_keeper_open(&s->root_key, o->config, err) ||
        make_children(s, err) || make_schedule(s, err) ||
        notify_socket_open(&s->notify, o->loop, path, heard, s, err)) {
        supervisor_free(s);
        return NULL;
    }
    if (s->helper_log == NULL || prctl(PR_SET_CHILD_SUBREAPER, 1) ||
        loop_signal(o->loop, SIGCHLD, reap, s) ||
        loop_timer_set(o->loop, &s->control_timer, 1000000, check_control, s)) {
        sv_fail(err, SV_E_IO, NULL, "The supervisor cannot watch its processes: %s.",
                strerror(errno));
        supervisor_free(s);
        return NULL;
    }
    return s;
}

void supervisor_free(supervisor *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n; i++) {
        assert(s->children[i].process.pid == 0);
        loop_timer_stop(s->o.loop, &s->children[i].timer);
        loop_timer_stop(s->o.loop, &s->children[i].watchdog);
        restart_free(&s->children[i].budget);
    }
    loop_timer_stop(s->o.loop, &s->control_timer);
    broker_line_close(&s->control);
    notify_socket_close(&s->notify);
    ticket_signer_clear(&s->signer);
    explicit_bzero(s->seed, sizeof s->seed);
    key_keeper_close(&s->root_key);
    schedule_free(s->backups);
    free(s->children);
    free(s->key_envs);
    free(s);
}

void supervisor_start(supervisor *s)
{
    advance(s);
}

bool supervisor_stopping(const supervisor *s)
{
    return s->stopping;
}

int supervisor_exit_code(const supervisor *s)
{
    return s->exit_code;
}

child *supervisor_children(supervisor *s, size_t *n)
{
    *n = s->n;
    return s->children;
}

void supervisor_helper(supervisor *s, const char *path, char *const *argv)
{
    sv_error err = {.code = 0};
    env_list env;
    if (s->helper.pid || env_copy(&env, environ, false, s->key_envs, s->n_key_envs)) return;
    child_spec spec = {
        .path = path, .argv = argv, .env = &env, .out_fd = STDOUT_FILENO, .pass = {-1, -1}};
    if (env_platform(s, &env) || child_spawn(&spec, &s->helper, &err)) {
        log_write(LOG_WARN, "helper cannot be started", LOG_ERR(&err));
        s->helper.pid = 0;
    } else if (log_source_open(s->helper_log, s->helper.log_fd)) {
        close(s->helper.log_fd);
    }
    env_free(&env);
}
