/*  bus_liar.c - a peer that lies, for tests: every message a broker must refuse, and the answer it
 *  must give. Prints one line a case: "ok WHAT" or "bad WHAT (what came instead)".   Usage: bus_liar
 *  RUN */
#include "envelope.h"
#include "error.h"
#include "message.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

enum { PATIENCE_MS = 2000, SILENCE_MS = 400 };

static void *context;
static char bus[256], curve[256];

typedef struct answer {
    envelope env;
    char head[LIMIT_HEADER_BYTES];
    char body[LIMIT_MESSAGE_BYTES];
    size_t body_n;
    char code[65]; /* of an error_body */
} answer;

static void *dial(const char *endpoint)
{
    int zero = 0;
    void *s = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    return s && zmq_connect(s, endpoint) == 0 ? s : NULL;
}

static void send_raw(void *s, const void *head, size_t n, sv_str body)
{
    zmq_send(s, head, n, ZMQ_SNDMORE);
    zmq_send(s, body.p ? body.p : "", body.n, 0);
}

static void send_message(void *s, const envelope *e, sv_str body)
{
    char head[LIMIT_HEADER_BYTES];
    size_t n = envelope_size(e);
    envelope_write(e, head);
    send_raw(s, head, n, body);
}

static void read_error(answer *a)
{
    arena memory;
    arena_init(&memory, 65536);
    error_body b;
    if (message_decode(&error_body_msg, (sv_str){a->body, (uint32_t)a->body_n}, 0, &memory, &b,
                       NULL) == 0)
        snprintf(a->code, sizeof a->code, "%.*s", SV_FMT(b.code));
    arena_free(&memory);
}

/* The next message that is not a PING; PINGs are answered. False after `ms` of silence. */
static bool receive(void *s, answer *a, int ms)
{
    for (;;) {
        zmq_pollitem_t item = {.socket = s, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, ms) <= 0) return false;
        int more = 1, part = 0, n = 0;
        size_t size = sizeof more;
        char spill[64];
        a->body_n = 0;
        a->code[0] = 0;
        for (; more; part++) {
            int got = zmq_recv(s,
                               part == 0   ? a->head
                               : part == 1 ? a->body
                                           : spill,
                               part == 0   ? sizeof a->head
                               : part == 1 ? sizeof a->body
                                           : sizeof spill,
                               0);
            if (got < 0) return false;
            if (part == 0) n = got;
            if (part == 1) a->body_n = (size_t)got;
            zmq_getsockopt(s, ZMQ_RCVMORE, &more, &size);
        }
        if (envelope_decode(a->head, (size_t)n, &a->env, NULL)) return false;
        if (a->env.kind == SV_PING) {
            envelope pong = {.kind = SV_PONG, .id = a->env.id};
            send_message(s, &pong, (sv_str){NULL, 0});
            continue;
        }
        read_error(a);
        return true;
    }
}

static void verdict(bool good, const char *what, const answer *a, bool got)
{
    if (good)
        printf("ok %s\n", what);
    else if (got)
        printf("bad %s (%s %u %s)\n", what, envelope_kind_name(a->env.kind), a->env.code, a->code);
    else
        printf("bad %s (silence)\n", what);
}

static void hello(void *s, const char *service, uint32_t slots)
{
    bus_method method = {.name = sv_cstr("complete")};
    bus_hello h = {.service = sv_cstr(service), .epoch = 1, .slots = slots};
    if (slots) h.methods = (sv_list){&method, 1};
    buf b;
    buf_init(&b, 4096);
    message_encode(&bus_hello_msg, &h, &b);
    envelope e = {.kind = SV_HELLO, .id = uuid_new()};
    send_message(s, &e, buf_str(&b));
    buf_free(&b);
}

static void *welcomed(void)
{
    static answer a;
    void *s = dial(bus);
    hello(s, "operator", 0);
    if (!receive(s, &a, PATIENCE_MS) || a.env.kind != SV_WELCOME) {
        printf("bad HELLO as operator is welcome\n");
        exit(1);
    }
    return s;
}

static envelope request(const char *target)
{
    return (envelope){.kind = SV_REQUEST,
                      .id = uuid_new(),
                      .ttl_ms = 2000,
                      .credit_items = 64,
                      .credit_bytes = 262144,
                      .target = sv_cstr(target)};
}

