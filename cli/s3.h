/*  s3.h - objects in a bucket of an S3-compatible store: put, get, list, delete.
 *
 *  A URL is https://HOST[:PORT]/BUCKET[/PREFIX]; keys are relative to the prefix. Plain http passes
 *  only to addresses that are not public. Requests are signed with AWS's version 4 and go one at a
 *  time. What failed because of the network or the store itself (no connection, a cut one, silence,
 *  429, 5xx) is repeated up to S3_TRIES times with growing pauses; what the store refuses is not.
 *
 *  Thread: the caller's, which waits.   Memory: one page of a list.   Ownership: s3_close frees all.
 *  Errors: SV_E_INVALID (URL, key), SV_E_CONFIG (no keys), SV_E_NOT_FOUND (no such object or bucket),
 *  SV_E_TOO_LARGE (over S3_OBJECT_BYTES), SV_E_PROVIDER_REFUSED (the store's own words), other
 *  SV_E_PROVIDER_ and SV_E_URL_FORBIDDEN as http_client.h says, SV_E_IO for files. No error, log line
 *  or report ever holds the secret key. */
#ifndef CLI_S3_H
#define CLI_S3_H

#include "config.h"

enum {
    S3_TRIES = 5,
    S3_KEY_BYTES = 1024,
    S3_OBJECT_BYTES_GIB = 5 /* of one PUT; more would need uploads in parts */
};
#define S3_OBJECT_BYTES ((uint64_t)S3_OBJECT_BYTES_GIB << 30)

typedef struct s3 s3;

typedef struct s3_object {
    const char *key; /* without the prefix */
    uint64_t bytes;
} s3_object;

/* Keys and region come from backup.s3_*. `url` NULL: backup.s3_url. Nothing is sent yet. */
int s3_open(s3 **ret, const char *url, const config *c, sv_error *err);
void s3_close(s3 *s);
/* The URL of the prefix, for words to the operator. */
const char *s3_url(const s3 *s);
/* True for what the command line may name instead of a folder: "http://..." or "https://...". */
bool s3_is_url(const char *text);

/* The file's bytes as they are now, checked by the store against their SHA-256. */
int s3_put_file(s3 *s, const char *key, const char *path, sv_error *err);
/* Makes the file at `path` (0600, must not exist); nothing is left of it after a failure. */
int s3_get_file(s3 *s, const char *key, const char *path, sv_error *err);
/* Every object whose key begins with `start`, in the order of their keys. `fn` answers 0 to go on;
 * it may not use `s`. */
int s3_list(s3 *s, const char *start, int (*fn)(void *arg, const s3_object *o), void *arg,
            sv_error *err);
/* Gone already is no error. */
int s3_delete(s3 *s, const char *key, sv_error *err);

#endif
