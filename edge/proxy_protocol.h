/*  proxy_protocol.h - the header of the PROXY protocol, version 2, with which a proxy begins a
 *  connection to say whose it is. Version 1, the one in text, is refused.
 *
 *  Thread: any.   Memory: none.
 *  Limits: PROXY_HEADER_BYTES for the whole header; further fields (TLVs) must fill its rest
 *  exactly and are skipped.
 *  Errors: SV_E_HTTP_MALFORMED, which ends the connection: there is nobody to answer to. */
#ifndef EDGE_PROXY_PROTOCOL_H
#define EDGE_PROXY_PROTOCOL_H

#include "http.h"

enum { PROXY_HEADER_BYTES = 2048 };

typedef struct proxy_header {
    uint32_t bytes;    /* what follows is the connection's */
    bool local;        /* the proxy speaks for itself: its own address counts */
    http_address from; /* else: the client */
} proxy_header;

/* Looks at a connection's first n bytes. 0 when the header is complete, 1 when more bytes are needed, or
 * an error, as soon as it shows. */
int proxy_header_parse(const void *p, size_t n, proxy_header *ret, sv_error *err);

#endif
