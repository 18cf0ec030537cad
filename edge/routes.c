/*  routes.c - a walk over a handful of rows: cheaper than any index of so few. */
#include "routes.h"

#include "api.h"
#include "error.h"

#include <stdio.h>

const route routes[ROUTES] = {
#define ROUTE(id, method, path, handler, flags, takes, gives, doc)                                 \
    {method, path, handler, flags, takes, gives, doc},
#include "routes.def"
#undef ROUTE
};

static bool path_matches(const char *pattern, sv_str path, sv_str *tail)
{
    size_t n = strlen(pattern);
    *tail = (sv_str){NULL, 0};
    if (n < 4 || strcmp(pattern + n - 4, "{id}") != 0)
        return path.n == n && memcmp(path.p, pattern, n) == 0;
    n -= 4;
    if (path.n <= n || memcmp(path.p, pattern, n) != 0) return false;
    *tail = (sv_str){path.p + n, path.n - (uint32_t)n};
    return true;
}

int route_find(sv_str method, sv_str path, const route **ret, sv_str *tail)
{
    int rc = SV_E_HTTP_NOT_FOUND;
    const char *want = NULL;
    if (sv_str_is(method, "HEAD")) want = "GET";
    for (size_t i = 0; i < ROUTES; i++) {
        sv_str rest;
        if (!path_matches(routes[i].path, path, &rest)) continue;
        rc = SV_E_HTTP_METHOD;
        if (want ? strcmp(routes[i].method, want) == 0 : sv_str_is(method, routes[i].method)) {
            *ret = &routes[i];
            *tail = rest;
            return 0;
        }
    }
    return rc;
}

void route_allow(sv_str path, char allow[ALLOW_BYTES])
{
    bool any = sv_str_is(path, "*"), get = any, post = any;
    for (size_t i = 0; i < ROUTES; i++) {
        sv_str tail;
        if (!path_matches(routes[i].path, path, &tail)) continue;
        get = get || strcmp(routes[i].method, "GET") == 0;
        post = post || strcmp(routes[i].method, "POST") == 0;
    }
    snprintf(allow, ALLOW_BYTES, "%s%s%s", get ? "GET, HEAD, " : "", post ? "POST, " : "",
             get || post ? "OPTIONS" : "");
}
