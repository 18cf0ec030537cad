/*  leg.c - one provider is called. */
#include "relay.h"

#include "embed.h"
#include "http_guard.h"
#include "passthrough.h"
#include "request.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TTL_MARGIN_MS = 50,     /* to say so before the bus does */
    TOKEN_MS = 30,          /* a plain answer comes when its last token is made: time for each */
    PLAIN_TOKENS = 2000,    /* when the client does not say how many it wants */
    TOKENS_MOST = 100000000 /* of one answer; a provider that tells of more is not believed */
};

static const char json_media[] = "application/json";

static const char *const finish_names[] = {
    [LLM_STOP] = "stop",        [LLM_STOP_SEQUENCE] = "stop", [LLM_LENGTH] = "length",
    [LLM_TOOL_CALLS] = "tools", [LLM_FILTER] = "filter",      [LLM_REFUSAL] = "refusal",
    [LLM_PAUSE] = "pause",      [LLM_CONTEXT] = "context",    [LLM_OTHER] = "other",
};

const char *leg_finish_name(llm_finish f)
{
    return finish_names[f];
}

/* ---- the request ---- */

/* In which this model is spoken to there, whoever asks. */
static llm_format format_at(const candidate *c)
{
    const provider *p = c->provider;
    return p->responses && c->info->can & MODEL_RESPONSES ? LLM_RESPONSES : p->format;
}

bool leg_passes(const relay *r, const candidate *c)
{
    llm_format f = r->client->format, there = format_at(c);
    return f == there || (f == LLM_RESPONSES && c->provider->responses) ||
           (f == LLM_GENERATE && there == LLM_OLLAMA);
}

/* A continued answer is written by one writer from its beginning to its end. */
static bool is_kept(const relay *r)
{
    return r->q->continued && r->stream && r->parsed;
}

static leg_way way_of(const relay *r, const candidate *c)
{
    switch (r->op) {
    case OP_TRANSCRIPTION:
    case OP_IMAGE:
    case OP_MODERATION: return LEG_RAW;
    case OP_COUNT: return LEG_RAW;
    case OP_EMBEDDINGS: return r->parsed ? LEG_EMBED : LEG_RAW; /* servers forget base64 */
    case OP_CHAT: break;
    }
    /* What others signed would be refused: the format's writer leaves it out. */
    bool foreign = r->parsed && r->features.foreign;
    return leg_passes(r, c) && !is_kept(r) && !foreign ? LEG_PASS : LEG_TRANSLATE;
}

static int edit(leg *l, sv_str *body, sv_error *err)
{
    relay *r = l->relay;
    const char *caller = sv_call_caller(r->call);
    bool trusted = strcmp(caller, "edge") == 0 || strcmp(caller, "cache") == 0;
    bool usage = r->stream && l->format == LLM_OPENAI && r->op == OP_CHAT;
    request_edits e = {.include_usage = usage && !r->q->include_usage};
    if (!sv_str_is(r->q->model, l->who->model)) {
        e.model = sv_cstr(l->who->model);
        e.model_at = trusted ? (size_t)r->q->model_at : 0;
        e.model_n = trusted ? (size_t)r->q->model_n : 0;
    }
    buf_init(&l->body, (size_t)r->body.n + 32768);
    return request_edit(r->body, &e, &l->body, body, err);
}

static int form(leg *l, sv_str *body, sv_error *err)
{
    relay *r = l->relay;
    sv_str boundary;
    buf_init(&l->body, (size_t)r->body.n + 4096);
    int rc = form_boundary(r->q->content_type, &boundary, err);
    if (rc == 0) rc = form_set_model(r->body, boundary, sv_cstr(l->who->model), &l->body, err);
    if (rc == 0) *body = buf_str(&l->body);
    return rc;
}

/* The text so far becomes the beginning of the answer. */
static void add_beginning(const relay *r, llm_request *q, llm_message *messages, llm_part *part)
{
    *part = (llm_part){.kind = LLM_PART_TEXT, .text = buf_str(&r->said)};
    memcpy(messages, q->messages, q->n_messages * sizeof *messages);
    messages[q->n_messages] = (llm_message){.role = LLM_ASSISTANT, .parts = part, .n_parts = 1};
    q->messages = messages;
    q->n_messages++;
}

