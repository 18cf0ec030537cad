/*  sim_openai_read.c - /v1/chat/completions and /v1/completions as OpenAI takes them, and the limits
 *  every format has in its own words. */
#include "sim_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char chat_fields[] =
    " model messages stream stream_options temperature top_p n stop max_tokens "
    "max_completion_tokens presence_penalty frequency_penalty logit_bias logprobs top_logprobs "
    "user response_format seed tools tool_choice parallel_tool_calls functions function_call "
    "service_tier store metadata modalities audio prediction reasoning_effort verbosity "
    "web_search_options safety_identifier prompt_cache_key prompt_cache_retention ";

int sim_add_data_url(json_t *parts, const char *url)
{
    const char *comma = strchr(url, ',');
    if (strncmp(url, "data:", 5) != 0) { /* fetched by the provider */
        json_array_append_new(parts, json_pack("{s:s,s:i}", "image", url, "bytes", 0));
        return 0;
    }
    char type[64];
    size_t n = strcspn(url + 5, ";,");
    snprintf(type, sizeof type, "%.*s", (int)n, url + 5);
    if (!comma || strncmp(url + 5 + n, ";base64,", 8) != 0) return -1;
    return sim_add_image(parts, type, comma + 1);
}

int sim_read_limits(sim_request *r, const sim_behaviour *b)
{
    long long have = (long long)sim_prompt_tokens(r), most = (long long)b->context;
    if (most && have > most) {
        snprintf(r->fail.code, sizeof r->fail.code, "context_length_exceeded");
        switch (r->format) {
        case SIM_ANTHROPIC:
            return sim_refuse(r, NULL, "prompt is too long: %lld tokens > %lld maximum", have,
                              most);
        case SIM_GEMINI:
            return sim_refuse(r, NULL,
                              "The input token count (%lld) exceeds the maximum number of tokens "
                              "allowed (%lld).",
                              have, most);
        case SIM_OLLAMA: return sim_refuse(r, NULL, "the input length exceeds the context length");
        case SIM_RESPONSES:
            return sim_refuse(r, "input",
                              "Your input exceeds the context window of this model. Please adjust "
                              "your input and try again.");
        case SIM_OPENAI:
        case SIM_TEXT:
            return sim_refuse(r, r->ask == SIM_EMBED ? "input" : "messages",
                              "This model's maximum context length is %lld tokens. However, your "
                              "messages resulted in %lld tokens. Please reduce the length of the "
                              "messages.",
                              most, have);
        }
    }
    if (!b->policy || r->format == SIM_GEMINI) return 0; /* Gemini answers 200 and says why */
    if (r->format == SIM_ANTHROPIC)
        return sim_refuse(r, NULL, "Output blocked by content filtering policy");
    snprintf(r->fail.code, sizeof r->fail.code, "%s",
             r->azure              ? "content_filter"
             : r->ask == SIM_IMAGE ? "content_policy_violation"
                                   : "invalid_prompt");
    return sim_refuse(
        r, "prompt", "%s",
        r->azure ? "The response was filtered due to the prompt triggering Azure OpenAI's content "
                   "management policy. Please modify your prompt and retry."
        : r->ask == SIM_IMAGE
            ? "Your request was rejected as a result of our safety system."
            : "Invalid prompt: your prompt was flagged as potentially violating our usage policy. "
              "Please try again with a different prompt.");
}

