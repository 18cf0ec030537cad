/*  responses_answer.c - answers for clients of OpenAI's /responses.
 *
 *  An answer is a list of items, each begun once and done once; its last event repeats all of it, so
 *  everything is kept until the end. A message or a reasoning item is done when something else
 *  begins; calls are done at the end, for pieces of several may alternate. What only the end tells
 *  (a signature behind the next item) is in the last event at least.
 *
 *  Signatures of thinking become encrypted_content. A call has no field for one: there it is a member
 *  "signature", which clients return with the item as they return all of it.
 *
 *  Of the request short members are repeated, as the format wants: what is longer than ECHO is null or
 *  empty, for it would be sent three times. */
#include "error.h"
#include "parse.h"
#include "responses.h"
#include "whole.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ITEMS = 1024,            /* of an answer */
    ANSWER_BYTES = 32 << 20, /* of all items' texts */
    ECHO = 32 << 10,         /* of one repeated member */
    ERROR_BYTES = 64 << 10,  /* of a failure's words */
    ID = 64
};

typedef enum item_kind { MESSAGE, REFUSAL, REASONING, CALL } item_kind;

typedef struct item {
    item_kind kind;
    bool part;          /* the reasoning has its summary part */
    const char *status; /* NULL: not done */
    buf text;           /* of the part, or arguments */
    buf opaque;
    llm_format origin;
    char id[ID];
    buf call_id, name;
} item;

enum {
    E_INSTRUCTIONS,
    E_MAX_OUTPUT,
    E_MAX_CALLS,
    E_METADATA,
    E_PARALLEL,
    E_REASONING,
    E_SAFETY,
    E_TEMPERATURE,
    E_TEXT,
    E_CHOICE,
    E_TOOLS,
    E_TOP_P,
    E_TRUNCATION,
    E_USER,
    ECHOES
};
static const struct {
    const char *name, *otherwise;
} echoes[ECHOES] = {
    [E_INSTRUCTIONS] = {"instructions", "null"},
    [E_MAX_OUTPUT] = {"max_output_tokens", "null"},
    [E_MAX_CALLS] = {"max_tool_calls", "null"},
    [E_METADATA] = {"metadata", "{}"},
    [E_PARALLEL] = {"parallel_tool_calls", "true"},
    [E_REASONING] = {"reasoning", "{\"effort\":null,\"summary\":null}"},
    [E_SAFETY] = {"safety_identifier", "null"},
    [E_TEMPERATURE] = {"temperature", "null"},
    [E_TEXT] = {"text", "{\"format\":{\"type\":\"text\"}}"},
    [E_CHOICE] = {"tool_choice", "\"auto\""},
    [E_TOOLS] = {"tools", "[]"},
    [E_TOP_P] = {"top_p", "null"},
    [E_TRUNCATION] = {"truncation", "\"disabled\""},
    [E_USER] = {"user", "null"},
};

struct llm_writer {
    bool stream, started, finished, failed;
    bool refused; /* in words */
    bool over;    /* nothing more is taken */
    char id[ID];
    buf model; /* inside of a JSON string */
    int64_t created;
    uint64_t sequence;
    json_value echo[ECHOES]; /* borrowed from the request */
    item *items;
    uint32_t n, cap;
    int32_t message, reasoning; /* the open ones, or -1 */
    int32_t last_reasoning;
    int32_t calls[LLM_CALLS]; /* items by index, or -1 */
    size_t bytes;
    llm_finish finish;
    tokens usage;
    buf error_code, error_message; /* insides, of an answer that failed */
};

/* ---- pieces of JSON ---- */

static sv_str inside_of(const buf *b)
{
    sv_str s = buf_str(b);
    return s.p ? s : (sv_str){"", 0};
}

static void put_text(buf *out, const char *key, const buf *inside)
{
    llm_put_key(out, key);
    llm_put_string(out, inside_of(inside));
}

