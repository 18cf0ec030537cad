/*  limit_owner.c - rate limits through a real broker: two cache processes, three edges that hammer
 *  one user and one address. Never more than the limit while owners live; less than one limit more
 *  after kill -9 of an owner and again when it is back; a stricter local limit while there is none.
 *  This process stands in the supervisor's place and asks as the operator. BIN names the
 *  executables. */
#include "error.h"
#include "limits_bus.h"
#include "log.h"
#include "tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EDGES = 3, CACHES = 2, KINDS = 2, WAITS = 64, USER_LIMIT = 200, ADDRESS_LIMIT = 10 };

/* What the edges have done, for all to see. */
typedef struct shared {
    atomic_int run, ready;
    atomic_int allowed[KINDS], refused[KINDS];
    atomic_int away[EDGES + 1], ever_away;
} shared;

static shared *seen;
static char folder[128];
static int control = -1;
static pid_t broker_pid, cache_pid[CACHES + 1], edge_pid[EDGES + 1];
static config *settings;
static sv_process *me;

/* ---- an edge that only counts ---- */

typedef struct waiting {
    limits_wait wait;
    bool pending;
    int kind;
} waiting;

typedef struct hammer {
    limits_bus *bus;
    waiting waits[WAITS];
    bool counted;
} hammer;

static void judged(waiting *w, const limits_verdict *v)
{
    w->pending = false;
    atomic_fetch_add(v->allowed ? &seen->allowed[w->kind] : &seen->refused[w->kind], 1);
}

static void done(limits_wait *wait, const limits_verdict *v)
{
    judged(member_of(waiting, wait, wait), v);
}

static void try_one(hammer *h, int kind)
{
    waiting *w = h->waits;
    limits_verdict v;
    limits_subject s = {.class = CLASS_CHAT, .address = "192.0.2.1"};
    if (kind == 0) s.user = sv_cstr("u1");
    while (w < h->waits + WAITS && w->pending)
        w++;
    if (w == h->waits + WAITS) return;
    w->kind = kind;
    w->pending = true;
    if (limits_check(limits_bus_limits(h->bus), &s, &w->wait, done, &v)) judged(w, &v);
}

static int hammer_init(sv_process *p, void **state, sv_error *err)
{
    hammer *h = calloc(1, sizeof *h);
    int rc = limits_bus_open(p, &h->bus, err);
    *state = h;
    return rc;
}

static void hammer_tick(sv_process *p, void *state)
{
    hammer *h = state;
    if (!sv_connected(p)) return;
    if (!h->counted) atomic_fetch_add(&seen->ready, 1);
    h->counted = true;
    for (int i = 0; i < 6 && atomic_load(&seen->run) && !sv_draining(p); i++)
        try_one(h, i % 3 == 0);
    bool away = limits_away(limits_bus_limits(h->bus));
    atomic_store(&seen->away[sv_instance(p)], away);
    if (away) atomic_store(&seen->ever_away, 1);
}

static void hammer_drain(sv_process *p, void *state)
{
    (void)p;
    limits_drain(limits_bus_limits(((hammer *)state)->bus));
}

static void hammer_stop(sv_process *p, void *state)
{
    (void)p;
    hammer *h = state;
    for (int i = 0; i < WAITS; i++)
        if (h->waits[i].pending) limits_cancel(limits_bus_limits(h->bus), &h->waits[i].wait);
    limits_bus_close(h->bus, true);
    free(h);
}

static const sv_actor edge = {.name = "edge",
                              .init = hammer_init,
                              .tick = hammer_tick,
                              .tick_ms = 10,
                              .drain = hammer_drain,
                              .stop = hammer_stop};

/* ---- the supervisor's part ---- */

