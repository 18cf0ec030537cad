/*  feed.c - see feed.h. */
#include "feed.h"

#include "error.h"
#include "log.h"

#include <stdlib.h>

enum {
    ARENA_BYTES = 1 << 20,
    TICK_MS = 100,
    ASK_MS = 2000,
    ASK_PAUSE_US = 100000,
};
#define SILENCE_US 3600000000ULL

static const char topic_name[] = "auth.feed";

struct feed {
    sv_process *p;
    feed_consumer consumers[FEED_KINDS];
    uint32_t n;
    int64_t sequence;
    bool ready, missing;
    sv_stream *asking;
    uint64_t asked_us, heard_us;
    loop_timer timer;
    arena arena;
};

static void reset(feed *f)
{
    f->sequence = 0;
    f->ready = false;
    f->missing = true;
    for (uint32_t i = 0; i < f->n; i++)
        f->consumers[i].reset(f->consumers[i].arg);
}

static void hand_over(feed *f, const auth_feed_item *item)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (sv_str_is(item->kind, f->consumers[i].kind))
            f->consumers[i].item(f->consumers[i].arg, item);
}

static void complete(feed *f)
{
    f->ready = true;
    for (uint32_t i = 0; i < f->n; i++)
        if (f->consumers[i].ready) f->consumers[i].ready(f->consumers[i].arg);
}

void feed_take(feed *f, const auth_feed_page *page, bool answer)
{
    const auth_feed_item *items = page->items.items;
    f->heard_us = loop_now_us(sv_loop(f->p));
    if (page->sequence < f->sequence) {
        log_write(LOG_WARN, "auth tells of an older list than before: it is read anew",
                  LOG_INT("sequence", page->sequence), LOG_INT("had", f->sequence));
        reset(f);
        return;
    }
    if (page->before > f->sequence) {
        f->missing = true;
        return;
    }
    for (uint32_t i = 0; i < page->items.n; i++)
        if (items[i].sequence > f->sequence) hand_over(f, &items[i]);
    if (page->upto > f->sequence) f->sequence = page->upto;
    bool all = f->sequence >= page->sequence;
    if (answer && all && !f->ready) complete(f);
    f->missing = !all || !f->ready;
}

int64_t feed_sequence(const feed *f)
{
    return f->sequence;
}

bool feed_ready(const feed *f)
{
    return f->ready;
}

static void look(feed *f);

static bool decode(feed *f, sv_str body, auth_feed_page *ret)
{
    sv_error err = {.code = 0};
    arena_reset(&f->arena);
    if (message_decode(&auth_feed_page_msg, body, MESSAGE_LENIENT, &f->arena, ret, &err) == 0)
        return true;
    log_write(LOG_ERROR, "what auth tells routers cannot be read", LOG_ERR(&err));
    return false;
}

static void on_event(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    feed *f = arg;
    auth_feed_page page;
    (void)topic;
    (void)gap; /* the numbers tell */
    if (decode(f, event->body, &page)) feed_take(f, &page, false);
    look(f);
}

static void on_answer(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    feed *f = arg;
    auth_feed_page page;
    (void)s;
    (void)err;
    f->asking = NULL;
    if (code || !decode(f, item->body, &page)) return; /* the timer asks again */
    feed_take(f, &page, true);
    if (f->missing) {
        f->asked_us = 0;
        look(f);
    }
}

/* Asks for what is missing, if it is time to. */
static void look(feed *f)
{
    static const sv_events events = {.done = on_answer};
    uint64_t now_us = loop_now_us(sv_loop(f->p));
    sv_error err = {.code = 0};
    if (!f->missing || f->asking || !sv_connected(f->p)) return;
    if (f->asked_us && now_us - f->asked_us < ASK_PAUSE_US) return;
    auth_feed_req q = {.after = f->sequence};
    sv_request r = {.target = topic_name,
                    .type = &auth_feed_req_msg,
                    .body = &q,
                    .ttl_ms = ASK_MS,
                    .idempotent = true,
                    .max_reply = ARENA_BYTES};
    f->asked_us = now_us;
    f->asking = sv_open(f->p, &r, &events, f, &err);
}

static void on_time(void *arg)
{
    feed *f = arg;
    uint64_t now_us = loop_now_us(sv_loop(f->p));
    if (f->ready && now_us - f->heard_us > SILENCE_US) {
        f->heard_us = now_us;
        reset(f);
    }
    /* An answer that does not come was lost with its broker. */
    if (f->asking && now_us - f->asked_us > 2 * ASK_MS * 1000ULL) {
        sv_cancel(f->asking);
        f->asking = NULL;
    }
    look(f);
    loop_timer_set(sv_loop(f->p), &f->timer, TICK_MS * 1000, on_time, f);
}

int feed_new(sv_process *p, feed **ret, sv_error *err)
{
    feed *f = calloc(1, sizeof *f);
    if (f == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    f->p = p;
    f->missing = true;
    arena_init(&f->arena, ARENA_BYTES);
    int rc = loop_timer_set(sv_loop(p), &f->timer, TICK_MS * 1000, on_time, f);
    if (rc == 0 && (rc = sv_subscribe(p, topic_name, on_event, f)))
        loop_timer_stop(sv_loop(p), &f->timer);
    if (rc) {
        arena_free(&f->arena);
        free(f);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = f;
    return 0;
}

void feed_free(feed *f)
{
    if (f == NULL) return;
    sv_unsubscribe(f->p, topic_name, on_event, f);
    loop_timer_stop(sv_loop(f->p), &f->timer);
    arena_free(&f->arena);
    free(f);
}

int feed_add(feed *f, const feed_consumer *c)
{
    if (f->n == FEED_KINDS) return SV_E_TOO_LARGE;
    f->consumers[f->n++] = *c;
    return 0;
}
