/*  admin_store.h - what administrators of the platform, and its operator, do in the store.
 *  Thread: store_fns where the store runs them.   Ownership: inputs are borrowed; results live in
 *  the arena of the store_op.   Limits: AUTH_PAGE rows a page, AUTH_PIECE rows looked at for it.
 *  Errors: those of the store; SV_E_NOT_FOUND, SV_E_INVALID, SV_E_DENIED; those that are named. */
#ifndef AUTH_ADMIN_STORE_H
#define AUTH_ADMIN_STORE_H

#include "caller.h"
#include "org_store.h"

enum { ADMIN_ACT_MS = 60 * 60 * 1000 /* of a session as somebody else */ };

typedef struct admin_search {
    char part[WORDS_EMAIL + 1]; /* ASCII letters count alike, large or small; empty: all */
    char after[WORDS_EMAIL + 1];
} admin_search;

typedef struct admin_user_page {
    auth_user_page found;
    char next[WORDS_EMAIL + 1]; /* empty: that was all. A page may be empty and not the last */
} admin_user_page;

/* Reads. in: admin_search, by e-mail address or name; out: admin_user_page. */
int admin_users_some(store_tx *tx, const void *in, void *out);
/* in: admin_search, by id or name; out: org_page. */
int admin_orgs_some(store_tx *tx, const void *in, void *out);

typedef struct admin_change {
    auth_caller who;
    char id[AUTH_ID + 1];
    bool set_disabled, disabled;
    bool set_admin, admin;
    const char *tier; /* NULL: stays */
} admin_change;
/* A write. in: admin_change, out: auth_user. SV_E_LAST_ADMIN. */
int admin_change_user(store_tx *tx, const void *in, void *out);
/* In a write: puts the row, whose `disabled` has changed. When it is set, the user's sessions and
 * keys do not hold any more, and he hears of it by mail. */
int admin_switch(store_tx *tx, user_row *row, const char *actor);

/* A write. in: admin_change, of which who and id count; out: auth_user. SV_E_TWO_FACTOR_STATE. */
int admin_drop_factor(store_tx *tx, const void *in, void *out);

typedef struct admin_reset {
    char email[WORDS_EMAIL + 1];
    char hash[PASSWORD_HASH]; /* empty: the password stays */
    bool drop_factor;
    const char *actor;
} admin_reset;
/* A write. in: admin_reset, out: auth_user. */
int admin_reset_user(store_tx *tx, const void *in, void *out);

typedef struct admin_act_as {
    auth_caller who;
    char id[AUTH_ID + 1]; /* of the user */
    char session[AUTH_ID + 1], network[WORDS_NETWORK + 1], reason[AUTH_NAME + 1];
} admin_act_as;
/* A write. in: admin_act_as, out: auth_login_result. A session of the user without a refresh token. */
int admin_impersonate(store_tx *tx, const void *in, void *out);

typedef struct admin_org_tier {
    auth_caller who;
    char id[AUTH_ID + 1];
    const char *tier;
} admin_org_tier;
/* A write. in: admin_org_tier, out: auth_org, with the caller's own role there. */
int admin_set_org_tier(store_tx *tx, const void *in, void *out);

#endif
