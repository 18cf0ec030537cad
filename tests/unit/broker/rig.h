/*  rig.h - a real broker on real sockets in a thread, and peers to talk to it: DEALERs of this
 *  process. One rig a test; teardown closes what a failed test left open. */
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include "harness.h"

/* A real broker on real sockets, in a thread; peers are DEALERs of this process, or of a forked
 * one. */
#include "driver.h"
#include "error.h"
#include "keyfile.h"
#include "log.h"
#include "loop.h"
#include "message.h"
#include "uuid.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

enum { PATIENCE_MS = 10000 };

typedef struct rig {
    char folder[64], run[96], keys[96];
    void *zmq;
    loop *loop;
    driver *driver;
    pthread_t thread;
    core_stats stats; /* after stop */
    uint32_t messages;
    driver_options options;
} rig;

/* ---- the broker ---- */

/* The decoder keeps its memory per thread and gives it back after a large body: this thread ends.
 */
static inline void drop_decoder_memory(void)
{
    enum { LARGE = 20000 };
    char *body = calloc(1, LARGE);
    arena a;
    error_body b;
    arena_init(&a, 65536);
    memcpy(body, "\x81\xa1x\xda\x4e\x1a", 6); /* {"x": text of 19994 bytes} */
    memset(body + 6, 'x', LARGE - 6);
    (void)message_decode(&error_body_msg, (sv_str){body, LARGE}, MESSAGE_LENIENT, &a, &b, NULL);
    arena_free(&a);
    free(body);
}

static inline void *serve(void *arg)
{
    rig *r = arg;
    assert_int_equal(loop_run(r->loop, NULL), 0);
    drop_decoder_memory();
    return NULL;
}

static inline int setup(void **state)
{
    rig *r = calloc(1, sizeof *r);
    strcpy(r->folder, "/tmp/samovar-driver-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->run, sizeof r->run, "%s/run", r->folder);
    snprintf(r->keys, sizeof r->keys, "%s/keys", r->folder);
    assert_int_equal(mkdir(r->keys, 0700), 0);
    r->options = (driver_options){.run = r->run,
                                  .data = r->folder,
                                  .control_fd = -1,
                                  /* a test's thread is not always there to answer a PING */
                                  .lost_ms = 120000,
                                  .defaults = {.queue_messages = 10000,
                                               .queue_bytes = 64 << 20,
                                               .queue_ms = 10000,
                                               .eject_failures = 7,
                                               .eject_base_ms = 1000,
                                               .eject_max_ms = 60000}};
    *state = r;
    return 0;
}

static inline void start(rig *r)
{
    sv_error e = {0};
    r->loop = loop_new(&e);
    assert_non_null(r->loop);
    int rc = driver_new(r->loop, &r->options, &r->driver, &e);
    if (rc) fail_msg("driver_new: %s", e.message);
    assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
    r->zmq = zmq_ctx_new();
}

static inline void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Stops the broker and keeps what it counted. The test's sockets may still be open. */
static inline void stop(rig *r)
{
    if (r->loop == NULL) return;
    loop_post(r->loop, stop_loop, r->loop);
    pthread_join(r->thread, NULL);
    r->stats = *driver_stats(r->driver);
    r->messages = driver_messages(r->driver);
    driver_free(r->driver);
    loop_free(r->loop);
    r->loop = NULL;
}

/* Sockets of the running test: a test that fails leaves them to teardown. */
static void *open_sockets[1024];
static size_t n_open;

static inline void *opened(void *s)
{
    assert_non_null(s);
    assert_true(n_open < 1024);
    return open_sockets[n_open++] = s;
}

static inline void close_socket(void *s)
{
    for (size_t i = 0; i < n_open; i++)
        if (open_sockets[i] == s) open_sockets[i] = open_sockets[--n_open];
    zmq_close(s);
}

static inline int teardown(void **state)
{
    rig *r = *state;
    char rm[128];
    while (n_open)
        close_socket(open_sockets[0]);
    stop(r);
    if (r->zmq) zmq_ctx_term(r->zmq);
    snprintf(rm, sizeof rm, "rm -rf %s", r->folder);
    free(r);
    return system(rm) ? -1 : 0;
}

/* ---- a peer ---- */

typedef struct peer_end {
    void *s;
} peer_end;

typedef struct got {
    envelope env;
    char header[LIMIT_HEADER_BYTES], body[LIMIT_MESSAGE_BYTES];
    uint32_t body_n;
} got;

static inline void make_key(rig *r, const char *name, bool admitted, keyfile *k)
{
    char p[41], s[41], path[256];
    assert_int_equal(zmq_curve_keypair(p, s), 0);
    assert_int_equal(keyfile_new(name, p, s, k, NULL), 0);
    snprintf(path, sizeof path, "%s/%s.pub", r->keys, name);
    if (admitted) assert_int_equal(keyfile_write(k, path, false, NULL), 0);
}

static inline void *dealer(void *zmq, const char *address, const keyfile *k, const char *server_key)
{
    void *s = opened(zmq_socket(zmq, ZMQ_DEALER));
    int zero = 0;
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_SNDHWM, &zero, sizeof zero);
    if (k) {
        assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, k->public_key, 41), 0);
        assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, k->secret, 41), 0);
        assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server_key, 41), 0);
    }
    assert_int_equal(zmq_connect(s, address), 0);
    return s;
}

