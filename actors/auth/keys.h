/*  keys.h - who asks for a key, a service account or a grant.
 *  Thread: fibers and the loop.   Errors: those of caller.h, SV_E_DENIED. */
#ifndef AUTH_KEYS_H
#define AUTH_KEYS_H

#include "caller.h"
#include "key_store.h"

/* Who asks. The operator has no ticket: whom he means is `email`, which may be empty. */
int key_asker_of(sv_call *call, sv_str email, key_asker *ret, auth_caller *by);
/* What outlives a session is made by the user himself, logged in: not by an administrator who acts as
 * him, not with an API key, not by delegated work. SV_E_DENIED. */
int key_maker_himself(sv_call *call, const auth_caller *by);

#endif