static int content_part(sim_request *r, json_t *parts, const json_t *p, const char *where)
{
    const char *type = json_string_value(json_object_get(p, "type"));
    if (!type) return sim_refuse(r, where, "Missing required parameter: '%s.type'.", where);
    const json_t *text = json_object_get(p, "text");
    const json_t *url = json_object_get(json_object_get(p, "image_url"), "url");
    const json_t *audio = json_object_get(p, "input_audio");
    if (strcmp(type, "text") == 0 && json_is_string(text)) {
        sim_add_text(r, parts, json_string_value(text));
        return 0;
    }
    if (strcmp(type, "refusal") == 0 && json_is_string(json_object_get(p, "refusal"))) {
        sim_add_text(r, parts, json_string_value(json_object_get(p, "refusal")));
        return 0;
    }
    if (strcmp(type, "image_url") == 0 && json_is_string(url)) {
        if (sim_add_data_url(parts, json_string_value(url)) == 0) return 0;
        snprintf(r->fail.code, sizeof r->fail.code, "invalid_image_url");
        return sim_refuse(r, where, "Invalid base64 image_url in '%s'.", where);
    }
    if (strcmp(type, "input_audio") == 0 && json_is_string(json_object_get(audio, "data")))
        return sim_add_image(parts, "audio", json_string_value(json_object_get(audio, "data")))
                   ? sim_refuse(r, where, "Invalid base64 data in '%s'.", where)
                   : 0;
    if (strcmp(type, "file") == 0 && json_is_object(json_object_get(p, "file"))) {
        const char *data =
            json_string_value(json_object_get(json_object_get(p, "file"), "file_data"));
        return data && sim_add_data_url(parts, data)
                   ? sim_refuse(r, where, "Invalid base64 file_data in '%s'.", where)
                   : 0;
    }
    snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
    return sim_refuse(r, where, "Invalid value: '%s'. '%s' is not a part this role takes.", type,
                      where);
}

static int content(sim_request *r, json_t *parts, const json_t *c, const char *where)
{
    size_t i;
    json_t *p;
    if (json_is_string(c)) {
        sim_add_text(r, parts, json_string_value(c));
        return 0;
    }
    if (!json_is_array(c) || json_array_size(c) == 0) {
        snprintf(r->fail.code, sizeof r->fail.code, "invalid_type");
        return sim_refuse(r, where,
                          "Invalid type for '%s': expected one of a string or array of objects, "
                          "but got something else instead.",
                          where);
    }
    json_array_foreach((json_t *)(uintptr_t)c, i, p)
    {
        char at[128];
        snprintf(at, sizeof at, "%.100s[%zu]", where, i);
        if (content_part(r, parts, p, at)) return -1;
    }
    return 0;
}

static int calls(sim_request *r, json_t *parts, const json_t *list, size_t i)
{
    size_t k;
    json_t *call;
    json_array_foreach((json_t *)(uintptr_t)list, k, call)
    {
        const json_t *fn = json_object_get(call, "function");
        const char *id = json_string_value(json_object_get(call, "id"));
        const char *type = json_string_value(json_object_get(call, "type"));
        const char *name = json_string_value(json_object_get(fn, "name"));
        const char *args = json_string_value(json_object_get(fn, "arguments"));
        char where[128];
        snprintf(where, sizeof where, "messages[%zu].tool_calls[%zu]", i, k);
        if (!id || !type || strcmp(type, "function") != 0 || !name || !args) {
            snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
            return sim_refuse(r, where, "Missing required parameter: '%s.%s'.", where,
                              !id     ? "id"
                              : !type ? "type"
                              : !name ? "function.name"
                                      : "function.arguments");
        }
        json_t *v = json_loads(args, JSON_DECODE_ANY, NULL);
        json_t *kept = v ? v : json_string(args);
        sim_add_call(parts, id, name, kept);
        json_decref(kept);
    }
    return 0;
}

static int message(sim_request *r, const json_t *m, size_t i, json_t *open)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *c = json_object_get(m, "content"), *list = json_object_get(m, "tool_calls");
    char where[64];
    snprintf(where, sizeof where, "messages[%zu].content", i);
    char word[32];
    snprintf(word, sizeof word, " %.20s ", role ? role : "?");
    if (!role || !strstr(" system developer user assistant tool function ", word)) {
        snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
        snprintf(where, sizeof where, "messages[%zu].role", i);
        return sim_refuse(r, where,
                          "Invalid value: '%s'. Supported values are: 'system', "
                          "'assistant', 'user', 'function', 'tool', and 'developer'.",
                          role ? role : "");
    }
    bool tool = strcmp(role, "tool") == 0, assistant = strcmp(role, "assistant") == 0;
    if (json_object_size(open) && !tool)
        return sim_refuse(
            r, "messages",
            "An assistant message with 'tool_calls' must be followed by tool messages "
            "responding to each 'tool_call_id'. The following tool_call_ids did not "
            "have response messages: %s",
            json_object_iter_key(json_object_iter(open)));
    json_t *parts = sim_turn(r, strcmp(role, "developer") == 0 ? "system" : role);
    if (tool) {
        const char *id = json_string_value(json_object_get(m, "tool_call_id"));
        json_t *texts = json_array();
        int rc = content(r, texts, c, where);
        const char *text = json_string_value(json_object_get(json_array_get(texts, 0), "text"));
        if (rc == 0) sim_add_result(r, parts, id, text ? text : "");
        json_decref(texts);
        if (rc) return rc;
        if (!id || !sim_call_known(r, id))
            return sim_refuse(
                r, "messages",
                "Invalid parameter: messages with role 'tool' must be a response to a "
                "preceeding message with 'tool_calls'.");
        json_object_del(open, id);
        return 0;
    }
    const char *thought = json_string_value(json_object_get(m, "reasoning_content"));
    if (assistant && thought) sim_add_thinking(parts, thought);
    if (!(assistant && json_array_size(list) && (!c || json_is_null(c))) &&
        !(assistant && json_object_get(m, "refusal")) && content(r, parts, c, where))
        return -1;
    if (!assistant || !list) return 0;
    if (calls(r, parts, list, i)) return -1;
    for (size_t k = 0; k < json_array_size(list); k++)
        json_object_set_new(open, json_string_value(json_object_get(json_array_get(list, k), "id")),
                            json_true());
    return 0;
}

