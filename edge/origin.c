/*  origin.c - exact comparison of names; nothing is parsed that need not be. */
#include "origin.h"

#include "caller.h"
#include "error.h"
#include "http_parser.h"

/* scheme://host[:port], lower case, without a path. */
static int check_origin(const char *key, const char *text, const char **ret_host, sv_error *err)
{
    const char *host = strncmp(text, "https://", 8) == 0  ? text + 8
                       : strncmp(text, "http://", 7) == 0 ? text + 7
                                                          : NULL;
    bool ok = host && http_is_authority(sv_cstr(host));
    for (const char *p = text; ok && *p; p++)
        ok = *p < 'A' || *p > 'Z';
    if (ok) {
        if (ret_host) *ret_host = host;
        return 0;
    }
    return sv_fail(
        err, SV_E_CONFIG, key,
        "%s is \"%.100s\": write it as browsers do, https://HOST or https://HOST:PORT in "
        "small letters, without a path.",
        key, text);
}

int origin_read(const config *c, bool loopback, origin_rules *ret, sv_error *err)
{
    *ret = (origin_rules){.loopback = loopback, .own = config_str(c, "edge.origin")};
    int rc = ret->own ? check_origin("edge.origin", ret->own, &ret->host, err) : 0;
    ret->n_cors = config_strs(c, "edge.cors_origins", &ret->cors);
    for (size_t i = 0; rc == 0 && i < ret->n_cors; i++)
        rc = check_origin("edge.cors_origins", ret->cors[i], NULL, err);
    return rc;
}

int origin_check_host(const origin_rules *r, sv_str host, sv_error *err)
{
    if (host.n == 0) return 0;
    if (r->loopback && caller_host_ok(host)) return 0;
    if (r->host && http_word_is(host, r->host)) return 0;
    int shown = host.n < 100 ? (int)host.n : 100;
    if (r->host)
        return sv_fail(err, SV_E_HTTP_HOST, NULL, "This server is called %s, not \"%.*s\".",
                       r->host, shown, host.p);
    return sv_fail(err, SV_E_HTTP_HOST, NULL,
                   "This server answers to localhost and loopback addresses only, not to \"%.*s\".",
                   shown, host.p);
}

bool origin_is_own(const origin_rules *r, sv_str origin, sv_str host, bool secure)
{
    if (r->own && sv_str_is(origin, r->own)) return true;
    return r->loopback && caller_host_ok(host) && caller_origin_ok(origin, host, secure);
}

const char *origin_listed(const origin_rules *r, sv_str origin)
{
    for (size_t i = 0; i < r->n_cors; i++)
        if (sv_str_is(origin, r->cors[i])) return r->cors[i];
    return NULL;
}

int origin_check(const origin_rules *r, const http_request *q, sv_error *err)
{
    uint32_t n = 0;
    sv_str origin = http_header_get(q, "origin", &n);
    bool reads = sv_str_is(q->method, "GET") || sv_str_is(q->method, "HEAD") ||
                 sv_str_is(q->method, "OPTIONS");
    if (n == 0 || reads) return 0;
    if (n == 1 && (origin_is_own(r, origin, q->host, q->secure) || origin_listed(r, origin)))
        return 0;
    return sv_fail(err, SV_E_DENIED, NULL,
                   "Pages of other sites may not send requests here (Origin is not this server).");
}

int origin_check_cookie(const origin_rules *r, const http_request *q, sv_error *err)
{
    uint32_t n = 0;
    sv_str origin = http_header_get(q, "origin", &n);
    if (n != 1 || !origin_is_own(r, origin, q->host, q->secure))
        return sv_fail(err, SV_E_CSRF, NULL, NULL);
    http_header_get(q, "x-samovar-csrf", &n);
    if (n == 1) return 0;
    return sv_fail(err, SV_E_CSRF, NULL,
                   "A request with a cookie needs the header x-samovar-csrf: 1.");
}
