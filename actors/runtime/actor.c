/*  actor.c - the process: start, drain, stop; sv_main for actors and sv_tool_* for tools. */
#include "process.h"

#include "log.h"
#include "notify.h"
#include "offline.h"
#include "state.h"
#include "tool.h"
#include "uuid.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_CONFIG = 78,
    DEFAULT_SLOTS = 1024,
    FIBERS_MAX = 4096,
    FIBERS_KEEP = 32,
    BEAT_US = 1000000
};

loop *sv_loop(sv_process *p)
{
    return p->loop;
}

const config *sv_config(sv_process *p)
{
    return p->config;
}

void *sv_process_state(sv_process *p)
{
    return p->state;
}

uint32_t sv_instance(sv_process *p)
{
    return p->instance;
}

bool sv_connected(sv_process *p)
{
    return p->session == SESSION_UP;
}

bool sv_draining(sv_process *p)
{
    return p->draining;
}

void sv_set_slots(sv_process *p, uint32_t slots)
{
    p->slots = slots;
}

void sv_hold(sv_process *p, int delta)
{
    p->holds += delta;
}

/* ---- life ---- */

static int join_methods(sv_process *p, sv_error *err)
{
    const sv_actor *a = p->actor;
    size_t of_store = a->store ? store_method_count : 0;
    p->n_methods = a->n_methods + builtin_count + of_store;
    p->methods = calloc(p->n_methods, sizeof *p->methods);
    p->served_ok = calloc(p->n_methods, sizeof *p->served_ok);
    if (p->methods == NULL || p->served_ok == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (a->n_methods) memcpy(p->methods, a->methods, a->n_methods * sizeof *p->methods);
    sv_method *rest = p->methods + a->n_methods;
    memcpy(rest, builtin_methods, builtin_count * sizeof *rest);
    memcpy(rest + builtin_count, store_methods, of_store * sizeof *rest);
    for (size_t i = 0; i < p->n_methods; i++)
        p->served_ok[i] = metric_get(M_BUS_SERVED, (const char *const[]){p->methods[i].name, "OK"});
    return 0;
}

sv_process *process_new(const config *c, const sv_actor *actor, const char *name, sv_error *err)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    sv_process *p = calloc(1, sizeof *p);
    if (p == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    p->config = c;
    p->actor = actor;
    p->out_tail = &p->out_head;
    p->epoch = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->version, sizeof p->version, "%s",
             actor && actor->version ? actor->version : SAMOVAR_VERSION);
    p->slots = actor && actor->slots ? actor->slots : DEFAULT_SLOTS;
    const char *instance = getenv("SAMOVAR_INSTANCE");
    p->instance = instance ? (uint32_t)strtoul(instance, NULL, 10) : 0;
    p->loop = loop_new(err);
    p->fibers = fiber_pool_new(FIBERS_MAX, FIBERS_KEEP);
    p->records = calloc(RECORDS, sizeof *p->records);
    bool ok = p->loop && p->fibers && p->records && envelope_name_ok(sv_cstr(p->name));
    if (!ok)
        sv_fail(err, p->loop ? SV_E_INVALID : SV_E_NO_MEMORY, "name",
                "\"%s\" is not a service name.", name);
    if (ok && actor) ok = join_methods(p, err) == 0;
    if (!ok) {
        process_free(p);
        return NULL;
    }
    p->started_us = loop_now_us(p->loop);
    return p;
}

void process_free(sv_process *p)
{
    if (p == NULL) return;
    stream_free_all(p);
    bus_close(p);
    serve_free_pool(p);
    event_free(p);
    idmap_free(&p->calls);
    idmap_free(&p->streams);
    if (p->workers) pool_free(p->workers);
    if (p->fibers) fiber_pool_free(p->fibers);
    if (p->loop) loop_free(p->loop);
    free(p->records);
    free(p->methods);
    free(p->served_ok);
    free(p);
}

/* ---- drain ---- */

void process_drain(sv_process *p)
{
    if (p->draining || p->actor == NULL) return;
    p->draining = true;
    p->drain_until_us =
        loop_now_us(p->loop) + (uint64_t)config_int(p->config, "edge.drain_ms") * 1000;
    log_write(LOG_INFO, "draining", LOG_INT("in_flight", p->calls.n), LOG_INT("holds", p->holds));
    notify_send("STOPPING=1");
    if (p->session == SESSION_UP) bus_say_drain(p);
    if (p->actor->drain) p->actor->drain(p, p->state);
}

void process_check_drained(sv_process *p)
{
    bool idle = p->calls.n == 0 && p->holds <= 0;
    if (p->stopped || (!idle && loop_now_us(p->loop) < p->drain_until_us)) return;
    if (!idle)
        log_write(LOG_WARN, "stopping with work open", LOG_INT("in_flight", p->calls.n),
                  LOG_INT("holds", p->holds));
    p->stopped = true;
    loop_stop(p->loop);
}

void sv_stop(sv_process *p)
{
    process_drain(p);
}

static void on_signal(void *arg, int signo)
{
    sv_process *p = arg;
    log_write(LOG_INFO, "signal", LOG_INT("number", signo));
    if (p->draining && signo == SIGINT) {
        p->stopped = true;
        loop_stop(p->loop);
        return;
    }
    process_drain(p);
}

