/*  api_insight.c - decisions, ratings and rankings. The id of a decision ends with the number of the
 *  router that has it: that one is asked. For rankings every router is asked at the same moment, page by
 *  page, and what they say is added up; one that does not answer is counted as failed. */
#include "api.h"

#include "error.h"
#include "forward.h"
#include "message_view.h"
#include "ranking.h"
#include "reply.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum { SERVICES_BYTES = 1 << 20, PAGE_BYTES = 1 << 20, ROUTERS = 64, TASK_BYTES = 16 };

/* ---- one router ---- */

/* "router/3.METHOD", or SV_E_NOT_FOUND for what no router of ours has made. */
static int target_of(sv_str text, const char *field, const char *method, char to[64], sv_error *err)
{
    sv_id id;
    uint32_t instance = 0;
    if (uuid_parse(text, &id))
        return sv_fail(err, SV_E_INVALID, field, "The id of a decision has 32 hexadecimal digits.");
    for (int i = 0; i < 4; i++)
        instance = instance << 8 | id.b[12 + i];
    if (id.b[6] >> 4 != 7 || instance == 0 || instance > UINT16_MAX)
        return sv_fail(err, SV_E_NOT_FOUND, field,
                       "There is no such decision, it was not kept, or it is somebody else's.");
    snprintf(to, 64, "router/%u.%s", instance, method);
    return 0;
}

static void on_decision(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    forward_answer(arg, s, code, item, err, &router_decision_reply_msg, 200);
}

void api_decision(edge_call *c)
{
    static const sv_events events = {.done = on_decision};
    void *body;
    char target[64];
    sv_error err = {.code = 0};
    int rc = forward_read(c, &router_decision_req_msg, NULL, &body, &err);
    if (rc == 0) rc = target_of(((router_decision_req *)body)->id, "id", "decision", target, &err);
    if (rc == 0) rc = forward_send(c, target, &router_decision_req_msg, body, &events, &err);
    if (rc) reply_error(c, rc, &err);
}

static void on_feedback(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    forward_answer(arg, s, code, item, err, &bus_empty_msg, 204);
}

void api_feedback(edge_call *c)
{
    static const sv_events events = {.done = on_feedback};
    void *body;
    char target[64];
    sv_error err = {.code = 0};
    int rc = forward_read(c, &router_feedback_req_msg, NULL, &body, &err);
    if (rc == 0)
        rc = target_of(((router_feedback_req *)body)->decision, "decision", "feedback", target,
                       &err);
    if (rc == 0) rc = forward_send(c, target, &router_feedback_req_msg, body, &events, &err);
    if (rc) reply_error(c, rc, &err);
}

/* ---- all routers ---- */

typedef struct rankings {
    edge_call *call;
    ranking sums;
    char task[TASK_BYTES + 1];
    int64_t days;
    uint32_t n, open, failed;
    sv_error why; /* of the first that failed */
    struct asked {
        struct rankings *of;
        sv_stream *stream;
        uint32_t instance;
        char after[512]; /* the page's beginning */
        uint32_t after_n;
    } routers[ROUTERS];
} rankings;

static void ask(struct asked *a);

static void rankings_free(void *data)
{
    rankings *r = data;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->routers[i].stream && !r->call->e->stopping) sv_cancel(r->routers[i].stream);
    ranking_free(&r->sums);
    free(r);
}

static void answer(rankings *r)
{
    edge_call *c = r->call;
    buf *out = &c->e->text;
    if (r->failed && r->failed == r->n) {
        reply_error(c, r->why.code, &r->why);
        return;
    }
    router_ranking *rows = calloc(r->sums.n + 1, sizeof *rows);
    if (rows == NULL) {
        reply_error(c, SV_E_NO_MEMORY, NULL);
        return;
    }
    ranking_view(&r->sums, rows);
    router_rankings_view view = {
        .rankings = {rows, r->sums.n}, .days = r->days, .routers = r->n, .failed = r->failed};
    buf_reset(out, out->cap);
    int rc = message_view(&router_rankings_view_msg, &view, out);
    if (rc == 0) rc = buf_putc(out, '\n');
    free(rows);
    if (rc)
        reply_error(c, rc, NULL);
    else
        reply_whole(c, 200, "application/json", buf_str(out), NULL);
}

