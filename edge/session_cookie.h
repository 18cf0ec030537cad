/*  session_cookie.h - the refresh token of a browser, in a cookie that no script can read and that no
 *  other site, sub-domain or unencrypted connection can send or set (__Host-, HttpOnly, Secure,
 *  SameSite=Strict; browsers count loopback addresses as secure).
 *  Thread: the loop's.   Ownership: text is copied.   Errors: SV_E_HTTP_MALFORMED for a
 *  cookie that comes twice. */
#ifndef EDGE_SESSION_COOKIE_H
#define EDGE_SESSION_COOKIE_H

#include "gateway.h"

/* {NULL, 0} when there is none; borrowed from the request. */
int session_cookie_read(const http_request *r, sv_str *ret, sv_error *err);
/* Takes the refresh token out of the answer into a cookie of it. */
void session_cookie_move(edge_call *c, auth_login_reply *reply);
/* The answer tells the browser to forget the cookie. */
void session_cookie_clear(edge_call *c);

#endif
