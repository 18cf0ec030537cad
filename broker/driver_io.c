/*  driver_io.c - messages in, messages out.
 *
 *  ZMQ_FD is edge-triggered in effect: it tells of commands for the socket, and every send or
 *  receive may take them. So a socket counts as ready from a wake-up, or from a send on it, until
 *  a receive answered EAGAIN; only then may the loop sleep. That is the same promise as asking
 *  ZMQ_EVENTS after every send, with one system call a batch in place of one a message.
 *
 *  Order inside a batch: a step's unsent messages go back to the core before its next event (its
 *  contract); ends of connections wait until the sockets are empty, so that what a peer said last
 *  is heard before its end. */
#include "driver_state.h"

#include "error.h"
#include "log.h"
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { GOODBYE_BODY = 512 };

/* ---- the pool ---- */

static void message_release(core_frames *f)
{
    message *m = (message *)(void *)f;
    driver *d = m->owner;
    for (uint32_t i = 0; i < m->n; i++)
        zmq_msg_close(&m->part[i]);
    m->n = 0;
    d->n_messages--;
    if (d->n_pool >= POOL_KEEP) {
        free(m);
        return;
    }
    m->next = d->pool;
    d->pool = m;
    d->n_pool++;
}

static message *message_take(driver *d)
{
    message *m = d->pool;
    if (m) {
        d->pool = m->next;
        d->n_pool--;
    } else {
        m = malloc(sizeof *m);
        if (m == NULL) return NULL;
        m->owner = d;
        m->n = 0;
        m->frames.release = message_release;
    }
    m->frames.refs = 1;
    d->n_messages++;
    return m;
}

void driver_pool_free(driver *d)
{
    while (d->pool) {
        message *next = d->pool->next;
        free(d->pool);
        d->pool = next;
    }
    d->n_pool = 0;
}

static bool later_add(later_list *l, later item)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? 2 * l->cap : 64;
        later *items = realloc(l->items, cap * sizeof *items);
        if (items == NULL) return false;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = item;
    return true;
}

/* ---- connections ---- */

void driver_rid(const conn *c, uint8_t rid[5])
{
    rid[0] = 0;
    rid[1] = (uint8_t)(c->rid >> 24);
    rid[2] = (uint8_t)(c->rid >> 16);
    rid[3] = (uint8_t)(c->rid >> 8);
    rid[4] = (uint8_t)c->rid;
}

void driver_forget(driver *d, conn *c)
{
    if (c->watched) procs_disconnected(&d->procs, c->pid);
    conns_remove(&d->conns, c);
}

void driver_gone(driver *d, conn *c)
{
    if (c->gone) return;
    /* Without memory for the note the next message to this connection finds it dead again. */
    c->gone = later_add(&d->ended, (later){.kind = CORE_GONE, .number = c->id});
}

void driver_exited(void *arg, uint32_t pid)
{
    driver *d = arg;
    procs_retract(&d->procs, pid);
    later_add(&d->ended, (later){.kind = CORE_EXITED, .number = pid});
}

/* Who a connection is, from what the ZAP handler said when it was made. False: nobody we admitted.
 */
static void watch_process(driver *d, conn *c, const char *pid)
{
    c->pid = (uint32_t)strtoul(pid, NULL, 10);
    c->watched = c->pid && procs_connected(&d->procs, c->pid);
}

/* Who a connection is, from what the ZAP handler said when it was made. False: nobody we admitted.
 */
static bool identify(driver *d, const port *p, const zmq_msg_t *msg, conn *c)
{
    const char *user = zmq_msg_gets(msg, "User-Id");
    if (user == NULL) return false;
    if (p->index == ENDPOINT_LOCAL && strncmp(user, "pid:", 4) == 0) {
        watch_process(d, c, user + 4);
        procs_identity(&d->procs, c->pid, &c->who);
        return true;
    }
    if (p->index == ENDPOINT_CURVE && strncmp(user, "key:", 4) == 0) {
        const char *key = zmq_msg_gets(msg, ZAP_META_KEY), *name = user + 4;
        const char *pid = zmq_msg_gets(msg, ZAP_META_PID);
        if (key == NULL || strlen(key) != KEYFILE_Z85 || !zap_admits(d->zap, key, name))
            return false;
        strcpy(c->key, key);
        if (pid) watch_process(d, c, pid);
        c->who.kind = IDENTITY_KEY;
        c->who.pid = c->pid;
        snprintf(c->who.service, sizeof c->who.service, "%s", name);
        snprintf(c->who.note, sizeof c->who.note, "key %s", c->who.service);
        return true;
    }
    if (p->index == ENDPOINT_MEASURE && strcmp(user, "none") == 0) {
        c->who.kind = IDENTITY_NONE;
        strcpy(c->who.note, "none");
        return true;
    }
    return false;
}

