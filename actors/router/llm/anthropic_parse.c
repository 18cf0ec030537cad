/*  anthropic_parse.c - a client's /messages body.
 *
 *  System text becomes the first message. A user's message that answers calls becomes two: the
 *  results, then what else it says, which is the order that the format asks for anyway. An opaque
 *  value of another format that belongs to a call travels as redacted_thinking before that call. */
#include "anthropic.h"
#include "error.h"
#include "parse.h"

#include <stdio.h>

enum {
    Q_MODEL,
    Q_MESSAGES,
    Q_SYSTEM,
    Q_MAX_TOKENS,
    Q_METADATA,
    Q_STOPS,
    Q_STREAM,
    Q_TEMPERATURE,
    Q_TOP_P,
    Q_TOP_K,
    Q_TOOLS,
    Q_TOOL_CHOICE,
    Q_THINKING,
    Q_OUTPUT_CONFIG,
    Q_OUTPUT_FORMAT,
    Q_N
};
static const char *const members[Q_N] = {
    [Q_MODEL] = "model",
    [Q_MESSAGES] = "messages",
    [Q_SYSTEM] = "system",
    [Q_MAX_TOKENS] = "max_tokens",
    [Q_METADATA] = "metadata",
    [Q_STOPS] = "stop_sequences",
    [Q_STREAM] = "stream",
    [Q_TEMPERATURE] = "temperature",
    [Q_TOP_P] = "top_p",
    [Q_TOP_K] = "top_k",
    [Q_TOOLS] = "tools",
    [Q_TOOL_CHOICE] = "tool_choice",
    [Q_THINKING] = "thinking",
    [Q_OUTPUT_CONFIG] = "output_config",
    [Q_OUTPUT_FORMAT] = "output_format",
};

enum {
    B_TYPE,
    B_TEXT,
    B_SOURCE,
    B_TITLE,
    B_ID,
    B_NAME,
    B_INPUT,
    B_USE_ID,
    B_CONTENT,
    B_IS_ERROR,
    B_THINKING,
    B_SIGNATURE,
    B_DATA,
    B_CACHE,
    B_N
};
static const char *const block_members[B_N] = {
    [B_TYPE] = "type",
    [B_TEXT] = "text",
    [B_SOURCE] = "source",
    [B_TITLE] = "title",
    [B_ID] = "id",
    [B_NAME] = "name",
    [B_INPUT] = "input",
    [B_USE_ID] = "tool_use_id",
    [B_CONTENT] = "content",
    [B_IS_ERROR] = "is_error",
    [B_THINKING] = "thinking",
    [B_SIGNATURE] = "signature",
    [B_DATA] = "data",
    [B_CACHE] = "cache_control",
};

/* ---- blocks ---- */

static int parse_source(llm_in *in, const json_value *b, llm_part *p)
{
    json_value source = b[B_SOURCE], type = json_get(source, "type"), v;
    int rc = llm_need(in, source, "source");
    if (rc) return rc;
    if (json_string_is(type, "url")) {
        v = json_get(source, "url");
        rc = llm_need(in, v, "source.url");
        return rc ? rc : llm_string(in, v, "source.url", &p->url);
    }
    if (json_string_is(type, "file"))
        return llm_bad(in, SV_E_INVALID, "source.file_id",
                       "Files stored at a provider cannot be used here: send base64 data.");
    bool text = json_string_is(type, "text");
    if (!text && !json_string_is(type, "base64"))
        return llm_bad(in, SV_E_OUT_OF_RANGE, "source.type", "This must be base64, url or text.");
    v = json_get(source, "data");
    rc = llm_need(in, v, "source.data");
    if (rc) return rc;
    if (text) { /* a document in plain text is text */
        p->kind = LLM_PART_TEXT;
        return llm_string(in, v, "source.data", &p->text);
    }
    json_value media = json_get(source, "media_type");
    rc = llm_need(in, media, "source.media_type");
    if (rc == 0) rc = llm_string(in, media, "source.media_type", &p->media_type);
    return rc ? rc : llm_string(in, v, "source.data", &p->data);
}

