/*  ollama_client.c - Ollama's /api/chat as clients speak it: requests parsed, answers as lines.
 *
 *  Calls of tools have no ids here, or did not in former versions. The parser makes them up from the
 *  calls' places, the same each time the conversation comes, and finds the call that a result answers by
 *  its name, in order. Calls go out whole, in one line before the last. A call carries its id and, in
 *  `signature`, an opaque value: clients that send the message back as it came return both. */
#include "ollama.h"

#include "error.h"
#include "parse.h"
#include "whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the request ---- */

typedef struct parser {
    llm_in in;
    const llm_part *calls; /* of the last message that has some */
    bool *answered;
    uint32_t n_calls;
} parser;

enum { MADE_ID = 40, LEFT_NAME = 72 };

/* "call_3_0": call 0 of message 3. */
static int make_id(parser *p, uint32_t message, int call, sv_str *ret)
{
    char *id = llm_new(&p->in, 1, MADE_ID);
    if (id == NULL) return SV_E_NO_MEMORY;
    snprintf(id, MADE_ID, "call_%u_%d", message, call);
    *ret = sv_cstr(id);
    return 0;
}

static bool is_base64(sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++) {
        char c = s.p[i], low = (char)(c | 0x20);
        if ((low < 'a' || low > 'z') && (c < '0' || c > '9') && (c == 0 || !strchr("+/=", c)))
            return false;
    }
    return s.n > 0;
}

/* Images come without their type: the first bytes tell it. */
static int parse_image(parser *p, json_value v, llm_part *part)
{
    static const char *const rows[][2] = {{"iVBORw0KGgo", "image/png"},
                                          {"/9j/", "image/jpeg"},
                                          {"R0lGOD", "image/gif"},
                                          {"UklGR", "image/webp"},
                                          {"Qk", "image/bmp"}};
    part->kind = LLM_PART_IMAGE;
    if (v.type != JSON_STRING)
        return llm_bad(&p->in, SV_E_WRONG_TYPE, NULL, "This must be a string of base64.");
    sv_str data = llm_inside(v);
    if (data.n && memchr(data.p, '\\', data.n)) {
        buf out;
        buf_init(&out, (size_t)data.n + 1);
        int rc = llm_decode(data, &out);
        data = (sv_str){rc ? NULL : arena_copy(p->in.a, buf_str(&out)), (uint32_t)out.n};
        buf_free(&out);
        if (data.p == NULL) return sv_fail(p->in.err, SV_E_NO_MEMORY, NULL, NULL);
    }
    if (data.n > 5 && memcmp(data.p, "data:", 5) == 0) {
        int rc = llm_address(&p->in, data, NULL, part);
        if (rc) return rc;
        data = part->data;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && part->media_type.n == 0; i++)
        if (data.n > strlen(rows[i][0]) && memcmp(data.p, rows[i][0], strlen(rows[i][0])) == 0)
            part->media_type = sv_cstr(rows[i][1]);
    part->data = data;
    if (part->media_type.n && is_base64(data)) return 0;
    return llm_bad(&p->in, SV_E_INVALID, NULL,
                   "This must be a PNG, JPEG, GIF, WebP or BMP image in base64.");
}

static int parse_call(parser *p, uint32_t message, int index, json_value v, llm_part *part)
{
    static const char *const names[] = {"name", "arguments"};
    llm_in *in = &p->in;
    json_value f[2];
    part->kind = LLM_PART_CALL;
    int rc =
        v.type == JSON_OBJECT ? 0 : llm_bad(in, SV_E_WRONG_TYPE, NULL, "This must be an object.");
    json_value function = rc ? v : json_get(v, "function");
    if (rc == 0) rc = llm_need(in, function, "function");
    if (rc == 0) rc = llm_want(in, function, JSON_OBJECT, "function");
    if (rc) return rc;
    llm_members(function, names, 2, f);
    rc = llm_need(in, f[0], "function.name");
    if (rc == 0) rc = llm_string(in, f[0], "function.name", &part->name);
    part->raw = sv_cstr("{}");
    if (rc == 0 && f[1].type == JSON_STRING)
        rc = llm_arguments(in, llm_inside(f[1]), &part->raw);
    else if (rc == 0)
        rc = llm_object(in, f[1], "function.arguments", &part->raw);
    if (rc) return rc;
    part->id = llm_inside(json_get(v, "id"));
    sv_str signature = llm_inside(json_get(v, "signature"));
    if (signature.n) part->signature = llm_take_opaque(signature, LLM_OLLAMA, &part->origin);
    return part->id.n ? 0 : make_id(p, message, index, &part->id);
}

