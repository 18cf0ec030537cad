/*  openai_write.c - a neutral request as a provider's /chat/completions body.
 *
 *  Results of tools are messages of their own, directly behind the calls; their pictures, which
 *  such a message cannot hold, follow all of them as a user's message. Thinking goes back only
 *  where its signature came from this format: other providers refuse members they do not know. */
#include "error.h"
#include "openai.h"
#include "parse.h"

enum { OPENAI_STOPS = 4 };

typedef struct job {
    const llm_request *q;
    const llm_target *t;
    buf *out;
    llm_notes *notes;
} job;

static const sv_str none = {NULL, 0};

/* `cache`: raw, or none. */
static void put_text_part(buf *out, sv_str text, sv_str cache)
{
    buf_puts(out, "{\"type\":\"text\",\"text\":");
    llm_put_string(out, text);
    if (cache.p) {
        llm_put_key(out, "cache_control");
        buf_put(out, cache.p, cache.n);
    }
    buf_putc(out, '}');
}

static void put_name(buf *out, const char *key, sv_str inside)
{
    llm_put_key(out, key);
    llm_put_string(out, inside);
}

/* ---- content ---- */

static void put_audio(const job *j, const llm_part *p)
{
    bool wav = llm_is(p->media_type, "audio/wav") || llm_is(p->media_type, "audio/x-wav");
    bool mp3 = llm_is(p->media_type, "audio/mpeg") || llm_is(p->media_type, "audio/mp3");
    if (!wav && !mp3) {
        llm_note(j->notes, "audio");
        put_text_part(j->out, sv_cstr("[audio left out]"), none);
        return;
    }
    buf_puts(j->out, "{\"type\":\"input_audio\",\"input_audio\":{\"data\":");
    llm_put_string(j->out, p->data);
    buf_printf(j->out, ",\"format\":\"%s\"}}", wav ? "wav" : "mp3");
}

static void put_file(const job *j, const llm_part *p)
{
    if (p->url.p) { /* no addresses for files here: the model gets the address itself */
        llm_note(j->notes, "file.url");
        put_text_part(j->out, p->url, none);
        return;
    }
    buf_puts(j->out, "{\"type\":\"file\",\"file\":{\"filename\":");
    llm_put_string(j->out, p->name.n ? p->name : sv_cstr("file"));
    buf_puts(j->out, ",\"file_data\":");
    llm_put_address(j->out, p);
    buf_puts(j->out, "}}");
}

static bool is_content(const llm_part *p)
{
    return p->kind == LLM_PART_TEXT || p->kind == LLM_PART_IMAGE || p->kind == LLM_PART_FILE ||
           p->kind == LLM_PART_AUDIO;
}

static void put_part(const job *j, const llm_part *p)
{
    if (j->out->n && j->out->p[j->out->n - 1] == '}') buf_putc(j->out, ',');
    if (p->kind == LLM_PART_IMAGE) {
        buf_puts(j->out, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
        llm_put_address(j->out, p);
        buf_puts(j->out, "}}");
    } else if (p->kind == LLM_PART_FILE) {
        put_file(j, p);
    } else if (p->kind == LLM_PART_AUDIO) {
        put_audio(j, p);
    } else {
        put_text_part(j->out, p->text, j->q->format == LLM_OPENAI ? p->extra : none);
    }
}

/* All texts as one string. */
static void put_joined(buf *out, const llm_part *parts, uint32_t n, const char *between)
{
    bool some = false;
    buf_putc(out, '"');
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].kind != LLM_PART_TEXT) continue;
        if (some) buf_puts(out, between);
        buf_put(out, parts[i].text.p, parts[i].text.n);
        some = true;
    }
    buf_putc(out, '"');
}

/* Does a part say how it is to be cached, as OpenRouter takes it? Another format's is noted. */
static bool is_marked(const job *j, const llm_part *parts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].extra.p == NULL) continue;
        if (j->q->format == LLM_OPENAI) return true;
        llm_note(j->notes, "cache_control");
    }
    return false;
}

