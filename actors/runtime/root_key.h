/*  root_key.h - where a process gets the root key, without which no sealed value can be opened.
 *
 *  A child of the supervisor inherits it (SAMOVAR_ROOT_KEY_FD). Else it is in the file that the setting
 *  store.root_key_file names, in $CREDENTIALS_DIRECTORY/samovar.root_key if that exists, or in
 *  samovar/root.key of $XDG_CONFIG_HOME or ~/.config; or it is made of the passphrase in the file that
 *  store.passphrase_file names, with Argon2id and the salt in DATA/store/root.salt. Never in DATA: a
 *  copy of the data must not be enough to read it. Never in an argument, the environment or a log.
 *
 *  A process that reads it writes no core file from then on, and other processes of the same user
 *  cannot look into its memory (PR_SET_DUMPABLE).
 *
 *  While it is being changed, the next root key (or passphrase) lies beside the present one, as
 *  PATH.new.
 *
 *  Thread: root_key_get at start, the rest any.   Ownership: the caller frees keys.
 *  Errors: SV_E_CONFIG for a path, mode or text that is wrong, and for a key that is missing and
 *  needed, SV_E_IO, SV_E_NO_MEMORY; with words for the operator, never with key text. */
#ifndef SV_ROOT_KEY_H
#define SV_ROOT_KEY_H

#include "config.h"
#include "seal.h"

#include <limits.h>

typedef struct root_key_source {
    bool passphrase;
    bool read_only; /* somebody else puts it there: a systemd credential */
    char path[PATH_MAX];
    char next[PATH_MAX]; /* path.new */
    char salt[PATH_MAX]; /* for a passphrase */
} root_key_source;

/* Where it is, or would be. Refuses a place inside the data folder. */
int root_key_where(const config *c, root_key_source *ret, sv_error *err);
/* The root key and, while a change is under way, the next one, else *ret_next = NULL. When there is
 * none and no environment either, it makes one and says so in the log. A passphrase takes about a GiB
 * and seconds. */
int root_key_get(const config *c, seal_key **ret, seal_key **ret_next, sv_error *err);
/* As root_key_get, but makes none: SV_E_NOT_FOUND. */
int root_key_find(const config *c, seal_key **ret, seal_key **ret_next, sv_error *err);
/* The next root key alone. SV_E_NOT_FOUND: no change is under way. */
int root_key_next(const config *c, seal_key **ret, sv_error *err);
/* From a file of either kind: a root key, or a passphrase and the salt. */
int root_key_load(const root_key_source *s, const char *path, seal_key **ret, sv_error *err);
/* The salt of the passphrase as 32 hex digits, for backups; "" when the root key is not made of one. */
int root_salt_get(const config *c, char hex[2 * SEAL_SALT + 1], sv_error *err);
/* Puts the salt of a backup in its place if a passphrase is used and none is there yet.
 * SV_E_CONFLICT: there is another one. */
int root_salt_put(const config *c, const char *hex, sv_error *err);

#endif
