/*  sim_model.c - what the broker promised, kept beside it.
 *
 *  The model sees what was said to the broker and what the broker sent, never the broker's inside.
 *  It is told every delivery at the moment the message leaves the broker; rules that depend on what
 *  the receiver knows are therefore judged at the only place where the broker is responsible for
 *  them. */
#include "sim.h"

sv_id id_of(uint32_t n, int kind)
{
    sv_id id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[15] = (uint8_t)kind;
    return id;
}

sreq *request_of(sim *s, const sv_id *id)
{
    uint32_t n;
    memcpy(&n, id->b, sizeof n);
    return id->b[15] == ID_REQUEST && n < s->n_requests ? &s->requests[n] : NULL;
}

static uint32_t number_of(const sv_id *id)
{
    uint32_t n;
    memcpy(&n, id->b, sizeof n);
    return n;
}

static bool sent_by(const envelope *e, const conn *c)
{
    return strcmp(e->sender, c->service) == 0 && e->sender_instance == c->instance;
}

static int callee_slot(const sreq *r, int who)
{
    for (uint32_t i = r->handed; i > 0; i--)
        if (r->callee[i - 1] == who) return (int)i - 1;
    return -1;
}

/* Still something the broker must answer. */
static bool alive(const sreq *r)
{
    return !r->voided && !r->cancelled && r->finals == 0;
}

/* Requests a connection works on, as far as it told the broker. */
static uint32_t in_hand(const sim *s, int who)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_requests; i++) {
        const sreq *r = &s->requests[i];
        for (uint32_t k = 0; k < r->handed; k++)
            n += r->callee[k] == who && !r->replied[k] && !r->freed[k] &&
                 r->handed_us[k] + 29000000 > s->now_us;
    }
    return n;
}

static void got_request(sim *s, conn *c, const envelope *e)
{
    sreq *r = request_of(s, &e->id);
    uint32_t n = number_of(&e->id);
    if (r == NULL) {
        broken(s, "a REQUEST that nobody sent reached peer %u", c->id);
        return;
    }
    if (r->voided) broken(s, "request %u was handed over after its caller had gone", n);
    if (r->cancelled) broken(s, "request %u was handed over after it was cancelled", n);
    if (r->finals) broken(s, "request %u was handed over after its final answer", n);
    if (!sent_by(e, s->conns[r->conn]))
        broken(s, "request %u carries sender %s/%u instead of %s/%u", n, e->sender,
               e->sender_instance, s->conns[r->conn]->service, s->conns[r->conn]->instance);
    uint64_t used_ms = (s->now_us - r->sent_us) / 1000;
    if (e->ttl_ms == 0 || e->ttl_ms + used_ms > r->ttl_ms)
        broken(s, "request %u of %u ms was handed over after %llu ms with ttl %u", n, r->ttl_ms,
               (unsigned long long)used_ms, e->ttl_ms);
    if (r->handed >= (r->idempotent && !r->only ? 2u : 1u)) {
        broken(s, "request %u (idempotent %d, for instance %u) was handed over %u times", n,
               r->idempotent, r->only, r->handed + 1);
        return;
    }
    if (r->only && c->instance != r->only)
        broken(s, "request %u for %s went to %s/%u", n, r->target, c->service, c->instance);
    if (r->handed == 1 && !r->freed[0])
        broken(s, "request %u was handed over again while its first instance lives", n);
    if (r->got_items || r->up_got) broken(s, "request %u was handed over again after a PARTIAL", n);
    if (e->attempt != r->handed + 1 && e->attempt != 2)
        broken(s, "request %u says attempt %u", n, e->attempt);
    if (c->draining && !c->crossed) broken(s, "request %u went to peer %u, which drains", n, c->id);
    if (in_hand(s, conn_index(s, c)) >= c->slots)
        broken(s, "peer %u has %u slots and got one request more", c->id, c->slots);
    r->callee[r->handed] = conn_index(s, c);
    r->handed_us[r->handed] = s->now_us;
    r->handed++;
}

