#include "sim_request.h"

#include "sim_route.h"
#include "sim_vector.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_request_init(sim_request *r, sim_format format, sim_ask ask)
{
    memset(r, 0, sizeof *r);
    r->format = format;
    r->ask = ask;
    r->turns = json_array();
    r->tools = json_array();
    r->params = json_object();
    snprintf(r->choice, sizeof r->choice, "auto");
    r->stored = true;
}

void sim_request_free(sim_request *r)
{
    json_decref(r->turns);
    json_decref(r->tools);
    json_decref(r->params);
    json_decref(r->body);
    memset(r, 0, sizeof *r);
}

int sim_refuse(sim_request *r, const char *param, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    r->fail.status = 400;
    vsnprintf(r->fail.message, sizeof r->fail.message, fmt, ap);
    va_end(ap);
    snprintf(r->fail.param, sizeof r->fail.param, "%s", param ? param : "");
    return -1;
}

const char *sim_unknown(const json_t *object, const char *known)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        char word[130];
        snprintf(word, sizeof word, " %.120s ", key);
        if (!strstr(known, word)) return key;
    }
    return NULL;
}

json_t *sim_turn(sim_request *r, const char *role)
{
    json_t *parts = json_array();
    json_array_append_new(r->turns, json_pack("{s:s,s:o}", "role", role, "parts", parts));
    r->last_assistant = strcmp(role, "assistant") == 0;
    r->after_tool = false;
    return parts;
}

void sim_add_text(sim_request *r, json_t *parts, const char *text)
{
    r->text_bytes += (int64_t)strlen(text);
    json_array_append_new(parts, json_pack("{s:s}", "text", text));
}

void sim_add_thinking(json_t *parts, const char *text)
{
    json_array_append_new(parts, json_pack("{s:s}", "thinking", text));
}

int sim_add_image(json_t *parts, const char *type, const char *data)
{
    int64_t n = sim_base64_bytes(data);
    if (n <= 0) return -1;
    json_array_append_new(parts, json_pack("{s:s,s:I}", "image", type, "bytes", (json_int_t)n));
    return 0;
}

void sim_add_call(json_t *parts, const char *id, const char *name, json_t *args)
{
    json_array_append_new(
        parts, json_pack("{s:s,s:s,s:O}", "call", name, "id", id ? id : "", "args", args));
}

void sim_add_result(sim_request *r, json_t *parts, const char *id, const char *text)
{
    r->after_tool = true;
    r->text_bytes += (int64_t)strlen(text);
    json_array_append_new(parts, json_pack("{s:s,s:s}", "result", text, "id", id ? id : ""));
}

void sim_add_tool(sim_request *r, const json_t *name, const json_t *description, json_t *schema)
{
    json_t *t = json_pack("{s:s,s:s}", "name", json_string_value(name), "description",
                          json_is_string(description) ? json_string_value(description) : "");
    json_object_set(t, "schema", schema ? schema : json_null());
    json_array_append_new(r->tools, t);
}

void sim_param(sim_request *r, const char *name, const json_t *value)
{
    if (value && !json_is_null(value)) json_object_set(r->params, name, (json_t *)(uintptr_t)value);
}

bool sim_call_known(const sim_request *r, const char *id)
{
    size_t i, k;
    json_t *turn, *part;
    json_array_foreach(r->turns, i, turn)
    {
        json_array_foreach(json_object_get(turn, "parts"), k, part)
        {
            const char *have = json_string_value(json_object_get(part, "id"));
            if (json_object_get(part, "call") && have && strcmp(have, id) == 0) return true;
        }
    }
    return false;
}

char *sim_understood(const sim_request *r)
{
    json_t *o = json_pack("{s:s,s:s,s:b,s:O,s:O,s:O,s:s}", "format", sim_format_name(r->format),
                          "model", r->model, "stream", (int)r->stream, "turns", r->turns, "tools",
                          r->tools, "params", r->params, "tool_choice", r->choice);
    if (r->schema) json_object_set(o, "schema", r->schema);
    if (r->max_tokens) json_object_set_new(o, "max_tokens", json_integer(r->max_tokens));
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

const char *sim_last_user(const sim_request *r)
{
    for (size_t i = json_array_size(r->turns); i-- > 0;) {
        const json_t *turn = json_array_get(r->turns, i);
        const json_t *parts = json_object_get(turn, "parts");
        if (strcmp(json_string_value(json_object_get(turn, "role")), "user") != 0) continue;
        for (size_t k = json_array_size(parts); k-- > 0;) {
            const json_t *text = json_object_get(json_array_get(parts, k), "text");
            if (text) return json_string_value(text);
        }
    }
    return "";
}

int64_t sim_prompt_tokens(const sim_request *r)
{
    return r->text_bytes / 4 + 1;
}

uint64_t sim_hash(const void *p, size_t n, uint64_t from)
{
    uint64_t h = from ? from : 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3ull;
    return h;
}

void sim_sign(const char *what, const char *text, size_t n, char out[64])
{
    uint64_t h = sim_hash(text, n, sim_hash(what, strlen(what), 0));
    snprintf(out, 64, "U2lt%.8s%016llx", what, (unsigned long long)h); /* valid as base64 */
}

bool sim_signed(const char *what, const char *text, const char *signature)
{
    char want[64];
    sim_sign(what, text, strlen(text), want);
    return signature && strcmp(want, signature) == 0;
}
