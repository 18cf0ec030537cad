/*  complete.c - router.complete: one client request becomes one provider request.
 *
 *  A relay lives from the call's arrival to its answer. Its transfer either is collected whole
 *  (plain answers, errors) or goes through the event scanner (streams). Nothing is sent to the
 *  client before the first event has proved that the answer is one: until then every failure is a
 *  status. After that a failure is an error event in the stream, and no [DONE] follows it.
 *
 *  Every path goes through settle, once, which counts the attempt and hands it to the ledger, and
 *  through conclude, once, which ends the call: at once, or, where the ledger is strict, when the
 *  attempt is on disk. Until then the last frame is held back: the whole answer, or [DONE] and the
 *  REPLY; everything before it flows. When the attempt cannot be kept, the answer is an error.
 *
 *  At the end the transfer is gone or cancelled, the call answered, the relay freed. Bytes of the
 *  client's request stay where the call keeps them; the transfer never outlives the call. */
#include "answer.h"
#include "attempt.h"
#include "request.h"
#include "router.h"
#include "sse_scan.h"

#include "json_scan.h"
#include "log.h"
#include "sv_limits.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PENDING_MAX = 64 << 10,  /* bytes waiting for the client before its provider is held back */
    FIRST_BYTES = 48 << 10,  /* that still travel with the head */
    PRELUDE_BYTES = 4 << 10, /* comments kept back before the first event with data */
    AFTER_DONE_US = 1000000, /* a provider that keeps its connection open behind [DONE] */
    TTL_MARGIN_MS = 50       /* to say so before the bus does */
};

static const char event_stream[] = "text/event-stream";
static const char json_type_name[] = "application/json";
static const char done_event[] = "data: [DONE]\n\n";

/* How the call is answered. */
typedef enum ending {
    END_OPEN,
    END_WHOLE,  /* with `collected` and end_status */
    END_REFUSE, /* with end_code and words */
    END_STREAM  /* with the REPLY, after an error event or [DONE] where they belong */
} ending;

typedef struct relay {
    router *router;
    sv_call *call;
    provider *provider;
    http_transfer *transfer; /* NULL once it is done */
    uint32_t upstream;       /* slot, while `counted` */
    bool counted;
    char model[MODEL_NAME + 1];
    bool stream, strip_usage;
    buf edited; /* the request's body when it had to change */
    /* the answer's head */
    int status;
    char content_type[LIMIT_CONTENT_TYPE_BYTES + 1];
    uint32_t retry_after_ms;
    bool events; /* goes through the scanner */
    buf collected;
    /* the stream */
    sse_scan sse;
    buf prelude;
    bool head_sent, saw_data, finish_seen, done_seen, error_seen, early_error, client_gone;
    int stop_code;
    loop_timer after_done;
    tokens tokens;
    uint64_t started_us, first_byte_us;
    /* the end */
    sv_id attempt;
    sv_str asked; /* the model the client named */
    bool settled, done_held;
    ledger_item *wait; /* the ledger will call on_kept */
    ending ending;
    int end_status, end_code;
    bool say_error;        /* an error event is due */
    const sv_error *words; /* in the call's arena; NULL: the table's text */
    int lost;              /* the attempt could not be kept, with these words: */
    const sv_error *lost_words;
} relay;

/* ---- the end ---- */

static void relay_free(relay *r)
{
    loop_timer_stop(r->router->loop, &r->after_done);
    if (r->transfer) http_cancel(r->transfer);
    if (r->counted) upstreams_give(&r->router->upstreams, r->upstream);
    if (r->wait) ledger_forget(r->wait);
    sv_on_cancel(r->call, NULL);
    sv_on_drained(r->call, NULL);
    buf_free(&r->edited);
    buf_free(&r->collected);
    buf_free(&r->prelude);
    sse_free(&r->sse);
    free(r);
}