static void put_part(const item *it, bool filled, buf *out)
{
    static const buf none = {0};
    const buf *text = filled ? &it->text : &none;
    if (it->kind == REFUSAL) {
        buf_puts(out, "{\"type\":\"refusal\"");
        put_text(out, "refusal", text);
    } else if (it->kind == REASONING) {
        buf_puts(out, "{\"type\":\"summary_text\"");
        put_text(out, "text", text);
    } else {
        buf_puts(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[]");
        put_text(out, "text", text);
    }
    buf_putc(out, '}');
}

static void put_opaque(const item *it, const char *key, buf *out)
{
    if (it->opaque.n == 0) return;
    sv_str value = buf_str(&it->opaque);
    if (it->kind == REASONING && it->origin == LLM_RESPONSES) value = responses_opaque_value(value);
    llm_put_key(out, key);
    llm_put_opaque(out, value, it->origin, LLM_RESPONSES);
}

/* `filled`: as it is now; otherwise as it began. */
static void put_item(const item *it, bool filled, buf *out)
{
    const char *status = filled && it->status ? it->status : "in_progress";
    buf_printf(out, "{\"id\":\"%s\"", it->id);
    if (it->kind == REASONING) {
        buf_puts(out, ",\"type\":\"reasoning\",\"summary\":[");
        if (filled && it->part) put_part(it, true, out);
        buf_putc(out, ']');
        if (filled) put_opaque(it, "encrypted_content", out);
    } else if (it->kind == CALL) {
        buf_printf(out, ",\"type\":\"function_call\",\"status\":\"%s\"", status);
        put_text(out, "call_id", &it->call_id);
        put_text(out, "name", &it->name);
        buf_puts(out, ",\"arguments\":");
        llm_put_string(out, filled ? inside_of(&it->text) : (sv_str){"", 0});
        if (filled) put_opaque(it, "signature", out);
    } else {
        buf_printf(out,
                   ",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[",
                   status);
        if (filled) put_part(it, true, out);
        buf_putc(out, ']');
    }
    buf_putc(out, '}');
}

static void put_usage(const tokens *u, buf *out)
{
    buf_printf(out,
               "{\"input_tokens\":%" PRId64 ",\"input_tokens_details\":{\"cached_tokens\":%" PRId64
               ",\"cache_write_tokens\":%" PRId64 "},\"output_tokens\":%" PRId64
               ",\"output_tokens_details\":{\"reasoning_tokens\":%" PRId64
               "},\"total_tokens\":%" PRId64 "}",
               u->prompt, u->cached, u->cache_write, u->completion, u->reasoning,
               u->prompt + u->completion);
}

/* Why the answer is not whole; NULL: it is. */
static const char *cut_reason(const llm_writer *w)
{
    switch (w->finish) {
    case LLM_REFUSAL: return w->refused ? NULL : "content_filter";
    case LLM_FILTER: return "content_filter";
    case LLM_LENGTH:
    case LLM_CONTEXT:
    case LLM_PAUSE:
    case LLM_OTHER: return "max_output_tokens";
    case LLM_STOP:
    case LLM_STOP_SEQUENCE:
    case LLM_TOOL_CALLS: break;
    }
    return NULL;
}

static const char *status_of(const llm_writer *w)
{
    if (w->failed) return "failed";
    if (!w->finished) return "in_progress";
    return cut_reason(w) ? "incomplete" : "completed";
}

/* An answer is cut in its last item. */
static const char *end_status(const llm_writer *w, uint32_t index)
{
    bool cut = w->failed || cut_reason(w) != NULL;
    return w->over && cut && index + 1 == w->n ? "incomplete" : "completed";
}

static void put_echoes(const llm_writer *w, buf *out)
{
    for (size_t i = 0; i < ECHOES; i++) {
        llm_put_key(out, echoes[i].name);
        if (w->echo[i].type == JSON_NONE || w->echo[i].raw.n > ECHO)
            buf_puts(out, echoes[i].otherwise);
        else
            llm_put_line(out, w->echo[i].raw);
    }
}

/* The whole response object. */
static void put_response(const llm_writer *w, buf *out)
{
    const char *status = status_of(w), *reason = w->finished ? cut_reason(w) : NULL;
    buf_printf(
        out, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRId64 ",\"status\":\"%s\"",
        w->id, w->created, status);
    if (w->failed) {
        buf_puts(out, ",\"error\":{");
        put_text(out, "code", &w->error_code);
        put_text(out, "message", &w->error_message);
        buf_puts(out, "}");
    } else {
        buf_puts(out, ",\"error\":null");
    }
    if (reason && !w->failed)
        buf_printf(out, ",\"incomplete_details\":{\"reason\":\"%s\"}", reason);
    else
        buf_puts(out, ",\"incomplete_details\":null");
    put_text(out, "model", &w->model);
    buf_puts(out, ",\"output\":[");
    for (uint32_t i = 0; i < w->n; i++) {
        if (i) buf_putc(out, ',');
        put_item(&w->items[i], true, out);
    }
    buf_puts(out, "],\"background\":false,\"previous_response_id\":null,\"store\":false");
    put_echoes(w, out);
    buf_puts(out, ",\"usage\":");
    if (llm_has_tokens(&w->usage))
        put_usage(&w->usage, out);
    else
        buf_puts(out, "null");
    buf_putc(out, '}');
}

/* ---- events ---- */

static void begin(llm_writer *w, const char *type, buf *out)
{
    buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%" PRIu64, type, type,
               w->sequence++);
}

