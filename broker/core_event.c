/*  core_event.c - topics: who wants which, and one bounded queue a subscription.
 *
 *  Subscriptions hang under the first word of their pattern, those that begin with a wildcard under
 *  "*", so that an event looks at two short rings. Every event takes the next number of each
 *  subscription it matches, also when it is dropped: a gap in the numbers is how a slow reader
 *  learns what it missed. An event waits while the reader's grant (a total, like a stream's) is used
 *  up; the queue drops its oldest. The received frames are shared by all readers; each gets its own
 *  header and the same body. */
#include "core_state.h"

/* ---- patterns ---- */

static bool word_ok(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '_' ||
              p[i] == '-'))
            return false;
    return n > 0;
}

/* Words joined by dots; * stands for one word, a final > for one or more. */
static bool pattern_ok(sv_str s)
{
    if (s.n == 0 || s.n > LIMIT_TARGET_BYTES) return false;
    for (const char *p = s.p, *end = s.p + s.n; p <= end;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        size_t n = (size_t)((dot ? dot : end) - p);
        bool rest = n == 1 && *p == '>';
        if (rest ? dot != NULL : !(n == 1 && *p == '*') && !word_ok(p, n)) return false;
        if (dot == NULL) return true;
        p = dot + 1;
    }
    return false;
}

static bool matches(const char *pattern, sv_str topic)
{
    const char *t = topic.p, *end = topic.p + topic.n;
    for (;;) {
        if (pattern[0] == '>') return true;
        size_t pn = strcspn(pattern, ".");
        const char *dot = memchr(t, '.', (size_t)(end - t));
        size_t tn = (size_t)((dot ? dot : end) - t);
        if (!(pn == 1 && pattern[0] == '*') && (pn != tn || memcmp(pattern, t, pn) != 0))
            return false;
        bool more = pattern[pn] == '.';
        if (!more || dot == NULL) return !more && dot == NULL;
        pattern += pn + 1;
        t = dot + 1;
    }
}

/* ---- index ---- */

static event_word *word_find(const core *c, sv_str word)
{
    uint64_t h = core_hash_bytes(c->seed, word.p, word.n);
    for (core_node *n = core_table_chain(&c->words, h); n; n = n->next)
        if (n->hash == h && sv_str_is(word, core_of(event_word, node, n)->word))
            return core_of(event_word, node, n);
    return NULL;
}

static sv_str first_word(sv_str pattern)
{
    const char *dot = memchr(pattern.p, '.', pattern.n);
    sv_str word = {pattern.p, dot ? (uint32_t)(dot - pattern.p) : pattern.n};
    return sv_str_is(word, ">") ? sv_cstr("*") : word;
}

static event_word *word_get(core *c, sv_str word)
{
    event_word *w = word_find(c, word);
    if (w) return w;
    w = core_alloc(c, sizeof *w);
    if (w == NULL) return NULL;
    memcpy(w->word, word.p, word.n);
    core_ring_init(&w->subs);
    core_table_add(&c->words, &w->node, core_hash_bytes(c->seed, word.p, word.n));
    return w;
}

static void leave_word(core *c, subscription *s)
{
    event_word *w = word_find(c, first_word(sv_cstr(s->pattern)));
    core_unlink(&s->of_word);
    if (w && core_ring_empty(&w->subs)) {
        core_table_remove(&c->words, &w->node);
        core_dealloc(c, w, sizeof *w);
    }
}

/* ---- queue and delivery ---- */

static bool granted(const subscription *s)
{
    return s->granted == UINT32_MAX || s->sent < s->granted;
}

static void send_event(core *c, subscription *s, const core_frames *f, uint32_t sequence)
{
    envelope e = {.kind = SV_EVENT,
                  .id = s->id,
                  .trace = f->env.trace,
                  .sender_instance = f->env.sender_instance,
                  .code = sequence,
                  .target = f->env.target,
                  .key = f->env.key,
                  .tracestate = f->env.tracestate,
                  .content_type = f->env.content_type};
    memcpy(e.sender, f->env.sender, sizeof e.sender);
    s->sent++;
    c->stats.events_delivered++;
    core_send_own(c, s->peer, &e, f->body, OUT_DATA);
}

static void drop_oldest(core *c, subscription *s)
{
    event_item *i = &s->queue[s->head];
    s->bytes -= i->frames->bytes;
    frames_unref(i->frames);
    s->head = (s->head + 1) % s->cap;
    s->n--;
    c->stats.events_dropped++;
}

static bool queue_grow(core *c, subscription *s)
{
    uint32_t cap = s->cap ? s->cap * 2 : 16;
    event_item *grown = core_alloc(c, cap * sizeof *grown);
    if (grown == NULL) return false;
    for (uint32_t i = 0; i < s->n; i++)
        grown[i] = s->queue[(s->head + i) % s->cap];
    core_dealloc(c, s->queue, s->cap * sizeof *grown);
    s->queue = grown;
    s->cap = cap;
    s->head = 0;
    return true;
}

static void queue_event(core *c, subscription *s, core_frames *f, uint32_t sequence)
{
    while (s->n && (s->n >= LIMIT_EVENT_QUEUE || s->bytes + f->bytes > EVENT_QUEUE_BYTES))
        drop_oldest(c, s);
    if (s->n == s->cap && !queue_grow(c, s)) {
        if (s->cap == 0) {
            c->stats.events_dropped++;
            return;
        }
        drop_oldest(c, s);
    }
    s->queue[(s->head + s->n++) % s->cap] = (event_item){frames_ref(f), sequence};
    s->bytes += f->bytes;
}

