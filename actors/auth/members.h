/*  members.h - who is in an organization, and what that lets him do there.
 *
 *  A role is read in the transaction of what it allows. An organization that is being deleted, a
 *  membership that is not there and an organization that never was are the same: no role.
 *
 *  Thread: store_fns; role_of and role_name any.   Errors: those of the store, and those that are
 *  named, with words in store_error. */
#ifndef AUTH_MEMBERS_H
#define AUTH_MEMBERS_H

#include "auth_store.h"

/* In order: who has more may do all that others may. */
typedef enum member_role {
    ROLE_NONE,
    ROLE_VIEWER, /* reads */
    ROLE_MEMBER, /* reads and writes what the organization has */
    ROLE_ADMIN,  /* its name, members below owner, invitations, all of its keys */
    ROLE_OWNER   /* everything */
} member_role;

enum { TIER_BYTES = 17, MEMBER_PIECE = 64 };

/* ROLE_NONE for what is no role's name. */
member_role role_of(sv_str name);
/* "" for ROLE_NONE. */
const char *role_name(member_role r);

/* ROLE_NONE when the user is not in it. */
int member_read(store_tx *tx, sv_str org, sv_str user, member_role *ret);
/* In a write. Every membership but the maker's begins here, and every one ends below: the
 * organization's count goes with it. SV_E_CONFLICT: he is in it. */
int member_add(store_tx *tx, sv_str org, sv_str user, member_role role);
/* Ends the membership, and with it access tokens and keys of the user for the organization; of a
 * service account it ends the account. SV_E_NOT_FOUND. */
int member_drop(store_tx *tx, sv_str org, sv_str user);
/* SV_E_LAST_OWNER unless the organization has an owner besides `user`. */
int member_owned_still(store_tx *tx, sv_str org, sv_str user);

/* The organization that a session of the user works in: `org`, or his own once he is not in it any
 * more. `ret_org` has AUTH_ID + 1 bytes. */
int member_home(store_tx *tx, const user_row *user, sv_str org, char *ret_org, member_role *ret);

/* What limits hold for the user in the organization: the higher one of his tier and its. */
int tier_of(store_tx *tx, sv_str user, sv_str org, char tier[TIER_BYTES]);
/* free < premium < own; 0 for what is no tier, 1 for an absent one, which counts as free. */
int tier_rank(sv_str name);

#endif
