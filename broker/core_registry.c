/*  core_registry.c - names: services, their methods, and who calls what how often.
 *
 *  Entries are made by what authenticated peers say in HELLO and die with their last user, so that
 *  strangers and typing errors leave nothing behind. A flow (caller service, method) remembers the
 *  policy's decision for one policy generation and carries the golden figures; there are at most
 *  FLOWS_MAX, and when they run out those of methods nobody serves make room. */
#include "core_state.h"

#include <assert.h>
#include <stdlib.h>

/* ---- services ---- */

service *core_service_find(const core *c, sv_str name)
{
    uint64_t h = core_hash_bytes(c->seed, name.p, name.n);
    for (core_node *n = core_table_chain(&c->services, h); n; n = n->next) {
        service *s = core_of(service, node, n);
        if (n->hash == h && sv_str_is(name, s->name)) return s;
    }
    return NULL;
}

service *core_service_get(core *c, sv_str name)
{
    service *s = core_service_find(c, name);
    if (s) {
        s->refs++;
        return s;
    }
    s = core_alloc(c, sizeof *s);
    if (s == NULL) return NULL;
    assert(name.n <= LIMIT_NAME_BYTES);
    memcpy(s->name, name.p, name.n);
    s->refs = 1;
    core_ring_init(&s->members);
    core_ring_init(&s->queue);
    core_table_add(&c->services, &s->node, core_hash_bytes(c->seed, name.p, name.n));
    return s;
}

void core_service_unref(core *c, service *s)
{
    if (--s->refs > 0) return;
    assert(core_ring_empty(&s->members) && s->queue_n == 0 && s->in_flight == 0);
    core_unlink(&s->dirty);
    core_table_remove(&c->services, &s->node);
    core_dealloc(c, s, sizeof *s);
}

const policy_service *core_service_policy(core *c, service *s)
{
    if (s->policy_generation != c->policy_generation) {
        s->policy = policy_for(c->policy, sv_cstr(s->name));
        s->split = policy_has_split(c->policy, sv_cstr(s->name));
        s->policy_generation = c->policy_generation;
    }
    return s->policy;
}

void core_service_touch(core *c, service *s)
{
    if (s->queue_n && !core_linked(&s->dirty)) core_ring_push(&c->dirty, &s->dirty);
}

/* ---- methods ---- */

method *core_method_find(const core *c, sv_str target)
{
    uint64_t h = core_hash_bytes(c->seed, target.p, target.n);
    for (core_node *n = core_table_chain(&c->methods, h); n; n = n->next) {
        method *m = core_of(method, node, n);
        if (n->hash == h && m->target_n == target.n && memcmp(m->target, target.p, target.n) == 0)
            return m;
    }
    return NULL;
}

method *core_method_get(core *c, service *s, sv_str name)
{
    char target[LIMIT_TARGET_BYTES + 1];
    size_t n = strlen(s->name);
    assert(n + 1 + name.n <= LIMIT_TARGET_BYTES);
    memcpy(target, s->name, n);
    target[n] = '.';
    memcpy(target + n + 1, name.p, name.n);
    n += 1 + name.n;
    target[n] = 0;
    method *m = core_method_find(c, (sv_str){target, (uint32_t)n});
    if (m) {
        m->refs++;
        return m;
    }
    m = core_alloc(c, sizeof *m);
    if (m == NULL) return NULL;
    m->refs = 1;
    m->bus = -1;
    m->service = s;
    s->refs++;
    memcpy(m->target, target, n + 1);
    m->target_n = (uint32_t)n;
    core_table_add(&c->methods, &m->node, core_hash_bytes(c->seed, target, n));
    return m;
}

void core_method_unref(core *c, method *m)
{
    if (--m->refs > 0) return;
    assert(m->n_servers == 0);
    core_table_remove(&c->methods, &m->node);
    core_service_unref(c, m->service);
    core_dealloc(c, m->servers, m->cap_servers * sizeof *m->servers);
    core_dealloc(c, m, sizeof *m);
}

