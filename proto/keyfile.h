/*  keyfile.h - CURVE keys as files: NAME.key holds both halves and is for its owner's eyes alone,
 *  NAME.pub holds the public half and is what a broker admits. The text is exactly
 *
 *      samovar-curve-key 1
 *      name NAME
 *      public Z85           (40 characters, ZeroMQ RFC 32)
 *      secret Z85           (only in a .key file)
 *
 *  Thread: any.   Ownership: plain values; keyfile_clear wipes a secret no longer needed.
 *  Limits: 1 KiB a file.   Errors: SV_E_NOT_FOUND, SV_E_IO, SV_E_CONFLICT (a file is never
 *  replaced), SV_E_CONFIG with file, line and what is allowed. No error ever holds key text. */
#ifndef SV_KEYFILE_H
#define SV_KEYFILE_H

#include "sv_limits.h"
#include "sv_types.h"

enum { KEYFILE_Z85 = 40 };

typedef struct keyfile {
    char name[LIMIT_NAME_BYTES + 1];
    char public_key[KEYFILE_Z85 + 1];
    char secret[KEYFILE_Z85 + 1]; /* "" when there is only the public half */
} keyfile;

/* Fills *ret from a pair in Z85 text. `secret` may be NULL. SV_E_INVALID names the field. */
int keyfile_new(const char *name, const char *public_key, const char *secret, keyfile *ret,
                sv_error *err);
/* Creates `path`: with the secret line and mode 0600, or without it and mode 0644. The file appears
 * whole or not at all; one that exists is SV_E_CONFLICT. */
int keyfile_write(const keyfile *k, const char *path, bool with_secret, sv_error *err);
/* Reads either kind. A file with a secret that group or world may read or write, or that belongs to
 * somebody else, is refused. ret->secret is "" for a public file. */
int keyfile_read(const char *path, keyfile *ret, sv_error *err);
/* Wipes every byte. */
void keyfile_clear(keyfile *k);

#endif
