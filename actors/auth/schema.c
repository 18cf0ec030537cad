/*  schema.c - the tables of the auth actor. */
#include "auth_store.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

#define INDEXES(list) .indexes = (list), .n_indexes = sizeof(list) / sizeof *(list)

static const store_index user_indexes[] = {
    {"by_email", "email", STORE_UNIQUE},
    {"by_admin", "admin", STORE_SPARSE},
};
static const store_index member_indexes[] = {{"by_user", "user", 0}};
static const store_index session_indexes[] = {{"by_user", "user", 0}};

const store_table auth_users = {
    .name = "users", .row = &user_row_msg, .key = "id", .tenant = "org", INDEXES(user_indexes)};
const store_table auth_orgs = {.name = "orgs", .row = &org_row_msg, .key = "id"};
const store_table auth_members = {
    .name = "members", .row = &member_row_msg, .key = "org,user", INDEXES(member_indexes)};
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

static const store_table *const tables[] = {
    &auth_users, &auth_orgs,   &auth_members, &auth_sessions_table, &auth_refreshes,
    &auth_tries, &auth_setups, &auth_audits,  &auth_heads,          &auth_signings};

const store_schema auth_schema = {
    .service = "auth", .version = 1, .tables = tables, .n_tables = sizeof tables / sizeof *tables};
