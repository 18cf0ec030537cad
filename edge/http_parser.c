/*  http_parser.c - a line scanner and one function a line.
 *  Bytes are classified by table. The scanner runs over text until it meets CR; only CRLF ends a
 *  line, any other control character is an error at once, so an error never depends on later
 *  bytes. What concerns several lines (Host, lengths, absolute-form) is judged when the blank
 *  line has come. The scanner never looks beyond `max_bytes`: a head that is not complete there
 *  is too large. */
#include "http_parser.h"

#include "error.h"

enum {
    TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
    TEXT = 2,   /* field-vchar, obs-text, SP, HTAB */
    TARGET = 4, /* RFC 3986 path and query, % apart */
    REGNAME = 8 /* RFC 3986 reg-name, % apart */
};

enum { SEEN_HOST = 1, SEEN_LENGTH = 2, SEEN_CODING = 4, SEEN_EXPECT = 8 };

enum { METHOD_BYTES = 32, LENGTH_DIGITS = 18 };

#define ALNUM_EACH(X, bits)                                                                        \
    ['0' ... '9'] = X | (bits), ['A' ... 'Z'] = X | (bits), ['a' ... 'z'] = X | (bits)

static const uint8_t class_of[256] = {
    ['\t'] = TEXT,
    [' '] = TEXT,
    [0x80 ... 0xff] = TEXT,
    ALNUM_EACH(TEXT, TOKEN | TARGET | REGNAME),
    ['!'] = TEXT | TOKEN | TARGET | REGNAME,
    ['"'] = TEXT,
    ['#'] = TEXT | TOKEN,
    ['$'] = TEXT | TOKEN | TARGET | REGNAME,
    ['%'] = TEXT | TOKEN,
    ['&'] = TEXT | TOKEN | TARGET | REGNAME,
    ['\''] = TEXT | TOKEN | TARGET | REGNAME,
    ['('] = TEXT | TARGET | REGNAME,
    [')'] = TEXT | TARGET | REGNAME,
    ['*'] = TEXT | TOKEN | TARGET | REGNAME,
    ['+'] = TEXT | TOKEN | TARGET | REGNAME,
    [','] = TEXT | TARGET | REGNAME,
    ['-'] = TEXT | TOKEN | TARGET | REGNAME,
    ['.'] = TEXT | TOKEN | TARGET | REGNAME,
    ['/'] = TEXT | TARGET,
    [':'] = TEXT | TARGET,
    [';'] = TEXT | TARGET | REGNAME,
    ['<'] = TEXT,
    ['='] = TEXT | TARGET | REGNAME,
    ['>'] = TEXT,
    ['?'] = TEXT | TARGET,
    ['@'] = TEXT | TARGET,
    ['['] = TEXT,
    ['\\'] = TEXT,
    [']'] = TEXT,
    ['^'] = TEXT | TOKEN,
    ['_'] = TEXT | TOKEN | TARGET | REGNAME,
    ['`'] = TEXT | TOKEN,
    ['{'] = TEXT,
    ['|'] = TEXT | TOKEN,
    ['}'] = TEXT,
    ['~'] = TEXT | TOKEN | TARGET | REGNAME,
};

static bool is(char c, unsigned bits)
{
    return (class_of[(uint8_t)c] & bits) != 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static sv_str span_str(const char *p, http_span s)
{
    return (sv_str){p + s.at, s.n};
}

bool http_word_is(sv_str s, const char *word)
{
    uint32_t i = 0;
    for (; i < s.n && word[i]; i++)
        if (lower(s.p[i]) != lower(word[i])) return false;
    return i == s.n && word[i] == 0;
}

sv_str http_trim(sv_str s)
{
    while (s.n && http_is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && http_is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool http_list_has(sv_str list, const char *word)
{
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        uint32_t n = comma ? (uint32_t)(comma - list.p) : list.n;
        if (http_word_is(http_trim((sv_str){list.p, n}), word)) return true;
        uint32_t skip = comma ? n + 1 : n;
        list.p += skip;
        list.n -= skip;
    }
    return false;
}

bool http_is_token(sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (!is(s.p[i], TOKEN)) return false;
    return s.n > 0;
}

bool http_is_text(sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (!is(s.p[i], TEXT)) return false;
    return true;
}

/* Every byte is in class `bits` or part of a well-formed %XX that is not %00. */
static bool is_encoded(sv_str s, unsigned bits)
{
    for (uint32_t i = 0; i < s.n; i++) {
        if (is(s.p[i], bits)) continue;
        if (s.p[i] != '%' || s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
            return false;
        if (s.p[i + 1] == '0' && s.p[i + 2] == '0') return false;
        i += 2;
    }
    return true;
}

static bool is_port(sv_str s)
{
    uint32_t value = 0;
    if (s.n < 1 || s.n > 5) return false;
    for (uint32_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i])) return false;
        value = value * 10 + (uint32_t)(s.p[i] - '0');
    }
    return value > 0 && value <= 65535;
}

