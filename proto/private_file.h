/*  private_file.h - small files for their owner's eyes alone: keys, passphrases.
 *  Thread: any.   Ownership: the caller wipes what was read.   Limits: what the caller has room for.
 *  Errors: with the path, never with what is in the file. */
#ifndef SV_PRIVATE_FILE_H
#define SV_PRIVATE_FILE_H

#include "sv_types.h"

#include <sys/types.h>

/* Creates `path` with these bytes and mode 0600; it appears whole and lasting, or not at all. Makes
 * its folder. SV_E_CONFLICT when there is one, SV_E_IO, SV_E_CONFIG. */
int private_file_write(const char *path, sv_str bytes, sv_error *err);
/* At most `size` bytes of it; `what` is its name for people. SV_E_NOT_FOUND, SV_E_IO; SV_E_CONFIG for
 * one that is no regular file, or that others may read or change, or that is larger. A file of root's
 * may be readable for its group: that is how systemd hands out credentials. */
int private_file_read(const char *path, const char *what, void *to, size_t size, size_t *ret_n,
                      sv_error *err);
/* Renames, in place of what is there, and makes it last. */
int private_file_replace(const char *from, const char *to, sv_error *err);
/* As many bytes as there are from the start of `fd`, at most `size`; -1 and errno. */
ssize_t private_file_read_fd(int fd, void *to, size_t size);

#endif
