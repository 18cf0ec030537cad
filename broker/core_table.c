/*  core_table.c - how the containers work.
 *
 *  Table: chains from a power-of-two array that doubles when it holds more members than slots and
 *  halves when it holds fewer than an eighth.
 *  Wheel: 2048 slots of 1.024 ms, one turn in 2.1 s; a timer further away stays in its slot and is
 *  passed over once a turn. A bitmap of used slots makes the next wake-up a short scan. */
#include "core_table.h"

#include "error.h"

#include <stdlib.h>

uint64_t core_hash_bytes(core_seed s, const void *p, size_t n)
{
    const char *at = p;
    uint64_t h = s.a ^ n;
    for (; n >= 8; n -= 8, at += 8)
        h = core_mix(h ^ core_load64(at), s.b | 1);
    uint64_t tail = 0;
    if (n) memcpy(&tail, at, n);
    return core_mix(h ^ tail, s.b ^ 0x9e3779b97f4a7c15u);
}

uint64_t core_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double core_fraction(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

/* ---- table ---- */

int core_table_init(core_table *t, size_t slots)
{
    *t = (core_table){.n_slots = slots};
    t->slots = calloc(slots, sizeof *t->slots);
    return t->slots ? 0 : SV_E_NO_MEMORY;
}

void core_table_free(core_table *t)
{
    free(t->slots);
    *t = (core_table){0};
}

static void resize(core_table *t, size_t slots)
{
    core_node **fresh = calloc(slots, sizeof *fresh);
    if (fresh == NULL) return; /* longer chains, nothing worse */
    for (size_t i = 0; i < t->n_slots; i++) {
        for (core_node *n = t->slots[i]; n;) {
            core_node *next = n->next;
            core_node **at = &fresh[n->hash & (slots - 1)];
            n->next = *at;
            *at = n;
            n = next;
        }
    }
    free(t->slots);
    t->slots = fresh;
    t->n_slots = slots;
}

void core_table_add(core_table *t, core_node *n, uint64_t hash)
{
    if (t->n >= t->n_slots) resize(t, t->n_slots * 2);
    core_node **at = &t->slots[hash & (t->n_slots - 1)];
    n->hash = hash;
    n->next = *at;
    *at = n;
    t->n++;
}

void core_table_remove(core_table *t, core_node *n)
{
    core_node **at = &t->slots[n->hash & (t->n_slots - 1)];
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    n->next = NULL;
    t->n--;
    if (t->n_slots > 1024 && t->n < t->n_slots / 8) resize(t, t->n_slots / 2);
}

core_node *core_table_next(const core_table *t, const core_node *n)
{
    if (n && n->next) return n->next;
    for (size_t i = n ? (n->hash & (t->n_slots - 1)) + 1 : 0; i < t->n_slots; i++)
        if (t->slots[i]) return t->slots[i];
    return NULL;
}

/* ---- wheel ---- */

void core_wheel_init(core_wheel *w, uint64_t now_us)
{
    *w = (core_wheel){.tick = now_us >> CORE_WHEEL_SHIFT};
}

static void timer_link(core_timer **head, core_timer *t)
{
    t->next = *head;
    t->link = head;
    if (t->next) t->next->link = &t->next;
    *head = t;
}

static void timer_unlink(core_timer *t)
{
    *t->link = t->next;
    if (t->next) t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

void core_wheel_stop(core_wheel *w, core_timer *t)
{
    if (t->link == NULL) return;
    timer_unlink(t);
    size_t i = t->due_tick & (CORE_WHEEL_SLOTS - 1);
    if (w->slots[i] == NULL) w->bits[i / 64] &= ~(1ull << (i % 64));
}

void core_wheel_set(core_wheel *w, core_timer *t, uint64_t due_us)
{
    core_wheel_stop(w, t);
    uint64_t tick = (due_us >> CORE_WHEEL_SHIFT) + 1;
    if (tick <= w->tick) tick = w->tick + 1;
    t->due_tick = tick;
    size_t i = tick & (CORE_WHEEL_SLOTS - 1);
    timer_link(&w->slots[i], t);
    w->bits[i / 64] |= 1ull << (i % 64);
}

/* Moves what is due at w->tick from its slot to the due list. */
static void collect(core_wheel *w)
{
    size_t i = w->tick & (CORE_WHEEL_SLOTS - 1);
    for (core_timer *t = w->slots[i]; t;) {
        core_timer *next = t->next;
        if (t->due_tick <= w->tick) {
            timer_unlink(t);
            timer_link(&w->due, t);
        }
        t = next;
    }
    if (w->slots[i] == NULL) w->bits[i / 64] &= ~(1ull << (i % 64));
}

core_timer *core_wheel_pop(core_wheel *w, uint64_t now_us)
{
    uint64_t now = now_us >> CORE_WHEEL_SHIFT;
    if (w->due == NULL && now > w->tick && now - w->tick > CORE_WHEEL_SLOTS)
        w->tick = now - CORE_WHEEL_SLOTS; /* one turn meets every slot */
    while (w->due == NULL && w->tick < now) {
        w->tick++;
        size_t i = w->tick & (CORE_WHEEL_SLOTS - 1);
        if (w->bits[i / 64] >> (i % 64) & 1) collect(w);
    }
    core_timer *t = w->due;
    if (t) timer_unlink(t);
    return t;
}

uint64_t core_wheel_next_us(const core_wheel *w)
{
    if (w->due) return 0;
    for (size_t d = 1; d <= CORE_WHEEL_SLOTS;) {
        size_t i = (w->tick + d) & (CORE_WHEEL_SLOTS - 1);
        uint64_t rest = w->bits[i / 64] >> (i % 64);
        if (rest) return (w->tick + d + (uint64_t)__builtin_ctzll(rest)) << CORE_WHEEL_SHIFT;
        d += 64 - i % 64;
    }
    return UINT64_MAX;
}
