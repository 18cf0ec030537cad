/*  idmap.h - from request id to pointer: open addressing with linear probing, grown at half full.
 *  The hash is seeded per map, so peers who choose their ids cannot make it slow.
 *  Thread: one owner.   Ownership: the map owns its slots, not the values.
 *  Errors: idmap_put answers SV_E_NO_MEMORY; the map is unchanged then. */
#ifndef SV_IDMAP_H
#define SV_IDMAP_H

#include "sv_types.h"

typedef struct idmap_slot {
    sv_id id;
    void *value; /* NULL: free */
} idmap_slot;

typedef struct idmap {
    idmap_slot *slots;
    uint32_t cap; /* power of two, 0 before the first put */
    uint32_t n;
    uint64_t seed;
} idmap;

void idmap_free(idmap *m);
void *idmap_get(const idmap *m, const sv_id *id);
/* The id must not be there. */
int idmap_put(idmap *m, const sv_id *id, void *value);
void idmap_del(idmap *m, const sv_id *id);
/* Walks: *at starts at 0; NULL at the end. Deleting the value just returned is not allowed; collect
 * first, or restart at 0 after a deletion. */
void *idmap_next(const idmap *m, uint32_t *at);

#endif
