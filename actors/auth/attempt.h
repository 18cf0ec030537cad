/*  attempt.h - a try with a password, as methods do it: look, compare on a worker, write the verdict.
 *  Thread: fibers.   Ownership: in the call's arena.
 *  Errors: SV_E_OVERLOADED with retry_after_ms when too many passwords wait, SV_E_LOCKED_OUT, those
 *  of the verdict. */
#ifndef AUTH_ATTEMPT_H
#define AUTH_ATTEMPT_H

#include "auth.h"

typedef struct attempt {
    auth_try try;
    auth_try_known known;
    auth_try_end end;
    auth_work work;
    auth_login_result result;
    char token[WORDS_TOKEN + 1];
} attempt;

void auth_new_id(char ret[AUTH_ID + 1]);
/* Runs it on a worker. */
int auth_work_do(sv_call *call, auth_work *w);

/* Of the caller, with the network and the password that holds now. NULL: the call's error says why. */
attempt *attempt_of_caller(sv_call *call, sv_str email, sv_str network);
/* The look and the comparison; `next` is the password to be hashed when it is right. */
int attempt_compare(sv_call *call, attempt *t, sv_str password, sv_str next);
/* 0, or the verdict as the call's error. */
int attempt_verdict(sv_call *call, const auth_login_result *r);

/* A refresh token of `kind` svr_ and the session it is for. */
void attempt_session(const auth *a, sv_str device, bool remember, const char *network,
                     auth_session_new *ret, char token[WORDS_TOKEN + 1]);

#endif
