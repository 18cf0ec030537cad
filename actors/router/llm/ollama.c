/*  ollama.c - requests for Ollama's /api/chat, and its answers: lines of JSON, the last with done:true.
 *  Those of /api/generate have the words on top instead of in a message.
 *
 *  A message has one text, so texts of a message are joined by a line end; results of tools become
 *  messages of their own. Images must be at hand: Ollama fetches no addresses, and an answer about an
 *  image that the model never saw would be wrong, so such a request is refused. */
#include "ollama.h"

#include "error.h"
#include "parse.h"
#include "whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the request ---- */

typedef struct writer {
    const llm_request *q;
    const llm_target *t;
    buf *out;
    llm_notes *notes;
    sv_error *err;
    uint32_t message;
} writer;

static void comma(buf *out)
{
    if (out->n && out->p[out->n - 1] != '[') buf_putc(out, ',');
}

static void put_member(buf *out, const char *key, sv_str inside)
{
    llm_put_key(out, key);
    llm_put_string(out, inside);
}

static int path(const llm_target *t, buf *out)
{
    (void)t; /* the model is named in the body */
    return buf_puts(out, "/api/chat");
}

/* Thoughts that somebody else signed or keeps to himself. */
static bool is_foreign(const llm_part *p)
{
    return p->kind == LLM_PART_OPAQUE ||
           (p->kind == LLM_PART_THINKING && p->signature.p && p->origin != LLM_OLLAMA);
}

/* "key":"texts of one kind, joined"; nothing when there is none and it is not `needed`. */
static void put_texts(buf *out, const char *key, const llm_part *parts, uint32_t n,
                      llm_part_kind kind, bool needed)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        const llm_part *p = &parts[i];
        if (p->kind != kind || p->text.n == 0 || is_foreign(p)) continue;
        if (!any) {
            llm_put_key(out, key);
            buf_putc(out, '"');
        } else {
            buf_puts(out, "\\n");
        }
        buf_put(out, p->text.p, p->text.n);
        any = true;
    }
    if (any)
        buf_putc(out, '"');
    else if (needed)
        put_member(out, key, sv_cstr(""));
}

static int put_images(const writer *w, const llm_part *parts, uint32_t n)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        const llm_part *p = &parts[i];
        if (p->kind == LLM_PART_FILE || p->kind == LLM_PART_AUDIO ||
            (p->kind == LLM_PART_IMAGE && p->data.n == 0)) {
            char field[64];
            snprintf(field, sizeof field, "messages[%u].content", w->message);
            return sv_fail(w->err, SV_E_INVALID, field, "Ollama takes %s",
                           p->kind == LLM_PART_IMAGE
                               ? "images as base64 data only: it fetches no addresses."
                               : "text and images only: no files and no sound.");
        }
        if (p->kind != LLM_PART_IMAGE) continue;
        if (!any) {
            llm_put_key(w->out, "images");
            buf_putc(w->out, '[');
        }
        any = true;
        comma(w->out);
        llm_put_string(w->out, p->data);
    }
    if (any) buf_putc(w->out, ']');
    return 0;
}

static void put_calls(const writer *w, const llm_message *m)
{
    bool any = false;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        const llm_part *p = &m->parts[i];
        if (p->kind != LLM_PART_CALL) continue;
        if (!any) {
            llm_put_key(w->out, "tool_calls");
            buf_putc(w->out, '[');
        }
        any = true;
        comma(w->out);
        buf_putc(w->out, '{');
        put_member(w->out, "id", p->id);
        buf_puts(w->out, ",\"function\":{");
        put_member(w->out, "name", p->name);
        llm_put_key(w->out, "arguments");
        buf_put(w->out, p->raw.n ? p->raw.p : "{}", p->raw.n ? p->raw.n : 2);
        buf_puts(w->out, "}}");
    }
    if (any) buf_putc(w->out, ']');
}

static int put_result(const writer *w, const llm_part *p)
{
    comma(w->out);
    buf_puts(w->out, "{\"role\":\"tool\"");
    put_texts(w->out, "content", p->parts, p->n_parts, LLM_PART_TEXT, true);
    if (p->name.n) put_member(w->out, "tool_name", p->name);
    if (p->id.n) put_member(w->out, "tool_call_id", p->id);
    if (p->is_error) llm_note(w->notes, "is_error");
    int rc = put_images(w, p->parts, p->n_parts);
    return rc ? rc : buf_putc(w->out, '}');
}