static int parse_blocks(llm_in *in, json_value content, const char *field, llm_part *parts,
                        uint32_t *n);

static int count_blocks(llm_in *in, json_value content, const char *field, uint32_t *n)
{
    *n = content.type == JSON_STRING;
    if (content.type == JSON_STRING || content.type == JSON_NONE) return 0;
    if (content.type != JSON_ARRAY)
        return llm_bad(in, SV_E_WRONG_TYPE, field, "This must be a string or a list of blocks.");
    return llm_list(in, content, field, LLM_PARTS, n);
}

static int parse_result(llm_in *in, const json_value *b, llm_part *p)
{
    uint32_t n;
    p->kind = LLM_PART_RESULT;
    int rc = llm_need(in, b[B_USE_ID], "tool_use_id");
    if (rc == 0) rc = llm_string(in, b[B_USE_ID], "tool_use_id", &p->id);
    if (rc == 0) rc = llm_bool(in, b[B_IS_ERROR], "is_error", &p->is_error);
    if (rc == 0) rc = count_blocks(in, b[B_CONTENT], "content", &n);
    if (rc || n == 0) return rc;
    p->parts = llm_new(in, n, sizeof *p->parts);
    return p->parts ? parse_blocks(in, b[B_CONTENT], "content", p->parts, &p->n_parts)
                    : SV_E_NO_MEMORY;
}

static int parse_call(llm_in *in, const json_value *b, llm_part *p)
{
    p->kind = LLM_PART_CALL;
    int rc = llm_need(in, b[B_ID], "id");
    if (rc == 0) rc = llm_string(in, b[B_ID], "id", &p->id);
    if (rc == 0) rc = llm_need(in, b[B_NAME], "name");
    if (rc == 0) rc = llm_string(in, b[B_NAME], "name", &p->name);
    p->raw = sv_cstr("{}");
    return rc ? rc : llm_object(in, b[B_INPUT], "input", &p->raw);
}

static int parse_thinking(llm_in *in, const json_value *b, llm_part *p)
{
    sv_str signature = {NULL, 0};
    p->kind = LLM_PART_THINKING;
    int rc = llm_string(in, b[B_THINKING], "thinking", &p->text);
    if (rc == 0) rc = llm_string(in, b[B_SIGNATURE], "signature", &signature);
    if (signature.n) p->signature = llm_take_opaque(signature, LLM_ANTHROPIC, &p->origin);
    return rc;
}

static int parse_redacted(llm_in *in, const json_value *b, llm_part *p)
{
    sv_str data = {"", 0};
    p->kind = LLM_PART_OPAQUE;
    int rc = llm_need(in, b[B_DATA], "data");
    if (rc == 0) rc = llm_string(in, b[B_DATA], "data", &data);
    p->signature = llm_take_opaque(data, LLM_ANTHROPIC, &p->origin);
    return rc;
}

/* *n counts up unless the block has no neutral form: then it is left out by name. */
static int parse_block(llm_in *in, json_value v, llm_part *p, uint32_t *n)
{
    json_value b[B_N];
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(v, block_members, B_N, b);
    rc = llm_need(in, b[B_TYPE], "type");
    if (rc == 0) rc = llm_want(in, b[B_TYPE], JSON_STRING, "type");
    if (rc) return rc;
    if (b[B_CACHE].type == JSON_OBJECT) p->extra = b[B_CACHE].raw;
    ++*n;
    if (json_string_is(b[B_TYPE], "text")) {
        p->kind = LLM_PART_TEXT;
        rc = llm_need(in, b[B_TEXT], "text");
        return rc ? rc : llm_string(in, b[B_TEXT], "text", &p->text);
    }
    if (json_string_is(b[B_TYPE], "image")) {
        p->kind = LLM_PART_IMAGE;
        return parse_source(in, b, p);
    }
    bool content = json_string_is(json_get(b[B_SOURCE], "type"), "content");
    if (json_string_is(b[B_TYPE], "document") && !content) {
        p->kind = LLM_PART_FILE;
        rc = llm_string(in, b[B_TITLE], "title", &p->name);
        return rc ? rc : parse_source(in, b, p);
    }
    if (json_string_is(b[B_TYPE], "tool_result")) return parse_result(in, b, p);
    if (json_string_is(b[B_TYPE], "tool_use")) return parse_call(in, b, p);
    if (json_string_is(b[B_TYPE], "thinking")) return parse_thinking(in, b, p);
    if (json_string_is(b[B_TYPE], "redacted_thinking")) return parse_redacted(in, b, p);
    --*n;
    p->extra = (sv_str){NULL, 0};
    return llm_drop(in, NULL);
}

