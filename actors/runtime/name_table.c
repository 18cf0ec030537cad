/*  name_table.c - chains. */
#include "name_table.h"

#include "error.h"
#include "uuid.h"

#include <stdlib.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_of(const name_table *t, sv_str name)
{
    uint64_t h = t->seed[0] ^ name.n, word;
    const char *at = name.p;
    uint32_t n = name.n;
    for (; n >= sizeof word; n -= (uint32_t)sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = mix(h ^ word, t->seed[1] | 1);
    }
    word = 0;
    if (n) memcpy(&word, at, n);
    return mix(h ^ word, t->seed[1] ^ 0x9e3779b97f4a7c15u);
}

static sv_str cut(sv_str name)
{
    if (name.n > NAME_BYTES_MOST) name.n = NAME_BYTES_MOST;
    return name;
}

int name_table_init(name_table *t, uint32_t members)
{
    uint64_t slots = 64;
    while (slots < members)
        slots *= 2;
    *t = (name_table){.mask = slots - 1, .slots = calloc(slots, sizeof *t->slots)};
    uuid_random(t->seed, sizeof t->seed);
    return t->slots ? 0 : SV_E_NO_MEMORY;
}

void name_table_free(name_table *t)
{
    free(t->slots);
    *t = (name_table){.slots = NULL};
}

named *name_table_find(const name_table *t, sv_str name)
{
    name = cut(name);
    uint64_t hash = hash_of(t, name);
    named *m = t->slots[hash & t->mask];
    while (m && (m->hash != hash || m->n != name.n || memcmp(m->name, name.p, name.n) != 0))
        m = m->chain;
    return m;
}

void name_table_add(name_table *t, named *m, sv_str name)
{
    name = cut(name);
    m->hash = hash_of(t, name);
    m->n = (uint8_t)name.n;
    memcpy(m->name, name.p, name.n);
    m->chain = t->slots[m->hash & t->mask];
    t->slots[m->hash & t->mask] = m;
    t->n++;
}

void name_table_remove(name_table *t, named *m)
{
    named **at = &t->slots[m->hash & t->mask];
    while (*at != m)
        at = &(*at)->chain;
    *at = m->chain;
    t->n--;
}
