/*  cmd_up.c - `samovar up`: the frame around the supervisor. Checks come first and touch nothing;
 *  then the lock, the sockets and the loop; at the end everything is given back in reverse. */
#include "commands.h"

#include "error.h"
#include "error_report.h"
#include "log.h"
#include "notify.h"
#include "platform.h"
#include "run_folder.h"
#include "status_socket.h"
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PORT_WAIT_MS = 2000, OUTPUT_WAIT_MS = 1000 };

typedef struct up {
    const config *config;
    loop *loop;
    log_mux *mux;
    supervisor *supervisor;
    status_socket *status;
    error_report *errors; /* NULL: not reported */
    char bin[PLATFORM_PATH];
} up;

/* Children get 0, 1 and 2 by number; nothing else may sit there. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2) close(fd);
}

/* After a supervisor was killed its edge may hold the port for a moment longer. */
static int check_port(const config *c, sv_error *err)
{
    const char *host = config_str(c, "edge.host");
    uint16_t port = (uint16_t)config_int(c, "edge.port");
    uint64_t until_us = clock_us() + (uint64_t)PORT_WAIT_MS * 1000;
    char path[PLATFORM_PATH];
    if (port == 0) {
        if (platform_path(c, "edge.port", path)) unlink(path); /* of an earlier run */
        return 0;
    }
    for (;;) {
        sv_error e = {.code = 0};
        int rc = platform_port_free(host, port, &e);
        if (rc != SV_E_CONFLICT || clock_us() > until_us) {
            *err = e;
            return rc;
        }
        poll(NULL, 0, 50);
    }
}

/* Each child takes a pipe here; what is left is for sockets, clients and a start in between. */
static int check_descriptors(const config *c, sv_error *err)
{
    struct rlimit files;
    rlim_t need =
        (rlim_t)(64 + 4 * (4 + config_int(c, "supervisor.routers") +
                           config_int(c, "supervisor.caches") + config_int(c, "supervisor.edges")));
    if (getrlimit(RLIMIT_NOFILE, &files)) return 0;
    if (files.rlim_cur < need && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= need) return 0;
    return sv_fail(err, SV_E_OVERLOADED, NULL,
                   "At most %llu files may be open, at least %llu are needed: ulimit -n 4096",
                   (unsigned long long)files.rlim_cur, (unsigned long long)need);
}

static void on_signal(void *arg, int signo)
{
    up *u = arg;
    log_write(LOG_INFO, supervisor_stopping(u->supervisor) ? "signal again" : "stopping",
              LOG_INT("signal", signo));
    notify_send("STOPPING=1");
    supervisor_stop(u->supervisor, 0);
}

static void on_ready(void *arg)
{
    up *u = arg;
    char url[320], path[PLATFORM_PATH];
    platform_url(u->config, url, sizeof url);
    log_write(LOG_INFO, "ready", LOG_STR("url", url), LOG_STR("data", config_data(u->config)));
    notify_send("READY=1");
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return;
    path[n] = 0;
    char name[] = "samovar", word[] = "info";
    char *argv[] = {name, word, NULL};
    supervisor_helper(u->supervisor, path, argv);
}

/* The supervisor's own lines go through the mux like everybody's. */
static int log_to_mux(up *u, sv_error *err)
{
    int fd[2];
    log_source *own = log_mux_source(u->mux, "supervisor");
    if (own == NULL || pipe2(fd, O_CLOEXEC)) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    log_level level = LOG_INFO;
    log_level_parse(config_str(u->config, "log.level"), &level);
    log_init("supervisor", 0, level, fd[1]);
    close(fd[1]); /* log_init has opened its own */
    int rc = log_source_open(own, fd[0]);
    if (rc) {
        close(fd[0]);
        return sv_fail(err, rc, NULL, NULL);
    }
    return 0;
}

static void on_line(void *arg, const char *name, const log_entry *e)
{
    const up *u = arg;
    (void)name;
    error_report_line(u->errors, (sv_str){e->text, e->n});
}

static int report_errors(up *u, sv_error *err)
{
    const char *dsn = config_str(u->config, "errors.dsn");
    int rc = dsn ? error_report_new(u->loop, dsn, &u->errors, err) : 0;
    if (u->errors) log_mux_watch(u->mux, on_line, u);
    return rc;
}

