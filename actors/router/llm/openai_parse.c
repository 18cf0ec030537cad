/*  openai_parse.c - a client's /chat/completions body.
 *
 *  Older spellings (functions, function_call, max_tokens) and those of others (reasoning as
 *  OpenRouter has it, extra_content as Google has it) are read beside OpenAI's own. Functions
 *  without ids take their name as id, so that a result finds its call. */
#include "error.h"
#include "openai.h"
#include "parse.h"

enum {
    Q_MODEL,
    Q_MESSAGES,
    Q_TOOLS,
    Q_TOOL_CHOICE,
    Q_FUNCTIONS,
    Q_FUNCTION_CALL,
    Q_PARALLEL,
    Q_MAX_TOKENS,
    Q_MAX_COMPLETION,
    Q_TEMPERATURE,
    Q_TOP_P,
    Q_TOP_K,
    Q_SEED,
    Q_PRESENCE,
    Q_FREQUENCY,
    Q_STOP,
    Q_NUMBER,
    Q_RESPONSE_FORMAT,
    Q_EFFORT,
    Q_REASONING,
    Q_STREAM,
    Q_STREAM_OPTIONS,
    Q_USER,
    Q_N
};
static const char *const members[Q_N] = {
    [Q_MODEL] = "model",
    [Q_MESSAGES] = "messages",
    [Q_TOOLS] = "tools",
    [Q_TOOL_CHOICE] = "tool_choice",
    [Q_FUNCTIONS] = "functions",
    [Q_FUNCTION_CALL] = "function_call",
    [Q_PARALLEL] = "parallel_tool_calls",
    [Q_MAX_TOKENS] = "max_tokens",
    [Q_MAX_COMPLETION] = "max_completion_tokens",
    [Q_TEMPERATURE] = "temperature",
    [Q_TOP_P] = "top_p",
    [Q_TOP_K] = "top_k",
    [Q_SEED] = "seed",
    [Q_PRESENCE] = "presence_penalty",
    [Q_FREQUENCY] = "frequency_penalty",
    [Q_STOP] = "stop",
    [Q_NUMBER] = "n",
    [Q_RESPONSE_FORMAT] = "response_format",
    [Q_EFFORT] = "reasoning_effort",
    [Q_REASONING] = "reasoning",
    [Q_STREAM] = "stream",
    [Q_STREAM_OPTIONS] = "stream_options",
    [Q_USER] = "user",
};

enum {
    M_ROLE,
    M_CONTENT,
    M_NAME,
    M_TOOL_CALLS,
    M_TOOL_CALL_ID,
    M_FUNCTION_CALL,
    M_REASONING,
    M_REASONING_CONTENT,
    M_DETAILS,
    M_REFUSAL,
    M_N
};
static const char *const message_members[M_N] = {
    [M_ROLE] = "role",
    [M_CONTENT] = "content",
    [M_NAME] = "name",
    [M_TOOL_CALLS] = "tool_calls",
    [M_TOOL_CALL_ID] = "tool_call_id",
    [M_FUNCTION_CALL] = "function_call",
    [M_REASONING] = "reasoning",
    [M_REASONING_CONTENT] = "reasoning_content",
    [M_DETAILS] = "reasoning_details",
    [M_REFUSAL] = "refusal",
};

/* ---- content ---- */

static int parse_image(llm_in *in, json_value v, llm_part *p)
{
    sv_str url = {NULL, 0};
    json_value image = json_get(v, "image_url");
    json_value address = image.type == JSON_STRING ? image : json_get(image, "url");
    p->kind = LLM_PART_IMAGE;
    int rc = llm_need(in, address, "image_url.url");
    if (rc == 0) rc = llm_string(in, address, "image_url.url", &url);
    if (rc == 0) rc = llm_address(in, url, "image_url.url", p);
    json_value detail = json_get(image, "detail");
    if (rc == 0 && detail.type == JSON_STRING && !json_string_is(detail, "auto"))
        rc = llm_drop(in, "image_url.detail");
    return rc;
}

