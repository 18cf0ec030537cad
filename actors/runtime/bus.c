/*  bus.c - the connection to the broker: one DEALER, HELLO and WELCOME, liveness, in and out.
 *
 *  Session: DOWN -> HELLO sent -> UP. While not UP a HELLO goes out every 50 ms; while UP a silent
 *  broker is PINGed, and after four silent ping intervals the session is DOWN again (readiness goes
 *  red) although the socket stays: libzmq reconnects by itself, and a restarted broker answers
 *  whatever reaches it with GOODBYE bus.hello_required. A WELCOME with another broker epoch ends
 *  what the old broker knew.
 *
 *  libzmq's descriptor signals edges, and every send may swallow one: the hook at the end of each
 *  turn drains the socket again. */
#include "process.h"

#include "keyfile.h"
#include "log.h"
#include "uuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    HELLO_EVERY_US = 50000,
    REDIAL_US = 1000000,
    SETTLE_US = 2000000,
    OUT_BYTES_MAX = 64 << 20,
    SILENT_PINGS = 4
};

void frames_close(frames *f)
{
    for (int i = 0; i < f->n; i++)
        zmq_msg_close(&f->part[i]);
    f->n = 0;
}

void frames_move(frames *to, frames *from)
{
    to->env = from->env;
    to->n = from->n;
    for (int i = 0; i < from->n; i++) {
        zmq_msg_init(&to->part[i]);
        zmq_msg_move(&to->part[i], &from->part[i]);
        zmq_msg_close(&from->part[i]);
    }
    from->n = 0;
}

sv_str frames_part(const frames *f, int i)
{
    if (i >= f->n) return (sv_str){NULL, 0};
    zmq_msg_t *m = (zmq_msg_t *)(uintptr_t)&f->part[i];
    return (sv_str){zmq_msg_data(m), (uint32_t)zmq_msg_size(m)};
}

uint32_t frames_data_bytes(const frames *f)
{
    uint32_t n = 0;
    for (int i = 1; i < f->n; i++)
        n += frames_part(f, i).n;
    return n;
}

uint64_t bus_ms_left(uint64_t deadline_us, uint64_t now_us)
{
    return deadline_us <= now_us ? 0 : (deadline_us - now_us + 999) / 1000;
}

/* ---- windows ---- */

bool out_window_fits(const out_window *w, size_t bytes)
{
    return w->sent_items < w->granted_items && w->sent_bytes + bytes <= w->granted_bytes;
}

bool in_window_regrant(in_window *w)
{
    uint32_t items = w->used_items + w->size_items;
    uint64_t bytes = w->used_bytes + w->size_bytes;
    if (items - w->granted_items < (w->size_items + 1) / 2 &&
        bytes - w->granted_bytes < (w->size_bytes + 1) / 2)
        return false;
    w->granted_items = items;
    w->granted_bytes = bytes;
    return true;
}

/* ---- assembly of parts ---- */

assembly *assembly_start(frames *f, size_t max)
{
    assembly *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    frames_move(&a->first, f);
    buf_init(&a->joined, max);
    sv_str last = frames_part(&a->first, a->first.n - 1);
    if (a->first.n > 1 && buf_put(&a->joined, last.p, last.n)) {
        assembly_free(a);
        return NULL;
    }
    return a;
}

int assembly_add(assembly *a, frames *f)
{
    sv_str part = frames_part(f, 1);
    return buf_put(&a->joined, part.p, part.n);
}

void assembly_free(assembly *a)
{
    if (a == NULL) return;
    frames_close(&a->first);
    buf_free(&a->joined);
    free(a);
}

void item_of(const frames *f, const assembly *a, sv_item *item)
{
    const frames *head = a ? &a->first : f;
    *item = (sv_item){.body = frames_part(head, 1),
                      .attachment = frames_part(head, 2),
                      .content_type = head->env.content_type,
                      .sequence = head->env.code};
    if (a && head->n == 2)
        item->body = buf_str(&a->joined);
    else if (a && head->n == 3)
        item->attachment = buf_str(&a->joined);
}

