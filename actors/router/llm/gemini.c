/*  gemini.c - requests for Gemini's :generateContent.
 *
 *  Contents are written in one pass: parts of neighbouring messages with the same role share a content,
 *  because Gemini wants all answers to parallel calls in one. System messages are hoisted.
 *
 *  Schemas travel as they came, in parametersJsonSchema and responseJsonSchema: these take JSON Schema
 *  with $ref, $defs and anyOf, and what they do not know they leave aside, while `parameters` and
 *  `responseSchema` take a subset of OpenAPI's and refuse the request for any other keyword.
 *
 *  Thinking is asked for by budget: models of all generations take one, and levels only the later. */
#include "gemini.h"

#include "error.h"
#include "parse.h"

#include <stdio.h>
#include <string.h>

enum {
    MOST_STOPS = 5,
    THINK_LOW = 1024,
    THINK_MEDIUM = 8192,
    THINK_HIGH = 24576,
    THINK_HIGH_PRO = 32768,
    THINK_LEAST_PRO = 128 /* the larger models cannot stop thinking */
};

/* Stands in for the signature of a call that Gemini did not make; later models refuse the first call of
 * a step without one (ai.google.dev/gemini-api/docs/thought-signatures). */
static const char no_signature[] = "\"skip_thought_signature_validator\"";

typedef enum content_role { NOBODY, USER, MODEL, RESULTS } content_role;

typedef struct writer {
    const llm_request *q;
    const llm_target *t;
    buf *out;
    llm_notes *notes;
    sv_error *err;
    content_role role; /* of the content that is open */
    bool called;       /* it has a call already */
    bool sign_calls;   /* the model wants signatures */
    uint32_t message;
} writer;

static bool names(sv_str model, const char *part)
{
    return model.n && memmem(model.p, model.n, part, strlen(part)) != NULL;
}

static bool starts(sv_str s, const char *with)
{
    size_t n = strlen(with);
    return s.n > n && memcmp(s.p, with, n) == 0;
}

int gemini_put_path(sv_str model, const char *verb, buf *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    const char *folder = starts(model, "tunedModels/") ? "tunedModels/" : "models/";
    uint32_t i = starts(model, folder) ? (uint32_t)strlen(folder) : 0;
    buf_printf(out, "/%s", folder);
    for (; i < model.n; i++) {
        if (model.p[i] && strchr(plain, model.p[i]))
            buf_putc(out, model.p[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)model.p[i]);
    }
    return buf_puts(out, verb);
}

static int path(const llm_target *t, buf *out)
{
    return gemini_put_path(t->model,
                           t->stream ? ":streamGenerateContent?alt=sse" : ":generateContent", out);
}

/* ---- contents ---- */

static void comma(buf *out)
{
    if (out->n && out->p[out->n - 1] != '[' && out->p[out->n - 1] != '{') buf_putc(out, ',');
}

static void begin_part(writer *w, content_role role)
{
    if (w->role != role) {
        if (w->role != NOBODY) buf_puts(w->out, "]}");
        comma(w->out);
        buf_printf(w->out, "{\"role\":\"%s\",\"parts\":[", role == MODEL ? "model" : "user");
        w->role = role;
        w->called = false;
    }
    comma(w->out);
    buf_putc(w->out, '{');
}

static void put_member(buf *out, const char *key, sv_str inside)
{
    llm_put_key(out, key);
    llm_put_string(out, inside);
}

static bool own_signature(const llm_part *p)
{
    return p->signature.p && p->origin == LLM_GEMINI;
}

static void put_signature(writer *w, const llm_part *p)
{
    if (own_signature(p)) put_member(w->out, "thoughtSignature", p->signature);
}

/* The media type that the end of an address tells, or {NULL, 0}. */
static sv_str guess_type(sv_str url)
{
    static const char *const rows[][2] = {
        {".png", "image/png"},   {".jpg", "image/jpeg"},      {".jpeg", "image/jpeg"},
        {".webp", "image/webp"}, {".gif", "image/gif"},       {".heic", "image/heic"},
        {".heif", "image/heif"}, {".pdf", "application/pdf"}, {".mp3", "audio/mp3"},
        {".wav", "audio/wav"},   {".mp4", "video/mp4"},       {".txt", "text/plain"}};
    const char *query = memchr(url.p, '?', url.n);
    size_t n = query ? (size_t)(query - url.p) : url.n;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t end = strlen(rows[i][0]);
        if (n > end && strncasecmp(url.p + n - end, rows[i][0], end) == 0)
            return sv_cstr(rows[i][1]);
    }
    return (sv_str){NULL, 0};
}

