/*  http_client.h - every outgoing HTTP request of the platform.
 *  libcurl's multi interface (curl_multi_socket_action) in the caller's loop.
 *  Trust classes: HTTP_TRUST_OPERATOR for URLs from the operator's configuration (http and private
 *  addresses allowed); HTTP_TRUST_OPERATOR_TLS for those of them that data leaves the house by: http
 *  only to addresses that are not public; HTTP_TRUST_TENANT for everything else: https only, ports 443 and 8443, no
 *  userinfo, and the very address that is connected to must be public (checked in the socket
 *  callback, so DNS rebinding does not help). Never: redirects, proxies from the environment,
 *  .netrc, cookies.
 *  Thread: the loop's.   Ownership: the request struct is copied except `body`,
 *  which must live until `done`.   After http_cancel no callback comes and the connection is closed.
 *  Errors: SV_E_URL_FORBIDDEN, SV_E_PROVIDER_UNREACHABLE, SV_E_PROVIDER_TIMEOUT, SV_E_PROVIDER_CUT,
 *  SV_E_PROVIDER_TOO_LARGE, SV_E_PROVIDER_GARBAGE, SV_E_INVALID. */
#ifndef SV_HTTP_CLIENT_H
#define SV_HTTP_CLIENT_H

#include "loop.h"

typedef struct http_client http_client;
typedef struct http_transfer http_transfer;

typedef enum http_trust {
    HTTP_TRUST_OPERATOR,
    HTTP_TRUST_TENANT,
    HTTP_TRUST_OPERATOR_TLS,
    HTTP_TRUSTS
} http_trust;

/* A body that is read from its beginning while it is sent; the loop waits for the disk. */
typedef struct http_file {
    int fd; /* open until `done` */
    uint64_t bytes;
} http_file;

/* AWS signature version 4 for an S3-compatible store. The URL must be in its canonical form: path
 * and query percent-encoded as RFC 3986 says, the query sorted by name. */
typedef struct http_sigv4 {
    const char *region, *access_key, *secret_key;
    const char *body_sha256; /* of the body, 64 hex digits */
} http_sigv4;

typedef struct http_spec {
    const char *method; /* "GET", "POST" */
    const char *url;
    http_trust trust;
    const char *const *headers; /* "Name: value", NULL-terminated; CR, LF and NUL are refused */
    sv_str body;
    const http_file *file;  /* the body instead; first_byte_ms counts from the last byte taken */
    const http_sigv4 *sign; /* NULL: not signed */
    uint32_t connect_ms, first_byte_ms, idle_ms, total_ms; /* 0: none; total 0 is refused */
    size_t max_body;                                       /* of the answer */
} http_spec;

typedef struct http_head {
    int status;
    sv_str content_type;    /* "" when absent */
    sv_str retry_after;     /* raw header, "" when absent */
    sv_str retry_after_ms;  /* likewise */
    sv_str request_id;      /* x-request-id or request-id */
    sv_str via;             /* the last Via header, "" when absent */
    int64_t content_length; /* -1 unknown */
} http_head;

typedef struct http_events {
    /* Once, before any data. 1xx are swallowed. */
    void (*head)(void *arg, const http_head *head);
    /* Bytes as they come. Return false to pause: the same bytes come again after http_resume. */
    bool (*data)(void *arg, sv_str bytes);
    /* Exactly once, last. code 0: the answer is complete. */
    void (*done)(void *arg, int code, const sv_error *err);
} http_events;

http_client *http_client_new(loop *l, uint32_t max_connections, sv_error *err);
/* Open transfers end without callbacks. */
void http_client_free(http_client *c);

/* NULL with err filled when the request itself is not acceptable; nothing is called back then. */
http_transfer *http_start(http_client *c, const http_spec *spec, const http_events *ev, void *arg,
                          sv_error *err);
void http_cancel(http_transfer *t);
void http_resume(http_transfer *t);
/* Bytes of the request's body that were given to the system. */
uint64_t http_sent_bytes(const http_transfer *t);
/* Microseconds from start to the first byte of the answer's head; 0 before. */
uint64_t http_first_byte_us(const http_transfer *t);

/* True when `url` may be called in this class as far as its text tells (the address is judged again
 * at connect). Used to check configuration early. */
int http_url_check(const char *url, http_trust trust, sv_error *err);
/* True for addresses on the public internet; false for private, loopback, link-local, multicast,
 * documentation, NAT64 and tunnel forms of those, and cloud metadata. */
struct sockaddr;
bool http_address_public(const struct sockaddr *addr);

#endif
