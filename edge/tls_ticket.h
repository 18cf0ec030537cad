/*  tls_ticket.h - the keys of session tickets, the same in every process that has the same seed and
 *  certificate, so that a client may go on at any of them.
 *
 *  A key lives for TLS_TICKET_S, counted from 1970, and opens for as long again. It is derived
 *  (HKDF-SHA256) from the seed, the period's number and the certificate: what was sealed beside
 *  another certificate does not open. Tickets are given to TLS 1.3 only, where each connection has a
 *  key exchange of its own: who learns the seed can read no recorded connection.
 *
 *  Thread: the loop's.   Ownership: the SSL_CTX owns its keys and wipes them.
 *  Errors: false without memory; a client whose ticket does not open makes a whole handshake. */
#ifndef EDGE_TLS_TICKET_H
#define EDGE_TLS_TICKET_H

#include "tls.h"

#include <openssl/ssl.h>

enum { TLS_TICKET_S = 86400 };

typedef struct tls_ticket_source {
    uint8_t seed[TLS_SEED_BYTES];
    int64_t (*now_s)(void);
} tls_ticket_source;

/* `ctx` has its certificate; `source` is copied. May be called again. */
bool tls_ticket_use(SSL_CTX *ctx, const tls_ticket_source *source);

#endif
