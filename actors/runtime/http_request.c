/*  http_request.c - libcurl reads a file piece by piece through a callback, from where it says: when
 *  a kept-alive connection turns out to be dead it starts again from the beginning. */
#include "http_request.h"

#include "error.h"
#include "http_guard.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

/* ---- headers ---- */

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    if (more) *list = more;
    return more != NULL;
}

int http_request_headers(const http_spec *spec, struct curl_slist **list, sv_error *err)
{
    bool content_type = false;
    bool ok = true;
    for (const char *const *h = spec->headers; h && *h; h++) {
        if (!http_header_clean(*h))
            return sv_fail(err, SV_E_INVALID, "headers",
                           "A header has a bad name or control characters.");
        if (strncasecmp(*h, "content-length:", 15) == 0 ||
            strncasecmp(*h, "transfer-encoding:", 18) == 0 || strncasecmp(*h, "host:", 5) == 0 ||
            strncasecmp(*h, "connection:", 11) == 0)
            return sv_fail(err, SV_E_INVALID, "headers",
                           "The header %.20s is set by the client itself.", *h);
        content_type = content_type || strncasecmp(*h, "content-type:", 13) == 0;
        ok = ok && add_header(list, *h);
    }
    if (spec->sign) { /* the whole list is signed: nothing that is not sent or that proxies change */
        char line[96];
        snprintf(line, sizeof line, "x-amz-content-sha256: %.64s", spec->sign->body_sha256);
        ok = ok && add_header(list, line);
        return ok ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    ok = ok && add_header(list, "Expect:") && add_header(list, "Accept-Encoding: identity");
    if (!content_type) ok = ok && add_header(list, "Content-Type:");
    return ok ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

/* ---- a body out of a file ---- */

static size_t on_read(char *to, size_t size, size_t items, void *arg)
{
    http_body_reader *r = arg;
    size_t room = size * items;
    if (room > r->n - r->at) room = (size_t)(r->n - r->at);
    *r->moved_us = loop_now_us(r->loop);
    if (room == 0) return 0;
    ssize_t n;
    do
        n = pread(r->fd, to, room, (off_t)r->at);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return CURL_READFUNC_ABORT; /* shorter than it was, or unreadable */
    r->at += (uint64_t)n;
    return (size_t)n;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
    http_body_reader *r = arg;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > r->n) return CURL_SEEKFUNC_FAIL;
    r->at = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

int http_request_special(CURL *easy, const http_spec *spec, http_body_reader *r)
{
    bool ok = true;
#define SET(option, value) ok = curl_easy_setopt(easy, option, value) == CURLE_OK && ok
    if (spec->file) {
        r->fd = spec->file->fd;
        r->n = spec->file->bytes;
        r->at = 0;
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->n);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, r);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, r);
    }
    if (spec->sign) {
        char words[128];
        snprintf(words, sizeof words, "aws:amz:%.63s:s3", spec->sign->region);
        SET(CURLOPT_AWS_SIGV4, words);
        SET(CURLOPT_USERNAME, spec->sign->access_key);
        SET(CURLOPT_PASSWORD, spec->sign->secret_key);
    }
#undef SET
    return ok ? 0 : SV_E_NO_MEMORY;
}
