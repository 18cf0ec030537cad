/*  probe.h - the broker tries its own door before it opens: a stranger's CURVE key must be refused,
 *  a known one and a process of our own user must be admitted under the right name.
 *  libzmq admits everybody when no ZAP handler answers, and it does so silently; hence the test
 *  with the options of the real sockets, at every start.
 *  Thread: the caller's; takes a few ms, PROBE_MS at worst.   Ownership: leaves nothing behind.
 *  Errors: SV_E_INTERNAL with what went wrong: the process must not serve then. */
#ifndef BROKER_PROBE_H
#define BROKER_PROBE_H

#include "zap.h"

enum { PROBE_MS = 2000 };

/* `z` answers for the context `zmq`; NULL when somebody else does, in tests: then the known key is
 * not announced. `folder` takes two short-lived sockets. `secret`, `public_key`: the broker's, Z85.
 */
int probe_run(void *zmq, zap *z, const char *folder, const char *secret, const char *public_key,
              sv_error *err);

#endif