static int parse_audio(llm_in *in, json_value v, llm_part *p)
{
    json_value audio = json_get(v, "input_audio"), data = json_get(audio, "data");
    p->kind = LLM_PART_AUDIO;
    int rc = llm_need(in, data, "input_audio.data");
    if (rc == 0) rc = llm_string(in, data, "input_audio.data", &p->data);
    if (rc) return rc;
    sv_str format = llm_inside(json_get(audio, "format"));
    if (!llm_is(format, "wav") && !llm_is(format, "mp3"))
        return llm_bad(in, SV_E_OUT_OF_RANGE, "input_audio.format", "This must be wav or mp3.");
    p->media_type = sv_cstr(llm_is(format, "wav") ? "audio/wav" : "audio/mpeg");
    return 0;
}

static int parse_file(llm_in *in, json_value v, llm_part *p)
{
    json_value file = json_get(v, "file"), data = json_get(file, "file_data");
    sv_str address = {NULL, 0};
    p->kind = LLM_PART_FILE;
    if (data.type != JSON_STRING && json_get(file, "file_id").type == JSON_STRING)
        return llm_bad(in, SV_E_INVALID, "file.file_id",
                       "Files stored at a provider cannot be used here: send file_data.");
    int rc = llm_need(in, data, "file.file_data");
    if (rc == 0) rc = llm_string(in, data, "file.file_data", &address);
    if (rc == 0) rc = llm_string(in, json_get(file, "filename"), "file.filename", &p->name);
    return rc ? rc : llm_address(in, address, "file.file_data", p);
}

/* *n counts up unless the part's type is unknown: then it is left out by name. */
static int parse_part(llm_in *in, json_value v, llm_part *p, uint32_t *n)
{
    json_value type = json_get(v, "type");
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc == 0) rc = llm_need(in, type, "type");
    if (rc == 0) rc = llm_want(in, type, JSON_STRING, "type");
    if (rc) return rc;
    ++*n;
    bool refusal = json_string_is(type, "refusal");
    if (refusal || json_string_is(type, "text")) {
        const char *field = refusal ? "refusal" : "text";
        json_value text = json_get(v, field);
        p->kind = LLM_PART_TEXT;
        json_value cache = json_get(v, "cache_control");
        if (cache.type == JSON_OBJECT) p->extra = cache.raw;
        rc = llm_need(in, text, field);
        return rc ? rc : llm_string(in, text, field, &p->text);
    }
    if (json_string_is(type, "image_url")) return parse_image(in, v, p);
    if (json_string_is(type, "input_audio")) return parse_audio(in, v, p);
    if (json_string_is(type, "file")) return parse_file(in, v, p);
    --*n;
    return llm_drop(in, NULL);
}

/* Appends content's parts; `parts` has room for them. */
static int parse_content(llm_in *in, json_value content, llm_part *parts, uint32_t *n)
{
    int64_t i = 0;
    json_value v;
    if (content.type == JSON_STRING) {
        parts[(*n)++] = (llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(content)};
        return 0;
    }
    for (size_t at = 0; json_next_element(content, &at, &v); i++) {
        llm_enter(in, "content", i);
        int rc = parse_part(in, v, &parts[*n], n);
        llm_leave(in);
        if (rc) return rc;
    }
    return 0;
}

/* How many parts content has at most. */
static int count_content(llm_in *in, json_value content, uint32_t *n)
{
    *n = content.type == JSON_STRING;
    if (content.type == JSON_STRING || content.type == JSON_NONE) return 0;
    if (content.type != JSON_ARRAY)
        return llm_bad(in, SV_E_WRONG_TYPE, "content", "This must be a string or a list of parts.");
    return llm_list(in, content, "content", LLM_PARTS, n);
}

/* ---- reasoning ---- */

