/*  openai_answer.c - an answer for clients of /chat/completions: chunks, or the whole body.
 *
 *  What every chunk begins with is made once. Small pieces of a call's arguments are gathered to
 *  PIECE bytes, because clients count fragments. Signatures go out as entries of
 *  reasoning_details that hold all they sign, so a client that sends them back needs to put
 *  nothing together. */
#include "error.h"
#include "error_types.h"
#include "openai.h"
#include "parse.h"
#include "whole.h"

#include <stdlib.h>

enum { PIECE = 32, THINKING_BYTES = 4 << 20 };

struct llm_writer {
    bool stream, include_usage, failed;
    bool hide_thinking; /* the client does not want it */
    bool old_calls;     /* the client knows function_call alone: the first call of each choice */
    buf head;           /* data: {"id":...,"model":"..." */
    llm_whole whole;    /* of a plain answer; of a stream: usage */
    bool begun[LLM_CHOICES], finished[LLM_CHOICES], refused[LLM_CHOICES];
    uint32_t n_choices;
    struct {
        uint32_t choice;
        int32_t index; /* the event's */
        uint32_t nth;  /* among the choice's calls */
    } calls[LLM_CALLS];
    uint32_t n_calls;
    buf pending; /* arguments of calls[pending_call] */
    uint32_t pending_call;
    buf thinking; /* since the last signature, of choice 0 */
    uint32_t details;
};

llm_writer *openai_writer_new(const llm_writer_spec *spec)
{
    llm_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->stream = spec->stream;
    w->include_usage = spec->include_usage;
    w->hide_thinking = spec->request && !spec->request->show_thinking;
    w->old_calls = spec->request && spec->request->old_calls;
    buf_init(&w->head, 1 << 16);
    buf_init(&w->pending, LLM_WHOLE_BYTES);
    buf_init(&w->thinking, THINKING_BYTES);
    llm_whole_init(&w->whole);
    buf_puts(&w->head, "{\"id\":\"chatcmpl-");
    buf_json_escape(&w->head, sv_cstr(spec->id));
    buf_printf(&w->head, "\",\"object\":\"chat.completion%s\",\"created\":%lld,\"model\":\"",
               w->stream ? ".chunk" : "", (long long)spec->created);
    buf_json_escape(&w->head, spec->model);
    if (buf_puts(&w->head, "\",") == 0) return w;
    openai_writer_free(w);
    return NULL;
}

void openai_writer_free(llm_writer *w)
{
    if (w == NULL) return;
    buf_free(&w->head);
    buf_free(&w->pending);
    buf_free(&w->thinking);
    llm_whole_free(&w->whole);
    free(w);
}

/* ---- chunks ---- */

static void open_chunk(const llm_writer *w, uint32_t choice, buf *out)
{
    buf_puts(out, "data: ");
    buf_put(out, w->head.p, w->head.n);
    buf_printf(out, "\"choices\":[{\"index\":%u,\"delta\":{", choice);
}

