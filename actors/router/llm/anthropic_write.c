/*  anthropic_write.c - a neutral request as a /messages body.
 *
 *  Made valid on the way: system text at the top, roles that alternate and begin with the user,
 *  results of tools in the user's next message, no blank text, ids of letters and digits.
 *
 *  Answers by a schema: the models that know output_config.format get that (llm_target says so).
 *  All others are made to call a tool of ours whose input is the answer, because every model
 *  since the third generation does that dependably, while those before the newest refuse
 *  output_config; the reader turns the call into text again. JSON without a schema is asked for
 *  in words: an empty schema makes models answer with an empty object. */
#include "anthropic.h"
#include "error.h"
#include "parse.h"

#include <stdlib.h>

enum { MAX_TOKENS = 4096, THINKING_LEAST = 1024 };

typedef struct job {
    const llm_request *q;
    const llm_target *t;
    buf *out;
    llm_notes *notes;
    int64_t max_tokens, budget; /* of thinking; 0: none */
    bool adaptive;              /* thinks as much as it likes */
    bool answer_tool;           /* the schema is a tool */
    const char *role;           /* of the open message; NULL: none */
    uint32_t blocks;            /* in it */
    bool some;                  /* message was written */
} job;

static void put_name(buf *out, const char *key, sv_str inside)
{
    llm_put_key(out, key);
    llm_put_string(out, inside);
}

/* Ids may hold letters, digits, _ and - here. */
static void put_id(buf *out, const char *key, sv_str id)
{
    llm_put_key(out, key);
    buf_putc(out, '"');
    for (uint32_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '_' || c == '-';
        buf_putc(out, good ? c : '_');
    }
    buf_puts(out, id.n ? "\"" : "call\"");
}

