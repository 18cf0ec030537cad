/*  sim_gemini.c - answers of Gemini: every event is a whole GenerateContentResponse. */
#include "sim_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *finish_word(const sim_answer *a)
{
    static const char *const words[][2] = {{"stop", "STOP"},
                                           {"tool", "STOP"},
                                           {"length", "MAX_TOKENS"},
                                           {"filter", "SAFETY"},
                                           {"stop_sequence", "STOP"},
                                           {"context", "MAX_TOKENS"},
                                           {"refusal", "PROHIBITED_CONTENT"},
                                           {"pause", "OTHER"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(a->finish, words[i][0]) == 0) return words[i][1];
    return a->finish;
}

static bool blocked(const sim_answer *a)
{
    return a->b.policy || strcmp(a->finish, "blocked") == 0;
}

static void put_part(sim_answer *a, buf *out, const sim_part *p, bool whole)
{
    if (p->kind == SIM_CALL) {
        buf_printf(out, "{\"functionCall\":{\"name\":\"%s\",\"args\":", p->name);
        sim_put_args(a, p, out);
        buf_puts(out, "}");
        if (a->b.thinking && p->call == 0)
            buf_printf(out, ",\"thoughtSignature\":\"%s\"", p->signature);
        buf_puts(out, "}");
        return;
    }
    buf_puts(out, "{\"text\":\"");
    if (whole)
        sim_put_part(a, p, out);
    else
        buf_put(out, a->piece.p, a->piece.n);
    buf_puts(out, p->kind == SIM_THINKING ? "\",\"thought\":true}" : "\"}");
}

static void put_usage(const sim_answer *a, buf *out, int64_t made)
{
    if (a->b.nousage) return;
    buf_printf(out, ",\"usageMetadata\":{\"promptTokenCount\":%lld", (long long)a->in);
    if (a->b.cached) buf_printf(out, ",\"cachedContentTokenCount\":%lld", (long long)a->b.cached);
    if (made >= 0) {
        buf_printf(out, ",\"candidatesTokenCount\":%lld", (long long)made);
        if (a->reasoning) buf_printf(out, ",\"thoughtsTokenCount\":%lld", (long long)a->reasoning);
    }
    buf_printf(out, ",\"totalTokenCount\":%lld}",
               (long long)(a->in + (made < 0 ? 0 : made + a->reasoning)));
}

static void put_rest(const sim_answer *a, buf *out)
{
    buf_printf(out, ",\"modelVersion\":\"%s\",\"responseId\":\"sim-%llu\"", a->model.p,
               (unsigned long long)a->number);
    if (a->b.odd) buf_puts(out, " , \"xNumber\" : 12345678901234567890.50");
    buf_puts(out, "}");
}

static void put_blocked(const sim_answer *a, buf *out)
{
    buf_puts(out, "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"}");
    put_usage(a, out, -1);
    put_rest(a, out);
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
    if (blocked(a)) return;
    buf_puts(&a->json, "{\"candidates\":[{\"content\":{\"parts\":[");
    put_part(a, &a->json, p, false);
    buf_puts(&a->json, "],\"role\":\"model\"},\"index\":0}]");
    put_usage(a, &a->json, -1);
    put_rest(a, &a->json);
    sim_event(a, out, NULL);
}

/* The finish reason comes with the last response; noend leaves all of it out. */
static void marker(sim_answer *a, buf *out)
{
    if (blocked(a)) {
        put_blocked(a, &a->json);
    } else {
        buf_printf(&a->json,
                   "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},"
                   "\"finishReason\":\"%s\",\"index\":0}]",
                   finish_word(a));
        put_usage(a, &a->json, a->out - a->reasoning);
        put_rest(a, &a->json);
    }
    sim_event(a, out, NULL);
    if (!a->req->sse) buf_puts(out, "]");
}

static void plain(sim_answer *a, buf *out)
{
    if (blocked(a)) {
        put_blocked(a, out);
        return;
    }
    buf_puts(out, "{\"candidates\":[{");
    if (a->n_parts) buf_puts(out, "\"content\":{\"parts\":[");
    for (int i = 0; i < a->n_parts; i++) {
        if (i) buf_puts(out, ",");
        put_part(a, out, &a->parts[i], true);
    }
    if (a->n_parts) buf_puts(out, "],\"role\":\"model\"},");
    buf_printf(out, "\"finishReason\":\"%s\",\"index\":0}]", finish_word(a));
    put_usage(a, out, a->out - a->reasoning);
    put_rest(a, out);
}

static const char *status_word(int status)
{
    switch (status) {
    case 400: return "INVALID_ARGUMENT";
    case 401: return "UNAUTHENTICATED";
    case 402:
    case 403: return "PERMISSION_DENIED";
    case 404: return "NOT_FOUND";
    case 429: return "RESOURCE_EXHAUSTED";
    case 503: return "UNAVAILABLE";
    case 504: return "DEADLINE_EXCEEDED";
    default: return "INTERNAL";
    }
}

static void error(const sim_failure *f, uint64_t number, buf *out)
{
    (void)number;
    json_t *o = json_pack("{s:{s:i,s:s,s:s}}", "error", "code", f->status, "message", f->message,
                          "status", status_word(f->status));
    if (f->param[0])
        json_object_set_new(
            json_object_get(o, "error"), "details",
            json_pack("[{s:s,s:[{s:s,s:s}]}]", "@type", "type.googleapis.com/google.rpc.BadRequest",
                      "fieldViolations", "field", f->param, "description", f->message));
    if (f->status == 401 || (f->status == 400 && strncmp(f->message, "API key", 7) == 0))
        json_object_set_new(json_object_get(o, "error"), "details",
                            json_pack("[{s:s,s:s,s:s}]", "@type",
                                      "type.googleapis.com/google.rpc.ErrorInfo", "reason",
                                      "API_KEY_INVALID", "domain", "googleapis.com"));
    char *text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    buf_puts(out, text ? text : "{}");
    free(text);
}

static void error_event(sim_answer *a, buf *out)
{
    buf_puts(&a->json, "{\"error\":{\"code\":503,\"message\":\"The model is overloaded. Please try "
                       "again later.\",\"status\":\"UNAVAILABLE\"}}");
    sim_event(a, out, NULL);
    if (!a->req->sse) buf_puts(out, "]");
}

const sim_ops sim_gemini_ops = {.stream_type = "text/event-stream",
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