/* ---- records ---- */

void record_hop(sv_process *p, const envelope *e, bool out, const char *peer, uint32_t bytes,
                uint64_t service_us)
{
    record *r = &p->records[p->record_at++ % RECORDS];
    r->unix_us = loop_unix_us(p->loop);
    r->id = e->id;
    memcpy(r->trace_id, e->trace.trace_id, 16);
    strncpy(r->peer, peer, sizeof r->peer - 1);
    size_t n = e->target.n < LIMIT_TARGET_BYTES ? e->target.n : LIMIT_TARGET_BYTES;
    if (n) memcpy(r->method, e->target.p, n);
    r->method[n] = 0;
    r->kind = e->kind;
    r->out = out;
    r->code = e->code;
    r->bytes = bytes;
    r->service_us = service_us;
}

/* ---- sending ---- */

static int send_parts(sv_process *p, zmq_msg_t *part, int n)
{
    for (int i = 0; i < n; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0);
        while (zmq_msg_send(&part[i], p->socket, flags) < 0) {
            if (zmq_errno() == EINTR) continue;
            return SV_E_UNAVAILABLE; /* only the first part can fail with EAGAIN */
        }
    }
    return 0;
}

static int make_part(zmq_msg_t *m, sv_str s)
{
    if (zmq_msg_init_size(m, s.n)) return SV_E_NO_MEMORY;
    if (s.n) memcpy(zmq_msg_data(m), s.p, s.n);
    return 0;
}

static int queue_message(sv_process *p, zmq_msg_t *part, int n, size_t bytes)
{
    queued_message *q = p->out_bytes + bytes <= OUT_BYTES_MAX ? calloc(1, sizeof *q) : NULL;
    if (q == NULL) {
        for (int i = 0; i < n; i++)
            zmq_msg_close(&part[i]);
        return SV_E_QUEUE_FULL;
    }
    q->n = n;
    for (int i = 0; i < n; i++) {
        zmq_msg_init(&q->part[i]);
        zmq_msg_move(&q->part[i], &part[i]);
        zmq_msg_close(&part[i]);
    }
    p->out_bytes += bytes;
    *p->out_tail = q;
    p->out_tail = &q->next;
    return 0;
}

int bus_send(sv_process *p, const envelope *e, sv_str body, sv_str attachment)
{
    zmq_msg_t part[3];
    int n = attachment.p ? 3 : 2;
    size_t size = envelope_size(e);
    if (size == 0 || size + body.n + attachment.n > LIMIT_MESSAGE_BYTES) return SV_E_TOO_LARGE;
    if (zmq_msg_init_size(&part[0], size)) return SV_E_NO_MEMORY;
    envelope_write(e, zmq_msg_data(&part[0]));
    if (make_part(&part[1], body)) {
        zmq_msg_close(&part[0]);
        return SV_E_NO_MEMORY;
    }
    if (n == 3 && make_part(&part[2], attachment)) {
        zmq_msg_close(&part[0]);
        zmq_msg_close(&part[1]);
        return SV_E_NO_MEMORY;
    }
    if (p->socket && p->out_head == NULL && send_parts(p, part, n) == 0) return 0;
    return queue_message(p, part, n, size + body.n + attachment.n);
}

static void drop_queue(sv_process *p)
{
    while (p->out_head) {
        queued_message *q = p->out_head;
        p->out_head = q->next;
        for (int i = 0; i < q->n; i++)
            zmq_msg_close(&q->part[i]);
        free(q);
    }
    p->out_tail = &p->out_head;
    p->out_bytes = 0;
}

static void flush_queue(sv_process *p)
{
    if (p->socket == NULL) return;
    while (p->out_head) {
        queued_message *q = p->out_head;
        size_t bytes = 0;
        for (int i = 0; i < q->n; i++)
            bytes += zmq_msg_size(&q->part[i]);
        if (send_parts(p, q->part, q->n)) return;
        p->out_bytes -= bytes;
        p->out_head = q->next;
        if (p->out_head == NULL) p->out_tail = &p->out_head;
        free(q);
    }
}

