/*  seal_box.h - what anybody can seal and only the owner of a key pair can open: X25519 and
 *  XSalsa20-Poly1305 (libsodium's sealed boxes). Who has sealed something cannot open it again, and
 *  nothing tells who it was: what a box is for must be said inside of it.
 *  Thread: a pair may be used by several threads once it is made.   Ownership: box_pair owns locked,
 *  guarded memory, wiped by box_pair_free.   Limits: texts up to SEAL_BOX_MOST.
 *  Errors: SV_E_STORE_KEY when a box does not open (another pair, changed bytes), SV_E_TOO_LARGE,
 *  SV_E_NO_MEMORY. No error holds key or text bytes. */
#ifndef SV_SEAL_BOX_H
#define SV_SEAL_BOX_H

#include "seal.h"

enum { SEAL_BOX_PUBLIC = 32, SEAL_BOX_OVERHEAD = 48, SEAL_BOX_MOST = 65536 };

typedef struct box_pair box_pair;

/* The pair that `seed` gives: the same for the same seed. NULL: no locked memory. */
box_pair *box_pair_from(const seal_key *seed);
void box_pair_free(box_pair *p);
const uint8_t *box_pair_public(const box_pair *p); /* SEAL_BOX_PUBLIC bytes */

/* Appends the box of `plain` for the owner of `public_key`. */
int box_put(const uint8_t public_key[SEAL_BOX_PUBLIC], sv_str plain, buf *out);
/* Appends the plain bytes; wipe them with seal_wipe when done. */
int box_open(const box_pair *p, sv_str box, buf *out);

#endif
