#include "sim_read.h"

#include "http_reader.h"

#include <stdio.h>
#include <string.h>

int sim_read_body(sim_request *r, const char *head, const char *text, size_t n)
{
    json_error_t je;
    if (r->ask == SIM_AUDIO) {
        size_t len;
        if (sim_read_form(r, http_header(head, "content-type", &len), text, n)) return -1;
    } else {
        r->body = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    }
    if (!json_is_object(r->body))
        return sim_refuse(r, NULL, "We could not parse the JSON body of your request. (%s)",
                          r->body ? "it is no object" : je.text);
    const char *model = json_string_value(json_object_get(r->body, "model"));
    if (r->format == SIM_GEMINI || r->azure) return 0;
    if (!model || !*model)
        return sim_refuse(r, "model",
                          r->format == SIM_ANTHROPIC ? "model: Field required"
                                                     : "you must provide a model parameter");
    snprintf(r->model, sizeof r->model, "%s", model);
    return 0;
}

int sim_read_chat(sim_request *r, const sim_behaviour *b)
{
    switch (r->format) {
    case SIM_OPENAI: return sim_read_openai(r, b);
    case SIM_TEXT: return sim_read_text(r, b);
    case SIM_RESPONSES: return sim_read_responses(r, b);
    case SIM_ANTHROPIC: return sim_read_anthropic(r, b);
    case SIM_GEMINI: return sim_read_gemini(r, b);
    case SIM_OLLAMA: return sim_read_ollama(r, b);
    }
    return -1;
}

static json_t *one_model(sim_format f, const char *name)
{
    switch (f) {
    case SIM_ANTHROPIC:
        return json_pack("{s:s,s:s,s:s,s:s}", "type", "model", "id", name, "display_name", name,
                         "created_at", "2024-01-01T00:00:00Z");
    case SIM_GEMINI:
        return json_pack("{s:o,s:s,s:i,s:i,s:[s,s]}", "name", json_sprintf("models/%s", name),
                         "displayName", name, "inputTokenLimit", 1048576, "outputTokenLimit", 65536,
                         "supportedGenerationMethods", "generateContent", "countTokens");
    case SIM_OLLAMA:
        return json_pack("{s:s,s:s,s:s,s:i,s:s,s:{s:s}}", "name", name, "model", name,
                         "modified_at", "2024-01-01T00:00:00Z", "size", 1, "digest", "sim",
                         "details", "family", "sim");
    case SIM_OPENAI:
    case SIM_TEXT:
    case SIM_RESPONSES: break;
    }
    return json_pack("{s:s,s:s,s:i,s:s}", "id", name, "object", "model", "created", 1700000000,
                     "owned_by", "sim");
}

json_t *sim_models(sim_format f, char names[][128], int n)
{
    json_t *data = json_array(), *o;
    for (int i = 0; i < n; i++)
        json_array_append_new(data, one_model(f, names[i]));
    if (f == SIM_ANTHROPIC)
        o = json_pack("{s:o,s:b,s:s,s:s}", "data", data, "has_more", 0, "first_id",
                      n ? names[0] : "", "last_id", n ? names[n - 1] : "");
    else if (f == SIM_OPENAI)
        o = json_pack("{s:s,s:o}", "object", "list", "data", data);
    else
        o = json_pack("{s:o}", "models", data);
    return o;
}
