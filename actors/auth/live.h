/*  live.h - what a user's browsers are told as it happens: events auth.live.ORG.USER.
 *  Nothing depends on them: they are sent after the commit and may be lost.
 *  Thread: the loop's or a fiber's. */
#ifndef AUTH_LIVE_H
#define AUTH_LIVE_H

#include "sv_types.h"

typedef struct auth auth;

/* `user` NULL: everybody in the organization. `json`: an object, for clients as it is; NULL: {}. */
void live_tell(auth *a, const char *org, const char *user, const char *type, const char *json);

#endif
