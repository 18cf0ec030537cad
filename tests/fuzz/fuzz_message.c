/*  fuzz_message.c - any bytes as the body of each declared message: decode, encode, decode again.
 *  The first byte chooses the message type. */
#include "message.h"
#include "skim.h"

#include <assert.h>
#include <stdlib.h>

typedef struct chooser {
    unsigned want, at;
    const sv_message *found;
} chooser;

static void choose(void *arg, const sv_message *m)
{
    chooser *c = arg;
    if (c->at++ == c->want) c->found = m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    chooser c = {.want = data[0] % 32};
    message_each(choose, &c);
    if (c.found == NULL) return 0;
    char *exact = malloc(size); /* so that a read beyond the end is seen */
    memcpy(exact, data + 1, size - 1);
    sv_str bytes = {exact, (uint32_t)size - 1};
    arena a;
    arena_init(&a, 1 << 20);
    void *out = calloc(1, c.found->size + 1), *again = calloc(1, c.found->size + 1);
    sv_error err = {0};
    if (message_decode(c.found, bytes, data[0] & 32, &a, out, &err) == 0) {
        buf b;
        buf_init(&b, 1 << 20);
        assert(message_encode(c.found, out, &b) == 0);
        assert(skim_msgpack(buf_str(&b), LIMIT_DEPTH, LIMIT_NODES, NULL) == 0);
        assert(message_decode(c.found, buf_str(&b), MESSAGE_STRICT, &a, again, &err) == 0);
        buf_free(&b);
    } else {
        assert(err.code != 0 && err.message[0] != 0);
    }
    free(out);
    free(again);
    free(exact);
    arena_free(&a);
    return 0;
}