/* ---- session ---- */

static int encode_hello(sv_process *p, buf *out)
{
    bus_method *methods = calloc(p->n_methods + 1, sizeof *methods);
    if (methods == NULL) return SV_E_NO_MEMORY;
    for (size_t i = 0; i < p->n_methods; i++) {
        const sv_method *m = &p->methods[i];
        methods[i] = (bus_method){.name = sv_cstr(m->name),
                                  .idempotent = m->flags & SV_IDEMPOTENT,
                                  .request = sv_cstr(m->request ? m->request->name : NULL),
                                  .reply = sv_cstr(m->reply ? m->reply->name : NULL),
                                  .doc = sv_cstr(m->doc)};
    }
    bus_hello hello = {.service = sv_cstr(p->name),
                       .instance = p->instance,
                       .epoch = (int64_t)p->epoch,
                       .version = sv_cstr(p->version),
                       .methods = {methods, (uint32_t)p->n_methods},
                       .slots = p->n_methods ? p->slots : 0,
                       .pid = getpid()};
    int rc = message_encode(&bus_hello_msg, &hello, out);
    free(methods);
    return rc;
}

static void send_hello(sv_process *p)
{
    buf body;
    buf_init(&body, LIMIT_PART_BYTES);
    envelope e = {.kind = SV_HELLO, .ttl_ms = 5000, .id = uuid_new()};
    drop_queue(p); /* whatever waited was meant for a session that is gone */
    if (encode_hello(p, &body) == 0) bus_send(p, &e, buf_str(&body), (sv_str){NULL, 0});
    buf_free(&body);
    p->hello_us = loop_now_us(p->loop);
    p->session = SESSION_HELLO;
}

void bus_say_drain(sv_process *p)
{
    envelope e = {.kind = SV_DRAIN, .id = uuid_new(), .ttl_ms = 1000};
    bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
}

static void on_welcome(sv_process *p, const frames *f)
{
    arena a;
    arena_init(&a, 65536);
    bus_welcome w;
    sv_error err = {0};
    if (message_decode(&bus_welcome_msg, frames_part(f, 1), MESSAGE_LENIENT, &a, &w, &err)) {
        log_write(LOG_ERROR, "WELCOME refused", LOG_ERR(&err));
        arena_free(&a);
        return;
    }
    bool was_known = p->broker_epoch == (uint64_t)w.broker_epoch && p->session == SESSION_UP;
    if (p->broker_epoch && !was_known) {
        p->settled_us = loop_now_us(p->loop) + SETTLE_US;
        metric_add(metric_one(M_BUS_RECONNECTS), 1);
        serve_cancel_all(p);
        stream_broker_lost(p, SV_E_BROKER_RESTARTED);
    }
    p->broker_epoch = (uint64_t)w.broker_epoch;
    p->instance = (uint32_t)w.instance;
    p->ping_ms = (uint32_t)w.ping_ms;
    p->session = SESSION_UP;
    log_instance(p->instance);
    if (!was_known) {
        log_write(LOG_INFO, "connected to the broker", LOG_SLICE("broker", w.broker));
        event_resubscribe(p);
        if (p->draining) bus_say_drain(p); /* a new broker has not heard it */
        stream_send_waiting(p);
    }
    arena_free(&a);
}

static void on_goodbye(sv_process *p, const frames *f)
{
    arena a;
    arena_init(&a, 65536);
    error_body b;
    sv_error err = {0};
    if (message_decode(&error_body_msg, frames_part(f, 1), MESSAGE_LENIENT, &a, &b, &err)) {
        b.code = sv_cstr("bus.hello_required");
        b.message = sv_cstr("The broker said goodbye.");
    }
    const sv_error_info *info = sv_error_by_name(b.code);
    int code = info ? info->code : SV_E_UNAVAILABLE;
    if (code == SV_E_HELLO_REQUIRED) {
        if (p->session == SESSION_UP) {
            serve_cancel_all(p);
            stream_broker_lost(p, SV_E_BROKER_RESTARTED);
            send_hello(p);
        } else if (loop_now_us(p->loop) - p->hello_us > HELLO_EVERY_US) {
            send_hello(p);
        }
    } else if (code == SV_E_IDENTITY || code == SV_E_VERSION || code == SV_E_CONFLICT) {
        p->fatal = true;
        sv_fail(&p->fatal_error, code, NULL, "%.*s", SV_FMT(b.message));
        log_write(LOG_ERROR, "the broker refused this process", LOG_ERR(&p->fatal_error));
        if (p->actor) sv_stop(p);
        p->exit_code = 1;
    } else {
        p->session = SESSION_DOWN;
        stream_broker_lost(p, SV_E_UNAVAILABLE);
    }
    arena_free(&a);
}

