/*  broker_line.c - packets keep their borders, so there is nothing to parse but one answer each. */
#include "broker_line.h"

#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void receive(void *arg, int fd, uint32_t events)
{
    (void)events;
    broker_line *c = arg;
    for (;;) {
        char text[256];
        ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN)
                broker_line_close(
                    c); /* the broker is gone or closed its end; its exit tells the rest */
            return;
        }
        if (c->n == 0) continue; /* an answer to nothing */
        text[n] = 0;
        uint32_t tag = c->tags[c->first];
        c->first = (c->first + 1) % BROKER_LINE_OPEN;
        c->n--;
        c->waiting_since_us = loop_now_us(c->loop);
        c->answer(c->arg, tag, strcmp(text, "ok") == 0 ? NULL : text);
        if (c->fd != fd) return;
    }
}

int broker_line_open(broker_line *c, loop *l,
                     void (*answer)(void *arg, uint32_t tag, const char *words), void *arg,
                     int *ret_fd, sv_error *err)
{
    int pair[2];
    *c = (broker_line){.loop = l, .fd = -1, .answer = answer, .arg = arg};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return sv_fail(err, SV_E_IO, NULL, "The broker's control channel cannot be made: %s.",
                       strerror(errno));
    int rc = loop_fd_add(l, pair[0], EPOLLIN, receive, c, &c->watch);
    if (rc) {
        close(pair[0]);
        close(pair[1]);
        return sv_fail(err, rc, NULL, NULL);
    }
    c->fd = pair[0];
    *ret_fd = pair[1];
    return 0;
}

void broker_line_close(broker_line *c)
{
    if (c->fd < 0) return;
    loop_fd_del(c->watch);
    close(c->fd);
    c->watch = NULL;
    c->fd = -1;
    c->n = 0;
}

int broker_line_send(broker_line *c, uint32_t tag, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->fd < 0 || n < 0 || (size_t)n >= sizeof text) return SV_E_IO;
    if (c->n == BROKER_LINE_OPEN) return SV_E_OVERLOADED;
    if (send(c->fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return errno == EAGAIN ? SV_E_OVERLOADED : SV_E_IO;
    if (c->n == 0) c->waiting_since_us = loop_now_us(c->loop);
    c->tags[(c->first + c->n++) % BROKER_LINE_OPEN] = tag;
    return 0;
}
