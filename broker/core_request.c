/*  core_request.c - a request's record: made, answered, cancelled, expired, orphaned, lost.
 *
 *  Two sides hang on a record: the caller, who gets exactly one answer, and the callee, whose slot
 *  it occupies. The sides end one by one; the record goes with the second. While only the callee's
 *  side is left the record is a zombie. Everything that ends a side passes through caller_done or
 *  callee_done. */
#include "core_state.h"

#include <assert.h>
#include <stdio.h>

request *core_request_find(const core *c, const sv_id *id)
{
    uint64_t h = core_hash_id(c->seed, id->b);
    for (core_node *n = core_table_chain(&c->requests, h); n; n = n->next) {
        request *r = core_of(request, node, n);
        if (n->hash == h && sv_id_eq(&r->id, id)) return r;
    }
    return NULL;
}

/* ---- the record ---- */

static request *record_new(core *c)
{
    request *r = c->spare;
    if (r == NULL) return core_alloc(c, sizeof *r);
    c->spare = (request *)(void *)r->node.next;
    c->n_spare--;
    memset(r, 0, sizeof *r);
    return r;
}

static void record_free(core *c, request *r)
{
#ifndef __SANITIZE_ADDRESS__ /* there every use after the end shall be seen */
    if (c->n_spare < REQUESTS_SPARE) {
        r->node.next = (core_node *)(void *)c->spare;
        c->spare = r;
        c->n_spare++;
        return;
    }
#endif
    core_dealloc(c, r, sizeof *r);
}

void core_request_drop_frames(core *c, request *r)
{
    if (r->frames == NULL) return;
    if (r->state == R_HANDED) c->retained_bytes -= r->bytes;
    frames_unref(r->frames);
    r->frames = NULL;
}

static void caller_done(core *c, request *r, bool error)
{
    core_unlink(&r->of_caller);
    r->caller->n_calls--;
    r->caller = NULL;
    c->n_open--;
    if (r->flow) {
        r->flow->requests++;
        r->flow->errors += error;
        r->flow->open--;
        r->flow = NULL;
    }
}

static void callee_done(core *c, request *r)
{
    peer *p = r->callee;
    core_pass_end(c, r);
    core_unlink(&r->of_callee);
    p->in_flight--;
    p->service->in_flight--;
    if (p->probe == r) p->probe = NULL;
    core_service_touch(c, p->service);
    r->callee = NULL;
}

void core_request_release(core *c, request *r)
{
    core_dispatch_unqueue(c, r);
    core_request_drop_frames(c, r);
    if (r->state == R_OWN) core_own_end(c, r);
    if (r->state == R_ZOMBIE) c->n_zombies--;
    if (r->callee) callee_done(c, r);
    if (r->caller) caller_done(c, r, true);
    core_wheel_stop(&c->wheel, &r->timer);
    core_table_remove(&c->requests, &r->node);
    core_method_unref(c, r->method);
    core_pass_free(c, r);
    record_free(c, r);
}

envelope core_request_envelope(core *c, const request *r, sv_kind kind)
{
    envelope e = {.kind = (uint8_t)kind, .id = r->id, .trace = r->trace};
    sv_str target = {r->method->target, r->method->target_n};
    e.target =
        (sv_str){arena_copy(&c->arena, target), target.n}; /* the method may go before the action */
    if (e.target.p == NULL) e.target.n = 0;
    return e;
}

/* ---- endings ---- */

/* The caller's side is over (of_caller already done): the callee is told, its slot stays occupied.
 */
static void leave_zombie(core *c, request *r)
{
    core_request_drop_frames(c, r);
    r->state = R_ZOMBIE;
    c->n_zombies++;
    core_wheel_set(&c->wheel, &r->timer, c->now_us + ZOMBIE_US);
}

static void cancel_callee(core *c, request *r)
{
    envelope e = core_request_envelope(c, r, SV_CANCEL);
    if (c->n_taps) {
        hop h = core_hop(c, &e, NULL, NULL, r->callee, 0);
        core_hop_note(c, &h, r, false);
    }
    core_send_own(c, r->callee, &e, (sv_str){NULL, 0}, OUT_CONTROL);
}

static void end_callee_side(core *c, request *r)
{
    if (r->state != R_HANDED || r->callee == NULL || r->unsent) {
        core_request_release(c, r);
        return;
    }
    cancel_callee(c, r);
    leave_zombie(c, r);
}

