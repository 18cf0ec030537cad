/*  register.h - accounts that people make and recover themselves: what the store does for it.
 *  None of the answers tells whether there is an account with an address.
 *  Thread: store_fns.   Ownership: inputs are borrowed.
 *  Errors: those of the store, those of invitation_use, and those that are named. */
#ifndef AUTH_REGISTER_H
#define AUTH_REGISTER_H

#include "links.h"

typedef enum register_mode { REGISTER_OPEN, REGISTER_INVITATION, REGISTER_CLOSED } register_mode;

typedef struct register_in {
    auth_user user; /* id, email, name, org, hash, tier, locale */
    register_mode mode;
    bool invited;
    uint8_t invitation[WORDS_HASH];
    char network[WORDS_NETWORK + 1];
    const link_made *link; /* to confirm the address; NULL: that is not asked for */
} register_in;
/* May it go on? A read. in: register_in, out: NULL. An invitation that names the address does not
 * confirm it: who invites has the link as well. SV_E_REGISTRATION, SV_E_LINK with the
 * field invitation, SV_E_DENIED for an invitation of somebody else. */
int register_look(store_tx *tx, const void *in, void *out);
/* A write. The account, or a mail to the one who has the address. The same errors. */
int register_end(store_tx *tx, const void *in, void *out);

typedef struct forgot_in {
    char email[WORDS_EMAIL + 1], network[WORDS_NETWORK + 1];
    const link_made *link;
} forgot_in;
/* A write. in: forgot_in, out: auth_login_result with SV_E_LOCKED_OUT or 0. Every request counts, for
 * an address that has no account as well. */
int forgot_end(store_tx *tx, const void *in, void *out);

typedef struct reset_in {
    uint8_t token[WORDS_HASH];
    char network[WORDS_NETWORK + 1];
    char new_hash[PASSWORD_HASH];
} reset_in;
/* A read. in: reset_in, out: auth_login_result: code SV_E_LOCKED_OUT or SV_E_LINK, or the user. */
int reset_look(store_tx *tx, const void *in, void *out);
/* A write, also for a link that does not hold: such are counted for the network. The same out. */
int reset_end(store_tx *tx, const void *in, void *out);

/* A write. in: the hash of the link's token, out: bool, did it hold? */
int verify_end(store_tx *tx, const void *in, void *out);

typedef struct verify_again_in {
    auth_who who;
    const link_made *link;
} verify_again_in;
/* A write. in: verify_again_in, out: bool, is the address confirmed already? At most one mail in
 * AUTH_MAIL_PAUSE_MS. SV_E_NOT_FOUND. */
int verify_again_end(store_tx *tx, const void *in, void *out);

#endif