static inline void *local(rig *r)
{
    return dealer(r->zmq, driver_endpoint(r->driver, 0), NULL, NULL);
}

static inline void *curve(rig *r, const keyfile *k)
{
    return dealer(r->zmq, driver_endpoint(r->driver, 1), k, driver_public_key(r->driver));
}

static inline void send_raw(void *s, const envelope *e, const void *body, size_t n)
{
    char header[LIMIT_HEADER_BYTES];
    size_t size = envelope_size(e);
    assert_true(size > 0);
    envelope_write(e, header);
    assert_true(zmq_send(s, header, size, body ? ZMQ_SNDMORE : 0) >= 0);
    if (body) assert_true(zmq_send(s, body, n, 0) >= 0);
}

static inline void hello(void *s, const char *service, uint32_t instance, uint32_t slots)
{
    bus_method methods[] = {{.name = sv_cstr("say")}, {.name = sv_cstr("ask"), .idempotent = true}};
    bus_hello h = {.service = sv_cstr(service),
                   .instance = instance,
                   .epoch = 1,
                   .version = sv_cstr("1"),
                   .slots = slots};
    if (slots) h.methods = (sv_list){methods, 2};
    buf b;
    buf_init(&b, 4096);
    assert_int_equal(message_encode(&bus_hello_msg, &h, &b), 0);
    send_raw(s, &(envelope){.kind = SV_HELLO, .id = uuid_new(), .ttl_ms = 1000}, b.p, b.n);
    buf_free(&b);
}

/* The next message that is no PING, which is answered; false when `wait_ms` passed. */
static inline bool receive(void *s, int wait_ms, got *g)
{
    uint64_t end_us = clock_us() + (uint64_t)wait_ms * 1000;
    for (;;) {
        uint64_t now_us = clock_us();
        zmq_pollitem_t item = {s, 0, ZMQ_POLLIN, 0};
        if (zmq_poll(&item, 1, now_us < end_us ? (long)((end_us - now_us) / 1000 + 1) : 0) < 1) {
            if (clock_us() >= end_us) return false;
            continue;
        }
        int n = zmq_recv(s, g->header, sizeof g->header, 0), more = 0;
        size_t len = sizeof more;
        assert_true(n > 0);
        g->body_n = 0;
        zmq_getsockopt(s, ZMQ_RCVMORE, &more, &len);
        while (more) {
            int b = zmq_recv(s, g->body, sizeof g->body, 0);
            assert_true(b >= 0);
            g->body_n = (uint32_t)b;
            zmq_getsockopt(s, ZMQ_RCVMORE, &more, &len);
        }
        assert_int_equal(envelope_decode(g->header, (size_t)n, &g->env, NULL), 0);
        if (g->env.kind != SV_PING) return true;
        send_raw(s, &(envelope){.kind = SV_PONG, .id = g->env.id, .ttl_ms = 1000}, NULL, 0);
    }
}

static inline void expect(void *s, sv_kind kind, got *g)
{
    if (!receive(s, PATIENCE_MS, g)) fail_msg("no %s came", envelope_kind_name((uint8_t)kind));
    if (g->env.kind != kind)
        fail_msg("%s came, wanted %s: %.*s", envelope_kind_name(g->env.kind),
                 envelope_kind_name((uint8_t)kind), (int)g->body_n, g->body);
}

static inline void expect_error(const got *g, const char *code)
{
    arena a;
    error_body b;
    sv_error e = {0};
    arena_init(&a, 65536);
    assert_int_equal(
        message_decode(&error_body_msg, (sv_str){g->body, g->body_n}, MESSAGE_LENIENT, &a, &b, &e),
        0);
    if (!sv_str_is(b.code, code)) fail_msg("%.*s, wanted %s", SV_FMT(b.code), code);
    arena_free(&a);
}

static inline void welcome(void *s, const char *service, uint32_t slots, got *g)
{
    hello(s, service, 0, slots);
    expect(s, SV_WELCOME, g);
}

static inline sv_id call(void *s, const char *target, const char *claimed, const void *body,
                         size_t n)
{
    envelope e = {.kind = SV_REQUEST,
                  .id = uuid_new(),
                  .ttl_ms = 60000,
                  .credit_items = 64,
                  .credit_bytes = 1 << 20,
                  .target = sv_cstr(target)};
    if (claimed) snprintf(e.sender, sizeof e.sender, "%s", claimed);
    send_raw(s, &e, body, n);
    return e.id;
}

static inline void reply(void *s, const got *g)
{
    send_raw(s, &(envelope){.kind = SV_REPLY, .id = g->env.id, .ttl_ms = 1000}, g->body, g->body_n);
}

#endif
