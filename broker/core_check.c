/*  core_check.c - walks everything and compares: for tests, the cost grows with the state. */
#include "core_state.h"

#include <stdio.h>

/* Notes the first broken rule. */
#define RULE(cond, ...)                                                                            \
    do {                                                                                           \
        if (!(cond) && c->broken[0] == 0) snprintf(c->broken, sizeof c->broken, __VA_ARGS__);      \
    } while (0)

typedef struct tally {
    uint64_t open, zombies, queued, retained, taps, own, out_bytes, policy_refs, passes;
} tally;

static void check_request(core *c, const request *r, tally *t)
{
    RULE(core_request_find(c, &r->id) == r, "two requests have one id");
    RULE(r->timer.link != NULL, "a request in state %d has no timer", r->state);
    RULE((r->state == R_ZOMBIE) == (r->caller == NULL), "a request in state %d: caller side wrong",
         r->state);
    RULE((r->state == R_HANDED || r->state == R_ZOMBIE) == (r->callee != NULL),
         "a request in state %d: callee side wrong", r->state);
    RULE((r->state == R_QUEUED) == core_linked(&r->queue),
         "a request in state %d: queue link wrong", r->state);
    RULE(r->state != R_QUEUED || r->frames, "a queued request has no frames");
    RULE(r->attempt <= 2 && (r->attempt < 2 || r->idempotent),
         "a request was handed over %u times, idempotent %d", r->attempt, r->idempotent);
    RULE(r->deadline_us <= r->accepted_us + LIMIT_TTL_MS * 1000ull,
         "a deadline is beyond the limit");
    RULE(r->down.items <= r->down.granted_items && r->down.bytes <= r->down.granted_bytes,
         "a stream is beyond its window");
    RULE(r->up.items <= r->up.granted_items && r->up.bytes <= r->up.granted_bytes,
         "an upload is beyond its window");
    t->open += r->state != R_ZOMBIE;
    t->zombies += r->state == R_ZOMBIE;
    t->queued += r->state == R_QUEUED;
    t->retained += r->state == R_HANDED && r->frames ? r->bytes : 0;
    t->taps += r->tap != NULL;
    t->own += r->own != NULL;
    RULE(r->pass == NULL || r->pass->peer == r->callee,
         "a ticket may be passed on by the wrong peer");
    t->passes += r->pass && r->pass->peer;
}

static void check_out(core *c, const peer *p, tally *t)
{
    const core_link *rings[] = {&p->held, &p->control, &p->data};
    uint32_t n = 0;
    uint64_t bytes = 0;
    for (size_t k = 0; k < 3; k++) {
        for (const core_link *l = rings[k]->next; l != rings[k]; l = l->next) {
            n++;
            bytes += core_of(out_item, link, l)->bytes;
        }
    }
    RULE(n == p->out_n && bytes == p->out_bytes, "%s/%u: out queue counts %u, holds %u",
         p->service->name, p->instance, p->out_n, n);
    RULE(n <= c->limits.out_messages && bytes <= c->limits.out_bytes,
         "%s/%u: out queue over bounds", p->service->name, p->instance);
    RULE(n == 0 || p->blocked || core_linked(&p->lag), "%s/%u: waiting messages forgotten",
         p->service->name, p->instance);
    t->out_bytes += bytes;
}

