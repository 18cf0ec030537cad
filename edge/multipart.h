/*  multipart.h - multipart/form-data (RFC 7578) read as it comes.
 *
 *  Bytes are fed in any pieces; parts are told by calls: begin, bytes (none or more), end. What is
 *  told depends on the bytes alone, never on where they were cut, except that a part's bytes come in
 *  runs as they were fed. Read strictly: lines end in CRLF, header lines are not folded, a boundary
 *  line holds nothing but its boundary and blanks, each part has one Content-Disposition: form-data
 *  with a name. Refused are a multipart inside a part, and transfer encodings other than 7bit, 8bit
 *  and binary.
 *
 *  Names are data and nothing else: a file name may hold anything that is UTF-8 without control
 *  characters, slashes and dots included. filename* (RFC 5987, UTF-8 or ISO-8859-1) wins over
 *  filename.
 *
 *  Thread: one owner.
 *  Memory: the struct (about 20 KiB) and nothing else.
 *  Ownership: what the calls are given lives until they return.
 *  Limits: below.
 *  Errors: SV_E_INVALID with what is wrong, SV_E_TOO_LARGE beyond a limit, SV_E_HTTP_MEDIA_TYPE for
 *  a Content-Type that is none; or what a call returned. After any of them the parser takes nothing
 *  more. */
#ifndef EDGE_MULTIPART_H
#define EDGE_MULTIPART_H

#include "sv_types.h"

enum {
    MULTIPART_PARTS = 32,
    MULTIPART_HEAD_BYTES = 8192, /* header lines of one part, with their line ends */
    MULTIPART_HEAD_LINES = 16,
    MULTIPART_AROUND_BYTES = 4096, /* before the first boundary; the same behind the last */
    MULTIPART_BOUNDARY_BYTES = 70,
    MULTIPART_NAME_BYTES = 255,
    MULTIPART_FILENAME_BYTES = 1024
};

typedef struct multipart_part {
    sv_str name;
    sv_str filename; /* has_file: maybe empty */
    sv_str type;     /* Content-Type as sent; absent when there was none */
    bool has_file;   /* a file name was given */
} multipart_part;

/* Each returns 0, or a negative error that the feed returns. */
typedef struct multipart_calls {
    void *arg;
    int (*begin)(void *arg, const multipart_part *part, sv_error *err);
    int (*bytes)(void *arg, sv_str bytes, sv_error *err);
    int (*end)(void *arg, sv_error *err);
} multipart_calls;

typedef struct multipart {
    multipart_calls calls;
    char pattern[4 + MULTIPART_BOUNDARY_BYTES]; /* CRLF, two dashes, the boundary */
    uint32_t pattern_n;
    uint32_t matched; /* of the pattern */
    bool fresh;       /* two bytes of it are a CRLF that did not come */
    uint8_t state;
    int failed;
    uint32_t parts;
    uint32_t around; /* bytes of preamble or epilogue, or blanks of a boundary line */
    uint32_t lines;
    uint32_t line_at; /* where the current header line starts */
    uint32_t head_n;
    char head[MULTIPART_HEAD_BYTES];
    /* Parameters without their quotes, which a head has room for, and a file name decoded. */
    char text[MULTIPART_HEAD_BYTES + MULTIPART_FILENAME_BYTES];
    uint32_t text_n;
    multipart_part part;
    bool has_disposition, has_star;
} multipart;

/* `content_type` is the request's, with its boundary. */
int multipart_init(multipart *m, sv_str content_type, const multipart_calls *calls, sv_error *err);
int multipart_feed(multipart *m, sv_str bytes, sv_error *err);
/* The body is over: was it whole? */
int multipart_end(multipart *m, sv_error *err);

#endif
