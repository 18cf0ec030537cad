/*  http_keep.c - one allocation for the struct and its headers; the text is the wire's business. */
#include "http_keep.h"

#include "error.h"

#include <stdlib.h>

int http_kept_new(http_exchange *x)
{
    const http_request *r = x->request;
    http_kept *k = malloc(sizeof *k + r->n_headers * sizeof *k->headers);
    if (k == NULL) return SV_E_NO_MEMORY;
    k->request = *r;
    k->block[0] = k->block[1] = NULL;
    if (r->n_headers) memcpy(k->headers, r->headers, r->n_headers * sizeof *k->headers);
    k->request.headers = k->headers;
    x->kept = k;
    x->request = &k->request;
    return 0;
}

static void move(sv_str *s, const char *from, const char *to)
{
    if (s->p) s->p = to + (s->p - from);
}

void http_kept_move(http_kept *k, const char *from, char *to)
{
    http_request *r = &k->request;
    sv_str *const slices[] = {&r->method, &r->path, &r->query, &r->host, &r->body};
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        move(slices[i], from, to);
    for (uint32_t i = 0; i < r->n_headers; i++) {
        move(&k->headers[i].name, from, to);
        move(&k->headers[i].value, from, to);
    }
}

void http_kept_free(http_exchange *x)
{
    if (x->kept == NULL) return;
    free(x->kept->block[0]);
    free(x->kept->block[1]);
    free(x->kept);
    x->kept = NULL;
    x->request = NULL;
}
