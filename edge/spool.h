/*  spool.h - bytes on the disk that nobody else sees: a file without a name, gone with its
 *  descriptor, also when the process is killed.
 *  Thread: one owner.   Ownership: the descriptor; spool_close ends it.
 *  Errors: SV_E_STORE_FULL when the disk or a quota on it is full, SV_E_IO. */
#ifndef EDGE_SPOOL_H
#define EDGE_SPOOL_H

#include "sv_types.h"

/* In `folder`, which is made if it is not there, for its owner alone. The descriptor or an error. */
int spool_open(const char *folder, sv_error *err);
void spool_close(int fd);
/* At the end. */
int spool_add(int fd, sv_str bytes, sv_error *err);
/* Exactly n bytes at `at`. */
int spool_read(int fd, uint64_t at, void *to, size_t n, sv_error *err);

#endif
