/*  links.h - links that are sent by mail: 256 random bits, kept as a hash, used once.
 *  A user has one link of a kind at a time: a new one takes the place of the former.
 *
 *  Thread: link_make and link_wipe the loop's, the others in store_fns.   Ownership: copies.
 *  Errors: those of the store; SV_E_LINK for a link that does not hold; SV_E_UNAVAILABLE as long as
 *  the platform's address is not known. */
#ifndef AUTH_LINKS_H
#define AUTH_LINKS_H

#include "auth_store.h"

typedef struct auth auth;

typedef enum link_kind {
    LINK_VERIFY, /* a day */
    LINK_RESET,  /* 30 minutes */
    LINK_KINDS
} link_kind;

enum { LINK_URL = 512 };

typedef struct link_made {
    uint8_t hash[WORDS_HASH];
    char url[LINK_URL];
} link_made;

/* A new one, to be kept and sent by link_send. */
int link_make(const auth *a, link_kind kind, link_made *ret, sv_error *err);
void link_wipe(link_made *l);

/* In a write: keeps it for the user and puts the mail with it into the outbox. */
int link_send(store_tx *tx, link_kind kind, const link_made *l, const auth_user *user);
/* Whose it is; it stays as it is. */
int link_look(store_tx *tx, link_kind kind, const uint8_t hash[WORDS_HASH], char user[AUTH_ID + 1]);
/* In a write: whose it was. */
int link_use(store_tx *tx, link_kind kind, const uint8_t hash[WORDS_HASH], char user[AUTH_ID + 1]);
/* In a write: ends the user's links of the kind. */
int link_drop(store_tx *tx, link_kind kind, sv_str user);

#endif
