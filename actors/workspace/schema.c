/*  schema.c - the tables of the workspace actor. */
#include "chat_store.h"
#include "files_store.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

static const store_index file_indexes[] = {
    {"by_shelf", "shelf", STORE_SPARSE},
    {"by_expiry", "expires", STORE_SPARSE},
};

/* The store does not expire these rows: their quota has to be given back with them. */
const store_table workspace_files = {.name = "files",
                                     .row = &file_row_msg,
                                     .key = "org,id",
                                     .indexes = file_indexes,
                                     .n_indexes = sizeof file_indexes / sizeof *file_indexes,
                                     .blobs = true};
const store_table workspace_usage = {.name = "usage", .row = &usage_row_msg, .key = "kind,id"};

static const store_index session_indexes[] = {
    {"by_shelf", "shelf,user,updated", STORE_SPARSE},
    {"by_gone", "gone", STORE_SPARSE},
};
const store_table workspace_chats = {.name = "chats",
                                     .row = &chat_session_row_msg,
                                     .key = "org,user,id",
                                     .indexes = session_indexes,
                                     .n_indexes = sizeof session_indexes / sizeof *session_indexes};
const store_table workspace_chat_messages = {
    .name = "chat_messages", .row = &chat_message_row_msg, .key = "session,number", .blobs = true};
const store_table workspace_chat_counts = {
    .name = "chat_counts", .row = &chat_count_row_msg, .key = "org,user"};

static const store_table *const tables[] = {&workspace_files, &workspace_usage, &workspace_chats,
                                            &workspace_chat_messages, &workspace_chat_counts};

const store_schema workspace_schema = {.service = "workspace",
                                       .version = 1,
                                       .tables = tables,
                                       .n_tables = sizeof tables / sizeof *tables};
