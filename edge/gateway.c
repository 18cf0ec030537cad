/*  gateway.c - the checks every request passes, in this order: overload, Host, Origin, Via,
 *  route, media type. The first that fails answers. Requests that the wire refused come here
 *  only for their words. */
#include "gateway.h"

#include "admission.h"
#include "error.h"
#include "forward.h"
#include "http_parser.h"
#include "log.h"
#include "metrics.h"
#include "reply.h"
#include "upload.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CALLS_KEPT = 256,
    TEXT_MOST = 8 << 20,
    TEXT_KEEP = 65536,
    ARENA_MOST = 8 << 20,
    BODY_GRACE_MS = 10000,
    LINGER_MS = 2000,
    EXPIRES_SOON_S = 14 * 86400,
    PER_ADDRESS = 64,
    JOIN_US = 1000000,
    STATUSES = 8,
    EARLY_US = 5000,
    SET_COOKIE_BYTES = 1024
};

/* ---- counting ---- */

/* Series of one route, found by status without a lookup of label texts. */
typedef struct route_metrics {
    int status[STATUSES];
    metric_series *requests[STATUSES];
    metric_series *seconds;
} route_metrics;

static route_metrics counted[ROUTES + 1]; /* the last row: no route */

static const char *route_label(size_t i)
{
    return i < ROUTES ? routes[i].path : "none";
}

static size_t route_index(const edge_call *c)
{
    return c->route ? (size_t)(c->route - routes) : ROUTES;
}

static metric_series *requests_series(size_t row, int status)
{
    route_metrics *m = &counted[row];
    char text[12];
    size_t i = 0;
    while (i < STATUSES && m->status[i] && m->status[i] != status)
        i++;
    if (i < STATUSES && m->status[i] == status) return m->requests[i];
    snprintf(text, sizeof text, "%d", status);
    metric_series *s = metric_get(M_HTTP_REQUESTS, (const char *const[]){route_label(row), text});
    if (i < STATUSES) {
        m->status[i] = status;
        m->requests[i] = s;
    }
    return s;
}

static void count(const edge_call *c, uint64_t us, http_over how)
{
    size_t i = route_index(c);
    if (how == HTTP_OVER_GONE) metric_add(metric_one(M_HTTP_CLIENT_GONE), 1);
    if (c->status == 0) return;
    if (counted[i].seconds == NULL)
        counted[i].seconds = metric_get(M_HTTP_SECONDS, (const char *const[]){route_label(i)});
    metric_add(requests_series(i, c->status), 1);
    metric_observe_us(counted[i].seconds, us);
}

static void count_rejected(int code)
{
    const char *reason = sv_error_lookup(code)->name;
    metric_add(metric_get(M_HTTP_REJECTED, (const char *const[]){reason}), 1);
}

void gateway_refuse(edge_call *c, int code, const sv_error *err)
{
    count_rejected(code);
    reply_error(c, code, err);
}

void gateway_gauges(edge *e)
{
    metric_set(metric_one(M_HTTP_CONNECTIONS), http_server_look(e->server).connections);
    metric_set(metric_one(M_TLS_EXPIRES), e->tls ? (double)tls_expires_s(e->tls) : 0);
}

/* ---- calls ---- */

void gateway_body_done(edge_call *c)
{
    c->e->bodies -= c->body_room;
    c->body_room = 0;
}

/* Large bodies are collected whole: all of one edge have a bound together. Small ones are bounded by
 * the connections that there are. */
static int take_room(edge_call *c, size_t n, sv_error *err)
{
    edge *e = c->e;
    if (n > e->bodies_most - (e->bodies - c->body_room)) {
        err->retry_after_ms = 1000;
        return sv_fail(err, SV_E_OVERLOADED, NULL,
                       "The server has no room for another large request just now.");
    }
    e->bodies += n - c->body_room;
    c->body_room = n;
    c->x->body_room = n;
    return 0;
}

/* Room for all of a body whose length is said; one of unsaid length takes it as it grows. */
static int reserve(edge_call *c, const http_request *r, sv_error *err)
{
    edge *e = c->e;
    sv_str given = http_header_get(r, "content-length", NULL);
    size_t n = 0, most = c->x->body_max;
    if (!r->has_body || most <= e->body_bytes) return 0;
    for (uint32_t i = 0; i < given.n && n <= most; i++)
        n = n * 10 + (size_t)(given.p[i] - '0');
    c->x->body_room = e->body_bytes;
    return n <= e->body_bytes ? 0 : take_room(c, n < most ? n : most, err);
}

