/*  core_dispatch.c - which instance gets a request, and when.
 *
 *  Free means: live, not suspect, not draining, able to read, fewer in flight than slots. Among the
 *  free the fewest in flight wins; among equals one is drawn from those whose peak-EWMA latency is
 *  at most twice the best, so that noise does not pin all traffic to one and a slow one gets next to
 *  nothing. From P2C_FROM candidates on, two are drawn and the better one taken. An instance that
 *  failed `eject_failures` times in a row gets nothing for a while (base, doubled each time up to
 *  max, +-50 %), then one real request as a probe. With less than half of a service's instances left
 *  over, ejection is ignored: better a bad answer than none from ourselves. A partition key's owner
 *  is found by rendezvous hashing over the serving instances; health does not move ownership, only
 *  joining, leaving and draining do. A request whose target names an instance has that one as its
 *  owner and waits like a keyed one; with the instance gone or draining it is refused, so that it
 *  never stands in the way of others. */
#include "core_state.h"

#include <assert.h>

enum { EWMA_TAU_US = 10000000, EWMA_SLACK_US = 50, QUEUE_SCAN = 256 };

/* ---- health and load ---- */

bool core_dispatch_failure(uint32_t status)
{
    return status == SV_STATUS_UNAVAILABLE || status == SV_STATUS_INTERNAL ||
           status == SV_STATUS_UNKNOWN || status == SV_STATUS_DEADLINE_EXCEEDED ||
           status == SV_STATUS_DATA_LOSS;
}

/* The remembered latency fades, so that an instance that was slow once is tried again. */
static double latency(const core *c, const peer *p)
{
    double age = (double)(c->now_us - p->ewma_at_us);
    return p->ewma_us * (EWMA_TAU_US / (EWMA_TAU_US + age));
}

static void observe(const core *c, peer *p, double us)
{
    if (us >= p->ewma_us) {
        p->ewma_us = us; /* peaks count at once, recovery is slow */
    } else {
        double age = (double)(c->now_us - p->ewma_at_us), keep = EWMA_TAU_US / (EWMA_TAU_US + age);
        double sample = p->ewma_us * 0.95 + us * 0.05; /* many samples in no time move it too */
        p->ewma_us = sample * keep + us * (1 - keep);
    }
    p->ewma_at_us = c->now_us;
}

void core_dispatch_reinstate(peer *p)
{
    if (p->ejected_until_us && p->serving) p->service->n_ejected--;
    p->ejected_until_us = 0;
}

static void eject(core *c, peer *p, const policy_service *x)
{
    if (p->ejected_until_us == 0 && p->serving) p->service->n_ejected++;
    uint64_t ms = x->eject_base_ms ? x->eject_base_ms : 1;
    for (uint32_t i = 0; i < p->ejections && ms < x->eject_max_ms; i++)
        ms *= 2;
    if (x->eject_max_ms && ms > x->eject_max_ms) ms = x->eject_max_ms;
    double jitter = 0.5 + core_fraction(core_random(&c->random));
    p->ejected_until_us = c->now_us + (uint64_t)((double)ms * 1000 * jitter) + 1;
    p->ejections++;
    p->failures = 0;
    c->stats.ejections++;
}

static bool panics(const service *s)
{
    return (s->n_serving - s->n_ejected) * 2 < s->n_serving;
}

void core_dispatch_outcome(core *c, request *r, uint32_t status, uint64_t service_us)
{
    peer *p = r->callee;
    const policy_service *x = core_service_policy(c, p->service);
    p->served++;
    p->errors += status != SV_STATUS_OK;
    observe(c, p, (double)service_us);
    if (!core_dispatch_failure(status)) {
        p->failures = 0;
        if (p->probe == r || p->ejected_until_us == 0 || panics(p->service)) {
            p->ejections = 0;
            core_dispatch_reinstate(p);
        }
        if (r->flow && r->flow->retry->tokens < RETRY_FULL) r->flow->retry->tokens++;
        return;
    }
    p->failures++;
    if (x->eject_failures == 0) return;
    if (p->probe == r || (p->ejected_until_us == 0 && p->failures >= x->eject_failures))
        eject(c, p, x);
}

static bool takes_work(const peer *p)
{
    return p->serving && !p->suspect && !p->doomed && core_out_direct(p) && p->in_flight < p->slots;
}

static bool healthy(const core *c, const peer *p)
{
    return p->ejected_until_us == 0 || (c->now_us >= p->ejected_until_us && p->probe == NULL);
}

static bool version_fits(const core *c, const request *r, const peer *p)
{
    return !r->versioned ||
           policy_version_ok(c->policy, sv_cstr(p->service->name), sv_cstr(p->version), r->dice);
}

/* ---- choice ---- */

