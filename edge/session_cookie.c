/*  session_cookie.c - one cookie, written and read. */
#include "session_cookie.h"

#include "cookie.h"
#include "error.h"

static const char name[] = "__Host-samovar_refresh";

int session_cookie_read(const http_request *r, sv_str *ret, sv_error *err)
{
    int rc = cookie_get(r, name, ret, err);
    if (rc <= 0) *ret = (sv_str){NULL, 0};
    return rc < 0 ? rc : 0;
}

static void set(edge_call *c, const cookie *k)
{
    sv_error err = {.code = 0};
    buf_reset(&c->set_cookie, c->set_cookie.cap);
    if (cookie_format(k, &c->set_cookie, &err)) buf_reset(&c->set_cookie, 0);
}

void session_cookie_move(edge_call *c, auth_login_reply *reply)
{
    if (reply->refresh_token.n == 0) return;
    int64_t left_s = (reply->refresh_expires - (int64_t)(loop_unix_us(c->e->l) / 1000)) / 1000;
    cookie k = {.name = name,
                .value = reply->refresh_token,
                .max_age_s = reply->remember && left_s > 0 ? left_s : 0,
                .http_only = true};
    set(c, &k);
    reply->refresh_token = (sv_str){NULL, 0};
}

void session_cookie_clear(edge_call *c)
{
    set(c, &(cookie){.name = name, .http_only = true});
}
