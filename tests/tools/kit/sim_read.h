/*  sim_read.h - reading a request as each provider would, strictly: what it accepts becomes a
 *  sim_request, what it refuses becomes `fail` in its words.
 *  Thread: one.   Ownership: r->body is set already and stays the request's.
 *  Errors: 0, or -1 with r->fail. */
#ifndef KIT_SIM_READ_H
#define KIT_SIM_READ_H

#include "sim_request.h"

/* The body as r->body, and the model it names. `head` is the request's, NUL-ended. */
int sim_read_body(sim_request *r, const char *head, const char *text, size_t n);
/* A completion in r->format. */
int sim_read_chat(sim_request *r, const sim_behaviour *b);
/* What a list of models looks like; the caller's. */
json_t *sim_models(sim_format f, char names[][128], int n);

int sim_read_openai(sim_request *r, const sim_behaviour *b);
int sim_read_text(sim_request *r, const sim_behaviour *b);
int sim_read_responses(sim_request *r, const sim_behaviour *b);
int sim_read_anthropic(sim_request *r, const sim_behaviour *b);
int sim_read_gemini(sim_request *r, const sim_behaviour *b);
int sim_read_ollama(sim_request *r, const sim_behaviour *b);
/* Endpoints that are answered at once: reads the request and writes the whole body. */
int sim_fixed(sim_request *r, const sim_behaviour *b, buf *out);
/* Multipart form of a transcription: which model, how many bytes; -1: it is none. */
int sim_read_form(sim_request *r, const char *type, const char *body, size_t n);
/* What every format checks when its own reading is done: context, policy. */
int sim_read_limits(sim_request *r, const sim_behaviour *b);

/* data:TYPE;base64,DATA into a part. */
int sim_add_data_url(json_t *parts, const char *url);

#endif
