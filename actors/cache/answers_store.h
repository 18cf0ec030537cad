/*  answers_store.h - kept answers on the disk: a row with a blob each, written in one transaction, so
 *  that there is all of an answer or nothing.
 *
 *  The functions are the store's (store.h): they may run again and on its writer's thread, and touch
 *  only what `in` and `out` say.
 *  Errors: those of the store. */
#ifndef CACHE_ANSWERS_STORE_H
#define CACHE_ANSWERS_STORE_H

#include "answers.h"
#include "store.h"

#define SV_MESSAGES_FILE "answer_rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

enum { ANSWER_PAGE = 256 };

extern const store_table cache_answers;

/* What the question of an answer meant; empty: it was not asked for. */
typedef struct answer_meant {
    sv_str bucket, vector;
} answer_meant;

/* in: the answer; the bytes are not counted here, whoever asks holds them. */
typedef struct answer_put {
    answer_info info;
    answer_meant meant;
    const answer_bytes *bytes;
} answer_put;
store_fn answer_store_put;

/* in: the key as text. out: answer_bytes of malloc, or NULL when a try before this one left some; set
 * it to NULL first. SV_E_NOT_FOUND; SV_E_STORE_DAMAGED for an answer that is not as long as its row
 * says. */
store_fn answer_store_read;

/* in, out is not used: rows of these keys go; those that are not there do not matter. */
typedef struct answer_keys {
    const char (*keys)[CACHE_KEY + 1];
    size_t n;
} answer_keys;
store_fn answer_store_forget;

typedef struct answer_note {
    char key[CACHE_KEY + 1];
    int64_t hits, used;
} answer_note;
typedef struct answer_notes {
    const answer_note *items;
    size_t n;
} answer_notes;
store_fn answer_store_note;

/* in = out: up to ANSWER_PAGE rows behind `position` are told to `take`; text is good for the call. */
typedef struct answer_page {
    void (*take)(void *arg, const answer_info *info, const answer_meant *meant);
    void *arg;
    buf position; /* buf_free it at the end */
    bool more;
} answer_page;
store_fn answer_store_page;

#endif
