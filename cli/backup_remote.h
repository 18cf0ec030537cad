/*  backup_remote.h - copies of backups in an S3-compatible store, and what backups a folder holds.
 *
 *  A backup NAME is the objects NAME/SERVICE-N.mdb and NAME/MANIFEST.json, which is sent last and
 *  removed first: without it a backup in the store is not finished. One platform has one prefix.
 *
 *  Thread: the main thread's; everything blocks.   Ownership: plain values.
 *  Errors: those of s3.h and manifest.h; SV_E_NOT_FOUND when there is no finished backup. */
#ifndef CLI_BACKUP_REMOTE_H
#define CLI_BACKUP_REMOTE_H

#include "config.h"
#include "manifest.h"
#include "platform.h"

/* Does `text` name something in a store: "s3:" and "s3:NAME" (at backup.s3_url), "URL", "URL/NAME"?
 * Without a name it is the newest finished backup there. */
bool backup_is_remote(const char *text);

/* Sends DIR/NAME to `url` (NULL: backup.s3_url), unless it is there already, then removes finished
 * ones beyond the newest `keep` (0: none) and what uploads of more than a week ago left unfinished.
 * Nothing is sent when a file is larger than one object may be. */
int backup_send(const config *c, const char *url, const char *dir, const char *name, uint64_t keep,
                sv_error *err);

typedef struct backup_fetched {
    char folder[PLATFORM_PATH]; /* DATA/download/NAME, as a backup's folder */
    int hold;                   /* DATA/download, locked */
} backup_fetched;

/* Brings one into DATA/download; what an earlier one left there goes first. */
int backup_fetch(const config *c, const char *text, backup_fetched *ret, sv_error *err);
/* Removes it. */
void backup_fetch_end(backup_fetched *f);

/* fn for each finished backup, oldest first, of a folder or of what `text` names in a store. */
int backup_each(const config *c, const char *text, void (*fn)(void *arg, const char *name),
                void *arg, sv_error *err);
/* The newest finished one in a folder; SV_E_NOT_FOUND. */
int backup_newest(const char *dir, char name[MANIFEST_NAME + 1], sv_error *err);
/* When a backup of this name was begun; Unix time. */
int64_t backup_time(const char *name);

#endif
