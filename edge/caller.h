/*  caller.h - what a request says about where it comes from: Host, Origin, Via, X-Request-ID.
 *  Until identity exists the edge serves this machine only. A browser elsewhere must not be led
 *  here: by a name that resolves to a loopback address (DNS rebinding: Host must be a loopback
 *  name) or by a foreign page that posts (Origin must be our own).
 *  Thread: any.   Ownership: slices are borrowed.   Errors: none. */
#ifndef EDGE_CALLER_H
#define EDGE_CALLER_H

#include "buf.h"
#include "sv_types.h"

enum { REQUEST_ID_BYTES = 128, VIA_BYTES = 1024 };

/* "localhost", 127.0.0.0/8 or ::1: an address that only this machine reaches. */
bool caller_loopback_address(const char *ip);
/* Does one address stand for many clients? Where only this machine reaches what is listened on, and
 * behind proxies that do not announce whom they speak for. */
bool caller_address_shared(const char *listens, bool proxied, bool announced);
/* A valid Host value whose host is localhost or a loopback address. */
bool caller_host_ok(sv_str host);
/* The Origin value is scheme://host of this very request. */
bool caller_origin_ok(sv_str origin, sv_str host, bool secure);
/* 1 to 128 characters of A-Z a-z 0-9 . _ - */
bool caller_request_id_ok(sv_str id);
/* A Via value names the received-by `pseudonym`. */
bool caller_via_has(sv_str via, const char *pseudonym);
/* Seconds, maybe with a fraction, as milliseconds; 0 when it is no number or nothing. */
uint32_t caller_seconds(sv_str value);

#endif
