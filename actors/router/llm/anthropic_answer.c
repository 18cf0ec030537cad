/*  anthropic_answer.c - an answer for clients of /messages: events of a stream, or the whole
 *  body.
 *
 *  Blocks never interleave. The first call streams; calls that begin while it is open are kept
 *  and written when it ends, which is when something else than a call comes, or the answer's end.
 *  The beginning of a call waits for the event after its first arguments, because a signature of
 *  another format must stand before it. message_start waits for the first event that needs it, so
 *  that it has the input's tokens where they are known. */
#include "anthropic.h"
#include "error.h"
#include "error_types.h"
#include "parse.h"
#include "whole.h"

#include <stdlib.h>

enum { KEPT_BYTES = 8 << 20 /* of calls that wait */ };

typedef enum open_block { OPEN_NONE, OPEN_TEXT, OPEN_THINKING, OPEN_CALL } open_block;

typedef struct waiting {
    int32_t index;
    llm_format origin;
    buf id, name, arguments, signature;
} waiting;

struct llm_writer {
    bool stream, hide_thinking, failed, started, calls_seen, refused;
    buf names;       /* id and model as JSON members */
    llm_whole whole; /* of a plain answer; of a stream: usage and finish */
    open_block open;
    int32_t open_call; /* the event's index */
    uint32_t blocks;   /* written so far, the open one included */
    waiting *kept;     /* LLM_CALLS, made with the first call */
    uint32_t n_kept;
    size_t kept_bytes;
};

llm_writer *anthropic_writer_new(const llm_writer_spec *spec)
{
    llm_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->stream = spec->stream;
    w->hide_thinking = spec->request && !spec->request->show_thinking;
    buf_init(&w->names, 1 << 16);
    llm_whole_init(&w->whole);
    buf_puts(&w->names, "\"id\":\"msg_");
    buf_json_escape(&w->names, sv_cstr(spec->id));
    buf_puts(&w->names, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"");
    buf_json_escape(&w->names, spec->model);
    if (buf_putc(&w->names, '"') == 0) return w;
    anthropic_writer_free(w);
    return NULL;
}

static void drop_kept(llm_writer *w)
{
    for (uint32_t i = 0; i < w->n_kept; i++) {
        buf_free(&w->kept[i].id);
        buf_free(&w->kept[i].name);
        buf_free(&w->kept[i].arguments);
        buf_free(&w->kept[i].signature);
    }
    w->n_kept = 0;
    w->kept_bytes = 0;
}

void anthropic_writer_free(llm_writer *w)
{
    if (w == NULL) return;
    drop_kept(w);
    free(w->kept);
    buf_free(&w->names);
    llm_whole_free(&w->whole);
    free(w);
}

/* ---- usage, reasons ---- */

static void put_usage(buf *out, const tokens *t)
{
    int64_t input = t->prompt - t->cached - t->cache_write;
    buf_printf(out,
               "{\"input_tokens\":%lld,\"cache_creation_input_tokens\":%lld,"
               "\"cache_read_input_tokens\":%lld,\"output_tokens\":%lld}",
               (long long)(input > 0 ? input : 0), (long long)t->cache_write, (long long)t->cached,
               (long long)t->completion);
}

static const char *reason(llm_finish f, bool calls, bool refused)
{
    switch (f) {
    case LLM_STOP: return calls ? "tool_use" : refused ? "refusal" : "end_turn";
    case LLM_STOP_SEQUENCE: return "stop_sequence";
    case LLM_LENGTH:
    case LLM_OTHER: return "max_tokens"; /* cut: it must not read as the end of a turn */
    case LLM_TOOL_CALLS: return "tool_use";
    case LLM_FILTER:
    case LLM_REFUSAL: return "refusal";
    case LLM_PAUSE: return "pause_turn";
    case LLM_CONTEXT: return "model_context_window_exceeded";
    }
    return "end_turn";
}