static void end(buf *out)
{
    buf_puts(out, "}\n\n");
}

/* The event's place: the item, and the part that all items but calls have. */
static void place(const llm_writer *w, const item *it, buf *out)
{
    buf_printf(out, ",\"item_id\":\"%s\",\"output_index\":%u", it->id, (unsigned)(it - w->items));
    if (it->kind == REASONING)
        buf_puts(out, ",\"summary_index\":0");
    else if (it->kind != CALL)
        buf_puts(out, ",\"content_index\":0");
}

static void lifecycle(llm_writer *w, const char *type, buf *out)
{
    if (!w->stream) return;
    begin(w, type, out);
    buf_puts(out, ",\"response\":");
    put_response(w, out);
    end(out);
}

static void item_event(llm_writer *w, const item *it, bool done, buf *out)
{
    if (!w->stream) return;
    begin(w, done ? "response.output_item.done" : "response.output_item.added", out);
    buf_printf(out, ",\"output_index\":%u,\"item\":", (unsigned)(it - w->items));
    put_item(it, done, out);
    end(out);
}

static void part_event(llm_writer *w, const item *it, bool done, buf *out)
{
    if (!w->stream) return;
    if (it->kind == REASONING)
        begin(w,
              done ? "response.reasoning_summary_part.done"
                   : "response.reasoning_summary_part.added",
              out);
    else
        begin(w, done ? "response.content_part.done" : "response.content_part.added", out);
    place(w, it, out);
    buf_puts(out, ",\"part\":");
    put_part(it, done, out);
    end(out);
}

static const struct {
    const char *delta, *done, *field;
} texts[] = {
    [MESSAGE] = {"response.output_text.delta", "response.output_text.done", "text"},
    [REFUSAL] = {"response.refusal.delta", "response.refusal.done", "refusal"},
    [REASONING] = {"response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
                   "text"},
    [CALL] = {"response.function_call_arguments.delta", "response.function_call_arguments.done",
              "arguments"},
};

static void text_event(llm_writer *w, const item *it, bool done, sv_str inside, buf *out)
{
    if (!w->stream) return;
    begin(w, done ? texts[it->kind].done : texts[it->kind].delta, out);
    place(w, it, out);
    llm_put_key(out, done ? texts[it->kind].field : "delta");
    llm_put_string(out, inside);
    if (it->kind == MESSAGE) buf_puts(out, ",\"logprobs\":[]");
    end(out);
}

