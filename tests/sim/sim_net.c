/*  sim_net.c - the driver's part: what sockets do, without sockets.
 *
 *  A connection takes `high` letters that nobody has read; the next one is given back to the core
 *  as BLOCKED, and WRITABLE follows when half are read. Headers of forwarded frames are decoded
 *  again as a receiver would, so that a wrong patch shows. */
#include "sim.h"

#include "skim.h"

typedef struct sim_frames {
    core_frames f;
    int *live;
    bool own; /* an EMIT that did not fit */
    unsigned char header[1024];
    char body[];
} sim_frames;

static void release(core_frames *f)
{
    sim_frames *x = (sim_frames *)(void *)f;
    --*x->live;
    free(x);
}

static core_frames *frames_make(sim *s, const envelope *e, sv_str body, uint32_t attachment)
{
    sim_frames *x = malloc(sizeof *x + body.n + 1);
    size_t n = envelope_size(e);
    if (n == 0 || n > sizeof x->header) {
        broken(s, "an envelope of kind %u does not encode", e->kind);
        abort();
    }
    x->f = (core_frames){.refs = 1, .release = release, .header_data = x->header};
    envelope_write(e, x->header);
    if (envelope_decode(x->header, n, &x->f.env, NULL)) {
        broken(s, "an envelope of kind %u does not decode", e->kind);
        abort();
    }
    if (body.n) memcpy(x->body, body.p, body.n);
    x->f.body = (sv_str){x->body, body.n};
    x->f.data_bytes = body.n + attachment;
    x->f.bytes = (uint32_t)n + x->f.data_bytes;
    x->live = &s->live;
    x->own = false;
    s->live++;
    return &x->f;
}

/* ---- connections ---- */

conn *conn_new(sim *s, int owner)
{
    if (s->n_conns == s->cap_conns) {
        s->cap_conns = s->cap_conns ? s->cap_conns * 2 : 64;
        s->conns = realloc(s->conns, (size_t)s->cap_conns * sizeof *s->conns);
    }
    conn *c = calloc(1, sizeof *c);
    c->id = (peer_id)s->n_conns + 1;
    c->actor = owner;
    c->tail = &c->in;
    c->high = 4 + (uint32_t)roll(s, 60);
    s->conns[s->n_conns++] = c;
    return c;
}

int conn_index(const sim *s, const conn *c)
{
    (void)s;
    return (int)c->id - 1;
}

static conn *conn_of(sim *s, peer_id id)
{
    if (id == 0 || id > (peer_id)s->n_conns) {
        broken(s, "an action for peer %u, which never was", id);
        return NULL;
    }
    return s->conns[id - 1];
}

static void deliver(sim *s, conn *c, const envelope *e, uint32_t data_bytes, bool own)
{
    s->deliveries++;
    tell(s, "  -> %u %s id %u.%u code %u credit %u/%llu ttl %u from %s/%u %.*s", c->id,
         envelope_kind_name(e->kind), *(const uint32_t *)(const void *)e->id.b, e->id.b[15],
         e->code, e->credit_items, (unsigned long long)e->credit_bytes, e->ttl_ms, e->sender,
         e->sender_instance, SV_FMT(e->target));
    model_delivered(s, c, e, data_bytes, own);
    letter *l = calloc(1, sizeof *l);
    l->env = *e;
    l->env.target = l->env.key = l->env.tracestate = l->env.ticket = l->env.content_type =
        (sv_str){NULL, 0};
    if (e->target.n) memcpy(l->target, e->target.p, e->target.n);
    l->data_bytes = data_bytes;
    *c->tail = l;
    c->tail = &l->next;
    c->n_in++;
}

letter *net_take(sim *s, conn *c)
{
    letter *l = c->in;
    if (l == NULL) return NULL;
    c->in = l->next;
    if (c->in == NULL) c->tail = &c->in;
    c->n_in--;
    if (c->blocked && c->n_in <= c->high / 2) {
        c->blocked = false;
        net_step(s, (core_event){.kind = CORE_WRITABLE, .peer = c->id});
    }
    return l;
}

/* ---- actions ---- */

static void check_own_body(sim *s, const core_action *a)
{
    if (a->env.kind == SV_EVENT || (a->env.flags & SV_FLAG_MORE) || a->body.n == 0)
        return; /* a publisher's bytes, or a part */
    if (a->env.kind == SV_REPLY && a->env.code == SV_STATUS_OK)
        return; /* may be the last of several parts */
    sv_error err = {0};
    if (skim_msgpack(a->body, LIMIT_DEPTH, LIMIT_NODES, &err))
        broken(s, "the broker's own %s has a broken body: %s", envelope_kind_name(a->env.kind),
               err.message);
}

static void send_one(sim *s, conn *c, core_action *a)
{
    if (a->kind == CORE_EMIT) {
        check_own_body(s, a);
        if (envelope_size(&a->env) == 0)
            broken(s, "the broker's own %s does not encode", envelope_kind_name(a->env.kind));
        deliver(s, c, &a->env, a->body.n, true);
        return;
    }
    envelope e;
    sv_error err = {0};
    if (envelope_decode(a->frames->header_data, envelope_size(&a->frames->env), &e, &err))
        broken(s, "a forwarded header does not decode: %s", err.message);
    else
        deliver(s, c, &e, a->frames->data_bytes, ((sim_frames *)(void *)a->frames)->own);
    frames_unref(a->frames);
}

