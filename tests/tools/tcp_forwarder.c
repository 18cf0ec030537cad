/*  tcp_forwarder.c - a bad network on loopback: listens on one port, connects to another, and
 *  carries bytes both ways late, in pieces, not at all, or not to the end.
 *
 *  Options set how it begins; lines on stdin change it while it runs, each answered by "ok":
 *    delay MS     every piece arrives so much later
 *    split BYTES  pieces of at most so many bytes, each by a write of its own; 0: as they come
 *    rate BYTES   at most so many bytes a second in each direction; 0: no limit
 *    stall        carry nothing more, keep connections open (new ones too)
 *    go           carry again
 *    cut          close every connection in order
 *    reset        reset every connection
 *    refuse       close the listener;   accept: open it again
 *  --cut-after N and --reset-after N end a connection after N bytes towards the client.
 *  The end of stdin changes nothing. Prints "port N" when ready; ends with SIGTERM.
 *
 *  Each direction holds at most PIECES pieces of PIECE bytes; a full one is not read from. */
#include "net.h"
#include "opts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 4096, PIECES = 64, EVENTS = 64 };

typedef struct piece {
    uint64_t due;
    uint32_t n, at;
    char bytes[PIECE];
} piece;

typedef struct flow {
    int from, to;
    piece pieces[PIECES];
    uint32_t head, count;
    bool ended;      /* the sender closed */
    bool passed_end; /* and the receiver knows */
    uint64_t carried, not_before;
} flow;

typedef struct pair {
    struct pair *next;
    int client, server;
    bool connecting, gone;
    flow up, down;
} pair;

static struct {
    int64_t port, to, delay_ms, split, rate, cut_after, reset_after;
    bool stall;
} o;
static int ep, listener = -1;
static pair *pairs;
static volatile sig_atomic_t stop;

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

static void end_pair(pair *p, bool reset)
{
    if (p->gone) return;
    p->gone = true;
    int fds[2] = {p->client, p->server};
    for (int i = 0; i < 2; i++) {
        if (reset)
            net_reset(fds[i]);
        else
            close(fds[i]);
    }
}

static void sweep(void)
{
    for (pair **at = &pairs; *at;) {
        pair *p = *at;
        if (p->gone) {
            *at = p->next;
            free(p);
        } else {
            at = &p->next;
        }
    }
}

