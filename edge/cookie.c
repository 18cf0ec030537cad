/*  cookie.c - a cut at every semicolon, as browsers and RFC 6265 5.4 make it: quotes do not protect. */
#include "cookie.h"

#include "error.h"
#include "http_parser.h"

#include <inttypes.h>

static const char host_prefix[] = "__Host-";

/* RFC 6265 4.1.1, without the optional quotes. */
static bool is_value(sv_str s)
{
    if (s.n > COOKIE_BYTES) return false;
    for (uint32_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' || c == '\\') return false;
    }
    return true;
}

/* Looks through one header. */
static int look(sv_str header, const char *name, uint32_t *found, sv_str *ret)
{
    const char *at = header.p, *end = header.p + header.n;
    while (at < end) {
        const char *semi = memchr(at, ';', (size_t)(end - at));
        const char *stop = semi ? semi : end;
        sv_str pair = http_trim((sv_str){at, (uint32_t)(stop - at)});
        const char *eq = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
        uint32_t name_n = eq ? (uint32_t)(eq - pair.p) : pair.n;
        if (sv_str_is(http_trim((sv_str){pair.p, name_n}), name)) {
            if (++*found > 1 || eq == NULL || eq[-1] == ' ' || eq[-1] == '\t')
                return SV_E_HTTP_MALFORMED;
            *ret = (sv_str){eq + 1, pair.n - name_n - 1};
            if (!is_value(*ret)) return SV_E_HTTP_MALFORMED;
        }
        at = stop + 1;
    }
    return 0;
}

int cookie_get(const http_request *r, const char *name, sv_str *ret, sv_error *err)
{
    uint32_t found = 0;
    sv_str value = {NULL, 0};
    for (uint32_t i = 0; i < r->n_headers; i++) {
        if (!http_word_is(r->headers[i].name, "cookie")) continue;
        int rc = look(r->headers[i].value, name, &found, &value);
        if (rc)
            return sv_fail(err, rc, NULL,
                           "The cookie %s came twice or has no value that this server sets; delete "
                           "this site's cookies and log in again.",
                           name);
    }
    if (found) *ret = value;
    return found > 0;
}

int cookie_format(const cookie *c, buf *out, sv_error *err)
{
    size_t prefix_n = sizeof host_prefix - 1;
    sv_str name = sv_cstr(c->name);
    if (name.n <= prefix_n || memcmp(name.p, host_prefix, prefix_n) != 0 || !http_is_token(name))
        return sv_fail(err, SV_E_INVALID, NULL, "A cookie's name must begin with %s.", host_prefix);
    if (!is_value(c->value) || c->max_age_s < 0)
        return sv_fail(err, SV_E_INVALID, NULL, "That cannot be a cookie's value or age.");
    buf_printf(out, "%s=%.*s; Path=/; Secure", c->name, SV_FMT(c->value));
    if (c->http_only) buf_puts(out, "; HttpOnly");
    buf_puts(out, "; SameSite=Strict");
    if (c->value.n == 0)
        buf_puts(out, "; Max-Age=0");
    else if (c->max_age_s)
        buf_printf(out, "; Max-Age=%" PRId64, c->max_age_s);
    return out->failed ? sv_fail(err, out->error, NULL, NULL) : 0;
}
