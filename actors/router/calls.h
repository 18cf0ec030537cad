/*  calls.h - tool calls of an answer as it passes: is each of them of a tool that the request has, with
 *  arguments that are a JSON object?
 *  Thread: one owner.   Ownership: zeroed is valid; calls_free at the end.
 *  Limits: LLM_CALLS calls and LLM_ARGUMENTS_BYTES of all arguments; what is beyond is not judged.
 *  Errors: none; without memory a call is not judged. */
#ifndef ROUTER_CALLS_H
#define ROUTER_CALLS_H

#include "llm.h"

typedef struct one_call {
    uint32_t choice;
    int64_t index;
    buf arguments; /* inside of a JSON string */
} one_call;

typedef struct calls {
    one_call *items;
    uint32_t n;
    size_t bytes;
    bool bad;
} calls;

/* A call begins; `name` is the inside of a JSON string. */
void calls_begin(calls *c, const llm_request *q, uint32_t choice, int64_t index, sv_str name);
void calls_arguments(calls *c, uint32_t choice, int64_t index, sv_str inside);
/* The same from an OpenAI chunk or answer. */
void calls_openai(calls *c, const llm_request *q, sv_str json);
/* All have come. */
bool calls_bad(const calls *c);
void calls_free(calls *c);

#endif
