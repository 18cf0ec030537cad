#include "bus_broker.h"

#include "keyfile.h"
#include "net.h"
#include "opts.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

static const char policy_text[] = "allow:\n"
                                  "  - {from: bench-client, call: [\"bench.*\"]}\n";

const char *own_folder(void)
{
    static char path[512];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) die("cannot read /proc/self/exe");
    path[n] = 0;
    *strrchr(path, '/') = 0;
    return path;
}

static uint16_t free_port(void)
{
    uint16_t port = 0;
    int fd = net_listen(&port);
    if (fd < 0) die("no free port: %s", strerror(errno));
    close(fd);
    return port;
}

static void endpoint(char *to, size_t cap, bool tcp, const char *folder, const char *name)
{
    if (tcp)
        snprintf(to, cap, "tcp://127.0.0.1:%u", free_port());
    else
        snprintf(to, cap, "ipc://%s/%s", folder, name);
}

static void new_keys(bus_broker *b, char secret[41])
{
    char server[41];
    if (zmq_curve_keypair(server, secret) ||
        zmq_curve_keypair(b->client_keys.public_key, b->client_keys.secret_key) ||
        zmq_curve_keypair(b->worker_keys.public_key, b->worker_keys.secret_key))
        die("this libzmq has no CURVE");
    strcpy(b->client_keys.server_key, server);
    strcpy(b->worker_keys.server_key, server);
}

static void wait_for_line(int fd, const char *what)
{
    char line[64];
    ssize_t n = read(fd, line, sizeof line - 1);
    if (n <= 0) die("%s did not start", what);
    close(fd);
}

static void start_forwarder(bus_broker *b, const char *bin, bool tcp, bool curve, int io_threads)
{
    char secret[41] = "", program[600], threads[16];
    endpoint(b->client_at, sizeof b->client_at, tcp, b->folder, "front.ipc");
    endpoint(b->worker_at, sizeof b->worker_at, tcp, b->folder, "back.ipc");
    if (curve) new_keys(b, secret);
    snprintf(program, sizeof program, "%s/bus_forwarder", bin);
    snprintf(threads, sizeof threads, "%d", io_threads);
    char *argv[] = {program,        "--front", b->client_at, "--back", b->worker_at,
                    "--io-threads", threads,   "--secret",   secret,   NULL};
    if (!curve) argv[7] = NULL;
    int out[2];
    if (pipe2(out, O_CLOEXEC)) die("no pipe: %s", strerror(errno));
    int saved = dup(1);
    dup2(out[1], 1);
    b->pid = proc_start(argv, NULL, -1);
    dup2(saved, 1);
    close(saved);
    close(out[1]);
    wait_for_line(out[0], "bus_forwarder");
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t n = strlen(text);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n || close(fd))
        die("cannot write %s: %s", path, strerror(errno));
}

static void key_files(bus_broker *b, const char *secret)
{
    char path[128];
    sv_error err = {0};
    keyfile k;
    snprintf(path, sizeof path, "%s/keys", b->folder);
    mkdir(path, 0700);
    const struct {
        const char *name, *public_key;
    } peers[] = {{"bench-client", b->client_keys.public_key}, {"bench", b->worker_keys.public_key}};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/keys/%s.pub", b->folder, peers[i].name);
        if (keyfile_new(peers[i].name, peers[i].public_key, NULL, &k, &err) ||
            keyfile_write(&k, path, false, &err))
            die("%s", err.message);
    }
    snprintf(path, sizeof path, "%s/keys/broker.key", b->folder);
    if (keyfile_new("broker", b->client_keys.server_key, secret, &k, &err) ||
        keyfile_write(&k, path, true, &err))
        die("%s", err.message);
    keyfile_clear(&k);
}

static void start_samovar(bus_broker *b, const char *bin, bool tcp, bool curve)
{
    char secret[41], program[600], policy[96], env[6][200];
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        die("no socket pair: %s", strerror(errno));
    struct timeval wait = {.tv_sec = 10};
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    snprintf(policy, sizeof policy, "%s/policy.yaml", b->folder);
    write_file(policy, policy_text);
    if (curve) {
        new_keys(b, secret);
        key_files(b, secret);
    }
    char *environment[7] = {0};
    int n = 0;
    snprintf(env[n], sizeof env[n], "SAMOVAR_DATA=%s", b->folder);
    environment[n] = env[n], n++;
    snprintf(env[n], sizeof env[n], "SAMOVAR_CONTROL_FD=%d", pair[1]);
    environment[n] = env[n], n++;
    snprintf(env[n], sizeof env[n], "SAMOVAR_LOG_LEVEL=warn");
    environment[n] = env[n], n++;
    if (tcp) {
        endpoint(b->client_at, sizeof b->client_at, true, b->folder, NULL);
        snprintf(env[n], sizeof env[n], "SAMOVAR_BUS_LISTEN%s=%s", curve ? "" : "_NULL",
                 b->client_at);
        environment[n] = env[n], n++;
    } else {
        snprintf(b->client_at, sizeof b->client_at, "ipc://%s/run/%s.ipc", b->folder,
                 curve ? "curve" : "bus");
    }
    strcpy(b->worker_at, b->client_at);
    snprintf(program, sizeof program, "%s/samovar-broker", bin);
    char *argv[] = {program, NULL};
    b->pid = proc_start(argv, environment, pair[1]);
    close(pair[1]);
    b->control = pair[0];
}

void bus_broker_start(bus_broker *b, const char *bin, bool bare, bool tcp, bool curve,
                      int io_threads)
{
    *b = (bus_broker){.control = -1, .bare = bare};
    const char *tmp = getenv("TMPDIR");
    snprintf(b->folder, sizeof b->folder, "%.40s/svbench.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(b->folder)) die("cannot create %s: %s", b->folder, strerror(errno));
    if (bare)
        start_forwarder(b, bin, tcp, curve, io_threads);
    else
        start_samovar(b, bin, tcp, curve);
}

void bus_broker_announce(bus_broker *b, pid_t pid, const char *service, unsigned instance)
{
    if (b->bare) return;
    char packet[128];
    int n = snprintf(packet, sizeof packet, "child %d %s %u", (int)pid, service, instance);
    if (send(b->control, packet, (size_t)n, MSG_NOSIGNAL) != n)
        die("samovar-broker does not take control messages: %s", strerror(errno));
    ssize_t got = recv(b->control, packet, sizeof packet - 1, 0);
    packet[got > 0 ? got : 0] = 0;
    if (strcmp(packet, "ok") != 0)
        die("samovar-broker answered \"%s\" to child %d %s", packet, (int)pid, service);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void bus_broker_stop(bus_broker *b)
{
    if (b->pid > 0) proc_stop(b->pid, 3000);
    if (b->control >= 0) close(b->control);
    nftw(b->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
