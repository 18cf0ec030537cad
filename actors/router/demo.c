/*  demo.c - the built-in model demo: a fixed text about the path the message took, with a short
 *  quote of what was asked. It always answers, so that a newcomer sees the path work before any key
 *  is set.
 *
 *  The reply is made whole at the start as a list of words; a stream sends one word a tick. The
 *  quote is foreign text: its control characters become spaces, it is cut at a character's end, and
 *  it reaches JSON only through the escaper. The client's format is written by its writer. */
#include "attempt.h"
#include "utf8.h"
#include "uuid.h"

#include "sv_limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUOTE_CHARACTERS = 200, TEXT_MAX = 4096, PENDING_MAX = 64 << 10, SOURCE_MAX = 34 << 20 };

typedef struct demo {
    router *router;
    sv_call *call;
    sv_str asked; /* demo, or an alias of it */
    const llm_ops *client;
    llm_writer *writer;
    llm_request request;
    buf text;
    size_t at; /* next word */
    bool stream;
    tokens tokens;
    char id[UUID_TEXT + 1];
    loop_timer timer;
    sv_id attempt;
    uint64_t started_us, first_us;
    ledger_item *wait; /* the ledger will call on_kept */
} demo;

static const char *media(const demo *d)
{
    return d->client->framing == LLM_LINES ? "application/x-ndjson" : "text/event-stream";
}

/* ---- reading the request ---- */

static bool is_space(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

static int64_t count_words(sv_str text)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < text.n; i++)
        n += !is_space(text.p[i]) && (i == 0 || is_space(text.p[i - 1]));
    return n;
}

/* At most QUOTE_CHARACTERS characters on one line. */
static void put_quote(sv_str text, buf *out)
{
    size_t at = 0, characters = 0;
    bool space = false;
    while (at < text.n && characters < QUOTE_CHARACTERS) {
        size_t n = utf8_sequence((const uint8_t *)text.p + at, text.n - at);
        if (n == 0) break;
        if (n == 1 && is_space(text.p[at])) {
            space = characters > 0;
        } else {
            if (space) buf_putc(out, ' ');
            characters += 1 + (size_t)space;
            space = false;
            buf_put(out, text.p + at, n);
        }
        at += n;
    }
    if (at < text.n) buf_puts(out, "...");
}

static void compose(demo *d, sv_str asked)
{
    buf *b = &d->text;
    buf_puts(b, "This is demo, a small program inside Samovar that always says the same: it is no "
                "AI model. ");
    buf_printf(
        b,
        "Your message went from %s/%u through the broker to router/%u, each time as a msgpack "
        "message, and these words come back the same way, one by one; `samovar tap` shows them. ",
        sv_call_caller(d->call), sv_call_caller_instance(d->call), sv_instance(d->router->process));
    if (asked.n > 0) {
        buf_puts(b, "You wrote: \"");
        put_quote(asked, b);
        buf_puts(b, "\" ");
    } else {
        buf_puts(b, "There was no user message in it. ");
    }
    buf_puts(b, "For answers from a model, set OPENAI_API_KEY, OPENROUTER_API_KEY, GROQ_API_KEY or "
                "ANTHROPIC_API_KEY, or start Ollama on this machine.");
}

/* ---- writing ---- */

static int put_word(demo *d, sv_str word, buf *out)
{
    buf text;
    buf_init(&text, TEXT_MAX * 6);
    buf_json_escape(&text, word);
    int rc = text.failed
                 ? text.error
                 : d->client->writer_event(
                       d->writer, &(llm_event){.kind = LLM_TEXT, .text = buf_str(&text)}, out);
    buf_free(&text);
    return rc;
}

static int put_end(demo *d, buf *out)
{
    llm_event finish = {.kind = LLM_FINISH, .finish = LLM_STOP};
    llm_event usage = {.kind = LLM_USAGE, .usage = &d->tokens};
    int rc = d->client->writer_event(d->writer, &finish, out);
    if (rc == 0) rc = d->client->writer_event(d->writer, &usage, out);
    return rc ? rc : d->client->writer_end(d->writer, out);
}

/* ---- life ---- */

static void demo_free(demo *d)
{
    loop_timer_stop(d->router->loop, &d->timer);
    if (d->wait) ledger_forget(d->wait);
    sv_on_cancel(d->call, NULL);
    if (d->writer) d->client->writer_free(d->writer);
    buf_free(&d->text);
    free(d);
}

