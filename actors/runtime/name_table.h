/*  name_table.h - things found by a short name, and rings that keep them in an order.
 *  Both are intrusive: a member never allocates and adding one never fails. The hash is seeded for
 *  each table, so whoever chooses names cannot make it slow.
 *  Thread: one owner.   Ownership: members belong to their structs; a table owns only its slots.
 *  Limits: NAME_BYTES_MOST; the slots are made once, for the number of members that is expected.
 *  Errors: only name_table_init can fail (SV_E_NO_MEMORY). */
#ifndef SV_NAME_TABLE_H
#define SV_NAME_TABLE_H

#include "sv_types.h"

enum { NAME_BYTES_MOST = 120 };

#define member_of(type, field, p) ((type *)(void *)((char *)(p)-offsetof(type, field)))

/* ---- names ---- */

typedef struct named {
    struct named *chain;
    uint64_t hash;
    uint8_t n;
    char name[NAME_BYTES_MOST];
} named;

typedef struct name_table {
    named **slots;
    uint64_t mask, seed[2];
    uint32_t n;
} name_table;

int name_table_init(name_table *t, uint32_t members);
void name_table_free(name_table *t);
/* NULL: it is not there. */
named *name_table_find(const name_table *t, sv_str name);
/* Names the member, which is in no table; a longer name than NAME_BYTES_MOST is cut. */
void name_table_add(name_table *t, named *m, sv_str name);
void name_table_remove(name_table *t, named *m);

/* ---- rings ---- */

/* Zeroed: in no ring. A ring is a link that is its own neighbour. */
typedef struct ring_link {
    struct ring_link *prev, *next;
} ring_link;

static inline void ring_init(ring_link *ring)
{
    ring->prev = ring->next = ring;
}
static inline bool ring_empty(const ring_link *ring)
{
    return ring->next == ring;
}
static inline bool ring_has(const ring_link *l)
{
    return l->next != NULL;
}
/* At the end; `ring->next` is the first. */
static inline void ring_push(ring_link *ring, ring_link *l)
{
    l->next = ring;
    l->prev = ring->prev;
    ring->prev->next = l;
    ring->prev = l;
}
/* Harmless for a link in no ring. */
static inline void ring_unlink(ring_link *l)
{
    if (l->next == NULL) return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

#endif
