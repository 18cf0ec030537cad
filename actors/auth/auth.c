/*  auth.c - the actor's table, its start and stop. */
#include "auth.h"

#include "error.h"
#include "log.h"
#include "seal.h"

#include <stdlib.h>

/* ---- life ---- */

/* The token is shown once it is on disk; a new one is made at every start until it was used. */
static void setup_stored(void *arg, int code, const sv_error *err)
{
    auth *a = arg;
    if (code)
        log_write(LOG_ERROR, "the setup token cannot be stored", LOG_ERR(err));
    else if (a->setup_kept)
        log_write(LOG_WARN,
                  "there is no administrator yet: samovar user add EMAIL --admin "
                  "--password-stdin, or auth.setup with this token, which works once",
                  LOG_STR("setup_token", a->setup_token));
    seal_wipe(a->setup_token, sizeof a->setup_token);
}

static int init(sv_process *process, void **state, sv_error *err)
{
    const config *c = sv_config(process);
    char unknown[WORDS_TOKEN + 1];
    auth *a = calloc(1, sizeof *a);
    if (a == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    a->process = process;
    a->memory_bytes = (uint64_t)config_int(c, "auth.password_memory");
    a->idle_ms = config_int(c, "auth.session_idle_ms");
    a->life_ms = config_int(c, "auth.session_life_ms");
    a->issuer = config_str(c, "auth.issuer");
    a->key_life_ms = config_int(c, "auth.key_life_ms");
    token_new("none", unknown);
    int rc = password_hash(sv_cstr(unknown), a->memory_bytes, a->nobody, err);
    token_new("svs_", a->setup_token);
    token_hash(sv_cstr(a->setup_token), a->setup_hash);
    if (rc == 0 && (rc = sv_store_write(process, "auth.setup", auth_setup_begin, a->setup_hash,
                                        &a->setup_kept, setup_stored, a)))
        sv_fail(err, rc, NULL, NULL);
    if (rc) {
        free(a);
        return rc;
    }
    auth_keys_look(a);
    *state = a;
    return 0;
}

static void tick(sv_process *process, void *state)
{
    (void)process;
    auth_keys_look(state);
}

static void stop(sv_process *process, void *state)
{
    (void)process;
    auth_keys_clear(state);
    free(state);
}

static const sv_method methods[] = {
    {.name = "setup",
     .request = &auth_setup_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_setup,
     .doc = "Makes the first administrator, with the token from the log."},
    {.name = "user_add",
     .request = &auth_user_add_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_user_add,
     .doc = "Makes a user; for the operator."},
    {.name = "user_list",
     .request = &auth_user_list_req_msg,
     .reply = &auth_user_list_reply_msg,
     .handler = auth_user_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Users in order of their e-mail addresses; for the operator."},
    {.name = "user_disable",
     .request = &auth_user_disable_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_user_disable,
     .flags = SV_IDEMPOTENT,
     .doc = "Shuts an account and ends its sessions, or opens it again; for the operator."},
    {.name = "login",
     .request = &auth_login_req_msg,
     .reply = &auth_login_reply_msg,
     .handler = auth_login,
     .doc = "Begins a session with a password."},
    {.name = "refresh",
     .request = &auth_refresh_req_msg,
     .reply = &auth_login_reply_msg,
     .handler = auth_refresh,
     .doc = "Exchanges a refresh token for the next one."},
    {.name = "logout",
     .request = &auth_logout_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_logout,
     .flags = SV_IDEMPOTENT,
     .doc = "Ends the session of a refresh token."},
    {.name = "logout_all",
     .request = &auth_who_req_msg,
     .reply = &auth_logout_all_reply_msg,
     .handler = auth_logout_all,
     .doc = "Ends all sessions of a user."},
    {.name = "sessions",
     .request = &auth_who_req_msg,
     .reply = &auth_sessions_reply_msg,
     .handler = auth_sessions,
     .flags = SV_IDEMPOTENT,
     .doc = "Sessions of a user."},
    {.name = "change_password",
     .request = &auth_change_password_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_change_password,
     .doc = "Takes another password and ends the other sessions."},
    {.name = "me",
     .request = &auth_who_req_msg,
     .reply = &auth_me_reply_msg,
     .handler = auth_me,
     .flags = SV_IDEMPOTENT,
     .doc = "A user and the organizations he is in."},
    {.name = "jwks",
     .request = &bus_empty_msg,
     .reply = &auth_jwks_reply_msg,
     .handler = auth_jwks,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Public keys of access tokens."},
    {.name = "key_rotate",
     .request = &bus_empty_msg,
     .reply = &auth_jwks_reply_msg,
     .handler = auth_key_rotate,
     .doc = "Makes a new key for access tokens; the one before still holds, older ones do not. For "
            "the operator."},
    {.name = "audit",
     .request = &auth_audit_req_msg,
     .reply = &auth_audit_reply_msg,
     .handler = auth_audit,
     .flags = SV_IDEMPOTENT,
     .doc = "Events of the audit log; for the operator."},
    {.name = "audit_verify",
     .request = &bus_empty_msg,
     .reply = &auth_audit_verify_reply_msg,
     .handler = auth_audit_verify,
     .flags = SV_IDEMPOTENT,
     .doc = "Looks for events of the audit log that were changed or taken out; for the operator."},
};

static const sv_question questions[] = {
    {"user_list", &auth_user_list_req_msg, &auth_user_list_reply_msg, auth_user_list_answer, NULL,
     "users, as auth.user_list"},
    {"audit", &auth_audit_req_msg, &auth_audit_reply_msg, auth_audit_answer, NULL,
     "events of the audit log, as auth.audit"},
    {"audit_verify", &bus_empty_msg, &auth_audit_verify_reply_msg, auth_audit_verify_answer, NULL,
     "looks for changed events, as auth.audit_verify"},
};

const sv_actor auth_actor = {
    .name = "auth",
    .version = SAMOVAR_VERSION,
    .doc = "users, organizations, sessions and the audit log",
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .store = &auth_schema,
    .questions = questions,
    .n_questions = sizeof questions / sizeof *questions,
    .init = init,
    .tick = tick,
    .tick_ms = 1000,
    .stop = stop,
};
