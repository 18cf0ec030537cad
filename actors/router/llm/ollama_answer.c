/*  ollama_answer.c - an answer for Ollama's clients: lines of JSON, or one whole.
 *
 *  Calls go out whole, in one line before the last. A call carries its id and, in `signature`, an opaque
 *  value: clients that send the message back as it came return both. Answers of /api/generate have their
 *  words on top instead of in a message, and no calls. */
#include "ollama.h"

#include "error.h"
#include "whole.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct llm_writer {
    bool stream, hide_thinking, called, ended;
    const char *words, *close; /* the member of an answer's words; what closes their object */
    llm_whole whole;           /* in a stream: calls and the end only */
    buf head;                  /* of each line, up to the words */
    int64_t begin_ns, first_ns;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static llm_writer *new_writer(const llm_writer_spec *spec, bool chat)
{
    llm_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->words = chat ? "content" : "response";
    w->close = chat ? "}" : "";
    w->stream = spec->stream;
    w->hide_thinking = spec->request && spec->request->thinking_tokens < 0;
    w->begin_ns = now_ns();
    llm_whole_init(&w->whole);
    struct tm day;
    time_t created = (time_t)spec->created;
    char at[32] = "1970-01-01T00:00:00Z";
    if (gmtime_r(&created, &day)) strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &day);
    buf_init(&w->head, 6 * (size_t)spec->model.n + 128);
    buf_puts(&w->head, "{\"model\":\"");
    buf_json_escape(&w->head, spec->model);
    buf_printf(&w->head, "\",\"created_at\":\"%s\"", at);
    if (chat) buf_puts(&w->head, ",\"message\":{\"role\":\"assistant\"");
    if (w->head.failed) {
        ollama_writer_free(w);
        return NULL;
    }
    return w;
}

llm_writer *ollama_writer_new(const llm_writer_spec *spec)
{
    return new_writer(spec, true);
}

llm_writer *ollama_generate_writer_new(const llm_writer_spec *spec)
{
    return new_writer(spec, false);
}

void ollama_writer_free(llm_writer *w)
{
    if (w == NULL) return;
    llm_whole_free(&w->whole);
    buf_free(&w->head);
    free(w);
}

/* A line up to its words. */
static void put_words(const llm_writer *w, sv_str inside, buf *out)
{
    buf_put(out, w->head.p, w->head.n);
    llm_put_key(out, w->words);
    llm_put_string(out, inside);
}

static int put_piece(const llm_writer *w, const llm_event *e, buf *out)
{
    bool thinking = e->kind == LLM_THINKING;
    put_words(w, thinking ? sv_cstr("") : e->text, out);
    if (thinking) {
        llm_put_key(out, "thinking");
        llm_put_string(out, e->text);
    }
    buf_puts(out, w->close);
    return buf_puts(out, ",\"done\":false}\n");
}

/* ,"tool_calls":[...] of choice 0, if there is one. */
static int put_tool_calls(llm_writer *w, buf *out)
{
    int n = 0, rc = 0;
    for (uint32_t i = 0; i < w->whole.n && rc == 0; i++) {
        const llm_block *b = &w->whole.blocks[i];
        if (b->kind != LLM_CALL || b->choice) continue;
        buf args;
        buf_puts(out, n ? "," : ",\"tool_calls\":[");
        buf_puts(out, "{\"id\":");
        llm_put_string(out, buf_str(&b->id));
        buf_printf(out, ",\"function\":{\"index\":%d,\"name\":", n++);
        llm_put_string(out, buf_str(&b->name));
        buf_puts(out, ",\"arguments\":");
        buf_init(&args, 2 * (size_t)LLM_WHOLE_BYTES);
        rc = llm_put_object(&args, buf_str(&b->text));
        if (rc == 0) llm_put_line(out, buf_str(&args));
        buf_free(&args);
        buf_putc(out, '}');
        if (b->signature.n) {
            llm_put_key(out, "signature");
            llm_put_opaque(out, buf_str(&b->signature), b->origin, LLM_OLLAMA);
        }
        buf_putc(out, '}');
    }
    if (n) buf_putc(out, ']');
    return rc ? rc : out->error;
}

static int put_calls_line(llm_writer *w, buf *out)
{
    if (w->called || !llm_whole_has(&w->whole, 0, LLM_CALL)) return 0;
    w->called = true;
    put_words(w, sv_cstr(""), out);
    int rc = put_tool_calls(w, out);
    return rc ? rc : buf_puts(out, "},\"done\":false}\n");
}