bool http_is_authority(sv_str s)
{
    uint32_t host_n = 0;
    if (s.n == 0) return false;
    if (s.p[0] == '[') { /* IP literal: hex digits, colons and dots between brackets */
        const char *end = memchr(s.p, ']', s.n);
        if (end == NULL || end - s.p < 3) return false;
        for (const char *c = s.p + 1; c < end; c++)
            if (!is_hex(*c) && *c != ':' && *c != '.') return false;
        host_n = (uint32_t)(end - s.p) + 1;
    } else {
        const char *colon = memchr(s.p, ':', s.n);
        host_n = colon ? (uint32_t)(colon - s.p) : s.n;
        if (host_n == 0 || !is_encoded((sv_str){s.p, host_n}, REGNAME)) return false;
    }
    if (host_n == s.n) return true;
    return s.p[host_n] == ':' && is_port((sv_str){s.p + host_n + 1, s.n - host_n - 1});
}

static int malformed(sv_error *err, const char *why)
{
    return sv_fail(err, SV_E_HTTP_MALFORMED, NULL, "The HTTP request is malformed: %s.", why);
}

static int parse_version(http_head *h, sv_str v, sv_error *err)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !is_digit(v.p[5]) || v.p[6] != '.' ||
        !is_digit(v.p[7]))
        return malformed(err, "the request line does not end in HTTP/1.1");
    if (v.p[5] != '1' || v.p[7] > '1') return sv_fail(err, SV_E_HTTP_VERSION, NULL, NULL);
    h->minor = (uint8_t)(v.p[7] - '0');
    return 0;
}

/* Splits an origin-form target, or the part of an absolute one behind its authority. */
static int parse_origin(http_head *h, const char *p, http_span t, sv_error *err)
{
    const char *question = memchr(p + t.at, '?', t.n);
    uint32_t path_n = question ? (uint32_t)(question - (p + t.at)) : t.n;
    h->path = (http_span){t.at, path_n};
    h->query = (http_span){t.at + path_n, 0};
    if (question) h->query = (http_span){t.at + path_n + 1, t.n - path_n - 1};
    if (!is_encoded(span_str(p, h->path), TARGET))
        return malformed(err, "the path holds characters that must be percent-encoded");
    if (!is_encoded(span_str(p, h->query), TARGET))
        return malformed(err, "the query holds characters that must be percent-encoded");
    return 0;
}

static int parse_target(http_head *h, const char *p, sv_error *err)
{
    sv_str target = span_str(p, h->target);
    if (target.p[0] == '/') return parse_origin(h, p, h->target, err);
    if (target.n == 1 && target.p[0] == '*') {
        if (!sv_str_is(span_str(p, h->method), "OPTIONS"))
            return malformed(err, "the target * is only for OPTIONS");
        h->path = h->target;
        return 0;
    }
    h->https = target.n > 8 && http_word_is((sv_str){target.p, 8}, "https://");
    if (!h->https && (target.n <= 7 || !http_word_is((sv_str){target.p, 7}, "http://")))
        return malformed(err, "the target must start with a slash");
    const uint32_t scheme_n = h->https ? 8 : 7;
    const char *authority = target.p + scheme_n;
    const char *slash = memchr(authority, '/', target.n - scheme_n);
    if (slash == NULL) return malformed(err, "an absolute target needs a path");
    h->authority = (http_span){h->target.at + scheme_n, (uint32_t)(slash - authority)};
    uint32_t skip = scheme_n + h->authority.n;
    return parse_origin(h, p, (http_span){h->target.at + skip, target.n - skip}, err);
}

