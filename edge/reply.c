/*  reply.c - headers are built on the stack as slices; bodies in the edge's text buffer. */
#include "reply.h"

#include "error.h"
#include "error_types.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_HEADERS = 16 + REPLY_OWN_HEADERS, RETRY_MOST_MS = 60000, RETRY_DEFAULT_MS = 1000 };

typedef struct header_list {
    http_header items[MAX_HEADERS];
    uint32_t n;
    char trace[TRACEPARENT_BYTES + 1];
    char seconds[12], ms[12], age[24], similarity[16], attempts[12], cost[40];
    limits_headers limits;
} header_list;

static void add(header_list *l, const char *name, const char *value)
{
    l->items[l->n++] = (http_header){sv_cstr(name), sv_cstr(value)};
}

/* The page's origin was compared with the list. Without credentials: pages elsewhere send tokens. */
static void add_cors(const edge_call *c, const reply_hints *hints, header_list *l)
{
    static const char exposed[] = "x-request-id, retry-after, retry-after-ms, x-should-retry, "
                                  "x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, "
                                  "ratelimit, ratelimit-policy, age, x-cache, "
                                  "x-cache-similarity, x-samovar-dropped, x-samovar-decision, "
                                  "x-samovar-provider, x-samovar-model, x-samovar-task, "
                                  "x-samovar-why, x-samovar-attempts, x-samovar-cost";
    add(l, "access-control-allow-origin", c->origin);
    if (hints && hints->preflight) {
        add(l, "access-control-allow-methods", hints->allow);
        add(l, "access-control-allow-headers",
            "authorization, content-type, x-api-key, x-request-id, last-event-id, "
            "anthropic-version, anthropic-beta, cache-control, traceparent, tracestate, "
            "x-samovar-task, x-samovar-complexity, x-samovar-budget, x-samovar-session, "
            "x-samovar-continue, x-samovar-explain, x-samovar-semantic");
        add(l, "access-control-max-age", "600");
    } else {
        add(l, "access-control-expose-headers", exposed);
    }
}

/* What every answer has. */
static void fill_base(const edge_call *c, const reply_hints *hints, header_list *l)
{
    l->n = 0;
    trace_format(&c->trace, l->trace);
    add(l, "x-request-id", c->request_id);
    add(l, "request-id", c->request_id);
    add(l, "traceparent", l->trace);
    if (c->secure) add(l, "strict-transport-security", "max-age=31536000");
    limits_headers_fill(&c->verdict, &l->limits);
    for (uint32_t i = 0; i < l->limits.n; i++)
        add(l, l->limits.names[i], l->limits.values[i]);
    if (c->e->origin.n_cors) add(l, "vary", "origin");
    if (c->origin) add_cors(c, hints, l);
}

static void add_str(header_list *l, const char *name, sv_str value)
{
    for (uint32_t i = 0; i < value.n; i++)
        if (value.p[i] < ' ' || value.p[i] > '~') return; /* of a provider: not for a header */
    if (value.n) l->items[l->n++] = (http_header){sv_cstr(name), value};
}

/* How a model's answer was made. */
static void add_model(const router_complete_head *h, bool explain, header_list *l)
{
    add_str(l, "x-samovar-dropped", h->dropped);
    if (h->cache.n) {
        add_str(l, "x-cache", h->cache);
        if (!sv_str_is(h->cache, "miss")) {
            snprintf(l->age, sizeof l->age, "%lld", (long long)h->age_s);
            add(l, "age", l->age);
        }
        if (h->similarity > 0) {
            snprintf(l->similarity, sizeof l->similarity, "%.4f", h->similarity);
            add(l, "x-cache-similarity", l->similarity);
        }
    }
    if (!explain) return;
    add_str(l, "x-samovar-decision", h->decision);
    add_str(l, "x-samovar-provider", h->provider);
    add_str(l, "x-samovar-model", h->model);
    add_str(l, "x-samovar-task", h->task);
    add_str(l, "x-samovar-why", h->why);
    add_str(l, "x-samovar-upstream-id", h->upstream_id);
    snprintf(l->attempts, sizeof l->attempts, "%lld", (long long)h->attempts);
    add(l, "x-samovar-attempts", l->attempts);
    if (!h->priced) return;
    snprintf(l->cost, sizeof l->cost, "%lld.%06lld", (long long)(h->price / 1000000),
             (long long)(h->price % 1000000));
    add(l, "x-samovar-cost", l->cost);
}