static void got_reply(sim *s, conn *c, const envelope *e, bool own)
{
    sreq *r = request_of(s, &e->id);
    uint32_t n = number_of(&e->id);
    if (r == NULL) {
        if (!own) /* refusals of what was not a request of ours */
            broken(s, "a REPLY to nothing reached peer %u", c->id);
        return;
    }
    if (r->conn != conn_index(s, c)) {
        if (!own) /* somebody reused a foreign id for a call of the bus */
            broken(s, "the answer of request %u reached peer %u, who did not ask", n, c->id);
        return;
    }
    if (++r->finals > 1) broken(s, "request %u got %u final answers", n, r->finals);
    if (r->voided) broken(s, "request %u was answered after its caller had gone", n);
    if (r->cancelled && !r->crossed) broken(s, "request %u was answered after it was cancelled", n);
    if (e->code > SV_STATUS_UNAUTHENTICATED)
        broken(s, "request %u was answered with status %u", n, e->code);
    s->answers++;
    if (own) {
        if (strcmp(e->sender, "bus") != 0)
            broken(s, "the broker's answer to request %u says it is from %s", n, e->sender);
        return;
    }
    int k = r->handed ? (int)r->handed - 1 : -1;
    if (k < 0 || !sent_by(e, s->conns[r->callee[k]]))
        broken(s, "request %u was answered by %s/%u, who does not work on it", n, e->sender,
               e->sender_instance);
    else if (!r->replied[k])
        broken(s, "request %u got an answer that its instance did not send", n);
}

static void got_partial(sim *s, conn *c, const envelope *e, uint32_t bytes, bool own)
{
    sreq *r = request_of(s, &e->id);
    uint32_t n = number_of(&e->id);
    if (r == NULL) {
        broken(s, "a PARTIAL to nothing reached peer %u", c->id);
        return;
    }
    bool up = r->conn != conn_index(s, c);
    if (up) {
        if (callee_slot(r, conn_index(s, c)) < 0)
            broken(s, "a part of request %u reached peer %u, who does not work on it", n, c->id);
        if (!sent_by(e, s->conns[r->conn]))
            broken(s, "an upload of request %u carries sender %s", n, e->sender);
        if (e->code != ++r->up_got)
            broken(s, "upload of request %u: part %u came as number %u", n, e->code, r->up_got);
        r->up_got_bytes += bytes;
        if (r->up_got > r->up_granted_items || r->up_got_bytes > r->up_granted_bytes)
            broken(s, "upload of request %u went beyond its window: %u of %u items", n, r->up_got,
                   r->up_granted_items);
        return;
    }
    if (r->voided || r->finals) broken(s, "a PARTIAL of request %u came after its end", n);
    if (r->cancelled && !r->crossed)
        broken(s, "a PARTIAL of request %u came after it was cancelled", n);
    if (!r->stream && !(e->flags & SV_FLAG_MORE))
        broken(s, "request %u is no stream and got a PARTIAL", n);
    if (e->code != ++r->got_items)
        broken(s, "request %u: PARTIAL %u came as number %u", n, e->code, r->got_items);
    r->got_bytes += bytes;
    if (r->got_items > r->granted_items || r->got_bytes > r->granted_bytes)
        broken(s, "request %u went beyond its window: %u of %u items, %llu of %llu bytes", n,
               r->got_items, r->granted_items, (unsigned long long)r->got_bytes,
               (unsigned long long)r->granted_bytes);
    if (own ? strcmp(e->sender, "bus") != 0
            : r->handed == 0 || !sent_by(e, s->conns[r->callee[r->handed - 1]]))
        broken(s, "a PARTIAL of request %u carries sender %s/%u", n, e->sender, e->sender_instance);
}

