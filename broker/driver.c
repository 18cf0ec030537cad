/*  driver.c - the life of a broker: take the folder, prove the door is shut, open, serve, close.
 *
 *  The order of driver_new is part of its safety: the lock before any bind, the ZAP handler before
 *  any guarded socket, the probe before the real endpoints, and the pid file last. driver_free
 *  undoes it backwards, from wherever driver_new stopped. */
#include "driver_state.h"

#include "error.h"
#include "log.h"
#include "probe.h"
#include "uuid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { OPTION_ZERO_COPY_RECV = 10 }; /* in the library, but declared only for its draft API */

/* ---- control ---- */

static int on_command(void *arg, const control_command *c, sv_error *err)
{
    driver *d = arg;
    switch (c->verb) {
    case CONTROL_CHILD: {
        int rc = procs_announce(&d->procs, c->pid, c->service, c->instance);
        return rc ? sv_fail(err, rc, NULL, "More processes than the broker keeps in mind.") : 0;
    }
    case CONTROL_EXITED: driver_exited(d, c->pid); return 0;
    case CONTROL_SIGNER: {
        int rc = ticket_ring_add(d->tickets, c->key);
        return rc ? sv_fail(err, rc, "key", "The broker knows %d signers already.", TICKET_SIGNERS)
                  : 0;
    }
    }
    return sv_fail(err, SV_E_UNIMPLEMENTED, NULL, NULL);
}

static void on_supervisor_gone(void *arg)
{
    driver *d = arg;
    log_write(LOG_WARN, "the supervisor is gone: stopping");
    loop_stop(d->loop);
}

/* ---- sockets ---- */