static void put_content(const job *j, const llm_part *parts, uint32_t n)
{
    bool plain = n == 0 || (n == 1 && parts[0].kind == LLM_PART_TEXT);
    if (!is_marked(j, parts, n) && plain) {
        put_joined(j->out, parts, n, "");
        return;
    }
    buf_putc(j->out, '[');
    for (uint32_t i = 0; i < n; i++)
        if (is_content(&parts[i])) put_part(j, &parts[i]);
    buf_putc(j->out, ']');
}

/* ---- messages ---- */

static void open_message(buf *out, const char *role)
{
    if (out->n && out->p[out->n - 1] != '[') buf_putc(out, ',');
    buf_printf(out, "{\"role\":\"%s\"", role);
}

static void put_reasoning(const job *j, const llm_message *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        const llm_part *p = &m->parts[i];
        if (p->kind != LLM_PART_THINKING && p->kind != LLM_PART_OPAQUE) continue;
        if (p->signature.p == NULL || p->origin != LLM_OPENAI) {
            llm_note(j->notes, "thinking");
            continue;
        }
        buf_puts(j->out, n ? "," : ",\"reasoning_details\":[");
        if (p->kind == LLM_PART_THINKING) {
            buf_puts(j->out, "{\"type\":\"reasoning.text\",\"text\":");
            llm_put_string(j->out, p->text);
            put_name(j->out, "signature", p->signature);
        } else {
            buf_puts(j->out, "{\"type\":\"reasoning.encrypted\",\"data\":");
            llm_put_string(j->out, p->signature);
        }
        buf_printf(j->out, ",\"index\":%u}", n++);
    }
    if (n) buf_putc(j->out, ']');
}

static void put_call(const job *j, const llm_part *p, bool first)
{
    buf_puts(j->out, first ? ",\"tool_calls\":[{\"id\":" : ",{\"id\":");
    llm_put_string(j->out, p->id);
    buf_puts(j->out, ",\"type\":\"function\",\"function\":{\"name\":");
    llm_put_string(j->out, p->name);
    buf_puts(j->out, ",\"arguments\":");
    llm_put_json_string(j->out, p->raw.n ? p->raw : sv_cstr("{}"));
    buf_putc(j->out, '}');
    if (p->signature.p && p->origin == LLM_OPENAI) {
        buf_puts(j->out, ",\"extra_content\":{\"google\":{\"thought_signature\":");
        llm_put_string(j->out, p->signature);
        buf_puts(j->out, "}}");
    }
    buf_putc(j->out, '}');
}

static void put_assistant(const job *j, const llm_message *m)
{
    uint32_t texts = 0, calls = 0;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        texts += m->parts[i].kind == LLM_PART_TEXT;
        calls += m->parts[i].kind == LLM_PART_CALL;
        if (is_content(&m->parts[i]) && m->parts[i].kind != LLM_PART_TEXT)
            llm_note(j->notes, "assistant.image");
    }
    open_message(j->out, "assistant");
    buf_puts(j->out, ",\"content\":");
    if (texts || calls == 0)
        put_joined(j->out, m->parts, m->n_parts, "");
    else
        buf_puts(j->out, "null");
    put_reasoning(j, m);
    bool first = true;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        if (m->parts[i].kind != LLM_PART_CALL) continue;
        put_call(j, &m->parts[i], first);
        first = false;
    }
    buf_puts(j->out, calls ? "]}" : "}");
}

static void put_results(const job *j, const llm_message *m)
{
    for (uint32_t i = 0; i < m->n_parts; i++) {
        const llm_part *p = &m->parts[i];
        if (p->kind != LLM_PART_RESULT) continue;
        if (p->extra.p) llm_note(j->notes, "cache_control");
        if (p->is_error) llm_note(j->notes, "tool_result.is_error");
        open_message(j->out, "tool");
        put_name(j->out, "tool_call_id", p->id);
        buf_puts(j->out, ",\"content\":");
        put_joined(j->out, p->parts, p->n_parts, "\\n");
        buf_putc(j->out, '}');
    }
}

