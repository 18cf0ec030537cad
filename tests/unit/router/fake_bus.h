/*  fake_bus.h - the part of samovar.h that handlers use, without a bus: what a call was answered,
 *  with a window that a test opens and shuts. Defining these symbols keeps the real ones out of the
 *  program. Include once. */
#ifndef FAKE_BUS_H
#define FAKE_BUS_H

#include "error.h"
#include "samovar.h"
#include "sv_limits.h"
#include "uuid.h"

#include <assert.h>
#include <stdlib.h>

/* A write that was begun: at most one at a time, ended by fake_write_end. */
typedef struct fake_write {
    store_fn *fn;
    const void *in;
    void *out;
    void (*done)(void *arg, int code, const sv_error *err);
    void *arg;
} fake_write;

struct sv_process {
    loop *loop;
    const config *config;
    void *state;
    uint32_t slots;
    store *store;    /* what sv_store answers; only compared with NULL here */
    int write_fails; /* what sv_store_write answers, when not 0 */
    fake_write write;
    int writes, holds;
};

struct seal_key *sv_derive_key(sv_process *p, const char *purpose)
{
    (void)p;
    (void)purpose;
    return NULL;
}

struct sv_call {
    sv_process *process;
    const char *caller;
    sv_id id;
    sv_trace trace;
    sv_str body, attachment, ticket;
    uint32_t ttl_ms;
    bool streaming;
    arena arena;
    sv_error error;
    void *data;
    void (*on_drained)(sv_call *);
    void (*on_cancel)(sv_call *);
    /* what came */
    int answers, partials, writes;
    int code; /* of a refusal */
    sv_error refusal;
    buf head;     /* msgpack of the first partial or the reply */
    buf stream;   /* attachment of the head and everything written */
    buf end;      /* raw reply */
    buf attached; /* attachment of the reply */
    /* the window */
    bool window_shut;
    size_t pending, pending_most;
    int partial_fails;
    bool gone;
};

static sv_call *fake_call(sv_process *p, const char *caller, const char *json, bool streaming)
{
    sv_call *c = calloc(1, sizeof *c);
    assert(c);
    c->process = p;
    c->caller = caller;
    c->id = uuid_new();
    c->attachment = sv_cstr(json);
    c->ttl_ms = 10000;
    c->streaming = streaming;
    arena_init(&c->arena, 4 << 20);
    buf_init(&c->head, 65536);
    buf_init(&c->stream, 64 << 20);
    buf_init(&c->end, 65536);
    buf_init(&c->attached, 64 << 20);
    return c;
}

static void fake_call_free(sv_call *c)
{
    arena_free(&c->arena);
    buf_free(&c->head);
    buf_free(&c->stream);
    buf_free(&c->end);
    buf_free(&c->attached);
    free(c);
}

/* The client takes everything that waits. */
static inline void fake_drain(sv_call *c)
{
    c->window_shut = false;
    bool had = c->pending > 0;
    c->pending = 0;
    if (had && c->answers == 0 && c->on_drained) c->on_drained(c);
}

static inline void fake_cancel(sv_call *c)
{
    if (c->answers == 0 && c->on_cancel) c->on_cancel(c);
}

/* The store comes back with `code`; what was to be written is up to the test. */
static inline void fake_write_end(sv_process *p, int code, const sv_error *err)
{
    fake_write w = p->write;
    assert(w.done);
    p->write = (fake_write){0};
    w.done(w.arg, code, err);
}

store *sv_store(sv_process *p)
{
    return p->store;
}

int sv_store_write(sv_process *p, const char *owner, store_fn *fn, const void *in, void *out,
                   void (*done)(void *arg, int code, const sv_error *err), void *arg)
{
    assert(owner && p->write.done == NULL);
    p->writes++;
    if (p->write_fails) return p->write_fails;
    p->write = (fake_write){fn, in, out, done, arg};
    return 0;
}

int store_read(sv_call *c, store_fn *fn, const void *in, void *out)
{
    (void)c, (void)fn, (void)in, (void)out;
    return SV_E_INTERNAL;
}

int store_write(sv_call *c, store_fn *fn, const void *in, void *out)
{
    (void)c, (void)fn, (void)in, (void)out;
    return SV_E_INTERNAL;
}

int sv_work(sv_call *c, int (*work)(void *arg), void *arg)
{
    (void)c;
    return work(arg);
}

int sv_sleep(sv_call *c, uint32_t ms)
{
    (void)c, (void)ms;
    return 0;
}

void sv_hold(sv_process *p, int delta)
{
    p->holds += delta;
}

