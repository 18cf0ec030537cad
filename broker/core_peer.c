/*  core_peer.c - a peer's life: HELLO judged against the connection's identity, liveness, the end.
 *
 *  Liveness is judged by a timer on a clock that a pause of the broker itself moves by one ping
 *  interval at most, so that a broker that was stopped for a minute does not bury everybody when it
 *  wakes up. */
#include "core_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

peer *core_peer_find(const core *c, peer_id id)
{
    uint64_t h = core_hash_u64(c->seed, id, 1);
    for (core_node *n = core_table_chain(&c->peers, h); n; n = n->next) {
        peer *p = core_of(peer, node, n);
        if (p->id == id) return p;
    }
    return NULL;
}

static void set_serving(core *c, peer *p, bool on)
{
    if (p->serving == on) return;
    if (!on) core_dispatch_reinstate(p);
    p->serving = on;
    p->service->n_serving += on ? 1 : -1u;
    core_dispatch_members_changed(c, p->service);
}

/* ---- HELLO: what may it be called ---- */

static int judge(const identity *who, const bus_hello *h, sv_error *err)
{
    if (sv_str_is(h->service, "bus"))
        return sv_fail(err, SV_E_IDENTITY, "service", "The name \"bus\" is the broker's own.");
    switch (who->kind) {
    case IDENTITY_SUPERVISED:
    case IDENTITY_KEY:
        if (!sv_str_is(h->service, who->service))
            return sv_fail(err, SV_E_IDENTITY, "service",
                           "This connection (%s) belongs to service %s; it cannot be called %.*s.",
                           who->note, who->service, SV_FMT(h->service));
        if (who->instance && h->instance && h->instance != who->instance)
            return sv_fail(err, SV_E_IDENTITY, "instance",
                           "This connection (%s) belongs to %s/%u; it cannot be instance %lld.",
                           who->note, who->service, who->instance, (long long)h->instance);
        return 0;
    case IDENTITY_OPERATOR:
        if (!sv_str_is(h->service, "operator"))
            return sv_fail(
                err, SV_E_IDENTITY, "service",
                "This connection (%s) may only be called operator, not %.*s; a service needs "
                "a key or the supervisor.",
                who->note, SV_FMT(h->service));
        if (h->methods.n)
            return sv_fail(err, SV_E_IDENTITY, "methods", "An operator serves no methods.");
        return 0;
    case IDENTITY_NONE:
        if (sv_str_is(h->service, "supervisor") || sv_str_is(h->service, "operator"))
            return sv_fail(err, SV_E_IDENTITY, "service",
                           "An unauthenticated connection cannot be called %.*s.",
                           SV_FMT(h->service));
        return 0;
    }
    return sv_fail(err, SV_E_IDENTITY, NULL, NULL);
}

static int check_methods(const bus_hello *h, sv_error *err)
{
    const bus_method *m = h->methods.items;
    if (h->methods.n && h->slots == 0)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "slots",
                       "Field slots must be at least 1 when methods are served.");
    for (uint32_t i = 0; i < h->methods.n; i++) {
        char target[LIMIT_NAME_BYTES + LIMIT_METHOD_BYTES + 2];
        int n = snprintf(target, sizeof target, "%.*s.%.*s", SV_FMT(h->service), SV_FMT(m[i].name));
        if (n < 0 || (size_t)n >= sizeof target ||
            !envelope_target_ok((sv_str){target, (uint32_t)n}))
            return sv_fail(err, SV_E_INVALID, "methods",
                           "Method name %u is not words of a-z, 0-9, _ and - joined by dots.", i);
    }
    for (uint32_t i = 1; i < h->methods.n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (sv_str_eq(m[i].name, m[k].name))
                return sv_fail(err, SV_E_CONFLICT, "methods", "Method %.*s is named twice.",
                               SV_FMT(m[i].name));
    return 0;
}

static peer *member_find(const service *s, uint32_t instance)
{
    for (core_link *l = s->members.next; l != &s->members; l = l->next)
        if (core_of(peer, member, l)->instance == instance) return core_of(peer, member, l);
    return NULL;
}

/* The smallest number from 1 that no member has; 0 when memory is out. */
static uint32_t free_instance(core *c, const service *s)
{
    size_t n = 1;
    for (core_link *l = s->members.next; l != &s->members; l = l->next)
        n++;
    char *taken = arena_alloc(&c->arena, n + 1);
    if (taken == NULL) return 0;
    for (core_link *l = s->members.next; l != &s->members; l = l->next) {
        uint32_t i = core_of(peer, member, l)->instance;
        if (i <= n) taken[i] = 1;
    }
    uint32_t i = 1;
    while (taken[i])
        i++;
    return i;
}