static void put_reason(const llm_writer *w, bool calls, bool refused, buf *out)
{
    llm_finish f = w->whole.finish[0];
    buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reason(f, calls, refused));
    if (f == LLM_STOP_SEQUENCE && w->whole.stop_sequence.n)
        llm_put_string(out, buf_str(&w->whole.stop_sequence));
    else
        buf_puts(out, "null");
}

/* ---- events ---- */

static void put_start(llm_writer *w, buf *out)
{
    if (w->started) return;
    w->started = true;
    buf_puts(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{");
    buf_put(out, w->names.p, w->names.n);
    buf_puts(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    put_usage(out, &w->whole.usage);
    buf_puts(out, "}}\n\n");
}

/* The event up to the members of the block, which the caller closes with }}\n\n. */
static void begin_block(llm_writer *w, const char *type, buf *out)
{
    buf_printf(out,
               "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":%u,"
               "\"content_block\":{\"type\":\"%s\"",
               w->blocks++, type);
}

static void put_delta(const llm_writer *w, const char *type, const char *key, buf *out)
{
    buf_printf(out,
               "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%u,"
               "\"delta\":{\"type\":\"%s\",\"%s\":",
               w->blocks - 1, type, key);
}

static void put_text_delta(const llm_writer *w, const char *type, const char *key, sv_str text,
                           buf *out)
{
    put_delta(w, type, key, out);
    llm_put_string(out, text);
    buf_puts(out, "}}\n\n");
}

static void end_block(llm_writer *w, buf *out)
{
    if (w->open == OPEN_NONE) return;
    buf_printf(
        out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":%u}\n\n",
        w->blocks - 1);
    w->open = OPEN_NONE;
}

static void put_redacted(llm_writer *w, sv_str value, llm_format origin, buf *out)
{
    begin_block(w, "redacted_thinking", out);
    buf_puts(out, ",\"data\":");
    llm_put_opaque(out, value, origin, LLM_ANTHROPIC);
    buf_puts(out, "}}\n\n");
    w->open = OPEN_TEXT; /* of no kind that goes on */
    end_block(w, out);
}

/* ---- calls ---- */

static void open_call(llm_writer *w, waiting *k, buf *out)
{
    end_block(w, out);
    if (k->signature.n) put_redacted(w, buf_str(&k->signature), k->origin, out);
    begin_block(w, "tool_use", out);
    buf_puts(out, ",\"id\":");
    llm_put_string(out, buf_str(&k->id));
    buf_puts(out, ",\"name\":");
    llm_put_string(out, buf_str(&k->name));
    buf_puts(out, ",\"input\":{}}}\n\n");
    w->open = OPEN_CALL;
    w->open_call = k->index;
    if (k->arguments.n)
        put_text_delta(w, "input_json_delta", "partial_json", buf_str(&k->arguments), out);
}

/* Writes what waits; the last one stays open. */
static void flush_calls(llm_writer *w, buf *out)
{
    for (uint32_t i = 0; i < w->n_kept; i++)
        open_call(w, &w->kept[i], out);
    drop_kept(w);
}

static int keep_call(llm_writer *w, const llm_event *e)
{
    if (w->n_kept == LLM_CALLS) return SV_E_PROVIDER_TOO_LARGE;
    if (w->kept == NULL) w->kept = calloc(LLM_CALLS, sizeof *w->kept);
    if (w->kept == NULL) return SV_E_NO_MEMORY;
    waiting *k = &w->kept[w->n_kept++];
    k->index = e->index;
    buf_init(&k->id, LLM_ARGUMENTS_BYTES);
    buf_init(&k->name, LLM_ARGUMENTS_BYTES);
    buf_init(&k->arguments, LLM_ARGUMENTS_BYTES);
    buf_init(&k->signature, LLM_ARGUMENTS_BYTES);
    w->calls_seen = true;
    int rc = buf_put(&k->id, e->id.p, e->id.n);
    return rc ? rc : buf_put(&k->name, e->name.p, e->name.n);
}

static int keep_piece(llm_writer *w, const llm_event *e)
{
    for (uint32_t i = w->n_kept; i > 0; i--) {
        waiting *k = &w->kept[i - 1];
        if (k->index != e->index) continue;
        w->kept_bytes += e->text.n;
        if (w->kept_bytes > KEPT_BYTES) return SV_E_PROVIDER_TOO_LARGE;
        if (e->kind == LLM_SIGNATURE) k->origin = e->origin;
        return buf_put(e->kind == LLM_SIGNATURE ? &k->signature : &k->arguments, e->text.p,
                       e->text.n);
    }
    return 0; /* of a call that was closed or never began */
}

static int call_event(llm_writer *w, const llm_event *e, buf *out)
{
    if (e->kind == LLM_CALL) return keep_call(w, e);
    bool live = w->open == OPEN_CALL && w->open_call == e->index;
    if (live && e->kind == LLM_ARGUMENTS)
        put_text_delta(w, "input_json_delta", "partial_json", e->text, out);
    if (live) return 0;
    /* The second piece of the only call that waits: it streams from here. */
    if (e->kind == LLM_ARGUMENTS && w->open != OPEN_CALL && w->n_kept == 1 &&
        w->kept[0].index == e->index && w->kept[0].arguments.n) {
        flush_calls(w, out);
        put_text_delta(w, "input_json_delta", "partial_json", e->text, out);
        return 0;
    }
    return keep_piece(w, e);
}

/* ---- a stream ---- */

static void put_words(llm_writer *w, const llm_event *e, buf *out)
{
    bool thinking = e->kind == LLM_THINKING || e->kind == LLM_SIGNATURE;
    open_block kind = thinking ? OPEN_THINKING : OPEN_TEXT;
    if (w->open != kind) {
        end_block(w, out);
        begin_block(w, thinking ? "thinking" : "text", out);
        buf_puts(out,
                 thinking ? ",\"thinking\":\"\",\"signature\":\"\"}}\n\n" : ",\"text\":\"\"}}\n\n");
        w->open = kind;
    }
    if (e->kind == LLM_SIGNATURE) {
        put_delta(w, "signature_delta", "signature", out);
        llm_put_opaque(out, e->text, e->origin, LLM_ANTHROPIC);
        buf_puts(out, "}}\n\n");
        end_block(w, out); /* what follows is not signed by it */
    } else {
        put_text_delta(w, thinking ? "thinking_delta" : "text_delta",
                       thinking ? "thinking" : "text", e->text, out);
    }
}

static int stream_event(llm_writer *w, const llm_event *e, buf *out)
{
    bool of_call = e->kind == LLM_CALL || e->kind == LLM_ARGUMENTS ||
                   (e->kind == LLM_SIGNATURE && e->index >= 0);
    if (e->kind == LLM_START || e->kind == LLM_FAILED) return 0;
    if (e->kind == LLM_USAGE || e->kind == LLM_FINISH) return llm_whole_event(&w->whole, e);
    put_start(w, out);
    if (of_call) {
        int rc = call_event(w, e, out);
        return rc ? rc : out->error;
    }
    flush_calls(w, out);
    if (e->kind == LLM_OPAQUE) {
        end_block(w, out);
        put_redacted(w, e->text, e->origin, out);
    } else {
        w->refused = w->refused || e->kind == LLM_REFUSED;
        put_words(w, e, out);
    }
    return out->error;
}

int anthropic_writer_event(llm_writer *w, const llm_event *e, buf *out)
{
    if (w->failed || e->choice > 0 || (w->hide_thinking && llm_is_thinking(e))) return 0;
    return w->stream ? stream_event(w, e, out) : llm_whole_event(&w->whole, e);
}

static int end_stream(llm_writer *w, buf *out)
{
    put_start(w, out);
    flush_calls(w, out);
    end_block(w, out);
    buf_puts(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
    put_reason(w, w->calls_seen, w->refused, out);
    buf_puts(out, "},\"usage\":");
    put_usage(out, &w->whole.usage);
    return buf_puts(out, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/* ---- a whole answer ---- */

static int put_block(const llm_block *b, buf *out)
{
    switch (b->kind) {
    case LLM_THINKING:
        buf_puts(out, "{\"type\":\"thinking\",\"thinking\":");
        llm_put_string(out, buf_str(&b->text));
        buf_puts(out, ",\"signature\":");
        if (b->signature.n)
            llm_put_opaque(out, buf_str(&b->signature), b->origin, LLM_ANTHROPIC);
        else
            buf_puts(out, "\"\"");
        return buf_putc(out, '}');
    case LLM_OPAQUE:
        buf_puts(out, "{\"type\":\"redacted_thinking\",\"data\":");
        llm_put_opaque(out, buf_str(&b->text), b->origin, LLM_ANTHROPIC);
        return buf_putc(out, '}');
    case LLM_CALL: {
        if (b->signature.n) {
            buf_puts(out, "{\"type\":\"redacted_thinking\",\"data\":");
            llm_put_opaque(out, buf_str(&b->signature), b->origin, LLM_ANTHROPIC);
            buf_puts(out, "},");
        }
        buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
        llm_put_string(out, buf_str(&b->id));
        buf_puts(out, ",\"name\":");
        llm_put_string(out, buf_str(&b->name));
        buf_puts(out, ",\"input\":");
        int rc = llm_put_object(out, buf_str(&b->text));
        return rc ? rc : buf_putc(out, '}');
    }
    case LLM_TEXT:
    case LLM_REFUSED:
    case LLM_START:
    case LLM_SIGNATURE:
    case LLM_ARGUMENTS:
    case LLM_USAGE:
    case LLM_FINISH:
    case LLM_FAILED: break; /* words, or nothing that is a block */
    }
    buf_puts(out, "{\"type\":\"text\",\"text\":");
    llm_put_string(out, buf_str(&b->text));
    return buf_putc(out, '}');
}

int anthropic_writer_end(llm_writer *w, buf *out)
{
    if (w->failed) return 0;
    if (w->stream) return end_stream(w, out);
    buf_putc(out, '{');
    buf_put(out, w->names.p, w->names.n);
    buf_puts(out, ",\"content\":[");
    for (uint32_t i = 0; i < w->whole.n; i++) {
        if (i) buf_putc(out, ',');
        int rc = put_block(&w->whole.blocks[i], out);
        if (rc) return rc;
    }
    buf_puts(out, "],");
    put_reason(w, llm_whole_has(&w->whole, 0, LLM_CALL), llm_whole_has(&w->whole, 0, LLM_REFUSED),
               out);
    buf_puts(out, ",\"usage\":");
    put_usage(out, &w->whole.usage);
    return buf_putc(out, '}');
}

/* ---- errors ---- */

/* This format's types follow the status; it has no codes. */
void anthropic_error_body(int status, const char *type, const char *code, sv_str message,
                          const char *request_id, buf *out)
{
    (void)type;
    (void)code;
    buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"",
               anthropic_error_type(status));
    buf_json_escape(out, message);
    buf_puts(out, "\"}");
    if (request_id) {
        buf_puts(out, ",\"request_id\":\"");
        buf_json_escape(out, sv_cstr(request_id));
        buf_putc(out, '"');
    }
    buf_putc(out, '}');
}

void anthropic_error_event(llm_writer *w, int status, const char *type, const char *code,
                           sv_str message, buf *out)
{
    if (w) w->failed = true; /* nothing follows an error */
    buf_puts(out, "event: error\ndata: ");
    anthropic_error_body(status, type, code, message, NULL, out);
    buf_puts(out, "\n\n");
}

int anthropic_put_count(buf *out, int64_t count)
{
    return buf_printf(out, "{\"input_tokens\":%lld}", (long long)count);
}