static int put_media(writer *w, content_role role, const llm_part *p)
{
    if (p->url.n == 0 && (p->data.n == 0 || p->media_type.n == 0)) {
        char field[48];
        snprintf(field, sizeof field, "messages[%u]", w->message);
        return sv_fail(w->err, SV_E_INVALID, field,
                       "Gemini needs the content of a file with its media type, or its address.");
    }
    begin_part(w, role);
    llm_put_key(w->out, p->url.n ? "fileData" : "inlineData");
    buf_putc(w->out, '{');
    sv_str type = p->media_type.n || p->url.n == 0 ? p->media_type : guess_type(p->url);
    if (type.n) put_member(w->out, "mimeType", type);
    put_member(w->out, p->url.n ? "fileUri" : "data", p->url.n ? p->url : p->data);
    buf_puts(w->out, "}}");
    return 0;
}

static void put_id(writer *w, sv_str id)
{
    if (id.n && !starts(id, GEMINI_MADE_ID)) put_member(w->out, "id", id);
}

static void put_call(writer *w, const llm_part *p)
{
    begin_part(w, MODEL);
    llm_put_key(w->out, "functionCall");
    buf_putc(w->out, '{');
    put_id(w, p->id);
    put_member(w->out, "name", p->name);
    llm_put_key(w->out, "args");
    buf_put(w->out, p->raw.n ? p->raw.p : "{}", p->raw.n ? p->raw.n : 2);
    buf_putc(w->out, '}');
    put_signature(w, p);
    if (w->sign_calls && !w->called && !own_signature(p)) {
        llm_put_key(w->out, "thoughtSignature");
        buf_puts(w->out, no_signature);
    }
    w->called = true;
    buf_putc(w->out, '}');
}

static int put_result(writer *w, const llm_part *p)
{
    begin_part(w, RESULTS);
    llm_put_key(w->out, "functionResponse");
    buf_putc(w->out, '{');
    put_id(w, p->id);
    put_member(w->out, "name", p->name.n ? p->name : p->id);
    llm_put_key(w->out, "response");
    buf_printf(w->out, "{\"%s\":\"", p->is_error ? "error" : "output");
    bool first = true;
    for (uint32_t i = 0; i < p->n_parts; i++) {
        if (p->parts[i].kind != LLM_PART_TEXT) continue;
        if (!first) buf_puts(w->out, "\\n");
        buf_put(w->out, p->parts[i].text.p, p->parts[i].text.n);
        first = false;
    }
    buf_puts(w->out, "\"}}}");
    int rc = 0;
    for (uint32_t i = 0; i < p->n_parts && rc == 0; i++)
        if (p->parts[i].kind != LLM_PART_TEXT) rc = put_media(w, RESULTS, &p->parts[i]);
    return rc;
}

/* Text, and thinking where Gemini signed it: the signature may stand on a part of its own without
 * text, as in its streams. */
static void put_text(writer *w, content_role role, const llm_part *p)
{
    if (p->text.n == 0 && !own_signature(p)) return;
    begin_part(w, role);
    if (p->kind == LLM_PART_THINKING && p->text.n) buf_puts(w->out, "\"thought\":true");
    put_member(w->out, "text", p->text);
    put_signature(w, p);
    buf_putc(w->out, '}');
}

static int put_part(writer *w, content_role role, const llm_part *p)
{
    if (p->extra.p) llm_note(w->notes, "cache_control");
    switch (p->kind) {
    case LLM_PART_TEXT: put_text(w, role, p); return 0;
    case LLM_PART_THINKING:
    case LLM_PART_OPAQUE: /* foreign ones are for those who made them */
        if (own_signature(p))
            put_text(w, role, p);
        else
            llm_note(w->notes, "thinking");
        return 0;
    case LLM_PART_IMAGE:
    case LLM_PART_AUDIO:
    case LLM_PART_FILE: return put_media(w, role, p);
    case LLM_PART_CALL: put_call(w, p); return 0;
    case LLM_PART_RESULT: return put_result(w, p);
    }
    return 0;
}

/* Without a beginning of the answer that the model does not take. */
static uint32_t message_count(const writer *w)
{
    uint32_t n = w->q->n_messages;
    if (!w->t->no_prefill || n < 2 || w->q->messages[n - 1].role != LLM_ASSISTANT) return n;
    llm_note(w->notes, "messages[%u]", n - 1);
    return n - 1;
}

/* The texts of all system messages as parts. */
static void put_system_parts(writer *w)
{
    for (uint32_t i = 0; i < w->q->n_messages; i++) {
        const llm_message *m = &w->q->messages[i];
        for (uint32_t j = 0; m->role == LLM_SYSTEM && j < m->n_parts; j++) {
            if (m->parts[j].extra.p) llm_note(w->notes, "cache_control");
            if (m->parts[j].kind != LLM_PART_TEXT) llm_note(w->notes, "system.image");
            if (m->parts[j].kind != LLM_PART_TEXT || m->parts[j].text.n == 0) continue;
            comma(w->out);
            buf_putc(w->out, '{');
            put_member(w->out, "text", m->parts[j].text);
            buf_putc(w->out, '}');
        }
    }
}