/* ---- the beat: readiness, watchdog, drain deadline, the actor's tick ---- */

static void on_beat(void *arg)
{
    sv_process *p = arg;
    bool up = p->session == SESSION_UP;
    if (up && !p->ready_sent) {
        notify_send("READY=1");
        p->ready_sent = true;
    }
    notify_send("WATCHDOG=1");
    if (p->draining) process_check_drained(p);
    loop_timer_set(p->loop, &p->tick_beat, up ? BEAT_US : 10000, on_beat, p);
}

static void on_actor_tick(void *arg)
{
    sv_process *p = arg;
    p->actor->tick(p, p->state);
    loop_timer_set(p->loop, &p->actor_tick, (uint64_t)p->actor->tick_ms * 1000, on_actor_tick, p);
}

static int start(sv_process *p, sv_error *err)
{
    const sv_actor *a = p->actor;
    int rc = 0;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; rc == 0 && i < 2; i++)
        rc = loop_signal(p->loop, signals[i], on_signal, p);
    if (rc) return sv_fail(err, rc, NULL, "Signals cannot be watched.");
    if ((rc = state_open(p, err))) return rc;
    p->begun = true;
    if (a->init && (rc = a->init(p, &p->state, err))) return rc;
    if ((rc = bus_open(p, err))) return rc;
    loop_timer_set(p->loop, &p->tick_beat, 0, on_beat, p);
    if (a->tick)
        loop_timer_set(p->loop, &p->actor_tick, (uint64_t)a->tick_ms * 1000, on_actor_tick, p);
    return 0;
}

static void stop(sv_process *p)
{
    loop_timer_stop(p->loop, &p->tick_beat);
    loop_timer_stop(p->loop, &p->actor_tick);
    serve_cancel_all(p);
    stream_free_all(p);
    state_settle(p);
    if (p->actor->stop && p->begun) p->actor->stop(p, p->state);
    state_close(p);
}

static void usage(const sv_actor *a)
{
    printf("%s %s - %s\n\nUsage: samovar-%s [--config FILE] [--help] [--version]\n\n"
           "Joins the bus of the platform in SAMOVAR_DATA (default ./var), or SAMOVAR_BUS with "
           "SAMOVAR_KEY\n"
           "and SAMOVAR_BUS_KEY. Settings: samovar config show.\n",
           a->name, a->version ? a->version : SAMOVAR_VERSION, a->doc ? a->doc : "a Samovar actor",
           a->name);
}

static int read_arguments(int argc, char **argv, const sv_actor *a, const char **file)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            usage(a);
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s\n", a->version ? a->version : SAMOVAR_VERSION);
            return 0;
        }
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            *file = argv[++i];
            continue;
        }
        fprintf(stderr, "%s: unknown argument \"%s\"; see --help\n", a->name, argv[i]);
        return EXIT_CONFIG;
    }
    return -1;
}

/* Core files could hold keys; Samovar's own processes write none. */
static void harden(void)
{
    struct rlimit none = {0, 0}, files;
    setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a full disk, not a reason to die */
}

static int run(sv_process *p, sv_error *err)
{
    int rc = start(p, err);
    if (rc == 0) rc = loop_run(p->loop, err);
    stop(p);
    if (rc) {
        log_write(LOG_ERROR, "cannot start", LOG_ERR(err));
        return state_is_config(rc) ? EXIT_CONFIG : 1;
    }
    return p->exit_code;
}

int sv_main(int argc, char **argv, const sv_actor *actor)
{
    const char *file = NULL;
    sv_error err = {0};
    config *c = NULL;
    if (argc > 1 && strcmp(argv[1], "store") == 0) return offline_main(argc - 2, argv + 2, actor);
    int rc = read_arguments(argc, argv, actor, &file);
    if (rc >= 0) return rc;
    harden();
    log_init(actor->name, 0, LOG_INFO, 2);
    if (config_load(file, &c, &err)) {
        log_write(LOG_ERROR, "configuration refused", LOG_ERR(&err));
        return EXIT_CONFIG;
    }
    log_level level = LOG_INFO;
    log_level_parse(config_str(c, "log.level"), &level);
    log_set_level(level);
    sv_process *p = process_new(c, actor, actor->name, &err);
    if (p == NULL) {
        log_write(LOG_ERROR, "cannot start", LOG_ERR(&err));
        config_free(c);
        return 1;
    }
    rc = run(p, &err);
    process_free(p);
    metrics_free();
    config_free(c);
    return rc;
}

/* ---- tools ---- */

sv_process *sv_tool_start(const config *c, const char *name, sv_error *err)
{
    sv_process *p = process_new(c, NULL, name ? name : "operator", err);
    if (p && bus_open(p, err)) {
        process_free(p);
        return NULL;
    }
    return p;
}

int sv_tool_wait(sv_process *p, bool (*until)(void *arg), void *arg, uint32_t ms)
{
    uint64_t end = clock_us() + (uint64_t)ms * 1000;
    while (!until(arg)) {
        if (p->fatal) return p->fatal_error.code;
        uint64_t now = clock_us();
        if (now >= end) return SV_E_DEADLINE;
        uint64_t left = (end - now + 999) / 1000;
        loop_turn(p->loop, left > 1000 ? 1000 : (int)left);
    }
    return 0;
}

void sv_tool_stop(sv_process *p)
{
    process_free(p);
}
