/*  answer_cache_router.h - a router for tests of the cache, in a process of its own that shares `fake`
 *  with the test. What it answers is in the model's name: error, denied, refusal (status 400), tools, cut,
 *  half and large (bytes), long (a long stream), translate (its task), anything else a short answer.
 *  To the user eve it is a provider of her own that answers own and fails for own-broken; her embeddings
 *  are her own, too, and say that every text means "how do i brew tea". Streams begin at once; every answer waits for `go`. To the endpoint embeddings it answers how often
 *  each letter occurs in the text. */
#ifndef ANSWER_CACHE_ROUTER_H
#define ANSWER_CACHE_ROUTER_H

#include "samovar.h"
#include "sv_limits.h"

#include <stdatomic.h>

enum { FAKE_HALF = 512 << 10, FAKE_LARGE = 2 << 20, FAKE_LONG = 900 << 10 };

typedef struct fake_state {
    atomic_int calls, go, left;       /* left: calls whose caller went away */
    atomic_int meanings, understands; /* embeddings: asked for; 0: not answered, 2: refused */
    atomic_ullong left_us;
} fake_state;

extern fake_state *fake;
extern const sv_actor fake_router;

/* The bytes of a short answer. */
void fake_answer(const char *model, bool stream, char *to, size_t size);

#endif