static int translate(leg *l, const llm_target *t, sv_str *body, sv_error *err)
{
    relay *r = l->relay;
    llm_request q = r->request;
    llm_part part;
    llm_message *messages = NULL;
    if (l->continues) {
        messages = calloc(q.n_messages + 1, sizeof *messages);
        if (messages == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        add_beginning(r, &q, messages, &part);
    }
    q.stream = r->stream;
    q.include_usage = true;
    buf_init(&l->body, (size_t)r->body.n * 2 + r->said.n + 65536);
    int rc = l->ops->write(&q, t, &l->body, &l->notes, err);
    if (rc == 0) *body = buf_str(&l->body);
    free(messages);
    return rc;
}

static int embed(leg *l, sv_str *body, sv_error *err)
{
    relay *r = l->relay;
    buf_init(&l->body, (size_t)r->body.n * 2 + 65536);
    int rc = embed_write(&r->embed, l->format, sv_cstr(l->who->model), &l->body, &l->notes, err);
    if (rc == 0) *body = buf_str(&l->body);
    return rc;
}

static int make_path(leg *l, const llm_target *t, buf *path)
{
    relay *r = l->relay;
    if (l->way == LEG_EMBED) return embed_path(l->format, t->model, path);
    if (r->path) return buf_puts(path, r->path);
    return l->ops->path(t, path);
}

static int make_body(leg *l, const llm_target *t, sv_str *body, sv_error *err)
{
    relay *r = l->relay;
    *body = r->body;
    switch (l->way) {
    case LEG_PASS: return edit(l, body, err);
    case LEG_TRANSLATE: return translate(l, t, body, err);
    case LEG_EMBED: return embed(l, body, err);
    case LEG_RAW: break;
    }
    return r->q->content_type.n ? form(l, body, err) : edit(l, body, err);
}

/* ---- clocks ---- */

/* Until the first content, as long as somebody else could be asked; otherwise the setting. */
static uint32_t first_ms(const leg *l)
{
    const relay *r = l->relay;
    const router *o = r->router;
    uint64_t most = o->first_byte_ms;
    if (l->place + 1 >= r->plan.n || r->all) return (uint32_t)most;
    uint64_t ms = o->first_token_ms;
    if (!r->stream) {
        int64_t n = r->features.max_tokens ? r->features.max_tokens : PLAIN_TOKENS;
        ms += (uint64_t)(n < 100000 ? n : 100000) * TOKEN_MS;
    }
    return (uint32_t)(ms < most ? ms : most);
}

static void on_first(void *arg)
{
    leg *l = arg;
    course_failed(l, SV_E_PROVIDER_TIMEOUT, NULL);
}

/* ---- the transfer ---- */

static void on_head(void *arg, const http_head *head)
{
    leg *l = arg;
    l->status = head->status;
    l->first_byte_us = http_first_byte_us(l->transfer);
    l->retry_after_ms = answer_pause_ms(head->retry_after_ms, head->retry_after,
                                        loop_unix_us(l->relay->router->loop));
    if (head->content_type.n < sizeof l->content_type)
        snprintf(l->content_type, sizeof l->content_type, "%.*s", SV_FMT(head->content_type));
    if (head->request_id.n < sizeof l->upstream_id &&
        !provider_in(l->who->provider, head->request_id))
        snprintf(l->upstream_id, sizeof l->upstream_id, "%.*s", SV_FMT(head->request_id));
    bool good = head->status == 200;
    l->events =
        l->relay->stream && good && (l->way == LEG_PASS || l->way == LEG_TRANSLATE) &&
        (answer_type_is(head->content_type, "text/event-stream") ||
         (l->ops->framing == LLM_LINES && !answer_type_is(head->content_type, "text/html")));
    if (l->relay->stream && good && !l->events) {
        sv_error why = {0};
        sv_fail(&why, SV_E_PROVIDER_GARBAGE, NULL,
                "A stream was asked for and something else came.");
        course_failed(l, SV_E_PROVIDER_GARBAGE, &why);
    }
}

static bool on_data(void *arg, sv_str bytes)
{
    leg *l = arg;
    if (!l->events) {
        buf_put(&l->collected, bytes.p, bytes.n); /* a failure shows at the end */
        return true;
    }
    relay *r = l->relay;
    if (l == r->winner && sv_write_pending(r->call) > PENDING_MAX) return false;
    leg_read_bytes(l, bytes);
    return true;
}

static void on_done(void *arg, int code, const sv_error *why)
{
    leg *l = arg;
    l->transfer = NULL;
    if (l->events)
        leg_read_end(l, code, why);
    else if (code)
        course_failed(l, code, why);
    else if (l->collected.failed)
        course_failed(l, l->collected.n ? SV_E_PROVIDER_TOO_LARGE : SV_E_NO_MEMORY, NULL);
    else
        leg_read_whole(l);
}

static int add_header(const char **headers, size_t *n, const char *value)
{
    if (value) headers[(*n)++] = value;
    return 0;
}

static int start(leg *l, const buf *url, sv_str body, sv_error *err)
{
    static const http_events events = {on_head, on_data, on_done};
    relay *r = l->relay;
    router *o = r->router;
    const router_complete_req *q = r->q;
    l->body_n = body.n;
    char via[1100], type[240], version[64], beta[560];
    const char *headers[8] = {NULL};
    size_t n = 0;
    snprintf(via, sizeof via, "Via: %.*s", q->via.n ? (int)q->via.n : 11,
             q->via.n ? q->via.p : "1.1 samovar");
    bool typed = l->way == LEG_RAW && q->content_type.n;
    snprintf(type, sizeof type, "Content-Type: %.*s",
             typed ? (int)q->content_type.n : (int)sizeof json_media - 1,
             typed ? q->content_type.p : json_media);
    add_header(headers, &n, type);
    add_header(headers, &n, via);
    add_header(headers, &n,
               !r->stream                     ? "Accept: application/json"
               : l->ops->framing == LLM_LINES ? "Accept: application/x-ndjson"
                                              : "Accept: text/event-stream");
    add_header(headers, &n, provider_key_header(l->who->provider, l->key));
    if (l->format == LLM_ANTHROPIC) {
        bool own = r->client->format == LLM_ANTHROPIC;
        snprintf(version, sizeof version, "anthropic-version: %.*s",
                 own && q->version.n ? (int)q->version.n : 10,
                 own && q->version.n ? q->version.p : "2023-06-01");
        snprintf(beta, sizeof beta, "anthropic-beta: %.*s", SV_FMT(q->beta));
        add_header(headers, &n, version);
        if (own && q->beta.n) add_header(headers, &n, beta);
    }
    uint32_t ttl_ms = sv_call_ttl_ms(r->call), wait_ms = first_ms(l);
    http_spec spec = {.method = "POST",
                      .url = url->p,
                      .trust = l->who->provider->trust,
                      .headers = headers,
                      .body = body,
                      .connect_ms = o->connect_ms,
                      .first_byte_ms = wait_ms,
                      .idle_ms = o->idle_ms,
                      .total_ms = ttl_ms > 2 * TTL_MARGIN_MS ? ttl_ms - TTL_MARGIN_MS : ttl_ms + 1,
                      .max_body = o->answer_bytes};
    http_client *client = upstreams_take(&o->upstreams, &l->upstream, err);
    if (client == NULL) return err->code;
    l->counted = true;
    l->transfer = http_start(client, &spec, &events, l, err);
    if (l->transfer == NULL) return err->code;
    if (r->stream) loop_timer_set(o->loop, &l->first, (uint64_t)wait_ms * 1000, on_first, l);
    return 0;
}

/* ---- life ---- */

static int call_provider(leg *l, sv_error *err)
{
    relay *r = l->relay;
    const candidate *c = l->who;
    llm_target t = {.model = sv_cstr(c->model),
                    .stream = r->stream,
                    .output_most = c->info->output_most,
                    .completion_tokens = (c->info->can & MODEL_COMPLETION_TOKENS) != 0,
                    .adaptive_thinking = (c->info->can & MODEL_ADAPTIVE) != 0,
                    .no_prefill = c->info->known && !(c->info->can & MODEL_CAN_PREFILL),
                    .thinks = !c->info->known                  ? LLM_UNSAID
                              : c->info->can & MODEL_CAN_THINK ? LLM_YES
                                                               : LLM_NO};
    buf path, url;
    sv_str body;
    l->started_us = loop_now_us(r->router->loop);
    l->health = health_get(r->router->health, provider_tag(c->provider), t.model, l->key);
    if (l->health) {
        health_begin(l->health, l->started_us, &l->probe);
        l->ailing = true;
    }
    buf_init(&path, HTTP_URL_BYTES);
    buf_init(&url, HTTP_URL_BYTES + 1);
    int rc = make_path(l, &t, &path);
    if (rc == 0) rc = provider_url(c->provider, buf_str(&path), t.model, &url);
    if (rc == 0) rc = buf_putc(&url, 0);
    if (rc == 0) rc = make_body(l, &t, &body, err);
    if (rc == 0) rc = leg_read_begin(l, err);
    if (rc == 0) rc = start(l, &url, body, err);
    buf_free(&path);
    buf_free(&url);
    if (rc == 0) course_called(l);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

/* It was never called: nothing of it is counted. */
static void withdraw(leg *l, int code)
{
    relay *r = l->relay;
    leg **at = &r->legs;
    if (code == SV_E_PROVIDER_LIMIT)
        decision_attempt(r->decision, &(decision_try){.provider = provider_label(l->who->provider),
                                                      .model = l->who->model,
                                                      .key = l->key,
                                                      .hedge = l->hedge,
                                                      .outcome = attempt_outcome(code),
                                                      .began_us = l->started_us});
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    r->made--;
    leg_free(l);
}

static void on_own(void *arg, int code, budget_hold *hold, const sv_error *why)
{
    leg *l = arg;
    relay *r = l->relay;
    uint32_t place = l->place;
    sv_error err = why ? *why : (sv_error){.code = 0};
    l->own_hold = hold;
    if (code == SV_E_PROVIDER_LIMIT) spend_word_own(l, &err);
    if (code == 0) code = call_provider(l, &err);
    if (code == 0) return;
    withdraw(l, code);
    course_passed_over(r, place, code, &err);
}

int leg_begin(relay *r, const leg_start *s, leg **ret, sv_error *err)
{
    router *o = r->router;
    const candidate *c = &r->plan.items[s->place];
    leg *l = calloc(1, sizeof *l);
    if (l == NULL) {
        budget_settle(s->hold, 0, 0);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    l->relay = r;
    l->place = s->place;
    l->who = c;
    l->key = s->key;
    l->hedge = s->hedge;
    l->hold = s->hold;
    l->continues = r->first_code != 0;
    l->way = way_of(r, c);
    l->format = leg_passes(r, c) && !is_kept(r) ? r->client->format : format_at(c);
    l->ops = llm_ops_of(l->format);
    l->id = uuid_new();
    l->started_us = loop_now_us(o->loop);
    buf_init(&l->collected, o->answer_bytes);
    buf_init(&l->held, HELD_MAX + SSE_EVENT_BYTES + FIRST_BYTES);
    sse_init(&l->sse);
    line_init(&l->lines);
    leg **at = &r->legs;
    while (*at)
        at = &(*at)->next;
    *at = l;
    r->made++;
    if (r->tries[s->place] < 255) r->tries[s->place]++;
    int rc = spend_take_own(l, on_own, err);
    if (rc == 0) rc = call_provider(l, err);
    if (rc && rc != SV_PENDING) {
        withdraw(l, rc);
        return rc;
    }
    *ret = l;
    return 0;
}

void leg_stop(leg *l)
{
    router *o = l->relay->router;
    if (l->own_wait.asked) { /* it was never called, and nothing of it is told */
        budget_wait_cancel(&l->own_wait);
        l->settled = true;
        l->relay->made--;
    }
    loop_timer_stop(o->loop, &l->first);
    loop_timer_stop(o->loop, &l->tail);
    if (l->transfer) {
        l->sent = http_sent_bytes(l->transfer) >= l->body_n;
        http_cancel(l->transfer);
    }
    l->transfer = NULL;
    if (l->counted) upstreams_give(&o->upstreams, l->upstream);
    l->counted = false;
    buf_free(&l->body); /* nobody sends it any more, and it is as large as the client's */
    l->over = true;
}

void leg_free(leg *l)
{
    leg_stop(l);
    if (l->ailing)
        health_end(l->health, loop_now_us(l->relay->router->loop), l->probe,
                   &(health_note){.outcome = HEALTH_NEUTRAL});
    budget_settle(l->hold, 0, 0);
    budget_settle(l->own_hold, 0, 0);
    if (l->reader) l->ops->reader_free(l->reader);
    if (l->writer && l->writer != l->relay->writer) l->relay->client->writer_free(l->writer);
    buf_free(&l->made);
    buf_free(&l->collected);
    buf_free(&l->held);
    buf_free(&l->kept);
    calls_free(&l->calls);
    sse_free(&l->sse);
    line_free(&l->lines);
    free(l);
}

/* ---- the account ---- */

static void count(const leg *l, int code)
{
    provider *p = l->who->provider;
    if (code == 0)
        metric_add(p->ok, 1);
    else
        metric_add(metric_get(M_PROVIDER_REQUESTS,
                              (const char *const[]){provider_series(p), attempt_outcome(code)}),
                   1);
    if (l->first_byte_us) metric_observe_us(p->first_byte, l->first_byte_us);
    if (!l->tokens.known) return;
    metric_add(p->prompt, (uint64_t)l->tokens.prompt);
    metric_add(p->completion, (uint64_t)l->tokens.completion);
    metric_add(p->cached, (uint64_t)l->tokens.cached);
    metric_add(p->reasoning, (uint64_t)l->tokens.reasoning);
}

/* The provider did not say; what it has made was made all the same. Usage at the beginning of a stream
 * that breaks off tells of the prompt only. */
void leg_estimate(leg *l)
{
    tokens *t = &l->tokens;
    int64_t made = (int64_t)(l->text_bytes + 3) / 4;
    if (t->known && (t->prompt > TOKENS_MOST || t->completion > TOKENS_MOST)) *t = (tokens){0};
    /* Whose client leaves before anything came has a provider read the question all the same. */
    bool read = l->relay->client_gone && l->sent;
    if (t->estimated || (l->text_bytes == 0 && !l->content && !read)) return;
    if (t->known && (l->finished || l->done || !l->events || t->completion >= made)) return;
    if (!t->known) t->prompt = l->relay->features.prompt_tokens;
    t->known = false;
    t->estimated = true;
    t->completion = made;
}

static health_outcome health_of(const leg *l, int code)
{
    if (code == 0) return l->bad_tools ? HEALTH_BAD_TOOLS : HEALTH_OK;
    if (code == SV_E_CANCELLED) return HEALTH_NEUTRAL;
    if (code != SV_E_PROVIDER_REFUSED) return HEALTH_FAILED;
    switch (l->failure.kind) {
    case LLM_FAIL_KEY:
    case LLM_FAIL_BILLING: return HEALTH_KEY;
    case LLM_FAIL_RATE: return HEALTH_RATE;
    case LLM_FAIL_OVERLOAD:
    case LLM_FAIL_SERVER: return HEALTH_FAILED;
    case LLM_FAIL_OTHER: return l->status >= 500 ? HEALTH_FAILED : HEALTH_NEUTRAL;
    case LLM_FAIL_REQUEST:
    case LLM_FAIL_CONTEXT:
    case LLM_FAIL_POLICY:
    case LLM_FAIL_PREFILL:
    case LLM_FAIL_MODEL: break;
    }
    return HEALTH_NEUTRAL;
}

/* False: nobody knows. */
static bool price_of(const leg *l, int code, int64_t *ret)
{
    cost_use u = {
        .tokens = l->tokens, .done = code == 0, .pictures = l->pictures, .sound_ms = l->sound_ms};
    return cost_paid(l->who->info, &l->relay->cost, &u, ret);
}

static void pay(leg *l, int64_t cost, int64_t used)
{
    int64_t micro = l->who->provider->source == FROM_TENANT ? 0 : cost; /* to the platform */
    budget_settle(l->own_hold, cost, used);
    l->own_hold = NULL;
    if (l->hold) {
        budget_settle(l->hold, micro, used);
        l->hold = NULL;
        return;
    }
    spend_paid(l, micro, used);
}

/* How its provider did. */
static void judge(leg *l, int code, uint64_t now_us)
{
    relay *r = l->relay;
    const provider *p = l->who->provider;
    health_outcome went = health_of(l, code);
    uint64_t made_us = l->first_us && l->started_us < l->first_us ? l->first_us - l->started_us : 0;
    if (l->ailing)
        health_end(l->health, now_us, l->probe,
                   &(health_note){.outcome = went,
                                  .pause_ms = l->retry_after_ms,
                                  .first_us = made_us,
                                  .total_us = now_us - l->started_us,
                                  .output_tokens = l->tokens.completion,
                                  .stream = r->stream});
    l->ailing = false;
    if (p->source != FROM_TENANT && r->plan.task_known &&
        (went == HEALTH_OK || went == HEALTH_BAD_TOOLS || went == HEALTH_FAILED))
        insight_outcome(&r->router->insight, r->plan.task, p->name, l->who->model,
                        went == HEALTH_OK);
}

void leg_settle(leg *l, int code, bool ask_kept)
{
    relay *r = l->relay;
    router *o = r->router;
    sv_error why = {0};
    ledger_item *wait = NULL;
    if (l->settled) return;
    l->settled = true;
    uint64_t now_us = loop_now_us(o->loop), took_us = now_us - l->started_us;
    if (code == 0 && l->finish != LLM_LENGTH) l->bad_tools = calls_bad(&l->calls);
    count(l, code);
    bool unseen = code && code != SV_E_CANCELLED && r->winner != l; /* a failed try costs nothing */
    if (!unseen) leg_estimate(l);
    judge(l, code, now_us);
    int64_t cost;
    bool priced = price_of(l, code, &cost);
    if (unseen) cost = 0;
    r->micro += cost;
    pay(l, cost, unseen ? 0 : l->tokens.prompt + l->tokens.completion);
    telemetry_leg(l, code, took_us, !unseen);
    bool made =
        l->tokens.known || l->tokens.estimated || (code == 0 && r->cost.kind >= COST_PICTURES);
    if (made && !priced && !unseen) r->priced = false;
    decision_attempt(r->decision,
                     &(decision_try){.provider = provider_label(l->who->provider),
                                     .model = l->who->model,
                                     .key = l->key,
                                     .hedge = l->hedge,
                                     .outcome = attempt_outcome(code),
                                     .status = l->status,
                                     .began_us = l->started_us,
                                     .first_us = l->first_us ? l->first_us - l->started_us : 0,
                                     .total_us = took_us,
                                     .tokens = l->tokens,
                                     .priced = priced,
                                     .price = cost});
    attempt a = {.id = l->id,
                 .call = r->call,
                 .asked = r->q->model,
                 .provider = provider_label(l->who->provider),
                 .model = l->who->model,
                 .task = r->plan.task_known ? model_task_names[r->plan.task] : NULL,
                 .finish = l->finished ? finish_names[l->finish] : NULL,
                 .listed = provider_lists(l->who->provider, sv_cstr(l->who->model)),
                 .streamed = r->stream,
                 .hedge = l->hedge,
                 .bad_tools = l->bad_tools,
                 .own = l->who->provider->source == FROM_TENANT,
                 .priced = priced,
                 .price = cost,
                 .outcome = attempt_outcome(code),
                 .tokens = &l->tokens,
                 .latency_us = took_us,
                 .first_byte_us = l->first_byte_us};
    int rc = attempt_note(o, &a, ask_kept ? deliver_kept : NULL, r, &wait, &why);
    if (!ask_kept) return;
    r->wait = wait;
    r->lost = rc;
    if (rc) r->lost_words = relay_keep_words(r, &why);
}