static void on_kept(void *arg, int code, const sv_error *err);

/* Counts the answer and hands it to the ledger. */
static int settle(demo *d, int code, sv_error *why)
{
    const char *outcome = attempt_outcome(code);
    uint64_t took_us = loop_now_us(d->router->loop) - d->started_us;
    tokens none = {.known = false};
    attempt a = {.id = d->attempt,
                 .call = d->call,
                 .asked = d->asked,
                 .provider = "demo",
                 .model = "demo",
                 .listed = true,
                 .priced = true,
                 .streamed = d->stream,
                 .outcome = outcome,
                 .tokens = code ? &none : &d->tokens,
                 .latency_us = took_us,
                 .first_byte_us = d->stream ? d->first_us : took_us};
    metric_add(metric_get(M_PROVIDER_REQUESTS, (const char *const[]){"demo", outcome}), 1);
    return attempt_note(d->router, &a, code == SV_E_CANCELLED ? NULL : on_kept, d, &d->wait, why);
}

static void on_cancel(sv_call *call)
{
    sv_error unused = {0};
    demo *d = sv_call_data(call);
    if (d->wait == NULL) settle(d, SV_E_CANCELLED, &unused);
    demo_free(d);
    sv_refuse(call, SV_E_CANCELLED, NULL);
}

/* ---- the last frame ---- */

static void reply_plain(demo *d)
{
    router_complete_head head = {.http_status = 200,
                                 .content_type = sv_cstr("application/json"),
                                 .provider = sv_cstr("demo"),
                                 .model = sv_cstr("demo"),
                                 .attempts = 1,
                                 .priced = true,
                                 .prompt_tokens = d->tokens.prompt,
                                 .completion_tokens = d->tokens.completion,
                                 .whole = true};
    buf json;
    buf_init(&json, 65536);
    int rc = put_word(d, buf_str(&d->text), &json);
    if (rc == 0) rc = put_end(d, &json);
    sv_call *call = d->call;
    demo_free(d);
    if (rc == 0) rc = json.failed ? SV_E_NO_MEMORY : sv_reply_with(call, &head, buf_str(&json));
    if (rc) sv_refuse(call, rc, NULL);
    buf_free(&json);
}

/* `code` not 0: the stream ends with an error event instead of its end marker. */
static void reply_end(demo *d, int code, const sv_error *why)
{
    const sv_error_info *info = sv_error_lookup(code);
    router_complete_end end = {.provider = sv_cstr("demo"),
                               .model = sv_cstr("demo"),
                               .prompt_tokens = d->tokens.prompt,
                               .completion_tokens = d->tokens.completion,
                               .usage_known = true,
                               .priced = true,
                               .whole = code == 0,
                               .attempts = 1,
                               .error = sv_cstr(code ? info->name : NULL)};
    sv_call *call = d->call;
    buf body, last;
    int rc = 0;
    buf_init(&body, LIMIT_PART_BYTES);
    buf_init(&last, 65536);
    if (code)
        d->client->error_event(d->writer, info->http, NULL, info->name,
                               sv_cstr(why && why->message[0] ? why->message : info->text), &last);
    else
        rc = put_end(d, &last);
    if (rc == 0) rc = sv_write(call, media(d), buf_str(&last));
    if (rc == 0) rc = message_encode(&router_complete_end_msg, &end, &body);
    demo_free(d);
    if (rc)
        sv_refuse(call, rc, NULL);
    else
        sv_reply_raw(call, NULL, buf_str(&body));
    buf_free(&body);
    buf_free(&last);
}

static void deliver(demo *d, int code, const sv_error *why)
{
    sv_call *call = d->call;
    if (d->stream) {
        reply_end(d, code, why);
    } else if (code) {
        demo_free(d);
        sv_refuse(call, code, why);
    } else {
        reply_plain(d);
    }
}

static void on_kept(void *arg, int code, const sv_error *err)
{
    demo *d = arg;
    d->wait = NULL;
    deliver(d, code, err);
}

/* Everything but the last frame is out. */
static void conclude(demo *d)
{
    sv_error why = {0};
    int rc = settle(d, 0, &why);
    if (d->wait == NULL) deliver(d, rc, &why);
}

/* The bytes before it could not be written. */
static void give_up(demo *d, int code)
{
    sv_error unused = {0};
    sv_call *call = d->call;
    settle(d, code == SV_E_CANCELLED ? code : SV_E_INTERNAL, &unused);
    demo_free(d);
    sv_refuse(call, code, NULL);
}