static void check_peer(core *c, const peer *p, tally *t)
{
    uint32_t calls = 0, work = 0, subs = 0;
    for (const core_link *l = p->calls.next; l != &p->calls; l = l->next, calls++)
        RULE(core_of(request, of_caller, l)->caller == p, "a call hangs on the wrong caller");
    for (const core_link *l = p->work.next; l != &p->work; l = l->next, work++)
        RULE(core_of(request, of_callee, l)->callee == p, "work hangs on the wrong callee");
    for (const core_link *l = p->subs.next; l != &p->subs; l = l->next, subs++)
        RULE(core_of(subscription, of_peer, l)->n <= LIMIT_EVENT_QUEUE,
             "an event queue is too long");
    RULE(calls == p->n_calls, "%s/%u: %u calls counted, %u there", p->service->name, p->instance,
         p->n_calls, calls);
    RULE(work == p->in_flight, "%s/%u: %u slots counted, %u in use", p->service->name, p->instance,
         p->in_flight, work);
    RULE(subs == p->n_subs && subs <= LIMIT_SUBSCRIPTIONS, "%s/%u: subscriptions miscounted",
         p->service->name, p->instance);
    RULE(!p->doomed, "%s/%u: doomed and still here", p->service->name, p->instance);
    RULE(p->timer.link != NULL, "%s/%u: nobody looks after it", p->service->name, p->instance);
    RULE(p->serving == (p->n_methods > 0 && !p->draining), "%s/%u: serving is wrong",
         p->service->name, p->instance);
    for (uint32_t i = 0; i < p->n_methods; i++) {
        uint32_t listed = 0;
        for (uint32_t k = 0; k < p->methods[i]->n_servers; k++)
            listed += p->methods[i]->servers[k].peer == p;
        RULE(listed == 1, "%s/%u: listed %u times for %s", p->service->name, p->instance, listed,
             p->methods[i]->target);
    }
    check_out(c, p, t);
}

static void check_service(core *c, const service *s)
{
    uint32_t queued = 0, serving = 0, ejected = 0, in_flight = 0;
    uint64_t bytes = 0;
    for (const core_link *l = s->queue.next; l != &s->queue; l = l->next, queued++)
        bytes += core_of(request, queue, l)->bytes;
    for (const core_link *m = s->members.next; m != &s->members; m = m->next) {
        const peer *p = core_of(peer, member, m);
        for (const core_link *l = p->keyed.next; l != &p->keyed; l = l->next, queued++) {
            bytes += core_of(request, queue, l)->bytes;
            RULE(core_of(request, queue, l)->owner == p, "%s: a key waits for the wrong owner",
                 s->name);
        }
        serving += p->serving;
        ejected += p->serving && p->ejected_until_us;
        in_flight += p->in_flight;
        for (const core_link *k = m->next; k != &s->members; k = k->next)
            RULE(core_of(peer, member, k)->instance != p->instance, "two peers are %s/%u", s->name,
                 p->instance);
    }
    RULE(queued == s->queue_n && bytes == s->queue_bytes, "%s: %u queued counted, %u there",
         s->name, s->queue_n, queued);
    RULE(serving == s->n_serving && ejected == s->n_ejected, "%s: serving or ejected miscounted",
         s->name);
    RULE(in_flight == s->in_flight, "%s: %u in flight counted, %u there", s->name, s->in_flight,
         in_flight);
    RULE(!core_linked(&s->dirty), "%s: its queue was not looked at", s->name);
}

const char *core_check(const core *k)
{
    core *c = (core *)(uintptr_t)k; /* only `broken` is written */
    tally t = {0};
    c->broken[0] = 0;
    for (core_node *n = NULL; (n = core_table_next(&c->requests, n));)
        check_request(c, core_of(request, node, n), &t);
    for (core_node *n = NULL; (n = core_table_next(&c->peers, n));)
        check_peer(c, core_of(peer, node, n), &t);
    for (core_node *n = NULL; (n = core_table_next(&c->services, n));)
        check_service(c, core_of(service, node, n));
    RULE(t.open == c->n_open, "%u open counted, %llu there", c->n_open, (unsigned long long)t.open);
    RULE(t.zombies == c->n_zombies, "%u zombies counted, %llu there", c->n_zombies,
         (unsigned long long)t.zombies);
    RULE(t.queued == c->stats.queued, "%llu queued counted, %llu there",
         (unsigned long long)c->stats.queued, (unsigned long long)t.queued);
    RULE(t.retained == c->retained_bytes, "%llu bytes retained counted, %llu there",
         (unsigned long long)c->retained_bytes, (unsigned long long)t.retained);
    RULE(t.taps == c->n_taps && t.own == c->n_own, "taps or own answers miscounted");
    RULE(t.passes == c->passes.n, "tickets that may be passed on miscounted");
    RULE(t.out_bytes == c->stats.out_queued_bytes, "waiting bytes miscounted");
    RULE(c->n_open <= c->limits.open && c->requests.n <= 2ull * c->limits.open &&
             c->peers.n <= c->limits.peers && c->flows.n <= FLOWS_MAX,
         "a limit is passed");
    return c->broken;
}
