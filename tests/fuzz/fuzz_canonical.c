/*  fuzz_canonical.c - any bytes: what json_skim accepts has one canonical text, which is JSON of the same
 *  value, is its own canonical text, and does not change when its members come in another order. Other
 *  bytes are read to no further than their end. */
#include "canonical.h"
#include "error.h"
#include "json_scan.h"

#include <assert.h>
#include <stdlib.h>

enum { DEPTH = 64 };

/* The object's members from the last to the first; text as it is spelled. */
static void turn_around(json_value v, buf *out)
{
    sv_str keys[64], key;
    json_value values[64], member;
    size_t at = 0, n = 0;
    while (n < 64 && json_next_member(v, &at, &key, &member)) {
        keys[n] = key;
        values[n++] = member;
    }
    assert(buf_putc(out, '{') == 0);
    for (size_t i = n; i-- > 0;) {
        assert(buf_put(out, keys[i].p - 1, keys[i].n + 2) == 0);
        assert(buf_puts(out, " : ") == 0);
        assert(buf_put(out, values[i].raw.p, values[i].raw.n) == 0);
        assert(buf_puts(out, i ? "\n, " : " ") == 0);
    }
    assert(buf_putc(out, '}') == 0);
}

static size_t count(json_value v)
{
    size_t at = 0, n = 0;
    sv_str key;
    json_value member;
    while (json_next_member(v, &at, &key, &member))
        n++;
    return n;
}

static void same(sv_str text, const buf *want)
{
    buf out;
    buf_init(&out, 1 << 24);
    assert(canonical_json(text, NULL, &out) == 0);
    assert(out.n == want->n && memcmp(out.p, want->p, out.n) == 0);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1);
    if (size) memcpy(exact, data, size);
    sv_str text = {exact, (uint32_t)size};
    buf out, turned;
    buf_init(&out, 1 << 24);
    buf_init(&turned, 1 << 24);
    int rc = canonical_json(text, NULL, &out);
    if (json_skim(text, DEPTH, NULL) == 0) {
        assert(rc == 0 && json_skim(buf_str(&out), DEPTH, NULL) == 0);
        json_value v = json_root(text);
        assert(json_root(buf_str(&out)).type == v.type);
        same(buf_str(&out), &out);
        if (v.type == JSON_OBJECT && count(v) <= 64) {
            assert(count(json_root(buf_str(&out))) == count(v));
            turn_around(v, &turned);
            same(buf_str(&turned), &out);
        }
    }
    buf_free(&out);
    buf_free(&turned);
    free(exact);
    return 0;
}
