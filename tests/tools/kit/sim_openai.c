/*  sim_openai.c - answers of /v1/chat/completions and /v1/completions. */
#include "sim_answer.h"

#include <stdlib.h>
#include <string.h>

static const char error_words[] = "The simulated provider was told to answer like this.";

static const char *finish_word(const sim_answer *a)
{
    static const char *const words[][2] = {{"tool", "tool_calls"}, {"filter", "content_filter"},
                                           {"refusal", "stop"},    {"stop_sequence", "stop"},
                                           {"context", "length"},  {"blocked", "content_filter"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(a->finish, words[i][0]) == 0) return words[i][1];
    return a->finish;
}

static bool refuses(const sim_answer *a)
{
    return strcmp(a->finish, "refusal") == 0;
}

static void put_usage(const sim_answer *a, buf *out)
{
    buf_printf(out,
               "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%lld%s",
               (long long)a->in, (long long)a->out, (long long)(a->in + a->out),
               (long long)a->b.cached, a->b.cache_write ? ",\"cache_write_tokens\":" : "");
    if (a->b.cache_write) buf_printf(out, "%lld", (long long)a->b.cache_write);
    buf_printf(out, "},\"completion_tokens_details\":{\"reasoning_tokens\":%lld}}",
               (long long)a->reasoning);
}

static void put_call(sim_answer *a, buf *out, const sim_part *p, bool whole)
{
    buf_puts(out, "{");
    if (!whole) buf_printf(out, "\"index\":%d,", p->call);
    buf_printf(out,
               "\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"%s\",\"arguments\":"
               "\"",
               p->id, p->name);
    if (whole) sim_put_part(a, p, out);
    buf_puts(out, "\"}}");
}

/* ---- chat, streamed ---- */

/* The beginning of all events is the same: made once. */
static void open_chunk(sim_answer *a)
{
    if (a->prefix.n == 0) {
        buf_printf(&a->prefix,
                   "{\"id\":\"chatcmpl-sim-%llu\",\"object\":\"chat.completion.chunk\","
                   "\"created\":1700000000,\"model\":\"%s\",",
                   (unsigned long long)a->number, a->model.p);
        if (a->b.odd)
            buf_puts(&a->prefix, " \"x_number\" : 1.50e+3 , \"x_big\":12345678901234567890,");
    }
    buf_put(&a->json, a->prefix.p, a->prefix.n);
}

static void close_chunk(sim_answer *a, buf *out, const char *finish)
{
    if (finish)
        buf_printf(&a->json, "},\"logprobs\":null,\"finish_reason\":\"%s\"}]", finish);
    else
        buf_puts(&a->json, "},\"logprobs\":null,\"finish_reason\":null}]");
    buf_puts(&a->json, a->req->want_usage && !a->b.nousage ? ",\"usage\":null}" : "}");
    sim_event(a, out, NULL);
}

static void open_delta(sim_answer *a)
{
    open_chunk(a);
    buf_puts(&a->json, "\"choices\":[{\"index\":0,\"delta\":{");
}

static void begin(sim_answer *a, buf *out)
{
    open_delta(a);
    buf_puts(&a->json, "\"role\":\"assistant\",\"content\":\"\"");
    close_chunk(a, out, NULL);
}

static void open_part(sim_answer *a, buf *out, sim_part *p)
{
    if (p->kind != SIM_CALL) return;
    open_delta(a);
    buf_puts(&a->json, "\"tool_calls\":[");
    put_call(a, &a->json, p, false);
    buf_puts(&a->json, "]");
    close_chunk(a, out, NULL);
}

static void delta(sim_answer *a, buf *out, sim_part *p)
{
    open_delta(a);
    if (p->kind == SIM_CALL)
        buf_printf(&a->json, "\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":\"",
                   p->call);
    else if (p->kind == SIM_THINKING)
        buf_puts(&a->json, "\"reasoning_content\":\"");
    else
        buf_puts(&a->json, refuses(a) ? "\"refusal\":\"" : "\"content\":\"");
    buf_put(&a->json, a->piece.p, a->piece.n);
    buf_puts(&a->json, p->kind == SIM_CALL ? "\"}}]" : "\"");
    if (a->b.odd && p->kind == SIM_WORDS)
        buf_puts(&a->json, ", \"reasoning_content\" :\"\\u00e9\"");
    close_chunk(a, out, NULL);
}

static void close_part(sim_answer *a, buf *out, sim_part *p)
{
    (void)a, (void)out, (void)p;
}

static void end(sim_answer *a, buf *out)
{
    open_delta(a);
    close_chunk(a, out, finish_word(a));
    if (!a->req->want_usage || a->b.nousage) return;
    open_chunk(a);
    buf_puts(&a->json, "\"choices\":[],\"usage\":");
    put_usage(a, &a->json);
    buf_puts(&a->json, "}");
    sim_event(a, out, NULL);
}

static void marker(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "[DONE]");
    sim_event(a, out, NULL);
}

static void error_event(sim_answer *a, buf *out)
{
    buf_printf(&a->json,
               "{\"error\":{\"message\":\"%s\",\"type\":\"server_error\",\"param\":null,\"code\":"
               "\"sim_error\"}}",
               error_words);
    sim_event(a, out, NULL);
}