/* Doubled, so that a long body asks a few times only. */
static int on_more(void *arg, http_exchange *x, size_t n, sv_error *err)
{
    size_t twice = 2 * x->body_room;
    (void)arg;
    if (twice > n) n = twice;
    return take_room(x->data, n < x->body_max ? n : x->body_max, err);
}

static void call_over(http_exchange *x, http_over how)
{
    edge_call *c = x->data;
    edge *e = c->e;
    uint64_t now_us = clock_us(), us = now_us > c->since_us ? now_us - c->since_us : 0;
    bool quiet = c->status < 500 || c->refused || (c->route && (c->route->flags & ROUTE_VITAL));
    if (c->stream && !e->stopping) sv_cancel(c->stream);
    c->stream = NULL;
    admission_cancel(c);
    gateway_body_done(c);
    if (c->data) c->data_free(c->data); /* may ask for a ticket once more */
    identity_drop(c->who);
    buf_free(&c->set_cookie);
    free(c->wanted);
    buf_free(&c->list);
    loop_timer_stop(e->l, &c->heartbeat);
    count(c, us, how);
    log_write(quiet ? LOG_DEBUG : LOG_WARN, "http",
              LOG_STR("route", c->route ? c->route->path : "none"), LOG_INT("status", c->status),
              LOG_INT("us", us), LOG_STR("request_id", c->request_id),
              LOG_BOOL("client_gone", how == HTTP_OVER_GONE));
    if (e->n_free == CALLS_KEPT) {
        free(c);
        return;
    }
    c->next_free = e->free_calls;
    e->free_calls = c;
    e->n_free++;
}

static void take_request_id(edge_call *c, const http_request *r)
{
    uint32_t n = 0;
    sv_str given = http_header_get(r, "x-request-id", &n);
    if (n == 1 && caller_request_id_ok(given)) {
        memcpy(c->request_id, given.p, given.n);
        c->request_id[given.n] = 0;
        return;
    }
    sv_id id = uuid_v7(loop_unix_us(c->e->l) / 1000);
    uuid_format(&id, c->request_id);
}

static void take_trace(edge_call *c, const http_request *r)
{
    uint32_t n = 0;
    sv_trace from;
    sv_str given = http_header_get(r, "traceparent", &n);
    if (n == 1 && trace_parse(given, &from))
        c->trace = trace_continue(&from);
    else
        c->trace = trace_start();
}

static bool begins(sv_str path, const char *with)
{
    size_t n = strlen(with);
    return path.n >= n && memcmp(path.p, with, n) == 0;
}

/* A call for the exchange; NULL without memory, and the connection is closed then. */
static edge_call *call_begin(edge *e, http_exchange *x)
{
    edge_call *c = e->free_calls;
    if (c) {
        e->free_calls = c->next_free;
        e->n_free--;
    } else {
        c = malloc(sizeof *c);
    }
    if (c == NULL) return NULL;
    *c = (edge_call){.e = e, .x = x, .since_us = loop_now_us(e->l), .from = x->remote};
    buf_init(&c->set_cookie, SET_COOKIE_BYTES);
    x->data = c;
    x->on_over = call_over;
    const http_request *r = x->request;
    c->anthropic =
        begins(r->path, "/v1/messages") ||
        (begins(r->path, "/v1/models") && http_header_get(r, "anthropic-version", NULL).n > 0);
    c->openai = !c->anthropic && begins(r->path, "/v1/");
    c->responses = begins(r->path, "/v1/responses");
    c->ollama = begins(r->path, "/ollama/");
    c->takes = coding_of(r, CODINGS_ALL);
    take_request_id(c, r);
    take_trace(c, r);
    return c;
}

sv_str gateway_joined(const http_request *r, const char *name, char *to, size_t size, bool *fits)
{
    size_t n = 0;
    bool any = false;
    *fits = true;
    for (uint32_t i = 0; i < r->n_headers; i++) {
        sv_str v = r->headers[i].value;
        if (!http_word_is(r->headers[i].name, name)) continue;
        if (n + 2 + v.n > size) {
            *fits = false;
            continue;
        }
        if (any) {
            memcpy(to + n, ", ", 2);
            n += 2;
        }
        if (v.n) memcpy(to + n, v.p, v.n);
        n += v.n;
        any = true;
    }
    return any ? (sv_str){to, (uint32_t)n} : (sv_str){NULL, 0};
}