static void expect(void *s, const envelope *e, sv_str body, uint32_t status, const char *code,
                   const char *what)
{
    static answer a;
    send_message(s, e, body);
    bool got = receive(s, &a, PATIENCE_MS);
    bool good = got && a.env.kind == SV_REPLY && sv_id_eq(&a.env.id, &e->id) &&
                a.env.code == status && (code == NULL || strcmp(a.code, code) == 0);
    verdict(good, what, &a, got);
}

static void sessions(void)
{
    static answer a;
    void *s = dial(bus);
    envelope e = request("router.ping");
    send_message(s, &e, (sv_str){NULL, 0});
    bool got = receive(s, &a, PATIENCE_MS);
    verdict(got && a.env.kind == SV_GOODBYE && strcmp(a.code, "bus.hello_required") == 0,
            "a request before HELLO", &a, got);
    static const char *const names[] = {"router", "edge", "bus", "supervisor"};
    for (size_t i = 0; i < 4; i++) {
        void *liar = dial(bus);
        hello(liar, names[i], 8);
        got = receive(liar, &a, PATIENCE_MS);
        verdict(got && a.env.kind == SV_GOODBYE && strcmp(a.code, "bus.identity") == 0,
                "HELLO under somebody else's name", &a, got);
        zmq_close(liar);
    }
    void *own = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(own, ZMQ_ROUTING_ID, "router-1", 8);
    zmq_connect(own, bus);
    hello(own, "operator", 0);
    got = receive(own, &a, SILENCE_MS);
    verdict(!got || a.env.kind == SV_GOODBYE, "a self-chosen routing id", &a, got);
    zmq_close(own);
    zmq_close(s);
}

static void requests(void)
{
    static char big[LIMIT_MESSAGE_BYTES + 1000];
    void *s = welcomed();
    sv_str none = {NULL, 0};
    envelope e = request("router.ping");
    expect(s, &e, none, SV_STATUS_OK, NULL, "an honest request");
    e = request("nobody.home");
    expect(s, &e, none, SV_STATUS_UNAVAILABLE, "service.unknown", "an unknown service");
    e = request("router.nothing");
    expect(s, &e, none, SV_STATUS_UNIMPLEMENTED, "method.unknown", "an unknown method");
    e = request("router.ping");
    e.ttl_ms = 0;
    expect(s, &e, none, SV_STATUS_DEADLINE_EXCEEDED, NULL, "no time left");
    e = request("notarget");
    expect(s, &e, none, SV_STATUS_INVALID_ARGUMENT, NULL, "a target without a method");
    e = request("router.ping");
    e.ticket = (sv_str){"forged-ticket-bytes", 19};
    expect(s, &e, none, SV_STATUS_UNAUTHENTICATED, "ticket.invalid", "a forged ticket");
    e = request("router.ping");
    expect(s, &e, (sv_str){"\xdf\xff\xff\xff\xff", 5}, SV_STATUS_INVALID_ARGUMENT, NULL,
           "a body that claims 4 billion entries");
    e = request("router.ping");
    expect(s, &e,
           (sv_str){"\x82\xa1"
                    "a\x01\xa1"
                    "a\x01",
                    7},
           SV_STATUS_INVALID_ARGUMENT, NULL, "a duplicate key");
    e = request("bus.tap");
    expect(s, &e,
           (sv_str){"\x81\xa6"
                    "filter\x07",
                    9},
           SV_STATUS_INVALID_ARGUMENT, NULL, "a wrong type");
    e = request("router.ping");
    strcpy(e.sender, "edge");
    e.sender_instance = 7;
    expect(s, &e, none, SV_STATUS_OK, NULL, "a forged sender is replaced");

    send_raw(s, "", 0, none);
    send_raw(s, "garbage", 7, none);
    memset(big, 0xdc, sizeof big);
    send_raw(s, big, 5000, none);
    for (int i = 0; i < 20; i++)
        zmq_send(s, "x", 1, i < 19 ? ZMQ_SNDMORE : 0);
    e = request("router.ping");
    expect(s, &e, none, SV_STATUS_OK, NULL, "goes on after malformed messages");

    envelope reply = {.kind = SV_REPLY, .id = uuid_new(), .target = sv_cstr("router.ping")};
    send_message(s, &reply, none);
    reply.kind = SV_PARTIAL;
    send_message(s, &reply, none);
    reply.kind = SV_CREDIT;
    reply.credit_items = UINT32_MAX;
    send_message(s, &reply, none);
    reply.kind = SV_CANCEL;
    send_message(s, &reply, none);
    reply.kind = SV_WELCOME;
    send_message(s, &reply, none);
    e = request("router.ping");
    expect(s, &e, none, SV_STATUS_OK, NULL, "goes on after answers to requests nobody made");
    zmq_close(s);

    s = welcomed(); /* a message over the limit ends its connection, as ZeroMQ does it */
    e = request("router.ping");
    send_message(s, &e, (sv_str){big, sizeof big});
    zmq_close(s);
    s = welcomed();
    e = request("router.ping");
    expect(s, &e, none, SV_STATUS_OK, NULL, "serves others after an oversized message");
    zmq_close(s);
}

