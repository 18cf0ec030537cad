/*  sim_answer.c - a streamed answer passes START, HEAD, BEGIN, PARTS, TAIL; a plain one is made at
 *  once from HEAD. Endless and oversized answers are made in pieces of at most 64 KiB. */
#include "sim_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE = 65536, TOKEN_BYTES = 4096, LITERAL = 12 };

static const char error_words[] = "The simulated provider was told to answer like this.";

/* ---- heads ---- */

static const char *reason(int64_t status)
{
    static const struct {
        int status;
        const char *words;
    } table[] = {{200, "OK"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {402, "Payment Required"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {413, "Payload Too Large"},
                 {429, "Too Many Requests"},
                 {500, "Internal Server Error"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {529, "Overloaded"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == status) return table[i].words;
    return "Status";
}

static void put_retry(const sim_behaviour *b, buf *out)
{
    if (strncmp(b->retry_after, "date:", 5) == 0) {
        char text[64];
        struct tm tm;
        time_t t = time(NULL) + atoi(b->retry_after + 5);
        gmtime_r(&t, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        buf_printf(out, "Retry-After: %s\r\n", text);
    } else if (b->retry_after[0]) {
        buf_printf(out, "Retry-After: %s\r\n", b->retry_after);
    }
    if (b->retry_after_ms)
        buf_printf(out, "retry-after-ms: %lld\r\n", (long long)b->retry_after_ms);
    if (b->should_retry[0]) buf_printf(out, "x-should-retry: %s\r\n", b->should_retry);
}

/* length: -1: chunked unless close_framing; -2: until the connection ends */
static void put_head(const sim_request *r, const sim_behaviour *b, uint64_t number, buf *out,
                     int64_t status, const char *type, int64_t length)
{
    buf_printf(out, "HTTP/1.1 %lld %s\r\nContent-Type: %s\r\n%s: req-sim-%llu\r\n",
               (long long)status, reason(status), type,
               r->format == SIM_ANTHROPIC ? "request-id" : "x-request-id",
               (unsigned long long)number);
    put_retry(b, out);
    if (length >= 0)
        buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
    else if (length == -1 && !b->close_framing)
        buf_puts(out, "Transfer-Encoding: chunked\r\n");
    else
        buf_puts(out, "Connection: close\r\n");
    buf_puts(out, "\r\n");
}

void sim_failed(const sim_request *r, const sim_behaviour *b, const sim_failure *f, uint64_t number,
                buf *out)
{
    buf body;
    buf_init(&body, PIECE);
    sim_ops_of(r->format)->error(f, number, &body);
    put_head(r, b, number, out, f->status, "application/json", (int64_t)body.n);
    buf_put(out, body.p, body.n);
    buf_free(&body);
}

/* ---- what is in a part ---- */

/* The content of token `i`, JSON-escaped. */
static void put_token(const sim_answer *a, const sim_part *p, buf *out, int64_t i)
{
    static const char *const wide[] = {"\xc3\xa9", "\xe6\xbc\xa2", "\xf0\x9f\xab\x96"};
    bool here = i == a->b.at && p->kind == SIM_WORDS;
    if (here && a->b.fault == SIM_badutf8) {
        buf_puts(out, "bad \xff\xc0\xaf end");
    } else if ((here && a->b.fault == SIM_bigevent) ||
               (p->kind == SIM_WORDS && a->b.fault == SIM_oversized)) {
        int64_t n = a->b.fault == SIM_bigevent ? a->b.size : TOKEN_BYTES;
        char block[1024];
        memset(block, 'x', sizeof block);
        for (; n > 0; n -= (int64_t)sizeof block)
            buf_put(out, block, n < (int64_t)sizeof block ? (size_t)n : sizeof block);
    } else if (a->b.unicode) {
        buf_puts(out, wide[i % 3]);
    } else {
        buf_printf(out, "%s%s%lld", i ? " " : "", p->kind == SIM_THINKING ? "hm" : "tok",
                   (long long)i);
    }
}

void sim_put_part(sim_answer *a, const sim_part *p, buf *out)
{
    if (p->text) {
        buf_json_escape(out, (sv_str){p->text, (uint32_t)p->n});
        return;
    }
    for (int64_t i = 0; i < p->tokens; i++)
        put_token(a, p, out, i);
}

void sim_put_args(sim_answer *a, const sim_part *p, buf *out)
{
    bool broken = a->b.badtools == 1;
    if (broken) buf_puts(out, "\"");
    if (broken)
        sim_put_part(a, p, out);
    else
        buf_put(out, p->text, p->n);
    if (broken) buf_puts(out, "\"");
}

sim_part *sim_part_of(sim_answer *a, sim_kind kind)
{
    for (int i = 0; i < a->n_parts; i++)
        if (a->parts[i].kind == kind) return &a->parts[i];
    return NULL;
}

/* The next piece of a part into a->piece; characters stay whole. False when there is none. */
static bool take_piece(sim_answer *a, const sim_part *p)
{
    buf_reset(&a->piece, PIECE);
    if (!p->text) {
        if (a->made >= p->tokens) return false;
        put_token(a, p, &a->piece, a->made++);
        return true;
    }
    size_t from = (size_t)a->made, to = from + LITERAL;
    if (from >= p->n) return false;
    if (to > p->n || (p->kind == SIM_CALL && a->ops->whole_calls)) to = p->n;
    while (to < p->n && ((unsigned char)p->text[to] & 0xc0) == 0x80)
        to++;
    buf_json_escape(&a->piece, (sv_str){p->text + from, (uint32_t)(to - from)});
    a->made = (int64_t)to;
    return true;
}

/* ---- events ---- */

static void end_event(const sim_answer *a, buf *out)
{
    const char *eol = a->b.crlf ? "\r\n" : "\n";
    buf_puts(out, eol);
    buf_puts(out, eol);
    if (a->b.comments) buf_printf(out, ": still here%s%s", eol, eol);
}

void sim_event(sim_answer *a, buf *out, const char *name)
{
    if (a->spoil && a->json.n > 3) {
        a->json.n -= 3;
        buf_puts(&a->json, ", oops");
        a->spoil = false;
    }
    if (a->req->format == SIM_OLLAMA) {
        buf_put(out, a->json.p, a->json.n);
        buf_puts(out, a->b.crlf ? "\r\n" : "\n");
    } else if (a->req->format == SIM_GEMINI && !a->req->sse) {
        buf_puts(out, a->sequence++ ? ",\r\n" : "[");
        buf_put(out, a->json.p, a->json.n);
    } else {
        if (name) buf_printf(out, "event: %s%s", name, a->b.crlf ? "\r\n" : "\n");
        buf_puts(out, "data: ");
        buf_put(out, a->json.p, a->json.n);
        end_event(a, out);
    }
    buf_reset(&a->json, PIECE);
}

/* The events leave as one chunk. */
static void put_chunk(sim_answer *a, buf *out)
{
    if (a->events.n && !a->b.close_framing) buf_printf(out, "%zx\r\n", a->events.n);
    buf_put(out, a->events.p, a->events.n);
    if (a->events.n && !a->b.close_framing) buf_puts(out, "\r\n");
    buf_reset(&a->events, PIECE);
}

/* ---- plain answers ---- */

static sim_after plain(sim_answer *a, buf *out)
{
    buf *body = &a->fixed;
    bool made = body->n == 0;
    if (made) a->ops->plain(a, body);
    while (!made && a->b.fault == SIM_oversized && (int64_t)body->n < a->b.size)
        buf_puts(body, "                                                                ");
    if (a->b.fault == SIM_nobody) buf_reset(body, 0);
    sim_after after = SIM_KEEP;
    size_t n = body->n;
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
        body->n = n;
        break;
    default: break;
    }
    bool by_close = a->b.fault == SIM_noend || a->b.close_framing;
    put_head(a->req, &a->b, a->number, out, 200, "application/json",
             by_close ? -2 : (int64_t)body->n);
    buf_put(out, body->p, n);
    buf_reset(body, 0);
    return by_close && after == SIM_KEEP ? SIM_CLOSE : after;
}

static sim_after error_answer(sim_answer *a, buf *out)
{
    if (a->b.fault == SIM_html) {
        char body[512];
        int n =
            snprintf(body, sizeof body,
                     "<!DOCTYPE html>\n<html><head><title>%lld %s</title></head>\n<body>"
                     "<h1>%s</h1><p>%s</p></body></html>\n",
                     (long long)a->b.status, reason(a->b.status), reason(a->b.status), error_words);
        put_head(a->req, &a->b, a->number, out, a->b.status, "text/html", n);
        buf_put(out, body, (size_t)n);
        return SIM_KEEP;
    }
    sim_failure f = {.status = (int)a->b.status};
    snprintf(f.code, sizeof f.code, "sim_%d", f.status);
    snprintf(f.message, sizeof f.message, "%s", error_words);
    sim_failed(a->req, &a->b, &f, a->number, out);
    return SIM_KEEP;
}

/* ---- phases of a stream ---- */

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
            put_head(a->req, &a->b, a->number, out, 200, "application/json", -2);
            buf_puts(out, "{\"choices\":[{\"message\":{\"content\":\"");
        }
        *wait_ms = (uint64_t)a->b.gap_ms;
        return endless_filler(out, "and so on ");
    }
    if (!a->stream) return plain(a, out);
    put_head(a->req, &a->b, a->number, out, 200,
             a->req->format == SIM_GEMINI && !a->req->sse ? "application/json"
                                                          : a->ops->stream_type,
             -1);
    a->phase = SIM_BEGIN;
    if (a->b.fault == SIM_nobody) {
        if (!a->b.close_framing) buf_puts(out, "0\r\n\r\n");
        return a->b.close_framing ? SIM_CLOSE : SIM_KEEP;
    }
    *wait_ms = a->b.head_early ? (uint64_t)a->b.first_ms : 0;
    return SIM_GO_ON;
}

/* True when the answer ends, or pauses, here. */
static bool fault_before(sim_answer *a, sim_after *after, uint64_t *wait_ms)
{
    if (a->token != a->b.at) return false;
    if (a->b.pause_ms && !a->paused) {
        a->paused = true;
        *wait_ms = (uint64_t)a->b.pause_ms;
        return true;
    }
    switch ((int)a->b.fault) {
    case SIM_silent: *after = SIM_SILENCE; return true;
    case SIM_cut: *after = SIM_CLOSE; return true;
    case SIM_cutreset: *after = SIM_RESET; return true;
    case SIM_errorevent:
        a->ops->error_event(a, &a->events);
        a->phase = SIM_TAIL;
        return true;
    default: return false;
    }
}

/* One piece, and the events around it that it needs. True when a token was sent. */
static bool one_piece(sim_answer *a, sim_after *after, uint64_t *wait_ms)
{
    sim_part *p = &a->parts[a->part];
    if (!a->opened) {
        a->opened = true;
        a->made = 0;
        a->ops->open(a, &a->events, p);
    }
    bool over = p->text ? a->made >= (int64_t)p->n : a->made >= p->tokens;
    if (over) {
        a->ops->close(a, &a->events, p);
        a->opened = false;
        if (++a->part == a->n_parts) a->phase = SIM_TAIL;
        return false;
    }
    if (p->kind != SIM_THINKING && fault_before(a, after, wait_ms)) return true;
    if (!take_piece(a, p)) return false;
    if (p->kind != SIM_THINKING) a->spoil = a->token++ == a->b.at && a->b.fault == SIM_badjson;
    a->ops->delta(a, &a->events, p);
    return true;
}

static sim_after parts(sim_answer *a, buf *out, uint64_t *wait_ms)
{
    sim_after after = SIM_GO_ON;
    if (a->n_parts == 0) a->phase = SIM_TAIL;
    for (int64_t n = 0; n < a->b.batch && a->phase == SIM_PARTS && after == SIM_GO_ON && !*wait_ms;
         n++) {
        while (a->phase == SIM_PARTS && !one_piece(a, &after, wait_ms)) {
        }
        if (a->events.n >= PIECE) break;
    }
    put_chunk(a, out);
    if (!*wait_ms && a->phase == SIM_PARTS) {
        const sim_part *p = &a->parts[a->part];
        bool last = a->part + 1 == a->n_parts && !p->text && a->made >= p->tokens;
        *wait_ms = last ? 0 : (uint64_t)a->b.gap_ms;
    }
    return after;
}

static sim_after tail(sim_answer *a, buf *out)
{
    bool failed = a->b.fault == SIM_errorevent && a->part < a->n_parts;
    if (!failed) a->ops->end(a, &a->events);
    if (a->b.fault != SIM_noend && (!failed || a->req->format == SIM_OPENAI))
        a->ops->marker(a, &a->events);
    put_chunk(a, out);
    if (!a->b.close_framing) buf_puts(out, "0\r\n\r\n");
    return a->b.close_framing ? SIM_CLOSE : SIM_KEEP;
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
    case SIM_BEGIN:
        a->ops->begin(a, &a->events);
        put_chunk(a, out);
        a->phase = SIM_PARTS;
        return SIM_GO_ON;
    case SIM_PARTS: return parts(a, out, wait_ms);
    case SIM_TAIL: return tail(a, out);
    }
    return SIM_CLOSE;
}