/* ---- checks ---- */

/* Where the request comes from, and whether it may: names, pages, loops. */
static int check_caller(edge_call *c, const http_request *r, sv_error *err)
{
    bool fits;
    char via[VIA_BYTES];
    trusted_client client;
    trusted_client_of(&c->e->proxies, &c->x->remote, r, &client);
    c->from = client.address;
    c->secure = client.secure;
    int rc = origin_check_host(&c->e->origin, client.host, err);
    if (rc == 0) rc = origin_check(&c->e->origin, r, err);
    if (rc) return rc;
    sv_str origin = http_header_get(r, "origin", NULL);
    c->origin = origin_listed(&c->e->origin, origin);
    sv_str hops = gateway_joined(r, "via", via, sizeof via - PSEUDONYM_BYTES - 8, &fits);
    if (!fits)
        return sv_fail(err, SV_E_LOOP, NULL,
                       "The request passed more proxies than are believable.");
    if (caller_via_has(hops, c->e->who.pseudonym))
        return sv_fail(
            err, SV_E_LOOP, NULL,
            "The request came back to this server: one of its providers is this server.");
    return 0;
}

static int check_json(const http_request *r, sv_error *err)
{
    uint32_t n = 0;
    sv_str type = http_header_get(r, "content-type", &n);
    if (n != 1 || !http_media_is(type, "application/json"))
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL, "Content-Type must be application/json.");
    sv_str charset = http_media_parameter(type, "charset");
    if (charset.n && !http_word_is(charset, "utf-8"))
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL, "JSON is read as UTF-8 only.");
    sv_str given = http_header_get(r, "content-encoding", &n);
    if (n && !http_word_is(given, "identity"))
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "Compressed requests are not read; send the body without Content-Encoding.");
    if (!r->has_body) return sv_fail(err, SV_E_HTTP_LENGTH_REQUIRED, NULL, NULL);
    return 0;
}

static int check_form(const http_request *r, sv_error *err)
{
    uint32_t n = 0;
    sv_str type = http_header_get(r, "content-type", &n);
    if (n != 1 || !http_media_is(type, "multipart/form-data"))
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "Content-Type must be multipart/form-data.");
    if (!r->has_body) return sv_fail(err, SV_E_HTTP_LENGTH_REQUIRED, NULL, NULL);
    return 0;
}

/* Clients say so with a length of 0, too, and then without a type. */
static bool bodiless(const http_request *r)
{
    return !r->has_body || sv_str_is(http_header_get(r, "content-length", NULL), "0");
}

static int check_body(const edge_call *c, const http_request *r, sv_error *err)
{
    const route *to = c->route;
    if (to->flags & ROUTE_TAKES_FORM) return check_form(r, err);
    bool writes = strcmp(to->method, "POST") == 0 || strcmp(to->method, "PATCH") == 0;
    bool json = to->flags & ROUTE_TAKES_JSON || (to->target && writes);
    if (!json || (to->flags & ROUTE_MAY_JSON && bodiless(r))) return 0;
    return check_json(r, err);
}

static int check(edge_call *c, const http_request *r, sv_error *err)
{
    int found = route_find(r->method, r->path, &c->route, &c->match);
    if (c->x->overloaded && (c->route == NULL || !(c->route->flags & ROUTE_VITAL))) {
        if (err) err->retry_after_ms = 1000;
        return sv_fail(err, SV_E_OVERLOADED, NULL,
                       "The server has no room for another connection.");
    }
    int rc = check_caller(c, r, err);
    if (rc) return rc;
    if (found == SV_E_HTTP_NOT_FOUND)
        return sv_fail(err, found, NULL, "There is nothing at %.*s.",
                       r->path.n < 150 ? (int)r->path.n : 150, r->path.p);
    if (found)
        return sv_fail(err, found, NULL, "%.*s is not possible at this address.",
                       SV_FMT(r->method));
    return check_body(c, r, err);
}

static void answer_options(edge_call *c, const http_request *r)
{
    char allow[ALLOW_BYTES];
    route_allow(r->path, allow);
    if (allow[0] == 0)
        reply_error(c, SV_E_HTTP_NOT_FOUND, NULL);
    else
        reply_whole(
            c, 204, NULL, (sv_str){NULL, 0},
            &(reply_hints){.allow = allow,
                           .preflight =
                               http_header_get(r, "access-control-request-method", NULL).n > 0});
}

