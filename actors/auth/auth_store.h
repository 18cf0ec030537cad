/*  auth_store.h - what the auth actor keeps, and the store functions that read and change it.
 *
 *  Everything that is used once or counted is decided and changed in one transaction, together with
 *  its events in the audit log: who asks twice at the same moment is answered once. A verdict (a
 *  wrong password, a spent token) is an answer and not a failure: the function commits what the
 *  verdict changes and puts the error's number into `code` of its result.
 *
 *  Thread: store_fns where the store runs them; the rest any.   Ownership: inputs are borrowed; text
 *  in results is copied, lists live in the arena of the store_op.   Limits: AUTH_*.
 *  Errors: those of the store. */
#ifndef AUTH_AUTH_STORE_H
#define AUTH_AUTH_STORE_H

#include "password.h"
#include "store.h"
#include "words.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

enum {
    AUTH_ID = 36,
    AUTH_NAME = 200,
    AUTH_WORD = 16, /* roles, tiers */
    AUTH_LOCALE = 8,
    AUTH_PAGE = 100,
    AUTH_PAGE_BYTES = 32000, /* of texts in a page of long ones: it has to fit into a message */
    AUTH_PIECE = 512,        /* rows looked at in one read */
    AUTH_MAIL_PAUSE_MS = 10 * 60 * 1000, /* between two mails that a stranger can bring about */
    TRIES_FREE = 5,                      /* the fifth wrong try begins a delay */
    TRIES_WINDOW_MS = 15 * 60 * 1000,
    TRIES_FIRST_MS = 30 * 1000,
    TRIES_MOST_MS = 15 * 60 * 1000,
    TRIES_HOME_DAYS = 90
};

extern const sv_message user_row_msg, org_row_msg, member_row_msg, session_row_msg, refresh_row_msg,
    invitation_row_msg, tries_row_msg, setup_row_msg, audit_row_msg, audit_head_msg,
    signing_row_msg, link_row_msg, half_row_msg, factor_row_msg, recovery_row_msg, outbox_row_msg;
extern const store_table auth_users, auth_orgs, auth_members, auth_invitations_table,
    auth_sessions_table, auth_refreshes, auth_tries, auth_setups, auth_audits, auth_heads,
    auth_signings, auth_links, auth_halves, auth_factors, auth_recoveries, auth_outbox;
extern const sv_message revocation_row_msg, revocation_head_msg, key_row_msg, grant_row_msg;
extern const store_table auth_revocations_table, auth_revocation_head, auth_keys_table, auth_grants;
extern const store_schema auth_schema;

/* ---- rows by a value (find.c) ---- */

/* The rows whose first n fields of an index (NULL: of the key) are those of `like`; limit 0: all. */
store_range auth_same(const store_table *table, const char *index, const void *like, uint32_t n,
                      uint32_t limit);
/* The first of them, read for writing again. `row_id` is its key, inside of it; that text lives as long
 * as the transaction's arena. SV_E_NOT_FOUND. */
int auth_find(store_tx *tx, const store_table *table, const char *index, const void *like,
              void *row, sv_str *row_id);

/* ---- users (users.c) ---- */

typedef struct auth_user {
    char id[AUTH_ID + 1], email[WORDS_EMAIL + 1], name[AUTH_NAME + 1], org[AUTH_ID + 1];
    char hash[PASSWORD_HASH];
    char tier[AUTH_WORD + 1], locale[AUTH_LOCALE + 1]; /* empty: free, en */
    bool disabled, admin, verified, two_factor, service;
    int64_t created, last_login;
} auth_user;

/* The message's struct; text is borrowed. */
auth_user_info auth_user_show(const auth_user *u);
/* The one with that e-mail address or, when it is empty, that id. SV_E_NOT_FOUND. */
int auth_user_find(store_tx *tx, const char *email, const char *id, user_row *ret);
void auth_user_copy(const user_row *row, auth_user *ret);

