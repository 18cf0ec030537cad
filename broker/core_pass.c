/*  core_pass.c - who may send a ticket that is bound to a service.
 *
 *  Besides that service, whoever works on a request that carries the very same bytes: it passes them
 *  on. Each request with a bound ticket has one note, which is in a table under its callee for as long
 *  as that works on it; a sender is looked up there, so that the cost does not grow with what it
 *  serves. The ticket's name is a keyed hash: nobody can choose bytes that meet another's. */
#include "core_state.h"

static uint64_t place(const core *c, const peer *p, const uint8_t hash[TICKET_HASH])
{
    return core_hash_u64(c->seed, core_load64(hash), (uint64_t)(uintptr_t)p);
}

static bool works_with(const core *c, const peer *p, const uint8_t hash[TICKET_HASH])
{
    uint64_t h = place(c, p, hash);
    for (core_node *n = core_table_chain(&c->passes, h); n; n = n->next) {
        const pass *at = core_of(pass, node, n);
        if (n->hash == h && at->peer == p && memcmp(at->ticket, hash, TICKET_HASH) == 0)
            return true;
    }
    return false;
}

bool core_pass_may(const core *c, const peer *p, sv_str bound, const uint8_t hash[TICKET_HASH])
{
    const char *slash = bound.n ? memchr(bound.p, '/', bound.n) : NULL;
    if (slash && sv_str_is((sv_str){bound.p, (uint32_t)(slash - bound.p)}, p->service->name))
        return true;
    return works_with(c, p, hash);
}

pass *core_pass_new(core *c, const uint8_t hash[TICKET_HASH])
{
    pass *x = core_alloc(c, sizeof *x);
    if (x) memcpy(x->ticket, hash, TICKET_HASH);
    return x;
}

void core_pass_begin(core *c, request *r)
{
    if (r->pass == NULL) return;
    r->pass->peer = r->callee;
    core_table_add(&c->passes, &r->pass->node, place(c, r->callee, r->pass->ticket));
}

void core_pass_end(core *c, request *r)
{
    if (r->pass == NULL || r->pass->peer == NULL) return;
    core_table_remove(&c->passes, &r->pass->node);
    r->pass->peer = NULL;
}

void core_pass_free(core *c, request *r)
{
    if (r->pass == NULL) return;
    core_pass_end(c, r);
    core_dealloc(c, r->pass, sizeof *r->pass);
    r->pass = NULL;
}
