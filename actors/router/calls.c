/*  calls.c - arguments are kept until the end, since they come in pieces. */
#include "calls.h"

#include "sv_limits.h"

#include <stdlib.h>

static bool has_tool(const llm_request *q, sv_str name)
{
    if (memchr(name.p, '\\', name.n)) return true; /* may be spelt in two ways */
    for (uint32_t i = 0; i < q->n_tools; i++)
        if (q->tools[i].foreign || sv_str_eq(q->tools[i].name, name)) return true;
    return false;
}

static one_call *find(calls *c, uint32_t choice, int64_t at)
{
    for (uint32_t i = c->n; i > 0; i--)
        if (c->items[i - 1].choice == choice && c->items[i - 1].index == at)
            return &c->items[i - 1];
    return NULL;
}

void calls_begin(calls *c, const llm_request *q, uint32_t choice, int64_t at, sv_str name)
{
    if (q->n_tools == 0) return;
    if (name.n && !has_tool(q, name)) c->bad = true;
    if (find(c, choice, at) || c->n == LLM_CALLS) return;
    if (c->items == NULL) c->items = calloc(LLM_CALLS, sizeof *c->items);
    if (c->items == NULL) return;
    c->items[c->n] = (one_call){.choice = choice, .index = at};
    buf_init(&c->items[c->n++].arguments, LLM_ARGUMENTS_BYTES);
}

void calls_arguments(calls *c, uint32_t choice, int64_t at, sv_str inside)
{
    one_call *one = find(c, choice, at);
    c->bytes += inside.n;
    if (one && c->bytes <= LLM_ARGUMENTS_BYTES) buf_put(&one->arguments, inside.p, inside.n);
}

static void look_at_call(calls *c, const llm_request *q, uint32_t choice, int64_t at,
                         json_value call)
{
    json_value number = json_get(call, "index"), function = json_get(call, "function"), v;
    if (number.type == JSON_NUMBER) json_int(number, &at);
    v = json_get(function, "name");
    calls_begin(c, q, choice, at, llm_inside(v));
    v = json_get(function, "arguments");
    if (v.type == JSON_OBJECT || v.type == JSON_ARRAY) c->bad = true;
    calls_arguments(c, choice, at, llm_inside(v));
}

void calls_openai(calls *c, const llm_request *q, sv_str json)
{
    json_value choice, call, list = json_get(json_root(json), "choices");
    if (q->n_tools == 0 || list.type != JSON_ARRAY) return;
    uint32_t n = 0;
    for (size_t at = 0; n < LLM_CALLS && json_next_element(list, &at, &choice); n++) {
        json_value number = json_get(choice, "index"), m = json_get(choice, "delta"), tools;
        int64_t index = n, k = 0;
        if (number.type == JSON_NUMBER) json_int(number, &index);
        if (m.type != JSON_OBJECT) m = json_get(choice, "message");
        tools = json_get(m, "tool_calls");
        if (tools.type != JSON_ARRAY) continue;
        for (size_t in = 0; json_next_element(tools, &in, &call); k++)
            look_at_call(c, q, (uint32_t)index, k, call);
    }
}

static bool is_object(const one_call *one)
{
    buf text;
    sv_str inside = buf_str(&one->arguments);
    if (inside.n == 0) return true; /* a tool without parameters */
    buf_init(&text, LLM_ARGUMENTS_BYTES);
    bool ok = llm_decode(inside, &text) != 0 || /* no memory */
              (json_skim(buf_str(&text), LIMIT_JSON_DEPTH, NULL) == 0 &&
               json_root(buf_str(&text)).type == JSON_OBJECT);
    buf_free(&text);
    return ok;
}

bool calls_bad(const calls *c)
{
    if (c->bad || c->bytes > LLM_ARGUMENTS_BYTES) return c->bad;
    for (uint32_t i = 0; i < c->n; i++)
        if (!c->items[i].arguments.failed && !is_object(&c->items[i])) return true;
    return false;
}

void calls_free(calls *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        buf_free(&c->items[i].arguments);
    free(c->items);
    *c = (calls){.n = 0};
}
