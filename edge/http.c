/*  http.c - the wire-independent part: dispatch to the wire with the state checks that every
 *  wire needs, and readers for headers, queries and media types. */
#include "http.h"

#include "http_keep.h"
#include "http_parser.h"
#include "uuid.h"

#include <arpa/inet.h>
#include <assert.h>

void http_respond(http_exchange *x, const http_response *r)
{
    assert(!x->started && !x->ended);
    x->started = x->ended = true;
    x->wire->respond(x, r);
}

void http_start(http_exchange *x, const http_response *r)
{
    assert(!x->started && !x->ended);
    x->started = true;
    x->wire->start(x, r);
}

void http_write(http_exchange *x, sv_str bytes)
{
    assert(x->started && !x->ended);
    if (bytes.n) x->wire->write(x, bytes);
}

void http_end(http_exchange *x)
{
    assert(x->started && !x->ended);
    x->ended = true;
    x->wire->end(x);
}

void http_abort(http_exchange *x)
{
    assert(!x->ended);
    x->ended = true;
    x->wire->abort(x);
}

size_t http_pending(const http_exchange *x)
{
    return x->wire->pending(x);
}

void http_stream_body(http_exchange *x)
{
    assert(x->request && !x->started);
    x->streaming = true;
}

void http_pause(http_exchange *x)
{
    if (x->paused) return;
    x->paused = true;
    x->wire->pause(x);
}

void http_resume(http_exchange *x)
{
    if (!x->paused) return;
    x->paused = false;
    x->wire->resume(x);
}

int http_keep(http_exchange *x)
{
    assert(x->request);
    return x->kept ? 0 : x->wire->keep(x);
}

void http_unkeep(http_exchange *x)
{
    if (x->kept == NULL) return;
    x->wire->unkeep(x);
    http_kept_free(x);
}

sv_str http_header_get(const http_request *r, const char *name, uint32_t *count)
{
    sv_str found = {NULL, 0};
    uint32_t n = 0;
    size_t len = strlen(name);
    for (uint32_t i = 0; i < r->n_headers; i++) {
        if (r->headers[i].name.n != len || !http_word_is(r->headers[i].name, name)) continue;
        if (n++ == 0) found = r->headers[i].value;
    }
    if (count) *count = n;
    return found;
}

sv_str http_query_get(sv_str query, const char *name)
{
    size_t len = strlen(name);
    while (query.n) {
        const char *amp = memchr(query.p, '&', query.n);
        uint32_t n = amp ? (uint32_t)(amp - query.p) : query.n;
        if (n >= len && memcmp(query.p, name, len) == 0) {
            if (n == len) return (sv_str){query.p + n, 0};
            if (query.p[len] == '=') return (sv_str){query.p + len + 1, n - (uint32_t)len - 1};
        }
        uint32_t skip = amp ? n + 1 : n;
        query.p += skip;
        query.n -= skip;
    }
    return (sv_str){NULL, 0};
}

bool http_percent_decode(sv_str s, char *to, size_t n, uint32_t *ret)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < s.n; i++) {
        if (len == n) return false;
        char c = s.p[i];
        if (c == '%' && s.n - i >= 3) {
            int hi = hex_digit(s.p[i + 1]), lo = hex_digit(s.p[i + 2]);
            if (hi >= 0 && lo >= 0) {
                c = (char)(hi << 4 | lo);
                i += 2;
            }
        }
        to[len++] = c;
    }
    *ret = len;
    return true;
}

/* Cuts the part up to the next semicolon off the front. */
static sv_str next_part(sv_str *rest)
{
    const char *semi = rest->n ? memchr(rest->p, ';', rest->n) : NULL;
    uint32_t n = semi ? (uint32_t)(semi - rest->p) : rest->n;
    sv_str part = {rest->p, n};
    uint32_t skip = semi ? n + 1 : n;
    rest->p += skip;
    rest->n -= skip;
    return http_trim(part);
}

bool http_media_is(sv_str value, const char *type)
{
    return http_word_is(next_part(&value), type);
}

sv_str http_media_parameter(sv_str value, const char *name)
{
    next_part(&value);
    while (value.n) {
        sv_str part = next_part(&value);
        const char *eq = part.n ? memchr(part.p, '=', part.n) : NULL;
        if (eq == NULL || !http_word_is((sv_str){part.p, (uint32_t)(eq - part.p)}, name)) continue;
        sv_str v = {eq + 1, part.n - (uint32_t)(eq - part.p) - 1};
        if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"') v = (sv_str){v.p + 1, v.n - 2};
        return v;
    }
    return (sv_str){NULL, 0};
}

const char *http_reason(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 508: return "Loop Detected";
    case 529: return "Overloaded";
    default: return "Unknown";
    }
}

void http_address_text(const http_address *a, char *text)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(a->ip, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, a->ip + sizeof mapped, text, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, a->ip, text, INET6_ADDRSTRLEN);
}