/* The instance that owns the request's key now, or that its target names; NULL: there is none. */
static peer *owner_of(core *c, request *r)
{
    method *m = r->method;
    if (r->owner && r->owner_generation == m->service->generation) return r->owner;
    uint64_t best = 0;
    r->owner = NULL;
    if (r->only) {
        peer *p = core_method_server(m, r->only);
        if (p && p->serving && !p->doomed) r->owner = p;
    }
    for (uint32_t i = 0; r->only == 0 && i < m->n_servers; i++) {
        peer *p = m->servers[i].peer;
        if (!p->serving || p->doomed || !version_fits(c, r, p)) continue;
        uint64_t score = core_mix(r->key_hash ^ 0xa0761d6478bd642fu,
                                  p->instance * 0xe7037ed1a0b428dbu ^ 0x8ebc6af09c88c6e3u);
        if (r->owner == NULL || score > best) {
            r->owner = p;
            best = score;
        }
    }
    r->owner_generation = m->service->generation;
    return r->owner;
}

static server *choose_owner(core *c, request *r)
{
    method *m = r->method;
    const peer *p = owner_of(c, r);
    for (uint32_t i = 0; p && takes_work(p) && i < m->n_servers; i++)
        if (m->servers[i].peer == p) return &m->servers[i];
    return NULL;
}

static bool candidate(const core *c, const request *r, const peer *p, bool panic)
{
    return takes_work(p) && (panic || healthy(c, p)) && version_fits(c, r, p);
}

static server *choose_best(core *c, const request *r, bool panic)
{
    method *m = r->method;
    uint32_t fewest = UINT32_MAX, draws = 0;
    double best = 0;
    for (uint32_t i = 0; i < m->n_servers; i++) {
        const peer *p = m->servers[i].peer;
        if (p->in_flight > fewest || !candidate(c, r, p, panic)) continue;
        double us = latency(c, p);
        if (p->in_flight < fewest || us < best) best = us;
        fewest = p->in_flight;
    }
    if (fewest == UINT32_MAX) return NULL;
    server *chosen = NULL;
    for (uint32_t i = 0; i < m->n_servers; i++) {
        const peer *p = m->servers[i].peer;
        if (p->in_flight != fewest || !candidate(c, r, p, panic) ||
            latency(c, p) > best * 2 + EWMA_SLACK_US)
            continue;
        if (draws++ == 0 || core_random(&c->random) % draws == 0) chosen = &m->servers[i];
    }
    return chosen;
}

static server *choose_of_two(core *c, const request *r, bool panic)
{
    method *m = r->method;
    server *chosen = NULL;
    for (int tries = 0, found = 0; tries < 8 && found < 2; tries++) {
        server *s = &m->servers[core_random(&c->random) % m->n_servers];
        if (s == chosen || !candidate(c, r, s->peer, panic)) continue;
        found++;
        if (chosen == NULL || s->peer->in_flight < chosen->peer->in_flight ||
            (s->peer->in_flight == chosen->peer->in_flight &&
             latency(c, s->peer) < latency(c, chosen->peer)))
            chosen = s;
    }
    return chosen ? chosen : choose_best(c, r, panic);
}

/* A split applies while some instance of the chosen version is there at all. */
static void apply_split(core *c, request *r)
{
    r->versioned = r->method->service->split;
    if (!r->versioned) return;
    for (uint32_t i = 0; i < r->method->n_servers; i++) {
        const peer *p = r->method->servers[i].peer;
        if (p->serving && version_fits(c, r, p)) return;
    }
    r->versioned = false;
}

static server *choose(core *c, request *r)
{
    service *s = r->method->service;
    const policy_service *x = core_service_policy(c, s);
    if (x->concurrency && s->in_flight >= x->concurrency) return NULL;
    if (r->only == 0) apply_split(c, r);
    if (r->keyed) return choose_owner(c, r);
    bool panic = panics(s);
    return r->method->n_servers < P2C_FROM ? choose_best(c, r, panic) : choose_of_two(c, r, panic);
}

/* ---- hand-over ---- */

static void hand_over(core *c, request *r, const server *to)
{
    peer *p = to->peer;
    core_frames *f = r->frames;
    assert(f && r->callee == NULL && r->attempt < 2);
    r->callee = p;
    core_ring_push(&p->work, &r->of_callee);
    core_pass_begin(c, r);
    p->in_flight++;
    p->service->in_flight++;
    if (p->ejected_until_us && c->now_us >= p->ejected_until_us && p->probe == NULL) p->probe = r;
    r->state = R_HANDED;
    r->attempt++;
    r->handed_us = c->now_us;
    r->idempotent |= to->idempotent;
    uint32_t ttl = (uint32_t)((r->deadline_us - c->now_us) / 1000);
    f->env.ttl_ms = ttl;
    envelope_patch_ttl(f->header_data, ttl);
    envelope_patch_sender(f->header_data, r->caller->service->name, r->caller->instance);
    envelope_patch_attempt(f->header_data, r->attempt);
    envelope_patch_credit(f->header_data, r->down.granted_items, r->down.granted_bytes);
    core_wheel_set(&c->wheel, &r->timer, r->deadline_us);
    if (r->flow) histogram_add(&r->flow->queue_time, c->now_us - r->queued_us);
    hop h = core_hop(c, &f->env, r->method, r->caller, p, f->bytes);
    h.queue_us = c->now_us - r->queued_us;
    h.attempt = r->attempt;
    core_hop_note(c, &h, r, true);
    if (r->idempotent && r->attempt == 1 && !r->uploading &&
        c->retained_bytes + r->bytes <= RETAINED_BYTES) {
        c->retained_bytes += r->bytes;
        frames_ref(f);
    } else {
        r->frames = NULL;
    }
    core_send_frames(c, p, f, OUT_CONTROL);
}

