/*  limits_bus.c - every ask is a stream and a timer: a broker that hangs answers nothing in time. */
#include "limits_bus.h"

#include "error.h"

#include <stdlib.h>

enum { REPLY_BYTES = 4096 };

typedef struct bus_ask {
    limits_bus *bus;
    limits_counter *counter; /* NULL: nobody wants the answer */
    sv_stream *stream;
    loop_timer timer;
    ring_link link;
} bus_ask;

struct limits_bus {
    sv_process *p;
    loop *l;
    limits *limits;
    ring_link asks;
    loop_timer tick;
    arena arena;
};

static void ask_over(bus_ask *a, int code, const cache_limit_take_reply *reply)
{
    limits_bus *b = a->bus;
    limits_counter *c = a->counter;
    loop_timer_stop(b->l, &a->timer);
    ring_unlink(&a->link);
    free(a);
    if (c) limits_answer(b->limits, c, code, reply);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    (void)err;
    bus_ask *a = arg;
    limits_bus *b = a->bus;
    cache_limit_take_reply reply;
    if (code == 0)
        code = message_decode(&cache_limit_take_reply_msg, item->body, MESSAGE_LENIENT, &b->arena,
                              &reply, NULL);
    ask_over(a, code, &reply);
    arena_reset(&b->arena);
}

static void on_timeout(void *arg)
{
    bus_ask *a = arg;
    sv_cancel(a->stream);
    ask_over(a, SV_E_DEADLINE, NULL);
}

static bool start(limits_bus *b, limits_counter *c, const cache_limit_take_req *q)
{
    static const sv_events events = {.done = on_done};
    sv_request r = {.target = "cache.limit_take",
                    .key = q->name,
                    .type = &cache_limit_take_req_msg,
                    .body = q,
                    .ttl_ms = LIMITS_ASK_MS};
    bus_ask *a = calloc(1, sizeof *a);
    if (a == NULL) return false;
    a->bus = b;
    a->counter = c;
    if (loop_timer_set(b->l, &a->timer, LIMITS_ASK_MS * 1000, on_timeout, a) == 0)
        a->stream = sv_open(b->p, &r, &events, a, NULL);
    if (a->stream == NULL) {
        loop_timer_stop(b->l, &a->timer);
        free(a);
        return false;
    }
    ring_push(&b->asks, &a->link);
    return true;
}

static bool ask(void *arg, limits_counter *c, const cache_limit_take_req *q)
{
    limits_bus *b = arg;
    return sv_connected(b->p) && start(b, c, q);
}

static void tell(void *arg, const cache_limit_take_req *q)
{
    limits_bus *b = arg;
    if (sv_connected(b->p)) start(b, NULL, q);
}

static void on_tick(void *arg)
{
    limits_bus *b = arg;
    if (limits_tick(b->limits)) loop_timer_set(b->l, &b->tick, LIMITS_TICK_MS * 1000, on_tick, b);
}

static void wake(void *arg)
{
    limits_bus *b = arg;
    loop_timer_set(b->l, &b->tick, LIMITS_TICK_MS * 1000, on_tick, b);
}

static uint64_t now_us(void *arg)
{
    limits_bus *b = arg;
    return loop_now_us(b->l);
}

int limits_bus_open(sv_process *p, limits_bus **ret, sv_error *err)
{
    limits_bus *b = calloc(1, sizeof *b);
    if (b == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    b->p = p;
    b->l = sv_loop(p);
    ring_init(&b->asks);
    arena_init(&b->arena, REPLY_BYTES);
    limits_options o = {.counters = (uint32_t)config_int(sv_config(p), "edge.limit_counters"),
                        .now_us = now_us,
                        .ask = ask,
                        .tell = tell,
                        .wake = wake,
                        .arg = b};
    limits_rules_read(sv_config(p), &o.rules);
    b->limits = limits_new(&o);
    if (b->limits == NULL) {
        arena_free(&b->arena);
        free(b);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    *ret = b;
    return 0;
}

limits *limits_bus_limits(limits_bus *b)
{
    return b->limits;
}

void limits_bus_close(limits_bus *b, bool bus_gone)
{
    if (b == NULL) return;
    while (!ring_empty(&b->asks)) {
        bus_ask *a = member_of(bus_ask, link, b->asks.next);
        if (!bus_gone) sv_cancel(a->stream);
        a->counter = NULL;
        ask_over(a, 0, NULL);
    }
    loop_timer_stop(b->l, &b->tick);
    limits_free(b->limits);
    arena_free(&b->arena);
    free(b);
}
