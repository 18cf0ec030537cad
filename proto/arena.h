/*  arena.h - memory of one request, given back at once.
 *  Thread: one owner.   Ownership: everything allocated dies at arena_reset/arena_free.
 *  Limits: `max` bytes in all; an allocation beyond it answers NULL. */
#ifndef SV_ARENA_H
#define SV_ARENA_H

#include "sv_types.h"

typedef struct arena_block arena_block;
typedef struct arena {
    arena_block *blocks;
    size_t used; /* bytes handed out since the last reset */
    size_t max;
} arena;

void arena_init(arena *a, size_t max);
void arena_free(arena *a);
/* Keeps one small block for the next request. */
void arena_reset(arena *a);
/* Aligned to 16, zeroed; NULL when the arena or the machine is full. */
void *arena_alloc(arena *a, size_t n);
/* A NUL-terminated copy. */
char *arena_copy(arena *a, sv_str s);

#endif
