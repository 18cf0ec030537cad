/*  responses.c - requests in the format of OpenAI's /responses, and the format's row.
 *
 *  `input` is a list of items, not of messages: a turn of the assistant is a run of items (reasoning,
 *  message, function_call). Such a run becomes one message, so other formats see what they know.
 *  Items that only the platform of OpenAI knows (its own tools' calls) are kept in the client's bytes
 *  and named in `left`: a provider of this format gets them, another one does not, and that is noted.
 *  Nothing is stored here, so what refers to stored things is refused. */
#include "responses.h"

#include "error.h"
#include "openai.h"
#include "parse.h"

#include <stdio.h>
#include <string.h>

typedef struct items {
    llm_in in;
    uint32_t cap_messages;
    uint32_t cap_parts; /* of the last message */
    uint32_t cap_left;
} items;

/* ---- growing lists ---- */

/* Room for one more of `n` elements; the new array is twice as long. NULL: no memory. */
static void *grow(const llm_in *in, void *list, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return list;
    uint32_t most = *cap ? 2 * *cap : 4;
    void *more = llm_new(in, most, size);
    if (more == NULL) return NULL;
    if (n) memcpy(more, list, n * size);
    *cap = most;
    return more;
}

static int add_left(items *it, sv_str name)
{
    llm_request *q = it->in.q;
    if (it->cap_left < q->n_left) it->cap_left = q->n_left;
    sv_str *left = grow(&it->in, q->left, q->n_left, &it->cap_left, sizeof *left);
    if (left == NULL) return SV_E_NO_MEMORY;
    q->left = left;
    left[q->n_left++] = name;
    return 0;
}

static int add_left_item(items *it, uint32_t index)
{
    char name[32];
    snprintf(name, sizeof name, "input[%u]", index);
    char *copy = arena_copy(it->in.a, sv_cstr(name));
    if (copy == NULL) return sv_fail(it->in.err, SV_E_NO_MEMORY, NULL, NULL);
    return add_left(it, sv_cstr(copy));
}

static int add_message(items *it, llm_role role)
{
    llm_request *q = it->in.q;
    llm_message *m = grow(&it->in, q->messages, q->n_messages, &it->cap_messages, sizeof *m);
    if (m == NULL) return SV_E_NO_MEMORY;
    q->messages = m;
    m[q->n_messages++] = (llm_message){.role = role};
    it->cap_parts = 0;
    return 0;
}

/* The assistant's turn goes on, or begins. */
static int enter_turn(items *it)
{
    const llm_request *q = it->in.q;
    if (q->n_messages && q->messages[q->n_messages - 1].role == LLM_ASSISTANT) return 0;
    return add_message(it, LLM_ASSISTANT);
}

/* A part more of the last message. */
static int add_part(items *it, const llm_part *part)
{
    llm_message *m = &it->in.q->messages[it->in.q->n_messages - 1];
    if (m->n_parts == LLM_PARTS)
        return llm_bad(&it->in, SV_E_OUT_OF_RANGE, NULL, "A message has at most %d parts.",
                       LLM_PARTS);
    llm_part *parts = grow(&it->in, m->parts, m->n_parts, &it->cap_parts, sizeof *parts);
    if (parts == NULL) return SV_E_NO_MEMORY;
    m->parts = parts;
    parts[m->n_parts++] = *part;
    return 0;
}

/* ---- parts ---- */

static int read_image(llm_in *in, const json_value *v, llm_part *ret)
{
    sv_str address = {NULL, 0};
    ret->kind = LLM_PART_IMAGE;
    if (v[1].type != JSON_NONE)
        return llm_bad(in, SV_E_INVALID, "file_id",
                       "No files are stored here: send the image in image_url.");
    int rc = llm_need(in, v[0], "image_url");
    if (rc == 0) rc = llm_string(in, v[0], "image_url", &address);
    if (rc == 0) rc = llm_address(in, address, "image_url", ret);
    return rc;
}

