/*  routes.c - a walk over the rows: most differ from a path in their first segment, so that a walk
 *  over all of them costs less than a microsecond and needs no index to be kept in step. */
#include "routes.h"

#include "api.h"
#include "error.h"

#include <stdio.h>

const char *const route_scope_names[SCOPES] = {
    [SCOPE_SESSION] = "",  [SCOPE_NONE] = "",       [SCOPE_CHAT] = "chat",
    [SCOPE_READ] = "read", [SCOPE_WRITE] = "write", [SCOPE_FILES] = "files",
    [SCOPE_ORG] = "org",   [SCOPE_ADMIN] = "admin"};

const route routes[ROUTES] = {
#define ROUTE(id, method, path, handler, who, scope, class, flags, takes, gives, doc)              \
    {#id, method, path, handler, WHO_##who, SCOPE_##scope, CLASS_##class, flags, takes, gives,     \
     doc, NULL,   NULL, NULL,    200},
#define CALL(id, method, path, who, scope, class, flags, target, request, reply, status, doc)      \
    {#id, method, path, api_forward, WHO_##who,      SCOPE_##scope, CLASS_##class, flags,          \
     "",  JSON,   doc,  target,      &request##_msg, &reply##_msg,  status},
#include "routes.def"
#undef ROUTE
#undef CALL
};

/* One segment, up to a slash or the end. */
static sv_str segment(const char **p, const char *end)
{
    const char *from = *p;
    while (*p < end && **p != '/')
        ++*p;
    return (sv_str){from, (uint32_t)(*p - from)};
}

static bool path_matches(const char *pattern, sv_str path, route_match *match)
{
    const char *p = pattern, *p_end = pattern + strlen(pattern), *s = path.p, *s_end = s + path.n;
    match->n = 0;
    for (;;) {
        sv_str want = segment(&p, p_end), got = segment(&s, s_end);
        if (want.n > 2 && want.p[0] == '{') {
            bool rest = want.n > 5 && memcmp(want.p + want.n - 4, "...}", 4) == 0;
            if (rest) got.n = (uint32_t)(s_end - got.p);
            if (got.n == 0) return false;
            match->name[match->n] = (sv_str){want.p + 1, want.n - (rest ? 5 : 2)};
            match->value[match->n++] = got;
            if (rest) return true;
        } else if (want.n != got.n || (want.n && memcmp(want.p, got.p, want.n) != 0)) {
            return false;
        }
        if (p == p_end || s == s_end) return p == p_end && s == s_end;
        p++;
        s++;
    }
}

int route_find(sv_str method, sv_str path, const route **ret, route_match *match)
{
    int rc = SV_E_HTTP_NOT_FOUND;
    const char *want = NULL;
    if (sv_str_is(method, "HEAD")) want = "GET";
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_matches(routes[i].path, path, match)) continue;
        rc = SV_E_HTTP_METHOD;
        if (want ? strcmp(routes[i].method, want) == 0 : sv_str_is(method, routes[i].method)) {
            *ret = &routes[i];
            return 0;
        }
    }
    match->n = 0;
    return rc;
}

void route_allow(sv_str path, char allow[ALLOW_BYTES])
{
    static const struct {
        const char *method, *text;
    } words[] = {
        {"GET", "GET, HEAD, "}, {"POST", "POST, "}, {"PATCH", "PATCH, "}, {"DELETE", "DELETE, "}};
    bool every = sv_str_is(path, "*"), any = every;
    size_t n = 0;
    allow[0] = 0;
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        bool has = every;
        for (size_t i = 0; i < ROUTES && !has; i++) {
            route_match m;
            has = strcmp(routes[i].method, words[w].method) == 0 &&
                  path_matches(routes[i].path, path, &m);
        }
        if (has) n += (size_t)snprintf(allow + n, ALLOW_BYTES - n, "%s", words[w].text);
        any |= has;
    }
    if (any) snprintf(allow + n, ALLOW_BYTES - n, "OPTIONS");
}