static void duplicate_id(void)
{
    static answer a;
    void *s = welcomed();
    envelope e = request("bus.tap");
    e.flags = SV_FLAG_STREAM;
    send_message(s, &e, (sv_str){NULL, 0});
    send_message(s, &e, (sv_str){NULL, 0});
    bool got = receive(s, &a, PATIENCE_MS);
    while (got && a.env.kind == SV_PARTIAL)
        got = receive(s, &a, PATIENCE_MS);
    verdict(got && a.env.code == SV_STATUS_ALREADY_EXISTS, "an id that is in use", &a, got);
    zmq_close(s);
}

static void strangers(void)
{
    static answer a;
    char server[41], own[41], secret[41];
    zmq_curve_keypair(own, secret);
    zmq_curve_keypair(server, secret);
    void *plain = dial(curve);
    hello(plain, "operator", 0);
    bool got = receive(plain, &a, SILENCE_MS);
    verdict(!got, "no encryption where CURVE is asked for", &a, got);
    zmq_close(plain);

    FILE *f = fopen(getenv("SAMOVAR_RUN_KEY") ? getenv("SAMOVAR_RUN_KEY") : "/dev/null", "r");
    char line[128];
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "public ", 7) == 0) snprintf(server, sizeof server, "%.40s", line + 7);
    if (f) fclose(f);
    void *stranger = zmq_socket(context, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(stranger, ZMQ_LINGER, &zero, sizeof zero);
    zmq_curve_keypair(own, secret);
    zmq_setsockopt(stranger, ZMQ_CURVE_SERVERKEY, server, 41);
    zmq_setsockopt(stranger, ZMQ_CURVE_PUBLICKEY, own, 41);
    zmq_setsockopt(stranger, ZMQ_CURVE_SECRETKEY, secret, 41);
    zmq_connect(stranger, curve);
    hello(stranger, "operator", 0);
    got = receive(stranger, &a, SILENCE_MS);
    verdict(!got, "a CURVE key nobody knows", &a, got);
    zmq_close(stranger);
}

/* Bytes that are no ZMTP at all. */
static void raw_garbage(const char *run)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%.90s/bus.ipc", run);
    for (int i = 0; i < 20; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        char junk[4096];
        uuid_random(junk, 256);
        memset(junk + 256, i, sizeof junk - 256);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
            (void)!write(fd, junk, sizeof junk);
        close(fd);
    }
    void *s = welcomed();
    envelope e = request("router.ping");
    expect(s, &e, (sv_str){NULL, 0}, SV_STATUS_OK, NULL, "serves after bytes that are no ZMTP");
    zmq_close(s);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bus_liar RUN\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(bus, sizeof bus, "ipc://%s/bus.ipc", argv[1]);
    snprintf(curve, sizeof curve, "ipc://%s/curve.ipc", argv[1]);
    char key[300];
    snprintf(key, sizeof key, "%s/bus.key", argv[1]);
    setenv("SAMOVAR_RUN_KEY", key, 1);
    context = zmq_ctx_new();
    sessions();
    requests();
    duplicate_id();
    strangers();
    raw_garbage(argv[1]);
    zmq_ctx_term(context);
    return 0;
}