/* One of reasoning_details; `words` are the message's own, for an entry without. */
static void parse_detail(json_value v, sv_str words, llm_part *parts, uint32_t *n)
{
    json_value type = json_get(v, "type");
    llm_part *p = &parts[*n];
    if (json_string_is(type, "reasoning.encrypted")) {
        sv_str data = llm_inside(json_get(v, "data"));
        if (data.n == 0) return;
        *p = (llm_part){.kind = LLM_PART_OPAQUE};
        p->signature = llm_take_opaque(data, LLM_OPENAI, &p->origin);
        ++*n;
        return;
    }
    bool summary = json_string_is(type, "reasoning.summary");
    json_value text = json_get(v, summary ? "summary" : "text");
    sv_str signature = llm_inside(json_get(v, "signature"));
    *p = (llm_part){.kind = LLM_PART_THINKING, .text = llm_inside(text)};
    if (text.type != JSON_STRING) p->text = words;
    if (signature.n) p->signature = llm_take_opaque(signature, LLM_OPENAI, &p->origin);
    if (p->text.n || signature.n)
        ++*n;
    else
        *p = (llm_part){0};
}

static int parse_reasoning(llm_in *in, const json_value *m, llm_part *parts, uint32_t *n)
{
    json_value v =
        m[M_REASONING_CONTENT].type == JSON_STRING ? m[M_REASONING_CONTENT] : m[M_REASONING];
    sv_str words = {NULL, 0};
    uint32_t before = *n;
    int rc = llm_string(in, v, "reasoning_content", &words);
    if (rc) return rc;
    for (size_t at = 0; json_next_element(m[M_DETAILS], &at, &v);)
        parse_detail(v, words, parts, n);
    if (*n == before && words.n)
        parts[(*n)++] = (llm_part){.kind = LLM_PART_THINKING, .text = words};
    return 0;
}

/* ---- tool calls ---- */

static int parse_function(llm_in *in, json_value function, llm_part *p)
{
    json_value name = json_get(function, "name"), arguments = json_get(function, "arguments");
    p->kind = LLM_PART_CALL;
    int rc = llm_need(in, name, "function.name");
    if (rc == 0) rc = llm_string(in, name, "function.name", &p->name);
    if (arguments.type == JSON_OBJECT) {
        p->raw = arguments.raw;
        return rc;
    }
    sv_str inside = {"", 0};
    if (rc == 0) rc = llm_string(in, arguments, "function.arguments", &inside);
    return rc ? rc : llm_arguments(in, inside, &p->raw);
}

static int parse_call(llm_in *in, json_value v, llm_part *p)
{
    json_value id = json_get(v, "id"), custom = json_get(v, "custom");
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc == 0) rc = llm_need(in, id, "id");
    if (rc == 0) rc = llm_string(in, id, "id", &p->id);
    if (rc) return rc;
    if (custom.type == JSON_OBJECT) { /* its input is text of no form */
        p->kind = LLM_PART_CALL;
        rc = llm_string(in, json_get(custom, "name"), "custom.name", &p->name);
        return rc ? rc : llm_arguments(in, llm_inside(json_get(custom, "input")), &p->raw);
    }
    json_value google = json_get(json_get(v, "extra_content"), "google");
    sv_str signature = llm_inside(json_get(google, "thought_signature"));
    if (signature.n) p->signature = llm_take_opaque(signature, LLM_OPENAI, &p->origin);
    return parse_function(in, json_get(v, "function"), p);
}

static int parse_calls(llm_in *in, const json_value *m, llm_part *parts, uint32_t *n)
{
    int64_t i = 0;
    json_value v;
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(m[M_TOOL_CALLS], &at, &v); i++) {
        llm_enter(in, "tool_calls", i);
        rc = parse_call(in, v, &parts[(*n)++]);
        llm_leave(in);
    }
    if (rc || m[M_FUNCTION_CALL].type != JSON_OBJECT) return rc;
    llm_part *p = &parts[(*n)++];
    rc = parse_function(in, m[M_FUNCTION_CALL], p);
    p->id = p->name;
    return rc;
}

/* ---- messages ---- */

