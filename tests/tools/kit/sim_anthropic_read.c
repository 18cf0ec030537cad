/*  sim_anthropic_read.c - /v1/messages and /v1/messages/count_tokens as Anthropic takes them. Version
 *  2026-10-21 takes system turns among the messages and no temperature, top_p and top_k any more. */
#include "sim_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char fields[] =
    " model messages max_tokens system stream temperature top_p top_k stop_sequences tools "
    "tool_choice metadata thinking service_tier container context_management mcp_servers "
    "output_config output_format cache_control inference_geo betas ";

static int block(sim_request *r, json_t *parts, const json_t *b, const char *role,
                 const char *where, json_t *open);

static int image(sim_request *r, json_t *parts, const json_t *b, const char *where)
{
    const json_t *src = json_object_get(b, "source");
    const char *type = json_string_value(json_object_get(src, "type"));
    const char *media = json_string_value(json_object_get(src, "media_type"));
    const char *data = json_string_value(json_object_get(src, "data"));
    const char *url = json_string_value(json_object_get(src, "url"));
    if (type && strcmp(type, "url") == 0 && url) return sim_add_data_url(parts, url);
    if (type && strcmp(type, "text") == 0 && data) {
        sim_add_text(r, parts, data);
        return 0;
    }
    if (!type || strcmp(type, "base64") != 0 || !media || !data)
        return sim_refuse(r, NULL, "%s.source: Field required", where);
    bool picture = strcmp(media, "image/png") == 0 || strcmp(media, "image/jpeg") == 0 ||
                   strcmp(media, "image/gif") == 0 || strcmp(media, "image/webp") == 0;
    if (!picture && strcmp(media, "application/pdf") != 0)
        return sim_refuse(r, NULL,
                          "%s.source.base64.media_type: Input should be 'image/jpeg', 'image/png', "
                          "'image/gif' or 'image/webp'",
                          where);
    if (sim_add_image(parts, media, data))
        return sim_refuse(r, NULL, "%s.source.base64.data: Invalid base64 data", where);
    return 0;
}

static int tool_result(sim_request *r, json_t *parts, const json_t *b, const char *where,
                       json_t *open)
{
    const char *id = json_string_value(json_object_get(b, "tool_use_id"));
    const json_t *c = json_object_get(b, "content");
    if (!id) return sim_refuse(r, NULL, "%s.tool_use_id: Field required", where);
    if (!json_object_get(open, id))
        return sim_refuse(r, NULL,
                          "%s: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each "
                          "`tool_result` block must have a corresponding `tool_use` block in the "
                          "previous message.",
                          where, id);
    json_t *inner = json_array(), *p;
    size_t i;
    int rc = 0;
    json_array_foreach((json_t *)(uintptr_t)(json_is_array(c) ? c : NULL), i, p)
    {
        char at[128];
        snprintf(at, sizeof at, "%.100s.content.%zu", where, i);
        if (rc == 0) rc = block(r, inner, p, "result", at, open);
    }
    const char *text = json_is_string(c)
                           ? json_string_value(c)
                           : json_string_value(json_object_get(json_array_get(inner, 0), "text"));
    if (rc == 0) sim_add_result(r, parts, id, text ? text : "");
    if (rc == 0 && json_is_true(json_object_get(b, "is_error")))
        json_object_set_new(json_array_get(parts, json_array_size(parts) - 1), "failed",
                            json_true());
    json_array_foreach(inner, i, p)
    {
        if (json_object_get(p, "image")) json_array_append(parts, p);
    }
    json_decref(inner);
    json_object_del(open, id);
    return rc;
}

static int thinking(sim_request *r, json_t *parts, const json_t *b, const char *where)
{
    const char *text = json_string_value(json_object_get(b, "thinking"));
    const char *data = json_string_value(json_object_get(b, "data"));
    const char *signature = json_string_value(json_object_get(b, "signature"));
    bool redacted = strcmp(json_string_value(json_object_get(b, "type")), "thinking") != 0;
    if (redacted) {
        if (!sim_signed("redacted", "", data))
            return sim_refuse(r, NULL, "%s: Invalid `data` in `redacted_thinking` block", where);
    } else if (!text || !signature) {
        return sim_refuse(r, NULL, "%s.thinking.%s: Field required", where,
                          text ? "signature" : "thinking");
    } else if (!sim_signed("thinking", text, signature)) {
        return sim_refuse(r, NULL, "%s: Invalid `signature` in `thinking` block", where);
    }
    sim_add_thinking(parts, redacted ? "(redacted)" : text);
    return 0;
}

