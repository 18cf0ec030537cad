/*  api_ops.c - what operators and their tools ask: health, readiness, metrics, and the front page.
 */
#include "api.h"

#include "error.h"
#include "metrics.h"
#include "reply.h"
#include "sv_limits.h"

#include <stdio.h>

enum { PING_MS = 1000, METRICS_MS = 5000, METRICS_BYTES = 1 << 20 };

static const char PROMETHEUS[] = "text/plain; version=0.0.4; charset=utf-8";

void api_healthz(edge_call *c)
{
    reply_whole(c, 200, "application/json", sv_cstr("{\"status\":\"ok\"}\n"), NULL);
}

/* ---- readiness ---- */

static const char *state_of(bool ok)
{
    return ok ? "ok" : "missing";
}

static void answer_ready(edge_call *c, bool bus, bool router)
{
    char text[192];
    bool identities = access_ready(c->e->access), ready = bus && identities && router;
    int n = snprintf(
        text, sizeof text,
        "{\"ready\":%s,\"parts\":{\"bus\":\"%s\",\"identities\":\"%s\",\"router\":\"%s\"}}\n",
        ready ? "true" : "false", state_of(bus), state_of(identities), state_of(router));
    reply_whole(c, ready ? 200 : 503, "application/json", (sv_str){text, (uint32_t)n}, NULL);
}

static void on_pong(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    (void)s;
    (void)item;
    (void)err;
    c->stream = NULL;
    answer_ready(c, sv_connected(c->e->p), code == 0);
}

static sv_stream *ask(edge_call *c, const char *target, const sv_events *events, uint32_t ttl_ms,
                      sv_error *err)
{
    static const bus_empty nothing;
    sv_request r = {.target = target,
                    .type = &bus_empty_msg,
                    .body = &nothing,
                    .ttl_ms = ttl_ms,
                    .idempotent = true,
                    .max_reply = METRICS_BYTES,
                    .trace = &c->trace,
                    .ticket = access_ticket(c->e->access, c->who)};
    return sv_open(c->e->p, &r, events, c, err);
}

void api_readyz(edge_call *c)
{
    static const sv_events events = {.done = on_pong};
    sv_error err = {0};
    if (sv_connected(c->e->p)) c->stream = ask(c, "router.ping", &events, PING_MS, &err);
    if (c->stream == NULL) answer_ready(c, sv_connected(c->e->p), false);
}

/* ---- metrics ---- */

static void on_metrics(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    (void)s;
    c->stream = NULL;
    if (code)
        reply_error(c, code, err);
    else
        reply_whole(c, 200, PROMETHEUS, item->attachment, NULL);
}

static bool name_ok(sv_str s)
{
    if (s.n == 0 || s.n > LIMIT_NAME_BYTES || s.p[0] < 'a' || s.p[0] > 'z') return false;
    for (uint32_t i = 0; i < s.n; i++) {
        char b = s.p[i];
        if ((b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-') return false;
    }
    return true;
}

static void own_metrics(edge_call *c)
{
    buf *out = &c->e->text;
    buf_reset(out, out->cap);
    gateway_gauges(c->e);
    int rc = metrics_text(out);
    if (rc)
        reply_error(c, rc, NULL);
    else
        reply_whole(c, 200, PROMETHEUS, buf_str(out), NULL);
}

void api_metrics(edge_call *c)
{
    static const sv_events events = {.done = on_metrics};
    char target[LIMIT_NAME_BYTES + sizeof ".metrics"];
    sv_error err = {0};
    sv_str query = c->x->request->query, service = http_query_get(query, "service");
    if (query.n == 0) {
        own_metrics(c);
        return;
    }
    if (!name_ok(service) || query.n != service.n + strlen("service=")) {
        reply_refuse(c, SV_E_INVALID, "service",
                     "The only parameter is service=NAME, the name of a service on the bus.");
        return;
    }
    if (sv_str_is(service, "edge")) {
        own_metrics(c);
        return;
    }
    snprintf(target, sizeof target, "%.*s.metrics", SV_FMT(service));
    c->stream = ask(c, target, &events, METRICS_MS, &err);
    if (c->stream == NULL) reply_error(c, err.code, &err);
}

/* ---- keys of access tokens ---- */

void api_jwks(edge_call *c)
{
    sv_str keys = revoked_jwks(access_revoked(c->e->access));
    if (keys.n)
        reply_whole(c, 200, "application/jwk-set+json", keys, NULL);
    else
        reply_error(c, SV_E_UNAVAILABLE, NULL);
}

/* ---- front page ---- */

void api_root(edge_call *c)
{
    char text[1024];
    int n =
        snprintf(text, sizeof text,
                 "Samovar %s: a self-hosted AI assistant platform.\n\n"
                 "This address speaks OpenAI's chat completions. Try it:\n\n"
                 "  curl -N %s/v1/chat/completions -H 'content-type: application/json' \\\n"
                 "    -d "
                 "'{\"model\":\"demo\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"hello\"}]}'\n\n"
                 "  %s/account     accounts, keys and organizations\n"
                 "  %s/docs        this API\n"
                 "  %s/v1/models   models\n"
                 "  %s/readyz      readiness\n"
                 "  %s/metrics     Prometheus metrics\n\n"
                 "Who may come in, and how: docs/identity.md.\n",
                 SAMOVAR_VERSION, c->e->url, c->e->url, c->e->url, c->e->url, c->e->url, c->e->url);
    reply_whole(c, 200, "text/plain; charset=utf-8", (sv_str){text, (uint32_t)n}, NULL);
}

void api_unbuilt(edge_call *c)
{
    reply_refuse(c, SV_E_UNIMPLEMENTED, NULL, "%s is not built yet.", c->route->path);
}
