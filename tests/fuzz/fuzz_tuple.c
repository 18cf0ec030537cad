/*  fuzz_tuple.c - any bytes as a key: what can be read is written to the same bytes again, and
 *  everything prints. */
#include "buf.h"
#include "error.h"
#include "tuple.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(tuple *t, const tuple_part *part)
{
    int rc = part->type == TUPLE_INT    ? tuple_int(t, part->i)
             : part->type == TUPLE_TEXT ? tuple_text(t, part->s)
                                        : tuple_bytes(t, part->s);
    assert(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *scratch = malloc(LIMIT_STORE_KEY_BYTES);
    assert(scratch);
    sv_str key = {(const char *)data, (uint32_t)size}, rest = key;
    tuple again = {0};
    tuple_part part;
    while (rest.n > 0 && tuple_next(&rest, scratch, &part) == 0)
        write_again(&again, &part);
    assert(again.n == size - rest.n && (again.n == 0 || memcmp(again.b, data, again.n) == 0));
    buf out;
    buf_init(&out, 1 << 20);
    int rc = tuple_print(key, &out);
    assert(rc == 0 || (rc == SV_E_TOO_LARGE && size > 1 << 17));
    for (size_t i = 0; i < out.n; i++)
        assert((unsigned char)out.p[i] >= 0x20 && out.p[i] != 0x7f);
    buf_free(&out);
    free(scratch);
    return 0;
}
