/*  sim_responses.c - answers of /v1/responses: every part is an output item. */
#include "sim_answer.h"

#include <stdlib.h>
#include <string.h>

static const char *status_of(const sim_answer *a)
{
    bool cut = strcmp(a->finish, "length") == 0 || strcmp(a->finish, "filter") == 0;
    return strcmp(a->finish, "blocked") == 0 ? "failed" : cut ? "incomplete" : "completed";
}

static bool refuses(const sim_answer *a)
{
    return strcmp(a->finish, "refusal") == 0;
}

static void item_id(const sim_answer *a, const sim_part *p, char id[48])
{
    static const char *const kinds[] = {"rs", "msg", "fc"};
    buf b;
    buf_init(&b, 47);
    buf_printf(&b, "%s_sim_%llu_%d", kinds[p->kind], (unsigned long long)a->number, p->index);
    buf_putc(&b, 0);
    memcpy(id, b.p, b.n);
    buf_free(&b);
}

static void put_text(sim_answer *a, buf *out, const sim_part *p, bool full)
{
    buf_printf(out, "{\"type\":\"%s\",\"%s\":\"", refuses(a) ? "refusal" : "output_text",
               refuses(a) ? "refusal" : "text");
    if (full) sim_put_part(a, p, out);
    buf_puts(out, refuses(a) ? "\"}" : "\",\"annotations\":[],\"logprobs\":[]}");
}

static void put_item(sim_answer *a, buf *out, const sim_part *p, bool full)
{
    char id[48];
    const char *status = full ? "completed" : "in_progress";
    item_id(a, p, id);
    if (p->kind == SIM_THINKING) {
        char seal[64];
        sim_sign("reasoning", id, strlen(id), seal);
        buf_printf(out, "{\"id\":\"%s\",\"type\":\"reasoning\",\"summary\":[", id);
        if (full && a->req->summary) {
            buf_puts(out, "{\"type\":\"summary_text\",\"text\":\"");
            sim_put_part(a, p, out);
            buf_puts(out, "\"}");
        }
        buf_puts(out, "]");
        if (a->req->encrypted) buf_printf(out, ",\"encrypted_content\":\"%s\"", seal);
        buf_puts(out, "}");
    } else if (p->kind == SIM_WORDS) {
        buf_printf(out,
                   "{\"id\":\"%s\",\"type\":\"message\",\"status\":\"%s\",\"role\":"
                   "\"assistant\",\"content\":[",
                   id, status);
        if (full) put_text(a, out, p, true);
        buf_puts(out, "]}");
    } else {
        buf_printf(out,
                   "{\"id\":\"%s\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":"
                   "\"%s\",\"name\":\"%s\",\"arguments\":\"",
                   id, status, p->id, p->name);
        if (full) sim_put_part(a, p, out);
        buf_puts(out, "\"}");
    }
}

static void put_usage(const sim_answer *a, buf *out)
{
    buf_printf(out,
               "{\"input_tokens\":%lld,\"input_tokens_details\":{\"cached_tokens\":%lld},"
               "\"output_tokens\":%lld,\"output_tokens_details\":{\"reasoning_tokens\":%lld},"
               "\"total_tokens\":%lld}",
               (long long)a->in, (long long)a->b.cached, (long long)a->out, (long long)a->reasoning,
               (long long)(a->in + a->out));
}

static void put_asked(const sim_answer *a, buf *out, const char *name, const char *otherwise)
{
    json_t *v = json_object_get(a->req->body, name);
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    buf_printf(out, ",\"%s\":", name);
    buf_puts(out, text ? text : otherwise);
    free(text);
}

