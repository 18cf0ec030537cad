/*  sim_answer.c - a streamed answer passes START, HEAD, ROLE, TOKENS, TAIL; a plain one is made at
 *  once from HEAD. Endless and oversized answers are made in pieces of at most 64 KiB. */
#include "sim_answer.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = 65536, BIG_EVENT = 2 << 20, OVERSIZED = 32 << 20, TOKEN_BYTES = 4096 };

static const char error_words[] = "The simulated provider was told to answer like this.";

void sim_answer_start(sim_answer *a, const sim_behaviour *b, bool stream, bool include_usage,
                      const char *model, uint64_t number)
{
    memset(a, 0, sizeof *a);
    a->b = *b;
    a->stream = stream && b->fault != SIM_nostream;
    a->include_usage = include_usage;
    a->number = number;
    buf escaped;
    buf_init(&escaped, sizeof a->model - 1);
    if (buf_json_escape(&escaped, sv_cstr(model)) == 0 && escaped.n)
        memcpy(a->model, escaped.p, escaped.n);
    buf_free(&escaped);
    if (a->b.size == 0) a->b.size = b->fault == SIM_bigevent ? BIG_EVENT : OVERSIZED;
    if (b->fault == SIM_oversized) a->b.tokens = stream ? a->b.size / TOKEN_BYTES + 1 : a->b.tokens;
    if (b->fault == SIM_endless) a->b.tokens = INT64_MAX;
    if (b->fault == SIM_html && b->status == 0) a->b.status = 502;
}