static void fail(struct asked *a, int code, const sv_error *err)
{
    rankings *r = a->of;
    if (r->failed++ > 0) return;
    r->why = err ? *err : (sv_error){.code = 0};
    if (r->why.code == 0) sv_fail(&r->why, code, NULL, NULL);
}

static int take_page(struct asked *a, const sv_item *item, sv_error *err)
{
    router_rankings_reply page;
    arena *mem = &a->of->call->e->arena;
    int rc =
        message_decode(&router_rankings_reply_msg, item->body, MESSAGE_LENIENT, mem, &page, err);
    if (rc == 0) rc = ranking_add(&a->of->sums, &page);
    if (rc == 0 && page.next.n > sizeof a->after) rc = SV_E_TOO_LARGE;
    if (rc == 0) {
        a->after_n = page.next.n;
        if (page.next.n) memcpy(a->after, page.next.p, page.next.n);
    }
    arena_reset(mem);
    return rc;
}

static void on_page(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    struct asked *a = arg;
    rankings *r = a->of;
    sv_error own = {.code = 0};
    (void)s;
    a->stream = NULL;
    r->open--;
    if (r->call->x->ended) return;
    if (code == 0) {
        code = take_page(a, item, &own);
        err = &own;
    }
    if (code)
        fail(a, code, err);
    else if (a->after_n)
        ask(a);
    if (r->open == 0) answer(r);
}

static void ask(struct asked *a)
{
    static const sv_events events = {.done = on_page};
    rankings *r = a->of;
    edge_call *c = r->call;
    char target[64];
    sv_error err = {.code = 0};
    router_rankings_req q = {
        .task = sv_cstr(r->task), .days = r->days, .after = {a->after, a->after_n}};
    snprintf(target, sizeof target, "router/%u.rankings", a->instance);
    sv_request request = {.target = target,
                          .type = &router_rankings_req_msg,
                          .body = &q,
                          .ttl_ms = FORWARD_MS,
                          .idempotent = true,
                          .max_reply = PAGE_BYTES,
                          .trace = &c->trace,
                          .ticket = access_ticket(c->e->access, c->who)};
    a->stream = sv_open(c->e->p, &request, &events, a, &err);
    if (a->stream)
        r->open++;
    else
        fail(a, err.code, &err);
}

static void ask_all(rankings *r, const bus_services_reply *all)
{
    const bus_service_instance *items = all->instances.items;
    for (uint32_t i = 0; i < all->instances.n && r->n < ROUTERS; i++)
        if (sv_str_is(items[i].service, "router") && items[i].instance > 0)
            r->routers[r->n++] = (struct asked){.of = r, .instance = (uint32_t)items[i].instance};
    for (uint32_t i = 0; i < r->n; i++)
        ask(&r->routers[i]);
    if (r->open == 0) answer(r);
}

static void on_services(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    bus_services_reply all;
    sv_error own = {.code = 0};
    (void)s;
    c->stream = NULL;
    if (c->x->ended) return;
    if (code == 0) {
        code = message_decode(&bus_services_reply_msg, item->body, MESSAGE_LENIENT, &c->e->arena,
                              &all, &own);
        err = &own;
    }
    if (code)
        reply_error(c, code, err);
    else
        ask_all(c->data, &all);
    arena_reset(&c->e->arena);
}

static int begin(edge_call *c, const router_rankings_req *q)
{
    rankings *r = calloc(1, sizeof *r);
    if (r == NULL) return SV_E_NO_MEMORY;
    r->call = c;
    r->days = q->days;
    if (q->task.n) memcpy(r->task, q->task.p, q->task.n);
    ranking_init(&r->sums);
    c->data = r;
    c->data_free = rankings_free;
    return 0;
}

void api_rankings(edge_call *c)
{
    static const sv_events events = {.done = on_services};
    static const bus_empty nothing;
    void *q;
    sv_error err = {.code = 0};
    int rc = forward_read(c, &router_rankings_req_msg, NULL, &q, &err);
    if (rc == 0) rc = begin(c, q);
    if (rc == 0) {
        sv_request r = {.target = "bus.services",
                        .type = &bus_empty_msg,
                        .body = &nothing,
                        .ttl_ms = FORWARD_MS,
                        .max_reply = SERVICES_BYTES,
                        .trace = &c->trace,
                        .ticket = access_ticket(c->e->access, c->who)};
        c->stream = sv_open(c->e->p, &r, &events, c, &err);
        rc = c->stream ? 0 : err.code;
    }
    if (rc) reply_error(c, rc, &err);
}
