/*  model_cache.h - which requests to models may be answered from the cache, and how they are put to it.
 *
 *  A request may be when it says so: with temperature 0, with Cache-Control: max-age=SECONDS, with
 *  x-samovar-semantic, or by its API key (cache_seconds). Cache-Control: no-store takes it out,
 *  no-cache asks for a new answer that is kept, private keeps it to the user alone. Races, answers of
 *  several models and bodies above CACHE_BODY_BYTES are never kept.
 *  Thread: any.   Ownership: the result borrows from the request.   Errors: none. */
#ifndef EDGE_MODEL_CACHE_H
#define EDGE_MODEL_CACHE_H

#include "access.h"
#include "cache_key.h"
#include "model_request.h"

enum { CACHE_KEEP_MOST_S = 31536000 };

typedef struct model_cache {
    cache_complete_req req;
    char key[CACHE_KEY + 1]; /* partition key */
} model_cache;

/* `keep_s`: how long an answer is kept where neither key nor request say it. `who` may be NULL. */
bool model_cache_may(const model_request *m, const identity *who, int64_t keep_s, model_cache *ret);

#endif
