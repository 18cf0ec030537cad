/*  answers.h - which answers are kept, and the hottest of them in memory.
 *
 *  The index of all answers is in memory, their bytes are on disk (answers_store.h) and, for those that
 *  were used last, in memory too. Room is bounded in bytes and in answers. Who has to go is chosen by
 *  segmented LRU: an answer begins on trial and becomes established by its first hit; established ones
 *  hold four fifths of the room, and what falls out of there is on trial again. The last on trial goes
 *  first. So a flood of requests that never come again does not push out what is asked for every day,
 *  as it would with plain LRU, and neither a clock nor counters that have to age are needed.
 *
 *  Nothing here touches bus or store; time is a parameter (Unix ms).
 *  Thread: the loop's.
 *  Ownership: the table owns answers; a pointer is good until the next answers_add, _drop, _clear or
 *  _sweep. Bytes are counted.
 *  Limits: answers_limits; about 500 bytes for each answer.
 *  Errors: functions that make something answer NULL without memory. */
#ifndef CACHE_ANSWERS_H
#define CACHE_ANSWERS_H

#include "cache_key.h"
#include "idmap.h"
#include "meanings.h"

#include <sys/queue.h>

/* The head, the end (streams) and the body, one behind the other. */
typedef struct answer_bytes {
    uint32_t refs, head_n, end_n, body_n;
    char b[];
} answer_bytes;

answer_bytes *answer_bytes_new(sv_str head, sv_str end, sv_str body);
/* With room for as much. */
answer_bytes *answer_bytes_room(uint32_t head_n, uint32_t end_n, uint32_t body_n);
answer_bytes *answer_bytes_ref(answer_bytes *b);
void answer_bytes_unref(answer_bytes *b);
sv_str answer_head(const answer_bytes *b);
sv_str answer_end(const answer_bytes *b);
sv_str answer_body(const answer_bytes *b);

typedef struct answer_info {
    sv_str key;
    sv_str org, user; /* user: whose alone it is; empty: the organization's */
    sv_str model, asked, task;
    bool stream;
    int64_t size;  /* bytes in all ... */
    int64_t meant; /* ... and those that say what its question meant */
    int64_t created, expires, used, hits;
    int64_t tokens, price; /* that a hit saves */
} answer_info;

size_t answer_text_size(const answer_info *i);
/* With its texts, except the key, copied to `text`. */
answer_info answer_info_copy(const answer_info *i, char *text);

typedef struct answer {
    TAILQ_ENTRY(answer) use;   /* on trial or established; the first was used last */
    TAILQ_ENTRY(answer) every; /* the order in which they are looked after */
    TAILQ_ENTRY(answer) hot;   /* bytes in memory */
    TAILQ_ENTRY(answer) note;  /* hits that the disk does not know */
    sv_id id;
    char key[CACHE_KEY + 1];
    answer_info info;    /* its text is in `text` */
    bool settled, noted; /* established; in the list of notes */
    bool on_disk;        /* a write of it was begun at least */
    answer_bytes *bytes; /* NULL: only on disk */
    meaning *meaning;    /* NULL: it is found by its words only */
    char text[];
} answer;

typedef TAILQ_HEAD(answer_list, answer) answer_list;

typedef struct answers_limits {
    uint64_t bytes, memory_bytes;
    uint32_t most;
} answers_limits;

typedef struct answers_figures {
    uint64_t answers, bytes, in_memory, memory_bytes;
    uint64_t evicted, expired, cleared; /* since the start */
} answers_figures;

typedef struct answers {
    idmap map;
    answer_list trial, settled, every, hot, notes;
    answers_limits limits;
    uint64_t settled_bytes;
    answers_figures figures;
    char (*gone)[CACHE_KEY + 1]; /* to be removed from the disk */
    size_t n_gone, gone_cap;
} answers;

void answers_init(answers *a, const answers_limits *limits);
void answers_free(answers *a);

/* The answer of this key that holds at `now` and is at most `age_s` old (0: any age), or NULL. */
answer *answers_find(answers *a, const char *key, int64_t now, int64_t age_s);
/* It was given to somebody. */
void answers_hit(answers *a, answer *r, int64_t now);
/* Adds one, in the place of an older one of the same key; takes a reference of `bytes` (may be NULL).
 * Others may go. */
answer *answers_add(answers *a, const answer_info *info, answer_bytes *bytes);
/* From the disk, before anything else, in any order; then once answers_loaded. */
answer *answers_load(answers *a, const answer_info *info);
void answers_loaded(answers *a);
/* Its bytes were read; takes a reference. Others' bytes may leave memory. */
void answers_heat(answers *a, answer *r, answer_bytes *bytes);
/* `forget`: it is to go from the disk as well. */
void answers_drop(answers *a, answer *r, bool forget);
/* A key that is to go from the disk. */
void answers_will_go(answers *a, const char *key);

/* Which answers: every part that is given has to fit. */
typedef struct answers_filter {
    sv_str key, org, model; /* model: as asked for, or as the provider names it */
    bool any_org;
} answers_filter;
bool answers_match(const answers_filter *f, const answer_info *i);
uint64_t answers_clear(answers *a, const answers_filter *f);
/* The n most used of those that fit (`f` NULL: all); *ret is to be freed. */
size_t answers_most_used(answers *a, const answers_filter *f, size_t n, answer ***ret);

/* Looks at `n` of them and removes those whose time is over; the store removes its rows itself. */
void answers_sweep(answers *a, int64_t now, uint32_t n);

#endif
