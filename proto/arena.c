/*  arena.c - a list of blocks, newest first; the first block is 4 KiB and survives a reset. */
#include "arena.h"

#include <stdlib.h>

struct arena_block {
    arena_block *next;
    size_t used;
    size_t cap;
    _Alignas(16) char data[];
};

enum { FIRST_BLOCK = 4096 - 32 };

void arena_init(arena *a, size_t max)
{
    *a = (arena){.max = max};
}

void arena_free(arena *a)
{
    for (arena_block *b = a->blocks; b;) {
        arena_block *next = b->next;
        free(b);
        b = next;
    }
    a->blocks = NULL;
    a->used = 0;
}

void arena_reset(arena *a)
{
    arena_block *keep = NULL;
    for (arena_block *b = a->blocks; b;) {
        arena_block *next = b->next;
        if (keep == NULL && b->cap == FIRST_BLOCK) {
            keep = b;
            keep->used = 0;
        } else {
            free(b);
        }
        b = next;
    }
    if (keep) keep->next = NULL;
    a->blocks = keep;
    a->used = 0;
}

void *arena_alloc(arena *a, size_t n)
{
    if (n > a->max) return NULL;
    size_t need = (n + 15) & ~(size_t)15;
    if (need > a->max - a->used) return NULL;
    arena_block *b = a->blocks;
    if (b == NULL || b->cap - b->used < need) {
        size_t cap = FIRST_BLOCK;
        while (cap < need)
            cap *= 2;
        b = malloc(sizeof *b + cap);
        if (b == NULL) return NULL;
        b->used = 0;
        b->cap = cap;
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = b->data + b->used;
    b->used += need;
    a->used += need;
    memset(p, 0, need);
    return p;
}

char *arena_copy(arena *a, sv_str s)
{
    char *p = arena_alloc(a, (size_t)s.n + 1);
    if (p && s.n) memcpy(p, s.p, s.n);
    return p;
}
