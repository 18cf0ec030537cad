/*  cmd_doctor.c - `samovar doctor`: one line a check, worst first in mind: a fail names its fix. */
#include "commands.h"

#include "backup_remote.h"
#include "bus_client.h"
#include "error.h"
#include "json_scan.h"
#include "platform.h"
#include "run_folder.h"
#include "status_client.h"
#include "store_word.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    FDS_ENOUGH = 8192,
    DISK_WARN_BYTES = 1 << 30,
    DISK_FAIL_BYTES = 64 << 20,
    PATIENCE_MS = 2000,
    ARENA_BYTES = 4194304
};

/* A build cannot be from the future: a clock before this is wrong. 2024-01-01. */
static const time_t clock_earliest = 1704067200;

typedef enum verdict { GOOD, WARN, FAIL } verdict;

typedef struct doctor {
    uint32_t warned, failed;
} doctor;

static void say(doctor *d, verdict v, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(doctor *d, verdict v, const char *what, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    va_list ap;
    d->warned += v == WARN;
    d->failed += v == FAIL;
    printf("%-4s  %-12s ", words[v], what);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

/* ---- this machine ---- */

static void check_executables(doctor *d)
{
    static const char *const names[] = {"samovar-broker",   "samovar-router", "samovar-auth",
                                        "samovar-mail",     "samovar-cache",  "samovar-edge",
                                        "samovar-workspace"};
    char bin[PLATFORM_PATH], path[PLATFORM_PATH + 32], missing[128] = "";
    if (!platform_bin(bin)) {
        say(d, FAIL, "executables", "their folder is not known; set SAMOVAR_BIN");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", bin, names[i]);
        size_t n = strlen(missing);
        if (access(path, X_OK)) snprintf(missing + n, sizeof missing - n, " %s", names[i]);
    }
    if (missing[0])
        say(d, FAIL, "executables", "missing in %s:%s; run ./dev build", bin, missing);
    else
        say(d, GOOD, "executables", "%s", bin);
}

static void check_folders(doctor *d, const config *c)
{
    const char *data = config_data(c), *run = config_run(c);
    struct stat st;
    if (stat(data, &st) && errno == ENOENT)
        say(d, GOOD, "data", "%s does not exist yet; samovar up makes it", data);
    else if (access(data, R_OK | W_OK | X_OK))
        say(d, FAIL, "data", "%s cannot be written: %s; choose another with SAMOVAR_DATA", data,
            strerror(errno));
    else
        say(d, GOOD, "data", "%s can be written", data);
    if (strlen(run) > RUN_FOLDER_MAX)
        say(d, FAIL, "run", "%s has %zu bytes, at most %d fit a socket's address; set SAMOVAR_RUN",
            run, strlen(run), RUN_FOLDER_MAX);
    else if (stat(run, &st) == 0 && (st.st_mode & 077))
        say(d, WARN, "run", "%s is open to others (mode %03o); samovar up makes it private", run,
            (unsigned)st.st_mode & 0777);
    else
        say(d, GOOD, "run", "%s", run);
}

static void check_machine(doctor *d, const config *c)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        say(d, files.rlim_max < FDS_ENOUGH ? WARN : GOOD, "descriptors", "limit %llu%s",
            (unsigned long long)files.rlim_max,
            files.rlim_max < FDS_ENOUGH ? "; thousands of connections need more: ulimit -n 65536"
                                        : "");
    struct statvfs fs;
    const char *data = config_data(c);
    if (statvfs(data, &fs) == 0 || statvfs(".", &fs) == 0) {
        unsigned long long left = (unsigned long long)fs.f_bavail * fs.f_frsize;
        say(d,
            left < DISK_FAIL_BYTES   ? FAIL
            : left < DISK_WARN_BYTES ? WARN
                                     : GOOD,
            "disk", "%llu MiB free%s", left >> 20, left < DISK_WARN_BYTES ? "; make room" : "");
    }
    time_t now = time(NULL);
    if (now < clock_earliest)
        say(d, FAIL, "clock",
            "it is before 2024: tickets and certificates will be refused; set the clock");
    else
        say(d, GOOD, "clock", "plausible");
}

/* ---- the platform ---- */

static bool check_supervisor(doctor *d, const config *c)
{
    buf answer;
    sv_error err = {.code = 0};
    buf_init(&answer, 1048576);
    bool runs = status_ask(c, "{\"cmd\":\"status\"}", &answer, &err) == 0 &&
                json_skim(buf_str(&answer), 16, &err) == 0;
    if (!runs) {
        say(d, WARN, "supervisor", "%s", err.message);
        buf_free(&answer);
        return false;
    }
    json_value root = json_root(buf_str(&answer)), child;
    int64_t pid = 0;
    json_int(json_get(root, "pid"), &pid);
    say(d, GOOD, "supervisor", "process %lld", (long long)pid);
    size_t at = 0;
    while (json_next_element(json_get(root, "children"), &at, &child)) {
        sv_str name = json_get(child, "name").raw, state = json_get(child, "state").raw,
               note = json_get(child, "note").raw;
        bool ready = json_string_is(json_get(child, "state"), "ready");
        bool failed = json_string_is(json_get(child, "state"), "failed");
        /* Strings of ours without escapes: the quotes are cut off. */
        say(d,
            ready    ? GOOD
            : failed ? FAIL
                     : WARN,
            "process", "%.*s %.*s %.*s", (int)name.n - 2, name.p + 1, (int)state.n - 2, state.p + 1,
            (int)note.n - 2, note.p + 1);
    }
    buf_free(&answer);
    return true;
}

static void check_port(doctor *d, const config *c, bool runs)
{
    sv_error err = {.code = 0};
    uint16_t port = (uint16_t)config_int(c, "edge.port");
    char url[320];
    platform_url(c, url, sizeof url);
    if (runs)
        say(d, GOOD, "port", "%s", url[0] ? url : "not known yet");
    else if (port == 0)
        say(d, GOOD, "port", "a free one is taken at start");
    else if (platform_port_free(config_str(c, "edge.host"), port, &err))
        say(d, FAIL, "port", "%s", err.message);
    else
        say(d, GOOD, "port", "%u is free", port);
}

static void check_backup(doctor *d, const config *c)
{
    const char *dir = config_str(c, "backup.dir");
    int64_t every_s = config_int(c, "backup.every") / 1000;
    char name[MANIFEST_NAME + 1];
    sv_error err = {.code = 0};
    if (dir == NULL) {
        say(d, every_s ? FAIL : GOOD, "backup", "%s",
            every_s ? "backup.every is set without backup.dir" : "none are scheduled");
        return;
    }
    int rc = backup_newest(dir, name, &err);
    int64_t age_s = rc ? 0 : (int64_t)time(NULL) - backup_time(name);
    if (rc && rc != SV_E_NOT_FOUND)
        say(d, FAIL, "backup", "%s", err.message);
    else if (rc)
        say(d, every_s ? WARN : GOOD, "backup", "none yet in %s", dir);
    else if (every_s && age_s > 2 * every_s)
        say(d, WARN, "backup",
            "the last one, %s, is %lld min old: more than twice backup.every; see: "
            "samovar logs",
            name, (long long)age_s / 60);
    else
        say(d, GOOD, "backup", "the last one is %s in %s", name, dir);
}

static void check_store(doctor *d, bus_client *bus, const bus_service_instance *in)
{
    static const struct {
        const char *word, *fix;
        verdict verdict;
    } words[] = {
        {"ready", "", GOOD},
        {"full", ": nothing can be stored; make room on the disk, or raise store.map_bytes", FAIL},
        {"failing", ": the disk refuses writes; the log says why", FAIL},
        {"away", ": it is being opened again", WARN},
        {"silent", ": it does not answer", WARN},
    };
    char word[STORE_WORD];
    store_word(bus, in, word);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].word) == 0)
            say(d, words[i].verdict, "store", "%.*s/%lld %s%s", SV_FMT(in->service),
                (long long)in->instance, word, words[i].fix);
}

