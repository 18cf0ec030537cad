/*  listen_port.c - two locks of flock(2) and RUN/edge.port, written by rename.
 *  RUN/edge.start lets one edge at a time through its start; RUN/edge.alive is held shared by
 *  every edge that listens, so who gets it exclusively is the first. */
#include "listen_port.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { PATH_BYTES = 4200 };

static int io_failed(sv_error *err, const char *what, const char *path)
{
    int saved = errno;
    return sv_fail(err, SV_E_IO, "run", "%s %.160s: %s.", what, path, strerror(saved));
}

/* The port an earlier start wrote, or 0. */
static uint16_t port_written(const char *run)
{
    char path[PATH_BYTES];
    unsigned port = 0;
    snprintf(path, sizeof path, "%s/edge.port", run);
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    if (fscanf(f, "%5u", &port) != 1 || port > 65535) port = 0;
    fclose(f);
    return (uint16_t)port;
}

static int write_port(const char *run, uint16_t port, sv_error *err)
{
    char path[PATH_BYTES], tmp[PATH_BYTES + 32], text[8];
    snprintf(path, sizeof path, "%s/edge.port", run);
    snprintf(tmp, sizeof tmp, "%s.%ld", path, (long)getpid());
    int n = snprintf(text, sizeof text, "%u\n", port);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return io_failed(err, "Cannot create", tmp);
    bool ok = write(fd, text, (size_t)n) == n;
    if (close(fd)) ok = false;
    if (ok && rename(tmp, path) == 0) return 0;
    int rc = io_failed(err, "Cannot write", path);
    unlink(tmp);
    return rc;
}

static int open_lock(const char *run, const char *name, int how, int *fd, sv_error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", run, name);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) return io_failed(err, "Cannot open", path);
    while (flock(*fd, how)) {
        if (errno == EWOULDBLOCK) return 1;
        if (errno != EINTR) return io_failed(err, "Cannot lock", path);
    }
    return 0;
}

/* Binds `port`, 0 meaning the earlier one or any. */
static int bind_port(http_server *s, const char *run, const char *ip, uint16_t port, bool share,
                     sv_error *err)
{
    uint16_t earlier = port == 0 ? port_written(run) : 0;
    if (earlier && http_server_listen(s, ip, earlier, share, NULL) == 0) return 0;
    return http_server_listen(s, ip, port, share, err);
}

/* With SO_REUSEPORT a foreign listener of the same user goes unnoticed: look without it first. */
static int probe_alone(http_server *s, const char *run, const char *ip, uint16_t *port,
                       sv_error *err)
{
    int rc = bind_port(s, run, ip, *port, false, err);
    if (rc == 0) {
        *port = http_server_port(s);
        http_server_stop_listening(s);
    }
    return rc;
}

static int open_shared(listen_port *l, http_server *s, const char *run, const char *ip,
                       uint16_t port, sv_error *err)
{
    int rc = open_lock(run, "edge.alive", LOCK_EX | LOCK_NB, &l->alive_fd, err);
    if (rc < 0) return rc;
    bool alone = rc == 0;
    if (alone)
        rc = probe_alone(s, run, ip, &port, err);
    else
        port = port ? port : port_written(run);
    if (!alone) http_server_hold(s); /* the others serve until this one can */
    if (rc >= 0) rc = http_server_listen(s, ip, port, true, err);
    if (rc == 0 && alone) rc = write_port(run, http_server_port(s), err);
    if (rc == 0 && flock(l->alive_fd, LOCK_SH)) rc = io_failed(err, "Cannot lock in", run);
    return rc;
}

int listen_port_open(listen_port *l, http_server *s, const char *run, const char *ip, uint16_t port,
                     bool shared, sv_error *err)
{
    int rc, start_fd = -1;
    l->alive_fd = -1;
    if (!shared) {
        rc = bind_port(s, run, ip, port, false, err);
        return rc ? rc : write_port(run, http_server_port(s), err);
    }
    rc = open_lock(run, "edge.start", LOCK_EX, &start_fd, err);
    if (rc == 0) rc = open_shared(l, s, run, ip, port, err);
    if (start_fd >= 0) close(start_fd);
    return rc;
}

void listen_port_close(listen_port *l)
{
    if (l->alive_fd >= 0) close(l->alive_fd);
    l->alive_fd = -1;
}