/* Is there a platform administrator? */
int auth_has_admin(store_tx *tx, bool *ret);
/* Writes. in: the hash of a new setup token, out: bool, was it kept? It is not when there is an
 * administrator; then no token is valid. */
int auth_setup_begin(store_tx *tx, const void *in, void *out);
/* in: the hash of a setup token, out: bool, is it the valid one? */
int auth_setup_valid(store_tx *tx, const void *in, void *out);

typedef struct auth_user_new {
    auth_user user;           /* id, email, name, org, hash, admin */
    const uint8_t *setup;     /* hash of the setup token that this uses up; NULL: none */
    char actor[AUTH_ID + 29]; /* who does it, for the audit log */
} auth_user_new;
/* A write. out: auth_user. SV_E_CONFLICT, SV_E_SETUP_TOKEN. */
int auth_user_insert(store_tx *tx, const void *in, void *out);

/* In a write: the account with its organization. `ret` borrows from `u`. SV_E_CONFLICT. */
int auth_user_make(store_tx *tx, const auth_user *u, user_row *ret);

typedef struct auth_user_change {
    char email[WORDS_EMAIL + 1];
    bool disabled;
    char actor[AUTH_ID + 29];
} auth_user_change;
/* A write. out: auth_user. SV_E_NOT_FOUND. */
int auth_user_switch(store_tx *tx, const void *in, void *out);

typedef struct auth_user_page {
    auth_user users[AUTH_PAGE];
    uint32_t n;
    bool more;
} auth_user_page;
/* A read. in: text, the e-mail address to go on behind; out: auth_user_page. */
int auth_user_some(store_tx *tx, const void *in, void *out);

typedef struct auth_who {
    char email[WORDS_EMAIL + 1]; /* empty: id counts */
    char id[AUTH_ID + 1];
    char keep[AUTH_ID + 1]; /* a session that stays */
    char actor[AUTH_ID + 29];
} auth_who;

typedef struct auth_me_change_in {
    auth_who who;
    bool with_name, with_locale; /* false: it stays */
    char name[AUTH_NAME + 1], locale[AUTH_LOCALE + 1];
} auth_me_change_in;
/* A write. out: auth_user. SV_E_NOT_FOUND. */
int auth_me_change_end(store_tx *tx, const void *in, void *out);

typedef struct auth_me_result {
    auth_user user;
    auth_org_info *orgs; /* with their text, in the arena */
    uint32_t n;
} auth_me_result;
/* A read. in: auth_who, out: auth_me_result. SV_E_NOT_FOUND. */
int auth_me_read(store_tx *tx, const void *in, void *out);

/* ---- wrong tries (tries.c) ---- */

/* How long `name` has to wait, 0: not at all. */
int tries_blocked(store_tx *tx, const uint8_t name[WORDS_HASH], int64_t *ret_ms);
/* Not more than once in `ms`: *ret_may, and then not again before. */
int tries_pause(store_tx *tx, const uint8_t name[WORDS_HASH], int64_t ms, bool *ret_may);
/* One of at most `most` in a window of `window_ms`. *ret_wait_ms is over 0 when there were as many. */
int tries_within(store_tx *tx, const uint8_t name[WORDS_HASH], int64_t most, int64_t window_ms,
                 int64_t *ret_wait_ms);
/* One more. *ret_blocks: a delay began. */
int tries_add(store_tx *tx, const uint8_t name[WORDS_HASH], bool *ret_blocks);
int tries_forget(store_tx *tx, const uint8_t name[WORDS_HASH]);
/* The network is one that the account was logged in from, for TRIES_HOME_DAYS: tries from there have
 * a counter of their own. */
int tries_at_home(store_tx *tx, const char *email, const char *network);
/* Name of the account's counter for tries from there: `common`, unless it is such a network. */
int tries_account(store_tx *tx, const char *email, const char *network,
                  const uint8_t common[WORDS_HASH], uint8_t ret[WORDS_HASH]);

/* ---- passwords and sessions (login.c, sessions.c) ---- */

