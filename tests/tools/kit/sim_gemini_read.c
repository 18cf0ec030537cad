/*  sim_gemini_read.c - :generateContent and :streamGenerateContent as Gemini takes them. */
#include "sim_read.h"

#include "sim_vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char fields[] = " contents systemInstruction system_instruction tools toolConfig "
                             "tool_config safetySettings safety_settings generationConfig "
                             "generation_config cachedContent cached_content model serviceTier ";
static const char config_fields[] =
    " temperature topP topK candidateCount maxOutputTokens stopSequences responseMimeType "
    "responseSchema responseJsonSchema thinkingConfig presencePenalty frequencyPenalty seed "
    "responseLogprobs logprobs responseModalities speechConfig mediaResolution imageConfig "
    "enableEnhancedCivicAnswers ";
static const char schema_fields[] =
    " type format title description nullable enum maxItems minItems properties required "
    "minProperties maxProperties minLength maxLength pattern example anyOf propertyOrdering "
    "default "
    "items minimum maximum ";
static const char part_fields[] =
    " text thought thoughtSignature inlineData inline_data fileData functionCall functionResponse "
    "videoMetadata executableCode codeExecutionResult partMetadata mediaResolution ";

static const json_t *either(const json_t *o, const char *camel, const char *snake)
{
    const json_t *v = json_object_get(o, camel);
    return v ? v : json_object_get(o, snake);
}

static int unknown(sim_request *r, const json_t *o, const char *known, const char *where)
{
    const char *odd = sim_unknown(o, known);
    if (!odd) return 0;
    if (!where)
        return sim_refuse(r, odd,
                          "Invalid JSON payload received. Unknown name \"%s\": Cannot find "
                          "field.",
                          odd);
    return sim_refuse(r, odd,
                      "Invalid JSON payload received. Unknown name \"%s\" at '%s': Cannot find "
                      "field.",
                      odd, where);
}

static int schema(sim_request *r, const json_t *s, const char *where, int depth)
{
    const char *key;
    json_t *v;
    size_t i;
    if (!s) return 0;
    if (!json_is_object(s) || depth > 32)
        return sim_refuse(r, where, "Invalid value at '%s'", where);
    if (unknown(r, s, schema_fields, where)) return -1;
    const json_t *type = json_object_get(s, "type");
    if (type && !json_is_string(type))
        return sim_refuse(
            r, where,
            "Invalid JSON payload received. Unknown name \"type\" at '%s': Proto field "
            "is not repeating, cannot start list.",
            where);
    json_object_foreach(json_object_get(s, "properties"), key, v)
    {
        if (schema(r, v, where, depth + 1)) return -1;
    }
    json_array_foreach(json_object_get(s, "anyOf"), i, v)
    {
        if (schema(r, v, where, depth + 1)) return -1;
    }
    return schema(r, json_object_get(s, "items"), where, depth + 1);
}

typedef struct turn_calls {
    int calls, responses, others;
    json_t *open; /* names of the calls that wait for a response */
} turn_calls;

static int call(sim_request *r, json_t *parts, const json_t *p, const char *where, turn_calls *n,
                const sim_behaviour *b)
{
    const json_t *fc = json_object_get(p, "functionCall"), *args = json_object_get(fc, "args");
    const char *name = json_string_value(json_object_get(fc, "name"));
    const char *signature = json_string_value(json_object_get(p, "thoughtSignature"));
    if (!name) return sim_refuse(r, where, "%s.function_call.name: must be set", where);
    if (args && !json_is_object(args))
        return sim_refuse(r, where,
                          "Invalid value at '%s.function_call.args' (type.googleapis.com/"
                          "google.protobuf.Struct)",
                          where);
    if (signature && !sim_signed("call", name, signature))
        return sim_refuse(r, where, "Corrupted thought signature.");
    if (b->thinking && !signature && n->calls == 0)
        return sim_refuse(
            r, where,
            "Function call is missing a thought_signature in functionCall parts. This "
            "is required for tools to work correctly. Function call `%s`, position %s.",
            name, where);
    json_t *empty = json_object();
    sim_add_call(parts, json_string_value(json_object_get(fc, "id")), name,
                 args ? (json_t *)(uintptr_t)args : empty);
    json_decref(empty);
    json_array_append_new(n->open, json_string(name));
    n->calls++;
    return 0;
}