static int tool_use(sim_request *r, json_t *parts, const json_t *b, const char *where, json_t *open)
{
    const char *id = json_string_value(json_object_get(b, "id"));
    const char *name = json_string_value(json_object_get(b, "name"));
    json_t *input = json_object_get(b, "input");
    if (!id || !name || !input)
        return sim_refuse(r, NULL, "%s.tool_use.%s: Field required", where,
                          !id     ? "id"
                          : !name ? "name"
                                  : "input");
    if (!json_is_object(input))
        return sim_refuse(r, NULL, "%s.tool_use.input: Input should be a valid dictionary", where);
    if (strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
        strlen(id))
        return sim_refuse(r, NULL, "%s.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
                          where);
    if (sim_call_known(r, id))
        return sim_refuse(r, NULL, "messages: `tool_use` ids must be unique");
    sim_add_call(parts, id, name, input);
    json_object_set_new(open, id, json_true());
    return 0;
}

static int block(sim_request *r, json_t *parts, const json_t *b, const char *role,
                 const char *where, json_t *open)
{
    const char *type = json_string_value(json_object_get(b, "type"));
    bool assistant = strcmp(role, "assistant") == 0;
    if (!type) return sim_refuse(r, NULL, "%s.type: Field required", where);
    if (strcmp(type, "text") == 0) {
        const char *text = json_string_value(json_object_get(b, "text"));
        if (!text) return sim_refuse(r, NULL, "%s.text.text: Field required", where);
        if (!*text) return sim_refuse(r, NULL, "messages: text content blocks must be non-empty");
        sim_add_text(r, parts, text);
        return 0;
    }
    if (!assistant && (strcmp(type, "image") == 0 || strcmp(type, "document") == 0))
        return image(r, parts, b, where);
    if (strcmp(role, "user") == 0 && strcmp(type, "tool_result") == 0)
        return tool_result(r, parts, b, where, open);
    if (assistant && strcmp(type, "tool_use") == 0) return tool_use(r, parts, b, where, open);
    if (assistant && (strcmp(type, "thinking") == 0 || strcmp(type, "redacted_thinking") == 0))
        return thinking(r, parts, b, where);
    return sim_refuse(r, NULL,
                      "%s: Input tag '%s' found using 'type' does not match any of the "
                      "expected tags for the role %s",
                      where, type, role);
}

static int unanswered(sim_request *r, size_t i, const json_t *open)
{
    return sim_refuse(r, NULL,
                      "messages.%zu: `tool_use` ids were found without `tool_result` blocks "
                      "immediately after: %s. Each `tool_use` block must have a corresponding "
                      "`tool_result` block in the next message.",
                      i, json_object_iter_key(json_object_iter((json_t *)(uintptr_t)open)));
}