/* Which call a result answers: the one of its id, or the first of its name without an answer. */
static int find_call(parser *p, uint32_t message, sv_str id, llm_part *result)
{
    result->id = id;
    for (uint32_t i = 0; i < p->n_calls; i++) {
        const llm_part *call = &p->calls[i];
        bool same =
            id.n ? sv_str_eq(id, call->id)
                 : !p->answered[i] && (result->name.n == 0 || sv_str_eq(result->name, call->name));
        if (!same) continue;
        p->answered[i] = true;
        result->id = call->id;
        if (result->name.n == 0) result->name = call->name;
        return 0;
    }
    return id.n ? 0 : make_id(p, message, -1, &result->id);
}

enum { M_ROLE, M_CONTENT, M_THINKING, M_IMAGES, M_CALLS, M_TOOL_NAME, M_TOOL_ID, M_FIELDS };
static const char *const message_fields[] = {"role",       "content",   "thinking",    "images",
                                             "tool_calls", "tool_name", "tool_call_id"};

static int parse_images(parser *p, json_value images, llm_part *parts, uint32_t *n)
{
    json_value v;
    int rc = 0;
    int64_t i = 0;
    for (size_t at = 0; rc == 0 && json_next_element(images, &at, &v); i++) {
        llm_enter(&p->in, "images", i);
        rc = parse_image(p, v, &parts[(*n)++]);
        llm_leave(&p->in);
    }
    return rc;
}

static int parse_calls(parser *p, uint32_t message, json_value calls, llm_part *parts, uint32_t *n)
{
    json_value v;
    int rc = 0, i = 0;
    p->calls = parts + *n;
    p->n_calls = llm_count(calls);
    p->answered = llm_new(&p->in, p->n_calls, sizeof *p->answered);
    if (p->answered == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; rc == 0 && json_next_element(calls, &at, &v); i++) {
        llm_enter(&p->in, "tool_calls", i);
        rc = parse_call(p, message, i, v, &parts[(*n)++]);
        llm_leave(&p->in);
    }
    return rc;
}

static int parse_role(parser *p, json_value v, llm_role *ret)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    int rc = llm_need(&p->in, v, "role");
    if (rc == 0) rc = llm_want(&p->in, v, JSON_STRING, "role");
    for (int i = 0; rc == 0 && i < 4; i++)
        if (json_string_is(v, roles[i])) {
            *ret = (llm_role)i;
            return 0;
        }
    return rc ? rc
              : llm_bad(&p->in, SV_E_INVALID, "role",
                        "This must be \"system\", \"user\", \"assistant\" or \"tool\".");
}

/* Puts the parts of a tool's message under one result. */
static int wrap_result(parser *p, uint32_t message, const json_value *v, llm_message *m)
{
    sv_str id = {NULL, 0};
    llm_part *result = llm_new(&p->in, 1, sizeof *result);
    if (result == NULL) return SV_E_NO_MEMORY;
    *result = (llm_part){.kind = LLM_PART_RESULT, .parts = m->parts, .n_parts = m->n_parts};
    int rc = llm_string(&p->in, v[M_TOOL_NAME], "tool_name", &result->name);
    if (rc == 0) rc = llm_string(&p->in, v[M_TOOL_ID], "tool_call_id", &id);
    m->parts = result;
    m->n_parts = 1;
    return rc ? rc : find_call(p, message, id, result);
}

