/*  bus_peer.c - requests are numbered in the last seven bytes of their id, which index the
 *  table of start times. */
#include "bus_peer.h"

#include "arena.h"
#include "envelope.h"
#include "error.h"
#include "message.h"
#include "net.h"
#include "opts.h"
#include "proc.h"
#include "uuid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

enum { SLOTS = 65536, DRAIN = 256, SILENCE_US = 3000000, TTL_MS = 10000 };

static bool send_message(peer *p, const envelope *e, zmq_msg_t *body)
{
    size_t n = envelope_size(e);
    zmq_msg_t header;
    zmq_msg_init_size(&header, n);
    envelope_write(e, zmq_msg_data(&header));
    if (zmq_msg_send(&header, p->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&header);
        return false;
    }
    return zmq_msg_send(body, p->socket, ZMQ_DONTWAIT) >= 0;
}

/* 1: a message, 0: none there, -1: not understood. The caller closes both frames. */
static int receive(peer *p, envelope *e, zmq_msg_t *header, zmq_msg_t *body)
{
    if (zmq_msg_recv(header, p->socket, ZMQ_DONTWAIT) < 0) return 0;
    bool more = zmq_msg_more(header);
    while (more && zmq_msg_recv(body, p->socket, ZMQ_DONTWAIT) >= 0)
        more = zmq_msg_more(body);
    return envelope_decode(zmq_msg_data(header), zmq_msg_size(header), e, NULL) ? -1 : 1;
}

static void wait_readable(peer *p, long ms)
{
    zmq_pollitem_t item = {p->socket, 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, ms);
}

static void empty_message(zmq_msg_t *m)
{
    static const char map = (char)0x80;
    zmq_msg_init_size(m, 1);
    memcpy(zmq_msg_data(m), &map, 1);
}

static void say_hello(peer *p, bool worker)
{
    bus_method echo = {.name = sv_cstr("echo"), .doc = sv_cstr("sends the body back")};
    bus_hello h = {.service = sv_cstr(p->service),
                   .instance = 1,
                   .epoch = (int64_t)p->epoch,
                   .version = sv_cstr("bench"),
                   .slots = worker ? LIMIT_SLOTS : 0,
                   .pid = getpid()};
    if (worker) h.methods = (sv_list){&echo, 1};
    buf out;
    buf_init(&out, 4096);
    if (message_encode(&bus_hello_msg, &h, &out)) die("cannot encode HELLO");
    envelope e = {.kind = SV_HELLO, .attempt = 1, .ttl_ms = TTL_MS, .id = uuid_new()};
    zmq_msg_t body;
    zmq_msg_init_size(&body, out.n);
    memcpy(zmq_msg_data(&body), out.p, out.n);
    if (!send_message(p, &e, &body)) zmq_msg_close(&body);
    buf_free(&out);
}

/* Words of an error body, for the report. */
static void error_words(const zmq_msg_t *body, char *to, size_t cap)
{
    sv_str bytes = {zmq_msg_data((zmq_msg_t *)(uintptr_t)body), (uint32_t)zmq_msg_size(body)};
    arena a;
    arena_init(&a, 65536);
    error_body e;
    if (message_decode(&error_body_msg, bytes, MESSAGE_LENIENT, &a, &e, NULL) == 0)
        snprintf(to, cap, "%.*s: %.*s", SV_FMT(e.code), SV_FMT(e.message));
    arena_free(&a);
}

static void greet_bare(peer *p)
{
    char answer[16];
    int ms = 10000;
    zmq_setsockopt(p->socket, ZMQ_RCVTIMEO, &ms, sizeof ms);
    if (zmq_send(p->socket, "hello", 5, 0) != 5 ||
        zmq_recv(p->socket, answer, sizeof answer, 0) != 5)
        die("the forwarder does not answer");
}

static void greet_broker(peer *p, bool worker)
{
    uint64_t until = now_us() + 10000000u;
    say_hello(p, worker);
    while (now_us() < until) {
        wait_readable(p, 100);
        zmq_msg_t header, body;
        zmq_msg_init(&header);
        zmq_msg_init(&body);
        envelope e;
        int rc = receive(p, &e, &header, &body);
        char words[160] = "";
        if (rc > 0 && e.kind != SV_WELCOME) error_words(&body, words, sizeof words);
        zmq_msg_close(&header);
        zmq_msg_close(&body);
        if (rc > 0 && e.kind == SV_WELCOME) return;
        if (rc > 0 && e.kind != SV_PING)
            die("HELLO as %s was answered %s %s", p->service, envelope_kind_name(e.kind), words);
    }
    die("no WELCOME for %s within ten seconds", p->service);
}

