/*  core_stream.c - PARTIAL and CREDIT: sequences and windows of both directions.
 *
 *  The consumer grants totals: those for the answer ride on REQUEST and grow by CREDIT from the
 *  caller, those for an upload only by CREDIT from the callee. A PARTIAL is forwarded when it is the
 *  next one and fits; otherwise its sender broke the protocol and the request ends. */
#include "core_state.h"

#include <assert.h>
#include <stdio.h>

bool core_stream_fits(const stream_side *s, uint32_t bytes)
{
    return s->items < s->granted_items && bytes <= s->granted_bytes &&
           s->bytes <= s->granted_bytes - bytes;
}

/* The sinner is the callee when the PARTIAL came down. */
static void violation(core *c, request *r, bool down, int code, const char *words)
{
    c->stats.credit_violations += code == SV_E_CREDIT_EXCEEDED;
    if (down) core_dispatch_outcome(c, r, SV_STATUS_INTERNAL, c->now_us - r->handed_us);
    core_request_fail(c, r, code, words, 0);
}

/* True when it may go on; otherwise the request is gone. */
static bool lawful(core *c, request *r, const core_frames *f, bool down)
{
    const envelope *e = &f->env;
    stream_side *s = down ? &r->down : &r->up;
    const char *who = down ? "instance" : "caller";
    char words[200];
    if (e->code != s->items + 1) {
        snprintf(words, sizeof words, "The %s sent PARTIAL %u where %u was due.", who, e->code,
                 s->items + 1);
        violation(c, r, down, down ? SV_E_INTERNAL : SV_E_INVALID, words);
        return false;
    }
    if (down ? !r->streaming && !(e->flags & SV_FLAG_MORE) : !r->uploading) {
        snprintf(words, sizeof words,
                 "The %s sent a PARTIAL that the request does not provide for.", who);
        violation(c, r, down, down ? SV_E_INTERNAL : SV_E_INVALID, words);
        return false;
    }
    if (!core_stream_fits(s, f->data_bytes)) {
        snprintf(words, sizeof words,
                 "The %s sent PARTIAL %u beyond its window of %u items and %llu bytes.", who,
                 e->code, s->granted_items, (unsigned long long)s->granted_bytes);
        violation(c, r, down, SV_E_CREDIT_EXCEEDED, words);
        return false;
    }
    s->items++;
    s->bytes += f->data_bytes;
    return true;
}

void core_stream_partial(core *c, peer *p, core_frames *f)
{
    request *r = core_request_find(c, &f->env.id);
    bool down = r && r->callee == p;
    if (down && r->caller == p && r->uploading)
        down = false; /* it calls itself: the upload comes before any answer */
    if (r == NULL || r->state == R_ZOMBIE || (!down && r->caller != p)) {
        if (r && r->callee == p)
            c->stats.dropped_late++; /* under way when its caller left */
        else
            c->stats.dropped_unknown++;
        frames_unref(f);
        return;
    }
    if (!lawful(c, r, f, down)) {
        frames_unref(f);
        return;
    }
    assert(r->state == R_HANDED); /* before, nobody granted an upload */
    if (!down) r->uploading = f->env.flags & SV_FLAG_MORE;
    r->touched = true;
    core_request_drop_frames(c, r);
    envelope_patch_sender(f->header_data, p->service->name, p->instance);
    peer *to = down ? r->caller : r->callee;
    if (c->n_taps) {
        hop h = core_hop(c, &f->env, r->method, p, to, f->bytes);
        core_hop_note(c, &h, r, false);
    }
    core_send_frames(c, to, f, OUT_DATA);
}

/* ---- CREDIT ---- */

/* Totals never shrink; false when nothing grew. */
static bool grant(stream_side *s, const envelope *e)
{
    bool grew = e->credit_items > s->granted_items || e->credit_bytes > s->granted_bytes;
    if (e->credit_items > s->granted_items) s->granted_items = e->credit_items;
    if (e->credit_bytes > s->granted_bytes) s->granted_bytes = e->credit_bytes;
    return grew;
}

static void forward_grant(core *c, peer *p, peer *to, request *r, stream_side *s, core_frames *f)
{
    if (c->n_taps) {
        hop h = core_hop(c, &f->env, r->method, p, to, f->bytes);
        core_hop_note(c, &h, r, false);
    }
    if (!core_out_direct(to)) {
        s->owed = true;
        to->owed = true;
        frames_unref(f);
        return;
    }
    envelope_patch_sender(f->header_data, p->service->name, p->instance);
    envelope_patch_credit(f->header_data, s->granted_items, s->granted_bytes);
    core_send_frames(c, to, f, OUT_CONTROL);
}

void core_stream_credit(core *c, peer *p, core_frames *f)
{
    request *r = core_request_find(c, &f->env.id);
    if (r && r->caller == p && !(r->callee == p && r->uploading)) {
        bool grew = grant(&r->down, &f->env);
        if (grew && r->state == R_HANDED) {
            forward_grant(c, p, r->callee, r, &r->down, f);
            return;
        }
        if (grew && r->state == R_OWN) core_bus_credit(c, r);
    } else if (r && r->callee == p && r->state == R_HANDED) {
        if (grant(&r->up, &f->env)) {
            forward_grant(c, p, r->caller, r, &r->up, f);
            return;
        }
    } else if (r == NULL || r->callee != p) {
        if (!core_event_credit(c, p, &f->env)) c->stats.dropped_unknown++;
    }
    frames_unref(f);
}

static void send_owed(core *c, peer *to, const request *r, stream_side *s, const peer *from)
{
    if (!s->owed) return;
    s->owed = false;
    envelope e = core_request_envelope(c, r, SV_CREDIT);
    memcpy(e.sender, from->service->name, sizeof e.sender);
    e.sender_instance = from->instance;
    e.credit_items = s->granted_items;
    e.credit_bytes = s->granted_bytes;
    core_send_own(c, to, &e, (sv_str){NULL, 0}, OUT_CONTROL);
}

void core_stream_owed(core *c, peer *p)
{
    if (!p->owed) return;
    p->owed = false;
    for (core_link *l = p->work.next; l != &p->work; l = l->next) {
        request *r = core_of(request, of_callee, l);
        if (r->state == R_HANDED) send_owed(c, p, r, &r->down, r->caller);
    }
    for (core_link *l = p->calls.next; l != &p->calls; l = l->next) {
        request *r = core_of(request, of_caller, l);
        if (r->state == R_HANDED) send_owed(c, p, r, &r->up, r->callee);
    }
}