static void put_response(sim_answer *a, buf *out, bool done)
{
    const char *status = done ? status_of(a) : "in_progress";
    buf_printf(out, "{\"id\":\"resp_sim_%llu\",\"object\":\"response\",\"created_at\":1700000000,",
               (unsigned long long)a->number);
    buf_printf(out, "\"status\":\"%s\",\"background\":false,\"error\":", status);
    buf_puts(out, strcmp(status, "failed") == 0
                      ? "{\"code\":\"server_error\",\"message\":\"The answer was blocked.\"}"
                      : "null");
    buf_puts(out, ",\"incomplete_details\":");
    if (strcmp(status, "incomplete") == 0)
        buf_printf(out, "{\"reason\":\"%s\"}",
                   strcmp(a->finish, "filter") == 0 ? "content_filter" : "max_output_tokens");
    else
        buf_puts(out, "null");
    buf_printf(out, ",\"model\":\"%s\",\"previous_response_id\":null", a->model.p);
    put_asked(a, out, "instructions", "null");
    put_asked(a, out, "max_output_tokens", "null");
    put_asked(a, out, "parallel_tool_calls", "true");
    put_asked(a, out, "reasoning", "{\"effort\":null,\"summary\":null}");
    put_asked(a, out, "store", "true");
    put_asked(a, out, "temperature", "1.0");
    put_asked(a, out, "text", "{\"format\":{\"type\":\"text\"}}");
    put_asked(a, out, "tool_choice", "\"auto\"");
    put_asked(a, out, "tools", "[]");
    put_asked(a, out, "top_p", "1.0");
    put_asked(a, out, "truncation", "\"disabled\"");
    put_asked(a, out, "metadata", "{}");
    buf_puts(out, ",\"output\":[");
    for (int i = 0; done && i < a->n_parts; i++) {
        if (i) buf_puts(out, ",");
        put_item(a, out, &a->parts[i], true);
    }
    buf_puts(out, "],\"usage\":");
    if (done && !a->b.nousage)
        put_usage(a, out);
    else
        buf_puts(out, "null");
    if (a->b.odd) buf_puts(out, " , \"x_number\" : 12345678901234567890.50");
    buf_puts(out, "}");
}

/* The start of an event's object; what follows begins with a comma. */
static void open_event(sim_answer *a, const char *type)
{
    buf_printf(&a->json, "{\"type\":\"%s\",\"sequence_number\":%lld", type,
               (long long)a->sequence++);
}

static void whole_event(sim_answer *a, buf *out, const char *type, bool done)
{
    open_event(a, type);
    buf_puts(&a->json, ",\"response\":");
    put_response(a, &a->json, done);
    buf_puts(&a->json, "}");
    sim_event(a, out, type);
}

static void begin(sim_answer *a, buf *out)
{
    whole_event(a, out, "response.created", false);
    whole_event(a, out, "response.in_progress", false);
}

static void item_event(sim_answer *a, buf *out, const char *type, const sim_part *p, bool full)
{
    open_event(a, type);
    buf_printf(&a->json, ",\"output_index\":%d,\"item\":", p->index);
    put_item(a, &a->json, p, full);
    buf_puts(&a->json, "}");
    sim_event(a, out, type);
}

/* An event about what is inside an item; the caller ends the object. */
static void open_inner(sim_answer *a, const char *type, const sim_part *p)
{
    static const char *const where[] = {",\"summary_index\":0", ",\"content_index\":0", ""};
    char id[48];
    item_id(a, p, id);
    open_event(a, type);
    buf_printf(&a->json, ",\"item_id\":\"%s\",\"output_index\":%d%s", id, p->index, where[p->kind]);
}

static bool quiet(const sim_answer *a, const sim_part *p)
{
    return p->kind == SIM_THINKING && !a->req->summary;
}

static void box_event(sim_answer *a, buf *out, const char *type, const sim_part *p, bool full)
{
    open_inner(a, type, p);
    buf_puts(&a->json, ",\"part\":");
    if (p->kind == SIM_WORDS) {
        put_text(a, &a->json, p, full);
    } else {
        buf_puts(&a->json, "{\"type\":\"summary_text\",\"text\":\"");
        if (full) sim_put_part(a, p, &a->json);
        buf_puts(&a->json, "\"}");
    }
    buf_puts(&a->json, "}");
    sim_event(a, out, type);
}