void peer_open(peer *p, const char *endpoint, const peer_keys *keys, bool bare, bool worker,
               const char *service)
{
    *p = (peer){.bare = bare, .service = service, .epoch = now_us()};
    p->ctx = zmq_ctx_new();
    p->socket = zmq_socket(p->ctx, ZMQ_DEALER);
    int zero = 0, hwm = 4096;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(p->socket, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt(p->socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
    if (keys->server_key[0]) {
        zmq_setsockopt(p->socket, ZMQ_CURVE_SERVERKEY, keys->server_key, 41);
        zmq_setsockopt(p->socket, ZMQ_CURVE_PUBLICKEY, keys->public_key, 41);
        zmq_setsockopt(p->socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, 41);
    }
    if (zmq_connect(p->socket, endpoint))
        die("cannot connect to %s: %s", endpoint, zmq_strerror(errno));
    if (bare)
        greet_bare(p);
    else
        greet_broker(p, worker);
}

static void answer_control(peer *p, const envelope *e)
{
    if (e->kind != SV_PING) return;
    envelope pong = {.kind = SV_PONG, .attempt = 1, .ttl_ms = TTL_MS, .id = e->id, .code = e->code};
    zmq_msg_t body;
    empty_message(&body);
    if (!send_message(p, &pong, &body)) zmq_msg_close(&body);
}

/* ---- worker ---- */

static void answer(peer *p, const envelope *e, zmq_msg_t *body)
{
    if (e->kind != SV_REQUEST) {
        answer_control(p, e);
        return;
    }
    envelope reply = {.kind = SV_REPLY,
                      .attempt = 1,
                      .ttl_ms = e->ttl_ms,
                      .id = e->id,
                      .trace = e->trace,
                      .content_type = e->content_type};
    send_message(p, &reply, body);
}

void peer_serve(peer *p, double idle_s)
{
    uint64_t idle_us = (uint64_t)(idle_s * 1e6), last = now_us();
    for (;;) {
        int n = 0;
        while (n < DRAIN) {
            zmq_msg_t header, body;
            zmq_msg_init(&header);
            zmq_msg_init(&body);
            envelope e;
            int rc = receive(p, &e, &header, &body);
            if (rc > 0) answer(p, &e, &body);
            zmq_msg_close(&header);
            zmq_msg_close(&body);
            if (rc == 0) break;
            n++;
        }
        if (n == DRAIN) continue;
        uint64_t now = now_us();
        if (n)
            last = now;
        else if (now - last > idle_us)
            return;
        wait_readable(p, 1000);
    }
}

/* ---- client ---- */

static uint64_t starts[SLOTS];

static uint64_t number_of(const sv_id *id)
{
    uint64_t n = 0;
    for (int i = 9; i < 16; i++)
        n = n << 8 | id->b[i];
    return n;
}

static bool send_request(peer *p, const client_run *run, envelope *e, uint64_t number)
{
    for (int i = 15; i >= 9; i--, number >>= 8)
        e->id.b[i] = (uint8_t)number;
    zmq_msg_t body;
    zmq_msg_init_size(&body, run->body_bytes);
    memset(zmq_msg_data(&body), 'x', run->body_bytes);
    starts[number_of(&e->id) % SLOTS] = now_us();
    if (send_message(p, e, &body)) return true;
    starts[number_of(&e->id) % SLOTS] = 0;
    zmq_msg_close(&body);
    return false;
}

/* True when it was the answer to a request. */
static bool take(peer *p, client_run *run, const envelope *e, const zmq_msg_t *body, bool counts)
{
    if (e->kind != SV_REPLY) {
        answer_control(p, e);
        return false;
    }
    uint64_t *start = &starts[number_of(&e->id) % SLOTS];
    bool ok = *start && e->code == SV_STATUS_OK && zmq_msg_size(body) == run->body_bytes;
    if (!ok) {
        run->errors++;
        if (!run->first_error[0]) error_words(body, run->first_error, sizeof run->first_error);
    } else if (counts) {
        hist_add(&run->latency, now_us() - *start);
        run->replies++;
    }
    bool open = *start != 0;
    *start = 0;
    return open;
}

static uint64_t own_cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

bool peer_run_client(peer *p, client_run *run)
{
    envelope e = {.kind = SV_REQUEST,
                  .attempt = 1,
                  .ttl_ms = TTL_MS,
                  .id = uuid_new(),
                  .target = sv_cstr("bench.echo"),
                  .content_type = sv_cstr("application/octet-stream")};
    uuid_random(&e.trace, sizeof e.trace);
    e.trace.flags = 1;
    e.id.b[8] = 0x80;
    memset(starts, 0, sizeof starts);
    uint64_t now = now_us(), from = now + (uint64_t)(run->warmup_s * 1e6), to = UINT64_MAX;
    uint64_t number = 1, open = 0, last = now, cpu_from = 0, own_from = 0;
    bool counts = false;
    for (;;) {
        while (open < run->window && send_request(p, run, &e, number)) {
            number++;
            open++;
        }
        int n = 0;
        while (n < DRAIN) {
            zmq_msg_t header, body;
            zmq_msg_init(&header);
            zmq_msg_init(&body);
            envelope r;
            int rc = receive(p, &r, &header, &body);
            if (rc > 0 && take(p, run, &r, &body, counts)) open--;
            zmq_msg_close(&header);
            zmq_msg_close(&body);
            if (rc == 0) break;
            n++;
        }
        now = now_us();
        if (!counts && now >= from) {
            counts = true;
            cpu_from = run->broker ? proc_cpu_ns(run->broker) : 0;
            own_from = own_cpu_us();
            from = now_us();
            to = from + (uint64_t)(run->seconds * 1e6);
        }
        if (now >= to) break;
        if (n)
            last = now;
        else if (now - last > SILENCE_US)
            return false;
        else
            wait_readable(p, 100);
    }
    run->elapsed_us = now - from;
    run->broker_cpu_ns = run->broker ? proc_cpu_ns(run->broker) - cpu_from : 0;
    run->own_cpu_us = own_cpu_us() - own_from;
    return true;
}
