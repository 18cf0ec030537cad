/*  endpoint.c - options before bind, addresses before options. */
#include "endpoint.h"

#include "error.h"
#include "sv_limits.h"
#include "zap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

static const char *setting_of(endpoint_kind kind)
{
    static const char *const names[] = {"run", "bus.listen", "bus.listen_null"};
    return names[kind];
}

static bool set_int(void *s, int option, int value)
{
    return zmq_setsockopt(s, option, &value, sizeof value) == 0;
}

static bool set_options(void *s, endpoint_kind kind, const char *secret)
{
    int64_t most = LIMIT_MESSAGE_BYTES;
    bool ok = set_int(s, ZMQ_ROUTER_MANDATORY, 1) && set_int(s, ZMQ_ROUTER_HANDOVER, 0) &&
              zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0 &&
              set_int(s, ZMQ_BACKLOG, ENDPOINT_BACKLOG) &&
              set_int(s, ZMQ_HANDSHAKE_IVL, ENDPOINT_HANDSHAKE_MS) &&
              set_int(s, ZMQ_LINGER, ENDPOINT_LINGER_MS) && set_int(s, ZMQ_SNDHWM, ENDPOINT_HWM) &&
              set_int(s, ZMQ_RCVHWM, ENDPOINT_HWM) &&
              zap_protect(s, kind == ENDPOINT_MEASURE ? ZAP_DOMAIN_NULL : ZAP_DOMAIN) == 0;
    if (ok && kind != ENDPOINT_LOCAL)
        ok = set_int(s, ZMQ_IPV6, 1) && set_int(s, ZMQ_HEARTBEAT_IVL, ENDPOINT_HEARTBEAT_MS) &&
             set_int(s, ZMQ_HEARTBEAT_TIMEOUT, 3 * ENDPOINT_HEARTBEAT_MS);
    if (ok && kind == ENDPOINT_CURVE)
        ok = set_int(s, ZMQ_CURVE_SERVER, 1) &&
             zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, secret, KEYFILE_Z85 + 1) == 0;
    return ok;
}

int endpoint_socket(void *zmq_context, endpoint_kind kind, const char *secret, void **ret,
                    sv_error *err)
{
    void *s = zmq_socket(zmq_context, ZMQ_ROUTER);
    if (s == NULL)
        return sv_fail(err, SV_E_IO, NULL, "A bus socket cannot be made: %s.", zmq_strerror(errno));
    if (!set_options(s, kind, secret)) {
        int rc = sv_fail(err, SV_E_IO, NULL, "A bus socket does not take its options: %s.",
                         zmq_strerror(errno));
        zmq_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

/* ---- addresses ---- */

/* "tcp://HOST:PORT" taken apart; an IPv6 HOST stands in brackets, which are left out. */
static bool split_tcp(const char *address, char host[64], bool *bracket)
{
    if (strncmp(address, "tcp://", 6) != 0) return false;
    const char *at = address + 6;
    *bracket = *at == '[';
    const char *end = *bracket ? strchr(++at, ']') : strchr(at, ':');
    if (end == NULL || end == at || end - at >= 64) return false;
    memcpy(host, at, (size_t)(end - at));
    host[end - at] = 0;
    const char *port = end + (*bracket ? 1 : 0);
    if (*port++ != ':') return false;
    if (strcmp(port, "*") == 0) return true;
    size_t digits = strspn(port, "0123456789");
    return digits > 0 && digits <= 5 && port[digits] == 0 && atoi(port) > 0 && atoi(port) <= 65535;
}

static bool loopback(const char *host, bool bracket)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (bracket) return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static int check_ipc(endpoint_kind kind, const char *path, sv_error *err)
{
    struct sockaddr_un un;
    if (path[0] != '/')
        return sv_fail(err, SV_E_CONFIG, setting_of(kind),
                       "ipc://%.120s: the path must be absolute.", path);
    if (strlen(path) < sizeof un.sun_path - 1) return 0;
    if (kind == ENDPOINT_LOCAL)
        return sv_fail(err, SV_E_CONFIG, "run",
                       "The socket path %.60s... has %zu bytes and the system allows %zu; set "
                       "SAMOVAR_RUN to a shorter folder, e.g. /tmp/samovar.",
                       path, strlen(path), sizeof un.sun_path - 2);
    return sv_fail(err, SV_E_CONFIG, setting_of(kind),
                   "The socket path %.60s... has %zu bytes and the system allows %zu; choose a "
                   "shorter one.",
                   path, strlen(path), sizeof un.sun_path - 2);
}

int endpoint_check(endpoint_kind kind, const char *address, sv_error *err)
{
    char host[64];
    bool bracket;
    if (strncmp(address, "ipc://", 6) == 0 && kind != ENDPOINT_MEASURE)
        return check_ipc(kind, address + 6, err);
    bool tcp = split_tcp(address, host, &bracket);
    if (kind == ENDPOINT_MEASURE) {
        if (tcp && loopback(host, bracket)) return 0;
        return sv_fail(err, SV_E_CONFIG, setting_of(kind),
                       "%.100s is not allowed: without encryption or identity the bus listens only "
                       "on loopback, e.g. tcp://127.0.0.1:7422.",
                       address);
    }
    if (tcp && kind == ENDPOINT_CURVE) return 0;
    return sv_fail(err, SV_E_CONFIG, setting_of(kind),
                   "%.100s is not an address; allowed: tcp://HOST:PORT or ipc:///PATH.", address);
}

/* libzmq removes whatever is at an ipc path before it binds, so a living owner must be found first.
 */
static bool served(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    memcpy(un.sun_path, path, strlen(path) + 1); /* endpoint_check saw that it fits */
    bool yes = connect(fd, (const struct sockaddr *)&un, sizeof un) == 0 || errno == EAGAIN;
    close(fd);
    return yes;
}

int endpoint_bind(void *socket, endpoint_kind kind, const char *address, char bound[ENDPOINT_BYTES],
                  sv_error *err)
{
    int rc = endpoint_check(kind, address, err);
    if (rc) return rc;
    bool ipc = address[0] == 'i';
    if (ipc && served(address + 6))
        return sv_fail(err, SV_E_CONFLICT, setting_of(kind),
                       "%.120s is served by another process already.", address);
    if (zmq_bind(socket, address))
        return sv_fail(err, errno == EADDRINUSE ? SV_E_CONFLICT : SV_E_IO, setting_of(kind),
                       "The bus cannot listen on %.120s: %s.", address, zmq_strerror(errno));
    if (ipc && chmod(address + 6, 0600))
        return sv_fail(err, SV_E_IO, setting_of(kind), "Cannot restrict %.120s: %s.", address,
                       strerror(errno));
    size_t n = ENDPOINT_BYTES;
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &n))
        snprintf(bound, ENDPOINT_BYTES, "%s", address);
    return 0;
}
