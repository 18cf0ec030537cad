/*  chat_job.h - one chat under way, and what is known of its answer.
 *  Thread: the loop's.   Ownership: a job's own copies of what its call lent.
 *  Errors: SV_E_PROVIDER_GARBAGE for what is not of router.complete. */
#ifndef WORKSPACE_CHAT_JOB_H
#define WORKSPACE_CHAT_JOB_H

#include "chat_text.h"
#include "uuid.h"
#include "workspace.h"

enum { CHAT_NAME = 64, CHAT_TASK = 16, CHAT_DECISION = 36, CHAT_HOW = 12 };

/* What is known of the answer, besides its words. */
typedef struct chat_facts {
    char provider[CHAT_NAME + 1], model[CHAT_MODEL + 1], task[CHAT_TASK + 1],
        decision[CHAT_DECISION + 1];
    char cache[CHAT_HOW + 1], finish[CHAT_FINISH + 1];
    int64_t prompt_tokens, completion_tokens, price, age_s;
    bool priced, whole;
} chat_facts;

struct chat_job {
    chat_job *prev, *next;
    workspace *w;
    sv_call *call; /* NULL: has left */
    bool stored, streaming, held;
    uint64_t deadline_us;
    sv_trace trace;
    buf ticket;
    /* the request */
    arena arena;
    buf packed;
    workspace_chat_req q; /* borrows from packed and arena */
    sv_str text;          /* the user's message, in the arena */
    buf images, earlier;  /* its own, and of earlier messages; until the body is made */
    uint32_t n_images;
    file_who who;
    char session[UUID_TEXT + 1], message[UUID_TEXT + 1], answer_id[UUID_TEXT + 1];
    char title[CHAT_TITLE + 1];
    chat_begin_in begin;
    chat_begun begun;
    /* to the model and back */
    char model[CHAT_MODEL + 1];
    buf body;
    sv_stream *stream;
    bool by_router, seen, told; /* items came; the caller has got the head */
    int64_t refused;            /* status of a refusal; 0: none */
    uint32_t retry_after_ms;
    buf refusal;
    uint32_t owed_items;
    size_t owed_bytes;
    chat_reader reader;
    buf answer, thinking, out;
    chat_facts facts;
    /* the end */
    int code;
    sv_error error;
    chat_message_row row;
    chat_finish_in finish;
};

/* Text that fits, with a 0 behind it. */
void chat_copy(char *to, size_t size, sv_str s);
/* {NULL, 0} for what is empty. */
sv_str chat_said(const char *s);

/* Facts and status from a router_complete_head. */
int chat_take_head(chat_job *j, sv_str body, sv_error *err);
/* Facts from a router_complete_end; the failure that it tells, 0: none. */
int chat_take_end(chat_job *j, sv_str body, sv_error *err);
/* The provider's refusal as an error of ours: its code. */
int chat_refusal(const chat_job *j, sv_error *err);

/* What the caller is told at the end; borrows from the job, `usage` and `cost`. */
void chat_say_done(const chat_job *j, workspace_chat_usage *usage, char cost[CHAT_COST + 1],
                   workspace_chat_done *ret);
/* The head in front of what the caller gets; borrows from the job. */
router_complete_head chat_own_head(const chat_job *j, const char *type);

#endif
