/*  chat_text.h - what a chat says to a model and what it hears from it: OpenAI's chat format, as
 *  router.complete takes and gives it, and the server-sent events of the platform's own chat.
 *
 *  A reader takes the bytes of a stream however they are cut, and tells each piece of text once it is
 *  whole.
 *
 *  Thread: any.   Ownership: inputs are borrowed; a reader owns its buffers.
 *  Limits: CHAT_EVENT_BYTES of one event.
 *  Errors: SV_E_PROVIDER_GARBAGE for what is not of the format, SV_E_NO_MEMORY. */
#ifndef WORKSPACE_CHAT_TEXT_H
#define WORKSPACE_CHAT_TEXT_H

#include "buf.h"
#include "chat_store.h"

enum { CHAT_EVENT_BYTES = 4 << 20, CHAT_FINISH = 24, CHAT_TITLE_BYTES = 80, CHAT_REASON = 300 };

/* ---- to the model ---- */

typedef struct chat_prompt {
    sv_str model, system, text, images;
    const chat_turn *turns;
    uint32_t n;
    const buf *seen;    /* images of turns; NULL: they have none */
    double temperature; /* -1: not said */
    int64_t max_tokens; /* 0: not said */
    bool stream;
} chat_prompt;

/* Appends the body of a request. */
int chat_body(const chat_prompt *p, buf *out);

/* A title of CHAT_TITLE_BYTES at most from a message: its words, with single spaces. */
void chat_title(sv_str text, char to[CHAT_TITLE + 1]);

/* ---- from the model ---- */

typedef struct chat_reader {
    buf line, data, text;
    void (*said)(void *arg, bool thinking, sv_str text); /* borrowed for the call */
    void *arg;
    char finish[CHAT_FINISH + 1]; /* empty: not told */
    bool ended;                   /* its end marker came */
    char failed[CHAT_REASON + 1]; /* words of an error in the stream */
} chat_reader;

void chat_reader_init(chat_reader *r, void (*said)(void *arg, bool thinking, sv_str text),
                      void *arg);
void chat_reader_free(chat_reader *r);
int chat_reader_feed(chat_reader *r, sv_str bytes);

/* A whole answer: its text and what was thought are appended. */
int chat_read_answer(sv_str json, buf *text, buf *thinking, char finish[CHAT_FINISH + 1]);
/* The words of an error in OpenAI's shape; false: there are none. */
bool chat_read_error(sv_str json, char to[CHAT_REASON + 1]);

/* ---- to the client ---- */

/* event: delta or thinking, with {"text"}. */
int chat_event_text(const char *name, sv_str text, buf *out);
/* event: done. */
int chat_event_done(const workspace_chat_done *done, buf *out);
/* The plain answer: {"response", "thinking", ...}. */
int chat_answer(sv_str text, sv_str thinking, const workspace_chat_done *done, buf *out);

#endif
