/*  fuzz_ticket.c - any bytes as a ticket: reading is safe, what reads can be signed again and
 *  then verifies, and nothing that this key did not sign verifies. */
#include "error.h"
#include "sv_limits.h"
#include "ticket.h"

#include <assert.h>
#include <stdlib.h>

static ticket_signer signer;
static ticket_ring *ring;

static void start(void)
{
    static const uint8_t seed[TICKET_SEED] = {1, 2, 3};
    uint8_t key[TICKET_KEY];
    ticket_signer_init(&signer, seed);
    ticket_signer_public(&signer, key);
    ring = ticket_ring_new();
    assert(ring && ticket_ring_add(ring, key) == 0);
}

static void sign_again(const ticket *t)
{
    buf b;
    buf_init(&b, LIMIT_TICKET_BYTES);
    int rc = ticket_sign(&signer, t, &b);
    assert(rc == 0 || rc == SV_E_TOO_LARGE); /* the integer may have been spelled shorter */
    if (rc == 0) {
        ticket again;
        assert(ticket_read(buf_str(&b), &again, NULL) == 0);
        assert(sv_str_eq(again.user, t->user) && sv_str_eq(again.org, t->org) &&
               sv_str_eq(again.tier, t->tier) && again.expires_s == t->expires_s &&
               sv_str_eq(again.actor, t->actor) && sv_str_eq(again.credential, t->credential) &&
               sv_str_eq(again.bound, t->bound) && again.n_roles == t->n_roles &&
               again.n_scopes == t->n_scopes);
        assert(t->expires_s == 0 || ticket_ring_verify(ring, buf_str(&b), 0, NULL) == 0);
        assert(ticket_ring_verify(ring, buf_str(&b), t->expires_s, NULL) == SV_E_TICKET);
        b.p[b.n - 1] ^= 1;
        assert(ticket_ring_verify(ring, buf_str(&b), 0, NULL) == SV_E_TICKET);
    }
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ring == NULL) start();
    char *exact = malloc(size ? size : 1); /* so that a read beyond the end is seen */
    if (size) memcpy(exact, data, size);
    sv_str bytes = {exact, (uint32_t)size};
    ticket t;
    sv_error err = {0};
    int rc = ticket_read(bytes, &t, &err);
    assert(rc == err.code);
    if (rc == 0)
        sign_again(&t);
    else
        assert(rc == SV_E_TICKET && ticket_ring_verify(ring, bytes, 0, NULL) == SV_E_TICKET);
    free(exact);
    return 0;
}
