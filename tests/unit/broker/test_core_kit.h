/*  test_core_kit.h - a broker without sockets: peers say things, time passes, inboxes fill.
 *
 *      bus_start (&b, NULL);
 *      uint32_t edge = join (&b, "edge", 0, NULL), echo = join (&b, "echo", 4, "say");
 *      ask (&b, edge, 1, "echo.say", .ttl_ms = 500);
 *      msg m = take (&b, echo, SV_REQUEST);
 *      answer (&b, echo, 1, SV_STATUS_OK);
 *      assert_int_equal (take (&b, edge, SV_REPLY).code, SV_STATUS_OK);
 *      bus_end (&b);                    -- checks that nothing leaked
 */
#ifndef TEST_CORE_KIT_H
#define TEST_CORE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core.h"
#include "error.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>

enum { KIT_PEERS = 64, KIT_BODY = 70000 };

typedef struct msg {
    struct msg *next;
    uint32_t peer;
    envelope env; /* target and the other texts point into `texts` */
    uint32_t code;
    char target[LIMIT_TARGET_BYTES + 1];
    char *body;
    uint32_t body_n;
    bool mine; /* the broker's own: EMIT */
} msg;

typedef struct kit_frames {
    core_frames f;
    int *live;
    unsigned char header[LIMIT_HEADER_BYTES];
    char body[];
} kit_frames;

typedef struct kit {
    core *c;
    policy *policy;
    uint64_t now_us;
    uint32_t next_peer;
    identity who[KIT_PEERS];
    msg *in, **tail;
    int live;         /* frames not yet given back */
    int forgotten;    /* FORGET actions */
    uint32_t closed;  /* bit per peer: sends to it do not fit */
    bool quiet_pings; /* PINGs are answered and not kept */
} kit;

typedef struct kit_say {
    uint32_t ttl_ms, credit_items, code, flags, attachment;
    uint64_t credit_bytes;
    const char *target, *key, *sender;
    sv_str ticket, body;
} kit_say;

static inline void kit_release(core_frames *f)
{
    kit_frames *k = (kit_frames *)(void *)f;
    --*k->live;
    free(k);
}

static inline core_frames *kit_make(kit *b, const envelope *e, sv_str body, uint32_t attachment)
{
    kit_frames *k = calloc(1, sizeof *k + body.n + 1);
    size_t n = envelope_size(e);
    assert_true(n > 0);
    envelope_write(e, k->header);
    assert_int_equal(envelope_decode(k->header, n, &k->f.env, NULL), 0);
    if (body.n) memcpy(k->body, body.p, body.n);
    k->f.refs = 1;
    k->f.release = kit_release;
    k->f.header_data = k->header;
    k->f.body = (sv_str){k->body, body.n};
    k->f.data_bytes = body.n + attachment;
    k->f.bytes = (uint32_t)n + k->f.data_bytes;
    k->live = &b->live;
    b->live++;
    return &k->f;
}

static inline sv_id kit_id(uint32_t n)
{
    sv_id id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[15] = 7;
    return id;
}

static inline void kit_step(kit *b, core_event e);

static inline void kit_deliver(kit *b, uint32_t peer, const envelope *e, sv_str body, bool mine)
{
    msg *m = calloc(1, sizeof *m);
    m->peer = peer;
    m->env = *e;
    m->code = e->code;
    m->mine = mine;
    assert_true(e->target.n <= LIMIT_TARGET_BYTES);
    if (e->target.n) memcpy(m->target, e->target.p, e->target.n);
    m->body = malloc(body.n + 1);
    if (body.n) memcpy(m->body, body.p, body.n);
    m->body_n = body.n;
    *b->tail = m;
    b->tail = &m->next;
}

