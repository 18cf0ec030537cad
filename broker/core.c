/*  core.c - one step of the broker: an event in, actions out.
 *
 *  A step runs in four parts: forget what the last step's actions borrowed; handle the event; fire
 *  the timers that are due; settle: queues that may move, writable peers with a backlog, peers
 *  marked for their end. Settling repeats until nothing is left, and ends because every round takes
 *  something away: a queued request, a waiting message or a peer. */
#include "core_state.h"

#include "utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEP_ARENA_BYTES = 64 << 20, SCRATCH_KEEP = 65536, ACTIONS_KEEP = 4096 };

/* ---- memory ---- */

void *core_alloc(core *c, size_t n)
{
    void *p = calloc(1, n);
    if (p) c->memory += n;
    return p;
}

void core_dealloc(core *c, void *p, size_t n)
{
    if (p == NULL) return;
    assert(c->memory >= n);
    c->memory -= n;
    free(p);
}

size_t core_memory(const core *c)
{
    return c->memory + c->cap_actions * sizeof *c->actions + c->arena.used + c->scratch.cap +
           c->cap_lent * sizeof *c->lent +
           sizeof(core_node *) *
               (c->peers.n_slots + c->services.n_slots + c->methods.n_slots + c->requests.n_slots +
                c->flows.n_slots + c->retries.n_slots + c->words.n_slots);
}

uint64_t core_unix_us(const core *c)
{
    return c->now_us + c->unix_offset;
}

/* Doubles *list so that one more fits; false when memory is out. */
static bool list_grow(void *list, size_t n, size_t *cap, size_t size)
{
    void **at = list;
    if (n < *cap) return true;
    size_t want = *cap ? *cap * 2 : 64;
    void *grown = realloc(*at, want * size);
    if (grown == NULL) return false;
    *at = grown;
    *cap = want;
    return true;
}

bool core_lend_frames(core *c, core_frames *f)
{
    if (!list_grow(&c->lent, c->n_lent, &c->cap_lent, sizeof *c->lent)) return false;
    c->lent[c->n_lent++] = f;
    return true;
}

/* What the last step's actions borrowed may go now. */
static void lent_free(core *c)
{
    for (size_t i = 0; i < c->n_lent; i++)
        frames_unref(c->lent[i]);
    c->n_lent = 0;
}

/* ---- actions ---- */

core_action *core_action_room(core *c)
{
    if (!list_grow(&c->actions, c->n_actions, &c->cap_actions, sizeof(core_action))) return NULL;
    return &c->actions[c->n_actions++];
}

sv_str core_encode(core *c, const sv_message *m, const void *src)
{
    sv_str none = {NULL, 0};
    buf_reset(&c->scratch, SCRATCH_KEEP);
    if (message_encode(m, src, &c->scratch)) return none;
    char *copy = arena_alloc(&c->arena, c->scratch.n ? c->scratch.n : 1);
    if (copy == NULL) return none;
    memcpy(copy, c->scratch.p, c->scratch.n);
    return (sv_str){copy, (uint32_t)c->scratch.n};
}

sv_str core_error_body(core *c, int code, const char *message, uint32_t retry_after_ms)
{
    const sv_error_info *info = sv_error_lookup(code);
    char words[256];
    snprintf(words, sizeof words, "%s", message ? message : info->text);
    size_t n = strlen(words);
    while (n > 0 && !utf8_valid((sv_str){words, (uint32_t)n})) /* cut in the middle of a letter */
        words[--n] = 0;
    error_body b = {
        .code = sv_cstr(info->name), .message = sv_cstr(words), .retry_after_ms = retry_after_ms};
    return core_encode(c, &error_body_msg, &b);
}

bool core_emit_to(core *c, peer_id to, const envelope *e, sv_str body)
{
    core_action *a = core_action_room(c);
    if (a == NULL) return false;
    a->kind = CORE_EMIT;
    a->peer = to;
    a->frames = NULL;
    a->env = *e;
    if (e->sender[0] == 0) memcpy(a->env.sender, "bus", 4);
    a->body = body;
    c->stats.emitted++;
    return true;
}

/* ---- life ---- */

static void limits_fill(core_limits *l)
{
    static const core_limits normal = {.peers = LIMIT_PEERS,
                                       .open = LIMIT_OPEN,
                                       .peer_open = LIMIT_PEER_OPEN,
                                       .ping_ms = 250,
                                       .suspect_ms = 1000,
                                       .lost_ms = 5000,
                                       .out_messages = CORE_OUT_MESSAGES,
                                       .out_bytes = CORE_OUT_BYTES,
                                       .records = 4096};
#define FILL(name)                                                                                 \
    if (l->name == 0) l->name = normal.name
    FILL(peers);
    FILL(open);
    FILL(peer_open);
    FILL(ping_ms);
    FILL(suspect_ms);
    FILL(lost_ms);
    FILL(out_messages);
    FILL(out_bytes);
    FILL(records);
#undef FILL
}

