/*  status_socket.c - a listening socket and a fixed table of clients. */
#include "status_socket.h"

#include "error.h"
#include "human_log.h"
#include "json_scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct client {
    status_socket *owner;
    int fd; /* -1: free */
    loop_fd *watch;
    loop_timer timer;
    buf in, out;
    bool asked, follow;
    char child[32]; /* follow: only its lines; "" for all */
    uint64_t dropped;
} client;

struct status_socket {
    loop *loop;
    supervisor *supervisor;
    log_mux *mux;
    int fd;
    loop_fd *watch;
    char path[108];
    uint64_t opened_us;
    client clients[STATUS_CLIENTS];
};

static void client_close(client *c)
{
    if (c->fd < 0) return;
    loop_fd_del(c->watch);
    loop_timer_stop(c->owner->loop, &c->timer);
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    c->fd = -1;
    c->watch = NULL;
}

static void client_flush(client *c)
{
    while (c->out.n > 0) {
        ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            client_close(c);
            return;
        }
        buf_consume(&c->out, (size_t)n);
    }
    if (c->out.n == 0 && c->asked && !c->follow)
        client_close(c);
    else
        loop_fd_mod(c->watch, c->out.n ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* ---- answers ---- */

static void put_line(void *arg, const char *name, const log_entry *e)
{
    client *c = arg;
    if (c->child[0] && strcmp(c->child, name) != 0) return;
    if (c->out.n + 7 * (size_t)e->n + 512 > STATUS_OUT_BYTES) {
        c->dropped++;
        return;
    }
    if (c->dropped > 0)
        buf_printf(&c->out,
                   "{\"child\":\"supervisor\",\"ms\":%llu,"
                   "\"line\":\"%llu lines dropped: you read too slowly\"}\n",
                   (unsigned long long)e->unix_ms, (unsigned long long)c->dropped);
    c->dropped = 0;
    buf_printf(&c->out, "{\"child\":\"%s\",\"ms\":%llu,\"line\":\"", name,
               (unsigned long long)e->unix_ms);
    json_log_text((sv_str){e->text, e->n}, &c->out);
    buf_puts(&c->out, "\"}\n");
}

static void put_text(buf *b, const char *name, const char *text)
{
    buf_printf(b, ",\"%s\":\"", name);
    buf_json_escape(b, sv_cstr(text));
    buf_puts(b, "\"");
}

static void answer_status(client *c)
{
    status_socket *k = c->owner;
    buf *b = &c->out;
    size_t n;
    child *children = supervisor_children(k->supervisor, &n);
    buf_printf(b, "{\"pid\":%d,\"up_ms\":%llu,\"version\":\"%s\",\"stopping\":%s,\"children\":[",
               (int)getpid(), (unsigned long long)(loop_now_us(k->loop) - k->opened_us) / 1000,
               SAMOVAR_VERSION, supervisor_stopping(k->supervisor) ? "true" : "false");
    for (size_t i = 0; i < n; i++) {
        child *h = &children[i];
        uint64_t up_ms = h->process.pid ? (loop_now_us(k->loop) - h->started_us) / 1000 : 0;
        buf_printf(b,
                   "%s{\"name\":\"%s\",\"service\":\"%s\",\"instance\":%u,\"pid\":%d,"
                   "\"state\":\"%s\",\"up_ms\":%llu,\"restarts\":%u",
                   i ? "," : "", h->name, h->service, h->instance, (int)h->process.pid,
                   child_state_name(h->state), (unsigned long long)up_ms, h->restarts);
        put_text(b, "status", h->status);
        put_text(b, "note", h->note);
        buf_puts(b, "}");
    }
    buf_puts(b, "]}\n");
}

static void answer_error(client *c, const char *words)
{
    buf_puts(&c->out, "{\"error\":\"");
    buf_json_escape(&c->out, sv_cstr(words));
    buf_puts(&c->out, "\"}\n");
}

static void answer_logs(client *c, json_value request)
{
    status_socket *k = c->owner;
    json_value name = json_get(request, "child"), lines = json_get(request, "lines");
    int64_t most = LOG_RING;
    log_source *source = NULL;
    if (name.type == JSON_STRING) {
        size_t n;
        child *children = supervisor_children(k->supervisor, &n);
        for (size_t i = 0; i < n; i++) {
            if (json_string_is(name, children[i].name)) {
                source = children[i].log;
                snprintf(c->child, sizeof c->child, "%s", children[i].name);
            }
        }
    }
    if (name.type != JSON_NONE && source == NULL)
        return answer_error(c, "child must name one of the children that status lists");
    if (lines.type != JSON_NONE && (json_int(lines, &most) || most < 0 || most > 1000000))
        return answer_error(c, "lines must be a number from 0 to 1000000");
    log_mux_last(k->mux, source, (size_t)most, put_line, c);
    c->follow = json_get(request, "follow").type == JSON_TRUE;
}

static void answer(client *c, sv_str line)
{
    sv_error err = {.code = 0};
    c->asked = true;
    loop_timer_stop(c->owner->loop, &c->timer);
    if (json_skim(line, 8, &err)) {
        answer_error(c, err.message);
        return;
    }
    json_value request = json_root(line), cmd = json_get(request, "cmd");
    if (json_string_is(cmd, "status")) {
        answer_status(c);
    } else if (json_string_is(cmd, "logs")) {
        answer_logs(c, request);
    } else if (json_string_is(cmd, "stop")) {
        buf_puts(&c->out, "{\"ok\":true}\n");
        supervisor_stop(c->owner->supervisor, 0);
    } else {
        answer_error(c, "cmd must be status, logs or stop");
    }
}

/* ---- clients ---- */

static void client_ready(void *arg, int fd, uint32_t events)
{
    client *c = arg;
    char data[STATUS_LINE_BYTES];
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            client_close(c);
            return;
        }
        if (n > 0 && !c->asked) {
            buf_put(&c->in, data, (size_t)n);
            const char *newline = c->in.n ? memchr(c->in.p, '\n', c->in.n) : NULL;
            if (newline)
                answer(c, (sv_str){c->in.p, (uint32_t)(newline - c->in.p)});
            else if (c->in.failed)
                answer_error(c, "the request is too long"), c->asked = true;
        }
    }
    client_flush(c);
}

