/*  live.c - a ring of events, numbered, and listeners that each know the number of the next one they
 *  have not been told of. News are carried round the listeners a few hundred in a turn of the loop,
 *  so that ten thousand of them hold up nobody; one whose client is slow stays where it is, goes on
 *  when its client has read, and hears of a gap when the ring has gone on without it. No function of
 *  http.h takes one off the list before it returns. */
#include "live.h"

#include "api.h"
#include "error.h"
#include "gateway.h"
#include "log.h"
#include "reply.h"

#include <stdlib.h>

enum {
    HEARTBEAT_US = 15000000,
    ID_BYTES = 36,
    TYPE_BYTES = 64,
    EVENT_ARENA = 65536,
    TURN_LISTENERS = 256,
    TURN_BYTES = 32768 /* for one listener */
};

typedef struct live_item {
    char id[ID_BYTES + 1], org[ACCESS_ID + 1], user[ACCESS_ID + 1], type[TYPE_BYTES + 1];
    char *data; /* a line of JSON; owned */
    uint32_t n;
} live_item;

typedef struct listener {
    TAILQ_ENTRY(listener) link;
    live *l;
    edge_call *call;
    uint64_t wrote_us;
    uint64_t next; /* number of the first event it has not heard */
} listener;

struct live {
    sv_process *p;
    uint32_t per_user, n_listeners;
    live_item ring[LIVE_KEPT];
    uint64_t first, next; /* numbers of the oldest one kept and of the one to come */
    size_t bytes;
    TAILQ_HEAD(listeners, listener) listeners;
    loop_timer round;
    listener *at;  /* whose turn is next; NULL: no round is under way */
    uint64_t told; /* events before this number were begun to be carried round */
    arena arena;
    buf text;
};

/* ---- the ring ---- */

static void drop_oldest(live *l)
{
    live_item *i = &l->ring[l->first++ % LIVE_KEPT];
    l->bytes -= i->n;
    free(i->data);
    i->data = NULL;
}

static bool copy_word(char *to, size_t size, sv_str s)
{
    if (s.n == 0 || s.n >= size) return false;
    memcpy(to, s.p, s.n);
    to[s.n] = 0;
    return true;
}

/* The words behind SERVICE.live. */
static bool read_topic(sv_str topic, live_item *ret)
{
    const char *end = topic.p + topic.n, *word[3];
    const char *at = topic.p;
    for (int i = 0; i < 3; i++) {
        at = memchr(at, '.', (size_t)(end - at));
        if (at == NULL) return false;
        word[i] = ++at;
    }
    sv_str org = {word[1], (uint32_t)(word[2] - 1 - word[1])};
    sv_str user = {word[2], (uint32_t)(end - word[2])};
    return copy_word(ret->org, sizeof ret->org, org) &&
           copy_word(ret->user, sizeof ret->user, user);
}

/* A line break would end the field: JSON has none outside its strings, and none inside. */
static bool is_line(sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (s.p[i] == '\n' || s.p[i] == '\r') return false;
    return true;
}

static bool keep(live *l, sv_str topic, const live_event *e)
{
    live_item i = {.n = e->data.n ? e->data.n : 2};
    bool ok = read_topic(topic, &i) && copy_word(i.id, sizeof i.id, e->id) &&
              copy_word(i.type, sizeof i.type, e->type) && is_line(e->type) && is_line(e->id) &&
              is_line(e->data);
    i.data = ok ? malloc(i.n) : NULL;
    if (i.data == NULL) return false;
    memcpy(i.data, e->data.n ? e->data.p : "{}", i.n);
    while (l->next - l->first >= LIVE_KEPT || (l->bytes + i.n > LIVE_BYTES && l->first < l->next))
        drop_oldest(l);
    l->ring[l->next++ % LIVE_KEPT] = i;
    l->bytes += i.n;
    return true;
}

/* ---- listeners ---- */

static bool is_for(const live_item *i, const identity *who)
{
    return strcmp(i->org, who->org) == 0 &&
           (strcmp(i->user, "all") == 0 || strcmp(i->user, who->user) == 0);
}

static void put_item(buf *out, const live_item *i)
{
    buf_printf(out, "id: %s\nevent: %s\ndata: %.*s\n\n", i->id, i->type, (int)i->n, i->data);
}

static void send_text(listener *s)
{
    live *l = s->l;
    edge_call *c = s->call;
    if (l->text.n == 0 || c->x->ended) return;
    if (l->text.failed) {
        http_abort(c->x); /* it resumes where it was */
        return;
    }
    http_write(c->x, buf_str(&l->text));
    s->wrote_us = loop_now_us(c->e->l);
}

static void start_text(live *l)
{
    buf_reset(&l->text, 65536);
}

static void put_gap(buf *out)
{
    buf_puts(out, "event: gap\ndata: {}\n\n");
}

/* What it has not heard yet, as far as its client takes it. */
static void serve(listener *s)
{
    live *l = s->l;
    const edge_call *c = s->call;
    if (s->next == l->next || http_pending(c->x) > c->e->output_bytes) return;
    start_text(l);
    if (s->next < l->first) {
        put_gap(&l->text);
        s->next = l->first;
    }
    for (; s->next < l->next && l->text.n < TURN_BYTES; s->next++) {
        const live_item *i = &l->ring[s->next % LIVE_KEPT];
        if (is_for(i, c->who)) put_item(&l->text, i);
    }
    send_text(s);
}

static void on_drained(http_exchange *x)
{
    edge_call *c = x->data;
    serve(c->data);
}