int core_method_serve(core *c, method *m, peer *p, bool idempotent)
{
    if (m->n_servers == m->cap_servers) {
        uint32_t cap = m->cap_servers ? m->cap_servers * 2 : 2;
        server *grown = core_alloc(c, cap * sizeof *grown);
        if (grown == NULL) return SV_E_NO_MEMORY;
        if (m->n_servers) memcpy(grown, m->servers, m->n_servers * sizeof *grown);
        core_dealloc(c, m->servers, m->cap_servers * sizeof *m->servers);
        m->servers = grown;
        m->cap_servers = cap;
    }
    m->servers[m->n_servers++] = (server){p, idempotent};
    return 0;
}

void core_method_unserve(method *m, const peer *p)
{
    for (uint32_t i = 0; i < m->n_servers; i++) {
        if (m->servers[i].peer == p) {
            m->servers[i] = m->servers[--m->n_servers];
            return;
        }
    }
}

peer *core_method_server(const method *m, uint32_t instance)
{
    for (uint32_t i = 0; i < m->n_servers; i++)
        if (m->servers[i].peer->instance == instance) return m->servers[i].peer;
    return NULL;
}

/* ---- flows and retry budgets ---- */

static retry *retry_get(core *c, service *caller, service *callee)
{
    uint64_t h = core_hash_u64(c->seed, (uintptr_t)caller, (uintptr_t)callee);
    for (core_node *n = core_table_chain(&c->retries, h); n; n = n->next) {
        retry *r = core_of(retry, node, n);
        if (r->caller == caller && r->callee == callee) {
            r->refs++;
            return r;
        }
    }
    retry *r = core_alloc(c, sizeof *r);
    if (r == NULL) return NULL;
    *r = (retry){.caller = caller, .callee = callee, .refs = 1, .tokens = RETRY_FULL};
    core_table_add(&c->retries, &r->node, h);
    return r;
}

static void retry_unref(core *c, retry *r)
{
    if (--r->refs > 0) return;
    core_table_remove(&c->retries, &r->node);
    core_dealloc(c, r, sizeof *r);
}

void core_flow_free(core *c, flow *f)
{
    core_table_remove(&c->flows, &f->node);
    retry_unref(c, f->retry);
    core_method_unref(c, f->method);
    core_service_unref(c, f->caller);
    core_dealloc(c, f, sizeof *f);
}

/* Drops the flows of methods that nobody serves and nobody waits for. A table of this size never
 * shrinks, so the walk may free what it stands on. */
static void flows_sweep(core *c)
{
    _Static_assert(FLOWS_MAX <= 1024, "see core_table_remove");
    if (c->now_us < c->flows_swept_us + 1000000) return;
    c->flows_swept_us = c->now_us;
    for (core_node *n = core_table_next(&c->flows, NULL), *next; n; n = next) {
        next = core_table_next(&c->flows, n);
        flow *f = core_of(flow, node, n);
        if (f->open == 0 && f->method->bus < 0 && f->method->n_servers == 0) core_flow_free(c, f);
    }
}

flow *core_flow_get(core *c, service *caller, method *m)
{
    uint64_t h = core_hash_u64(c->seed, (uintptr_t)caller, (uintptr_t)m);
    for (core_node *n = core_table_chain(&c->flows, h); n; n = n->next) {
        flow *f = core_of(flow, node, n);
        if (f->caller == caller && f->method == m) return f;
    }
    if (c->flows.n >= FLOWS_MAX) flows_sweep(c);
    if (c->flows.n >= FLOWS_MAX) return NULL;
    flow *f = core_alloc(c, sizeof *f);
    if (f == NULL) return NULL;
    f->retry = retry_get(c, caller, m->service);
    if (f->retry == NULL) {
        core_dealloc(c, f, sizeof *f);
        return NULL;
    }
    f->caller = caller;
    f->method = m;
    caller->refs++;
    m->refs++;
    core_table_add(&c->flows, &f->node, h);
    return f;
}

bool core_flow_allowed(core *c, flow *f, service *caller, sv_str target)
{
    if (f == NULL) return policy_allows(c->policy, sv_cstr(caller->name), target, NULL);
    if (f->policy_generation != c->policy_generation) {
        f->allowed = policy_allows(c->policy, sv_cstr(caller->name), target, NULL);
        f->policy_generation = c->policy_generation;
    }
    return f->allowed;
}
