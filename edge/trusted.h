/*  trusted.h - which proxies are believed, and what they say about the client behind them.
 *
 *  A list of addresses and networks (CIDR), IPv4 and IPv6; an IPv4 address and its IPv6-mapped form
 *  are the same. Only a peer on the list is believed, and of a chain only what trusted proxies
 *  added: X-Forwarded-For and Forwarded (RFC 7239) are read from the right, and the first address
 *  that is not trusted is the client's. X-Forwarded-Proto and -Host count when they came once; those
 *  of Forwarded come from the element that names the client.
 *
 *  Whatever is malformed counts as not there, and the peer's own address stays. When both
 *  X-Forwarded-For and Forwarded came, they must name the same client, or neither counts: a proxy
 *  passes the one that it does not write on as its client sent it.
 *
 *  Thread: any.   Memory: none.   Ownership: copies lists; results borrow from the request.
 *  Limits: TRUSTED_MOST entries, TRUSTED_HOPS addresses in a chain.
 *  Errors: SV_E_CONFIG in words for the operator. */
#ifndef EDGE_TRUSTED_H
#define EDGE_TRUSTED_H

#include "http.h"

enum { TRUSTED_MOST = 64, TRUSTED_HOPS = 32 };

typedef struct trusted_net {
    uint8_t ip[16];
    uint8_t bits; /* of the 128 */
} trusted_net;

typedef struct trusted {
    uint32_t n;
    trusted_net nets[TRUSTED_MOST];
} trusted;

typedef struct trusted_client {
    http_address address; /* port 0 when the proxy does not tell it */
    bool secure;          /* the client speaks TLS, with the proxy or with us */
    sv_str host;          /* what the client asked for */
} trusted_client;

/* Adds "192.0.2.1", "10.0.0.0/8", "2001:db8::/32", ... */
int trusted_add(trusted *t, sv_str text, sv_error *err);
bool trusted_has(const trusted *t, const http_address *a);
/* Who sent `r`, which came from `peer`. */
void trusted_client_of(const trusted *t, const http_address *peer, const http_request *r,
                       trusted_client *ret);
/* An address with an optional port: 1.2.3.4, 1.2.3.4:5, ::1, [::1], [::1]:5. */
bool trusted_address(sv_str text, http_address *ret);

#endif
