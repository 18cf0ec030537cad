/*  http_parser.h - the head of one HTTP/1.1 request, read strictly and in any number of pieces.
 *
 *  Accepts what RFC 9112 lets a client send and nothing else: CRLF line ends, one space between
 *  the parts of the request line, names that are tokens with the colon right behind them, values
 *  without control characters. Refused are: bare CR or LF, NUL, line folding, blank lines before
 *  the request, an absent, doubled or malformed Host (1.1), a Content-Length that is doubled or
 *  not all digits, Content-Length beside Transfer-Encoding, any Transfer-Encoding but one
 *  `chunked`, or any at all in 1.0, targets that are not origin-form (absolute-form, http or https, passes
 *  when its authority equals Host; `*` only with OPTIONS), bad percent-encoding, versions other than
 *  1.0 and 1.1, CONNECT and TRACE. The result depends on the bytes alone, never on where they
 *  were cut.
 *
 *  Thread: any.   Memory: none beyond the struct.
 *  Ownership: results are offsets into the caller's bytes, which may move between calls as long
 *  as the content stays.
 *  Limits: given at http_head_reset.
 *  Errors: SV_E_HTTP_MALFORMED, _HEAD_TOO_LARGE, _URI_TOO_LONG, _METHOD, _CODING, _EXPECT,
 *  _VERSION; after any of them the connection has no next request. */
#ifndef EDGE_HTTP_PARSER_H
#define EDGE_HTTP_PARSER_H

#include "sv_types.h"

enum { HTTP_MORE = 1 }; /* valid so far, not complete */

/* A piece of the head: offset and length. */
typedef struct http_span {
    uint32_t at, n;
} http_span;

typedef struct http_field {
    http_span name, value; /* value without surrounding blanks */
} http_field;

typedef struct http_head {
    uint32_t max_bytes;  /* whole head, the blank line included */
    uint32_t max_line;   /* request line without its CRLF */
    uint32_t max_fields; /* room in `fields` */

    uint32_t at;      /* next byte to look at */
    uint32_t line_at; /* where the current line starts */
    bool in_fields;   /* the request line is done */

    uint32_t bytes; /* length of the complete head; the body starts here */
    http_span method, target, path, query, authority, host;
    uint8_t minor;   /* HTTP/1.x */
    bool has_length; /* Content-Length was there */
    bool chunked;    /* Transfer-Encoding: chunked */
    bool expect;     /* Expect: 100-continue, in a 1.1 request */
    bool close;      /* the connection ends after this request */
    uint64_t length; /* Content-Length; 0 without one */
    uint8_t seen;    /* which framing fields came */
    bool bad_coding; /* Transfer-Encoding other than chunked */
    bool bad_expect; /* Expect other than 100-continue */
    bool keep_alive; /* Connection: keep-alive */
    bool https;      /* of an absolute target, whose `authority` is set */

    uint32_t n_fields;
    http_field fields[];
} http_head;

/* Makes `h`, which has room for `max_fields` fields, ready for a new request. */
void http_head_reset(http_head *h, uint32_t max_bytes, uint32_t max_line, uint32_t max_fields);

/* Looks at the first `n` bytes of a request; bytes shown before are not read again. 0 when the head
 * is complete (`bytes` is set), HTTP_MORE, or an error. Not to be called again after 0 or an error.
 */
int http_head_parse(http_head *h, const char *p, size_t n, sv_error *err);

/* OWS of RFC 9110 5.6.3. */
static inline bool http_is_blank(char c)
{
    return c == ' ' || c == '\t';
}
/* Without blanks at its ends. */
sv_str http_trim(sv_str s);
/* ASCII comparison without case. */
bool http_word_is(sv_str s, const char *word);
/* True when `list` (comma separated) holds `word`, without case. */
bool http_list_has(sv_str list, const char *word);
bool http_is_token(sv_str s);
/* HTAB, space, visible ASCII and bytes above 127: what may stand in a header value. */
bool http_is_text(sv_str s);
/* uri-host [":" port] as in RFC 3986, never empty. */
bool http_is_authority(sv_str s);

#endif
