/*  core_bus.c - the service named bus: the broker's controls as methods.
 *
 *  They pass the same policy as any other target and are answered in the same step, except bus.tap
 *  (a stream), a bus.policy reload (answered when the new policy arrives) and answers larger than
 *  one message (parts under the caller's window). Those three live on as OWN requests. */
#include "core_state.h"

#include <stdio.h>

typedef int bus_fn(core *c, request *r, sv_error *err); /* answers r, or fills err */

static int serve_ping(core *c, request *r, sv_error *err);
static int serve_services(core *c, request *r, sv_error *err);
static int serve_stats(core *c, request *r, sv_error *err);
static int serve_policy(core *c, request *r, sv_error *err);
static int serve_drain(core *c, request *r, sv_error *err);
static int serve_tap(core *c, request *r, sv_error *err);
static int serve_records(core *c, request *r, sv_error *err);

static const struct {
    const char *name;
    bus_fn *fn;
    const sv_message *request, *reply;
    const char *doc;
} methods[] = {
    {"ping", serve_ping, &bus_empty_msg, &sv_ping_reply_msg, "Is the broker there?"},
    {"services", serve_services, &bus_empty_msg, &bus_services_reply_msg, "Every connected peer."},
    {"stats", serve_stats, &bus_empty_msg, &bus_stats_reply_msg,
     "Counters, gauges and golden figures."},
    {"policy", serve_policy, &bus_policy_req_msg, &bus_policy_reply_msg,
     "Ask about or reload the policy."},
    {"drain", serve_drain, &bus_drain_req_msg, &bus_empty_msg,
     "Stop giving new work to an instance."},
    {"tap", serve_tap, &bus_tap_req_msg, &bus_record_msg, "Watch messages: headers only."},
    {"records", serve_records, &bus_records_req_msg, &bus_records_reply_msg,
     "The last hop records."},
};
enum { METHODS = sizeof methods / sizeof *methods };

int core_bus_init(core *c)
{
    c->bus = core_service_get(c, sv_cstr("bus"));
    if (c->bus == NULL) return SV_E_NO_MEMORY;
    for (int i = 0; i < METHODS; i++) {
        method *m = core_method_get(c, c->bus, sv_cstr(methods[i].name));
        if (m == NULL) return SV_E_NO_MEMORY;
        m->bus = i;
    }
    return 0;
}

/* ---- answers, in parts when they are large ---- */

static void own_pump(core *c, request *r)
{
    while (r->own_n - r->own_at > LIMIT_PART_BYTES && !r->caller->doomed) {
        uint64_t left = r->down.granted_bytes - r->down.bytes; /* own parts never pass the grant */
        uint32_t n = left < LIMIT_PART_BYTES ? (uint32_t)left : LIMIT_PART_BYTES;
        if (n == 0 || r->down.items >= r->down.granted_items) return;
        sv_str part = {arena_copy(&c->arena, (sv_str){r->own + r->own_at, n}), n};
        if (part.p == NULL) return; /* the next CREDIT tries again, the deadline ends it */
        envelope e = core_request_envelope(c, r, SV_PARTIAL);
        e.flags = SV_FLAG_MORE;
        e.code = ++r->down.items;
        r->down.bytes += n;
        r->own_at += n;
        core_send_own(c, r->caller, &e, part, OUT_DATA);
    }
    sv_str rest = {r->own + r->own_at, r->own_n - r->own_at};
    if (rest.n > LIMIT_PART_BYTES) return;
    rest.p = arena_copy(&c->arena, rest);
    if (rest.p) core_request_answer(c, r, SV_STATUS_OK, rest);
}