/* A try to log in or to change a password. */
typedef struct auth_try {
    auth_who who;
    char network[WORDS_NETWORK + 1];
    uint8_t account_key[WORDS_HASH], network_key[WORDS_HASH];
} auth_try;

/* Fills both keys: by e-mail address, or by id when there is none. */
void auth_try_keys(auth_try *t);

typedef struct auth_try_known {
    int64_t blocked_ms; /* do not even begin */
    bool found;
    auth_user user;
} auth_try_known;
/* A read. in: auth_try, out: auth_try_known. */
int auth_try_look(store_tx *tx, const void *in, void *out);

/* The session that a login begins. */
typedef struct auth_session_new {
    char session[AUTH_ID + 1];
    char device[AUTH_NAME + 1];
    char network[WORDS_NETWORK + 1];
    uint8_t refresh[WORDS_HASH];
    bool remember;
    int64_t life_ms, idle_ms;
    int64_t most; /* of one user; the one that was used longest ago ends for a new one */
} auth_session_new;

/* The verdict on a try, after its password was compared with the hash in `known`. A try that was
 * compared while others failed counts for nothing once they have brought a delay: it is refused,
 * right or wrong. */
typedef struct auth_try_end {
    const auth_try *try;
    const auth_try_known *known;
    bool right;
    char new_hash[PASSWORD_HASH]; /* replaces it; empty: it stays */
    /* of a login */
    auth_session_new start;
    char half[AUTH_ID + 1];       /* the half-login, where a second factor is to come */
    bool verify;                  /* the address must be confirmed */
    const struct link_made *link; /* sent for that; NULL: none */
} auth_try_end;

typedef struct auth_login_result {
    int code; /* 0, SV_E_CREDENTIALS, SV_E_LOCKED_OUT, SV_E_REFRESH_TOKEN, SV_E_NOT_VERIFIED, ... */
    uint32_t retry_after_ms;
    bool two_factor; /* the password was right, and no more */
    auth_user user;
    char session[AUTH_ID + 1], org[AUTH_ID + 1], role[AUTH_WORD + 1], tier[AUTH_WORD + 1];
    char impersonator[AUTH_ID + 1];
    bool remember;
    int64_t now_ms, expires; /* of the session */
} auth_login_result;

/* In a write: the verdict. *ret_over: `ret` says why it is over. Otherwise the password is right,
 * `row` is the account and its counter is cleared. `event` names a wrong try in the audit log. */
int auth_try_judge(store_tx *tx, const auth_try_end *e, const char *event, user_row *row,
                   auth_login_result *ret, bool *ret_over);
/* In a write: begins a session of ret->user, with ret->now_ms. */
int auth_session_start(store_tx *tx, const auth_session_new *n, auth_login_result *ret);
/* Role and tier of the user in the session's organization, or in his own once he is not in it any
 * more. */
int auth_session_rights(store_tx *tx, sv_str org, const user_row *user, auth_login_result *ret);

/* In a write: puts the account with its new hash, ends its sessions but `keep`, and says it by mail. */
int auth_password_changed(store_tx *tx, user_row *row, const char *keep, auth_user *ret);

/* Writes. in: auth_try_end, out: auth_login_result. */
int auth_login_end(store_tx *tx, const void *in, void *out);
int auth_password_end(store_tx *tx, const void *in, void *out);

typedef struct auth_refresh_in {
    uint8_t token[WORDS_HASH], next[WORDS_HASH];
    int64_t idle_ms;
} auth_refresh_in;
/* A write. in: auth_refresh_in, out: auth_login_result. */
int auth_refresh_swap(store_tx *tx, const void *in, void *out);
typedef struct auth_end_in {
    uint8_t token[WORDS_HASH]; /* of a refresh token ... */
    char session[AUTH_ID + 1]; /* ... or a session; empty: the token counts */
    char user[AUTH_ID + 1];    /* whose it must be; empty: anybody's */
} auth_end_in;
/* A write. in: auth_end_in, out: bool, did a session end? */
int auth_session_end(store_tx *tx, const void *in, void *out);
/* In a write: ends one, and its access tokens with it. */
int auth_session_drop(store_tx *tx, session_row *s);
/* A write. in: auth_who, out: int64_t, sessions that ended. SV_E_NOT_FOUND. */
int auth_sessions_end(store_tx *tx, const void *in, void *out);
/* Ends the sessions of a user but the one called `keep`. */
int auth_revoke_all(store_tx *tx, sv_str user, const char *keep, int64_t *ret_n);