/* The next word with the space before it. */
static sv_str next_word(demo *d)
{
    size_t from = d->at, to = from;
    while (to < d->text.n && d->text.p[to] == ' ')
        to++;
    while (to < d->text.n && d->text.p[to] != ' ')
        to++;
    d->at = to;
    return (sv_str){d->text.p + from, (uint32_t)(to - from)};
}

static void on_tick(void *arg)
{
    demo *d = arg;
    buf out;
    int rc = 0;
    buf_init(&out, 65536);
    if (d->at == 0) d->first_us = loop_now_us(d->router->loop) - d->started_us;
    bool waits = sv_write_pending(d->call) > PENDING_MAX;
    do {
        if (!waits) rc = put_word(d, next_word(d), &out);
    } while (rc == 0 && d->router->demo_delay_ms == 0 && !waits && d->at < d->text.n &&
             out.n < 32768);
    bool end = d->at >= d->text.n;
    if (rc == 0 && out.n) rc = sv_write(d->call, media(d), buf_str(&out));
    buf_free(&out);
    if (rc == 0 && !end) {
        uint64_t ms = waits && d->router->demo_delay_ms < 10 ? 10 : d->router->demo_delay_ms;
        rc = loop_timer_set(d->router->loop, &d->timer, ms * 1000, on_tick, d);
        if (rc == 0) return;
    }
    if (rc)
        give_up(d, rc);
    else
        conclude(d);
}

static int start_stream(demo *d)
{
    router_complete_head head = {.http_status = 200,
                                 .content_type = sv_cstr(media(d)),
                                 .provider = sv_cstr("demo"),
                                 .model = sv_cstr("demo"),
                                 .attempts = 1};
    buf first;
    buf_init(&first, 65536);
    llm_event start = {.kind = LLM_START, .model = sv_cstr("demo")};
    int rc = d->client->writer_event(d->writer, &start, &first);
    if (rc == 0) rc = sv_partial(d->call, &router_complete_head_msg, &head, buf_str(&first));
    buf_free(&first);
    if (rc == 0)
        rc = loop_timer_set(d->router->loop, &d->timer, (uint64_t)d->router->demo_delay_ms * 1000,
                            on_tick, d);
    return rc ? rc : SV_PENDING;
}

static int begin(demo *d, const router_complete_req *req, sv_str body)
{
    llm_features f;
    buf last;
    char *to = d->id;
    char text[UUID_TEXT + 1];
    arena *a = sv_call_arena(d->call);
    int rc = d->client->parse(body, a, &d->request, sv_call_error(d->call));
    if (rc) return rc;
    llm_features_of(&d->request, &f);
    buf_init(&d->text, TEXT_MAX);
    buf_init(&last, SOURCE_MAX);
    rc = llm_decode(f.last_user, &last);
    compose(d, buf_str(&last));
    buf_free(&last);
    if (rc || d->text.failed) return SV_E_NO_MEMORY;
    d->tokens = (tokens){
        .known = true, .prompt = f.prompt_tokens, .completion = count_words(buf_str(&d->text))};
    uuid_format(sv_call_id(d->call), text);
    for (const char *c = text; *c; c++)
        if (*c != '-') *to++ = *c;
    *to = 0;
    llm_writer_spec spec = {.stream = req->stream,
                            .include_usage = req->include_usage,
                            .id = d->id,
                            .model = sv_cstr("demo"),
                            .created = (int64_t)(loop_unix_us(d->router->loop) / 1000000),
                            .request = &d->request};
    d->writer = d->client->writer_new(&spec);
    return d->writer ? 0 : SV_E_NO_MEMORY;
}

int demo_complete(router *r, sv_call *call, const router_complete_req *req, const llm_ops *client,
                  sv_str body)
{
    demo *d = calloc(1, sizeof *d);
    if (d == NULL) return SV_E_NO_MEMORY;
    d->router = r;
    d->call = call;
    d->asked = req->model;
    d->client = client;
    d->stream = req->stream;
    d->attempt = uuid_new();
    d->started_us = loop_now_us(r->loop);
    int rc = begin(d, req, body);
    if (rc == 0) {
        sv_call_set_data(call, d);
        sv_on_cancel(call, on_cancel);
        if (!req->stream) {
            conclude(d);
            return SV_PENDING;
        }
        rc = start_stream(d);
    }
    if (rc != SV_PENDING) demo_free(d);
    return rc;
}