static int put_contents(writer *w)
{
    const llm_request *q = w->q;
    bool system = false;
    uint32_t n = message_count(w);
    llm_put_key(w->out, "contents");
    buf_putc(w->out, '[');
    for (w->message = 0; w->message < n; w->message++) {
        const llm_message *m = &q->messages[w->message];
        if (m->name.n) llm_note(w->notes, "messages[%u].name", w->message);
        for (uint32_t j = 0; m->role == LLM_SYSTEM && j < m->n_parts; j++)
            system |= m->parts[j].kind == LLM_PART_TEXT && m->parts[j].text.n;
        for (uint32_t j = 0; m->role != LLM_SYSTEM && j < m->n_parts; j++) {
            int rc = put_part(w, m->role == LLM_ASSISTANT ? MODEL : USER, &m->parts[j]);
            if (rc) return rc;
        }
    }
    bool alone = w->role == NOBODY; /* Gemini refuses empty contents */
    if (alone && !system)
        return sv_fail(w->err, SV_E_INVALID, "messages", "There is no text in the messages.");
    if (alone) {
        buf_puts(w->out, "{\"role\":\"user\",\"parts\":[");
        put_system_parts(w);
    }
    buf_puts(w->out, "]}]");
    if (system && !alone) {
        buf_puts(w->out, ",\"systemInstruction\":{\"parts\":[");
        put_system_parts(w);
        buf_puts(w->out, "]}");
    }
    return 0;
}

/* ---- tools ---- */

static void put_tool_config(writer *w)
{
    static const char *const modes[] = {[LLM_CHOICE_AUTO] = "AUTO",
                                        [LLM_CHOICE_NONE] = "NONE",
                                        [LLM_CHOICE_ANY] = "ANY",
                                        [LLM_CHOICE_NAMED] = "ANY"};
    const llm_request *q = w->q;
    if (q->parallel_tools == LLM_NO) llm_note(w->notes, "parallel_tool_calls");
    if (q->tool_choice == LLM_CHOICE_NONE_GIVEN) return;
    llm_put_key(w->out, "toolConfig");
    buf_printf(w->out, "{\"functionCallingConfig\":{\"mode\":\"%s\"", modes[q->tool_choice]);
    if (q->tool_choice == LLM_CHOICE_NAMED) {
        llm_put_key(w->out, "allowedFunctionNames");
        buf_putc(w->out, '[');
        llm_put_string(w->out, q->tool_name);
        buf_putc(w->out, ']');
    }
    buf_puts(w->out, "}}");
}

/* Whether there is one. */
static bool put_tools(writer *w)
{
    const llm_request *q = w->q;
    bool any = false;
    for (uint32_t i = 0; i < q->n_tools; i++) {
        const llm_tool *tool = &q->tools[i];
        if (tool->foreign) {
            llm_note(w->notes, "tools[%u]", i);
            continue;
        }
        if (!any) buf_puts(w->out, ",\"tools\":[{\"functionDeclarations\":[");
        any = true;
        comma(w->out);
        buf_putc(w->out, '{');
        put_member(w->out, "name", tool->name);
        if (tool->description.p) put_member(w->out, "description", tool->description);
        if (tool->schema.p) {
            llm_put_key(w->out, "parametersJsonSchema");
            buf_put(w->out, tool->schema.p, tool->schema.n);
        }
        buf_putc(w->out, '}');
        if (tool->strict) llm_note(w->notes, "tools.strict");
    }
    if (any) {
        buf_puts(w->out, "]}]");
        put_tool_config(w);
    }
    return any;
}

/* ---- generationConfig ---- */

static int64_t budget_of(const writer *w)
{
    static const struct {
        const char *effort;
        int64_t tokens;
    } rows[] = {{"none", 0},
                {"minimal", THINK_LOW},
                {"low", THINK_LOW},
                {"medium", THINK_MEDIUM},
                {"high", THINK_HIGH},
                {"xhigh", THINK_HIGH_PRO},
                {"max", THINK_HIGH_PRO}};
    const llm_request *q = w->q;
    bool pro = names(w->t->model, "pro");
    int64_t budget = q->thinking_tokens, most = pro ? THINK_HIGH_PRO : THINK_HIGH;
    if (budget == 0) {
        size_t i = 0;
        while (i < sizeof rows / sizeof rows[0] && !llm_is(q->effort, rows[i].effort))
            i++;
        if (i == sizeof rows / sizeof rows[0]) {
            llm_note(w->notes, "reasoning_effort");
            return -1;
        }
        budget = rows[i].tokens;
    }
    if (budget > 0) return budget < most ? budget : most;
    if (!pro) return 0;
    llm_note(w->notes, "reasoning_effort");
    return THINK_LEAST_PRO;
}

