/*  test_supervisor.c - the supervisor with real processes: this executable plays the children
 *  itself, under the names samovar-broker, samovar-auth and so on. How a child behaves is
 *  read from RUN/fake-SERVICE; what it saw and did is written below RUN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "log.h"
#include "notify.h"
#include "root_key_file.h"
#include "run_folder.h"
#include "status_socket.h"
#include "supervisor.h"
#include "ticket.h"
#include "uuid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, TEXT = 65536 };

/* ---- files below a folder ---- */

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) abort();
    close(fd);
}

/* Its last TEXT bytes. */
static const char *get_file(const char *folder, const char *name)
{
    static char text[5][TEXT];
    static int turn;
    char path[600], *to = text[turn++ % 5];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n = fd >= 0 ? pread(fd, to, TEXT - 1, size > TEXT - 1 ? size - (TEXT - 1) : 0) : 0;
    to[n > 0 ? n : 0] = 0;
    if (fd >= 0) close(fd);
    return to;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)) != NULL; text++)
        n++;
    return n;
}

/* ---- the children ---- */

static volatile sig_atomic_t told_to_stop;

static void on_term(int signo)
{
    (void)signo;
    told_to_stop = 1;
}

static void fake_broker_turn(int control, const char *run, bool refuses)
{
    char packet[256], line[300];
    struct pollfd p = {.fd = control, .events = POLLIN};
    if (poll(&p, 1, 20) <= 0) return;
    ssize_t n = recv(control, packet, sizeof packet - 1, MSG_DONTWAIT);
    if (n <= 0) return;
    packet[n] = 0;
    snprintf(line, sizeof line, "%s\n", packet);
    put_file(run, "control", line);
    const char *answer = refuses && strncmp(packet, "child", 5) == 0 ? "error not wanted" : "ok";
    if (send(control, answer, strlen(answer), MSG_NOSIGNAL) < 0) abort();
}

static void leave_orphan(const char *run)
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        for (;;)
            pause();
    }
    char text[16];
    snprintf(text, sizeof text, "%d", (int)pid);
    put_file(run, "orphan", text);
}

static void note_start(const char *service, const char *run, const char *instance)
{
    char name[64], line[400];
    snprintf(line, sizeof line, "start %s/%s\n", service, instance);
    put_file(run, "events", line);
    snprintf(line, sizeof line, "%d\n", (int)getpid());
    put_file(run, "pids", line);
    snprintf(name, sizeof name, "env-%s", service);
    for (char **e = environ; *e; e++) {
        snprintf(line, sizeof line, "%.390s\n", *e);
        put_file(run, name, line);
    }
    const char *key_fd = getenv("SAMOVAR_ROOT_KEY_FD");
    if (key_fd) {
        seal_key *k = NULL;
        uint8_t check[16];
        char hex[2 * sizeof check + 1];
        if (root_key_from_fd(atoi(key_fd), &k, NULL)) abort();
        seal_key_check(k, check);
        seal_key_free(k);
        hex_format(check, sizeof check, hex);
        snprintf(line, sizeof line, "%s\n", hex);
        snprintf(name, sizeof name, "root-keys-%s", service);
        put_file(run, name, line);
    }
    const char *seed_fd = getenv("SAMOVAR_TICKET_FD");
    if (seed_fd) {
        uint8_t seed[TICKET_SEED], key[TICKET_KEY];
        char hex[2 * TICKET_KEY + 1];
        ticket_signer s;
        if (read(atoi(seed_fd), seed, sizeof seed) != (ssize_t)sizeof seed) abort();
        ticket_signer_init(&s, seed);
        ticket_signer_public(&s, key);
        hex_format(key, sizeof key, hex);
        snprintf(name, sizeof name, "%s-key", service);
        put_file(run, name, hex);
    }
}

