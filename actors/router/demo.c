/*  demo.c - the built-in model demo: a fixed text about the path the message took, with a short
 *  quote of what was asked. It always answers, so that a newcomer sees the path work before any key
 *  is set.
 *
 *  The reply is made whole at the start as a list of words; a stream sends one word a tick. The
 *  quote is foreign text: its control characters become spaces, it is cut at a character's end, and
 *  it reaches JSON only through the escaper. */
#include "answer.h"
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
    buf text;
    size_t at; /* next word */
    bool include_usage, stream;
    int64_t prompt_tokens, completion_tokens, created;
    char id[UUID_TEXT + 1];
    loop_timer timer;
    sv_id attempt;
    uint64_t started_us, first_us;
    ledger_item *wait; /* the ledger will call on_kept */
} demo;

static const char event_stream[] = "text/event-stream";

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

/* Appends the text of a message: a string, or the text parts of a list. */
static void message_text(json_value content, buf *out)
{
    json_value part;
    if (content.type == JSON_STRING) {
        json_text(content, out);
        return;
    }
    for (size_t at = 0; content.type == JSON_ARRAY && json_next_element(content, &at, &part);) {
        if (!json_string_is(json_get(part, "type"), "text")) continue;
        if (out->n) buf_putc(out, ' ');
        json_text(json_get(part, "text"), out);
    }
}

