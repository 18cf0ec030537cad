/*  conn_hold.c - holds many connections to a server on loopback, each behind one answer: one thread,
 *  epoll. Each connection asks once; it is held when its answer is complete, or, with --stream, when
 *  its event stream has begun. Prints "held N" then, and obeys lines on stdin:
 *
 *  fire   sends the request of --fire-path and --fire-body on a connection of its own and waits until
 *         every held stream has shown a data line, at most --patience-ms. One JSON line: how many
 *         heard, and the times from the writing of the request.
 *  end    (or the end of the input) one JSON line with what is still open, and the end.
 *
 *  The times contain this process's own work: one thread that reads one socket after the other. */
#include "hist.h"
#include "http_reader.h"
#include "net.h"
#include "opts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef enum conn_state { CONNECTING, ASKED, HELD, ENDED } conn_state;

typedef struct conn {
    int fd;
    conn_state state;
    http_reader reader;
    bool heard;    /* a data line since the last fire */
    uint32_t line; /* bytes of the current line that match "data:", or NO_MATCH */
} conn;

enum { EVENTS = 512, AT_ONCE = 128, NO_MATCH = 100 };

static struct {
    int64_t port, connections, patience_ms;
    const char *path, *headers, *fire_path, *fire_body, *fire_headers;
    bool stream;
} o = {.connections = 1000, .patience_ms = 30000, .path = "/", .fire_path = "/"};

static conn *conns;
static int ep;
static int64_t begun, pending, held, lost, heard;
static char *request;
static size_t request_n;
static hist late;
static uint64_t fired_us; /* 0: nothing was fired */

/* ---- requests ---- */

static char *build(const char *method, const char *path, const char *headers, const char *body)
{
    char *text, extra[4096] = "";
    size_t n = 0;
    for (const char *p = headers; p && *p; p++) {
        if (n + 3 >= sizeof extra) die("headers are longer than 4 KiB");
        if (*p == '|')
            extra[n++] = '\r', extra[n++] = '\n';
        else
            extra[n++] = *p;
    }
    if (n) memcpy(extra + n, "\r\n", 3);
    char length[96] = "";
    if (body)
        snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 strlen(body));
    if (asprintf(&text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\n%s%s\r\n%s", method, path,
                 (long long)o.port, extra, length, body ? body : "") < 0)
        die("out of memory");
    return text;
}

/* ---- connections ---- */

static void end_conn(conn *c)
{
    if (c->state == CONNECTING || c->state == ASKED) pending--;
    if (c->state == HELD) held--;
    c->state = ENDED;
    lost++;
    close(c->fd);
    c->fd = -1;
}

static void hold(conn *c)
{
    if (c->state != ASKED) return;
    c->state = HELD;
    pending--;
    held++;
}

static void open_more(void)
{
    while (pending < AT_ONCE && begun < o.connections) {
        conn *c = &conns[begun++];
        pending++;
        http_reader_init(&c->reader, false, false);
        c->state = CONNECTING;
        c->fd = net_connect((uint16_t)o.port, 0);
        if (c->fd < 0) die("cannot connect: %s", strerror(errno));
        struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    }
}

static void hear(conn *c)
{
    if (fired_us == 0 || c->heard) return;
    c->heard = true;
    heard++;
    hist_add(&late, now_us() - fired_us);
}

static void on_body(void *arg, const char *p, size_t n)
{
    static const char word[] = "data:";
    conn *c = arg;
    if (!o.stream) return;
    hold(c);
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n')
            c->line = 0;
        else if (c->line < sizeof word - 1)
            c->line = p[i] == word[c->line] ? c->line + 1 : NO_MATCH;
        if (c->line == sizeof word - 1) {
            hear(c);
            c->line = NO_MATCH;
        }
    }
}

static void readable(conn *c)
{
    static char in[65536];
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n < 0 && errno == EAGAIN) return;
    size_t used;
    if (n <= 0) {
        end_conn(c);
        return;
    }
    http_result rc = http_reader_feed(&c->reader, in, (size_t)n, &used, on_body, c);
    bool good = c->reader.status == 0 || c->reader.status / 100 == 2;
    if (rc == HTTP_BAD || !good || (rc == HTTP_DONE && (o.stream || c->reader.close))) {
        if (!good) fprintf(stderr, "conn_hold: status %d\n", c->reader.status);
        end_conn(c);
    } else if (rc == HTTP_DONE) {
        http_reader_next(&c->reader);
        hold(c);
    }
}

static void ready(conn *c, uint32_t what)
{
    if (c->state == CONNECTING && what & EPOLLOUT && !(what & (EPOLLERR | EPOLLHUP))) {
        if (send(c->fd, request, request_n, MSG_NOSIGNAL) != (ssize_t)request_n) {
            end_conn(c);
            return;
        }
        c->state = ASKED;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
        return;
    }
    if (c->state == CONNECTING)
        end_conn(c);
    else if (c->state != ENDED)
        readable(c);
}

/* ---- the bell ---- */