/* ---- the service ---- */

/* How much of a body the route takes. */
static size_t body_most(const edge *e, const route *r, size_t most)
{
    if (r->flags & ROUTE_LARGE) return e->model_bytes;
    if (r->flags & (ROUTE_TAKES_JSON | ROUTE_STREAMS)) return most;
    bool writes = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PATCH") == 0;
    if (r->target && writes) return most < FORWARD_BYTES ? most : FORWARD_BYTES;
    return 0;
}

static void on_head(void *arg, http_exchange *x)
{
    edge *e = arg;
    edge_call *c = call_begin(e, x);
    if (c == NULL) {
        http_abort(x);
        return;
    }
    sv_error err = {0};
    int rc = check(c, x->request, &err);
    bool options = (rc == SV_E_HTTP_METHOD && sv_str_is(x->request->method, "OPTIONS")) ||
                   (rc == SV_E_HTTP_NOT_FOUND && sv_str_is(x->request->path, "*"));
    if (options) {
        answer_options(c, x->request);
        return;
    }
    if (rc) {
        gateway_refuse(c, rc, &err);
        return;
    }
    x->body_max = body_most(e, c->route, x->body_max);
    if (c->route->flags & ROUTE_STREAMS) {
        x->body_max = uploads_body_max(e->uploads);
        http_stream_body(x);
        if (http_keep(x)) { /* its handler reads the head, maybe later */
            gateway_refuse(c, SV_E_NO_MEMORY, NULL);
            return;
        }
    } else if ((rc = reserve(c, x->request, &err))) {
        gateway_refuse(c, rc, &err);
        return;
    }
    admission_begin(c, x->request);
}

static void on_body(void *arg, http_exchange *x, sv_str bytes)
{
    edge_call *c = x->data;
    (void)arg;
    if (c->on_bytes) c->on_bytes(c, bytes);
}

static void on_request(void *arg, http_exchange *x)
{
    edge *e = arg;
    edge_call *c = x->data;
    c->since_us = loop_now_us(e->l);
    if (c->route->flags & ROUTE_STREAMS) {
        c->on_complete(c);
        return;
    }
    /* The bytes of the path may have moved while the body came. */
    if (c->match.n) route_find(x->request->method, x->request->path, &c->route, &c->match);
    c->route->handler(c);
    c->match.n = 0;
    buf_reset(&e->text, TEXT_KEEP);
    buf_reset(&e->packed, TEXT_KEEP);
    arena_reset(&e->arena);
}

static void on_refuse(void *arg, http_exchange *x, int code, const sv_error *err)
{
    edge_call *c = x->data ? x->data : call_begin(arg, x);
    count_rejected(code);
    if (c) {
        c->refused = true;
        reply_error(c, code, err);
    } else {
        http_respond(x, &(http_response){.status = 503});
    }
}

/* ---- life ---- */

static uint32_t connections_each(const config *cfg)
{
    const char *const *proxies;
    int64_t said = config_int(cfg, "edge.connections_per_address");
    bool proxied = config_strs(cfg, "edge.trusted_proxies", &proxies) > 0;
    if (said) return (uint32_t)said;
    bool shared = caller_address_shared(config_str(cfg, "edge.host"), proxied,
                                        config_bool(cfg, "edge.proxy_protocol"));
    return shared ? (uint32_t)config_int(cfg, "edge.connections") : PER_ADDRESS;
}

static void read_limits(const config *cfg, http_limits *l)
{
    *l = (http_limits){
        .head_bytes = (uint32_t)config_int(cfg, "edge.head_bytes"),
        .line_bytes = (uint32_t)config_int(cfg, "edge.line_bytes"),
        .headers = (uint32_t)config_int(cfg, "edge.headers"),
        .streams = (uint32_t)config_int(cfg, "edge.streams"),
        .body_bytes = (size_t)config_int(cfg, "edge.body_bytes"),
        .output_bytes = (size_t)config_int(cfg, "edge.output_bytes"),
        .connections = (uint32_t)config_int(cfg, "edge.connections"),
        .connections_per_address = connections_each(cfg),
        .head_ms = (uint32_t)config_int(cfg, "edge.head_ms"),
        .body_grace_ms = BODY_GRACE_MS,
        .body_rate = (uint32_t)config_int(cfg, "edge.body_rate"),
        .idle_ms = (uint32_t)config_int(cfg, "edge.idle_ms"),
        .stall_ms = (uint32_t)config_int(cfg, "edge.stall_ms"),
        .linger_ms = LINGER_MS,
    };
}