/* The last user message in `last`; the words of all messages. */
static int64_t read_messages(sv_str body, buf *last)
{
    json_value list = json_get(json_root(body), "messages"), m;
    int64_t words = 0;
    buf text;
    buf_init(&text, SOURCE_MAX);
    for (size_t at = 0; list.type == JSON_ARRAY && json_next_element(list, &at, &m);) {
        buf_reset(&text, 65536);
        message_text(json_get(m, "content"), &text);
        words += count_words(buf_str(&text));
        if (!json_string_is(json_get(m, "role"), "user")) continue;
        buf_reset(last, 65536);
        buf_put(last, text.p, text.n);
    }
    buf_free(&text);
    return words;
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

static void put_head(const demo *d, const char *object, buf *out)
{
    buf_printf(
        out, "{\"id\":\"chatcmpl-%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":\"demo\"",
        d->id, object, d->created);
}

static void put_usage(const demo *d, buf *out)
{
    buf_printf(out,
               "{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64
               ",\"total_tokens\":%" PRId64 "}",
               d->prompt_tokens, d->completion_tokens, d->prompt_tokens + d->completion_tokens);
}

/* One chunk; `word` {NULL, 0} is the first, which names the role; `finish` the last. */
static void put_chunk(const demo *d, sv_str word, bool finish, buf *out)
{
    buf_puts(out, "data: ");
    put_head(d, "chat.completion.chunk", out);
    buf_puts(out, ",\"choices\":[{\"index\":0,\"delta\":{");
    if (word.p == NULL && !finish) {
        buf_puts(out, "\"role\":\"assistant\",\"content\":\"\"");
    } else if (!finish) {
        buf_puts(out, "\"content\":\"");
        buf_json_escape(out, word);
        buf_putc(out, '"');
    }
    buf_printf(out, "},\"logprobs\":null,\"finish_reason\":%s}]", finish ? "\"stop\"" : "null");
    buf_puts(out, d->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

static void put_end(const demo *d, buf *out)
{
    put_chunk(d, (sv_str){NULL, 0}, true, out);
    if (d->include_usage) {
        buf_puts(out, "data: ");
        put_head(d, "chat.completion.chunk", out);
        buf_puts(out, ",\"choices\":[],\"usage\":");
        put_usage(d, out);
        buf_puts(out, "}\n\n");
    }
}

static void put_plain(const demo *d, buf *out)
{
    put_head(d, "chat.completion", out);
    buf_puts(out, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    buf_json_escape(out, buf_str(&d->text));
    buf_puts(out, "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":");
    put_usage(d, out);
    buf_putc(out, '}');
}

/* ---- life ---- */

static void demo_free(demo *d)
{
    loop_timer_stop(d->router->loop, &d->timer);
    if (d->wait) ledger_forget(d->wait);
    sv_on_cancel(d->call, NULL);
    buf_free(&d->text);
    free(d);
}

static void on_kept(void *arg, int code, const sv_error *err);

/* Counts the answer and hands it to the ledger. */
static int settle(demo *d, int code, sv_error *why)
{
    const char *outcome = attempt_outcome(code);
    uint64_t took_us = loop_now_us(d->router->loop) - d->started_us;
    tokens t = {.known = false};
    if (code == 0) t = (tokens){true, d->prompt_tokens, d->completion_tokens, 0, 0};
    attempt a = {.id = d->attempt,
                 .call = d->call,
                 .asked = sv_cstr("demo"),
                 .provider = "demo",
                 .model = "demo",
                 .listed = true,
                 .free = true,
                 .streamed = d->stream,
                 .outcome = outcome,
                 .tokens = &t,
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
                                 .attempts = 1};
    buf json;
    buf_init(&json, 65536);
    put_plain(d, &json);
    sv_call *call = d->call;
    demo_free(d);
    int rc = json.failed ? SV_E_NO_MEMORY : sv_reply_with(call, &head, buf_str(&json));
    if (rc) sv_refuse(call, rc, NULL);
    buf_free(&json);
}

/* `code` not 0: the stream ends with an error event instead of [DONE]. */
static void reply_end(demo *d, int code, const sv_error *why)
{
    const sv_error_info *info = sv_error_lookup(code);
    router_complete_end end = {.provider = sv_cstr("demo"),
                               .model = sv_cstr("demo"),
                               .prompt_tokens = d->prompt_tokens,
                               .completion_tokens = d->completion_tokens,
                               .usage_known = true,
                               .error = sv_cstr(code ? info->name : NULL)};
    sv_call *call = d->call;
    buf body, last;
    buf_init(&body, LIMIT_PART_BYTES);
    buf_init(&last, 4096);
    buf_puts(&last, "data: ");
    if (code)
        answer_put_error(&last, why && why->message[0] ? why->message : info->text, "server_error",
                         info->name);
    else
        buf_puts(&last, "[DONE]");
    buf_puts(&last, "\n\n");
    int rc = sv_write(call, event_stream, buf_str(&last));
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
    buf_init(&out, 65536);
    if (d->at == 0) d->first_us = loop_now_us(d->router->loop) - d->started_us;
    bool waits = sv_write_pending(d->call) > PENDING_MAX;
    do {
        if (!waits) put_chunk(d, next_word(d), false, &out);
    } while (d->router->demo_delay_ms == 0 && !waits && d->at < d->text.n && out.n < 32768);
    bool end = d->at >= d->text.n;
    if (end) put_end(d, &out);
    int rc = out.n ? sv_write(d->call, event_stream, buf_str(&out)) : 0;
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
                                 .content_type = sv_cstr(event_stream),
                                 .provider = sv_cstr("demo"),
                                 .model = sv_cstr("demo"),
                                 .attempts = 1};
    buf first;
    buf_init(&first, 4096);
    put_chunk(d, (sv_str){NULL, 0}, false, &first);
    int rc = first.failed ? SV_E_NO_MEMORY
                          : sv_partial(d->call, &router_complete_head_msg, &head, buf_str(&first));
    buf_free(&first);
    if (rc == 0)
        rc = loop_timer_set(d->router->loop, &d->timer, (uint64_t)d->router->demo_delay_ms * 1000,
                            on_tick, d);
    if (rc) {
        demo_free(d);
        return rc;
    }
    return SV_PENDING;
}

int demo_complete(router *r, sv_call *call, const router_complete_req *req, sv_str body)
{
    demo *d = calloc(1, sizeof *d);
    buf last;
    if (d == NULL) return SV_E_NO_MEMORY;
    d->router = r;
    d->call = call;
    d->include_usage = req->include_usage;
    d->stream = req->stream;
    d->attempt = uuid_new();
    d->started_us = loop_now_us(r->loop);
    d->created = (int64_t)(loop_unix_us(r->loop) / 1000000);
    uuid_format(sv_call_id(call), d->id);
    buf_init(&d->text, TEXT_MAX);
    buf_init(&last, SOURCE_MAX);
    d->prompt_tokens = read_messages(body, &last);
    compose(d, buf_str(&last));
    buf_free(&last);
    d->completion_tokens = count_words(buf_str(&d->text));
    if (d->text.failed) {
        demo_free(d);
        return SV_E_NO_MEMORY;
    }
    sv_call_set_data(call, d);
    sv_on_cancel(call, on_cancel);
    if (req->stream) return start_stream(d);
    conclude(d);
    return SV_PENDING;
}