static int response(sim_request *r, json_t *parts, const json_t *p, const char *where,
                    turn_calls *n, const json_t *open)
{
    const json_t *fr = json_object_get(p, "functionResponse");
    const json_t *value = json_object_get(fr, "response");
    const char *name = json_string_value(json_object_get(fr, "name"));
    bool known = false;
    if (!name)
        return sim_refuse(r, where, "%s.function_response.name: Name cannot be empty.", where);
    if (!json_is_object(value))
        return sim_refuse(r, where,
                          "Invalid value at '%s.function_response.response' (type.googleapis.com/"
                          "google.protobuf.Struct)",
                          where);
    for (size_t i = 0; i < json_array_size(open); i++)
        known = known || strcmp(json_string_value(json_array_get(open, i)), name) == 0;
    if (!known)
        return sim_refuse(r, where,
                          "Please ensure that function response turn comes immediately "
                          "after a function call turn: there is no call of `%s`.",
                          name);
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    sim_add_result(r, parts, name, text ? text : "");
    free(text);
    n->responses++;
    return 0;
}

static int part(sim_request *r, json_t *parts, const json_t *p, const char *where, turn_calls *n,
                const json_t *open, const sim_behaviour *b)
{
    const json_t *blob = either(p, "inlineData", "inline_data");
    const char *text = json_string_value(json_object_get(p, "text"));
    const char *signature = json_string_value(json_object_get(p, "thoughtSignature"));
    if (unknown(r, p, part_fields, where)) return -1;
    if (json_object_get(p, "functionCall")) return call(r, parts, p, where, n, b);
    if (json_object_get(p, "functionResponse")) return response(r, parts, p, where, n, open);
    n->others++;
    if (text) {
        if (signature && !sim_signed("call", "", signature))
            return sim_refuse(r, where, "Corrupted thought signature.");
        if (json_is_true(json_object_get(p, "thought")))
            sim_add_thinking(parts, text);
        else
            sim_add_text(r, parts, text);
        return 0;
    }
    const char *type = json_string_value(either(blob, "mimeType", "mime_type"));
    const char *data = json_string_value(json_object_get(blob, "data"));
    if (blob && !type) return sim_refuse(r, where, "%s.inline_data.mime_type: must be set", where);
    if (blob && (!data || sim_add_image(parts, type, data)))
        return sim_refuse(r, where,
                          "Invalid value at '%s.inline_data.data' (TYPE_BYTES), Base64 decoding "
                          "failed for \"%.20s\"",
                          where, data ? data : "");
    if (!blob && !json_object_get(p, "fileData"))
        return sim_refuse(r, where,
                          "%s.data: required oneof field 'data' must have one initialized field",
                          where);
    return 0;
}

static int content(sim_request *r, const json_t *c, size_t i, turn_calls *n, const json_t *open,
                   const sim_behaviour *b)
{
    const char *role = json_string_value(json_object_get(c, "role"));
    const json_t *list = json_object_get(c, "parts");
    char where[64];
    snprintf(where, sizeof where, "contents[%zu]", i);
    if (unknown(r, c, " role parts ", where)) return -1;
    if (role && strcmp(role, "user") != 0 && strcmp(role, "model") != 0)
        return sim_refuse(r, where, "Please use a valid role: user, model.");
    if (json_array_size(list) == 0)
        return sim_refuse(r, where,
                          "* GenerateContentRequest.contents[%zu].parts: contents.parts "
                          "must not be empty.",
                          i);
    json_t *parts = sim_turn(r, role && strcmp(role, "model") == 0 ? "assistant" : "user"), *p;
    size_t k;
    json_array_foreach((json_t *)(uintptr_t)list, k, p)
    {
        snprintf(where, sizeof where, "contents[%zu].parts[%zu]", i, k);
        if (part(r, parts, p, where, n, open, b)) return -1;
    }
    return 0;
}

static int contents(sim_request *r, const json_t *list, const sim_behaviour *b)
{
    json_t *open = json_array(), *c;
    size_t i;
    int rc = 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, c)
    {
        turn_calls n = {.open = json_array()};
        rc = content(r, c, i, &n, open, b);
        if (rc == 0 && n.calls && i == 0)
            rc = sim_refuse(r, "contents",
                            "Please ensure that function call turn comes immediately after a user "
                            "turn or after a function response turn.");
        if (rc == 0 && json_array_size(open) && n.responses != (int)json_array_size(open))
            rc = sim_refuse(r, "contents",
                            "Please ensure that the number of function response parts is equal to "
                            "the number of function call parts of the function call turn.");
        json_decref(open);
        open = n.open;
        if (rc) break;
    }
    if (rc == 0 && json_array_size(open))
        rc = sim_refuse(r, "contents",
                        "Please ensure that function call turn is followed by a "
                        "function response turn.");
    json_decref(open);
    return rc;
}