typedef struct auth_session_list {
    auth_session_info *items; /* newest first, with their text in the arena */
    uint32_t n;
} auth_session_list;
typedef struct auth_sessions_in {
    auth_who who; /* keep: the session that asks */
    int64_t idle_ms;
} auth_sessions_in;
/* A read. in: auth_sessions_in, out: auth_session_list. SV_E_NOT_FOUND. */
int auth_sessions_some(store_tx *tx, const void *in, void *out);

/* ---- signing keys (signing.c) ---- */

enum { SIGNING_KEYS = 2, SIGNING_SEED = 32 };

typedef struct signing_keys {
    struct {
        int64_t number, since;
        uint8_t seed[SIGNING_SEED];
    } key[SIGNING_KEYS]; /* the first one signs; the other one did before and still holds */
    uint32_t n;
    bool made; /* by this write */
} signing_keys;

typedef struct signing_next {
    uint8_t seed[SIGNING_SEED]; /* of a new key */
    int64_t life_ms;            /* make it when the present one has signed for so long; 0: now */
    const char *actor;
} signing_next;
/* A write. in: signing_next, out: signing_keys. The third key is forgotten. */
int signing_rotate(store_tx *tx, const void *in, void *out);

/* ---- audit log (audit.c) ---- */

typedef struct auth_event {
    const char *chain; /* an organization's id; NULL: platform */
    const char *event, *actor, *target, *network;
    const char *detail; /* up to AUTH_NAME bytes */
} auth_event;
/* Appends to its chain in this transaction. */
int audit_add(store_tx *tx, const auth_event *e);

typedef struct auth_audit_page {
    auth_audit_event *items; /* with their text in the arena */
    uint32_t n;
    int64_t next; /* 0: that was all */
} auth_audit_page;
/* A read. in: auth_audit_req, out: auth_audit_page. */
int auth_audit_some(store_tx *tx, const void *in, void *out);

/* Who asks for events. */
typedef struct auth_audit_ask {
    const auth_audit_req *request;
    bool any; /* the operator and platform administrators: every chain */
    char user[AUTH_ID + 1], org[AUTH_ID + 1]; /* of the ticket: its chain, when he administers it */
} auth_audit_ask;
/* A read. in: auth_audit_ask, out: auth_audit_page. SV_E_NOT_FOUND, SV_E_ROLE. */
int auth_audit_for(store_tx *tx, const void *in, void *out);

typedef struct auth_verify {
    bool done, heads; /* heads: all rows were looked at, the ends follow */
    bool bad;         /* the chain at hand is broken: the rest of it is passed over */
    char chain[AUTH_ID + 1];
    int64_t number;
    uint8_t before[WORDS_HASH];
    int64_t chains, events, broken;
    char first_chain[AUTH_ID + 1]; /* the first that is broken, and where */
    int64_t first_number;
    char head[2 * WORDS_HASH + 1]; /* of the platform's chain */
} auth_verify;
/* A read, to be called until `done`; in = out: auth_verify, zero at first. */
int auth_verify_some(store_tx *tx, const void *in, void *out);

/* store_words.c */
/* Refuses, in place of what was said before. */
int auth_fail(store_tx *tx, int code, const char *field, const char *words);
/* A copy in `a`; an empty text stays absent. *ok is false when there is no memory. */
sv_str auth_kept(arena *a, sv_str s, bool *ok);

#endif