static void got_credit(sim *s, conn *c, const envelope *e)
{
    sreq *r = request_of(s, &e->id);
    if (r == NULL) {
        broken(s, "a CREDIT for nothing reached peer %u", c->id);
        return;
    }
    int me = conn_index(s, c);
    bool up = r->conn == me && callee_slot(r, me) < 0; /* one that calls itself uploads nothing */
    if (e->credit_items > (up ? r->up_granted_items : r->granted_items) ||
        e->credit_bytes > (up ? r->up_granted_bytes : r->granted_bytes))
        broken(s, "request %u: more credit reached peer %u than was granted", number_of(&e->id),
               c->id);
    if (!up && callee_slot(r, conn_index(s, c)) < 0)
        broken(s, "credit for request %u reached peer %u, who does not work on it",
               number_of(&e->id), c->id);
}

static void got_cancel(sim *s, conn *c, const envelope *e)
{
    sreq *r = request_of(s, &e->id);
    if (r == NULL) {
        broken(s, "a CANCEL for nothing reached peer %u", c->id);
        return;
    }
    const conn *caller = s->conns[r->conn];
    if (alive(r) && s->now_us + SLACK_US < r->due_us && !caller->crossed && !caller->dead)
        broken(s, "request %u was cancelled at peer %u while its caller waits", number_of(&e->id),
               c->id);
    int k = callee_slot(r, conn_index(s, c));
    if (k >= 0) r->told[k] = true;
}

static bool pattern_fits(const char *pattern, sv_str topic)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s", SV_FMT(topic));
    const char *p = pattern, *t = text;
    while (*p && *t) {
        if (*p == '>') return true;
        if (*p == '*') {
            p++;
            while (*t && *t != '.')
                t++;
        } else if (*p++ != *t++) {
            return false;
        }
    }
    return *p == 0 && *t == 0;
}

static void got_event(sim *s, conn *c, const envelope *e)
{
    uint32_t n = number_of(&e->id);
    ssub *x = e->id.b[15] == ID_SUBSCRIPTION && n < s->n_subs ? &s->subs[n] : NULL;
    if (x == NULL || x->conn != conn_index(s, c)) {
        broken(s, "an EVENT for nobody's subscription reached peer %u", c->id);
        return;
    }
    if (x->gone && !c->crossed) broken(s, "an EVENT came after UNSUBSCRIBE %u", n);
    if (!pattern_fits(x->pattern, e->target))
        broken(s, "subscription %s got topic %.*s", x->pattern, SV_FMT(e->target));
    if (e->code <= x->last)
        broken(s, "subscription %u: event %u came after %u", n, e->code, x->last);
    x->last = e->code;
    if (++x->got > x->granted)
        broken(s, "subscription %u got %u events with %u granted", n, x->got, x->granted);
    size_t len = strlen(e->sender);
    if (e->target.n <= len || memcmp(e->target.p, e->sender, len) != 0 || e->target.p[len] != '.')
        broken(s, "topic %.*s came from %s", SV_FMT(e->target), e->sender);
}

void model_welcomed(sim *s, conn *c, sv_str body)
{
    c->known = true;
    arena a;
    arena_init(&a, 65536);
    bus_welcome w;
    if (message_decode(&bus_welcome_msg, body, MESSAGE_STRICT, &a, &w, NULL))
        broken(s, "a WELCOME does not decode");
    else if (c->actor >= 0 && s->actors[c->actor].who.kind == IDENTITY_SUPERVISED &&
             (!sv_str_is(w.service, s->actors[c->actor].who.service) ||
              w.instance != s->actors[c->actor].who.instance))
        broken(s, "peer %u was welcomed as %.*s/%lld, which it is not", c->id, SV_FMT(w.service),
               (long long)w.instance);
    else {
        snprintf(c->service, sizeof c->service, "%.*s", SV_FMT(w.service));
        c->instance = (uint32_t)w.instance;
        for (int i = 0; i < s->n_conns; i++) {
            const conn *o = s->conns[i];
            if (o != c && o->known && strcmp(o->service, c->service) == 0 &&
                o->instance == c->instance)
                broken(s, "two connections are %s/%u", c->service, c->instance);
        }
    }
    arena_free(&a);
}

