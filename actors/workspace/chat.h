/*  chat.h - chats under way. Each is a job: it writes what the user said, asks a model, passes its words
 *  on as they come, and writes the answer.
 *
 *  Without a session nothing is written, and the job ends with its caller: the provider's call is
 *  cancelled at once. With one it goes on when the caller has left, until the answer is written; the
 *  process waits for it when it is told to stop.
 *
 *  Thread: the loop's.   Ownership: jobs belong to the list, which belongs to the workspace.
 *  Limits: CHAT_JOBS, and the settings chat.*.
 *  Errors: answered to the caller. */
#ifndef WORKSPACE_CHAT_H
#define WORKSPACE_CHAT_H

#include "chat_store.h"
#include "samovar.h"

enum { CHAT_JOBS = 2048, CHAT_MESSAGE_BYTES = 1 << 20 };

typedef struct chat_job chat_job;

typedef struct chats {
    chat_job *jobs;
    uint32_t n;
    chat_limits limits;
    size_t message_bytes, image_bytes, answer_bytes, reply_bytes;
    bool sweeping, more; /* deleted sessions; more: what the last sweep left */
} chats;

void chats_init(chats *c, const config *cfg);
/* The bus is closed already. */
void chats_free(chats *c);
/* Is this answer being written here? */
bool chats_writing(const chats *c, sv_str session, int64_t number);

#endif
