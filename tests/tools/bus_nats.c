/*  bus_nats.c - the same request/reply as bus_load, over nats-server and libnats: a client
 *  and a worker process, W requests in flight, answers on one inbox, the request's number in the
 *  first eight bytes of the body. Prints one JSON line.
 *
 *  flushed: each message is written to the socket when it is published
 *           (natsOptions_SetSendAsap).
 *  batched: libnats collects what is published and writes it once a millisecond. */
#include "hist.h"
#include "net.h"
#include "opts.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <nats/nats.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 65536, BODY_MAX = 65536 };

static struct {
    int64_t body, window;
    double seconds, warmup;
    const char *server;
    bool batched;
} o = {.body = 256, .window = 64, .seconds = 1, .warmup = 0.3, .server = "nats-server"};

static pid_t server = -1, worker = -1, client = -1, owner;
static char url[64];

/* What the client process leaves for its parent. */
typedef struct result {
    hist latency;
    uint64_t replies, errors, elapsed_us, server_cpu_ns;
} result;
static result *r;

static uint64_t starts[SLOTS];
static uint64_t next_number = 1;
static char body[BODY_MAX];
static volatile bool counts, over;

static void clean_up(void)
{
    if (getpid() != owner) return;
    if (client > 0) proc_stop(client, 0);
    if (worker > 0) proc_stop(worker, 0);
    if (server > 0) proc_stop(server, 2000);
}

static void on_signal(int sig)
{
    (void)sig;
    exit(1);
}

static void check(natsStatus s, const char *what)
{
    if (s != NATS_OK) die("%s: %s", what, natsStatus_GetText(s));
}

static natsConnection *connect_nats(void)
{
    natsOptions *opts = NULL;
    natsConnection *nc = NULL;
    check(natsOptions_Create(&opts), "options");
    natsOptions_SetURL(opts, url);
    natsOptions_SetSendAsap(opts, !o.batched);
    natsOptions_SetMaxPendingMsgs(opts, 1 << 20);
    natsStatus s = NATS_ERR;
    for (int i = 0; i < 100 && s != NATS_OK; i++) { /* the server needs a moment to listen */
        s = natsConnection_Connect(&nc, opts);
        if (s != NATS_OK) poll(NULL, 0, 50);
    }
    check(s, "connect");
    natsOptions_Destroy(opts);
    return nc;
}

static void on_request(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg)
{
    (void)sub, (void)arg;
    natsConnection_Publish(nc, natsMsg_GetReply(m), natsMsg_GetData(m), natsMsg_GetDataLength(m));
    natsMsg_Destroy(m);
}

static void run_worker(int ready)
{
    natsConnection *nc = connect_nats();
    natsSubscription *sub;
    check(natsConnection_Subscribe(&sub, nc, "bench.echo", on_request, NULL), "subscribe");
    check(natsConnection_Flush(nc), "flush");
    if (write(ready, "r", 1) != 1) _exit(1);
    pause();
    _exit(0);
}

static void send_request(natsConnection *nc)
{
    uint64_t n = next_number++;
    memcpy(body, &n, sizeof n);
    starts[n % SLOTS] = now_us();
    if (natsConnection_PublishRequest(nc, "bench.echo", "inbox.bench", body, (int)o.body) !=
        NATS_OK)
        r->errors++;
}

static void on_reply(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg)
{
    (void)sub, (void)arg;
    uint64_t n = 0;
    bool ok = natsMsg_GetDataLength(m) == (int)o.body;
    if (ok) memcpy(&n, natsMsg_GetData(m), sizeof n);
    natsMsg_Destroy(m);
    uint64_t start = starts[n % SLOTS];
    starts[n % SLOTS] = 0;
    if (over) return;
    if (!ok || !start) {
        r->errors++;
    } else if (counts) {
        hist_add(&r->latency, now_us() - start);
        r->replies++;
    }
    send_request(nc);
}