static int tables_init(core *c)
{
    if (core_table_init(&c->peers, 64) || core_table_init(&c->services, 64) ||
        core_table_init(&c->methods, 256) || core_table_init(&c->requests, 1024) ||
        core_table_init(&c->flows, 256) || core_table_init(&c->retries, 64) ||
        core_table_init(&c->words, 64) || core_table_init(&c->passes, 64))
        return SV_E_NO_MEMORY;
    c->hops = core_alloc(c, c->limits.records * sizeof *c->hops);
    return c->hops ? 0 : SV_E_NO_MEMORY;
}

core *core_new(const core_options *o, uint64_t now_us, uint64_t unix_us)
{
    core *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->memory = sizeof *c;
    snprintf(c->node, sizeof c->node, "%s", o->node ? o->node : "samovar");
    snprintf(c->policy_file, sizeof c->policy_file, "%s", o->policy_file ? o->policy_file : "");
    c->epoch = o->epoch ? o->epoch : 1;
    c->limits = o->limits;
    limits_fill(&c->limits);
    c->tickets = o->tickets;
    c->reload = o->reload;
    c->reload_arg = o->reload_arg;
    c->now_us = c->live_us = c->started_us = now_us;
    c->unix_offset = unix_us - now_us;
    c->random = o->seed;
    c->seed = (core_seed){core_random(&c->random), core_random(&c->random) | 1};
    core_wheel_init(&c->wheel, now_us);
    core_ring_init(&c->doomed);
    core_ring_init(&c->dirty);
    core_ring_init(&c->taps);
    core_ring_init(&c->waiting);
    core_ring_init(&c->lagging);
    arena_init(&c->arena, STEP_ARENA_BYTES);
    buf_init(&c->scratch, OWN_REPLY_BYTES);
    c->policy = o->policy;
    c->policy_generation = 1;
    c->faults = policy_has_faults(c->policy);
    if (tables_init(c) || core_bus_init(c)) {
        c->policy = NULL; /* stays the caller's */
        core_free(c);
        return NULL;
    }
    return c;
}

static void requests_free(core *c)
{
    core_node *n;
    while ((n = core_table_next(&c->requests, NULL)))
        core_request_release(c, core_of(request, node, n));
    while (c->spare) {
        request *r = c->spare;
        c->spare = (request *)(void *)r->node.next;
        core_dealloc(c, r, sizeof *r);
    }
}

void core_free(core *c)
{
    if (c == NULL) return;
    core_node *n;
    lent_free(c);
    if (c->requests.slots) requests_free(c);
    while (c->peers.slots && (n = core_table_next(&c->peers, NULL)))
        core_peer_free(c, core_of(peer, node, n));
    while (c->flows.slots && (n = core_table_next(&c->flows, NULL)))
        core_flow_free(c, core_of(flow, node, n));
    while (c->methods.slots && (n = core_table_next(&c->methods, NULL)))
        core_method_unref(c, core_of(method, node, n)); /* only the broker's own are left */
    if (c->bus) core_service_unref(c, c->bus);
    core_dealloc(c, c->hops, c->limits.records * sizeof *c->hops);
    core_table_free(&c->peers);
    core_table_free(&c->services);
    core_table_free(&c->methods);
    core_table_free(&c->requests);
    core_table_free(&c->flows);
    core_table_free(&c->retries);
    core_table_free(&c->words);
    core_table_free(&c->passes);
    assert(c->memory == sizeof *c);
    policy_unref(c->policy);
    free(c->actions);
    free(c->lent);
    buf_free(&c->scratch);
    arena_free(&c->arena);
    free(c);
}

/* ---- the step ---- */

/* The frames are this function's to give away or unref. */
static void message_known(core *c, peer *p, core_frames *f)
{
    const envelope *e = &f->env;
    core_peer_seen(c, p);
    switch ((sv_kind)e->kind) {
    case SV_REQUEST: core_request_new(c, p, f); return;
    case SV_REPLY: core_request_reply(c, p, f); return;
    case SV_PARTIAL: core_stream_partial(c, p, f); return;
    case SV_CREDIT: core_stream_credit(c, p, f); return;
    case SV_CANCEL: core_request_cancel(c, p, f); return;
    case SV_EVENT: core_event_publish(c, p, f); return;
    case SV_SUBSCRIBE: core_event_subscribe(c, p, e); break;
    case SV_UNSUBSCRIBE: core_event_unsubscribe(c, p, e); break;
    case SV_PING: {
        envelope pong = {.kind = SV_PONG, .id = e->id};
        core_send_own(c, p, &pong, (sv_str){NULL, 0}, OUT_CONTROL);
        break;
    }
    case SV_PONG: core_peer_pong(c, p, e); break;
    case SV_DRAIN: core_peer_drain(c, p); break;
    case SV_GOODBYE:
        p->clean = true;
        core_peer_doom(c, p);
        break;
    case SV_HELLO:
    case SV_WELCOME: c->stats.dropped_malformed++; /* WELCOME is the broker's to say */
    }
    if (c->n_taps) {
        hop h = core_hop(c, e, NULL, p, NULL, f->bytes);
        core_hop_note(c, &h, NULL, false);
    }
    frames_unref(f);
}

