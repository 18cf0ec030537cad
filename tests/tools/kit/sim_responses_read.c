/*  sim_responses_read.c - /v1/responses as OpenAI takes it. Nothing is stored: an earlier response
 *  is never found, and reasoning comes back as encrypted content when store is false. */
#include "sim_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char fields[] =
    " model input instructions stream stream_options store include tools tool_choice "
    "parallel_tool_calls max_output_tokens max_tool_calls temperature top_p top_logprobs text "
    "reasoning truncation metadata user previous_response_id conversation background service_tier "
    "prompt prompt_cache_key prompt_cache_retention safety_identifier context_management ";

static int missing(sim_request *r, const char *param)
{
    snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
    return sim_refuse(r, param, "Missing required parameter: '%s'.", param);
}

static int part(sim_request *r, json_t *parts, const json_t *p, bool assistant, const char *where)
{
    const char *type = json_string_value(json_object_get(p, "type"));
    const char *text = json_string_value(json_object_get(p, "text"));
    const char *url = json_string_value(json_object_get(p, "image_url"));
    const char *data = json_string_value(json_object_get(p, "file_data"));
    if (!type) return missing(r, where);
    if (strcmp(type, assistant ? "output_text" : "input_text") == 0 && text) {
        sim_add_text(r, parts, text);
        return 0;
    }
    if (assistant && strcmp(type, "refusal") == 0) {
        const char *words = json_string_value(json_object_get(p, "refusal"));
        sim_add_text(r, parts, words ? words : "");
        return 0;
    }
    if (!assistant && strcmp(type, "input_image") == 0 && url) {
        if (sim_add_data_url(parts, url) == 0) return 0;
        snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
        return sim_refuse(r, where, "Invalid '%s.image_url'. Expected a valid URL.", where);
    }
    if (!assistant && strcmp(type, "input_file") == 0)
        return data && sim_add_data_url(parts, data)
                   ? sim_refuse(r, where, "Invalid '%s.file_data'.", where)
                   : 0;
    snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
    return sim_refuse(r, where, "Invalid value: '%s'. Supported values are: '%s'.", type,
                      assistant ? "output_text' and 'refusal"
                                : "input_text', 'input_image' and 'input_file");
}

static int message(sim_request *r, const json_t *item, size_t i)
{
    const char *role = json_string_value(json_object_get(item, "role"));
    const json_t *c = json_object_get(item, "content");
    char where[64], word[32];
    snprintf(where, sizeof where, "input[%zu].role", i);
    snprintf(word, sizeof word, " %.20s ", role ? role : "?");
    if (!strstr(" user assistant system developer ", word)) {
        snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
        return sim_refuse(r, where,
                          "Invalid value: '%s'. Supported values are: 'assistant', "
                          "'system', 'developer', and 'user'.",
                          role ? role : "");
    }
    json_t *parts = sim_turn(r, strcmp(role, "developer") == 0 ? "system" : role), *p;
    size_t k;
    snprintf(where, sizeof where, "input[%zu].content", i);
    if (json_is_string(c)) sim_add_text(r, parts, json_string_value(c));
    if (!json_is_string(c) && !json_is_array(c)) return missing(r, where);
    json_array_foreach((json_t *)(uintptr_t)(json_is_array(c) ? c : NULL), k, p)
    {
        snprintf(where, sizeof where, "input[%zu].content[%zu]", i, k);
        if (part(r, parts, p, strcmp(role, "assistant") == 0, where)) return -1;
    }
    return 0;
}

static int call(sim_request *r, const json_t *item, size_t i, json_t *open)
{
    const char *id = json_string_value(json_object_get(item, "call_id"));
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *args = json_string_value(json_object_get(item, "arguments"));
    char where[64];
    snprintf(where, sizeof where, "input[%zu].%s", i,
             !id     ? "call_id"
             : !name ? "name"
                     : "arguments");
    if (!id || !name || !args) return missing(r, where);
    json_t *v = json_loads(args, JSON_DECODE_ANY, NULL), *kept = v ? v : json_string(args);
    sim_add_call(sim_turn(r, "assistant"), id, name, kept);
    json_decref(kept);
    json_object_set_new(open, id, json_true());
    return 0;
}

static int output(sim_request *r, const json_t *item, size_t i, json_t *open)
{
    const char *id = json_string_value(json_object_get(item, "call_id"));
    const json_t *out = json_object_get(item, "output");
    char where[64];
    snprintf(where, sizeof where, "input[%zu].%s", i, id ? "output" : "call_id");
    if (!id || !out) return missing(r, where);
    if (!json_object_get(open, id))
        return sim_refuse(r, "input",
                          "No tool call found for function call output with call_id %s.", id);
    const char *text = json_is_string(out)
                           ? json_string_value(out)
                           : json_string_value(json_object_get(json_array_get(out, 0), "text"));
    sim_add_result(r, sim_turn(r, "tool"), id, text ? text : "");
    r->after_tool = true;
    json_object_del(open, id);
    return 0;
}

static int reasoning(sim_request *r, const json_t *item, size_t i)
{
    const char *id = json_string_value(json_object_get(item, "id"));
    const char *sealed = json_string_value(json_object_get(item, "encrypted_content"));
    char where[64];
    snprintf(where, sizeof where, "input[%zu].%s", i, id ? "summary" : "id");
    if (!id || !json_is_array(json_object_get(item, "summary"))) return missing(r, where);
    if (sealed && !sim_signed("reasoning", id, sealed)) {
        snprintf(r->fail.code, sizeof r->fail.code, "invalid_encrypted_content");
        return sim_refuse(r, NULL, "The encrypted content %.8s... could not be verified.", sealed);
    }
    if (!sealed && !r->stored) {
        sim_refuse(r, "input",
                   "Item with id '%s' not found. Items are not persisted when `store` is "
                   "set to false. Try again with `store` set to true, or remove this item "
                   "from your input.",
                   id);
        r->fail.status = 404;
        return -1;
    }
    sim_add_thinking(sim_turn(r, "assistant"), id);
    return 0;
}