static int parse_assistant(llm_in *in, const json_value *m, llm_message *ret)
{
    uint32_t n_content, n_calls, n_details;
    int rc = count_content(in, m[M_CONTENT], &n_content);
    if (rc == 0) rc = llm_list(in, m[M_TOOL_CALLS], "tool_calls", LLM_PARTS, &n_calls);
    if (rc == 0) rc = llm_list(in, m[M_DETAILS], "reasoning_details", LLM_PARTS, &n_details);
    if (rc) return rc;
    /* one more each: words of reasoning, a refusal, an old function_call, a part left out */
    ret->parts = llm_new(in, (size_t)n_content + n_calls + n_details + 4, sizeof *ret->parts);
    if (ret->parts == NULL) return SV_E_NO_MEMORY;
    rc = parse_reasoning(in, m, ret->parts, &ret->n_parts);
    if (rc == 0) rc = parse_content(in, m[M_CONTENT], ret->parts, &ret->n_parts);
    if (rc == 0 && m[M_REFUSAL].type == JSON_STRING)
        ret->parts[ret->n_parts++] =
            (llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(m[M_REFUSAL])};
    return rc ? rc : parse_calls(in, m, ret->parts, &ret->n_parts);
}

static int parse_result(llm_in *in, const json_value *m, bool legacy, llm_message *ret)
{
    uint32_t n;
    json_value id = m[legacy ? M_NAME : M_TOOL_CALL_ID];
    const char *field = legacy ? "name" : "tool_call_id";
    llm_part *p = ret->parts = llm_new(in, 1, sizeof *p);
    if (p == NULL) return SV_E_NO_MEMORY;
    ret->n_parts = 1;
    p->kind = LLM_PART_RESULT;
    int rc = llm_need(in, id, field);
    if (rc == 0) rc = llm_string(in, id, field, &p->id);
    if (rc == 0) rc = llm_string(in, m[M_NAME], "name", &p->name);
    if (rc == 0) rc = count_content(in, m[M_CONTENT], &n);
    if (rc || n == 0) return rc;
    p->parts = llm_new(in, (size_t)n + 1, sizeof *p);
    return p->parts ? parse_content(in, m[M_CONTENT], p->parts, &p->n_parts) : SV_E_NO_MEMORY;
}

static int parse_message(llm_in *in, json_value v, llm_message *ret)
{
    uint32_t n;
    json_value m[M_N];
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(v, message_members, M_N, m);
    rc = llm_need(in, m[M_ROLE], "role");
    if (rc) return rc;
    if (json_string_is(m[M_ROLE], "assistant")) {
        ret->role = LLM_ASSISTANT;
        return parse_assistant(in, m, ret);
    }
    bool legacy = json_string_is(m[M_ROLE], "function");
    if (legacy || json_string_is(m[M_ROLE], "tool")) {
        ret->role = LLM_TOOL;
        return parse_result(in, m, legacy, ret);
    }
    ret->role = json_string_is(m[M_ROLE], "user") ? LLM_USER : LLM_SYSTEM;
    if (ret->role == LLM_SYSTEM && !json_string_is(m[M_ROLE], "system") &&
        !json_string_is(m[M_ROLE], "developer"))
        return llm_bad(in, SV_E_OUT_OF_RANGE, "role",
                       "This must be system, developer, user, assistant or tool.");
    rc = llm_string(in, m[M_NAME], "name", &ret->name);
    if (rc == 0) rc = llm_need(in, m[M_CONTENT], "content");
    if (rc == 0) rc = count_content(in, m[M_CONTENT], &n);
    if (rc) return rc;
    ret->parts = llm_new(in, (size_t)n + 1, sizeof *ret->parts);
    return ret->parts ? parse_content(in, m[M_CONTENT], ret->parts, &ret->n_parts) : SV_E_NO_MEMORY;
}

static int parse_messages(llm_in *in, json_value list)
{
    uint32_t n;
    json_value v;
    llm_request *q = in->q;
    int rc = llm_need(in, list, "messages");
    if (rc == 0) rc = llm_list(in, list, "messages", LLM_MESSAGES, &n);
    if (rc) return rc;
    if (n == 0)
        return llm_bad(in, SV_E_OUT_OF_RANGE, "messages", "There must be at least one message.");
    q->messages = llm_new(in, n, sizeof *q->messages);
    if (q->messages == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v);) {
        llm_enter(in, "messages", q->n_messages);
        rc = parse_message(in, v, &q->messages[q->n_messages]);
        llm_leave(in);
        q->n_messages++;
    }
    return rc;
}

/* ---- tools ---- */

