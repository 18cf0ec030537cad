/*  tls.h - TLS for the edge: a certificate and its key from two PEM files, and the table of
 *  http_transport.h that speaks with them.
 *
 *  TLS 1.2 and 1.3, forward secrecy and AEAD only, no compression, no renegotiation, no early
 *  data, session tickets in TLS 1.3 (tls_ticket.h). ALPN offers h2 and http/1.1;
 *  a client that offers others only is refused, one that offers none gets http/1.1. The name a
 *  client asks for (SNI) is not looked at: there is one certificate.
 *
 *  Thread: the loop's. SIGPIPE must be ignored.
 *  Ownership: a transport lives on when its `tls` is freed or has taken a new pair: it keeps what
 *  it began with.
 *  Limits: 64 KiB for each file; TLS_MESSAGES handshake messages in a connection's life.
 *  Errors: SV_E_CONFIG in words for the operator, naming setting, file and the way out;
 *  SV_E_NO_MEMORY. */
#ifndef EDGE_TLS_H
#define EDGE_TLS_H

#include "http_transport.h"

enum { TLS_MESSAGES = 256, TLS_SEED_BYTES = 32 };

typedef struct tls tls;

/* Reads both files. Others must not be able to read the key's. */
int tls_new(const char *cert_file, const char *key_file, tls **ret, sv_error *err);
void tls_free(tls *t);
/* Looks whether the files are others than those last looked at, and takes a new pair when it loads:
 * 1. A pair that does not is told with its reason, and the one in use stays: negative. 0: as it was.
 */
int tls_check(tls *t, sv_error *err);
/* What the keys of session tickets are made of: the same bytes in every process whose tickets shall be
 * good here, and in no other; without this call, random ones. `now_s` gives seconds since 1970;
 * NULL: the system's. SV_E_NO_MEMORY. */
int tls_tickets(tls *t, const uint8_t seed[TLS_SEED_BYTES], int64_t (*now_s)(void));
/* When the certificate in use ends, in seconds since 1970. */
int64_t tls_expires_s(const tls *t);
/* An http_open_fn: `arg` is a tls. */
int tls_open(void *arg, http_transport *ret);

#endif
