/*  origin.h - the names this server goes by, and the pages that may call it.
 *
 *  A browser elsewhere must not be led here: by a name that resolves to a loopback address (DNS
 *  rebinding: Host must be a name of ours) or by a foreign page that posts (Origin must be ours, or
 *  on the list edge.cors_origins, which is compared exactly and never with credentials). What comes
 *  with the refresh cookie must in addition say where it is from and carry the header x-samovar-csrf,
 *  which no page of another site can send.
 *
 *  Thread: any.   Ownership: rules borrow from the configuration.
 *  Errors: SV_E_CONFIG naming the setting, SV_E_HTTP_HOST, SV_E_DENIED, SV_E_CSRF. */
#ifndef EDGE_ORIGIN_H
#define EDGE_ORIGIN_H

#include "config.h"
#include "http.h"

typedef struct origin_rules {
    bool loopback;    /* listens there: loopback names are ours */
    const char *own;  /* edge.origin: scheme://host[:port]; NULL: none */
    const char *host; /* of it */
    const char *const *cors;
    size_t n_cors;
} origin_rules;

/* Reads edge.origin and edge.cors_origins. */
int origin_read(const config *c, bool loopback, origin_rules *ret, sv_error *err);
/* `host` as the client wrote it. */
int origin_check_host(const origin_rules *r, sv_str host, sv_error *err);
/* The Origin value is of our own pages. */
bool origin_is_own(const origin_rules *r, sv_str origin, sv_str host, bool secure);
/* The entry of the list that the Origin value is, or NULL. */
const char *origin_listed(const origin_rules *r, sv_str origin);
/* The pages that may send this request: ours for what changes something, those on the list too. */
int origin_check(const origin_rules *r, const http_request *q, sv_error *err);
/* A request with the refresh cookie. */
int origin_check_cookie(const origin_rules *r, const http_request *q, sv_error *err);

#endif
