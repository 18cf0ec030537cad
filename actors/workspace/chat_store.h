/*  chat_store.h - chat sessions and their messages as the workspace keeps them, and the store functions
 *  that read and change them.
 *
 *  A session belongs to one user in one organization: for everybody else it does not exist. Its messages
 *  are numbered from 1. A user's message and the place of its answer are written together, before a
 *  model is asked; the answer is filled in when it has ended. So a process that dies in the middle leaves
 *  an answer that is open and that nobody will fill in: whoever shows it calls it cut.
 *  A deleted session is gone at once; its messages are taken away piece by piece.
 *
 *  Invariant: a count row is the number of session rows of its user that are not deleted, and the sum of
 *  their images' bytes.
 *
 *  Thread: store_fns where the store runs them; the rest any.   Ownership: inputs are borrowed; text in
 *  results lives in the arena of the store_op, where it is not copied.   Limits: chat_limits.
 *  Errors: those of the store; SV_E_NOT_FOUND; SV_E_QUOTA whose field is the setting that is used up. */
#ifndef WORKSPACE_CHAT_STORE_H
#define WORKSPACE_CHAT_STORE_H

#include "files_store.h"

enum {
    CHAT_TITLE = 200,
    CHAT_MODEL = 256,
    CHAT_COST = 24,
    CHAT_INLINE = 8192, /* longer text is the row's blob */
    CHAT_PAGE = 100,
    CHAT_PAGE_BYTES = 1 << 20, /* of text in one page, the first message apart */
    CHAT_SWEEP = 64            /* messages taken away in one write */
};

extern const sv_message chat_session_row_msg, chat_message_row_msg, chat_count_row_msg;
extern const store_table workspace_chats, workspace_chat_messages, workspace_chat_counts;

typedef struct chat_limits {
    int64_t context_messages, context_bytes, sessions, messages;
    int64_t image_bytes, kept_image_bytes;
} chat_limits;

/* Money as HTTP answers have it, "0.000123"; {NULL, 0} unless `priced`. */
sv_str chat_cost(bool priced, int64_t price, char to[CHAT_COST + 1]);

/* ---- a message and its answer ---- */

typedef struct chat_turn {
    bool user; /* else the model's */
    sv_str text;
    size_t images_at, images_n; /* in chat_begin_in.seen */
} chat_turn;

typedef struct chat_begin_in {
    const file_who *who;
    const chat_limits *limits;
    const char *session;
    bool anew;                    /* there is no such session yet */
    const char *message, *answer; /* their ids */
    sv_str text;
    sv_str images; /* of chat_images.h */
    uint32_t n_images;
    buf *seen;    /* gets the images of earlier messages that a model is to see */
    sv_str model; /* as asked; empty: the session's */
    const char *title;
} chat_begin_in;
typedef struct chat_begun {
    char model[CHAT_MODEL + 1]; /* as asked, or the session's; empty: neither says it */
    int64_t answer;             /* number of the answer */
    chat_turn *turns;           /* in the arena: what was said before, oldest first */
    uint32_t n;
} chat_begun;
/* in: chat_begin_in, out: chat_begun. */
int chat_begin(store_tx *tx, const void *in, void *out);

typedef struct chat_finish_in {
    const file_who *who;
    const char *session;
    int64_t number;
    const chat_message_row
        *answer; /* what is known of it: state and all behind it; its text apart */
    sv_str text;
} chat_finish_in;
/* in: chat_finish_in, out: not used. SV_E_NOT_FOUND when the session was deleted meanwhile. */
int chat_finish(store_tx *tx, const void *in, void *out);

/* ---- sessions ---- */

typedef struct chat_new_in {
    const file_who *who;
    const chat_limits *limits;
    const char *session;
    sv_str title, model;
} chat_new_in;
/* in: chat_new_in, out: chat_session_row. */
int chat_new(store_tx *tx, const void *in, void *out);

typedef struct chat_one {
    const file_who *who;
    sv_str id;
    sv_str title; /* of chat_rename */
} chat_one;
/* in: chat_one, out: chat_session_row. */
int chat_rename(store_tx *tx, const void *in, void *out);
/* in: chat_one, out: not used. */
int chat_delete(store_tx *tx, const void *in, void *out);
/* in: NULL, out: bool, is there more? Takes messages of deleted sessions away. */
int chat_sweep(store_tx *tx, const void *in, void *out);
/* in: NULL, out: bool, is there anything for chat_sweep? */
int chat_swept(store_tx *tx, const void *in, void *out);

typedef struct chat_list_in {
    const file_who *who;
    sv_str after;
    uint32_t limit; /* at most CHAT_PAGE */
} chat_list_in;
typedef struct chat_list_out {
    chat_session_row *rows; /* in the arena, with their text */
    uint32_t n;
    bool more;
} chat_list_out;
/* in: chat_list_in, out: chat_list_out. Newest message first. */
int chat_list(store_tx *tx, const void *in, void *out);

typedef struct chat_page_in {
    const file_who *who;
    sv_str id;
    int64_t before; /* 0: from the newest on */
    uint32_t limit; /* at most CHAT_PAGE */
} chat_page_in;
typedef struct chat_page_out {
    chat_session_row session;
    chat_message_row *rows; /* in the arena, text included; in order of time */
    uint32_t n;
    bool more; /* older ones */
} chat_page_out;
/* in: chat_page_in, out: chat_page_out. */
int chat_page(store_tx *tx, const void *in, void *out);

typedef struct chat_images_in {
    const file_who *who;
    sv_str id;
    int64_t number;
} chat_images_in;
/* in: chat_images_in, out: buf, which gets them (chat_images.h). */
int chat_images(store_tx *tx, const void *in, void *out);

/* The message's struct; text is borrowed from the row and from `cost`. */
workspace_chat_session chat_show(const chat_session_row *row, char cost[CHAT_COST + 1]);

#endif