static int open_all(up *u, log_format format, sv_error *err)
{
    char path[PLATFORM_PATH];
    u->loop = loop_new(err);
    if (u->loop == NULL) return err->code;
    u->mux = log_mux_new(u->loop, STDERR_FILENO, format, err);
    if (u->mux == NULL || log_to_mux(u, err) || report_errors(u, err)) return err->code;
    supervisor_options o = {.loop = u->loop,
                            .config = u->config,
                            .mux = u->mux,
                            .bin = u->bin,
                            .ready = on_ready,
                            .arg = u};
    u->supervisor = supervisor_new(&o, err);
    if (u->supervisor == NULL || !platform_path(u->config, "supervisor.sock", path))
        return err->code;
    u->status = status_socket_open(u->loop, path, u->supervisor, u->mux, err);
    if (u->status == NULL) return err->code;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction old;
        bool ignored = signals[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 &&
                       old.sa_handler == SIG_IGN; /* nohup */
        int rc = ignored ? 0 : loop_signal(u->loop, signals[i], on_signal, u);
        if (rc) return sv_fail(err, rc, NULL, "Signals cannot be watched.");
    }
    return 0;
}

static void close_all(up *u)
{
    status_socket_close(u->status);
    supervisor_free(u->supervisor);
    log_mux_free(u->mux, OUTPUT_WAIT_MS);
    log_init("supervisor", 0, LOG_INFO, STDERR_FILENO);
    error_report_free(u->errors);
    loop_free(u->loop);
}

static int run(up *u, log_format format)
{
    sv_error err = {.code = 0};
    int lock = -1, code = CLI_FAILED;
    if (check_descriptors(u->config, &err) || run_folder_make(u->config, &err) ||
        run_folder_lock(u->config, &lock, &err) || check_port(u->config, &err)) {
        cli_complain(&err);
        if (lock >= 0) close(lock);
        return err.code == SV_E_TOO_LARGE ? CLI_CONFIG : CLI_FAILED;
    }
    if (open_all(u, format, &err)) {
        cli_complain(&err);
        if (err.code == SV_E_CONFIG) code = CLI_CONFIG;
    } else {
        supervisor_start(u->supervisor);
        if (loop_run(u->loop, &err))
            cli_complain(&err);
        else
            code = supervisor_exit_code(u->supervisor);
        log_write(LOG_INFO, "stopped", LOG_INT("exit_code", code));
    }
    close_all(u);
    close(lock);
    return code;
}

int cmd_up(int argc, char **argv)
{
    const char *file = NULL, *log = NULL;
    const args_option options[] = {
        {'c', "config", "FILE", "configuration file (default: SAMOVAR_CONFIG, DATA/samovar.yaml)",
         &file, NULL},
        {0, "log", "human|json",
         "format of the log on standard error (default: human on a terminal)", &log, NULL},
    };
    const args_spec spec = {
        "samovar up",
        "",
        "Starts broker, auth, mail, routers and edges, watches over them, and stops them on Ctrl-C "
        "or "
        "SIGTERM.\n"
        "A second Ctrl-C kills everything at once.",
        "environment:\n"
        "  SAMOVAR_DATA     data folder (default ./var)\n"
        "  SAMOVAR_PORT     HTTP port (default 7420)\n"
        "  OPENAI_API_KEY, OPENROUTER_API_KEY, GROQ_API_KEY, ANTHROPIC_API_KEY and their "
        "..._BASE_URL\n"
        "                   are handed to the router and to nobody else\n"
        "exit codes: 0 stopped, 1 failed, 2 wrong words, 78 invalid configuration",
        options,
        2,
        0,
        0};
    args words;
    int exit_code;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (log && strcmp(log, "human") != 0 && strcmp(log, "json") != 0) {
        fprintf(stderr, "samovar up: --log %s: allowed are human and json\n", log);
        return CLI_USAGE;
    }
    open_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    config *c = NULL;
    if (cli_config(file, &c)) return CLI_CONFIG;
    up u = {.config = c};
    bool terminal = isatty(STDERR_FILENO);
    bool human = log ? strcmp(log, "human") == 0 : terminal;
    bool colour = terminal && getenv("NO_COLOR") == NULL;
    int code = CLI_FAILED;
    if (platform_bin(u.bin))
        code = run(&u, !human ? LOG_FORMAT_JSON : colour ? LOG_FORMAT_COLOUR : LOG_FORMAT_HUMAN);
    else
        fprintf(stderr, "samovar: the folder of the executables is not known; set SAMOVAR_BIN\n");
    config_free(c);
    return code;
}