/* Edge-triggered: every flow is tried in every turn. */
static void add(int fd)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static void accept_all(void)
{
    int fd;
    while (listener >= 0 &&
           (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        pair *p = calloc(1, sizeof *p);
        int server = p ? net_connect((uint16_t)o.to, 0) : -1;
        if (server < 0) {
            net_reset(fd);
            free(p);
            continue;
        }
        net_nodelay(fd);
        p->client = p->up.from = p->down.to = fd;
        p->server = p->up.to = p->down.from = server;
        p->connecting = true;
        p->next = pairs;
        pairs = p;
        add(fd);
        add(server);
    }
}

/* False when the connection broke. */
static bool take_in(flow *f, uint64_t now)
{
    while (!f->ended && f->count < PIECES) {
        piece *q = &f->pieces[(f->head + f->count) % PIECES];
        size_t most = o.split && o.split < PIECE ? (size_t)o.split : PIECE;
        ssize_t n = recv(f->from, q->bytes, most, 0);
        if (n < 0) return errno == EAGAIN;
        if (n == 0) {
            f->ended = true;
            return true;
        }
        q->due = now + (uint64_t)o.delay_ms * 1000;
        q->n = (uint32_t)n;
        q->at = 0;
        f->count++;
    }
    return true;
}

static bool give_out(flow *f, uint64_t now, uint64_t *next)
{
    while (f->count) {
        piece *q = &f->pieces[f->head];
        uint64_t due = q->due > f->not_before ? q->due : f->not_before;
        if (due > now) {
            if (due < *next) *next = due;
            return true;
        }
        ssize_t n = send(f->to, q->bytes + q->at, q->n - q->at, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        f->carried += (uint64_t)n;
        q->at += (uint32_t)n;
        if (o.rate) f->not_before = now + (uint64_t)n * 1000000u / (uint64_t)o.rate;
        if (q->at < q->n) return true;
        f->head = (f->head + 1) % PIECES;
        f->count--;
    }
    if (f->ended && !f->passed_end) {
        f->passed_end = true;
        shutdown(f->to, SHUT_WR);
    }
    return true;
}

static void carry(pair *p, uint64_t now, uint64_t *next)
{
    if (p->connecting) {
        int error = 0;
        socklen_t n = sizeof error;
        struct sockaddr_storage a;
        socklen_t an = sizeof a;
        getsockopt(p->server, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error) {
            end_pair(p, true);
            return;
        }
        if (getpeername(p->server, (struct sockaddr *)&a, &an)) return;
        p->connecting = false;
    }
    if (o.stall) return;
    flow *both[2] = {&p->up, &p->down};
    for (int i = 0; i < 2; i++) {
        uint32_t before;
        do { /* what went out makes room for what waits to come in */
            if (!take_in(both[i], now)) {
                end_pair(p, true);
                return;
            }
            before = both[i]->count;
            if (!give_out(both[i], now, next)) {
                end_pair(p, true);
                return;
            }
        } while (both[i]->count < before);
    }
    uint64_t down = p->down.carried;
    if ((o.cut_after && down >= (uint64_t)o.cut_after) || (p->up.passed_end && p->down.passed_end))
        end_pair(p, false);
    else if (o.reset_after && down >= (uint64_t)o.reset_after)
        end_pair(p, true);
}

static void listen_again(void)
{
    uint16_t port = (uint16_t)o.port;
    listener = net_listen(&port);
    if (listener < 0) die("cannot listen on port %lld: %s", (long long)o.port, strerror(errno));
    o.port = port;
    add(listener);
}

static const char *command(const char *line)
{
    long long v;
    if (sscanf(line, "delay %lld", &v) == 1 && v >= 0)
        o.delay_ms = v;
    else if (sscanf(line, "split %lld", &v) == 1 && v >= 0)
        o.split = v;
    else if (sscanf(line, "rate %lld", &v) == 1 && v >= 0)
        o.rate = v;
    else if (strcmp(line, "stall") == 0 || strcmp(line, "go") == 0)
        o.stall = line[0] == 's';
    else if (strcmp(line, "cut") == 0 || strcmp(line, "reset") == 0)
        for (pair *p = pairs; p; p = p->next)
            end_pair(p, line[0] == 'r');
    else if (strcmp(line, "refuse") == 0 && listener >= 0) {
        close(listener);
        listener = -1;
    } else if (strcmp(line, "accept") == 0 && listener < 0)
        listen_again();
    else
        return "error: not a command, or nothing to change; see the head of tcp_forwarder.c";
    return "ok";
}

static void read_commands(void)
{
    static char line[256];
    static size_t n;
    char c;
    ssize_t got;
    while ((got = read(0, &c, 1)) == 1) {
        if (c != '\n') {
            if (n < sizeof line - 1) line[n++] = c;
            continue;
        }
        line[n] = 0;
        n = 0;
        puts(command(line));
        fflush(stdout);
    }
    if (got == 0) epoll_ctl(ep, EPOLL_CTL_DEL, 0, NULL);
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &o.port, 0, 65535, "port on 127.0.0.1; 0 takes a free one"},
        {"to", OPT_INT, &o.to, 1, 65535, "port that is forwarded to"},
        {"delay-ms", OPT_INT, &o.delay_ms, 0, 600000, "delay of every piece"},
        {"split", OPT_INT, &o.split, 0, PIECE, "bytes of a piece; 0: as they come"},
        {"rate", OPT_INT, &o.rate, 0, 1e9, "bytes a second each way; 0: no limit"},
        {"cut-after", OPT_INT, &o.cut_after, 0, 1e15, "close after so many bytes to the client"},
        {"reset-after", OPT_INT, &o.reset_after, 0, 1e15, "the same with a reset"},
        {"stall", OPT_FLAG, &o.stall, 0, 0, "begin stalled"},
    };
    opts_parse(argc, argv, "a bad network on loopback", table, sizeof table / sizeof *table);
    if (o.to == 0) die("--to is needed");
    struct sigaction sa = {.sa_handler = on_term};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    ep = epoll_create1(EPOLL_CLOEXEC);
    listen_again();
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = 0};
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &e); /* refused for a plain file: then there are no commands */
    printf("port %lld\n", (long long)o.port);
    fflush(stdout);
    while (!stop) {
        uint64_t now = now_us(), next = UINT64_MAX;
        for (pair *p = pairs; p; p = p->next)
            if (!p->gone) carry(p, now, &next);
        sweep();
        now = now_us();
        uint64_t us = next > now ? next - now : 0;
        struct timespec ts = {(time_t)(us / 1000000u), (long)(us % 1000000u) * 1000};
        struct epoll_event ev[EVENTS];
        int n = epoll_pwait2(ep, ev, EVENTS, next == UINT64_MAX ? NULL : &ts, NULL);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.fd == 0)
                read_commands();
            else if (ev[i].data.fd == listener)
                accept_all();
        }
    }
    for (pair *p = pairs; p; p = p->next)
        end_pair(p, false);
    sweep();
    return 0;
}