int ollama_writer_event(llm_writer *w, const llm_event *e, buf *out)
{
    bool of_call = e->kind == LLM_CALL || e->kind == LLM_ARGUMENTS;
    bool words = e->kind == LLM_TEXT || e->kind == LLM_REFUSED || e->kind == LLM_THINKING;
    if (e->choice) return 0; /* n > 1 is not for these clients */
    if (of_call && !w->close[0]) return 0;
    if (w->first_ns == 0 && e->kind != LLM_START) w->first_ns = now_ns();
    if (e->kind == LLM_THINKING && w->hide_thinking) return 0;
    if (!w->stream) return llm_whole_event(&w->whole, e);
    if (words) return e->text.n ? put_piece(w, e, out) : 0;
    if (e->kind == LLM_OPAQUE || (e->kind == LLM_SIGNATURE && e->index < 0)) return 0;
    int rc = llm_whole_event(&w->whole, e);
    return rc == 0 && e->kind == LLM_FINISH ? put_calls_line(w, out) : rc;
}

static const char *reason_of(llm_finish f)
{
    switch (f) {
    case LLM_LENGTH:
    case LLM_CONTEXT:
    case LLM_PAUSE:
    case LLM_OTHER: return "length";
    case LLM_FILTER: return "content_filter";
    case LLM_REFUSAL: return "refusal";
    case LLM_STOP:
    case LLM_STOP_SEQUENCE:
    case LLM_TOOL_CALLS: break;
    }
    return "stop";
}

static void put_figures(const llm_writer *w, buf *out)
{
    const tokens *t = &w->whole.usage;
    int64_t now = now_ns(), first = w->first_ns ? w->first_ns : now;
    buf_printf(out, ",\"total_duration\":%lld,\"load_duration\":0", (long long)(now - w->begin_ns));
    if (llm_has_tokens(t)) buf_printf(out, ",\"prompt_eval_count\":%lld", (long long)t->prompt);
    buf_printf(out, ",\"prompt_eval_duration\":%lld", (long long)(first - w->begin_ns));
    if (llm_has_tokens(t)) buf_printf(out, ",\"eval_count\":%lld", (long long)t->completion);
    buf_printf(out, ",\"eval_duration\":%lld}", (long long)(now - first));
}

/* The words and ,"thinking":"..." of what was collected. */
static void put_collected(const llm_writer *w, buf *out)
{
    for (int pass = 0; pass < 2; pass++) {
        bool any = false;
        for (uint32_t i = 0; i < w->whole.n; i++) {
            const llm_block *b = &w->whole.blocks[i];
            bool thinking = b->kind == LLM_THINKING,
                 words = thinking || b->kind == LLM_TEXT || b->kind == LLM_REFUSED;
            if (b->choice || !words || thinking != (pass == 1)) continue;
            if (!any) llm_put_key(out, pass ? "thinking" : w->words);
            if (!any) buf_putc(out, '"');
            any = true;
            buf_put(out, b->text.p, b->text.n);
        }
        if (any)
            buf_putc(out, '"');
        else if (pass == 0)
            buf_printf(out, ",\"%s\":\"\"", w->words);
    }
}

int ollama_writer_end(llm_writer *w, buf *out)
{
    int rc = 0;
    if (w->ended) return 0;
    w->ended = true;
    if (w->stream) {
        rc = put_calls_line(w, out);
        put_words(w, sv_cstr(""), out);
    } else {
        buf_put(out, w->head.p, w->head.n);
        put_collected(w, out);
        rc = put_tool_calls(w, out);
    }
    if (rc) return rc;
    buf_printf(out, "%s,\"done_reason\":\"%s\",\"done\":true", w->close,
               reason_of(w->whole.finish[0]));
    put_figures(w, out);
    if (w->stream) buf_putc(out, '\n');
    return out->error;
}

void ollama_error_body(int status, const char *type, const char *code, sv_str message,
                       const char *request_id, buf *out)
{
    (void)status; /* words are all that these clients read */
    (void)type;
    (void)code;
    (void)request_id;
    buf_puts(out, "{\"error\":\"");
    buf_json_escape(out, message);
    buf_puts(out, "\"}");
}

void ollama_error_event(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message, buf *out)
{
    (void)w;
    ollama_error_body(status, type, code, message, NULL, out);
    buf_putc(out, '\n');
}