static inline void kit_actions(kit *b, core_actions a)
{
    core_frames *back[512];
    uint32_t whose[512];
    size_t n = 0;
    for (size_t i = 0; i < a.n; i++) {
        core_action *x = &a.items[i];
        if (x->kind == CORE_FORGET) {
            b->forgotten++;
            continue;
        }
        if (x->peer < 32 && b->closed >> x->peer & 1) {
            assert_true(n < 512);
            whose[n] = x->peer;
            back[n++] = x->kind == CORE_FORWARD ? x->frames : kit_make(b, &x->env, x->body, 0);
            continue;
        }
        if (x->kind == CORE_FORWARD) {
            envelope e; /* as the receiver would read it */
            size_t size = envelope_size(&x->frames->env);
            assert_int_equal(envelope_decode(x->frames->header_data, size, &e, NULL), 0);
            kit_deliver(b, x->peer, &e, x->frames->body, false);
            frames_unref(x->frames);
        } else {
            assert_true(envelope_size(&x->env) > 0);
            kit_deliver(b, x->peer, &x->env, x->body, true);
        }
    }
    for (size_t i = 0; i < n; i++)
        kit_step(b, (core_event){.kind = CORE_BLOCKED, .peer = whose[i], .frames = back[i]});
}

static inline void kit_step(kit *b, core_event e)
{
    kit_actions(b, core_step(b->c, &e, b->now_us));
    assert_string_equal(core_check(b->c), "");
}

/* Time passes; timers fire when they are due. */
static inline void pass(kit *b, uint32_t ms)
{
    uint64_t until = b->now_us + ms * 1000ull;
    for (;;) {
        uint64_t next = core_next_us(b->c);
        b->now_us = next < b->now_us ? b->now_us : next < until ? next : until;
        kit_step(b, (core_event){.kind = CORE_TICK});
        if (b->now_us >= until) return;
    }
}

static inline void kit_message(kit *b, uint32_t peer, sv_kind kind, sv_id id, kit_say s)
{
    envelope e = {.kind = (uint8_t)kind,
                  .flags = (uint16_t)s.flags,
                  .credit_items = s.credit_items,
                  .credit_bytes = s.credit_bytes,
                  .ttl_ms = s.ttl_ms,
                  .id = id,
                  .code = s.code,
                  .target = sv_cstr(s.target),
                  .key = sv_cstr(s.key),
                  .ticket = s.ticket};
    if (s.sender) memcpy(e.sender, s.sender, strlen(s.sender) + 1);
    kit_step(b, (core_event){.kind = CORE_MESSAGE,
                             .peer = peer,
                             .who = &b->who[peer],
                             .frames = kit_make(b, &e, s.body, s.attachment)});
}

#define say(b, peer, kind, n, ...) kit_message(b, peer, kind, kit_id(n), (kit_say){__VA_ARGS__})
/* A REQUEST with 1 s and the usual window unless told otherwise. */
#define ask(b, peer, n, method, ...) kit_ask(b, peer, n, method, (kit_say){__VA_ARGS__})
static inline void kit_ask(kit *b, uint32_t peer, uint32_t n, const char *method, kit_say s)
{
    s.target = method;
    s.ttl_ms = s.ttl_ms ? s.ttl_ms : 1000;
    s.credit_items = s.credit_items ? s.credit_items : 64;
    s.credit_bytes = s.credit_bytes ? s.credit_bytes : 262144;
    kit_message(b, peer, SV_REQUEST, kit_id(n), s);
}
#define answer(b, peer, n, status) say(b, peer, SV_REPLY, n, .code = status)

static inline void kit_gone(kit *b, uint32_t peer)
{
    kit_step(b, (core_event){.kind = CORE_GONE, .peer = peer});
}

/* The oldest message of this kind to this peer, taken out; its kind is 0 when there is none. Bodies
 * are borrowed until the next take_. */
static inline msg take_(kit *b, uint32_t peer, sv_kind kind)
{
    static char body[KIT_BODY];
    for (msg **at = &b->in; *at; at = &(*at)->next) {
        msg *m = *at;
        if (m->peer != peer || m->env.kind != kind) continue;
        msg copy = *m;
        *at = m->next;
        if (m->next == NULL) b->tail = at;
        assert_true(m->body_n <= sizeof body);
        memcpy(body, m->body, m->body_n);
        copy.body = body;
        free(m->body);
        free(m);
        return copy;
    }
    return (msg){0};
}