static int put_message(const writer *w, const llm_message *m)
{
    static const char *const roles[] = {[LLM_SYSTEM] = "system",
                                        [LLM_USER] = "user",
                                        [LLM_ASSISTANT] = "assistant",
                                        [LLM_TOOL] = "user"};
    uint32_t others = 0;
    int rc = 0;
    if (m->name.n) llm_note(w->notes, "messages[%u].name", w->message);
    for (uint32_t i = 0; i < m->n_parts && rc == 0; i++) {
        if (m->parts[i].extra.p) llm_note(w->notes, "cache_control");
        if (is_foreign(&m->parts[i])) llm_note(w->notes, "thinking");
        if (m->parts[i].kind == LLM_PART_RESULT)
            rc = put_result(w, &m->parts[i]);
        else
            others++;
    }
    if (rc || others == 0) return rc;
    comma(w->out);
    buf_printf(w->out, "{\"role\":\"%s\"", roles[m->role]);
    put_texts(w->out, "content", m->parts, m->n_parts, LLM_PART_TEXT, true);
    put_texts(w->out, "thinking", m->parts, m->n_parts, LLM_PART_THINKING, false);
    rc = put_images(w, m->parts, m->n_parts);
    if (rc == 0) put_calls(w, m);
    return rc ? rc : buf_putc(w->out, '}');
}

/* Ollama has no tool_choice: "none" leaves the tools away, a name leaves all others away. */
static void put_tools(const writer *w)
{
    const llm_request *q = w->q;
    bool any = false;
    if (q->n_tools && q->parallel_tools == LLM_NO) llm_note(w->notes, "parallel_tool_calls");
    if (q->tool_choice == LLM_CHOICE_NONE) return;
    for (uint32_t i = 0; i < q->n_tools; i++) {
        const llm_tool *tool = &q->tools[i];
        if (tool->foreign) llm_note(w->notes, "tools[%u]", i);
        if (tool->foreign ||
            (q->tool_choice == LLM_CHOICE_NAMED && !sv_str_eq(tool->name, q->tool_name)))
            continue;
        if (tool->strict) llm_note(w->notes, "tools.strict");
        buf_puts(w->out, any ? "," : ",\"tools\":[");
        any = true;
        buf_puts(w->out, "{\"type\":\"function\",\"function\":{");
        put_member(w->out, "name", tool->name);
        if (tool->description.p) put_member(w->out, "description", tool->description);
        llm_put_key(w->out, "parameters");
        if (tool->schema.p)
            buf_put(w->out, tool->schema.p, tool->schema.n);
        else
            buf_puts(w->out, "{\"type\":\"object\",\"properties\":{}}");
        buf_puts(w->out, "}}");
    }
    if (!any) return;
    buf_putc(w->out, ']');
    if (q->tool_choice == LLM_CHOICE_ANY || q->tool_choice == LLM_CHOICE_NAMED)
        llm_note(w->notes, "tool_choice");
}

static void put_raw(buf *out, const char *key, sv_str raw)
{
    if (raw.p == NULL) return;
    llm_put_key(out, key);
    buf_put(out, raw.p, raw.n);
}

static void put_options(const writer *w)
{
    const llm_request *q = w->q;
    int64_t most = q->max_tokens;
    llm_put_key(w->out, "options");
    buf_putc(w->out, '{');
    if (most > 0) {
        if (w->t->output_most > 0 && most > w->t->output_most) most = w->t->output_most;
        llm_put_key(w->out, "num_predict");
        buf_printf(w->out, "%lld", (long long)most);
    }
    put_raw(w->out, "temperature", q->temperature);
    put_raw(w->out, "top_p", q->top_p);
    put_raw(w->out, "top_k", q->top_k);
    put_raw(w->out, "seed", q->seed);
    put_raw(w->out, "presence_penalty", q->presence_penalty);
    put_raw(w->out, "frequency_penalty", q->frequency_penalty);
    if (q->n_stops) {
        llm_put_key(w->out, "stop");
        buf_putc(w->out, '[');
        for (uint32_t i = 0; i < q->n_stops; i++) {
            comma(w->out);
            llm_put_string(w->out, q->stops[i]);
        }
        buf_putc(w->out, ']');
    }
    buf_putc(w->out, '}');
}

