/*  main.c - samovar-broker: arguments, configuration, signals; driver.c does the rest. */
#include "driver.h"

#include "config.h"
#include "error.h"
#include "log.h"
#include "notify.h"
#include "uuid.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { EXIT_CONFIG = 78, FILES_WANTED = 4 * LIMIT_PEERS };

typedef struct broker {
    loop *loop;
    driver *driver;
    const char *config_file;
    driver_options options;
} broker;

static void usage(FILE *to)
{
    fputs("Usage: samovar-broker [--config FILE] [--signer HEX64]...\n"
          "The message bus of a Samovar node. Settings come from SAMOVAR_* variables and the\n"
          "configuration file; `samovar config show` lists them.\n\n"
          "  --config FILE    configuration file; default DATA/samovar.yaml if it exists\n"
          "  --signer HEX64   Ed25519 public key that may sign tickets; may be repeated\n"
          "  --version        print the version\n"
          "  --help           print this text\n\n"
          "SIGHUP reads keys and policy again; SIGTERM and SIGINT stop the broker.\n",
          to);
}

static int bad_usage(const char *what, const char *arg)
{
    fprintf(stderr, "samovar-broker: %s: %s\n", what, arg);
    usage(stderr);
    return EXIT_CONFIG;
}

/* -1: go on; else the exit code. */
static int read_arguments(broker *b, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool is_config = strcmp(arg, "--config") == 0, signer = strcmp(arg, "--signer") == 0;
        if (strcmp(arg, "--help") == 0) {
            usage(stdout);
            return 0;
        }
        if (strcmp(arg, "--version") == 0) {
            puts("samovar-broker " SAMOVAR_VERSION);
            return 0;
        }
        if (!is_config && !signer) return bad_usage("not known", arg);
        if (++i == argc) return bad_usage("needs a value", arg);
        if (is_config) {
            b->config_file = argv[i];
            continue;
        }
        driver_options *o = &b->options;
        if (o->n_signers == DRIVER_SIGNERS) return bad_usage("too many signers", argv[i]);
        if (hex_parse(sv_cstr(argv[i]), o->signers[o->n_signers++], TICKET_KEY))
            return bad_usage("not 64 hex digits", argv[i]);
    }
    return -1;
}

static int read_control_fd(driver_options *o, sv_error *err)
{
    const char *text = getenv("SAMOVAR_CONTROL_FD");
    o->control_fd = -1;
    if (text == NULL || *text == 0) return 0;
    char *end;
    errno = 0;
    long fd = strtol(text, &end, 10);
    if (errno || *end || fd < 3 || fd > 1 << 20)
        return sv_fail(err, SV_E_CONFIG, "SAMOVAR_CONTROL_FD",
                       "SAMOVAR_CONTROL_FD=%.40s is not the number of an open descriptor.", text);
    o->control_fd = (int)fd;
    return 0;
}

static void read_settings(const config *c, driver_options *o)
{
    o->run = config_run(c);
    o->data = config_data(c);
    o->n_listen = config_strs(c, "bus.listen", &o->listen);
    o->n_listen_null = config_strs(c, "bus.listen_null", &o->listen_null);
    o->policy_file = config_str(c, "bus.policy_file");
    o->ping_ms = (uint32_t)config_int(c, "bus.ping_ms");
    o->lost_ms = (uint32_t)config_int(c, "bus.lost_ms");
    o->defaults = (policy_service){.queue_messages = (uint32_t)config_int(c, "bus.queue_messages"),
                                   .queue_bytes = (uint64_t)config_int(c, "bus.queue_bytes"),
                                   .queue_ms = (uint32_t)config_int(c, "bus.queue_ms"),
                                   .eject_failures = 7,
                                   .eject_base_ms = 1000,
                                   .eject_max_ms = 60000};
}

/* A connection takes a descriptor, and so does the watch over its process. */
static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= FILES_WANTED) return;
    r.rlim_cur = r.rlim_max < FILES_WANTED ? r.rlim_max : FILES_WANTED;
    if (setrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur < FILES_WANTED)
        log_write(LOG_WARN, "few file descriptors: raise the limit for more peers",
                  LOG_INT("limit", r.rlim_cur), LOG_INT("wanted", FILES_WANTED));
}

static void on_signal(void *arg, int signo)
{
    broker *b = arg;
    if (signo == SIGHUP) {
        driver_reload(b->driver);
        return;
    }
    log_write(LOG_INFO, "stopping", LOG_INT("signal", signo));
    notify_send("STOPPING=1");
    loop_stop(b->loop);
}

static int catch_signals(broker *b)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int rc = loop_signal(b->loop, signals[i], on_signal, b);
        if (rc) return rc;
    }
    return 0;
}

static int serve(broker *b, const config *c, sv_error *err)
{
    read_settings(c, &b->options);
    int rc = read_control_fd(&b->options, err);
    if (rc) return rc;
    b->loop = loop_new(err);
    if (b->loop == NULL) return err->code;
    raise_file_limit();
    rc = catch_signals(b);
    if (rc) return sv_fail(err, rc, NULL, "Signals cannot be caught.");
    rc = driver_new(b->loop, &b->options, &b->driver, err);
    if (rc) return rc;
    log_write(LOG_INFO, "ready", LOG_STR("run", b->options.run));
    if (notify_send("READY=1")) log_write(LOG_WARN, "NOTIFY_SOCKET is set but takes no message");
    return loop_run(b->loop, err);
}

int main(int argc, char **argv)
{
    broker b = {0};
    config *c = NULL;
    sv_error err = {0};
    int rc = read_arguments(&b, argc, argv);
    if (rc >= 0) return rc;
    log_init("broker", 0, LOG_INFO, 2);
    rc = config_load(b.config_file, &c, &err);
    if (rc == 0) {
        log_level level = LOG_INFO;
        if (log_level_parse(config_str(c, "log.level"), &level) == 0) log_set_level(level);
        rc = serve(&b, c, &err);
    }
    if (rc) log_write(LOG_ERROR, "the broker cannot serve", LOG_ERR(&err));
    driver_free(b.driver);
    loop_free(b.loop);
    config_free(c);
    return rc == 0 ? EXIT_SUCCESS : rc == SV_E_CONFIG ? EXIT_CONFIG : EXIT_FAILURE;
}
