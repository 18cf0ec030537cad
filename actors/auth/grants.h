/*  grants.h - work for a user who is away: a service asks for a grant with the user's ticket, and later
 *  for tickets of 15 minutes with what the user may do at that moment. They are bound to the service
 *  and its job.
 *  Thread: store_fns.   Ownership: results have their text in the arena.   Limits: GRANTS_MOST.
 *  Errors: those of the store, and those that are named, with words in store_error. */
#ifndef AUTH_GRANTS_H
#define AUTH_GRANTS_H

#include "key_store.h"

enum { GRANTS_MOST = 1000 }; /* of one user */

typedef struct grant_new {
    key_asker asker;
    const auth_grant_req *request;
    sv_strs scopes; /* what the grant gets */
    const char *service;
    char id[AUTH_ID + 1];
} grant_new;
/* A write. out: char[AUTH_ID + 1], the grant: the one that the service has for that job already, then
 * with the new scopes and end, or a new one. SV_E_NOT_FOUND, SV_E_DENIED, SV_E_INVALID, SV_E_QUOTA. */
int grant_insert(store_tx *tx, const void *in, void *out);

typedef struct grant_ask {
    sv_str id;
    const char *service;
} grant_ask;
/* A write. in: grant_ask, out: nothing. SV_E_NOT_FOUND also for other services' grants. */
int grant_remove(store_tx *tx, const void *in, void *out);

typedef struct grant_rights {
    sv_str user, org, role, tier, job;
    bool admin;
    sv_strs scopes;
    int64_t now_ms, expires; /* of the grant; 0: never */
} grant_rights;
/* A read. in: grant_ask, out: grant_rights, those of now. SV_E_NOT_FOUND; SV_E_DENIED when the user or
 * the key may nothing there any more. */
int grant_look(store_tx *tx, const void *in, void *out);

#endif