static void tell_certificate(const edge *e)
{
    int64_t left_s = tls_expires_s(e->tls) - (int64_t)(loop_unix_us(e->l) / 1000000);
    log_write(left_s < EXPIRES_SOON_S ? LOG_WARN : LOG_INFO,
              left_s < 0                ? "the certificate has expired"
              : left_s < EXPIRES_SOON_S ? "the certificate expires soon"
                                        : "certificate loaded",
              LOG_INT("days_left", left_s / 86400));
}

static int open_tls(edge *e, const config *cfg, sv_error *err)
{
    const char *cert = config_str(cfg, "edge.tls_cert"), *key = config_str(cfg, "edge.tls_key");
    if (cert == NULL && key == NULL) return 0;
    if (cert == NULL || key == NULL)
        return sv_fail(err, SV_E_CONFIG, cert ? "edge.tls_key" : "edge.tls_cert",
                       "%s is set, but %s is not: give both for HTTPS, or neither for HTTP.",
                       cert ? "edge.tls_cert" : "edge.tls_key",
                       cert ? "edge.tls_key" : "edge.tls_cert");
    int rc = tls_new(cert, key, &e->tls, err);
    if (rc) return rc;
    /* Every edge of the platform has this key: a ticket of one is good at all. */
    rc = e->who.signs ? tls_tickets(e->tls, e->who.signer.secret, NULL) : 0;
    if (rc) return sv_fail(err, rc, NULL, NULL);
    http_server_transport(e->server, tls_open, e->tls);
    tell_certificate(e);
    return 0;
}

void gateway_certificate(edge *e)
{
    sv_error err = {0};
    int rc = e->tls ? tls_check(e->tls, &err) : 0;
    if (rc > 0) tell_certificate(e);
    if (rc < 0)
        log_write(LOG_ERROR, "the new certificate cannot be used, the former stays", LOG_ERR(&err));
}

static int read_proxies(edge *e, const config *cfg, sv_error *err)
{
    const char *const *names;
    uint32_t n = config_strs(cfg, "edge.trusted_proxies", &names);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = trusted_add(&e->proxies, sv_cstr(names[i]), err);
    bool announced = config_bool(cfg, "edge.proxy_protocol");
    if (rc == 0 && announced && n == 0)
        rc = sv_fail(err, SV_E_CONFIG, "edge.proxy_protocol",
                     "edge.proxy_protocol needs edge.trusted_proxies: who may announce clients.");
    if (rc == 0) http_server_proxies(e->server, &e->proxies, announced);
    return rc;
}

/* What an address beyond this machine needs. */
static int check_reach(const edge *e, const char *host, sv_error *err)
{
    if (e->tls == NULL && e->proxies.n == 0)
        return sv_fail(
            err, SV_E_CONFIG, "edge.host",
            "edge.host is \"%s\", which others reach: set edge.tls_cert and edge.tls_key, "
            "or edge.trusted_proxies when a proxy in front does TLS.",
            host);
    if (e->origin.own == NULL)
        return sv_fail(err, SV_E_CONFIG, "edge.origin",
                       "edge.host is \"%s\", which others reach: set edge.origin to the address "
                       "that they use, e.g. https://ai.example.org.",
                       host);
    return 0;
}