void core_request_fail(core *c, request *r, int code, const char *message, uint32_t retry_after_ms)
{
    envelope e = core_request_envelope(c, r, SV_REPLY);
    e.code = (uint32_t)sv_error_lookup(code)->status;
    sv_str body = core_error_body(c, code, message, retry_after_ms);
    hop h = core_hop(c, &e, NULL, NULL, r->caller, body.n);
    h.attempt = r->attempt;
    core_hop_note(c, &h, r, true);
    core_send_own(c, r->caller, &e, body, OUT_DATA);
    c->stats.replies++;
    caller_done(c, r, true);
    end_callee_side(c, r);
}

void core_request_answer(core *c, request *r, uint32_t status, sv_str body)
{
    envelope e = core_request_envelope(c, r, SV_REPLY);
    e.code = status;
    hop h = core_hop(c, &e, NULL, NULL, r->caller, body.n);
    core_hop_note(c, &h, r, true);
    core_send_own(c, r->caller, &e, body, OUT_DATA);
    c->stats.replies++;
    if (r->flow) histogram_add(&r->flow->service_time, c->now_us - r->accepted_us);
    caller_done(c, r, status != SV_STATUS_OK);
    core_request_release(c, r);
}

void core_request_orphan(core *c, request *r)
{
    c->stats.orphaned++;
    caller_done(c, r, true);
    end_callee_side(c, r);
}

static bool may_repeat(const core *c, const request *r)
{
    return r->idempotent && !r->only && r->frames && !r->touched && r->attempt < 2 &&
           r->deadline_us >= c->now_us + 1000 && r->flow && r->flow->retry->tokens > RETRY_FLOOR;
}

void core_request_lost(core *c, request *r)
{
    callee_done(c, r);
    if (!may_repeat(c, r)) {
        core_request_fail(c, r, SV_E_PEER_LOST, NULL, 0);
        return;
    }
    r->flow->retry->tokens -= RETRY_COST;
    c->retained_bytes -= r->bytes;
    c->stats.redelivered++;
    core_dispatch_again(c, r);
}

static void expired(core *c, request *r)
{
    char words[160];
    uint64_t ms = (c->now_us - r->accepted_us) / 1000;
    c->stats.expired++;
    if (r->state == R_HANDED) {
        uint64_t held = c->now_us - r->handed_us;
        if (held >= HELD_FOR_FAILURE_US)
            core_dispatch_outcome(c, r, SV_STATUS_DEADLINE_EXCEEDED, held);
        snprintf(words, sizeof words, "No answer within %llu ms; %s/%u worked on it.",
                 (unsigned long long)ms, r->callee->service->name, r->callee->instance);
    } else if (r->state == R_QUEUED && r->only) {
        snprintf(words, sizeof words, "Instance %u of %s had no free slot within %llu ms.", r->only,
                 r->method->service->name, (unsigned long long)ms);
    } else if (r->state == R_QUEUED) {
        snprintf(words, sizeof words, "No instance of %s had a free slot within %llu ms.",
                 r->method->service->name, (unsigned long long)ms);
    } else {
        snprintf(words, sizeof words, "No answer within %llu ms.", (unsigned long long)ms);
    }
    core_request_fail(c, r, SV_E_DEADLINE, words, 0);
}

static void no_instance(char words[160], uint32_t instance, sv_str name)
{
    snprintf(words, 160, "Instance %u of service %.*s is not connected.", instance, SV_FMT(name));
}

void core_request_unplaced(core *c, request *r)
{
    const service *s = r->method->service;
    const peer *p = r->only ? core_method_server(r->method, r->only) : NULL;
    char words[160];
    no_instance(words, r->only, sv_cstr(s->name));
    if (r->only && p == NULL)
        core_request_fail(c, r, SV_E_NO_SERVICE, words, 250);
    else if (p && !p->serving)
        core_request_fail(c, r, SV_E_DRAINING, NULL, 1000);
    else if (core_ring_empty(&s->members) || r->method->n_servers == 0)
        core_request_fail(c, r, SV_E_NO_SERVICE, NULL, 0);
    else if (s->n_serving == 0)
        core_request_fail(c, r, SV_E_DRAINING, NULL, 1000);
    else
        core_request_fail(c, r, SV_E_QUEUE_FULL, "No slot became free in time.", 1000);
}