/* The same process on a new connection, not a second one that claims to be it. */
static bool same_process(const peer *old, const identity *who)
{
    if (old->who.kind != who->kind) return false;
    if (who->kind == IDENTITY_KEY) return strcmp(old->who.service, who->service) == 0;
    return who->kind == IDENTITY_SUPERVISED && who->pid && old->who.pid == who->pid;
}

/* Settles who is `service`/`instance`; ends an older life of it. */
static int take_place(core *c, service *s, const bus_hello *h, const identity *who,
                      uint32_t *instance, sv_error *err)
{
    *instance =
        who->instance && who->kind != IDENTITY_OPERATOR ? who->instance : (uint32_t)h->instance;
    if (*instance == 0) {
        *instance = free_instance(c, s);
        return *instance ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    peer *old = member_find(s, *instance);
    if (old == NULL) return 0;
    uint64_t epoch = (uint64_t)h->epoch;
    if (old->doomed || epoch > old->epoch || (epoch == old->epoch && same_process(old, who))) {
        core_peer_end(c, old);
        return 0;
    }
    if (!old->blocked && old->pinged_us + 50000 <= c->now_us) { /* is it still there at all? */
        envelope ping = {.kind = SV_PING, .id = old->ping_id};
        old->pinged_us = c->now_us;
        core_send_own(c, old, &ping, (sv_str){NULL, 0}, OUT_CONTROL);
    }
    return sv_fail(err, SV_E_CONFLICT, "epoch",
                   "%s/%u is connected with epoch %llu; a new life of it needs a higher one.",
                   s->name, *instance, (unsigned long long)old->epoch);
}

/* ---- HELLO: taking it in ---- */

static sv_str keep_text(char **to, sv_str s)
{
    if (s.p == NULL) return s;
    if (s.n) memcpy(*to, s.p, s.n);
    sv_str kept = {*to, s.n};
    *to += s.n;
    return kept;
}

static int keep_hello(core *c, peer *p, const bus_hello *h)
{
    const bus_method *m = h->methods.items;
    size_t n = h->methods.n * sizeof *m;
    for (uint32_t i = 0; i < h->methods.n; i++)
        n += (size_t)m[i].name.n + m[i].request.n + m[i].reply.n + m[i].doc.n;
    p->hello = core_alloc(c, n + 1);
    p->methods = core_alloc(c, h->methods.n * sizeof(method *) + 1);
    if (p->hello == NULL || p->methods == NULL) {
        core_dealloc(c, p->hello, n + 1);
        core_dealloc(c, p->methods, h->methods.n * sizeof(method *) + 1);
        p->hello = NULL;
        p->methods = NULL;
        return SV_E_NO_MEMORY;
    }
    p->hello_bytes = n + 1;
    p->cap_methods = h->methods.n;
    char *to = (char *)(p->hello + h->methods.n);
    for (uint32_t i = 0; i < h->methods.n; i++)
        p->hello[i] = (bus_method){.name = keep_text(&to, m[i].name),
                                   .idempotent = m[i].idempotent,
                                   .request = keep_text(&to, m[i].request),
                                   .reply = keep_text(&to, m[i].reply),
                                   .doc = keep_text(&to, m[i].doc)};
    return 0;
}

static void methods_leave(core *c, peer *p)
{
    set_serving(c, p, false);
    for (uint32_t i = 0; i < p->n_methods; i++) {
        core_method_unserve(p->methods[i], p);
        core_method_unref(c, p->methods[i]);
    }
    core_dealloc(c, p->hello, p->hello_bytes);
    core_dealloc(c, p->methods, p->cap_methods * sizeof(method *) + (p->methods ? 1 : 0));
    p->hello = NULL;
    p->methods = NULL;
    p->n_methods = p->cap_methods = 0;
    p->hello_bytes = 0;
}

static int methods_join(core *c, peer *p, const bus_hello *h)
{
    if (keep_hello(c, p, h)) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < h->methods.n; i++) {
        method *m = core_method_get(c, p->service, p->hello[i].name);
        if (m == NULL) return SV_E_NO_MEMORY;
        if (core_method_serve(c, m, p, p->hello[i].idempotent)) {
            core_method_unref(c, m);
            return SV_E_NO_MEMORY;
        }
        p->methods[p->n_methods++] = m;
    }
    set_serving(c, p, p->n_methods > 0 && !p->draining);
    return 0;
}