/* How long the text is without the white space at its end. */
static uint32_t trimmed(sv_str s)
{
    for (;;) {
        uint32_t slashes = 0;
        if (s.n && s.p[s.n - 1] == ' ') {
            s.n--;
            continue;
        }
        if (s.n < 2 || (s.p[s.n - 1] != 'n' && s.p[s.n - 1] != 't' && s.p[s.n - 1] != 'r'))
            return s.n;
        while (slashes < s.n - 1 && s.p[s.n - 2 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0) return s.n;
        s.n -= 2;
    }
}

/* ---- blocks ---- */

static void open_block(job *j, const char *role)
{
    if (j->role != role) {
        if (j->role) buf_puts(j->out, "]}");
        if (j->role) buf_putc(j->out, ',');
        buf_printf(j->out, "{\"role\":\"%s\",\"content\":[", role);
        j->role = role;
        j->blocks = 0;
        j->some = true;
    }
    if (j->blocks++) buf_putc(j->out, ',');
}

static void close_block(const job *j, const llm_part *p)
{
    if (p->extra.p) {
        buf_puts(j->out, ",\"cache_control\":");
        buf_put(j->out, p->extra.p, p->extra.n);
    }
    buf_putc(j->out, '}');
}

static void put_text(buf *out, sv_str text)
{
    buf_puts(out, "{\"type\":\"text\",\"text\":");
    llm_put_string(out, text);
}

static void put_source(buf *out, const llm_part *p)
{
    if (p->url.p) {
        buf_puts(out, ",\"source\":{\"type\":\"url\",\"url\":");
        llm_put_string(out, p->url);
    } else {
        buf_puts(out, ",\"source\":{\"type\":\"base64\",\"media_type\":");
        llm_put_string(out, p->media_type);
        buf_puts(out, ",\"data\":");
        llm_put_string(out, p->data);
    }
    buf_putc(out, '}');
}

/* Text, a picture, a document; what there is no block for becomes a word in its place. */
static void put_content(const job *j, const llm_part *p)
{
    bool document = p->url.p || llm_is(p->media_type, "application/pdf");
    if (p->kind == LLM_PART_TEXT) {
        put_text(j->out, p->text);
    } else if (p->kind == LLM_PART_IMAGE) {
        buf_puts(j->out, "{\"type\":\"image\"");
        put_source(j->out, p);
    } else if (p->kind == LLM_PART_FILE && document) {
        buf_puts(j->out, "{\"type\":\"document\"");
        put_source(j->out, p);
        if (p->name.n) put_name(j->out, "title", p->name);
    } else {
        bool file = p->kind == LLM_PART_FILE;
        llm_note(j->notes, file ? "file" : "audio");
        put_text(j->out, sv_cstr(file ? "[file left out]" : "[audio left out]"));
    }
    close_block(j, p);
}

static bool is_blank(const llm_part *p)
{
    return p->kind == LLM_PART_TEXT && trimmed(p->text) == 0;
}

static void put_result(job *j, const llm_part *p)
{
    uint32_t n = 0;
    open_block(j, "user");
    buf_puts(j->out, "{\"type\":\"tool_result\"");
    put_id(j->out, "tool_use_id", p->id);
    for (uint32_t i = 0; i < p->n_parts; i++) {
        if (is_blank(&p->parts[i])) continue;
        buf_puts(j->out, n++ ? "," : ",\"content\":[");
        put_content(j, &p->parts[i]);
    }
    if (n) buf_putc(j->out, ']');
    if (p->is_error) buf_puts(j->out, ",\"is_error\":true");
    close_block(j, p);
}

static bool is_own(const llm_part *p)
{
    return p->signature.p && p->origin == LLM_ANTHROPIC;
}

static void put_thinking(job *j, const llm_part *p)
{
    if (!is_own(p)) {
        llm_note(j->notes, "thinking");
        return;
    }
    open_block(j, "assistant");
    if (p->kind == LLM_PART_THINKING) {
        buf_puts(j->out, "{\"type\":\"thinking\",\"thinking\":");
        llm_put_string(j->out, p->text);
        put_name(j->out, "signature", p->signature);
    } else {
        buf_puts(j->out, "{\"type\":\"redacted_thinking\",\"data\":");
        llm_put_string(j->out, p->signature);
    }
    buf_putc(j->out, '}');
}

static void put_call(job *j, const llm_part *p)
{
    open_block(j, "assistant");
    buf_puts(j->out, "{\"type\":\"tool_use\"");
    put_id(j->out, "id", p->id);
    put_name(j->out, "name", p->name);
    buf_puts(j->out, ",\"input\":");
    if (p->raw.n)
        buf_put(j->out, p->raw.p, p->raw.n);
    else
        buf_puts(j->out, "{}");
    close_block(j, p);
}

static void put_part(job *j, const llm_message *m, const llm_part *p, bool last)
{
    bool assistant = m->role == LLM_ASSISTANT;
    llm_part cut = *p;
    switch (p->kind) {
    case LLM_PART_CALL: put_call(j, p); return;
    case LLM_PART_RESULT: put_result(j, p); return;
    case LLM_PART_THINKING:
    case LLM_PART_OPAQUE: put_thinking(j, p); return;
    case LLM_PART_TEXT:
        if (is_blank(p)) return;
        if (assistant && last) cut.text.n = trimmed(p->text); /* as the end of a beginning must */
        break;
    case LLM_PART_IMAGE:
    case LLM_PART_FILE:
    case LLM_PART_AUDIO:
        if (!assistant) break;
        llm_note(j->notes, "assistant.image");
        return;
    }
    open_block(j, assistant ? "assistant" : "user");
    put_content(j, &cut);
}

/* ---- messages ---- */

static uint32_t message_count(const job *j)
{
    const llm_request *q = j->q;
    uint32_t n = q->n_messages;
    if (!j->t->no_prefill || n < 2 || q->messages[n - 1].role != LLM_ASSISTANT) return n;
    llm_note(j->notes, "messages[%u]", n - 1);
    return n - 1;
}

static void put_messages(job *j)
{
    const llm_request *q = j->q;
    uint32_t n = message_count(j);
    buf_puts(j->out, ",\"messages\":[");
    for (uint32_t i = 0; i < n; i++) {
        const llm_message *m = &q->messages[i];
        if (m->name.n) llm_note(j->notes, "messages[%u].name", i);
        if (m->role == LLM_SYSTEM) continue;
        if (m->role == LLM_ASSISTANT && !j->some) {
            open_block(j, "user");
            put_text(j->out, sv_cstr("(The conversation begins with your words.)"));
            buf_putc(j->out, '}');
        }
        for (uint32_t k = 0; k < m->n_parts; k++)
            put_part(j, m, &m->parts[k], i + 1 == n && k + 1 == m->n_parts);
    }
    if (!j->some) {
        open_block(j, "user");
        put_text(j->out, sv_cstr("(no words)"));
        buf_putc(j->out, '}');
    }
    buf_puts(j->out, "]}]");
}

static void put_system(job *j)
{
    const llm_request *q = j->q;
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n_messages; i++)
        for (uint32_t k = 0; q->messages[i].role == LLM_SYSTEM && k < q->messages[i].n_parts; k++) {
            const llm_part *p = &q->messages[i].parts[k];
            if (p->kind != LLM_PART_TEXT) llm_note(j->notes, "system.image");
            if (p->kind != LLM_PART_TEXT || is_blank(p)) continue;
            buf_puts(j->out, n++ ? "," : ",\"system\":[");
            put_text(j->out, p->text);
            close_block(j, p);
        }
    if (q->shape == LLM_SHAPE_JSON) {
        buf_puts(j->out, n++ ? "," : ",\"system\":[");
        put_text(j->out, sv_cstr("Answer with one valid JSON object and nothing else: no fences, "
                                 "no words around it."));
        buf_putc(j->out, '}');
    }
    if (n) buf_putc(j->out, ']');
}