void model_delivered(sim *s, conn *c, const envelope *e, uint32_t data_bytes, bool own)
{
    switch ((sv_kind)e->kind) {
    case SV_REQUEST: got_request(s, c, e); break;
    case SV_REPLY: got_reply(s, c, e, own); break;
    case SV_PARTIAL: got_partial(s, c, e, data_bytes, own); break;
    case SV_CREDIT: got_credit(s, c, e); break;
    case SV_CANCEL: got_cancel(s, c, e); break;
    case SV_EVENT: got_event(s, c, e); break;
    case SV_DRAIN:
        if (!c->asked) broken(s, "peer %u got DRAIN unasked", c->id);
        c->draining = true;
        break;
    case SV_WELCOME:
    case SV_GOODBYE:
    case SV_PING:
    case SV_PONG: break;
    case SV_HELLO:
    case SV_SUBSCRIBE:
    case SV_UNSUBSCRIBE: broken(s, "the broker forwarded a %s", envelope_kind_name(e->kind)); break;
    }
}

void model_forgotten(sim *s, conn *c)
{
    if (!c->known) broken(s, "peer %u was forgotten and is not known", c->id);
    c->known = c->blocked = c->draining = c->asked = false;
    int me = conn_index(s, c);
    for (int i = s->open; i >= 0; i = s->requests[i].next_open)
        if (s->requests[i].conn == me) s->requests[i].voided = true;
    for (uint32_t i = 0; i < s->n_requests; i++)
        for (uint32_t k = 0; k < s->requests[i].handed; k++)
            s->requests[i].freed[k] |= s->requests[i].callee[k] == me;
    for (uint32_t i = 0; i < s->n_subs; i++)
        if (s->subs[i].conn == me) s->subs[i].gone = true;
}

void model_restarted(sim *s)
{
    for (uint32_t i = 0; i < s->n_requests; i++) {
        s->requests[i].voided = true;
        for (uint32_t k = 0; k < s->requests[i].handed; k++)
            s->requests[i].replied[k] = true;
    }
    for (uint32_t i = 0; i < s->n_subs; i++)
        s->subs[i].gone = true;
    for (int i = 0; i < s->n_conns; i++)
        s->conns[i]->draining = s->conns[i]->asked = false;
}

void model_check(sim *s)
{
    const char *inside = core_check(s->c);
    if (inside[0]) broken(s, "invariant: %s", inside);
    if (core_memory(s->c) > 24u << 20) broken(s, "the core holds %zu bytes", core_memory(s->c));
    for (int *at = &s->open; *at >= 0;) {
        sreq *r = &s->requests[*at];
        const conn *c = s->conns[r->conn];
        if (alive(r) && !c->blocked && !c->dead && s->now_us > r->due_us + SLACK_US)
            broken(s, "request %d of %u ms has no answer after %llu ms", *at, r->ttl_ms,
                   (unsigned long long)((s->now_us - r->sent_us) / 1000));
        if (alive(r)) {
            at = &r->next_open;
        } else {
            r->listed = false;
            *at = r->next_open;
        }
    }
}

/* Everybody has left. */
void model_end(sim *s)
{
    const core_stats *t = core_get_stats(s->c);
    if (t->open || t->queued || t->peers || t->taps || t->out_queued_bytes)
        broken(s,
               "at the end %llu requests, %llu queued, %llu peers, %llu taps, %llu bytes are left",
               (unsigned long long)t->open, (unsigned long long)t->queued,
               (unsigned long long)t->peers, (unsigned long long)t->taps,
               (unsigned long long)t->out_queued_bytes);
    if (s->live) broken(s, "at the end %d frames were not given back", s->live);
    for (uint32_t i = 0; i < s->n_requests; i++)
        if (s->requests[i].finals > 1)
            broken(s, "request %u got %u final answers", i, s->requests[i].finals);
    if (core_memory(s->c) > 4u << 20)
        broken(s, "at the end the core still holds %zu bytes", core_memory(s->c));
}
