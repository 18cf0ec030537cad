/*  probe.c - two private endpoints, three clients, one monitor.
 *
 *  Passed when the known client's message arrived as "key:probe", the local one's as "pid:" and our
 *  own number, and libzmq reported that a handshake was refused with status 400. Anything that the
 *  stranger sent and that arrives, or a name that is wrong, fails at once; silence fails after
 *  PROBE_MS. */
#include "probe.h"

#include "endpoint.h"
#include "error.h"
#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#define MONITOR "inproc://samovar.probe"

enum { REFUSED = 400, SOCKETS = 6 };

typedef struct probe {
    void *zmq;
    void *curve, *local, *monitor;    /* the broker's side */
    void *stranger, *known, *process; /* the clients */
    bool refused, admitted, recognised;
    sv_error *err;
} probe;

static int wrong(probe *p, const char *words)
{
    return sv_fail(p->err, SV_E_INTERNAL, NULL,
                   "The start-up check of the bus's identities failed: %s. Not serving.", words);
}

static void *client(probe *p, const keyfile *key, const char *server_key, const char *address,
                    const char *word)
{
    void *s = zmq_socket(p->zmq, ZMQ_DEALER);
    if (s == NULL) return NULL;
    int zero = 0;
    size_t n = KEYFILE_Z85 + 1;
    bool ok = zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero) == 0;
    if (ok && key)
        ok = zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, key->public_key, n) == 0 &&
             zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, key->secret, n) == 0 &&
             zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server_key, n) == 0;
    if (ok && zmq_connect(s, address) == 0 && zmq_send(s, word, strlen(word), ZMQ_DONTWAIT) >= 0)
        return s;
    zmq_close(s);
    return NULL;
}

static int make_key(const char *name, keyfile *ret)
{
    char public_key[KEYFILE_Z85 + 1], secret[KEYFILE_Z85 + 1];
    int rc = zmq_curve_keypair(public_key, secret)
                 ? SV_E_IO
                 : keyfile_new(name, public_key, secret, ret, NULL);
    explicit_bzero(secret, sizeof secret);
    return rc;
}

static int set_up(probe *p, zap *z, const char *folder, const char *secret, const char *public_key)
{
    char curve[ENDPOINT_BYTES], local[ENDPOINT_BYTES], bound[ENDPOINT_BYTES];
    snprintf(curve, sizeof curve, "ipc://%s/probe.ipc", folder);
    snprintf(local, sizeof local, "ipc://%s/check.ipc", folder);
    int rc = endpoint_socket(p->zmq, ENDPOINT_CURVE, secret, &p->curve, p->err);
    if (rc == 0) rc = endpoint_socket(p->zmq, ENDPOINT_LOCAL, NULL, &p->local, p->err);
    if (rc) return rc;
    if (zmq_socket_monitor(p->curve, MONITOR, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) ||
        (p->monitor = zmq_socket(p->zmq, ZMQ_PAIR)) == NULL || zmq_connect(p->monitor, MONITOR))
        return wrong(p, zmq_strerror(errno));
    rc = endpoint_bind(p->curve, ENDPOINT_CURVE, curve, bound, p->err);
    if (rc == 0) rc = endpoint_bind(p->local, ENDPOINT_LOCAL, local, bound, p->err);
    if (rc) return rc;
    keyfile known = {0}, stranger = {0};
    if (make_key("probe", &known) || make_key("stranger", &stranger))
        rc = wrong(p, "libzmq makes no CURVE keys");
    else if (z && zap_admit(z, &known))
        rc = wrong(p, "the key table takes no key");
    if (rc == 0) {
        p->stranger = client(p, &stranger, public_key, curve, "stranger");
        p->known = client(p, &known, public_key, curve, "known");
        p->process = client(p, NULL, NULL, local, "process");
        if (p->stranger == NULL || p->known == NULL || p->process == NULL)
            rc = wrong(p, "the check's own clients cannot connect");
    }
    keyfile_clear(&known);
    keyfile_clear(&stranger);
    return rc;
}

/* One message of a client, if there is one: routing id, then a word. */
static int take(probe *p, void *socket, const char *word, const char *user, bool *seen)
{
    zmq_msg_t m;
    int rc = 0;
    zmq_msg_init(&m);
    while (rc == 0 && zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) >= 0) {
        if (zmq_msg_more(&m)) continue;
        const char *name = zmq_msg_gets(&m, "User-Id");
        if (zmq_msg_size(&m) != strlen(word) || memcmp(zmq_msg_data(&m), word, strlen(word)) != 0)
            rc = wrong(p, "a stranger's key was admitted");
        else if (name == NULL || strcmp(name, user) != 0)
            rc = wrong(p, "a connection got the wrong name");
        else
            *seen = true;
    }
    zmq_msg_close(&m);
    return rc;
}

/* A monitor event: 16 bits of number, 32 bits of value; then the address. */
static void take_event(probe *p)
{
    zmq_msg_t m;
    zmq_msg_init(&m);
    while (zmq_msg_recv(&m, p->monitor, ZMQ_DONTWAIT) >= 0) {
        if (!zmq_msg_more(&m) || zmq_msg_size(&m) != 6) continue;
        uint16_t event;
        uint32_t value;
        memcpy(&event, zmq_msg_data(&m), sizeof event);
        memcpy(&value, (char *)zmq_msg_data(&m) + 2, sizeof value);
        p->refused |= event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && value == REFUSED;
    }
    zmq_msg_close(&m);
}

static int watch(probe *p)
{
    char self[32];
    snprintf(self, sizeof self, "pid:%ld", (long)getpid());
    zmq_pollitem_t items[] = {
        {p->curve, 0, ZMQ_POLLIN, 0}, {p->local, 0, ZMQ_POLLIN, 0}, {p->monitor, 0, ZMQ_POLLIN, 0}};
    uint64_t end_us = clock_us() + PROBE_MS * 1000u;
    while (!p->refused || !p->admitted || !p->recognised) {
        uint64_t now_us = clock_us();
        if (now_us >= end_us) break;
        if (zmq_poll(items, 3, (long)((end_us - now_us) / 1000 + 1)) < 0 && errno != EINTR)
            return wrong(p, zmq_strerror(errno));
        int rc = take(p, p->curve, "known", "key:probe", &p->admitted);
        if (rc == 0) rc = take(p, p->local, "process", self, &p->recognised);
        if (rc) return rc;
        take_event(p);
    }
    if (!p->refused) return wrong(p, "a stranger's key was not refused");
    if (!p->admitted) return wrong(p, "a known key was not admitted");
    if (!p->recognised) return wrong(p, "a process of the same user was not recognised");
    return 0;
}

int probe_run(void *zmq, zap *z, const char *folder, const char *secret, const char *public_key,
              sv_error *err)
{
    probe p = {.zmq = zmq, .err = err};
    if (z) zap_quiet(z, true);
    int rc = set_up(&p, z, folder, secret, public_key);
    if (rc == 0) rc = watch(&p);
    void *sockets[SOCKETS] = {p.stranger, p.known, p.process, p.curve, p.local, p.monitor};
    int zero = 0;
    if (p.curve) zmq_socket_monitor(p.curve, NULL, 0);
    for (size_t i = 0; i < SOCKETS; i++) {
        if (sockets[i] == NULL) continue;
        zmq_setsockopt(sockets[i], ZMQ_LINGER, &zero, sizeof zero);
        zmq_close(sockets[i]);
    }
    if (z) zap_quiet(z, false);
    return rc;
}
