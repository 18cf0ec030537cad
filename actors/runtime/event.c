/*  event.c - publishing and subscribing.
 *  A subscription is granted 1024 events at a time; numbers that are missing from its sequence are
 *  events the broker dropped because this process was slow. A new session starts all of it again. */
#include "process.h"

#include "uuid.h"

#include <stdlib.h>

enum { EVENT_WINDOW = 1024 };

int sv_publish(sv_process *p, const char *topic, const sv_message *type, const void *body)
{
    if (p->session != SESSION_UP) return SV_E_UNAVAILABLE;
    if (!envelope_target_ok(sv_cstr(topic))) return SV_E_INVALID;
    buf b;
    buf_init(&b, LIMIT_PART_BYTES);
    int rc = type ? message_encode(type, body, &b) : 0;
    envelope e = {.kind = SV_EVENT, .id = uuid_new(), .ttl_ms = 10000, .target = sv_cstr(topic)};
    if (rc == 0) rc = bus_send(p, &e, buf_str(&b), (sv_str){NULL, 0});
    buf_free(&b);
    return rc;
}

static void subscribe(sv_process *p, subscription *s)
{
    s->received = 0;
    s->last_sequence = 0;
    s->granted = EVENT_WINDOW;
    envelope e = {.kind = SV_SUBSCRIBE,
                  .id = s->id,
                  .ttl_ms = 10000,
                  .credit_items = s->granted,
                  .credit_bytes = UINT32_MAX,
                  .target = sv_cstr(s->pattern)};
    bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
}

int sv_subscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    subscription *s = calloc(1, sizeof *s);
    if (s == NULL) return SV_E_NO_MEMORY;
    if (strlen(pattern) > LIMIT_TARGET_BYTES) {
        free(s);
        return SV_E_TOO_LARGE;
    }
    s->id = uuid_new();
    strcpy(s->pattern, pattern);
    s->fn = fn;
    s->arg = arg;
    s->next = p->subscriptions;
    p->subscriptions = s;
    if (p->session == SESSION_UP) subscribe(p, s);
    return 0;
}

void sv_unsubscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    for (subscription **at = &p->subscriptions; *at; at = &(*at)->next) {
        subscription *s = *at;
        if (s->fn != fn || s->arg != arg || strcmp(s->pattern, pattern) != 0) continue;
        *at = s->next;
        if (p->session == SESSION_UP) {
            envelope e = {.kind = SV_UNSUBSCRIBE,
                          .id = s->id,
                          .ttl_ms = 10000,
                          .target = sv_cstr(s->pattern)};
            bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
        }
        free(s);
        return;
    }
}

void event_resubscribe(sv_process *p)
{
    for (subscription *s = p->subscriptions; s; s = s->next)
        subscribe(p, s);
}

void event_receive(sv_process *p, frames *f)
{
    subscription *s = p->subscriptions;
    while (s && !sv_id_eq(&s->id, &f->env.id))
        s = s->next;
    if (s == NULL) return;
    uint32_t sequence = f->env.code;
    uint64_t gap = sequence > s->last_sequence + 1 ? sequence - s->last_sequence - 1 : 0;
    s->last_sequence = sequence;
    if (++s->received + EVENT_WINDOW / 2 >= s->granted) {
        s->granted = s->received + EVENT_WINDOW;
        envelope e = {.kind = SV_CREDIT,
                      .id = s->id,
                      .ttl_ms = 10000,
                      .credit_items = s->granted,
                      .credit_bytes = UINT32_MAX};
        bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
    }
    sv_item item;
    item_of(f, NULL, &item);
    s->fn(s->arg, f->env.target, &item, gap); /* may unsubscribe: s is not touched after it */
}

void event_free(sv_process *p)
{
    while (p->subscriptions) {
        subscription *s = p->subscriptions;
        p->subscriptions = s->next;
        free(s);
    }
}