static void start(llm_writer *w, buf *out)
{
    if (w->started) return;
    w->started = true;
    lifecycle(w, "response.created", out);
    lifecycle(w, "response.in_progress", out);
}

/* ---- items ---- */

static int keep(llm_writer *w, buf *to, sv_str bytes)
{
    if (bytes.n > ANSWER_BYTES - w->bytes) return SV_E_PROVIDER_TOO_LARGE;
    w->bytes += bytes.n;
    return bytes.n ? buf_put(to, bytes.p, bytes.n) : 0;
}

static int open_item(llm_writer *w, item_kind kind, int32_t *ret)
{
    static const char *const prefixes[] = {"msg", "msg", "rs", "fc"};
    if (w->n == ITEMS) return SV_E_PROVIDER_TOO_LARGE;
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? 2 * w->cap : 4;
        item *more = realloc(w->items, cap * sizeof *more);
        if (more == NULL) return SV_E_NO_MEMORY;
        w->items = more;
        w->cap = cap;
    }
    item *it = &w->items[w->n];
    *it = (item){.kind = kind};
    buf_init(&it->text, ANSWER_BYTES);
    buf_init(&it->opaque, ANSWER_BYTES);
    buf_init(&it->call_id, ANSWER_BYTES);
    buf_init(&it->name, ANSWER_BYTES);
    snprintf(it->id, sizeof it->id, "%s_%.40s_%u", prefixes[kind], w->id + 5, w->n);
    *ret = (int32_t)w->n++;
    return 0;
}

static void close_item(llm_writer *w, int32_t index, buf *out)
{
    item *it = &w->items[index];
    if (it->status) return;
    it->status = end_status(w, (uint32_t)index);
    if (it->kind == CALL && it->text.n == 0) buf_puts(&it->text, "{}");
    if (it->kind != REASONING || it->part) text_event(w, it, true, inside_of(&it->text), out);
    if (it->kind != CALL && (it->kind != REASONING || it->part)) part_event(w, it, true, out);
    item_event(w, it, true, out);
}

static void close_message(llm_writer *w, buf *out)
{
    if (w->message >= 0) close_item(w, w->message, out);
    w->message = -1;
}

static void close_reasoning(llm_writer *w, buf *out)
{
    if (w->reasoning >= 0) close_item(w, w->reasoning, out);
    w->reasoning = -1;
}

static int on_text(llm_writer *w, item_kind kind, sv_str inside, buf *out)
{
    if (inside.n == 0) return 0;
    close_reasoning(w, out);
    if (w->message >= 0 && w->items[w->message].kind != kind) close_message(w, out);
    if (w->message < 0) {
        int rc = open_item(w, kind, &w->message);
        if (rc) return rc;
        item_event(w, &w->items[w->message], false, out);
        part_event(w, &w->items[w->message], false, out);
    }
    item *it = &w->items[w->message];
    text_event(w, it, false, inside, out);
    return keep(w, &it->text, inside);
}

static int open_reasoning(llm_writer *w, buf *out)
{
    close_reasoning(w, out);
    int rc = open_item(w, REASONING, &w->reasoning);
    if (rc) return rc;
    w->last_reasoning = w->reasoning;
    item_event(w, &w->items[w->reasoning], false, out);
    return 0;
}

static int on_thinking(llm_writer *w, sv_str inside, buf *out)
{
    if (inside.n == 0) return 0;
    close_message(w, out);
    if (w->reasoning < 0 || w->items[w->reasoning].opaque.n) {
        int rc = open_reasoning(w, out);
        if (rc) return rc;
    }
    item *it = &w->items[w->reasoning];
    if (!it->part) part_event(w, it, false, out);
    it->part = true;
    text_event(w, it, false, inside, out);
    return keep(w, &it->text, inside);
}

