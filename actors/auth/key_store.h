/*  key_store.h - API keys and service accounts in the store.
 *
 *  A key is "sv_", twelve hex digits, "_", 64 hex digits (256 random bits):
 *      sv_[0-9a-f]{12}_[0-9a-f]{64}
 *  The twelve are the end of its id. Kept is the SHA-256 of the whole: 256 random bits need no slow
 *  hash, and a look-up by hash takes the same time for every wrong key. A key speaks for one user in
 *  one organization; what it may do is judged when it is used, by the user's role of that moment, so
 *  that no key outlives a right. Expired keys are listed for another month.
 *
 *  Thread: store_fns.   Ownership: results have their text in the arena.   Limits: auth.keys_per_user,
 *  KEY_*, SERVICE_ACCOUNTS.   Errors: those of the store, and those that are named, with words in
 *  store_error. */
#ifndef AUTH_KEY_STORE_H
#define AUTH_KEY_STORE_H

#include "auth_store.h"

enum {
    KEY_TEXT = 3 + 12 + 1 + 64,
    KEY_SHOWN = 3 + 12,
    KEY_MODEL = 128,        /* bytes of a model's name */
    KEY_PAGE_BYTES = 40000, /* of keys in one answer */
    SERVICE_ACCOUNTS = 100  /* of one organization */
};

#define KEY_SCOPES "chat, read, write, files, org or admin"
bool key_scope_known(sv_str name);
bool key_scopes_have(sv_strs scopes, const char *name);

/* A new key: its id, what is shown of it, the whole. */
void key_make(char id[AUTH_ID + 1], char shown[KEY_SHOWN + 1], char key[KEY_TEXT + 1]);

/* Who asks about keys. */
typedef struct key_asker {
    auth_who who;          /* for the operator by e-mail address, which may be empty */
    char org[AUTH_ID + 1]; /* of the ticket */
    char key[AUTH_ID + 1]; /* key that the ticket was made from; empty: a session */
    bool operator;
} key_asker;

typedef struct key_new {
    key_asker asker;
    const auth_key_new_req *request;
    char id[AUTH_ID + 1], shown[KEY_SHOWN + 1];
    uint8_t hash[WORDS_HASH];
    int64_t most; /* keys of one user */
} key_new;
/* A write. out: auth_key. SV_E_NOT_FOUND, SV_E_INVALID, SV_E_ROLE, SV_E_QUOTA with the field. */
int key_insert(store_tx *tx, const void *in, void *out);

typedef struct key_look {
    key_asker asker;
    sv_str id;    /* of one key */
    sv_str after; /* of a list: the last one seen */
} key_look;
/* A read. in: key_look, out: auth_key. SV_E_NOT_FOUND also for keys of others. */
int key_one(store_tx *tx, const void *in, void *out);
/* A write. in: key_look, out: auth_key, as it was. SV_E_NOT_FOUND, SV_E_DENIED. */
int key_remove(store_tx *tx, const void *in, void *out);

typedef struct key_page {
    auth_key *items; /* newest first */
    uint32_t n;
    sv_str next;
} key_page;
/* A read. in: key_look, out: key_page: the asker's in the organization, all of it for its
 * administrators. SV_E_NOT_FOUND. */
int key_some(store_tx *tx, const void *in, void *out);

/* A read. in: the key's hash, out: auth_key_check_reply. SV_E_API_KEY. */
int key_check(store_tx *tx, const void *in, void *out);
/* A write. in: auth_key_used_req, out: nothing. Never goes back, never lies in the future. */
int key_used(store_tx *tx, const void *in, void *out);

/* In a write: the keys of a user, those for one organization or (org {NULL, 0}) all; each is revoked
 * by itself, so that edges forget it. */
int keys_drop(store_tx *tx, sv_str user, sv_str org);

/* ---- service accounts (services.c) ---- */

typedef struct service_new {
    key_asker asker;
    const auth_service_new_req *request;
    char id[AUTH_ID + 1];
} service_new;
/* A write. out: auth_member. SV_E_NOT_FOUND, SV_E_ROLE, SV_E_INVALID, SV_E_QUOTA. */
int service_insert(store_tx *tx, const void *in, void *out);
/* In a write, when its one membership has ended: the account and its keys are no more. Nothing for
 * somebody who is no service account. */
int service_drop(store_tx *tx, sv_str user);

#endif