/* ---- tools ---- */

/* A schema without a type is one of an object, which must be said here. */
static void put_schema(buf *out, sv_str raw)
{
    size_t at = 0;
    sv_str key;
    json_value v, schema = {JSON_OBJECT, raw};
    if (json_get(schema, "type").type != JSON_NONE) {
        buf_put(out, raw.p, raw.n);
        return;
    }
    buf_puts(out, "{\"type\":\"object\"");
    if (json_next_member(schema, &at, &key, &v)) buf_putc(out, ',');
    buf_put(out, raw.p + 1, raw.n - 1);
}

static void put_tool(const job *j, const llm_tool *t)
{
    if (j->q->format == LLM_ANTHROPIC) {
        buf_put(j->out, t->raw.p, t->raw.n);
        return;
    }
    buf_puts(j->out, "{\"name\":");
    llm_put_string(j->out, t->name);
    if (t->description.n) put_name(j->out, "description", t->description);
    buf_puts(j->out, ",\"input_schema\":");
    if (t->schema.n)
        put_schema(j->out, t->schema);
    else
        buf_puts(j->out, "{\"type\":\"object\",\"properties\":{}}");
    buf_putc(j->out, '}');
    if (t->strict) llm_note(j->notes, "strict");
}

static void put_answer_tool(const job *j)
{
    buf_puts(j->out, "{\"name\":\"" ANTHROPIC_ANSWER "\",\"description\":\"Gives the answer. Call "
                     "it once, with the whole answer, when you are ready.\",\"input_schema\":");
    put_schema(j->out, j->q->schema);
    buf_putc(j->out, '}');
}

