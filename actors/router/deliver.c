/*  deliver.c - what the client gets. */
#include "relay.h"

#include "log.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

static const char json_media[] = "application/json";

static const char *stream_media(const relay *r)
{
    return r->client->framing == LLM_LINES ? "application/x-ndjson" : "text/event-stream";
}

/* ---- life ---- */

static void end_decision(relay *r)
{
    const leg *l = r->winner;
    decision_result result = {.outcome = r->outcome == 0 ? "ok"
                                         : r->outcome == SV_E_CANCELLED
                                             ? "cancelled"
                                             : sv_error_lookup(r->outcome)->name,
                              .finish = l && l->finished ? leg_finish_name(l->finish) : NULL,
                              .provider = l ? provider_label(l->who->provider) : NULL,
                              .model = l ? l->who->model : NULL,
                              .why = l ? l->who->why : NULL,
                              .now_us = loop_now_us(r->router->loop)};
    decision_end(r->router->decisions, &r->decision, &result);
}

void relay_free(relay *r)
{
    course_stop(r);
    end_decision(r);
    telemetry_end(r);
    prompt_log_write(r);
    if (r->wait) ledger_forget(r->wait);
    budget_wait_cancel(&r->budget);
    spend_settle(r);
    tenants_wait_cancel(&r->tenants);
    while (r->legs) {
        leg *l = r->legs;
        r->legs = l->next;
        leg_free(l);
    }
    if (r->writer) r->client->writer_free(r->writer);
    router_providers_done(r->ask.providers, r->ask.n_providers);
    sv_on_cancel(r->call, NULL);
    sv_on_drained(r->call, NULL);
    buf_free(&r->said);
    buf_free(&r->whole);
    buf_free(&r->last);
    free(r);
}

const sv_error *relay_keep_words(relay *r, const sv_error *e)
{
    sv_error *kept = e ? arena_alloc(sv_call_arena(r->call), sizeof *kept) : NULL;
    if (kept) *kept = *e;
    return kept;
}

llm_writer *relay_new_writer(relay *r, sv_str model_name)
{
    char id[UUID_TEXT + 1], *to = id;
    char text[UUID_TEXT + 1];
    uuid_format(sv_call_id(r->call), text);
    for (const char *c = text; *c; c++)
        if (*c != '-') *to++ = *c;
    *to = 0;
    llm_writer_spec spec = {.stream = r->stream,
                            .include_usage = r->q->include_usage,
                            .id = id,
                            .model = model_name,
                            .created = (int64_t)(loop_unix_us(r->router->loop) / 1000000),
                            .request = &r->request};
    return r->client->writer_new(&spec);
}

/* ---- heads ---- */

static uint32_t told_pause(uint32_t ms)
{
    return ms < 60000 ? ms : 60000;
}

/* `l` may be NULL: no provider was asked. */
static router_complete_head head_of(const relay *r, const leg *l, int status, const char *type)
{
    router_complete_head h = {.http_status = status,
                              .content_type = sv_cstr(type),
                              .attempts = r->made,
                              .decision = sv_cstr(r->decision_id)};
    if (r->plan.task_known) h.task = sv_cstr(model_task_names[r->plan.task]);
    if (l == NULL) return h;
    h.provider = sv_cstr(provider_label(l->who->provider));
    h.model = sv_cstr(l->who->model);
    h.why = sv_cstr(l->who->why);
    h.dropped = sv_cstr(l->notes.dropped);
    h.upstream_id = sv_cstr(l->upstream_id);
    h.personal = l->who->provider->source == FROM_TENANT && l->who->provider->user[0];
    h.retry_after_ms = told_pause(l->retry_after_ms);
    return h;
}

static bool was_whole(const leg *l)
{
    return l->finished && l->content && !l->error_seen &&
           (l->finish == LLM_STOP || l->finish == LLM_STOP_SEQUENCE || l->finish == LLM_TOOL_CALLS);
}