static int tools(sim_request *r, const json_t *o)
{
    size_t i;
    json_t *t;
    json_array_foreach(json_object_get(o, "tools"), i, t)
    {
        const json_t *fn = json_object_get(t, "function");
        const char *type = json_string_value(json_object_get(t, "type"));
        char where[64];
        snprintf(where, sizeof where, "tools[%zu].function.name", i);
        if (!type || strcmp(type, "function") != 0 ||
            !json_is_string(json_object_get(fn, "name"))) {
            snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
            return sim_refuse(r, where, "Missing required parameter: '%s'.", where);
        }
        sim_add_tool(r, json_object_get(fn, "name"), json_object_get(fn, "description"),
                     json_object_get(fn, "parameters"));
        if (json_is_true(json_object_get(fn, "strict")))
            json_object_set_new(json_array_get(r->tools, i), "strict", json_true());
    }
    const json_t *choice = json_object_get(o, "tool_choice");
    const json_t *named = json_object_get(json_object_get(choice, "function"), "name");
    if (choice && json_array_size(r->tools) == 0)
        return sim_refuse(r, "tool_choice",
                          "'tool_choice' is only allowed when 'tools' are "
                          "specified.");
    if (json_is_string(choice) && strcmp(json_string_value(choice), "required") == 0)
        snprintf(r->choice, sizeof r->choice, "any");
    else if (json_is_string(choice))
        snprintf(r->choice, sizeof r->choice, "%s", json_string_value(choice));
    else if (json_is_string(named))
        snprintf(r->choice, sizeof r->choice, "%s", json_string_value(named));
    else if (choice)
        return sim_refuse(r, "tool_choice", "Invalid value for 'tool_choice'.");
    r->one_call = json_is_false(json_object_get(o, "parallel_tool_calls"));
    return 0;
}

static int output_format(sim_request *r, const json_t *o)
{
    json_t *f = json_object_get(o, "response_format"), *s = json_object_get(f, "json_schema");
    const char *type = json_string_value(json_object_get(f, "type"));
    if (!f || (type && strcmp(type, "text") == 0)) return 0;
    if (type && strcmp(type, "json_object") == 0) {
        r->schema = json_true();
        return 0;
    }
    if (!type || strcmp(type, "json_schema") != 0 || !json_is_string(json_object_get(s, "name"))) {
        snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
        return sim_refuse(r, "response_format.json_schema.name",
                          "Missing required parameter: 'response_format.json_schema.name'.");
    }
    r->schema = json_object_get(s, "schema");
    if (!r->schema)
        return sim_refuse(r, "response_format.json_schema.schema",
                          "Missing required parameter: 'response_format.json_schema.schema'.");
    return 0;
}

