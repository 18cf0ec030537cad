/*  caller.h - who calls: what the ticket says, or the platform's operator, who has none.
 *  Thread: the loop's; actor_spell any.   Ownership: copies.
 *  Errors: SV_E_TICKET, SV_E_NO_CREDENTIALS, and those that are named. */
#ifndef AUTH_CALLER_H
#define AUTH_CALLER_H

#include "auth_store.h"
#include "samovar.h"

enum { AUTH_ACTOR = AUTH_ID + 29, AUTH_AS = 22 };

typedef struct auth_caller {
    bool operator;             /* no ticket; nothing below is set but actor */
    bool admin;                /* of the platform */
    char user[AUTH_ID + 1];    /* never empty with a ticket */
    char org[AUTH_ID + 1];     /* of the ticket */
    char key[AUTH_ID + 1];     /* an API key's or a grant's id; empty: a session */
    char session[AUTH_ID + 1]; /* its id */
    char impersonator[AUTH_ID + 1];
    char actor[AUTH_ACTOR]; /* for the audit log */
} auth_caller;

/* Who calls with a ticket; SV_E_NO_CREDENTIALS without. */
int auth_caller_user(sv_call *call, auth_caller *ret);
/* A platform administrator or the operator; an API key needs the scope admin. Nobody while he acts
 * as somebody else. SV_E_ROLE, SV_E_SCOPE. */
int auth_caller_admin(sv_call *call, auth_caller *ret);
/* The same, where others may come too: the refusal is no event. */
int auth_caller_ask_admin(sv_call *call, auth_caller *ret);
/* Writes the event of a refusal into the platform's chain. Returns rc, and the call's error stays. */
int auth_caller_denied(sv_call *call, const auth_caller *c, int rc);
/* SV_E_DENIED while an administrator acts as the user: for what only the user himself may do. */
int auth_not_impersonated(sv_call *call);

/* The actor of events: the user's id, or "ADMIN as USER" with the whole id of the administrator and
 * the last AUTH_AS characters of the user's, which are those that no two ids share. */
void actor_spell(const char *impersonator, const char *user, char ret[AUTH_ACTOR]);

#endif