static void tell_broker(const char *line)
{
    char answer[256] = "";
    assert_true(send(control, line, strlen(line), 0) > 0);
    struct pollfd p = {control, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_true(recv(control, answer, sizeof answer - 1, 0) > 0);
    assert_string_equal(answer, "ok");
}

static void start_broker(void)
{
    int pair[2];
    char path[512], fd[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    control = pair[0];
    snprintf(path, sizeof path, "%s/samovar-broker", getenv("BIN"));
    snprintf(fd, sizeof fd, "%d", pair[1]);
    broker_pid = fork();
    if (broker_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("SAMOVAR_CONTROL_FD", fd, 1);
        execl(path, path, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
}

/* `actor` NULL: the cache's own program. */
static pid_t start(const sv_actor *actor, const char *name, unsigned instance)
{
    int gate[2];
    char line[96], number[16], path[512];
    assert_int_equal(pipe(gate), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char go;
        close(gate[1]);
        if (read(gate[0], &go, 1) != 1) _exit(1);
        close(gate[0]);
        snprintf(number, sizeof number, "%u", instance);
        setenv("SAMOVAR_INSTANCE", number, 1);
        char *argv[] = {(char *)(uintptr_t)name, NULL};
        if (actor) _exit(sv_main(1, argv, actor));
        snprintf(path, sizeof path, "%s/samovar-%s", getenv("BIN"), name);
        execl(path, path, (char *)NULL);
        _exit(127);
    }
    close(gate[0]);
    snprintf(line, sizeof line, "child %d %s %u", pid, name, instance);
    tell_broker(line);
    assert_int_equal(write(gate[1], "g", 1), 1);
    close(gate[1]);
    return pid;
}

static void kill_cache(int instance)
{
    char line[64];
    pid_t pid = cache_pid[instance];
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    snprintf(line, sizeof line, "exited %d", pid);
    tell_broker(line);
    cache_pid[instance] = 0;
}

/* ---- asking as the operator ---- */

typedef struct look {
    bool done;
    int code;
    cache_limit_look_reply reply;
} look;

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    (void)err;
    look *k = arg;
    arena a;
    arena_init(&a, 65536);
    k->code = code;
    k->done = true;
    if (code == 0)
        assert_int_equal(
            message_decode(&cache_limit_look_reply_msg, item->body, 0, &a, &k->reply, NULL), 0);
    arena_free(&a);
}

static bool is_done(void *arg)
{
    return ((look *)arg)->done;
}

static int look_at(int instance, const char *name, cache_limit_look_reply *ret)
{
    static const sv_events events = {NULL, on_done};
    char target[32];
    cache_limit_look_req q = {.name = sv_cstr(name)};
    look k = {.done = false};
    snprintf(target, sizeof target, "cache/%d.limit_look", instance);
    sv_request r = {
        .target = target, .type = &cache_limit_look_req_msg, .body = &q, .ttl_ms = 1000};
    assert_non_null(sv_open(me, &r, &events, &k, NULL));
    assert_int_equal(sv_tool_wait(me, is_done, &k, 5000), 0);
    *ret = k.reply;
    return k.code;
}

/* The instance that has counted the name; 0: none has. */
static int owner_of(const char *name)
{
    for (int i = 1; i <= CACHES; i++) {
        cache_limit_look_reply r;
        if (cache_pid[i] && look_at(i, name, &r) == 0 && r.known) return i;
    }
    return 0;
}

/* ---- waiting ---- */

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* The broker asks this process too whether it lives. */
static void pump(void)
{
    assert_int_equal(sv_tool_wait(me, never, NULL, 5), SV_E_DEADLINE);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_us = clock_us() + 20000000;                                                   \
        while (!(condition)) {                                                                     \
            assert_true(clock_us() < end_us);                                                      \
            pump();                                                                                \
        }                                                                                          \
    } while (0)

/* Every edge has been refused many times since. */
static void until_refused(int times)
{
    int user = atomic_load(&seen->refused[0]), address = atomic_load(&seen->refused[1]);
    UNTIL(atomic_load(&seen->refused[0]) >= user + times &&
          atomic_load(&seen->refused[1]) >= address + times / 4);
}

static bool all_away(int want)
{
    for (int i = 1; i <= EDGES; i++)
        if (atomic_load(&seen->away[i]) != want) return false;
    return true;
}

static int setup(void **state)
{
    (void)state;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(seen != MAP_FAILED);
    strcpy(folder, "/tmp/samovar-limits.XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("SAMOVAR_DATA", folder, 1);
    setenv("SAMOVAR_LIMITS_FREE_MINUTE", "200", 1);
    setenv("SAMOVAR_SUPERVISOR_EDGES", "3", 1);
    setenv("SAMOVAR_LOG_LEVEL", "error", 1);
    log_init("test", 0, LOG_ERROR, 2);
    start_broker();
    for (int i = 1; i <= CACHES; i++)
        cache_pid[i] = start(NULL, "cache", (unsigned)i);
    sv_error err = {0};
    assert_int_equal(config_load(NULL, &settings, &err), 0);
    me = sv_tool_start(settings, NULL, &err);
    assert_non_null(me);
    cache_limit_look_reply r;
    for (int i = 1; i <= CACHES; i++)
        UNTIL(look_at(i, "x", &r) == 0);
    for (int i = 1; i <= EDGES; i++)
        edge_pid[i] = start(&edge, "edge", (unsigned)i);
    UNTIL(atomic_load(&seen->ready) == EDGES);
    return 0;
}

static int end_well(pid_t pid)
{
    int status = 0;
    if (pid <= 0) return 0;
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1; /* a leak report is 1 or 23 */
}

static int teardown(void **state)
{
    (void)state;
    int bad = 0;
    sv_tool_stop(me);
    config_free(settings);
    for (int i = 1; i <= EDGES; i++)
        bad |= end_well(edge_pid[i]);
    for (int i = 1; i <= CACHES; i++)
        bad |= end_well(cache_pid[i]);
    bad |= end_well(broker_pid);
    assert_int_equal(bad, 0);
    char line[256];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

/* ---- the one story ---- */

static void never_more_than_the_limit(void **state)
{
    (void)state;
    uint64_t began_us = clock_us();
    atomic_store(&seen->run, 1);
    until_refused(1000);
    print_message("with one owner: %d of %d\n", atomic_load(&seen->allowed[0]), USER_LIMIT);
    /* on a busy machine an owner may seem away; then a quarter more, of each edge at least 1 */
    bool away = atomic_load(&seen->ever_away);
    assert_true(atomic_load(&seen->allowed[0]) <= USER_LIMIT + (away ? USER_LIMIT / 4 : 0));
    assert_true(atomic_load(&seen->allowed[1]) <= ADDRESS_LIMIT + (away ? EDGES : 0));
    assert_true(atomic_load(&seen->allowed[0]) > USER_LIMIT / 2); /* late answers are lost */
    assert_true(atomic_load(&seen->allowed[1]) > 0);

    int owner = owner_of("user.chat/u1"), address_owner = owner_of("address.chat/192.0.2.1");
    assert_true(owner && address_owner);
    kill_cache(owner);
    UNTIL(owner_of("user.chat/u1") != 0);
    until_refused(500);
    print_message("after the owner was killed: %d of %d\n", atomic_load(&seen->allowed[0]),
                  USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[0]) <= 2 * USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[1]) <= 2 * ADDRESS_LIMIT);

    cache_pid[owner] = start(NULL, "cache", (unsigned)owner);
    cache_limit_look_reply r;
    UNTIL(look_at(owner, "user.chat/u1", &r) == 0 && r.known);
    until_refused(500);
    print_message("after it came back: %d of %d\n", atomic_load(&seen->allowed[0]), USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[0]) <= 2 * USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[1]) <= 2 * ADDRESS_LIMIT);

    int before = atomic_load(&seen->allowed[0]);
    for (int i = 1; i <= CACHES; i++)
        kill_cache(i);
    UNTIL(all_away(1));
    until_refused(500);
    assert_true(atomic_load(&seen->allowed[0]) - before <= EDGES * 15); /* leases; no more */
    cache_pid[1] = start(NULL, "cache", 1);
    UNTIL(all_away(0));
    UNTIL(owner_of("user.chat/u1") == 1);
    until_refused(500);
    assert_true(clock_us() - began_us < 60000000); /* all of it was one window */
    print_message("after all were away: %d of %d\n", atomic_load(&seen->allowed[0]), USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[0]) <= 2 * USER_LIMIT);
    atomic_store(&seen->run, 0);
}

int main(void)
{
    if (getenv("BIN") == NULL) {
        fprintf(stderr, "BIN must name the folder with the executables\n");
        return 2;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(never_more_than_the_limit)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
