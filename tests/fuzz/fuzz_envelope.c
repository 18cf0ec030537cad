/*  fuzz_envelope.c - any bytes as a header: what is accepted encodes to the same bytes again,
 *  unless its strings were not in the shortest form. */
#include "envelope.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What names an instance says the same as its plain form and the number put together again. */
static void check_target(sv_str target)
{
    char plain[LIMIT_TARGET_BYTES + 1], whole[LIMIT_TARGET_BYTES + 16];
    sv_str method;
    uint32_t instance;
    if (!envelope_target_plain(target, plain, &method, &instance)) return;
    assert(envelope_target_ok(method) && (instance == 0) == (method.p == target.p));
    if (instance == 0) return;
    int name = (int)strcspn(plain, ".");
    int n = snprintf(whole, sizeof whole, "%.*s/%u%s", name, plain, instance, plain + name);
    assert(n == (int)target.n && memcmp(whole, target.p, target.n) == 0);
}

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
    check_target(e.target);
    free(copy);
    return 0;
}
