/*  operator.h - who the callers are until identity exists: the operator of this machine.
 *  The platform's start gives each edge the same 32 secret bytes on the descriptor
 *  SAMOVAR_TICKET_FD. From them come the tickets (user operator, organization default, role
 *  owner, tier own; 15 minutes, minted again when a third of that is left) and the pseudonym
 *  that edges of one platform write into Via. Without the descriptor no tickets are sent and the
 *  pseudonym is random.
 *  Thread: the loop's.   Ownership: the slice of operator_ticket lives until the next call.
 *  Errors: SV_E_CONFIG when the descriptor is named but does not deliver. */
#ifndef EDGE_OPERATOR_H
#define EDGE_OPERATOR_H

#include "buf.h"
#include "ticket.h"

enum { PSEUDONYM_BYTES = 8 + 16 };

typedef struct operator_identity {
    bool signs;
    ticket_signer signer;
    buf ticket;
    uint64_t renew_s;
    char pseudonym[PSEUDONYM_BYTES + 1]; /* samovar-<16 hex> */
} operator_identity;

/* Reads and closes the descriptor and takes its name out of the environment. */
int operator_init(operator_identity *o, sv_error *err);
/* The current ticket, or {NULL, 0}. */
sv_str operator_ticket(operator_identity *o, uint64_t now_s);
void operator_clear(operator_identity *o);

#endif