/* What answers of the API have besides. */
static void fill(const edge_call *c, const reply_hints *hints, header_list *l)
{
    fill_base(c, hints, l);
    add(l, "cache-control", "no-store");
    add(l, "x-content-type-options", "nosniff");
    add(l, "referrer-policy", "no-referrer");
    add(l, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    if (c->set_cookie.n)
        l->items[l->n++] = (http_header){sv_cstr("set-cookie"), buf_str(&c->set_cookie)};
    if (hints == NULL) return;
    if (hints->head) add_model(hints->head, hints->explain, l);
    if (hints->retry_after_ms) {
        uint32_t most = hints->long_pause ? UINT32_MAX - 999 : RETRY_MOST_MS;
        uint32_t ms = hints->retry_after_ms < most ? hints->retry_after_ms : most;
        snprintf(l->seconds, sizeof l->seconds, "%u", (ms + 999) / 1000);
        snprintf(l->ms, sizeof l->ms, "%u", ms);
        add(l, "retry-after", l->seconds);
        add(l, "retry-after-ms", l->ms);
    }
    if (hints->no_retry) add(l, "x-should-retry", "false");
    if (hints->allow) add(l, "allow", hints->allow);
    if (hints->authenticate) add(l, "www-authenticate", "Bearer");
}

/* In the coding that the client likes best, where that is safe and worth it. */
static sv_str coded(const edge_call *c, const char *content_type, sv_str body, buf *packed,
                    header_list *l)
{
    bool secret = c->route && c->route->flags & ROUTE_SECRET;
    sv_str type = sv_cstr(content_type);
    if (secret || c->set_cookie.n || !compress_may(type, body.n)) return body;
    add(l, "vary", "accept-encoding");
    coding how = compress_choose(c->takes, type, body.n);
    if (how == CODING_IDENTITY || compress_body(how, body, packed)) return body;
    add(l, "content-encoding", coding_names[how]);
    return buf_str(packed);
}

void reply_whole(edge_call *c, int status, const char *content_type, sv_str body,
                 const reply_hints *hints)
{
    header_list l;
    buf packed;
    fill(c, hints, &l);
    buf_init(&packed, COMPRESS_MOST);
    body = coded(c, content_type, body, &packed, &l);
    c->status = status;
    http_respond(c->x, &(http_response){.status = status,
                                        .content_type = sv_cstr(content_type),
                                        .headers = l.items,
                                        .n_headers = l.n,
                                        .body = body});
    buf_free(&packed);
}

void reply_start(edge_call *c, int status, sv_str content_type, const reply_hints *hints)
{
    header_list l;
    fill(c, hints, &l);
    add(&l, "x-accel-buffering", "no");
    c->status = status;
    http_start(c->x, &(http_response){.status = status,
                                      .content_type = content_type,
                                      .headers = l.items,
                                      .n_headers = l.n});
}

void reply_own(edge_call *c, const http_response *r, bool whole)
{
    header_list l;
    http_response all = *r;
    fill_base(c, NULL, &l);
    assert(r->n_headers <= REPLY_OWN_HEADERS);
    for (uint32_t i = 0; i < r->n_headers; i++)
        l.items[l.n++] = r->headers[i];
    all.headers = l.items;
    all.n_headers = l.n;
    c->status = r->status;
    if (whole)
        http_respond(c->x, &all);
    else
        http_start(c->x, &all);
}

static void put_string(buf *out, const char *name, const char *value)
{
    buf_printf(out, "\"%s\":\"", name);
    buf_json_escape(out, sv_cstr(value));
    buf_putc(out, '"');
}

/* What the client is told: a cancelled call whose client is still there was given up by a server.
 */
static const sv_error_info *told(int code)
{
    return sv_error_lookup(code == SV_E_CANCELLED ? SV_E_UNAVAILABLE : code);
}

static const char *words(const sv_error_info *info, int code, const sv_error *err)
{
    return err && err->message[0] && code != SV_E_CANCELLED ? err->message : info->text;
}

static void openai_body(const edge_call *c, int code, const sv_error *err, buf *out)
{
    (void)c;
    const sv_error_info *info = told(code);
    buf_puts(out, "{\"error\":{");
    put_string(out, "message", words(info, code, err));
    buf_putc(out, ',');
    put_string(out, "type", openai_error_type(info->http));
    if (err && err->field[0]) {
        buf_putc(out, ',');
        put_string(out, "param", err->field);
    } else {
        buf_puts(out, ",\"param\":null");
    }
    buf_putc(out, ',');
    put_string(out, "code", info->name);
    buf_puts(out, "}}");
}

static void own_body(const edge_call *c, int code, const sv_error *err, buf *out)
{
    const sv_error_info *info = told(code);
    buf_puts(out, "{\"error\":{");
    put_string(out, "code", info->name);
    buf_putc(out, ',');
    put_string(out, "message", words(info, code, err));
    buf_puts(out, ",\"fields\":[");
    if (err && err->field[0]) {
        buf_putc(out, '{');
        put_string(out, "path", err->field);
        buf_putc(out, ',');
        put_string(out, "code", info->name);
        buf_putc(out, ',');
        put_string(out, "message", words(info, code, err));
        buf_putc(out, '}');
    }
    buf_puts(out, "],");
    put_string(out, "request_id", c->request_id);
    buf_puts(out, ",\"docs\":\"docs/errors.md\"}}\n");
}

/* Where the format has no place for the field, it stands before the words that do not name it. */
static void put_words(buf *out, const char *name, int code, const sv_error *err)
{
    const char *text = words(told(code), code, err);
    bool field = err && err->field[0] && strstr(text, err->field) == NULL;
    buf_printf(out, "\"%s\":\"", name);
    if (field) {
        buf_json_escape(out, sv_cstr(err->field));
        buf_puts(out, ": ");
    }
    buf_json_escape(out, sv_cstr(text));
    buf_putc(out, '"');
}

static void anthropic_body(const edge_call *c, int code, const sv_error *err, buf *out)
{
    const sv_error_info *info = told(code);
    buf_puts(out, "{\"type\":\"error\",\"error\":{");
    put_string(out, "type", anthropic_error_type(info->http));
    buf_putc(out, ',');
    put_words(out, "message", code, err);
    buf_puts(out, "},");
    put_string(out, "request_id", c->request_id);
    buf_putc(out, '}');
}

static void ollama_body(int code, const sv_error *err, buf *out)
{
    buf_putc(out, '{');
    put_words(out, "error", code, err);
    buf_putc(out, '}');
}

void reply_error_event(const edge_call *c, int code, const sv_error *err, buf *out)
{
    const sv_error_info *info = told(code);
    buf_puts(out, c->responses ? "{\"type\":\"error\",\"sequence_number\":0," : "{");
    put_string(out, "code", info->name);
    buf_putc(out, ',');
    put_string(out, "message", words(info, code, err));
    if (c->responses) {
        buf_puts(out, ",\"param\":null}");
        return;
    }
    buf_putc(out, ',');
    put_string(out, "request_id", c->request_id);
    buf_putc(out, '}');
}

void reply_error_body(const edge_call *c, int code, const sv_error *err, buf *out)
{
    if (c->anthropic)
        anthropic_body(c, code, err, out);
    else if (c->openai)
        openai_body(c, code, err, out);
    else if (c->ollama)
        ollama_body(code, err, out);
    else
        own_body(c, code, err, out);
}

static uint32_t pause_ms(const sv_error_info *info, const sv_error *err)
{
    if (err && err->retry_after_ms) return err->retry_after_ms;
    /* When it may go again; whether the request may be repeated is for the client to know. */
    bool busy = info->status == SV_STATUS_RESOURCE_EXHAUSTED ||
                info->status == SV_STATUS_UNAVAILABLE || info->http == 504;
    return busy && info->retry != SV_RETRY_NO ? RETRY_DEFAULT_MS : 0;
}

void reply_error(edge_call *c, int code, const sv_error *err)
{
    const sv_error_info *info = told(code);
    char allow[ALLOW_BYTES];
    reply_hints hints = {.retry_after_ms = pause_ms(info, err),
                         .no_retry = (c->openai || c->anthropic || c->ollama) &&
                                     (info->retry == SV_RETRY_NO || (err && err->final)),
                         .long_pause = code == SV_E_RATE || code == SV_E_LOCKED_OUT ||
                                       code == SV_E_PROVIDER_LIMIT,
                         .authenticate = info->http == 401};
    if (code == SV_E_HTTP_METHOD) {
        const http_request *r = c->x->request;
        route_allow(r && r->path.n ? r->path : sv_cstr("*"), allow);
        if (allow[0] == 0) route_allow(sv_cstr("*"), allow);
        hints.allow = allow;
    }
    buf *out = &c->e->text;
    buf_reset(out, out->cap);
    reply_error_body(c, code, err, out);
    reply_whole(c, info->http, "application/json", buf_str(out), &hints);
}

void reply_refuse(edge_call *c, int code, const char *field, const char *fmt, ...)
{
    sv_error err = {0};
    char text[sizeof err.message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sv_fail(&err, code, field, "%s", text);
    reply_error(c, code, &err);
}
