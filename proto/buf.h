/*  buf.h - a byte buffer that knows its maximum.
 *  Thread: one owner.   Ownership: the buffer owns its bytes; buf_detach gives them away.
 *  Errors: an append that would pass `max` or finds no memory fails once and for all: `failed`
 *  stays set until buf_reset, so a writer may check a single time at the end. */
#ifndef SV_BUF_H
#define SV_BUF_H

#include "sv_types.h"

typedef struct buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max;
    bool failed;
    int error; /* why: SV_E_TOO_LARGE or SV_E_NO_MEMORY */
} buf;

void buf_init(buf *b, size_t max);
void buf_free(buf *b);
/* Empties it; memory above `keep` bytes is given back. */
void buf_reset(buf *b, size_t keep);

/* 0, SV_E_TOO_LARGE or SV_E_NO_MEMORY. */
int buf_put(buf *b, const void *p, size_t n);
int buf_puts(buf *b, const char *s);
int buf_putc(buf *b, char c);
int buf_printf(buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends `s` as the inside of a JSON string (no quotes). */
int buf_json_escape(buf *b, sv_str s);
/* Room for `n` more bytes to be written in place, or NULL; buf_added says how many came. */
char *buf_room(buf *b, size_t n);
void buf_added(buf *b, size_t n);
/* Drops the first `n` bytes. */
void buf_consume(buf *b, size_t n);

sv_str buf_str(const buf *b);

#endif