static int parse_message(parser *p, uint32_t index, json_value object, llm_message *m)
{
    llm_in *in = &p->in;
    json_value v[M_FIELDS];
    sv_str text = {NULL, 0}, thinking = {NULL, 0};
    uint32_t images = 0, calls = 0;
    if (object.type != JSON_OBJECT)
        return llm_bad(in, SV_E_WRONG_TYPE, NULL, "This must be an object.");
    llm_members(object, message_fields, M_FIELDS, v);
    int rc = parse_role(p, v[M_ROLE], &m->role);
    if (rc == 0) rc = llm_string(in, v[M_CONTENT], "content", &text);
    if (rc == 0) rc = llm_string(in, v[M_THINKING], "thinking", &thinking);
    if (rc == 0) rc = llm_list(in, v[M_IMAGES], "images", LLM_PARTS, &images);
    if (rc == 0) rc = llm_list(in, v[M_CALLS], "tool_calls", LLM_CALLS, &calls);
    if (rc) return rc;
    m->parts = llm_new(in, 2 + (size_t)images + calls, sizeof *m->parts);
    if (m->parts == NULL) return SV_E_NO_MEMORY;
    if (thinking.n)
        m->parts[m->n_parts++] =
            (llm_part){.kind = LLM_PART_THINKING, .text = thinking, .origin = LLM_OLLAMA};
    if (text.n) m->parts[m->n_parts++] = (llm_part){.kind = LLM_PART_TEXT, .text = text};
    if (images) rc = parse_images(p, v[M_IMAGES], m->parts, &m->n_parts);
    if (rc == 0 && calls) rc = parse_calls(p, index, v[M_CALLS], m->parts, &m->n_parts);
    return rc == 0 && m->role == LLM_TOOL ? wrap_result(p, index, v, m) : rc;
}

static int parse_messages(parser *p, json_value list)
{
    llm_in *in = &p->in;
    llm_request *q = in->q;
    uint32_t n = 0;
    json_value v;
    int rc = llm_need(in, list, "messages");
    if (rc == 0) rc = llm_list(in, list, "messages", LLM_MESSAGES, &n);
    if (rc == 0 && n == 0)
        rc = llm_bad(in, SV_E_INVALID, "messages", "There must be at least one message.");
    if (rc) return rc;
    q->messages = llm_new(in, n, sizeof *q->messages);
    if (q->messages == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v); q->n_messages++) {
        llm_enter(in, "messages", q->n_messages);
        rc = parse_message(p, q->n_messages, v, &q->messages[q->n_messages]);
        llm_leave(in);
    }
    return rc;
}

static int parse_tool(llm_in *in, json_value v, llm_tool *tool)
{
    static const char *const names[] = {"name", "description", "parameters"};
    json_value type = json_get(v, "type"), function = json_get(v, "function"), f[3];
    tool->raw = v.raw;
    if (v.type != JSON_OBJECT) return llm_bad(in, SV_E_WRONG_TYPE, NULL, "This must be an object.");
    if (type.type == JSON_STRING && !json_string_is(type, "function")) {
        tool->foreign = true;
        return 0;
    }
    int rc = llm_need(in, function, "function");
    if (rc == 0) rc = llm_want(in, function, JSON_OBJECT, "function");
    if (rc) return rc;
    llm_members(function, names, 3, f);
    rc = llm_need(in, f[0], "function.name");
    if (rc == 0) rc = llm_string(in, f[0], "function.name", &tool->name);
    if (rc == 0) rc = llm_string(in, f[1], "function.description", &tool->description);
    return rc ? rc : llm_object(in, f[2], "function.parameters", &tool->schema);
}

static int parse_tools(llm_in *in, json_value list)
{
    llm_request *q = in->q;
    uint32_t n;
    json_value v;
    int rc = llm_list(in, list, "tools", LLM_TOOLS, &n);
    if (rc || n == 0) return rc;
    q->tools = llm_new(in, n, sizeof *q->tools);
    if (q->tools == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v); q->n_tools++) {
        llm_enter(in, "tools", q->n_tools);
        rc = parse_tool(in, v, &q->tools[q->n_tools]);
        llm_leave(in);
    }
    return rc;
}

static int parse_format(llm_in *in, json_value v)
{
    llm_request *q = in->q;
    if (v.type == JSON_OBJECT) {
        q->shape = LLM_SHAPE_SCHEMA;
        q->schema = v.raw;
        q->schema_name = sv_cstr("answer");
    } else if (json_string_is(v, "json")) {
        q->shape = LLM_SHAPE_JSON;
    } else if (v.type != JSON_NONE && !json_string_is(v, "")) {
        return llm_bad(in, SV_E_INVALID, "format", "This must be \"json\" or a JSON schema.");
    }
    return 0;
}

static int parse_think(llm_in *in, json_value v)
{
    llm_request *q = in->q;
    if (v.type == JSON_NONE) return 0;
    q->show_thinking = v.type != JSON_FALSE;
    if (v.type == JSON_FALSE) {
        q->thinking_tokens = -1;
        q->effort = sv_cstr("none");
    } else if (v.type == JSON_TRUE) {
        q->effort = sv_cstr("medium");
    } else if (v.type == JSON_STRING && llm_inside(v).n) {
        q->effort = llm_inside(v);
    } else {
        return llm_bad(in, SV_E_WRONG_TYPE, "think",
                       "This must be true, false, \"low\", \"medium\" or \"high\".");
    }
    return 0;
}

