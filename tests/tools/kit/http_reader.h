/*  http_reader.h - reads HTTP/1.1 messages piece by piece: answers for the load generator,
 *  requests for the provider simulator. Strict where a measurement could be fooled (lengths,
 *  chunk framing); it never looks into a body.
 *  Thread: one a reader.   Ownership: body bytes borrow from the fed bytes.
 *  Limits: 64 KiB of head.   Errors: HTTP_BAD; `why` names it. */
#ifndef KIT_HTTP_READER_H
#define KIT_HTTP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum http_result { HTTP_MORE, HTTP_DONE, HTTP_BAD } http_result;

typedef struct http_reader {
    bool request; /* which side of the wire */
    int state;
    char *head; /* a copy while it is incomplete; kept whole and NUL-ended when `keep_head` */
    size_t head_n, head_cap;
    bool keep_head;
    int status;                       /* answers */
    bool chunked, until_close, close; /* framing; close: no further message on this connection */
    uint64_t left, line;
    uint32_t line_n;
    uint64_t body_bytes;
    const char *why;
} http_reader;

typedef void http_body_fn(void *arg, const char *p, size_t n);

void http_reader_init(http_reader *r, bool request, bool keep_head);
void http_reader_free(http_reader *r);
/* Ready for the next message of the connection; keeps its memory. */
void http_reader_next(http_reader *r);
/* Takes up to `n` bytes; *used says how many belong to this message. */
http_result http_reader_feed(http_reader *r, const char *p, size_t n, size_t *used,
                             http_body_fn *body, void *arg);
/* The other side closed: HTTP_DONE when that ends the message, else HTTP_BAD. */
http_result http_reader_eof(http_reader *r);
/* True before the first byte of a message. */
bool http_reader_fresh(const http_reader *r);
/* Value of a header in a kept head, without blanks around it; NULL when absent. */
const char *http_header(const char *head, const char *name, size_t *len);

#endif