static void put_thinking(writer *w)
{
    const llm_request *q = w->q;
    bool wants = llm_wants_thinking(q, w->t, w->notes);
    if (!wants && w->t->thinks == LLM_NO) return;
    bool budget = q->thinking_tokens != 0 || q->effort.p;
    int64_t most = budget ? budget_of(w) : -1;
    /* A model that cannot think refuses this too: it is sent where that is known, or asked for. */
    bool show = q->show_thinking && most != 0 && (wants || w->t->thinks == LLM_YES);
    if (most < 0 && !show) return;
    llm_put_key(w->out, "thinkingConfig");
    buf_putc(w->out, '{');
    if (most >= 0) {
        llm_put_key(w->out, "thinkingBudget");
        buf_printf(w->out, "%lld", (long long)most);
    }
    if (show) {
        llm_put_key(w->out, "includeThoughts");
        buf_puts(w->out, "true");
    }
    buf_putc(w->out, '}');
}

static void put_shape(writer *w, bool tools)
{
    const llm_request *q = w->q;
    if (q->shape == LLM_SHAPE_TEXT) return;
    if (tools && (names(w->t->model, "gemini-1") || names(w->t->model, "gemini-2"))) {
        llm_note(w->notes, "response_format"); /* these refuse a shape beside tools */
        return;
    }
    buf_puts(w->out, w->out->p && w->out->p[w->out->n - 1] != '{' ? "," : "");
    buf_puts(w->out, "\"responseMimeType\":\"application/json\"");
    if (q->shape != LLM_SHAPE_SCHEMA || q->schema.p == NULL) return;
    llm_put_key(w->out, "responseJsonSchema");
    buf_put(w->out, q->schema.p, q->schema.n);
}

static void put_raw(writer *w, const char *key, sv_str raw)
{
    if (raw.p == NULL) return;
    llm_put_key(w->out, key);
    buf_put(w->out, raw.p, raw.n);
}

static void put_stops(writer *w)
{
    const llm_request *q = w->q;
    if (q->n_stops == 0) return;
    llm_put_key(w->out, "stopSequences");
    buf_putc(w->out, '[');
    for (uint32_t i = 0; i < q->n_stops; i++) {
        if (i == MOST_STOPS) {
            llm_note(w->notes, "stop[%d]", MOST_STOPS);
            break;
        }
        comma(w->out);
        llm_put_string(w->out, q->stops[i]);
    }
    buf_putc(w->out, ']');
}

static void put_config(writer *w, bool tools)
{
    const llm_request *q = w->q;
    int64_t most = q->max_tokens, seed;
    llm_put_key(w->out, "generationConfig");
    buf_putc(w->out, '{');
    if (most > 0) {
        if (w->t->output_most > 0 && most > w->t->output_most) most = w->t->output_most;
        llm_put_key(w->out, "maxOutputTokens");
        buf_printf(w->out, "%lld", (long long)most);
    }
    put_raw(w, "temperature", q->temperature);
    put_raw(w, "topP", q->top_p);
    put_raw(w, "topK", q->top_k);
    put_raw(w, "presencePenalty", q->presence_penalty);
    put_raw(w, "frequencyPenalty", q->frequency_penalty);
    if (q->seed.p) {
        if (json_int((json_value){JSON_NUMBER, q->seed}, &seed) == 0 && seed == (int32_t)seed)
            put_raw(w, "seed", q->seed);
        else
            llm_note(w->notes, "seed");
    }
    put_stops(w);
    if (q->n > 1) {
        llm_put_key(w->out, "candidateCount");
        buf_printf(w->out, "%lld", (long long)q->n);
    }
    put_shape(w, tools);
    put_thinking(w);
    buf_putc(w->out, '}');
}

static int write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                 sv_error *err)
{
    writer w = {.q = q,
                .t = t,
                .out = out,
                .notes = notes,
                .err = err,
                .sign_calls = names(t->model, "gemini-3")};
    if (q->n > GEMINI_CHOICES)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "n", "Gemini gives at most %d answers.",
                       GEMINI_CHOICES);
    buf_putc(out, '{');
    int rc = put_contents(&w);
    if (rc) return rc;
    put_config(&w, put_tools(&w));
    if (q->user.n) llm_note(notes, "user");
    for (uint32_t i = 0; i < q->n_left; i++)
        llm_note(notes, "%.*s", SV_FMT(q->left[i]));
    return buf_putc(out, '}');
}

const llm_ops llm_gemini = {.format = LLM_GEMINI,
                            .framing = LLM_SSE,
                            .path = path,
                            .write = write,
                            .reader_new = gemini_reader_new,
                            .read = gemini_read,
                            .read_end = gemini_read_end,
                            .reader_free = gemini_reader_free};
