/*  http_request.h - what a spec says to libcurl: header lines, a body out of a file, a signature of
 *  AWS's version 4 for an S3-compatible store.
 *  Thread: the loop's, which waits while the file is read: for command line tools.
 *  Ownership: the file's descriptor is the caller's, stays open until `done`, and its position does
 *  not matter. libcurl copies the keys.
 *
 *  How libcurl 7.88 signs (found out by comparing its signatures with the published algorithm): the
 *  path and the query are taken as they are, so they have to be percent-encoded, and the query
 *  sorted, by the caller; the host is signed with its port; every line of the header list is signed,
 *  also one that only takes a header away, which no server can verify; the body's hash comes from
 *  the header x-amz-content-sha256, which it does not send by itself and S3 requires. */
#ifndef SV_HTTP_REQUEST_H
#define SV_HTTP_REQUEST_H

#include "http_client.h"

#include <curl/curl.h>

typedef struct http_body_reader {
    int fd;
    uint64_t n, at;
    loop *loop;
    uint64_t *moved_us; /* set to now with every piece that is taken */
} http_body_reader;

/* The caller's headers, what must be said always, and what libcurl must not say. SV_E_INVALID names
 * the line; what was appended before a failure is the caller's to free. */
int http_request_headers(const http_spec *spec, struct curl_slist **list, sv_error *err);
/* Sets what most requests have not, a file and a signature; the handle is then not for others. `r`
 * lives as long as the transfer. 0 or SV_E_NO_MEMORY. */
int http_request_special(CURL *easy, const http_spec *spec, http_body_reader *r);

#endif