static void count(relay *r, int code)
{
    if (code == 0)
        metric_add(r->provider->ok, 1);
    else
        metric_add(metric_get(M_PROVIDER_REQUESTS,
                              (const char *const[]){r->provider->name, attempt_outcome(code)}),
                   1);
    if (r->first_byte_us) metric_observe_us(r->provider->first_byte, r->first_byte_us);
    if (!r->tokens.known) return;
    metric_add(r->provider->prompt, (uint64_t)r->tokens.prompt);
    metric_add(r->provider->completion, (uint64_t)r->tokens.completion);
    metric_add(r->provider->cached, (uint64_t)r->tokens.cached);
    metric_add(r->provider->reasoning, (uint64_t)r->tokens.reasoning);
}

/* Words that live as long as the call. */
static const sv_error *keep_words(relay *r, const sv_error *e)
{
    sv_error *kept = e ? arena_alloc(sv_call_arena(r->call), sizeof *kept) : NULL;
    if (kept) *kept = *e;
    return kept;
}

static void on_kept(void *arg, int code, const sv_error *err);

/* The attempt is over, with outcome `code`. Nobody waits for one that the client has left. */
static void settle(relay *r, int code)
{
    sv_error why = {0};
    if (r->settled) return;
    r->settled = true;
    count(r, code);
    attempt a = {.id = r->attempt,
                 .call = r->call,
                 .asked = r->asked,
                 .provider = r->provider->name,
                 .model = r->model,
                 .listed = provider_lists(r->provider, sv_cstr(r->model)),
                 .streamed = r->stream,
                 .outcome = attempt_outcome(code),
                 .tokens = &r->tokens,
                 .latency_us = loop_now_us(r->router->loop) - r->started_us,
                 .first_byte_us = r->first_byte_us};
    r->lost =
        attempt_note(r->router, &a, code == SV_E_CANCELLED ? NULL : on_kept, r, &r->wait, &why);
    if (r->lost) r->lost_words = keep_words(r, &why);
}

static router_complete_head head_of(const relay *r, int status, const char *content_type)
{
    return (router_complete_head){.http_status = status,
                                  .content_type = sv_cstr(content_type),
                                  .provider = sv_cstr(r->provider->name),
                                  .model = sv_cstr(r->model),
                                  .retry_after_ms = r->retry_after_ms,
                                  .attempts = 1};
}

/* The REPLY behind a stream. `error` is a stable code or NULL. */
static void reply_end(relay *r, const char *error)
{
    router_complete_end end = {.provider = sv_cstr(r->provider->name),
                               .model = sv_cstr(r->model),
                               .prompt_tokens = r->tokens.prompt,
                               .completion_tokens = r->tokens.completion,
                               .cached_tokens = r->tokens.cached,
                               .reasoning_tokens = r->tokens.reasoning,
                               .usage_known = r->tokens.known,
                               .first_byte_us = (int64_t)r->first_byte_us,
                               .total_us = (int64_t)(loop_now_us(r->router->loop) - r->started_us),
                               .error = sv_cstr(error)};
    buf body;
    buf_init(&body, LIMIT_PART_BYTES);
    int rc = message_encode(&router_complete_end_msg, &end, &body);
    sv_call *call = r->call;
    relay_free(r);
    if (rc)
        sv_refuse(call, rc, NULL);
    else
        sv_reply_raw(call, NULL, buf_str(&body));
    buf_free(&body);
}

static void log_failure(const relay *r, int code, const sv_error *why)
{
    log_write(LOG_WARN, "a provider failed", LOG_STR("provider", r->provider->name),
              LOG_STR("model", r->model), LOG_STR("code", sv_error_lookup(code)->name),
              LOG_INT("status", r->status),
              LOG_STR("detail", why && why->detail[0] ? why->detail : ""),
              LOG_ID("request_id", sv_call_id(r->call)));
}

