/*  sim_route.h - which provider a request is meant for: path, key and the headers that provider
 *  insists on.
 *  Thread: one.   Ownership: the request's.   Errors: 0, or -1 with r->fail. */
#ifndef KIT_SIM_ROUTE_H
#define KIT_SIM_ROUTE_H

#include "sim_request.h"

/* `head` is a request's head, NUL-ended. r->ask is SIM_NOTHING for a path nobody has. */
void sim_route(sim_request *r, const char *head);
int sim_route_check(sim_request *r, const char *head);
/* Refuses the key with a status: 401, 402, 403, 429, in the provider's words. */
int sim_refuse_key(sim_request *r, int status);
const char *sim_format_name(sim_format f);

#endif
