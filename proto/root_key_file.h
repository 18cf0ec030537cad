/*  root_key_file.h - the root key as a file, and as a descriptor that a child inherits.
 *  The file is one line, "samovar-root-key 1 HEX64", for its owner's eyes alone.
 *  Thread: any.   Ownership: the caller frees the key.
 *  Errors: as below; none holds key text. */
#ifndef SV_ROOT_KEY_FILE_H
#define SV_ROOT_KEY_FILE_H

#include "seal.h"

/* Creates it; appears whole or not at all; SV_E_CONFLICT when there is one. Makes the folder. */
int root_key_write(const char *path, const seal_key *k, sv_error *err);
/* SV_E_NOT_FOUND, SV_E_CONFIG (wrong mode, owner or text: says which), SV_E_IO, SV_E_NO_MEMORY. A
 * file of root's may be readable for its group: that is how systemd hands out credentials. */
int root_key_read(const char *path, seal_key **ret, sv_error *err);
/* To and from a sealed memory file whose descriptor a child inherits. The reader closes it. */
int root_key_to_fd(const seal_key *k, int *ret_fd, sv_error *err);
int root_key_from_fd(int fd, seal_key **ret, sv_error *err);

#endif