static void client_late(void *arg)
{
    client_close(arg);
}

static bool same_user(int fd)
{
    struct ucred cred;
    socklen_t n = sizeof cred;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 &&
           (cred.uid == geteuid() || cred.uid == 0);
}

static void accept_client(void *arg, int fd, uint32_t events)
{
    (void)events;
    status_socket *k = arg;
    int new_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (new_fd < 0) return;
    client *c = NULL;
    for (size_t i = 0; i < STATUS_CLIENTS && c == NULL; i++)
        if (k->clients[i].fd < 0) c = &k->clients[i];
    if (c == NULL || !same_user(new_fd)) {
        close(new_fd);
        return;
    }
    *c = (client){.owner = k, .fd = new_fd};
    buf_init(&c->in, STATUS_LINE_BYTES);
    buf_init(&c->out, STATUS_OUT_BYTES + 65536);
    if (loop_fd_add(k->loop, new_fd, EPOLLIN, client_ready, c, &c->watch) ||
        loop_timer_set(k->loop, &c->timer, (uint64_t)STATUS_IDLE_MS * 1000, client_late, c))
        client_close(c);
}

static void line_came(void *arg, const char *name, const log_entry *e)
{
    status_socket *k = arg;
    for (size_t i = 0; i < STATUS_CLIENTS; i++) {
        client *c = &k->clients[i];
        if (c->fd >= 0 && c->follow) {
            put_line(c, name, e);
            client_flush(c);
        }
    }
}

/* ---- life ---- */

status_socket *status_socket_open(loop *l, const char *path, supervisor *s, log_mux *mux,
                                  sv_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    status_socket *k = calloc(1, sizeof *k);
    if (k == NULL || strlen(path) >= sizeof address.sun_path) {
        sv_fail(err, k ? SV_E_TOO_LARGE : SV_E_NO_MEMORY, NULL,
                k ? "The path %s is too long for a socket." : NULL, path);
        free(k);
        return NULL;
    }
    *k = (status_socket){
        .loop = l, .supervisor = s, .mux = mux, .fd = -1, .opened_us = loop_now_us(l)};
    for (size_t i = 0; i < STATUS_CLIENTS; i++)
        k->clients[i].fd = -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(k->path, path, strlen(path) + 1);
    unlink(path);
    k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (k->fd < 0 || bind(k->fd, (struct sockaddr *)&address, sizeof address) ||
        chmod(path, 0600) || listen(k->fd, STATUS_CLIENTS) ||
        loop_fd_add(l, k->fd, EPOLLIN, accept_client, k, &k->watch)) {
        sv_fail(err, SV_E_IO, NULL, "The socket %s cannot be made: %s.", path, strerror(errno));
        status_socket_close(k);
        return NULL;
    }
    log_mux_listen(mux, line_came, k);
    return k;
}

void status_socket_close(status_socket *k)
{
    if (k == NULL) return;
    log_mux_listen(k->mux, NULL, NULL);
    for (size_t i = 0; i < STATUS_CLIENTS; i++)
        client_close(&k->clients[i]);
    loop_fd_del(k->watch);
    if (k->fd >= 0) {
        close(k->fd);
        unlink(k->path);
    }
    free(k);
}