static void on_message(core *c, const core_event *e)
{
    c->stats.received++;
    core_frames *f = e->frames;
    peer *p = core_peer_find(c, e->peer);
    if (p && p->doomed) {
        frames_unref(f);
    } else if (f->env.kind == SV_HELLO) {
        core_peer_hello(c, e->peer, p, e->who, f);
        frames_unref(f);
    } else if (p == NULL) {
        c->stats.dropped_unknown++;
        core_peer_stranger(c, e->peer, &f->env);
        frames_unref(f);
    } else {
        message_known(c, p, f);
    }
}

static void on_policy(core *c, policy *p)
{
    policy_unref(c->policy);
    c->policy = p;
    c->policy_generation++;
    c->faults = policy_has_faults(p);
    c->reload_error[0] = 0;
    for (core_node *n = NULL; (n = core_table_next(&c->services, n));)
        core_service_touch(c, core_of(service, node, n)); /* a queue may have become wider */
    core_bus_policy_swapped(c);
}

static void on_event(core *c, const core_event *e)
{
    peer *p;
    switch (e->kind) {
    case CORE_MESSAGE: on_message(c, e); break;
    case CORE_GONE:
        if ((p = core_peer_find(c, e->peer))) core_peer_doom(c, p);
        break;
    case CORE_BLOCKED:
        if ((p = core_peer_find(c, e->peer)) && !p->doomed)
            core_out_blocked(c, p, e->frames);
        else
            frames_unref(e->frames);
        break;
    case CORE_WRITABLE:
        if ((p = core_peer_find(c, e->peer)) && !p->doomed) core_out_writable(c, p);
        break;
    case CORE_POLICY:
        snprintf(c->policy_file, sizeof c->policy_file, "%s", e->policy_file ? e->policy_file : "");
        on_policy(c, e->policy);
        break;
    case CORE_EXITED: core_peer_exited(c, e->pid); break;
    case CORE_TICK: break;
    }
}

static void settle(core *c)
{
    while (!core_ring_empty(&c->doomed) || !core_ring_empty(&c->dirty)) {
        while (!core_ring_empty(&c->doomed))
            core_peer_end(c, core_of(peer, doom, c->doomed.next));
        while (!core_ring_empty(&c->dirty)) {
            service *s = core_of(service, dirty, c->dirty.next);
            core_unlink(&s->dirty);
            core_dispatch_queue(c, s);
        }
    }
}

core_actions core_step(core *c, const core_event *e, uint64_t now_us)
{
    assert(now_us >= c->now_us);
    uint64_t passed = now_us - c->now_us, ping_us = (uint64_t)c->limits.ping_ms * 1000;
    c->live_us += passed < ping_us ? passed : ping_us;
    c->now_us = now_us;
    lent_free(c);
    arena_reset(&c->arena);
    c->n_actions = 0;
    if (c->cap_actions > ACTIONS_KEEP) {
        free(c->actions);
        c->actions = NULL;
        c->cap_actions = 0;
    }
    on_event(c, e);
    for (core_timer *t; (t = core_wheel_pop(&c->wheel, now_us));) {
        if (t->kind == TIMER_PEER)
            core_peer_timer(c, core_of(peer, timer, t));
        else
            core_request_timer(c, core_of(request, timer, t));
    }
    settle(c);
    if (!core_ring_empty(&c->lagging)) {
        core_out_pump(c);
        settle(c);
    }
    return (core_actions){c->actions, c->n_actions};
}

uint64_t core_next_us(const core *c)
{
    if (!core_ring_empty(&c->lagging)) return c->now_us;
    uint64_t due = core_wheel_next_us(&c->wheel);
    return due < c->now_us ? c->now_us : due;
}

const core_stats *core_get_stats(const core *c)
{
    core_stats *s = (core_stats *)(uintptr_t)&c->stats; /* gauges are read off the state */
    s->open = c->n_open;
    s->peers = c->peers.n;
    s->taps = c->n_taps;
    return s;
}