static int parse_blocks(llm_in *in, json_value content, const char *field, llm_part *parts,
                        uint32_t *n)
{
    int64_t i = 0;
    json_value v;
    if (content.type == JSON_STRING) {
        parts[(*n)++] = (llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(content)};
        return 0;
    }
    for (size_t at = 0; json_next_element(content, &at, &v); i++) {
        llm_enter(in, field, i);
        int rc = parse_block(in, v, &parts[*n], n);
        llm_leave(in);
        if (rc) return rc;
    }
    return 0;
}

/* ---- messages ---- */

/* A value of Gemini's before a call is that call's signature. */
static void join_signatures(llm_message *m)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        llm_part *p = &m->parts[i], *next = p + 1;
        bool moves = p->kind == LLM_PART_OPAQUE && p->origin == LLM_GEMINI && i + 1 < m->n_parts &&
                     next->kind == LLM_PART_CALL;
        if (moves) {
            next->signature = p->signature;
            next->origin = p->origin;
        } else {
            m->parts[to++] = *p;
        }
    }
    m->n_parts = to;
}

/* Results in a message of their own, before the rest. */
static int split_results(llm_in *in, llm_message *m)
{
    llm_request *q = in->q;
    uint32_t results = 0, rest = 0;
    for (uint32_t i = 0; i < m->n_parts; i++)
        results += m->parts[i].kind == LLM_PART_RESULT;
    if (results == 0) return 0;
    llm_part *parts = llm_new(in, m->n_parts, sizeof *parts);
    if (parts == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0, at = 0; i < m->n_parts; i++)
        parts[m->parts[i].kind == LLM_PART_RESULT ? at++ : results + rest++] = m->parts[i];
    *m = (llm_message){.role = LLM_TOOL, .parts = parts, .n_parts = results};
    if (rest)
        q->messages[q->n_messages++] =
            (llm_message){.role = LLM_USER, .parts = parts + results, .n_parts = rest};
    return 0;
}

static int parse_message(llm_in *in, json_value v)
{
    uint32_t n;
    llm_request *q = in->q;
    json_value role = json_get(v, "role"), content = json_get(v, "content");
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc == 0) rc = llm_need(in, role, "role");
    if (rc) return rc;
    llm_message *m = &q->messages[q->n_messages++];
    m->role = json_string_is(role, "assistant") ? LLM_ASSISTANT : LLM_USER;
    if (m->role == LLM_USER && json_string_is(role, "system")) m->role = LLM_SYSTEM;
    if (m->role == LLM_USER && !json_string_is(role, "user"))
        return llm_bad(in, SV_E_OUT_OF_RANGE, "role", "This must be user or assistant.");
    rc = llm_need(in, content, "content");
    if (rc == 0) rc = count_blocks(in, content, "content", &n);
    if (rc || n == 0) return rc;
    m->parts = llm_new(in, n, sizeof *m->parts);
    if (m->parts == NULL) return SV_E_NO_MEMORY;
    rc = parse_blocks(in, content, "content", m->parts, &m->n_parts);
    if (rc) return rc;
    if (m->role == LLM_ASSISTANT) join_signatures(m);
    return m->role == LLM_USER ? split_results(in, m) : 0;
}

static int parse_system(llm_in *in, json_value v)
{
    uint32_t n;
    llm_request *q = in->q;
    if (v.type == JSON_NONE) return 0;
    llm_message *m = &q->messages[q->n_messages++];
    m->role = LLM_SYSTEM;
    int rc = count_blocks(in, v, "system", &n);
    if (rc) return rc;
    m->parts = llm_new(in, (size_t)n + 1, sizeof *m->parts);
    return m->parts ? parse_blocks(in, v, "system", m->parts, &m->n_parts) : SV_E_NO_MEMORY;
}

