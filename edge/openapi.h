/*  openapi.h - the HTTP API as an OpenAPI 3.1 document, made from the tables: addresses, access and
 *  classes of routes.def, fields and limits of the messages, codes of errors.def. What handlers of
 *  their own take and give beyond that is said in openapi_parts.c.
 *  Thread: any.   Ownership: nothing is kept.   Errors: those of the buffer. */
#ifndef EDGE_OPENAPI_H
#define EDGE_OPENAPI_H

#include "buf.h"
#include "routes.h"

/* Appends the document. */
int openapi_build(buf *out);

/* What a route with a handler of its own takes and gives; every member may be NULL. */
typedef struct openapi_part {
    route_id id;
    const sv_message *request; /* its fields are parameters */
    const sv_message *reply;
    const char *parameters; /* JSON: further ones, with commas between them */
    const char *body;       /* JSON Schema */
    const char *answer;     /* JSON Schema of application/json */
    const char *statuses;   /* JSON: further answers, with commas between them */
    int status;             /* 0: the row's */
} openapi_part;

/* NULL: nothing is said about this route. */
const openapi_part *openapi_part_of(route_id id);
/* JSON: members of components but for the schemas of messages. */
extern const char openapi_headers[], openapi_security[], openapi_errors[];

#endif
