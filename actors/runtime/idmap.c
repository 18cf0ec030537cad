/*  idmap.c - deletion shifts later slots back, so there are no tombstones. */
#include "idmap.h"

#include "error.h"
#include "uuid.h"

#include <stdlib.h>

static uint32_t home(const idmap *m, const sv_id *id)
{
    uint64_t a, b;
    memcpy(&a, id->b, 8);
    memcpy(&b, id->b + 8, 8);
    uint64_t h = (a ^ m->seed) * 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 32) ^ b) * 0xd6e8feb86659fd93u;
    return (uint32_t)(h >> 32) & (m->cap - 1);
}

void idmap_free(idmap *m)
{
    free(m->slots);
    *m = (idmap){0};
}

void *idmap_get(const idmap *m, const sv_id *id)
{
    if (m->n == 0) return NULL;
    for (uint32_t i = home(m, id); m->slots[i].value; i = (i + 1) & (m->cap - 1))
        if (sv_id_eq(&m->slots[i].id, id)) return m->slots[i].value;
    return NULL;
}

static void insert(idmap *m, const sv_id *id, void *value)
{
    uint32_t i = home(m, id);
    while (m->slots[i].value)
        i = (i + 1) & (m->cap - 1);
    m->slots[i] = (idmap_slot){*id, value};
    m->n++;
}

int idmap_put(idmap *m, const sv_id *id, void *value)
{
    if ((m->n + 1) * 2 > m->cap) {
        idmap bigger = {.cap = m->cap ? m->cap * 2 : 64, .seed = m->seed};
        if (bigger.seed == 0) uuid_random(&bigger.seed, sizeof bigger.seed);
        bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
        if (bigger.slots == NULL) return SV_E_NO_MEMORY;
        for (uint32_t i = 0; i < m->cap; i++)
            if (m->slots[i].value) insert(&bigger, &m->slots[i].id, m->slots[i].value);
        free(m->slots);
        *m = bigger;
    }
    insert(m, id, value);
    return 0;
}

void idmap_del(idmap *m, const sv_id *id)
{
    if (m->n == 0) return;
    uint32_t mask = m->cap - 1, i = home(m, id);
    while (m->slots[i].value && !sv_id_eq(&m->slots[i].id, id))
        i = (i + 1) & mask;
    if (m->slots[i].value == NULL) return;
    m->n--;
    for (uint32_t j = (i + 1) & mask; m->slots[j].value; j = (j + 1) & mask) {
        uint32_t h = home(m, &m->slots[j].id);
        if (((j - h) & mask) >= ((j - i) & mask)) { /* its probe path crosses the hole */
            m->slots[i] = m->slots[j];
            i = j;
        }
    }
    m->slots[i].value = NULL;
}

void *idmap_next(const idmap *m, uint32_t *at)
{
    while (*at < m->cap) {
        void *value = m->slots[(*at)++].value;
        if (value) return value;
    }
    return NULL;
}
