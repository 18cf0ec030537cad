/*  download.h - a stored file as the answer of a GET or HEAD: whole, a range of it, or not again.
 *
 *  The workspace is asked what the file is, then for its bytes, DOWNLOAD_PIECE_BYTES at a time: the
 *  next piece is asked for when the client has taken most of the one before, with a fresh ticket. So
 *  a slow client holds up nothing in the workspace, and one whose rights end gets no further.
 *  Files are sent as attachments under their users' names (RFC 6266), with nosniff and a sandbox: no
 *  browser shows one as a page of this server. Entity tags are the SHA-256 of the bytes.
 *
 *  Thread: the loop's.
 *  Ownership: a download is its user's from download_begin to `done`, or until download_end.
 *  Limits: one range; more than one, or conditions of more than DOWNLOAD_HEADER_BYTES, count as not
 *  sent.
 *  Errors: those of the workspace: SV_E_NOT_FOUND, SV_E_UNAVAILABLE, ... */
#ifndef EDGE_DOWNLOAD_H
#define EDGE_DOWNLOAD_H

#include "http.h"
#include "samovar.h"

enum { DOWNLOAD_PIECE_BYTES = 131072, DOWNLOAD_HEADER_BYTES = 1024 };

typedef struct download download;

typedef struct download_events {
    /* A ticket for the next request on the bus: asked for anew each time, copied. */
    sv_str (*ticket)(void *arg);
    /* The head of the answer, once. Its headers say all about caching and sniffing; what every answer
     * has besides (request id, trace) is the caller's to add. `whole`: nothing follows (HEAD, 304,
     * 416), respond with it, else start with it. `length` is what Content-Length is to say; for a
     * HEAD that of the GET. */
    void (*head)(void *arg, const http_response *r, bool whole, uint64_t length);
    /* The last, once. Before `head`: nothing was answered and code is not 0. Behind it the download
     * has ended or aborted the exchange itself, and code is what went wrong on the way. */
    void (*done)(void *arg, int code, const sv_error *err);
} download_events;

/* Inside `request`: `id` is the one in the path. 0: `done` comes in a later turn. */
int download_begin(sv_process *p, http_exchange *x, sv_str id, const sv_trace *trace,
                   const download_events *events, void *arg, download **ret, sv_error *err);
/* From the exchange's on_drained. */
void download_drained(download *d);
/* The exchange is over. `bus_open` false: streams are gone already. NULL is allowed. */
void download_end(download *d, bool bus_open);

#endif