static peer *peer_new(core *c, peer_id id, service *s, uint32_t instance, const identity *who)
{
    peer *p = core_alloc(c, sizeof *p);
    if (p == NULL) return NULL;
    p->id = id;
    p->who = *who;
    p->service = s;
    p->instance = instance;
    p->connected_us = c->now_us;
    p->seen_us = c->live_us;
    p->timer.kind = TIMER_PEER;
    core_ring_init(&p->calls);
    core_ring_init(&p->work);
    core_ring_init(&p->keyed);
    core_ring_init(&p->held);
    core_ring_init(&p->control);
    core_ring_init(&p->data);
    core_ring_init(&p->subs);
    core_ring_push(&s->members, &p->member);
    core_table_add(&c->peers, &p->node, core_hash_u64(c->seed, id, 1));
    core_wheel_set(&c->wheel, &p->timer, c->now_us + c->limits.ping_ms * 1000ull);
    return p;
}

static void welcome(core *c, peer *p, const envelope *e)
{
    bus_welcome w = {.broker = sv_cstr(c->node),
                     .broker_epoch = (int64_t)c->epoch,
                     .service = sv_cstr(p->service->name),
                     .instance = p->instance,
                     .ping_ms = c->limits.ping_ms,
                     .message_bytes = LIMIT_MESSAGE_BYTES,
                     .open_requests = c->limits.peer_open};
    envelope out = {.kind = SV_WELCOME, .id = e->id, .trace = e->trace};
    core_send_own(c, p, &out, core_encode(c, &bus_welcome_msg, &w), OUT_CONTROL);
}