/* "The provider could not be reached." with the provider's name and what more is known. */
static void word_failure(const relay *r, int code, const char *more, sv_error *ret)
{
    const char *text = sv_error_lookup(code)->text;
    static const char the_provider[] = "The provider";
    size_t skip =
        strncmp(text, the_provider, sizeof the_provider - 1) == 0 ? sizeof the_provider - 1 : 0;
    *ret = (sv_error){0};
    if (skip)
        sv_fail(ret, code, NULL, "The provider %s%s%s%s", r->provider->name, text + skip,
                *more ? " " : "", more);
    else
        sv_fail(ret, code, NULL, "%s%s%s", text, *more ? " " : "", more);
    ret->retry_after_ms = r->retry_after_ms;
}

static void write_error_event(relay *r, const char *message, const char *code)
{
    buf event;
    buf_init(&event, 4096);
    buf_puts(&event, "data: ");
    answer_put_error(&event, message, "server_error", code);
    buf_puts(&event, "\n\n");
    sv_write(r->call, event_stream, buf_str(&event));
    buf_free(&event);
}

static void on_cancel(sv_call *call)
{
    relay *r = sv_call_data(call);
    settle(r, SV_E_CANCELLED);
    relay_free(r);
    sv_refuse(call, SV_E_CANCELLED, NULL);
}

/* ---- the last frame ---- */

static void refuse(relay *r, int code, const sv_error *words)
{
    sv_call *call = r->call;
    relay_free(r);
    sv_refuse(call, code, words);
}

/* A status with a JSON body, to a plain or a streaming caller. */
static void deliver_whole(relay *r)
{
    char model_id[sizeof r->model];
    sv_call *call = r->call;
    buf body = r->collected; /* outlives the relay */
    sv_str json = buf_str(&body);
    memcpy(model_id, r->model, sizeof model_id);
    router_complete_head head = head_of(r, r->end_status, json_type_name);
    head.model = sv_cstr(model_id);
    r->collected = (buf){0};
    int rc;
    if (!r->stream) {
        relay_free(r);
        rc = sv_reply_with(call, &head, json);
    } else {
        bool fits = json.n <= FIRST_BYTES;
        rc = sv_partial(call, &router_complete_head_msg, &head, fits ? json : (sv_str){NULL, 0});
        if (rc == 0 && !fits) rc = sv_write(call, json_type_name, json);
        if (rc == 0)
            reply_end(r, r->end_code ? sv_error_lookup(r->end_code)->name : NULL);
        else
            relay_free(r);
    }
    if (rc) sv_refuse(call, rc, NULL);
    buf_free(&body);
}

static bool on_pass(void *arg, sv_str bytes);
static void stop_events(relay *r, int rc);

/* False: that was the relay's end. */
static bool send_done(relay *r)
{
    r->done_held = false;
    if (on_pass(r, (sv_str){done_event, sizeof done_event - 1})) return true;
    stop_events(r, 1);
    return false;
}

/* Of one whose end was seen. */
static int outcome_of_stream(const relay *r)
{
    return r->error_seen ? SV_E_PROVIDER_REFUSED : 0;
}

static void deliver_stream(relay *r)
{
    if (r->end_code == 0 && r->lost) {
        r->end_code = r->lost;
        r->words = r->lost_words;
        r->say_error = true;
    }
    const sv_error_info *info = sv_error_lookup(r->end_code);
    if (r->say_error)
        write_error_event(r, r->words ? r->words->message : info->text, info->name);
    else if (r->done_held && !send_done(r))
        return;
    reply_end(r, r->end_code ? info->name : NULL);
}

static void deliver(relay *r)
{
    switch (r->ending) {
    case END_OPEN: break;
    case END_WHOLE:
        if (r->lost && r->end_code == 0)
            refuse(r, r->lost, r->lost_words);
        else
            deliver_whole(r);
        break;
    case END_REFUSE: refuse(r, r->end_code, r->words); break;
    case END_STREAM: deliver_stream(r); break;
    }
}

