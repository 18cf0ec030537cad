/*  invitations.h - links that make somebody a member: 256 random bits, kept as a hash, good for one
 *  use until they expire or are dropped. An invitation may name an e-mail address; then it is for
 *  the account with that address only.
 *  Thread: store_fns.   Errors: those of the store, and those that are named, with words in
 *  store_error. */
#ifndef AUTH_INVITATIONS_H
#define AUTH_INVITATIONS_H

#include "members.h"

enum {
    INVITATIONS_MOST = 200 /* open ones of one organization */
};

typedef struct invitation_used {
    char id[AUTH_ID + 1], org[AUTH_ID + 1], by[AUTH_ID + 1], email[WORDS_EMAIL + 1];
    member_role role;
} invitation_used;

/* In a write, in the same one as the account's row when it is a new one: uses the invitation up and
 * makes the user a member. `hash` is token_hash of the link's token; `actor` is for the audit log.
 * `confirmed`: the address of an invitation that names one must be confirmed already; without it
 * the login sees to that, where it is asked for.
 * SV_E_LINK: unknown, used, expired or dropped, or its organization is gone; SV_E_DENIED: it is for
 * another address; SV_E_NOT_VERIFIED; SV_E_CONFLICT: he is a member (it stays unused). */
int invitation_use(store_tx *tx, const uint8_t hash[WORDS_HASH], const user_row *user,
                   bool confirmed, const char *actor, invitation_used *ret);

#endif