/* Everything that can be refused, then the peer; NULL with err filled. */
static peer *admit(core *c, peer_id id, const identity *who, const bus_hello *h, sv_error *err)
{
    uint32_t instance;
    if (c->peers.n >= c->limits.peers) {
        sv_fail(err, SV_E_OVERLOADED, NULL, "The broker has all %u peers it takes.",
                c->limits.peers);
        return NULL;
    }
    service *s = core_service_get(c, h->service);
    if (s == NULL || take_place(c, s, h, who, &instance, err)) {
        if (s) core_service_unref(c, s);
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    peer *p = peer_new(c, id, s, instance, who);
    if (p == NULL) {
        core_service_unref(c, s);
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    return p;
}

static int same_name(const peer *p, const bus_hello *h, sv_error *err)
{
    if (sv_str_is(h->service, p->service->name) && (h->instance == 0 || h->instance == p->instance))
        return 0;
    return sv_fail(err, SV_E_IDENTITY, "service", "This connection is %s/%u already.",
                   p->service->name, p->instance);
}

void core_peer_hello(core *c, peer_id id, peer *known, const identity *who, core_frames *f)
{
    assert(who);
    sv_error err = {0};
    bus_hello h;
    peer *p = known;
    int rc = message_decode(&bus_hello_msg, f->body, MESSAGE_LENIENT, &c->arena, &h, &err);
    if (rc == 0 && !envelope_name_ok(h.service))
        rc = sv_fail(&err, SV_E_INVALID, "service",
                     "Field service must be a name of a-z, 0-9 and -, at most %d bytes.",
                     LIMIT_NAME_BYTES);
    if (rc == 0) rc = judge(who, &h, &err);
    if (rc == 0) rc = check_methods(&h, &err);
    if (rc == 0 && known) rc = same_name(known, &h, &err);
    if (rc == 0 && known == NULL && (p = admit(c, id, who, &h, &err)) == NULL) rc = err.code;
    if (rc) {
        c->stats.dropped_identity++;
        envelope bye = {.kind = SV_GOODBYE, .id = f->env.id};
        core_emit_to(c, id, &bye, core_error_body(c, rc, err.message, err.retry_after_ms));
        return;
    }
    p->epoch = (uint64_t)h.epoch;
    p->slots = (uint32_t)h.slots;
    memset(p->version, 0, sizeof p->version);
    if (h.version.n) memcpy(p->version, h.version.p, h.version.n);
    core_peer_seen(c, p);
    uint64_t ejected_until_us = p->ejected_until_us;
    methods_leave(c, p);
    if (methods_join(c, p, &h)) {
        core_peer_doom(c, p);
        return;
    }
    if (ejected_until_us && p->serving) { /* saying HELLO again does not make it well */
        p->ejected_until_us = ejected_until_us;
        p->service->n_ejected++;
    }
    welcome(c, p, &f->env);
    if (c->n_taps) {
        hop t = core_hop(c, &f->env, NULL, p, NULL, f->bytes);
        core_hop_note(c, &t, NULL, false);
    }
}

void core_peer_stranger(core *c, peer_id id, const envelope *e)
{
    if (e->kind == SV_GOODBYE) return;
    stranger *s = &c->strangers[core_hash_u64(c->seed, id, 2) % STRANGERS];
    if (s->known && s->id == id && c->now_us - s->told_us < STRANGER_US) return;
    *s = (stranger){.id = id, .known = true, .told_us = c->now_us};
    envelope bye = {.kind = SV_GOODBYE, .id = e->id};
    core_emit_to(c, id, &bye, core_error_body(c, SV_E_HELLO_REQUIRED, NULL, 0));
}

/* ---- liveness ---- */

void core_peer_seen(core *c, peer *p)
{
    p->seen_us = c->live_us;
    if (p->suspect) {
        p->suspect = false;
        core_service_touch(c, p->service);
    }
}

void core_peer_timer(core *c, peer *p)
{
    uint64_t silent = c->live_us - p->seen_us;
    uint64_t ping = c->limits.ping_ms * 1000ull, suspect = c->limits.suspect_ms * 1000ull,
             lost = c->limits.lost_ms * 1000ull;
    if (silent >= lost) {
        core_peer_doom(c, p);
        return;
    }
    if (silent >= suspect) p->suspect = true;
    if (silent >= ping && !p->blocked) {
        envelope e = {.kind = SV_PING};
        c->ping_count++;
        memcpy(e.id.b, &c->ping_count, 8);
        memcpy(e.id.b + 8, &c->epoch, 8);
        p->ping_id = e.id;
        p->pinged_us = c->now_us;
        core_send_own(c, p, &e, (sv_str){NULL, 0}, OUT_CONTROL);
        if (c->n_taps) {
            hop h = core_hop(c, &e, NULL, NULL, p, 0);
            core_hop_note(c, &h, NULL, false);
        }
    }
    uint64_t next = silent < ping ? ping - silent : ping;
    if (silent < suspect && suspect - silent < next) next = suspect - silent;
    if (lost - silent < next) next = lost - silent;
    core_wheel_set(&c->wheel, &p->timer, c->now_us + next);
    core_service_touch(c, p->service); /* an ejection may be over */
}

void core_peer_pong(core *c, peer *p, const envelope *e)
{
    if (p->pinged_us && sv_id_eq(&p->ping_id, &e->id)) p->rtt_us = c->now_us - p->pinged_us;
}

void core_peer_drain(core *c, peer *p)
{
    p->draining = true;
    set_serving(c, p, false);
}

void core_peer_exited(core *c, uint32_t pid)
{
    if (pid == 0) return;
    for (core_node *n = NULL; (n = core_table_next(&c->peers, n));)
        if (core_of(peer, node, n)->who.pid == pid) core_peer_doom(c, core_of(peer, node, n));
}

/* ---- the end ---- */

void core_peer_doom(core *c, peer *p)
{
    p->doomed = true;
    if (!core_linked(&p->doom)) core_ring_push(&c->doomed, &p->doom);
}

void core_peer_free(core *c, peer *p)
{
    assert(core_ring_empty(&p->calls) && core_ring_empty(&p->work));
    core_unlink(&p->doom);
    methods_leave(c, p);
    core_event_leave(c, p);
    core_out_clear(c, p);
    core_wheel_stop(&c->wheel, &p->timer);
    core_table_remove(&c->peers, &p->node);
    core_unlink(&p->member);
    core_service_unref(c, p->service);
    core_dealloc(c, p, sizeof *p);
}

void core_peer_end(core *c, peer *p)
{
    core_action *a = core_action_room(c);
    if (a) {
        a->kind = CORE_FORGET;
        a->peer = p->id;
        a->frames = NULL;
    }
    p->doomed = true; /* nothing is sent to it any more */
    methods_leave(c, p);
    while (!core_ring_empty(&p->calls))
        core_request_orphan(c, core_of(request, of_caller, p->calls.next));
    while (!core_ring_empty(&p->work)) {
        request *r = core_of(request, of_callee, p->work.next);
        if (r->state == R_ZOMBIE)
            core_request_release(c, r);
        else
            core_request_lost(c, r);
    }
    if (!p->clean) c->stats.lost_peers++;
    core_service_touch(c, p->service);
    core_peer_free(c, p);
}