static void run_client(void)
{
    natsConnection *nc = connect_nats();
    natsSubscription *sub;
    memset(body, 'x', sizeof body);
    check(natsConnection_Subscribe(&sub, nc, "inbox.bench", on_reply, NULL), "subscribe");
    check(natsConnection_Flush(nc), "flush");
    /* the callback owns next_number and body from the first answer on: nothing of it is touched
     * here */
    uint64_t first = (uint64_t)o.window;
    next_number = first + 1;
    static char own[BODY_MAX];
    memset(own, 'x', sizeof own);
    for (uint64_t n = 1; n <= first; n++) {
        memcpy(own, &n, sizeof n);
        starts[n % SLOTS] = now_us();
        check(natsConnection_PublishRequest(nc, "bench.echo", "inbox.bench", own, (int)o.body),
              "publish");
    }
    poll(NULL, 0, (int)(o.warmup * 1000));
    uint64_t cpu = proc_cpu_ns(server), from = now_us();
    counts = true;
    poll(NULL, 0, (int)(o.seconds * 1000));
    over = true;
    r->elapsed_us = now_us() - from;
    r->server_cpu_ns = proc_cpu_ns(server) - cpu;
    _exit(0);
}

static pid_t fork_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("cannot fork: %s", strerror(errno));
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        proc_die_with_parent();
    }
    return pid;
}

static void start_server(void)
{
    uint16_t port = 0;
    int fd = net_listen(&port);
    if (fd < 0) die("no free port: %s", strerror(errno));
    close(fd);
    char text[16];
    snprintf(text, sizeof text, "%u", port);
    snprintf(url, sizeof url, "nats://127.0.0.1:%u", port);
    char *argv[] = {
        (char *)(uintptr_t)o.server, "-a", "127.0.0.1", "-p", text, "-l", "/dev/null", NULL};
    server = proc_start(argv, NULL, -1);
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"body", OPT_INT, &o.body, 8, BODY_MAX, "bytes of a request's body; the answer is as long"},
        {"window", OPT_INT, &o.window, 1, 16384, "requests in flight"},
        {"seconds", OPT_NUM, &o.seconds, 0.05, 600, "measured time"},
        {"warmup", OPT_NUM, &o.warmup, 0, 60, "time before it"},
        {"batched", OPT_FLAG, &o.batched, 0, 0, "let libnats collect for a millisecond"},
        {"server", OPT_STR, &o.server, 0, 0, "executable of the server"},
    };
    opts_parse(argc, argv, "request/reply through nats-server", table,
               sizeof table / sizeof *table);
    owner = getpid();
    atexit(clean_up);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGALRM, on_signal);
    alarm((unsigned)(o.seconds + o.warmup) + 40);
    r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2];
    if (r == MAP_FAILED || pipe2(ready, O_CLOEXEC)) die("%s", strerror(errno));
    start_server();
    worker = fork_child();
    if (worker == 0) run_worker(ready[1]);
    close(ready[1]);
    char c;
    if (read(ready[0], &c, 1) != 1) die("the worker failed");
    client = fork_child();
    if (client == 0) run_client();
    int status = 0;
    if (waitpid(client, &status, 0) != client || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("the client failed");
    client = -1;
    double n = r->replies ? (double)r->replies : 1;
    printf("{\"broker\":\"nats\",\"batched\":%s,\"body\":%lld,\"window\":%lld,\"replies\":%llu,"
           "\"rps\":%.1f,\"p50_us\":%llu,\"p99_us\":%llu,\"p999_us\":%llu,\"max_us\":%llu,"
           "\"broker_cpu_us\":%.3f,\"errors\":%llu}\n",
           o.batched ? "true" : "false", (long long)o.body, (long long)o.window,
           (unsigned long long)r->replies, (double)r->replies * 1e6 / (double)r->elapsed_us,
           (unsigned long long)hist_at(&r->latency, 0.5),
           (unsigned long long)hist_at(&r->latency, 0.99),
           (unsigned long long)hist_at(&r->latency, 0.999), (unsigned long long)r->latency.max,
           (double)r->server_cpu_ns / 1000 / n, (unsigned long long)r->errors);
    return r->errors || r->replies == 0 ? 1 : 0;
}
