/*  fuzz_http_head.c - any bytes as a request head. The first two bytes choose where the rest is
 *  cut; the result must not depend on it. What is accepted is looked over by hand for the ways of
 *  smuggling. */
#include "error.h"
#include "http_parser.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_BYTES = 2048, MAX_LINE = 512, MAX_FIELDS = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static http_head *new_head(void)
{
    http_head *h = malloc(sizeof *h + MAX_FIELDS * sizeof(http_field));
    assert(h);
    http_head_reset(h, MAX_BYTES, MAX_LINE, MAX_FIELDS);
    return h;
}

/* A copy of exactly n bytes, so that reading past them is seen. */
static int parse(http_head *h, const uint8_t *data, size_t n, sv_error *err)
{
    char *copy = malloc(n ? n : 1);
    assert(copy);
    if (n) memcpy(copy, data, n);
    int rc = http_head_parse(h, copy, n, err);
    free(copy);
    return rc;
}

static void check_span(const http_head *h, http_span s)
{
    assert(s.at <= h->bytes && s.n <= h->bytes - s.at);
}

static void check_accepted(const http_head *h, const char *p)
{
    uint32_t hosts = 0, lengths = 0, codings = 0;
    assert(h->bytes <= MAX_BYTES && memcmp(p + h->bytes - 4, "\r\n\r\n", 4) == 0);
    for (uint32_t i = 0; i < h->bytes; i++) {
        if (p[i] == '\r') assert(p[i + 1] == '\n');
        if (p[i] == '\n') assert(i > 0 && p[i - 1] == '\r');
        assert(p[i] != 0);
    }
    check_span(h, h->method);
    check_span(h, h->path);
    check_span(h, h->query);
    check_span(h, h->host);
    assert(h->method.n > 0 && h->path.n > 0);
    for (uint32_t i = 0; i < h->n_fields; i++) {
        http_span name = h->fields[i].name;
        check_span(h, name);
        check_span(h, h->fields[i].value);
        assert(p[name.at + name.n] == ':');
        hosts += http_word_is((sv_str){p + name.at, name.n}, "host");
        lengths += http_word_is((sv_str){p + name.at, name.n}, "content-length");
        codings += http_word_is((sv_str){p + name.at, name.n}, "transfer-encoding");
    }
    assert(hosts <= 1 && (hosts == 1 || h->minor == 0));
    assert(lengths + codings <= 1);
    assert(h->chunked == (codings == 1) && h->has_length == (lengths == 1));
    assert(!h->chunked || h->minor == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t cut = (size_t)(data[0] << 8 | data[1]);
    data += 2;
    size -= 2;
    cut = size ? cut % (size + 1) : 0;
    http_head *whole = new_head(), *pieces = new_head();
    sv_error err = {0};
    int rc = parse(whole, data, size, &err);
    assert(rc == 0 || rc == HTTP_MORE || (err.code == rc && err.message[0]));
    int again = parse(pieces, data, cut, NULL);
    if (again == HTTP_MORE) again = parse(pieces, data, size, NULL);
    assert(again == rc);
    if (rc == 0) {
        assert(pieces->bytes == whole->bytes && pieces->n_fields == whole->n_fields);
        assert(pieces->length == whole->length && pieces->chunked == whole->chunked);
        check_accepted(whole, (const char *)data);
    }
    free(whole);
    free(pieces);
    return 0;
}