static int parse_request_line(http_head *h, const char *p, http_span line, sv_error *err)
{
    sv_str s = span_str(p, line);
    const char *space = memchr(s.p, ' ', s.n);
    if (space == NULL)
        return malformed(err, "the request line needs a method, a target and a version");
    h->method = (http_span){line.at, (uint32_t)(space - s.p)};
    if (h->method.n > METHOD_BYTES || !http_is_token(span_str(p, h->method)))
        return malformed(err, "the method is not a token");
    uint32_t rest_at = h->method.n + 1;
    const char *second = memchr(s.p + rest_at, ' ', s.n - rest_at);
    if (second == NULL || second == s.p + rest_at)
        return malformed(err, "the request line needs a method, a target and a version");
    h->target = (http_span){line.at + rest_at, (uint32_t)(second - (s.p + rest_at))};
    uint32_t version_at = rest_at + h->target.n + 1;
    int rc = parse_version(h, (sv_str){s.p + version_at, s.n - version_at}, err);
    if (rc) return rc;
    sv_str method = span_str(p, h->method);
    if (sv_str_is(method, "CONNECT") || sv_str_is(method, "TRACE"))
        return sv_fail(err, SV_E_HTTP_METHOD, NULL, "The method %.*s is not supported.",
                       SV_FMT(method));
    return parse_target(h, p, err);
}

/* Notes that a framing field came; false when it came before. */
static bool first_time(http_head *h, uint8_t bit)
{
    bool first = (h->seen & bit) == 0;
    h->seen |= bit;
    return first;
}

static int take_host(http_head *h, const char *p, http_span value, sv_error *err)
{
    if (!first_time(h, SEEN_HOST)) return malformed(err, "more than one Host");
    if (!http_is_authority(span_str(p, value)))
        return malformed(err, "the Host is not a host name or address with an optional port");
    h->host = value;
    return 0;
}

static int take_length(http_head *h, sv_str value, sv_error *err)
{
    if (!first_time(h, SEEN_LENGTH)) return malformed(err, "more than one Content-Length");
    if (value.n == 0 || value.n > LENGTH_DIGITS)
        return malformed(err, "Content-Length must be 1 to 18 digits");
    for (uint32_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i])) return malformed(err, "Content-Length must be digits only");
        h->length = h->length * 10 + (uint64_t)(value.p[i] - '0');
    }
    h->has_length = true;
    return 0;
}

static int take_coding(http_head *h, sv_str value, sv_error *err)
{
    if (!first_time(h, SEEN_CODING)) return malformed(err, "more than one Transfer-Encoding");
    h->chunked = http_word_is(value, "chunked");
    h->bad_coding = !h->chunked;
    return 0;
}

static int take_expect(http_head *h, sv_str value, sv_error *err)
{
    if (!first_time(h, SEEN_EXPECT)) return malformed(err, "more than one Expect");
    h->expect = http_word_is(value, "100-continue");
    h->bad_expect = !h->expect;
    return 0;
}

static int take_framing(http_head *h, const char *p, const http_field *f, sv_error *err)
{
    sv_str name = span_str(p, f->name), value = span_str(p, f->value);
    switch (name.n) {
    case 4: return http_word_is(name, "host") ? take_host(h, p, f->value, err) : 0;
    case 6: return http_word_is(name, "expect") ? take_expect(h, value, err) : 0;
    case 10:
        if (http_word_is(name, "connection")) {
            h->close = h->close || http_list_has(value, "close");
            h->keep_alive = h->keep_alive || http_list_has(value, "keep-alive");
        }
        return 0;
    case 14: return http_word_is(name, "content-length") ? take_length(h, value, err) : 0;
    case 17: return http_word_is(name, "transfer-encoding") ? take_coding(h, value, err) : 0;
    default: return 0;
    }
}

