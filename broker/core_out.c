/*  core_out.c - messages to one peer: straight into the step's actions, or waiting while it is
 *  blocked.
 *
 *  Three rings wait: what the driver gave back (oldest, in its order), control (REQUEST, CREDIT,
 *  CANCEL, PING, GOODBYE and the like) and data (PARTIAL, REPLY, EVENT). REQUEST and CREDIT of one
 *  request stay in order because they share a ring, PARTIAL and REPLY likewise; a CANCEL may
 *  overtake parts. CREDIT never waits here: grants are totals, so the newest one is sent when the
 *  peer reads again, and a flood of grants cannot fill a stranger's queue. What does not fit the
 *  bounds ends the peer: the windows it granted itself keep a well-behaved one far below. */
#include "core_state.h"

#include <assert.h>

static void forward(core *c, peer *p, core_frames *f)
{
    core_action *a = core_action_room(c);
    if (a == NULL) { /* a message lost in the middle of a conversation: better none at all */
        frames_unref(f);
        core_peer_doom(c, p);
        return;
    }
    a->kind = CORE_FORWARD;
    a->peer = p->id;
    a->frames = f;
    c->stats.forwarded++;
}

static void emit(core *c, peer *p, const envelope *e, sv_str body)
{
    if (!core_emit_to(c, p->id, e, body)) core_peer_doom(c, p);
}

static bool room(core *c, peer *p, uint32_t bytes)
{
    if (p->out_n < c->limits.out_messages && p->out_bytes + bytes <= c->limits.out_bytes)
        return true;
    core_peer_doom(c, p);
    return false;
}

static void wait_in(core *c, peer *p, core_link *before, out_item *i)
{
    core_link_before(before, &i->link);
    p->out_n++;
    p->out_bytes += i->bytes;
    c->stats.out_queued_bytes += i->bytes;
}

static void item_free(core *c, peer *p, out_item *i)
{
    core_unlink(&i->link);
    p->out_n--;
    p->out_bytes -= i->bytes;
    c->stats.out_queued_bytes -= i->bytes;
    core_dealloc(c, i, i->size);
}

static void queue_frames(core *c, peer *p, core_link *before, core_frames *f)
{
    out_item *i = room(c, p, f->bytes) ? core_alloc(c, sizeof *i) : NULL;
    if (i == NULL) {
        core_peer_doom(c, p);
        frames_unref(f);
        return;
    }
    i->frames = f;
    i->bytes = f->bytes;
    i->size = sizeof *i;
    wait_in(c, p, before, i);
}

void core_send_frames(core *c, peer *p, core_frames *f, out_class class)
{
    if (p->doomed)
        frames_unref(f);
    else if (core_out_direct(p))
        forward(c, p, f);
    else
        queue_frames(c, p, class == OUT_CONTROL ? &p->control : &p->data, f);
}

static sv_str copy_text(char **to, sv_str s)
{
    if (s.n == 0) return s.p ? (sv_str){"", 0} : s;
    memcpy(*to, s.p, s.n);
    sv_str copy = {*to, s.n};
    *to += s.n;
    return copy;
}

void core_send_own(core *c, peer *p, const envelope *e, sv_str body, out_class class)
{
    if (p->doomed) return;
    if (core_out_direct(p)) {
        emit(c, p, e, body);
        return;
    }
    size_t texts =
        (size_t)e->target.n + e->key.n + e->tracestate.n + e->ticket.n + e->content_type.n + body.n;
    uint32_t bytes = (uint32_t)(envelope_size(e) + body.n);
    out_item *i = room(c, p, bytes) ? core_alloc(c, sizeof *i + texts) : NULL;
    if (i == NULL) {
        core_peer_doom(c, p);
        return;
    }
    char *to = (char *)(i + 1);
    i->env = *e;
    i->env.target = copy_text(&to, e->target);
    i->env.key = copy_text(&to, e->key);
    i->env.tracestate = copy_text(&to, e->tracestate);
    i->env.ticket = copy_text(&to, e->ticket);
    i->env.content_type = copy_text(&to, e->content_type);
    i->body = copy_text(&to, body);
    i->bytes = bytes;
    i->size = (uint32_t)(sizeof *i + texts);
    wait_in(c, p, class == OUT_CONTROL ? &p->control : &p->data, i);
}

