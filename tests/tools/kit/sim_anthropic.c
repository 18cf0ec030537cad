/*  sim_anthropic.c - answers of /v1/messages. */
#include "sim_answer.h"

#include <stdlib.h>
#include <string.h>

static const char *stop_reason(const sim_answer *a)
{
    static const char *const words[][2] = {{"stop", "end_turn"},
                                           {"length", "max_tokens"},
                                           {"tool", "tool_use"},
                                           {"filter", "refusal"},
                                           {"blocked", "refusal"},
                                           {"pause", "pause_turn"},
                                           {"context", "model_context_window_exceeded"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(a->finish, words[i][0]) == 0) return words[i][1];
    return a->finish;
}

static void put_usage(const sim_answer *a, buf *out, int64_t made)
{
    int64_t fresh = a->in - a->b.cached - a->b.cache_write;
    buf_printf(out,
               "{\"input_tokens\":%lld,\"cache_creation_input_tokens\":%lld,"
               "\"cache_read_input_tokens\":%lld,\"cache_creation\":{"
               "\"ephemeral_5m_input_tokens\":%lld,\"ephemeral_1h_input_tokens\":0},"
               "\"output_tokens\":%lld,\"service_tier\":\"standard\"}",
               (long long)(fresh > 0 ? fresh : 0), (long long)a->b.cache_write,
               (long long)a->b.cached, (long long)a->b.cache_write, (long long)made);
}

static void put_stop(const sim_answer *a, buf *out)
{
    const json_t *stops = json_object_get(a->req->params, "stop_sequences");
    const char *first = json_string_value(json_array_get(stops, 0));
    bool stopped = strcmp(a->finish, "stop_sequence") == 0;
    buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(a));
    if (stopped) {
        buf_puts(out, "\"");
        buf_json_escape(out, sv_cstr(first ? first : "END"));
        buf_puts(out, "\"");
    } else {
        buf_puts(out, "null");
    }
}

static void message_head(sim_answer *a, buf *out)
{
    buf_printf(out,
               "{\"id\":\"msg_sim_%llu\",\"type\":\"message\",\"role\":\"assistant\","
               "\"model\":\"%s\",",
               (unsigned long long)a->number, a->model.p);
    if (a->b.odd) buf_puts(out, " \"x_number\" : 12345678901234567890.50 ,");
}

static void begin(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "{\"type\":\"message_start\",\"message\":");
    message_head(a, &a->json);
    buf_puts(&a->json, "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null");
    if (!a->b.nousage) {
        buf_puts(&a->json, ",\"usage\":");
        put_usage(a, &a->json, 1);
    }
    buf_puts(&a->json, "}}");
    sim_event(a, out, "message_start");
    buf_puts(&a->json, "{\"type\": \"ping\"}");
    sim_event(a, out, "ping");
}

/* The data of a redacted block is its own seal. */
static void put_redacted(buf *out)
{
    char seal[64];
    sim_sign("redacted", "", 0, seal);
    buf_printf(out, "{\"type\":\"redacted_thinking\",\"data\":\"%s\"}", seal);
}

static bool redacted(const sim_answer *a, const sim_part *p)
{
    return p->kind == SIM_THINKING && a->b.redacted;
}

static void open_part(sim_answer *a, buf *out, sim_part *p)
{
    buf_printf(&a->json,
               "{\"type\":\"content_block_start\",\"index\":%d,\"content_block\":", p->index);
    if (redacted(a, p))
        put_redacted(&a->json);
    else if (p->kind == SIM_THINKING)
        buf_puts(&a->json, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    else if (p->kind == SIM_WORDS)
        buf_puts(&a->json, "{\"type\":\"text\",\"text\":\"\"}");
    else
        buf_printf(&a->json, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"%s\",\"input\":{}}",
                   p->id, p->name);
    buf_puts(&a->json, "}");
    sim_event(a, out, "content_block_start");
}

static void delta(sim_answer *a, buf *out, sim_part *p)
{
    static const char *const types[][2] = {{"thinking_delta", "thinking"},
                                           {"text_delta", "text"},
                                           {"input_json_delta", "partial_json"}};
    if (redacted(a, p)) return;
    buf_printf(
        &a->json,
        "{\"type\":\"content_block_delta\",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":\"",
        p->index, types[p->kind][0], types[p->kind][1]);
    buf_put(&a->json, a->piece.p, a->piece.n);
    buf_puts(&a->json, "\"}}");
    sim_event(a, out, "content_block_delta");
}

static void close_part(sim_answer *a, buf *out, sim_part *p)
{
    if (p->kind == SIM_THINKING && !a->b.redacted) {
        buf_printf(&a->json,
                   "{\"type\":\"content_block_delta\",\"index\":%d,\"delta\":{\"type\":"
                   "\"signature_delta\",\"signature\":\"%s\"}}",
                   p->index, p->signature);
        sim_event(a, out, "content_block_delta");
    }
    buf_printf(&a->json, "{\"type\":\"content_block_stop\",\"index\":%d}", p->index);
    sim_event(a, out, "content_block_stop");
}

static void end(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "{\"type\":\"message_delta\",\"delta\":{");
    put_stop(a, &a->json);
    buf_puts(&a->json, "}");
    if (!a->b.nousage) {
        buf_puts(&a->json, ",\"usage\":");
        put_usage(a, &a->json, a->out);
    }
    buf_puts(&a->json, "}");
    sim_event(a, out, "message_delta");
}

static void marker(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "{\"type\":\"message_stop\"}");
    sim_event(a, out, "message_stop");
}

static void plain(sim_answer *a, buf *out)
{
    message_head(a, out);
    buf_puts(out, "\"content\":[");
    for (int i = 0; i < a->n_parts; i++) {
        const sim_part *p = &a->parts[i];
        if (i) buf_puts(out, ",");
        if (redacted(a, p)) {
            put_redacted(out);
        } else if (p->kind == SIM_CALL) {
            buf_printf(out,
                       "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"%s\",\"input\":", p->id,
                       p->name);
            sim_put_args(a, p, out);
            buf_puts(out, "}");
        } else {
            bool thought = p->kind == SIM_THINKING;
            buf_printf(out, "{\"type\":\"%s\",\"%s\":\"", thought ? "thinking" : "text",
                       thought ? "thinking" : "text");
            sim_put_part(a, p, out);
            buf_puts(out, "\"");
            if (thought) buf_printf(out, ",\"signature\":\"%s\"", p->signature);
            buf_puts(out, "}");
        }
    }
    buf_puts(out, "],");
    put_stop(a, out);
    if (!a->b.nousage) {
        buf_puts(out, ",\"usage\":");
        put_usage(a, out, a->out);
    }
    buf_puts(out, "}");
}

static const char *error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 504: return "timeout_error";
    case 503:
    case 529: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
    }
}

static void error(const sim_failure *f, uint64_t number, buf *out)
{
    json_t *o = json_pack("{s:s,s:{s:s,s:s}}", "type", "error", "error", "type",
                          error_type(f->status), "message", f->message);
    json_object_set_new(o, "request_id", json_sprintf("req-sim-%llu", (unsigned long long)number));
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    buf_puts(out, text ? text : "{}");
    free(text);
}

static void error_event(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
                       "\"Overloaded\"}}");
    sim_event(a, out, "error");
}

const sim_ops sim_anthropic_ops = {.stream_type = "text/event-stream",
                                   .begin = begin,
                                   .open = open_part,
                                   .delta = delta,
                                   .close = close_part,
                                   .end = end,
                                   .marker = marker,
                                   .plain = plain,
                                   .error = error,
                                   .error_event = error_event};