static int fake_main(const char *service)
{
    char name[64], line[400];
    const char *run = getenv("SAMOVAR_RUN"), *instance = getenv("SAMOVAR_INSTANCE");
    const char *control = getenv("SAMOVAR_CONTROL_FD");
    snprintf(name, sizeof name, "fake-%s", service);
    const char *mode = get_file(run, name);
    note_start(service, run, instance);
    struct sigaction term = {.sa_handler = strcmp(mode, "stubborn") ? on_term : SIG_IGN};
    sigaction(SIGTERM, &term, NULL);
    if (strcmp(mode, "crash") == 0) {
        fprintf(stderr, "last words of %s\n", service);
        _exit(3);
    }
    if (strcmp(mode, "exit78") == 0) _exit(78);
    if (strcmp(mode, "orphan") == 0) leave_orphan(run);
    for (int i = 0; strcmp(mode, "flood") == 0 && i < 20000; i++)
        printf("line %d\n", i), fflush(stdout);
    if (strcmp(mode, "silent") != 0) notify_send("READY=1\nSTATUS=fine\n");
    while (!told_to_stop) {
        if (control)
            fake_broker_turn(atoi(control), run, strcmp(mode, "refuse") == 0);
        else
            poll(NULL, 0, 20);
    }
    snprintf(line, sizeof line, "stop %s/%s\n", service, instance);
    put_file(run, "events", line);
    _exit(0);
}

/* ---- the world around one supervisor ---- */

typedef struct world {
    char dir[64], run[80], out[80], key[80];
    int out_fd;
    config *config;
    loop *loop;
    log_mux *mux;
    supervisor *supervisor;
    status_socket *status;
    bool ready;
} world;

static void on_ready(void *arg)
{
    ((world *)arg)->ready = true;
}