/* v: file_id, file_url, file_data, filename. Data is a data: address, or base64 of a PDF. */
static int read_file(llm_in *in, const json_value *v, llm_part *ret)
{
    sv_str address = {NULL, 0};
    ret->kind = LLM_PART_FILE;
    if (v[0].type != JSON_NONE)
        return llm_bad(in, SV_E_INVALID, "file_id",
                       "No files are stored here: send the file in file_data or file_url.");
    bool by_url = v[1].type != JSON_NONE;
    const char *field = by_url ? "file_url" : "file_data";
    int rc = llm_need(in, by_url ? v[1] : v[2], field);
    if (rc == 0) rc = llm_string(in, by_url ? v[1] : v[2], field, &address);
    if (rc == 0) rc = llm_string(in, v[3], "filename", &ret->name);
    if (rc) return rc;
    if (by_url || (address.n >= 5 && memcmp(address.p, "data:", 5) == 0))
        return llm_address(in, address, field, ret);
    if (address.n == 0 || memchr(address.p, '\\', address.n))
        return llm_bad(in, SV_E_INVALID, field, "This must be a data: address or base64.");
    ret->media_type = sv_cstr("application/pdf");
    ret->data = address;
    return 0;
}

static int read_audio(llm_in *in, json_value audio, llm_part *ret)
{
    static const char *const names[] = {"data", "format"};
    json_value v[2];
    sv_str format = {NULL, 0};
    ret->kind = LLM_PART_AUDIO;
    llm_enter(in, "input_audio", -1);
    int rc = llm_want(in, audio, JSON_OBJECT, NULL);
    llm_members(audio, names, 2, v);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = llm_need(in, v[i], names[i]);
    if (rc == 0) rc = llm_string(in, v[0], "data", &ret->data);
    if (rc == 0) rc = llm_string(in, v[1], "format", &format);
    if (rc == 0 && !llm_is(format, "wav") && !llm_is(format, "mp3"))
        rc = llm_bad(in, SV_E_INVALID, "format", "This must be wav or mp3.");
    ret->media_type = sv_cstr(llm_is(format, "wav") ? "audio/wav" : "audio/mpeg");
    llm_leave(in);
    return rc;
}