static int parse_messages(llm_in *in, json_value system, json_value list)
{
    uint32_t n;
    json_value v;
    llm_request *q = in->q;
    int rc = llm_need(in, list, "messages");
    if (rc == 0) rc = llm_list(in, list, "messages", LLM_MESSAGES, &n);
    if (rc) return rc;
    if (n == 0)
        return llm_bad(in, SV_E_OUT_OF_RANGE, "messages", "There must be at least one message.");
    q->messages = llm_new(in, 2 * (size_t)n + 1, sizeof *q->messages);
    if (q->messages == NULL) return SV_E_NO_MEMORY;
    rc = parse_system(in, system);
    int64_t i = 0;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v); i++) {
        llm_enter(in, "messages", i);
        rc = parse_message(in, v);
        llm_leave(in);
    }
    return rc;
}

/* ---- tools ---- */

static int parse_tool(llm_in *in, json_value v, llm_tool *t)
{
    json_value type = json_get(v, "type"), name = json_get(v, "name");
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc) return rc;
    t->raw = v.raw;
    t->foreign = type.type == JSON_STRING && !json_string_is(type, "custom");
    if (t->foreign) return 0;
    rc = llm_need(in, name, "name");
    if (rc == 0) rc = llm_string(in, name, "name", &t->name);
    json_value words = json_get(v, "description"), schema = json_get(v, "input_schema"),
               strict = json_get(v, "strict");
    if (rc == 0) rc = llm_string(in, words, "description", &t->description);
    if (rc == 0) rc = llm_object(in, schema, "input_schema", &t->schema);
    if (rc == 0) rc = llm_bool(in, strict, "strict", &t->strict);
    return rc;
}

static int parse_tools(llm_in *in, json_value list)
{
    uint32_t n;
    json_value v;
    llm_request *q = in->q;
    int rc = llm_list(in, list, "tools", LLM_TOOLS, &n);
    if (rc || n == 0) return rc;
    q->tools = llm_new(in, n, sizeof *q->tools);
    if (q->tools == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v);) {
        llm_enter(in, "tools", q->n_tools);
        rc = parse_tool(in, v, &q->tools[q->n_tools++]);
        llm_leave(in);
    }
    return rc;
}

static int parse_choice(llm_in *in, json_value v)
{
    bool single = false;
    llm_request *q = in->q;
    int rc = llm_want(in, v, JSON_OBJECT, "tool_choice");
    if (rc || v.type == JSON_NONE) return rc;
    json_value type = json_get(v, "type"), name = json_get(v, "name");
    if (json_string_is(type, "auto")) {
        q->tool_choice = LLM_CHOICE_AUTO;
    } else if (json_string_is(type, "any")) {
        q->tool_choice = LLM_CHOICE_ANY;
    } else if (json_string_is(type, "none")) {
        q->tool_choice = LLM_CHOICE_NONE;
    } else if (json_string_is(type, "tool")) {
        q->tool_choice = LLM_CHOICE_NAMED;
        rc = llm_need(in, name, "tool_choice.name");
        if (rc == 0) rc = llm_string(in, name, "tool_choice.name", &q->tool_name);
    } else {
        return llm_bad(in, SV_E_OUT_OF_RANGE, "tool_choice.type",
                       "This must be auto, any, tool or none.");
    }
    json_value one = json_get(v, "disable_parallel_tool_use");
    if (rc == 0) rc = llm_bool(in, one, "tool_choice.disable_parallel_tool_use", &single);
    if (one.type == JSON_TRUE || one.type == JSON_FALSE)
        q->parallel_tools = single ? LLM_NO : LLM_YES;
    return rc;
}

/* ---- the rest ---- */