static int numbers(sim_request *r, const json_t *o)
{
    static const struct {
        const char *name;
        double min, max;
    } ranges[] = {{"temperature", 0, 2},
                  {"top_p", 0, 1},
                  {"presence_penalty", -2, 2},
                  {"frequency_penalty", -2, 2},
                  {"n", 1, 1},
                  {"max_tokens", 1, 1e9},
                  {"max_completion_tokens", 1, 1e9}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const char *name = ranges[i].name;
        const json_t *v = json_object_get(o, name);
        if (!v || json_is_null(v)) continue;
        if (!json_is_number(v)) {
            snprintf(r->fail.code, sizeof r->fail.code, "invalid_type");
            return sim_refuse(r, name, "Invalid type for '%s': expected a number.", name);
        }
        if (json_number_value(v) < ranges[i].min || json_number_value(v) > ranges[i].max) {
            snprintf(r->fail.code, sizeof r->fail.code, "invalid_value");
            return sim_refuse(r, name, "Invalid '%s': it must be between %g and %g.", name,
                              ranges[i].min, ranges[i].max);
        }
    }
    json_t *max = json_object_get(o, "max_completion_tokens");
    r->max_tokens = json_integer_value(max ? max : json_object_get(o, "max_tokens"));
    return 0;
}

static int refuse_unknown(sim_request *r, const char *known, const sim_behaviour *b)
{
    const char *odd = b->lenient ? NULL : sim_unknown(r->body, known);
    return odd ? sim_refuse(r, odd, "Unrecognized request argument supplied: %s", odd) : 0;
}

static int stream_options(sim_request *r)
{
    const json_t *options = json_object_get(r->body, "stream_options");
    r->stream = json_is_true(json_object_get(r->body, "stream"));
    r->want_usage = json_is_true(json_object_get(options, "include_usage"));
    if (json_is_object(options) && !r->stream)
        return sim_refuse(
            r, "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
    return 0;
}

int sim_read_openai(sim_request *r, const sim_behaviour *b)
{
    static const char *const kept[] = {"temperature",
                                       "top_p",
                                       "stop",
                                       "seed",
                                       "presence_penalty",
                                       "frequency_penalty",
                                       "user",
                                       "reasoning_effort",
                                       "logprobs"};
    const json_t *o = r->body, *list = json_object_get(o, "messages");
    size_t i;
    json_t *m;
    if (!json_is_array(list) || json_array_size(list) == 0) {
        snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
        return sim_refuse(r, "messages", "Missing required parameter: 'messages'.");
    }
    if (refuse_unknown(r, chat_fields, b) || stream_options(r)) return -1;
    r->thinks = true;
    json_t *open = json_object();
    int rc = 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, m)
    {
        if (rc == 0) rc = message(r, m, i, open);
    }
    if (rc == 0 && json_object_size(open))
        rc = sim_refuse(r, "messages",
                        "An assistant message with 'tool_calls' must be followed by tool messages "
                        "responding to each 'tool_call_id'. The following tool_call_ids did not "
                        "have response messages: %s",
                        json_object_iter_key(json_object_iter(open)));
    json_decref(open);
    if (rc || tools(r, o) || output_format(r, o) || numbers(r, o)) return -1;
    if (b->noprefill && r->last_assistant)
        return sim_refuse(r, "messages",
                          "Expected last role User or Tool (or Assistant with prefix True) for "
                          "serving but got assistant");
    for (i = 0; i < sizeof kept / sizeof *kept; i++)
        sim_param(r, kept[i], json_object_get(o, kept[i]));
    return sim_read_limits(r, b);
}

int sim_read_text(sim_request *r, const sim_behaviour *b)
{
    static const char fields[] =
        " model prompt stream stream_options temperature top_p n stop max_tokens presence_penalty "
        "frequency_penalty logit_bias logprobs user seed suffix echo best_of ";
    const json_t *prompt = json_object_get(r->body, "prompt");
    if (json_is_array(prompt) && json_array_size(prompt) == 1) prompt = json_array_get(prompt, 0);
    if (!json_is_string(prompt)) {
        snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
        return sim_refuse(r, "prompt", "Missing required parameter: 'prompt'.");
    }
    if (refuse_unknown(r, fields, b) || stream_options(r)) return -1;
    sim_add_text(r, sim_turn(r, "user"), json_string_value(prompt));
    if (numbers(r, r->body)) return -1;
    sim_param(r, "temperature", json_object_get(r->body, "temperature"));
    sim_param(r, "stop", json_object_get(r->body, "stop"));
    return sim_read_limits(r, b);
}