static void check_services(doctor *d, bus_client *bus, arena *memory)
{
    bus_services_reply reply;
    sv_error err = {.code = 0};
    if (bus_client_ask(bus, "bus.services", &bus_services_reply_msg, PATIENCE_MS, memory, &reply,
                       &err)) {
        say(d, FAIL, "services", "%s", err.message);
        return;
    }
    for (uint32_t i = 0; i < reply.instances.n; i++) {
        const bus_service_instance *in = &((bus_service_instance *)reply.instances.items)[i];
        if (in->methods.n > 0 || in->slots > 0)
            say(d, sv_str_is(in->state, "live") ? GOOD : WARN, "service", "%.*s/%lld %.*s",
                SV_FMT(in->service), (long long)in->instance, SV_FMT(in->state));
        check_store(d, bus, in);
    }
}

static void check_providers(doctor *d, bus_client *bus, arena *memory)
{
    router_providers_reply reply;
    sv_error err = {.code = 0};
    if (bus_client_ask(bus, "router.providers", &router_providers_reply_msg, PATIENCE_MS, memory,
                       &reply, &err)) {
        say(d, FAIL, "providers", "%s", err.message);
        return;
    }
    for (uint32_t i = 0; i < reply.providers.n; i++) {
        const router_provider *p = &((router_provider *)reply.providers.items)[i];
        say(d, p->state.n >= 5 && memcmp(p->state.p, "ready", 5) == 0 ? GOOD : WARN, "provider",
            "%.*s: %.*s", SV_FMT(p->name), SV_FMT(p->state));
        if (p->open_ms)
            say(d, WARN, "provider",
                "%.*s: its breaker is %.*s for %lld ms, %.0f %% of its calls of late failed",
                SV_FMT(p->name), SV_FMT(p->breaker), (long long)p->open_ms, p->error_rate * 100);
    }
}