static const char *reason(int64_t status)
{
    static const struct {
        int status;
        const char *words;
    } table[] = {{200, "OK"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {429, "Too Many Requests"},
                 {500, "Internal Server Error"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {529, "Overloaded"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == status) return table[i].words;
    return "Status";
}

static void put_head(const sim_answer *a, buf *out, int64_t status, const char *type,
                     int64_t length)
{
    buf_printf(out, "HTTP/1.1 %lld %s\r\nContent-Type: %s\r\nx-request-id: req-sim-%llu\r\n",
               (long long)status, reason(status), type, (unsigned long long)a->number);
    if (a->b.retry_after[0]) buf_printf(out, "Retry-After: %s\r\n", a->b.retry_after);
    if (length >= 0)
        buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
    else if (length == -1 && !a->b.close_framing)
        buf_puts(out, "Transfer-Encoding: chunked\r\n");
    else
        buf_puts(out, "Connection: close\r\n");
    buf_puts(out, "\r\n");
}

/* The content of token `i`, JSON-escaped. */
static void put_token(const sim_answer *a, buf *out, int64_t i)
{
    static const char *const wide[] = {"\xc3\xa9", "\xe6\xbc\xa2", "\xf0\x9f\xab\x96"};
    bool here = i == a->b.at;
    if (here && a->b.fault == SIM_badutf8) {
        buf_puts(out, "bad \xff\xc0\xaf end");
    } else if ((here && a->b.fault == SIM_bigevent) || a->b.fault == SIM_oversized) {
        int64_t n = a->b.fault == SIM_bigevent ? a->b.size : TOKEN_BYTES;
        char block[1024];
        memset(block, 'x', sizeof block);
        for (; n > 0; n -= (int64_t)sizeof block)
            buf_put(out, block, n < (int64_t)sizeof block ? (size_t)n : sizeof block);
    } else if (a->b.unicode) {
        buf_puts(out, wide[i % 3]);
    } else {
        buf_printf(out, "%stok%lld", i ? " " : "", (long long)i);
    }
}

static void put_usage(const sim_answer *a, buf *out)
{
    buf_printf(out,
               "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
               "\"prompt_tokens_details\":{\"cached_tokens\":0},"
               "\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
               (long long)a->b.prompt, (long long)a->b.tokens,
               (long long)(a->b.prompt + a->b.tokens));
}

/* ---- plain answers ---- */

static void put_completion(const sim_answer *a, buf *out)
{
    buf_printf(out,
               "{\"id\":\"chatcmpl-sim-%llu\",\"object\":\"chat.completion\","
               "\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":"
               "{\"role\":\"assistant\",\"content\":\"",
               (unsigned long long)a->number, a->model);
    if (a->b.fault == SIM_oversized) {
        char block[1024];
        memset(block, 'x', sizeof block);
        for (int64_t n = a->b.size; n > 0; n -= (int64_t)sizeof block)
            buf_put(out, block, sizeof block);
    } else {
        for (int64_t i = 0; i < a->b.tokens; i++)
            put_token(a, out, i);
    }
    buf_puts(out, "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":");
    put_usage(a, out);
    if (a->b.odd) buf_puts(out, " , \"x_number\" : 12345678901234567890.50 ,\"x_list\":[ ]");
    buf_puts(out, "}");
}

static sim_after plain(sim_answer *a, buf *out)
{
    buf body;
    buf_init(&body, SIZE_MAX / 2);
    put_completion(a, &body);
    sim_after after = SIM_KEEP;
    size_t n = body.n;
    switch ((int)a->b.fault) {
    case SIM_cut:
    case SIM_cutreset:
    case SIM_silent:
        n /= 2;
        after = a->b.fault == SIM_cut        ? SIM_CLOSE
                : a->b.fault == SIM_cutreset ? SIM_RESET
                                             : SIM_SILENCE;
        break;
    case SIM_badjson:
        n -= 2; /* the length is right, the braces are missing */
        body.n = n;
        break;
    default: break;
    }
    bool by_close = a->b.fault == SIM_noend || a->b.close_framing;
    put_head(a, out, 200, "application/json", by_close ? -2 : (int64_t)body.n);
    buf_put(out, body.p, n);
    buf_free(&body);
    return by_close && after == SIM_KEEP ? SIM_CLOSE : after;
}

static sim_after error_answer(sim_answer *a, buf *out)
{
    char body[1024];
    int n;
    if (a->b.fault == SIM_html)
        n = snprintf(body, sizeof body,
                     "<!DOCTYPE html>\n<html><head><title>%lld %s</title></head>\n<body><h1>%s</h1>"
                     "<p>%s</p></body></html>\n",
                     (long long)a->b.status, reason(a->b.status), reason(a->b.status), error_words);
    else
        n = snprintf(body, sizeof body,
                     "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":"
                     "\"sim_%lld\"}}",
                     error_words,
                     a->b.status == 429   ? "rate_limit_error"
                     : a->b.status == 401 ? "authentication_error"
                     : a->b.status < 500  ? "invalid_request_error"
                                          : "server_error",
                     (long long)a->b.status);
    put_head(a, out, a->b.status, a->b.fault == SIM_html ? "text/html" : "application/json", n);
    buf_put(out, body, (size_t)n);
    return SIM_KEEP;
}

/* ---- streams ---- */

/* Events collect in `events` and leave as one chunk. */
static void put_chunk(const sim_answer *a, buf *out, const buf *events)
{
    if (events->n == 0) return;
    if (!a->b.close_framing) buf_printf(out, "%zx\r\n", events->n);
    buf_put(out, events->p, events->n);
    if (!a->b.close_framing) buf_puts(out, "\r\n");
}

static void end_event(const sim_answer *a, buf *out)
{
    const char *eol = a->b.crlf ? "\r\n" : "\n";
    buf_puts(out, eol);
    buf_puts(out, eol);
    if (a->b.comments) buf_printf(out, ": still here%s%s", eol, eol);
}

static void open_chunk_object(const sim_answer *a, buf *out)
{
    buf_printf(out,
               "data: {\"id\":\"chatcmpl-sim-%llu\",\"object\":\"chat.completion.chunk\","
               "\"created\":1700000000,\"model\":\"%s\",",
               (unsigned long long)a->number, a->model);
    if (a->b.odd) buf_puts(out, " \"x_number\" : 1.50e+3 , \"x_big\":12345678901234567890,");
}

static void close_chunk_object(const sim_answer *a, buf *out)
{
    buf_puts(out, a->include_usage ? ",\"usage\":null}" : "}");
    end_event(a, out);
}

static void put_delta(const sim_answer *a, buf *out, const char *finish)
{
    if (finish)
        buf_printf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}]", finish);
    else
        buf_puts(out, "},\"logprobs\":null,\"finish_reason\":null}]");
    close_chunk_object(a, out);
}

static void put_token_event(const sim_answer *a, buf *out, int64_t i)
{
    open_chunk_object(a, out);
    buf_puts(out, "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
    put_token(a, out, i);
    buf_puts(out, "\"");
    if (a->b.odd) buf_puts(out, ", \"reasoning_content\" :\"\\u00e9\"");
    if (i == a->b.at && a->b.fault == SIM_badjson) {
        buf_puts(out, "}, oops");
        end_event(a, out);
        return;
    }
    put_delta(a, out, NULL);
}

/* True when the answer ends here. */
static bool fault_before(sim_answer *a, buf *events, sim_after *after)
{
    if (a->token != a->b.at) return false;
    switch ((int)a->b.fault) {
    case SIM_silent: *after = SIM_SILENCE; return true;
    case SIM_cut: *after = SIM_CLOSE; return true;
    case SIM_cutreset: *after = SIM_RESET; return true;
    case SIM_errorevent:
        buf_printf(events,
                   "data: {\"error\":{\"message\":\"%s\",\"type\":\"server_error\",\"param\":null,"
                   "\"code\":\"sim_error\"}}",
                   error_words);
        end_event(a, events);
        a->phase = SIM_TAIL;
        return false;
    default: return false;
    }
}

static sim_after tokens(sim_answer *a, buf *out, uint64_t *wait_ms)
{
    buf events;
    buf_init(&events, SIZE_MAX / 2);
    sim_after after = SIM_GO_ON;
    bool over = false;
    for (int64_t n = 0; n < a->b.batch && !over && a->phase == SIM_TOKENS; n++) {
        if (a->token >= a->b.tokens) {
            a->phase = SIM_TAIL;
            break;
        }
        over = fault_before(a, &events, &after);
        if (!over && a->phase == SIM_TOKENS) put_token_event(a, &events, a->token++);
        if (events.n >= PIECE) break;
    }
    put_chunk(a, out, &events);
    buf_free(&events);
    *wait_ms = a->phase == SIM_TOKENS && a->token < a->b.tokens ? (uint64_t)a->b.gap_ms : 0;
    return after;
}

static sim_after tail(sim_answer *a, buf *out)
{
    buf events;
    buf_init(&events, SIZE_MAX / 2);
    if (a->b.fault != SIM_errorevent) {
        open_chunk_object(a, &events);
        buf_puts(&events, "\"choices\":[{\"index\":0,\"delta\":{");
        put_delta(a, &events, "stop");
        if (a->include_usage) {
            open_chunk_object(a, &events);
            buf_puts(&events, "\"choices\":[],\"usage\":");
            put_usage(a, &events);
            buf_puts(&events, "}");
            end_event(a, &events);
        }
    }
    if (a->b.fault != SIM_noend) {
        buf_puts(&events, "data: [DONE]");
        end_event(a, &events);
    }
    put_chunk(a, out, &events);
    buf_free(&events);
    if (!a->b.close_framing) buf_puts(out, "0\r\n\r\n");
    return a->b.close_framing ? SIM_CLOSE : SIM_KEEP;
}

/* ---- phases ---- */

static sim_after endless_filler(buf *out, const char *line)
{
    while (out->n < PIECE / 2)
        buf_puts(out, line);
    return SIM_GO_ON;
}

static sim_after head(sim_answer *a, buf *out, uint64_t *wait_ms)
{
    static const char junk[] = "\x16\x03\x01 this is not HTTP \x00\xff\xfe\r\n\r\n";
    switch ((int)a->b.fault) {
    case SIM_reset: return SIM_RESET;
    case SIM_close: return SIM_CLOSE;
    case SIM_hang: return SIM_SILENCE;
    case SIM_garbage: buf_put(out, junk, sizeof junk - 1); return SIM_CLOSE;
    case SIM_headers:
        if (a->token++ == 0) buf_puts(out, "HTTP/1.1 200 OK\r\n");
        *wait_ms = 1;
        return endless_filler(out, "X-Filler: abcdefghijklmnopqrstuvwxyz\r\n");
    default: break;
    }
    if (a->b.status && (a->b.status != 200 || a->b.fault == SIM_html)) return error_answer(a, out);
    if (!a->stream && a->b.fault == SIM_endless) {
        if (a->token++ == 0) {
            a->b.close_framing = 1;
            put_head(a, out, 200, "application/json", -2);
            buf_puts(out, "{\"choices\":[{\"message\":{\"content\":\"");
        }
        *wait_ms = (uint64_t)a->b.gap_ms;
        return endless_filler(out, "and so on ");
    }
    if (!a->stream) return plain(a, out);
    put_head(a, out, 200, "text/event-stream", -1);
    a->phase = SIM_ROLE;
    *wait_ms = a->b.head_early ? (uint64_t)a->b.first_ms : 0;
    return SIM_GO_ON;
}

static sim_after role(sim_answer *a, buf *out)
{
    buf events;
    buf_init(&events, PIECE);
    open_chunk_object(a, &events);
    buf_puts(&events,
             "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"");
    put_delta(a, &events, NULL);
    put_chunk(a, out, &events);
    buf_free(&events);
    a->phase = SIM_TOKENS;
    return SIM_GO_ON;
}

sim_after sim_answer_next(sim_answer *a, buf *out, uint64_t *wait_ms)
{
    *wait_ms = 0;
    switch (a->phase) {
    case SIM_START:
        a->phase = SIM_HEAD;
        *wait_ms = a->b.head_early && a->stream ? 0 : (uint64_t)a->b.first_ms;
        return SIM_GO_ON;
    case SIM_HEAD: return head(a, out, wait_ms);
    case SIM_ROLE: return role(a, out);
    case SIM_TOKENS: return tokens(a, out, wait_ms);
    case SIM_TAIL: return tail(a, out);
    }
    return SIM_CLOSE;
}
