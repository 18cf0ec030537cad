/*  workspace.c - the actor's table, its start and its upkeep, and what its methods share: who asks,
 *  and live events. */
#include "workspace.h"

#include "chat_images.h"
#include "error.h"
#include "log.h"
#include "sv_limits.h"
#include "ticket.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum { TICK_MS = 5000, SLOTS = 1024, EVENT_BYTES = 8192 };

/* ---- who asks ---- */

/* Ids stand in keys and topics. */
static bool id_ok(sv_str id)
{
    for (uint32_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_') return false;
    }
    return id.n > 0 && id.n <= FILE_ID;
}

int workspace_who(sv_call *call, file_who *ret)
{
    sv_error *err = sv_call_error(call);
    sv_str bytes = sv_call_ticket(call); /* the broker has verified it */
    ticket t;
    *ret = (file_who){.writes = false};
    if (bytes.n == 0)
        return sv_fail(
            err, SV_E_NO_CREDENTIALS, NULL,
            "Files and chat sessions belong to users: the call needs the ticket of one.");
    int rc = ticket_read(bytes, &t, err);
    if (rc) return rc;
    if (!id_ok(t.org) || !id_ok(t.user))
        return sv_fail(err, SV_E_TICKET, NULL, "The ticket names no organization or no user.");
    memcpy(ret->org, t.org.p, t.org.n);
    memcpy(ret->user, t.user.p, t.user.n);
    bool member = false;
    for (uint32_t i = 0; i < t.n_roles; i++) {
        sv_str role = t.roles[i];
        if (sv_str_is(role, "owner") || sv_str_is(role, "admin")) ret->admin = true;
        if (ret->admin || sv_str_is(role, "member")) ret->writes = true;
        if (ret->writes || sv_str_is(role, "viewer")) member = true;
    }
    return member ? 0 : sv_fail(err, SV_E_ROLE, NULL, "The ticket has no role in an organization.");
}

/* ---- live events ---- */

/* `user`: his browsers, or all. */
static void tell(sv_process *process, const char *org, const char *user, const char *type,
                 const sv_message *m, const void *body)
{
    char topic[LIMIT_TARGET_BYTES + 1], id[UUID_TEXT + 1];
    buf packed, json;
    buf_init(&packed, EVENT_BYTES);
    buf_init(&json, EVENT_BYTES);
    sv_id number = uuid_new();
    uuid_format(&number, id);
    snprintf(topic, sizeof topic, "workspace.live.%s.%s", org, user);
    int rc = message_encode(m, body, &packed);
    if (rc == 0) rc = message_to_json(m, buf_str(&packed), false, &json, NULL);
    live_event event = {.id = sv_cstr(id), .type = sv_cstr(type), .data = buf_str(&json)};
    if (rc == 0) rc = sv_publish(process, topic, &live_event_msg, &event);
    if (rc)
        log_write(LOG_DEBUG, "an event was not told", LOG_STR("type", type),
                  LOG_STR("why", sv_error_lookup(rc)->name));
    buf_free(&packed);
    buf_free(&json);
}

void workspace_tell(sv_call *call, const file_who *who, const char *type, const sv_message *m,
                    const void *body)
{
    tell(sv_call_process(call), who->org, "all", type, m, body);
}

void workspace_tell_user(sv_process *process, const file_who *who, const char *type,
                         const sv_message *m, const void *body)
{
    tell(process, who->org, who->user, type, m, body);
}

/* ---- life ---- */

