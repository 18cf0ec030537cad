/*  live.c - a ring of events and a list of listeners; no function of http.h takes one off that list
 *  before it returns. Every event is compared with every listener:
 *  ten thousand of them cost less than a millisecond, and no index has to follow who comes and goes. */
#include "live.h"

#include "api.h"
#include "error.h"
#include "gateway.h"
#include "log.h"
#include "reply.h"

#include <stdlib.h>

enum { HEARTBEAT_US = 15000000, ID_BYTES = 36, TYPE_BYTES = 64, EVENT_ARENA = 65536 };

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
} listener;

struct live {
    sv_process *p;
    uint32_t per_user, n_listeners;
    live_item ring[LIVE_KEPT];
    uint64_t first, next; /* numbers of the oldest one kept and of the one to come */
    size_t bytes;
    TAILQ_HEAD(, listener) listeners;
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

static const live_item *keep(live *l, sv_str topic, const live_event *e)
{
    live_item i = {.n = e->data.n ? e->data.n : 2};
    bool ok = read_topic(topic, &i) && copy_word(i.id, sizeof i.id, e->id) &&
              copy_word(i.type, sizeof i.type, e->type) && is_line(e->type) && is_line(e->id) &&
              is_line(e->data);
    i.data = ok ? malloc(i.n) : NULL;
    if (i.data == NULL) return NULL;
    memcpy(i.data, e->data.n ? e->data.p : "{}", i.n);
    while (l->next - l->first >= LIVE_KEPT || (l->bytes + i.n > LIVE_BYTES && l->first < l->next))
        drop_oldest(l);
    live_item *at = &l->ring[l->next++ % LIVE_KEPT];
    *at = i;
    l->bytes += i.n;
    return at;
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
    if (l->text.failed || http_pending(c->x) > c->e->output_bytes) {
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

static void tell(live *l, const live_item *i)
{
    listener *s;
    start_text(l);
    put_item(&l->text, i);
    TAILQ_FOREACH(s, &l->listeners, link)
    if (is_for(i, s->call->who)) send_text(s);
}

static void tell_gap(live *l)
{
    listener *s;
    start_text(l);
    buf_puts(&l->text, "event: gap\ndata: {}\n\n");
    TAILQ_FOREACH(s, &l->listeners, link)
    send_text(s);
}

static void on_event(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    live *l = arg;
    live_event e;
    sv_error err = {.code = 0};
    if (gap) {
        while (l->first < l->next) /* what was missed lies between: nobody can resume over it */
            drop_oldest(l);
        tell_gap(l);
    }
    arena_reset(&l->arena);
    int rc = message_decode(&live_event_msg, event->body, MESSAGE_LENIENT, &l->arena, &e, &err);
    const live_item *i = rc == 0 ? keep(l, topic, &e) : NULL;
    if (i)
        tell(l, i);
    else
        log_write(LOG_WARN, "a live event cannot be read", LOG_ERR(&err));
}

/* What came behind `last`, for one who was away. */
static void put_missed(live *l, const edge_call *c, sv_str last)
{
    uint64_t at = l->first;
    while (at < l->next && !sv_str_is(last, l->ring[at % LIVE_KEPT].id))
        at++;
    if (at == l->next) {
        buf_puts(&l->text, "event: gap\ndata: {}\n\n");
        return;
    }
    for (at++; at < l->next; at++)
        if (is_for(&l->ring[at % LIVE_KEPT], c->who)) put_item(&l->text, &l->ring[at % LIVE_KEPT]);
}

static void listener_free(void *data)
{
    listener *s = data;
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
    start_text(l);
    buf_puts(&l->text, "retry: 2000\n\n");
    if (last.n) put_missed(l, c, last);
    c->streaming = true;
    reply_start(c, 200, sv_cstr("text/event-stream"), NULL);
    send_text(s);
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