enum {
    O_PREDICT,
    O_TEMPERATURE,
    O_TOP_P,
    O_TOP_K,
    O_SEED,
    O_PRESENCE,
    O_FREQUENCY,
    O_STOP,
    O_FIELDS
};
static const char *const option_fields[] = {
    "num_predict",      "temperature",       "top_p", "top_k", "seed",
    "presence_penalty", "frequency_penalty", "stop"};

static int parse_options(llm_in *in, json_value options)
{
    llm_request *q = in->q;
    json_value v[O_FIELDS];
    int64_t most = 0;
    int rc = llm_want(in, options, JSON_OBJECT, "options");
    if (rc) return rc;
    llm_members(options, option_fields, O_FIELDS, v);
    llm_enter(in, "options", -1);
    rc = llm_int(in, v[O_PREDICT], "num_predict", -2, INT32_MAX, &most); /* below 0: no limit */
    if (most > 0) q->max_tokens = most;
    if (rc == 0) rc = llm_number(in, v[O_TEMPERATURE], "temperature", &q->temperature);
    if (rc == 0) rc = llm_number(in, v[O_TOP_P], "top_p", &q->top_p);
    if (rc == 0) rc = llm_number(in, v[O_TOP_K], "top_k", &q->top_k);
    if (rc == 0) rc = llm_number(in, v[O_SEED], "seed", &q->seed);
    if (rc == 0) rc = llm_number(in, v[O_PRESENCE], "presence_penalty", &q->presence_penalty);
    if (rc == 0) rc = llm_number(in, v[O_FREQUENCY], "frequency_penalty", &q->frequency_penalty);
    if (rc == 0) rc = llm_stops(in, v[O_STOP], "stop");
    llm_leave(in);
    return rc;
}

static bool among(sv_str key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sv_str_is(key, names[i])) return true;
    return false;
}

/* Options that no field holds, by names like "options.num_ctx", behind the top-level members. */
static int keep_options(llm_in *in, json_value options)
{
    llm_request *q = in->q;
    sv_str key, *left;
    json_value v;
    size_t n = q->n_left;
    for (size_t at = 0; json_next_member(options, &at, &key, &v);)
        n += !among(key, option_fields, O_FIELDS);
    if (n == q->n_left) return 0;
    left = llm_new(in, n, sizeof *left);
    if (left == NULL) return SV_E_NO_MEMORY;
    if (q->n_left) memcpy(left, q->left, q->n_left * sizeof *left);
    q->left = left;
    for (size_t at = 0; json_next_member(options, &at, &key, &v);) {
        if (among(key, option_fields, O_FIELDS)) continue;
        char *name = llm_new(in, 1, LEFT_NAME);
        if (name == NULL) return SV_E_NO_MEMORY;
        snprintf(name, LEFT_NAME, "options.%.*s", SV_FMT(key));
        q->left[q->n_left++] = sv_cstr(name);
    }
    return 0;
}

enum { R_MODEL, R_MESSAGES, R_TOOLS, R_FORMAT, R_OPTIONS, R_STREAM, R_THINK, R_FIELDS };
static const char *const request_fields[] = {"model",   "messages", "tools", "format",
                                             "options", "stream",   "think"};

int ollama_parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    *ret = (llm_request){
        .format = LLM_OLLAMA, .json = text, .n = 1, .stream = true, .include_usage = true};
    parser p = {.in = {.a = a, .q = ret, .err = err}};
    json_value root = json_root(text), v[R_FIELDS];
    llm_in *in = &p.in;
    if (root.type != JSON_OBJECT)
        return llm_bad(in, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    llm_members(root, request_fields, R_FIELDS, v);
    int rc = parse_messages(&p, v[R_MESSAGES]);
    if (rc == 0) rc = parse_tools(in, v[R_TOOLS]);
    if (rc == 0) rc = parse_format(in, v[R_FORMAT]);
    if (rc == 0) rc = parse_options(in, v[R_OPTIONS]);
    if (rc == 0) rc = llm_bool(in, v[R_STREAM], "stream", &ret->stream);
    if (rc == 0) rc = parse_think(in, v[R_THINK]);
    if (rc == 0) rc = llm_keep_left(in, root, request_fields, R_FIELDS);
    return rc ? rc : keep_options(in, v[R_OPTIONS]);
}

