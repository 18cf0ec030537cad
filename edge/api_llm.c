/*  api_llm.c - requests to models, in each of their formats: the client's bytes go to router.complete,
 *  or to cache.complete where the answer may be kept, and what comes back is passed on unchanged.
 *
 *  The status line waits for the first item of the answer, so that an early failure still has a real
 *  status; a failure after it becomes an error event in the client's format, and nothing that looks like
 *  an end follows.
 *
 *  Flow: each item is appended to the connection's output and owed to the router; when the output has
 *  drained below its low mark all that is owed is granted again. So a client that reads slowly holds
 *  back its own stream, and at most one window of it waits here. */
#include "api_llm.h"

#include "api.h"
#include "cache_key.h"
#include "error.h"
#include "log.h"
#include "model_cache.h"
#include "model_request.h"
#include "reply.h"
#include "sv_limits.h"

#include <stdlib.h>

enum { HEARTBEAT_US = 15000000, REPLY_MORE = 65536, MIN_MS = 1000 };

/* ---- the request ---- */

sv_str api_llm_via(const edge_call *c, char text[VIA_BYTES])
{
    bool fits; /* the gateway has refused longer ones */
    sv_str via = gateway_joined(c->x->request, "via", text, VIA_BYTES - PSEUDONYM_BYTES - 8, &fits);
    char *to = text + via.n;
    if (via.n) to = mempcpy(to, ", ", 2);
    to = mempcpy(to, "1.1 ", 4);
    to = mempcpy(to, c->e->who.pseudonym, PSEUDONYM_BYTES);
    return (sv_str){text, (uint32_t)(to - text)};
}

/* The clients that say how long they wait mean a plain answer, or the beginning of a stream, and leave when
 * it does not come: what has begun is not cut off for it. */
static uint32_t ttl_ms(const edge_call *c, bool stream)
{
    uint32_t ms = c->e->request_ms;
    if (stream) return ms;
    uint32_t hint = caller_seconds(http_header_get(c->x->request, "x-stainless-timeout", NULL));
    if (hint > 0 && hint < ms) ms = hint > MIN_MS ? hint : MIN_MS;
    return ms;
}

/* ---- the answer ---- */

static bool type_ok(sv_str type)
{
    for (uint32_t i = 0; i < type.n; i++)
        if (type.p[i] < ' ' || type.p[i] > '~') return false;
    return type.n > 0 && type.n <= LIMIT_CONTENT_TYPE_BYTES;
}

static int read_head(edge_call *c, sv_str body, router_complete_head *head, sv_error *err)
{
    int rc =
        message_decode(&router_complete_head_msg, body, MESSAGE_LENIENT, &c->e->arena, head, err);
    if (rc == 0 &&
        (head->http_status < 200 || head->http_status == 204 || head->http_status == 304))
        rc = SV_E_INVALID;
    if (rc == 0) return 0;
    log_write(LOG_ERROR, "the router's answer is not a completion", LOG_ERR(err));
    *err = (sv_error){0};
    return sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
}

static reply_hints hints_of(const edge_call *c, const router_complete_head *head)
{
    return (reply_hints){.retry_after_ms = (uint32_t)head->retry_after_ms,
                         .no_retry = head->attempts > 1 && head->http_status >= 400,
                         .head = head,
                         .explain = c->explain};
}

static void answer_whole(edge_call *c, const sv_item *item)
{
    router_complete_head head;
    sv_error err = {0};
    char type[LIMIT_CONTENT_TYPE_BYTES + 1] = "application/json";
    int rc = read_head(c, item->body, &head, &err);
    if (rc) {
        reply_error(c, rc, &err);
        return;
    }
    if (type_ok(head.content_type)) {
        memcpy(type, head.content_type.p, head.content_type.n);
        type[head.content_type.n] = 0;
    }
    reply_hints hints = hints_of(c, &head);
    reply_whole(c, (int)head.http_status, type, item->attachment, &hints);
}

static void send_bytes(edge_call *c, sv_str bytes)
{
    if (bytes.n == 0) return;
    http_write(c->x, bytes);
    sse_tail_add(&c->tail_bytes, bytes);
    c->wrote_us = loop_now_us(c->e->l);
}

/* A comment after fifteen silent seconds, so that nobody on the way takes the stream for dead. */
static void on_heartbeat(void *arg)
{
    edge_call *c = arg;
    uint64_t now_us = loop_now_us(c->e->l), due_us = c->wrote_us + HEARTBEAT_US;
    if (now_us >= due_us) {
        if (sse_tail_between(&c->tail_bytes) && http_pending(c->x) == 0)
            http_write(c->x, sv_cstr(": ping\n\n"));
        due_us = now_us + HEARTBEAT_US;
    }
    loop_timer_set(c->e->l, &c->heartbeat, due_us - now_us, on_heartbeat, c);
}

