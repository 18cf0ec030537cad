/*  http_transport.c - the plain TCP table. */
#include "http_transport.h"

#include <sys/socket.h>
#include <unistd.h>

static ssize_t plain_read(http_transport *t, void *p, size_t n)
{
    return recv(t->fd, p, n, 0);
}

static ssize_t plain_write(http_transport *t, const void *p, size_t n)
{
    return send(t->fd, p, n, MSG_NOSIGNAL);
}

static void plain_shut(http_transport *t)
{
    shutdown(t->fd, SHUT_WR);
}

static void plain_close(http_transport *t, bool reset)
{
    if (reset) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(t->fd);
    t->fd = -1;
}

const http_transport_ops http_transport_plain = {
    .read = plain_read,
    .write = plain_write,
    .shut = plain_shut,
    .close = plain_close,
    .secure = false,
};
