/*  manifest.h - a backup: a folder with one file an environment and MANIFEST.json, written last.
 *  The manifest names each file with its size and BLAKE2b-256: a folder without it is not finished.
 *  The root key is never part of a backup; the salt of a passphrase is, which is no secret.
 *  Thread: any.   Ownership: plain values.   Limits: MANIFEST_FILES environments.
 *  Errors: SV_E_IO, SV_E_STORE_FULL, SV_E_MALFORMED with what is wrong in the manifest. */
#ifndef CLI_MANIFEST_H
#define CLI_MANIFEST_H

#include "message.h"
#include "sv_limits.h"

enum { MANIFEST_FILES = 1024, MANIFEST_NAME = 16, MANIFEST_HASH = 65 };

typedef struct manifest_file {
    char service[LIMIT_NAME_BYTES + 1];
    uint32_t instance;
    uint64_t bytes;
    char hash[MANIFEST_HASH];
    uint64_t version, epoch, last_txn;
} manifest_file;

typedef struct manifest {
    char created[24];   /* 2025-01-31T12:00:00Z */
    char root_salt[33]; /* hex; "": the root key is not made of a passphrase */
    manifest_file *file;
    size_t n;
} manifest;

int manifest_add(manifest *m, const manifest_file *f);
void manifest_free(manifest *m);
/* FOLDER/MANIFEST.json, synced. */
int manifest_write(const manifest *m, const char *folder, sv_error *err);
/* Every field is checked: a manifest can be edited by anybody who can write there. */
int manifest_read(const char *folder, manifest *ret, sv_error *err);
/* "router-1.mdb" */
void manifest_file_name(const manifest_file *f, char name[LIMIT_NAME_BYTES + 20]);

/* "20250131T120000Z" of a moment. Is it such a name? */
void manifest_name(int64_t unix_s, char name[MANIFEST_NAME + 1]);
bool manifest_is_name(const char *name);

#endif
