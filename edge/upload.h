/*  upload.h - files that a client sends: multipart/form-data, spooled to the disk as it comes, then
 *  handed to the workspace.
 *
 *  Nothing is known to the workspace before the body is whole: until then there is a file without a
 *  name, which is gone with the upload. Then each file is begun (which reserves its quota), sent in
 *  pieces with one call outstanding, and all are finished together; until that they are seen by
 *  nobody. Whatever goes wrong, and when the client leaves, what was begun is dropped. What the client
 *  calls a file is passed on as words, what it says the type is is not.
 *
 *  How it is used: the service streams the body with uploads_body_max; upload_begin before its first
 *  piece, upload_bytes for each, upload_end when the request is complete, then done. Whatever ends the
 *  exchange before done calls upload_abort. Uploads that go on without their client, to drop what they began, belong to
 *  `uploads`.
 *
 *  Thread: the loop's. A turn writes or reads about UPLOAD_TURN_BYTES of the disk for each upload.
 *  Ownership: an upload is its user's from upload_begin to `done`, to upload_abort, or to an error of
 *  bytes or end; no function of it may be called then.
 *  Limits: edge.upload_bytes for all files of a request, edge.uploads at once, UPLOAD_FILES,
 *  and those of multipart.h.
 *  Errors: those of multipart.h; SV_E_MISSING_FIELD without a file, SV_E_UNKNOWN_FIELD for a form
 *  field, SV_E_TOO_LARGE, SV_E_OVERLOADED, SV_E_STORE_FULL, SV_E_IO, SV_E_NO_MEMORY; of done also
 *  those of the workspace: SV_E_QUOTA, SV_E_ROLE, ... */
#ifndef EDGE_UPLOAD_H
#define EDGE_UPLOAD_H

#include "http.h"
#include "samovar.h"

enum {
    UPLOAD_FILES = 8,
    UPLOAD_TURN_BYTES = 65536,
    UPLOAD_PIECE_BYTES = 262144,    /* of one call to the workspace */
    UPLOAD_AROUND_BYTES = 128 << 10 /* of a body besides its files */
};

typedef struct uploads uploads;
typedef struct upload upload;

typedef struct upload_events {
    /* A ticket for the next request on the bus: asked for anew each time, copied. */
    sv_str (*ticket)(void *arg);
    /* Exactly once after upload_end, from a later turn. Code 0: the item is the reply,
     * workspace_file_finish_reply. */
    void (*done)(void *arg, int code, const sv_item *item, const sv_error *err);
} upload_events;

int uploads_new(sv_process *p, uploads **ret, sv_error *err);
/* After the bus is closed. Every upload with a client has been aborted before. */
void uploads_free(uploads *all);
/* Uploads there are, those without a client too. */
uint32_t uploads_open(const uploads *all);

/* Those of one user, by the name that upload_owner was given. */
uint32_t uploads_by(const uploads *all, const char *owner);
/* What one user may have of them: no more than an eighth, so that nobody keeps all others out. */
uint32_t uploads_each(const uploads *all);

/* For body_max of an exchange: all files and what a form has around them. */
size_t uploads_body_max(const uploads *all);

/* `r` is the exchange's request: its head is looked at and nothing of it kept. `trace` is copied. */
int upload_begin(uploads *all, http_exchange *x, const http_request *r, const sv_trace *trace,
                 const upload_events *events, void *arg, upload **ret, sv_error *err);
/* Copied; cut at 36 bytes. */
void upload_owner(upload *u, const char *owner);
/* May pause the exchange and lets it go on by itself. On an error the upload is over. */
int upload_bytes(upload *u, sv_str bytes, sv_error *err);
/* The body is complete. On an error the upload is over, else `done` comes. */
int upload_end(upload *u, sv_error *err);
/* Gives everything up. `bus_open` false: the process ends and streams are gone already. NULL is
 * allowed. */
void upload_abort(upload *u, bool bus_open);

#endif