/* Levels are for gpt-oss, which takes nothing else; all others refuse them and take true. */
static const char *think_value(const llm_request *q, const llm_target *t, llm_notes *notes)
{
    static const char *const rows[][2] = {{"minimal", "\"low\""},   {"low", "\"low\""},
                                          {"medium", "\"medium\""}, {"high", "\"high\""},
                                          {"xhigh", "\"high\""},    {"max", "\"high\""}};
    static const char levels[] = "gpt-oss";
    bool wants = llm_wants_thinking(q, t, notes);
    sv_str effort = q->effort.p ? q->effort : sv_cstr(llm_effort_of(q->thinking_tokens));
    if (!wants && t->thinks == LLM_NO) return NULL;
    if (!wants) return q->thinking_tokens < 0 || q->effort.p ? "false" : NULL;
    if (memmem(t->model.p, t->model.n, levels, sizeof levels - 1) == NULL) return "true";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (llm_is(effort, rows[i][0])) return rows[i][1];
    llm_note(notes, "reasoning_effort");
    return "true";
}

static int write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                 sv_error *err)
{
    writer w = {q, t, out, notes, err, 0};
    uint32_t n = q->n_messages;
    if (t->no_prefill && n > 1 && q->messages[n - 1].role == LLM_ASSISTANT)
        llm_note(notes, "messages[%u]", --n);
    buf_puts(out, "{\"model\":\"");
    buf_json_escape(out, t->model);
    buf_puts(out, "\",\"messages\":[");
    for (; w.message < n; w.message++) {
        int rc = put_message(&w, &q->messages[w.message]);
        if (rc) return rc;
    }
    buf_putc(out, ']');
    put_tools(&w);
    if (q->shape == LLM_SHAPE_SCHEMA && q->schema.p)
        put_raw(out, "format", q->schema);
    else if (q->shape != LLM_SHAPE_TEXT)
        put_raw(out, "format", sv_cstr("\"json\""));
    put_options(&w);
    const char *think = think_value(q, t, notes);
    if (think) put_raw(out, "think", sv_cstr(think));
    if (q->n > 1) llm_note(notes, "n");
    if (q->user.n) llm_note(notes, "user");
    for (uint32_t i = 0; i < q->n_left; i++)
        llm_note(notes, "%.*s", SV_FMT(q->left[i]));
    buf_printf(out, ",\"stream\":%s}", t->stream ? "true" : "false");
    return out->error;
}

/* ---- the answer ---- */

struct llm_reader {
    bool started, finished, failed;
    int32_t calls;
};

typedef struct reading {
    llm_reader *r;
    llm_sink *sink;
    void *arg;
    sv_error *err;
} reading;

llm_reader *ollama_reader_new(bool stream)
{
    (void)stream; /* a whole answer is one line */
    return calloc(1, sizeof(llm_reader));
}

void ollama_reader_free(llm_reader *r)
{
    free(r);
}