/* Some listeners in each turn, and the next round when something came meanwhile. */
static void go_round(void *arg)
{
    live *l = arg;
    if (l->at == NULL) {
        l->at = TAILQ_FIRST(&l->listeners);
        l->told = l->next;
    }
    for (int i = 0; i < TURN_LISTENERS && l->at; i++) {
        serve(l->at);
        l->at = TAILQ_NEXT(l->at, link);
    }
    if (l->at || l->told < l->next) loop_timer_set(sv_loop(l->p), &l->round, 0, go_round, l);
}

static void start_round(live *l)
{
    if (l->at == NULL) loop_timer_set(sv_loop(l->p), &l->round, 0, go_round, l);
}

static void on_event(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    live *l = arg;
    live_event e;
    sv_error err = {.code = 0};
    if (gap) { /* what was missed lies between: nobody goes on over it */
        while (l->first < l->next)
            drop_oldest(l);
        l->first = ++l->next;
        start_round(l);
    }
    arena_reset(&l->arena);
    int rc = message_decode(&live_event_msg, event->body, MESSAGE_LENIENT, &l->arena, &e, &err);
    if (rc == 0 && keep(l, topic, &e))
        start_round(l);
    else
        log_write(LOG_WARN, "a live event cannot be read", LOG_ERR(&err));
}

/* The number behind the event called `last`. An event of others is one that is not known: also who
 * works in another organization since then has missed what came there. */
static uint64_t behind(const live *l, const identity *who, sv_str last, bool *known)
{
    for (uint64_t at = l->next; at-- > l->first;) {
        const live_item *i = &l->ring[at % LIVE_KEPT];
        if (!sv_str_is(last, i->id) || !is_for(i, who)) continue;
        *known = true;
        return at + 1;
    }
    *known = false;
    return l->next;
}

static void listener_free(void *data)
{
    listener *s = data;
    if (s->l->at == s) s->l->at = TAILQ_NEXT(s, link);
    TAILQ_REMOVE(&s->l->listeners, s, link);
    s->l->n_listeners--;
    free(s);
}

static uint32_t streams_of(const live *l, const identity *who)
{
    const listener *s;
    uint32_t n = 0;
    TAILQ_FOREACH(s, &l->listeners, link)
    n += strcmp(s->call->who->user, who->user) == 0;
    return n;
}

static sv_str last_id(const http_request *r)
{
    sv_str header = http_header_get(r, "last-event-id", NULL);
    return header.n ? header : http_query_get(r->query, "last_event_id");
}

void api_events(edge_call *c)
{
    live *l = c->e->live;
    if (sv_str_is(c->x->request->method, "HEAD")) { /* the head is all that there is to be told */
        reply_start(c, 200, sv_cstr("text/event-stream"), NULL);
        http_end(c->x);
        return;
    }
    if (streams_of(l, c->who) >= l->per_user) {
        reply_refuse(c, SV_E_RATE, NULL, "There are %u streams of events of this user already.",
                     l->per_user);
        return;
    }
    listener *s = calloc(1, sizeof *s);
    if (s == NULL) {
        reply_error(c, SV_E_NO_MEMORY, NULL);
        return;
    }
    s->l = l;
    s->call = c;
    TAILQ_INSERT_TAIL(&l->listeners, s, link);
    l->n_listeners++;
    c->data = s;
    c->data_free = listener_free;
    sv_str last = last_id(c->x->request);
    bool known = true;
    s->next = last.n ? behind(l, c->who, last, &known) : l->next;
    c->streaming = true;
    c->x->on_drained = on_drained;
    reply_start(c, 200, sv_cstr("text/event-stream"), NULL);
    start_text(l);
    buf_puts(&l->text, "retry: 2000\n\n");
    if (!known) put_gap(&l->text);
    send_text(s);
    serve(s);
}

/* ---- time ---- */

static void end_stream(listener *s, const sv_error *err)
{
    start_text(s->l);
    buf_printf(&s->l->text, "event: end\ndata: {\"code\":\"%s\"}\n\n",
               sv_error_lookup(err->code)->name);
    s->call->x->close = true;
    send_text(s);
    if (!s->call->x->ended) http_end(s->call->x);
}

void live_tick(live *l)
{
    uint64_t now_us = loop_now_us(sv_loop(l->p));
    listener *s;
    TAILQ_FOREACH(s, &l->listeners, link)
    {
        sv_error err = {.code = 0};
        edge_call *c = s->call;
        if (c->x->ended) continue;
        if (access_holds(c->e->access, c->who, &err)) {
            end_stream(s, &err);
        } else if (now_us - s->wrote_us >= HEARTBEAT_US) {
            start_text(l);
            buf_puts(&l->text, ": ping\n\n");
            send_text(s);
        }
    }
}

void live_drain(live *l)
{
    listener *s;
    TAILQ_FOREACH(s, &l->listeners, link)
    {
        s->call->x->close = true;
        if (!s->call->x->ended) http_end(s->call->x);
    }
}

/* ---- life ---- */

live *live_new(sv_process *p, uint32_t per_user)
{
    live *l = calloc(1, sizeof *l);
    if (l == NULL) return NULL;
    l->p = p;
    l->per_user = per_user;
    TAILQ_INIT(&l->listeners);
    arena_init(&l->arena, EVENT_ARENA);
    buf_init(&l->text, 2 * LIVE_BYTES);
    if (sv_subscribe(p, "*.live.>", on_event, l) == 0) return l;
    live_free(l);
    return NULL;
}

void live_free(live *l)
{
    if (l == NULL) return;
    loop_timer_stop(sv_loop(l->p), &l->round);
    sv_unsubscribe(l->p, "*.live.>", on_event, l);
    while (l->first < l->next)
        drop_oldest(l);
    arena_free(&l->arena);
    buf_free(&l->text);
    free(l);
}

uint32_t live_streams(const live *l)
{
    return l->n_listeners;
}
