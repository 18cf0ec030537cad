/*  org_store.h - what is done to organizations, their members and invitations in the store. Each
 *  looks up the caller's role in the same transaction as it changes something; who has none hears
 *  SV_E_NOT_FOUND, with the same words as for an organization that is not there.
 *
 *  Thread: store_fns where the store runs them.   Ownership: inputs are borrowed; results live in
 *  the arena of the store_op.   Limits: AUTH_PAGE rows a page, MEMBER_PIECE rows in a piece of a
 *  deletion.   Errors: those of the store; SV_E_NOT_FOUND, SV_E_ROLE, SV_E_LAST_OWNER, SV_E_QUOTA,
 *  SV_E_INVALID for what a personal organization cannot do; those that are named. */
#ifndef AUTH_ORG_STORE_H
#define AUTH_ORG_STORE_H

#include "caller.h"
#include "invitations.h"

/* One act of a caller; each uses the fields that it needs. */
typedef struct org_act {
    auth_caller who;
    char org[AUTH_ID + 1];
    char user[AUTH_ID + 1];    /* another member */
    char session[AUTH_ID + 1]; /* of the access token */
    char fresh[AUTH_ID + 1];   /* id of what is made */
    char name[AUTH_NAME + 1];
    enum { ORG_PROMPTS_STAY, ORG_PROMPTS_OFF, ORG_PROMPTS_ON } log_prompts;
    char after[WORDS_EMAIL + 1]; /* where a page begins */
    member_role role;
    int64_t owned_most; /* organizations of one owner, besides his own */
    /* of an invitation */
    uint8_t hash[WORDS_HASH];
    char email[WORDS_EMAIL + 1]; /* empty: for whoever has the link */
    const char *link;
    int64_t life_ms;
} org_act;

typedef struct org_page {
    auth_org *items;
    uint32_t n;
    sv_str next; /* {NULL, 0}: that was all */
} org_page;
typedef struct member_page {
    auth_member *items;
    uint32_t n;
    sv_str next;
} member_page;
typedef struct invitation_page {
    auth_invitation *items;
    uint32_t n;
    sv_str next;
} invitation_page;

/* The message's struct; text is borrowed. */
auth_org org_show(const org_row *row, member_role role);
/* The caller's role in `org`, and its row. SV_E_NOT_FOUND, SV_E_ROLE when it is below `least`. */
int org_enter(store_tx *tx, const org_act *q, member_role least, org_row *ret,
              member_role *ret_role);
/* SV_E_QUOTA when the user may own no more. */
int org_may_own(store_tx *tx, sv_str user, int64_t most);
/* Texts of scanned rows that stay. False: no memory. */
bool org_keep(arena *a, sv_str *s);

/* A write. in: org_act, with the method in `name`: an event that says who was refused what. */
int org_denied(store_tx *tx, const void *in, void *out);

/* ---- organizations (org_acts.c) ---- */

/* Reads. in: org_act; out: org_page, auth_org. */
int org_some(store_tx *tx, const void *in, void *out);
int org_look(store_tx *tx, const void *in, void *out);
/* Writes. in: org_act, out: auth_org. */
int org_make(store_tx *tx, const void *in, void *out);
int org_change(store_tx *tx, const void *in, void *out);
/* A write. out: nothing. From here on there is no such organization. */
int org_end(store_tx *tx, const void *in, void *out);
/* A write. in: text, an organization that has ended, or "" for any; out: bool, is nothing left? */
int org_end_piece(store_tx *tx, const void *in, void *out);
/* A write. out: auth_login_result. SV_E_TOKEN_REVOKED when the session is over. */
int org_change_session(store_tx *tx, const void *in, void *out);

/* ---- members (member_acts.c) ---- */

/* A read. in: org_act, out: member_page. */
int member_some(store_tx *tx, const void *in, void *out);
/* Writes. in: org_act, out: auth_member; auth_org. */
int member_set_role(store_tx *tx, const void *in, void *out);
int member_transfer(store_tx *tx, const void *in, void *out);
/* A write; user and caller may be the same. out: nothing. */
int member_remove(store_tx *tx, const void *in, void *out);

/* ---- invitations (invitations.c) ---- */

/* A write. out: auth_invitation. SV_E_CONFLICT: the address is a member's. */
int invitation_make(store_tx *tx, const void *in, void *out);
/* Reads. out: invitation_page; auth_invitation, by hash: SV_E_LINK. */
int invitation_some(store_tx *tx, const void *in, void *out);
int invitation_by_token(store_tx *tx, const void *in, void *out);
/* A write. `fresh` is the invitation's id; out: nothing. */
int invitation_end(store_tx *tx, const void *in, void *out);
/* A write. out: auth_org, as invitation_use for the caller. */
int invitation_take(store_tx *tx, const void *in, void *out);

#endif