static int garbage(const reading *c, const char *what)
{
    sv_fail(c->err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(c->err, "ollama: %s", what);
    return SV_E_PROVIDER_GARBAGE;
}

static int emit_text(const reading *c, llm_event_kind kind, json_value text)
{
    sv_str inside = llm_inside(text);
    llm_event e = {.kind = kind, .text = inside};
    return inside.n ? c->sink(c->arg, &e) : 0;
}

static int emit_arguments(const reading *c, int32_t index, json_value args)
{
    llm_event e = {.kind = LLM_ARGUMENTS, .index = index, .text = llm_inside(args)};
    if (args.type == JSON_STRING) return c->sink(c->arg, &e);
    buf text;
    buf_init(&text, (size_t)LLM_ARGUMENTS_BYTES * 6);
    int rc = buf_json_escape(&text, args.type == JSON_OBJECT ? args.raw : sv_cstr("{}"));
    e.text = buf_str(&text);
    if (rc == 0) rc = c->sink(c->arg, &e);
    buf_free(&text);
    return rc;
}

static int read_call(const reading *c, json_value call)
{
    static const char *const names[] = {"name", "arguments"};
    json_value v[2], id = json_get(call, "id");
    char made[40];
    llm_members(json_get(call, "function"), names, 2, v);
    if (llm_inside(v[0]).n == 0) return garbage(c, "a tool call has no name");
    if (v[1].type != JSON_NONE && v[1].type != JSON_OBJECT && v[1].type != JSON_STRING)
        return garbage(c, "the arguments of a tool call are no object");
    if (c->r->calls == LLM_CALLS || v[1].raw.n > LLM_ARGUMENTS_BYTES)
        return sv_fail(c->err, SV_E_PROVIDER_TOO_LARGE, NULL, NULL);
    llm_event e = {
        .kind = LLM_CALL, .index = c->r->calls++, .id = llm_inside(id), .name = llm_inside(v[0])};
    if (e.id.n == 0) {
        llm_make_id("call_", made);
        e.id = sv_cstr(made);
    }
    int rc = c->sink(c->arg, &e);
    return rc ? rc : emit_arguments(c, e.index, v[1]);
}

static int read_message(const reading *c, json_value message)
{
    static const char *const names[] = {"thinking", "content", "tool_calls"};
    json_value v[3], call;
    llm_members(message, names, 3, v);
    int rc = emit_text(c, LLM_THINKING, v[0]);
    if (rc == 0) rc = emit_text(c, LLM_TEXT, v[1]);
    for (size_t at = 0; rc == 0 && json_next_element(v[2], &at, &call);)
        rc = read_call(c, call);
    return rc;
}

static llm_finish finish_of(const reading *c, json_value reason)
{
    if (json_string_is(reason, "length")) return LLM_LENGTH;
    if (json_string_is(reason, "content_filter")) return LLM_FILTER;
    if (json_string_is(reason, "refusal")) return LLM_REFUSAL;
    if (llm_inside(reason).n && !json_string_is(reason, "stop")) return LLM_OTHER;
    return c->r->calls ? LLM_TOOL_CALLS : LLM_STOP;
}

/* Counts that are not there are not zero: a prompt found in Ollama's cache has none. */
static int read_done(const reading *c, json_value reason, json_value prompt, json_value eval)
{
    llm_event e = {.kind = LLM_FINISH, .finish = finish_of(c, reason)};
    c->r->finished = true;
    int rc = c->sink(c->arg, &e);
    if (rc || prompt.type != JSON_NUMBER || eval.type != JSON_NUMBER) return rc;
    tokens t = {.known = true, .prompt = llm_tokens_of(prompt), .completion = llm_tokens_of(eval)};
    e = (llm_event){.kind = LLM_USAGE, .usage = &t};
    return c->sink(c->arg, &e);
}

static int read_error(const reading *c, sv_str data)
{
    buf words;
    c->r->failed = true;
    buf_init(&words, LLM_WHOLE_BYTES);
    int rc = llm_read_failure(LLM_OLLAMA, data, &words, c->sink, c->arg);
    buf_free(&words);
    return rc;
}

int ollama_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err)
{
    static const char *const names[] = {"model",       "message",  "done",
                                        "done_reason", "error",    "prompt_eval_count",
                                        "eval_count",  "response", "thinking"};
    (void)type; /* lines have none */
    reading c = {r, sink, arg, err};
    json_value root, v[9];
    int rc = llm_read_object(data, &root, err);
    if (rc) return rc;
    llm_members(root, names, 9, v);
    if (v[4].type != JSON_NONE) return read_error(&c, data);
    if (r->finished) return garbage(&c, "there is more behind the last line");
    if (!r->started) {
        r->started = true;
        llm_event e = {.kind = LLM_START};
        if (v[0].type == JSON_STRING) e.model = llm_inside(v[0]);
        rc = sink(arg, &e);
    }
    if (rc == 0) rc = read_message(&c, v[1]);
    if (rc == 0) rc = emit_text(&c, LLM_THINKING, v[8]);
    if (rc == 0) rc = emit_text(&c, LLM_TEXT, v[7]);
    if (rc == 0 && v[2].type == JSON_TRUE) rc = read_done(&c, v[3], v[5], v[6]);
    return rc;
}

int ollama_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done)
{
    (void)sink;
    (void)arg;
    *done = r->finished && !r->failed;
    return 0;
}

const llm_ops llm_ollama = {.format = LLM_OLLAMA,
                            .framing = LLM_LINES,
                            .parse = ollama_parse,
                            .writer_new = ollama_writer_new,
                            .writer_event = ollama_writer_event,
                            .writer_end = ollama_writer_end,
                            .writer_free = ollama_writer_free,
                            .error_body = ollama_error_body,
                            .error_event = ollama_error_event,
                            .path = path,
                            .write = write,
                            .reader_new = ollama_reader_new,
                            .read = ollama_read,
                            .read_end = ollama_read_end,
                            .reader_free = ollama_reader_free};