static int parse_tool(llm_in *in, json_value v, bool legacy, llm_tool *t)
{
    json_value f = legacy ? v : json_get(v, "function"), name;
    int rc = llm_want(in, v, JSON_OBJECT, NULL);
    if (rc) return rc;
    t->raw = v.raw;
    t->foreign = !legacy && !json_string_is(json_get(v, "type"), "function");
    if (t->foreign) return 0;
    name = json_get(f, "name");
    rc = llm_need(in, name, "function.name");
    if (rc == 0) rc = llm_string(in, name, "function.name", &t->name);
    json_value words = json_get(f, "description"), schema = json_get(f, "parameters"),
               strict = json_get(f, "strict");
    if (rc == 0) rc = llm_string(in, words, "function.description", &t->description);
    if (rc == 0) rc = llm_object(in, schema, "function.parameters", &t->schema);
    if (rc == 0) rc = llm_bool(in, strict, "function.strict", &t->strict);
    return rc;
}

static int parse_tools(llm_in *in, json_value list, json_value functions)
{
    uint32_t n;
    json_value v;
    llm_request *q = in->q;
    bool legacy = list.type == JSON_NONE;
    const char *field = legacy ? "functions" : "tools";
    if (legacy) list = functions;
    int rc = llm_list(in, list, field, LLM_TOOLS, &n);
    if (rc || n == 0) return rc;
    q->tools = llm_new(in, n, sizeof *q->tools);
    if (q->tools == NULL) return SV_E_NO_MEMORY;
    q->old_calls = legacy;
    if (legacy) q->parallel_tools = LLM_NO;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v);) {
        llm_enter(in, field, q->n_tools);
        rc = parse_tool(in, v, legacy, &q->tools[q->n_tools++]);
        llm_leave(in);
    }
    return rc;
}

static int parse_choice(llm_in *in, json_value v, bool legacy)
{
    llm_request *q = in->q;
    const char *field = legacy ? "function_call" : "tool_choice";
    if (json_string_is(v, "auto")) {
        q->tool_choice = LLM_CHOICE_AUTO;
    } else if (json_string_is(v, "none")) {
        q->tool_choice = LLM_CHOICE_NONE;
    } else if (json_string_is(v, "required") || json_string_is(v, "any")) {
        q->tool_choice = LLM_CHOICE_ANY;
    } else if (v.type == JSON_OBJECT) {
        json_value name = json_get(legacy ? v : json_get(v, "function"), "name");
        if (name.type != JSON_STRING) return llm_drop(in, field);
        q->tool_choice = LLM_CHOICE_NAMED;
        q->tool_name = llm_inside(name);
    } else if (v.type != JSON_NONE) {
        return llm_bad(in, SV_E_OUT_OF_RANGE, field,
                       "This must be auto, none, required or a function by name.");
    }
    return 0;
}

/* ---- the rest ---- */

static int parse_shape(llm_in *in, json_value v)
{
    llm_request *q = in->q;
    json_value type = json_get(v, "type"), s = json_get(v, "json_schema");
    int rc = llm_want(in, v, JSON_OBJECT, "response_format");
    if (rc || v.type == JSON_NONE || json_string_is(type, "text")) return rc;
    if (json_string_is(type, "json_object")) {
        q->shape = LLM_SHAPE_JSON;
        return 0;
    }
    if (!json_string_is(type, "json_schema"))
        return llm_bad(in, SV_E_OUT_OF_RANGE, "response_format.type",
                       "This must be text, json_object or json_schema.");
    q->shape = LLM_SHAPE_SCHEMA;
    json_value strict = json_get(s, "strict"), schema = json_get(s, "schema");
    rc = llm_string(in, json_get(s, "name"), "response_format.json_schema.name", &q->schema_name);
    if (rc == 0) rc = llm_need(in, schema, "response_format.json_schema.schema");
    if (rc == 0) rc = llm_object(in, schema, "response_format.json_schema.schema", &q->schema);
    if (rc == 0) rc = llm_bool(in, strict, "response_format.json_schema.strict", &q->schema_strict);
    return rc;
}