/* What results of messages [from, to) hold beside text. */
static void put_pictures(const job *j, uint32_t from, uint32_t to)
{
    bool open = false;
    for (uint32_t i = from; i < to; i++)
        for (uint32_t k = 0; k < j->q->messages[i].n_parts; k++) {
            const llm_part *r = &j->q->messages[i].parts[k];
            for (uint32_t l = 0; l < r->n_parts; l++) {
                if (!is_content(&r->parts[l]) || r->parts[l].kind == LLM_PART_TEXT) continue;
                if (!open) {
                    open_message(j->out, "user");
                    buf_puts(j->out, ",\"content\":[");
                    put_text_part(j->out, sv_cstr("From the tools:"), none);
                }
                open = true;
                put_part(j, &r->parts[l]);
            }
        }
    if (open) buf_puts(j->out, "]}");
}

static void put_message(const job *j, const llm_message *m)
{
    switch (m->role) {
    case LLM_ASSISTANT: put_assistant(j, m); return;
    case LLM_TOOL: put_results(j, m); return;
    case LLM_SYSTEM:
        for (uint32_t i = 0; i < m->n_parts; i++)
            if (m->parts[i].kind != LLM_PART_TEXT) llm_note(j->notes, "system.image");
        open_message(j->out, "system");
        buf_puts(j->out, ",\"content\":");
        if (is_marked(j, m->parts, m->n_parts))
            put_content(j, m->parts, m->n_parts);
        else
            put_joined(j->out, m->parts, m->n_parts, "\\n\\n");
        break;
    case LLM_USER:
        open_message(j->out, "user");
        buf_puts(j->out, ",\"content\":");
        put_content(j, m->parts, m->n_parts);
        break;
    }
    if (m->name.n) put_name(j->out, "name", m->name);
    buf_putc(j->out, '}');
}

static void put_messages(const job *j)
{
    const llm_request *q = j->q;
    uint32_t n = q->n_messages, tools_from = 0;
    if (j->t->no_prefill && n > 1 && q->messages[n - 1].role == LLM_ASSISTANT) {
        llm_note(j->notes, "messages[%u]", n - 1);
        n--;
    }
    buf_puts(j->out, ",\"messages\":[");
    for (uint32_t i = 0; i < n; i++) {
        bool tool = q->messages[i].role == LLM_TOOL;
        if (tool && (i == 0 || q->messages[i - 1].role != LLM_TOOL)) tools_from = i;
        put_message(j, &q->messages[i]);
        if (tool && (i + 1 == n || q->messages[i + 1].role != LLM_TOOL))
            put_pictures(j, tools_from, i + 1);
    }
    buf_putc(j->out, ']');
}

/* ---- tools ---- */

static void put_tool(buf *out, const llm_tool *t)
{
    buf_puts(out, "{\"type\":\"function\",\"function\":{\"name\":");
    llm_put_string(out, t->name);
    if (t->description.n) put_name(out, "description", t->description);
    llm_put_key(out, "parameters");
    if (t->schema.n)
        buf_put(out, t->schema.p, t->schema.n);
    else
        buf_puts(out, "{\"type\":\"object\",\"properties\":{}}");
    buf_puts(out, t->strict ? ",\"strict\":true}}" : "}}");
}

static void put_tools(const job *j)
{
    const llm_request *q = j->q;
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n_tools; i++) {
        const llm_tool *t = &q->tools[i];
        if (t->foreign && q->format != LLM_OPENAI) {
            llm_note(j->notes, "tools[%u]", i);
            continue;
        }
        buf_puts(j->out, n++ ? "," : ",\"tools\":[");
        if (t->foreign)
            buf_put(j->out, t->raw.p, t->raw.n);
        else
            put_tool(j->out, t);
    }
    if (n == 0) return;
    buf_putc(j->out, ']');
    switch (q->tool_choice) {
    case LLM_CHOICE_NONE_GIVEN: break;
    case LLM_CHOICE_AUTO: buf_puts(j->out, ",\"tool_choice\":\"auto\""); break;
    case LLM_CHOICE_NONE: buf_puts(j->out, ",\"tool_choice\":\"none\""); break;
    case LLM_CHOICE_ANY: buf_puts(j->out, ",\"tool_choice\":\"required\""); break;
    case LLM_CHOICE_NAMED:
        buf_puts(j->out, ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":");
        llm_put_string(j->out, q->tool_name);
        buf_puts(j->out, "}}");
    }
    if (q->parallel_tools != LLM_UNSAID)
        buf_printf(j->out, ",\"parallel_tool_calls\":%s",
                   q->parallel_tools == LLM_YES ? "true" : "false");
}

