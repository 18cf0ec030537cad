/*  cookie.h - the edge's own cookies: read strictly from requests, written for answers.
 *
 *  Of a request only the cookie that is asked for is looked at: other programs behind the same host
 *  name may set what they like. That one must come once, exactly so named, with a value of RFC
 *  6265's cookie octets, unquoted. Cookies that are set are host-locked: names begin with __Host-,
 *  so they are Secure, for the whole host and for no other.
 *
 *  Thread: any.   Ownership: results borrow from the request.
 *  Limits: COOKIE_BYTES for a value.   Errors: named below. */
#ifndef EDGE_COOKIE_H
#define EDGE_COOKIE_H

#include "buf.h"
#include "http.h"

enum { COOKIE_BYTES = 4096 };

typedef struct cookie {
    const char *name;  /* __Host-... */
    sv_str value;      /* empty: the client forgets the cookie */
    int64_t max_age_s; /* 0: until the browser ends */
    bool http_only;    /* scripts do not see it */
} cookie;

/* 1 when it is there, 0 when it is not; SV_E_HTTP_MALFORMED when it came twice or its value is none.
 */
int cookie_get(const http_request *r, const char *name, sv_str *ret, sv_error *err);
/* Appends the value of a Set-Cookie header. SV_E_INVALID for a name or value that is none. */
int cookie_format(const cookie *c, buf *out, sv_error *err);

#endif
