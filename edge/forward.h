/*  forward.h - HTTP requests that are bus requests: the JSON body, the {names} of the path and the
 *  query become the fields of a message, its reply becomes the answer. What a client may not say
 *  (fields marked SV_EDGE) is filled from the connection and the token.
 *
 *  Thread: the loop's.
 *  Ownership: what forward_read makes lives in the edge's arena until the service's call returns.
 *  Limits: FORWARD_BYTES of body, FORWARD_QUERY parameters.
 *  Errors: those of message.h with the field's path; SV_E_UNKNOWN_FIELD for what the message does not
 *  have. */
#ifndef EDGE_FORWARD_H
#define EDGE_FORWARD_H

#include "gateway.h"

enum { FORWARD_BYTES = 48 * 1024, FORWARD_QUERY = 32, FORWARD_MS = 30000 };

/* The request's struct. `own` names a parameter of the query that is not the message's, or NULL. */
int forward_read(edge_call *c, const sv_message *m, const char *own, void **ret, sv_error *err);
/* Sends it; c->stream is set. The ticket is the caller's. */
int forward_send(edge_call *c, const char *target, const sv_message *m, const void *body,
                 const sv_events *events, sv_error *err);
/* Answers the client with what came back: for `done` of the events. */
void forward_answer(edge_call *c, sv_stream *s, int code, const sv_item *item, const sv_error *err,
                    const sv_message *m, int status);

#endif
