/*  fuzz_envelope.c - any bytes as a header: what is accepted encodes to the same bytes again,
 *  unless its strings were not in the shortest form. */
#include "envelope.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    envelope e, again;
    sv_error err = {0};
    if (envelope_decode(data, size, &e, &err)) {
        assert(err.code != 0 && err.message[0] != 0);
        return 0;
    }
    size_t n = envelope_size(&e);
    assert(n > 0 && n <= size);
    uint8_t *copy = malloc(n);
    envelope_write(&e, copy);
    assert(envelope_decode(copy, n, &again, NULL) == 0);
    assert(sv_str_eq(e.target, again.target) && sv_str_eq(e.ticket, again.ticket));
    if (n == size) assert(memcmp(copy, data, n) == 0);
    free(copy);
    return 0;
}