/* Opaque thinking is an item of its own; a signature belongs to the thinking before it. */
static int on_opaque(llm_writer *w, const llm_event *e, buf *out)
{
    item *it = NULL;
    if (e->kind == LLM_SIGNATURE && e->index >= 0) {
        if (e->index >= LLM_CALLS || w->calls[e->index] < 0) return SV_E_PROVIDER_GARBAGE;
        it = &w->items[w->calls[e->index]];
    } else if (e->kind == LLM_SIGNATURE && w->reasoning >= 0) {
        it = &w->items[w->reasoning];
    } else if (e->kind == LLM_SIGNATURE && w->last_reasoning >= 0 &&
               w->items[w->last_reasoning].opaque.n == 0) {
        it = &w->items[w->last_reasoning];
    } else {
        if (e->kind == LLM_OPAQUE) close_message(w, out);
        int rc = open_reasoning(w, out);
        if (rc) return rc;
        it = &w->items[w->reasoning];
    }
    it->origin = e->origin;
    int rc = keep(w, &it->opaque, e->text);
    if (e->kind == LLM_OPAQUE) close_reasoning(w, out);
    return rc;
}

static int on_call(llm_writer *w, const llm_event *e, buf *out)
{
    int32_t at;
    if (e->index < 0 || e->index >= LLM_CALLS || w->calls[e->index] >= 0)
        return SV_E_PROVIDER_GARBAGE;
    close_reasoning(w, out);
    close_message(w, out);
    int rc = open_item(w, CALL, &at);
    if (rc) return rc;
    w->calls[e->index] = at;
    item *it = &w->items[at];
    char made_up[40];
    if (e->id.n == 0) llm_make_id("call_", made_up);
    rc = keep(w, &it->call_id, e->id.n ? e->id : sv_cstr(made_up));
    if (rc == 0) rc = keep(w, &it->name, e->name);
    if (rc == 0) item_event(w, it, false, out);
    return rc;
}

static int on_arguments(llm_writer *w, const llm_event *e, buf *out)
{
    if (e->text.n == 0) return 0;
    if (e->index < 0 || e->index >= LLM_CALLS || w->calls[e->index] < 0)
        return SV_E_PROVIDER_GARBAGE;
    item *it = &w->items[w->calls[e->index]];
    if (e->text.n > LLM_ARGUMENTS_BYTES - it->text.n) return SV_E_PROVIDER_TOO_LARGE;
    text_event(w, it, false, e->text, out);
    return keep(w, &it->text, e->text);
}

/* ---- ends ---- */

/* The one word of the format's list that comes nearest. */
static const char *error_code(int status)
{
    if (status == 429) return "rate_limit_exceeded";
    return status == 400 || status == 413 || status == 422 ? "invalid_prompt" : "server_error";
}

static void close_all(llm_writer *w, buf *out)
{
    w->over = true;
    close_reasoning(w, out);
    close_message(w, out);
    for (uint32_t i = 0; i < w->n; i++)
        close_item(w, (int32_t)i, out);
}

static void put_error(llm_writer *w, sv_str code, sv_str message, buf *out)
{
    buf_printf(out,
               "event: error\ndata: {\"type\":\"error\",\"sequence_number\":%" PRIu64 ",\"code\":",
               w ? w->sequence++ : 0);
    if (code.n)
        llm_put_string(out, code);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"message\":");
    llm_put_string(out, message);
    buf_puts(out, ",\"param\":null");
    end(out);
}

/* Clients stop at `error`; those that do not know it see response.failed. Words are insides. */
static void fail(llm_writer *w, int status, sv_str code, sv_str message, buf *out)
{
    if (message.n == 0 || message.n > ERROR_BYTES) message = sv_cstr("The answer failed.");
    buf_puts(&w->error_code, error_code(status));
    buf_put(&w->error_message, message.p, message.n);
    w->failed = w->over = true;
    if (!w->stream) return;
    put_error(w, code.n ? code : buf_str(&w->error_code), message, out);
    if (w->started) {
        close_all(w, out);
        lifecycle(w, "response.failed", out);
    }
}

