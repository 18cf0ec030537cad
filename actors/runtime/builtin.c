/*  builtin.c - what every actor serves: ping, metrics, records. */
#include "process.h"
#include "state.h"

#include <stdlib.h>

static int serve_ping(sv_call *c, const void *request)
{
    (void)request;
    sv_process *p = c->process;
    sv_ping_reply r = {.loop_lag_us = (int64_t)loop_lag_us(p->loop),
                       .in_flight = (int64_t)p->calls.n - 1,
                       .uptime_ms = (int64_t)((loop_now_us(p->loop) - p->started_us) / 1000),
                       .version = sv_cstr(p->version),
                       .store = sv_cstr(state_word(p))};
    return sv_reply(c, &r);
}

static int serve_metrics(sv_call *c, const void *request)
{
    (void)request;
    sv_process *p = c->process;
    metric_set(metric_one(M_LOOP_LAG), (double)loop_lag_take(p->loop) / 1e6);
    if (p->fibers) metric_set(metric_one(M_FIBERS), fiber_pool_alive(p->fibers));
    buf text;
    buf_init(&text, 1048576);
    int rc = metrics_text(&text);
    if (rc == 0) rc = sv_reply_with(c, NULL, buf_str(&text));
    buf_free(&text);
    return rc;
}

static int add_record(sv_call *c, const record *r, bus_record *to)
{
    sv_process *p = c->process;
    char self[LIMIT_NAME_BYTES + 12];
    snprintf(self, sizeof self, "%s/%u", p->name, p->instance);
    char *me = arena_copy(&c->arena, sv_cstr(self));
    char *peer = arena_copy(&c->arena, sv_cstr(r->peer));
    char *method = arena_copy(&c->arena, sv_cstr(r->method));
    if (me == NULL || peer == NULL || method == NULL) return SV_E_NO_MEMORY;
    *to = (bus_record){.ts = (int64_t)r->unix_us,
                       .from = sv_cstr(r->out ? me : peer),
                       .to = sv_cstr(r->out ? peer : me),
                       .kind = sv_cstr(envelope_kind_name(r->kind)),
                       .method = sv_cstr(method),
                       .id = {(const char *)r->id.b, 16},
                       .trace_id = {(const char *)r->trace_id, 16},
                       .bytes = r->bytes,
                       .service_us = (int64_t)r->service_us};
    if (r->kind == SV_REPLY) to->status = sv_cstr(sv_status_name(r->code));
    return 0;
}

static bool wanted(const record *r, const bus_records_req *q)
{
    if (r->kind == 0) return false;
    if (q->id.n && (q->id.n != 16 || memcmp(q->id.p, r->id.b, 16) != 0)) return false;
    return q->trace_id.n == 0 ||
           (q->trace_id.n == 16 && memcmp(q->trace_id.p, r->trace_id, 16) == 0);
}

static int serve_records(sv_call *c, const void *request)
{
    const bus_records_req *q = request;
    sv_process *p = c->process;
    bus_record *found = arena_alloc(&c->arena, RECORDS * sizeof *found);
    uint32_t n = 0, limit = q->limit < RECORDS ? (uint32_t)q->limit : RECORDS;
    if (found == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < RECORDS && n < limit; i++) {
        const record *r = &p->records[(p->record_at - 1 - i) % RECORDS];
        if (!wanted(r, q)) continue;
        if (add_record(c, r, &found[n++])) return SV_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < n / 2; i++) { /* oldest first */
        bus_record swap = found[i];
        found[i] = found[n - 1 - i];
        found[n - 1 - i] = swap;
    }
    bus_records_reply reply = {.records = {found, n}};
    int rc = sv_reply(c, &reply);
    if (rc == SV_E_TOO_LARGE)
        sv_fail(&c->error, rc, "limit", "So many records do not fit one message; ask for fewer.");
    return rc;
}

const sv_method builtin_methods[] = {
    {.name = "ping",
     .request = &bus_empty_msg,
     .reply = &sv_ping_reply_msg,
     .handler = serve_ping,
     .flags = SV_IDEMPOTENT | SV_INLINE,
     .doc = "is it alive, how busy"},
    {.name = "metrics",
     .request = &bus_empty_msg,
     .reply = &bus_empty_msg,
     .handler = serve_metrics,
     .flags = SV_IDEMPOTENT | SV_INLINE,
     .doc = "Prometheus text as the attachment"},
    {.name = "records",
     .request = &bus_records_req_msg,
     .reply = &bus_records_reply_msg,
     .handler = serve_records,
     .flags = SV_IDEMPOTENT | SV_INLINE,
     .doc = "last messages of this process"},
};
const size_t builtin_count = sizeof builtin_methods / sizeof *builtin_methods;
