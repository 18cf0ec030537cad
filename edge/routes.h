/*  routes.h - the table of routes.def and the way from a request to its row.
 *  Thread: any.   Ownership: rows are constant; a tail borrows from the path.
 *  Errors: SV_E_HTTP_NOT_FOUND, SV_E_HTTP_METHOD. */
#ifndef EDGE_ROUTES_H
#define EDGE_ROUTES_H

#include "sv_types.h"

typedef struct edge_call edge_call;

enum { ROUTE_TAKES_JSON = 1, ROUTE_VITAL = 2, ROUTE_UNBUILT = 4 };

typedef struct route {
    const char *method, *path;
    void (*handler)(edge_call *c);
    unsigned flags;
    const char *takes, *gives, *doc;
} route;

typedef enum route_id {
#define ROUTE(id, method, path, handler, flags, takes, gives, doc) ROUTE_##id,
#include "routes.def"
#undef ROUTE
    ROUTES
} route_id;

extern const route routes[ROUTES];

enum { ALLOW_BYTES = 64 };

/* The row for method and path; HEAD finds GET's. *tail is what {id} stands for, still encoded. */
int route_find(sv_str method, sv_str path, const route **ret, sv_str *tail);
/* "GET, HEAD, OPTIONS": the methods of `path`; empty when there is nothing. `*` allows all. */
void route_allow(sv_str path, char allow[ALLOW_BYTES]);

#endif