/* The connection a message came by; a new one is identified once. NULL: not to be served. */
static conn *connection(driver *d, const port *p, const zmq_msg_t *rid_msg)
{
    const uint8_t *r = zmq_msg_data((zmq_msg_t *)(uintptr_t)rid_msg);
    uint32_t rid = (uint32_t)r[1] << 24 | (uint32_t)r[2] << 16 | (uint32_t)r[3] << 8 | r[4];
    conn *c = conns_find(&d->conns, p->index, rid);
    if (c) return c;
    if (d->conns.strangers.n >= CONNS_STRANGERS) driver_forget(d, d->conns.strangers.first);
    c = conns_add(&d->conns, p->index, rid);
    if (c == NULL) {
        log_write(LOG_WARN, "connection not served: too many", LOG_INT("most", CONNS_MAX));
        return NULL;
    }
    if (identify(d, p, rid_msg, c)) return c;
    driver_forget(d, c);
    log_write(LOG_WARN, "message dropped: the connection is not admitted (any more)");
    return NULL;
}

/* ---- sending ---- */

typedef enum sent { SENT, SEND_FULL, SEND_GONE } sent;

static int send_part(void *socket, zmq_msg_t *part, bool more)
{
    int rc;
    do
        rc = zmq_msg_send(part, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* ROUTER_MANDATORY speaks up on the routing id alone; after it the other parts are always taken. */
static sent send_rid(void *socket, const void *rid, size_t n)
{
    zmq_msg_t part;
    if (zmq_msg_init_size(&part, n)) return SEND_FULL;
    memcpy(zmq_msg_data(&part), rid, n);
    if (send_part(socket, &part, true) >= 0) return SENT;
    int why = errno;
    zmq_msg_close(&part);
    return why == EAGAIN || why == ENOMEM ? SEND_FULL : SEND_GONE;
}

/* Sends copies: the core keeps these frames and may patch their header again, so that is copied
 * byte by byte, while the other parts share their bytes. */
static sent send_copy(void *socket, const uint8_t rid[5], message *m)
{
    zmq_msg_t copy[LIMIT_FRAMES];
    size_t header = zmq_msg_size(&m->part[0]);
    if (zmq_msg_init_size(&copy[0], header)) return SEND_FULL;
    memcpy(zmq_msg_data(&copy[0]), zmq_msg_data(&m->part[0]), header);
    for (uint32_t i = 1; i < m->n; i++) {
        zmq_msg_init(&copy[i]);
        zmq_msg_copy(&copy[i], &m->part[i]);
    }
    sent rc = send_rid(socket, rid, 5);
    for (uint32_t i = 0; i < m->n; i++) {
        if (rc == SENT) send_part(socket, &copy[i], i + 1 < m->n);
        zmq_msg_close(&copy[i]);
    }
    return rc;
}

static sent send_message(driver *d, const conn *c, message *m)
{
    port *p = &d->ports[c->port];
    uint8_t rid[5];
    driver_rid(c, rid);
    p->ready = true; /* a send may take the wake-up of what arrived meanwhile */
    if (m->frames.refs > 1) return send_copy(p->socket, rid, m);
    sent rc = send_rid(p->socket, rid, 5);
    if (rc != SENT) return rc;
    for (uint32_t i = 0; i < m->n; i++)
        send_part(p->socket, &m->part[i], i + 1 < m->n);
    m->n = 0; /* libzmq owns the parts */
    return SENT;
}

/* A message of the broker's own, encoded into frames. NULL: no memory, or over a limit. */
static message *encode(driver *d, const envelope *e, sv_str body)
{
    size_t size = envelope_size(e);
    message *m = size ? message_take(d) : NULL;
    if (m == NULL) return NULL;
    bool ok = zmq_msg_init_size(&m->part[0], size) == 0;
    if (ok) {
        m->n = 1;
        envelope_write(e, zmq_msg_data(&m->part[0]));
        if (body.p) ok = zmq_msg_init_size(&m->part[1], body.n) == 0;
        if (ok && body.p) {
            m->n = 2;
            if (body.n) memcpy(zmq_msg_data(&m->part[1]), body.p, body.n);
        }
    }
    if (!ok) {
        frames_unref(&m->frames);
        return NULL;
    }
    m->frames.bytes = (uint32_t)(size + body.n);
    m->frames.data_bytes = body.n;
    return m;
}

/* What a message kept for later needs and one that is sent at once does not. */
static bool make_frames(message *m)
{
    core_frames *f = &m->frames;
    f->header_data = zmq_msg_data(&m->part[0]);
    f->body = m->n > 1 ? (sv_str){zmq_msg_data(&m->part[1]), (uint32_t)zmq_msg_size(&m->part[1])}
                       : (sv_str){NULL, 0};
    return envelope_decode(f->header_data, zmq_msg_size(&m->part[0]), &f->env, NULL) == 0;
}

/* Notes that the connection takes nothing for now. False: no memory to come back to it. */
static bool block(driver *d, conn *c)
{
    if (!c->blocked)
        c->blocked = later_add(&d->blocked, (later){.kind = CORE_WRITABLE, .number = c->id});
    return c->blocked;
}

static void perform_send(driver *d, const core_action *a)
{
    conn *c = conns_get(&d->conns, a->peer);
    bool own = a->kind == CORE_EMIT;
    message *m = NULL;
    if (c && !c->gone) m = own ? encode(d, &a->env, a->body) : (message *)(void *)a->frames;
    if (m == NULL) {
        /* A message lost in a conversation ends it: the peer's next life starts clean. */
        if (c && !c->gone) driver_gone(d, c);
        if (!own) frames_unref(a->frames);
        return;
    }
    if (own && a->env.kind == SV_WELCOME) conns_welcome(&d->conns, c);
    sent rc = c->blocked ? SEND_FULL : send_message(d, c, m);
    if (rc == SEND_FULL && (!own || make_frames(m)) && block(d, c) &&
        later_add(&d->unsent, (later){.kind = CORE_BLOCKED, .number = c->id, .frames = &m->frames}))
        return;
    if (rc != SENT) driver_gone(d, c);
    frames_unref(&m->frames);
}

static void perform(driver *d, core_actions actions)
{
    for (size_t i = 0; i < actions.n; i++) {
        const core_action *a = &actions.items[i];
        conn *c;
        switch (a->kind) {
        case CORE_FORWARD:
        case CORE_EMIT: perform_send(d, a); break;
        case CORE_FORGET:
            if ((c = conns_get(&d->conns, a->peer))) driver_forget(d, c);
            break;
        }
    }
}

void driver_step(driver *d, const core_event *e)
{
    perform(d, core_step(d->core, e, d->now_us));
    for (uint32_t i = 0; i < d->unsent.n; i++) { /* a step for one may add more at the end */
        later l = d->unsent.items[i];
        core_event back = {.kind = CORE_BLOCKED, .peer = l.number, .frames = l.frames};
        perform(d, core_step(d->core, &back, d->now_us));
    }
    d->unsent.n = 0;
}

void driver_goodbye(driver *d, const port *p, sv_str routing_id, int code, const char *words)
{
    char bytes[GOODBYE_BODY];
    buf body;
    const sv_error_info *info = sv_error_lookup(code);
    error_body b = {.code = sv_cstr(info->name), .message = sv_cstr(words ? words : info->text)};
    envelope e = {.kind = SV_GOODBYE, .code = info->status, .sender = "bus"};
    buf_init(&body, sizeof bytes);
    message *m =
        message_encode(&error_body_msg, &b, &body) == 0 ? encode(d, &e, buf_str(&body)) : NULL;
    buf_free(&body);
    if (m == NULL) return;
    if (send_rid(p->socket, routing_id.p, routing_id.n) == SENT)
        for (uint32_t i = 0; i < m->n; i++)
            send_part(p->socket, &m->part[i], i + 1 < m->n);
    d->ports[p->index].ready = true;
    frames_unref(&m->frames);
}

/* ---- receiving ---- */

/* What came after the routing id. */
typedef struct incoming {
    uint32_t n;     /* frames; more than LIMIT_FRAMES were counted and dropped */
    size_t bytes;   /* of all frames */
    size_t size[2]; /* header and body */
} incoming;

/* All of a message is there once its first part is. `m` NULL drops every part. */
static void receive_parts(const port *p, message *m, incoming *in)
{
    bool more = true;
    while (more) {
        zmq_msg_t spare, *to = m && in->n < LIMIT_FRAMES ? &m->part[in->n] : &spare;
        zmq_msg_init(to);
        int rc;
        do
            rc = zmq_msg_recv(to, p->socket, ZMQ_DONTWAIT);
        while (rc < 0 && errno == EINTR);
        more = rc >= 0 && zmq_msg_more(to);
        size_t size = rc > 0 ? (size_t)rc : 0;
        if (in->n < 2) in->size[in->n] = size;
        in->bytes += size;
        in->n++;
        if (to == &spare)
            zmq_msg_close(&spare);
        else
            m->n = in->n;
    }
}

static bool drop_malformed(driver *d, const char *why, const incoming *in)
{
    core_count_dropped(d->core, 1, 0);
    log_write(LOG_WARN, "message dropped: malformed", LOG_STR("reason", why),
              LOG_INT("frames", in->n), LOG_INT("bytes", in->bytes));
    return false;
}

/* Checks what came and fills in what the core reads; false: to be dropped. */
static bool check(driver *d, message *m, const incoming *in)
{
    core_frames *f = &m->frames;
    if (in->n == 0 || in->n > LIMIT_FRAMES)
        return drop_malformed(d, "too many frames, or none", in);
    if (in->bytes > LIMIT_MESSAGE_BYTES) return drop_malformed(d, "too large", in);
    f->header_data = zmq_msg_data(&m->part[0]);
    if (envelope_decode(f->header_data, in->size[0], &f->env, NULL)) {
        sv_error e = {0}; /* words only for those who need them: this struct is large */
        (void)envelope_decode(f->header_data, in->size[0], &f->env, &e);
        return drop_malformed(d, e.message, in);
    }
    f->body = (sv_str){NULL, 0};
    if (in->n > 1) f->body = (sv_str){zmq_msg_data(&m->part[1]), (uint32_t)in->size[1]};
    f->bytes = (uint32_t)in->bytes;
    f->data_bytes = (uint32_t)(in->bytes - in->size[0]);
    return true;
}

/* A routing id that libzmq did not choose could pass for somebody's: it is never served. */
static void refuse_self_named(driver *d, const port *p, const zmq_msg_t *rid)
{
    core_count_dropped(d->core, 0, 1);
    log_write(LOG_WARN, "message dropped: the peer chose its own routing id");
    sv_str id = {zmq_msg_data((zmq_msg_t *)(uintptr_t)rid), (uint32_t)zmq_msg_size(rid)};
    driver_goodbye(d, p, id, SV_E_IDENTITY,
                   "Leave ZMQ_ROUTING_ID unset: the broker numbers its connections itself.");
}

static void deliver(driver *d, const port *p, const zmq_msg_t *rid, message *m)
{
    conn *c = connection(d, p, rid);
    if (c == NULL) {
        core_count_dropped(d->core, 0, 1);
        frames_unref(&m->frames);
        return;
    }
    /* The supervisor may have announced the process after its connection was first heard. */
    if (m->frames.env.kind == SV_HELLO && p->index == ENDPOINT_LOCAL)
        procs_identity(&d->procs, c->pid, &c->who);
    core_event e = {.kind = CORE_MESSAGE, .peer = c->id, .who = &c->who, .frames = &m->frames};
    driver_step(d, &e);
}

/* One message, whatever becomes of it. False: the socket is empty. */
static bool receive(driver *d, port *p)
{
    zmq_msg_t rid;
    zmq_msg_init(&rid);
    while (zmq_msg_recv(&rid, p->socket, ZMQ_DONTWAIT) < 0) {
        if (errno == EINTR) continue;
        zmq_msg_close(&rid);
        return false;
    }
    incoming in = {0};
    message *m = message_take(d);
    if (zmq_msg_more(&rid)) receive_parts(p, m, &in);
    const uint8_t *id = zmq_msg_data(&rid);
    if (m == NULL) {
        core_count_dropped(d->core, 0, 1);
        log_write(LOG_ERROR, "message dropped: out of memory");
    } else if (zmq_msg_size(&rid) != 5 || id[0] != 0) {
        refuse_self_named(d, p, &rid);
        frames_unref(&m->frames);
    } else if (!check(d, m, &in)) {
        frames_unref(&m->frames);
    } else {
        deliver(d, p, &rid, m);
    }
    zmq_msg_close(&rid);
    return true;
}

static void receive_batch(driver *d, port *p)
{
    for (uint32_t i = 0; i < DRIVER_BATCH; i++) {
        if (i % CLOCK_EVERY == 0) d->now_us = clock_us();
        /* Cleared before, not after: the steps of the message received now set it again. */
        p->ready = false;
        if (!receive(d, p)) return;
        p->ready = true;
    }
}

/* ---- the turn ---- */

static void end_later(driver *d)
{
    for (uint32_t i = 0; i < d->ended.n; i++) { /* a step for one may add more at the end */
        later l = d->ended.items[i];
        conn *c, *next;
        if (l.kind == CORE_GONE) {
            core_event e = {.kind = CORE_GONE, .peer = l.number};
            driver_step(d, &e);
            if ((c = conns_get(&d->conns, l.number))) driver_forget(d, c);
            continue;
        }
        core_event e = {.kind = CORE_EXITED, .pid = l.number};
        driver_step(d, &e);
        conn_list *lists[] = {&d->conns.known, &d->conns.strangers};
        for (int k = 0; k < 2; k++) {
            for (c = lists[k]->first; c; c = next) {
                next = c->next;
                if (c->pid == l.number) driver_forget(d, c);
            }
        }
    }
    d->ended.n = 0;
}

/* A ROUTER does not say when a peer takes more: the core tries again, at most once a millisecond.
 */
static void retry_blocked(driver *d)
{
    if (d->blocked.n == 0 || d->now_us < d->retry_us) return;
    d->retry_us = d->now_us + RETRY_US + d->blocked.n * RETRY_EACH_US;
    /* The list is taken: who blocks again during a step stands on the new one. */
    later_list now = d->blocked;
    d->blocked = d->blocked_spare;
    d->blocked.n = 0;
    for (uint32_t i = 0; i < now.n; i++) {
        conn *c = conns_get(&d->conns, now.items[i].number);
        if (c == NULL) continue;
        c->blocked = false;
        core_event e = {.kind = CORE_WRITABLE, .peer = c->id};
        driver_step(d, &e);
    }
    d->blocked_spare = now;
}

static void timer_fired(void *arg)
{
    driver *d = arg;
    d->tick_us = UINT64_MAX; /* the turn's hook does the work */
}

static void arm_timer(driver *d)
{
    uint64_t due = core_next_us(d->core);
    if (d->blocked.n && d->retry_us < due) due = d->retry_us;
    if (due >= d->tick_us || due == UINT64_MAX) return; /* what fires early arms again */
    uint64_t now_us = loop_now_us(d->loop);
    if (loop_timer_set(d->loop, &d->tick, due > now_us ? due - now_us : 0, timer_fired, d) == 0)
        d->tick_us = due;
}

bool driver_turn(void *arg)
{
    driver *d = arg;
    if (d->stopping) return false;
    d->now_us = clock_us();
    bool busy = true;
    for (int pass = 0; busy && pass < PASSES; pass++) {
        busy = false;
        for (uint32_t k = 0; k < PORTS; k++) {
            port *p = &d->ports[(d->first_port + k) % PORTS];
            if (p->socket && p->ready) receive_batch(d, p);
        }
        d->first_port++;
        if (d->next_policy) {
            core_event e = {.kind = CORE_POLICY,
                            .policy = d->next_policy,
                            .policy_file = d->policy_loaded.inode ? d->policy_file : NULL};
            d->next_policy = NULL;
            driver_step(d, &e);
        }
        if (core_next_us(d->core) <= d->now_us) {
            core_event e = {.kind = CORE_TICK};
            driver_step(d, &e);
        }
        retry_blocked(d);
        for (uint32_t k = 0; k < PORTS; k++)
            busy |= d->ports[k].ready;
        if (!busy && d->ended.n) {
            end_later(d);
            for (uint32_t k = 0; k < PORTS; k++)
                busy |= d->ports[k].ready;
        }
    }
    /* Under load the sockets are hardly ever empty: ends wait for one round, not for ever. */
    if (busy && d->ended.n) end_later(d);
    arm_timer(d);
    return busy;
}

void driver_socket_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    ((port *)arg)->ready = true;
}