static int tools(sim_request *r, const json_t *o)
{
    size_t i, k;
    json_t *t, *f;
    json_array_foreach(json_object_get(o, "tools"), i, t)
    {
        const json_t *list = either(t, "functionDeclarations", "function_declarations");
        json_array_foreach((json_t *)(uintptr_t)list, k, f)
        {
            char where[96];
            json_t *params = json_object_get(f, "parameters");
            const char *name = json_string_value(json_object_get(f, "name"));
            snprintf(where, sizeof where, "tools[%zu].function_declarations[%zu]", i, k);
            if (unknown(r, f,
                        " name description parameters parametersJsonSchema response "
                        "responseJsonSchema behavior ",
                        where))
                return -1;
            if (!name || !*name || strlen(name) > 64)
                return sim_refuse(r, where,
                                  "Invalid function name at '%s'. Must start with a letter "
                                  "or an underscore, with a maximum length of 64.",
                                  where);
            strncat(where, ".parameters", sizeof where - strlen(where) - 1);
            if (schema(r, params, where, 0)) return -1;
            if (!params) params = json_object_get(f, "parametersJsonSchema");
            sim_add_tool(r, json_object_get(f, "name"), json_object_get(f, "description"), params);
        }
    }
    const json_t *config = either(o, "toolConfig", "tool_config");
    const json_t *calling = either(config, "functionCallingConfig", "function_calling_config");
    const char *mode = json_string_value(json_object_get(calling, "mode"));
    const char *name =
        json_string_value(json_array_get(json_object_get(calling, "allowedFunctionNames"), 0));
    if (!mode || strcmp(mode, "AUTO") == 0 || strcmp(mode, "VALIDATED") == 0) return 0;
    if (strcmp(mode, "ANY") != 0 && strcmp(mode, "NONE") != 0)
        return sim_refuse(r, "mode",
                          "Invalid value at 'tool_config.function_calling_config.mode' "
                          "(type.googleapis.com/google.ai.generativelanguage."
                          "FunctionCallingConfig.Mode), \"%s\"",
                          mode);
    snprintf(r->choice, sizeof r->choice, "%s",
             strcmp(mode, "NONE") == 0 ? "none"
             : name                    ? name
                                       : "any");
    return 0;
}

static int config(sim_request *r, const json_t *c, const sim_behaviour *b)
{
    static const char *const kept[][2] = {{"temperature", "temperature"},
                                          {"topP", "top_p"},
                                          {"topK", "top_k"},
                                          {"stopSequences", "stop"},
                                          {"seed", "seed"},
                                          {"thinkingConfig", "thinking"},
                                          {"presencePenalty", "presence_penalty"},
                                          {"frequencyPenalty", "frequency_penalty"}};
    if (!c) return 0;
    if (!b->lenient && unknown(r, c, config_fields, "generation_config")) return -1;
    const json_t *temp = json_object_get(c, "temperature");
    const char *type = json_string_value(json_object_get(c, "responseMimeType"));
    if (temp && (json_number_value(temp) < 0 || json_number_value(temp) > 2))
        return sim_refuse(
            r, "temperature",
            "* GenerateContentRequest.generation_config.temperature: temperature must "
            "be in the range [0.0, 2.0].");
    json_t *s = json_object_get(c, "responseSchema");
    if (schema(r, s, "generation_config.response_schema", 0)) return -1;
    if (!s) s = json_object_get(c, "responseJsonSchema");
    if (s && (!type || strcmp(type, "application/json") != 0))
        return sim_refuse(
            r, "responseMimeType",
            "* GenerateContentRequest.generation_config.response_schema: only allowed "
            "when the response mime type is application/json.");
    r->schema = s ? s : type && strcmp(type, "application/json") == 0 ? json_true() : NULL;
    r->thinks =
        json_is_true(json_object_get(json_object_get(c, "thinkingConfig"), "includeThoughts"));
    r->max_tokens = json_integer_value(json_object_get(c, "maxOutputTokens"));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        sim_param(r, kept[i][1], json_object_get(c, kept[i][0]));
    return 0;
}

int sim_read_gemini(sim_request *r, const sim_behaviour *b)
{
    const json_t *o = r->body, *list = json_object_get(o, "contents"), *p;
    const json_t *sys = either(o, "systemInstruction", "system_instruction");
    if (!b->lenient && unknown(r, o, fields, NULL)) return -1;
    if (json_array_size(list) == 0)
        return sim_refuse(r, "contents",
                          "* GenerateContentRequest.contents: contents is not specified");
    r->want_usage = true;
    json_t *parts = sys ? sim_turn(r, "system") : NULL;
    for (size_t i = 0; (p = json_array_get(json_object_get(sys, "parts"), i)); i++) {
        const char *text = json_string_value(json_object_get(p, "text"));
        if (!text)
            return sim_refuse(r, "systemInstruction",
                              "Invalid value at 'system_instruction.parts"
                              "[%zu]': only text is supported.",
                              i);
        sim_add_text(r, parts, text);
    }
    if (contents(r, list, b) || tools(r, o) ||
        config(r, either(o, "generationConfig", "generation_config"), b))
        return -1;
    return sim_read_limits(r, b);
}