/* ---- the rest ---- */

static void put_shape(const job *j)
{
    const llm_request *q = j->q;
    if (q->shape == LLM_SHAPE_JSON)
        buf_puts(j->out, ",\"response_format\":{\"type\":\"json_object\"}");
    if (q->shape != LLM_SHAPE_SCHEMA) return;
    buf_puts(j->out, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":");
    llm_put_string(j->out, q->schema_name.n ? q->schema_name : sv_cstr("answer"));
    llm_put_key(j->out, "schema");
    buf_put(j->out, q->schema.p, q->schema.n);
    buf_puts(j->out, q->schema_strict ? ",\"strict\":true}}" : "}}");
}

/* A budget becomes an effort only for models that are known to take one: others refuse it. */
static void put_effort(const job *j)
{
    const llm_request *q = j->q;
    bool wants = llm_wants_thinking(q, j->t, j->notes);
    if (!wants && j->t->thinks == LLM_NO) return;
    if (q->effort.p) {
        bool above = llm_is(q->effort, "xhigh") || llm_is(q->effort, "max");
        put_name(j->out, "reasoning_effort", above ? sv_cstr("high") : q->effort);
    } else if (q->thinking_tokens > 0 && j->t->completion_tokens) {
        put_name(j->out, "reasoning_effort", sv_cstr(llm_effort_of(q->thinking_tokens)));
    } else if (q->thinking_tokens > 0) {
        llm_note(j->notes, "thinking");
    }
}

static void put_numbers(const job *j)
{
    const llm_request *q = j->q;
    const struct {
        const char *key;
        sv_str raw;
    } rows[] = {{"temperature", q->temperature},
                {"top_p", q->top_p},
                {"seed", q->seed},
                {"presence_penalty", q->presence_penalty},
                {"frequency_penalty", q->frequency_penalty}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].raw.p == NULL) continue;
        llm_put_key(j->out, rows[i].key);
        buf_put(j->out, rows[i].raw.p, rows[i].raw.n);
    }
    if (q->top_k.p && q->format == LLM_OPENAI) {
        llm_put_key(j->out, "top_k");
        buf_put(j->out, q->top_k.p, q->top_k.n);
    } else if (q->top_k.p) {
        llm_note(j->notes, "top_k");
    }
    if (q->max_tokens > 0)
        buf_printf(j->out, ",\"%s\":%lld",
                   j->t->completion_tokens ? "max_completion_tokens" : "max_tokens",
                   (long long)q->max_tokens);
    if (q->n > 1) buf_printf(j->out, ",\"n\":%lld", (long long)q->n);
}

int openai_write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                 sv_error *err)
{
    const job j = {q, t, out, notes};
    buf_puts(out, "{\"model\":\"");
    buf_json_escape(out, t->model);
    buf_putc(out, '"');
    put_messages(&j);
    put_tools(&j);
    put_numbers(&j);
    for (uint32_t i = 0; i < q->n_stops && i < OPENAI_STOPS; i++) {
        buf_puts(out, i ? "," : ",\"stop\":[");
        llm_put_string(out, q->stops[i]);
    }
    if (q->n_stops) buf_putc(out, ']');
    if (q->n_stops > OPENAI_STOPS) llm_note(notes, "stop[%d]", OPENAI_STOPS);
    put_shape(&j);
    put_effort(&j);
    if (q->user.n) put_name(out, "user", q->user);
    llm_put_left(q, LLM_OPENAI, out, notes);
    if (t->stream) buf_puts(out, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    int rc = buf_putc(out, '}');
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}
