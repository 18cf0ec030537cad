/*  http_guard.h - which URLs and addresses may be called, judged without any connection.
 *  A URL is split by a strict parser here and by libcurl's own; where the two read it differently
 *  it is refused, so nothing is judged that libcurl would not call.
 *  Thread: any.   Ownership:
 *  results are copies or borrow from the argument.
 *  Errors: SV_E_INVALID for text that is no
 *  acceptable URL, SV_E_URL_FORBIDDEN for one of the wrong class. */
#ifndef SV_HTTP_GUARD_H
#define SV_HTTP_GUARD_H

#include "buf.h"
#include "http_client.h"

enum { HTTP_URL_BYTES = 2048, HTTP_HOST_BYTES = 253 };

typedef struct http_url {
    bool https;
    bool userinfo;
    sv_str user_part;               /* "user:password@" or empty; secret */
    char host[HTTP_HOST_BYTES + 1]; /* lower case; IPv6 without brackets */
    bool ipv6;
    uint16_t port;
} http_url;

/* Only the text; both classes. */
int http_url_parse(const char *url, http_url *ret, sv_error *err);
/* `url` without its userinfo. */
int http_url_redact(const char *url, buf *out);
/* http_address_public of an address in text; false for what is no address. */
bool http_address_text_public(const char *text);
/* False when CR, LF, NUL or other control characters are in a header line, or the name is no token.
 */
bool http_header_clean(const char *line);

#endif