void core_request_timer(core *c, request *r)
{
    if (r->state == R_ZOMBIE)
        core_request_release(c, r);
    else if (r->tap && r->tap->done)
        core_request_answer(c, r, SV_STATUS_OK, (sv_str){NULL, 0});
    else if (c->now_us + 1000 > r->deadline_us)
        expired(c, r);
    else if (r->state == R_DELAYED)
        core_dispatch_new(c, r);
    else if (r->state == R_QUEUED)
        core_request_unplaced(c, r);
    else
        core_wheel_set(&c->wheel, &r->timer, r->deadline_us);
}

/* ---- REQUEST ---- */

typedef struct refusal {
    int code;
    uint32_t retry_after_ms;
    char words[256];
} refusal;

static int refuse(refusal *x, int code, uint32_t retry_after_ms, const char *words)
{
    x->code = code;
    x->retry_after_ms = retry_after_ms;
    snprintf(x->words, sizeof x->words, "%s", words);
    return code;
}

/* A REQUEST's target without the number of the one instance that may get it. */
typedef struct aim {
    sv_str target;
    uint32_t only; /* 0: any; the rest is not set when the target is neither form */
    char plain[LIMIT_TARGET_BYTES + 1];
    bool bound; /* the ticket is, with this name */
    uint8_t ticket[TICKET_HASH];
} aim;

static int check_room(const core *c, const peer *p, const envelope *e, aim *at, refusal *x)
{
    if (!envelope_target_plain(e->target, at->plain, &at->target, &at->only))
        return refuse(x, SV_E_INVALID, 0,
                      "The target must be service.method or service/instance.method.");
    if (core_request_find(c, &e->id)) return refuse(x, SV_E_DUPLICATE_ID, 0, "");
    if (e->ttl_ms == 0)
        return refuse(x, SV_E_DEADLINE, 0, "The request arrived with no time left (ttl 0).");
    if (p->n_calls >= c->limits.peer_open)
        return refuse(x, SV_E_OVERLOADED, 100, "This caller has too many open requests.");
    if (c->n_open >= c->limits.open || c->requests.n >= 2ull * c->limits.open)
        return refuse(x, SV_E_OVERLOADED, 100, "The broker has too many open requests.");
    return 0;
}

static int check_ticket(core *c, const peer *p, const envelope *e, aim *at, refusal *x)
{
    ticket t;
    sv_error err = {0};
    if (c->tickets == NULL ||
        ticket_ring_read(c->tickets, e->ticket, core_unix_us(c) / 1000000, &t, at->ticket, &err))
        return refuse(x, SV_E_TICKET, 0, "");
    at->bound = t.bound.n > 0;
    if (!at->bound || core_pass_may(c, p, t.bound, at->ticket)) return 0;
    c->stats.denied++;
    return refuse(x, SV_E_TICKET, 0, "This ticket is bound to another service.");
}

static int check_rights(core *c, const peer *p, const envelope *e, aim *at, const method *m,
                        flow *f, refusal *x)
{
    if (!core_flow_allowed(c, f, p->service, at->target)) {
        c->stats.denied++;
        refuse(x, SV_E_DENIED, 0, "");
        snprintf(x->words, sizeof x->words, "The policy does not let %s call %.*s.",
                 p->service->name, SV_FMT(at->target));
        return x->code;
    }
    if (e->ticket.n == 0) {
        if (m && core_service_policy(c, m->service)->ticket_required)
            return refuse(x, SV_E_TICKET, 0, "This service needs a ticket.");
        return 0;
    }
    return check_ticket(c, p, e, at, x);
}

static bool served_by(const service *s, uint32_t only)
{
    for (const core_link *l = s->members.next; l != &s->members; l = l->next) {
        const peer *p = core_of(peer, member, l);
        if (p->n_methods && (only == 0 || p->instance == only)) return true;
    }
    return false;
}

static bool can_serve(const method *m, uint32_t only)
{
    return only ? core_method_server(m, only) != NULL : m->bus >= 0 || m->n_servers > 0;
}