static void flush(core *c, subscription *s)
{
    while (s->n && granted(s) && !s->peer->doomed) {
        event_item i = s->queue[s->head];
        if (!core_lend_frames(c, i.frames)) return;
        s->bytes -= i.frames->bytes;
        s->head = (s->head + 1) % s->cap;
        s->n--;
        send_event(c, s, i.frames, i.sequence);
    }
}

static void publish_to(core *c, event_word *w, core_frames *f)
{
    for (core_link *l = w ? w->subs.next : NULL; w && l != &w->subs; l = l->next) {
        subscription *s = core_of(subscription, of_word, l);
        if (s->peer->doomed || !matches(s->pattern, f->env.target)) continue;
        uint32_t sequence = ++s->sequence;
        if (s->n == 0 && granted(s))
            send_event(c, s, f, sequence);
        else
            queue_event(c, s, f, sequence);
    }
}

void core_event_publish(core *c, peer *p, core_frames *f)
{
    const envelope *e = &f->env;
    if (!envelope_target_ok(e->target) || (e->flags & SV_FLAG_MORE) || f->data_bytes != f->body.n) {
        c->stats.dropped_malformed++; /* an event is one body: no parts, no attachments */
        frames_unref(f);
        return;
    }
    if (!policy_publishes(c->policy, sv_cstr(p->service->name), e->target)) {
        c->stats.denied++;
        frames_unref(f);
        return;
    }
    frames_ref(f); /* the actions' */
    if (!core_lend_frames(c, f)) {
        frames_unref(f);
        frames_unref(f);
        return;
    }
    memcpy(f->env.sender, p->service->name, sizeof f->env.sender);
    f->env.sender_instance = p->instance;
    c->stats.events_published++;
    hop h = core_hop(c, e, NULL, p, NULL, f->bytes);
    core_hop_note(c, &h, NULL, true);
    publish_to(c, word_find(c, first_word(e->target)), f);
    publish_to(c, word_find(c, sv_cstr("*")), f);
    frames_unref(f);
}

/* ---- SUBSCRIBE, UNSUBSCRIBE, CREDIT ---- */

static subscription *sub_find(const peer *p, const sv_id *id)
{
    for (core_link *l = p->subs.next; l != &p->subs; l = l->next)
        if (sv_id_eq(&core_of(subscription, of_peer, l)->id, id))
            return core_of(subscription, of_peer, l);
    return NULL;
}

static void sub_free(core *c, subscription *s)
{
    leave_word(c, s);
    core_unlink(&s->of_peer);
    s->peer->n_subs--;
    while (s->n) {
        drop_oldest(c, s);
        c->stats.events_dropped--; /* nobody is there to miss it */
    }
    core_dealloc(c, s->queue, s->cap * sizeof *s->queue);
    core_dealloc(c, s, sizeof *s);
}

/* A refused SUBSCRIBE is answered like a request of the same id. */
static void refuse(core *c, peer *p, const envelope *e, int code, const char *words)
{
    envelope out = {.kind = SV_REPLY, .id = e->id, .trace = e->trace};
    out.code = (uint32_t)sv_error_lookup(code)->status;
    c->stats.refused++;
    core_send_own(c, p, &out, core_error_body(c, code, words, 0), OUT_DATA);
}

static subscription *sub_new(core *c, peer *p, const envelope *e)
{
    subscription *s = core_alloc(c, sizeof *s);
    event_word *w = s ? word_get(c, first_word(e->target)) : NULL;
    if (w == NULL) {
        core_dealloc(c, s, sizeof *s);
        return NULL;
    }
    s->peer = p;
    s->id = e->id;
    memcpy(s->pattern, e->target.p, e->target.n);
    core_ring_push(&w->subs, &s->of_word);
    core_ring_push(&p->subs, &s->of_peer);
    p->n_subs++;
    return s;
}

void core_event_subscribe(core *c, peer *p, const envelope *e)
{
    if (sv_id_is_zero(&e->id)) {
        c->stats.dropped_malformed++;
        return;
    }
    if (!pattern_ok(e->target)) {
        refuse(c, p, e, SV_E_INVALID,
               "A pattern is words of a-z, 0-9, _ and - joined by dots; * stands for one word, a "
               "final > "
               "for the rest.");
        return;
    }
    if (!policy_allows(c->policy, sv_cstr(p->service->name), sv_cstr("bus.subscribe"), NULL)) {
        c->stats.denied++;
        refuse(c, p, e, SV_E_DENIED, "The policy does not let this service call bus.subscribe.");
        return;
    }
    subscription *s = sub_find(p, &e->id);
    if (s && !sv_str_is(e->target, s->pattern)) {
        refuse(c, p, e, SV_E_DUPLICATE_ID, "A subscription with this id has another pattern.");
        return;
    }
    if (s == NULL && p->n_subs >= LIMIT_SUBSCRIPTIONS) {
        refuse(c, p, e, SV_E_OVERLOADED, "This peer has all the subscriptions it may have.");
        return;
    }
    if (s == NULL && (s = sub_new(c, p, e)) == NULL) {
        refuse(c, p, e, SV_E_NO_MEMORY, NULL);
        return;
    }
    if (e->credit_items > s->granted) s->granted = e->credit_items;
    flush(c, s);
}

void core_event_unsubscribe(core *c, peer *p, const envelope *e)
{
    subscription *s = sub_find(p, &e->id);
    if (s) sub_free(c, s);
}

bool core_event_credit(core *c, peer *p, const envelope *e)
{
    subscription *s = sub_find(p, &e->id);
    if (s == NULL) return false;
    if (e->credit_items > s->granted) s->granted = e->credit_items;
    flush(c, s);
    return true;
}

void core_event_leave(core *c, peer *p)
{
    while (!core_ring_empty(&p->subs))
        sub_free(c, core_of(subscription, of_peer, p->subs.next));
}