static int parse_reasoning(llm_in *in, json_value v, json_value config)
{
    llm_request *q = in->q;
    json_value type = json_get(v, "type"), effort = json_get(config, "effort");
    int rc = llm_want(in, v, JSON_OBJECT, "thinking");
    if (rc == 0) rc = llm_want(in, config, JSON_OBJECT, "output_config");
    if (rc == 0) rc = llm_string(in, effort, "output_config.effort", &q->effort);
    if (rc || v.type == JSON_NONE) return rc;
    if (json_string_is(type, "disabled")) {
        q->thinking_tokens = -1;
        return 0;
    }
    q->show_thinking = true;
    if (json_string_is(type, "adaptive")) /* how much is the model's choice, or the effort's */
        return q->effort.p ? 0 : llm_drop(in, "thinking");
    if (json_string_is(type, "between_tools")) return llm_drop(in, "thinking"); /* likewise */
    if (!json_string_is(type, "enabled"))
        return llm_bad(in, SV_E_OUT_OF_RANGE, "thinking.type",
                       "This must be enabled, adaptive, between_tools or disabled.");
    json_value budget = json_get(v, "budget_tokens");
    rc = llm_need(in, budget, "thinking.budget_tokens");
    return rc ? rc
              : llm_int(in, budget, "thinking.budget_tokens", 1, INT32_MAX, &q->thinking_tokens);
}

static int parse_shape(llm_in *in, json_value format, const char *field)
{
    char name[48];
    llm_request *q = in->q;
    if (format.type == JSON_NULL) return 0;
    int rc = llm_want(in, format, JSON_OBJECT, field);
    if (rc || format.type == JSON_NONE) return rc;
    if (!json_string_is(json_get(format, "type"), "json_schema")) return llm_drop(in, field);
    snprintf(name, sizeof name, "%s.schema", field);
    json_value schema = json_get(format, "schema");
    q->shape = LLM_SHAPE_SCHEMA;
    q->schema_strict = true;
    rc = llm_need(in, schema, name);
    return rc ? rc : llm_object(in, schema, name, &q->schema);
}

static int parse_rest(llm_in *in, const json_value *v)
{
    llm_request *q = in->q;
    int rc = llm_int(in, v[Q_MAX_TOKENS], "max_tokens", 1, INT32_MAX, &q->max_tokens);
    if (rc == 0) rc = llm_number(in, v[Q_TEMPERATURE], "temperature", &q->temperature);
    if (rc == 0) rc = llm_number(in, v[Q_TOP_P], "top_p", &q->top_p);
    if (rc == 0) rc = llm_number(in, v[Q_TOP_K], "top_k", &q->top_k);
    if (rc == 0) rc = llm_stops(in, v[Q_STOPS], "stop_sequences");
    if (rc == 0) rc = llm_bool(in, v[Q_STREAM], "stream", &q->stream);
    if (rc == 0) rc = llm_want(in, v[Q_METADATA], JSON_OBJECT, "metadata");
    json_value user = json_get(v[Q_METADATA], "user_id");
    if (rc == 0) rc = llm_string(in, user, "metadata.user_id", &q->user);
    q->include_usage = true; /* this format's streams always tell it */
    return rc;
}

int anthropic_parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    json_value root = json_root(text), v[Q_N];
    *ret = (llm_request){.format = LLM_ANTHROPIC, .n = 1, .json = text};
    llm_in in = {.a = a, .q = ret, .err = err};
    int rc = llm_want(&in, root, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(root, members, Q_N, v);
    rc = llm_keep_left(&in, root, members, Q_N);
    if (rc == 0) rc = parse_messages(&in, v[Q_SYSTEM], v[Q_MESSAGES]);
    if (rc == 0) rc = parse_tools(&in, v[Q_TOOLS]);
    if (rc == 0) rc = parse_choice(&in, v[Q_TOOL_CHOICE]);
    if (rc == 0) rc = parse_reasoning(&in, v[Q_THINKING], v[Q_OUTPUT_CONFIG]);
    if (rc == 0)
        rc = parse_shape(&in, json_get(v[Q_OUTPUT_CONFIG], "format"), "output_config.format");
    if (rc == 0) rc = parse_shape(&in, v[Q_OUTPUT_FORMAT], "output_format");
    if (rc == 0) rc = parse_rest(&in, v);
    if (rc == 0) llm_name_results(ret);
    return rc;
}
