/*  answer.h - what the router reads in a provider's OpenAI-style JSON, and what it writes of the
 *  kind. The text need not have been validated: reading is memory-safe on any bytes and then merely
 *  finds nothing.
 *  Thread: any.   Ownership: results borrow from the text. */
#ifndef ROUTER_ANSWER_H
#define ROUTER_ANSWER_H

#include "buf.h"
#include "error.h"
#include "json_scan.h"
#include "llm.h"

/* One event of a stream. */
typedef struct chunk {
    bool object;    /* it is a JSON object */
    bool finished;  /* some choice has a finish_reason */
    llm_finish why; /* the first one */
    uint64_t begun,
        ended;         /* bits of choices, by index modulo 64: with content, with finish_reason */
    bool no_choices;   /* "choices" is there and empty */
    bool content;      /* some delta has text, reasoning or a tool call */
    bool tools;        /* a tool call */
    size_t text_bytes; /* of text, reasoning and arguments */
    json_value id, model;
    json_value error; /* JSON_NONE unless there is one that is not null */
    json_value usage; /* JSON_NONE unless it is an object */
    sv_str failed;    /* the first choice that ends with "error", OpenRouter's word; else empty */
} chunk;

chunk answer_chunk(sv_str json);
/* A plain answer: the same of its messages, with its usage. */
chunk answer_whole(sv_str json);
/* The chunk with the usage of a stream whose provider has not sent one. */
void answer_put_usage(buf *out, const char *id, sv_str model, int64_t created, const tokens *t);
/* {"error":{"message","type","param","code"}} */
int answer_put_error(buf *out, const char *message, const char *type, const char *code);
/* The status an error object asks for in "code" (OpenRouter writes the HTTP status there), else 0.
 */
int answer_error_status(json_value error);
/* Retry-After in seconds or as a date; ms, at most an hour; 0 when it says nothing. */
uint32_t answer_retry_after_ms(sv_str header, uint64_t unix_us);
/* The same, with retry-after-ms, which counts where it is a number. */
uint32_t answer_pause_ms(sv_str ms, sv_str header, uint64_t unix_us);
/* True for media type `type`, whatever its parameters. */
bool answer_type_is(sv_str content_type, const char *type);

#endif