static void check_bus(doctor *d, const config *c)
{
    bus_client bus = {NULL};
    arena memory;
    sv_error err = {.code = 0};
    arena_init(&memory, ARENA_BYTES);
    if (bus_client_open(&bus, c, PATIENCE_MS, &err)) {
        say(d, FAIL, "broker", "%s", err.message);
    } else {
        say(d, GOOD, "broker", "answers");
        check_services(d, &bus, &memory);
        check_providers(d, &bus, &memory);
    }
    bus_client_close(&bus);
    arena_free(&memory);
}

int cmd_doctor(int argc, char **argv)
{
    const args_spec spec = {
        "samovar doctor",
        "",
        "Checks executables, folders, limits, disk, clock, configuration, port, backups, "
        "processes,\n"
        "broker, services and providers. A warning works; a fail does not and names its fix.",
        "exit codes: 0 nothing failed, 1 something failed, 2 wrong words",
        NULL,
        0,
        0,
        0};
    args words;
    int exit_code;
    doctor d = {0, 0};
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    check_executables(&d);
    if (cli_config(NULL, &c)) {
        say(&d, FAIL, "config", "not valid, see above");
    } else {
        say(&d, GOOD, "config", "%s",
            config_file(c) ? config_file(c) : "no file; defaults and environment");
        check_folders(&d, c);
        check_machine(&d, c);
        bool runs = check_supervisor(&d, c);
        check_port(&d, c, runs);
        check_backup(&d, c);
        if (runs) check_bus(&d, c);
    }
    config_free(c);
    printf("%u failed, %u warned\n", d.failed, d.warned);
    return d.failed ? CLI_FAILED : CLI_OK;
}
