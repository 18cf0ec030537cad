/*  core_table.h - the containers of the broker's core: rings of links, a chained hash table, a
 *  seeded hash and a timing wheel. All intrusive: a member never allocates and never fails. Thread:
 *  one owner.   Ownership: members belong to their structs; a table owns only its slots. Limits:
 *  none of their own; the core bounds what it puts in.
 *  Errors: only core_table_init can fail
 *  (SV_E_NO_MEMORY); a table that cannot grow gets slower. */
#ifndef SV_CORE_TABLE_H
#define SV_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define core_of(type, field, p) ((type *)(void *)((char *)(p)-offsetof(type, field)))

/* ---- links: a ring through a head ---- */

typedef struct core_link {
    struct core_link *prev, *next;
} core_link;

static inline void core_ring_init(core_link *head)
{
    head->prev = head->next = head;
}
static inline bool core_ring_empty(const core_link *head)
{
    return head->next == head;
}
static inline void core_link_before(core_link *at, core_link *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
static inline void core_ring_push(core_link *head, core_link *l)
{
    core_link_before(head, l);
}
static inline void core_ring_push_front(core_link *head, core_link *l)
{
    core_link_before(head->next, l);
}
static inline bool core_linked(const core_link *l)
{
    return l->next != NULL;
}
/* Harmless on a link that is in no ring. */
static inline void core_unlink(core_link *l)
{
    if (l->next == NULL) return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

/* ---- hash ---- */

typedef struct core_seed {
    uint64_t a, b;
} core_seed;

static inline uint64_t core_mix(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}
static inline uint64_t core_load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t core_hash_id(core_seed s, const void *id16)
{
    return core_mix(core_load64(id16) ^ s.a, core_load64((const char *)id16 + 8) ^ s.b);
}
static inline uint64_t core_hash_u64(core_seed s, uint64_t x, uint64_t y)
{
    return core_mix(x ^ s.a, y ^ s.b);
}
uint64_t core_hash_bytes(core_seed s, const void *p, size_t n);
/* splitmix64: the next number of a sequence. */
uint64_t core_random(uint64_t *state);
/* A number in [0, 1) from 64 random bits. */
double core_fraction(uint64_t bits);

/* ---- table ---- */

typedef struct core_node {
    struct core_node *next;
    uint64_t hash;
} core_node;

typedef struct core_table {
    core_node **slots;
    size_t n_slots; /* a power of two */
    size_t n;
} core_table;

int core_table_init(core_table *t, size_t slots);
void core_table_free(core_table *t);
/* The chain of a hash; the caller compares hash and key. */
static inline core_node *core_table_chain(const core_table *t, uint64_t hash)
{
    return t->slots[hash & (t->n_slots - 1)];
}
void core_table_add(core_table *t, core_node *n, uint64_t hash);
void core_table_remove(core_table *t, core_node *n);
/* Walks every member: start with NULL. The table must not change meanwhile. */
core_node *core_table_next(const core_table *t, const core_node *n);

/* ---- wheel: timers of about a millisecond ---- */

enum { CORE_WHEEL_SLOTS = 2048, CORE_WHEEL_SHIFT = 10 };

typedef struct core_timer {
    struct core_timer *next, **link; /* link NULL: not set */
    uint64_t due_tick;
    uint8_t kind; /* the owner's */
} core_timer;

typedef struct core_wheel {
    core_timer *slots[CORE_WHEEL_SLOTS];
    uint64_t bits[CORE_WHEEL_SLOTS / 64];
    core_timer *due; /* taken out of their slot, not yet popped */
    uint64_t tick;   /* the last one processed */
} core_wheel;

void core_wheel_init(core_wheel *w, uint64_t now_us);
/* Sets or moves a timer. It fires at `due_us` or up to 1 ms later, never before. */
void core_wheel_set(core_wheel *w, core_timer *t, uint64_t due_us);
void core_wheel_stop(core_wheel *w, core_timer *t);
/* One timer that is due, taken out; NULL when there is none. */
core_timer *core_wheel_pop(core_wheel *w, uint64_t now_us);
/* When to call pop next; UINT64_MAX when no timer is set. May be early by full turns, never late.
 */
uint64_t core_wheel_next_us(const core_wheel *w);

#endif