static void world_open(world *w, const char *yaml)
{
    sv_error err = {.code = 0};
    char exe[500], link[600], path[600];
    *w = (world){.out_fd = -1};
    strcpy(w->dir, "/tmp/sv-cli-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->run, sizeof w->run, "%s/run", w->dir);
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    assert_true(n > 0);
    exe[n] = 0;
    static const char *const services[] = {"broker", "auth",   "mail", "workspace",
                                           "cache",  "router", "edge"};
    for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
        snprintf(link, sizeof link, "%s/samovar-%s", w->dir, services[i]);
        assert_int_equal(symlink(exe, link), 0);
    }
    put_file(w->dir, "samovar.yaml", yaml);
    snprintf(w->key, sizeof w->key, "%s.key", w->dir);
    setenv("SAMOVAR_STORE_ROOT_KEY_FILE", w->key, 1);
    setenv("SAMOVAR_DATA", w->dir, 1);
    assert_int_equal(config_load(NULL, &w->config, &err), 0);
    assert_int_equal(run_folder_make(w->config, &err), 0);
    snprintf(w->out, sizeof w->out, "%s/out", w->dir);
    w->out_fd = open(w->out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(w->out_fd > 2);
    log_init("supervisor", 0, LOG_DEBUG, w->out_fd);
    w->loop = loop_new(&err);
    assert_non_null(w->loop);
    w->mux = log_mux_new(w->loop, w->out_fd, LOG_FORMAT_JSON, &err);
    assert_non_null(w->mux);
    supervisor_options o = {.loop = w->loop,
                            .config = w->config,
                            .mux = w->mux,
                            .bin = w->dir,
                            .ready = on_ready,
                            .arg = w};
    w->supervisor = supervisor_new(&o, &err);
    assert_non_null(w->supervisor);
    snprintf(path, sizeof path, "%s/supervisor.sock", w->run);
    w->status = status_socket_open(w->loop, path, w->supervisor, w->mux, &err);
    assert_non_null(w->status);
}

/* Turns the loop until `until` is true; a failure after PATIENCE_MS. */
#define PUMP(w, until)                                                                             \
    do {                                                                                           \
        uint64_t end_us = clock_us() + (uint64_t)PATIENCE_MS * 1000;                               \
        while (!(until)) {                                                                         \
            if (clock_us() > end_us) fail_msg("never true: %s", #until);                           \
            assert_int_equal(loop_turn((w)->loop, 20), 0);                                         \
        }                                                                                          \
    } while (0)

static child *child_of(world *w, const char *name)
{
    size_t n;
    child *list = supervisor_children(w->supervisor, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    fail_msg("no child %s", name);
    return NULL;
}

static bool all_stopped(world *w)
{
    size_t n;
    child *list = supervisor_children(w->supervisor, &n);
    for (size_t i = 0; i < n; i++)
        if (list[i].process.pid) return false;
    return true;
}

static void remove_folder(const char *folder)
{
    char path[600];
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            remove_folder(path);
        else
            unlink(path);
    }
    closedir(d);
    rmdir(folder);
}

/* Runs to the end of the loop, as `samovar up` does, and gives everything back. */
static int world_close(world *w)
{
    if (!supervisor_stopping(w->supervisor)) supervisor_stop(w->supervisor, 0);
    PUMP(w, all_stopped(w));
    int code = supervisor_exit_code(w->supervisor);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    status_socket_close(w->status);
    supervisor_free(w->supervisor);
    log_mux_free(w->mux, 100);
    log_init("test", 0, LOG_INFO, 2);
    loop_free(w->loop);
    config_free(w->config);
    close(w->out_fd);
    remove_folder(w->dir);
    unlink(w->key);
    return code;
}

/* ---- tests ---- */

static void starts_in_order_and_stops_in_reverse(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.edges: 2\nsupervisor.routers: 2\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    assert_string_equal(child_of(&w, "edge/2")->status, "fine");
    assert_int_equal(world_close(&w), 0);
}

static void events_tell_the_order(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    supervisor_stop(w.supervisor, 0);
    PUMP(&w, all_stopped(&w));
    const char *text = get_file(w.run, "events");
    static const char *const order[][2] = {
        {"start broker/1\n", "start auth/1\n"},      {"start broker/1\n", "start cache/1\n"},
        {"start auth/1\n", "start router/1\n"},      {"start cache/1\n", "start router/1\n"},
        {"start router/1\n", "start edge/1\n"},      {"start edge/1\n", "stop edge/1\n"},
        {"stop edge/1\n", "stop router/1\n"},        {"stop router/1\n", "stop auth/1\n"},
        {"stop router/1\n", "stop cache/1\n"},       {"stop auth/1\n", "stop broker/1\n"},
        {"stop cache/1\n", "stop broker/1\n"},       {"start broker/1\n", "start workspace/1\n"},
        {"start workspace/1\n", "start router/1\n"}, {"stop router/1\n", "stop workspace/1\n"},
        {"stop workspace/1\n", "stop broker/1\n"},   {"start broker/1\n", "start mail/1\n"},
        {"start mail/1\n", "start router/1\n"},      {"stop router/1\n", "stop mail/1\n"},
        {"stop mail/1\n", "stop broker/1\n"}};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_int_equal(count(text, order[i][0]), 1);
        assert_int_equal(count(text, order[i][1]), 1);
        assert_true(strstr(text, order[i][0]) < strstr(text, order[i][1]));
    }
    world_close(&w);
}

static void each_child_gets_its_own_environment(void **state)
{
    (void)state;
    world w;
    setenv("OPENAI_API_KEY", "sk-hidden", 1);
    setenv("OLLAMA_THING", "own-key-hidden", 1);
    setenv("SAMOVAR_MAIL_SMTP_PASSWORD", "mail-secret", 1);
    world_open(&w, "router.providers:\n  - {name: x, base_url: 'http://127.0.0.1:9/v1', "
                   "key_env: OLLAMA_THING}\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    const char *router = get_file(w.run, "env-router"), *edge = get_file(w.run, "env-edge"),
               *broker = get_file(w.run, "env-broker"), *auth = get_file(w.run, "env-auth"),
               *mail = get_file(w.run, "env-mail");
    assert_non_null(strstr(router, "OPENAI_API_KEY=sk-hidden"));
    assert_non_null(strstr(router, "OLLAMA_THING=own-key-hidden"));
    assert_null(strstr(edge, "hidden"));
    assert_null(strstr(broker, "hidden"));
    assert_null(strstr(auth, "hidden"));
    assert_non_null(strstr(mail, "SAMOVAR_MAIL_SMTP_PASSWORD=mail-secret\n"));
    assert_null(strstr(mail, "hidden"));
    assert_null(strstr(router, "mail-secret"));
    assert_null(strstr(edge, "mail-secret"));
    assert_null(strstr(broker, "mail-secret"));
    assert_null(strstr(auth, "mail-secret"));
    assert_non_null(strstr(mail, "SAMOVAR_ROOT_KEY_FD=3\n"));
    assert_int_equal(count(mail, "_FD="), 1);
    assert_non_null(strstr(auth, "SAMOVAR_ROOT_KEY_FD=3\n"));
    assert_non_null(strstr(auth, "SAMOVAR_TICKET_FD=4\n"));
    assert_int_equal(count(auth, "_FD="), 2);
    assert_non_null(strstr(edge, "SAMOVAR_INSTANCE=1\n"));
    assert_non_null(strstr(edge, "SAMOVAR_TICKET_FD=3\n"));
    assert_non_null(strstr(broker, "SAMOVAR_CONTROL_FD=3\n"));
    assert_non_null(strstr(router, "SAMOVAR_ROOT_KEY_FD=3\n"));
    assert_int_equal(count(router, "_FD="), 1);
    assert_int_equal(count(edge, "_FD="), 1);
    assert_int_equal(count(broker, "_FD="), 1);
    assert_non_null(strstr(router, "NOTIFY_SOCKET="));
    unsetenv("OPENAI_API_KEY");
    unsetenv("OLLAMA_THING");
    unsetenv("SAMOVAR_MAIL_SMTP_PASSWORD");
    world_close(&w);
}

static void edge_and_auth_sign_with_the_key_the_broker_knows(void **state)
{
    (void)state;
    world w;
    char packet[200];
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    snprintf(packet, sizeof packet, "signer %s\n", get_file(w.run, "edge-key"));
    assert_int_equal(strlen(packet), 7 + 64 + 1);
    assert_non_null(strstr(get_file(w.run, "control"), packet));
    snprintf(packet, sizeof packet, "%s", get_file(w.run, "auth-key"));
    assert_string_equal(packet, get_file(w.run, "edge-key"));
    /* Not in an environment, not in a file of the platform. */
    assert_null(strstr(get_file(w.run, "env-edge"), get_file(w.run, "edge-key")));
    world_close(&w);
}

static void a_killed_router_is_back_at_once(void **state)
{
    (void)state;
    world w;
    char gone[64], came[64];
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    child *router = child_of(&w, "router/1");
    pid_t old = router->process.pid;
    uint64_t from_us = clock_us();
    kill(old, SIGKILL);
    PUMP(&w, router->process.pid != old && router->state == CHILD_READY);
    assert_true(clock_us() - from_us < 2000000);
    assert_int_equal(router->restarts, 1);
    snprintf(gone, sizeof gone, "exited %d\n", (int)old);
    snprintf(came, sizeof came, "child %d router 1\n", (int)router->process.pid);
    const char *control = get_file(w.run, "control");
    assert_non_null(strstr(control, gone));
    assert_non_null(strstr(control, came));
    assert_true(strstr(control, gone) < strstr(control, came));
    assert_non_null(strstr(get_file(w.dir, "out"), "signal 9 (Killed)"));
    world_close(&w);
}

static void key_line(const char *path, char line[40])
{
    uint8_t check[16];
    char hex[2 * sizeof check + 1];
    seal_key *k = NULL;
    assert_int_equal(root_key_read(path, &k, NULL), 0);
    seal_key_check(k, check);
    seal_key_free(k);
    hex_format(check, sizeof check, hex);
    snprintf(line, 40, "%s\n", hex);
}

static void kill_router(world *w)
{
    child *router = child_of(w, "router/1");
    pid_t old = router->process.pid;
    kill(old, SIGKILL);
    PUMP(w, router->process.pid != old && router->state == CHILD_READY);
}

static void a_router_gets_the_root_key_of_its_time(void **state)
{
    (void)state;
    world w;
    char first[40], second[40], want[200], next[100];
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    key_line(w.key, first);
    kill_router(&w);
    snprintf(next, sizeof next, "%s.new", w.key);
    seal_key *k = seal_key_new();
    assert_int_equal(root_key_write(next, k, NULL), 0);
    seal_key_free(k);
    assert_int_equal(rename(next, w.key), 0);
    key_line(w.key, second);
    kill_router(&w);
    assert_int_equal(unlink(w.key), 0); /* on a medium that was taken out */
    kill_router(&w);
    snprintf(want, sizeof want, "%s%s%s%s", first, first, second, second);
    assert_string_equal(get_file(w.run, "root-keys-router"), want);
    assert_int_equal(count(get_file(w.run, "events"), "start router"), 4);
    world_close(&w);
}

static void a_new_broker_learns_everything_again(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    child *broker = child_of(&w, "broker/1");
    pid_t old = broker->process.pid, router = child_of(&w, "router/1")->process.pid;
    kill(old, SIGKILL);
    PUMP(&w, broker->process.pid != old && broker->state == CHILD_READY);
    PUMP(&w, count(get_file(w.run, "control"), " edge 1\n") == 2);
    assert_int_equal(count(get_file(w.run, "control"), "signer "), 2);
    assert_int_equal(count(get_file(w.run, "control"), " router 1\n"), 2);
    assert_int_equal(child_of(&w, "router/1")->process.pid, router);
    assert_int_equal(count(get_file(w.run, "events"), "start router"), 1);
    world_close(&w);
}

static void too_many_crashes_stop_everything(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.restarts: 2\n");
    put_file(w.run, "fake-edge", "crash");
    supervisor_start(w.supervisor);
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    assert_false(w.ready);
    assert_int_equal(count(get_file(w.run, "events"), "start edge"), 3);
    const char *out = get_file(w.dir, "out");
    assert_non_null(strstr(out, "more than 2 restarts in 30 s"));
    assert_non_null(strstr(out, "last words of edge"));
    assert_non_null(strstr(out, "exit code 3"));
    /* A report of each crash, with the last lines. */
    char folder[100];
    snprintf(folder, sizeof folder, "%s/crash", w.run);
    DIR *d = opendir(folder);
    int reports = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (strncmp(e->d_name, "edge-1-", 7) != 0) continue;
        reports++;
        const char *report = get_file(folder, e->d_name);
        assert_non_null(strstr(report, "exit code 3"));
        assert_non_null(strstr(report, "last words of edge"));
    }
    closedir(d);
    assert_int_equal(reports, 3);
    assert_int_equal(world_close(&w), 1);
}

static void one_failed_of_two_is_survived(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.restarts: 0\nsupervisor.routers: 2\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    kill(child_of(&w, "router/2")->process.pid, SIGKILL);
    PUMP(&w, child_of(&w, "router/2")->state == CHILD_FAILED);
    assert_false(supervisor_stopping(w.supervisor));
    kill(child_of(&w, "router/1")->process.pid, SIGKILL);
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    assert_int_equal(world_close(&w), 1);
}

/* Another service of the same group does not stand in for it. */
static void a_service_without_a_process_stops_the_platform(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.restarts: 0\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    kill(child_of(&w, "cache/1")->process.pid, SIGKILL);
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    assert_int_equal(world_close(&w), 1);
}

static void a_configuration_error_is_not_tried_again(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    put_file(w.run, "fake-router", "exit78");
    supervisor_start(w.supervisor);
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    assert_int_equal(count(get_file(w.run, "events"), "start router"), 1);
    assert_int_equal(world_close(&w), EXIT_CONFIG);
}

static void a_missing_executable_is_named(void **state)
{
    (void)state;
    world w;
    char path[100];
    world_open(&w, "supervisor.restarts: 1\n");
    snprintf(path, sizeof path, "%s/samovar-router", w.dir);
    unlink(path);
    supervisor_start(w.supervisor);
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    assert_non_null(strstr(get_file(w.dir, "out"), path));
    assert_int_equal(world_close(&w), 1);
}

static void who_ignores_sigterm_is_killed(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.stop_ms: 200ms\n");
    put_file(w.run, "fake-edge", "stubborn");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    uint64_t from_us = clock_us();
    supervisor_stop(w.supervisor, 0);
    PUMP(&w, all_stopped(&w));
    assert_true(clock_us() - from_us >= 200000);
    assert_non_null(strstr(get_file(w.dir, "out"), "does not stop"));
    assert_int_equal(world_close(&w), 0);
}

static void a_second_stop_kills_at_once(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.stop_ms: 10m\n");
    put_file(w.run, "fake-edge", "stubborn");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    supervisor_stop(w.supervisor, 0);
    supervisor_stop(w.supervisor, 0);
    PUMP(&w, all_stopped(&w));
    assert_null(strstr(get_file(w.run, "events"), "stop router"));
    world_close(&w);
}

static void orphans_do_not_stay(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    put_file(w.run, "fake-router", "orphan");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    pid_t orphan = atoi(get_file(w.run, "orphan"));
    assert_true(orphan > 1);
    assert_int_equal(kill(orphan, 0), 0);
    supervisor_stop(w.supervisor, 0);
    PUMP(&w, all_stopped(&w));
    assert_int_equal(kill(orphan, 0), -1);
    world_close(&w);
}

/* The supervisor itself is killed: its children end with it, and the next one starts as if nothing
 * was. */
static void children_die_with_their_supervisor(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    pid_t pid = fork();
    if (pid == 0) {
        /* A second life in the same folders, with a loop of its own. */
        world other = w;
        sv_error err = {.code = 0};
        other.loop = loop_new(&err);
        other.mux = log_mux_new(other.loop, w.out_fd, LOG_FORMAT_JSON, &err);
        supervisor_options o = {.loop = other.loop,
                                .config = w.config,
                                .mux = other.mux,
                                .bin = w.dir,
                                .ready = on_ready,
                                .arg = &other};
        other.supervisor = supervisor_new(&o, &err);
        supervisor_start(other.supervisor);
        loop_run(other.loop, &err);
        _exit(1);
    }
    PUMP(&w, count(get_file(w.run, "events"), "start edge") == 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    int pids[3];
    assert_int_equal(sscanf(get_file(w.run, "pids"), "%d %d %d", &pids[0], &pids[1], &pids[2]), 3);
    for (size_t i = 0; i < 3; i++) /* orphans of a subreaper's child come to the subreaper */
        PUMP(&w, kill(pids[i], 0) != 0 && errno == ESRCH);
    world_close(&w);
}

/* The gate: a process that the broker did not accept never runs its program. */
static void who_is_refused_never_runs(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.restarts: 1\n");
    put_file(w.run, "fake-broker", "refuse");
    supervisor_start(w.supervisor);
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    assert_null(strstr(get_file(w.run, "events"), "start router"));
    assert_non_null(strstr(get_file(w.dir, "out"), "not wanted"));
    assert_int_equal(world_close(&w), 1);
}

static void stop_while_a_child_waits(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    put_file(w.run, "fake-router", "silent");
    supervisor_start(w.supervisor);
    PUMP(&w, strstr(get_file(w.run, "events"), "start router"));
    assert_false(w.ready);
    assert_int_equal(world_close(&w), 0);
}

static void stop_during_back_off(void **state)
{
    (void)state;
    world w;
    world_open(&w, "supervisor.restarts: 1000\n");
    put_file(w.run, "fake-edge", "crash");
    supervisor_start(w.supervisor);
    PUMP(&w,
         child_of(&w, "edge/1")->restarts >= 2 && child_of(&w, "edge/1")->state == CHILD_BACKOFF);
    assert_non_null(strstr(child_of(&w, "edge/1")->note, "ended with exit code 3, next try after"));
    assert_int_equal(world_close(&w), 0);
}

static void a_flood_is_limited_and_the_ring_keeps_the_end(void **state)
{
    (void)state;
    world w;
    world_open(&w, "log.level: info\n");
    put_file(w.run, "fake-router", "flood");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    PUMP(&w, strstr(get_file(w.dir, "out"), "lines suppressed"));
    assert_true(count(get_file(w.dir, "out"), "\"text\":\"line ") < 20000);
    world_close(&w);
}

/* ---- the status socket ---- */

static int ask(world *w, const char *request)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/supervisor.sock", w->run);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    return fd;
}

/* Reads what comes into `to`; true at the end of the connection. */
static bool drain(int fd, char *to, size_t size)
{
    size_t have = strlen(to);
    ssize_t n = recv(fd, to + have, size - have - 1, MSG_DONTWAIT);
    to[have + (size_t)(n > 0 ? n : 0)] = 0;
    return n == 0;
}

static void the_status_socket_answers(void **state)
{
    (void)state;
    static char text[1 << 20];
    world w;
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    static const struct {
        const char *request, *answer;
    } cases[] = {{"{\"cmd\":\"status\"}\n", "\"name\":\"router/1\",\"service\":\"router\""},
                 {"{\"cmd\":\"dance\"}\n", "cmd must be status, logs or stop"},
                 {"{\"cmd\":\"logs\",\"child\":\"ghost/1\"}\n", "child must name one"},
                 {"{\"cmd\":\"logs\",\"lines\":-1}\n", "lines must be"},
                 {"[[[[[[[[[[\n", "\"error\""},
                 {"\n", "\"error\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text[0] = 0;
        int fd = ask(&w, cases[i].request);
        PUMP(&w, drain(fd, text, sizeof text));
        if (strstr(text, cases[i].answer) == NULL) fail_msg("%s: %s", cases[i].request, text);
        close(fd);
    }
    int fd = ask(&w, "{\"cmd\":\"stop\"}\n");
    PUMP(&w, supervisor_stopping(w.supervisor) && all_stopped(&w));
    close(fd);
    world_close(&w);
}

static void logs_follow_and_slow_readers_harm_nobody(void **state)
{
    (void)state;
    static char text[1 << 20];
    world w;
    world_open(&w, "supervisor.restarts: 1000\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    int reader = ask(&w, "{\"cmd\":\"logs\",\"child\":\"edge/1\",\"follow\":true}\n");
    int stalled = ask(&w, "{\"cmd\":\"logs\",\"follow\":true}\n");
    int silent = ask(&w, "{\"cmd\":");
    PUMP(&w, loop_turn(w.loop, 0) == 0);
    put_file(w.run, "fake-edge", "crash");
    kill(child_of(&w, "edge/1")->process.pid, SIGKILL);
    text[0] = 0;
    PUMP(&w, (drain(reader, text, sizeof text), strstr(text, "last words of edge")));
    assert_non_null(strstr(text, "{\"child\":\"edge/1\",\"ms\":"));
    assert_null(strstr(text, "router/1"));
    close(reader);
    world_close(&w);
    close(stalled);
    close(silent);
}

static void more_clients_than_places(void **state)
{
    (void)state;
    static char text[1 << 16];
    int fds[STATUS_CLIENTS + 4];
    world w;
    world_open(&w, "log.level: info\n");
    supervisor_start(w.supervisor);
    PUMP(&w, w.ready);
    for (size_t i = 0; i < STATUS_CLIENTS + 4; i++) {
        fds[i] = ask(&w, "{");
        PUMP(&w, loop_turn(w.loop, 0) == 0);
    }
    text[0] = 0;
    PUMP(&w, drain(fds[STATUS_CLIENTS + 3], text, sizeof text) || errno == ECONNRESET);
    for (size_t i = 0; i < STATUS_CLIENTS + 4; i++)
        close(fds[i]);
    PUMP(&w, loop_turn(w.loop, 0) == 0);
    text[0] = 0;
    int fd = ask(&w, "{\"cmd\":\"status\"}\n");
    PUMP(&w, drain(fd, text, sizeof text));
    assert_non_null(strstr(text, "broker/1"));
    close(fd);
    world_close(&w);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash ? slash + 1 : argv[0];
    if (strncmp(name, "samovar-", 8) == 0) return fake_main(name + 8);
    unsetenv("SAMOVAR_CONFIG");
    unsetenv("SAMOVAR_RUN");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_in_order_and_stops_in_reverse),
        cmocka_unit_test(events_tell_the_order),
        cmocka_unit_test(each_child_gets_its_own_environment),
        cmocka_unit_test(a_router_gets_the_root_key_of_its_time),
        cmocka_unit_test(edge_and_auth_sign_with_the_key_the_broker_knows),
        cmocka_unit_test(a_killed_router_is_back_at_once),
        cmocka_unit_test(a_new_broker_learns_everything_again),
        cmocka_unit_test(too_many_crashes_stop_everything),
        cmocka_unit_test(one_failed_of_two_is_survived),
        cmocka_unit_test(a_service_without_a_process_stops_the_platform),
        cmocka_unit_test(a_configuration_error_is_not_tried_again),
        cmocka_unit_test(a_missing_executable_is_named),
        cmocka_unit_test(who_ignores_sigterm_is_killed),
        cmocka_unit_test(a_second_stop_kills_at_once),
        cmocka_unit_test(orphans_do_not_stay),
        cmocka_unit_test(children_die_with_their_supervisor),
        cmocka_unit_test(who_is_refused_never_runs),
        cmocka_unit_test(stop_while_a_child_waits),
        cmocka_unit_test(stop_during_back_off),
        cmocka_unit_test(a_flood_is_limited_and_the_ring_keeps_the_end),
        cmocka_unit_test(the_status_socket_answers),
        cmocka_unit_test(logs_follow_and_slow_readers_harm_nobody),
        cmocka_unit_test(more_clients_than_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