static int init(sv_process *process, void **state, sv_error *err)
{
    const config *c = sv_config(process);
    workspace *w = calloc(1, sizeof *w);
    if (w == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    w->process = process;
    w->limits = (file_limits){.user_bytes = config_int(c, "files.user_bytes"),
                              .org_bytes = config_int(c, "files.org_bytes"),
                              .org_files = config_int(c, "files.most")};
    chats_init(&w->chats, c);
    *state = w;
    return 0;
}

static void tick(sv_process *process, void *state)
{
    (void)process;
    workspace_expire(state);
    workspace_sweep(state);
}

static void stop(sv_process *process, void *state)
{
    (void)process;
    workspace *w = state;
    if (w) chats_free(&w->chats);
    free(w);
}

static const sv_method methods[] = {
    {.name = "file_begin",
     .request = &workspace_file_begin_req_msg,
     .reply = &workspace_file_begin_reply_msg,
     .handler = workspace_file_begin,
     .doc = "Begins a file and reserves its size."},
    {.name = "file_append",
     .request = &workspace_file_append_req_msg,
     .reply = &workspace_file_append_reply_msg,
     .handler = workspace_file_append,
     .flags = SV_IDEMPOTENT,
     .max_request = FILE_APPEND_BYTES + 4096,
     .doc = "Appends the attached bytes to a file that is not finished."},
    {.name = "file_finish",
     .request = &workspace_file_finish_req_msg,
     .reply = &workspace_file_finish_reply_msg,
     .handler = workspace_file_finish,
     .flags = SV_IDEMPOTENT,
     .doc = "Makes files visible whose bytes are what they should be."},
    {.name = "file_drop",
     .request = &workspace_file_drop_req_msg,
     .reply = &bus_empty_msg,
     .handler = workspace_file_drop,
     .flags = SV_IDEMPOTENT,
     .doc = "Gives up files that are not finished."},
    {.name = "files",
     .request = &workspace_files_req_msg,
     .reply = &workspace_files_reply_msg,
     .handler = workspace_file_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Files of the organization, newest first."},
    {.name = "file",
     .request = &workspace_file_req_msg,
     .reply = &workspace_file_reply_msg,
     .handler = workspace_file_info_of,
     .flags = SV_IDEMPOTENT,
     .doc = "What a file is called and how large it is."},
    {.name = "file_read",
     .request = &workspace_file_read_req_msg,
     .reply = &workspace_file_read_reply_msg,
     .handler = workspace_file_read,
     .flags = SV_IDEMPOTENT,
     .doc = "Bytes of a file as a stream."},
    {.name = "file_delete",
     .request = &workspace_file_req_msg,
     .reply = &bus_empty_msg,
     .handler = workspace_file_delete,
     .doc = "Deletes a file."},
    {.name = "chat",
     .request = &workspace_chat_req_msg,
     .reply = &router_complete_head_msg,
     .handler = workspace_chat,
     .flags = SV_INLINE,
     .max_request = CHAT_MESSAGE_BYTES + CHAT_IMAGES_BYTES + LIMIT_MESSAGE_BYTES,
     .doc = "Asks a model, and keeps what both said when there is a session."},
    {.name = "chat_sessions",
     .request = &workspace_chat_sessions_req_msg,
     .reply = &workspace_chat_sessions_reply_msg,
     .handler = workspace_chat_sessions,
     .flags = SV_IDEMPOTENT,
     .doc = "Chat sessions of the caller."},
    {.name = "chat_session",
     .request = &workspace_chat_messages_req_msg,
     .reply = &router_complete_head_msg,
     .handler = workspace_chat_session_of,
     .flags = SV_IDEMPOTENT,
     .doc = "A chat session with its messages, a page at a time."},
    {.name = "chat_images",
     .request = &workspace_chat_images_req_msg,
     .reply = &router_complete_head_msg,
     .handler = workspace_chat_images,
     .flags = SV_IDEMPOTENT,
     .doc = "The images of a message."},
    {.name = "chat_session_new",
     .request = &workspace_chat_session_new_req_msg,
     .reply = &workspace_chat_session_reply_msg,
     .handler = workspace_chat_session_new,
     .doc = "Begins a chat session."},
    {.name = "chat_session_change",
     .request = &workspace_chat_session_change_req_msg,
     .reply = &workspace_chat_session_reply_msg,
     .handler = workspace_chat_session_change,
     .flags = SV_IDEMPOTENT,
     .doc = "Gives a chat session another title."},
    {.name = "chat_session_delete",
     .request = &workspace_chat_session_req_msg,
     .reply = &bus_empty_msg,
     .handler = workspace_chat_session_delete,
     .doc = "Deletes a chat session and its messages."},
};

const sv_actor workspace_actor = {
    .name = "workspace",
    .version = SAMOVAR_VERSION,
    .doc = "files of organizations, chats of users",
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .slots = SLOTS,
    .store = &workspace_schema,
    .init = init,
    .tick = tick,
    .tick_ms = TICK_MS,
    .stop = stop,
};