static int answer(core *c, request *r, const sv_message *m, const void *src, sv_error *err)
{
    sv_str body = core_encode(c, m, src);
    if (body.p == NULL)
        return sv_fail(err, SV_E_NO_MEMORY, NULL,
                       "The answer is larger than the %d bytes it may have.", OWN_REPLY_BYTES);
    if (body.n <= LIMIT_PART_BYTES) {
        core_request_answer(c, r, SV_STATUS_OK, body);
        return 0;
    }
    if (c->n_own >= OWN_REPLIES)
        return sv_fail(err, SV_E_OVERLOADED, NULL,
                       "The broker is sending %d large answers already.", OWN_REPLIES);
    r->own = core_alloc(c, body.n);
    if (r->own == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    memcpy(r->own, body.p, body.n);
    r->own_n = body.n;
    r->state = R_OWN;
    c->n_own++;
    core_wheel_set(&c->wheel, &r->timer, r->deadline_us);
    own_pump(c, r);
    return 0;
}

void core_bus_credit(core *c, request *r)
{
    if (r->own) own_pump(c, r);
}

void core_own_end(core *c, request *r)
{
    core_unlink(&r->own_link);
    if (r->tap) {
        c->n_taps--;
        core_dealloc(c, r->tap, sizeof *r->tap);
        r->tap = NULL;
    }
    if (r->own) {
        c->n_own--;
        core_dealloc(c, r->own, r->own_n);
        r->own = NULL;
    }
}

void core_bus_request(core *c, request *r)
{
    sv_error err = {0};
    hop h = core_hop(c, &r->frames->env, r->method, r->caller, NULL, r->bytes);
    core_hop_note(c, &h, r, true);
    int rc;
    if (r->uploading)
        rc = sv_fail(&err, SV_E_TOO_LARGE, NULL, "A request to the bus fits one message.");
    else
        rc = methods[r->method->bus].fn(c, r, &err);
    if (rc) core_request_fail(c, r, rc, err.message[0] ? err.message : NULL, err.retry_after_ms);
}

static int decode(core *c, const request *r, void *ret, sv_error *err)
{
    return message_decode(methods[r->method->bus].request, r->frames->body, MESSAGE_STRICT,
                          &c->arena, ret, err);
}

/* ---- bus.ping, bus.services, bus.stats ---- */

static int serve_ping(core *c, request *r, sv_error *err)
{
    sv_ping_reply p = {.in_flight = c->n_open,
                       .uptime_ms = (int64_t)((c->now_us - c->started_us) / 1000),
                       .version = sv_cstr(SAMOVAR_VERSION)};
    return answer(c, r, &sv_ping_reply_msg, &p, err);
}

static const char *state_of(const peer *p)
{
    return p->draining           ? "draining"
           : p->ejected_until_us ? "ejected"
           : p->suspect          ? "suspect"
                                 : "live";
}

static void describe(const core *c, const peer *p, bus_service_instance *i)
{
    static const char *const kinds[] = {"none", "supervised", "key", "operator"};
    *i = (bus_service_instance){.service = sv_cstr(p->service->name),
                                .instance = p->instance,
                                .pid = p->who.pid,
                                .state = sv_cstr(state_of(p)),
                                .version = sv_cstr(p->version),
                                .identity =
                                    sv_cstr(p->who.note[0] ? p->who.note : kinds[p->who.kind]),
                                .slots = p->slots,
                                .in_flight = p->in_flight,
                                .open = p->n_calls,
                                .served = (int64_t)p->served,
                                .errors = (int64_t)p->errors,
                                .ewma_us = (int64_t)p->ewma_us,
                                .rtt_us = (int64_t)p->rtt_us,
                                .uptime_ms = (int64_t)((c->now_us - p->connected_us) / 1000),
                                .methods = {p->hello, p->n_methods}};
}

static void describe_bus(const core *c, bus_service_instance *i, bus_method list[METHODS])
{
    for (int k = 0; k < METHODS; k++)
        list[k] = (bus_method){.name = sv_cstr(methods[k].name),
                               .request = sv_cstr(methods[k].request->name),
                               .reply = sv_cstr(methods[k].reply->name),
                               .doc = sv_cstr(methods[k].doc)};
    *i = (bus_service_instance){.service = sv_cstr("bus"),
                                .state = sv_cstr("live"),
                                .version = sv_cstr(SAMOVAR_VERSION),
                                .identity = sv_cstr("the broker"),
                                .uptime_ms = (int64_t)((c->now_us - c->started_us) / 1000),
                                .methods = {list, METHODS}};
}

static int serve_services(core *c, request *r, sv_error *err)
{
    bus_method own[METHODS];
    size_t n = c->peers.n < LIMIT_PEERS ? c->peers.n + 1 : LIMIT_PEERS;
    bus_service_instance *list = arena_alloc(&c->arena, n * sizeof *list);
    if (list == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    uint32_t k = 0;
    describe_bus(c, &list[k++], own);
    for (core_node *x = NULL; k < n && (x = core_table_next(&c->peers, x));)
        describe(c, core_of(peer, node, x), &list[k++]);
    bus_services_reply reply = {
        .broker = sv_cstr(c->node), .broker_epoch = (int64_t)c->epoch, .instances = {list, k}};
    return answer(c, r, &bus_services_reply_msg, &reply, err);
}

static int serve_stats(core *c, request *r, sv_error *err)
{
    const core_stats *s = core_get_stats(c);
    bus_stat stats[] = {
#define CORE_STAT(stat, doc) {sv_cstr(#stat), (double)s->stat},
#include "core_stats.def"
#undef CORE_STAT
    };
    bus_method_stat *list = arena_alloc(&c->arena, (c->flows.n + 1) * sizeof *list);
    if (list == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    uint32_t k = 0;
    for (core_node *x = NULL; (x = core_table_next(&c->flows, x));) {
        const flow *f = core_of(flow, node, x);
        if (f->requests == 0) continue;
        list[k++] =
            (bus_method_stat){.caller = sv_cstr(f->caller->name),
                              .method = sv_cstr(f->method->target),
                              .requests = (int64_t)f->requests,
                              .errors = (int64_t)f->errors,
                              .p50_us = (int64_t)histogram_quantile(&f->service_time, 0.5),
                              .p99_us = (int64_t)histogram_quantile(&f->service_time, 0.99),
                              .queue_p99_us = (int64_t)histogram_quantile(&f->queue_time, 0.99)};
    }
    bus_stats_reply reply = {.stats = {stats, sizeof stats / sizeof *stats}, .methods = {list, k}};
    return answer(c, r, &bus_stats_reply_msg, &reply, err);
}

/* ---- bus.policy ---- */

static int answer_policy(core *c, request *r, const bus_policy_req *req, sv_error *err)
{
    bus_policy_reply reply = {.generation = (int64_t)c->policy_generation};
    if (c->policy_file[0]) reply.file = sv_cstr(c->policy_file);
    if (c->reload_error[0]) reply.error = sv_cstr(c->reload_error);
    if ((req->caller.n == 0) != (req->method.n == 0))
        return sv_fail(err, SV_E_MISSING_FIELD, req->caller.n ? "method" : "caller",
                       "Ask with both caller and method, or with neither.");
    char words[161];
    if (req->caller.n) {
        const char *rule;
        char plain[LIMIT_TARGET_BYTES + 1];
        uint32_t instance;
        sv_str called = req->method;
        envelope_target_plain(called, plain, &called, &instance); /* else it is matched as it is */
        reply.allowed = policy_allows(c->policy, req->caller, called, &rule);
        snprintf(words, sizeof words, "%s", rule);
        reply.rule = sv_cstr(words);
    }
    return answer(c, r, &bus_policy_reply_msg, &reply, err);
}

static int serve_policy(core *c, request *r, sv_error *err)
{
    bus_policy_req req;
    int rc = decode(c, r, &req, err);
    if (rc) return rc;
    if (!req.reload) return answer_policy(c, r, &req, err);
    if (c->reload == NULL)
        return sv_fail(err, SV_E_CONFIG, "reload",
                       "The broker runs on its built-in policy: there is no "
                       "policy file to read again.");
    sv_error why = {0};
    rc = c->reload(c->reload_arg, &why);
    if (rc) {
        snprintf(c->reload_error, sizeof c->reload_error, "%s",
                 why.message[0] ? why.message : sv_error_lookup(rc)->text);
        return answer_policy(c, r, &req, err);
    }
    r->state = R_OWN; /* core_bus_policy_swapped answers */
    core_ring_push(&c->waiting, &r->own_link);
    core_wheel_set(&c->wheel, &r->timer, r->deadline_us);
    return 0;
}

void core_bus_policy_swapped(core *c)
{
    while (!core_ring_empty(&c->waiting)) {
        request *r = core_of(request, own_link, c->waiting.next);
        bus_policy_req req;
        sv_error err = {0};
        core_unlink(&r->own_link);
        int rc = decode(c, r, &req, &err);
        if (rc == 0) rc = answer_policy(c, r, &req, &err);
        if (rc) core_request_fail(c, r, rc, err.message, 0);
    }
}

/* ---- bus.drain, bus.tap, bus.records ---- */

static int serve_drain(core *c, request *r, sv_error *err)
{
    bus_drain_req req;
    int rc = decode(c, r, &req, err), n = 0;
    if (rc) return rc;
    service *s = core_service_find(c, req.service);
    for (core_link *l = s ? s->members.next : NULL; s && l != &s->members; l = l->next) {
        peer *p = core_of(peer, member, l);
        if (p->doomed || (req.instance && p->instance != (uint32_t)req.instance)) continue;
        envelope e = core_request_envelope(c, r, SV_DRAIN);
        core_peer_drain(c, p);
        core_send_own(c, p, &e, (sv_str){NULL, 0}, OUT_CONTROL);
        n++;
    }
    if (n == 0)
        return sv_fail(err, SV_E_NOT_FOUND, "service", "No such instance of %.*s is connected.",
                       SV_FMT(req.service));
    bus_empty nothing;
    return answer(c, r, &bus_empty_msg, &nothing, err);
}

static int serve_tap(core *c, request *r, sv_error *err)
{
    bus_tap_req req;
    int rc = decode(c, r, &req, err);
    return rc ? rc : core_tap_open(c, r, &req, err);
}

static int serve_records(core *c, request *r, sv_error *err)
{
    bus_records_req req;
    int rc = decode(c, r, &req, err);
    if (rc) return rc;
    if ((req.trace_id.p && req.trace_id.n != 16) || (req.id.p && req.id.n != 16))
        return sv_fail(err, SV_E_OUT_OF_RANGE, req.id.p ? "id" : "trace_id", "An id has 16 bytes.");
    size_t max = (size_t)req.limit;
    bus_record *list = arena_alloc(&c->arena, max * sizeof *list);
    hop_texts *texts = arena_alloc(&c->arena, max * sizeof *texts);
    if (list == NULL || texts == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    size_t at = max;
    uint64_t have = c->n_hops < c->limits.records ? c->n_hops : c->limits.records;
    for (uint64_t i = 1; i <= have && at > 0; i++) {
        const hop *h = &c->hops[(c->n_hops - i) % c->limits.records];
        if ((req.trace_id.p && memcmp(h->trace_id, req.trace_id.p, 16) != 0) ||
            (req.id.p && memcmp(h->id.b, req.id.p, 16) != 0))
            continue;
        at--;
        core_hop_record(h, &list[at], &texts[at]);
    }
    bus_records_reply reply = {.records = {list + at, (uint32_t)(max - at)}};
    return answer(c, r, &bus_records_reply_msg, &reply, err);
}