static void open_part(sim_answer *a, buf *out, sim_part *p)
{
    item_event(a, out, "response.output_item.added", p, false);
    if (p->kind == SIM_CALL || quiet(a, p)) return;
    box_event(a, out,
              p->kind == SIM_WORDS ? "response.content_part.added"
                                   : "response.reasoning_summary_part.added",
              p, false);
}

static const char *inner(const sim_answer *a, const sim_part *p, bool done)
{
    if (p->kind == SIM_THINKING)
        return done ? "response.reasoning_summary_text.done"
                    : "response.reasoning_summary_text.delta";
    if (p->kind == SIM_CALL)
        return done ? "response.function_call_arguments.done"
                    : "response.function_call_arguments.delta";
    if (refuses(a)) return done ? "response.refusal.done" : "response.refusal.delta";
    return done ? "response.output_text.done" : "response.output_text.delta";
}

static void delta(sim_answer *a, buf *out, sim_part *p)
{
    if (quiet(a, p)) return;
    open_inner(a, inner(a, p, false), p);
    buf_puts(&a->json, ",\"delta\":\"");
    buf_put(&a->json, a->piece.p, a->piece.n);
    buf_puts(&a->json, p->kind == SIM_WORDS && !refuses(a) ? "\",\"logprobs\":[]}" : "\"}");
    sim_event(a, out, inner(a, p, false));
}

static void close_part(sim_answer *a, buf *out, sim_part *p)
{
    if (!quiet(a, p)) {
        open_inner(a, inner(a, p, true), p);
        buf_printf(&a->json, ",\"%s\":\"",
                   p->kind == SIM_CALL                  ? "arguments"
                   : p->kind == SIM_WORDS && refuses(a) ? "refusal"
                                                        : "text");
        sim_put_part(a, p, &a->json);
        buf_puts(&a->json, "\"");
        if (p->kind == SIM_CALL) buf_printf(&a->json, ",\"name\":\"%s\"", p->name);
        if (p->kind == SIM_WORDS && !refuses(a)) buf_puts(&a->json, ",\"logprobs\":[]");
        buf_puts(&a->json, "}");
        sim_event(a, out, inner(a, p, true));
        if (p->kind != SIM_CALL)
            box_event(a, out,
                      p->kind == SIM_WORDS ? "response.content_part.done"
                                           : "response.reasoning_summary_part.done",
                      p, true);
    }
    item_event(a, out, "response.output_item.done", p, true);
}

static void end(sim_answer *a, buf *out)
{
    (void)a, (void)out;
}

static void marker(sim_answer *a, buf *out)
{
    const char *status = status_of(a);
    whole_event(a, out,
                strcmp(status, "failed") == 0       ? "response.failed"
                : strcmp(status, "incomplete") == 0 ? "response.incomplete"
                                                    : "response.completed",
                true);
}

static void plain(sim_answer *a, buf *out)
{
    put_response(a, out, true);
}

static void error(const sim_failure *f, uint64_t number, buf *out)
{
    sim_openai_ops.error(f, number, out);
}

static void error_event(sim_answer *a, buf *out)
{
    open_event(a, "error");
    buf_puts(&a->json,
             ",\"code\":\"server_error\",\"message\":\"The simulated provider was told to "
             "answer like this.\",\"param\":null}");
    sim_event(a, out, "error");
}

const sim_ops sim_responses_ops = {.stream_type = "text/event-stream",
                                   .begin = begin,
                                   .open = open_part,
                                   .delta = delta,
                                   .close = close_part,
                                   .end = end,
                                   .marker = marker,
                                   .plain = plain,
                                   .error = error,
                                   .error_event = error_event};