static void put_choice(const job *j, uint32_t own_tools)
{
    const llm_request *q = j->q;
    const char *type = NULL;
    sv_str name = q->tool_name;
    bool thinks = j->budget || j->adaptive; /* then a call cannot be forced */
    switch (q->tool_choice) {
    case LLM_CHOICE_NONE_GIVEN: break;
    case LLM_CHOICE_AUTO: type = "auto"; break;
    case LLM_CHOICE_NONE: type = "none"; break;
    case LLM_CHOICE_ANY: type = thinks ? "auto" : "any"; break;
    case LLM_CHOICE_NAMED: type = thinks ? "auto" : "tool"; break;
    }
    if (thinks && (q->tool_choice == LLM_CHOICE_ANY || q->tool_choice == LLM_CHOICE_NAMED))
        llm_note(j->notes, "tool_choice");
    if (j->answer_tool && (own_tools == 0 || q->tool_choice == LLM_CHOICE_NONE)) {
        type = "tool";
        name = sv_cstr(ANTHROPIC_ANSWER);
    } else if (j->answer_tool && q->tool_choice != LLM_CHOICE_NAMED) {
        type = "any";
    }
    if (type == NULL && q->parallel_tools == LLM_NO) type = "auto";
    if (type == NULL) return;
    buf_printf(j->out, ",\"tool_choice\":{\"type\":\"%s\"", type);
    if (type[0] == 't') put_name(j->out, "name", name);
    if (q->parallel_tools == LLM_NO && type[0] != 'n')
        buf_puts(j->out, ",\"disable_parallel_tool_use\":true");
    buf_putc(j->out, '}');
}

static void put_tools(const job *j)
{
    const llm_request *q = j->q;
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n_tools; i++) {
        if (q->tools[i].foreign && q->format != LLM_ANTHROPIC) {
            llm_note(j->notes, "tools[%u]", i);
            continue;
        }
        buf_puts(j->out, n++ ? "," : ",\"tools\":[");
        put_tool(j, &q->tools[i]);
    }
    uint32_t own = n;
    if (j->answer_tool) {
        buf_puts(j->out, n++ ? "," : ",\"tools\":[");
        put_answer_tool(j);
    }
    if (n == 0) return;
    buf_putc(j->out, ']');
    put_choice(j, own);
}

/* ---- thinking ---- */

/* With thinking on, the turn that calls tools must begin with signed thinking, and there is no
 * beginning of an answer. */
static bool history_allows_thinking(const llm_request *q)
{
    for (uint32_t i = q->n_messages; i > 0; i--) {
        const llm_message *m = &q->messages[i - 1];
        bool calls = false, first = false;
        if (m->role == LLM_USER) return true;
        if (m->role != LLM_ASSISTANT) continue;
        for (uint32_t k = 0; k < m->n_parts; k++) {
            const llm_part *p = &m->parts[k];
            calls = calls || p->kind == LLM_PART_CALL;
            first = first || is_own(p);
        }
        if (i == q->n_messages || (calls && !first)) return false;
    }
    return true;
}

static void plan_thinking(job *j)
{
    const llm_request *q = j->q;
    bool asked = llm_wants_thinking(q, j->t, j->notes);
    if (q->format == LLM_ANTHROPIC && !q->show_thinking) asked = false; /* effort alone */
    if (!asked) return;
    if (j->answer_tool || !history_allows_thinking(q)) { /* no forced call beside thinking */
        llm_note(j->notes, "thinking");
        return;
    }
    if (j->t->adaptive_thinking) {
        j->adaptive = true;
        return;
    }
    j->budget = q->thinking_tokens > 0 ? q->thinking_tokens : llm_thinking_of(q->effort);
    if (q->max_tokens == 0 && j->max_tokens <= j->budget) {
        j->max_tokens = j->budget + MAX_TOKENS;
        if (j->t->output_most > 0 && j->max_tokens > j->t->output_most)
            j->max_tokens = j->t->output_most;
    }
    if (j->budget >= j->max_tokens) j->budget = j->max_tokens / 2;
    if (j->budget >= THINKING_LEAST) return;
    j->budget = 0;
    llm_note(j->notes, "thinking");
}