/* One element of a message's content or of a call's output. */
static int read_part(llm_in *in, json_value element, llm_part *ret)
{
    enum { TYPE, TEXT, REFUSAL, AUDIO, IMAGE_URL, FILE_ID, FILE_URL, FILE_DATA, FILENAME, FIELDS };
    static const char *const names[FIELDS] = {"type",        "text",      "refusal",
                                              "input_audio", "image_url", "file_id",
                                              "file_url",    "file_data", "filename"};
    json_value v[FIELDS];
    sv_str type = {NULL, 0};
    int rc = llm_want(in, element, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(element, names, FIELDS, v);
    rc = llm_need(in, v[TYPE], "type");
    if (rc == 0) rc = llm_string(in, v[TYPE], "type", &type);
    if (rc) return rc;
    bool refusal = llm_is(type, "refusal");
    if (refusal || llm_is(type, "input_text") || llm_is(type, "output_text") ||
        llm_is(type, "text")) {
        size_t at = refusal ? REFUSAL : TEXT;
        ret->kind = LLM_PART_TEXT;
        rc = llm_need(in, v[at], names[at]);
        return rc ? rc : llm_string(in, v[at], names[at], &ret->text);
    }
    if (llm_is(type, "input_image")) return read_image(in, &v[IMAGE_URL], ret);
    if (llm_is(type, "input_file")) return read_file(in, &v[FILE_ID], ret);
    if (llm_is(type, "input_audio")) return read_audio(in, v[AUDIO], ret);
    return llm_bad(in, SV_E_INVALID, "type",
                   "This must be input_text, input_image, input_file, input_audio, output_text or "
                   "refusal.");
}

/* ---- items ---- */

static int read_role(llm_in *in, sv_str role, llm_role *ret)
{
    if (llm_is(role, "user"))
        *ret = LLM_USER;
    else if (llm_is(role, "assistant"))
        *ret = LLM_ASSISTANT;
    else if (llm_is(role, "system") || llm_is(role, "developer"))
        *ret = LLM_SYSTEM;
    else
        return llm_bad(in, SV_E_INVALID, "role",
                       "This must be user, assistant, system or developer.");
    return 0;
}

static int read_message(items *it, json_value role_value, json_value content)
{
    llm_in *in = &it->in;
    llm_role role = LLM_USER;
    sv_str name = {NULL, 0};
    int rc = llm_need(in, role_value, "role");
    if (rc == 0) rc = llm_string(in, role_value, "role", &name);
    if (rc == 0) rc = read_role(in, name, &role);
    if (rc == 0) rc = llm_need(in, content, "content");
    if (rc == 0) rc = role == LLM_ASSISTANT ? enter_turn(it) : add_message(it, role);
    if (rc) return rc;
    if (content.type == JSON_STRING)
        return add_part(it, &(llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(content)});
    if (content.type != JSON_ARRAY)
        return llm_bad(in, SV_E_WRONG_TYPE, "content", "This must be a string or a list.");
    json_value one;
    int64_t index = 0;
    for (size_t at = 0; rc == 0 && json_next_element(content, &at, &one); index++) {
        llm_part part = {0};
        llm_enter(in, "content", index);
        rc = read_part(in, one, &part);
        if (rc == 0) rc = add_part(it, &part);
        llm_leave(in);
    }
    return rc;
}

static int read_call(items *it, json_value id, json_value name, json_value arguments,
                     json_value signature)
{
    llm_in *in = &it->in;
    llm_part part = {.kind = LLM_PART_CALL};
    sv_str inside = {"", 0}, opaque = {NULL, 0};
    int rc = llm_need(in, id, "call_id");
    if (rc == 0) rc = llm_string(in, id, "call_id", &part.id);
    if (rc == 0) rc = llm_need(in, name, "name");
    if (rc == 0) rc = llm_string(in, name, "name", &part.name);
    if (rc == 0) rc = llm_string(in, arguments, "arguments", &inside);
    if (rc == 0) rc = llm_string(in, signature, "signature", &opaque);
    if (rc == 0) rc = llm_arguments(in, inside, &part.raw);
    if (rc) return rc;
    if (opaque.p) part.signature = llm_take_opaque(opaque, LLM_RESPONSES, &part.origin);
    rc = enter_turn(it);
    return rc ? rc : add_part(it, &part);
}

static int read_output(items *it, json_value id, json_value name, json_value output)
{
    llm_in *in = &it->in;
    llm_part part = {.kind = LLM_PART_RESULT};
    uint32_t n = 1;
    int rc = llm_need(in, id, "call_id");
    if (rc == 0) rc = llm_string(in, id, "call_id", &part.id);
    if (rc == 0) rc = llm_string(in, name, "name", &part.name);
    if (rc == 0) rc = llm_need(in, output, "output");
    if (rc == 0 && output.type != JSON_STRING) rc = llm_list(in, output, "output", LLM_PARTS, &n);
    if (rc) return rc;
    part.parts = llm_new(in, n ? n : 1, sizeof *part.parts);
    if (part.parts == NULL) return SV_E_NO_MEMORY;
    if (output.type == JSON_STRING)
        part.parts[part.n_parts++] = (llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(output)};
    json_value one;
    for (size_t at = 0; output.type == JSON_ARRAY && json_next_element(output, &at, &one);) {
        llm_enter(in, "output", part.n_parts);
        rc = read_part(in, one, &part.parts[part.n_parts]);
        llm_leave(in);
        if (rc) return rc;
        part.n_parts++;
    }
    rc = add_message(it, LLM_TOOL);
    return rc ? rc : add_part(it, &part);
}

/* Texts of a reasoning item's list, paragraphs between them. */
static int join_texts(llm_in *in, json_value list, const char *field, sv_str *ret)
{
    static const char *const names[] = {"text"};
    json_value one, v[1];
    uint32_t n;
    int rc = llm_list(in, list, field, LLM_PARTS, &n);
    if (rc || n == 0) return rc;
    char *all = llm_new(in, list.raw.n + 4 * (size_t)n, 1);
    if (all == NULL) return SV_E_NO_MEMORY;
    uint32_t used = 0, index = 0;
    for (size_t at = 0; json_next_element(list, &at, &one); index++) {
        sv_str text = {NULL, 0};
        llm_enter(in, field, index);
        rc = llm_want(in, one, JSON_OBJECT, NULL);
        if (rc) return rc;
        llm_members(one, names, 1, v);
        rc = llm_need(in, v[0], "text");
        if (rc == 0) rc = llm_string(in, v[0], "text", &text);
        llm_leave(in);
        if (rc) return rc;
        if (used && text.n) {
            memcpy(all + used, "\\n\\n", 4);
            used += 4;
        }
        if (text.n) memcpy(all + used, text.p, text.n);
        used += text.n;
    }
    *ret = (sv_str){all, used};
    return 0;
}

static int read_reasoning(items *it, json_value summary, json_value content, json_value encrypted)
{
    llm_in *in = &it->in;
    llm_part part = {.kind = LLM_PART_THINKING};
    sv_str opaque = {NULL, 0};
    int rc = join_texts(in, content, "content", &part.text);
    if (rc == 0 && part.text.n == 0) rc = join_texts(in, summary, "summary", &part.text);
    if (rc == 0) rc = llm_string(in, encrypted, "encrypted_content", &opaque);
    if (rc) return rc;
    if (opaque.n) part.signature = llm_take_opaque(opaque, LLM_RESPONSES, &part.origin);
    if (part.text.n == 0 && part.signature.p == NULL) return 0; /* only an id of what is not here */
    if (part.text.n == 0) part.kind = LLM_PART_OPAQUE;
    rc = enter_turn(it);
    return rc ? rc : add_part(it, &part);
}

enum {
    TYPE,
    ROLE,
    CONTENT,
    CALL_ID,
    NAME,
    ARGUMENTS,
    SIGNATURE,
    OUTPUT,
    SUMMARY,
    ENCRYPTED,
    FIELDS
};

static int read_item(items *it, uint32_t index, json_value item)
{
    static const char *const names[FIELDS] = {
        "type",      "role",      "content", "call_id", "name",
        "arguments", "signature", "output",  "summary", "encrypted_content"};
    llm_in *in = &it->in;
    json_value v[FIELDS];
    sv_str type = {NULL, 0};
    int rc = llm_want(in, item, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(item, names, FIELDS, v);
    rc = llm_string(in, v[TYPE], "type", &type);
    if (rc) return rc;
    if (type.p == NULL && v[ROLE].type == JSON_NONE)
        return llm_bad(in, SV_E_MISSING_FIELD, "type", "This field is required.");
    if (type.p == NULL || llm_is(type, "message")) return read_message(it, v[ROLE], v[CONTENT]);
    if (llm_is(type, "function_call"))
        return read_call(it, v[CALL_ID], v[NAME], v[ARGUMENTS], v[SIGNATURE]);
    if (llm_is(type, "function_call_output"))
        return read_output(it, v[CALL_ID], v[NAME], v[OUTPUT]);
    if (llm_is(type, "reasoning")) return read_reasoning(it, v[SUMMARY], v[CONTENT], v[ENCRYPTED]);
    if (llm_is(type, "item_reference"))
        return llm_bad(in, SV_E_INVALID, "type",
                       "No items are stored here: send the item itself instead of an "
                       "item_reference.");
    return add_left_item(it, index);
}

static int read_input(items *it, json_value instructions, json_value input)
{
    llm_in *in = &it->in;
    sv_str text = {NULL, 0};
    uint32_t index = 0;
    int rc = llm_string(in, instructions, "instructions", &text);
    if (rc == 0 && text.n) {
        rc = add_message(it, LLM_SYSTEM);
        if (rc == 0) rc = add_part(it, &(llm_part){.kind = LLM_PART_TEXT, .text = text});
    }
    if (rc == 0) rc = llm_need(in, input, "input");
    if (rc) return rc;
    if (input.type == JSON_STRING) {
        rc = add_message(it, LLM_USER);
        if (rc) return rc;
        return add_part(it, &(llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(input)});
    }
    if (input.type != JSON_ARRAY)
        return llm_bad(in, SV_E_WRONG_TYPE, "input", "This must be a string or a list of items.");
    json_value item;
    for (size_t at = 0; rc == 0 && json_next_element(input, &at, &item); index++) {
        llm_enter(in, "input", index);
        rc = in->q->n_messages >= LLM_MESSAGES
                 ? llm_bad(in, SV_E_OUT_OF_RANGE, NULL, "A request has at most %d messages.",
                           LLM_MESSAGES)
                 : read_item(it, index, item);
        llm_leave(in);
    }
    if (rc == 0 && in->q->n_messages == 0)
        rc = llm_bad(in, SV_E_INVALID, "input", "This must hold something for the model.");
    return rc;
}

/* ---- tools, format, reasoning ---- */

static int read_tool(llm_in *in, json_value tool, llm_tool *ret)
{
    enum { T_TYPE, T_NAME, T_DESCRIPTION, T_PARAMETERS, T_STRICT, T_FIELDS };
    static const char *const names[T_FIELDS] = {"type", "name", "description", "parameters",
                                                "strict"};
    json_value v[T_FIELDS];
    sv_str type = {NULL, 0};
    int rc = llm_want(in, tool, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(tool, names, T_FIELDS, v);
    ret->raw = tool.raw;
    rc = llm_need(in, v[T_TYPE], "type");
    if (rc == 0) rc = llm_string(in, v[T_TYPE], "type", &type);
    if (rc) return rc;
    if (!llm_is(type, "function")) {
        ret->foreign = true;
        return v[T_NAME].type == JSON_STRING ? llm_string(in, v[T_NAME], "name", &ret->name) : 0;
    }
    rc = llm_need(in, v[T_NAME], "name");
    if (rc == 0) rc = llm_string(in, v[T_NAME], "name", &ret->name);
    if (rc == 0 && ret->name.n == 0)
        rc = llm_bad(in, SV_E_INVALID, "name", "This must not be empty.");
    if (rc == 0) rc = llm_string(in, v[T_DESCRIPTION], "description", &ret->description);
    if (rc == 0) rc = llm_object(in, v[T_PARAMETERS], "parameters", &ret->schema);
    if (rc == 0) rc = llm_bool(in, v[T_STRICT], "strict", &ret->strict);
    return rc;
}

static int read_tools(llm_in *in, json_value tools)
{
    uint32_t n;
    json_value one;
    int rc = llm_list(in, tools, "tools", LLM_TOOLS, &n);
    if (rc || n == 0) return rc;
    in->q->tools = llm_new(in, n, sizeof *in->q->tools);
    if (in->q->tools == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; rc == 0 && json_next_element(tools, &at, &one);) {
        llm_enter(in, "tools", in->q->n_tools);
        rc = read_tool(in, one, &in->q->tools[in->q->n_tools]);
        llm_leave(in);
        in->q->n_tools++;
    }
    return rc;
}

static int read_mode(llm_in *in, sv_str word, const char *field)
{
    llm_request *q = in->q;
    if (llm_is(word, "auto"))
        q->tool_choice = LLM_CHOICE_AUTO;
    else if (llm_is(word, "none"))
        q->tool_choice = LLM_CHOICE_NONE;
    else if (llm_is(word, "required"))
        q->tool_choice = LLM_CHOICE_ANY;
    else
        return llm_bad(in, SV_E_INVALID, field, "This must be none, auto or required.");
    return 0;
}

static int read_choice(items *it, json_value choice)
{
    static const char *const names[] = {"type", "name", "mode"};
    llm_in *in = &it->in;
    json_value v[3];
    sv_str type = {NULL, 0}, mode = {NULL, 0};
    if (choice.type == JSON_NONE) return 0;
    if (choice.type == JSON_STRING) return read_mode(in, llm_inside(choice), "tool_choice");
    if (choice.type != JSON_OBJECT)
        return llm_bad(in, SV_E_WRONG_TYPE, "tool_choice", "This must be a string or an object.");
    llm_members(choice, names, 3, v);
    int rc = llm_need(in, v[0], "tool_choice.type");
    if (rc == 0) rc = llm_string(in, v[0], "tool_choice.type", &type);
    if (rc) return rc;
    if (llm_is(type, "function")) {
        in->q->tool_choice = LLM_CHOICE_NAMED;
        rc = llm_need(in, v[1], "tool_choice.name");
        return rc ? rc : llm_string(in, v[1], "tool_choice.name", &in->q->tool_name);
    }
    if (llm_is(type, "allowed_tools")) {
        rc = llm_string(in, v[2], "tool_choice.mode", &mode);
        if (rc == 0 && mode.p) rc = read_mode(in, mode, "tool_choice.mode");
        if (rc) return rc;
    }
    return add_left(it, sv_cstr("tool_choice")); /* a list of tools, or a tool of OpenAI's own */
}

static int read_text(items *it, json_value text)
{
    enum { F_TYPE, F_NAME, F_SCHEMA, F_STRICT, F_FIELDS };
    static const char *const names[] = {"format", "verbosity"};
    static const char *const fields[F_FIELDS] = {"type", "name", "schema", "strict"};
    llm_in *in = &it->in;
    llm_request *q = in->q;
    json_value v[2], f[F_FIELDS];
    sv_str type = {NULL, 0};
    int rc = llm_want(in, text, JSON_OBJECT, "text");
    if (rc || text.type == JSON_NONE) return rc;
    llm_members(text, names, 2, v);
    if (v[1].type != JSON_NONE) rc = add_left(it, sv_cstr("text.verbosity"));
    if (rc == 0) rc = llm_want(in, v[0], JSON_OBJECT, "text.format");
    if (rc || v[0].type == JSON_NONE) return rc;
    llm_members(v[0], fields, F_FIELDS, f);
    rc = llm_need(in, f[F_TYPE], "text.format.type");
    if (rc == 0) rc = llm_string(in, f[F_TYPE], "text.format.type", &type);
    if (rc) return rc;
    if (llm_is(type, "text")) return 0;
    if (llm_is(type, "json_object")) {
        q->shape = LLM_SHAPE_JSON;
        return 0;
    }
    if (!llm_is(type, "json_schema"))
        return llm_bad(in, SV_E_INVALID, "text.format.type",
                       "This must be text, json_object or json_schema.");
    q->shape = LLM_SHAPE_SCHEMA;
    rc = llm_need(in, f[F_SCHEMA], "text.format.schema");
    if (rc == 0) rc = llm_object(in, f[F_SCHEMA], "text.format.schema", &q->schema);
    if (rc == 0) rc = llm_need(in, f[F_NAME], "text.format.name");
    if (rc == 0) rc = llm_string(in, f[F_NAME], "text.format.name", &q->schema_name);
    if (rc == 0) rc = llm_bool(in, f[F_STRICT], "text.format.strict", &q->schema_strict);
    return rc;
}

static int read_effort(llm_in *in, json_value reasoning)
{
    static const char *const names[] = {"effort", "summary", "generate_summary"};
    json_value v[3];
    sv_str summary = {NULL, 0};
    int rc = llm_want(in, reasoning, JSON_OBJECT, "reasoning");
    if (rc || reasoning.type == JSON_NONE) return rc;
    llm_members(reasoning, names, 3, v);
    rc = llm_string(in, v[0], "reasoning.effort", &in->q->effort);
    if (rc == 0) rc = llm_string(in, v[2], "reasoning.generate_summary", &summary);
    if (rc == 0) rc = llm_string(in, v[1], "reasoning.summary", &summary);
    if (rc == 0 && in->q->effort.p && llm_is(in->q->effort, "none")) in->q->thinking_tokens = -1;
    in->q->show_thinking = summary.n > 0;
    return rc;
}

/* ---- the whole ---- */

enum {
    M_MODEL,
    M_INPUT,
    M_INSTRUCTIONS,
    M_TOOLS,
    M_TOOL_CHOICE,
    M_TEXT,
    M_REASONING,
    M_MAX_OUTPUT,
    M_PARALLEL,
    M_TEMPERATURE,
    M_TOP_P,
    M_STREAM,
    M_STREAM_OPTIONS,
    M_STORE,
    M_METADATA,
    M_USER,
    M_SAFETY,
    M_INCLUDE,
    M_TRUNCATION,
    M_PREVIOUS,
    M_CONVERSATION,
    M_PROMPT,
    M_BACKGROUND,
    M_FIELDS
};
static const char *const members[M_FIELDS] = {"model",
                                              "input",
                                              "instructions",
                                              "tools",
                                              "tool_choice",
                                              "text",
                                              "reasoning",
                                              "max_output_tokens",
                                              "parallel_tool_calls",
                                              "temperature",
                                              "top_p",
                                              "stream",
                                              "stream_options",
                                              "store",
                                              "metadata",
                                              "user",
                                              "safety_identifier",
                                              "include",
                                              "truncation",
                                              "previous_response_id",
                                              "conversation",
                                              "prompt",
                                              "background"};

/* What would need a store on the server. */
static int refuse_stored(const llm_in *in, const json_value *v)
{
    if (v[M_PREVIOUS].type != JSON_NONE)
        return llm_bad(in, SV_E_INVALID, "previous_response_id",
                       "No answers are stored here: send the whole conversation in input.");
    if (v[M_CONVERSATION].type != JSON_NONE)
        return llm_bad(in, SV_E_INVALID, "conversation",
                       "No conversations are stored here: send the whole one in input.");
    if (v[M_PROMPT].type != JSON_NONE)
        return llm_bad(in, SV_E_INVALID, "prompt",
                       "No prompts are stored here: send it in instructions and input.");
    bool background = false, store = false;
    int rc = llm_bool(in, v[M_BACKGROUND], "background", &background);
    if (rc == 0) rc = llm_bool(in, v[M_STORE], "store", &store);
    if (rc == 0 && background)
        rc = llm_bad(in, SV_E_INVALID, "background",
                     "Answers are not stored here: leave background out and use stream.");
    return rc;
}

static int read_include(items *it, json_value include)
{
    llm_in *in = &it->in;
    json_value one;
    uint32_t n;
    bool others = false;
    int rc = llm_list(in, include, "include", LLM_PARTS, &n);
    for (size_t at = 0; rc == 0 && n && json_next_element(include, &at, &one);) {
        if (one.type != JSON_STRING)
            rc = llm_bad(in, SV_E_WRONG_TYPE, "include", "This must be a list of strings.");
        others = others || !llm_is(llm_inside(one), "reasoning.encrypted_content");
    }
    return rc == 0 && others ? add_left(it, sv_cstr("include")) : rc;
}

static int read_settings(items *it, const json_value *v)
{
    llm_in *in = &it->in;
    llm_request *q = in->q;
    sv_str truncation = {NULL, 0}, metadata = {NULL, 0}, options = {NULL, 0};
    bool parallel = false;
    int rc = llm_int(in, v[M_MAX_OUTPUT], "max_output_tokens", 1, INT32_MAX, &q->max_tokens);
    if (rc == 0) rc = llm_bool(in, v[M_PARALLEL], "parallel_tool_calls", &parallel);
    if (rc == 0 && v[M_PARALLEL].type != JSON_NONE) q->parallel_tools = parallel ? LLM_YES : LLM_NO;
    if (rc == 0) rc = llm_number(in, v[M_TEMPERATURE], "temperature", &q->temperature);
    if (rc == 0) rc = llm_number(in, v[M_TOP_P], "top_p", &q->top_p);
    if (rc == 0) rc = llm_bool(in, v[M_STREAM], "stream", &q->stream);
    if (rc == 0) rc = llm_object(in, v[M_STREAM_OPTIONS], "stream_options", &options);
    if (rc == 0) rc = llm_object(in, v[M_METADATA], "metadata", &metadata);
    if (rc == 0) rc = llm_string(in, v[M_SAFETY], "safety_identifier", &q->user);
    if (rc == 0) rc = llm_string(in, v[M_USER], "user", &q->user);
    if (rc == 0) rc = llm_string(in, v[M_TRUNCATION], "truncation", &truncation);
    if (rc == 0 && truncation.p && !llm_is(truncation, "disabled"))
        rc = add_left(it, sv_cstr("truncation"));
    return rc ? rc : read_include(it, v[M_INCLUDE]);
}

static int responses_parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    *ret = (llm_request){.format = LLM_RESPONSES, .n = 1, .include_usage = true, .json = text};
    items it = {.in = {.a = a, .q = ret, .err = err}};
    json_value root = json_root(text), v[M_FIELDS];
    int rc = llm_want(&it.in, root, JSON_OBJECT, NULL);
    if (rc) return rc;
    uint32_t others = llm_members(root, members, M_FIELDS, v);
    if (others) rc = llm_keep_left(&it.in, root, members, M_FIELDS);
    if (rc == 0) rc = refuse_stored(&it.in, v);
    if (rc == 0) rc = read_settings(&it, v);
    if (rc == 0) rc = read_tools(&it.in, v[M_TOOLS]);
    if (rc == 0) rc = read_choice(&it, v[M_TOOL_CHOICE]);
    if (rc == 0) rc = read_text(&it, v[M_TEXT]);
    if (rc == 0) rc = read_effort(&it.in, v[M_REASONING]);
    if (rc == 0) rc = read_input(&it, v[M_INSTRUCTIONS], v[M_INPUT]);
    if (rc == 0) llm_name_results(ret);
    return rc;
}

const llm_ops llm_responses = {
    .format = LLM_RESPONSES,
    .framing = LLM_SSE,
    .parse = responses_parse,
    .writer_new = responses_writer_new,
    .writer_event = responses_writer_event,
    .writer_end = responses_writer_end,
    .writer_free = responses_writer_free,
    .error_body = openai_error_body,
    .error_event = responses_error_event,
    .path = responses_path,
    .write = responses_write,
    .reader_new = responses_reader_new,
    .read = responses_read,
    .read_end = responses_read_end,
    .reader_free = responses_reader_free,
};
