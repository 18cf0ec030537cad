/*  restore.h - a copy that is about to take an environment's place, and what was there before.
 *
 *  Beside the environment FOLDER there may be
 *    FOLDER.restore         the copy: data.mdb, and `verified` with the hash of the bytes that were
 *                           verified. Without that file nobody puts it in place.
 *    FOLDER.before-restore  what the last restore replaced: data.mdb.
 *  Between the exchange and the end of a restore FOLDER.restore holds the former data under a mark
 *  of other bytes: that is how a restore that was killed there is told from one that was killed
 *  before.
 *
 *  Thread: any; everything blocks for as long as the disk takes.
 *  Errors: SV_E_IO with the system's word, SV_E_STORE_DAMAGED (not the bytes that were verified),
 *  SV_E_NOT_FOUND (there is no verified copy). */
#ifndef SV_RESTORE_H
#define SV_RESTORE_H

#include "state.h"

/* FOLDER.restore and FOLDER.before-restore. */
int restore_paths(const char *folder, char copy[STATE_PATH], char former[STATE_PATH],
                  sv_error *err);
/* Holds FOLDER.restore: one process at a time prepares or exchanges a copy. The descriptor is the
 * hold. A missing folder is made (0700) when `make`, else SV_E_NOT_FOUND. SV_E_OVERLOADED while
 * another holds it. */
int restore_hold(const char *folder, bool make, int *ret_fd, sv_error *err);
/* Clears what an earlier restore left: former data is kept as FOLDER.before-restore, a copy goes.
 * *ret_exchanged (may be NULL): there was former data, so that restore had put its copy in place. */
int restore_clear(const char *folder, bool *ret_exchanged, sv_error *err);
/* The copy has been verified: its bytes have this hash. */
int restore_mark(const char *folder, const char hash[65], sv_error *err);
/* Is the copy the one that was verified? */
int restore_check(const char *folder, sv_error *err);
/* Removes the copy, which was not put in place. */
int restore_drop(const char *folder, sv_error *err);
/* After the exchange: what is in FOLDER.restore becomes FOLDER.before-restore, replacing an older
 * one; *ret_former tells whether there was anything. */
int restore_end(const char *folder, bool *ret_former, sv_error *err);
/* Exchanges the data of FOLDER, which nobody has open, with the copy's; FOLDER may have none. Twice
 * is as if nothing had been done. */
int restore_exchange(const char *folder, sv_error *err);

/* BLAKE2b-256 of a file, hex, and its size. */
int restore_hash(const char *path, char hash[65], uint64_t *ret_bytes, sv_error *err);
/* Is everything of a folder's or file's name on disk? */
int restore_sync(const char *path, sv_error *err);

#endif