/* ---- blocked and writable ---- */

void core_out_blocked(core *c, peer *p, core_frames *f)
{
    if (!p->blocked) {
        p->blocked = true;
        p->held_at = p->held.next; /* what comes back now is older than what is held already */
    }
    queue_frames(c, p, p->held_at, f);
}

void core_out_writable(core *c, peer *p)
{
    p->blocked = false;
    if (p->out_n == 0 && !p->owed)
        core_service_touch(c, p->service);
    else if (!core_linked(&p->lag))
        core_ring_push(&c->lagging, &p->lag);
}

/* A REQUEST that waited may have lost its deadline, its caller or its place meanwhile. */
static bool still_wanted(core *c, const peer *p, core_frames *f)
{
    if (f->env.kind != SV_REQUEST) return true;
    request *r = core_request_find(c, &f->env.id);
    if (r == NULL || r->callee != p) return false;
    if (r->state == R_HANDED && r->deadline_us >= c->now_us + 1000) {
        envelope_patch_ttl(f->header_data, (uint32_t)((r->deadline_us - c->now_us) / 1000));
        return true;
    }
    if (r->state == R_ZOMBIE) { /* the callee never saw it: no answer will come */
        core_request_release(c, r);
        return false;
    }
    r->unsent =
        true; /* about to expire: its timer tells the caller, and the slot is free at once */
    return false;
}

static void send_item(core *c, peer *p, out_item *i)
{
    if (i->frames) {
        core_frames *f = i->frames;
        item_free(c, p, i);
        if (still_wanted(c, p, f))
            forward(c, p, f);
        else
            frames_unref(f);
        return;
    }
    char *copy = NULL;
    if (i->size > sizeof *i) copy = arena_alloc(&c->arena, i->size - sizeof *i);
    if (i->size > sizeof *i && copy == NULL) {
        core_peer_doom(c, p);
    } else {
        sv_str *texts[] = {&i->env.target, &i->env.key,          &i->env.tracestate,
                           &i->env.ticket, &i->env.content_type, &i->body};
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            *texts[k] = copy_text(&copy, *texts[k]);
        emit(c, p, &i->env, i->body);
    }
    item_free(c, p, i);
}

static core_link *next_out(peer *p)
{
    if (!core_ring_empty(&p->held)) return p->held.next;
    if (!core_ring_empty(&p->control)) return p->control.next;
    return core_ring_empty(&p->data) ? NULL : p->data.next;
}

void core_out_pump(core *c)
{
    for (core_link *l = c->lagging.next, *next; l != &c->lagging; l = next) {
        next = l->next;
        peer *p = core_of(peer, lag, l);
        if (p->blocked || p->doomed) {
            core_unlink(l);
            continue;
        }
        core_link *o = NULL;
        for (int i = 0; i < DRAIN_BATCH && !p->doomed && (o = next_out(p)); i++)
            send_item(c, p, core_of(out_item, link, o));
        if (core_ring_empty(&p->held) && core_ring_empty(&p->control)) core_stream_owed(c, p);
        if (p->out_n == 0) {
            core_unlink(l);
            core_service_touch(c, p->service);
        }
    }
}

void core_out_clear(core *c, peer *p)
{
    core_link *rings[] = {&p->held, &p->control, &p->data};
    for (size_t k = 0; k < 3; k++) {
        while (!core_ring_empty(rings[k])) {
            out_item *i = core_of(out_item, link, rings[k]->next);
            frames_unref(i->frames);
            item_free(c, p, i);
        }
    }
    core_unlink(&p->lag);
    assert(p->out_n == 0 && p->out_bytes == 0);
}