static int parse_effort(llm_in *in, json_value effort, json_value r)
{
    llm_request *q = in->q;
    bool exclude = false, enabled = true;
    q->show_thinking = true;
    int rc = llm_string(in, effort, "reasoning_effort", &q->effort);
    if (rc == 0) rc = llm_want(in, r, JSON_OBJECT, "reasoning");
    if (rc || r.type == JSON_NONE) return rc;
    json_value own = json_get(r, "effort"), most = json_get(r, "max_tokens"),
               hide = json_get(r, "exclude"), on = json_get(r, "enabled");
    rc = llm_string(in, own, "reasoning.effort", &q->effort);
    if (rc == 0) rc = llm_int(in, most, "reasoning.max_tokens", 0, INT32_MAX, &q->thinking_tokens);
    if (rc == 0) rc = llm_bool(in, hide, "reasoning.exclude", &exclude);
    if (rc == 0) rc = llm_bool(in, on, "reasoning.enabled", &enabled);
    q->show_thinking = !exclude;
    if (!enabled) q->thinking_tokens = -1;
    return rc;
}

static int parse_numbers(llm_in *in, const json_value *v)
{
    llm_request *q = in->q;
    const struct {
        int at;
        sv_str *to;
    } rows[] = {{Q_TEMPERATURE, &q->temperature},
                {Q_TOP_P, &q->top_p},
                {Q_TOP_K, &q->top_k},
                {Q_SEED, &q->seed},
                {Q_PRESENCE, &q->presence_penalty},
                {Q_FREQUENCY, &q->frequency_penalty}};
    int rc = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && rc == 0; i++)
        rc = llm_number(in, v[rows[i].at], members[rows[i].at], rows[i].to);
    if (rc == 0) rc = llm_int(in, v[Q_NUMBER], "n", 1, 128, &q->n);
    if (rc == 0) rc = llm_int(in, v[Q_MAX_TOKENS], "max_tokens", 1, INT32_MAX, &q->max_tokens);
    if (rc == 0)
        rc =
            llm_int(in, v[Q_MAX_COMPLETION], "max_completion_tokens", 1, INT32_MAX, &q->max_tokens);
    return rc;
}

static int parse_flags(llm_in *in, const json_value *v)
{
    llm_request *q = in->q;
    bool parallel = true;
    int rc = llm_bool(in, v[Q_STREAM], "stream", &q->stream);
    if (rc == 0) rc = llm_bool(in, v[Q_PARALLEL], "parallel_tool_calls", &parallel);
    if (v[Q_PARALLEL].type != JSON_NONE) q->parallel_tools = parallel ? LLM_YES : LLM_NO;
    if (rc == 0) rc = llm_want(in, v[Q_STREAM_OPTIONS], JSON_OBJECT, "stream_options");
    if (rc) return rc;
    json_value usage = json_get(v[Q_STREAM_OPTIONS], "include_usage");
    rc = llm_bool(in, usage, "stream_options.include_usage", &q->include_usage);
    return rc ? rc : llm_string(in, v[Q_USER], "user", &q->user);
}

int openai_parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    json_value root = json_root(text), v[Q_N];
    *ret = (llm_request){.format = LLM_OPENAI, .n = 1, .json = text};
    llm_in in = {.a = a, .q = ret, .err = err};
    int rc = llm_want(&in, root, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(root, members, Q_N, v);
    rc = llm_keep_left(&in, root, members, Q_N);
    if (rc == 0) rc = parse_messages(&in, v[Q_MESSAGES]);
    if (rc == 0) rc = parse_tools(&in, v[Q_TOOLS], v[Q_FUNCTIONS]);
    if (rc == 0) rc = parse_choice(&in, v[Q_TOOL_CHOICE], false);
    if (rc == 0 && v[Q_TOOL_CHOICE].type == JSON_NONE)
        rc = parse_choice(&in, v[Q_FUNCTION_CALL], true);
    if (rc == 0) rc = parse_numbers(&in, v);
    if (rc == 0) rc = llm_stops(&in, v[Q_STOP], "stop");
    if (rc == 0) rc = parse_shape(&in, v[Q_RESPONSE_FORMAT]);
    if (rc == 0) rc = parse_effort(&in, v[Q_EFFORT], v[Q_REASONING]);
    if (rc == 0) rc = parse_flags(&in, v);
    if (rc == 0) llm_name_results(ret);
    return rc;
}
