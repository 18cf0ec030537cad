/*  attempt.h - what is written down about one call of a provider.
 *  Thread: the loop's.   Ownership: everything is borrowed for the call of attempt_note. */
#ifndef ROUTER_ATTEMPT_H
#define ROUTER_ATTEMPT_H

#include "router.h"

typedef struct attempt {
    sv_id id; /* of uuid_new, when it began */
    sv_call *call;
    sv_str asked;                 /* the model the client named */
    const char *provider, *model; /* who was called, and how the model is called there */
    const char *task, *finish;    /* NULL: not known */
    bool listed;                  /* the provider lists the model */
    bool streamed, hedge, bad_tools;
    bool own; /* with a key of the caller's or his organization's */
    bool priced;
    int64_t price;
    const char *outcome; /* attempt_outcome */
    const tokens *tokens;
    uint64_t latency_us, first_byte_us;
} attempt;

/* "ok" for 0; one of a fixed set of words for metrics and the ledger. */
const char *attempt_outcome(int code);
/* Hands it to the ledger; the rest as ledger_add. */
int attempt_note(router *r, const attempt *a, ledger_done *done, void *arg, ledger_item **wait,
                 sv_error *err);

#endif
