/*  auth.h - the auth actor: its state, and its methods in files by subject.
 *  Thread: the loop's; passwords are worked on by sv_work's two threads of low priority, with a
 *  bounded queue in front. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "auth_store.h"
#include "feed.h"
#include "jwt.h"
#include "revocations.h"
#include "samovar.h"
#include "ticket.h"

enum { OUTBOX_SLOTS = 4 }; /* mails handed over at once */
typedef struct outbox_slot {
    struct auth *auth;
    char id[AUTH_ID + 1]; /* empty: it is free */
    sv_stream *stream;
} outbox_slot;
typedef struct outbox {
    outbox_slot slots[OUTBOX_SLOTS];
    int64_t pause_ms, not_before; /* Unix ms */
    loop_timer later;
} outbox;

/* orgs.c: deletions that were interrupted */
typedef struct org_ends {
    int64_t owned_most;
    bool left, writing, done;
} org_ends;

typedef struct auth {
    sv_process *process;
    uint64_t memory_bytes; /* of one password hash */
    int64_t idle_ms, life_ms, short_ms, sessions_most;
    bool verify;                /* an address must be confirmed before the first login */
    const char *tier;           /* of new users */
    char nobody[PASSWORD_HASH]; /* compared with when there is no account */
    /* the setup token until it was shown */
    char setup_token[WORDS_TOKEN + 1];
    uint8_t setup_hash[WORDS_HASH];
    bool setup_kept, setup_stored;
    uint32_t setup_ticks; /* that the platform's address was waited for */
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
    revocations_told revocations;
    feed_told feed;
    int64_t keys_per_user;
    /* tickets of delegated work */
    ticket_signer tickets;
    bool signs_tickets;
    outbox outbox; /* outbox.c */
    org_ends orgs;
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
/* revocations.c */
sv_handler auth_revocations_read;
/* keys.c, services.c, grants.c */
sv_handler auth_key_new, auth_keys, auth_key_one, auth_key_delete, auth_key_check, auth_key_used,
    auth_service_new, auth_grant_new, auth_grant_end, auth_delegate;
/* 0, or SV_E_UNAVAILABLE as long as the keys are not read: before a session is written. */
int auth_keys_ready(const auth *a, sv_error *err);
/* Appends an access token with a new jti, which is dated `at_ms`: of the write that read the claims.
 * The moment of signing would be behind a revocation whose batch began before it. */
int auth_sign(const auth *a, const auth_claims *c, int64_t at_ms, buf *out, sv_error *err);
/* Tokens are dated to the second: one of the very second of a revocation would not hold. Waits for the
 * next one then and reads again what the user may. On a fiber, before auth_sign. */
int auth_claims_settle(sv_call *call, auth_login_result *r);
/* Appends the half-login token `id`. */
int auth_half_sign(const auth *a, const char *user, const char *id, int64_t now_ms, buf *out,
                   sv_error *err);

/* passwords.c */
sv_handler auth_setup, auth_user_add, auth_login, auth_change_password;
/* Everything about a new user but the hash, after all checks of what was written. */
int auth_fill_user(sv_call *call, sv_str email, sv_str name, sv_str password, auth_user *u);
/* self_service.c */
sv_handler auth_register, auth_verify_email, auth_verify_again, auth_forgot, auth_reset;
/* two_factor.c */
sv_handler auth_2fa_setup, auth_2fa_enable, auth_2fa_disable, auth_2fa_recovery_codes,
    auth_login_code;
/* accounts.c */
sv_handler auth_user_list, auth_user_disable, auth_me, auth_me_change, auth_sessions, auth_refresh,
    auth_logout, auth_logout_all, auth_session_end_one, auth_audit, auth_audit_verify;

/* store_write, then whatever follows from it: edges hear of revocations, mails go out. Every write
 * of a method is one of these. */
int auth_write(sv_call *call, store_fn *fn, const void *in, void *out);

/* Who the call is for: of the ticket, or `email` when the operator asks. */
int auth_who_of(sv_call *call, sv_str email, auth_who *ret);
/* Gives SV_E_NOT_FOUND its words: there is no such user. */
int auth_named(sv_call *call, int rc);
/* 0 when the platform's operator calls. */
int auth_operator_only(sv_call *call);
/* The answer of a login, a refresh or another way into a session; `token` empty: there is no refresh
 * token. */
int auth_reply_session(sv_call *call, const auth_login_result *r, const char *token);

/* The same questions to an environment that no process has open. */
int auth_user_list_answer(sv_offline *o, const void *request, void *reply);
int auth_audit_answer(sv_offline *o, const void *request, void *reply);
int auth_audit_verify_answer(sv_offline *o, const void *request, void *reply);

#endif