static int message(sim_request *r, const json_t *m, size_t i, json_t *open)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *c = json_object_get(m, "content");
    const char *odd = sim_unknown(m, " role content ");
    if (odd) return sim_refuse(r, NULL, "messages.%zu.%s: Extra inputs are not permitted", i, odd);
    bool system = role && strcmp(role, "system") == 0;
    if (system && !r->newer)
        return sim_refuse(r, NULL,
                          "messages: Unexpected role \"system\". The Messages API accepts a "
                          "top-level `system` parameter, not \"system\" as an input "
                          "message role.");
    if (!role || (!system && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
        return sim_refuse(r, NULL, "messages.%zu.role: Input should be 'user' or 'assistant'", i);
    if (i == 0 && !system && strcmp(role, "user") != 0)
        return sim_refuse(r, NULL, "messages: first message must use the \"user\" role");
    if (!c) return sim_refuse(r, NULL, "messages.%zu.content: Field required", i);
    bool same = json_array_size(r->turns) &&
                strcmp(json_string_value(json_object_get(
                           json_array_get(r->turns, json_array_size(r->turns) - 1), "role")),
                       role) == 0;
    if (same && !system && !r->lax) /* the API joins them; a translation should have done it */
        return sim_refuse(r, NULL,
                          "messages: roles must alternate between \"user\" and \"assistant\", but "
                          "found multiple \"%s\" roles in a row",
                          role);
    json_t *parts = sim_turn(r, role), *b;
    size_t k;
    if (json_is_string(c) && !json_string_value(c)[0])
        return sim_refuse(r, NULL,
                          "messages.%zu: all messages must have non-empty content except "
                          "for the optional final assistant message",
                          i);
    if (json_is_string(c)) sim_add_text(r, parts, json_string_value(c));
    json_array_foreach((json_t *)(uintptr_t)(json_is_array(c) ? c : NULL), k, b)
    {
        char where[96];
        snprintf(where, sizeof where, "messages.%zu.content.%zu", i, k);
        if (block(r, parts, b, role, where, open)) return -1;
    }
    if (strcmp(role, "user") == 0 && json_object_size(open)) return unanswered(r, i - 1, open);
    return 0;
}

static int tools(sim_request *r, const json_t *o)
{
    size_t i;
    json_t *t;
    json_array_foreach(json_object_get(o, "tools"), i, t)
    {
        json_t *schema = json_object_get(t, "input_schema");
        const char *name = json_string_value(json_object_get(t, "name"));
        const char *type = json_string_value(json_object_get(schema, "type"));
        if (json_object_get(t, "type") && !schema) continue; /* the provider's own tools */
        if (!name) return sim_refuse(r, NULL, "tools.%zu.custom.name: Field required", i);
        if (!schema) return sim_refuse(r, NULL, "tools.%zu.custom.input_schema: Field required", i);
        if (!type || strcmp(type, "object") != 0)
            return sim_refuse(r, NULL,
                              "tools.%zu.custom.input_schema.type: Input should be 'object'", i);
        sim_add_tool(r, json_object_get(t, "name"), json_object_get(t, "description"), schema);
    }
    const json_t *choice = json_object_get(o, "tool_choice");
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name = json_string_value(json_object_get(choice, "name"));
    if (!choice) return 0;
    if (!type || (strcmp(type, "tool") == 0 && !name))
        return sim_refuse(r, NULL, "tool_choice.%s: Field required", type ? "tool.name" : "type");
    if (strcmp(type, "none") != 0 && json_array_size(json_object_get(o, "tools")) == 0)
        return sim_refuse(r, NULL, "tool_choice may only be specified while providing tools.");
    snprintf(r->choice, sizeof r->choice, "%s", name ? name : type);
    r->one_call = json_is_true(json_object_get(choice, "disable_parallel_tool_use"));
    return 0;
}

static int thinking_mode(sim_request *r, const json_t *o)
{
    const json_t *t = json_object_get(o, "thinking"), *temp = json_object_get(o, "temperature");
    const char *type = json_string_value(json_object_get(t, "type"));
    json_int_t budget = json_integer_value(json_object_get(t, "budget_tokens"));
    if (!t || (type && strcmp(type, "disabled") == 0)) return 0;
    r->thinks = true;
    sim_param(r, "thinking", t);
    if (type && strcmp(type, "adaptive") == 0) return 0;
    if (!type || strcmp(type, "enabled") != 0)
        return sim_refuse(r, NULL,
                          "thinking: Input tag does not match any of the expected tags: "
                          "'adaptive', 'disabled', 'enabled'");
    if (budget < 1024)
        return sim_refuse(r, NULL,
                          "thinking.enabled.budget_tokens: Input should be greater than or "
                          "equal to 1024");
    if (budget >= r->max_tokens)
        return sim_refuse(r, NULL, "`max_tokens` must be greater than `thinking.budget_tokens`.");
    if (temp && json_number_value(temp) != 1)
        return sim_refuse(r, NULL, "`temperature` may only be set to 1 when thinking is enabled.");
    if (strcmp(r->choice, "auto") != 0 && strcmp(r->choice, "none") != 0)
        return sim_refuse(r, NULL, "Thinking may not be enabled when tool_choice forces tool use.");
    const json_t *turn = NULL;
    for (size_t i = json_array_size(r->turns); i-- > 0 && !turn;)
        if (strcmp(json_string_value(json_object_get(json_array_get(r->turns, i), "role")),
                   "assistant") == 0)
            turn = json_array_get(r->turns, i);
    const json_t *parts = json_object_get(turn, "parts");
    const json_t *last = json_array_get(parts, json_array_size(parts) - 1);
    if (r->after_tool && json_object_get(last, "call") &&
        !json_object_get(json_array_get(parts, 0), "thinking"))
        return sim_refuse(
            r, NULL,
            "messages: Expected `thinking` or `redacted_thinking`, but found "
            "`tool_use`. When `thinking` is enabled, a final `assistant` message must "
            "start with a thinking block.");
    return 0;
}

static int system_prompt(sim_request *r, const json_t *o)
{
    const json_t *s = json_object_get(o, "system");
    size_t i;
    json_t *p;
    if (!s) return 0;
    if (!json_is_string(s) && !json_is_array(s))
        return sim_refuse(r, NULL, "system: Input should be a valid list");
    json_t *parts = sim_turn(r, "system");
    if (json_is_string(s)) sim_add_text(r, parts, json_string_value(s));
    json_array_foreach((json_t *)(uintptr_t)(json_is_array(s) ? s : NULL), i, p)
    {
        const char *text = json_string_value(json_object_get(p, "text"));
        if (!text || !*text) return sim_refuse(r, NULL, "system.%zu.text: Field required", i);
        sim_add_text(r, parts, text);
    }
    return 0;
}

static int parameters(sim_request *r, const json_t *o)
{
    static const char *const kept[] = {"temperature", "top_p", "top_k", "stop_sequences"};
    const json_t *temp = json_object_get(o, "temperature"), *max = json_object_get(o, "max_tokens");
    if (r->ask == SIM_CHAT && !max) return sim_refuse(r, NULL, "max_tokens: Field required");
    if (max && (!json_is_integer(max) || json_integer_value(max) < 1))
        return sim_refuse(r, NULL, "max_tokens: Input should be greater than or equal to 1");
    if (temp &&
        (!json_is_number(temp) || json_number_value(temp) < 0 || json_number_value(temp) > 1))
        return sim_refuse(r, NULL, "temperature: range: 0..1");
    r->max_tokens = json_integer_value(max);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        sim_param(r, kept[i], json_object_get(o, kept[i]));
    json_t *format = json_object_get(json_object_get(o, "output_config"), "format");
    if (!format) format = json_object_get(o, "output_format");
    if (format && !(r->schema = json_object_get(format, "schema")))
        return sim_refuse(r, NULL, "output_config.format.schema: Field required");
    return 0;
}

int sim_read_anthropic(sim_request *r, const sim_behaviour *b)
{
    const json_t *o = r->body, *list = json_object_get(o, "messages");
    const char *odd = b->lenient ? NULL : sim_unknown(o, fields);
    size_t i;
    json_t *m;
    r->lax = b->lenient;
    if (!odd && r->newer && !b->lenient)
        odd = json_object_get(o, "temperature") ? "temperature"
              : json_object_get(o, "top_p")     ? "top_p"
              : json_object_get(o, "top_k")     ? "top_k"
                                                : NULL;
    if (odd) return sim_refuse(r, NULL, "%s: Extra inputs are not permitted", odd);
    if (!json_is_array(list)) return sim_refuse(r, NULL, "messages: Field required");
    if (json_array_size(list) == 0)
        return sim_refuse(r, NULL, "messages: at least one message is required");
    r->stream = json_is_true(json_object_get(o, "stream"));
    r->want_usage = true;
    if (parameters(r, o) || system_prompt(r, o)) return -1;
    json_t *open = json_object();
    int rc = 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, m)
    {
        if (rc == 0) rc = message(r, m, i, open);
    }
    if (rc == 0 && json_object_size(open)) rc = unanswered(r, i - 1, open);
    json_decref(open);
    if (rc || tools(r, o) || thinking_mode(r, o)) return -1;
    if (b->noprefill && r->last_assistant)
        return sim_refuse(r, NULL,
                          "This model does not support assistant message prefill. The "
                          "conversation must end with a user message.");
    return sim_read_limits(r, b);
}
