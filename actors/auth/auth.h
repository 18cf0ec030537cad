/*  auth.h - the auth actor: its state, and its methods in files by subject.
 *  Thread: the loop's; passwords are worked on by sv_work's two threads of low priority, with a
 *  bounded queue in front. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "auth_store.h"
#include "jwt.h"
#include "samovar.h"

typedef struct auth {
    sv_process *process;
    uint64_t memory_bytes; /* of one password hash */
    int64_t idle_ms, life_ms;
    char nobody[PASSWORD_HASH]; /* compared with when there is no account */
    /* the setup token while it is being stored */
    char setup_token[WORDS_TOKEN + 1];
    uint8_t setup_hash[WORDS_HASH];
    bool setup_kept;
    /* access tokens */
    const char *issuer;
    int64_t key_life_ms;
    jws_signer signer;
    jwk keys[SIGNING_KEYS]; /* public; the first one is the signer's */
    uint32_t n_keys;        /* 0: not read yet */
    int64_t key_since;
    bool rotating;
    signing_next next;
    signing_keys stored;
} auth;

extern const sv_actor auth_actor;

/* What a worker does about one try or one new password. */
typedef struct auth_work {
    sv_str password;
    const char *hash;      /* to compare with; NULL: there is nothing to compare */
    sv_str next;           /* hashed when `password` is right */
    bool rehash;           /* hash `password` anew when it is right and its hash is weaker */
    uint64_t memory_bytes; /* of new hashes */
    bool right;
    char new_hash[PASSWORD_HASH]; /* empty: there is none */
    sv_error err;
} auth_work;
/* One comparison, and a new hash only behind a right one. For sv_work. */
int auth_work_run(void *arg);

/* Reads the keys and makes a new one when it is time for it; once in a while from the loop. */
void auth_keys_look(auth *a);
void auth_keys_clear(auth *a);
/* signing.c */
sv_handler auth_jwks, auth_key_rotate;
/* 0, or SV_E_UNAVAILABLE as long as the keys are not read: before a session is written. */
int auth_keys_ready(const auth *a, sv_error *err);
/* Appends an access token with a new jti. */
int auth_sign(const auth *a, const auth_claims *c, buf *out, sv_error *err);

/* passwords.c */
sv_handler auth_setup, auth_user_add, auth_login, auth_change_password;
/* accounts.c */
sv_handler auth_user_list, auth_user_disable, auth_me, auth_sessions, auth_refresh, auth_logout,
    auth_logout_all, auth_audit, auth_audit_verify;

/* store_write, then whatever follows from it: edges hear of revocations, mails go out. Every write
 * of a method is one of these. */
int auth_write(sv_call *call, store_fn *fn, const void *in, void *out);

/* Who the call is for: of the ticket, or `email` when the operator asks. */
int auth_who_of(sv_call *call, sv_str email, auth_who *ret);
/* 0 when the platform's operator calls. */
int auth_operator_only(sv_call *call);
/* The answer of a login or a refresh. */
int auth_reply_session(sv_call *call, const auth_login_result *r, const char *token);

/* The same questions to an environment that no process has open. */
int auth_user_list_answer(sv_offline *o, const void *request, void *reply);
int auth_audit_answer(sv_offline *o, const void *request, void *reply);
int auth_audit_verify_answer(sv_offline *o, const void *request, void *reply);

#endif
