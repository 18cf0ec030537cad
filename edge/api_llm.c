/*  api_chat.c - POST /v1/chat/completions: the client's bytes go to router.complete unchanged,
 *  and what the router sends comes back unchanged.
 *
 *  The body is validated once; of its fields only model, messages, stream and stream_options are
 *  looked at. The status line waits for the first item of the answer, so that an early failure
 *  still has a real status; a failure after it becomes an error event in the stream, which then
 *  ends without [DONE].
 *
 *  Flow: each item is appended to the connection's output and owed to the router; when the
 *  output has drained below its low mark all that is owed is granted again. So a client that
 *  reads slowly holds back its own stream, and at most one window of it waits here. */
#include "api.h"

#include "error.h"
#include "json_scan.h"
#include "log.h"
#include "reply.h"
#include "sv_limits.h"

enum { HEARTBEAT_US = 15000000, REPLY_MORE = 65536, MODEL_BYTES = 256, MIN_MS = 1000 };

typedef struct chat_fields {
    json_value model, messages, stream, options;
} chat_fields;

/* ---- the request ---- */

static json_value *field_slot(chat_fields *f, sv_str key)
{
    switch (key.n) {
    case 5: return sv_str_is(key, "model") ? &f->model : NULL;
    case 6: return sv_str_is(key, "stream") ? &f->stream : NULL;
    case 8: return sv_str_is(key, "messages") ? &f->messages : NULL;
    case 14: return sv_str_is(key, "stream_options") ? &f->options : NULL;
    default: return NULL;
    }
}

/* One walk; keys spelled with escapes are rare and cost a walk each. */
static void find_fields(json_value root, chat_fields *f)
{
    size_t at = 0;
    sv_str key;
    json_value value;
    bool escapes = false;
    *f = (chat_fields){0};
    while (json_next_member(root, &at, &key, &value)) {
        json_value *slot = field_slot(f, key);
        if (slot) *slot = value;
        escapes = escapes || (key.n && memchr(key.p, '\\', key.n));
    }
    if (!escapes) return;
    f->model = json_get(root, "model");
    f->messages = json_get(root, "messages");
    f->stream = json_get(root, "stream");
    f->options = json_get(root, "stream_options");
}

static int read_flag(json_value v, const char *name, bool *ret, sv_error *err)
{
    if (v.type != JSON_NONE && v.type != JSON_NULL && v.type != JSON_TRUE && v.type != JSON_FALSE)
        return sv_fail(err, SV_E_WRONG_TYPE, name, "\"%s\" must be true or false.", name);
    *ret = v.type == JSON_TRUE;
    return 0;
}

static int read_model(const chat_fields *f, sv_str body, buf *name, router_complete_req *req,
                      sv_error *err)
{
    if (f->model.type == JSON_NONE)
        return sv_fail(err, SV_E_MISSING_FIELD, "model",
                       "\"model\" is missing; GET /v1/models lists what there is.");
    if (f->model.type != JSON_STRING)
        return sv_fail(err, SV_E_WRONG_TYPE, "model", "\"model\" must be a string.");
    if (json_text(f->model, name) || name->n == 0 || name->n > MODEL_BYTES)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "model", "\"model\" must be 1 to %d bytes long.",
                       MODEL_BYTES);
    req->model = buf_str(name);
    req->model_at = f->model.raw.p - body.p;
    req->model_n = f->model.raw.n;
    return 0;
}

