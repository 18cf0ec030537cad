/*  telemetry.h - what operators see of calls of models: metrics by the GenAI conventions, and a line in
 *  the log for each request.
 *
 *  Labels are few whatever clients, providers and tenants write: a model is named as a provider of the
 *  operator lists it, else as the file of models calls it, else "other"; all providers that users and
 *  organizations brought are "tenant", and what those list counts for nothing. The series of a
 *  combination are looked up once and kept.
 *
 *  The line has no word of prompts and answers (prompt_log.h), and its number a second is bounded as
 *  that of every line.
 *
 *  Thread: the loop's.   Ownership: a zeroed telemetry is valid; telemetry_free at the end.
 *  Limits: TELEMETRY_SLOTS.   Errors: none; without memory series are looked up each time. */
#ifndef ROUTER_TELEMETRY_H
#define ROUTER_TELEMETRY_H

#include "config.h"

enum { TELEMETRY_SLOTS = 256 };

typedef enum log_requests { LOG_REQUESTS_OFF, LOG_REQUESTS_FAILURES, LOG_REQUESTS_ON } log_requests;

typedef struct telemetry_slot telemetry_slot;
typedef struct telemetry {
    log_requests log;
    bool tenants; /* a breaker of theirs was open */
    telemetry_slot *slots[TELEMETRY_SLOTS];
} telemetry;

struct leg;
struct relay;
struct router;

void telemetry_start(telemetry *t, const config *c);
void telemetry_free(telemetry *t);
/* A call of a provider is over; its tokens are final. `counts`: they are somebody's use. */
void telemetry_leg(const struct leg *l, int code, uint64_t took_us, bool counts);
/* A request is over. */
void telemetry_end(const struct relay *r);
/* Every now and then: how many breakers are open. */
void telemetry_tick(struct router *o, uint64_t now_us);

#endif
