/*  sim_ollama.c - /api/chat and /api/generate: requests as Ollama takes them (unknown fields are ignored
 *  there) and answers, one JSON object a line. */
#include "sim_answer.h"
#include "sim_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests ---- */

static int images(sim_request *r, json_t *parts, json_t *list, size_t i)
{
    size_t k;
    json_t *v;
    json_array_foreach(list, k, v)
    {
        if (!json_is_string(v) || sim_add_image(parts, "image", json_string_value(v)))
            return sim_refuse(r, "images",
                              "illegal base64 data at input byte 4 (messages.%zu.images."
                              "%zu)",
                              i, k);
    }
    return 0;
}

static int prompt(sim_request *r, const json_t *o)
{
    const json_t *system = json_object_get(o, "system"), *p = json_object_get(o, "prompt");
    if (!json_is_string(p))
        return sim_refuse(r, "prompt",
                          "json: cannot unmarshal into Go struct field GenerateRequest.prompt "
                          "of type string");
    if (json_is_string(system)) sim_add_text(r, sim_turn(r, "system"), json_string_value(system));
    json_t *parts = sim_turn(r, "user");
    sim_add_text(r, parts, json_string_value(p));
    return images(r, parts, json_object_get(o, "images"), 0);
}

static int message(sim_request *r, const json_t *m, size_t i)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *c = json_object_get(m, "content");
    const char *thought = json_string_value(json_object_get(m, "thinking"));
    size_t k;
    json_t *v;
    char word[32];
    snprintf(word, sizeof word, " %.20s ", role ? role : "?");
    if (!strstr(" system user assistant tool ", word))
        return sim_refuse(r, "role", "invalid role: %s", role ? role : "");
    if (c && !json_is_string(c) && !json_is_null(c))
        return sim_refuse(r, "content",
                          "json: cannot unmarshal %s into Go struct field ChatRequest.messages.%zu."
                          "content of type string",
                          json_is_array(c) ? "array" : "value", i);
    json_t *parts = sim_turn(r, role);
    if (thought) sim_add_thinking(parts, thought);
    if (strcmp(role, "tool") == 0)
        sim_add_result(r, parts, json_string_value(json_object_get(m, "tool_name")),
                       c ? json_string_value(c) : "");
    else if (json_is_string(c) && (json_string_value(c)[0] || strcmp(role, "user") == 0))
        sim_add_text(r, parts, json_string_value(c));
    if (images(r, parts, json_object_get(m, "images"), i)) return -1;
    json_array_foreach(json_object_get(m, "tool_calls"), k, v)
    {
        const json_t *fn = json_object_get(v, "function");
        json_t *args = json_object_get(fn, "arguments");
        const char *name = json_string_value(json_object_get(fn, "name"));
        if (!name || !json_is_object(args))
            return sim_refuse(r, "tool_calls",
                              "json: cannot unmarshal into Go struct field ChatRequest.messages."
                              "tool_calls.function.%s of type api.ToolCallFunctionArguments",
                              name ? "arguments" : "name");
        sim_add_call(parts, json_string_value(json_object_get(v, "id")), name, args);
    }
    return 0;
}

static int options(sim_request *r, const json_t *o)
{
    static const char *const kept[] = {"temperature", "top_p", "top_k", "stop", "seed", "num_ctx"};
    const json_t *list = json_object_get(o, "options"), *think = json_object_get(o, "think");
    json_t *format = json_object_get(o, "format");
    if (list && !json_is_object(list))
        return sim_refuse(r, "options",
                          "json: cannot unmarshal into Go struct field "
                          "ChatRequest.options of type map[string]interface {}");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        sim_param(r, kept[i], json_object_get(list, kept[i]));
    json_int_t most = json_integer_value(json_object_get(list, "num_predict"));
    r->max_tokens = most > 0 ? most : 0;
    r->thinks = json_is_true(think) || json_is_string(think);
    if (json_is_object(format))
        r->schema = format;
    else if (json_is_string(format) && strcmp(json_string_value(format), "json") == 0)
        r->schema = json_true();
    else if (json_is_string(format) && json_string_value(format)[0])
        return sim_refuse(r, "format",
                          "invalid format: \"%s\"; expected \"json\" or a valid JSON "
                          "Schema object",
                          json_string_value(format));
    return 0;
}

