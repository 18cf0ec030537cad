/*  admission.h - from a request's head to its body: who it is (access.h), whether that one may, and
 *  whether there have been too many (limits.h). What cannot be said at once pauses the exchange until
 *  the bus has answered: no body is read of a request that may not go on.
 *  Thread: the loop's.   Ownership: waits are parts of the call.   Errors: answered to the client. */
#ifndef EDGE_ADMISSION_H
#define EDGE_ADMISSION_H

#include "gateway.h"

/* Inside `head`, once the route is known and the request's form was found good. Answers the client,
 * or lets the body come, now or later. */
void admission_begin(edge_call *c, const http_request *r);
/* The call is over, whatever it waits for. */
void admission_cancel(edge_call *c);

#endif
