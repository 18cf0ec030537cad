/*  tally.h - what the cache did, by organization and model. Since the start of the process, in memory.
 *  Thread: the loop's.   Ownership: the table.
 *  Limits: TALLY_ORG models of one organization, further ones count as its model _other, so that nobody
 *  fills the table for others; TALLY_MOST pairs, beyond them under _other without organization. */
#ifndef CACHE_TALLY_H
#define CACHE_TALLY_H

#include "message.h"

enum { TALLY_MOST = 1024, TALLY_ORG = 64 };

/* The last one is a hit, too: of an answer to a question of the same meaning. */
typedef enum tally_outcome { TALLY_HIT, TALLY_SHARED, TALLY_MISS, TALLY_MEANT } tally_outcome;

typedef struct tally_row {
    char *org, *model;
    int64_t count[4], tokens, price;
} tally_row;

typedef struct tally {
    tally_row rows[TALLY_MOST + 1]; /* the last one is _other */
    uint32_t slots[2 * TALLY_MOST]; /* 1 + index by hash; 0: free */
    uint32_t n;
} tally;

#define TALLY_OTHER "_other"

void tally_init(tally *t);
void tally_free(tally *t);
/* tokens and price are what was saved; not for misses. */
void tally_add(tally *t, sv_str org, sv_str model, tally_outcome o, int64_t tokens, int64_t price);

#endif
