/*  workspace.h - the workspace actor: its state, and its methods in files by subject.
 *  Thread: the loop's; bytes are hashed by sv_work's threads of low priority.
 *  Ownership: the state belongs to the process, from init to stop. */
#ifndef WORKSPACE_WORKSPACE_H
#define WORKSPACE_WORKSPACE_H

#include "chat.h"
#include "files_store.h"
#include "samovar.h"

typedef struct workspace {
    sv_process *process;
    file_limits limits;
    int64_t expired; /* what the last files_expire gave up */
    bool expiring;
    chats chats;
} workspace;

extern const sv_actor workspace_actor;

/* files.c */
sv_handler workspace_file_begin, workspace_file_append, workspace_file_finish, workspace_file_drop,
    workspace_file_list, workspace_file_info_of, workspace_file_read, workspace_file_delete;
/* Gives up what was not finished in time; from the loop, now and then. */
void workspace_expire(workspace *w);

/* chat.c */
sv_handler workspace_chat;
/* chat_sessions.c */
sv_handler workspace_chat_sessions, workspace_chat_session_of, workspace_chat_session_new,
    workspace_chat_session_change, workspace_chat_session_delete, workspace_chat_images;
/* Takes messages of deleted sessions away, piece by piece; from the loop, now and then. */
void workspace_sweep(workspace *w);

/* Who the call is for. Without a ticket, or with a role of no organization, nobody is: also the
 * platform's operator has no files. */
int workspace_who(sv_call *call, file_who *ret);
/* Tells the browsers of the organization. `body` (a struct of `m`) becomes the event's data. */
void workspace_tell(sv_call *call, const file_who *who, const char *type, const sv_message *m,
                    const void *body);
/* The same, but only those of the user. */
void workspace_tell_user(sv_process *process, const file_who *who, const char *type,
                         const sv_message *m, const void *body);

#endif