int sim_read_ollama(sim_request *r, const sim_behaviour *b)
{
    const json_t *o = r->body, *list = json_object_get(o, "messages");
    size_t i;
    json_t *m;
    if (list && !json_is_array(list))
        return sim_refuse(r, "messages",
                          "json: cannot unmarshal into Go struct field "
                          "ChatRequest.messages of type []api.Message");
    if (r->generate && prompt(r, o)) return -1;
    if (json_array_size(list) == 0 && !r->generate)
        return sim_refuse(r, "messages", "messages are required: this would only load the model");
    r->stream = !json_is_false(json_object_get(o, "stream"));
    r->want_usage = true;
    json_array_foreach((json_t *)(uintptr_t)list, i, m)
    {
        if (message(r, m, i)) return -1;
    }
    json_array_foreach(json_object_get(o, "tools"), i, m)
    {
        const json_t *fn = json_object_get(m, "function");
        if (!json_is_string(json_object_get(fn, "name")))
            return sim_refuse(r, "tools", "tools.%zu.function.name is required", i);
        sim_add_tool(r, json_object_get(fn, "name"), json_object_get(fn, "description"),
                     json_object_get(fn, "parameters"));
    }
    if (options(r, o)) return -1;
    return sim_read_limits(r, b);
}

/* ---- answers ---- */

static void line_head(const sim_answer *a, buf *out)
{
    buf_printf(out, "{\"model\":\"%s\",\"created_at\":\"2023-11-14T22:13:20.123456789Z\",",
               a->model.p);
    if (a->b.odd) buf_puts(out, " \"x_number\" : 12345678901234567890.50 ,");
}

/* Up to the words of a line, and behind them. */
static void open_words(const sim_answer *a, buf *out)
{
    line_head(a, out);
    buf_puts(out, a->req->generate ? "\"response\":\""
                                   : "\"message\":{\"role\":\"assistant\",\"content\":\"");
}

static const char *close_words(const sim_answer *a)
{
    return a->req->generate ? "" : "}";
}

static void put_call(sim_answer *a, buf *out, const sim_part *p)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"function\":{\"index\":%d,\"name\":\"%s\",\"arguments\":", p->id,
               p->call, p->name);
    sim_put_args(a, p, out);
    buf_puts(out, "}}");
}

static void put_done(const sim_answer *a, buf *out)
{
    buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\"",
               strcmp(a->finish, "length") == 0 || strcmp(a->finish, "context") == 0 ? "length"
                                                                                     : "stop");
    if (!a->b.nousage)
        buf_printf(out,
                   ",\"total_duration\":4883583458,\"load_duration\":1334875,"
                   "\"prompt_eval_count\":%lld,\"prompt_eval_duration\":342546000,"
                   "\"eval_count\":%lld,\"eval_duration\":4535599000",
                   (long long)a->in, (long long)a->out);
    buf_puts(out, "}");
}

static void nothing(sim_answer *a, buf *out)
{
    (void)a, (void)out;
}

static void no_part(sim_answer *a, buf *out, sim_part *p)
{
    (void)a, (void)out, (void)p;
}

static void delta(sim_answer *a, buf *out, sim_part *p)
{
    open_words(a, &a->json);
    if (p->kind == SIM_CALL) {
        buf_puts(&a->json, "\",\"tool_calls\":[");
        put_call(a, &a->json, p);
        buf_puts(&a->json, "]");
    } else {
        if (p->kind == SIM_THINKING) buf_puts(&a->json, "\",\"thinking\":\"");
        buf_put(&a->json, a->piece.p, a->piece.n);
        buf_puts(&a->json, "\"");
    }
    buf_printf(&a->json, "%s,\"done\":false}", close_words(a));
    sim_event(a, out, NULL);
}

static void marker(sim_answer *a, buf *out)
{
    open_words(a, &a->json);
    buf_printf(&a->json, "\"%s", close_words(a));
    put_done(a, &a->json);
    sim_event(a, out, NULL);
}

static void plain(sim_answer *a, buf *out)
{
    const sim_part *words = sim_part_of(a, SIM_WORDS), *thought = sim_part_of(a, SIM_THINKING);
    open_words(a, out);
    if (words) sim_put_part(a, words, out);
    buf_puts(out, "\"");
    if (thought) {
        buf_puts(out, ",\"thinking\":\"");
        sim_put_part(a, thought, out);
        buf_puts(out, "\"");
    }
    for (int i = 0; i < a->n_parts; i++) {
        if (a->parts[i].kind != SIM_CALL) continue;
        buf_puts(out, a->parts[i].call ? "," : ",\"tool_calls\":[");
        put_call(a, out, &a->parts[i]);
    }
    buf_printf(out, "%s%s", a->n_calls ? "]" : "", close_words(a));
    put_done(a, out);
}

static void error(const sim_failure *f, uint64_t number, buf *out)
{
    (void)number;
    json_t *o = json_pack("{s:s}", "error", f->message);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    buf_puts(out, text ? text : "{}");
    free(text);
}

static void error_event(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "{\"error\":\"an error was encountered while running the model\"}");
    sim_event(a, out, NULL);
}

const sim_ops sim_ollama_ops = {.stream_type = "application/x-ndjson",
                                .whole_calls = true,
                                .begin = nothing,
                                .open = no_part,
                                .delta = delta,
                                .close = no_part,
                                .end = nothing,
                                .marker = marker,
                                .plain = plain,
                                .error = error,
                                .error_event = error_event};
