/*  control.c - packets keep their borders, so a packet is one command and nothing is buffered. */
#include "control.h"

#include "envelope.h"
#include "error.h"
#include "log.h"
#include "uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PID_MOST = 4194304 }; /* PID_MAX_LIMIT of the kernel */

struct control {
    int fd;
    loop_fd *watch;
    const control_events *events;
    void *arg;
};

/* Cuts the next word; words are separated by exactly one blank. */
static sv_str next_word(sv_str *rest)
{
    const char *blank = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
    uint32_t n = blank ? (uint32_t)(blank - rest->p) : rest->n;
    sv_str word = {rest->p, n};
    uint32_t skip = blank ? n + 1 : n;
    rest->p += skip;
    rest->n -= skip;
    return word;
}

static bool number(sv_str word, uint32_t most, uint32_t *ret)
{
    uint64_t v = 0;
    if (word.n == 0 || word.n > 10) return false;
    for (uint32_t i = 0; i < word.n; i++) {
        if (word.p[i] < '0' || word.p[i] > '9') return false;
        v = v * 10 + (uint64_t)(word.p[i] - '0');
    }
    if (v > most) return false;
    *ret = (uint32_t)v;
    return true;
}

static int parse_child(sv_str rest, control_command *ret, sv_error *err)
{
    sv_str pid = next_word(&rest), service = next_word(&rest), instance = next_word(&rest);
    if (!number(pid, PID_MOST, &ret->pid) || ret->pid == 0)
        return sv_fail(err, SV_E_INVALID, "pid", "child: PID must be 1 to %d.", PID_MOST);
    if (!envelope_name_ok(service) || sv_str_is(service, "bus") || sv_str_is(service, "operator"))
        return sv_fail(err, SV_E_INVALID, "service",
                       "child: SERVICE is not a name that may serve.");
    if (!number(instance, UINT32_MAX, &ret->instance))
        return sv_fail(err, SV_E_INVALID, "instance", "child: INSTANCE must be a number.");
    if (rest.n) return sv_fail(err, SV_E_INVALID, "", "child: nothing follows INSTANCE.");
    memcpy(ret->service, service.p, service.n);
    ret->verb = CONTROL_CHILD;
    return 0;
}

int control_parse(sv_str packet, control_command *ret, sv_error *err)
{
    control_command c = {0};
    if (packet.n && packet.p[packet.n - 1] == '\n') packet.n--;
    sv_str verb = next_word(&packet);
    int rc = 0;
    if (sv_str_is(verb, "child")) {
        rc = parse_child(packet, &c, err);
    } else if (sv_str_is(verb, "exited")) {
        c.verb = CONTROL_EXITED;
        if (!number(packet, PID_MOST, &c.pid) || c.pid == 0)
            rc = sv_fail(err, SV_E_INVALID, "pid", "exited: PID must be 1 to %d.", PID_MOST);
    } else if (sv_str_is(verb, "signer")) {
        c.verb = CONTROL_SIGNER;
        if (hex_parse(packet, c.key, sizeof c.key))
            rc = sv_fail(err, SV_E_INVALID, "key", "signer: the key must be 64 hex digits.");
    } else {
        rc = sv_fail(err, SV_E_INVALID, "",
                     "Not known; allowed: child PID SERVICE INSTANCE, exited PID, signer HEX64.");
    }
    if (rc == 0) *ret = c;
    return rc;
}

static void answer(control *c, const sv_error *e)
{
    char text[sizeof e->message + 8] = "ok";
    int n = 2;
    if (e->code)
        n = snprintf(text, sizeof text, "error %s",
                     e->message[0] ? e->message : sv_error_lookup(e->code)->text);
    if (send(c->fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE)
        log_write(LOG_ERROR, "the supervisor does not take an answer",
                  LOG_STR("reason", strerror(errno)));
}

static void receive(void *arg, int fd, uint32_t events)
{
    (void)events;
    control *c = arg;
    for (int i = 0; i < CONTROL_TURN; i++) {
        char packet[CONTROL_BYTES + 1];
        ssize_t n = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            loop_fd_del(c->watch);
            c->watch = NULL;
            c->events->gone(c->arg);
            return;
        }
        control_command command;
        sv_error e = {0};
        int rc = n > CONTROL_BYTES
                     ? sv_fail(&e, SV_E_TOO_LARGE, "", "The line is over %d bytes.", CONTROL_BYTES)
                     : control_parse((sv_str){packet, (uint32_t)n}, &command, &e);
        if (rc == 0) rc = c->events->command(c->arg, &command, &e);
        if (rc) {
            e.code = rc;
            log_write(LOG_ERROR, "control command refused", LOG_ERR(&e));
        }
        answer(c, &e);
    }
}

int control_open(loop *l, int fd, const control_events *ev, void *arg, control **ret, sv_error *err)
{
    int type = 0;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET)
        return sv_fail(err, SV_E_CONFIG, "SAMOVAR_CONTROL_FD",
                       "SAMOVAR_CONTROL_FD=%d is not an open SOCK_SEQPACKET socket.", fd);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    control *c = calloc(1, sizeof *c);
    if (c == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    *c = (control){.fd = fd, .events = ev, .arg = arg};
    int rc = loop_fd_add(l, fd, EPOLLIN, receive, c, &c->watch);
    if (rc) {
        free(c);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = c;
    return 0;
}

void control_close(control *c)
{
    if (c == NULL) return;
    if (c->watch) loop_fd_del(c->watch);
    close(c->fd);
    free(c);
}