static void close_chunk(const llm_writer *w, const char *finish, buf *out)
{
    buf_puts(out, "},\"logprobs\":null,\"finish_reason\":");
    if (finish)
        buf_printf(out, "\"%s\"}]", finish);
    else
        buf_puts(out, "null}]");
    buf_puts(out, w->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

static void begin(llm_writer *w, uint32_t choice, buf *out)
{
    if (w->begun[choice]) return;
    w->begun[choice] = true;
    if (choice >= w->n_choices) w->n_choices = choice + 1;
    open_chunk(w, choice, out);
    buf_puts(out, "\"role\":\"assistant\",\"content\":\"\"");
    close_chunk(w, NULL, out);
}

static void put_piece(const llm_writer *w, const llm_event *e, const char *key, buf *out)
{
    open_chunk(w, e->choice, out);
    buf_printf(out, "\"%s\":", key);
    llm_put_string(out, e->text);
    close_chunk(w, NULL, out);
}

/* The number of the event's call, or LLM_CALLS. */
static uint32_t call_of(const llm_writer *w, const llm_event *e)
{
    for (uint32_t i = w->n_calls; i > 0; i--)
        if (w->calls[i - 1].choice == e->choice && w->calls[i - 1].index == e->index) return i - 1;
    return LLM_CALLS;
}

static void flush_arguments(llm_writer *w, buf *out)
{
    uint32_t nth = w->calls[w->pending_call].nth;
    if (w->pending.n == 0) return;
    if (!w->old_calls || nth == 0) {
        open_chunk(w, w->calls[w->pending_call].choice, out);
        if (w->old_calls)
            buf_puts(out, "\"function_call\":{\"arguments\":");
        else
            buf_printf(out, "\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", nth);
        llm_put_string(out, buf_str(&w->pending));
        buf_puts(out, w->old_calls ? "}" : "}}]");
        close_chunk(w, NULL, out);
    }
    buf_reset(&w->pending, LLM_WHOLE_BYTES);
}

static int put_arguments(llm_writer *w, const llm_event *e, buf *out)
{
    uint32_t at = call_of(w, e);
    if (at == LLM_CALLS) return 0;
    if (at != w->pending_call) flush_arguments(w, out);
    w->pending_call = at;
    int rc = buf_put(&w->pending, e->text.p, e->text.n);
    if (w->pending.n >= PIECE) flush_arguments(w, out);
    return rc;
}

static int begin_call(llm_writer *w, const llm_event *e, buf *out)
{
    uint32_t nth = 0;
    if (w->n_calls == LLM_CALLS) return SV_E_PROVIDER_TOO_LARGE;
    for (uint32_t i = 0; i < w->n_calls; i++)
        nth += w->calls[i].choice == e->choice;
    w->calls[w->n_calls].choice = e->choice;
    w->calls[w->n_calls].index = e->index;
    w->calls[w->n_calls++].nth = nth;
    if (w->old_calls && nth > 0) return 0;
    open_chunk(w, e->choice, out);
    if (w->old_calls) {
        buf_puts(out, "\"function_call\":{\"name\":");
    } else {
        buf_printf(out, "\"tool_calls\":[{\"index\":%u,\"id\":", nth);
        llm_put_string(out, e->id);
        buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    }
    llm_put_string(out, e->name);
    buf_puts(out, w->old_calls ? ",\"arguments\":\"\"}" : ",\"arguments\":\"\"}}]");
    close_chunk(w, NULL, out);
    return 0;
}

/* One entry of reasoning_details: signed words, or opaque ones (`text` NULL). */
static void put_detail(buf *out, uint32_t index, const sv_str *text, sv_str opaque,
                       llm_format origin)
{
    if (text) {
        buf_puts(out, "{\"type\":\"reasoning.text\",\"text\":");
        llm_put_string(out, *text);
        buf_puts(out, ",\"signature\":");
    } else {
        buf_puts(out, "{\"type\":\"reasoning.encrypted\",\"data\":");
    }
    llm_put_opaque(out, opaque, origin, LLM_OPENAI);
    buf_printf(out, ",\"index\":%u}", index);
}

static void put_call_signature(buf *out, sv_str signature, llm_format origin)
{
    buf_puts(out, "\"extra_content\":{\"google\":{\"thought_signature\":");
    llm_put_opaque(out, signature, origin, LLM_OPENAI);
    buf_puts(out, "}}");
}

static void put_signature(llm_writer *w, const llm_event *e, buf *out)
{
    uint32_t at = call_of(w, e);
    if (e->index >= 0 && at == LLM_CALLS) return;
    if (e->choice > 0) return;        /* w->thinking is of the first */
    bool whole = !w->thinking.failed; /* cut words would not fit their signature */
    sv_str words = buf_str(&w->thinking);
    if (e->index >= 0 && w->old_calls) return;
    if (e->index >= 0) {
        open_chunk(w, e->choice, out);
        buf_printf(out, "\"tool_calls\":[{\"index\":%u,", w->calls[at].nth);
        put_call_signature(out, e->text, e->origin);
        buf_puts(out, "}]");
        close_chunk(w, NULL, out);
        return;
    }
    if (whole) {
        open_chunk(w, e->choice, out);
        buf_puts(out, "\"reasoning_details\":[");
        put_detail(out, w->details++, &words, e->text, e->origin);
        buf_putc(out, ']');
        close_chunk(w, NULL, out);
    }
    buf_reset(&w->thinking, 1 << 16);
}

const char *openai_finish_word(llm_finish f, bool calls, bool refused)
{
    switch (f) {
    case LLM_STOP: return calls ? "tool_calls" : "stop";
    case LLM_LENGTH:
    case LLM_CONTEXT:
    case LLM_PAUSE:
    case LLM_OTHER: return "length";
    case LLM_TOOL_CALLS: return "tool_calls";
    case LLM_FILTER: return "content_filter";
    case LLM_REFUSAL: return refused ? "stop" : "content_filter";
    case LLM_STOP_SEQUENCE: break;
    }
    return "stop";
}

static const char *finish_word(const llm_writer *w, llm_finish f, bool calls, bool refused)
{
    bool old = w->old_calls && calls && (f == LLM_STOP || f == LLM_TOOL_CALLS);
    return old ? "function_call" : openai_finish_word(f, calls, refused);
}

static bool has_calls(const llm_writer *w, uint32_t choice)
{
    for (uint32_t i = 0; i < w->n_calls; i++)
        if (w->calls[i].choice == choice) return true;
    return false;
}

static void put_finish(llm_writer *w, uint32_t choice, llm_finish f, buf *out)
{
    if (w->finished[choice]) return;
    w->finished[choice] = true;
    open_chunk(w, choice, out);
    close_chunk(w, finish_word(w, f, has_calls(w, choice), w->refused[choice]), out);
}

static int stream_event(llm_writer *w, const llm_event *e, buf *out)
{
    if (e->kind != LLM_ARGUMENTS) flush_arguments(w, out);
    if (e->kind != LLM_USAGE && e->kind != LLM_FAILED) begin(w, e->choice, out);
    switch (e->kind) {
    case LLM_START: break;
    case LLM_TEXT: put_piece(w, e, "content", out); break;
    case LLM_REFUSED:
        put_piece(w, e, "refusal", out);
        w->refused[e->choice] = true;
        break;
    case LLM_THINKING:
        put_piece(w, e, "reasoning_content", out);
        if (e->choice == 0) buf_put(&w->thinking, e->text.p, e->text.n); /* full: see above */
        break;
    case LLM_SIGNATURE: put_signature(w, e, out); break;
    case LLM_OPAQUE:
        open_chunk(w, e->choice, out);
        buf_puts(out, "\"reasoning_details\":[");
        put_detail(out, w->details++, NULL, e->text, e->origin);
        buf_putc(out, ']');
        close_chunk(w, NULL, out);
        break;
    case LLM_CALL: {
        int rc = begin_call(w, e, out);
        if (rc) return rc;
        break;
    }
    case LLM_ARGUMENTS: {
        int rc = put_arguments(w, e, out);
        if (rc) return rc;
        break;
    }
    case LLM_USAGE: w->whole.usage = *e->usage; break;
    case LLM_FINISH: put_finish(w, e->choice, e->finish, out); break;
    case LLM_FAILED: break; /* the caller says it by error_event */
    }
    return out->error;
}

int openai_writer_event(llm_writer *w, const llm_event *e, buf *out)
{
    if (e->choice >= LLM_CHOICES) return SV_E_PROVIDER_TOO_LARGE;
    if (w->failed || (w->hide_thinking && llm_is_thinking(e))) return 0;
    return w->stream ? stream_event(w, e, out) : llm_whole_event(&w->whole, e);
}

/* ---- the end ---- */

void openai_put_usage(buf *out, const tokens *t)
{
    buf_printf(out,
               "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%lld",
               (long long)t->prompt, (long long)t->completion,
               (long long)t->prompt + (long long)t->completion, (long long)t->cached);
    if (t->cache_write) buf_printf(out, ",\"cache_write_tokens\":%lld", (long long)t->cache_write);
    buf_printf(out, "},\"completion_tokens_details\":{\"reasoning_tokens\":%lld}}",
               (long long)t->reasoning);
}

static void end_stream(llm_writer *w, buf *out)
{
    flush_arguments(w, out);
    begin(w, 0, out);
    for (uint32_t i = 0; i < w->n_choices; i++)
        put_finish(w, i, LLM_STOP, out);
    if (w->include_usage && llm_has_tokens(&w->whole.usage)) {
        buf_puts(out, "data: ");
        buf_put(out, w->head.p, w->head.n);
        buf_puts(out, "\"choices\":[],\"usage\":");
        openai_put_usage(out, &w->whole.usage);
        buf_puts(out, "}\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}

/* The blocks of one kind as one string under `key`; without any null, or nothing. */
static void put_joined(const llm_whole *a, uint32_t choice, llm_event_kind kind, const char *key,
                       bool always, buf *out)
{
    bool some = llm_whole_has(a, choice, kind);
    if (!some && !always) return;
    llm_put_key(out, key);
    if (!some) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    for (uint32_t i = 0; i < a->n; i++)
        if (a->blocks[i].choice == choice && a->blocks[i].kind == kind)
            buf_put(out, a->blocks[i].text.p, a->blocks[i].text.n);
    buf_putc(out, '"');
}

static void put_details(const llm_whole *a, uint32_t choice, buf *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        const llm_block *b = &a->blocks[i];
        bool is_signed = b->kind == LLM_THINKING && b->signature.n;
        if (b->choice != choice || (!is_signed && b->kind != LLM_OPAQUE)) continue;
        buf_puts(out, n ? "," : ",\"reasoning_details\":[");
        sv_str text = buf_str(&b->text);
        put_detail(out, n++, is_signed ? &text : NULL, is_signed ? buf_str(&b->signature) : text,
                   b->origin);
    }
    if (n) buf_putc(out, ']');
}

/* {"name":...,"arguments":...} */
static void put_function(const llm_block *b, buf *out)
{
    buf_puts(out, "{\"name\":");
    llm_put_string(out, buf_str(&b->name));
    buf_puts(out, ",\"arguments\":");
    llm_put_string(out, b->text.n ? buf_str(&b->text) : sv_cstr("{}"));
    buf_putc(out, '}');
}

static void put_calls(const llm_writer *w, uint32_t choice, buf *out)
{
    const llm_whole *a = &w->whole;
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        const llm_block *b = &a->blocks[i];
        if (b->choice != choice || b->kind != LLM_CALL) continue;
        if (w->old_calls) {
            buf_puts(out, ",\"function_call\":");
            put_function(b, out);
            return;
        }
        buf_puts(out, n++ ? ",{\"id\":" : ",\"tool_calls\":[{\"id\":");
        llm_put_string(out, buf_str(&b->id));
        buf_puts(out, ",\"type\":\"function\",\"function\":");
        put_function(b, out);
        if (b->signature.n) {
            buf_putc(out, ',');
            put_call_signature(out, buf_str(&b->signature), b->origin);
        }
        buf_putc(out, '}');
    }
    if (n) buf_putc(out, ']');
}

static void put_choice(const llm_writer *w, uint32_t choice, buf *out)
{
    const llm_whole *a = &w->whole;
    bool calls = llm_whole_has(a, choice, LLM_CALL),
         refused = llm_whole_has(a, choice, LLM_REFUSED);
    buf_printf(out, "%s{\"index\":%u,\"message\":{\"role\":\"assistant\"", choice ? "," : "",
               choice);
    if (calls || refused || llm_whole_has(a, choice, LLM_TEXT))
        put_joined(a, choice, LLM_TEXT, "content", true, out);
    else
        buf_puts(out, ",\"content\":\"\"");
    put_joined(a, choice, LLM_REFUSED, "refusal", true, out);
    put_joined(a, choice, LLM_THINKING, "reasoning_content", false, out);
    put_details(a, choice, out);
    put_calls(w, choice, out);
    buf_printf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}",
               finish_word(w, a->finish[choice], calls, refused));
}

int openai_writer_end(llm_writer *w, buf *out)
{
    if (w->failed) return 0;
    if (w->stream) {
        end_stream(w, out);
        return out->error;
    }
    buf_put(out, w->head.p, w->head.n);
    buf_puts(out, "\"choices\":[");
    for (uint32_t i = 0; i < w->whole.n_choices; i++)
        put_choice(w, i, out);
    buf_putc(out, ']');
    if (llm_has_tokens(&w->whole.usage)) {
        buf_puts(out, ",\"usage\":");
        openai_put_usage(out, &w->whole.usage);
    }
    return buf_putc(out, '}');
}

/* ---- errors ---- */

/* The status is HTTP's, the request's id a header: this format's body holds neither. */
void openai_error_body(int status, const char *type, const char *code, sv_str message,
                       const char *request_id, buf *out)
{
    (void)request_id;
    buf_puts(out, "{\"error\":{\"message\":\"");
    buf_json_escape(out, message);
    buf_puts(out, "\",\"type\":\"");
    buf_json_escape(out, sv_cstr(type && type[0] ? type : openai_error_type(status)));
    buf_puts(out, "\",\"param\":null,\"code\":");
    if (code && code[0]) {
        buf_putc(out, '"');
        buf_json_escape(out, sv_cstr(code));
        buf_puts(out, "\"}}");
    } else {
        buf_puts(out, "null}}");
    }
}

void openai_error_event(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message, buf *out)
{
    if (w) w->failed = true; /* nothing follows an error, no end marker either */
    buf_puts(out, "data: ");
    openai_error_body(status, type, code, message, NULL, out);
    buf_puts(out, "\n\n");
}