static inline const char *kit_kind(sv_kind k)
{
    return envelope_kind_name((uint8_t)k);
}
#define take(b, peer, kind) take_at(b, peer, kind, __FILE__, __LINE__)
static inline msg take_at(kit *b, uint32_t peer, sv_kind kind, const char *file, int line)
{
    msg m = take_(b, peer, kind);
    if (m.env.kind == 0) {
        fprintf(stderr, "%s:%d: no %s for peer %u\n", file, line, kit_kind(kind), peer);
        fail();
    }
    return m;
}
#define none(b, peer, what) assert_int_equal(take_(b, peer, what).env.kind, 0)

/* The stable code of an error body. */
static inline const char *code_of(const msg *m)
{
    static char code[65];
    arena a;
    arena_init(&a, 65536);
    error_body e;
    assert_int_equal(
        message_decode(&error_body_msg, (sv_str){m->body, m->body_n}, MESSAGE_STRICT, &a, &e, NULL),
        0);
    snprintf(code, sizeof code, "%.*s", SV_FMT(e.code));
    arena_free(&a);
    return code;
}
/* Takes the REPLY and checks status and stable code. */
#define refused(b, peer, status, stable)                                                           \
    do {                                                                                           \
        msg m_ = take(b, peer, SV_REPLY);                                                          \
        assert_int_equal(m_.code, status);                                                         \
        assert_string_equal(code_of(&m_), stable);                                                 \
    } while (0)

typedef struct kit_hello {
    const char *service, *methods, *version; /* methods: "say,ping!" where ! marks idempotent */
    uint32_t instance, slots;
    uint64_t epoch;
} kit_hello;

static inline void hello(kit *b, uint32_t peer, kit_hello h)
{
    bus_method list[16];
    uint32_t n = 0;
    char words[256] = "", *save = NULL;
    if (h.methods) snprintf(words, sizeof words, "%s", h.methods);
    for (char *w = strtok_r(words, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        size_t len = strlen(w);
        bool idempotent = w[len - 1] == '!';
        list[n++] =
            (bus_method){.name = {w, (uint32_t)(len - idempotent)}, .idempotent = idempotent};
    }
    bus_hello x = {.service = sv_cstr(h.service),
                   .instance = h.instance,
                   .epoch = h.epoch ? (int64_t)h.epoch : 1,
                   .version = sv_cstr(h.version),
                   .methods = {list, n},
                   .slots = h.slots};
    buf out;
    buf_init(&out, 65536);
    assert_int_equal(message_encode(&bus_hello_msg, &x, &out), 0);
    kit_message(b, peer, SV_HELLO, kit_id(9999), (kit_say){.body = buf_str(&out)});
    buf_free(&out);
}

static inline uint32_t connect_as(kit *b, identity who)
{
    uint32_t peer = ++b->next_peer;
    assert_true(peer < KIT_PEERS);
    b->who[peer] = who;
    return peer;
}

/* A peer of an unauthenticated endpoint, welcomed. */
static inline uint32_t join(kit *b, const char *service, uint32_t slots, const char *methods)
{
    uint32_t peer = connect_as(b, (identity){.kind = IDENTITY_NONE});
    hello(b, peer, (kit_hello){.service = service, .slots = slots, .methods = methods});
    take(b, peer, SV_WELCOME);
    return peer;
}

static inline void bus_start_with(kit *b, core_options o)
{
    memset(b, 0, sizeof *b);
    b->tail = &b->in;
    b->now_us = 5000000;
    if (o.policy == NULL) {
        o.policy = policy_new(NULL);
        assert_int_equal(policy_add_allow(o.policy, false, "*", "*", "test"), 0);
    }
    o.epoch = 77;
    o.seed = o.seed ? o.seed : 1;
    b->c = core_new(&o, b->now_us, 1700000000000000);
    assert_non_null(b->c);
}
#define bus_start(b, ...) bus_start_with(b, (core_options){__VA_ARGS__})

static inline void clear_inbox(kit *b)
{
    while (b->in) {
        msg *m = b->in;
        b->in = m->next;
        free(m->body);
        free(m);
    }
    b->tail = &b->in;
}

static inline void bus_end(kit *b)
{
    core_free(b->c);
    clear_inbox(b);
    assert_int_equal(b->live, 0);
}

#endif