static void conclude(relay *r, ending how, int code)
{
    r->ending = how;
    r->end_code = code;
    if (r->wait == NULL) {
        deliver(r);
        return;
    }
    loop_timer_stop(r->router->loop, &r->after_done);
    if (r->transfer) http_cancel(r->transfer);
    r->transfer = NULL;
}

/* The attempt is on disk, or will not be for now: then it stays in the ledger's queue. */
static void on_kept(void *arg, int code, const sv_error *err)
{
    relay *r = arg;
    r->wait = NULL;
    r->lost = code;
    if (code) r->lost_words = keep_words(r, err);
    if (r->ending != END_OPEN)
        deliver(r);
    else if (code)
        conclude(r, END_STREAM, outcome_of_stream(r));
    else if (r->done_held)
        send_done(r);
}

/* Ends the call with a failure, in the only form that is still possible. */
static void fail(relay *r, int code, const char *more, const sv_error *why)
{
    sv_error words;
    word_failure(r, code, more, &words);
    settle(r, code);
    log_failure(r, code, why);
    r->words = keep_words(r, &words);
    r->say_error = r->head_sent;
    conclude(r, r->head_sent ? END_STREAM : END_REFUSE, code);
}

/* ---- answers that are sent whole ---- */

/* `code` is the outcome to count. */
static void send_whole(relay *r, int status, int code)
{
    r->end_status = status;
    settle(r, code);
    if (code) log_failure(r, code, NULL);
    conclude(r, END_WHOLE, code);
}

/* A provider's refusal goes to the client as it is, unless it is no JSON: then its status is kept
 * and the words are ours; a page of HTML says that something else than the provider answered. */
static void pass_refusal(relay *r)
{
    char words[64];
    snprintf(words, sizeof words, "Its status was %d.", r->status);
    sv_str type = sv_cstr(r->content_type);
    if (answer_type_is(type, "text/html") || r->status < 400) {
        fail(r, SV_E_PROVIDER_GARBAGE, words, NULL);
        return;
    }
    if (r->collected.n == 0 || json_skim(buf_str(&r->collected), LIMIT_JSON_DEPTH, NULL) ||
        json_root(buf_str(&r->collected)).type != JSON_OBJECT) {
        sv_error e;
        word_failure(r, SV_E_PROVIDER_REFUSED, words, &e);
        buf_reset(&r->collected, 0);
        answer_put_error(&r->collected, e.message,
                         r->status < 500 ? "invalid_request_error" : "server_error",
                         sv_error_lookup(SV_E_PROVIDER_REFUSED)->name);
    }
    secret_blot(r->provider->key, &r->collected);
    send_whole(r, r->status, SV_E_PROVIDER_REFUSED);
}

static void pass_plain(relay *r)
{
    sv_error why = {0};
    sv_str json = buf_str(&r->collected);
    if (json_skim(json, LIMIT_JSON_DEPTH, &why) || json_root(json).type != JSON_OBJECT) {
        sv_error_detail(&why, "%s", why.message);
        fail(r, SV_E_PROVIDER_GARBAGE, "It was no JSON object.", &why);
        return;
    }
    answer_plain_tokens(json, &r->tokens);
    send_whole(r, r->status, 0);
}

/* ---- events ---- */

static sse_verdict on_event(void *arg, sv_str data)
{
    relay *r = arg;
    if (data.p == NULL) return SSE_PASS;
    if (r->done_seen) return SSE_DROP; /* nothing belongs behind the end */
    if (sv_str_is(data, "[DONE]")) {
        r->done_seen = r->saw_data = true;
        r->done_held = r->router->ledger.strict;
        return r->done_held ? SSE_DROP : SSE_PASS;
    }
    chunk c = answer_chunk(data);
    if (!c.object) {
        r->stop_code = SV_E_PROVIDER_GARBAGE;
        return SSE_STOP;
    }
    if (c.error.type != JSON_NONE && !r->saw_data) {
        buf_reset(&r->collected, SIZE_MAX);
        buf_put(&r->collected, data.p, data.n);
        r->status = answer_error_status(c.error) ? answer_error_status(c.error) : 502;
        r->early_error = true;
        return SSE_STOP;
    }
    r->saw_data = true;
    r->error_seen = r->error_seen || c.error.type != JSON_NONE;
    r->finish_seen = r->finish_seen || c.finished;
    answer_tokens(c.usage, &r->tokens);
    return r->strip_usage && c.no_choices && c.usage.type != JSON_NONE ? SSE_DROP : SSE_PASS;
}