static core_frames *frames_own(sim *s, const core_action *a)
{
    core_frames *f = frames_make(s, &a->env, a->body, 0);
    ((sim_frames *)(void *)f)->own = true;
    return f;
}

void net_step(sim *s, core_event e)
{
    core_frames *back[4096];
    peer_id whose[4096];
    size_t n = 0;
    memory_starve(s->starve, s->starve ? roll(s, UINT64_MAX) : 0);
    core_actions acts = core_step(s->c, &e, s->now_us);
    memory_starve(0, 0);
    for (size_t i = 0; i < acts.n; i++) {
        core_action *a = &acts.items[i];
        conn *c = conn_of(s, a->peer);
        if (c == NULL) return;
        if (a->kind == CORE_FORGET) {
            tell(s, "  -> FORGET %u", a->peer);
            model_forgotten(s, c);
            continue;
        }
        if (a->kind == CORE_EMIT && a->env.kind == SV_WELCOME) model_welcomed(s, c, a->body);
        if (!c->known && !(a->kind == CORE_EMIT && a->env.kind == SV_GOODBYE))
            broken(s, "a %s for peer %u, which is not known",
                   envelope_kind_name(a->kind == CORE_EMIT ? a->env.kind : a->frames->env.kind),
                   a->peer);
        if (c->dead) { /* the cable is cut: the send fails, the driver says so */
            if (a->kind == CORE_FORWARD) frames_unref(a->frames);
        } else if (c->known && (c->blocked || c->n_in >= c->high) && n < 4096) {
            c->blocked = c->crossed = true;
            whose[n] = c->id;
            back[n++] = a->kind == CORE_FORWARD ? a->frames : frames_own(s, a);
        } else {
            send_one(s, c, a);
        }
    }
    for (size_t i = 0; i < n; i++) {
        tell(s, "  BLOCKED %u", whose[i]);
        net_step(s, (core_event){.kind = CORE_BLOCKED, .peer = whose[i], .frames = back[i]});
    }
}

void net_send(sim *s, conn *c, const envelope *e, sv_str body, uint32_t attachment)
{
    if (c->dead) return;
    identity nobody = {.kind = IDENTITY_NONE};
    tell(s, "%u says %s id %u.%u code %u credit %u/%llu ttl %u flags %u %.*s", c->id,
         envelope_kind_name(e->kind), *(const uint32_t *)(const void *)e->id.b, e->id.b[15],
         e->code, e->credit_items, (unsigned long long)e->credit_bytes, e->ttl_ms, e->flags,
         SV_FMT(e->target));
    net_step(s, (core_event){.kind = CORE_MESSAGE,
                             .peer = c->id,
                             .who = c->actor < 0 ? &nobody : &s->actors[c->actor].who,
                             .frames = frames_make(s, e, body, attachment)});
}

/* ---- time and ends ---- */

void net_tick(sim *s, uint64_t until_us)
{
    for (int i = 0; i < 100000 && !s->failed; i++) {
        uint64_t next = core_next_us(s->c);
        if (next > until_us) break;
        if (next > s->now_us) s->now_us = next;
        net_step(s, (core_event){.kind = CORE_TICK});
        if (i == 99999) broken(s, "the core wants ticks without end");
    }
    s->now_us = until_us;
    net_step(s, (core_event){.kind = CORE_TICK});
}

void net_cut(sim *s, conn *c, bool tell_broker)
{
    c->dead = true;
    if (tell_broker) net_step(s, (core_event){.kind = CORE_GONE, .peer = c->id});
}

void net_broker(sim *s)
{
    if (s->c) {
        count_stats(s->c);
        core_free(s->c);
        if (s->live) broken(s, "the broker went with %d frames not given back", s->live);
        model_restarted(s);
        for (int i = 0; i < s->n_conns; i++) {
            s->conns[i]->known = s->conns[i]->blocked = false;
        }
    }
    core_options o = {.node = "sim",
                      .epoch = ++s->epoch,
                      .seed = s->seed * 1000 + s->epoch,
                      .limits = {.peers = 64,
                                 .open = 4096,
                                 .peer_open = 512,
                                 .out_messages = 400,
                                 .out_bytes = 8 << 20,
                                 .records = 32},
                      .policy = actors_policy(s),
                      .tickets = tickets_ring()};
    s->c = core_new(&o, s->now_us, 1700000000000000 + s->now_us);
    if (s->c == NULL) abort();
}

void net_free(sim *s)
{
    count_stats(s->c);
    core_free(s->c);
    for (int i = 0; i < s->n_conns; i++) {
        conn *c = s->conns[i];
        for (letter *l = c->in, *next; l; l = next) {
            next = l->next;
            free(l);
        }
        free(c);
    }
    free(s->conns);
    free(s->requests);
    free(s->subs);
}