static void grant(edge_call *c)
{
    if (c->stream && c->owed_items) sv_consumed(c->stream, c->owed_items, c->owed_bytes);
    c->owed_items = 0;
    c->owed_bytes = 0;
}

static void on_drained(http_exchange *x)
{
    grant(x->data);
}

static bool start_stream(edge_call *c, const sv_item *item)
{
    router_complete_head head;
    sv_error err = {0};
    int rc = read_head(c, item->body, &head, &err);
    if (rc) {
        reply_error(c, rc, &err);
        return false;
    }
    reply_hints hints = hints_of(c, &head);
    sv_str type = type_ok(head.content_type) ? head.content_type : sv_cstr("text/event-stream");
    gateway_body_done(c);
    c->streaming = true;
    c->x->on_drained = on_drained;
    c->events = http_media_is(type, "text/event-stream");
    c->lines = http_media_is(type, "application/x-ndjson");
    reply_start(c, (int)head.http_status, type, &hints);
    c->wrote_us = loop_now_us(c->e->l);
    if (c->events) loop_timer_set(c->e->l, &c->heartbeat, HEARTBEAT_US, on_heartbeat, c);
    return true;
}

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    edge_call *c = arg;
    (void)s;
    if (c->x->ended)
        return; /* refused already; the stream is cancelled when that answer has left */
    bool first = !c->streaming;
    if (first) {
        bool ok = start_stream(c, item);
        arena_reset(&c->e->arena);
        if (!ok) return;
    }
    c->owed_items++;
    c->owed_bytes += item->body.n + item->attachment.n;
    sv_str bytes = first || item->attachment.n ? item->attachment : item->body;
    send_bytes(c, bytes);
    if (bytes.n == 0 && http_pending(c->x) == 0) grant(c); /* nothing will drain */
}

/* Too late for a status: an error event in the client's format, then the end without its marker. What
 * is no stream of events is cut. */
static void fail_in_stream(edge_call *c, int code, const sv_error *err)
{
    buf *out = &c->e->text;
    log_write(LOG_WARN, "stream failed", LOG_STR("request_id", c->request_id), LOG_ERR(err));
    if (!c->events && !c->lines) {
        http_abort(c->x);
        return;
    }
    buf_reset(out, out->cap);
    if (c->lines) {
        reply_error_body(c, code, err, out);
        buf_putc(out, '\n');
    } else {
        bool own = !c->openai && !c->anthropic && !c->ollama;
        if (!sse_tail_between(&c->tail_bytes)) buf_puts(out, "\n\n");
        if (c->anthropic || c->responses || own) buf_puts(out, "event: error\n");
        buf_puts(out, "data: ");
        if (c->responses || own)
            reply_error_event(c, code, err, out);
        else
            reply_error_body(c, code, err, out);
        buf_puts(out, "\n\n");
    }
    c->x->close = true;
    http_write(c->x, buf_str(out));
    http_end(c->x);
    buf_reset(out, out->cap);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err);

static const sv_events events = {.item = on_item, .done = on_done};

static int open_stream(edge_call *c, sv_request *r, bool stream, sv_error *err)
{
    edge *e = c->e;
    r->ttl_ms = c->ttl_ms;
    r->stream = stream;
    r->max_reply = e->answer_bytes + REPLY_MORE;
    r->trace = &c->trace;
    r->ticket = access_ticket(e->access, c->who);
    r->window_bytes = (uint32_t)e->output_bytes;
    c->stream = sv_open(e->p, r, &events, c, err);
    return c->stream ? 0 : err->code;
}

int api_llm_pass(edge_call *c, sv_request *r, bool stream, sv_error *err)
{
    c->ttl_ms = ttl_ms(c, stream);
    return open_stream(c, r, stream, err);
}

/* ---- without a cache ---- */

/* The request again, for when the cache process is not there. */
struct model_spare {
    buf req, body;
    bool stream;
};

static void spare_free(void *data)
{
    struct model_spare *s = data;
    buf_free(&s->req);
    buf_free(&s->body);
    free(s);
}

static int keep_spare(edge_call *c, const model_request *m)
{
    struct model_spare *s = calloc(1, sizeof *s);
    if (s == NULL) return SV_E_NO_MEMORY;
    s->stream = m->req.stream;
    buf_init(&s->req, LIMIT_PART_BYTES);
    buf_init(&s->body, m->body.n);
    int rc = message_encode(&router_complete_req_msg, &m->req, &s->req);
    if (rc == 0) rc = buf_put(&s->body, m->body.p, m->body.n);
    if (rc) {
        spare_free(s);
        return rc;
    }
    c->spare = s;
    c->data = s;
    c->data_free = spare_free;
    return 0;
}