static bool sent(relay *r, int rc)
{
    if (rc == 0) return true;
    r->client_gone = rc == SV_E_CANCELLED;
    r->stop_code = rc;
    return false;
}

static bool send_head(relay *r, sv_str bytes)
{
    router_complete_head head = head_of(r, r->status, event_stream);
    if (r->prelude.n > 0) {
        buf_put(&r->prelude, bytes.p, bytes.n);
        if (r->prelude.failed) return sent(r, SV_E_NO_MEMORY);
        bytes = buf_str(&r->prelude);
    }
    bool fits = bytes.n <= FIRST_BYTES;
    int rc =
        sv_partial(r->call, &router_complete_head_msg, &head, fits ? bytes : (sv_str){NULL, 0});
    r->head_sent = rc == 0;
    if (rc == 0 && !fits) rc = sv_write(r->call, event_stream, bytes);
    buf_free(&r->prelude);
    return sent(r, rc);
}

/* A first comment alone is kept back: what follows may still be an error with a status of its own.
 */
static bool on_pass(void *arg, sv_str bytes)
{
    relay *r = arg;
    if (r->head_sent) return sent(r, sv_write(r->call, event_stream, bytes));
    if (r->early_error)
        return true; /* the answer is a status now; comments before it are dropped */
    if (!r->saw_data && r->prelude.n == 0 && bytes.n <= PRELUDE_BYTES) {
        buf_init(&r->prelude, PRELUDE_BYTES + SSE_EVENT_BYTES + FIRST_BYTES);
        return sent(r, buf_put(&r->prelude, bytes.p, bytes.n));
    }
    return send_head(r, bytes);
}

static const sse_sink sink = {on_event, on_pass};

static void pass_early_error(relay *r)
{
    buf event;
    secret_blot(r->provider->key, &r->collected);
    if (!r->head_sent) {
        send_whole(r, r->status, SV_E_PROVIDER_REFUSED);
        return;
    }
    buf_init(&event, SSE_EVENT_BYTES + 64);
    buf_puts(&event, "data: ");
    buf_put(&event, r->collected.p, r->collected.n);
    buf_puts(&event, "\n\n");
    sv_write(r->call, event_stream, buf_str(&event));
    buf_free(&event);
    settle(r, SV_E_PROVIDER_REFUSED);
    log_failure(r, SV_E_PROVIDER_REFUSED, NULL);
    conclude(r, END_STREAM, SV_E_PROVIDER_REFUSED);
}

/* After the scanner stopped or failed. */
static void stop_events(relay *r, int rc)
{
    sv_error why = {0};
    if (r->early_error) {
        pass_early_error(r);
    } else if (r->client_gone) {
        on_cancel(r->call);
    } else if (rc == SV_E_BAD_UTF8) {
        fail(r, SV_E_PROVIDER_GARBAGE, "It was not valid UTF-8.", NULL);
    } else {
        int code = rc == 1 ? r->stop_code : rc;
        sv_fail(&why, code, NULL, NULL);
        fail(r, code, code == SV_E_PROVIDER_GARBAGE ? "An event was no JSON object." : "", &why);
    }
}

static void finish_stream(relay *r)
{
    settle(r, outcome_of_stream(r));
    conclude(r, END_STREAM, outcome_of_stream(r));
}

static void on_after_done(void *arg)
{
    finish_stream(arg);
}