static int read_fields(sv_str body, buf *model, router_complete_req *req, sv_error *err)
{
    chat_fields f;
    int rc = json_skim(body, LIMIT_JSON_DEPTH, err);
    if (rc) return rc;
    json_value root = json_root(body);
    if (root.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    find_fields(root, &f);
    if ((rc = read_model(&f, body, model, req, err))) return rc;
    if (f.messages.type == JSON_NONE)
        return sv_fail(err, SV_E_MISSING_FIELD, "messages", "\"messages\" is missing.");
    if (f.messages.type != JSON_ARRAY)
        return sv_fail(err, SV_E_WRONG_TYPE, "messages", "\"messages\" must be an array.");
    if ((rc = read_flag(f.stream, "stream", &req->stream, err))) return rc;
    if (f.options.type == JSON_NONE || f.options.type == JSON_NULL) return 0;
    if (f.options.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, "stream_options",
                       "\"stream_options\" must be an object.");
    return read_flag(json_get(f.options, "include_usage"), "stream_options.include_usage",
                     &req->include_usage, err);
}

/* The client's Via with this server behind it. */
static sv_str via_text(const edge_call *c, char text[VIA_BYTES])
{
    bool fits; /* the gateway has refused longer ones */
    sv_str via = gateway_joined(c->x->request, "via", text, VIA_BYTES - PSEUDONYM_BYTES - 8, &fits);
    char *to = text + via.n;
    if (via.n) to = mempcpy(to, ", ", 2);
    to = mempcpy(to, "1.1 ", 4);
    to = mempcpy(to, c->e->who.pseudonym, PSEUDONYM_BYTES);
    return (sv_str){text, (uint32_t)(to - text)};
}

static uint32_t ttl_ms(const edge_call *c)
{
    uint32_t ms = c->e->request_ms;
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

static reply_hints hints_of(const router_complete_head *head)
{
    return (reply_hints){.retry_after_ms = (uint32_t)head->retry_after_ms,
                         .no_retry = head->attempts > 1 && head->http_status >= 400};
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
    reply_hints hints = hints_of(&head);
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
    reply_hints hints = hints_of(&head);
    sv_str type = type_ok(head.content_type) ? head.content_type : sv_cstr("text/event-stream");
    c->streaming = true;
    c->x->on_drained = on_drained;
    c->events = http_media_is(type, "text/event-stream");
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

/* Too late for a status: an error event of OpenAI's shape, then the end without [DONE]. What is no
 * stream of events is cut. */
static void fail_in_stream(edge_call *c, int code, const sv_error *err)
{
    buf *out = &c->e->text;
    log_write(LOG_WARN, "stream failed", LOG_STR("request_id", c->request_id), LOG_ERR(err));
    if (!c->events) {
        http_abort(c->x);
        return;
    }
    buf_reset(out, out->cap);
    if (!sse_tail_between(&c->tail_bytes)) buf_puts(out, "\n\n");
    buf_puts(out, "data: ");
    reply_error_body(c, code, err, out);
    buf_puts(out, "\n\n");
    c->x->close = true;
    http_write(c->x, buf_str(out));
    http_end(c->x);
    buf_reset(out, out->cap);
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
    else if (code)
        reply_error(c, code, err);
    else
        answer_whole(c, item);
    arena_reset(&c->e->arena);
}

void api_chat(edge_call *c)
{
    static const sv_events events = {.item = on_item, .done = on_done};
    edge *e = c->e;
    char via[VIA_BYTES], state[LIMIT_TRACESTATE_BYTES + 2];
    bool fits;
    sv_error err = {0};
    router_complete_req req = {0};
    sv_str body = c->x->request->body;
    buf_reset(&e->text, e->text.cap); /* holds the model's name until sv_open has copied it */
    int rc = read_fields(body, &e->text, &req, &err);
    if (rc == 0 && !access_model_ok(c->who, req.model))
        rc = sv_fail(&err, SV_E_MODEL_NOT_ALLOWED, "model", NULL);
    if (rc == 0) {
        req.via = via_text(c, via);
        sv_str tracestate = gateway_joined(c->x->request, "tracestate", state, sizeof state, &fits);
        if (!fits || !tracestate_ok(tracestate)) tracestate = (sv_str){NULL, 0};
        sv_request r = {.target = "router.complete",
                        .type = &router_complete_req_msg,
                        .body = &req,
                        .attachment = body,
                        .ttl_ms = ttl_ms(c),
                        .stream = req.stream,
                        .max_reply = e->answer_bytes + REPLY_MORE,
                        .trace = &c->trace,
                        .tracestate = tracestate,
                        .ticket = access_ticket(e->access, c->who),
                        .window_bytes = (uint32_t)e->output_bytes};
        c->stream = sv_open(e->p, &r, &events, c, &err);
        rc = c->stream ? 0 : err.code;
    }
    if (rc) reply_error(c, rc, &err);
}
