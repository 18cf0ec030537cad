/*  http_wait.c - asks a server on loopback again and again until it answers with a 2xx, and
 *  prints how long that took since the tool started. Ends with 1 when the time is up, saying what
 *  the last answer was. */
#include "http_reader.h"
#include "net.h"
#include "opts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t port, timeout_ms = 10000, pause_ms = 2;
static const char *path = "/readyz", *body;
static char last[128] = "nothing was tried";

static bool wait_for(int fd, short what, uint64_t until)
{
    uint64_t now = now_us();
    struct pollfd p = {fd, what, 0};
    return now < until && poll(&p, 1, (int)((until - now) / 1000 + 1)) == 1;
}

/* One request on a connection of its own: the status, or 0. */
static int ask(const char *request, uint64_t until)
{
    int fd = net_connect((uint16_t)port, 0), error = 0, status = 0;
    socklen_t n = sizeof error;
    if (fd < 0 || !wait_for(fd, POLLOUT, until) ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) || error) {
        snprintf(last, sizeof last, "cannot connect: %s", strerror(error ? error : errno));
        if (fd >= 0) close(fd);
        return 0;
    }
    http_reader r;
    http_reader_init(&r, false, false);
    snprintf(last, sizeof last, "no answer");
    size_t size = strlen(request);
    http_result rc = send(fd, request, size, MSG_NOSIGNAL) == (ssize_t)size ? HTTP_MORE : HTTP_BAD;
    while (rc == HTTP_MORE && wait_for(fd, POLLIN, until)) {
        char in[16384];
        ssize_t got = recv(fd, in, sizeof in, 0);
        size_t used;
        if (got <= 0)
            rc = got == 0 ? http_reader_eof(&r) : HTTP_BAD;
        else
            rc = http_reader_feed(&r, in, (size_t)got, &used, NULL, NULL);
    }
    if (rc == HTTP_DONE) {
        status = r.status;
        snprintf(last, sizeof last, "status %d", status);
    }
    http_reader_free(&r);
    close(fd);
    return status;
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &port, 1, 65535, "port on 127.0.0.1"},
        {"path", OPT_STR, &path, 0, 0, "request target"},
        {"body", OPT_STR, &body, 0, 0, "JSON body: makes it a POST"},
        {"timeout-ms", OPT_INT, &timeout_ms, 1, 600000, "time to wait in all"},
        {"pause-ms", OPT_INT, &pause_ms, 0, 10000, "time between two tries"},
    };
    opts_parse(argc, argv, "waits for a 2xx answer", table, sizeof table / sizeof *table);
    if (port == 0) die("--port is needed");
    signal(SIGPIPE, SIG_IGN);
    char *request = NULL;
    int rc = body ? asprintf(&request,
                             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\nConnection: close\r\n"
                             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                             path, (long long)port, strlen(body), body)
                  : asprintf(&request,
                             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\nConnection: close\r\n\r\n",
                             path, (long long)port);
    if (rc < 0) die("out of memory");
    uint64_t start = now_us(), until = start + (uint64_t)timeout_ms * 1000;
    int status = 0;
    while (now_us() < until && (status < 200 || status > 299)) {
        status = ask(request, until);
        if (status < 200 || status > 299) poll(NULL, 0, (int)pause_ms);
    }
    free(request);
    if (status < 200 || status > 299) {
        fprintf(stderr, "http_wait: no 2xx from port %lld%s within %lld ms; %s\n", (long long)port,
                path, (long long)timeout_ms, last);
        return 1;
    }
    printf("%.1f\n", (double)(now_us() - start) / 1000);
    return 0;
}