static void pong(sv_process *p, const envelope *ping)
{
    envelope e = {.kind = SV_PONG, .id = ping->id, .ttl_ms = 1000};
    bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
}

static void receive(sv_process *p, frames *f)
{
    const envelope *e = &f->env;
    void *found;
    p->heard_us = loop_now_us(p->loop);
    switch ((sv_kind)e->kind) {
    case SV_WELCOME: on_welcome(p, f); break;
    case SV_GOODBYE: on_goodbye(p, f); break;
    case SV_PING: pong(p, e); break;
    case SV_REQUEST: serve_request(p, f); break;
    case SV_REPLY:
        if ((found = idmap_get(&p->streams, &e->id))) stream_reply(found, f);
        break;
    case SV_PARTIAL:
        if ((found = idmap_get(&p->streams, &e->id)))
            stream_partial(found, f);
        else if ((found = idmap_get(&p->calls, &e->id)))
            serve_partial(p, found, f);
        break;
    case SV_CREDIT:
        if ((found = idmap_get(&p->calls, &e->id)))
            serve_credit(p, found, e);
        else if ((found = idmap_get(&p->streams, &e->id)))
            stream_credit(found, e);
        break;
    case SV_CANCEL:
        if ((found = idmap_get(&p->calls, &e->id))) serve_cancel(p, found);
        break;
    case SV_EVENT: event_receive(p, f); break;
    case SV_DRAIN: process_drain(p); break;
    case SV_PONG:
    case SV_HELLO:
    case SV_SUBSCRIBE:
    case SV_UNSUBSCRIBE: break; /* PONG: hearing it was all */
    }
}