static void fire(void)
{
    static char *text;
    if (!text) text = build("POST", o.fire_path, o.fire_headers, o.fire_body ? o.fire_body : "{}");
    http_reader reader;
    http_reader_init(&reader, false, false);
    for (int64_t i = 0; i < o.connections; i++)
        conns[i].heard = false;
    hist_reset(&late);
    heard = 0;
    conn bell = {.fd = net_connect((uint16_t)o.port, 0)};
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = &bell}, ev[EVENTS];
    if (bell.fd < 0) die("cannot connect: %s", strerror(errno));
    epoll_ctl(ep, EPOLL_CTL_ADD, bell.fd, &e);
    uint64_t until = now_us() + (uint64_t)o.patience_ms * 1000u, answered = 0;
    fired_us = 0;
    while ((heard < held || !answered) && now_us() < until) {
        int n = epoll_wait(ep, ev, EVENTS, 20);
        for (int i = 0; i < n; i++) {
            conn *c = ev[i].data.ptr;
            if (c && c != &bell) ready(c, ev[i].events);
            if (c != &bell) continue;
            if (fired_us == 0) {
                fired_us = now_us();
                if (send(bell.fd, text, strlen(text), MSG_NOSIGNAL) < 0) die("cannot send");
                e.events = EPOLLIN;
                epoll_ctl(ep, EPOLL_CTL_MOD, bell.fd, &e);
                continue;
            }
            char in[65536];
            ssize_t got = recv(bell.fd, in, sizeof in, 0);
            size_t used;
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) die("the request that was to ring was not answered");
            if (http_reader_feed(&reader, in, (size_t)got, &used, NULL, NULL) == HTTP_DONE)
                answered = now_us();
        }
    }
    printf("{\"status\":%d,\"answer_us\":%llu,\"held\":%lld,\"heard\":%lld,\"p50_us\":%llu,"
           "\"p99_us\":%llu,\"max_us\":%llu}\n",
           reader.status, (unsigned long long)(answered ? answered - fired_us : 0), (long long)held,
           (long long)heard, (unsigned long long)hist_at(&late, 0.5),
           (unsigned long long)hist_at(&late, 0.99), (unsigned long long)late.max);
    fflush(stdout);
    fired_us = 0;
    close(bell.fd);
    http_reader_free(&reader);
}

/* ---- the run ---- */

/* False at the end of the input. */
static bool obey(void)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
    if (n <= 0) return false;
    line[n] = 0;
    line[strcspn(line, "\n")] = 0;
    if (strcmp(line, "fire") == 0)
        fire();
    else if (strcmp(line, "end") == 0)
        return false;
    else
        die("\"%s\" is no command: fire or end", line);
    return true;
}

static void run(void)
{
    struct epoll_event ev[EVENTS], e = {.events = EPOLLIN, .data.ptr = NULL};
    bool said = false;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &e)) die("stdin must be a pipe");
    for (;;) {
        open_more();
        if (!said && begun == o.connections && pending == 0) {
            said = true;
            printf("held %lld\n", (long long)held);
            fflush(stdout);
        }
        int n = epoll_wait(ep, ev, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.ptr)
                ready(ev[i].data.ptr, ev[i].events);
            else if (!obey())
                return;
        }
    }
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &o.port, 1, 65535, "port on 127.0.0.1"},
        {"connections", OPT_INT, &o.connections, 1, 100000, "connections to hold"},
        {"path", OPT_STR, &o.path, 0, 0, "what each asks for"},
        {"headers", OPT_STR, &o.headers, 0, 0, "more header lines, separated by |"},
        {"stream", OPT_FLAG, &o.stream, 0, 0, "answers are event streams that stay open"},
        {"fire-path", OPT_STR, &o.fire_path, 0, 0, "what `fire` posts to"},
        {"fire-body", OPT_STR, &o.fire_body, 0, 0, "its JSON; default {}"},
        {"fire-headers", OPT_STR, &o.fire_headers, 0, 0, "its header lines, separated by |"},
        {"patience-ms", OPT_INT, &o.patience_ms, 1, 600000, "time for all to hear"},
    };
    opts_parse(argc, argv, "holds many connections, each behind one answer", table,
               sizeof table / sizeof *table);
    if (o.port == 0) die("--port is needed");
    signal(SIGPIPE, SIG_IGN);
    if (net_many_files((uint64_t)o.connections + 64) < (uint64_t)o.connections + 32)
        die("%lld connections need a higher limit of open files (ulimit -n)",
            (long long)o.connections);
    request = build("GET", o.path, o.headers, NULL);
    request_n = strlen(request);
    conns = calloc((size_t)o.connections, sizeof *conns);
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || ep < 0) die("out of memory");
    run();
    printf("{\"open\":%lld,\"lost\":%lld}\n", (long long)held, (long long)lost);
    for (int64_t i = 0; i < begun; i++) {
        if (conns[i].fd >= 0) net_reset(conns[i].fd); /* no ports in TIME_WAIT for who comes next */
        http_reader_free(&conns[i].reader);
    }
    free(conns);
    free(request);
    return lost ? 1 : 0;
}
