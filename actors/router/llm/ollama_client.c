/*  ollama_client.c - a client's body for Ollama's /api/chat.
 *
 *  Calls of tools have no ids here, or did not in former versions. The parser makes them up from the
 *  calls' places, the same each time the conversation comes, and finds the call that a result answers by
 *  its name, in order. A call that came back as it went out (ollama_answer.c) has its id and, in
 *  `signature`, an opaque value. */
#include "ollama.h"

#include "error.h"

#include <stdio.h>
#include <string.h>

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
static int parse_image(const llm_in *in, json_value v, llm_part *part)
{
    static const char *const rows[][2] = {{"iVBORw0KGgo", "image/png"},
                                          {"/9j/", "image/jpeg"},
                                          {"R0lGOD", "image/gif"},
                                          {"UklGR", "image/webp"},
                                          {"Qk", "image/bmp"}};
    part->kind = LLM_PART_IMAGE;
    if (v.type != JSON_STRING)
        return llm_bad(in, SV_E_WRONG_TYPE, NULL, "This must be a string of base64.");
    sv_str data = llm_inside(v);
    if (data.n && memchr(data.p, '\\', data.n)) {
        buf out;
        buf_init(&out, (size_t)data.n + 1);
        int rc = llm_decode(data, &out);
        data = (sv_str){rc ? NULL : arena_copy(in->a, buf_str(&out)), (uint32_t)out.n};
        buf_free(&out);
        if (data.p == NULL) return sv_fail(in->err, SV_E_NO_MEMORY, NULL, NULL);
    }
    if (data.n > 5 && memcmp(data.p, "data:", 5) == 0) {
        int rc = llm_address(in, data, NULL, part);
        if (rc) return rc;
        data = part->data;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && part->media_type.n == 0; i++)
        if (data.n > strlen(rows[i][0]) && memcmp(data.p, rows[i][0], strlen(rows[i][0])) == 0)
            part->media_type = sv_cstr(rows[i][1]);
    part->data = data;
    if (part->media_type.n && is_base64(data)) return 0;
    return llm_bad(in, SV_E_INVALID, NULL,
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

int ollama_images(llm_in *in, json_value list, llm_part *parts, uint32_t *n)
{
    json_value v;
    int rc = 0;
    int64_t i = 0;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v); i++) {
        llm_enter(in, "images", i);
        rc = parse_image(in, v, &parts[(*n)++]);
        llm_leave(in);
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
    if (images) rc = ollama_images(in, v[M_IMAGES], m->parts, &m->n_parts);
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

int ollama_settings(llm_in *in, json_value root, const char *const *names, size_t n,
                    const json_value *v)
{
    int rc = parse_format(in, v[OLLAMA_FORMAT]);
    if (rc == 0) rc = parse_options(in, v[OLLAMA_OPTIONS]);
    if (rc == 0) rc = llm_bool(in, v[OLLAMA_STREAM], "stream", &in->q->stream);
    if (rc == 0) rc = parse_think(in, v[OLLAMA_THINK]);
    if (rc == 0) rc = llm_keep_left(in, root, names, n);
    return rc ? rc : keep_options(in, v[OLLAMA_OPTIONS]);
}

enum { R_MODEL = OLLAMA_SHARED, R_MESSAGES, R_TOOLS, R_FIELDS };
static const char *const request_fields[] = {"format", "options",  "stream", "think",
                                             "model",  "messages", "tools"};

int ollama_parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    *ret = (llm_request){
        .format = LLM_OLLAMA, .json = text, .n = 1, .stream = true, .include_usage = true};
    parser p = {.in = {.a = a, .q = ret, .err = err}};
    json_value root = json_root(text), v[R_FIELDS];
    if (root.type != JSON_OBJECT)
        return llm_bad(&p.in, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    llm_members(root, request_fields, R_FIELDS, v);
    int rc = parse_messages(&p, v[R_MESSAGES]);
    if (rc == 0) rc = parse_tools(&p.in, v[R_TOOLS]);
    return rc ? rc : ollama_settings(&p.in, root, request_fields, R_FIELDS, v);
}