static void end_events(relay *r, int code, const sv_error *why)
{
    int rc = 0;
    if (code == 0 && !r->done_seen) rc = sse_end(&r->sse, &sink, r);
    /* What the end cut off is no event. */
    if (rc == SV_E_BAD_UTF8 || (rc == 1 && r->stop_code == SV_E_PROVIDER_GARBAGE)) rc = 0;
    if (rc) {
        stop_events(r, rc);
    } else if (r->done_seen || (r->error_seen && code == 0)) {
        finish_stream(r);
    } else if (code) {
        fail(r, code, "", why);
    } else if (!r->saw_data) {
        fail(r, SV_E_PROVIDER_GARBAGE, "It was an empty stream.", NULL);
    } else if (!r->finish_seen) {
        fail(r, SV_E_PROVIDER_CUT, "", NULL);
    } else if ((r->done_held = r->router->ledger.strict) || send_done(r)) {
        finish_stream(r);
    }
}

/* ---- the transfer ---- */

static void on_head(void *arg, const http_head *head)
{
    relay *r = arg;
    r->status = head->status;
    r->first_byte_us = http_first_byte_us(r->transfer);
    r->retry_after_ms = answer_retry_after_ms(head->retry_after, loop_unix_us(r->router->loop));
    if (head->content_type.n < sizeof r->content_type)
        snprintf(r->content_type, sizeof r->content_type, "%.*s", SV_FMT(head->content_type));
    bool good = head->status == 200;
    r->events = r->stream && good && answer_type_is(head->content_type, event_stream);
    if (r->stream && good && !r->events)
        fail(r, SV_E_PROVIDER_GARBAGE, "A stream was asked for and something else came.", NULL);
}

static void on_drained(sv_call *call)
{
    relay *r = sv_call_data(call);
    if (r->transfer) http_resume(r->transfer);
}

/* The provider has said [DONE]: the answer is complete, whatever its connection does now. */
static void answered(relay *r)
{
    loop_timer_set(r->router->loop, &r->after_done, AFTER_DONE_US, on_after_done, r);
    settle(r, outcome_of_stream(r));
    if (r->lost) conclude(r, END_STREAM, outcome_of_stream(r));
}

static bool on_data(void *arg, sv_str bytes)
{
    relay *r = arg;
    if (!r->events) {
        buf_put(&r->collected, bytes.p, bytes.n); /* a failure shows at the end */
        return true;
    }
    if (sv_write_pending(r->call) > PENDING_MAX) return false;
    bool done = r->done_seen;
    int rc = sse_feed(&r->sse, bytes, &sink, r);
    if (rc)
        stop_events(r, rc);
    else if (r->done_seen && !done)
        answered(r);
    return true;
}

static void on_done(void *arg, int code, const sv_error *why)
{
    relay *r = arg;
    r->transfer = NULL;
    if (r->events)
        end_events(r, code, why);
    else if (code)
        fail(r, code, "", why);
    else if (r->collected.failed)
        fail(r, r->collected.n ? SV_E_PROVIDER_TOO_LARGE : SV_E_NO_MEMORY, "", NULL);
    else if (r->status == 200)
        pass_plain(r);
    else
        pass_refusal(r);
}

/* ---- the start ---- */

static int check(router *r, sv_call *call, const router_complete_req *q, sv_str body)
{
    sv_error *err = sv_call_error(call);
    (void)r;
    if (body.p == NULL)
        return sv_fail(err, SV_E_INVALID, "attachment",
                       "The client's JSON body must be the attachment.");
    if (q->stream && !sv_call_streaming(call))
        return sv_fail(err, SV_E_INVALID, "stream", "A stream needs a call that takes its parts.");
    /* The edge has validated it. */
    if (strcmp(sv_call_caller(call), "edge") != 0) {
        int rc = json_skim(body, LIMIT_JSON_DEPTH, err);
        if (rc) return rc;
    }
    if (json_root(body).type != JSON_OBJECT)
        return sv_fail(err, SV_E_INVALID, "attachment", "The body must be a JSON object.");
    return 0;
}