/* One whole message. 0, or SV_E_UNAVAILABLE when none is there. Malformed ones leave f->n at 0. */
static int receive_frames(sv_process *p, frames *f)
{
    bool more = true, bad = false;
    f->n = 0;
    while (more) {
        zmq_msg_t spill, *m = f->n < LIMIT_FRAMES ? &f->part[f->n] : &spill;
        zmq_msg_init(m);
        if (zmq_msg_recv(m, p->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(m);
            frames_close(f);
            return SV_E_UNAVAILABLE;
        }
        more = zmq_msg_more(m);
        if (m == &spill) {
            zmq_msg_close(m);
            bad = true;
        } else {
            f->n++;
        }
    }
    sv_error err = {0};
    sv_str head = frames_part(f, 0);
    if (bad || envelope_decode(head.p, head.n, &f->env, &err)) {
        log_write(LOG_WARN, "malformed message from the broker", LOG_ERR(&err));
        frames_close(f);
    }
    return 0;
}

/* True when the budget ran out before the socket did. */
static bool drain_socket(sv_process *p)
{
    frames f;
    if (p->socket == NULL) return false;
    for (int i = 0; i < RECV_BUDGET; i++) {
        if (receive_frames(p, &f)) return false;
        if (f.n == 0) continue;
        receive(p, &f);
        frames_close(&f);
    }
    return true;
}

static void on_readable(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    (void)arg;
}

/* What was handled may have made output, and output is sent before the last look at the socket: a
 * send may swallow the descriptor's edge, a receive that finds nothing has processed every command.
 */
static bool on_turn_end(void *arg)
{
    sv_process *p = arg;
    bool again = true;
    for (int round = 0; again && round < 4; round++) {
        serve_flush(p);
        stream_finish_due(p);
        if (p->out_head) flush_queue(p);
        again = drain_socket(p) || p->dirty || p->finished;
    }
    if (p->draining) process_check_drained(p);
    return again;
}

static void redial(sv_process *p);

static void on_tick(void *arg)
{
    sv_process *p = arg;
    uint64_t now = loop_now_us(p->loop), ping_us = (uint64_t)p->ping_ms * 1000;
    uint64_t passed = p->ticked_us ? now - p->ticked_us : 0;
    /* While this process did not run it could not listen: a pause counts as one ping interval. */
    if (passed > ping_us && p->heard_us + passed - ping_us <= now) p->heard_us += passed - ping_us;
    p->ticked_us = now;
    if (p->session == SESSION_UP && now - p->heard_us > ping_us * SILENT_PINGS) {
        p->session = SESSION_DOWN;
        log_write(LOG_WARN, "the broker is silent", LOG_INT("ms", (now - p->heard_us) / 1000));
    }
    if (p->session != SESSION_UP && now - p->heard_us > REDIAL_US &&
        now - p->dialled_us > REDIAL_US)
        redial(p);
    if (p->session != SESSION_UP && !p->fatal && !p->stopped &&
        (p->hello_us == 0 || now - p->hello_us >= HELLO_EVERY_US))
        send_hello(p);
    if (p->session == SESSION_UP && now - p->heard_us >= ping_us && now - p->pinged_us >= ping_us) {
        envelope e = {.kind = SV_PING, .id = uuid_new(), .ttl_ms = 1000};
        bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
        p->pinged_us = now;
    }
    uint64_t every = p->session == SESSION_UP ? ping_us / 2 : HELLO_EVERY_US / 2;
    loop_timer_set(p->loop, &p->tick, every, on_tick, p);
}

/* ---- opening ---- */

static int use_curve(sv_process *p, sv_error *err)
{
    const char *own = getenv("SAMOVAR_KEY"), *server = getenv("SAMOVAR_BUS_KEY");
    if (own == NULL || server == NULL)
        return sv_fail(
            err, SV_E_CONFIG, own ? "SAMOVAR_BUS_KEY" : "SAMOVAR_KEY",
            "SAMOVAR_BUS needs SAMOVAR_KEY (this process's key file) and SAMOVAR_BUS_KEY "
            "(the broker's public key file).");
    keyfile mine, theirs;
    int rc = keyfile_read(own, &mine, err);
    if (rc == 0) rc = keyfile_read(server, &theirs, err);
    if (rc) return rc;
    if (mine.secret[0] == 0) {
        return sv_fail(err, SV_E_CONFIG, "SAMOVAR_KEY",
                       "%s holds no secret key; use the .key file.", own);
    }
    if (zmq_setsockopt(p->socket, ZMQ_CURVE_PUBLICKEY, mine.public_key, 41) ||
        zmq_setsockopt(p->socket, ZMQ_CURVE_SECRETKEY, mine.secret, 41) ||
        zmq_setsockopt(p->socket, ZMQ_CURVE_SERVERKEY, theirs.public_key, 41))
        rc = sv_fail(err, SV_E_CONFIG, "SAMOVAR_KEY",
                     "The key files do not hold usable CURVE keys.");
    keyfile_clear(&mine);
    return rc;
}

static void set_int(void *socket, int option, int value)
{
    zmq_setsockopt(socket, option, &value, sizeof value);
}

static int find_endpoint(sv_process *p, char *to, size_t size, bool *remote, sv_error *err)
{
    const char *endpoint = getenv("SAMOVAR_BUS");
    *remote = endpoint && *endpoint;
    int n = *remote ? snprintf(to, size, "%s", endpoint)
                    : snprintf(to, size, "ipc://%s/bus.ipc", config_run(p->config));
    if (n < 0 || (size_t)n >= size || (!*remote && n - 6 > 106))
        return sv_fail(
            err, SV_E_CONFIG, "run",
            "The path to the bus is too long for a socket; set SAMOVAR_RUN to a short one.");
    return 0;
}

static int set_options(sv_process *p, const char *endpoint, bool remote, sv_error *err)
{
    set_int(p->socket, ZMQ_LINGER, 200);
    set_int(p->socket, ZMQ_IMMEDIATE, 1);
    set_int(p->socket, ZMQ_SNDHWM, 4096);
    set_int(p->socket, ZMQ_RCVHWM, 16384);
    set_int(p->socket, ZMQ_RECONNECT_IVL, 20);
    set_int(p->socket, ZMQ_RECONNECT_IVL_MAX, 250);
    int64_t max = LIMIT_MESSAGE_BYTES;
    zmq_setsockopt(p->socket, ZMQ_MAXMSGSIZE, &max, sizeof max);
    if (strncmp(endpoint, "tcp:", 4) == 0) {
        set_int(p->socket, ZMQ_HEARTBEAT_IVL, 1000);
        set_int(p->socket, ZMQ_HEARTBEAT_TIMEOUT, 3000);
    }
    bool plain = getenv("SAMOVAR_KEY") == NULL && strncmp(endpoint, "tcp://127.", 10) == 0;
    return remote && !plain ? use_curve(p, err) : 0;
}

static void hang_up(sv_process *p)
{
    if (p->socket == NULL) return;
    loop_fd_del(p->watch);
    p->watch = NULL;
    drop_queue(p);
    zmq_close(p->socket);
    p->socket = NULL;
}

static int dial(sv_process *p, sv_error *err)
{
    char endpoint[512];
    bool remote;
    int fd, rc = find_endpoint(p, endpoint, sizeof endpoint, &remote, err);
    size_t n = sizeof fd;
    if (rc) return rc;
    p->socket = zmq_socket(p->zmq, ZMQ_DEALER);
    if (p->socket == NULL)
        return sv_fail(err, SV_E_NO_MEMORY, NULL, "No socket: %s.", zmq_strerror(zmq_errno()));
    rc = set_options(p, endpoint, remote, err);
    if (rc == 0 && zmq_connect(p->socket, endpoint))
        rc = sv_fail(err, SV_E_CONFIG, "SAMOVAR_BUS", "Cannot connect to %s: %s.", endpoint,
                     zmq_strerror(zmq_errno()));
    if (rc == 0 && zmq_getsockopt(p->socket, ZMQ_FD, &fd, &n))
        rc = sv_fail(err, SV_E_INTERNAL, NULL, "The socket has no descriptor.");
    if (rc == 0 && (rc = loop_fd_add(p->loop, fd, EPOLLIN, on_readable, p, &p->watch)))
        sv_fail(err, rc, NULL, NULL);
    if (rc) hang_up(p);
    p->dialled_us = loop_now_us(p->loop);
    return rc;
}

/* libzmq gives a connection up for good when the other side refuses its key, and the key may be
 * admitted a moment later: a socket that hears nothing is replaced. */
static void redial(sv_process *p)
{
    sv_error err = {0};
    hang_up(p);
    if (dial(p, &err)) log_write(LOG_ERROR, "cannot dial the broker", LOG_ERR(&err));
}

int bus_open(sv_process *p, sv_error *err)
{
    p->ping_ms = 250;
    p->zmq = zmq_ctx_new();
    if (p->zmq == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = dial(p, err);
    if (rc) return rc;
    rc = loop_hook_add(p->loop, on_turn_end, p);
    if (rc == 0) rc = loop_timer_set(p->loop, &p->tick, 0, on_tick, p);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

void bus_close(sv_process *p)
{
    if (p->socket && p->session == SESSION_UP) {
        envelope e = {.kind = SV_GOODBYE, .id = uuid_new(), .ttl_ms = 1000};
        bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
    }
    if (p->zmq) {
        loop_timer_stop(p->loop, &p->tick);
        loop_hook_del(p->loop, on_turn_end, p);
        hang_up(p);
        zmq_ctx_term(p->zmq);
    }
    p->zmq = NULL;
    p->session = SESSION_DOWN;
}
