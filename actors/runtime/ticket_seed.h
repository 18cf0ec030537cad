/*  ticket_seed.h - the 32 secret bytes from which edge and auth sign tickets: the platform's start
 *  gives them on the descriptor that SAMOVAR_TICKET_FD names.
 *  Thread: before others begin (the environment is changed).
 *  Errors: SV_E_CONFIG when the descriptor is named but does not deliver. */
#ifndef SV_TICKET_SEED_H
#define SV_TICKET_SEED_H

#include "ticket.h"

/* Reads and closes the descriptor, takes its name out of the environment and wipes what was read; only
 * the signer keeps a key. *ret_given: there was a descriptor, and `s` is ready. */
int ticket_seed_take(ticket_signer *s, bool *ret_given, sv_error *err);

#endif