/* ---- the answer ---- */

struct llm_writer {
    bool stream, hide_thinking, called, ended;
    llm_whole whole; /* in a stream: calls and the end only */
    buf head;        /* of each line, up to the message's content */
    int64_t begin_ns, first_ns;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

llm_writer *ollama_writer_new(const llm_writer_spec *spec)
{
    llm_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
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
    buf_printf(&w->head, "\",\"created_at\":\"%s\",\"message\":{\"role\":\"assistant\"", at);
    if (w->head.failed) {
        ollama_writer_free(w);
        return NULL;
    }
    return w;
}

void ollama_writer_free(llm_writer *w)
{
    if (w == NULL) return;
    llm_whole_free(&w->whole);
    buf_free(&w->head);
    free(w);
}

static void put_head(const llm_writer *w, buf *out)
{
    buf_put(out, w->head.p, w->head.n);
}

static int put_piece(const llm_writer *w, const llm_event *e, buf *out)
{
    put_head(w, out);
    bool thinking = e->kind == LLM_THINKING;
    buf_puts(out, ",\"content\":\"");
    if (!thinking) buf_put(out, e->text.p, e->text.n);
    if (thinking) {
        buf_puts(out, "\",\"thinking\":\"");
        buf_put(out, e->text.p, e->text.n);
    }
    return buf_puts(out, "\"},\"done\":false}\n");
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
    put_head(w, out);
    buf_puts(out, ",\"content\":\"\"");
    int rc = put_tool_calls(w, out);
    return rc ? rc : buf_puts(out, "},\"done\":false}\n");
}

int ollama_writer_event(llm_writer *w, const llm_event *e, buf *out)
{
    bool words = e->kind == LLM_TEXT || e->kind == LLM_REFUSED || e->kind == LLM_THINKING;
    if (e->choice) return 0; /* n > 1 is not for these clients */
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
    case LLM_CONTEXT: return "length";
    case LLM_FILTER: return "content_filter";
    case LLM_REFUSAL: return "refusal";
    case LLM_STOP:
    case LLM_STOP_SEQUENCE:
    case LLM_TOOL_CALLS:
    case LLM_PAUSE:
    case LLM_OTHER: return "stop";
    }
    return "stop";
}

static void put_figures(const llm_writer *w, buf *out)
{
    const tokens *t = &w->whole.usage;
    int64_t now = now_ns(), first = w->first_ns ? w->first_ns : now;
    buf_printf(out, ",\"total_duration\":%lld,\"load_duration\":0", (long long)(now - w->begin_ns));
    if (t->known || t->estimated)
        buf_printf(out, ",\"prompt_eval_count\":%lld", (long long)t->prompt);
    buf_printf(out, ",\"prompt_eval_duration\":%lld", (long long)(first - w->begin_ns));
    if (t->known || t->estimated) buf_printf(out, ",\"eval_count\":%lld", (long long)t->completion);
    buf_printf(out, ",\"eval_duration\":%lld}", (long long)(now - first));
}

/* ,"content":"..." and ,"thinking":"..." of what was collected. */
static void put_collected(const llm_writer *w, buf *out)
{
    for (int pass = 0; pass < 2; pass++) {
        bool any = false;
        for (uint32_t i = 0; i < w->whole.n; i++) {
            const llm_block *b = &w->whole.blocks[i];
            bool thinking = b->kind == LLM_THINKING,
                 words = thinking || b->kind == LLM_TEXT || b->kind == LLM_REFUSED;
            if (b->choice || !words || thinking != (pass == 1)) continue;
            if (!any) buf_puts(out, pass ? ",\"thinking\":\"" : ",\"content\":\"");
            any = true;
            buf_put(out, b->text.p, b->text.n);
        }
        if (any)
            buf_putc(out, '"');
        else if (pass == 0)
            buf_puts(out, ",\"content\":\"\"");
    }
}

int ollama_writer_end(llm_writer *w, buf *out)
{
    int rc = 0;
    if (w->ended) return 0;
    w->ended = true;
    if (w->stream) {
        rc = put_calls_line(w, out);
        put_head(w, out);
        buf_puts(out, ",\"content\":\"\"");
    } else {
        put_head(w, out);
        put_collected(w, out);
        rc = put_tool_calls(w, out);
    }
    if (rc) return rc;
    buf_printf(out, "},\"done_reason\":\"%s\",\"done\":true", reason_of(w->whole.finish[0]));
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
