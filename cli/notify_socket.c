/*  notify_socket.c - one datagram socket for all children. */
#include "notify_socket.h"

#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { DATAGRAMS_TURN = 64 };

void notify_parse(sv_str text, notify_message *ret)
{
    *ret = (notify_message){.ready = false};
    const char *p = text.p, *end = text.p + text.n;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        sv_str line = {p, (uint32_t)((newline ? newline : end) - p)};
        if (sv_str_is(line, "READY=1"))
            ret->ready = true;
        else if (sv_str_is(line, "STOPPING=1"))
            ret->stopping = true;
        else if (sv_str_is(line, "WATCHDOG=1"))
            ret->watchdog = true;
        else if (line.n >= 7 && memcmp(line.p, "STATUS=", 7) == 0) {
            ret->has_status = true;
            size_t n = line.n - 7 < sizeof ret->status - 1 ? line.n - 7 : sizeof ret->status - 1;
            for (size_t i = 0; i < n; i++)
                ret->status[i] =
                    line.p[7 + i] >= 0x20 && line.p[7 + i] < 0x7f ? line.p[7 + i] : ' ';
            ret->status[n] = 0;
        }
        p += line.n + 1;
    }
}

static void receive(void *arg, int fd, uint32_t events)
{
    (void)events;
    notify_socket *n = arg;
    for (int i = 0; i < DATAGRAMS_TURN; i++) {
        char text[1024];
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(64 * sizeof(int))];
        } control;
        struct iovec part = {text, sizeof text};
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
        ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0) return;
        pid_t pid = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            if (c->cmsg_level != SOL_SOCKET) continue;
            if (c->cmsg_type == SCM_CREDENTIALS) {
                struct ucred cred;
                memcpy(&cred, CMSG_DATA(c), sizeof cred);
                pid = cred.pid;
            } else if (c->cmsg_type == SCM_RIGHTS) {
                /* Nobody is asked to send descriptors: they must not pile up here. */
                size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t k = 0; k < count; k++) {
                    int sent;
                    memcpy(&sent, CMSG_DATA(c) + k * sizeof sent, sizeof sent);
                    close(sent);
                }
            }
        }
        if (pid == 0 || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) continue;
        notify_message message;
        notify_parse((sv_str){text, (uint32_t)got}, &message);
        n->fn(n->arg, pid, &message);
        if (n->fd != fd) return;
    }
}

int notify_socket_open(notify_socket *n, loop *l, const char *path,
                       void (*fn)(void *arg, pid_t pid, const notify_message *m), void *arg,
                       sv_error *err)
{
    *n = (notify_socket){.fd = -1, .fn = fn, .arg = arg};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "The path %s is too long for a socket.", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(n->path, path, strlen(path) + 1);
    unlink(path);
    int on = 1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || chmod(path, 0600) ||
        loop_fd_add(l, fd, EPOLLIN, receive, n, &n->watch)) {
        sv_fail(err, SV_E_IO, NULL, "The socket %s cannot be made: %s.", path, strerror(errno));
        if (fd >= 0) close(fd);
        return SV_E_IO;
    }
    n->fd = fd;
    return 0;
}

void notify_socket_close(notify_socket *n)
{
    if (n->fd < 0) return;
    loop_fd_del(n->watch);
    close(n->fd);
    unlink(n->path);
    n->fd = -1;
}