static void put_thinking_mode(const job *j)
{
    const llm_request *q = j->q;
    bool schema = q->shape == LLM_SHAPE_SCHEMA && j->t->adaptive_thinking;
    if (j->budget)
        buf_printf(j->out, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":%lld}",
                   (long long)j->budget);
    if (j->adaptive) buf_puts(j->out, ",\"thinking\":{\"type\":\"adaptive\"}");
    if (!j->adaptive && !schema) return;
    buf_puts(j->out, ",\"output_config\":{");
    if (j->adaptive) {
        const char *effort = q->effort.p && !llm_is(q->effort, "minimal") ? NULL : "low";
        if (q->effort.p == NULL) effort = llm_effort_of(q->thinking_tokens);
        put_name(j->out, "effort", effort ? sv_cstr(effort) : q->effort);
    }
    if (schema) {
        llm_put_key(j->out, "format");
        buf_puts(j->out, "{\"type\":\"json_schema\",\"schema\":");
        buf_put(j->out, q->schema.p, q->schema.n);
        buf_putc(j->out, '}');
    }
    buf_putc(j->out, '}');
}

/* ---- the rest ---- */

/* Temperatures end at 1 here; models take it or top_p, and neither beside thinking. */
static void put_numbers(const job *j)
{
    const llm_request *q = j->q;
    const struct {
        const char *name;
        bool given;
    } unknown[] = {{"seed", q->seed.p},
                   {"presence_penalty", q->presence_penalty.p},
                   {"frequency_penalty", q->frequency_penalty.p},
                   {"n", q->n > 1}};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (unknown[i].given) llm_note(j->notes, "%s", unknown[i].name);
    if (j->budget || j->adaptive) {
        if (q->temperature.p) llm_note(j->notes, "temperature");
        if (q->top_p.p) llm_note(j->notes, "top_p");
        if (q->top_k.p) llm_note(j->notes, "top_k");
        return;
    }
    double heat = 0;
    if (q->temperature.p) {
        (void)json_number((json_value){JSON_NUMBER, q->temperature}, &heat); /* was checked */
        buf_puts(j->out, ",\"temperature\":");
        if (heat > 1 || heat < 0)
            buf_puts(j->out, heat > 1 ? "1" : "0");
        else
            buf_put(j->out, q->temperature.p, q->temperature.n);
        if (heat > 1 || q->top_p.p) llm_note(j->notes, heat > 1 ? "temperature" : "top_p");
    } else if (q->top_p.p) {
        buf_puts(j->out, ",\"top_p\":");
        buf_put(j->out, q->top_p.p, q->top_p.n);
    }
    if (q->top_k.p) {
        buf_puts(j->out, ",\"top_k\":");
        buf_put(j->out, q->top_k.p, q->top_k.n);
    }
}

static void put_stops(const job *j)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < j->q->n_stops; i++) {
        if (trimmed(j->q->stops[i]) == 0) {
            llm_note(j->notes, "stop[%u]", i);
            continue;
        }
        buf_puts(j->out, n++ ? "," : ",\"stop_sequences\":[");
        llm_put_string(j->out, j->q->stops[i]);
    }
    if (n) buf_putc(j->out, ']');
}

int anthropic_write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                    sv_error *err)
{
    job j = {.q = q, .t = t, .out = out, .notes = notes};
    j.max_tokens = q->max_tokens ? q->max_tokens : t->output_most ? t->output_most : MAX_TOKENS;
    if (t->output_most > 0 && j.max_tokens > t->output_most) j.max_tokens = t->output_most;
    j.answer_tool = q->shape == LLM_SHAPE_SCHEMA && !t->adaptive_thinking;
    plan_thinking(&j);
    buf_puts(out, "{\"model\":\"");
    buf_json_escape(out, t->model);
    buf_printf(out, "\",\"max_tokens\":%lld", (long long)j.max_tokens);
    put_system(&j);
    put_messages(&j);
    put_tools(&j);
    put_thinking_mode(&j);
    put_numbers(&j);
    put_stops(&j);
    if (q->user.n) {
        buf_puts(out, ",\"metadata\":{\"user_id\":");
        llm_put_string(out, q->user);
        buf_putc(out, '}');
    }
    llm_put_left(q, LLM_ANTHROPIC, out, notes);
    if (t->stream) buf_puts(out, ",\"stream\":true");
    int rc = buf_putc(out, '}');
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}
