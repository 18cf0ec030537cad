/*  bus_load.c - one measurement of request/reply: a client and a worker process with a
 *  broker between them, either samovar-broker or the bare forwarder. Prints one JSON line: rate,
 *  latency, CPU of the broker per request.
 *
 *  Client, worker and messages are the same code in both cases, so what differs is the broker. */
#include "bus_broker.h"
#include "bus_peer.h"
#include "opts.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    int64_t body, window, io_threads;
    double seconds, warmup;
    const char *broker, *transport, *security, *bin;
} o = {.body = 256,
       .window = 64,
       .io_threads = 1,
       .seconds = 1,
       .warmup = 0.3,
       .broker = "samovar",
       .transport = "ipc",
       .security = "null"};

static bus_broker broker;
static pid_t worker = -1, client = -1;
static pid_t owner;

/* die() in the parent must not leave the folder and the processes behind. */
static void clean_up(void)
{
    if (getpid() != owner) return;
    if (client > 0) proc_stop(client, 0);
    if (worker > 0) proc_stop(worker, 0);
    if (broker.folder[0]) bus_broker_stop(&broker);
}

static void on_signal(int sig)
{
    (void)sig;
    exit(1); /* the handlers are safe here: the parent only ever waits */
}

static bool choice(const char *value, const char *name, const char *no, const char *yes)
{
    if (strcmp(value, yes) == 0) return true;
    if (strcmp(value, no) != 0) die("--%s takes %s or %s, not \"%s\"", name, no, yes, value);
    return false;
}

/* A child that waits for a byte on `go` before it starts. */
static pid_t fork_waiting(int go)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("cannot fork: %s", strerror(errno));
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        proc_die_with_parent();
        char c;
        if (read(go, &c, 1) != 1) _exit(1);
    }
    return pid;
}

static void print(const client_run *r)
{
    double n = r->replies ? (double)r->replies : 1;
    printf(
        "{\"broker\":\"%s\",\"transport\":\"%s\",\"security\":\"%s\",\"body\":%lld,\"window\":%lld,"
        "\"replies\":%llu,\"rps\":%.1f,\"p50_us\":%llu,\"p99_us\":%llu,\"p999_us\":%llu,"
        "\"max_us\":%llu,\"broker_cpu_us\":%.3f,\"client_cpu_us\":%.3f,\"errors\":%llu}\n",
        o.broker, o.transport, o.security, (long long)o.body, (long long)o.window,
        (unsigned long long)r->replies, (double)r->replies * 1e6 / (double)r->elapsed_us,
        (unsigned long long)hist_at(&r->latency, 0.5),
        (unsigned long long)hist_at(&r->latency, 0.99),
        (unsigned long long)hist_at(&r->latency, 0.999), (unsigned long long)r->latency.max,
        (double)r->broker_cpu_ns / 1000 / n, (double)r->own_cpu_us / n,
        (unsigned long long)r->errors);
}

static void run_worker(bool bare, int ready)
{
    peer p;
    peer_open(&p, broker.worker_at, &broker.worker_keys, bare, true, "bench");
    if (write(ready, "r", 1) == 1) peer_serve(&p, 60);
    _exit(0);
}

static void run_client(bool bare, client_run *r)
{
    peer p;
    peer_open(&p, broker.client_at, &broker.client_keys, bare, false, "bench-client");
    bool ok = peer_run_client(&p, r);
    if (!ok)
        fprintf(stderr, "bus_load: no answer for three seconds after %llu\n",
                (unsigned long long)r->replies);
    _exit(ok ? 0 : 1);
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"broker", OPT_STR, &o.broker, 0, 0, "samovar or bare"},
        {"transport", OPT_STR, &o.transport, 0, 0, "ipc or tcp"},
        {"security", OPT_STR, &o.security, 0, 0, "null or curve"},
        {"body", OPT_INT, &o.body, 0, 60000, "bytes of a request's body; the answer is as long"},
        {"window", OPT_INT, &o.window, 1, 16384, "requests in flight"},
        {"seconds", OPT_NUM, &o.seconds, 0.05, 600, "measured time"},
        {"warmup", OPT_NUM, &o.warmup, 0, 60, "time before it"},
        {"io-threads", OPT_INT, &o.io_threads, 1, 16, "of the bare forwarder"},
        {"bin", OPT_STR, &o.bin, 0, 0, "folder of the executables; default this one's"},
    };
    opts_parse(argc, argv, "request/reply through a broker", table, sizeof table / sizeof *table);
    bool bare = choice(o.broker, "broker", "samovar", "bare");
    bool tcp = choice(o.transport, "transport", "ipc", "tcp");
    bool curve = choice(o.security, "security", "null", "curve");
    owner = getpid();
    atexit(clean_up);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGALRM, on_signal);
    alarm((unsigned)(o.seconds + o.warmup) + 40);
    client_run *r =
        mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int go_worker[2], go_client[2], ready[2];
    if (r == MAP_FAILED || pipe2(go_worker, O_CLOEXEC) || pipe2(go_client, O_CLOEXEC) ||
        pipe2(ready, O_CLOEXEC))
        die("%s", strerror(errno));
    bus_broker_start(&broker, o.bin ? o.bin : own_folder(), bare, tcp, curve, (int)o.io_threads);
    *r = (client_run){.window = (uint32_t)o.window,
                      .body_bytes = (uint32_t)o.body,
                      .warmup_s = o.warmup,
                      .seconds = o.seconds,
                      .broker = broker.pid};
    worker = fork_waiting(go_worker[0]);
    if (worker == 0) run_worker(bare, ready[1]);
    client = fork_waiting(go_client[0]);
    if (client == 0) run_client(bare, r);
    bus_broker_announce(&broker, worker, "bench", 1);
    bus_broker_announce(&broker, client, "bench-client", 1);
    if (write(go_worker[1], "g", 1) != 1) die("%s", strerror(errno));
    char c;
    close(ready[1]); /* so that a worker that fails ends the wait */
    if (read(ready[0], &c, 1) != 1) die("the worker failed");
    if (write(go_client[1], "g", 1) != 1) die("%s", strerror(errno));
    int status = 0;
    if (waitpid(client, &status, 0) != client || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("the client failed");
    client = -1;
    if (r->replies == 0 || r->errors)
        fprintf(stderr, "bus_load: %llu errors; first: %s\n", (unsigned long long)r->errors,
                r->first_error);
    print(r);
    return r->errors ? 1 : 0;
}
