/*  schema.c - the tables of the auth actor. */
#include "auth_store.h"

#include "budgets.h"
#include "feed.h"
#include "providers.h"

#include "sv_limits.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

#define INDEXES(list) .indexes = (list), .n_indexes = sizeof(list) / sizeof *(list)

static const store_index user_indexes[] = {
    {"by_email", "email", STORE_UNIQUE},
    {"by_admin", "admin", STORE_SPARSE},
    {"by_service_org", "service_org", STORE_SPARSE},
};
static const store_index org_indexes[] = {{"by_deleted", "deleted", STORE_SPARSE}};
static const store_index member_indexes[] = {
    {"by_user", "user", 0},
    {"by_role", "org,role", 0},
    {"by_user_role", "user,role", 0},
};
static const store_index invitation_indexes[] = {
    {"by_hash", "hash", STORE_UNIQUE},
    {"by_org", "org", 0},
};
static const store_index session_indexes[] = {
    {"by_user", "user", 0},
    {"by_impersonator", "impersonator", STORE_SPARSE},
};

const store_table auth_users = {
    .name = "users", .row = &user_row_msg, .key = "id", .tenant = "org", INDEXES(user_indexes)};
const store_table auth_orgs = {
    .name = "orgs", .row = &org_row_msg, .key = "id", INDEXES(org_indexes)};
const store_table auth_members = {
    .name = "members", .row = &member_row_msg, .key = "org,user", INDEXES(member_indexes)};
const store_table auth_invitations_table = {.name = "invitations",
                                            .row = &invitation_row_msg,
                                            .key = "id",
                                            .expires = "expires",
                                            INDEXES(invitation_indexes)};
const store_table auth_sessions_table = {.name = "sessions",
                                         .row = &session_row_msg,
                                         .key = "id",
                                         .expires = "expires",
                                         INDEXES(session_indexes)};
const store_table auth_refreshes = {
    .name = "refresh_tokens", .row = &refresh_row_msg, .key = "hash", .expires = "expires"};
const store_table auth_tries = {
    .name = "tries", .row = &tries_row_msg, .key = "name", .expires = "expires"};
const store_table auth_setups = {.name = "setup", .row = &setup_row_msg, .key = "id"};
const store_table auth_audits = {.name = "audit", .row = &audit_row_msg, .key = "chain,number"};
const store_table auth_heads = {.name = "audit_heads", .row = &audit_head_msg, .key = "chain"};

const store_table auth_signings = {
    .name = "signing_keys", .row = &signing_row_msg, .key = "number"};

static const store_index link_indexes[] = {{"by_user", "user", 0}};
static const store_index half_indexes[] = {{"by_user", "user", 0}};
const store_table auth_links = {.name = "links",
                                .row = &link_row_msg,
                                .key = "hash",
                                .expires = "expires",
                                INDEXES(link_indexes)};
const store_table auth_halves = {.name = "half_logins",
                                 .row = &half_row_msg,
                                 .key = "id",
                                 .expires = "expires",
                                 INDEXES(half_indexes)};
const store_table auth_factors = {
    .name = "factors", .row = &factor_row_msg, .key = "user", .tenant = "org"};
const store_table auth_recoveries = {
    .name = "recovery_codes", .row = &recovery_row_msg, .key = "user,hash"};
const store_table auth_outbox = {.name = "outbox", .row = &outbox_row_msg, .key = "id"};

const store_table auth_revocations_table = {
    .name = "revocations", .row = &revocation_row_msg, .key = "sequence", .expires = "expires"};
const store_table auth_revocation_head = {
    .name = "revocations_head", .row = &revocation_head_msg, .key = "id"};

static const store_index key_indexes[] = {
    {"by_hash", "hash", STORE_UNIQUE},
    {"by_user", "user", 0},
    {"by_org", "org", 0},
};
static const store_index grant_indexes[] = {{"by_job", "user,org,service,job", 0}};
const store_table auth_keys_table = {
    .name = "api_keys", .row = &key_row_msg, .key = "id", .expires = "gone", INDEXES(key_indexes)};
const store_table auth_grants = {.name = "grants",
                                 .row = &grant_row_msg,
                                 .key = "id",
                                 .expires = "expires",
                                 INDEXES(grant_indexes)};

static const store_index budget_indexes[] = {
    {"by_what", "org,level,kind,subject,model", STORE_UNIQUE},
    {"by_org", "org", 0},
    {"by_subject", "org,kind,subject", 0},
};
static const store_index provider_indexes[] = {{"by_name", "org,user,name", STORE_UNIQUE}};
const store_table auth_providers_table = {.name = "providers",
                                          .row = &provider_row_msg,
                                          .key = "id",
                                          .tenant = "org",
                                          INDEXES(provider_indexes)};
static const store_index feed_indexes[] = {{"by_item", "kind,id", STORE_UNIQUE}};
const store_table auth_budgets_table = {
    .name = "budgets", .row = &budget_row_msg, .key = "id", INDEXES(budget_indexes)};
const store_table auth_feed_table = {.name = "feed",
                                     .row = &feed_row_msg,
                                     .key = "sequence",
                                     .expires = "expires",
                                     INDEXES(feed_indexes)};
const store_table auth_feed_head = {.name = "feed_head", .row = &feed_head_row_msg, .key = "id"};

static const store_table *const tables[] = {&auth_revocations_table,
                                            &auth_revocation_head,
                                            &auth_keys_table,
                                            &auth_grants,
                                            &auth_users,
                                            &auth_orgs,
                                            &auth_members,
                                            &auth_sessions_table,
                                            &auth_refreshes,
                                            &auth_tries,
                                            &auth_setups,
                                            &auth_audits,
                                            &auth_heads,
                                            &auth_signings,
                                            &auth_invitations_table,
                                            &auth_links,
                                            &auth_halves,
                                            &auth_factors,
                                            &auth_recoveries,
                                            &auth_outbox,
                                            &auth_budgets_table,
                                            &auth_providers_table,
                                            &auth_feed_table,
                                            &auth_feed_head};

/* On a full disk people still log in and out: some ten thousand times. */
const store_schema auth_schema = {.service = "auth",
                                  .version = 1,
                                  .tables = tables,
                                  .n_tables = sizeof tables / sizeof *tables,
                                  .room_bytes = 8 << 20};