/* ---- the queue ---- */

static bool expires_now(const core *c, const request *r)
{
    return r->deadline_us < c->now_us + 1000;
}

/* The owner may be another one now: everything that waits for its owner is looked at again. */
static void rehome(service *s, peer *p)
{
    while (!core_ring_empty(&p->keyed)) {
        core_link *l = p->keyed.prev;
        core_unlink(l);
        core_ring_push_front(&s->queue, l);
    }
}

void core_dispatch_members_changed(core *c, service *s)
{
    s->generation++;
    for (core_link *l = s->members.next; l != &s->members; l = l->next)
        rehome(s, core_of(peer, member, l));
    core_service_touch(c, s);
}

static void enqueue(core *c, request *r, bool front)
{
    service *s = r->method->service;
    const policy_service *x = core_service_policy(c, s);
    r->state = R_QUEUED;
    r->queued_us = c->now_us;
    if (front)
        core_ring_push_front(&s->queue, &r->queue);
    else
        core_ring_push(&s->queue, &r->queue);
    s->queue_n++;
    s->queue_bytes += r->bytes;
    c->stats.queued++;
    uint64_t due = r->deadline_us;
    if (x->queue_ms && c->now_us + x->queue_ms * 1000ull < due)
        due = c->now_us + x->queue_ms * 1000ull;
    core_wheel_set(&c->wheel, &r->timer, due);
    core_service_touch(c, s);
}

void core_dispatch_unqueue(core *c, request *r)
{
    if (!core_linked(&r->queue)) return;
    service *s = r->method->service;
    core_unlink(&r->queue);
    s->queue_n--;
    s->queue_bytes -= r->bytes;
    c->stats.queued--;
}

/* About how long until the queue has moved up by one place for everybody in it. */
static uint32_t retry_hint(const core *c, const service *s)
{
    double slots = 0, us = 0;
    for (core_link *l = s->members.next; l != &s->members; l = l->next) {
        const peer *p = core_of(peer, member, l);
        if (!p->serving) continue;
        slots += p->slots;
        us += latency(c, p) * p->slots;
    }
    double ms = slots > 0 ? us / slots / 1000 * (s->queue_n + 1) / slots : 1000;
    return ms < 10 ? 10 : ms > 10000 ? 10000 : (uint32_t)ms;
}

void core_dispatch_new(core *c, request *r)
{
    service *s = r->method->service;
    const policy_service *x = core_service_policy(c, s);
    const server *to = s->queue_n == 0 ? choose(c, r) : NULL;
    if (to)
        hand_over(c, r, to);
    else if (s->queue_n >= x->queue_messages ||
             (x->queue_bytes && s->queue_bytes + r->bytes > x->queue_bytes))
        core_request_fail(c, r, SV_E_QUEUE_FULL, NULL, retry_hint(c, s));
    else
        enqueue(c, r, false);
}

void core_dispatch_again(core *c, request *r)
{
    r->owner = NULL;
    enqueue(c, r, true);
}

/* What waits for this very instance. True when it may take more. */
static bool serve_keyed(core *c, peer *p)
{
    for (core_link *l = p->keyed.next, *next; l != &p->keyed && takes_work(p); l = next) {
        next = l->next;
        request *r = core_of(request, queue, l);
        const server *to = expires_now(c, r) ? NULL : choose(c, r);
        if (to == NULL) continue; /* about to expire, or over the service's concurrency */
        core_dispatch_unqueue(c, r);
        hand_over(c, r, to);
    }
    return takes_work(p);
}

void core_dispatch_queue(core *c, service *s)
{
    bool some = false;
    for (core_link *l = s->members.next; l != &s->members; l = l->next)
        some |= serve_keyed(c, core_of(peer, member, l));
    int stuck = 0;
    s->refs++; /* a refusal below may take the last user of the service away */
    for (core_link *l = s->queue.next, *next; l != &s->queue && stuck < QUEUE_SCAN; l = next) {
        next = l->next;
        request *r = core_of(request, queue, l);
        if (!some && !r->keyed)
            break; /* keyed ones were only put here to find their owner; they come first */
        if (expires_now(c, r)) continue; /* its timer is due */
        const server *to = choose(c, r);
        if (to) {
            core_dispatch_unqueue(c, r);
            hand_over(c, r, to);
        } else if (r->keyed && owner_of(c, r)) {
            core_unlink(&r->queue);
            core_ring_push(&r->owner->keyed, &r->queue);
        } else if (r->only) {
            core_request_unplaced(c, r);
        } else {
            stuck++;
        }
    }
    core_service_unref(c, s);
}