static int open_port(driver *d, endpoint_kind kind, const char *secret, sv_error *err)
{
    port *p = &d->ports[kind];
    p->owner = d;
    p->index = (uint8_t)kind;
    int rc = endpoint_socket(d->zmq, kind, secret, &p->socket, err);
    if (rc) return rc;
    int fd = -1;
    size_t n = sizeof fd;
    if (zmq_getsockopt(p->socket, ZMQ_FD, &fd, &n))
        return sv_fail(err, SV_E_IO, NULL, "A bus socket has no descriptor: %s.",
                       zmq_strerror(errno));
    p->ready = true;
    rc = loop_fd_add(d->loop, fd, EPOLLIN, driver_socket_ready, p, &p->watch);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

static int bind_port(driver *d, endpoint_kind kind, const char *address, sv_error *err)
{
    if (d->n_bound == BOUND_MAX)
        return sv_fail(err, SV_E_CONFIG, "bus.listen", "More than %d endpoints.", BOUND_MAX);
    int rc = endpoint_bind(d->ports[kind].socket, kind, address, d->bound[d->n_bound], err);
    if (rc == 0)
        log_write(LOG_INFO, "listening", LOG_STR("endpoint", d->bound[d->n_bound++]),
                  LOG_STR("mechanism", kind == ENDPOINT_CURVE ? "CURVE" : "NULL"));
    return rc;
}

static int open_ports(driver *d, const driver_options *o, const char *secret, sv_error *err)
{
    char local[ENDPOINT_BYTES], curve[ENDPOINT_BYTES];
    snprintf(local, sizeof local, "ipc://%s/bus.ipc", o->run);
    snprintf(curve, sizeof curve, "ipc://%s/curve.ipc", o->run);
    int rc = open_port(d, ENDPOINT_LOCAL, NULL, err);
    if (rc == 0) rc = open_port(d, ENDPOINT_CURVE, secret, err);
    if (rc == 0) rc = bind_port(d, ENDPOINT_LOCAL, local, err);
    if (rc == 0) rc = bind_port(d, ENDPOINT_CURVE, curve, err);
    for (uint32_t i = 0; rc == 0 && i < o->n_listen; i++)
        rc = bind_port(d, ENDPOINT_CURVE, o->listen[i], err);
    if (rc == 0 && o->n_listen_null) rc = open_port(d, ENDPOINT_MEASURE, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < o->n_listen_null; i++) {
        rc = bind_port(d, ENDPOINT_MEASURE, o->listen_null[i], err);
        log_write(LOG_WARN, "an endpoint without identity is open: for measurements only");
    }
    return rc;
}

/* Every address is judged before anything is opened, so that a typo costs nothing. */
static int check_addresses(const driver_options *o, sv_error *err)
{
    char longest[4096];
    snprintf(longest, sizeof longest, "ipc://%s/curve.ipc", o->run);
    int rc = endpoint_check(ENDPOINT_LOCAL, longest, err);
    for (uint32_t i = 0; rc == 0 && i < o->n_listen; i++)
        rc = endpoint_check(ENDPOINT_CURVE, o->listen[i], err);
    for (uint32_t i = 0; rc == 0 && i < o->n_listen_null; i++)
        rc = endpoint_check(ENDPOINT_MEASURE, o->listen_null[i], err);
    return rc;
}

/* ---- life ---- */

static void second_passed(void *arg)
{
    driver *d = arg;
    driver_files_watch(d);
    loop_timer_set(d->loop, &d->second, SECOND_US, second_passed, d);
}

static int copy_options(driver *d, const driver_options *o, sv_error *err)
{
    size_t n = strlen(o->data) + sizeof "/policy.yaml";
    d->data = strdup(o->data);
    d->keys_folder = malloc(n);
    d->policy_file = o->policy_file ? strdup(o->policy_file) : malloc(n);
    if (d->data == NULL || d->keys_folder == NULL || d->policy_file == NULL)
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    snprintf(d->keys_folder, n, "%s/keys", o->data);
    if (o->policy_file == NULL) snprintf(d->policy_file, n, "%s/policy.yaml", o->data);
    d->policy_required = o->policy_file != NULL;
    d->defaults = o->defaults;
    return 0;
}

static int start_core(driver *d, const driver_options *o, policy *p, sv_error *err)
{
    char node[65] = "";
    (void)gethostname(node, sizeof node - 1);
    uint64_t seed, unix_us = loop_unix_us(d->loop);
    uuid_random(&seed, sizeof seed);
    d->now_us = clock_us();
    core_options c = {.node = node[0] ? node : "samovar",
                      .epoch = unix_us / 1000,
                      .seed = seed,
                      .limits = {.ping_ms = o->ping_ms, .lost_ms = o->lost_ms},
                      .policy = p,
                      .tickets = d->tickets,
                      .reload = driver_policy_reload,
                      .reload_arg = d,
                      .policy_file = d->policy_loaded.inode ? d->policy_file : NULL};
    d->core = core_new(&c, d->now_us, unix_us);
    return d->core ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

static int start_tickets(driver *d, const driver_options *o, sv_error *err)
{
    d->tickets = ticket_ring_new();
    if (d->tickets == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    for (uint32_t i = 0; i < o->n_signers; i++) {
        int rc = ticket_ring_add(d->tickets, o->signers[i]);
        if (rc) return sv_fail(err, rc, "signer", "The ticket signer's key cannot be used.");
    }
    return 0;
}

static int start_guard(driver *d, const driver_options *o, const char *secret, sv_error *err)
{
    /* libzmq counts connections from rand(), which it does not seed. A peer that foretells a number
     * can take it for its routing id, and libzmq 4.3.4 aborts when the count arrives there. */
    unsigned seed;
    uuid_random(&seed, sizeof seed);
    srand(seed);
    d->zmq = zmq_ctx_new();
    if (d->zmq == NULL)
        return sv_fail(err, SV_E_IO, NULL, "libzmq cannot start: %s.", zmq_strerror(errno));
    /* A received message shares an 8 KiB block with what else came in the same read, so one that
     * waits in a queue would hold all of it, many times what is counted for it. This copies
     * instead. */
    if (zmq_ctx_set(d->zmq, OPTION_ZERO_COPY_RECV, 0))
        log_write(LOG_WARN, "libzmq does not copy what it receives: queues take more memory");
    int rc = zap_start(d->zmq, geteuid(), &d->zap, err);
    if (rc == 0) rc = probe_run(d->zmq, d->zap, o->run, secret, d->public_key, err);
    if (rc == 0) rc = driver_keys_load(d, err);
    return rc;
}

/* Files other processes look for: written when there is somebody to talk to. */
static int publish(driver *d, const driver_options *o, sv_error *err)
{
    char path[4096], pid[32];
    keyfile k = {0};
    snprintf(path, sizeof path, "%s/bus.key", o->run);
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    int rc = keyfile_new("broker", d->public_key, NULL, &k, err);
    if (rc == 0) rc = keyfile_write(&k, path, false, err);
    return rc ? rc : run_folder_write(d->folder, "broker.pid", pid, err);
}

static int start(driver *d, const driver_options *o, sv_error *err)
{
    static const control_events events = {on_command, on_supervisor_gone};
    char secret[KEYFILE_Z85 + 1] = "";
    policy *p = NULL;
    int rc = check_addresses(o, err);
    if (rc == 0) rc = copy_options(d, o, err);
    if (rc == 0) rc = driver_policy_load(d, &p, err);
    if (rc == 0) rc = start_tickets(d, o, err);
    if (rc == 0) rc = run_folder_take(o->run, &d->folder, err);
    if (rc == 0) rc = folder_make(d->keys_folder, 0700, err);
    if (rc == 0) rc = driver_key_own(d, secret, err);
    if (rc == 0) rc = start_core(d, o, p, err);
    if (rc) policy_unref(p);
    if (rc == 0) rc = start_guard(d, o, secret, err);
    if (rc == 0) rc = open_ports(d, o, secret, err);
    explicit_bzero(secret, sizeof secret);
    if (rc == 0 && (rc = loop_hook_add(d->loop, driver_turn, d))) sv_fail(err, rc, NULL, NULL);
    if (rc == 0) rc = publish(d, o, err);
    if (rc == 0 && o->control_fd >= 0)
        rc = control_open(d->loop, o->control_fd, &events, d, &d->control, err);
    if (rc == 0 && (rc = loop_timer_set(d->loop, &d->second, SECOND_US, second_passed, d)))
        sv_fail(err, rc, NULL, NULL);
    return rc;
}

int driver_new(loop *l, const driver_options *o, driver **ret, sv_error *err)
{
    driver *d = calloc(1, sizeof *d);
    if (d == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    d->loop = l;
    d->tick_us = UINT64_MAX;
    procs_init(&d->procs, l, driver_exited, d);
    int rc = start(d, o, err);
    if (rc) {
        driver_free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

static void say_goodbye(driver *d)
{
    for (conn *c = d->conns.known.first; c; c = c->next) {
        uint8_t rid[5];
        driver_rid(c, rid);
        driver_goodbye(d, &d->ports[c->port], (sv_str){(const char *)rid, sizeof rid},
                       SV_E_DRAINING, "The broker is stopping.");
    }
}

static void close_ports(driver *d)
{
    for (int i = 0; i < PORTS; i++) {
        loop_fd_del(d->ports[i].watch);
        if (d->ports[i].socket) zmq_close(d->ports[i].socket);
        d->ports[i] = (port){0};
    }
}

static void drop_later(later_list *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        frames_unref(l->items[i].frames);
    free(l->items);
    *l = (later_list){0};
}

void driver_free(driver *d)
{
    if (d == NULL) return;
    d->stopping = true;
    say_goodbye(d);
    loop_hook_del(d->loop, driver_turn, d);
    loop_timer_stop(d->loop, &d->second);
    loop_timer_stop(d->loop, &d->tick);
    control_close(d->control);
    core_free(d->core);
    drop_later(&d->unsent);
    drop_later(&d->ended);
    drop_later(&d->blocked);
    drop_later(&d->blocked_spare);
    close_ports(d);
    zap_stop(d->zap);
    if (d->zmq)
        while (zmq_ctx_term(d->zmq) && errno == EINTR) {
        }
    conns_free(&d->conns);
    procs_free(&d->procs);
    policy_unref(d->next_policy);
    ticket_ring_free(d->tickets);
    driver_pool_free(d);
    run_folder_release(d->folder);
    free(d->data);
    free(d->keys_folder);
    free(d->policy_file);
    free(d);
}

void driver_reload(driver *d)
{
    sv_error e = {0};
    if (driver_keys_load(d, &e)) log_write(LOG_ERROR, "keys not read", LOG_ERR(&e));
    driver_policy_reload(d, NULL);
}

const core_stats *driver_stats(const driver *d)
{
    return core_get_stats(d->core);
}

const char *driver_endpoint(const driver *d, uint32_t i)
{
    return i < d->n_bound ? d->bound[i] : NULL;
}

const char *driver_public_key(const driver *d)
{
    return d->public_key;
}

uint32_t driver_messages(const driver *d)
{
    return d->n_messages;
}