static int listen_on(edge *e, const config *cfg, sv_error *err)
{
    const char *host = config_str(cfg, "edge.host");
    const char *ip = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    bool loopback = caller_loopback_address(ip);
    int rc = read_proxies(e, cfg, err);
    if (rc == 0) rc = origin_read(cfg, loopback, &e->origin, err);
    if (rc == 0 && !loopback) rc = check_reach(e, host, err);
    if (rc == 0) rc = limits_scale_check(cfg, loopback, err);
    if (rc == 0) rc = limits_bus_open(e->p, &e->limits, err);
    if (rc == 0) rc = uploads_new(e->p, &e->uploads, err);
    if (rc) return rc;
    bool may_open =
        loopback && e->proxies.n == 0 && strcmp(config_str(cfg, "edge.access"), "open") == 0;
    e->access = access_new(e->p, &e->who, may_open);
    e->live = live_new(e->p, (uint32_t)config_int(cfg, "edge.events_per_user"));
    if (e->access == NULL || e->live == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    rc = listen_port_open(&e->port, e->server, config_run(cfg), ip,
                          (uint16_t)config_int(cfg, "edge.port"),
                          config_int(cfg, "supervisor.edges") > 1, err);
    if (rc) return rc;
    snprintf(e->url, sizeof e->url, strchr(ip, ':') ? "%s://[%s]:%u" : "%s://%s:%u",
             e->tls ? "https" : "http", ip, http_server_port(e->server));
    log_write(LOG_INFO, "listening", LOG_STR("url", e->url),
              LOG_STR("reach", loopback ? "this machine" : "other machines"));
    return 0;
}

/* Beside other edges this one takes connections when it knows who may come in, or when that takes too
 * long: the others may be gone. */
static void join(edge *e)
{
    sv_error err = {.code = 0};
    if (!access_ready(e->access) && loop_now_us(e->l) - e->opened_us < JOIN_US) return;
    if (http_server_begin(e->server, &err))
        log_write(LOG_ERROR, "this edge takes no connections", LOG_ERR(&err));
}

/* At the start the first list of revocations is what everybody waits for: no tick is. */
static void look_early(void *arg)
{
    edge *e = arg;
    access_tick(e->access);
    if (!access_ready(e->access)) loop_timer_set(e->l, &e->early, EARLY_US, look_early, e);
}

void gateway_identities(edge *e)
{
    access_tick(e->access);
    live_tick(e->live);
    join(e);
}

int gateway_open(sv_process *p, edge **ret, sv_error *err)
{
    const config *cfg = sv_config(p);
    http_limits most;
    edge *e = calloc(1, sizeof *e);
    if (e == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    e->p = p;
    e->l = sv_loop(p);
    e->port.alive_fd = -1;
    e->opened_us = loop_now_us(e->l);
    e->request_ms = (uint32_t)config_int(cfg, "edge.request_ms");
    buf_init(&e->text, TEXT_MOST);
    buf_init(&e->packed, FORWARD_BYTES * 2);
    arena_init(&e->arena, ARENA_MOST);
    read_limits(cfg, &most);
    e->output_bytes = most.output_bytes;
    e->answer_bytes = (size_t)config_int(cfg, "router.answer_bytes");
    e->model_bytes = (size_t)config_int(cfg, "edge.model_bytes");
    e->body_bytes = most.body_bytes;
    e->bodies_most = (size_t)config_int(cfg, "edge.bodies_bytes");
    e->keep_s = config_int(cfg, "cache.request_keep") / 1000;
    http_service service = {.arg = e,
                            .head = on_head,
                            .body = on_body,
                            .more = on_more,
                            .request = on_request,
                            .refuse = on_refuse};
    int rc = operator_init(&e->who, err);
    if (rc == 0) {
        e->server = http_server_new(e->l, &most, &service, err);
        rc = e->server ? open_tls(e, cfg, err) : SV_E_NO_MEMORY;
        if (rc == 0) rc = listen_on(e, cfg, err);
    }
    if (rc) {
        gateway_free(e);
        return rc;
    }
    look_early(e);
    *ret = e;
    return 0;
}

void gateway_free(edge *e)
{
    if (e == NULL) return;
    e->stopping = true;
    loop_timer_stop(e->l, &e->early);
    http_server_free(e->server);
    tls_free(e->tls);
    listen_port_close(&e->port);
    uploads_free(e->uploads);
    limits_bus_close(e->limits, true);
    live_free(e->live);
    access_free(e->access);
    operator_clear(&e->who);
    while (e->free_calls) {
        edge_call *next = e->free_calls->next_free;
        free(e->free_calls);
        e->free_calls = next;
    }
    buf_free(&e->text);
    buf_free(&e->packed);
    arena_free(&e->arena);
    free(e);
}

static void connections_gone(void *arg)
{
    edge *e = arg;
    if (e->held) sv_hold(e->p, -1);
    e->held = false;
}

void gateway_drain(edge *e)
{
    sv_hold(e->p, 1);
    e->held = true;
    live_drain(e->live);
    limits_drain(limits_bus_limits(e->limits));
    http_server_drain(e->server, connections_gone, e);
    listen_port_close(&e->port);
}
