/*  recent.h - entries by name, of which those not used for longest make room for new ones: a hash map
 *  and a list in order of use. Every operation takes constant time.
 *
 *  An entry is a struct of the user's that begins with a recent_item; it is zeroed when it is made.
 *  Thread: one owner.   Ownership: entries belong to the map, also the copies of their names. One that
 *  is held (recent_hold) is never dropped.
 *  Limits: `most` entries; names of RECENT_NAME bytes.   Errors: NULL: no memory, or all are held. */
#ifndef ROUTER_RECENT_H
#define ROUTER_RECENT_H

#include "sv_types.h"

#include <stddef.h>

enum { RECENT_NAME = 512 };

typedef struct recent_item {
    struct recent_item *chain, *newer, *older;
    char *name;
    uint32_t name_n, holds;
    uint64_t hash;
} recent_item;

typedef struct recent {
    recent_item **slots, *newest, *oldest;
    uint32_t n, most, n_slots;
    size_t size; /* of an entry */
    uint64_t seed;
} recent;

int recent_init(recent *r, size_t size, uint32_t most);
void recent_free(recent *r);
/* Finds it, or makes it; it is the newest then. */
void *recent_get(recent *r, sv_str name);
/* Finds it or answers NULL; leaves the order. */
void *recent_find(const recent *r, sv_str name);
void recent_hold(void *entry);
void recent_release(void *entry);
/* From the newest to the oldest: `before` NULL for the first. */
void *recent_next(const recent *r, const void *before);

#endif