const sv_trace *sv_call_trace(const sv_call *c)
{
    return &c->trace;
}

sv_str sv_call_ticket(const sv_call *c)
{
    return c->ticket;
}

bool sv_call_cancelled(const sv_call *c)
{
    return c->gone;
}

loop *sv_loop(sv_process *p)
{
    return p->loop;
}

const config *sv_config(sv_process *p)
{
    return p->config;
}

void *sv_process_state(sv_process *p)
{
    return p->state;
}

uint32_t sv_instance(sv_process *p)
{
    (void)p;
    return 1;
}

void sv_set_slots(sv_process *p, uint32_t slots)
{
    p->slots = slots;
}

sv_process *sv_call_process(sv_call *c)
{
    return c->process;
}

const char *sv_call_caller(const sv_call *c)
{
    return c->caller;
}

uint32_t sv_call_caller_instance(const sv_call *c)
{
    (void)c;
    return 3;
}

const sv_id *sv_call_id(const sv_call *c)
{
    return &c->id;
}

sv_str sv_call_attachment(const sv_call *c)
{
    return c->attachment;
}

uint32_t sv_call_ttl_ms(const sv_call *c)
{
    return c->ttl_ms;
}

bool sv_call_streaming(const sv_call *c)
{
    return c->streaming;
}

arena *sv_call_arena(sv_call *c)
{
    return &c->arena;
}

sv_error *sv_call_error(sv_call *c)
{
    return &c->error;
}

void *sv_call_data(const sv_call *c)
{
    return c->data;
}

void sv_call_set_data(sv_call *c, void *data)
{
    c->data = data;
}

void sv_on_drained(sv_call *c, void (*fn)(sv_call *))
{
    assert(c->answers == 0);
    c->on_drained = fn;
}

void sv_on_cancel(sv_call *c, void (*fn)(sv_call *))
{
    assert(c->answers == 0);
    c->on_cancel = fn;
}

size_t sv_write_pending(const sv_call *c)
{
    assert(c->answers == 0);
    return c->pending;
}

int sv_write(sv_call *c, const char *content_type, sv_str bytes)
{
    assert(c->answers == 0 && content_type);
    if (c->gone) return SV_E_CANCELLED;
    if (c->pending + bytes.n > 1048576) return SV_E_QUEUE_FULL;
    c->writes++;
    assert(buf_put(&c->stream, bytes.p, bytes.n) == 0);
    if (c->window_shut) c->pending += bytes.n;
    if (c->pending > c->pending_most) c->pending_most = c->pending;
    return 0;
}

int sv_partial(sv_call *c, const sv_message *m, const void *item, sv_str attachment)
{
    assert(c->answers == 0);
    if (c->partial_fails) return c->partial_fails;
    c->partials++;
    assert(c->partials == 1 && message_encode(m, item, &c->head) == 0);
    assert(c->head.n + attachment.n <= LIMIT_PART_BYTES);
    assert(buf_put(&c->stream, attachment.p, attachment.n) == 0);
    return 0;
}

static const sv_message *fake_reply_type;

int sv_reply_with(sv_call *c, const void *reply, sv_str attachment)
{
    assert(c->answers++ == 0);
    assert(message_encode(fake_reply_type, reply, &c->head) == 0);
    assert(buf_put(&c->attached, attachment.p, attachment.n) == 0);
    return 0;
}

int sv_reply(sv_call *c, const void *reply)
{
    return sv_reply_with(c, reply, (sv_str){NULL, 0});
}

int sv_reply_raw(sv_call *c, const char *content_type, sv_str body)
{
    assert(c->answers++ == 0 && content_type == NULL);
    assert(buf_put(&c->end, body.p, body.n) == 0);
    return 0;
}

void sv_refuse(sv_call *c, int code, const sv_error *err)
{
    assert(c->answers++ == 0);
    c->code = code;
    c->refusal = err ? *err : c->error;
}

/* There are no other services. */
sv_stream *sv_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                   sv_error *err)
{
    (void)p, (void)r, (void)ev, (void)arg;
    sv_fail(err, SV_E_UNAVAILABLE, NULL, NULL);
    return NULL;
}

void sv_cancel(sv_stream *s)
{
    (void)s;
}

bool sv_connected(sv_process *p)
{
    (void)p;
    return false;
}

int sv_subscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    (void)p, (void)pattern, (void)fn, (void)arg;
    return 0;
}

void sv_unsubscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    (void)p, (void)pattern, (void)fn, (void)arg;
}

int sv_main(int argc, char **argv, const sv_actor *actor)
{
    (void)argc, (void)argv, (void)actor;
    return 1;
}

#endif