static int check_place(const core *c, const aim *at, const method *m, refusal *x)
{
    if (m && can_serve(m, at->only)) return 0;
    const char *dot = memchr(at->target.p, '.', at->target.n);
    sv_str name = {at->target.p, (uint32_t)(dot - at->target.p)};
    const service *s = core_service_find(c, name);
    if (s && ((s == c->bus && at->only == 0) || served_by(s, at->only))) {
        refuse(x, SV_E_NO_METHOD, 0, "");
        snprintf(x->words, sizeof x->words, "Service %.*s has no method %.*s.", SV_FMT(name),
                 (int)(at->target.n - name.n - 1), dot + 1);
        return SV_E_NO_METHOD;
    }
    refuse(x, SV_E_NO_SERVICE, 250, "");
    if (at->only)
        no_instance(x->words, at->only, name);
    else
        snprintf(x->words, sizeof x->words, "No instance of service %.*s is connected.",
                 SV_FMT(name));
    return SV_E_NO_SERVICE;
}

static void send_refusal(core *c, peer *p, const core_frames *f, const aim *at, const refusal *x)
{
    const envelope *e = &f->env;
    envelope out = {.kind = SV_REPLY, .id = e->id, .trace = e->trace};
    char *target = arena_copy(&c->arena, e->target);
    if (target && e->target.p) out.target = (sv_str){target, e->target.n};
    out.code = (uint32_t)sv_error_lookup(x->code)->status;
    sv_str body = core_error_body(c, x->code, x->words[0] ? x->words : NULL, x->retry_after_ms);
    c->stats.refused++;
    hop h = core_hop(c, &out, NULL, NULL, p, body.n);
    if (at->only) memcpy(h.method, at->plain, at->target.n + 1);
    h.only = at->only;
    core_hop_note(c, &h, NULL, true);
    core_send_own(c, p, &out, body, OUT_DATA);
}

static request *accept(core *c, peer *p, core_frames *f, const aim *at, method *m, flow *w)
{
    const envelope *e = &f->env;
    uint32_t only = at->only;
    request *r = record_new(c);
    if (r == NULL) return NULL;
    if (at->bound && (r->pass = core_pass_new(c, at->ticket)) == NULL) {
        record_free(c, r);
        return NULL;
    }
    r->id = e->id;
    r->method = m;
    m->refs++;
    r->flow = w;
    if (w) w->open++;
    r->caller = p;
    core_ring_push(&p->calls, &r->of_caller);
    p->n_calls++;
    r->trace = e->trace;
    r->idempotent = e->flags & SV_FLAG_IDEMPOTENT;
    r->streaming = e->flags & SV_FLAG_STREAM;
    r->uploading = e->flags & SV_FLAG_MORE;
    r->down.granted_items = e->credit_items;
    r->down.granted_bytes = e->credit_bytes;
    r->frames = f;
    r->bytes = f->bytes;
    r->only = only;
    r->keyed = only || e->key.n > 0;
    if (e->key.n) { /* not seeded: every broker and every life of it finds the same owner */
        core_seed fixed = {0x243f6a8885a308d3u, 0x13198a2e03707345u};
        r->key_hash = core_hash_bytes(fixed, e->key.p, e->key.n);
    }
    uint32_t ttl = e->ttl_ms < LIMIT_TTL_MS ? e->ttl_ms : LIMIT_TTL_MS;
    uint32_t cap = core_service_policy(c, m->service)->timeout_ms;
    if (cap && ttl > cap) ttl = cap;
    r->accepted_us = r->queued_us = c->now_us;
    r->deadline_us = c->now_us + ttl * 1000ull;
    r->timer.kind = TIMER_REQUEST;
    core_table_add(&c->requests, &r->node, core_hash_id(c->seed, e->id.b));
    r->dice = core_fraction(core_mix(e->key.n ? r->key_hash : r->node.hash, 0x9e3779b97f4a7c15u));
    c->n_open++;
    c->stats.requests++;
    return r;
}