void responses_error_event(llm_writer *w, int status, const char *type, const char *code,
                           sv_str message, buf *out)
{
    buf words, word;
    (void)type; /* the event's own type is "error" */
    buf_init(&words, 6 * (size_t)message.n + 1);
    buf_init(&word, 256);
    buf_json_escape(&words, message);
    if (code) buf_json_escape(&word, sv_cstr(code));
    if (w == NULL)
        put_error(NULL, buf_str(&word), inside_of(&words), out);
    else if (!w->over)
        fail(w, status, buf_str(&word), inside_of(&words), out);
    buf_free(&words);
    buf_free(&word);
}

int responses_writer_event(llm_writer *w, const llm_event *e, buf *out)
{
    int rc = 0;
    if (w->over || e->choice > 0) return 0;
    if (e->kind != LLM_FAILED) start(w, out);
    switch (e->kind) {
    case LLM_START: break;
    case LLM_TEXT: rc = on_text(w, MESSAGE, e->text, out); break;
    case LLM_REFUSED:
        w->refused = true;
        rc = on_text(w, REFUSAL, e->text, out);
        break;
    case LLM_THINKING: rc = on_thinking(w, e->text, out); break;
    case LLM_SIGNATURE:
    case LLM_OPAQUE: rc = on_opaque(w, e, out); break;
    case LLM_CALL: rc = on_call(w, e, out); break;
    case LLM_ARGUMENTS: rc = on_arguments(w, e, out); break;
    case LLM_USAGE:
        if (e->usage) w->usage = *e->usage;
        break;
    case LLM_FINISH:
        w->finished = true;
        w->finish = e->finish;
        break;
    case LLM_FAILED: break; /* the caller says it by error_event */
    }
    if (rc) return rc;
    return out->failed ? out->error : 0;
}

int responses_writer_end(llm_writer *w, buf *out)
{
    if (!w->over && !w->finished) {
        start(w, out);
        fail(w, 502, (sv_str){NULL, 0}, sv_cstr("The answer ended early."), out);
    }
    if (!w->over) {
        start(w, out);
        close_all(w, out);
        lifecycle(w, cut_reason(w) ? "response.incomplete" : "response.completed", out);
    }
    if (!w->stream) {
        close_all(w, out);
        put_response(w, out);
    }
    return out->failed ? out->error : 0;
}

/* ---- life ---- */

static void read_echoes(llm_writer *w, const llm_request *q)
{
    const char *names[ECHOES];
    if (q == NULL || q->format != LLM_RESPONSES || q->json.n == 0) return;
    for (size_t i = 0; i < ECHOES; i++)
        names[i] = echoes[i].name;
    llm_members(json_root(q->json), names, ECHOES, w->echo);
}

llm_writer *responses_writer_new(const llm_writer_spec *spec)
{
    llm_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->stream = spec->stream;
    w->created = spec->created;
    w->message = w->reasoning = w->last_reasoning = -1;
    for (size_t i = 0; i < LLM_CALLS; i++)
        w->calls[i] = -1;
    snprintf(w->id, sizeof w->id, "resp_%.40s", spec->id);
    buf_init(&w->model, 6 * (size_t)spec->model.n + 1);
    buf_init(&w->error_code, 256);
    buf_init(&w->error_message, ERROR_BYTES);
    read_echoes(w, spec->request);
    if (buf_json_escape(&w->model, spec->model)) {
        responses_writer_free(w);
        return NULL;
    }
    return w;
}

void responses_writer_free(llm_writer *w)
{
    if (w == NULL) return;
    for (uint32_t i = 0; i < w->n; i++) {
        buf_free(&w->items[i].text);
        buf_free(&w->items[i].opaque);
        buf_free(&w->items[i].call_id);
        buf_free(&w->items[i].name);
    }
    free(w->items);
    buf_free(&w->model);
    buf_free(&w->error_code);
    buf_free(&w->error_message);
    free(w);
}