static void ask_the_router(edge_call *c)
{
    struct model_spare *s = c->spare;
    router_complete_req req;
    sv_error err = {0};
    c->spare = NULL;
    int rc = message_decode(&router_complete_req_msg, buf_str(&s->req), MESSAGE_LENIENT,
                            &c->e->arena, &req, &err);
    if (rc == 0)
        rc = open_stream(c,
                         &(sv_request){.target = "router.complete",
                                       .type = &router_complete_req_msg,
                                       .body = &req,
                                       .attachment = buf_str(&s->body)},
                         s->stream, &err);
    if (rc) reply_error(c, rc, &err);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    (void)s;
    c->stream = NULL;
    loop_timer_stop(c->e->l, &c->heartbeat);
    if (c->x->ended) return;
    if (c->streaming && code)
        fail_in_stream(c, code, err);
    else if (c->streaming)
        http_end(c->x);
    else if (code && c->spare && cache_is_away(code))
        ask_the_router(c);
    else if (code)
        reply_error(c, code, err);
    else
        answer_whole(c, item);
    arena_reset(&c->e->arena);
}

/* Every model that is named must be allowed; what an alias or auto stands for is the router's to see. */
static int check_models(const edge_call *c, const model_request *m, sv_error *err)
{
    bool ok = access_model_ok(c->who, m->req.model);
    for (uint32_t i = 0; ok && i < m->req.models.n; i++)
        ok = access_model_ok(c->who, m->req.models.items[i]);
    return ok ? 0 : sv_fail(err, SV_E_MODEL_NOT_ALLOWED, "model", NULL);
}

static int open_call(edge_call *c, model_request *m, sv_error *err)
{
    edge *e = c->e;
    char via[VIA_BYTES], state[LIMIT_TRACESTATE_BYTES + 2];
    bool fits;
    model_cache kept;
    m->req.via = api_llm_via(c, via);
    if (c->who) m->req.allowed = c->who->models;
    c->explain = m->explain;
    c->ttl_ms = ttl_ms(c, m->req.stream);
    sv_str tracestate = gateway_joined(c->x->request, "tracestate", state, sizeof state, &fits);
    if (!fits || !tracestate_ok(tracestate)) tracestate = (sv_str){NULL, 0};
    sv_request r = {.target = "router.complete",
                    .type = &router_complete_req_msg,
                    .body = &m->req,
                    .attachment = m->body,
                    .tracestate = tracestate};
    if (model_cache_may(m, c->who, e->keep_s, &kept) && keep_spare(c, m) == 0) {
        r.target = "cache.complete";
        r.type = &cache_complete_req_msg;
        r.body = &kept.req;
        r.key = sv_cstr(kept.key);
    }
    int rc = open_stream(c, &r, m->req.stream, err);
    m->req.via = (sv_str){NULL, 0}; /* it was copied; `via` goes */
    return rc;
}

static void ask(edge_call *c, model_endpoint endpoint)
{
    model_request m;
    sv_error err = {0};
    int rc = model_request_read(endpoint, c->x->request, c->x->request->body, &m, &err);
    if (rc) {
        reply_error(c, rc, &err);
        return;
    }
    rc = check_models(c, &m, &err);
    if (rc == 0) rc = open_call(c, &m, &err);
    model_request_free(&m);
    if (rc) reply_error(c, rc, &err);
}

void api_chat(edge_call *c)
{
    ask(c, MODEL_CHAT);
}

void api_completions(edge_call *c)
{
    ask(c, MODEL_COMPLETIONS);
}

void api_responses(edge_call *c)
{
    ask(c, MODEL_RESPONSES);
}

void api_messages(edge_call *c)
{
    ask(c, MODEL_MESSAGES);
}

void api_count_tokens(edge_call *c)
{
    ask(c, MODEL_COUNT_TOKENS);
}

void api_embeddings(edge_call *c)
{
    ask(c, MODEL_EMBEDDINGS);
}

void api_moderations(edge_call *c)
{
    ask(c, MODEL_MODERATIONS);
}

void api_images(edge_call *c)
{
    ask(c, MODEL_IMAGES);
}

void api_transcriptions(edge_call *c)
{
    ask(c, MODEL_TRANSCRIPTIONS);
}

void api_ollama_chat(edge_call *c)
{
    ask(c, MODEL_OLLAMA);
}

void api_ollama_generate(edge_call *c)
{
    ask(c, MODEL_OLLAMA_GENERATE);
}

void api_ollama_embed(edge_call *c)
{
    ask(c, MODEL_OLLAMA_EMBED);
}
