/*  routes.h - the table of routes.def and the way from a request to its row.
 *  Thread: any.   Ownership: rows are constant; a match borrows from the path.
 *  Errors: SV_E_HTTP_NOT_FOUND, SV_E_HTTP_METHOD. */
#ifndef EDGE_ROUTES_H
#define EDGE_ROUTES_H

#include "message.h"
#include "sv_types.h"

typedef struct edge_call edge_call;

enum {
    ROUTE_TAKES_JSON = 1,
    ROUTE_VITAL = 2,
    ROUTE_UNBUILT = 4,
    ROUTE_MAY_JSON = 8,
    ROUTE_STREAMS = 16,
    ROUTE_SECRET = 32,
    ROUTE_LARGE = 64,
    ROUTE_TAKES_FORM = 128
};

/* The least that a caller must be; each is also all before it. */
typedef enum route_who {
    WHO_ALL,
    WHO_USER,
    WHO_VIEWER,
    WHO_MEMBER,
    WHO_ADMIN,
    WHO_OWNER,
    WHO_PLATFORM
} route_who;

/* What an API key needs. */
typedef enum route_scope {
    SCOPE_SESSION, /* no key may */
    SCOPE_NONE,    /* nothing */
    SCOPE_CHAT,
    SCOPE_READ,
    SCOPE_WRITE,
    SCOPE_FILES,
    SCOPE_ORG,
    SCOPE_ADMIN,
    SCOPES
} route_scope;

extern const char *const route_scope_names[SCOPES]; /* "chat"; "" where there is none */

/* Which limit counts. */
typedef enum route_class {
    CLASS_FREE,
    CLASS_CHAT,
    CLASS_AUTH,
    CLASS_UPLOAD,
    CLASS_API,
    CLASS_ADMIN,
    CLASSES
} route_class;

typedef struct route {
    const char *id, *method, *path;
    void (*handler)(edge_call *c);
    route_who who;
    route_scope scope;
    route_class class;
    unsigned flags;
    const char *takes, *gives, *doc;
    /* of a CALL */
    const char *target; /* NULL: a handler of its own */
    const sv_message *request, *reply;
    int status;
} route;

typedef enum route_id {
#define ROUTE(id, method, path, handler, who, scope, class, flags, takes, gives, doc) ROUTE_##id,
#define CALL(id, method, path, who, scope, class, flags, target, request, reply, status, doc)      \
    ROUTE_##id,
#include "routes.def"
#undef ROUTE
#undef CALL
    ROUTES
} route_id;

extern const route routes[ROUTES];

enum { ALLOW_BYTES = 64, ROUTE_NAMES = 4 };

/* What the {names} of a path stand for, still encoded; in their order. */
typedef struct route_match {
    sv_str name[ROUTE_NAMES], value[ROUTE_NAMES];
    uint32_t n;
} route_match;

/* The row for method and path; HEAD finds GET's. */
int route_find(sv_str method, sv_str path, const route **ret, route_match *match);
/* "GET, HEAD, OPTIONS": the methods of `path`; empty when there is nothing. `*` allows all. */
void route_allow(sv_str path, char allow[ALLOW_BYTES]);

#endif
