/*  answer_log.h - a line in the log for a request that was answered without a model: the router, which
 *  has one for all others, does not hear of it. Fields are the router's (docs/metrics.md).
 *  Thread: the loop's.   Ownership: everything is borrowed for the call.
 *  Limits: those of the log: lines a second, bytes of a line.   Errors: none. */
#ifndef CACHE_ANSWER_LOG_H
#define CACHE_ANSWER_LOG_H

#include "samovar.h"

typedef struct answer_given {
    const sv_call *call;
    const router_complete_req *request;
    const router_complete_head *head; /* of the model's answer, as is its end */
    const router_complete_end *end;
    const char *how; /* as in head.cache */
    sv_str org, user;
    int64_t age_s;
    uint64_t took_us;
} answer_given;

void answer_log(const answer_given *g);

#endif