static int parse_field(http_head *h, const char *p, http_span line, sv_error *err)
{
    sv_str s = span_str(p, line);
    if (s.p[0] == ' ' || s.p[0] == '\t') return malformed(err, "header lines must not be folded");
    if (h->n_fields == h->max_fields)
        return sv_fail(err, SV_E_HTTP_HEAD_TOO_LARGE, NULL,
                       "The request has more than %u header lines.", h->max_fields);
    const char *colon = memchr(s.p, ':', s.n);
    if (colon == NULL) return malformed(err, "a header line has no colon");
    sv_str name = {s.p, (uint32_t)(colon - s.p)};
    if (!http_is_token(name)) return malformed(err, "a header name is not a token");
    sv_str value = http_trim((sv_str){colon + 1, s.n - name.n - 1});
    http_field *f = &h->fields[h->n_fields++];
    f->name = (http_span){line.at, name.n};
    f->value = (http_span){(uint32_t)(value.p - p), value.n};
    return take_framing(h, p, f, err);
}

static bool same_word(sv_str a, sv_str b)
{
    if (a.n != b.n) return false;
    for (uint32_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i])) return false;
    return true;
}

static int finish(http_head *h, const char *p, sv_error *err)
{
    bool has_host = (h->seen & SEEN_HOST) != 0;
    if (h->minor == 1 && !has_host) return malformed(err, "Host is missing");
    bool absolute = p[h->target.at] != '/' && p[h->target.at] != '*';
    if (absolute && (!has_host || !same_word(span_str(p, h->authority), span_str(p, h->host))))
        return malformed(err, "the target and Host name different hosts");
    if (h->seen & SEEN_CODING) {
        if (h->has_length) return malformed(err, "Content-Length and Transfer-Encoding together");
        if (h->minor == 0) return malformed(err, "Transfer-Encoding in an HTTP/1.0 request");
        if (h->bad_coding) return sv_fail(err, SV_E_HTTP_CODING, NULL, NULL);
    }
    if (h->minor == 0) /* RFC 9110 10.1.1: an expectation in 1.0 is ignored */
        h->expect = h->bad_expect = false;
    if (h->bad_expect) return sv_fail(err, SV_E_HTTP_EXPECT, NULL, NULL);
    if (h->minor == 0 && !h->keep_alive) h->close = true;
    return 0;
}

void http_head_reset(http_head *h, uint32_t max_bytes, uint32_t max_line, uint32_t max_fields)
{
    *h = (http_head){.max_bytes = max_bytes, .max_line = max_line, .max_fields = max_fields};
}

/* The bytes seen so far do not hold a whole line. */
static int need_more(const http_head *h, size_t end, sv_error *err)
{
    if (!h->in_fields && end - h->line_at >= (size_t)h->max_line + 2)
        return sv_fail(err, SV_E_HTTP_URI_TOO_LONG, NULL,
                       "The request line is longer than %u bytes.", h->max_line);
    if (end >= h->max_bytes)
        return sv_fail(err, SV_E_HTTP_HEAD_TOO_LARGE, NULL,
                       "The request head is larger than %u bytes.", h->max_bytes);
    return HTTP_MORE;
}

int http_head_parse(http_head *h, const char *p, size_t n, sv_error *err)
{
    for (;;) {
        size_t end = n < h->max_bytes ? n : h->max_bytes;
        if (!h->in_fields && end > (size_t)h->max_line + 2) end = (size_t)h->max_line + 2;
        uint32_t at = h->at;
        while (at < end && is(p[at], TEXT))
            at++;
        h->at = at;
        if (at == end) return need_more(h, end, err);
        if (p[at] != '\r')
            return malformed(err,
                             p[at] == '\n' ? "a line ends in LF alone" : "a control character");
        if (at + 1 == end) return need_more(h, end, err);
        if (p[at + 1] != '\n') return malformed(err, "CR without LF");
        http_span line = {h->line_at, at - h->line_at};
        h->at = h->line_at = at + 2;
        if (!h->in_fields) {
            int rc = parse_request_line(h, p, line, err);
            if (rc) return rc;
            h->in_fields = true;
        } else if (line.n > 0) {
            int rc = parse_field(h, p, line, err);
            if (rc) return rc;
        } else {
            h->bytes = h->at;
            return finish(h, p, err);
        }
    }
}
