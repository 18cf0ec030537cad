/*  sim_tickets.c - tickets that are bound to their sender, so that the broker always takes them: what
 *  it notes about who may pass them on has to end with the work, however that ends. */
#include "sim.h"

#include "sv_limits.h"
#include "ticket.h"

enum { SERVICES = 16 };

static ticket_ring *ring;
static ticket_signer signer;
static struct {
    char service[LIMIT_NAME_BYTES + 1];
    buf bytes;
} made[SERVICES];

ticket_ring *tickets_ring(void)
{
    static const uint8_t seed[TICKET_SEED] = {5};
    uint8_t key[TICKET_KEY];
    if (ring) return ring;
    ticket_signer_init(&signer, seed);
    ticket_signer_public(&signer, key);
    ring = ticket_ring_new();
    if (ring == NULL || ticket_ring_add(ring, key)) abort();
    return ring;
}

sv_str tickets_bound_to(const char *service)
{
    char bound[LIMIT_NAME_BYTES + 8];
    size_t i = 0;
    while (i < SERVICES && made[i].service[0] && strcmp(made[i].service, service) != 0)
        i++;
    if (i == SERVICES) return (sv_str){NULL, 0};
    if (made[i].service[0] == 0) {
        snprintf(made[i].service, sizeof made[i].service, "%s", service);
        snprintf(bound, sizeof bound, "%s/job", service);
        ticket t = {.user = sv_cstr("u"), .expires_s = 4000000000, .bound = sv_cstr(bound)};
        buf_init(&made[i].bytes, LIMIT_TICKET_BYTES);
        if (ticket_sign(&signer, &t, &made[i].bytes)) abort();
    }
    return buf_str(&made[i].bytes);
}

void tickets_free(void)
{
    for (size_t i = 0; i < SERVICES; i++)
        buf_free(&made[i].bytes);
    ticket_ring_free(ring);
    ticket_signer_clear(&signer);
    ring = NULL;
}