static int edit_body(relay *r, const router_complete_req *q, sv_str body, uint32_t skip,
                     sv_str *ret)
{
    bool trusted = strcmp(sv_call_caller(r->call), "edge") == 0;
    request_edits e = {.include_usage = r->strip_usage};
    if (skip) {
        e.model = sv_cstr(r->model);
        e.model_at = trusted ? (size_t)q->model_at : 0;
        e.model_n = trusted ? (size_t)q->model_n : 0;
    }
    buf_init(&r->edited, (size_t)body.n + 32768);
    return request_edit(body, &e, &r->edited, ret, sv_call_error(r->call));
}

static int start(relay *r, const router_complete_req *q, sv_str body)
{
    static const http_events events = {on_head, on_data, on_done};
    router *o = r->router;
    char via[1100];
    const char *headers[5] = {"Content-Type: application/json", NULL, via, NULL, NULL};
    sv_error *err = sv_call_error(r->call);
    snprintf(via, sizeof via, "Via: %.*s", q->via.n ? (int)q->via.n : 11,
             q->via.n ? q->via.p : "1.1 samovar");
    if (q->via.n && memchr(q->via.p, 0, q->via.n))
        return sv_fail(err, SV_E_INVALID, "via", "The Via header must not contain NUL.");
    headers[1] = r->stream ? "Accept: text/event-stream" : "Accept: application/json";
    headers[3] = secret_header(r->provider->key);
    uint32_t ttl_ms = sv_call_ttl_ms(r->call);
    http_spec spec = {.method = "POST",
                      .url = r->provider->chat_url,
                      .trust = HTTP_TRUST_OPERATOR,
                      .headers = headers,
                      .body = body,
                      .connect_ms = o->connect_ms,
                      .first_byte_ms = o->first_byte_ms,
                      .idle_ms = o->idle_ms,
                      .total_ms = ttl_ms > 2 * TTL_MARGIN_MS ? ttl_ms - TTL_MARGIN_MS : ttl_ms + 1,
                      .max_body = o->answer_bytes};
    http_client *client = upstreams_take(&o->upstreams, &r->upstream, err);
    if (client == NULL) return err->code;
    r->counted = true;
    r->transfer = http_start(client, &spec, &events, r, err);
    return r->transfer ? 0 : err->code;
}

int router_complete(sv_call *call, const void *request)
{
    const router_complete_req *q = request;
    router *o = sv_process_state(sv_call_process(call));
    sv_str body = sv_call_attachment(call);
    choice c;
    int rc = check(o, call, q, body);
    if (rc == 0) rc = ledger_ready(&o->ledger, sv_call_error(call));
    if (rc) return rc;
    if (o->demo && sv_str_is(q->model, "demo")) return demo_complete(o, call, q, body);
    if (!provider_choose(&o->providers, q->model, &c, sv_call_error(call)))
        return SV_E_MODEL_UNKNOWN;
    relay *r = calloc(1, sizeof *r);
    if (r == NULL) return SV_E_NO_MEMORY;
    r->router = o;
    r->call = call;
    r->provider = c.provider;
    r->stream = q->stream;
    r->strip_usage = q->stream && !q->include_usage;
    r->started_us = loop_now_us(o->loop);
    r->attempt = uuid_new();
    r->asked = q->model;
    snprintf(r->model, sizeof r->model, "%.*s", (int)(q->model.n - c.skip), q->model.p + c.skip);
    buf_init(&r->collected, o->answer_bytes);
    sse_init(&r->sse);
    sv_call_set_data(call, r);
    sv_on_cancel(call, on_cancel);
    sv_on_drained(call, on_drained);
    rc = edit_body(r, q, body, c.skip, &body);
    if (rc == 0) rc = start(r, q, body);
    if (rc) {
        relay_free(r);
        return rc;
    }
    return SV_PENDING;
}
