/*  fuzz_http_chunked.c - any bytes as a chunked body, whole and in pieces whose sizes the first
 *  bytes choose: the same body, the same end, the same refusal. */
#include "error.h"
#include "http_chunked.h"

#include <assert.h>
#include <stdlib.h>

enum { STEPS = 4 };

typedef struct outcome {
    int rc;
    size_t used, n;
    char *body;
} outcome;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(http_chunked *c, const uint8_t *data, size_t n, outcome *o)
{
    char *copy = malloc(n ? n : 1);
    assert(copy);
    if (n) memcpy(copy, data, n);
    size_t at = 0;
    while (at < n && o->rc == 0) {
        size_t used = 0;
        sv_str run;
        sv_error err = {0};
        o->rc = http_chunked_next(c, copy + at, n - at, &used, &run, &err);
        assert(used <= n - at && run.n <= used);
        assert(o->rc >= 0 || (err.code == o->rc && err.message[0]));
        assert(o->rc != 0 || used > 0);
        if (run.n) memcpy(o->body + o->n, run.p, run.n);
        o->n += run.n;
        at += used;
    }
    o->used += at;
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < STEPS) return 0;
    const uint8_t *steps = data;
    data += STEPS;
    size -= STEPS;
    outcome whole = {.body = malloc(size + 1)}, pieces = {.body = malloc(size + 1)};
    assert(whole.body && pieces.body);
    http_chunked c;
    http_chunked_reset(&c);
    feed(&c, data, size, &whole);
    http_chunked_reset(&c);
    size_t at = 0;
    for (size_t i = 0; at < size && pieces.rc == 0; i++) {
        size_t n = (size_t)steps[i % STEPS] + 1;
        if (n > size - at) n = size - at;
        feed(&c, data + at, n, &pieces);
        at += n;
    }
    assert(pieces.rc == whole.rc && pieces.used == whole.used && pieces.n == whole.n);
    assert(memcmp(pieces.body, whole.body, whole.n) == 0);
    free(whole.body);
    free(pieces.body);
    return 0;
}
