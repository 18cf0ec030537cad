/*  auth.c - the actor's table, its start and stop. */
#include "auth.h"

#include "budgets.h"
#include "providers.h"
#include "error.h"
#include "links.h"
#include "log.h"
#include "orgs.h"
#include "outbox.h"
#include "revocations.h"
#include "seal.h"
#include "ticket_seed.h"

#include <stdio.h>
#include <stdlib.h>

enum { SETUP_TICKS = 30 };

/* ---- writes ---- */

int auth_write(sv_call *call, store_fn *fn, const void *in, void *out)
{
    auth *a = sv_process_state(sv_call_process(call));
    int rc = store_write(call, fn, in, out);
    revocations_look(a);
    feed_look(a);
    outbox_look(a);
    return rc;
}

/* ---- life ---- */

/* The token is shown once it is on disk; a new one is made at every start until it was used. */
static void setup_stored(void *arg, int code, const sv_error *err)
{
    auth *a = arg;
    if (code) log_write(LOG_ERROR, "the setup token cannot be stored", LOG_ERR(err));
    a->setup_stored = code == 0 && a->setup_kept;
    if (!a->setup_stored) seal_wipe(a->setup_token, sizeof a->setup_token);
}

/* The link, when it is known where the edge listens; it may start later than this process. */
static void setup_show(auth *a)
{
    char link[LINK_URL];
    if (!a->setup_stored) return;
    int rc = outbox_link(a, "setup", a->setup_token, link, sizeof link, NULL);
    if (rc && a->setup_ticks++ < SETUP_TICKS) return;
    if (rc) snprintf(link, sizeof link, "/setup#token=%s", a->setup_token);
    log_write(LOG_WARN,
              "there is no administrator yet: open the setup link, which works once, or "
              "samovar user add EMAIL --admin --password-stdin",
              LOG_STR("setup_link", link));
    seal_wipe(link, sizeof link);
    seal_wipe(a->setup_token, sizeof a->setup_token);
    a->setup_stored = false;
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
    a->short_ms = config_int(c, "auth.session_short_ms");
    a->sessions_most = config_int(c, "auth.sessions_per_user");
    a->tier = config_str(c, "auth.tier");
    const char *verify = config_str(c, "auth.verify_email");
    a->verify = strcmp(verify, "always") == 0 ||
                (strcmp(verify, "auto") == 0 && config_str(c, "mail.smtp_url"));
    a->orgs = (org_ends){.owned_most = config_int(c, "auth.orgs_per_user"), .left = true};
    a->issuer = config_str(c, "auth.issuer");
    a->key_life_ms = config_int(c, "auth.key_life_ms");
    a->keys_per_user = config_int(c, "auth.keys_per_user");
    int rc = ticket_seed_take(&a->tickets, &a->signs_tickets, err);
    token_new("none", unknown);
    if (rc == 0) rc = password_hash(sv_cstr(unknown), a->memory_bytes, a->nobody, err);
    token_new("svs_", a->setup_token);
    token_hash(sv_cstr(a->setup_token), a->setup_hash);
    if (rc == 0 && (rc = sv_store_write(process, "auth.setup", auth_setup_begin, a->setup_hash,
                                        &a->setup_kept, setup_stored, a)))
        sv_fail(err, rc, NULL, NULL);
    if (rc) {
        ticket_signer_clear(&a->tickets);
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
    revocations_tick(state);
    feed_tick(state);
    outbox_look(state);
    orgs_tick(state);
    setup_show(state);
}

static void stop(sv_process *process, void *state)
{
    (void)process;
    outbox_stop(state);
    auth_keys_clear(state);
    ticket_signer_clear(&((auth *)state)->tickets);
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
    {.name = "register",
     .request = &auth_register_req_msg,
     .reply = &auth_status_reply_msg,
     .handler = auth_register,
     .doc = "Makes an account of one's own; the answer tells nothing about the address."},
    {.name = "verify_email",
     .request = &auth_verify_req_msg,
     .reply = &auth_status_reply_msg,
     .handler = auth_verify_email,
     .doc = "Confirms an e-mail address with the token of the link."},
    {.name = "verify_again",
     .request = &auth_who_req_msg,
     .reply = &auth_status_reply_msg,
     .handler = auth_verify_again,
     .doc = "Sends the link that confirms an address once more, at most once in ten minutes."},
    {.name = "forgot",
     .request = &auth_forgot_req_msg,
     .reply = &auth_status_reply_msg,
     .handler = auth_forgot,
     .doc = "Sends a link for a new password; the answer tells nothing about the address."},
    {.name = "reset",
     .request = &auth_reset_req_msg,
     .reply = &auth_status_reply_msg,
     .handler = auth_reset,
     .doc = "Takes a new password with the token of the link, and ends all sessions."},
    {.name = "login",
     .request = &auth_login_req_msg,
     .reply = &auth_login_reply_msg,
     .handler = auth_login,
     .doc = "Begins a session with a password."},
    {.name = "login_code",
     .request = &auth_login_code_req_msg,
     .reply = &auth_login_reply_msg,
     .handler = auth_login_code,
     .doc = "Begins the session of a login that asked for a second factor."},
    {.name = "2fa_setup",
     .request = &auth_2fa_setup_req_msg,
     .reply = &auth_2fa_setup_reply_msg,
     .handler = auth_2fa_setup,
     .doc = "Makes a secret for codes; it counts once auth.2fa_enable was given one."},
    {.name = "2fa_enable",
     .request = &auth_2fa_code_req_msg,
     .reply = &auth_2fa_codes_reply_msg,
     .handler = auth_2fa_enable,
     .doc = "Confirms the secret with a code: logins ask for one from now on."},
    {.name = "2fa_disable",
     .request = &auth_2fa_disable_req_msg,
     .reply = &auth_status_reply_msg,
     .handler = auth_2fa_disable,
     .doc = "Takes the second factor away, with password and code."},
    {.name = "2fa_recovery_codes",
     .request = &auth_2fa_code_req_msg,
     .reply = &auth_2fa_codes_reply_msg,
     .handler = auth_2fa_recovery_codes,
     .doc = "Makes new recovery codes; the former do not work any more."},
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
    {.name = "session_end_one",
     .request = &auth_session_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_session_end_one,
     .doc = "Ends a session of the caller."},
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
    {.name = "me_change",
     .request = &auth_me_change_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_me_change,
     .doc = "Changes name and language of the caller."},
    {.name = "orgs",
     .request = &auth_page_req_msg,
     .reply = &auth_orgs_reply_msg,
     .handler = auth_orgs_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Organizations of the caller."},
    {.name = "org_new",
     .request = &auth_org_new_req_msg,
     .reply = &auth_org_reply_msg,
     .handler = auth_org_new,
     .doc = "Makes an organization."},
    {.name = "org",
     .request = &auth_org_req_msg,
     .reply = &auth_org_reply_msg,
     .handler = auth_org_one,
     .flags = SV_IDEMPOTENT,
     .doc = "An organization of the caller."},
    {.name = "org_change",
     .request = &auth_org_change_req_msg,
     .reply = &auth_org_reply_msg,
     .handler = auth_org_change,
     .flags = SV_IDEMPOTENT,
     .doc = "Changes an organization; for its administrators."},
    {.name = "org_delete",
     .request = &auth_org_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_org_delete,
     .doc = "Ends an organization; for its owners."},
    {.name = "org_switch",
     .request = &auth_switch_req_msg,
     .reply = &auth_login_reply_msg,
     .handler = auth_org_switch,
     .flags = SV_IDEMPOTENT,
     .doc = "Lets the session work in another organization."},
    {.name = "org_leave",
     .request = &auth_org_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_org_leave,
     .doc = "Ends the caller's membership."},
    {.name = "org_transfer",
     .request = &auth_member_req_msg,
     .reply = &auth_org_reply_msg,
     .handler = auth_org_transfer,
     .doc = "Makes another member the owner; the caller stays as an administrator."},
    {.name = "members",
     .request = &auth_members_req_msg,
     .reply = &auth_members_reply_msg,
     .handler = auth_members_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Members of an organization."},
    {.name = "member_change",
     .request = &auth_member_change_req_msg,
     .reply = &auth_member_reply_msg,
     .handler = auth_member_change,
     .flags = SV_IDEMPOTENT,
     .doc = "Gives a member another role; for administrators of the organization."},
    {.name = "member_remove",
     .request = &auth_member_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_member_remove,
     .doc = "Ends a membership; for administrators of the organization."},
    {.name = "invite",
     .request = &auth_invite_req_msg,
     .reply = &auth_invite_reply_msg,
     .handler = auth_invite,
     .doc = "Invites somebody; for administrators of the organization."},
    {.name = "invitations",
     .request = &auth_members_req_msg,
     .reply = &auth_invitations_reply_msg,
     .handler = auth_invitations_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Invitations that can still be used; for administrators of the organization."},
    {.name = "invitation_drop",
     .request = &auth_invitation_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_invitation_drop,
     .doc = "Takes an invitation back; for administrators of the organization."},
    {.name = "invitation_look",
     .request = &auth_invitation_token_req_msg,
     .reply = &auth_invitation_reply_msg,
     .handler = auth_invitation_look,
     .flags = SV_IDEMPOTENT,
     .doc = "What the link of an invitation leads to."},
    {.name = "invitation_accept",
     .request = &auth_invitation_token_req_msg,
     .reply = &auth_org_reply_msg,
     .handler = auth_invitation_accept,
     .doc = "Uses an invitation up, for the caller."},
    {.name = "admin_users",
     .request = &auth_admin_users_req_msg,
     .reply = &auth_user_list_reply_msg,
     .handler = auth_admin_users,
     .flags = SV_IDEMPOTENT,
     .doc = "Finds users; for administrators of the platform."},
    {.name = "admin_user",
     .request = &auth_admin_user_req_msg,
     .reply = &auth_me_reply_msg,
     .handler = auth_admin_user,
     .flags = SV_IDEMPOTENT,
     .doc = "A user and his organizations; for administrators of the platform."},
    {.name = "admin_user_new",
     .request = &auth_user_add_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_user_add,
     .doc = "Makes a user; for administrators of the platform."},
    {.name = "admin_user_change",
     .request = &auth_admin_change_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_admin_user_change,
     .flags = SV_IDEMPOTENT,
     .doc =
         "Disables and enables a user, changes tier and role; for administrators of the platform."},
    {.name = "admin_reset_2fa",
     .request = &auth_admin_user_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_admin_reset_2fa,
     .doc = "Takes a user's second factor away; for administrators of the platform."},
    {.name = "admin_impersonate",
     .request = &auth_impersonate_req_msg,
     .reply = &auth_login_reply_msg,
     .handler = auth_admin_impersonate,
     .doc = "Acts as a user for an hour; for administrators of the platform."},
    {.name = "admin_orgs",
     .request = &auth_admin_users_req_msg,
     .reply = &auth_orgs_reply_msg,
     .handler = auth_admin_orgs,
     .flags = SV_IDEMPOTENT,
     .doc = "Finds organizations; for administrators of the platform."},
    {.name = "admin_org_change",
     .request = &auth_admin_org_change_req_msg,
     .reply = &auth_org_reply_msg,
     .handler = auth_admin_org_change,
     .flags = SV_IDEMPOTENT,
     .doc = "Changes an organization's tier; for administrators of the platform."},
    {.name = "org_list",
     .request = &auth_page_req_msg,
     .reply = &auth_orgs_reply_msg,
     .handler = auth_org_list,
     .flags = SV_IDEMPOTENT,
     .doc = "All organizations; for the operator."},
    {.name = "user_reset",
     .request = &auth_user_reset_req_msg,
     .reply = &auth_user_reply_msg,
     .handler = auth_user_reset,
     .doc = "A new password, the second factor taken away, or both; for the operator."},
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
    {.name = "revocations",
     .request = &auth_revocations_req_msg,
     .reply = &auth_revocations_msg,
     .handler = auth_revocations_read,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Ends of tokens before their time, for those who keep a copy; and the public keys."},
    {.name = "key_new",
     .request = &auth_key_new_req_msg,
     .reply = &auth_key_new_reply_msg,
     .handler = auth_key_new,
     .doc = "Makes an API key; the answer alone shows it."},
    {.name = "keys",
     .request = &auth_keys_req_msg,
     .reply = &auth_keys_reply_msg,
     .handler = auth_keys,
     .flags = SV_IDEMPOTENT,
     .doc = "API keys of the caller, for administrators those of the organization."},
    {.name = "key",
     .request = &auth_key_req_msg,
     .reply = &auth_key_reply_msg,
     .handler = auth_key_one,
     .flags = SV_IDEMPOTENT,
     .doc = "One API key."},
    {.name = "key_delete",
     .request = &auth_key_req_msg,
     .reply = &auth_key_reply_msg,
     .handler = auth_key_delete,
     .doc = "Ends an API key for good."},
    {.name = "key_check",
     .request = &auth_key_check_req_msg,
     .reply = &auth_key_check_reply_msg,
     .handler = auth_key_check,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "What an API key may do now; for the edge."},
    {.name = "key_used",
     .request = &auth_key_used_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_key_used,
     .flags = SV_IDEMPOTENT,
     .doc = "When API keys were used last; for the edge."},
    {.name = "service_new",
     .request = &auth_service_new_req_msg,
     .reply = &auth_member_reply_msg,
     .handler = auth_service_new,
     .doc = "Makes a service account in an organization."},
    {.name = "grant",
     .request = &auth_grant_req_msg,
     .reply = &auth_grant_reply_msg,
     .handler = auth_grant_new,
     .flags = SV_IDEMPOTENT,
     .doc = "Lets the calling service act for the user of the ticket later."},
    {.name = "grant_end",
     .request = &auth_delegate_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_grant_end,
     .doc = "Ends a grant of the calling service."},
    {.name = "delegate",
     .request = &auth_delegate_req_msg,
     .reply = &auth_delegate_reply_msg,
     .handler = auth_delegate,
     .flags = SV_IDEMPOTENT,
     .doc = "A ticket for the work of a grant, with what its user may do now."},
    {.name = "budget_set",
     .request = &auth_budget_set_req_msg,
     .reply = &auth_budget_reply_msg,
     .handler = auth_budget_set,
     .flags = SV_IDEMPOTENT,
     .doc = "Makes a budget or replaces it."},
    {.name = "budget",
     .request = &auth_budget_req_msg,
     .reply = &auth_budget_reply_msg,
     .handler = auth_budget_one,
     .flags = SV_IDEMPOTENT,
     .doc = "One budget and what is used of it."},
    {.name = "budgets",
     .request = &auth_budgets_req_msg,
     .reply = &auth_budgets_reply_msg,
     .handler = auth_budgets_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Budgets that the caller may see."},
    {.name = "budget_delete",
     .request = &auth_budget_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_budget_delete,
     .doc = "Ends a budget; what was used stays counted."},
    {.name = "provider",
     .request = &auth_provider_req_msg,
     .reply = &auth_provider_reply_msg,
     .handler = auth_provider_one,
     .flags = SV_IDEMPOTENT,
     .doc = "A provider with a key of the caller's or his organization's own, for routers."},
    {.name = "providers",
     .request = &auth_providers_req_msg,
     .reply = &auth_providers_reply_msg,
     .handler = auth_providers_list,
     .flags = SV_IDEMPOTENT,
     .doc = "All of those that the caller may use, for routers."},
    {.name = "provider_put",
     .request = &auth_provider_put_req_msg,
     .reply = &auth_provider_reply_msg,
     .handler = auth_provider_put_one,
     .doc = "Keeps one, its key sealed by a router, or changes it."},
    {.name = "provider_delete",
     .request = &auth_provider_req_msg,
     .reply = &bus_empty_msg,
     .handler = auth_provider_delete,
     .doc = "Forgets one and its key."},
    {.name = "feed",
     .request = &auth_feed_req_msg,
     .reply = &auth_feed_page_msg,
     .handler = auth_feed_read,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "What routers keep a copy of: budgets and the like."},
    {.name = "audit",
     .request = &auth_audit_req_msg,
     .reply = &auth_audit_reply_msg,
     .handler = auth_audit,
     .flags = SV_IDEMPOTENT,
     .doc = "Events of the audit log: of an organization for its administrators, of all for the "
            "platform's."},
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
    {"org_list", &auth_page_req_msg, &auth_orgs_reply_msg, auth_org_list_answer, NULL,
     "organizations, as auth.org_list"},
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
    .tick_ms = 500,
    .stop = stop,
};
