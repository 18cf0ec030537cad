/*  http_chunked.c - a state a position in the grammar, one byte at a time except for data. */
#include "http_chunked.h"

#include "error.h"
#include "http_parser.h"
#include "uuid.h"

enum {
    SIZE,      /* hex digits */
    EXTENSION, /* behind the first ; */
    SIZE_LF,   /* LF of the size line */
    DATA,
    DATA_CR, /* CRLF behind the data */
    DATA_LF,
    TRAILER, /* first byte of a trailer line, or CR of the last line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    DONE
};

enum { SIZE_DIGITS = 16 };

void http_chunked_reset(http_chunked *c)
{
    *c = (http_chunked){.state = SIZE};
}

static int bad(sv_error *err, const char *why)
{
    return sv_fail(err, SV_E_HTTP_MALFORMED, NULL, "The chunked body is malformed: %s.", why);
}

static int size_byte(http_chunked *c, char b, sv_error *err)
{
    int digit = hex_digit(b);
    if (digit >= 0) {
        if (c->digits == SIZE_DIGITS) return bad(err, "a chunk size has more than 16 digits");
        c->digits++;
        c->left = c->left << 4 | (uint64_t)digit;
        return 0;
    }
    if (c->digits == 0) return bad(err, "a chunk does not start with its size in hex digits");
    if (b == '\r')
        c->state = SIZE_LF;
    else if (b == ';')
        c->state = EXTENSION;
    else
        return bad(err, "a chunk size is followed by something else than CRLF or ;");
    return 0;
}

static int extension_byte(http_chunked *c, char b, sv_error *err)
{
    if (b == '\r') {
        c->state = SIZE_LF;
        return 0;
    }
    if (!http_is_text((sv_str){&b, 1})) return bad(err, "a control character in a chunk extension");
    if (++c->extra > HTTP_CHUNK_EXTENSION_BYTES) return bad(err, "too many chunk extensions");
    return 0;
}

static int trailer_byte(http_chunked *c, char b, sv_error *err)
{
    if (++c->trailer > HTTP_TRAILER_BYTES) return bad(err, "the trailer is too large");
    switch (c->state) {
    case TRAILER:
        if (b == '\r') {
            c->state = LAST_LF;
            return 0;
        }
        if (!http_is_token((sv_str){&b, 1}))
            return bad(err, "a trailer line does not start with a name");
        c->state = TRAILER_NAME;
        return 0;
    case TRAILER_NAME:
        if (b == ':')
            c->state = TRAILER_VALUE;
        else if (!http_is_token((sv_str){&b, 1}))
            return bad(err, "a trailer name is not a token");
        return 0;
    case TRAILER_VALUE:
        if (b == '\r')
            c->state = TRAILER_LF;
        else if (!http_is_text((sv_str){&b, 1}))
            return bad(err, "a control character in a trailer");
        return 0;
    default: return bad(err, "a trailer line does not end in CRLF");
    }
}

static int expect_byte(http_chunked *c, char b, char want, uint8_t next, sv_error *err)
{
    if (b != want) return bad(err, "CRLF is missing");
    c->state = next;
    return 0;
}

static int step(http_chunked *c, char b, sv_error *err)
{
    int rc = 0;
    switch (c->state) {
    case SIZE: return size_byte(c, b, err);
    case EXTENSION: return extension_byte(c, b, err);
    case SIZE_LF:
        rc = expect_byte(c, b, '\n', c->left ? DATA : TRAILER, err);
        c->digits = 0;
        return rc;
    case DATA_CR: return expect_byte(c, b, '\r', DATA_LF, err);
    case DATA_LF: return expect_byte(c, b, '\n', SIZE, err);
    case TRAILER_LF: return expect_byte(c, b, '\n', TRAILER, err);
    case LAST_LF: return expect_byte(c, b, '\n', DONE, err);
    default: return trailer_byte(c, b, err);
    }
}

int http_chunked_next(http_chunked *c, const char *p, size_t n, size_t *used, sv_str *data,
                      sv_error *err)
{
    *data = (sv_str){p, 0};
    size_t at = 0;
    while (at < n && c->state != DONE) {
        if (c->state == DATA) {
            size_t take = n - at < c->left ? n - at : (size_t)c->left;
            if (take > UINT32_MAX) take = UINT32_MAX;
            *data = (sv_str){p + at, (uint32_t)take};
            c->left -= take;
            if (c->left == 0) c->state = DATA_CR;
            *used = at + take;
            return 0;
        }
        int rc = step(c, p[at], err);
        if (rc) {
            *used = at;
            return rc;
        }
        at++;
    }
    *used = at;
    return c->state == DONE;
}
