/*  question.c - one walk over the messages; the last text that was seen is the one, if it was the
 *  user's. */
#include "question.h"

static bool absent(json_value v)
{
    return v.type == JSON_NONE || v.type == JSON_NULL;
}

static bool none_of(json_value v)
{
    size_t at = 0;
    json_value first;
    return absent(v) || (v.type == JSON_ARRAY && !json_next_element(v, &at, &first));
}

static bool is_text_part(json_value part)
{
    json_value type = json_get(part, "type");
    return json_string_is(type, "text") || json_string_is(type, "input_text") ||
           json_string_is(type, "output_text");
}

/* A message's content: one text or parts that are texts. *ret: the only one, or nothing. */
static bool read_content(json_value content, json_value *ret)
{
    size_t at = 0, n = 0;
    json_value part;
    *ret = (json_value){0};
    if (content.type == JSON_STRING) *ret = content;
    if (content.type != JSON_ARRAY) return content.type == JSON_STRING;
    while (json_next_element(content, &at, &part)) {
        json_value text = json_get(part, "text");
        if (!is_text_part(part) || text.type != JSON_STRING) return false;
        *ret = n++ == 0 ? text : (json_value){0};
    }
    return n > 0;
}

static bool only_says(json_value message)
{
    static const char *const others[] = {"tool_calls", "function_call", "images", "audio",
                                         "tool_call_id"};
    json_value type = json_get(message, "type");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!none_of(json_get(message, others[i]))) return false;
    return absent(type) || json_string_is(type, "message");
}

static bool read_messages(json_value list, json_value *ret)
{
    size_t at = 0;
    json_value message, text;
    *ret = (json_value){0};
    if (list.type != JSON_ARRAY) return false;
    while (json_next_element(list, &at, &message)) {
        json_value role = json_get(message, "role");
        bool users = json_string_is(role, "user");
        bool known = users || json_string_is(role, "assistant") || json_string_is(role, "system") ||
                     json_string_is(role, "developer");
        if (!known || !only_says(message) || !read_content(json_get(message, "content"), &text))
            return false;
        *ret = users ? text : (json_value){0};
    }
    return ret->type == JSON_STRING;
}

static bool has_tools(json_value root)
{
    static const char *const names[] = {"tools",        "functions", "previous_response_id",
                                        "conversation", "prompt",    "web_search_options",
                                        "mcp_servers"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!none_of(json_get(root, names[i]))) return true;
    return false;
}

bool question_find(sv_str endpoint, sv_str body, json_value *ret)
{
    json_value root = json_root(body);
    bool responses = sv_str_is(endpoint, "responses");
    if (root.type != JSON_OBJECT || has_tools(root)) return false;
    if (endpoint.n && !responses && !sv_str_is(endpoint, "chat") &&
        !sv_str_is(endpoint, "messages") && !sv_str_is(endpoint, "ollama"))
        return false;
    json_value list = json_get(root, responses ? "input" : "messages");
    bool found = responses && list.type == JSON_STRING;
    if (found) *ret = list;
    found = found || read_messages(list, ret);
    return found && ret->raw.n > 2 && ret->raw.n <= QUESTION_BYTES; /* not "" */
}