static void add_figures(const relay *r, const leg *l, router_complete_head *h)
{
    h->priced = r->priced;
    h->price = r->micro;
    h->prompt_tokens = l->tokens.prompt;
    h->completion_tokens = l->tokens.completion;
    h->tools = l->tools;
    h->whole = r->op == OP_CHAT ? was_whole(l) : true;
}

/* The REPLY behind a stream. `error` is a stable code or NULL. The relay is gone after it. */
static void reply_end(relay *r, const char *error)
{
    const leg *l = r->winner;
    router_complete_end end = {.total_us = (int64_t)(loop_now_us(r->router->loop) - r->started_us),
                               .error = sv_cstr(error),
                               .priced = r->priced,
                               .price = r->micro,
                               .decision = sv_cstr(r->decision_id),
                               .attempts = r->made};
    if (l) {
        end.provider = sv_cstr(provider_label(l->who->provider));
        end.model = sv_cstr(l->who->model);
        end.prompt_tokens = l->tokens.prompt;
        end.completion_tokens = l->tokens.completion;
        end.cached_tokens = l->tokens.cached;
        end.reasoning_tokens = l->tokens.reasoning;
        end.usage_known = l->tokens.known;
        end.first_byte_us = (int64_t)l->first_byte_us;
        end.tools = l->tools;
        end.whole = error == NULL && was_whole(l);
    }
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

/* ---- streams ---- */

int deliver_bytes(leg *l, sv_str bytes)
{
    relay *r = l->relay;
    if (r->head_sent && (r->winner == l || (r->winner == NULL && l->continues))) {
        int rc = sv_write(r->call, stream_media(r), bytes);
        if (rc == SV_E_CANCELLED) r->client_gone = true;
        return rc;
    }
    int rc = buf_put(&l->held, bytes.p, bytes.n);
    if (rc == 0 && l->held.n > HELD_MAX)
        l->content = true; /* whatever it is: it cannot wait here */
    return rc;
}

int deliver_commit(leg *l)
{
    relay *r = l->relay;
    if (l->writer && r->writer == NULL) r->writer = l->writer;
    if (r->head_sent || !r->stream) return 0;
    router_complete_head head = head_of(r, l, l->status, stream_media(r));
    sv_str bytes = buf_str(&l->held);
    bool fits = bytes.n <= FIRST_BYTES;
    int rc =
        sv_partial(r->call, &router_complete_head_msg, &head, fits ? bytes : (sv_str){NULL, 0});
    r->head_sent = rc == 0;
    if (rc == 0 && !fits) rc = sv_write(r->call, stream_media(r), bytes);
    if (rc == SV_E_CANCELLED) r->client_gone = true;
    buf_free(&l->held);
    return rc;
}

static void write_error_event(relay *r)
{
    const sv_error_info *info = sv_error_lookup(r->end_code);
    const leg *l = r->winner;
    bool own = l && r->end_code == SV_E_PROVIDER_REFUSED && l->failure.message[0];
    const char *words = own ? l->failure.message : r->words ? r->words->message : info->text;
    buf event, plain;
    buf_init(&event, 65536);
    buf_init(&plain, 4096);
    buf_puts(&plain, words);
    if (l) provider_blot(l->who->provider, &plain);
    r->client->error_event(
        r->writer, info->http, own && l->failure.type[0] ? l->failure.type : NULL,
        own && l->failure.code[0] ? l->failure.code : info->name, buf_str(&plain), &event);
    sv_write(r->call, stream_media(r), buf_str(&event));
    buf_free(&event);
    buf_free(&plain);
}

static void deliver_stream(relay *r)
{
    if (r->end_code == 0 && r->lost) {
        r->end_code = r->lost;
        r->words = r->lost_words;
        r->say_error = true;
    }
    int rc = r->last.failed ? r->last.error : 0;
    if (!r->say_error && rc == 0 && r->last.n)
        rc = sv_write(r->call, stream_media(r), buf_str(&r->last));
    if (rc == SV_E_CANCELLED) {
        r->client_gone = true;
        deliver_cancelled(r->call);
        return;
    }
    if (!r->say_error && rc) { /* a stream without its end must not look complete */
        r->end_code = rc;
        r->say_error = true;
    }
    if (r->say_error) write_error_event(r);
    reply_end(r, r->end_code ? sv_error_lookup(r->end_code)->name : NULL);
}

/* ---- whole answers ---- */

static void refuse(relay *r, int code, const sv_error *words)
{
    sv_call *call = r->call;
    sv_error told = words ? *words : (sv_error){0};
    if (words == NULL) sv_fail(&told, code, NULL, NULL);
    told.final = told.final || r->made > 1;
    relay_free(r);
    sv_refuse(call, code, &told);
}

/* A status with a body, to a plain or a streaming caller. */
static void send_whole(relay *r)
{
    sv_call *call = r->call;
    const leg *l = r->winner;
    char model_id[MODEL_NAME + 1] = "", upstream_id[sizeof l->upstream_id] = "";
    char provider_name[sizeof l->who->provider->label] = ""; /* an own one may go with the relay */
    llm_notes notes;
    router_complete_head head = head_of(r, l, r->end_status, r->whole_type);
    if (l == NULL && r->end_code == 0) { /* the answers of all legs */
        head.priced = r->priced;
        head.price = r->micro;
    }
    if (l) {
        snprintf(model_id, sizeof model_id, "%s", l->who->model);
        snprintf(upstream_id, sizeof upstream_id, "%s", l->upstream_id);
        snprintf(provider_name, sizeof provider_name, "%s", provider_label(l->who->provider));
        notes = l->notes;
        if (r->end_code == 0) add_figures(r, l, &head);
        head.provider = sv_cstr(provider_name);
        head.model = sv_cstr(model_id);
        head.upstream_id = sv_cstr(upstream_id);
        head.dropped = sv_cstr(notes.dropped);
    }
    char type[sizeof r->whole_type], id[sizeof r->decision_id];
    memcpy(type, r->whole_type, sizeof type);
    memcpy(id, r->decision_id, sizeof id);
    head.content_type = sv_cstr(type);
    head.decision = sv_cstr(id);
    buf body = r->whole; /* outlives the relay */
    sv_str bytes = buf_str(&body);
    r->whole = (buf){0};
    int rc;
    if (!r->stream) {
        relay_free(r);
        rc = sv_reply_with(call, &head, bytes);
    } else {
        bool fits = bytes.n <= FIRST_BYTES;
        rc = sv_partial(call, &router_complete_head_msg, &head, fits ? bytes : (sv_str){NULL, 0});
        if (rc == 0 && !fits) rc = sv_write(call, type, bytes);
        if (rc == 0)
            reply_end(r, r->end_code ? sv_error_lookup(r->end_code)->name : NULL);
        else
            relay_free(r);
    }
    if (rc) sv_refuse(call, rc, NULL);
    buf_free(&body);
}

static void deliver(relay *r)
{
    switch (r->ending) {
    case END_OPEN: break;
    case END_WHOLE:
        if (r->lost && r->end_code == 0)
            refuse(r, r->lost, r->lost_words);
        else
            send_whole(r);
        break;
    case END_REFUSE: refuse(r, r->end_code, r->words); break;
    case END_STREAM: deliver_stream(r); break;
    }
}

static void conclude(relay *r, ending how, int code)
{
    r->ending = how;
    r->end_code = code;
    r->outcome = code;
    course_stop(r);
    if (r->wait == NULL) {
        deliver(r);
        return;
    }
    for (leg *l = r->legs; l; l = l->next)
        leg_stop(l);
}

void deliver_kept(void *arg, int code, const sv_error *err)
{
    relay *r = arg;
    r->wait = NULL;
    r->lost = code;
    if (code) r->lost_words = relay_keep_words(r, err);
    if (r->ending != END_OPEN)
        deliver(r);
    else if (r->winner)
        leg_read_close(r->winner); /* its provider keeps the connection open behind the end */
}

void deliver_end(relay *r)
{
    conclude(r, END_STREAM, r->winner && r->winner->error_seen ? SV_E_PROVIDER_REFUSED : 0);
}

static void set_whole_type(relay *r, const char *type)
{
    snprintf(r->whole_type, sizeof r->whole_type, "%s", type);
}

void deliver_answer(leg *l, int code)
{
    relay *r = l->relay;
    bool made = l->way == LEG_TRANSLATE || l->way == LEG_EMBED;
    buf *from = made ? &l->made : &l->collected;
    set_whole_type(r, l->way == LEG_RAW && l->content_type[0] ? l->content_type : json_media);
    prompt_log_keep_whole(l, buf_str(from));
    r->whole = *from;
    *from = (buf){0};
    r->end_status = 200;
    leg_settle(l, code, true);
    conclude(r, END_WHOLE, code);
}

void deliver_empty(leg *l)
{
    relay *r = l->relay;
    r->winner = l;
    if (!r->stream) {
        deliver_answer(l, 0);
        return;
    }
    int rc = deliver_commit(l);
    if (rc == SV_E_CANCELLED)
        deliver_cancelled(r->call);
    else if (rc) {
        leg_settle(l, rc, false);
        deliver_failure(r, l, rc, NULL);
    } else
        leg_read_close(l);
}

/* ---- every answer of several ---- */

/* Of several at once: its answer is there, though maybe nothing is in it. */
static bool has_answered(const leg *l)
{
    return (l->done || l->empty) && !l->error_seen;
}

/* choices of OpenAI's format, one of each leg, which says who made it. */
static void put_choices(relay *r, buf *out, tokens *sum)
{
    uint32_t n = 0;
    for (const leg *l = r->legs; l; l = l->next) {
        const buf *from = l->way == LEG_TRANSLATE ? &l->made : &l->collected;
        json_value root = json_root(buf_str(from)), choice;
        size_t at = 0;
        if (!has_answered(l)) continue;
        while (json_next_element(json_get(root, "choices"), &at, &choice)) {
            buf scratch;
            json_edit e;
            char index[16];
            buf_init(&scratch, 64);
            snprintf(index, sizeof index, "%u", n);
            if (n++) buf_putc(out, ',');
            size_t begin = out->n;
            if (json_edit_set(choice.raw, "index", sv_cstr(index), &scratch, &e) ||
                json_apply(choice.raw, &e, 1, out))
                out->failed = true;
            buf_free(&scratch);
            if (out->failed) return;
            out->n--; /* the closing brace */
            if (out->n == begin) return;
            buf_puts(out, ",\"provider\":\"");
            buf_json_escape(out, sv_cstr(provider_label(l->who->provider)));
            buf_puts(out, "\",\"model\":\"");
            buf_json_escape(out, sv_cstr(l->who->model));
            buf_puts(out, "\"}");
        }
        sum->prompt += l->tokens.prompt;
        sum->completion += l->tokens.completion;
    }
}

void deliver_all(relay *r)
{
    char id[UUID_TEXT + 1];
    tokens sum = {0};
    buf *out = &r->whole;
    uuid_format(sv_call_id(r->call), id);
    buf_init(out, r->router->answer_bytes * 4);
    buf_printf(out, "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":%lld,", id,
               (long long)(loop_unix_us(r->router->loop) / 1000000));
    buf_puts(out, "\"model\":\"");
    buf_json_escape(out, r->q->model);
    buf_puts(out, "\",\"choices\":[");
    put_choices(r, out, &sum);
    buf_printf(
        out,
        "],\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld}}",
        (long long)sum.prompt, (long long)sum.completion,
        (long long)sum.prompt + (long long)sum.completion);
    if (r->legs) prompt_log_keep_whole(r->legs, buf_str(out));
    set_whole_type(r, json_media);
    r->end_status = 200;
    if (out->failed)
        deliver_failure(r, NULL, out->error ? out->error : SV_E_NO_MEMORY, NULL);
    else
        conclude(r, END_WHOLE, 0);
}

bool deliver_has_some(const relay *r)
{
    for (const leg *l = r->legs; l; l = l->next)
        if (has_answered(l)) return true;
    return false;
}

/* ---- failures ---- */

/* "The provider could not be reached." with the provider's name and what more is known. */
static void word_failure(const leg *l, int code, const char *more, sv_error *ret)
{
    const char *text = sv_error_lookup(code)->text;
    static const char the_provider[] = "The provider";
    if (strcmp(more, text) == 0) more = "";
    size_t skip =
        strncmp(text, the_provider, sizeof the_provider - 1) == 0 ? sizeof the_provider - 1 : 0;
    *ret = (sv_error){0};
    if (skip)
        sv_fail(ret, code, NULL, "The provider %s%s%s%s", provider_label(l->who->provider),
                text + skip, *more ? " " : "", more);
    else
        sv_fail(ret, code, NULL, "%s%s%s", text, *more ? " " : "", more);
    ret->retry_after_ms = told_pause(l->retry_after_ms);
}

static bool is_provider_code(int code)
{
    return code <= SV_E_PROVIDER_UNREACHABLE && code >= SV_E_PROVIDER_TOO_LARGE;
}

void deliver_failure(relay *r, const leg *l, int code, const sv_error *why)
{
    sv_error words = {0};
    if (l && is_provider_code(code))
        word_failure(l, code, why ? why->message : "", &words);
    else if (why)
        words = *why;
    else
        sv_fail(&words, code, NULL, NULL);
    r->words = relay_keep_words(r, &words);
    r->say_error = r->head_sent;
    if (r->head_sent && r->winner == NULL) r->winner = (leg *)l;
    conclude(r, r->head_sent ? END_STREAM : END_REFUSE, code);
}

/* The same format on both sides: the provider's bytes, unless they are no JSON. */
void deliver_refusal(relay *r, const leg *l)
{
    const llm_failure *f = &l->failure;
    char id[UUID_TEXT + 1];
    sv_str body = buf_str(&l->collected);
    buf_init(&r->whole, r->router->answer_bytes + 65536);
    bool same = l->format == r->client->format && l->way != LEG_TRANSLATE && body.n > 0 &&
                json_skim(body, LIMIT_JSON_DEPTH, NULL) == 0 && json_root(body).type == JSON_OBJECT;
    /* an event need not have the form of an answer */
    if (l->early_error && json_get(json_root(body), "error").type == JSON_NONE) same = false;
    if (same) {
        buf_put(&r->whole, body.p, body.n);
    } else {
        uuid_format(sv_call_id(r->call), id);
        r->client->error_body(l->status, f->type[0] ? f->type : NULL, f->code[0] ? f->code : NULL,
                              sv_cstr(f->message), id, &r->whole);
    }
    provider_blot(l->who->provider, &r->whole);
    set_whole_type(r, json_media);
    r->winner = (leg *)l;
    r->end_status = l->status;
    conclude(r, END_WHOLE, SV_E_PROVIDER_REFUSED);
}

void deliver_cancelled(sv_call *call)
{
    relay *r = sv_call_data(call);
    r->outcome = SV_E_CANCELLED;
    r->client_gone = true;
    course_stop(r);
    for (leg *l = r->legs; l; l = l->next) {
        leg_stop(l);
        leg_settle(l, SV_E_CANCELLED, false);
    }
    relay_free(r);
    sv_refuse(call, SV_E_CANCELLED, NULL);
}
