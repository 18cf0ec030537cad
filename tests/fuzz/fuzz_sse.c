/*  fuzz_sse.c - any bytes as a stream of events, cut anywhere: what passes and how it ends is the
 *  same as in one piece, and with nothing dropped it is the input itself. Each event is also read as
 *  a chunk of a completion. The first two bytes choose the cuts and what is dropped. */
#include "answer.h"
#include "openai.h"
#include "sse_scan.h"

#include <assert.h>
#include <stdlib.h>

typedef struct seen {
    buf out;
    unsigned drop; /* bits: every so many events */
    unsigned events;
    uint64_t digest; /* of the data shown */
} seen;

static sse_verdict on_event(void *arg, sv_str data)
{
    seen *s = arg;
    chunk c = answer_chunk(data);
    tokens t = {0};
    openai_tokens(c.usage, &t);
    assert(t.cached <= t.prompt && t.reasoning <= t.completion && t.prompt >= 0);
    assert(data.p != NULL || !c.object);
    for (uint32_t i = 0; i < data.n; i++)
        s->digest = (s->digest ^ (uint8_t)data.p[i]) * 1099511628211u;
    s->digest = (s->digest ^ (data.p ? 256 : 257)) * 1099511628211u;
    s->events++;
    return s->drop && s->events % s->drop == 0 ? SSE_DROP : SSE_PASS;
}

static bool on_pass(void *arg, sv_str bytes)
{
    seen *s = arg;
    assert(bytes.n > 0 && buf_put(&s->out, bytes.p, bytes.n) == 0);
    return true;
}

static const sse_sink sink = {on_event, on_pass};

/* Feeds pieces of `step` bytes, each in memory of its own. */
static int feed(const uint8_t *data, size_t size, size_t step, bool end, seen *s)
{
    sse_scan scan;
    int rc = 0;
    sse_init(&scan);
    for (size_t at = 0; at < size && rc == 0; at += step) {
        size_t n = size - at < step ? size - at : step;
        char *piece = malloc(n);
        memcpy(piece, data + at, n);
        rc = sse_feed(&scan, (sv_str){piece, (uint32_t)n}, &sink, s);
        free(piece);
    }
    if (rc == 0 && end) rc = sse_end(&scan, &sink, s);
    if (rc == 0 && !end && s->drop == 0) {
        /* passed and held make up the input */
        assert(s->out.n + sse_held(&scan) == size);
        assert(s->out.n == 0 || memcmp(s->out.p, data, s->out.n) == 0);
    }
    sse_free(&scan);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    size_t step = 1 + data[0] % 64;
    unsigned drop = data[1] % 4;
    bool end = data[1] & 64;
    seen whole = {.drop = drop}, cut = {.drop = drop};
    data += 2;
    size -= 2;
    buf_init(&whole.out, size + 16);
    buf_init(&cut.out, size + 16);
    int rc = feed(data, size, size, end, &whole);
    assert(rc == feed(data, size, step, end, &cut));
    assert(whole.events == cut.events && whole.digest == cut.digest);
    assert(whole.out.n == cut.out.n);
    assert(whole.out.n == 0 || memcmp(whole.out.p, cut.out.p, whole.out.n) == 0);
    buf_free(&whole.out);
    buf_free(&cut.out);
    return 0;
}
