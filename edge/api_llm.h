/*  api_llm.h - for other handlers whose answers come as those of models do: router_complete_head in front
 *  of the bytes for the client, plain or streamed, with heartbeats and under the client's pace.
 *  Thread: the loop's.   Ownership: the request is borrowed for the call.
 *  Errors: those of sv_open, before anything was answered; all later ones are answered. */
#ifndef EDGE_API_LLM_H
#define EDGE_API_LLM_H

#include "gateway.h"

/* Sends `r` and passes its answer on. Time, ticket, trace and window are filled in. */
int api_llm_pass(edge_call *c, sv_request *r, bool stream, sv_error *err);
/* The client's Via with this server behind it. */
sv_str api_llm_via(const edge_call *c, char text[VIA_BYTES]);

#endif