/* ---- chat, plain ---- */

static void plain(sim_answer *a, buf *out)
{
    const sim_part *words = sim_part_of(a, SIM_WORDS), *thinking = sim_part_of(a, SIM_THINKING);
    buf_printf(out,
               "{\"id\":\"chatcmpl-sim-%llu\",\"object\":\"chat.completion\","
               "\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":"
               "{\"role\":\"assistant\",",
               (unsigned long long)a->number, a->model.p);
    if (refuses(a)) buf_puts(out, "\"content\":null,");
    if (words || !a->n_calls) {
        buf_puts(out, refuses(a) ? "\"refusal\":\"" : "\"content\":\"");
        if (words) sim_put_part(a, words, out);
        buf_puts(out, "\"");
    } else {
        buf_puts(out, "\"content\":null");
    }
    if (thinking) {
        buf_puts(out, ",\"reasoning_content\":\"");
        sim_put_part(a, thinking, out);
        buf_puts(out, "\"");
    }
    for (int i = 0; i < a->n_parts; i++) {
        if (a->parts[i].kind != SIM_CALL) continue;
        buf_puts(out, a->parts[i].call ? "," : ",\"tool_calls\":[");
        put_call(a, out, &a->parts[i], true);
    }
    buf_printf(out, "%s},\"logprobs\":null,\"finish_reason\":\"%s\"}]", a->n_calls ? "]" : "",
               finish_word(a));
    if (!a->b.nousage) {
        buf_puts(out, ",\"usage\":");
        put_usage(a, out);
    }
    if (a->b.odd) buf_puts(out, " , \"x_number\" : 12345678901234567890.50 ,\"x_list\":[ ]");
    buf_puts(out, "}");
}

static void error(const sim_failure *f, uint64_t number, buf *out)
{
    (void)number;
    json_t *o = json_pack("{s:{s:s,s:s,s:o,s:o}}", "error", "message", f->message, "type",
                          f->status == 429   ? "rate_limit_error"
                          : f->status == 401 ? "authentication_error"
                          : f->status == 402 ? "insufficient_quota"
                          : f->status == 403 ? "permission_error"
                          : f->status < 500  ? "invalid_request_error"
                                             : "server_error",
                          "param", f->param[0] ? json_string(f->param) : json_null(), "code",
                          f->code[0] ? json_string(f->code) : json_null());
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    buf_puts(out, text ? text : "{}");
    free(text);
}

const sim_ops sim_openai_ops = {.stream_type = "text/event-stream",
                                .begin = begin,
                                .open = open_part,
                                .delta = delta,
                                .close = close_part,
                                .end = end,
                                .marker = marker,
                                .plain = plain,
                                .error = error,
                                .error_event = error_event};

/* ---- /v1/completions ---- */

static void text_head(sim_answer *a, buf *out)
{
    buf_printf(out,
               "{\"id\":\"cmpl-sim-%llu\",\"object\":\"text_completion\",\"created\":1700000000,"
               "\"model\":\"%s\",\"choices\":[",
               (unsigned long long)a->number, a->model.p);
}

static void text_choice(sim_answer *a, buf *out, const char *finish)
{
    text_head(a, &a->json);
    buf_puts(&a->json, "{\"index\":0,\"text\":\"");
    if (!finish) buf_put(&a->json, a->piece.p, a->piece.n);
    buf_puts(&a->json, "\",\"logprobs\":null,\"finish_reason\":");
    if (finish)
        buf_printf(&a->json, "\"%s\"}]", finish);
    else
        buf_puts(&a->json, "null}]");
    buf_puts(&a->json, a->req->want_usage && !a->b.nousage ? ",\"usage\":null}" : "}");
    sim_event(a, out, NULL);
}

static void text_nothing(sim_answer *a, buf *out)
{
    (void)a, (void)out;
}

static void text_delta(sim_answer *a, buf *out, sim_part *p)
{
    (void)p;
    text_choice(a, out, NULL);
}

static void text_end(sim_answer *a, buf *out)
{
    text_choice(a, out, finish_word(a));
    if (!a->req->want_usage || a->b.nousage) return;
    text_head(a, &a->json);
    buf_puts(&a->json, "],\"usage\":");
    put_usage(a, &a->json);
    buf_puts(&a->json, "}");
    sim_event(a, out, NULL);
}

static void text_plain(sim_answer *a, buf *out)
{
    const sim_part *words = sim_part_of(a, SIM_WORDS);
    text_head(a, out);
    buf_puts(out, "{\"index\":0,\"text\":\"");
    if (words) sim_put_part(a, words, out);
    buf_printf(out, "\",\"logprobs\":null,\"finish_reason\":\"%s\"}]", finish_word(a));
    if (!a->b.nousage) {
        buf_puts(out, ",\"usage\":");
        put_usage(a, out);
    }
    buf_puts(out, "}");
}

const sim_ops sim_text_ops = {.stream_type = "text/event-stream",
                              .begin = text_nothing,
                              .open = close_part,
                              .delta = text_delta,
                              .close = close_part,
                              .end = text_end,
                              .marker = marker,
                              .plain = text_plain,
                              .error = error,
                              .error_event = error_event};
