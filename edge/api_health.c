/*  api_health.c - GET /api/health/detailed: every part is asked at the same moment, each answers for
 *  itself, and what does not answer in time has failed. 200 when all is well, else 503 with the same
 *  body. */
#include "api.h"

#include "error.h"
#include "forward.h"
#include "log.h"
#include "message_view.h"
#include "reply.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

enum { ASK_MS = 2000, REPLY_BYTES = 1 << 20, LOW_PERCENT = 5, ARENA_BYTES = 8 << 20 };

typedef struct part {
    const char *name, *target;
    const sv_message *reply; /* NULL: that it answers is all */
} part;

static const part parts[] = {
    {"bus", "bus.services", &bus_services_reply_msg},
    {"auth", "auth.store_stat", &store_stat_reply_msg},
    {"workspace", "workspace.store_stat", &store_stat_reply_msg},
    {"mail", "mail.store_stat", &store_stat_reply_msg},
    {"router", "router.store_stat", &store_stat_reply_msg},
    {"providers", "router.providers", &router_providers_reply_msg},
    {"cache", "cache.ping", NULL},
};
enum { PARTS = sizeof parts / sizeof *parts };

typedef struct health {
    edge_call *call;
    uint32_t open;
    bool bad;
    struct health_ask {
        struct health *h;
        sv_stream *stream;
        buf text; /* its member of the answer */
    } asks[PARTS];
} health;

static void put_failed(struct health_ask *a, const char *name, int code)
{
    buf_printf(&a->text, "\"%s\":{\"status\":\"failed\",\"code\":\"%s\"}", name,
               sv_error_lookup(code)->name);
    a->h->bad = true;
}

/* A store that cannot be written now is up and not well. */
static bool is_well(const part *p, const void *reply)
{
    const store_stat_reply *s = reply;
    return p->reply != &store_stat_reply_msg || sv_str_is(s->state, "ready");
}

static void put_part(struct health_ask *a, const part *p, sv_str body)
{
    arena own;
    sv_error err = {.code = 0};
    arena_init(&own, ARENA_BYTES);
    void *reply = arena_alloc(&own, p->reply->size);
    int rc =
        reply ? message_decode(p->reply, body, MESSAGE_LENIENT, &own, reply, &err) : SV_E_NO_MEMORY;
    if (rc) {
        put_failed(a, p->name, rc);
    } else {
        bool well = is_well(p, reply);
        a->h->bad |= !well;
        buf_printf(&a->text, "\"%s\":{\"status\":\"%s\",\"detail\":", p->name,
                   well ? "ok" : "degraded");
        message_view(p->reply, reply, &a->text);
        buf_putc(&a->text, '}');
    }
    arena_free(&own);
}

/* The file system of the data folder. */
static void put_disk(health *h, buf *out)
{
    struct statvfs fs;
    if (statvfs(config_data(sv_config(h->call->e->p)), &fs)) {
        buf_puts(out, "\"disk\":{\"status\":\"failed\",\"code\":\"server.io\"}");
        h->bad = true;
        return;
    }
    uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize,
             left = (uint64_t)fs.f_bavail * fs.f_frsize;
    bool low = left < total / 100 * LOW_PERCENT;
    h->bad |= low;
    buf_printf(out,
               "\"disk\":{\"status\":\"%s\",\"detail\":{\"free_bytes\":%" PRIu64
               ",\"total_bytes\":%" PRIu64 "}}",
               low ? "degraded" : "ok", left, total);
}

static void put_edge(const health *h, buf *out)
{
    const edge *e = h->call->e;
    buf_printf(out,
               "\"edge\":{\"status\":\"ok\",\"detail\":{\"connections\":%u,\"streams\":%u,"
               "\"limits\":\"%s\",\"open_access\":%s}}",
               http_server_look(e->server).connections, live_streams(e->live),
               limits_away(limits_bus_limits(e->limits)) ? "local" : "owner",
               access_open(e->access) ? "true" : "false");
}

static void answer(health *h)
{
    edge_call *c = h->call;
    buf *out = &c->e->text, rest;
    buf_init(&rest, 4096);
    put_edge(h, &rest);
    buf_putc(&rest, ',');
    put_disk(h, &rest);
    buf_reset(out, out->cap);
    buf_printf(out, "{\"status\":\"%s\",\"version\":\"%s\",\"parts\":{", h->bad ? "degraded" : "ok",
               SAMOVAR_VERSION);
    buf_put(out, rest.p, rest.n);
    buf_free(&rest);
    for (int i = 0; i < PARTS; i++) {
        buf_putc(out, ',');
        buf_put(out, h->asks[i].text.p, h->asks[i].text.n);
    }
    buf_puts(out, "}}\n");
    if (out->failed)
        reply_error(c, out->error, NULL);
    else
        reply_whole(c, h->bad ? 503 : 200, "application/json", buf_str(out), NULL);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    struct health_ask *a = arg;
    health *h = a->h;
    const part *p = &parts[a - h->asks];
    (void)s;
    (void)err;
    a->stream = NULL;
    if (code)
        put_failed(a, p->name, code);
    else if (p->reply)
        put_part(a, p, item->body);
    else
        buf_printf(&a->text, "\"%s\":{\"status\":\"ok\"}", p->name);
    if (--h->open == 0 && !h->call->x->ended) answer(h);
}

static void health_free(void *data)
{
    health *h = data;
    for (int i = 0; i < PARTS; i++) {
        if (h->asks[i].stream && !h->call->e->stopping) sv_cancel(h->asks[i].stream);
        buf_free(&h->asks[i].text);
    }
    free(h);
}

void api_health(edge_call *c)
{
    static const sv_events events = {.done = on_done};
    static const bus_empty nothing;
    health *h = calloc(1, sizeof *h);
    if (h == NULL) {
        reply_error(c, SV_E_NO_MEMORY, NULL);
        return;
    }
    h->call = c;
    c->data = h;
    c->data_free = health_free;
    for (int i = 0; i < PARTS; i++) {
        struct health_ask *a = &h->asks[i];
        sv_error err = {.code = 0};
        sv_request r = {.target = parts[i].target,
                        .type = &bus_empty_msg,
                        .body = &nothing,
                        .ttl_ms = ASK_MS,
                        .idempotent = true,
                        .max_reply = REPLY_BYTES,
                        .trace = &c->trace,
                        .ticket = access_ticket(c->e->access, c->who)};
        a->h = h;
        buf_init(&a->text, REPLY_BYTES);
        a->stream = sv_open(c->e->p, &r, &events, a, &err);
        if (a->stream)
            h->open++;
        else
            put_failed(a, parts[i].name, err.code);
    }
    if (h->open == 0) answer(h);
}
