/*  reply.h - answers of the gateway: the headers every answer carries and the shapes of an error.
 *  Under /v1 an error is OpenAI's {"error":{"message","type","param","code"}}, under /v1/messages
 *  Anthropic's {"type":"error","error":{"type","message"},"request_id"}; elsewhere it is
 *  {"error":{"code","message","fields":[{"path","code","message"}],"request_id","docs"}}.
 *  Thread: the loop's.   Ownership: everything given is copied.
 *  Errors: none; a connection that finds no memory is closed. */
#ifndef EDGE_REPLY_H
#define EDGE_REPLY_H

#include "gateway.h"

enum { REPLY_OWN_HEADERS = 16 };

/* What an answer says beyond status, type and body. */
typedef struct reply_hints {
    uint32_t retry_after_ms; /* 0: nothing; at most a minute is told */
    bool long_pause;         /* it may be longer than that */
    bool no_retry;           /* x-should-retry: false */
    const char *allow;       /* Allow */
    bool authenticate;       /* WWW-Authenticate */
    const router_complete_head
        *head;      /* of a model's answer; for headers that say how it was made */
    bool explain;   /* ... all of them */
    bool preflight; /* a page of another site asks whether it may */
} reply_hints;

void reply_whole(edge_call *c, int status, const char *content_type, sv_str body,
                 const reply_hints *hints);
/* The head of a streamed answer. `content_type` is borrowed for the call. */
void reply_start(edge_call *c, int status, sv_str content_type, const reply_hints *hints);
/* An answer that says itself how it is cached and used (files): only what every answer has is added.
 * `whole`: with its body; else the body follows. At most REPLY_OWN_HEADERS of its own. */
void reply_own(edge_call *c, const http_response *r, bool whole);
/* An error of errors.def; `err` (may be NULL) has its words, field and pause. */
void reply_error(edge_call *c, int code, const sv_error *err);
/* The body of such an error in the call's shape. */
void reply_error_body(const edge_call *c, int code, const sv_error *err, buf *out);
/* An error as the data of an event: of OpenAI's Responses, else {"code","message","request_id"}. */
void reply_error_event(const edge_call *c, int code, const sv_error *err, buf *out);
/* The same, with `code` and words given in place. */
void reply_refuse(edge_call *c, int code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
