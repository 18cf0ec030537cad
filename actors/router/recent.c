/*  recent.c - chains of a table that is as large as it will ever be. The hash is seeded: names come
 *  from clients, who must not be able to make them collide. */
#include "recent.h"

#include "error.h"
#include "uuid.h"

#include <stdlib.h>
#include <string.h>

int recent_init(recent *r, size_t size, uint32_t most)
{
    *r = (recent){.most = most, .size = size, .n_slots = 16};
    while (r->n_slots < most)
        r->n_slots *= 2;
    r->slots = calloc(r->n_slots, sizeof(recent_item *));
    uuid_random(&r->seed, sizeof r->seed);
    return r->slots ? 0 : SV_E_NO_MEMORY;
}

void recent_free(recent *r)
{
    for (recent_item *i = r->newest, *older; i; i = older) {
        older = i->older;
        free(i->name);
        free(i);
    }
    free(r->slots);
    *r = (recent){.n = 0};
}

/* Eight bytes at a time, folded products: the mixing step of wyhash. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide p = (wide)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t hash_of(const recent *r, sv_str name)
{
    uint64_t h = r->seed ^ 0xa0761d6478bd642full;
    for (uint32_t at = 0; at < name.n; at += 8) {
        uint64_t word = 0;
        uint32_t left = name.n - at;
        memcpy(&word, name.p + at, left < 8 ? left : 8);
        h = mix(word ^ 0xe7037ed1a0b428dbull, h ^ 0x8ebc6af09c88c6e3ull);
    }
    return mix(h ^ name.n, r->seed ^ 0x589965cc75374cc3ull);
}

static recent_item **place_of(const recent *r, uint64_t hash, sv_str name)
{
    recent_item **at = &r->slots[hash & (r->n_slots - 1)];
    while (*at && ((*at)->hash != hash || !sv_str_eq((sv_str){(*at)->name, (*at)->name_n}, name)))
        at = &(*at)->chain;
    return at;
}

static void unlink_item(recent *r, recent_item *i)
{
    *(i->newer ? &i->newer->older : &r->newest) = i->older;
    *(i->older ? &i->older->newer : &r->oldest) = i->newer;
}

static void link_newest(recent *r, recent_item *i)
{
    i->newer = NULL;
    i->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = i;
    r->newest = i;
}

static void drop(recent *r, recent_item *i)
{
    *place_of(r, i->hash, (sv_str){i->name, i->name_n}) = i->chain;
    unlink_item(r, i);
    free(i->name);
    free(i);
    r->n--;
}

/* Held ones are made the newest: the next search does not pass them again. */
static bool make_room(recent *r)
{
    for (uint32_t tries = r->n; r->n >= r->most && tries > 0; tries--) {
        recent_item *i = r->oldest;
        if (i->holds == 0) {
            drop(r, i);
        } else {
            unlink_item(r, i);
            link_newest(r, i);
        }
    }
    return r->n < r->most;
}

void *recent_get(recent *r, sv_str name)
{
    uint64_t hash = hash_of(r, name);
    recent_item *i = *place_of(r, hash, name);
    if (i) {
        unlink_item(r, i);
        link_newest(r, i);
        return i;
    }
    if (name.n > RECENT_NAME || !make_room(r)) return NULL;
    i = calloc(1, r->size);
    char *copy = i ? malloc(name.n + 1) : NULL;
    if (copy == NULL) {
        free(i);
        return NULL;
    }
    memcpy(copy, name.p, name.n);
    copy[name.n] = 0;
    i->name = copy;
    i->name_n = name.n;
    i->hash = hash;
    *place_of(r, hash, name) = i;
    link_newest(r, i);
    r->n++;
    return i;
}

void *recent_find(const recent *r, sv_str name)
{
    return *place_of(r, hash_of(r, name), name);
}

void recent_hold(void *entry)
{
    ((recent_item *)entry)->holds++;
}

void recent_release(void *entry)
{
    ((recent_item *)entry)->holds--;
}

void *recent_next(const recent *r, const void *before)
{
    return before ? ((const recent_item *)before)->older : r->newest;
}
