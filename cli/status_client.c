/*  status_client.c - one request, one answer, a blocking socket with a time-out. */
#include "status_client.h"

#include "error.h"
#include "platform.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_S = 5 };

int status_connect(const config *c, const char *request, int *ret_fd, sv_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PLATFORM_PATH];
    if (!platform_path(c, "supervisor.sock", path) || strlen(path) >= sizeof address.sun_path)
        return sv_fail(err, SV_E_TOO_LARGE, "run", "The run folder's path is too long.");
    memcpy(address.sun_path, path, strlen(path) + 1);
    struct timeval patience = {.tv_sec = ANSWER_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
        connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int saved = errno;
        if (fd >= 0) close(fd);
        if (saved == ENOENT || saved == ECONNREFUSED)
            return sv_fail(
                err, SV_E_NOT_FOUND, "data",
                "No platform runs on %.120s. Start one with ./dev up or samovar up, or set "
                "SAMOVAR_DATA to its data folder",
                config_data(c));
        return sv_fail(err, SV_E_IO, NULL, "The supervisor cannot be reached at %.120s: %s", path,
                       strerror(saved));
    }
    char line[512];
    int n = snprintf(line, sizeof line, "%s\n", request);
    if (n >= (int)sizeof line || send(fd, line, (size_t)n, MSG_NOSIGNAL) != n) {
        close(fd);
        return sv_fail(err, SV_E_IO, NULL, "The supervisor does not take the request.");
    }
    *ret_fd = fd;
    return 0;
}

int status_ask(const config *c, const char *request, buf *answer, sv_error *err)
{
    int fd = -1, rc = status_connect(c, request, &fd, err);
    if (rc) return rc;
    char data[16384];
    ssize_t n;
    while ((n = recv(fd, data, sizeof data, 0)) > 0 && buf_put(answer, data, (size_t)n) == 0)
        continue;
    close(fd);
    if (n != 0) return sv_fail(err, SV_E_IO, NULL, "The supervisor's answer did not arrive whole.");
    return 0;
}