static int items(sim_request *r, const json_t *input)
{
    json_t *open = json_object(), *item;
    size_t i;
    int rc = 0;
    json_array_foreach((json_t *)(uintptr_t)input, i, item)
    {
        const char *type = json_string_value(json_object_get(item, "type"));
        char where[64];
        if (!type || strcmp(type, "message") == 0)
            rc = message(r, item, i);
        else if (strcmp(type, "function_call") == 0)
            rc = call(r, item, i, open);
        else if (strcmp(type, "function_call_output") == 0)
            rc = output(r, item, i, open);
        else if (strcmp(type, "reasoning") == 0)
            rc = reasoning(r, item, i);
        else {
            snprintf(where, sizeof where, "input[%zu].type", i);
            snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
            rc = sim_refuse(r, where, "Invalid value: '%s'.", type);
        }
        if (rc) break;
    }
    if (rc == 0 && json_object_size(open))
        rc = sim_refuse(r, "input", "No tool output found for function call %s.",
                        json_object_iter_key(json_object_iter(open)));
    json_decref(open);
    return rc;
}

static int tools(sim_request *r, const json_t *o)
{
    size_t i;
    json_t *t;
    char where[64];
    json_array_foreach(json_object_get(o, "tools"), i, t)
    {
        const char *type = json_string_value(json_object_get(t, "type"));
        snprintf(where, sizeof where, "tools[%zu].%s", i, type ? "name" : "type");
        if (!type) return missing(r, where);
        if (strcmp(type, "function") != 0) continue;
        if (!json_is_string(json_object_get(t, "name"))) return missing(r, where);
        sim_add_tool(r, json_object_get(t, "name"), json_object_get(t, "description"),
                     json_object_get(t, "parameters"));
    }
    const json_t *choice = json_object_get(o, "tool_choice");
    const char *name = json_string_value(json_object_get(choice, "name"));
    const char *word = name ? name : json_string_value(choice);
    if (choice && !word) return missing(r, "tool_choice.name");
    if (word)
        snprintf(r->choice, sizeof r->choice, "%s", strcmp(word, "required") == 0 ? "any" : word);
    r->one_call = json_is_false(json_object_get(o, "parallel_tool_calls"));
    return 0;
}

static int output_format(sim_request *r, const json_t *o)
{
    const json_t *f = json_object_get(json_object_get(o, "text"), "format");
    const char *type = json_string_value(json_object_get(f, "type"));
    if (!f || (type && strcmp(type, "text") == 0)) return 0;
    if (type && strcmp(type, "json_object") == 0) {
        r->schema = json_true();
        return 0;
    }
    if (!json_is_string(json_object_get(f, "name"))) return missing(r, "text.format.name");
    r->schema = json_object_get(f, "schema");
    return r->schema ? 0 : missing(r, "text.format.schema");
}

static void options(sim_request *r, const json_t *o)
{
    static const char *const kept[] = {"temperature", "top_p", "reasoning", "truncation", "user"};
    size_t i;
    json_t *v;
    r->stream = json_is_true(json_object_get(o, "stream"));
    r->stored = !json_is_false(json_object_get(o, "store"));
    r->want_usage = r->thinks = true;
    r->summary = json_is_string(json_object_get(json_object_get(o, "reasoning"), "summary"));
    r->max_tokens = json_integer_value(json_object_get(o, "max_output_tokens"));
    json_array_foreach(json_object_get(o, "include"), i, v)
    {
        const char *word = json_string_value(v);
        if (word && strcmp(word, "reasoning.encrypted_content") == 0) r->encrypted = true;
    }
    for (i = 0; i < sizeof kept / sizeof *kept; i++)
        sim_param(r, kept[i], json_object_get(o, kept[i]));
}

int sim_read_responses(sim_request *r, const sim_behaviour *b)
{
    const json_t *o = r->body, *input = json_object_get(o, "input");
    const char *odd = b->lenient ? NULL : sim_unknown(o, fields);
    const char *before = json_string_value(json_object_get(o, "previous_response_id"));
    const char *instructions = json_string_value(json_object_get(o, "instructions"));
    if (odd) {
        snprintf(r->fail.code, sizeof r->fail.code, "unknown_parameter");
        return sim_refuse(r, odd, "Unknown parameter: '%s'.", odd);
    }
    if (before) {
        snprintf(r->fail.code, sizeof r->fail.code, "previous_response_not_found");
        return sim_refuse(r, "previous_response_id", "Previous response with id '%s' not found.",
                          before);
    }
    options(r, o);
    if (instructions) sim_add_text(r, sim_turn(r, "system"), instructions);
    if (json_is_string(input))
        sim_add_text(r, sim_turn(r, "user"), json_string_value(input));
    else if (!json_is_array(input))
        return missing(r, "input");
    else if (items(r, input))
        return -1;
    if (tools(r, o) || output_format(r, o)) return -1;
    const json_t *max = json_object_get(o, "max_output_tokens");
    if (json_is_integer(max) && json_integer_value(max) < 16) {
        snprintf(r->fail.code, sizeof r->fail.code, "integer_below_min_value");
        return sim_refuse(r, "max_output_tokens",
                          "Invalid 'max_output_tokens': integer below minimum value. Expected a "
                          "value >= 16, but got %lld instead.",
                          (long long)r->max_tokens);
    }
    return sim_read_limits(r, b);
}