/* True when a fault was injected and the request is dealt with. */
static bool inject(core *c, request *r)
{
    sv_str target = {r->method->target, r->method->target_n};
    policy_fault x =
        policy_fault_for(c->policy, sv_cstr(r->caller->service->name), target,
                         core_fraction(core_random(&c->random)), core_unix_us(c) / 1000000);
    uint64_t due = r->deadline_us;
    switch (x.action) {
    case FAULT_NONE: return false;
    case FAULT_ABORT:
        c->stats.faults++;
        core_request_fail(c, r, SV_E_FAULT_INJECTED, NULL, 0);
        return true;
    case FAULT_DELAY:
        r->state = R_DELAYED;
        if (c->now_us + x.delay_ms * 1000ull < due) due = c->now_us + x.delay_ms * 1000ull;
        break;
    case FAULT_DROP:
        r->state = R_DROPPED;
        core_request_drop_frames(c, r);
        break;
    }
    c->stats.faults++;
    core_wheel_set(&c->wheel, &r->timer, due);
    return true;
}

void core_request_new(core *c, peer *p, core_frames *f)
{
    const envelope *e = &f->env;
    if (sv_id_is_zero(&e->id)) { /* nothing to answer to */
        c->stats.dropped_malformed++;
        frames_unref(f);
        return;
    }
    refusal x = {0};
    aim at;
    at.only = 0;
    at.bound = false;
    request *r = NULL;
    int rc = check_room(c, p, e, &at, &x);
    method *m = rc ? NULL : core_method_find(c, at.target);
    flow *w = m ? core_flow_get(c, p->service, m) : NULL;
    if (rc == 0) rc = check_rights(c, p, e, &at, m, w, &x);
    if (rc == 0) rc = check_place(c, &at, m, &x);
    if (rc == 0 && (r = accept(c, p, f, &at, m, w)) == NULL)
        rc = refuse(&x, SV_E_NO_MEMORY, 1000, "");
    if (rc) {
        send_refusal(c, p, f, &at, &x);
        frames_unref(f);
        return;
    }
    r->state = R_QUEUED;
    if (c->faults && m->bus < 0 && inject(c, r)) return;
    if (m->bus >= 0)
        core_bus_request(c, r);
    else
        core_dispatch_new(c, r);
}

/* ---- REPLY and CANCEL ---- */

void core_request_reply(core *c, peer *p, core_frames *f)
{
    request *r = core_request_find(c, &f->env.id);
    if (r == NULL || r->callee != p || r->state != R_HANDED) {
        c->stats.dropped_late++;
        if (r && r->callee == p) /* the answer of a zombie: its slot is free */
            core_request_release(c, r);
        frames_unref(f);
        return;
    }
    uint32_t status = f->env.code;
    uint64_t service_us = c->now_us - r->handed_us;
    if (status > SV_STATUS_UNAUTHENTICATED) {
        status = SV_STATUS_INTERNAL;
        f->env.code = status;
        envelope_patch_code(f->header_data, status);
    }
    bool unfinished = f->env.flags & SV_FLAG_MORE;
    core_dispatch_outcome(c, r, unfinished ? SV_STATUS_INTERNAL : status, service_us);
    if (unfinished) {
        frames_unref(f);
        core_request_drop_frames(c, r);
        callee_done(c, r);
        core_request_fail(c, r, SV_E_INTERNAL,
                          "The instance's final answer says that more follows.", 0);
        return;
    }
    envelope_patch_sender(f->header_data, p->service->name, p->instance);
    hop h = core_hop(c, &f->env, r->method, p, r->caller, f->bytes);
    h.service_us = service_us;
    h.attempt = r->attempt;
    core_hop_note(c, &h, r, true);
    if (r->flow) histogram_add(&r->flow->service_time, service_us);
    core_send_frames(c, r->caller, f, OUT_DATA);
    c->stats.replies++;
    caller_done(c, r, status != SV_STATUS_OK);
    core_request_release(c, r);
}

void core_request_cancel(core *c, peer *p, core_frames *f)
{
    request *r = core_request_find(c, &f->env.id);
    if (r == NULL || r->caller != p) {
        c->stats.dropped_unknown++;
        frames_unref(f);
        return;
    }
    c->stats.cancelled++;
    hop h = core_hop(c, &f->env, r->method, p, r->callee, f->bytes);
    core_hop_note(c, &h, r, true);
    caller_done(c, r, true);
    if (r->state == R_HANDED && !r->unsent) {
        envelope_patch_sender(f->header_data, p->service->name, p->instance);
        core_send_frames(c, r->callee, f, OUT_CONTROL);
        leave_zombie(c, r);
    } else {
        frames_unref(f);
        core_request_release(c, r);
    }
}
